"""The in-process agent: its life, and what a test reads of it and does to it."""

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
from aioconsulconnect.testing.handlers.services import Services
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
    """What an agent held at one moment, to give back to it or to another of its version."""

    store: storage.State
    acl: acl_system.State
    authority: ca.State
    intentions: dict[str, Object]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Settings:
    """What an agent was made with."""

    facts: VersionFacts
    tls: bool
    client_certificates: bool
    acl: bool
    default_policy: Policy
    datacenter: str
    node_name: str
    management_token: str = field(repr=False)


class Agent:
    """A Consul agent to test with, in this process: what it answers is what that version of Consul answers.

    It is both the only server and its own client agent, in development mode (pretty JSON), with Connect on. Enter it,
    or call ``start`` and ``stop``. With ``tls`` it speaks HTTPS: trust ``ca_file``; with ``client_certificates`` it
    wants one too, such as ``client_cert_file`` with ``client_key_file``. What may go wrong is in ``faults``.
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
            # An agent without ACLs still names a default policy; with ACLs the careful one is the better default.
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
        """Make everything that an agent holds, as it is at first."""
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
            catalog=Catalog(context, self._registry, entries.graph),
            chains=Chains(context, self._registry, entries.graph),
            acl=Tokens(context),
            system=System(context),
        )
        self._frontend = Frontend(context, build_table(handlers), self.faults, self._requests)

    # Life.

    async def start(self) -> Self:
        """Listen on 127.0.0.1, at the port given or at a free one; after ``stop``, at the same one."""
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
        """Close every connection; polls that wait get no answer, as from an agent that is killed."""
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
        self._context.authority.forget_leaves()

    def _remove_files(self) -> None:
        if self._https is not None:
            self._https.close()
            self._https = None

    async def restart(self, *, keep: bool = True) -> None:
        """Be killed and started again at the same address: with all that was written, or as a new cluster.

        What the agent alone holds, its leaves and its cache, is lost either way; faults stay in force.
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

    # What a test reads.

    @property
    def url(self) -> str:
        """The address to give to a client."""
        if not self._address:
            raise RuntimeError("the agent has not been started: enter it with `async with`")
        return self._address

    @property
    def environment(self) -> dict[str, str]:
        """The CONSUL_* variables that lead a service to it, with the token that may do everything."""
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
        """The CA to trust for an agent with ``tls``, while it runs."""
        return self._files.ca_file

    @property
    def client_cert_file(self) -> Path:
        """A certificate that an agent with ``client_certificates`` takes, while it runs."""
        return self._files.client_cert_file

    @property
    def client_key_file(self) -> Path:
        """The key of ``client_cert_file``."""
        return self._files.client_key_file

    @property
    def _files(self) -> HttpsIdentity:
        if self._https is None:
            raise RuntimeError("the agent has such files with tls=True, and while it runs")
        return self._https

    @property
    def version(self) -> str:
        """The full version, such as 1.16.6."""
        return self._settings.facts.release

    @property
    def management_token(self) -> str:
        """The token that may do everything; empty where ACLs are off."""
        return self._settings.management_token

    @property
    def trust_domain(self) -> str:
        """The trust domain of the CA."""
        return self._context.authority.trust_domain

    @property
    def store(self) -> View:
        """What the agent holds, to look at."""
        return View(self._context.store, self._intentions, self._registry)

    @property
    def requests(self) -> tuple[Request, ...]:
        """The requests so far, oldest first; the last ten thousand are kept."""
        return tuple(self._requests)

    @property
    def polls(self) -> tuple[HeldQuery, ...]:
        """The blocking queries that wait now, also those whose client is gone: Consul keeps them too."""
        return tuple(self._context.held_queries)

    @property
    def connections(self) -> int:
        """The connections that Consul counts: the open ones, and those that left a poll behind which still waits."""
        return len(self._connections())

    def _connections(self) -> Collection[object]:
        server = self._runner.server if self._runner is not None else None
        return server.connections if server is not None else ()

    # What a test does to it.

    def rotate_root(self) -> None:
        """Give the CA a new root, cross-signed by the old one, and every service a new leaf."""
        self._context.authority.rotate()

    async def run_checks(self) -> None:
        """Run every TCP and HTTP check now, instead of after its interval."""
        await self._registry.run_checks()

    def advance(self, index: int) -> None:
        """Raise the index, as writes elsewhere would; the next write here lies above it."""
        self._context.store.index = max(self._context.store.index, index)

    def snapshot(self) -> Snapshot:
        """What `consul snapshot save` saves: all that the servers hold, not what the agent holds for its services."""
        rows = self._intentions.state() if isinstance(self._intentions, TableIntentionStore) else {}
        return Snapshot(self._context.store.state(), self._context.acl.state(), self._context.authority.state(), rows)

    def restore(self, snapshot: Snapshot) -> None:
        """Do as `consul snapshot restore` does: it lies once.

        Polls that wait end at once with the data from before it and an unmoved index; what is read afterwards is the
        restored data, under its old and lower index. What the agent holds (its roots, leaves) is right at the next
        read, while a real one keeps the discarded data for ten minutes; polls for it are not woken. Its services stay.
        """
        self._context.store.load(snapshot.store)
        self._context.acl.load(snapshot.acl)
        self._context.authority.load(snapshot.authority)
        if isinstance(self._intentions, TableIntentionStore):
            self._intentions.load(snapshot.intentions)
        self._registry.refresh()
        self.faults.wake()
