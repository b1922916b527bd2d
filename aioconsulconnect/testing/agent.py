"""The in-process Consul agent: start and stop it, read its state, change it."""

import uuid
from collections import deque
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Final, Literal, Self

from aiohttp import web

from aioconsulconnect.testing.faults import Faults
from aioconsulconnect.testing.go_json.values import Object
from aioconsulconnect.testing.handlers.acl import Tokens
from aioconsulconnect.testing.handlers.agent_self import System
from aioconsulconnect.testing.handlers.catalog import Catalog
from aioconsulconnect.testing.handlers.certificates import Certificates
from aioconsulconnect.testing.handlers.config import Entries
from aioconsulconnect.testing.handlers.context import AgentContext, HeldQuery
from aioconsulconnect.testing.handlers.discovery_chain import Chains
from aioconsulconnect.testing.handlers.intentions import Intentions
from aioconsulconnect.testing.handlers.services import CheckRegistration, Services
from aioconsulconnect.testing.server.frontend import Frontend, Request
from aioconsulconnect.testing.server.https import HttpsIdentity
from aioconsulconnect.testing.server.routes import Handlers, build_table
from aioconsulconnect.testing.state import acl as acl_system, authority as ca, store as storage
from aioconsulconnect.testing.state.acl import Acl
from aioconsulconnect.testing.state.authority import Authority
from aioconsulconnect.testing.state.gateway_controller import Controller
from aioconsulconnect.testing.state.intention_store import intention_store_of
from aioconsulconnect.testing.state.service_registry import Registry
from aioconsulconnect.testing.state.store import Store
from aioconsulconnect.testing.state.table_intentions import TableIntentionStore
from aioconsulconnect.testing.state.view import View
from aioconsulconnect.testing.versions import FACTS, NEWEST, Version, VersionFacts

_LARGEST_HEAD: Final = 2**20
_KEPT_REQUESTS: Final = 10_000
Policy = Literal["allow", "deny"]


@dataclass(frozen=True, slots=True, repr=False)
class Snapshot:
    """The state of an in-process agent at one moment: `Agent.snapshot` makes it, `Agent.restore` takes it.

    It can be restored to the same agent or to another one of the same version. Its fields are internal to the agents:

    - `store`: the index of each table, and the configuration entries.
    - `acl`: the policies and tokens.
    - `authority`: the roots and the configuration of the CA; no leaf certificates.
    - `intentions`: the table of intentions in 1.8; empty for newer versions, which keep them as configuration entries.
    """

    store: storage.State
    acl: acl_system.State
    authority: ca.State
    intentions: dict[str, Object]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Settings:
    """The arguments that an agent was made with, with their defaults filled in."""

    facts: VersionFacts
    tls: bool
    client_certificates: bool
    acl: bool
    default_policy: Policy
    datacenter: str
    node_name: str
    management_token: str = field(repr=False)


