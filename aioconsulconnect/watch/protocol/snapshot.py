"""
The last good state of a query, and the rules by which the next answer changes it.

Pure. The value is what Consul said last; it is never completed from memory. Bodies are compared as bytes before
anything is decoded. Items that did not change stay the same objects, which makes later comparisons cheap. An answer
that leaves doubt, or that comes from a server without data, changes nothing.
"""

from __future__ import annotations

import contextlib
from collections.abc import Hashable, Iterator, Mapping
from enum import Enum
from typing import Generic, TypeVar

import msgspec

from aioconsulconnect.errors import ConsulError
from aioconsulconnect.slices import SLICE, InSlices, at_once
from aioconsulconnect.structs.codec.consul_struct import FrozenStruct
from aioconsulconnect.transport.interpretation import interpret
from aioconsulconnect.transport.metadata import Meta
from aioconsulconnect.transport.request import Request
from aioconsulconnect.transport.response import Response
from aioconsulconnect.watch.protocol.confirmation import is_blind, leaves_doubt, may_be_older
from aioconsulconnect.watch.protocol.spec import WatchSpec
from aioconsulconnect.watch.protocol.status import Counters

T = TypeVar("T")
Item = TypeVar("Item")

_ABSENT = 404


class Verdict(Enum):
    """
    Verdict on the data of one answer.

    - `FIRST`: it brought the first data.
    - `CHANGED`: it brought other data than before.
    - `UNCHANGED`: it brought the same data.
    - `DOUBTFUL`: it lacks items or may be older than what is known, and a consistent read has to decide.
    - `BLIND`: the server has no data yet.
    """

    FIRST = "first"
    CHANGED = "changed"
    UNCHANGED = "unchanged"
    DOUBTFUL = "confirm"
    BLIND = "blind"

    @property
    def believed(self) -> bool:
        """True if the answer was accepted."""
        return self not in {Verdict.DOUBTFUL, Verdict.BLIND}


class Snapshot(FrozenStruct, Generic[T, Item], frozen=True, kw_only=True):
    """
    A good state of a query's data.

    - `value`: the value.
    - `items`: its parts by stable key.
    - `index`: Consul's index of the answer that brought it, None for none.
    - `time`: when that answer came, on the client's clock.
    - `version`: number of the state, counted from 1.
    - `body`: the bytes of the answer.
    - `filtered`: the token may not see everything, so that what is missing may only be hidden.
    - `anonymous`: no token was sent; likewise.
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
    """
    Time and order of a request that was sent.

    - `time`: seconds on the client's clock.
    - `order`: number that orders it among all that was sent or accepted, also within the same instant.
    """

    time: float
    order: int


class Answer(msgspec.Struct, frozen=True):
    """
    A good answer, with the times when it was asked for and when it came.

    - `response`: the answer.
    - `sent`: when the request was sent.
    - `received`: when the answer came, in seconds on the client's clock.
    - `index`: index at which the data stands by it, None for none.
    """

    response: Response
    sent: Sent
    received: float
    index: int | None

    @property
    def meta(self) -> Meta:
        """Metadata from the headers of the answer."""
        return self.response.meta

    @property
    def absent(self) -> bool:
        """True if the answer says that what is asked for does not exist (404)."""
        return self.response.status == _ABSENT

    @property
    def proves(self) -> bool:
        """True if the servers themselves answered, not the agent's cache or its streaming view."""
        return self.meta.backend != "streaming" and self.meta.cache is None


class _Decoded(msgspec.Struct, Generic[T, Item], frozen=True, kw_only=True):
    """A decoded answer beside the state that it was compared with: `lacks` items of it, or `differs` at all."""

    body: bytes
    value: T
    items: Mapping[Hashable, Item]
    old: Snapshot[T, Item] | None
    lacks: bool = False
    differs: bool = True


