"""Making of tables from what a watch brought, in steps that let the event loop go on."""

from __future__ import annotations

from aioconsulconnect.authorization.access import Decider, Refusal
from aioconsulconnect.authorization.body_fields import unknown_fields_in_slices
from aioconsulconnect.authorization.rules.rows import UnknownFields
from aioconsulconnect.authorization.rules.settings import DecisionSettings
from aioconsulconnect.authorization.rules.verdict import Reason
from aioconsulconnect.authorization.surroundings import providers_of
from aioconsulconnect.authorization.table import Table, tiers_of
from aioconsulconnect.clock import breathe, in_turns
from aioconsulconnect.endpoints.intentions_requests import Matches
from aioconsulconnect.errors import InvalidRequest, UnreadableResponse
from aioconsulconnect.slices import SLICE
from aioconsulconnect.structs.intentions import Intention, IntentionKey, read_list_in_slices, read_matches
from aioconsulconnect.transport.settings.options import Options
from aioconsulconnect.watch.protocol.snapshot import Snapshot

Seen = Snapshot[tuple[Intention, ...], Intention] | Snapshot[Matches, Intention]
"""A state of the intentions: of one name or all, or of several names."""


class TableMaker:
    """
    Maker of tables, which remembers of what it made the last one.

    `destinations` are those that the intentions are for, none for all. Attribute `made` is the last table, or the
    refusal that stands in its place; None before there is one. `count` is the number of tables that were made.
    """

    def __init__(self, destinations: tuple[str, ...]) -> None:
        self.destinations = destinations
        self.made: Decider | None = None
        self.count: int = 0
        self._seen: Seen | None = None
        self._body: bytes | None = None
        self._settings: DecisionSettings | None = None
        self._intentions: tuple[Intention, ...] = ()
        self._unknown: UnknownFields | None = None
        self._outdated: list[object] = []

    def has_made(self, settings: DecisionSettings) -> bool:
        """Return True if the last table was made of what was studied last, and of these `settings`."""
        return self.made is not None and settings == self._settings

    async def study(self, seen: Seen, body: bytes | None) -> frozenset[str]:
        """
        Take a state for the next table, and return the names of the JWT providers in it.

        - `seen`: the state.
        - `body`: the last answer that brought it, which can have a field that this library does not know, and that an
          earlier answer with the same state had not.
        """
        if self._seen is not None:
            self._outdated += [*self._seen.items, *self._seen.items.values(), *self._intentions]
        self._seen, self._body, self.made = seen, body, None
        # Not the items: there the second of two intentions with one key has taken the place of the first.
        try:
            self._intentions = await _all_of(seen, body)
            self._unknown = await in_turns(unknown_fields_in_slices(seen.body if body is None else body))
        except UnreadableResponse:
            self._intentions, self._unknown = (), None
        names: set[str] = set()
        for start in range(0, len(self._intentions), SLICE):
            names.update(providers_of(self._intentions[start : start + SLICE]))
            await breathe()
        return frozenset(names)

    async def make(self, settings: DecisionSettings) -> Decider:
        """Return the table of the state that was studied last, with these `settings`."""
        if self._unknown is None:
            self.made = Refusal(Reason.FIELD_UNKNOWN)
        else:
            only = self.destinations or None
            steps = Table.in_slices(self._intentions, settings, destinations=only, unknown=self._unknown)
            table = await in_turns(steps)
            self.made = Refusal(Reason.MALFORMED) if table.has_others else table
        self._settings = settings
        self.count += 1
        return self.made

    async def let_go(self) -> None:
        """Let go of what older tables were made of, in steps: to free it all at once holds the event loop up."""
        while self._outdated:
            del self._outdated[-SLICE:]
            await breathe()

    def forget(self) -> None:
        """Let go of everything, at the end."""
        self.made = self._seen = self._body = self._unknown = None
        self._intentions, self._outdated = (), []

    def knows(self, seen: Seen, body: bytes | None) -> bool:
        """Return True if the state `seen` and `body` are what was studied last."""
        if seen is self._seen and body is not self._body and body == self._body:
            self._body = body  # the same bytes once more; so the next look need not compare them
        return seen is self._seen and body is self._body


def qualified(name: str, options: Options) -> str:
    """
    Return a destination as tables know it, in the namespace and partition that the options name.

    - `name`: name of the destination; InvalidRequest for what is none.
    - `options`: options of the reads.
    """
    if type(name) is not str:
        raise InvalidRequest(f"destinations are names, each an argument of its own (*names), not {name!r}")
    if tiers_of(name) is None:
        raise InvalidRequest(f"{name!r} is no name of a destination")
    return name if "/" in name else in_tenancy(name, options)


def in_tenancy(name: str, options: Options) -> str:
    """
    Return a plain name with the namespace and partition that options name, if they name any.

    - `name`: the name.
    - `options`: options of the reads.
    """
    namespace, partition = options.namespace or "default", options.partition or "default"
    if (namespace, partition) == ("default", "default"):
        return name
    return f"{namespace}/{name}" if partition == "default" else f"{partition}/{namespace}/{name}"


async def _all_of(seen: Seen, body: bytes | None) -> tuple[Intention, ...]:
    """The intentions of an answer that brought the state `seen`, which need not be the first one that did."""
    value = seen.value
    if body is not None and body is not seen.body:
        is_matches = body.lstrip()[:1] == b"{"
        value = _whole(read_matches(body)) if is_matches else await in_turns(read_list_in_slices(body))
    return value if isinstance(value, tuple) else await _each_once(value)


def _whole(matches: dict[str, tuple[Intention, ...] | None]) -> Matches:
    return {name: intentions or () for name, intentions in matches.items()}


async def _each_once(matches: Matches) -> tuple[Intention, ...]:
    """The intentions of all names; each name has those for every destination as well."""
    found: list[Intention] = []
    known: dict[IntentionKey, Intention] = {}
    for part in matches.values():
        for number, one in enumerate(part, 1):
            if known.setdefault(one.key, one) is one or known[one.key] != one:
                found.append(one)
            if number % SLICE == 0:
                await breathe()
    return tuple(found)
