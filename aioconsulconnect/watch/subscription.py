"""One consumer's subscription to a poll: what it wants, how far it has come, and where it is woken."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Generic, TypeVar

import msgspec

from aioconsulconnect.clock import Clock
from aioconsulconnect.errors import Closed
from aioconsulconnect.watch.poller_resources import PollerResources
from aioconsulconnect.watch.protocol.snapshot import Snapshot
from aioconsulconnect.watch.protocol.status import Event
from aioconsulconnect.watch.publisher import Publisher
from aioconsulconnect.watch.wakeup import Wakeup

T = TypeVar("T")
Item = TypeVar("Item")


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


class WatchOptions(msgspec.Struct, Generic[Item], frozen=True):
    """What one consumer wants: every state or the latest, held back until quiet, what counts, since when, how fresh."""

    every: bool
    settle: tuple[float, float] | None
    counts: Callable[[Item], object] | None
    since: Cursor | None
    max_age: float | None


class Subscription(Generic[T, Item]):
    """What one consumer holds. Its `wakeup` wakes for news, and at the end; `query` is its path and query string."""

    __slots__ = ("_resources", "delivered", "left", "options", "publisher", "query", "resumed", "wakeup")

    def __init__(
        self, publisher: Publisher[T, Item], resources: PollerResources, options: WatchOptions[Item], query: str
    ) -> None:
        self.publisher: Publisher[T, Item] = publisher
        self.options: WatchOptions[Item] = options
        self.query: str = query
        self.wakeup: Wakeup = Wakeup()
        self.left: bool = False
        self.resumed: bool | None = None  # what `resumes` said first
        self.delivered: Snapshot[T, Item] | None = None
        self._resources = resources
        publisher.join(self.wakeup, max_age=options.max_age)

    @property
    def clock(self) -> Clock:
        """The clock of the client."""
        return self._resources.clock

    @property
    def over(self) -> bool:
        """Whether there is nothing to come: it was left, or the client was closed, or the poll ended."""
        return self.left or self.publisher.over

    def leave(self) -> None:
        """End it."""
        if not self.left:
            self.left = True
            self.publisher.leave(self.wakeup, self.clock.now())

    def check_alive(self) -> None:
        """Raise when nothing is to come."""
        if not self.left:
            self.publisher.raise_end()
        if self.over:
            raise Closed("the watch was closed")

    def resumes(self, snapshot: Snapshot[T, Item]) -> bool:
        """Whether nothing changed since the cursor that was given."""
        since = self.options.since
        if since is None:
            return False
        same = since.path == self.query and since.digest == digest(snapshot)
        if self.resumed is None:
            self.resumed = same
        return same

    def deliver(self, snapshot: Snapshot[T, Item], skipped: int) -> None:
        """Note that the consumer is handed this state, `skipped` after the one that it had."""
        self.delivered = snapshot
        counters = self.publisher.counters
        if self.options.every:
            counters.dropped += skipped
        else:
            counters.merged += skipped
        if self._resources.listening:
            state, took = self.publisher.states[-1][1].state, self.clock.now() - snapshot.time
            self._resources.report(Event(kind="delivered", query=self.query, state=state, took=took, merged=skipped))


def digest(snapshot: Snapshot[T, Item]) -> str:
    """What a cursor remembers of a state."""
    return hashlib.sha256(snapshot.body).hexdigest()
