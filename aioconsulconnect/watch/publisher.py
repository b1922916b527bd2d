"""What one poll makes known to its consumers: the newest state, what led to it, and the end."""

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

_STATES = 64  # changes of state kept for states()
_MOST_BYTES = 2**24  # of the bodies of the states that are kept for whoever wants each


class Publisher(Generic[T, Item]):
    """
    Written by one poller, read by any number of consumers.

    `snapshot` is the newest good state, `states` the last changes of state with their numbers, `end` the error that
    ended the poll, if one did. `progress` wakes after any request.
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
        self._consumers: dict[Wakeup, float | None] = {}  # theirs are woken for data; with the age that each allows
        self._history: deque[Snapshot[T, Item]] = deque()
        self._readers: WeakKeyDictionary[object, int] = WeakKeyDictionary()  # of each state: the last that each has
        self._last_difference: tuple[object, object, tuple[Change[Item], ...]] = (None, None, ())

    @property
    def consumers(self) -> int:
        """How many there are."""
        return len(self._consumers)

    @property
    def max_age(self) -> float | None:
        """The least of the ages that the consumers allow."""
        return min((age for age in self._consumers.values() if age is not None), default=None)

    # For consumers.

    def join(self, wakeup: Wakeup, *, max_age: float | None) -> None:
        """Add a consumer, woken for news by `wakeup`; `max_age` is the age of a state that it allows."""
        self._consumers[wakeup] = max_age

    def leave(self, wakeup: Wakeup, now: float) -> None:
        """Remove a consumer; the poll goes on for a while, and is never broken off."""
        del self._consumers[wakeup]
        self.idle_since = now
        wakeup.wake_all()
        self.progress.wake_all()

    def following(self, reader: object, seen: Snapshot[T, Item]) -> Snapshot[T, Item] | None:
        """The state after `seen`, for a `reader` of every one; the newest where that one is not kept any more."""
        for snapshot in self._history:
            if snapshot.version == seen.version + 1 and reader in self._readers:
                return snapshot
        return self.snapshot

    def has_read(self, reader: object, version: int) -> None:
        """Note how far a reader of every state has come: what all have is not kept."""
        self._readers[reader] = version
        self._trim()

    def stop_reading(self, reader: object) -> None:
        """Keep nothing more for a reader of every state."""
        self._readers.pop(reader, None)
        self._trim()

    def changes(self, seen: Mapping[Hashable, Item], now: Snapshot[T, Item]) -> tuple[Change[Item], ...]:
        """What leads from `seen` to `now`; worked out once for all consumers that saw the same."""
        if self._last_difference[0] is not seen or self._last_difference[1] is not now.items:
            self._last_difference = (seen, now.items, difference(seen, now.items))
        return self._last_difference[2]

    def raise_end(self) -> None:
        """Raise the error that ended the poll, if one did."""
        if self.end is not None:
            raise copy.copy(self.end) from self.end

    # For the poller.

    def publish(self, snapshot: Snapshot[T, Item] | None) -> None:
        """Make a good state known, if it is a new one."""
        if snapshot is None or snapshot is self.snapshot:
            return
        self.snapshot = snapshot
        if self._readers:
            self._history.append(snapshot)
        self._trim()
        self._wake_consumers()

    def publish_state(self, status: Status) -> None:
        """Make a change of state known."""
        self.states.append((self.states[-1][0] + 1, status))
        self.progress.wake_all()

    def close(self, status: Status) -> None:
        """Say that nothing is to come."""
        self.publish_state(status)
        self._wake_consumers()

    def _wake_consumers(self) -> None:
        for wakeup in tuple(self._consumers):
            wakeup.wake_all()

    def _trim(self) -> None:
        """Drop the states that every reader has, and the oldest ones of too many."""
        history = self._history
        read = min(self._readers.values(), default=None)
        while history and (read is None or history[0].version <= read):
            history.popleft()
        while len(history) > self._max_pending or sum(len(kept.body) for kept in history) > _MOST_BYTES:
            history.popleft()
