"""Sessions of aiohttp for one client: for plain calls, polls and probes, and for each way to an agent."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from contextvars import ContextVar

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.client_reqrep import ConnectionKey
from aiohttp.connector import Connection
from aiohttp.tracing import Trace

from aioconsulconnect.clock import Clock
from aioconsulconnect.errors import Closed
from aioconsulconnect.transport.settings.connection import Address, Settings
from aioconsulconnect.transport.settings.http_client import AddressInfo, ConnectorArguments, KeptConnections, Session
from aioconsulconnect.transport.settings.options import Purpose
from aioconsulconnect.version import __version__

_CLOSED = "closed"  # tells our cancellation of a call from others
_KEEP_ALIVE = 7.0  # seconds: the agent counts idle connections (fact 4), and aiohttp checks once in that time
# A poll is silent for a minute: without this a dead path would only be noticed at its deadline. (On macOS
# TCP_KEEPALIVE is the idle time.)
_SOCKET_KEEPALIVE = (("TCP_KEEPIDLE", 10), ("TCP_KEEPALIVE", 10), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 3))


class Connecting:
    """
    Record of the connection of one request: whether it is a new one, and its age.

    - `clock`: clock of the client.
    - `fresh`: no connection that existed before may be used.
    """

    __slots__ = ("_clock", "_opened", "fresh")

    def __init__(self, clock: Clock, *, fresh: bool) -> None:
        self._clock = clock
        self.fresh = fresh
        self._opened = float("-inf")

    def begin(self) -> None:
        """Note that a new connection is being made for the request."""
        self._opened = self._clock.now()

    @property
    def age(self) -> float:
        """The seconds since a new connection was begun; infinite for one that existed before."""
        return self._clock.now() - self._opened


connecting: ContextVar[Connecting | None] = ContextVar("connecting", default=None)


class _NewestFirst(aiohttp.BaseConnector):
    """
    Connector that hands out the idle connection that was used last, and closes others at once.

    aiohttp hands out the oldest, which would keep all of them alive.
    """

    async def _get(self, key: ConnectionKey, traces: list[Trace]) -> Connection | None:
        if (asked := connecting.get()) is not None and asked.fresh:
            return None
        if (idle := self._conns.get(key)) is not None:
            idle.rotate(1)
        return await super()._get(key, traces)

    def _release(self, key: ConnectionKey, protocol: ResponseHandler, *, should_close: bool = False) -> None:
        # At once: a connection that is to be closed would wait for the other side's goodbye, where nobody ends it.
        if should_close or protocol.should_close:
            protocol.abort()
        super()._release(key, protocol, should_close=should_close)


class _TCP(_NewestFirst, aiohttp.TCPConnector):
    pass


class _Unix(_NewestFirst, aiohttp.UnixConnector):
    pass


class SessionPool:
    """
    Sessions of one client, opened when they are first needed, in the event loop of the first I/O.

    - `settings`: addresses, and settings of the HTTP client.

    `closed` is True after `aclose`.
    """

    def __init__(self, settings: Settings) -> None:
        self.closed: bool = False
        self._client = settings.client
        self._headers = {
            **own_headers(near=all(address.near for address in settings.addresses)),
            **self._client.headers,
        }
        self._sessions: dict[tuple[Purpose, str], Session] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._calls: set[asyncio.Task[object] | None] = set()

    def of(self, address: Address, purpose: Purpose) -> Session:
        """
        Return the session for `address` and `purpose`.

        Raises Closed after `aclose`, and in another event loop than the first.
        """
        if self.closed:
            raise Closed("this client was closed; make another one")
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            if self._loop is not None:
                raise Closed("this client belongs to the event loop of its first call; make one for each loop")
            self._loop = loop
        key = (purpose, address.socket)
        session = self._sessions.get(key)
        if session is None:
            session = self._sessions[key] = self._open(address, purpose)
        return session

    def _open(self, address: Address, purpose: Purpose) -> Session:
        client = self._client
        ours = ConnectorArguments(limit=0)
        if purpose == "probe":  # made to learn what happens to a new connection
            ours["limit_per_host"], ours["force_close"] = 1, True
        else:
            ours["keepalive_timeout"] = _KEEP_ALIVE
        kept: KeptConnections = ours
        socket_factory = _poll_socket if purpose == "polls" else _socket
        if client.session_factory is not None:
            ours["socket_factory"] = socket_factory
            if client.resolver is not None:
                ours["resolver"] = client.resolver
            return client.session_factory(purpose, **ours)
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

    def begin_call(self) -> asyncio.Task[object] | None:
        """Note that this task waits for a call, so that `aclose` ends it, and return the task."""
        task = asyncio.current_task()
        if task is not None:
            self._calls.add(task)
        return task

    def end_call(self, task: asyncio.Task[object] | None) -> None:
        """Note that the `task` waits no more."""
        self._calls.discard(task)

    def raise_closed(self, cancelled: asyncio.CancelledError, task: asyncio.Task[object] | None) -> None:
        """
        Raise Closed if it was the pool that cancelled a call, and not its caller.

        - `cancelled`: the cancellation.
        - `task`: the task of the call.
        """
        if task is not None and cancelled.args == (_CLOSED,):
            task.uncancel()
            raise Closed("this client was closed") from None

    async def aclose(self) -> None:
        """Close the sessions of the pool, and end the calls under way; it may be called twice."""
        self.closed = True
        for task in self._calls - {asyncio.current_task()}:
            if task is not None:
                task.cancel(_CLOSED)
        while self._sessions:
            _, session = self._sessions.popitem()
            connector = session.connector
            # At once, also under TLS: a loop that is closed next would leave transports behind that wait for a goodbye.
            if connector is not None and session.connector_owner:
                await connector.close(abort_ssl=True)
            await session.close()


def own_headers(*, near: bool) -> dict[str, str]:
    """
    Return the headers of every request.

    `near` says that all agents are on this machine: answers are then not compressed.
    """
    return {
        "User-Agent": f"aioconsulconnect/{__version__}",
        "Accept-Encoding": "identity" if near else "gzip, deflate",
    }


def _socket(info: AddressInfo) -> socket.socket:
    """Return a new socket, and note in the request's `Connecting` that it was made."""
    family, kind, protocol, _, _ = info
    made = socket.socket(family, kind, protocol)
    if (asked := connecting.get()) is not None:
        asked.begin()
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
