"""Following of Consul: watches that tell of each answer, and questions that are asked again and again."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from aioconsulconnect.clock import Clock
from aioconsulconnect.endpoints.intentions import Intentions
from aioconsulconnect.endpoints.intentions_requests import Matches
from aioconsulconnect.errors import Closed, ConsulError
from aioconsulconnect.structs.intentions import Intention
from aioconsulconnect.watch.protocol.snapshot import Snapshot
from aioconsulconnect.watch.query import Query
from aioconsulconnect.watch.wakeup import Wakeup
from aioconsulconnect.watch.watch import Watch

_log = logging.getLogger("aioconsulconnect.authorization")
_FIRST_PAUSE, _LONGEST_PAUSE = 5.0, 60.0  # seconds
_INTERVAL = 60.0  # seconds between two questions
_FIRST_RETRY = 1.0  # seconds after the first question that brought nothing, doubled up to the interval
_LEAST = 1.0  # seconds from one question to the next, whatever happens
_TROUBLE = frozenset({"starting", "stale", "denied", "throttled", "closed"})

T = TypeVar("T")
Item = TypeVar("Item")


class Following(Generic[T, Item]):
    """
    A watch that calls a function after each answer and each change of its state.

    - `query`: the read to watch.
    - `tell`: the function.
    - `max_age`: age in seconds of the oldest state that is accepted; None for no limit.
    - `clock`: clock of the client.

    Attribute `watch` is the watch. `error` is the error that ended it, until another one has data: that is tried after
    5 s, then after longer, up to a minute. `interruptions` is how often it worked again after a failure, or had its
    poll cut short.
    """

    __slots__ = ("_clock", "_max_age", "_query", "_task", "_tell", "_unrest", "error", "interruptions", "watch")

    def __init__(
        self,
        query: Query[T, Item],
        tell: Callable[[], None],
        clock: Clock,
        *,
        max_age: float | None = None,
    ) -> None:
        self.watch: Watch[T, Item] = query.watch(max_age=max_age)
        self.error: ConsulError | None = None
        self.interruptions: int = 0
        self._query = query
        self._max_age = max_age
        self._tell = tell
        self._clock = clock
        self._task: asyncio.Task[None] | None = None
        self._unrest: tuple[float, ...] | None = None

    @property
    def newest(self) -> Snapshot[T, Item] | None:
        """The newest good state; None before there is one, and after an error that ended the watch."""
        return None if self.error is not None else self.watch.newest

    async def begin(self) -> None:
        """Enter the watch; Closed if the client is."""
        await self.watch.__aenter__()
        self._task = asyncio.create_task(self._follow(), name=f"aioconsulconnect {self.watch!r}")

    def stop(self) -> None:
        """Stop the task, without waiting for its end."""
        if self._task is not None:
            self._task.cancel()

    async def end(self) -> None:
        """Stop, and leave the watch."""
        self.stop()
        try:
            if self._task is not None:
                await asyncio.wait({self._task})
        finally:
            await self.watch.aclose()

    async def _follow(self) -> None:
        pause = _FIRST_PAUSE
        while True:
            try:
                await self._hear()
            except Closed:
                break
            except ConsulError as error:
                self.error = error
            except Exception as bug:  # noqa: BLE001 - whatever it is: nobody may go on deciding by what is frozen
                _log.exception("following %r ended by a bug", self.watch)
                self.error = ConsulError("a bug in the library ended this watch")
                self.error.__cause__ = bug
            self._tell()
            await self._clock.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)
            await self.watch.aclose()
            self.watch = self._query.watch(max_age=self._max_age)
            await self.watch.__aenter__()
        self._tell()

    async def _hear(self) -> None:
        while True:
            if self.watch.newest is not None:
                self.error = None
            self._count_interruptions()
            self._tell()
            await self.watch.answered()

    def _count_interruptions(self) -> None:
        status = self.watch.status
        if status.state in _TROUBLE:
            return
        counters = status.counters
        unrest = (status.since, sum(counters.errors.values()), counters.early, counters.reset)
        if self._unrest is not None and unrest != self._unrest:
            self.interruptions += 1
        self._unrest = unrest


FollowingIntentions = Following[tuple[Intention, ...], Intention] | Following[Matches, Intention]
"""What follows the intentions for one name or all, or for several names."""


def follow_intentions(
    intentions: Intentions,
    destinations: tuple[str, ...],
    tell: Callable[[], None],
    clock: Clock,
    *,
    max_age: float | None,
) -> FollowingIntentions:
    """
    Return what follows the intentions for one destination, for several in one poll, or all.

    - `intentions`: endpoint of the client.
    - `destinations`: names of the destinations; empty for all.
    - `tell`, `clock`, `max_age`: as for `Following`.
    """
    if not destinations:
        return Following(intentions.list(), tell, clock, max_age=max_age)
    if len(destinations) == 1:
        return Following(intentions.match(destination=destinations[0]), tell, clock, max_age=max_age)
    return Following(intentions.match_many(destinations=destinations), tell, clock, max_age=max_age)


class Asking:
    """
    Questions about what no watch tells, asked each minute and after each interruption of a watch.

    After an interruption the agent may be another one, or have been started anew with other settings.

    - `ask`: function that asks them; it returns False if one of them brought nothing, which is asked again sooner.
    - `interruptions`: function that returns how often watches were interrupted.
    - `news`: wakes when that may be more.
    - `clock`: clock of the client.
    """

    __slots__ = ("_ask", "_clock", "_interruptions", "_news")

    def __init__(
        self, ask: Callable[[], Awaitable[bool]], interruptions: Callable[[], int], news: Wakeup, clock: Clock
    ) -> None:
        self._ask = ask
        self._interruptions = interruptions
        self._news = news
        self._clock = clock

    async def run(self) -> None:
        """Ask, and ask again, until cancelled."""
        retry = _FIRST_RETRY
        while True:
            before = self._interruptions()
            is_answered = await self._ask()
            due = self._clock.now() + (_INTERVAL if is_answered else retry)
            retry = _FIRST_RETRY if is_answered else min(2 * retry, _INTERVAL)
            await self._clock.sleep(_LEAST)
            while self._interruptions() == before and (left := due - self._clock.now()) > 0:
                await self._news.wait(self._clock, left)
