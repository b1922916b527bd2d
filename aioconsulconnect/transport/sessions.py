"""The aiohttp sessions of one client: for plain calls, for polls and for probes, for each way to an agent."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from contextlib import suppress
from contextvars import ContextVar
from typing import TypedDict

import aiohttp
from aiohttp.client_reqrep import ConnectionKey
from aiohttp.connector import Connection
from aiohttp.tracing import Trace

from aioconsulconnect.clock import Clock
from aioconsulconnect.errors import Closed, SettingsError
from aioconsulconnect.transport.sender import Purpose
from aioconsulconnect.transport.settings import Address, Settings
from aioconsulconnect.version import __version__

Session = aiohttp.ClientSession
TraceConfig = aiohttp.TraceConfig

AddressInfo = tuple[int | socket.AddressFamily, int | socket.SocketKind, int, str, tuple[object, ...]]

_KEEP_ALIVE = 7.0  # the agent never closes idle connections, and counts them; aiohttp looks once in that time
_POOL = 12  # the agent counts the connections of a whole host: one program must not take them all
# A poll is silent for a minute: without this a path that died would be noticed at its deadline only. (macOS says
# TCP_KEEPALIVE for the idle time.)
_SOCKET_KEEPALIVE = (("TCP_KEEPIDLE", 10), ("TCP_KEEPALIVE", 10), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 3))


class _Kept(TypedDict, total=False):
    """How a connector keeps its connections."""

    limit: int
    limit_per_host: int
    keepalive_timeout: float
    force_close: bool


class Connecting:
    """What one request learns of its connection: whether it is a new one, and since when it is there."""

    __slots__ = ("_clock", "_opened")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._opened = float("-inf")

    def begin(self) -> None:
        """A new connection is being made for it."""
        self._opened = self._clock.now()

    @property
    def age(self) -> float:
        """Seconds since a new connection was begun; endless for one that was there before."""
        return self._clock.now() - self._opened


connecting: ContextVar[Connecting | None] = ContextVar("connecting", default=None)


class _NewestFirst(aiohttp.BaseConnector):
    """Hands out the idle connection that was used last: the oldest, as aiohttp has it, would keep all of them alive."""

    async def _get(self, key: ConnectionKey, traces: list[Trace]) -> Connection | None:
        if (idle := self._conns.get(key)) is not None:
            idle.rotate(1)
        return await super()._get(key, traces)


class _TCP(_NewestFirst, aiohttp.TCPConnector):
    pass


class _Unix(_NewestFirst, aiohttp.UnixConnector):
    pass


class SessionPool:
    """
    Opens sessions when they are first needed; they belong to the event loop of the first I/O.

    A `borrowed` session serves plain calls only, and is never closed here; polls run on one of ours with its trace
    configs.
    """

    def __init__(self, settings: Settings, *, borrowed: Session | None, trace_configs: Sequence[TraceConfig]) -> None:
        if borrowed is not None and any(address.socket for address in settings.addresses):
            raise SettingsError("session: a borrowed session cannot reach a unix:// address; leave one of the two out")
        self.closed: bool = False
        self._borrowed = borrowed
        self._trace_configs = [*(borrowed.trace_configs if borrowed is not None else ()), *trace_configs]
        self._headers = own_headers(near=all(address.near for address in settings.addresses))
        self._sessions: dict[tuple[Purpose, str], Session] = {}
        self._loop: asyncio.AbstractEventLoop | None = None

    def of(self, address: Address, purpose: Purpose) -> Session:
        """The session for that address; Closed after `aclose`, and in another event loop than the first."""
        if self.closed:
            raise Closed("this client was closed; make another one")
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            if self._loop is not None:
                raise Closed("this client belongs to the event loop of its first call; make one for each loop")
            self._loop = loop
        if self._borrowed is not None and purpose == "calls":
            return self._borrowed
        key = (purpose, address.socket)
        session = self._sessions.get(key)
        if session is None:
            session = self._sessions[key] = self._open(address, purpose)
        return session

    def _open(self, address: Address, purpose: Purpose) -> Session:
        # Polls are counted by their own budget, and a plain call never waits behind one. A probe is there to learn what
        # happens to a new connection.
        kept = _Kept(limit=_POOL if purpose == "calls" else 0, keepalive_timeout=_KEEP_ALIVE)
        if purpose == "probe":
            kept = _Kept(limit=0, limit_per_host=1, force_close=True)
        connector: aiohttp.BaseConnector = (
            _Unix(address.socket, **kept)
            if address.socket
            else _TCP(socket_factory=_poll_socket if purpose == "polls" else _socket, **kept)
        )
        return aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            headers=self._headers,
            trace_configs=self._trace_configs,
        )

    async def aclose(self) -> None:
        """Close the sessions that are ours. Twice is fine."""
        self.closed = True
        while self._sessions:
            _, session = self._sessions.popitem()
            await session.close()


def own_headers(*, near: bool) -> dict[str, str]:
    """The headers of every request; no compression where all agents are on this machine."""
    return {
        "User-Agent": f"aioconsulconnect/{__version__}",
        "Accept-Encoding": "identity" if near else "gzip, deflate",
    }


def _socket(info: AddressInfo) -> socket.socket:
    """A new socket; the request that needs it is told."""
    family, kind, protocol, _, _ = info
    made = socket.socket(family, kind, protocol)
    if (asked := connecting.get()) is not None:
        asked.begin()
    return made


def _poll_socket(info: AddressInfo) -> socket.socket:
    """A new socket that notices when nobody is at its other end any more."""
    made = _socket(info)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _SOCKET_KEEPALIVE:
        if (option := getattr(socket, name, None)) is not None:
            with suppress(OSError):
                made.setsockopt(socket.IPPROTO_TCP, option, value)
    return made
