"""
Verdicts about connections that a few lookups tell.

Nearly all services have a plain name in the default namespace, and nearly all intentions say no more than "allow" or
"deny". About these it answers in a fraction of the time that a search takes; about all else it says nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from aioconsulconnect.authorization.rules.decision import CONNECTION, by_default, enforced, first_match
from aioconsulconnect.authorization.rules.rows import Rows
from aioconsulconnect.authorization.rules.rule import Held, Key, Rule, fold, is_plain
from aioconsulconnect.authorization.rules.settings import DecisionSettings
from aioconsulconnect.authorization.rules.verdict import Reason, Verdict, denied

_INTENTION: Final = Reason.INTENTION
_NOTHING: Final[Mapping[Key, Held]] = {}


class Lookups:
    """
    Lookups in rows that have no vague rule, no namespace and no partition.

    - `rows`: the rows.
    - `settings`: what decides beside them.
    - `destinations`: keys of the destinations that are known; None for all.

    Attribute `exact` is the rows, if a name that stands in them is surely this very name; else it is empty. What it has
    for a source and a destination other than `*` needs no further look: nothing has a higher precedence.
    """

    __slots__ = ("_decide", "_default", "_destinations", "_rows", "_searched", "_settings", "exact")

    def __init__(self, rows: Rows, settings: DecisionSettings, destinations: frozenset[Key] | None) -> None:
        self._rows: Mapping[Key, Mapping[Key, Held]] = rows.by_destination
        self._settings = settings
        self._destinations = destinations
        self._default = by_default(settings.default, CONNECTION)
        self._decide = enforced if settings.mode == "envoy" else first_match
        # Destinations about which lookups do not tell, because a name of a source is a pattern to Envoy.
        is_envoy = settings.mode == "envoy"
        self._searched: frozenset[Key] = frozenset((*rows.special, *rows.refused) if is_envoy else ())
        is_exact = destinations is None and not rows.has_odd_names and not self._searched
        self.exact: Mapping[Key, Mapping[Key, Held]] = self._rows if is_exact else {}

    def verdict(self, source: str, destination: str) -> Verdict | None:
        """
        Return the verdict about a connection, None where lookups do not tell.

        - `source`: name of a local service; of any other text they do not tell.
        - `destination`: name of the destination.
        """
        if not source or not is_plain(source) or destination == "*":
            return None
        row = self.exact.get(destination)
        if row is None:
            if not destination or not is_plain(destination):
                return None
            key = destination if destination in self._rows else fold(destination)
            if self._destinations is not None and key not in self._destinations:
                return denied(Reason.DESTINATION_UNKNOWN)
            if self._searched and (key in self._searched or "*" in self._searched):
                return None
            row = self._rows.get(key, _NOTHING)
        everywhere = self._rows.get("*", _NOTHING)
        found = row.get(source)
        if found is None:
            found, other = row.get("*"), everywhere.get(source)
            if found is None:
                found = everywhere.get("*") if other is None else other
                if found is None:
                    return self._default
            elif other is not None and self._decide is enforced:  # a sidecar applies both (A5)
                return enforced((found, other), self._settings.default, CONNECTION)
        if isinstance(found, Rule):
            return self._decide((found,), self._settings.default, CONNECTION)
        return Verdict(found.action == "allow", _INTENTION, found)
