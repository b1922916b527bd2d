"""The iterators that a watch hands out: values, changes, states."""

from __future__ import annotations

from typing import Generic, Self, TypeVar

from aioconsulconnect.watch.changes import Added, Batch, Change, difference
from aioconsulconnect.watch.protocol.snapshot import Snapshot
from aioconsulconnect.watch.protocol.status import Event, Status
from aioconsulconnect.watch.subscription import Seat

Item = TypeVar("Item")
Out = TypeVar("Out")
T = TypeVar("T")


def _refuse_second(busy: bool) -> None:
    if busy:
        raise RuntimeError("another task waits on this iterator; each consumer needs one of its own")


class _Iterator(Generic[T, Item, Out]):
    """Remembers the state it has told last, and waits for the next."""

    __slots__ = ("_busy", "_noticed", "_seat", "_seen")

    def __init__(self, seat: Seat[T, Item]) -> None:
        self._seat = seat
        self._seen: Snapshot[T, Item] | None = None
        self._noticed: float | None = None
        self._busy = False

    def __aiter__(self) -> Self:
        """Itself: each call of `changes()` or `snapshots()` makes an iterator of its own."""
        return self

    async def __anext__(self) -> Out:
        """The next one; the end when the watch or the client is closed."""
        _refuse_second(self._busy)
        self._busy = True
        try:
            while True:
                snapshot = await self._wait()
                skipped = snapshot.version - self._seen.version - 1 if self._seen else 0
                told = () if self._seen is None and self._seat.resumes(snapshot) else self._tell(snapshot, skipped)
                self._mark(snapshot, skipped)
                if told:
                    return told[0]
        finally:
            self._busy = False

    def _tell(self, snapshot: Snapshot[T, Item], skipped: int) -> tuple[Out] | tuple[()]:
        """What to hand out for a state, if anything."""
        raise NotImplementedError

    async def _wait(self) -> Snapshot[T, Item]:
        seat = self._seat
        while not seat.left:
            snapshot = self._following()
            if snapshot is None:
                seat.raise_end()
                if seat.over:
                    break
                await seat.bell.wait()
            elif (held := self._held(snapshot)) > 0:
                await seat.bell.wait(seat.polls.clock, held)
            else:
                return snapshot
        raise StopAsyncIteration

    def _following(self) -> Snapshot[T, Item] | None:
        """The state to tell next: the newest, or where each is wanted and still there the one after the last told."""
        seen, newest, history = self._seen, self._seat.poll.snapshot, self._seat.poll.history
        if newest is None or seen is None or newest is seen:
            return None if newest is seen else newest
        if self._seat.how.every and history and history[0].version <= seen.version + 1:
            return history[seen.version + 1 - history[0].version]
        return newest

    def _held(self, snapshot: Snapshot[T, Item]) -> float:
        """Seconds until it has been quiet for long enough; the first state is never held back."""
        settle = self._seat.how.settle
        if settle is None or self._seen is None:
            return 0.0
        now = self._seat.polls.clock.now()
        if self._noticed is None:
            self._noticed = now
        return min(snapshot.time + settle[0], self._noticed + settle[1]) - now

    def _mark(self, snapshot: Snapshot[T, Item], skipped: int) -> None:
        seat = self._seat
        self._seen = seat.told = snapshot
        self._noticed = None
        counters = seat.poll.machine.counters
        if seat.how.every:
            counters.dropped += skipped
        else:
            counters.merged += skipped
        if seat.polls.listening:
            took = seat.polls.clock.now() - snapshot.time
            seat.polls.report(Event(kind="delivered", path=seat.poll.request.path, took=took, merged=skipped))


class Snapshots(_Iterator[T, Item, T]):
    """Iterates whole values: the present one at once, then the newest after each change."""

    __slots__ = ()

    def _tell(self, snapshot: Snapshot[T, Item], skipped: int) -> tuple[T]:  # noqa: ARG002 - the newest value says it all
        return (snapshot.value,)


class Changes(_Iterator[T, Item, Batch[Item]]):
    """Iterates batches of changes: the first adds everything, also when that is nothing."""

    __slots__ = ()

    def _tell(self, snapshot: Snapshot[T, Item], skipped: int) -> tuple[Batch[Item]] | tuple[()]:
        how, seen = self._seat.how, self._seen
        if seen is None:
            changes: tuple[Change[Item], ...] = tuple(Added(item) for item in snapshot.items.values())
            return (Batch(changes, snapshot.index, snapshot.time, resync=how.since is not None),)
        if how.counts is None:
            changes = self._seat.poll.changes(seen.items, snapshot)
        else:
            changes = difference(seen.items, snapshot.items, how.counts)
        resync = how.every and skipped > 0
        if not changes and not resync:
            return ()
        return (Batch(changes, snapshot.index, snapshot.time, skipped, resync),)


class States(Generic[T, Item]):
    """Iterates the states of a watch: the present one, then each that follows; up to 64 that were not asked for yet."""

    __slots__ = ("_busy", "_number", "_seat")

    def __init__(self, seat: Seat[T, Item]) -> None:
        self._seat = seat
        self._number = seat.poll.states[-1][0] - 1
        self._busy = False

    def __aiter__(self) -> Self:
        """Itself."""
        return self

    async def __anext__(self) -> Status:
        """The next state; the end after `closed`."""
        _refuse_second(self._busy)
        self._busy = True
        try:
            return await self._next()
        finally:
            self._busy = False

    async def _next(self) -> Status:
        poll = self._seat.poll
        while not self._seat.left:
            for number, status in poll.states:
                if number > self._number:
                    self._number = number
                    return status
            if poll.over:
                break
            await poll.turned.wait()
        raise StopAsyncIteration
