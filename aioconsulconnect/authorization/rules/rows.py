"""
Intentions by destination and source, and the search for those that match.

Precedence lies in the order of the lookups: exact destination before `*`, and for each the exact source before `*`.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import msgspec

from aioconsulconnect.authorization.rules.regex import Budget
from aioconsulconnect.authorization.rules.rule import (
    Held,
    Key,
    Rule,
    held,
    intention_of,
    is_literal,
    is_plain,
    key_of_destination,
    key_of_source,
    keys_for,
    uri_of,
)
from aioconsulconnect.authorization.rules.source import DEFAULT, Source
from aioconsulconnect.authorization.rules.verdict import Reason, Verdict, denied, precedence
from aioconsulconnect.slices import SLICE, InSlices
from aioconsulconnect.structs.intentions import Intention, IntentionKey

_NOTHING: Final[Mapping[Key, Held]] = {}

Rank = tuple[float, bool, str]
UnknownFields = Mapping[IntentionKey, tuple[str, ...]]
"""Keys that Consul sent and this version does not know, by intention."""

Tiers = tuple[Key, Key, Key]
"""Keys under which the intentions for a destination stand: its own, its namespace's `*`, the `*` of all namespaces."""


class Rows:
    """
    Intentions by destination, and in each row by source.

    - `by_destination`: the rows.
    - `special`: rules that no lookup finds: those with a source that is not understood, or that is a pattern to Envoy.
    - `refused`: rules for which it is not known what Envoy enforces, one for each destination, with the reason; filled
      where it matters.
    - `has_tenancy`: True if an intention names a namespace or partition that is not the default one.
    - `has_odd_names`: True if the name of an intention could be taken for a namespace and a name, or for an id.
    - `has_vague`: True if it is not known of an intention which sources it is for.
    """

    __slots__ = (
        "_patterns",
        "_vague",
        "by_destination",
        "has_odd_names",
        "has_tenancy",
        "has_vague",
        "refused",
        "special",
    )

    def __init__(self) -> None:
        self.by_destination: dict[Key, dict[Key, Held]] = {}
        self.special: dict[Key, tuple[Rule, ...]] = {}
        self.refused: dict[Key, tuple[Rule, Reason]] = {}
        self.has_odd_names: bool = False
        self.has_tenancy: bool = False
        self.has_vague: bool = False
        # While the rows are built: the rules to come into `special`, of each key; the sources that are patterns.
        self._vague: dict[Key, dict[IntentionKey, list[Rule]]] = {}
        self._patterns: dict[Key, dict[Key, None]] = {}

    def add(self, intention: Intention, unknown_fields: tuple[str, ...]) -> Held:
        """
        Take in an intention, while the rows are built, and return what is held of it.

        - `intention`: the intention.
        - `unknown_fields`: keys that Consul sent and this version does not know.
        """
        one = held(intention, unknown_fields)
        destination, source = key_of_destination(intention), key_of_source(intention)
        if type(destination) is tuple or (type(source) is tuple and source[1:3] != (DEFAULT, DEFAULT)):
            self.has_tenancy = True
        if not (is_plain(intention.source_name) and is_plain(intention.destination_name)):
            self.has_odd_names = True
        if isinstance(one, Rule) and one.is_vague:
            self._add_vague(destination, one)
            return one
        if isinstance(one, Rule) and one.is_pattern:
            self._patterns.setdefault(destination, {})[source] = None
        row = self.by_destination.get(destination)
        if row is None:
            self.by_destination[destination] = {source: one}
        elif source in row:
            row[source] = _merged(row[source], one)
        else:
            row[source] = one
        return one

    def refuse(self, rule: Rule, reason: Reason) -> None:
        """Deny everything for the destination of `rule`, because of it and of `reason`."""
        key = key_of_destination(rule.intention)
        known = self.refused.get(key)
        if known is None or _rank(rule) < _rank(known[0]):
            self.refused[key] = rule, reason

    def _add_vague(self, destination: Key, rule: Rule) -> None:
        self.has_vague = True
        alike = self._vague.setdefault(destination, {}).setdefault(rule.intention.key, [])
        if all(other.intention != rule.intention for other in alike):  # a match of several names repeats them
            alike.append(rule)

    def finish_in_slices(self) -> InSlices[None]:
        """Put the rules that no lookup finds in an order of their own, after the last intention was taken in."""
        done = 0
        for destination in dict.fromkeys((*self._vague, *self._patterns)):
            rules = [rule for alike in self._vague.get(destination, {}).values() for rule in alike]
            row = self.by_destination.get(destination, _NOTHING)
            rules += [rule for key in self._patterns.get(destination, ()) if isinstance(rule := row[key], Rule)]
            self.special[destination] = yield from _sorted_in_slices(rules)
            done += len(rules)
            if done >= SLICE:
                done = 0
                yield
        self._vague, self._patterns = {}, {}

    def find(self, source: Source, tiers: Tiers) -> list[Held]:
        """
        Return the intentions that match as Consul compares them, the one with the highest precedence first.

        - `source`: who calls.
        - `tiers`: the keys of the destination.
        """
        return self._found(source, tiers, as_envoy=False)

    def _found(self, source: Source, tiers: Tiers, *, as_envoy: bool) -> list[Held]:
        keys = keys_for(source)
        found: list[Held] = []
        for tier in tiers:
            row = self.by_destination.get(tier, _NOTHING)
            found += [one for key in keys if (one := row.get(key)) is not None]
            if self.has_vague:
                special = self.special.get(tier, ())
                found += [rule for rule in special if rule.is_vague and rule.may_concern(source, as_envoy=as_envoy)]
        if self.has_vague:
            found.sort(key=_rank)
        return found

    def find_as_envoy(self, source: Source, tiers: Tiers) -> list[Held] | Verdict:
        """
        Return the intentions that match as Envoy compares them, or a denial where that is not known.

        - `source`: who calls.
        - `tiers`: the keys of the destination.
        """
        refused = next((self.refused[tier] for tier in tiers if tier in self.refused), None)
        if refused is not None:
            rule, reason = refused
            return denied(reason, rule.intention)
        found = self._found(source, tiers, as_envoy=True)
        if not any(tier in self.special for tier in tiers):
            return found
        found = [one for one in found if is_literal(intention_of(one).source_name) or _is_vague(one)]
        uri, budget = uri_of(source), Budget()
        for rule in (rule for tier in tiers for rule in self.special.get(tier, ())):
            if rule.is_vague:
                continue
            if "|" in rule.intention.source_name and _may_leave_its_domain(rule, source):
                return denied(Reason.REGEX_UNKNOWN, rule.intention)
            if rule.intention.source_peer != source.peer:
                continue
            if uri is None:
                return denied(Reason.NO_SERVICE)
            matches = None
            if rule.source_pattern is not None:
                matches = rule.source_pattern.matches(uri, budget, all_versions=True)
            if matches is None:
                return denied(Reason.REGEX_UNKNOWN, rule.intention)
            if matches:
                found.append(rule)
        found.sort(key=_rank)
        vague = next((one for one in found if _is_vague(one)), None)
        if vague is not None:
            return denied(Reason.SOURCE_KIND_UNKNOWN, intention_of(vague))
        return found


