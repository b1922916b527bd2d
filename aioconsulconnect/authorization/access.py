"""Difference between two tables: who may connect by one of them alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Self

import msgspec

from aioconsulconnect.authorization.rules.permissions import Claims
from aioconsulconnect.authorization.rules.request import HTTPRequest
from aioconsulconnect.authorization.rules.rule import Key, key_of_source
from aioconsulconnect.authorization.rules.source import DEFAULT, Caller, Source
from aioconsulconnect.authorization.rules.verdict import Reason, Verdict, denied
from aioconsulconnect.authorization.table import Table
from aioconsulconnect.clock import in_turns
from aioconsulconnect.slices import InSlices
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
        self.reason: Reason = reason
        self.verdict: Verdict = denied(reason)

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
    - `before`, `now`: verdicts about a connection without a request. Another list of permissions, or another required
      token, in the intention that decides is a change too.
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
            changes = await in_turns(access_changes(self._seen, now))
            self._seen = now
            if changes or not self._begun:
                self._begun = True
                return changes
        raise StopAsyncIteration


def access_changes(before: Decider, now: Decider) -> InSlices[tuple[AccessChange, ...]]:
    """
    Return a generator that compares two tables, and returns who may connect by one of them alone.

    It yields where other tasks may run. `before` and `now` are the tables, or refusals.
    """
    found: list[AccessChange] = []
    for number, (destination, name, source) in enumerate(_questions(before, now), 1):
        if number % _SLICE == 0:
            yield
        if source is None:
            continue
        was, is_now = before.check(source, destination), now.check(source, destination)
        if _access(was) != _access(is_now):
            found.append(AccessChange(source=str(source), destination=name, before=was, now=is_now))
    return tuple(found)


def _access(verdict: Verdict) -> object:
    rules = ((), None) if verdict.intention is None else (verdict.intention.permissions, verdict.intention.jwt)
    return verdict.allowed, verdict.reason is Reason.REQUEST_NEEDED, rules


def _questions(before: Decider, now: Decider) -> Iterator[tuple[str, str, Source | None]]:
    """
    Yield destinations (as they are asked for, and as they are told) with the sources for which something may differ.

    The source is None where a destination was passed over, so that the work of passing is counted as well.
    """
    tables = [one for one in (before, now) if isinstance(one, Table)]
    is_alike = len(tables) == 2 and tables[0].settings == tables[1].settings  # noqa: PLR2004
    everywhere = _differing(tables, "*", is_alike=is_alike)
    for key in _destinations(tables):
        differing = everywhere if key == "*" else everywhere | _differing(tables, key, is_alike=is_alike)
        if "*" in differing:  # then also for those that are named for every destination alone
            differing |= {source: None for table in tables for source in table.rows.by_destination.get("*", ())}
        if not differing:
            yield "", "", None
            continue
        name = key if isinstance(key, str) else "/".join(key[1:])
        for source in differing:
            yield _ANY_OTHER if name == "*" else name, name, _source(source)


def _destinations(tables: list[Table]) -> Iterator[Key]:
    """The keys of the destinations that intentions name, with `*` for all others where a table knows those too."""
    keys: dict[Key, None] = {}
    for table in tables:
        if table.destinations is None:
            keys |= dict.fromkeys((*table.rows.by_destination, *table.rows.special, "*"))
        else:
            keys |= dict.fromkeys(table.destinations)
    return (key for key in keys if key == "*" or (key if isinstance(key, str) else key[3]) != "*")


def _differing(tables: list[Table], destination: Key, *, is_alike: bool) -> dict[Key, None]:
    """The sources of one row, and any other (`*`), for which the tables may differ."""
    rows = [table.rows.by_destination.get(destination, {}) for table in tables]
    special = [table.rows.special.get(destination, ()) for table in tables]
    if is_alike and special[0] == special[1] == ():
        first, second = rows
        return {key: None for key in first.keys() | second.keys() if first.get(key) != second.get(key)}
    found = dict.fromkeys(key for row in rows for key in row)
    found |= dict.fromkeys(key_of_source(rule.intention) for rules in special for rule in rules)
    return {**found, "*": None}


def _source(key: Key) -> Source:
    if isinstance(key, str):
        return Source(key)
    peer, partition, namespace, name = key
    return Source(name, namespace, partition or DEFAULT, peer)
