"""The event loop that a client belongs to."""

from __future__ import annotations

import asyncio

from aioconsulconnect.errors import Closed


class OwnLoop:
    """Event loop of a client: that in which it is first used. Nothing of the client works in another."""

    __slots__ = ("_loop",)

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None

    def check(self) -> asyncio.AbstractEventLoop:
        """Return the running loop, to which the client belongs from now on; Closed if it belongs to another."""
        running = asyncio.get_running_loop()
        if self._loop is None:
            self._loop = running
        if self._loop is not running:
            raise Closed(
                f"this client belongs to the event loop of its first use, {_shown(self._loop)}; this is another,"
                f" {_shown(running)}. Make one client for each loop; with pytest give its fixture and the tests the"
                " same loop scope"
            )
        return running


def _shown(loop: asyncio.AbstractEventLoop) -> str:
    state = "closed" if loop.is_closed() else "running" if loop.is_running() else "not running"
    return f"{type(loop).__name__} {id(loop):#x} ({state})"