def _may_leave_its_domain(rule: Rule, source: Source) -> bool:
    """True if a half of an alternation could match the URI of another trust domain, or names one itself."""
    return ":" in rule.intention.source_name or rule.intention.source_peer != source.peer


def _is_vague(one: Held) -> bool:
    return isinstance(one, Rule) and one.is_vague


def _rank(one: Held) -> Rank:
    """Where an intention stands among those that match: one whose source nobody understands as high as it could be."""
    intention = intention_of(one)
    rank = -float(precedence(intention))
    if not intention.source_name or not intention.destination_name:
        rank = -10.0
    elif intention.source_type not in {"", "consul"}:
        rank = -precedence(msgspec.structs.replace(intention, source_namespace=DEFAULT, source_name="any")) - 0.5
    return rank, _is_vague(one), repr(intention)


def _sorted_in_slices(rules: Sequence[Rule]) -> InSlices[tuple[Rule, ...]]:
    """Return a generator that sorts rules by rank, yields where other tasks may run, and returns them."""
    parts: list[list[tuple[Rank, Rule]]] = []
    for start in range(0, len(rules), SLICE):
        if parts:
            yield
        parts.append(sorted([(_rank(rule), rule) for rule in rules[start : start + SLICE]], key=_first))
    found: list[Rule] = []
    for _, rule in heapq.merge(*parts, key=_first):
        found.append(rule)
        if len(found) % SLICE == 0:
            yield
    return tuple(found)


def _first(pair: tuple[Rank, Rule]) -> Rank:
    return pair[0]


def _merged(one: Held, other: Held) -> Held:
    """One of two intentions with the same names, whatever their order: where they contradict each other, neither."""
    if intention_of(one) == intention_of(other):  # a match of several names repeats what is for all of them
        return one
    first, second = sorted((one, other), key=lambda each: repr(intention_of(each)))
    a, b = intention_of(first), intention_of(second)
    flaws = [each.flaw for each in (first, second) if isinstance(each, Rule) and each.flaw is not None]
    if flaws or (a.action, a.permissions, a.jwt) != (b.action, b.permissions, b.jwt):
        merged = Rule(a)
        merged.flaw = flaws[0] if flaws else Reason.MALFORMED
        return merged
    return first


def rows_in_slices(
    intentions: Iterable[Intention], unknown: UnknownFields, *, compile_all: bool, as_envoy: bool
) -> InSlices[Rows]:
    """
    Return a generator that builds rows, yields where other tasks may run, and returns them.

    - `intentions`: the intentions, in any order.
    - `unknown`: fields that are not known, by intention.
    - `compile_all`: True to compile permissions at once.
    - `as_envoy`: True to find out which rules Envoy would refuse.
    """
    rows = Rows()
    for i, intention in enumerate(intentions, 1):
        one = rows.add(intention, unknown.get(intention.key, ()) if unknown else ())
        if isinstance(one, Rule):
            if compile_all or as_envoy:
                yield from one.compile_in_slices(as_envoy=as_envoy)
            reason = one.refusal_by_envoy() if as_envoy else None
            if reason is not None:
                rows.refuse(one, reason)
        if i % SLICE == 0:
            yield
    yield from rows.finish_in_slices()
    return rows
