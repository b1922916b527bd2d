"""
Table of intentions, from which a decision is read in a few lookups.

A table never changes: whoever follows Consul builds a new one and puts it in the place of the old.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping, Sequence
from typing import TypeVar, cast

from aioconsulconnect.authorization.rules.decision import CONNECTION, Asked, enforced, first_match
from aioconsulconnect.authorization.rules.lookups import Lookups
from aioconsulconnect.authorization.rules.normalization import Normalizer
from aioconsulconnect.authorization.rules.permissions import Claims
from aioconsulconnect.authorization.rules.request import HTTPRequest
from aioconsulconnect.authorization.rules.rows import Rows, Tiers, UnknownFields, rows_in_slices
from aioconsulconnect.authorization.rules.rule import Held, Key, fold, is_plain, keys_for_destination
from aioconsulconnect.authorization.rules.settings import DecisionSettings, Mode
from aioconsulconnect.authorization.rules.source import DEFAULT, Caller, Source, Trust, identify
from aioconsulconnect.authorization.rules.verdict import Reason, Verdict, denied
from aioconsulconnect.errors import InvalidRequest
from aioconsulconnect.structs.intentions import Intention
from aioconsulconnect.structs.spiffe import SpiffeId

_SLICE = 500
_MOST_RECENT = 4096
_LONGEST_CALLER = 256  # in characters: strangers choose the text, and thousands of them are kept

Kept = TypeVar("Kept")
Value = TypeVar("Value")
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

    __slots__ = (
        "_answers",
        "_found",
        "_lookups",
        "_normalizer",
        "_only",
        "_pairs",
        "_ready",
        "destinations",
        "rows",
        "settings",
    )

    def __init__(self, settings: DecisionSettings, rows: Rows, destinations: frozenset[Key] | None) -> None:
        self.settings = settings
        self.rows = rows
        self.destinations = destinations
        self._normalizer = Normalizer(settings.normalization)
        has_lookups = not rows.has_vague and not rows.has_tenancy
        self._lookups = Lookups(rows, settings, destinations) if has_lookups else None
        self._only: Tiers | None = None  # keys of the one destination, if there is only one
        self._ready: dict[object, Verdict] = {}  # its verdicts by the names that intentions have, `*` for any other
        self._answers: dict[object, Verdict] = {}  # its last verdicts about connections of other callers
        self._pairs: dict[object, Verdict] = {}  # the same, by caller and destination
        self._found: dict[object, Found] = {}  # what was last found for requests, by caller and destination

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

    @property
    def has_others(self) -> bool:
        """True if an intention is for none of the destinations, so that it is not known what this is."""
        if self.destinations is None:
            return False
        expected = {tier for key in self.destinations for tier in _tiers_of_key(key)}
        return not {*self.rows.by_destination, *self.rows.special} <= expected

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
        - `claims`: verified claims of the request's tokens, by the name of their `jwt-provider`; `{}` for no token. For
          a connection a required token is asked for only where claims are given: the agent knows none.
        """
        if type(source) is list or type(source) is tuple:
            source = _only_uri(source)
        if request is not None or claims is not None:
            return self.judge(source, destination, request, claims, self.settings.mode)
        if destination is None:
            try:
                verdict = self._ready.get(source)
                if verdict is None:
                    verdict = self._answers.get(source)
            except TypeError:  # what cannot be a key is no caller
                verdict = None
            if verdict is None and type(source) is str and is_plain(source):
                verdict = self._ready.get("*")
        else:
            is_told = self._lookups is not None and type(source) is str
            verdict = self._lookups.verdict(source, destination) if is_told else None
        return self._of_connection(source, destination) if verdict is None else verdict

    def judge(
        self, source: Caller, destination: str | None, request: HTTPRequest | None, claims: Claims | None, mode: Mode
    ) -> Verdict:
        """
        Decide the long way, in either mode.

        - `source`, `destination`, `request`, `claims`: as for `check`.
        - `mode`: the mode to decide in.
        """
        if type(source) is list or type(source) is tuple:
            source = _only_uri(source)
        settings = self.settings
        if claims is not None and not isinstance(claims, Mapping):
            raise InvalidRequest("claims must be a mapping of the claims by provider")
        if request is None:
            if mode == settings.mode and claims is None:
                return self._of_connection(source, destination)
            found = self.find(source, destination, mode)
            seen = None
        else:
            if not isinstance(request, HTTPRequest):
                raise InvalidRequest("request must be an HTTPRequest")
            found = self._recall(source, destination, mode)
            seen = None if isinstance(found, Verdict) else self._normalizer.normalize(request)
        if isinstance(found, Verdict):
            return found
        if isinstance(seen, Reason):
            return denied(seen)
        asked = Asked(seen, claims, None if seen is None and claims is None else settings.issuers)
        return (first_match if mode == "consul" else enforced)(found, settings.default, asked)

    def find(self, source: Caller, destination: str | None, mode: Mode) -> Found:
        """
        Return the intentions that match, by precedence, or a denial if that is not known.

        - `source`, `destination`: as for `check`.
        - `mode`: the mode whose comparison of names is used.
        """
        return self._find(identify(source, self.settings.trust), destination, mode)

    def _find(self, who: Source | Reason, destination: str | None, mode: Mode) -> Found:
        tiers = self._only if destination is None else self._tiers(destination)
        if tiers is None:
            return denied(Reason.DESTINATION_UNKNOWN)
        if isinstance(who, Reason):
            return denied(who)
        is_foreign = who.namespace != DEFAULT or (who.partition != DEFAULT and not who.peer)
        if is_foreign and not self.settings.enterprise:
            return denied(Reason.FOREIGN_TENANCY)
        return self.rows.find(who, tiers) if mode == "consul" else self.rows.find_as_envoy(who, tiers)

    def _tiers(self, destination: str) -> Tiers | None:
        tiers = tiers_of(destination)
        if tiers is None or (self.destinations is not None and tiers[0] not in self.destinations):
            return None
        return tiers if type(tiers[0]) is str or self.settings.enterprise else None

    def _prepare(self, destination: str) -> Generator[None, None, None]:
        """Make all verdicts of the one destination ready, and yield where other tasks may run."""
        self._only = tiers_of(destination)
        for tier in self._only or ():
            for i, key in enumerate(self.rows.by_destination.get(tier, ()), 1):
                if type(key) is str and "/" not in key and ":" not in key and key not in {"", "*"}:
                    self._ready[key] = self._of_connection(Source(key), None)
                if i % _SLICE == 0:
                    yield
        self._ready[""] = denied(Reason.NO_SERVICE)
        as_pattern = self.settings.mode == "envoy" and any(tier in self.rows.special for tier in self._only or ())
        if not as_pattern and not self.rows.has_vague:  # else another name can match after all
            self._ready["*"] = self._of_connection(Source("*"), None)


