"""What one poll makes known to its consumers: the newest state, what led to it, and the end."""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Hashable, Mapping
from typing import Generic, TypeVar

from aioconsulconnect.errors import ConsulError
from aioconsulconnect.watch.changes import Change, difference
from aioconsulconnect.watch.protocol.snapshot import Snapshot
from aioconsulconnect.watch.protocol.status import Counters, Status
from aioconsulconnect.watch.wakeup import Wakeup

T = TypeVar("T")
Item = TypeVar("Item")

_STATES = 64  # changes of state kept for states()


class Publisher(Generic[T, Item]):
    """
    Written by one poller, read by any number of consumers.

    `snapshot` is the newest good state, `history` the last ones where a consumer wants each, `states` the last changes
    of state with their numbers, `end` the error that ended the poll, if one did. `progress` wakes after any request.
    """

    def __init__(self, counters: Counters, max_pending: int, status: Status) -> None:
        self.snapshot: Snapshot[T, Item] | None = None
        self.history: deque[Snapshot[T, Item]] | None = None
        self.states: deque[tuple[int, Status]] = deque([(0, status)], maxlen=_STATES)
        self.counters: Counters = counters
        self.end: ConsulError | None = None
        self.over: bool = False
        self.progress: Wakeup = Wakeup()
        self.idle_since: float = status.since
        self._max_pending = max_pending
        self._consumers: dict[Wakeup, None] = {}  # theirs are woken for data, and for the end
        self._last_difference: tuple[object, object, tuple[Change[Item], ...]] = (None, None, ())

    @property
    def consumers(self) -> int:
        """How many there are."""
        return len(self._consumers)

    # For consumers.

    def join(self, wakeup: Wakeup, *, every: bool) -> None:
        """Add a consumer, woken for news by `wakeup`; `every` for one that wants each state."""
        self._consumers[wakeup] = None
        if every and self.history is None:
            self.history = deque(maxlen=self._max_pending)

    def leave(self, wakeup: Wakeup, now: float) -> None:
        """Remove a consumer; the poll goes on for a while, and is never broken off."""
        del self._consumers[wakeup]
        self.idle_since = now
        wakeup.wake_all()
        self.progress.wake_all()

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
        if self.history is not None:
            self.history.append(snapshot)
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
