"""`Consul`: the only door. It owns the transport and the polls, and shows the groups of endpoints."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cached_property
from types import TracebackType
from typing import TYPE_CHECKING, Self

from aioconsulconnect.clock import Clock
from aioconsulconnect.endpoints.ca import CA
from aioconsulconnect.transport.aiohttp_transport import Session, TraceConfig, Transport
from aioconsulconnect.transport.options import NO_OPTIONS, Options
from aioconsulconnect.transport.settings import DEFAULT_MAX_BODY, Settings
from aioconsulconnect.transport.token import TokenProvider
from aioconsulconnect.watch.poller import Polls
from aioconsulconnect.watch.protocol.pacing import PollSettings
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

    `address` is `host:port`, `http://…`, `https://…` (either with a path prefix) or `unix://PATH`; several are tried in
    order. Every argument that is left out comes from the variables of the `consul` command: CONSUL_HTTP_ADDR,
    CONSUL_HTTP_TOKEN, CONSUL_HTTP_TOKEN_FILE (read again when it changes), CONSUL_HTTP_AUTH, CONSUL_HTTP_SSL,
    CONSUL_HTTP_SSL_VERIFY, CONSUL_CACERT, CONSUL_CAPATH, CONSUL_CLIENT_CERT, CONSUL_CLIENT_KEY, CONSUL_TLS_SERVER_NAME,
    CONSUL_NAMESPACE and CONSUL_PARTITION; an argument always wins. `token` may be a function, sync or async, which is
    called for each request. `options` are the defaults of every call. `max_body` limits an answer (bytes after
    decompression, 64 MiB); `tries` is how often a call is sent at most, where another try can help and cannot harm
    (once more for each further address).

    `session` lends an aiohttp session for plain calls: it is never closed here, and polls get one of their own with its
    trace configs. `polls` sets how watches poll; `on_event` is told of each of their requests, changes of state and
    deliveries, for metrics.

    Building it does no I/O and needs no event loop; it belongs to the loop of its first call. `async with` only adds
    `aclose()` at the end. Raises SettingsError for anything malformed, with the name of the argument or variable.
    """

    def __init__(
        self,
        address: str | Sequence[str] | None = None,
        *,
        token: str | TokenProvider | None = None,
        token_file: str | os.PathLike[str] | None = None,
        auth: str | None = None,
        https: bool | None = None,
        verify: bool | None = None,
        ca_cert: str | os.PathLike[str] | None = None,
        ca_path: str | os.PathLike[str] | None = None,
        client_cert: str | os.PathLike[str] | None = None,
        client_key: str | os.PathLike[str] | None = None,
        tls_server_name: str | None = None,
        options: Options = NO_OPTIONS,
        max_body: int = DEFAULT_MAX_BODY,
        tries: int = 3,
        session: Session | None = None,
        trace_configs: Sequence[TraceConfig] = (),
        polls: PollSettings | None = None,
        on_event: Hook | None = None,
        clock: Clock | None = None,
    ) -> None:
        settings = Settings.load(
            address,
            token=token,
            token_file=token_file,
            auth=auth,
            https=https,
            verify=verify,
            ca_cert=ca_cert,
            ca_path=ca_path,
            client_cert=client_cert,
            client_key=client_key,
            tls_server_name=tls_server_name,
            options=options,
            max_body=max_body,
            tries=tries,
        )
        transport = Transport(settings, session=session, trace_configs=trace_configs, clock=clock)
        shared = Polls(transport, settings=polls or PollSettings(), clock=clock, on_event=on_event)
        self._show(transport, shared, settings.options)

    def _show(self, transport: Transport, polls: Polls, options: Options) -> None:
        self._transport = transport
        self._polls = polls
        self._options = options
        self.intentions: Intentions = Intentions(transport, polls, options)
        self.ca: CA = CA(transport, polls, options)

    # A group with many structs of its own is imported when a program first uses it.

    @cached_property
    def agent(self) -> Agent:
        """The local agent: cached roots, leaf certificates, authorize, services and checks."""
        from aioconsulconnect.endpoints.agent import Agent  # noqa: PLC0415 - see above

        return Agent(self._transport, self._polls, self._options)

    @cached_property
    def catalog(self) -> Catalog:
        """The catalog: where the proxies and native instances of a service are."""
        from aioconsulconnect.endpoints.catalog import Catalog  # noqa: PLC0415 - see above

        return Catalog(self._transport, self._polls, self._options)

    @cached_property
    def health(self) -> Health:
        """The same with their health."""
        from aioconsulconnect.endpoints.health import Health  # noqa: PLC0415 - see above

        return Health(self._transport, self._polls, self._options)

    @cached_property
    def config(self) -> Config:
        """Config entries of every kind."""
        from aioconsulconnect.endpoints.config import Config  # noqa: PLC0415 - see above

        return Config(self._transport, self._polls, self._options)

    @cached_property
    def discovery_chain(self) -> DiscoveryChains:
        """Call it with a service for its compiled discovery chain."""
        from aioconsulconnect.endpoints.discovery_chain import DiscoveryChains  # noqa: PLC0415 - see above

        return DiscoveryChains(self._transport, self._polls, self._options)

    @cached_property
    def capabilities(self) -> Prober:
        """`await consul.capabilities()`: what the agent is able to, remembered."""
        from aioconsulconnect.endpoints.capabilities import Prober  # noqa: PLC0415 - see above

        return Prober(self._transport, self._polls, self._options)

    def with_options(self, options: Options) -> Consul:
        """A view of this client with other default options; it shares connections and polls, and is closed with it."""
        view = object.__new__(Consul)
        view._show(self._transport, self._polls, options.over(self._options))
        return view

    def token_changed(self) -> None:
        """Say that the token is another one now: watches that were denied, and all that use it, read again at once."""
        self._polls.token_changed()

    async def aclose(self) -> None:
        """End all watches and close the connections. From any task, and twice, if need be."""
        await self._polls.aclose()
        await self._transport.aclose()

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
