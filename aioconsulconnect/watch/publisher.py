"""Publisher of one poll's results to its consumers: the newest state, the changes, and the end."""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Hashable, Mapping
from typing import Generic, TypeVar
from weakref import WeakKeyDictionary

from aioconsulconnect.errors import ConsulError
from aioconsulconnect.watch.changes import Change, difference
from aioconsulconnect.watch.protocol.snapshot import Snapshot
from aioconsulconnect.watch.protocol.status import Counters, Status
from aioconsulconnect.watch.wakeup import Wakeup

T = TypeVar("T")
Item = TypeVar("Item")

_STATES = 64  # statuses kept for states()
_MOST_BYTES = 2**24  # bytes: the bodies of the states that are kept for consumers of every one


class Publisher(Generic[T, Item]):
    """
    Publisher of one poll: written by its poller, read by any number of consumers.

    - `counters`: counters of the poll.
    - `max_pending`: number of states kept at most for slow consumers of every state.
    - `status`: the first status.

    Attributes: `snapshot` is the newest good state, `states` the last 64 statuses with their numbers, `end` the error
    that ended the poll, if one did, `over` True once no more data comes, and `idle_since` the time when the last
    consumer left. `progress` wakes after any request and any change of state.
    """

    def __init__(self, counters: Counters, max_pending: int, status: Status) -> None:
        self.snapshot: Snapshot[T, Item] | None = None
        self.states: deque[tuple[int, Status]] = deque([(0, status)], maxlen=_STATES)
        self.counters: Counters = counters
        self.end: ConsulError | None = None
        self.over: bool = False
        self.progress: Wakeup = Wakeup()
        self.idle_since: float = status.since
        self._max_pending = max_pending
        self._consumers: dict[Wakeup, float | None] = {}  # woken for data; with the age that each accepts
        self._history: deque[Snapshot[T, Item]] = deque()
        self._readers: WeakKeyDictionary[object, int] = WeakKeyDictionary()  # of every state: the last version read
        self._last_difference: tuple[object, object, tuple[Change[Item], ...]] = (None, None, ())

    @property
    def consumers(self) -> int:
        """The number of consumers."""
        return len(self._consumers)

    @property
    def max_age(self) -> float | None:
        """The lowest of the ages that the consumers accept, in seconds; None where no consumer has a limit."""
        return min((age for age in self._consumers.values() if age is not None), default=None)

    # For consumers.

    def join(self, wakeup: Wakeup, *, max_age: float | None) -> None:
        """
        Add a consumer.

        `wakeup` wakes it for new data and at the end; `max_age` is the oldest state in seconds that it accepts, None
        for any.
        """
        self._consumers[wakeup] = max_age

    def leave(self, wakeup: Wakeup, now: float) -> None:
        """Remove the consumer of `wakeup` at `now`; the poll goes on for a while, and is never broken off."""
        del self._consumers[wakeup]
        self.idle_since = now
        wakeup.wake_all()
        self.progress.wake_all()

    def following(self, reader: object, seen: Snapshot[T, Item]) -> Snapshot[T, Item] | None:
        """
        Return the state after `seen` for a consumer of every state, or the newest if that one was dropped.

        `reader` is the iterator of the consumer.
        """
        for snapshot in self._history:
            if snapshot.version == seen.version + 1 and reader in self._readers:
                return snapshot
        return self.snapshot

    def has_read(self, reader: object, version: int) -> None:
        """
        Note that a consumer of every state has read up to `version`; states that all have read are dropped.

        `reader` is the iterator of the consumer.
        """
        self._readers[reader] = version
        self._trim()

    def stop_reading(self, reader: object) -> None:
        """Keep no more states for `reader`, the iterator of a consumer of every state."""
        self._readers.pop(reader, None)
        self._trim()

    def changes(self, seen: Mapping[Hashable, Item], now: Snapshot[T, Item]) -> tuple[Change[Item], ...]:
        """
        Return the changes from the items of `seen` to the state `now`.

        The last result is kept for all consumers that saw the same.
        """
        if self._last_difference[0] is not seen or self._last_difference[1] is not now.items:
            self._last_difference = (seen, now.items, difference(seen, now.items))
        return self._last_difference[2]

    def raise_end(self) -> None:
        """Raise a copy of the error that ended the poll, if one did."""
        if self.end is not None:
            raise copy.copy(self.end) from self.end

    # For the poller.

    def publish(self, snapshot: Snapshot[T, Item] | None) -> None:
        """Publish a good state, if `snapshot` is a new one, and wake the consumers."""
        if snapshot is None or snapshot is self.snapshot:
            return
        self.snapshot = snapshot
        if self._readers:
            self._history.append(snapshot)
        self._trim()
        self._wake_consumers()

    def publish_state(self, status: Status) -> None:
        """Publish the `status` after a change of state."""
        self.states.append((self.states[-1][0] + 1, status))
        self.progress.wake_all()

    def close(self, status: Status) -> None:
        """Publish the last `status`, and wake all consumers, because no more data comes."""
        self.publish_state(status)
        self._wake_consumers()

    def _wake_consumers(self) -> None:
        for wakeup in tuple(self._consumers):
            wakeup.wake_all()

    def _trim(self) -> None:
        """Drop the states that every reader has read, and the oldest where there are too many."""
        history = self._history
        read = min(self._readers.values(), default=None)
        while history and (read is None or history[0].version <= read):
            history.popleft()
        while len(history) > self._max_pending or sum(len(kept.body) for kept in history) > _MOST_BYTES:
            history.popleft()
