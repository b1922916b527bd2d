"""
What is known of a query's data, and what one more answer adds to it; pure.

The value is what Consul last said: it is never mended from memory. Bytes are compared before anything is decoded. Items
that did not change stay the same objects, so that later comparisons are cheap. An answer that leaves doubt, or that
comes from a server which knows nothing, leaves everything as it was.
"""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Hashable, Iterator, Mapping
from enum import Enum
from typing import Generic, TypeVar

import msgspec

from aioconsulconnect.errors import ConsulError
from aioconsulconnect.transport.interpretation import interpret
from aioconsulconnect.transport.metadata import Meta
from aioconsulconnect.transport.request import Request
from aioconsulconnect.transport.response import Response
from aioconsulconnect.watch.protocol.confirmation import is_blind, leaves_doubt
from aioconsulconnect.watch.protocol.spec import WatchSpec
from aioconsulconnect.watch.protocol.status import Counters

T = TypeVar("T")
Item = TypeVar("Item")

_SLICE = 500
_ABSENT = 404


class Verdict(Enum):
    """What was made of an answer."""

    FIRST = "first"
    CHANGED = "changed"
    UNCHANGED = "unchanged"
    DOUBTFUL = "confirm"
    BLIND = "blind"

    @property
    def believed(self) -> bool:
        """Whether the answer counts."""
        return self not in {Verdict.DOUBTFUL, Verdict.BLIND}


class Snapshot(msgspec.Struct, Generic[T, Item], frozen=True, kw_only=True):
    """
    A good state: its value, its parts by stable key, where and when it was seen; `version` counts from 1.

    `filtered` and `anonymous` say that what is missing in it may only be hidden.
    """

    value: T
    items: Mapping[Hashable, Item]
    index: int | None
    time: float
    version: int
    body: bytes
    filtered: bool = False
    anonymous: bool = False


class Sent(msgspec.Struct, frozen=True):
    """When a request was sent; `order` tells it from what was sent or came in the same instant."""

    time: float
    order: int


class Answer(msgspec.Struct, frozen=True):
    """A good answer, and when it was asked for and came; `index` is where the data stands by it, if anywhere."""

    response: Response
    sent: Sent
    received: float
    index: int | None

    @property
    def meta(self) -> Meta:
        """What its headers say."""
        return self.response.meta

    @property
    def absent(self) -> bool:
        """Whether it says that what is asked for is not there."""
        return self.response.status == _ABSENT

    @property
    def proves(self) -> bool:
        """Whether it came from the servers: not from the agent's cache, and not from its streaming view."""
        return self.meta.backend != "streaming" and self.meta.cache is None


class _Ahead(msgspec.Struct, Generic[T, Item], frozen=True, kw_only=True):
    """What was worked out of an answer before it was taken, compared with what was known then."""

    body: bytes
    value: T
    items: Mapping[Hashable, Item]
    old: Snapshot[T, Item] | None


