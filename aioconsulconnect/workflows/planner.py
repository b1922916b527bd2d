"""Making of a plan: what is stored, what of it is seen, and what Consul would refuse."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import cast

from aioconsulconnect.compatibility import FIELD_SINCE, Capabilities, version_of
from aioconsulconnect.endpoints.arguments import is_odd
from aioconsulconnect.endpoints.capabilities import probe
from aioconsulconnect.endpoints.config import Config
from aioconsulconnect.endpoints.discovery_chain import DiscoveryChains
from aioconsulconnect.endpoints.group import Group
from aioconsulconnect.errors import (
    BadRequest,
    ErrorReason,
    InvalidRequest,
    PermissionDenied,
    ServerError,
    UnreadableResponse,
    Unsupported,
)
from aioconsulconnect.structs.codec.unknown_fields import plain
from aioconsulconnect.structs.config_entries.access import ServiceIntentions
from aioconsulconnect.structs.config_entries.kinds import EntryKey, read_listing
from aioconsulconnect.structs.intentions import JWTRequirement
from aioconsulconnect.transport.interpretation import interpret
from aioconsulconnect.transport.request import Request, path_of
from aioconsulconnect.transport.response import Response
from aioconsulconnect.transport.sender import Sender
from aioconsulconnect.transport.settings.options import NO_OPTIONS, UNCACHED_READ, Options
from aioconsulconnect.watch.poller_pool import PollerPool
from aioconsulconnect.workflows.comparison import by_destination, key_of, meaning, refuse_odd_names, refuse_unknown
from aioconsulconnect.workflows.plan import KIND, Obstacle, Plan, Prune, View, place_of
from aioconsulconnect.workflows.visibility import VisibilityProbe

_FOR_REQUESTS = frozenset({"http", "http2", "grpc"})  # protocols of which a proxy sees the requests
_PLANNED_SINCE = version_of("1.9")  # no plan is made on an older Consul
_OPEN = ("Meta", "Hash", "CreateIndex", "ModifyIndex")  # keys of the user's own, and keys that are never sent

_Stored = dict[EntryKey, ServiceIntentions]


class Planner(Group):
    """
    Maker of plans.

    - `sender`, `pool`, `options`: those of the client.
    """

    def __init__(self, sender: Sender, pool: PollerPool, options: Options) -> None:
        super().__init__(sender, pool, options)
        self._config = Config(sender, pool, options)
        self._chains = DiscoveryChains(sender, pool, options)

    async def plan(
        self, desired: Iterable[ServiceIntentions], *, prune: Prune, keep_unknown: bool, options: Options | None
    ) -> Plan:
        """
        Read the stored intentions, compare them with the desired ones, and return the plan.

        - `desired`: one entry for each destination.
        - `prune`: True to plan the removal of stored entries that are not in `desired`; "unchecked" to do it without
          check-and-set where Consul has none.
        - `keep_unknown`: True to send fields that neither this library nor, as far as it shows, this Consul knows.
        - `options`: options of the reads and of the writes.

        Raises InvalidRequest for entries that Consul would refuse, or a destination that is given twice.
        """
        wanted = by_destination(desired)
        stored, view = await self._stored(options)
        if not keep_unknown:
            refuse_unknown(wanted.values(), stored.values())
        refuse_odd_names(wanted, stored)
        hidden = await self._hidden(wanted, stored, options) if view.incomplete else set[EntryKey]()
        added = tuple(entry for key, entry in wanted.items() if key not in stored and key not in hidden)
        changed = tuple(
            (stored[key], entry)
            for key, entry in wanted.items()
            if key in stored and meaning(stored[key]) != meaning(entry)
        )
        removed = tuple(entry for key, entry in stored.items() if key not in wanted) if prune else ()
        written = (*added, *(new for _, new in changed))
        obstacles, notes = await self._foreseen(written, options)
        obstacles += await self._not_removable(removed, options)
        if removed and (old := await self._old_for_removal(options)):
            if prune == "unchecked":
                notes.append(f"entries are removed without check-and-set, so a change meanwhile is lost: {old.text}")
            else:
                obstacles.append(old)
        return Plan(
            self._config,
            options,
            added=added,
            changed=changed,
            removed=removed,
            hidden=tuple(entry for key, entry in wanted.items() if key in hidden),
            obstacles=tuple(obstacles),
            notes=tuple(notes),
            view=view,
            prune=prune,
        )

    # What is stored, as far as the token sees it.

    async def _stored(self, options: Options | None) -> tuple[_Stored, View]:
        request = self._complete(
            Request(
                method="GET",
                path=path_of("config", KIND),
                decode=_entries,
                accepted_options=UNCACHED_READ,
                min_version="1.9",
            ),
            options,
        )
        response = await self._sender.send(request)
        stored = {key_of(entry): entry for entry in interpret(request, response)}
        filtered, anonymous = response.meta.filtered_by_acls, response.anonymous
        return stored, View(filtered, anonymous, await self._incomplete(filtered, anonymous, options))

    async def _incomplete(self, filtered: bool, anonymous: bool, options: Options | None) -> str:
        """Return why the list may not be whole; empty where it is."""
        if filtered:
            return "Consul left out what the token may not read"
        asked = VisibilityProbe(self._sender, self._pool, self._over(options))
        await asked.ask(asked, 0.0)
        if asked.known.is_whole(anonymous=anonymous):
            return ""
        if anonymous:
            return "without a token Consul leaves out entries, and does not say so"
        return "this Consul does not say what it leaves out for a token (from 1.11 on it does)"

    async def _hidden(self, wanted: _Stored, stored: _Stored, options: Options | None) -> set[EntryKey]:
        """
        Return the keys of the wanted entries of which the token may not know whether they are there.

        A read of one entry is refused where a list would leave it out. What was made meanwhile goes into `stored`.
        """
        hidden: set[EntryKey] = set()
        for key, entry in wanted.items():
            if key not in stored:
                try:
                    found = await self._config.read(KIND, entry.name, options=place_of(entry, options))
                except PermissionDenied:
                    hidden.add(key)
                else:
                    if found is not None:
                        stored[key] = found
        return hidden

    # What Consul would refuse.

    async def _foreseen(
        self, written: tuple[ServiceIntentions, ...], options: Options | None
    ) -> tuple[list[Obstacle], list[str]]:
        obstacles = await self._for_enterprise(written, options)
        if obstacles:
            written = tuple(entry for entry in written if not _is_of_enterprise(entry))
        notes: list[str] = []
        providers: dict[str, bool | None] = {}
        for entry in written:
            if any(source.permissions for source in entry.sources):
                protocol = await self._protocol(entry, options)
                if protocol is None:
                    notes.append(
                        f"{entry.name}: whether its protocol allows permissions is not known; to ask needs service:read"
                    )
                elif protocol not in _FOR_REQUESTS:
                    obstacles.append(
                        Obstacle(
                            f"{entry.name}: permissions need the protocol http, http2 or grpc, and it has {protocol}:"
                            " first write its service-defaults"
                        )
                    )
            for name in _providers(entry):
                if name not in providers:
                    providers[name] = await self._has_provider(name, options)
                if providers[name] is False:
                    obstacles.append(Obstacle(f"{entry.name}: there is no jwt-provider {name!r}: first write it"))
                elif providers[name] is None:
                    notes.append(f"{entry.name}: whether there is a jwt-provider {name!r} is not known")
        notes += await self._too_new(written, options)
        return obstacles, notes

    async def _for_enterprise(self, written: tuple[ServiceIntentions, ...], options: Options | None) -> list[Obstacle]:
        """Return obstacles for namespaces and their like, where this Consul says at a read that it has none."""
        named = [entry for entry in written if _is_of_enterprise(entry)]
        if named:
            asked = Options(namespace="default").over(options or NO_OPTIONS)
            try:
                await self._config.read(KIND, named[0].name, options=asked)
            except Unsupported as error:
                if error.reason is ErrorReason.ENTERPRISE_ONLY:
                    what = "namespace, partition and sameness_group need Consul Enterprise: leave them out"
                    return [Obstacle(f"{entry.name}: {what}", error.min_version) for entry in named]
            except (BadRequest, PermissionDenied, ServerError):
                pass  # it has them, or does not tell
        return []

    async def _not_removable(self, removed: tuple[ServiceIntentions, ...], options: Options | None) -> list[Obstacle]:
        """Return obstacles for entries that `config.delete` cannot name, which is so up to Consul 1.19."""
        obstacles: list[Obstacle] = []
        for entry in removed:
            if is_odd(entry.name):
                with suppress(BadRequest, InvalidRequest, UnreadableResponse):
                    if await self._config.read(KIND, entry.name, options=place_of(entry, options)) is not None:
                        continue
                way = "keep it among the desired entries, or remove it with Consul 1.20"
                if "/" not in entry.name:
                    way = "remove its intentions one by one with intentions.delete"
                obstacles.append(Obstacle(f"{entry.name!r}: no path leads to an entry of this name: {way}"))
        return obstacles

    async def _protocol(self, entry: ServiceIntentions, options: Options | None) -> str | None:
        """Return the protocol of a destination, as Consul works it out from config entries; None if it is unknown."""
        try:
            return (await self._chains(entry.name, options=place_of(entry, options))).protocol
        except (PermissionDenied, BadRequest, ServerError):  # or its entries contradict each other, which is a 500
            return None

    async def _has_provider(self, name: str, options: Options | None) -> bool | None:
        with suppress(PermissionDenied, Unsupported):
            return await self._config.read("jwt-provider", name, options=options) is not None
        return None

    async def _too_new(self, written: tuple[ServiceIntentions, ...], options: Options | None) -> list[str]:
        """Return notes on fields that the agent is too old for; none where its version is not told."""
        needed = {entry.name: dict.fromkeys(_newer_fields(plain(entry))) for entry in written}
        if not any(needed.values()):
            return []
        known = await self._capabilities(options)
        if known.version is None:
            return []
        return [
            f"{name}: {field} needs Consul {FIELD_SINCE[field]}, and the agent is {known.version}"
            for name, fields in needed.items()
            for field in fields
            if not known.knows(FIELD_SINCE[field])
        ]

    async def _old_for_removal(self, options: Options | None) -> Obstacle | None:
        try:
            (await self._capabilities(options)).require("config.delete with cas")
        except Unsupported as error:
            return Obstacle(
                f"removals: {error.message}; prune='unchecked' removes without check-and-set", error.min_version
            )
        return None

    async def _capabilities(self, options: Options | None) -> Capabilities:
        return await probe(self._sender, self._over(options))

    def _over(self, options: Options | None) -> Options:
        return (options or NO_OPTIONS).over(self._defaults)


def _entries(response: Response) -> tuple[ServiceIntentions, ...]:
    found = read_listing(response.body)
    entries = [entry for entry in found if isinstance(entry, ServiceIntentions)]
    if len(entries) < len(found):
        raise UnreadableResponse(f"entries of other kinds came where {KIND} were asked for")
    return tuple(entries)


def _providers(entry: ServiceIntentions) -> dict[str, None]:
    """Return the names of the jwt-providers that an entry requires, each once."""
    required: list[JWTRequirement | None] = [entry.jwt]
    required += [permission.jwt for source in entry.sources for permission in source.permissions]
    return dict.fromkeys(provider.name for one in required if one is not None for provider in one.providers)


def _is_of_enterprise(entry: ServiceIntentions) -> bool:
    return bool(
        entry.namespace
        or entry.partition
        or any(source.namespace or source.partition or source.sameness_group for source in entry.sources)
    )


def _newer_fields(data: object) -> Iterator[str]:
    """Return an iterator over the keys in JSON data that not every Consul with config entries of this kind knows."""
    if isinstance(data, dict):
        for key, value in cast("Mapping[str, object]", data).items():
            if key not in _OPEN:
                since = FIELD_SINCE.get(key, "")
                if since[:1].isdigit() and version_of(since) > _PLANNED_SINCE:  # no agent tells if it is Enterprise
                    yield key
                yield from _newer_fields(value)
    elif isinstance(data, list):
        for item in cast("list[object]", data):
            yield from _newer_fields(item)
