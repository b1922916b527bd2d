"""
What is known of a query's data, and what one more answer adds to it; pure.

Bytes are compared before anything is decoded. Items that did not change stay the same objects, so that later
comparisons are cheap. Whatever is missing goes through `confirmation`: what awaits one leaves everything as it was, and
hidden items are kept as they were last seen, while everything else of the answer counts.
"""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Hashable, Iterator, Mapping, Set as AbstractSet
from typing import Generic, Literal, TypeVar

import msgspec

from aioconsulconnect.errors import ConsulError
from aioconsulconnect.transport.interpretation import interpret
from aioconsulconnect.transport.metadata import Meta
from aioconsulconnect.transport.request import Request
from aioconsulconnect.transport.response import Response
from aioconsulconnect.watch.protocol import confirmation
from aioconsulconnect.watch.protocol.spec import WatchSpec
from aioconsulconnect.watch.protocol.status import Counters

T = TypeVar("T")
Item = TypeVar("Item")
Verdict = Literal["first", "changed", "unchanged", "confirm", "hidden"]


_SLICE = 500


class Snapshot(msgspec.Struct, Generic[T, Item], frozen=True, kw_only=True):
    """A good state: its value, its parts by stable key, where and when it was seen; `version` counts from 1."""

    value: T
    items: Mapping[Hashable, Item]
    index: int | None
    time: float
    version: int
    body: bytes


class _Ahead(msgspec.Struct, Generic[T, Item], frozen=True, kw_only=True):
    """What was worked out of an answer before it was taken, compared with what was known then."""

    body: bytes
    value: T
    items: Mapping[Hashable, Item]
    old: Snapshot[T, Item] | None


class Freshness:
    """
    What makes the last good state older than the newest answer.

    `failed`: something went wrong since. `blind`: a verification found the servers unreachable, so answers that prove
    nothing (streaming, agent's cache) do not make it fresh again. `proved`: when the servers themselves last answered.
    """

    __slots__ = ("blind", "failed", "proved")

    def __init__(self) -> None:
        self.failed: bool = False
        self.blind: bool = False
        self.proved: float | None = None


