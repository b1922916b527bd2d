"""
`Consul`, the client and the only entry point of the library.

It owns the transport and the pollers, and has one attribute for each group of endpoints.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import cached_property
from types import TracebackType
from typing import TYPE_CHECKING, Self, Unpack

from anyio import CancelScope

from aioconsulconnect.clock import Clock
from aioconsulconnect.endpoints.any_path import AnyPath
from aioconsulconnect.own_loop import OwnLoop
from aioconsulconnect.transport.aiohttp_transport import Transport
from aioconsulconnect.transport.settings.connection import ConnectionSettings, Settings
from aioconsulconnect.transport.settings.options import Options
from aioconsulconnect.watch.poller_pool import PollerPool
from aioconsulconnect.watch.protocol.poll_settings import PollSettings
from aioconsulconnect.watch.protocol.status import Hook
from aioconsulconnect.workflows.intentions import Intentions

if TYPE_CHECKING:
    from aioconsulconnect.authorization.authorizer import Authorizer
    from aioconsulconnect.authorization.authorizer_status import DecisionHook
    from aioconsulconnect.authorization.rules.settings import Mode
    from aioconsulconnect.authorization.rules.source import Peer
    from aioconsulconnect.endpoints.agent import Agent
    from aioconsulconnect.endpoints.ca import CA
    from aioconsulconnect.endpoints.capabilities import Prober
    from aioconsulconnect.endpoints.catalog import Catalog
    from aioconsulconnect.endpoints.config import Config
    from aioconsulconnect.endpoints.discovery_chain import DiscoveryChains
    from aioconsulconnect.endpoints.health import Health
    from aioconsulconnect.structs.intentions import Action


class Consul(AnyPath):
    """
    Client of one Consul agent, or of several agents that stand in for each other.

    Creating a client does no I/O and needs no event loop. The client belongs to the event loop of its first call;
    calls from any other loop raise Closed. `async with` does nothing on entry and calls `aclose()` at the end.

    A keyword that is left out (or None, where its type allows that) takes the value of the environment variable in
    parentheses, as the `consul` command does, else the default. An empty variable counts as unset. An argument always
    wins over a variable.

    - `address`: agent to talk to, as `host:port`, `http://…`, `https://…` (either with a path prefix) or `unix://PATH`.
      A sequence of addresses is tried in order. Default `127.0.0.1:8500` (CONSUL_HTTP_ADDR).
    - `polls`: `PollSettings`, which say how watches poll. Default `PollSettings()`.
    - `on_event`: function that is called with an `Event` for each request of a poll, each change of state and each
      delivery, for metrics. Default none.
    - `clock`: `Clock` that every wait goes through, for tests. Default: the system's monotonic clock.
    - `token`: ACL token (SecretID), or a sync or async function without parameters that returns one and is called for
      each request (CONSUL_HTTP_TOKEN). Default, and with an empty text, none: requests are anonymous.
    - `token_file`: path of a file with the token, read again when it changes; not together with `token`
      (CONSUL_HTTP_TOKEN_FILE).
    - `auth`: `user:password` for HTTP basic authentication (CONSUL_HTTP_AUTH). Default none.
    - `https`: True for TLS to an address without a scheme, False for none (CONSUL_HTTP_SSL). The variable holds for
      `http://…` as well, as for the `consul` command, unless this argument is False. Default False.
    - `verify`: False to leave the agent's certificate unchecked (CONSUL_HTTP_SSL_VERIFY). Default True.
    - `ca_cert`: path of a PEM file with the only certificate authorities to trust (CONSUL_CACERT). Default: those of
      the system.
    - `ca_path`: path of a folder with such files, searched with its sub-folders where there is no `ca_cert`
      (CONSUL_CAPATH). As an argument it rules out CONSUL_CACERT.
    - `client_cert`: path of a PEM file with a client certificate; needs `client_key` (CONSUL_CLIENT_CERT). Default
      none.
    - `client_key`: path of a PEM file with its private key, without a passphrase (CONSUL_CLIENT_KEY).
    - `tls_server_name`: host name that the agent's certificate must have (CONSUL_TLS_SERVER_NAME). Default: that of the
      address.
    - `proxy`: proxy for all requests, calls and polls alike: `http://host:port`. Default none; HTTP_PROXY is not read.
    - `headers`: headers of every request, such as a gateway in front of Consul wants. Default none.
    - `resolver`: aiohttp resolver of host names, which is not closed here. Default: the system's.
    - `ssl_context`: TLS context, in place of the files and `verify`. Default: one that is made of them.
    - `session_factory`: function that makes the aiohttp sessions, for what none of these can. It is called as
      `factory(purpose, **ours)`, with "calls", "polls" or "probe" and the arguments for a connector, and returns a
      session, which the client closes and which brings its own User-Agent. Default: the client's own.
    - `trace_configs`: aiohttp trace configs for the client's own sessions. Default none.
    - `options`: default `Options` of every call; `namespace` and `partition` default to CONSUL_NAMESPACE and
      CONSUL_PARTITION, `timeout` to 10 seconds.
    - `max_body`: size of the largest answer that is read, in bytes after decompression. Default 64 MiB.
    - `tries`: number of times that a call is sent at most, where another try can help and does no harm; each address
      after the first adds one. Default 3.

    Raises SettingsError for a malformed argument or variable; the message names it.
    """

    def __init__(
        self,
        address: str | Sequence[str] | None = None,
        *,
        polls: PollSettings | None = None,
        on_event: Hook | None = None,
        clock: Clock | None = None,
        **settings: Unpack[ConnectionSettings],
    ) -> None:
        loaded = Settings.load(address, **settings)
        own_loop = OwnLoop()
        transport = Transport(loaded, clock=clock, own_loop=own_loop)
        settled = polls or PollSettings()
        pool = PollerPool(transport, settings=settled, clock=clock, on_event=on_event, own_loop=own_loop)
        self._share(transport, pool, _End(pool, transport, own_loop), loaded.options)

    def _share(self, transport: Transport, pool: PollerPool, end: _End, options: Options) -> None:
        AnyPath.__init__(self, transport, pool, options)
        self._transport = transport
        self._end = end
        self.intentions: Intentions = Intentions(transport, pool, options)

    # A group of endpoints with many structs is imported at its first use, so that others do not pay for it.

    @cached_property
    def ca(self) -> CA:
        """The certificate authority: roots, configuration (`/v1/connect/ca`)."""
        from aioconsulconnect.endpoints.ca import CA  # noqa: PLC0415 - see above

        return CA(self._transport, self._pool, self._defaults)

    @cached_property
    def agent(self) -> Agent:
        """The local agent: cached roots, leaf certificates, authorization, services and checks (`/v1/agent`)."""
        from aioconsulconnect.endpoints.agent import Agent  # noqa: PLC0415 - see above

        return Agent(self._transport, self._pool, self._defaults)

    @cached_property
    def catalog(self) -> Catalog:
        """The catalog: the proxies and native instances of a service, without their health (`/v1/catalog`)."""
        from aioconsulconnect.endpoints.catalog import Catalog  # noqa: PLC0415 - see above

        return Catalog(self._transport, self._pool, self._defaults)

    @cached_property
    def health(self) -> Health:
        """The instances of a service with the status of their checks (`/v1/health`)."""
        from aioconsulconnect.endpoints.health import Health  # noqa: PLC0415 - see above

        return Health(self._transport, self._pool, self._defaults)

    @cached_property
    def config(self) -> Config:
        """Config entries of every kind (`/v1/config`)."""
        from aioconsulconnect.endpoints.config import Config  # noqa: PLC0415 - see above

        return Config(self._transport, self._pool, self._defaults)

    @cached_property
    def discovery_chain(self) -> DiscoveryChains:
        """Compiled discovery chains: `consul.discovery_chain("web")` (`/v1/discovery-chain`)."""
        from aioconsulconnect.endpoints.discovery_chain import DiscoveryChains  # noqa: PLC0415 - see above

        return DiscoveryChains(self._transport, self._pool, self._defaults)

    @cached_property
    def capabilities(self) -> Prober:
        """Version and features of the agent, remembered: `await consul.capabilities()`."""
        from aioconsulconnect.endpoints.capabilities import Prober  # noqa: PLC0415 - see above

        return Prober(self._transport, self._pool, self._defaults)

    def authorizer(
        self,
        *destinations: str,
        mode: Mode = "consul",
        default: Action | None = None,
        max_age: float | None = None,
        peers: Sequence[Peer] = (),
        enterprise: bool = False,
        on_decision: DecisionHook | None = None,
        ready_timeout: float | None = 10,
        options: Options | None = None,
    ) -> Authorizer:
        """
        Return an authorizer, which decides in the process who may connect to these destinations.

        `async with consul.authorizer("db") as authorizer`, then `authorizer.check("web")`. It follows the intentions,
        the default, the trust domain, the mesh entry and the JWT providers by itself, and denies what it does not know.

        - `destinations`: names of the destinations, which share one poll; none for all, as a gateway needs them.
        - `mode`: "consul" (default) for the first match, as the agent decides; "envoy" for what a sidecar enforces.
        - `default`: what holds where no intention matches; default: it is learnt from the agent, for which the token
          needs `service:write` on a destination (without destinations: on any name).
        - `max_age`: age in seconds of the oldest data that decides; older data denies. Default: the last good data
          decides however old it is, as in Envoy.
        - `peers`: peers whose services may call; default none.
        - `enterprise`: True if Consul has namespaces and partitions; without it every other one is denied.
        - `on_decision`: function that is given every `Decision`, for audit. Default none.
        - `ready_timeout`: how long entering it waits for the first data before it raises NotReady, in seconds; None for
          no limit. 0 enters at once, and all is denied until there is data.
        - `options`: options of its reads, over the client's.

        Raises InvalidRequest for what is no name of a destination, and for a mode, default or `max_age` that there is
        not.
        """
        from aioconsulconnect.authorization.authorizer import Authorizer  # noqa: PLC0415 - as the groups
        from aioconsulconnect.authorization.authorizer_status import AuthorizerOptions  # noqa: PLC0415

        choices = AuthorizerOptions(
            mode=mode,
            default=default,
            max_age=max_age,
            peers=tuple(peers),
            enterprise=enterprise,
            on_decision=on_decision,
            ready_timeout=ready_timeout,
        )
        options = self._defaults if options is None else options.over(self._defaults)
        return Authorizer(self._transport, self._pool, options, destinations, choices)

    async def ready(self, timeout: float | None = 30) -> None:  # noqa: ASYNC109 - as for a watch
        """
        Wait until an agent answers and its servers have a leader.

        It is for a program that may start before its agent: `GET /v1/status/leader`, which needs no rights, again and
        again after pauses of 0.1 s to 1 s. `timeout` is in seconds, None for no limit. Raises NotReady with the last
        error when there is no such agent by then, and at once the error that no waiting can help against, such as a
        certificate that is not trusted.
        """
        from aioconsulconnect.workflows.readiness import wait_for_agent  # noqa: PLC0415 - as the groups

        await wait_for_agent(self._transport, self._pool.clock, self._defaults, timeout)

    def with_options(self, options: Options) -> Consul:
        """
        Return a client with other default options that shares connections and polls with this one.

        What `options` leaves unset stays as it is here. Closing either client closes both.
        """
        return _View(self._transport, self._pool, self._end, options.over(self._defaults))

    def token_changed(self) -> None:
        """
        Announce that the client's token has changed, so that all watches that use it read again at once.

        Watches that were denied read again too. Watches with a token of their own in their options are not concerned.
        """
        self._pool.token_changed()

    async def aclose(self) -> None:
        """
        End all watches and close the connections.

        It may be called from any task, and more than once. Raises Closed in another event loop than the client's.
        """
        await self._end.wait()

    async def __aenter__(self) -> Self:
        self._end.own_loop.check()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        return f"<Consul {', '.join(self._transport.addresses)}>"

    def __reduce__(self) -> str:
        raise TypeError("a Consul client holds connections and cannot be pickled")


class _View(Consul):
    """Client with other default options, on the transport and the pollers of another client."""

    def __init__(self, transport: Transport, pool: PollerPool, end: _End, options: Options) -> None:
        self._share(transport, pool, end, options)


class _End:
    """
    Closing of a client, done once, in a task of its own.

    It needs a task of its own because it may cancel the task that asks for it.
    """

    def __init__(self, pool: PollerPool, transport: Transport, own_loop: OwnLoop) -> None:
        self._pool = pool
        self._transport = transport
        self.own_loop = own_loop
        self._task: asyncio.Task[None] | None = None

    async def wait(self) -> None:
        """Close the pollers and the transport, or wait until they are closed."""
        if self._task is not None and self._task.done():
            self._task.result()
            return
        self.own_loop.check()
        if self._task is None:
            self._task = asyncio.create_task(self._make(), name="aioconsulconnect end")
        with CancelScope(shield=True):  # a scope of anyio that is cancelled would not wait, and leave sockets open
            await asyncio.shield(self._task)

    async def _make(self) -> None:
        await self._pool.aclose()
        await self._transport.aclose()
