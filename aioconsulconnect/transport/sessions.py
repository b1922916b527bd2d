"""The aiohttp sessions of one client: one for plain calls and one for polls, for each way to an agent."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import aiohttp

from aioconsulconnect.errors import Closed, SettingsError
from aioconsulconnect.transport.sender import Purpose
from aioconsulconnect.transport.settings import Address, Settings
from aioconsulconnect.version import __version__

Session = aiohttp.ClientSession
TraceConfig = aiohttp.TraceConfig

_KEEP_ALIVE = 15.0  # the agent never closes idle connections, and counts them
_POOL = 100


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
        # Polls are counted by their own budget, and a plain call never waits behind one.
        limit = _POOL if purpose == "calls" else 0
        connector: aiohttp.BaseConnector = (
            aiohttp.UnixConnector(address.socket, limit=limit, keepalive_timeout=_KEEP_ALIVE)
            if address.socket
            else aiohttp.TCPConnector(limit=limit, keepalive_timeout=_KEEP_ALIVE)
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
