"""
One consumer's place at a poll, and the iterators that it is served by.

Each iterator remembers what it has told last, and nothing else. The newest state lies in the poll, once for all; what
is told is worked out when it is asked for. So a slow consumer costs nothing, loses nothing but the states between, and
holds nobody back. The iterators are classes: what they remember changes only when a value is returned, so that a
cancelled or timed-out `__anext__` neither loses nor ends anything.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable
from typing import Generic, Self, TypeVar

import msgspec

from aioconsulconnect.changes import Added, Batch, Change, difference
from aioconsulconnect.clock import Bell
from aioconsulconnect.content import Snapshot
from aioconsulconnect.errors import Closed
from aioconsulconnect.polls import Poll, Polls
from aioconsulconnect.status import Event, Status

T = TypeVar("T")
Item = TypeVar("Item")
Out = TypeVar("Out")


class Cursor(msgspec.Struct, frozen=True):
    """
    How far a watch has come; it can be stored, and given to `watch(since=…)` later, after a restart too.

    `digest` is that of Consul's answer, `index` and `address` are where it came from, for the reader: whether something
    changed is decided by the digest alone, since an index says nothing once the agent is another.
    """

    path: str
    digest: str
    index: int | None = None
    address: str = ""


class How(msgspec.Struct, Generic[Item], frozen=True):
    """How one consumer wants it: every state or the latest, held back until quiet, what counts, since when."""

    every: bool
    settle: tuple[float, float] | None
    counts: Callable[[Item], object] | None
    since: Cursor | None


class Seat(Generic[T, Item]):
    """One consumer's place at a poll. Its bell rings for news, and at the end."""

    __slots__ = ("bell", "how", "left", "path", "poll", "polls", "resumed", "told")

    def __init__(self, polls: Polls, poll: Poll[T, Item], bell: Bell, how: How[Item], path: str) -> None:
        self.polls: Polls = polls
        self.poll: Poll[T, Item] = poll
        self.bell: Bell = bell
        self.how: How[Item] = how
        self.path: str = path
        self.left: bool = False
        self.resumed: bool | None = None  # what `resumes` said first
        self.told: Snapshot[T, Item] | None = None

    @property
    def over(self) -> bool:
        """Whether there is nothing to come: it was left, or the client was closed, or the poll ended."""
        return self.left or self.poll.over

    def leave(self) -> None:
        """Give the place up."""
        if not self.left:
            self.left = True
            self.poll.leave(self.bell)
            self.bell.ring()
            self.poll.turned.ring()

    def raise_end(self) -> None:
        """Raise the error that ended the poll, if one did."""
        if self.poll.end is not None and not self.left:
            raise copy.copy(self.poll.end) from self.poll.end

    def check_alive(self) -> None:
        """Raise when nothing is to come."""
        self.raise_end()
        if self.over:
            raise Closed("the watch was closed")

    def resumes(self, snapshot: Snapshot[T, Item]) -> bool:
        """Whether nothing changed since the cursor that was given."""
        since = self.how.since
        if since is None:
            return False
        same = since.path == self.path and since.digest == digest(snapshot)
        if self.resumed is None:
            self.resumed = same
        return same


def digest(snapshot: Snapshot[T, Item]) -> str:
    """What a cursor remembers of a state."""
    return hashlib.sha256(snapshot.body).hexdigest()


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