def _check_types(request: object, claims: object) -> None:
    if request is not None and not isinstance(request, HTTPRequest):
        raise InvalidRequest("request must be an HTTPRequest")
    if claims is not None and not isinstance(claims, Mapping):
        raise InvalidRequest("claims must be a mapping of the claims by provider")


def _is_kept(name: Caller) -> bool:
    """True for what can be a key, and is not so long that it would fill the memory."""
    return len(name) <= _LONGEST_CALLER if type(name) is str else isinstance(name, SpiffeId)


def _keep(cache: dict[Kept, Value], key: Kept, value: Value) -> None:
    if len(cache) >= _MOST_RECENT:
        cache.clear()
    cache[key] = value


def _tiers_of_key(key: Key) -> Tiers:
    _, partition, namespace, name = ("", DEFAULT, DEFAULT, key) if isinstance(key, str) else key
    return keys_for_destination(partition, namespace, name)


def tiers_of(destination: str) -> Tiers | None:
    """
    Return the keys of a destination: of its own, of its namespace's `*`, of the `*` of all namespaces.

    `destination` is `name`, `namespace/name` or `partition/namespace/name`. It is None for other text.
    """
    if type(destination) is not str or "://" in destination:
        return None
    where = identify(destination, Trust())
    if isinstance(where, Reason) or where.peer or where.name == "*":
        return None
    return keys_for_destination(fold(where.partition), fold(where.namespace), fold(where.name))
