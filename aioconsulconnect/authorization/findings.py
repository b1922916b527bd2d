"""Lint of intentions: what in them does not do what it seems to do."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import Enum
from itertools import product
from typing import cast

import msgspec

from aioconsulconnect.authorization.rules.coverage import Extent, why_never
from aioconsulconnect.authorization.rules.decision import CONNECTION, Asked, enforced, first_match
from aioconsulconnect.authorization.rules.normalization import CONSULS_DEFAULT, Normalizer
from aioconsulconnect.authorization.rules.permissions import Claims
from aioconsulconnect.authorization.rules.regex import is_available
from aioconsulconnect.authorization.rules.request import HTTPRequest, Seen
from aioconsulconnect.authorization.rules.rows import Rows, UnknownFields, rows_in_slices
from aioconsulconnect.authorization.rules.rule import (
    Held,
    Key,
    Rule,
    intention_of,
    key_of,
    key_of_source,
    keys_for_destination,
)
from aioconsulconnect.authorization.rules.settings import DecisionSettings
from aioconsulconnect.authorization.rules.source import DEFAULT
from aioconsulconnect.authorization.rules.verdict import Reason, describe, precedence, vagueness_of_source
from aioconsulconnect.slices import at_once
from aioconsulconnect.structs.intentions import Action, HTTPPermission, Intention, JWTProviderRequirement, Permission


class Problem(Enum):
    """Kind of a finding."""

    MODES_DIFFER = "modes differ"
    """Consul documents that the first intention outranks the second, or several; a sidecar applies all of them (A5)."""
    NAME_IS_PATTERN = "name is pattern"
    """Envoy takes the name of the source for a pattern, which matches other names too, or not even its own (A6)."""
    NEVER_MATCHES = "never matches"
    """The permission cannot match any request, because no request looks like this after its normalization (A11)."""
    SHADOWED = "shadowed"
    """An earlier permission matches whatever this one does."""
    TOKEN_NOT_ENFORCED = "token not enforced"  # noqa: S105 - no token
    """Under the default "allow" a sidecar drops what allows, and the token that it requires (A14)."""
    DENIAL_NEEDS_TOKEN = "denial needs token"  # noqa: S105 - no token
    """Under the default "allow" a sidecar denies only those who hold the token that the denial requires (A14)."""
    REGEX_REFUSED = "regex refused"
    """RE2 refuses the regular expression: Envoy goes on with its last rules, whatever is written afterwards (A13)."""
    REGEX_UNKNOWN = "regex unknown"
    """The regular expression cannot be judged, because google-re2 is not installed."""
    NOT_UNDERSTOOD = "not understood"
    """What the intention means is not known, so it denies."""


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """
    Finding of the lint; `str()` gives it in words.

    - `problem`: its kind.
    - `intention`: the intention that it is about.
    - `permission`: index of the permission that it is about, None for all of the intention.
    - `other`: the intention that it conflicts with, if any; the first one where there are several.
    - `detail`: what exactly was found.
    """

    problem: Problem
    intention: Intention
    permission: int | None = None
    other: Intention | None = None
    detail: str = ""

    def __str__(self) -> str:
        """The finding in words."""
        where = "" if self.permission is None else f", permission {self.permission}"
        other = "" if self.other is None else f" and {describe(self.other)}"
        return f"{self.problem.value}: {describe(self.intention)}{where}{other}: {self.detail}"


def lint(
    intentions: Iterable[Intention], settings: DecisionSettings, *, unknown: UnknownFields | None = None
) -> tuple[Finding, ...]:
    """
    Return what in a set of intentions does not do what it seems to do.

    That a service whose protocol is tcp asks for no token is not among it: the protocol is not known here.

    - `intentions`: the intentions, all that there are or those of some destinations.
    - `settings`: what decides beside them; the mode does not matter. A default that is not known may be either.
    - `unknown`: fields of intentions that this version does not know (`unknown_fields`).
    """
    every = sorted(intentions, key=lambda one: (-precedence(one), one.key))
    rows = at_once(rows_in_slices(every, unknown or {}, compile_all=False, as_envoy=False))
    defaults: tuple[Action, ...] = ("deny", "allow") if settings.default is None else (settings.default,)
    normalizer = Normalizer(settings.normalization or CONSULS_DEFAULT)
    found: list[Finding] = []
    for intention in every:
        rule = Rule(intention, (unknown or {}).get(intention.key, ()))
        found += _of_intention(rule)
        found += _of_permissions(rule, normalizer)
        for default in defaults:
            found += _of_tokens(rule, default)
    found += _of_contradictions(rows)
    for default in defaults:
        found += _of_modes(rows, default)
    return tuple(found)


def _of_intention(rule: Rule) -> Iterator[Finding]:
    intention = rule.intention
    if rule.flaw is not None:
        yield Finding(problem=Problem.NOT_UNDERSTOOD, intention=intention, detail=rule.flaw.value)
    if rule.is_pattern:
        refused = is_available() and rule.source_pattern is None
        yield Finding(
            problem=Problem.REGEX_REFUSED if refused else Problem.NAME_IS_PATTERN,
            intention=intention,
            detail=f"the name {intention.source_name!r} has characters other than letters, digits, - and _",
        )


def _of_contradictions(rows: Rows) -> Iterator[Finding]:
    """Intentions that are sound alone, and have the same names as another one that says something else."""
    for row in rows.by_destination.values():
        for one in row.values():
            if isinstance(one, Rule) and one.flaw is Reason.MALFORMED and Rule(one.intention).flaw is None:
                yield Finding(
                    problem=Problem.NOT_UNDERSTOOD,
                    intention=one.intention,
                    detail="another one of these names says something else",
                )


def _of_permissions(rule: Rule, normalizer: Normalizer) -> Iterator[Finding]:
    extents: list[Extent] = []
    for condition in rule.conditions():

        def finding(problem: Problem, detail: str, index: int = condition.index) -> Finding:
            return Finding(problem=problem, intention=rule.intention, permission=index, detail=detail)

        extent = Extent(condition)
        if condition.flaw is not None:
            yield finding(Problem.NOT_UNDERSTOOD, condition.flaw.value)
        for text, regex in condition.regexes():
            if regex is None:
                yield finding(Problem.REGEX_REFUSED if is_available() else Problem.REGEX_UNKNOWN, repr(text))
        if condition.flaw is None and condition.permission.http is not None:
            reason = why_never(condition.permission.http, normalizer)
            if reason:
                yield finding(Problem.NEVER_MATCHES, reason)
            earlier = next((i for i, one in enumerate(extents) if one.covers(extent)), None)
            if earlier is not None:
                yield finding(Problem.SHADOWED, f"permission {earlier} matches all of it")
        extents.append(extent)


# Where the modes differ. Both decide about made-up questions: one for each permission that could be the first to match,
# with each token that could matter. So what they have to say is told by `decision` alone.

_EVERYTHING = HTTPPermission(path_prefix="/")
_NOTHING = HTTPPermission(path_exact="/never")
_REQUEST = Seen(HTTPRequest("GET", "/"), "/")
_MORE = {"deny": "allows more", "allow": "denies more"}


def _of_tokens(rule: Rule, default: Action) -> Iterator[Finding]:
    """Where the modes differ about one intention: only tokens can make them do so."""
    if rule.jwt is None and not any(condition.jwt for condition in rule.conditions()):
        return
    for index, one in _courses(rule):
        if _differ(((one,),), default, allowed=True):
            action = rule.intention.action if index is None else rule.intention.permissions[index].action
            problem = Problem.DENIAL_NEEDS_TOKEN if action == "deny" else Problem.TOKEN_NOT_ENFORCED
            which = "" if index is not None or action is not None else ", also where no permission matches"
            yield Finding(
                problem=problem, intention=rule.intention, permission=index, detail=f"with the default {default}{which}"
            )


def _of_modes(rows: Rows, default: Action) -> Iterator[Finding]:
    """Where they differ about two: the second has a more exact source, and a less exact destination (A5)."""
    known: dict[tuple[Key, ...], _LessExact] = {}
    for destination, row in rows.by_destination.items():
        vague = [one for one in row.values() if vagueness_of_source(intention_of(one))]
        if not vague:
            continue
        tiers = _less_exact(destination)
        if tiers not in known:
            known[tiers] = _LessExact(rows, tiers, default)
        for above in vague:
            other = known[tiers].first_that_matters(above, row)
            if other is not None:
                yield Finding(
                    problem=Problem.MODES_DIFFER,
                    intention=intention_of(above),
                    other=intention_of(other),
                    detail=f"with the default {default} a sidecar applies both, and {_MORE[default]} than documented",
                )


def _less_exact(destination: Key) -> tuple[Key, ...]:
    """The less exact destinations that a destination is one of."""
    _, partition, namespace, name = _parts(destination)
    return tuple(key for key in dict.fromkeys(keys_for_destination(partition, namespace, name)) if key != destination)


def _parts(key: Key) -> tuple[str, str, str, str]:
    return ("", DEFAULT, DEFAULT, key) if isinstance(key, str) else key


class _LessExact:
    """
    Intentions of the less exact destinations, grouped so that few are tried for each of many exact ones.

    - `rows`: all intentions.
    - `tiers`: the destinations, the more exact one first.
    - `default`: the default; a rule that says the same has no effect in a sidecar.
    """

    def __init__(self, rows: Rows, tiers: Sequence[Key], default: Action) -> None:
        self._default: Action = default
        # Whatever one of them changes, this one does: it asks for no token.
        action: Action = "allow" if default == "deny" else "deny"
        self._strongest = Intention(source_name="any", destination_name="*", action=action)
        # By peer and partition, then by namespace, then by what they say: those who say the same differ alike.
        self._groups: dict[tuple[str, str], dict[str, dict[str, list[tuple[Key, Held]]]]] = {}
        seen: set[Key] = set()
        for tier in tiers:
            row = rows.by_destination.get(tier, {})
            for key, one in row.items():
                intention = intention_of(one)
                if key not in seen and intention.action != default and not (isinstance(one, Rule) and one.flaw):
                    peer, partition, namespace, _ = _parts(key)
                    by_namespace = self._groups.setdefault((peer, partition), {})
                    says = repr((intention.jwt, intention.permissions)) if isinstance(one, Rule) else ""
                    by_namespace.setdefault(namespace, {}).setdefault(says, []).append((key, one))
            seen.update(row)  # the same source for a more exact destination shadows them

    def first_that_matters(self, above: Held, row: Mapping[Key, Held]) -> Held | None:
        """
        Return one that a sidecar applies beside `above`, and that makes a difference.

        - `above`: an intention with a vague source.
        - `row`: the intentions for its destination, of which one with a more exact source decides in its place.
        """
        peer, partition, namespace, _ = _parts(key_of_source(intention_of(above)))
        by_namespace = self._groups.get((peer, partition), {})
        inner = [namespace] if namespace in by_namespace else []
        if namespace == "*":
            inner = [name for name in by_namespace if key_of(peer, partition, name, "*") not in row]
        courses = [one for _, one in _courses(above)] if inner else []
        if not self._can_differ(courses, self._strongest):
            return None
        for ones in (group for name in inner for group in by_namespace[name].values()):
            if self._can_differ(courses, ones[0][1]):
                found = next((one for key, one in ones if key not in row), None)
                if found is not None:
                    return found
        return None

    def _can_differ(self, courses: Sequence[Held], one: Held) -> bool:
        beside = [course for _, course in _courses(one)]
        return _differ((courses, beside), self._default, allowed=self._default == "deny")


def _differ(courses: Sequence[Sequence[Held]], default: Action, *, allowed: bool) -> bool:
    """
    Return True if a sidecar can decide other than is documented where there are just these intentions.

    - `courses`: for each intention, the one with the highest precedence first, what it can come down to.
    - `default`: what holds where none matches.
    - `allowed`: what the sidecar decides.
    """
    for course in product(*courses):
        for asked in _questions(course):
            documented, sidecars = first_match(course, default, asked), enforced(course, default, asked)
            if sidecars.allowed is allowed and documented.allowed is not allowed:
                return True
    return False


def _courses(one: Held) -> Iterator[tuple[int | None, Held]]:
    """What an intention comes down to for a request: one of its permissions with its index, or none of them."""
    if not isinstance(one, Rule) or one.flaw is not None or not one.intention.permissions:
        yield None, one
        return
    extents: list[Extent] = []
    for condition in one.conditions():
        if condition.flaw is not None:  # no request gets any further
            yield condition.index, _reduced(one, Permission(action="deny", http=_EVERYTHING))
            return
        extent = Extent(condition)
        if not any(earlier.covers(extent) for earlier in extents):
            yield condition.index, _reduced(one, msgspec.structs.replace(condition.permission, http=_EVERYTHING))
        if extent.is_everything:
            return
        extents.append(extent)
    yield None, _reduced(one, Permission(action="deny", http=_NOTHING))


def _reduced(rule: Rule, permission: Permission) -> Rule:
    return Rule(msgspec.structs.replace(rule.intention, permissions=(permission,)))


def _questions(course: Sequence[Held]) -> Iterator[Asked]:
    """A connection, and a request with each token that could matter; one token can be of several providers."""
    yield CONNECTION
    tokens = [one.jwt for one in course if isinstance(one, Rule)]
    tokens += [condition.jwt for one in course if isinstance(one, Rule) for condition in one.conditions()]
    for chosen in product(*((None, *token.providers) for token in tokens if token is not None)):
        yield Asked(_REQUEST, _claims(chosen), None)


def _claims(chosen: Iterable[JWTProviderRequirement | None]) -> Claims:
    """The least claims that fulfil what providers are required for."""
    claims: dict[str, dict[str, object]] = {}
    for provider in chosen:
        if provider is None:
            continue
        payload = claims.setdefault(provider.name, {})
        for claim in provider.verify_claims:
            inner = payload
            for name in claim.path[:-1]:
                value = inner.setdefault(name, {})
                inner = cast("dict[str, object]", value) if isinstance(value, dict) else {}
            inner.update(dict.fromkeys(claim.path[-1:], claim.value))
    return claims
