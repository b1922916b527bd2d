"""
Table of intentions, from which a decision is read in a few lookups.

A table never changes: whoever follows Consul builds a new one and puts it in the place of the old.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import inf
from typing import Final, TypeVar

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
from aioconsulconnect.slices import SLICE, InSlices, at_once
from aioconsulconnect.structs.intentions import Intention
from aioconsulconnect.structs.spiffe import SpiffeId

_MOST_RECENT = 4096
_LONGEST_CALLER = 256  # in characters: strangers choose the text, and thousands of them are kept

_INTENTION: Final = Reason.INTENTION

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
        "_exact",
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
        self.settings: DecisionSettings = settings
        self.rows: Rows = rows
        self.destinations: frozenset[Key] | None = destinations
        self._normalizer = Normalizer(settings.normalization)
        has_lookups = not rows.has_vague and not rows.has_tenancy
        self._lookups = Lookups(rows, settings, destinations) if has_lookups else None
        self._exact: Mapping[Key, Mapping[Key, Held]] = {} if self._lookups is None else self._lookups.exact
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
    ) -> InSlices[Table]:
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
        rows = yield from rows_in_slices(intentions, unknown or {}, compile_all=True, as_envoy=settings.mode == "envoy")
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
        return at_once(cls.in_slices(intentions, settings, destinations=destinations, unknown=unknown))

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
        if request is not None or claims is not None:
            return self.judge(source, destination, request, claims, self.settings.mode)
        if type(source) is str:
            if destination is None:
                verdict = self._ready.get(source)
                if verdict is None:
                    verdict = self._answers.get(source)
                    if verdict is None and is_plain(source):
                        verdict = self._ready.get("*")
                if verdict is not None:
                    return verdict
            elif type(destination) is str:
                row = self._exact.get(destination)
                found = None if row is None else row.get(source)
                if type(found) is Intention and destination != "*":
                    return Verdict(found.action == "allow", _INTENTION, found)
                verdict = None if self._lookups is None else self._lookups.verdict(source, destination)
                if verdict is not None:
                    return verdict
        return self._of_connection(_caller(source), destination)

    def judge(
        self, source: Caller, destination: str | None, request: HTTPRequest | None, claims: Claims | None, mode: Mode
    ) -> Verdict:
        """
        Decide the long way, in either mode.

        - `source`, `destination`, `request`, `claims`: as for `check`.
        - `mode`: the mode to decide in.
        """
        if type(request) is not HTTPRequest or claims is not None:
            _check_types(request, claims)
        if type(source) is not str:
            source = _caller(source)
        settings = self.settings
        is_own = mode == settings.mode
        if request is None and claims is None and is_own:
            return self._of_connection(source, destination)
        found = self._recall(source, destination) if is_own else self.find(source, destination, mode)
        if isinstance(found, Verdict):
            return found
        seen = None if request is None else self._normalizer.normalize(request)
        if isinstance(seen, Reason):
            return denied(seen)
        decide = first_match if mode == "consul" else enforced
        return decide(found, settings.default, Asked(seen, claims, settings.issuers))

    def _of_connection(self, source: Caller, destination: str | None) -> Verdict:
        """Decide about a connection, and keep the answer for the next one of the same caller."""
        if not _can_be_kept(source, destination):
            return self._anew(source, destination)
        answers, key = (self._answers, source) if destination is None else (self._pairs, (source, destination))
        verdict = answers.get(key)
        if verdict is None:
            verdict = self._anew(source, destination)
            _keep(answers, key, verdict)
        return verdict

    def _anew(self, source: Caller, destination: str | None) -> Verdict:
        who = identify(source, self.settings.trust)
        if isinstance(who, Reason):
            return denied(who)
        verdict = None
        if not who.peer and who.partition == who.namespace == DEFAULT:
            if destination is None:
                verdict = self._ready.get(who.name)
                if verdict is None and is_plain(who.name):
                    verdict = self._ready.get("*")
            elif type(destination) is str and self._lookups is not None:
                verdict = self._lookups.verdict(who.name, destination)
        if verdict is not None:
            return verdict
        found = self._find(who, destination, self.settings.mode)
        if isinstance(found, Verdict):
            return found
        return (first_match if self.settings.mode == "consul" else enforced)(found, self.settings.default, CONNECTION)

    def _recall(self, source: Caller, destination: str | None) -> Found:
        """Find what matches, and keep it for the next request of the same caller."""
        key = source, destination
        if type(source) is str and (destination is None or type(destination) is str):
            found = self._found.get(key)
            if found is not None:
                return found
        found = self.find(source, destination, self.settings.mode)
        if _can_be_kept(source, destination):
            _keep(self._found, key, found)
        return found

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

    def _prepare(self, destination: str) -> InSlices[None]:
        """Make all verdicts of the one destination ready, and yield where other tasks may run."""
        self._only = tiers = tiers_of(destination)
        self._ready[""] = denied(Reason.NO_SERVICE)
        rows = self.rows
        if rows.has_vague or (self.settings.mode == "envoy" and any(tier in rows.special for tier in tiers or ())):
            return  # each name is compared with all of these rules, and also one that no intention has may match
        for tier in tiers or ():
            for i, key in enumerate(rows.by_destination.get(tier, ()), 1):
                if type(key) is str and key and key != "*" and is_plain(key):
                    self._ready[key] = self._of_connection(Source(key), None)
                if i % SLICE == 0:
                    yield
        self._ready["*"] = self._of_connection(Source("*"), None)


def _check_types(request: object, claims: object) -> None:
    if request is not None and not isinstance(request, HTTPRequest):
        raise InvalidRequest("request must be an HTTPRequest")
    if claims is not None and not isinstance(claims, Mapping):
        raise InvalidRequest("claims must be a mapping of the claims by provider")


def _caller(source: Caller) -> Caller:
    """The caller, which of a certificate with one URI is this URI: a text can be a key, and a list cannot."""
    if isinstance(source, list | tuple) and len(source) == 1:
        uri = source[0]
        return uri if type(uri) is str and "://" in uri else source
    return source


def _can_be_kept(source: object, destination: object) -> bool:
    """True for what can be a key, and is not so long that it would fill the memory."""
    return _length(source) <= _LONGEST_CALLER and (destination is None or _length(destination) <= _LONGEST_CALLER)


def _length(name: object) -> float:
    if type(name) is str:
        return len(name)
    if isinstance(name, SpiffeId):
        return len(name.trust_domain + name.partition + name.namespace + name.datacenter + name.name)
    return inf


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
