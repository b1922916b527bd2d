"""
Plan that compares all stored intentions with the desired ones, and its application.

Intentions are read and written as config entries of the kind `service-intentions`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from msgspec.structs import replace

from aioconsulconnect.endpoints.config import Config
from aioconsulconnect.errors import ConsulError, InvalidRequest
from aioconsulconnect.structs.config_entries.access import ServiceIntentions, SourceIntention
from aioconsulconnect.structs.config_entries.kinds import EntryKey, entry_key
from aioconsulconnect.structs.intention_rules import check_description, check_rule
from aioconsulconnect.structs.intentions import Permission
from aioconsulconnect.transport.options import NO_OPTIONS, Options

_KIND: Final = "service-intentions"
SourceKey = tuple[str, str, str, str, str]


async def make_plan(
    config: Config, desired: Iterable[ServiceIntentions], *, prune: bool, options: Options | None
) -> Plan:
    """
    Read the stored intentions, compare them with the desired ones, and return the plan.

    - `config`: endpoints that read, and later write, the entries.
    - `desired`: one entry for each destination.
    - `prune`: True to plan the removal of stored entries that are not in `desired`.
    - `options`: options of the read and of the writes.

    Raises InvalidRequest for entries that Consul would refuse, or a destination that is given twice.
    """
    wanted: dict[EntryKey, ServiceIntentions] = {}
    for given in desired:
        entry = _without_ids(given)
        _check(entry)
        if wanted.setdefault(_key(entry), entry) is not entry:
            raise InvalidRequest(f"{entry.name!r} is given more than once (Consul takes no notice of case)")
    stored = {_key(entry): entry for entry in await config.list(_KIND, options=options)}
    return Plan(
        config,
        options,
        added=tuple(entry for key, entry in wanted.items() if key not in stored),
        changed=tuple(
            (stored[key], entry)
            for key, entry in wanted.items()
            if key in stored and _meaning(stored[key]) != _meaning(entry)
        ),
        removed=tuple(entry for key, entry in stored.items() if key not in wanted) if prune else (),
    )


class Plan:
    """
    Changes that turn the stored intentions into the desired ones.

    A plan is true if there is anything to do. `str(plan)` has one line for each intention: `+` added, `-` removed, `~`
    changed, with old and new.

    - `added`: entries to create.
    - `changed`: pairs of the stored entry and the one to replace it.
    - `removed`: stored entries to delete.
    - `config`, `options`: endpoints and options with which `apply` writes.
    """

    def __init__(
        self,
        config: Config,
        options: Options | None,
        *,
        added: tuple[ServiceIntentions, ...],
        changed: tuple[tuple[ServiceIntentions, ServiceIntentions], ...],
        removed: tuple[ServiceIntentions, ...],
    ) -> None:
        self._config = config
        self._options = options
        self.added = added
        self.changed = changed
        self.removed = removed

    def __bool__(self) -> bool:
        return bool(self.added or self.changed or self.removed)

    async def apply(self) -> None:
        """
        Write the changes, each entry by check-and-set against what was stored when the plan was made.

        The entries are written one after the other: Consul has no write of several entries that is applied as a whole.
        If somebody changed an entry meanwhile, it raises Conflict. A note on any error says how many changes were
        applied before; a new plan goes on from there.

        Removals need Consul 1.11 (check-and-set on `DELETE /v1/config`). That is checked before anything is written,
        and raises Unsupported; on an older Consul delete entries with `config.delete`, without `cas`.
        """
        if self.removed:
            await self._config.require_checked_delete(options=self._options)
        done = 0
        try:
            for entry in self.added:
                await self._config.write(entry, cas=0, options=self._options)
                done += 1
            for old, new in self.changed:
                await self._config.write(new, cas=old.modify_index, options=self._options)
                done += 1
            for entry in self.removed:
                where = Options(namespace=entry.namespace or None, partition=entry.partition or None)
                where = where.over(self._options or NO_OPTIONS)
                await self._config.delete(_KIND, entry.name, cas=entry.modify_index, options=where)
                done += 1
        except ConsulError as error:
            total = len(self.added) + len(self.changed) + len(self.removed)
            error.add_note(f"{done} of {total} changes of the plan were applied before")
            raise

    def __str__(self) -> str:
        changes = (
            *((None, entry) for entry in self.added),
            *self.changed,
            *((entry, None) for entry in self.removed),
        )
        lines = [line for old, new in sorted(changes, key=_destination) for line in _difference(old, new)]
        return "\n".join(lines) or "nothing to do"

    def __repr__(self) -> str:
        return f"<Plan {len(self.added)} added, {len(self.changed)} changed, {len(self.removed)} removed>"


def _key(entry: ServiceIntentions) -> EntryKey:
    return entry_key(_everywhere(entry))


def _everywhere(entry: ServiceIntentions) -> ServiceIntentions:
    """
    The entry with an empty namespace and partition where they are `default`.

    Consul Enterprise names the default namespace and partition, the Community Edition leaves them out.
    """
    return replace(entry, namespace=_named(entry.namespace), partition=_named(entry.partition))


def _named(tenant: str) -> str:
    return "" if tenant == "default" else tenant


def _without_ids(entry: ServiceIntentions) -> ServiceIntentions:
    """
    The entry without the legacy fields, which only intentions created by id have.

    On a write Consul drops them, and refuses `legacy_meta`.
    """
    return replace(
        entry,
        sources=tuple(
            replace(source, legacy_id="", legacy_meta={}, legacy_create_time=None, legacy_update_time=None)
            for source in entry.sources
        ),
    )


def _source_key(source: SourceIntention) -> SourceKey:
    return source.sameness_group, source.peer, _named(source.partition), _named(source.namespace), source.name


def _meaning(entry: ServiceIntentions) -> ServiceIntentions:
    """
    The entry in a form in which two entries of the same meaning are equal.

    It is without the fields that Consul sets, and its sources are sorted, since their order decides nothing.
    """
    sources = sorted((_source_meaning(source) for source in _without_ids(entry).sources), key=_source_key)
    plain = _everywhere(entry)
    return replace(plain, name=entry.name.lower(), sources=tuple(sources), hash=0, create_index=0, modify_index=0)


def _source_meaning(source: SourceIntention) -> SourceIntention:
    return replace(
        source,
        permissions=tuple(_upper(permission) for permission in source.permissions),
        namespace=_named(source.namespace),
        partition=_named(source.partition),
        type="",
        precedence=0,
    )


def _upper(permission: Permission) -> Permission:
    if permission.http is None:
        return permission
    methods = tuple(method.upper() for method in permission.http.methods)
    return replace(permission, http=replace(permission.http, methods=methods))


def _check(entry: ServiceIntentions) -> None:
    """Raise InvalidRequest, with the place in the entry, for what every Consul version refuses."""
    if not entry.name:
        raise InvalidRequest("an entry of service-intentions needs the name of its destination")
    if not entry.sources:
        raise InvalidRequest(f"{entry.name!r}: at least one source is required")
    check_description("", entry.meta)
    seen: set[SourceKey] = set()
    for source in entry.sources:
        try:
            check_rule(source.action, source.permissions, destination=entry.name)
            check_description(source.description, source.legacy_meta)
        except InvalidRequest as error:
            raise InvalidRequest(f"{source.name!r} => {entry.name!r}: {error.message}") from error
        if _source_key(source) in seen:
            raise InvalidRequest(f"{entry.name!r} has the source {source.name!r} more than once")
        seen.add(_source_key(source))


def _destination(change: tuple[ServiceIntentions | None, ServiceIntentions | None]) -> EntryKey:
    old, new = change
    entry = new or old
    return EntryKey("", "", "", "") if entry is None else _key(entry)


def _difference(old: ServiceIntentions | None, new: ServiceIntentions | None) -> Iterator[str]:
    entry = new or old
    name = entry.name if entry is not None else ""
    before, after = _rules(old), _rules(new)
    for key in sorted({*before, *after}):
        source = key[4] if not key[1] else f"{key[4]} of peer {key[1]}"
        line = f"{source} => {name}"
        if key not in before:
            yield f"+ {line}: {after[key]}"
        elif key not in after:
            yield f"- {line}: {before[key]}"
        elif before[key] != after[key]:
            yield f"~ {line}: {before[key]} -> {after[key]}"
    if old is not None and new is not None and (old.meta, old.jwt) != (new.meta, new.jwt):
        yield f"~ {name}: meta or jwt"


def _rules(entry: ServiceIntentions | None) -> dict[SourceKey, str]:
    sources: Sequence[SourceIntention] = entry.sources if entry is not None else ()
    return {_source_key(source): _shown(_source_meaning(source)) for source in sources}


def _shown(source: SourceIntention) -> str:
    rule = source.action or f"permissions {', '.join(_permission(p) for p in source.permissions)}"
    return f"{rule} ({source.description})" if source.description else str(rule)


def _permission(permission: Permission) -> str:
    http = permission.http
    path = http and (http.path_exact or (http.path_prefix and f"{http.path_prefix}*") or http.path_regex)
    what = " ".join(part for part in ("|".join(http.methods) if http else "", path or "") if part)
    more = " with conditions" if permission.jwt is not None or (http is not None and http.header) else ""
    return f"{permission.action} {what}{more}".rstrip()
