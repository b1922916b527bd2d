"""`Consul`: the only entry point. It owns the transport and the polls, and shows the groups of endpoints."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import cached_property
from types import TracebackType
from typing import TYPE_CHECKING, Self, Unpack

from aioconsulconnect.clock import Clock
from aioconsulconnect.endpoints.ca import CA
from aioconsulconnect.transport.aiohttp_transport import Transport
from aioconsulconnect.transport.options import Options
from aioconsulconnect.transport.sessions import Session, TraceConfig
from aioconsulconnect.transport.settings import ConnectionSettings, Settings
from aioconsulconnect.watch.poller_pool import PollerPool
from aioconsulconnect.watch.protocol.poll_settings import PollSettings
from aioconsulconnect.watch.protocol.status import Hook
from aioconsulconnect.workflows.intentions import Intentions

if TYPE_CHECKING:
    from aioconsulconnect.endpoints.agent import Agent
    from aioconsulconnect.endpoints.capabilities import Prober
    from aioconsulconnect.endpoints.catalog import Catalog
    from aioconsulconnect.endpoints.config import Config
    from aioconsulconnect.endpoints.discovery_chain import DiscoveryChains
    from aioconsulconnect.endpoints.health import Health


class Consul:
    """
    A client of one Consul agent (or of several that stand in for each other).

    `address`: `host:port`, `http://…`, `https://…` (either with a path prefix) or `unix://PATH`; several are tried in
    order. Default: CONSUL_HTTP_ADDR, else 127.0.0.1:8500.
    `settings`: the keywords of `ConnectionSettings`: token, TLS, options of every call. What is left out comes from the
    variables of the `consul` command; an argument always wins.
    `session`: an aiohttp session for plain calls: never closed here, and polls get one of their own with its trace
    configs.
    `trace_configs`: aiohttp's hooks for our own sessions.
    `polls`: how watches poll.
    `on_event`: told of each request of a poll, change of state and delivery, for metrics.
    `clock`: what every wait goes through, for tests.

    Building it does no I/O and needs no event loop; it belongs to the loop of its first call. `async with` only adds
    `aclose()` at the end. Raises SettingsError for anything malformed, with the name of the argument or variable.
    """

    def __init__(
        self,
        address: str | Sequence[str] | None = None,
        *,
        session: Session | None = None,
        trace_configs: Sequence[TraceConfig] = (),
        polls: PollSettings | None = None,
        on_event: Hook | None = None,
        clock: Clock | None = None,
        **settings: Unpack[ConnectionSettings],
    ) -> None:
        loaded = Settings.load(address, **settings)
        transport = Transport(loaded, session=session, trace_configs=trace_configs, clock=clock)
        pool = PollerPool(transport, settings=polls or PollSettings(), clock=clock, on_event=on_event)
        self._share(transport, pool, _End(pool, transport), loaded.options)

    def _share(self, transport: Transport, pool: PollerPool, end: _End, options: Options) -> None:
        self._transport = transport
        self._pool = pool
        self._end = end
        self._options = options
        self.intentions: Intentions = Intentions(transport, pool, options)
        self.ca: CA = CA(transport, pool, options)

    # A group with many structs of its own is imported when a program first uses it.

    @cached_property
    def agent(self) -> Agent:
        """The local agent: cached roots, leaf certificates, authorize, services and checks."""
        from aioconsulconnect.endpoints.agent import Agent  # noqa: PLC0415 - see above

        return Agent(self._transport, self._pool, self._options)

    @cached_property
    def catalog(self) -> Catalog:
        """The catalog: where the proxies and native instances of a service are."""
        from aioconsulconnect.endpoints.catalog import Catalog  # noqa: PLC0415 - see above

        return Catalog(self._transport, self._pool, self._options)

    @cached_property
    def health(self) -> Health:
        """Health: where the instances of a service are, with the status of their checks."""
        from aioconsulconnect.endpoints.health import Health  # noqa: PLC0415 - see above

        return Health(self._transport, self._pool, self._options)

    @cached_property
    def config(self) -> Config:
        """Config entries of every kind."""
        from aioconsulconnect.endpoints.config import Config  # noqa: PLC0415 - see above

        return Config(self._transport, self._pool, self._options)

    @cached_property
    def discovery_chain(self) -> DiscoveryChains:
        """Call it with a service for its compiled discovery chain."""
        from aioconsulconnect.endpoints.discovery_chain import DiscoveryChains  # noqa: PLC0415 - see above

        return DiscoveryChains(self._transport, self._pool, self._options)

    @cached_property
    def capabilities(self) -> Prober:
        """`await consul.capabilities()`: what the agent is able to, remembered."""
        from aioconsulconnect.endpoints.capabilities import Prober  # noqa: PLC0415 - see above

        return Prober(self._transport, self._pool, self._options)

    def with_options(self, options: Options) -> Consul:
        """A view of this client with other default options; it shares connections and polls, and is closed with it."""
        return _View(self._transport, self._pool, self._end, options.over(self._options))

    def token_changed(self) -> None:
        """Say that the token is another one now: watches that were denied, and all that use it, read again at once."""
        self._pool.token_changed()

    async def aclose(self) -> None:
        """End all watches and close the connections. From any task, and twice, if need be."""
        await self._end.reached()

    async def __aenter__(self) -> Self:
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
    """A client with other default options, on the transport and the polls of another."""

    def __init__(self, transport: Transport, pool: PollerPool, end: _End, options: Options) -> None:
        self._share(transport, pool, end, options)


class _End:
    """The end of a client: made once, in a task of its own, because it may cancel whoever asks for it."""

    def __init__(self, pool: PollerPool, transport: Transport) -> None:
        self._pool = pool
        self._transport = transport
        self._task: asyncio.Task[None] | None = None

    async def reached(self) -> None:
        """Wait until everything is closed."""
        if self._task is None:
            self._task = asyncio.create_task(self._make(), name="aioconsulconnect end")
        await asyncio.shield(self._task)

    async def _make(self) -> None:
        await self._pool.aclose()
        await self._transport.aclose()
