"""Lint of intentions: what in them does not do what it seems to do."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import Enum

import msgspec

from aioconsulconnect.authorization.rules.decision import CONNECTION, enforced, first_match
from aioconsulconnect.authorization.rules.headers import UNSEEN
from aioconsulconnect.authorization.rules.normalization import CONSULS_DEFAULT, canonical_path
from aioconsulconnect.authorization.rules.permissions import Condition, requires
from aioconsulconnect.authorization.rules.regex import is_available
from aioconsulconnect.authorization.rules.rows import Rows, UnknownFields, rows_in_slices
from aioconsulconnect.authorization.rules.rule import Held, Key, Rule, intention_of
from aioconsulconnect.authorization.rules.settings import DecisionSettings
from aioconsulconnect.authorization.rules.verdict import Reason, describe, precedence
from aioconsulconnect.structs.intentions import HeaderPermission, HTTPPermission, Intention


class Problem(Enum):
    """Kind of a finding."""

    MODES_DIFFER = "modes differ"
    """Consul documents that the first intention outranks the second; a sidecar applies both (A5)."""
    NAME_IS_PATTERN = "name is pattern"
    """Envoy takes the name of the source for a pattern, which matches other names too, or not even its own (A6)."""
    NEVER_MATCHES = "never matches"
    """The permission cannot match any request, because no request looks like this after its normalization (A11)."""
    SHADOWED = "shadowed"
    """An earlier permission matches whatever this one does."""
    TOKEN_NOT_ENFORCED = "token not enforced"  # noqa: S105 - no token
    """Under the default "allow" a sidecar drops the rule, and the token that it requires (A14)."""
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
    - `other`: the intention that it conflicts with, if any.
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

    - `intentions`: the intentions, all that there are or those of some destinations.
    - `settings`: what decides beside them; the mode does not matter.
    - `unknown`: fields of intentions that this version does not know (`unknown_fields`).
    """
    every = sorted(intentions, key=lambda one: (-precedence(one), one.key))
    rows = _rows(every, unknown or {})
    found: list[Finding] = []
    for intention in every:
        rule = Rule(intention, (unknown or {}).get(intention.key, ()))
        found += _of_intention(rule, settings)
        for condition in rule.conditions():
            found += _of_permission(rule, condition, settings)
    found += _of_modes(rows, settings)
    return tuple(found)


def _rows(intentions: Iterable[Intention], unknown: UnknownFields) -> Rows:
    slices = rows_in_slices(intentions, unknown, compile_all=False, as_envoy=False)
    while True:
        try:
            next(slices)
        except StopIteration as end:
            rows: Rows = end.value
            return rows


def _of_intention(rule: Rule, settings: DecisionSettings) -> Iterator[Finding]:
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
    if settings.default == "allow" and intention.action == "allow" and rule.jwt is not None:
        yield Finding(problem=Problem.TOKEN_NOT_ENFORCED, intention=intention, detail="the default is allow")


def _of_permission(rule: Rule, condition: Condition, settings: DecisionSettings) -> Iterator[Finding]:
    permission, http = condition.permission, condition.permission.http

    def finding(problem: Problem, detail: str) -> Finding:
        return Finding(problem=problem, intention=rule.intention, permission=condition.index, detail=detail)

    if condition.flaw is not None:
        yield finding(Problem.NOT_UNDERSTOOD, condition.flaw.value)
    is_required = rule.jwt is not None or (permission.jwt is not None and requires(permission.jwt))
    if settings.default == "allow" and permission.action == "allow" and is_required:
        yield finding(Problem.TOKEN_NOT_ENFORCED, "the default is allow")
    for text, regex in condition.regexes():
        if regex is None:
            yield finding(Problem.REGEX_REFUSED if is_available() else Problem.REGEX_UNKNOWN, repr(text))
    if http is None:
        return
    reason = _never(http, settings)
    if reason:
        yield finding(Problem.NEVER_MATCHES, reason)
    for earlier in rule.conditions()[: condition.index]:
        if earlier.flaw is None and earlier.permission.http is not None and _covers(earlier.permission.http, http):
            yield finding(Problem.SHADOWED, f"permission {earlier.index} matches all of it")
            break


