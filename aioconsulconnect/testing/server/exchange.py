"""Faults in general: the exchanges that they meet, their effects, and how long they are in force."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self, TypeAlias

from aiohttp import web

from aioconsulconnect.testing.agents_thread import AGENTS
from aioconsulconnect.testing.protocol.refusals import Dropped


@dataclass(slots=True, eq=False)
class Exchange:
    """A request that is being answered, and its connection.

    - `request`: the request of aiohttp.
    - `path`, `query`: its path and query, as they were sent.
    - `began`: when it arrived, by the clock of the event loop.
    - `timers`: the timers of faults that act later.
    - `met`: the faults that have counted it.
    """

    request: web.Request
    path: str
    query: str
    began: float
    timers: list[asyncio.TimerHandle] = field(default_factory=list[asyncio.TimerHandle])
    met: set["Fault"] = field(default_factory=set["Fault"])

    def close(self, last_words: bytes = b"") -> None:
        """Close the connection, after writing `last_words` where there are any.

        The handler goes on, as one of Consul's does.
        """
        transport = self.request.transport
        if transport is not None and not transport.is_closing():
            transport.write(last_words)
            transport.close()

    def reset(self) -> None:
        """Abort the connection at once, whatever is still to be sent."""
        if self.request.transport is not None:
            self.request.transport.abort()


Arriving: TypeAlias = Callable[[Exchange], Awaitable[web.Response | None]]
Change: TypeAlias = Callable[[Exchange, web.Response], None]
Leaving: TypeAlias = Callable[[Exchange, web.Response], Awaitable[web.StreamResponse]]
Later: TypeAlias = tuple[float, Callable[[Exchange], None]]


@dataclass(slots=True, eq=False, kw_only=True)
class Fault:
    """A fault in force: call `clear` to end it, or use it as a `with` block.

    `hits` counts the requests that it has met. The methods of `Faults` make it.
    """

    path: str = ""
    """Only requests whose path begins with this are met."""
    times: int | None = None
    """The number of requests to meet before the fault ends by itself; None for no limit."""
    arriving: Arriving | None = None
    """Called when a request arrives; an answer that it returns takes the place of the handler's."""
    change: Change | None = None
    """Called with an answer before it is sent, to change it."""
    leaving: Leaving | None = None
    """Called with an answer to hold it back or to send it in another way."""
    later: Later | None = None
    """A time in seconds, and a function that is called for an exchange that is open for so long."""
    held: set[asyncio.Future[None]] = field(default_factory=set[asyncio.Future[None]])
    hits: int = 0
    cleared: bool = False

    @property
    def over(self) -> bool:
        """True if the fault meets no further request."""
        return self.cleared or self.hits == self.times

    def meets(self, exchange: Exchange) -> bool:
        """True if the fault is in force for `exchange`, which is then counted, once.

        An exchange that was counted is met until the fault is cleared, also after the last of its `times`.
        """
        if self.cleared:
            return False
        if self not in exchange.met:
            if self.over or not exchange.path.startswith(self.path):
                return False
            exchange.met.add(self)
            self.hits += 1
        return True

    def clear(self) -> None:
        """End the fault; the requests that it holds go on, except for those of `Faults.half_open`."""

        def cleared() -> None:
            self.cleared = True
            for waiter in self.held:
                _release(waiter)

        AGENTS.call(cleared)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.clear()


class FaultInjector:
    """The faults in force of one agent, applied to every exchange."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []
        self._open: set[Exchange] = set()
        self._held: set[asyncio.Future[None]] = set()

    async def inject(
        self, exchange: Exchange, answer: Callable[[], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        """Answer `exchange` with `answer`, under the faults in force when it arrives and when it leaves."""
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
        """Put a fault in force, also for the exchanges that are open, and return it."""

        def added() -> Fault:
            self._faults = [each for each in self._faults if not each.over] + [fault]
            for exchange in self._open:
                self._arm(fault, exchange)
            return fault

        return AGENTS.call(added)

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
        """End every fault; the requests that they hold go on."""

        def cleared() -> None:
            for fault in self._faults:
                fault.clear()
            self._faults = []

        AGENTS.call(cleared)

    async def hold(self, fault: Fault | None = None, seconds: float | None = None) -> None:
        """Wait until `fault` is cleared or for `seconds`, and forever without either.

        `Dropped` when the agent stops first.
        """
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
        """End all that is held with `Dropped`: the agent stops, and every connection with it."""
        for waiter in self._held:
            if not waiter.done():
                waiter.set_exception(Dropped())


def _release(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
