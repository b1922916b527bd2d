"""
Table of intentions, from which a decision is read in a few lookups.

A table never changes: whoever follows Consul builds a new one and puts it in the place of the old.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping, Sequence
from typing import Final, cast

from aioconsulconnect.authorization.rules.decision import CONNECTION, Asked, by_default, enforced, first_match
from aioconsulconnect.authorization.rules.normalization import normalize
from aioconsulconnect.authorization.rules.permissions import Claims
from aioconsulconnect.authorization.rules.request import HTTPRequest
from aioconsulconnect.authorization.rules.rows import Rows, Tiers, UnknownFields, rows_in_slices
from aioconsulconnect.authorization.rules.rule import Held, Key, Rule, fold, keys_for_destination
from aioconsulconnect.authorization.rules.settings import DecisionSettings, Mode
from aioconsulconnect.authorization.rules.source import DEFAULT, Caller, Source, Trust, identify
from aioconsulconnect.authorization.rules.verdict import Reason, Verdict, denied
from aioconsulconnect.errors import InvalidRequest
from aioconsulconnect.structs.intentions import Intention
from aioconsulconnect.structs.spiffe import SpiffeId

_SLICE = 500
_MOST_RECENT = 4096
_LONGEST_CALLER = 2048
_INTENTION: Final = Reason.INTENTION

Found = Sequence[Held] | Verdict
"""The intentions that match, the one with the highest precedence first; or a denial, if that is not known."""


class Table:
    """
    Intentions of one destination, of several or of all, ready to decide.

    `Table.build` and `Table.in_slices` make one.

    - `settings`: what decides beside the intentions.
    - `rows`: the intentions.
    - `destinations`: keys of the destinations that it knows; None for all.
    """

    __slots__ = ("_answers", "_default", "_found", "_is_plain", "_only", "_otherwise", "_ready", "_trust",
                 "destinations", "rows", "settings")  # fmt: skip

    def __init__(self, settings: DecisionSettings, rows: Rows, destinations: frozenset[Key] | None) -> None:
        self.settings = settings
        self.rows = rows
        self.destinations = destinations
        self._trust = settings.trust
        self._default = by_default(settings.default, CONNECTION)
        self._is_plain = settings.mode == "consul" and not rows.special and not rows.has_tenancy
        self._only: Tiers | None = None  # keys of the one destination, if there is only one
        self._ready: dict[object, Verdict] = {}  # its verdicts by the names that intentions have
        self._otherwise: Verdict | None = None  # its verdict for any other name, where there is one
        self._answers: dict[object, Verdict] = {}  # its last verdicts about other callers
        self._found: dict[object, Found] = {}  # what was last found, by caller and destination

    @classmethod
    def in_slices(
        cls,
        intentions: Iterable[Intention],
        settings: DecisionSettings,
        *,
        destinations: Sequence[str] | None = None,
        unknown: UnknownFields | None = None,
    ) -> Generator[None, None, Table]:
        """
        Return a generator that builds a table, yields where other tasks may run, and returns the table.

        - `intentions`: the intentions, in any order.
        - `settings`: what decides beside them.
        - `destinations`: the destinations whose intentions these are; None if they are all that there are.
        - `unknown`: fields of intentions that Consul sent and this version does not know (`unknown_fields`).
        """
        if isinstance(destinations, str):
            raise InvalidRequest("destinations must be a sequence of names, not one name")
        keys: set[Key] = set()
        for destination in destinations or ():
            tiers = tiers_of(destination)
            if tiers is None:
                raise InvalidRequest(f"{destination!r} is no name of a destination")
            keys.add(tiers[0])
        rows = yield from rows_in_slices(
            intentions, unknown or {}, compile_all=destinations is not None, as_envoy=settings.mode == "envoy"
        )
        made = cls(settings, rows, None if destinations is None else frozenset(keys))
        if destinations is not None and len(keys) == 1:
            yield from made._prepare(destinations[0])
        return made

    @classmethod
    def build(
        cls,
        intentions: Iterable[Intention],
        settings: DecisionSettings,
        *,
        destinations: Sequence[str] | None = None,
        unknown: UnknownFields | None = None,
    ) -> Table:
        """
        Build a table at once.

        - `intentions`, `settings`, `destinations`, `unknown`: as for `in_slices`.
        """
        slices = cls.in_slices(intentions, settings, destinations=destinations, unknown=unknown)
        while True:
            try:
                next(slices)
            except StopIteration as end:
                return cast("Table", end.value)

    def check(
        self,
        source: Caller,
        destination: str | None = None,
        request: HTTPRequest | None = None,
        *,
        claims: Claims | None = None,
    ) -> Verdict:
        """
        Decide; it does no I/O and waits for nothing.

        - `source`: who calls: a name, a SPIFFE URI, a parsed id, or all URIs of a certificate.
        - `destination`: who is called, `name` or `namespace/name`; None where the table has only one.
        - `request`: the HTTP request; None for a connection, for which an intention with permissions denies.
        - `claims`: verified claims of the request's tokens, by the name of their `jwt-provider`.
        """
        if request is None:
            if destination is None:
                try:
                    verdict = self._ready.get(source)
                    if verdict is None:
                        verdict = self._answers.get(source)
                except TypeError:  # a list of URIs
                    verdict = None
                if verdict is not None:
                    return verdict
                if self._otherwise is not None and type(source) is str and "/" not in source and ":" not in source:
                    return self._otherwise
            elif self._is_plain and type(source) is str and "/" not in source and ":" not in source and source:
                return self._look_up(source, destination)
        return self.judge(source, destination, request, claims, self.settings.mode)

    def _look_up(self, source: str, destination: str) -> Verdict:
        """Decide in the usual case: plain names, the first match, no rule that needs more than a lookup."""
        rows = self.rows.by_destination
        if type(destination) is not str or not destination or "/" in destination:
            return self.judge(source, destination, None, None, self.settings.mode)
        row = rows.get(destination)
        if row is None:
            destination = fold(destination)
            row = rows.get(destination)
        if self.destinations is not None and destination not in self.destinations:
            return denied(Reason.DESTINATION_UNKNOWN)
        found = None
        if row is not None:
            found = row.get(source) or row.get("*")
        if found is None:
            everywhere = rows.get("*")
            if everywhere is not None:
                found = everywhere.get(source) or everywhere.get("*")
            if found is None:
                return self._default
        if isinstance(found, Rule):
            return first_match((found,), self.settings.default, CONNECTION)
        return Verdict(found.action == "allow", _INTENTION, found)

    def judge(
        self, source: Caller, destination: str | None, request: HTTPRequest | None, claims: Claims | None, mode: Mode
    ) -> Verdict:
        """
        Decide the long way, in either mode.

        - `source`, `destination`, `request`, `claims`: as for `check`.
        - `mode`: the mode to decide in.
        """
        found = self._recall(source, destination, mode)
        if isinstance(found, Verdict):
            return found
        asked = CONNECTION
        if request is not None:
            _check_types(request, claims)
            seen = normalize(request, self.settings.normalization)
            if isinstance(seen, Reason):
                return denied(seen)
            asked = Asked(seen, claims, self.settings.issuers)
        verdict = (first_match if mode == "consul" else enforced)(found, self.settings.default, asked)
        if request is None and destination is None and mode == self.settings.mode and _is_kept(source):
            if len(self._answers) >= _MOST_RECENT:
                self._answers.clear()
            self._answers[source] = verdict
        return verdict

    def _recall(self, source: Caller, destination: str | None, mode: Mode) -> Found:
        if mode != self.settings.mode or not _is_kept(source) or not (destination is None or _is_kept(destination)):
            return self.find(source, destination, mode)
        key = source, destination
        found = self._found.get(key)
        if found is None:
            found = self.find(source, destination, mode)
            if len(self._found) >= _MOST_RECENT:
                self._found.clear()
            self._found[key] = found
        return found

    def find(self, source: Caller, destination: str | None, mode: Mode) -> Found:
        """
        Return the intentions that match, the one with the highest precedence first, or a denial if that is not known.

        - `source`, `destination`: as for `check`.
        - `mode`: the mode whose comparison of names is used.
        """
        tiers = self._only if destination is None else self._tiers(destination)
        if tiers is None:
            return denied(Reason.DESTINATION_UNKNOWN)
        who = identify(source, self._trust)
        if isinstance(who, Reason):
            return denied(who)
        is_foreign = who.namespace != DEFAULT or (who.partition != DEFAULT and not who.peer)
        if is_foreign and not self._has_tenancy:
            return denied(Reason.FOREIGN_TENANCY)
        return self.rows.find(who, tiers) if mode == "consul" else self.rows.find_as_envoy(who, tiers)

    @property
    def _has_tenancy(self) -> bool:
        return self.settings.enterprise or self.rows.has_tenancy

    def _tiers(self, destination: str) -> Tiers | None:
        tiers = tiers_of(destination)
        if tiers is None or (self.destinations is not None and tiers[0] not in self.destinations):
            return None
        return tiers if type(tiers[0]) is str or self._has_tenancy else None

    def _prepare(self, destination: str) -> Generator[None, None, None]:
        """Make all verdicts of the one destination ready, and yield where other tasks may run."""
        self._only = tiers_of(destination)
        mode = self.settings.mode
        for tier in self._only or ():
            for i, key in enumerate(self.rows.by_destination.get(tier, ()), 1):
                if type(key) is str and "/" not in key and ":" not in key and key not in {"", "*"}:
                    self._ready[key] = self.judge(Source(key), None, None, None, mode)
                if i % _SLICE == 0:
                    yield
        self._found.clear()
        self._answers.clear()
        self._ready[""] = denied(Reason.NO_SERVICE)
        if not self.rows.special:  # else another name can match a pattern, or a rule that nobody understands
            self._otherwise = self.judge(Source("*"), None, None, None, mode)


def _check_types(request: object, claims: object) -> None:
    if not isinstance(request, HTTPRequest):
        raise InvalidRequest("request must be an HTTPRequest")
    if not isinstance(claims, Mapping | None):
        raise InvalidRequest("claims must be a mapping of the claims by provider")


def _is_kept(name: Caller) -> bool:
    """True for what can be a key, and is not so long that it would fill the memory."""
    return len(name) <= _LONGEST_CALLER if type(name) is str else isinstance(name, SpiffeId)


def tiers_of(destination: str) -> Tiers | None:
    """
    Return the keys of a destination: of its own, of its namespace's `*`, of the `*` of all namespaces.

    `destination` is `name`, `namespace/name` or `partition/namespace/name`. It is None for other text.
    """
    where = identify(destination, _ANY) if type(destination) is str else Reason.NO_SERVICE
    if isinstance(where, Reason) or where.peer:
        return None
    return keys_for_destination(where.partition, where.namespace, fold(where.name))


_ANY: Final = Trust(compare=False)
