"""Difference between two tables: who may connect by one of them alone."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from typing import Self

import msgspec

from aioconsulconnect.authorization.rules.permissions import Claims
from aioconsulconnect.authorization.rules.request import HTTPRequest
from aioconsulconnect.authorization.rules.rule import Key, key_of_source
from aioconsulconnect.authorization.rules.source import DEFAULT, Caller, Source
from aioconsulconnect.authorization.rules.verdict import Reason, Verdict, denied
from aioconsulconnect.authorization.table import Table
from aioconsulconnect.clock import breathe
from aioconsulconnect.watch.wakeup import Wakeup

_SLICE = 200
_ANY_OTHER = "any-destination-that-no-intention-names"


class Refusal:
    """
    Stand-in for a table where there is none to decide by: it denies everything.

    `reason` is why.
    """

    __slots__ = ("reason", "verdict")

    def __init__(self, reason: Reason) -> None:
        self.reason = reason
        self.verdict = denied(reason)

    def check(
        self,
        source: Caller,  # noqa: ARG002 - as for a table
        destination: str | None = None,  # noqa: ARG002
        request: HTTPRequest | None = None,  # noqa: ARG002
        *,
        claims: Claims | None = None,  # noqa: ARG002
    ) -> Verdict:
        """Deny; `source`, `destination`, `request` and `claims` are as for `Table.check`, and do not matter."""
        return self.verdict


Decider = Table | Refusal
"""What answers now: a table, or a refusal where there is none to decide by."""


class AccessChange(msgspec.Struct, frozen=True, kw_only=True):
    """
    Change of who may connect: a source may now and might not before, or the other way round.

    - `source`: name of the source as Consul writes it; `*` for every source that no intention for it names.
    - `destination`: name of the destination, in lower case; `*` for every destination that no intention names.
    - `before`, `now`: verdicts about a connection without a request. A change between a plain answer and
      `REQUEST_NEEDED`, where requests decide, is a change too.
    """

    source: str
    destination: str
    before: Verdict
    now: Verdict


class AccessChanges:
    """
    Iterator over changes of who may connect; each item is a tuple of all that changed at once.

    The first item says who may connect now. A slow consumer gets the sum of what it missed. It ends with the
    authorizer.

    - `newest`: function that returns what decides now.
    - `news`: wakes when that is another, and at the end.
    - `is_over`: function that is True once no more news comes.
    """

    __slots__ = ("_begun", "_is_over", "_newest", "_news", "_seen")

    def __init__(self, newest: Callable[[], Decider], news: Wakeup, is_over: Callable[[], bool]) -> None:
        self._newest = newest
        self._news = news
        self._is_over = is_over
        self._seen: Decider = Refusal(Reason.NOT_READY)
        self._begun = False

    def __aiter__(self) -> Self:
        """Return the iterator itself."""
        return self

    async def __anext__(self) -> tuple[AccessChange, ...]:
        """Return the next changes; the iteration ends when the authorizer is left or its client closed."""
        while not self._is_over():
            now = self._newest()
            if now is self._seen or (not self._begun and isinstance(now, Refusal)):
                await self._news.wait()
                continue
            changes = await self._difference(self._seen, now)
            self._seen = now
            if changes or not self._begun:
                self._begun = True
                return changes
        raise StopAsyncIteration

    async def _difference(self, before: Decider, now: Decider) -> tuple[AccessChange, ...]:
        steps = access_changes(before, now)
        while True:
            try:
                next(steps)
            except StopIteration as done:
                found: tuple[AccessChange, ...] = done.value
                return found
            await breathe()


def access_changes(before: Decider, now: Decider) -> Generator[None, None, tuple[AccessChange, ...]]:
    """
    Return a generator that compares two tables, and returns who may connect by one of them alone.

    It yields where other tasks may run. `before` and `now` are the tables, or refusals.
    """
    found: list[AccessChange] = []
    pairs: dict[tuple[str, str], Source] = {}
    for decider in (before, now):
        if isinstance(decider, Table):
            for destination, source in _pairs_of(decider):
                pairs[destination, str(source)] = source
                if len(pairs) % _SLICE == 0:
                    yield
    for number, ((destination, name), source) in enumerate(pairs.items(), 1):
        if number % _SLICE == 0:
            yield
        asked = _ANY_OTHER if destination == "*" else destination
        was, is_now = before.check(source, asked), now.check(source, asked)
        if _access(was) != _access(is_now):
            found.append(AccessChange(source=name, destination=destination, before=was, now=is_now))
    return tuple(found)


def _access(verdict: Verdict) -> object:
    return verdict.allowed, verdict.reason is Reason.REQUEST_NEEDED


def _pairs_of(table: Table) -> Iterator[tuple[str, Source]]:
    """The destinations of a table, each with the sources that intentions for it name, and with any other."""
    rows = table.rows
    named = {*rows.by_destination, *rows.special} if table.destinations is None else set(table.destinations)
    everywhere = _sources(table, "*")
    for key in named if table.destinations is not None else {*named, "*"}:
        name = key if isinstance(key, str) else "/".join(key[1:])
        if not name.endswith("/*"):
            for source in dict.fromkeys((*_sources(table, key), *everywhere, Source("*"))):
                yield name, source


def _sources(table: Table, destination: Key) -> Iterator[Source] | tuple[Source, ...]:
    keys = dict.fromkeys(table.rows.by_destination.get(destination, ()))
    keys |= dict.fromkeys(key_of_source(rule.intention) for rule in table.rows.special.get(destination, ()))
    return tuple(_source(key) for key in keys)


def _source(key: Key) -> Source:
    if isinstance(key, str):
        return Source(key)
    peer, partition, namespace, name = key
    return Source(name, namespace, partition or DEFAULT, peer)