class SnapshotStore(Generic[T, Item]):
    """
    The last good state of a query, the last accepted answer, and how far the state is proved.

    `request` is the read whose answers are decoded, `spec` its description, `counters` what is counted up. The state is
    in these attributes:

    - `snapshot`: the last good state, None before there is one.
    - `last`: the last accepted answer.
    - `failed`: something went wrong since that answer.
    - `proved`: when the servers themselves last confirmed the state, None for never.
    - `unproved`: the servers were asked for a confirmation, and could not give it.
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
        self._ahead: _Decoded[T, Item] | None = None
        self._verification: object = None
        self._order = 0  # number of requests sent and answers accepted
        self._accepted = 0  # the order of the last accepted answer

    @property
    def meta(self) -> Meta:
        """Metadata of the last accepted answer; empty before there is one."""
        return Meta() if self.last is None else self.last.meta

    def age(self, now: float) -> float | None:
        """
        Return the seconds at `now` since the servers last confirmed the state; None before there is one.

        Headers can make it older and never younger. An Age header without LastContact is ignored: the leaf endpoint
        sends it, and there it is the age of the certificate.
        """
        if self.snapshot is None:
            return None
        proved = self.snapshot.time if self.proved is None else self.proved
        age = now - proved + (self.meta.last_contact or 0.0)
        return age if self.meta.age is None or self.meta.last_contact is None else max(age, self.meta.age)

    def send(self, now: float) -> Sent:
        """Return the mark of a request that is about to be sent at `now`."""
        self._order += 1
        return Sent(now, self._order)

    def prepare(self, response: Response) -> Iterator[None]:
        """
        Decode and compare a large answer ahead of `take`, in steps.

        The iterator yields where the event loop may run other tasks. An error in `response` is left for `take` to
        raise.
        """
        if self._is_known(response) or response.error is not None:
            return
        slices = self._request.slices
        with contextlib.suppress(ConsulError):  # `take` raises it again
            value = interpret(self._request, response) if slices is None else (yield from slices(response))
            yield
            spec = self._spec
            items = spec.items(value) if spec.items_in_slices is None else (yield from spec.items_in_slices(value))
            self._ahead = yield from self._compared(response.body, value, items)
        yield

    def take(self, answer: Answer, *, authoritative: bool) -> Verdict:
        """
        Take a good `answer`, and return what became of it.

        `authoritative` says that it is a consistent read, which settles every doubt. Raises ConsulError when
        the answer cannot be decoded, or is an error.
        """
        if is_blind(answer.meta):
            return Verdict.BLIND
        old, response = self.snapshot, answer.response
        if old is not None and self._is_known(response):
            self._counters.unchanged += 1
            self._accept(answer)
            return Verdict.UNCHANGED
        self._counters.decoded += 1
        new = self._decoded(answer)
        if self._spec.incomplete is not None and self._spec.incomplete(new.value):
            return Verdict.BLIND
        if old is None:
            self._publish(answer, new, version=1)
            return Verdict.FIRST
        if not authoritative and new.differs and self._is_doubtful(answer, lacks=new.lacks):
            self._counters.confirm += 1
            return Verdict.DOUBTFUL
        replaces = self._spec.replaces
        if not new.differs or (replaces is not None and not replaces(old.value, new.value, self._verification)):
            self._counters.unchanged += 1
            self._accept(answer)
            return Verdict.UNCHANGED
        self._publish(answer, new, version=old.version + 1)
        return Verdict.CHANGED

    def overtaken(self, answer: Answer) -> bool:
        """
        Return True if a read beside the loop is outdated: a newer answer was accepted meanwhile.

        It is not outdated if `answer` says the same as the last accepted one, or has a higher index of the same
        backend.
        """
        last = self.last
        if last is None or self._accepted < answer.sent.order or self._is_known(answer.response):
            return False
        higher = answer.index is not None and last.index is not None and answer.index > last.index
        return not (higher and answer.meta.backend == last.meta.backend)

    def satisfied_since(self, sent: Sent) -> bool:
        """Return True if an accepted answer was asked for after the request of `sent`."""
        return self.last is not None and self.last.sent.order > sent.order

    def verified(self, now: float, value: object) -> None:
        """
        Note that the servers have answered another read at `now`, which confirms the state.

        `value` is what that read brought; `WatchSpec.replaces` is given it.

        An answer that was passed over may be accepted now, by that value.
        """
        self.proved, self.unproved, self._verification = now, False, value
        last, old, replaces = self.last, self.snapshot, self._spec.replaces
        if last is None or old is None or replaces is None or last.response.body == old.body:
            return
        found = self._decoded(last)
        if found.differs and replaces(old.value, found.value, value):
            self._publish(msgspec.structs.replace(last, received=now), found, version=old.version + 1)

    def _is_known(self, response: Response) -> bool:
        """Return True if `response` has the very bytes of the last accepted answer."""
        last = self.last
        if last is None or response.body != last.response.body:
            return False
        return (response.status == _ABSENT) == last.absent

    def _is_doubtful(self, answer: Answer, *, lacks: bool) -> bool:
        """Return True if it is not proved that items are gone (`lacks`), or that others are newer than before."""
        if not lacks and self._spec.source != "servers":
            return False
        last_index = None if self.last is None else self.last.index
        rule = leaves_doubt if lacks else may_be_older
        return rule(answer.meta, answer.index, self.meta, last_index, failed=self.failed or self.unproved)

    def _decoded(self, answer: Answer) -> _Decoded[T, Item]:
        ahead, self._ahead = self._ahead, None
        if ahead is not None and ahead.body is answer.response.body and ahead.old is self.snapshot:
            return ahead
        if answer.absent and self._spec.value_when_absent is not None:
            value = self._spec.value_when_absent()
        else:
            value = interpret(self._request, answer.response)
        return at_once(self._compared(answer.response.body, value, self._spec.items(value)))

    def _compared(self, body: bytes, value: T, items: Mapping[Hashable, Item]) -> InSlices[_Decoded[T, Item]]:
        """Compare a value with the state; it yields where other tasks may run, and returns what is to be known."""
        old = self.snapshot
        if old is None:
            return _Decoded(body=body, value=value, items=items, old=None)
        kept: dict[Hashable, Item] = {}  # the old object in place of each equal item
        known = equal = 0
        for number, (key, item) in enumerate(items.items(), 1):
            if number % SLICE == 0:
                yield
            kept[key] = item
            if key in old.items:
                known += 1
                was = old.items[key]
                if was == item:
                    equal += 1
                    kept[key] = was
        lacks = known < len(old.items)
        differs = lacks or equal < len(kept)
        return _Decoded(body=body, value=value, items=kept, old=old, lacks=lacks, differs=differs)

    def _publish(self, answer: Answer, new: _Decoded[T, Item], *, version: int) -> None:
        self._counters.changed += 1
        self.snapshot = Snapshot(
            value=new.value,
            items=new.items,
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