class SnapshotStore(Generic[T, Item]):
    """The last good state, how it was learned, and since when it is known to be true."""

    def __init__(self, request: Request[T], spec: WatchSpec[T, Item], counters: Counters, confirm_share: float) -> None:
        self.snapshot: Snapshot[T, Item] | None = None
        self.said: confirmation.Said = confirmation.Said()  # by the last good answer
        self.absent: bool = False
        self.freshness: Freshness = Freshness()
        self._request = request
        self._spec = spec
        self._counters = counters
        self._confirm_share = confirm_share
        self._body = b""
        self._ahead: _Ahead[T, Item] | None = None
        self._lost: confirmation.Lost | None = None

    @property
    def hidden(self) -> bool:
        """Whether the last good answer hid items that are kept as they were last seen."""
        return self._lost is not None

    @property
    def meta(self) -> Meta:
        """What the headers of the last good answer said."""
        return self.said.meta

    def invalidate(self) -> None:
        """The token is another one: what was hidden from the old one is judged anew."""
        if self._lost is not None:
            self._lost = msgspec.structs.replace(self._lost, sticks=False)

    def prepare(self, response: Response) -> Iterator[None]:
        """Decode and compare a big answer ahead of `take`; it yields where the event loop may turn."""
        known = response.body == self._body and not self.hidden
        if known or response.error is not None:
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

    def take(
        self, response: Response, meta: Meta, now: float, *, index: int | None, authoritative: bool, beside: bool
    ) -> Verdict:
        """
        Take a good answer; a ConsulError when it cannot be decoded, or is none for what was asked.

        `authoritative`: a plain read from the leader, which confirms. `beside`: not one of the loop, so its headers do
        not say how the loop is answered. `index`: where the data stands, if anywhere.
        """
        old = self.snapshot
        absent = response.status == 404  # noqa: PLR2004
        if old is not None and not self.hidden and absent == self.absent and response.body == self._body:
            self._counters.unchanged += 1
            self._accept(response, meta, now, beside=beside)
            return "unchanged"
        self._counters.decoded += 1
        value, items = self._value_and_items(response)
        said = confirmation.Said(meta, response.anonymous)
        judgement, hidden = self._judge(items, said, authoritative=authoritative)
        if judgement == "confirm":
            self._counters.confirm += 1
            return "confirm"
        if hidden and old is not None:
            self._counters.hidden += 1
            value, items = self._completed(value, items, hidden, old)
        self._hide(hidden, said)
        if old is not None and items == old.items:
            self._counters.unchanged += 1
            verdict: Verdict = "unchanged"
        else:
            self._counters.changed += 1
            version = old.version + 1 if old else 1
            self.snapshot = Snapshot(
                value=value, items=items, index=index, time=now, version=version, body=response.body
            )
            verdict = "changed" if old else "first"
        self._accept(response, meta, now, beside=beside)
        return "hidden" if hidden else verdict

    def prove(self, now: float) -> None:
        """The servers have answered: what the agent says is theirs."""
        self.freshness.proved, self.freshness.blind = now, False

    def age(self, now: float, *, held: bool) -> float | None:
        """
        Seconds since the data was last known to be true; `held`: a poll is open that will tell of a change.

        Headers can make it older and never younger. The Age of a leaf, which comes without LastContact, is that of the
        certificate.
        """
        if self.snapshot is None:
            return None
        meta = self.meta
        proved = self.snapshot.time if self.freshness.proved is None else self.freshness.proved
        if held and proves(meta) and not self.freshness.failed and not self.hidden:
            proved = now
        age = now - proved + (meta.last_contact or 0.0)
        return age if meta.age is None or meta.last_contact is None else max(age, meta.age)

    def _value_and_items(self, response: Response) -> tuple[T, Mapping[Hashable, Item]]:
        old = self.snapshot
        ahead, self._ahead = self._ahead, None
        if ahead is not None and ahead.body is response.body and ahead.old is old:
            return ahead.value, ahead.items
        if response.status == 404 and self._spec.value_when_absent is not None:  # noqa: PLR2004
            value = self._spec.value_when_absent()
        else:
            value = interpret(self._request, response)
        items = self._spec.items(value)
        return value, items if old is None else _at_once(_kept(old.items, items))

    def _judge(
        self, items: Mapping[Hashable, Item], said: confirmation.Said, *, authoritative: bool
    ) -> tuple[confirmation.Judgement, AbstractSet[Hashable]]:
        """What to make of the answer, and what it hides."""
        old, keys = self.snapshot, items.keys()
        known, hidden, before = None, frozenset[Hashable](), self.said
        if self._lost is not None:
            if self._lost.stays(keys, said):
                hidden = frozenset(self._lost.keys - keys)
            else:
                before = self._lost.whole
        if old is not None:
            expected = old.items.keys() - hidden if hidden else old.items.keys()
            known = confirmation.Known(expected, before, self.freshness.failed or self.freshness.blind)
        stale = self._request.options.consistency == "stale" and not authoritative
        judgement = confirmation.judge(
            known, keys, said, authoritative=authoritative, stale=stale, confirm_share=self._confirm_share
        )
        if judgement == "hidden" and old is not None:
            hidden = frozenset(old.items.keys() - keys)
        return judgement, hidden

    def _completed(
        self, value: T, items: Mapping[Hashable, Item], hidden: AbstractSet[Hashable], old: Snapshot[T, Item]
    ) -> tuple[T, Mapping[Hashable, Item]]:
        """The answer with what it hides; all as it was where that cannot be put together."""
        if self._spec.rebuild is None:
            return old.value, old.items
        items = {**items, **{key: item for key, item in old.items.items() if key in hidden}}
        return self._spec.rebuild(value, items), items

    def _hide(self, hidden: AbstractSet[Hashable], said: confirmation.Said) -> None:
        whole = self.said if self._lost is None else self._lost.whole
        announced, sticks = said.hides(whole) or said.blind, self._spec.rebuild is not None
        self._lost = confirmation.Lost(hidden, announced, whole, sticks) if hidden else None

    def _accept(self, response: Response, meta: Meta, now: float, *, beside: bool) -> None:
        self.said = confirmation.Said(self.meta if beside else meta, response.anonymous)
        self.freshness.failed, self._body = False, response.body
        if proves(meta):
            self.freshness.blind = False
        if self.hidden:
            return
        self.absent = response.status == 404  # noqa: PLR2004
        if proves(meta):
            self.prove(now)


def proves(meta: Meta) -> bool:
    """Whether an answer came from the servers: not from the agent's cache, and not from its streaming view."""
    return meta.backend != "streaming" and meta.cache is None


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
