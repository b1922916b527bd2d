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
from typing import Generic, TypeVar

import msgspec

from aioconsulconnect.errors import Closed
from aioconsulconnect.watch.poller import Poll, Polls
from aioconsulconnect.watch.protocol.snapshot import Snapshot
from aioconsulconnect.watch.wakeup import Bell

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
