"""What faults are made of: the exchanges they meet, what they do there, and how long they are in force."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self, TypeAlias

from aiohttp import web

from aioconsulconnect.testing.protocol.refusals import Dropped


@dataclass(slots=True, eq=False)
class Exchange:
    """A request that is being answered, and the connection it came on."""

    request: web.Request
    path: str
    query: str
    began: float
    timers: list[asyncio.TimerHandle] = field(default_factory=list[asyncio.TimerHandle])
    met: set["Fault"] = field(default_factory=set["Fault"])

    def close(self, last_words: bytes = b"") -> None:
        """Close the connection, at most with some bytes for an answer; the handler goes on, as one of Consul's does."""
        transport = self.request.transport
        if transport is not None and not transport.is_closing():
            transport.write(last_words)
            transport.close()

    def reset(self) -> None:
        """Close the connection at once, whatever is still to be sent."""
        if self.request.transport is not None:
            self.request.transport.abort()


Arriving: TypeAlias = Callable[[Exchange], Awaitable[web.Response | None]]
Change: TypeAlias = Callable[[Exchange, web.Response], None]
Leaving: TypeAlias = Callable[[Exchange, web.Response], Awaitable[web.StreamResponse]]
Later: TypeAlias = tuple[float, Callable[[Exchange], None]]


@dataclass(slots=True, eq=False, kw_only=True)
class Fault:
    """A fault in force. Clear it, or use it as a ``with`` block; ``hits`` counts the requests it has met."""

    path: str = ""
    """Only requests whose path begins so."""
    times: int | None = None
    """How many requests it meets before it ends by itself."""
    arriving: Arriving | None = None
    """Done when a request arrives; what it returns is the answer in place of the handler's."""
    change: Change | None = None
    """Done to an answer before it is sent."""
    leaving: Leaving | None = None
    """Holds an answer back, or sends it in a way of its own."""
    later: Later | None = None
    """Done to an exchange that is open for so many seconds."""
    held: set[asyncio.Future[None]] = field(default_factory=set[asyncio.Future[None]])
    hits: int = 0
    cleared: bool = False

    @property
    def over(self) -> bool:
        """Whether no further request meets it."""
        return self.cleared or self.hits == self.times

    def meets(self, exchange: Exchange) -> bool:
        """Whether it is in force for an exchange, which then counts, once."""
        if self.cleared:
            return False
        if self not in exchange.met:
            if self.over or not exchange.path.startswith(self.path):
                return False
            exchange.met.add(self)
            self.hits += 1
        return True

    def clear(self) -> None:
        """End it; the requests that it holds go on."""
        self.cleared = True
        for waiter in self.held:
            _release(waiter)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.clear()


class FaultInjector:
    """Applies the faults in force to every exchange of one agent."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []
        self._open: set[Exchange] = set()
        self._held: set[asyncio.Future[None]] = set()

    async def inject(
        self, exchange: Exchange, answer: Callable[[], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        """Answer an exchange, past every fault that is in force when it arrives and when it leaves."""
        self._open.add(exchange)
        try:
            for fault in self._faults:
                self._arm(fault, exchange)
            response = await self._arrive(exchange) or await answer()
            for fault in tuple(self._faults):
                if isinstance(response, web.Response) and (fault.change or fault.leaving) and fault.meets(exchange):
                    if fault.change:
                        fault.change(exchange, response)
                    if fault.leaving:
                        response = await fault.leaving(exchange, response)
            return response
        finally:
            self._open.discard(exchange)
            for timer in exchange.timers:
                timer.cancel()

    async def _arrive(self, exchange: Exchange) -> web.Response | None:
        for fault in tuple(self._faults):
            if fault.arriving and fault.meets(exchange) and (instead := await fault.arriving(exchange)):
                return instead
        return None

    def add(self, fault: Fault) -> Fault:
        """Put a fault in force, for the exchanges that are open as well."""
        self._faults = [each for each in self._faults if not each.over] + [fault]
        for exchange in self._open:
            self._arm(fault, exchange)
        return fault

    @staticmethod
    def _arm(fault: Fault, exchange: Exchange) -> None:
        if not fault.later:
            return
        seconds, act = fault.later

        def due() -> None:
            if fault.meets(exchange):
                act(exchange)

        exchange.timers.append(asyncio.get_running_loop().call_at(exchange.began + seconds, due))

    def clear(self) -> None:
        """End every fault."""
        for fault in self._faults:
            fault.clear()
        self._faults = []

    async def hold(self, fault: Fault | None = None, seconds: float | None = None) -> None:
        """Wait until the fault is cleared or the time is over, but never longer than the agent lives."""
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[None] = loop.create_future()
        timer = loop.call_later(seconds, _release, waiter) if seconds is not None else None
        holders = [self._held, *([fault.held] if fault else [])]
        for holder in holders:
            holder.add(waiter)
        try:
            await waiter
        finally:
            if timer:
                timer.cancel()
            for holder in holders:
                holder.discard(waiter)

    def release(self) -> None:
        """Let go of whatever is held: the agent ends, and with it every connection."""
        for waiter in self._held:
            if not waiter.done():
                waiter.set_exception(Dropped())


def _release(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