def _never(http: HTTPPermission, settings: DecisionSettings) -> str:
    """Why no request can match, or nothing."""
    path = http.path_exact or http.path_prefix
    odd = sorted({repr(letter) for letter in path if letter in "?#" or not "!" <= letter <= "~"})
    if odd:
        return f"no path has {', '.join(odd)} when rules see it"
    rules = settings.normalization or CONSULS_DEFAULT
    if path.startswith("/") and not rules.insecure_disable_path_normalization:
        whole = path if http.path_exact else path.rpartition("/")[0] + "/"
        if canonical_path(whole) != whole:
            return f"after its normalization no path is {path!r}, or begins so"
        if rules.merge_slashes and "//" in path and path != "//":
            return f"adjacent slashes are merged, and {path!r} has some"
    return next((why for header in http.header if (why := _never_header(header, settings))), "")


def _never_header(header: HeaderPermission, settings: DecisionSettings) -> str:
    if header.present and header.invert:
        return ""
    name = header.name.lower()
    if name in UNSEEN - {"te", "upgrade"}:
        return f"rules never see the header {name!r}"
    underscores = (settings.normalization or CONSULS_DEFAULT).headers_with_underscores_action
    if "_" in name and underscores in {"REJECT_REQUEST", "DROP_HEADER"}:
        return f"headers with underscores are dropped or refused, and {name!r} has one"
    return ""


def _covers(http: HTTPPermission, other: HTTPPermission) -> bool:
    """True if `http` surely matches every request that `other` matches."""
    if http.path_exact and http.path_exact != other.path_exact:
        return False
    if http.path_prefix and not (other.path_exact or other.path_prefix).startswith(http.path_prefix):
        return False
    if http.path_regex and http.path_regex != other.path_regex:
        return False
    if http.methods and not (other.methods and set(other.methods) <= set(http.methods)):
        return False
    return all(header in other.header for header in http.header)


# Where the modes differ, the second of two intentions has the more exact source and the less exact destination.


def _of_modes(rows: Rows, settings: DecisionSettings) -> Iterator[Finding]:
    if settings.default is None:
        return
    for destination, row in rows.by_destination.items():
        vague_sources = [one for key, one in row.items() if _is_star(key)]
        if not vague_sources:
            continue
        for below in _below(destination):
            for key, one in rows.by_destination.get(below, {}).items():
                for above in vague_sources:
                    if key not in row and _matches(above, one) and _differ(above, one, settings):
                        yield Finding(
                            problem=Problem.MODES_DIFFER,
                            intention=intention_of(above),
                            other=intention_of(one),
                            detail=f"with the default {settings.default} a sidecar applies both",
                        )


def _below(destination: Key) -> Iterator[Key]:
    """The less exact destinations that a destination is one of."""
    namespace, name = ("default", destination) if isinstance(destination, str) else destination[2:]
    partition = "default" if isinstance(destination, str) else destination[1]
    if name != "*":
        yield "*" if namespace == partition == "default" else ("", partition, namespace, "*")
    if namespace != "*":
        yield "", "default", "*", "*"


def _is_star(key: Key) -> bool:
    return (key if isinstance(key, str) else key[3]) == "*"


def _matches(above: Held, one: Held) -> bool:
    """True if the source of `above` contains that of `one`, and more."""
    a, b = intention_of(above), intention_of(one)
    if (a.source_peer, a.source_partition or "default") != (b.source_peer, b.source_partition or "default"):
        return False
    if a.source_namespace == "*":
        return b.source_namespace != "*"
    return a.source_namespace == b.source_namespace and b.source_name != "*"


def _differ(above: Held, one: Held, settings: DecisionSettings) -> bool:
    """True if the verdicts for a connection differ, or can differ for a request."""
    both = (above, one)
    if isinstance(above, Rule) and above.conditions() and above.flaw is None:
        return intention_of(one).action != settings.default
    documented = first_match(both, settings.default, CONNECTION)
    sidecars = enforced(both, settings.default, CONNECTION)
    return documented.allowed is not sidecars.allowed and documented.reason is Reason.INTENTION