class Agent:
    """A Consul agent for tests, run inside this process, that answers over HTTP as a chosen version does.

    It is the only server of its datacenter and its own client agent, in development mode (indented JSON), with Connect
    enabled. For a path of Consul that it does not model it answers 501. Enter it with `async with`, or call `start` and
    `stop`. `faults` makes things go wrong.

    - `version`: the version to play, "1.8", "1.10", "1.16" or "1.22" (the default); ValueError for any other.
    - `port`: the port on 127.0.0.1; 0 (the default) takes a free one at the first start and keeps it.
    - `tls`: speak HTTPS, with a certificate that `ca_file` verifies; off by default.
    - `client_certificates`: demand a client certificate, such as `client_cert_file` with `client_key_file`; off by
      default. ValueError without `tls`.
    - `acl`: enable ACLs; `management_token` then has all rights. Off by default.
    - `default_policy`: the default policy of the ACLs, "allow" or "deny"; by default "deny" with `acl`, else "allow".
    - `datacenter`: the name of the datacenter, "dc1" by default.
    - `node_name`: the name of the only node, "box" by default.
    """

    def __init__(
        self,
        version: Version = NEWEST,
        *,
        port: int = 0,
        tls: bool = False,
        client_certificates: bool = False,
        acl: bool = False,
        default_policy: Policy | None = None,
        datacenter: str = "dc1",
        node_name: str = "box",
    ) -> None:
        if version not in FACTS:
            raise ValueError(f"the in-process agent plays Consul {', '.join(FACTS)}, not {version!r}")
        if client_certificates and not tls:
            raise ValueError("client_certificates needs tls=True")
        self._settings = _Settings(
            facts=FACTS[version],
            tls=tls,
            client_certificates=client_certificates,
            acl=acl,
            # Without ACLs the agent still reports a default policy; with ACLs deny is the safer default.
            default_policy=default_policy or ("deny" if acl else "allow"),
            datacenter=datacenter,
            node_name=node_name,
            management_token=str(uuid.uuid4()) if acl else "",
        )
        self._port = port
        self._requests: deque[Request] = deque(maxlen=_KEPT_REQUESTS)
        self._https: HttpsIdentity | None = None
        self._runner: web.AppRunner | None = None
        self._address = ""
        self.faults: Final = Faults(FACTS[version], lambda: self._context.store, self._connections)
        self._build()

    def _build(self) -> None:
        """Make the state and the handlers of a new cluster."""
        settings, facts = self._settings, self._settings.facts
        tables = {"config": facts.first_entries_index, "roots": 9, "nodes": 12, "services": 11, "checks": 11}
        store = Store(12, tables)
        context = self._context = AgentContext(
            facts,
            store,
            Acl(
                facts,
                enabled=settings.acl,
                default=settings.default_policy,
                management_token=settings.management_token,
            ),
            Authority(store, facts, settings.datacenter),
            settings.datacenter,
            settings.node_name,
            str(uuid.uuid4()),
        )
        self._intentions = intention_store_of(store, facts)
        self._registry = Registry(store, facts)
        entries = Entries(context)
        Controller(store, facts)
        handlers = Handlers(
            intentions=Intentions(context, self._intentions),
            certificates=Certificates(context, self._intentions),
            config=entries,
            services=Services(context, self._registry),
            checks=CheckRegistration(context, self._registry),
            catalog=Catalog(context, self._registry, entries.graph),
            chains=Chains(context, self._registry, entries.graph),
            acl=Tokens(context),
            system=System(context),
        )
        self._frontend = Frontend(context, build_table(handlers), self.faults, self._requests)

    # Starting and stopping.

    async def start(self) -> Self:
        """Start to listen on 127.0.0.1, and return the agent.

        The port is the one given, a free one where that is 0, and after `stop` the one from before. OSError if it is
        taken.
        """
        runner = web.AppRunner(
            self._frontend.application(),
            access_log=None,
            shutdown_timeout=1,
            max_line_size=_LARGEST_HEAD,
            max_field_size=_LARGEST_HEAD,
        )
        await runner.setup()
        if self._settings.tls and self._https is None:
            self._https = HttpsIdentity(client_certificates=self._settings.client_certificates)
        context = self._https.context if self._https else None
        try:
            await web.TCPSite(runner, "127.0.0.1", self._port, backlog=1024, ssl_context=context).start()
        except OSError:
            await runner.cleanup()
            self._remove_files()
            raise
        self._context.store.open()
        self._registry.open()
        self._runner = runner
        self._port = runner.addresses[0][1]
        self._address = f"{'https' if self._settings.tls else 'http'}://127.0.0.1:{self._port}"
        return self

    async def stop(self) -> None:
        """Close every connection and stop listening, as an agent that is killed.

        Blocking queries that wait get no answer. The next `start` serves the same state, without the leaf certificates
        and the agent's cache, and with a new CA for HTTPS.
        """
        await self._close()
        self._remove_files()

    async def _close(self) -> None:
        self._context.store.close()
        self.faults.release()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None
        await self._registry.close()
        self._context.cache.clear()
        self._context.forget_cache()
        self._context.authority.forget_leaves()

    def _remove_files(self) -> None:
        if self._https is not None:
            self._https.close()
            self._https = None

    async def restart(self, *, keep: bool = True) -> None:
        """Kill the agent and start it again at the same address.

        With `keep` (the default) all that was written is still there; without it, the agent is a new and empty cluster
        with another trust domain. The leaf certificates and the agent's cache are lost either way; faults stay in
        force.
        """
        await self._close()
        if not keep:
            self._build()
        await self.start()

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    def __repr__(self) -> str:
        return f"<Agent {self.version} at {self._address or 'no address yet'}>"

    # Reading the state.

    @property
    def url(self) -> str:
        """The base URL to give to a client, such as `http://127.0.0.1:21500`.

        RuntimeError before the first start.
        """
        if not self._address:
            raise RuntimeError("the agent has not been started: enter it with `async with`")
        return self._address

    @property
    def environment(self) -> dict[str, str]:
        """The `CONSUL_*` environment variables that lead a client to this agent.

        `CONSUL_HTTP_ADDR` always; with ACLs `CONSUL_HTTP_TOKEN`, which is the management token; with `tls`
        `CONSUL_CACERT`; with `client_certificates` `CONSUL_CLIENT_CERT` and `CONSUL_CLIENT_KEY`. RuntimeError before
        the first start, and with `tls` while the agent is stopped.
        """
        variables = {"CONSUL_HTTP_ADDR": self.url}
        if self._settings.management_token:
            variables["CONSUL_HTTP_TOKEN"] = self._settings.management_token
        if self._settings.tls:
            variables["CONSUL_CACERT"] = str(self.ca_file)
        if self._settings.client_certificates:
            variables |= {
                "CONSUL_CLIENT_CERT": str(self.client_cert_file),
                "CONSUL_CLIENT_KEY": str(self.client_key_file),
            }
        return variables

    @property
    def ca_file(self) -> Path:
        """The path of the CA certificate (PEM) that verifies an agent with `tls`.

        RuntimeError without `tls`, and while the agent is stopped.
        """
        return self._files.ca_file

    @property
    def client_cert_file(self) -> Path:
        """The path of a client certificate (PEM) that an agent with `client_certificates` accepts.

        RuntimeError without `tls`, and while the agent is stopped.
        """
        return self._files.client_cert_file

    @property
    def client_key_file(self) -> Path:
        """The path of the private key (PEM) of `client_cert_file`.

        RuntimeError without `tls`, and while the agent is stopped.
        """
        return self._files.client_key_file

    @property
    def _files(self) -> HttpsIdentity:
        if self._https is None:
            raise RuntimeError("the agent has such files with tls=True, and while it runs")
        return self._https

    @property
    def version(self) -> str:
        """The full Consul version that the agent reports, such as 1.16.6."""
        return self._settings.facts.release

    @property
    def management_token(self) -> str:
        """The secret of the ACL token that has all rights; empty where ACLs are off."""
        return self._settings.management_token

    @property
    def trust_domain(self) -> str:
        """The trust domain of the CA: the cluster id, followed by `.consul`."""
        return self._context.authority.trust_domain

    @property
    def store(self) -> View:
        """A read-only view of the state: the index, intentions, configuration entries, services and checks."""
        return View(self._context.store, self._intentions, self._registry)

    @property
    def requests(self) -> tuple[Request, ...]:
        """The requests that the agent has received, oldest first; the last 10,000 are kept."""
        return tuple(self._requests)

    @property
    def polls(self) -> tuple[HeldQuery, ...]:
        """The blocking queries that wait now, including those whose client has gone.

        Consul's servers keep such a query until its wait is over, too.
        """
        return tuple(self._context.held_queries)

    @property
    def connections(self) -> int:
        """The number of connections that Consul would count for its limit per client.

        These are the open ones, and the closed ones that left a blocking query behind which still waits.
        """
        return len(self._connections())

    def _connections(self) -> Collection[object]:
        server = self._runner.server if self._runner is not None else None
        return server.connections if server is not None else ()

    # Changing the state.

    def rotate_root(self) -> None:
        """Rotate the root of the CA: make a new one that the old one cross-signs, and renew every leaf.

        It wakes the blocking queries for roots and for leaf certificates.
        """
        self._context.authority.rotate()

    async def run_checks(self) -> None:
        """Run every TCP and HTTP check now, instead of after its interval."""
        await self._registry.run_checks()

    def advance(self, index: int) -> None:
        """Raise the index to at least `index`, as writes elsewhere in the cluster would.

        The next write to this agent gets a higher one. No blocking query wakes.
        """
        self._context.store.index = max(self._context.store.index, index)

    def snapshot(self) -> Snapshot:
        """Take a snapshot, as `consul snapshot save` does.

        It holds what the servers keep, and not what the agent keeps for itself: its services with their checks, and
        leaf certificates.
        """
        rows = self._intentions.state() if isinstance(self._intentions, TableIntentionStore) else {}
        return Snapshot(self._context.store.state(), self._context.acl.state(), self._context.authority.state(), rows)

    def restore(self, snapshot: Snapshot) -> None:
        """Restore `snapshot`, as `consul snapshot restore` does.

        Blocking queries that wait end at once, with the data from before and an unmoved index. Later reads find the
        restored data, under its old and lower index. The roots and leaf certificates that the agent holds are right at
        the next read, while a real agent keeps the discarded ones for ten minutes; blocking queries for them are not
        woken. The services of the agent stay.
        """
        self._context.forget_cache()
        self._context.store.load(snapshot.store)
        self._context.acl.load(snapshot.acl)
        self._context.authority.load(snapshot.authority)
        if isinstance(self._intentions, TableIntentionStore):
            self._intentions.load(snapshot.intentions)
        self._registry.refresh()
        self.faults.wake()
