"""
Iterators that a watch hands out: over values, changes and states.

Each remembers only what it has delivered last. The newest state is in the publisher, once for all consumers; what to
deliver is worked out when it is asked for. So a slow consumer costs nothing, misses only the states between, and delays
nobody. The iterators are classes, not generators, and what they remember changes only when a value is returned: a
cancelled or timed-out `__anext__` neither loses nor ends anything.
"""

from __future__ import annotations

from typing import Generic, Self, TypeVar

from aioconsulconnect.watch.changes import Added, Batch, Change, difference
from aioconsulconnect.watch.protocol.snapshot import Snapshot
from aioconsulconnect.watch.protocol.status import Status
from aioconsulconnect.watch.subscription import Subscription

Item = TypeVar("Item")
Out = TypeVar("Out")
T = TypeVar("T")


def _refuse_second(busy: bool) -> None:
    """Raise RuntimeError if another task waits on the same iterator."""
    if busy:
        raise RuntimeError("another task waits on this iterator; each consumer needs one of its own")


class _Iterator(Generic[T, Item, Out]):
    """Iterator that remembers the state that it has delivered last, and waits for the next."""

    __slots__ = ("__weakref__", "_busy", "_noticed", "_seen", "_subscription")

    def __init__(self, subscription: Subscription[T, Item]) -> None:
        self._subscription = subscription
        self._seen: Snapshot[T, Item] | None = None
        self._noticed: float | None = None
        self._busy = False

    def __aiter__(self) -> Self:
        """Return the iterator itself; each call of `changes()` or `snapshots()` makes one of its own."""
        return self

    async def __anext__(self) -> Out:
        """
        Return the next value; the iteration ends when the watch or the client is closed.

        Raises RuntimeError if another task waits on this iterator, and the error that ended the watch, if one did.
        """
        _refuse_second(self._busy)
        self._busy = True
        try:
            while True:
                snapshot = await self._wait()
                skipped = snapshot.version - self._seen.version - 1 if self._seen else 0
                resumed = self._seen is None and self._subscription.resumes(snapshot)
                output = () if resumed else self._output(snapshot, skipped)
                self._seen, self._noticed = snapshot, None
                self._subscription.deliver(snapshot, skipped)
                if self._subscription.options.every:
                    self._subscription.publisher.has_read(self, snapshot.version)
                if output:
                    return output[0]
        finally:
            self._busy = False

    def _output(self, snapshot: Snapshot[T, Item], skipped: int) -> tuple[Out] | tuple[()]:
        """Return the value to deliver for a state, in a tuple; an empty tuple for none."""
        raise NotImplementedError

    async def _wait(self) -> Snapshot[T, Item]:
        subscription = self._subscription
        while not subscription.left:
            snapshot = self._following()
            if snapshot is None:
                subscription.publisher.raise_end()
                if subscription.over:
                    break
                subscription.check_loop()
                await subscription.wakeup.wait()
            elif (held := self._held(snapshot)) > 0:
                await subscription.wakeup.wait(subscription.clock, held)
            else:
                return snapshot
        subscription.publisher.stop_reading(self)
        raise StopAsyncIteration

    def _following(self) -> Snapshot[T, Item] | None:
        """Return the state to deliver next: the newest or, with `every`, the one after the last."""
        publisher, seen = self._subscription.publisher, self._seen
        if publisher.snapshot is seen:
            return None
        if seen is None or not self._subscription.options.every:
            return publisher.snapshot
        return publisher.following(self, seen)

    def _held(self, snapshot: Snapshot[T, Item]) -> float:
        """Return the seconds until it has been quiet for long enough; the first state is never held back."""
        settle = self._subscription.options.settle
        if settle is None or self._seen is None:
            return 0.0
        now = self._subscription.clock.now()
        if self._noticed is None:
            self._noticed = now
        return min(snapshot.time + settle[0], self._noticed + settle[1]) - now


class Snapshots(_Iterator[T, Item, T]):
    """
    Iterator over whole values: the present one at once, then the newest after each change.

    With `delivery="all"` each value comes, as long as the consumer is not too far behind.
    """

    __slots__ = ()

    def _output(self, snapshot: Snapshot[T, Item], skipped: int) -> tuple[T]:  # noqa: ARG002 - the newest value says it all
        return (snapshot.value,)


class Changes(_Iterator[T, Item, Batch[Item]]):
    """
    Iterator over batches of changes; the first batch adds everything.

    It comes even where nothing is there.
    """

    __slots__ = ()

    def _output(self, snapshot: Snapshot[T, Item], skipped: int) -> tuple[Batch[Item]] | tuple[()]:
        options, seen = self._subscription.options, self._seen
        if seen is None:
            changes: tuple[Change[Item], ...] = tuple(Added(item, key=key) for key, item in snapshot.items.items())
            return (self._batch(changes, snapshot, resync=options.since is not None, first=True),)
        if options.counts is None:
            changes = self._subscription.publisher.changes(seen.items, snapshot)
        else:
            changes = difference(seen.items, snapshot.items, options.counts)
        resync = options.every and skipped > 0
        if not changes and not resync:
            return ()
        return (self._batch(changes, snapshot, merged=skipped, resync=resync),)

    def _batch(
        self,
        changes: tuple[Change[Item], ...],
        snapshot: Snapshot[T, Item],
        *,
        merged: int = 0,
        resync: bool = False,
        first: bool = False,
    ) -> Batch[Item]:
        return Batch(
            changes,
            index=snapshot.index,
            time=snapshot.time,
            merged=merged,
            resync=resync,
            first=first,
            filtered=snapshot.filtered,
            anonymous=snapshot.anonymous,
        )


class States(Generic[T, Item]):
    """
    Iterator over the statuses of a watch: the present one, then the status after each change of state.

    Up to 64 that the consumer has not read yet are kept; of more, the oldest are lost. `subscription` is that of the
    consumer.
    """

    __slots__ = ("_busy", "_number", "_subscription")

    def __init__(self, subscription: Subscription[T, Item]) -> None:
        self._subscription = subscription
        self._number = subscription.publisher.states[-1][0] - 1
        self._busy = False

    def __aiter__(self) -> Self:
        """Return the iterator itself."""
        return self

    async def __anext__(self) -> Status:
        """
        Return the status after the next change of state; the iteration ends after `closed`.

        It ends too when the watch is left. Raises RuntimeError if another task waits on this iterator.
        """
        _refuse_second(self._busy)
        self._busy = True
        try:
            return await self._next()
        finally:
            self._busy = False

    async def _next(self) -> Status:
        publisher = self._subscription.publisher
        while not self._subscription.left:
            for number, status in publisher.states:
                if number > self._number:
                    self._number = number
                    return status
            if publisher.over:
                break
            self._subscription.check_loop()
            await publisher.progress.wait()
        raise StopAsyncIteration
