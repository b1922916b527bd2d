"""Subscription of one consumer to a poll: its options, how far it has come, and where it is woken."""

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
    Mark of how far a watch has come; it can be stored, and given to `watch(since=…)` after a restart.

    - `path`: path and query string of the query.
    - `digest`: digest of Consul's answer; it alone decides whether something has changed, since an index says nothing
      once the agent is another.
    - `index`: Consul's index of the answer, None for none; for the reader only.
    - `address`: the agent that gave it; for the reader only.
    """

    path: str
    digest: str
    index: int | None = None
    address: str = ""


class WatchOptions(msgspec.Struct, Generic[Item], frozen=True):
    """
    Options of one consumer of a query, as `Query.watch` takes them.

    - `every`: deliver every state, not only the latest.
    - `settle`: seconds of quiet, and seconds at most, for which a change is held back; None for none.
    - `counts`: function that gives what of an item counts as a change; None for all of it.
    - `since`: cursor of an earlier watch, None for none.
    - `max_age`: oldest state in seconds that the consumer accepts, None for any.
    """

    every: bool
    settle: tuple[float, float] | None
    counts: Callable[[Item], object] | None
    since: Cursor | None
    max_age: float | None


class Subscription(Generic[T, Item]):
    """
    Subscription of one consumer to the publisher of a poll.

    - `publisher`: publisher of the poll.
    - `resources`: what all pollers of the client share.
    - `options`: options of the consumer.
    - `query`: path and query string of the query.

    Attributes: `wakeup` wakes the consumer for new data and at the end; `left` is True once the watch was left;
    `delivered` is the last state that the consumer was given; `resumed` is the first result of `resumes`.
    """

    __slots__ = ("_resources", "delivered", "left", "options", "publisher", "query", "resumed", "wakeup")

    def __init__(
        self, publisher: Publisher[T, Item], resources: PollerResources, options: WatchOptions[Item], query: str
    ) -> None:
        self.publisher: Publisher[T, Item] = publisher
        self.options: WatchOptions[Item] = options
        self.query: str = query
        self.wakeup: Wakeup = Wakeup()
        self.left: bool = False
        self.resumed: bool | None = None  # first result of `resumes`
        self.delivered: Snapshot[T, Item] | None = None
        self._resources = resources
        publisher.join(self.wakeup, max_age=options.max_age)

    @property
    def clock(self) -> Clock:
        """The clock of the client."""
        return self._resources.clock

    @property
    def over(self) -> bool:
        """True if no more data comes: the watch was left, the client was closed, or the poll ended."""
        return self.left or self.publisher.over

    def check_loop(self) -> None:
        """Raise Closed in another event loop than the client's, where nothing would wake the consumer."""
        self._resources.own_loop.check()

    def leave(self) -> None:
        """End the subscription; it may be called twice."""
        if not self.left:
            self.left = True
            self.publisher.leave(self.wakeup, self.clock.now())

    def check_alive(self) -> None:
        """Raise the error that ended the poll, or Closed, if no more data comes.

        Raises Closed in another event loop too.
        """
        self.check_loop()
        if not self.left:
            self.publisher.raise_end()
        if self.over:
            raise Closed("the watch was closed")

    def resumes(self, snapshot: Snapshot[T, Item]) -> bool:
        """Return True if `snapshot` is the state of the cursor that was given; False without a cursor."""
        since = self.options.since
        if since is None:
            return False
        same = since.path == self.query and since.digest == digest(snapshot)
        if self.resumed is None:
            self.resumed = same
        return same

    def deliver(self, snapshot: Snapshot[T, Item], skipped: int) -> None:
        """Note that the consumer is given the state `snapshot`, `skipped` states after the one before."""
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
    """Return the digest of the answer that brought `snapshot`, as a cursor holds it."""
    return hashlib.sha256(snapshot.body).hexdigest()
