"""Sessions of aiohttp for one client: for plain calls, polls and probes, and for each way to an agent."""

from __future__ import annotations

import asyncio
import inspect
import socket
from contextlib import suppress

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.client_reqrep import ConnectionKey

from aioconsulconnect.errors import Closed, SettingsError
from aioconsulconnect.own_loop import OwnLoop
from aioconsulconnect.transport.broken import Lost
from aioconsulconnect.transport.exchange import End, Exchange
from aioconsulconnect.transport.settings.connection import Address, Settings
from aioconsulconnect.transport.settings.http_client import AddressInfo, KeptConnections, Session
from aioconsulconnect.transport.settings.options import Purpose
from aioconsulconnect.version import __version__

_KEEP_ALIVE = 7.0  # seconds: the agent counts idle connections (fact 4), and aiohttp checks once in that time
# A poll is silent for a minute: without this a dead path would only be noticed at its deadline. (On macOS
# TCP_KEEPALIVE is the idle time.)
_SOCKET_KEEPALIVE = (("TCP_KEEPIDLE", 10), ("TCP_KEEPALIVE", 10), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 3))


async def _no_hidden_resend(
    request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    """
    Keep aiohttp from sending a request again whose connection had died idle.

    aiohttp does so for GET, PUT and DELETE (fact 3); only `Transport.send` decides on another try.
    """
    try:
        return await handler(request)
    except aiohttp.ClientConnectorError:
        raise
    except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as error:
        raise Lost from error


_OURS = (_no_hidden_resend,)


class _NewestFirst(aiohttp.BaseConnector):
    """
    Connector that hands out the idle connection that was used last, and closes others at once.

    aiohttp hands out the oldest, which would keep all of them alive.
    """

    def _release(self, key: ConnectionKey, protocol: ResponseHandler, *, should_close: bool = False) -> None:
        # At once: a TLS connection would wait for the other side's goodbye, where nobody ends it.
        if key.is_ssl and (should_close or protocol.should_close):
            protocol.abort()
        super()._release(key, protocol, should_close=should_close)
        if (idle := self._conns.get(key)) is not None:
            idle.rotate(1)  # aiohttp appends it, and hands out the first


class _TCP(_NewestFirst, aiohttp.TCPConnector):
    pass


class _Unix(_NewestFirst, aiohttp.UnixConnector):
    pass


class SessionPool:
    """
    Sessions of one client, opened when they are first needed, in the event loop of the first I/O.

    - `settings`: addresses, and settings of the HTTP client.
    - `own_loop`: event loop of the client.

    `closed` is True after `aclose`; `under_way` are the requests under way, which it ends.
    """

    def __init__(self, settings: Settings, own_loop: OwnLoop) -> None:
        self.closed: bool = False
        self.under_way: set[Exchange] = set()
        self._client = settings.client
        theirs = {name.lower() for name in self._client.headers}
        ours = _own_headers(near=all(address.near for address in settings.addresses)).items()
        self._headers = {**{name: value for name, value in ours if name.lower() not in theirs}, **self._client.headers}
        self._sessions: dict[tuple[Purpose, str, bool], Session] = {}
        self._own_loop = own_loop

    def of(self, address: Address, purpose: Purpose, *, fresh: bool) -> Session:
        """
        Return the session for `address` and `purpose`.

        `fresh` says that no connection that existed before may be used. Raises Closed after `aclose`, and in another
        event loop than the first.
        """
        if self.closed:
            raise Closed("this client was closed; make another one")
        self._own_loop.check()
        key = (purpose, address.socket, fresh)
        session = self._sessions.get(key)
        if session is None:
            session = self._sessions[key] = self._open(address, purpose, fresh=fresh)
        return session

    def _open(self, address: Address, purpose: Purpose, *, fresh: bool) -> Session:
        client = self._client
        kept = KeptConnections(limit=0)
        if purpose == "probe":  # made to learn what happens to a new connection
            kept["limit_per_host"], kept["force_close"] = 1, True
        elif fresh:
            kept["force_close"] = True
        else:
            kept["keepalive_timeout"] = _KEEP_ALIVE
        socket_factory = _poll_socket if purpose == "polls" else _socket
        if client.session_factory is not None:
            theirs = {} if client.resolver is None else {"resolver": client.resolver}
            return _checked(client.session_factory(purpose, socket_factory=socket_factory, **kept, **theirs))
        connector: aiohttp.BaseConnector
        if address.socket:
            connector = _Unix(address.socket, **kept)
        else:
            connector = _TCP(resolver=client.resolver, socket_factory=socket_factory, **kept)
        return aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            headers=self._headers,
            trace_configs=list(client.trace_configs),
        )

    def middlewares_of(self, session: Session) -> tuple[aiohttp.ClientMiddlewareType, ...]:
        """Return the middlewares for a request of `session`, which replace its own ones."""
        theirs = () if self._client.session_factory is None else getattr(session, "_middlewares", ())
        return (*theirs, _no_hidden_resend) if theirs else _OURS

    async def aclose(self) -> None:
        """Close the sessions of the pool, and end the requests under way; it may be called twice."""
        self.closed = True
        own_task = asyncio.current_task()
        for exchange in self.under_way:
            if not exchange.is_of(own_task):
                exchange.end(End.CLOSED)
        while self._sessions:
            _, session = self._sessions.popitem()
            connector = session.connector
            # At once, also under TLS: a loop that is closed next would leave transports behind that wait for a goodbye.
            if connector is not None and session.connector_owner:
                await connector.close(abort_ssl=True)
            await session.close()


def _checked(session: object) -> Session:
    """Return what a session factory made, if it is a session."""
    if not isinstance(session, Session):
        if inspect.iscoroutine(session):
            session.close()
        raise SettingsError(
            f"session_factory: it must return an aiohttp.ClientSession, not {type(session).__name__};"
            " give a plain function, not an async one"
        )
    return session


def fixed_headers(settings: Settings) -> dict[str, str] | None:
    """Return the headers of every request beside those of its session, which may be another's."""
    client = settings.client
    headers = dict(client.headers) if client.session_factory is not None else {}
    if settings.auth:
        if any(name.lower() == "authorization" for name in client.headers):
            raise SettingsError("headers: auth (CONSUL_HTTP_AUTH) sets Authorization already")
        headers["Authorization"] = settings.auth
    return headers or None


def _own_headers(*, near: bool) -> dict[str, str]:
    """
    Return the headers of every request of a session of the library's own making.

    `near` says that all agents are on this machine: answers are then not compressed.
    """
    return {
        "User-Agent": f"aioconsulconnect/{__version__}",
        "Accept-Encoding": "identity" if near else "gzip, deflate",
    }


def _socket(info: AddressInfo) -> socket.socket:
    """Return a new socket, and note in the request's `Exchange` that it was made."""
    family, kind, protocol, _, _ = info
    made = socket.socket(family, kind, protocol)
    if (asked := Exchange.current()) is not None:
        asked.opens()
    return made


def _poll_socket(info: AddressInfo) -> socket.socket:
    """Return a new socket with keepalive, which notices when its other end is gone."""
    made = _socket(info)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _SOCKET_KEEPALIVE:
        if (option := getattr(socket, name, None)) is not None:
            with suppress(OSError):
                made.setsockopt(socket.IPPROTO_TCP, option, value)
    return made