class SnapshotStore(Generic[T, Item]):
    """
    The last good state, the last answer that counted, and since when the state is known to be true.

    `failed`: something went wrong since. `proved`: when the servers themselves last said that it is so; `unproved`:
    they were asked whether it still is, and could not say.
    """

    def __init__(self, request: Request[T], spec: WatchSpec[T, Item], counters: Counters) -> None:
        self.snapshot: Snapshot[T, Item] | None = None
        self.last: Answer | None = None
        self.failed: bool = False
        self.unproved: bool = False
        self.proved: float | None = None
        self._request = request
        self._spec = spec
        self._counters = counters
        self._ahead: _Ahead[T, Item] | None = None
        self._verification: object = None
        self._order = 0  # of all that is sent and all that counts
        self._accepted = 0  # the order of the last answer that counted

    @property
    def meta(self) -> Meta:
        """What the headers of the last answer that counted said."""
        return Meta() if self.last is None else self.last.meta

    def age(self, now: float) -> float | None:
        """
        Seconds since the servers last said that the state is so; None before there is one.

        Headers can make it older and never younger. The Age of a leaf, which comes without LastContact, is that of the
        certificate.
        """
        if self.snapshot is None:
            return None
        proved = self.snapshot.time if self.proved is None else self.proved
        age = now - proved + (self.meta.last_contact or 0.0)
        return age if self.meta.age is None or self.meta.last_contact is None else max(age, self.meta.age)

    def send(self, now: float) -> Sent:
        """Note that a request is about to be sent."""
        self._order += 1
        return Sent(now, self._order)

    def prepare(self, response: Response) -> Iterator[None]:
        """Decode and compare a big answer ahead of `take`; it yields where the event loop may turn."""
        if self._is_known(response) or response.error is not None:
            return
        slices, old = self._request.slices, self.snapshot
        with contextlib.suppress(ConsulError):  # `take` will meet it again
            value = interpret(self._request, response) if slices is None else (yield from slices(response))
            yield
            items = self._spec.items(value)
            if old is not None:
                items = yield from _kept(old.items, items)
            self._ahead = _Ahead(body=response.body, value=value, items=items, old=old)
        yield

    def take(self, answer: Answer, *, authoritative: bool) -> Verdict:
        """
        Take a good answer; a ConsulError when it cannot be decoded, or is none for what was asked.

        `authoritative`: it is a plain read of the leader, which settles every doubt.
        """
        if is_blind(answer.meta):
            return Verdict.BLIND
        old, response = self.snapshot, answer.response
        if old is not None and self._is_known(response):
            self._counters.unchanged += 1
            self._accept(answer)
            return Verdict.UNCHANGED
        self._counters.decoded += 1
        value, items = self._value_and_items(answer)
        if self._spec.incomplete is not None and self._spec.incomplete(value):
            return Verdict.BLIND
        if old is None:
            self._publish(answer, value, items, version=1)
            return Verdict.FIRST
        if not authoritative and self._is_doubtful(answer, old, items):
            self._counters.confirm += 1
            return Verdict.DOUBTFUL
        replaces = self._spec.replaces
        if items == old.items or (replaces is not None and not replaces(old.value, value, self._verification)):
            self._counters.unchanged += 1
            self._accept(answer)
            return Verdict.UNCHANGED
        self._publish(answer, value, items, version=old.version + 1)
        return Verdict.CHANGED

    def overtaken(self, answer: Answer) -> bool:
        """
        Whether an answer to a read beside the loop came too late to be believed: a newer one has counted meanwhile.

        It counts all the same where it says the same, or stands at a higher index of the same backend.
        """
        last = self.last
        if last is None or self._accepted < answer.sent.order or self._is_known(answer.response):
            return False
        higher = answer.index is not None and last.index is not None and answer.index > last.index
        return not (higher and answer.meta.backend == last.meta.backend)

    def satisfied_since(self, sent: Sent) -> bool:
        """Whether an answer has counted that was asked for later: whoever asked then knows enough."""
        return self.last is not None and self.last.sent.order > sent.order

    def verified(self, now: float, value: object) -> None:
        """
        Note that the servers have answered another read, with this value: what the agent says is theirs.

        By that value an answer may count that was passed over before.
        """
        self.proved, self.unproved, self._verification = now, False, value
        last, old, replaces = self.last, self.snapshot, self._spec.replaces
        if last is None or old is None or replaces is None or last.response.body == old.body:
            return
        found, items = self._value_and_items(last)
        if items != old.items and replaces(old.value, found, value):
            self._publish(msgspec.structs.replace(last, received=now), found, items, version=old.version + 1)

    def _is_known(self, response: Response) -> bool:
        """Whether it has the very bytes of the last one that counted."""
        last = self.last
        if last is None or response.body != last.response.body:
            return False
        return (response.status == _ABSENT) == last.absent

    def _is_doubtful(self, answer: Answer, old: Snapshot[T, Item], items: Mapping[Hashable, Item]) -> bool:
        if all(key in items for key in old.items):
            return False
        last_index = None if self.last is None else self.last.index
        return leaves_doubt(answer.meta, answer.index, self.meta, last_index, failed=self.failed or self.unproved)

    def _value_and_items(self, answer: Answer) -> tuple[T, Mapping[Hashable, Item]]:
        old = self.snapshot
        ahead, self._ahead = self._ahead, None
        if ahead is not None and ahead.body is answer.response.body and ahead.old is old:
            return ahead.value, ahead.items
        if answer.absent and self._spec.value_when_absent is not None:
            value = self._spec.value_when_absent()
        else:
            value = interpret(self._request, answer.response)
        items = self._spec.items(value)
        return value, items if old is None else _at_once(_kept(old.items, items))

    def _publish(self, answer: Answer, value: T, items: Mapping[Hashable, Item], *, version: int) -> None:
        self._counters.changed += 1
        self.snapshot = Snapshot(
            value=value,
            items=items,
            index=answer.index,
            time=answer.received,
            version=version,
            body=answer.response.body,
            filtered=answer.meta.filtered_by_acls,
            anonymous=answer.response.anonymous,
        )
        self._accept(answer)

    def _accept(self, answer: Answer) -> None:
        self._order += 1
        self.last, self.failed, self._accepted = answer, False, self._order
        if answer.proves:
            self.proved, self.unproved = answer.received, False


def _kept(old: Mapping[Hashable, Item], new: Mapping[Hashable, Item]) -> Generator[None, None, Mapping[Hashable, Item]]:
    """`new`, with the old object for each item that is equal to it; it yields where others may run."""
    kept: dict[Hashable, Item] = {}
    for number, (key, item) in enumerate(new.items(), 1):
        if number % _SLICE == 0:
            yield
        was = old.get(key, item)
        kept[key] = was if was == item else item
    return kept


def _at_once(steps: Generator[None, None, T]) -> T:
    """What `steps` return, without a pause between them."""
    while True:
        try:
            next(steps)
        except StopIteration as done:
            value: T = done.value
            return value
