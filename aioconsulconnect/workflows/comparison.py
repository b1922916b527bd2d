"""Comparison of `service-intentions` entries by their meaning."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from msgspec.structs import replace

from aioconsulconnect.endpoints.arguments import check_new_name, is_odd, sequence
from aioconsulconnect.errors import InvalidRequest
from aioconsulconnect.structs.config_entries.access import ServiceIntentions, SourceIntention
from aioconsulconnect.structs.config_entries.kinds import EntryKey, entry_key
from aioconsulconnect.structs.config_entries.unknown_places import unknown_places
from aioconsulconnect.structs.intentions import Permission
from aioconsulconnect.workflows.entry_rules import check_entry

SourceKey = tuple[str, str, str, str, str]


def by_destination(desired: Iterable[ServiceIntentions]) -> dict[EntryKey, ServiceIntentions]:
    """
    Return the desired entries by their keys, as they can be written.

    `desired` has one entry for each destination. Raises InvalidRequest for entries that Consul would refuse, or a
    destination that is given twice.
    """
    wanted: dict[EntryKey, ServiceIntentions] = {}
    for given in sequence("the entries", desired, ServiceIntentions):
        check_entry(given)
        entry = _without_ids(given)
        seen = Counter(source_key(source) for source in entry.sources)
        for key in (key for key, times in seen.items() if times > 1):
            raise InvalidRequest(f"{entry.name!r} has the source {key[-1]!r} more than once")
        if wanted.setdefault(key_of(entry), entry) is not entry:
            raise InvalidRequest(f"{entry.name!r} is given more than once (Consul takes no notice of case)")
    return wanted


def refuse_unknown(desired: Iterable[ServiceIntentions], stored: Iterable[ServiceIntentions]) -> None:
    """
    Raise InvalidRequest for fields that neither this library nor this Consul is known to have.

    - `desired`: the entries to look through.
    - `stored`: entries that Consul sent: what is unknown in them is a field of this Consul, which may be written.
    """
    shown = {field.pattern for entry in stored for field in unknown_places(entry)}
    wrong = [
        f"{entry.name!r}: {field}" for entry in desired for field in unknown_places(entry) if field.pattern not in shown
    ]
    if wrong:
        raise InvalidRequest("; ".join(wrong[:10]) + " (keep_unknown=True sends such fields)")


def refuse_odd_names(
    desired: Mapping[EntryKey, ServiceIntentions], stored: Mapping[EntryKey, ServiceIntentions]
) -> None:
    """
    Raise InvalidRequest for a name that no path leads to, unless its entry stays as it is stored.

    - `desired`, `stored`: the entries by their keys.
    """
    for key, entry in desired.items():
        if is_odd(entry.name) and (key not in stored or meaning(stored[key]) != meaning(entry)):
            check_new_name(f"{entry.name!r}: name", entry.name)


def key_of(entry: ServiceIntentions) -> EntryKey:
    """Return the key of an entry, the same for a default namespace that is named and one that is not."""
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


def source_key(source: SourceIntention) -> SourceKey:
    """Return the key of a source among those of its entry."""
    return source.sameness_group, source.peer, _named(source.partition), _named(source.namespace), source.name


def meaning(entry: ServiceIntentions) -> ServiceIntentions:
    """
    Return the entry in a form in which two entries of the same meaning are equal.

    It is without the fields that Consul sets, and its sources are sorted, since their order decides nothing.
    """
    sources = sorted((source_meaning(source) for source in _without_ids(entry).sources), key=source_key)
    plain = _everywhere(entry)
    return replace(plain, name=entry.name.lower(), sources=tuple(sources), hash=0, create_index=0, modify_index=0)


def source_meaning(source: SourceIntention) -> SourceIntention:
    """Return a source in a form in which two of the same meaning are equal."""
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
