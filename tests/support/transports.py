"""A transport to a scripted server, for tests of what goes over the wire."""

from __future__ import annotations

import pickle
import traceback
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any

from support.servers import Close, Scripted, Step

from aioconsulconnect.clock import Clock
from aioconsulconnect.transport.aiohttp_transport import Transport
from aioconsulconnect.transport.request import Request
from aioconsulconnect.transport.settings.connection import Settings

SECRET = "5e1f0b9c-dead-beef-0000-0123456789ab"
RESET, CLOSE = Close(reset=True), Close()


class NoWait(Clock):
    """Does not wait, and remembers how long it should have."""

    def __init__(self) -> None:
        self.slept: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


def transport(*addresses: str, **settings: Any) -> Transport:
    clock = settings.pop("clock", None)
    loaded = Settings.load(addresses, environ={}, **settings)
    return Transport(loaded, clock=clock or NoWait(), random=lambda: 1.0)


def ask(method: str = "GET", path: str = "/v1/x", **more: Any) -> Request[bytes]:
    more.setdefault("read", method == "GET")
    return Request(method=method, path=path, decode=lambda response: response.body, **more)


@asynccontextmanager
async def one(*steps: Step, **settings: Any) -> AsyncIterator[tuple[Scripted, Transport]]:
    """A scripted server and a transport to it, which must still be of use in the end."""
    async with Scripted(steps) as server, aclosing(transport(server.url, **settings)) as carrier:
        yield server, carrier
        server.steps.clear()
        assert (await carrier.send(ask())).body == b"{}"


def everything_shown(error: BaseException) -> str:
    """All that a log could show of an error and what it was raised from."""
    shown = "".join(traceback.format_exception(error))
    link: BaseException | None = error
    while link is not None:
        shown += f"{link!r} {link} {link.__dict__!r}"
        link = link.__cause__ or link.__context__
    return shown + repr(pickle.loads(pickle.dumps(error)).__dict__)
