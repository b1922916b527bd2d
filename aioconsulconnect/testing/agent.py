"""The in-process Consul agent: start and stop it, read its state, change it.

All agents run in a thread of their own, with its own event loop; what is public here may be called from any thread.
"""

import errno
import threading
import uuid
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from aiohttp import web

from aioconsulconnect.testing.agents_thread import AGENTS
from aioconsulconnect.testing.cluster import Cluster, ClusterSettings, Policy, Snapshot
from aioconsulconnect.testing.faults import Faults
from aioconsulconnect.testing.handlers.context import HeldQuery
from aioconsulconnect.testing.handlers.registration_rules import pairs_complaint
from aioconsulconnect.testing.server.frontend import Frontend
from aioconsulconnect.testing.server.https import HttpsIdentity
from aioconsulconnect.testing.server.listener import Listener
from aioconsulconnect.testing.server.traffic import AddedRoute, Handler, Request, Traffic, Unmodelled
from aioconsulconnect.testing.state.view import View
from aioconsulconnect.testing.versions import FACTS, NEWEST, Version

_CONSUL: Final = ".consul"


class Agent:
    """A Consul agent for tests, run inside this process, that answers over HTTP as a chosen version does.

    It is the only server of its datacenter and its own client agent, in development mode (indented JSON). For a path of
    Consul that it does not model it answers 501. Enter it with `with` or `async with`, or call `start` and `stop`.
    `faults` makes things go wrong.

    It runs in a thread with an event loop of its own, so that any test can use it, in any loop or in none, and any
    other process. Its methods are plain functions that any thread may call; they return when what they say is done.

    - `version`: the version to play, "1.8", "1.10", "1.16" or "1.22" (the default); ValueError for any other.
    - `port`: the port on 127.0.0.1; 0 (the default) takes a free one at the first start and keeps it.
    - `tls`: speak HTTPS, with a certificate that `ca_file` verifies; off by default.
    - `client_certificates`: demand a client certificate, such as `client_cert_file` with `client_key_file`; off by
      default. ValueError without `tls`.
    - `acl`: enable ACLs; `management_token` then has all rights. Off by default.
    - `default_policy`: the default policy of the ACLs, "allow" or "deny"; by default "deny" with `acl`, else "allow".
    - `datacenter`: the name of the datacenter, "dc1" by default.
    - `node_name`: the name of the only node, "box" by default.
    - `node_id`: the id of the node, a UUID; by default a new one.
    - `node_meta`: the metadata of the node, none by default; ValueError where Consul would not start with it.
    - `management_token`: the secret of the token with all rights; by default a new one. ValueError without `acl`.
    - `trust_domain`: the trust domain of the CA, such as "11111111-2222-3333-4444-555555555555.consul"; by default a
      new one. ValueError if it does not end in ".consul".
    - `connect`: enable Connect, as by default; without it whatever needs Connect is refused with 500.
    - `host`: the address to listen on, 127.0.0.1 by default.
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
        node_id: str | None = None,
        node_meta: Mapping[str, str] | None = None,
        management_token: str | None = None,
        trust_domain: str | None = None,
        connect: bool = True,
        host: str = "127.0.0.1",
    ) -> None:
        if version not in FACTS:
            raise ValueError(f"the in-process agent plays Consul {', '.join(FACTS)}, not {version!r}")
        if client_certificates and not tls:
            raise ValueError("client_certificates needs tls=True")
        if management_token is not None and not acl:
            raise ValueError("management_token needs acl=True")
        if trust_domain is not None and not trust_domain.removesuffix(_CONSUL) + _CONSUL == trust_domain:
            raise ValueError(f'a trust domain of Consul ends in "{_CONSUL}", unlike {trust_domain!r}')
        if problem := pairs_complaint(node_meta or {}):
            raise ValueError(problem)
        if port not in range(2**16):
            raise ValueError(f"a port is a number from 0 to 65535, unlike {port!r}")
        self._settings = ClusterSettings(
            facts=FACTS[version],
            acl=acl,
            # Without ACLs the agent still reports a default policy; with ACLs deny is the safer default.
            default_policy=default_policy or ("deny" if acl else "allow"),
            datacenter=datacenter,
            node_name=node_name,
            node_id=str(uuid.UUID(node_id)) if node_id else None,
            node_meta=dict(node_meta or {}),
            management_token=(management_token or str(uuid.uuid4())) if acl else "",
            cluster=trust_domain.removesuffix(_CONSUL) if trust_domain else None,
            connect=connect,
        )
        self._mutual = client_certificates
        self._listener = Listener(host, port, "mutual" if client_certificates else "tls" if tls else "", self._serve)
        self._traffic = Traffic()
        self._life = threading.RLock()
        self._runs = False
        self.faults: Final = Faults(
            FACTS[version], lambda: self._cluster.context.store, lambda: self._listener.connections
        )
        self._renew()

    def _renew(self) -> None:
        """Make a new cluster."""
        cluster = self._cluster = Cluster(self._settings)
        self._frontend = Frontend(cluster.context, cluster.table, self.faults, self._traffic)

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        return await self._frontend.serve(request)  # that of now: `reset` makes another

    # Starting and stopping: one thread at a time, and none that the agents run in.

    @contextmanager
    def _alone(self) -> Generator[None]:
        AGENTS.check_waiting()
        with self._life:
            yield

    def start(self) -> Self:
        """Start to listen, and return the agent.

        The port is the one given, a free one where that is 0, and after `stop` the one from before. OSError if it is
        taken, also by this agent.
        """
        with self._alone():
            if self._runs:
                raise OSError(errno.EADDRINUSE, f"this agent listens already, at {self.url}")
            try:
                AGENTS.enter(self)
                AGENTS.run(self._open())
            except BaseException:
                self.stop()
                raise
        return self

    async def _open(self) -> None:
        await self._listener.open()
        self._cluster.open()
        self._runs = True

    def stop(self) -> None:
        """Close every connection and stop listening, as an agent that is killed.

        Blocking queries that wait get no answer. The next `start` serves the same state, without the leaf certificates
        and the agent's cache, and with a new CA for HTTPS. An agent that is stopped stays so.
        """
        with self._alone():
            try:
                if self._runs:
                    AGENTS.run(self._close())
            except BaseException:
                if self._runs:  # It was interrupted before it began.
                    AGENTS.run(self._close())
                raise
            finally:
                AGENTS.leave(self)
                self._listener.remove_files()

    async def _close(self) -> None:
        self._runs = False
        self._cluster.context.store.close()
        self.faults.release()
        await self._listener.close()
        await self._cluster.close()

    def restart(self, *, keep: bool = True) -> None:
        """Kill the agent and start it again at the same address.

        With `keep` (the default) all that was written is still there; without it, the agent is a new and empty cluster
        with another trust domain. The leaf certificates and the agent's cache are lost either way; faults stay in
        force. An agent that is stopped is started. OSError if the address cannot be had again; it is stopped then.

        In a coroutine, clients in its loop find their connections closed only when the loop runs on: until then, they
        may send a write on one, and never learn whether it was carried out.
        """

        async def restarted() -> None:
            await self._close()
            if not keep:
                self._renew()
            await self._open()

        with self._alone():
            if self._runs:
                try:
                    AGENTS.run(restarted())
                except BaseException:
                    self.stop()
                    raise
            else:
                if not keep:
                    self._renew()
                self.start()

    def reset(self) -> None:
        """Make the agent a new and empty cluster, without faults and requests, at the same address.

        For an agent that many tests share: it stops listening at no moment. Requests that wait or that a fault holds
        get no answer. Routes that were added stay; management token and trust domain stay where they were given.
        """

        async def renewed() -> None:
            before = self._cluster
            self._renew()
            before.context.store.close()
            self.faults.release()
            self.faults.clear()
            self._traffic.clear()
            self._cluster.open()
            await before.close()

        with self._alone():
            if self._runs:
                AGENTS.run(renewed())
            else:
                self._renew()
                self.faults.clear()
                self._traffic.clear()

    def forget(self) -> None:
        """Give up what a forked process has of a running agent: it runs in the parent alone."""
        self._runs, self._life = False, threading.RLock()
        self._listener.forget()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    async def __aenter__(self) -> Self:
        return self.start()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def __repr__(self) -> str:
        return f"<Agent {self.version} at {self._listener.url or 'no address yet'}>"

    # Reading the state.

    @property
    def url(self) -> str:
        """The base URL to give to a client, such as `http://127.0.0.1:21500`.

        RuntimeError before the first start.
        """
        if not self._listener.url:
            raise RuntimeError("the agent has not been started: start it, or enter it as a context")
        return self._listener.url

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
        if self.url.startswith("https"):
            variables["CONSUL_CACERT"] = str(self.ca_file)
        if self._mutual:
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
        if self._listener.files is None:
            raise RuntimeError("the agent has such files with tls=True, and while it runs")
        return self._listener.files

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
        return self._cluster.context.authority.trust_domain

    @property
    def store(self) -> View:
        """A read-only view of the state: the index, intentions, configuration entries, services and checks."""
        cluster = self._cluster
        return View(cluster.context.store, cluster.intentions, cluster.registry)

    @property
    def requests(self) -> tuple[Request, ...]:
        """The requests that the agent has received, oldest first; the last 10,000 are kept."""
        return AGENTS.call(lambda: tuple(self._traffic.requests))

    @property
    def unmodelled(self) -> tuple[Unmodelled, ...]:
        """The requests that were answered with 501, oldest first; the last 10,000 are kept."""
        return AGENTS.call(lambda: tuple(self._traffic.unmodelled))

    @property
    def polls(self) -> tuple[HeldQuery, ...]:
        """The blocking queries that wait now, including those whose client has gone.

        Consul's servers keep such a query until its wait is over, too.
        """
        return AGENTS.call(lambda: tuple(self._cluster.context.held_queries))

    @property
    def connections(self) -> int:
        """The number of connections that Consul would count for its limit per client.

        These are the open ones, and the closed ones that left a blocking query behind which still waits.
        """
        return AGENTS.call(lambda: len(self._listener.connections))

    # Changing the state.

    def route(self, method: str, pattern: str, handler: Handler) -> None:
        """Answer requests by a function of yours: what the agent does not model, or should answer otherwise.

        - `method`: the HTTP method.
        - `pattern`: the path, or with a slash at its end the beginning of paths; ValueError without a slash before it.
        - `handler`: gets the `Request` and returns an `Answer`. It is called in the thread of the agents, which it may
          not keep waiting. Where it fails, the client is answered 500, and the traceback is logged.

        Of several routes that take a request the last one counts. Routes outlive restarts.
        """
        if not pattern.startswith("/"):
            raise ValueError(f"the pattern of a route begins with a slash, unlike {pattern!r}")
        AGENTS.call(lambda: self._traffic.routes.append(AddedRoute(method.upper(), pattern, handler)))

    def rotate_root(self) -> None:
        """Rotate the root of the CA: make a new one that the old one cross-signs, and renew every leaf.

        It wakes the blocking queries for roots and for leaf certificates.
        """
        AGENTS.call(self._cluster.context.authority.rotate)

    def run_checks(self) -> None:
        """Run every TCP and HTTP check now, instead of after its interval, and wait for the results."""
        AGENTS.check_waiting()
        if self._runs:
            AGENTS.run(self._cluster.registry.run_checks())

    def advance(self, index: int) -> None:
        """Raise the index to at least `index`, as writes elsewhere in the cluster would.

        The next write to this agent gets a higher one. No blocking query wakes.
        """

        def raised() -> None:
            self._cluster.context.store.index = max(self._cluster.context.store.index, index)

        AGENTS.call(raised)

    def snapshot(self) -> Snapshot:
        """Take a snapshot, as `consul snapshot save` does.

        It holds what the servers keep, and not what the agent keeps for itself: its services with their checks, and
        leaf certificates.
        """
        return AGENTS.call(self._cluster.snapshot)

    def restore(self, snapshot: Snapshot) -> None:
        """Restore `snapshot`, as `consul snapshot restore` does.

        Blocking queries that wait end at once, with the data from before and an unmoved index. Later reads find the
        restored data, under its old and lower index. The roots and leaf certificates that the agent holds are right at
        the next read, while a real agent keeps the discarded ones for ten minutes; blocking queries for them are not
        woken. The services of the agent stay. ValueError for a snapshot of another version.
        """

        def loaded() -> None:
            self._cluster.restore(snapshot)
            self.faults.wake()

        AGENTS.call(loaded)
