"""Text of a plan: one line for each intention that changes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from aioconsulconnect.structs.config_entries.access import ServiceIntentions, SourceIntention
from aioconsulconnect.structs.config_entries.kinds import EntryKey
from aioconsulconnect.structs.intentions import Permission
from aioconsulconnect.workflows.comparison import SourceKey, key_of, source_key, source_meaning

EntryChange = tuple[ServiceIntentions | None, ServiceIntentions | None]


def lines_of(changes: Iterable[EntryChange]) -> list[str]:
    """Return the lines for `changes`, pairs of old and new entry, in the order of the destinations."""
    return [line for old, new in sorted(changes, key=_destination) for line in _difference(old, new)]


def _destination(change: EntryChange) -> EntryKey:
    old, new = change
    entry = new or old
    return EntryKey("", "", "", "") if entry is None else key_of(entry)


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
    return {source_key(source): _shown(source_meaning(source)) for source in sources}


def _shown(source: SourceIntention) -> str:
    rule = source.action or f"permissions {', '.join(_permission(p) for p in source.permissions)}"
    return f"{rule} ({source.description})" if source.description else str(rule)


def _permission(permission: Permission) -> str:
    http = permission.http
    path = http and (http.path_exact or (http.path_prefix and f"{http.path_prefix}*") or http.path_regex)
    what = " ".join(part for part in ("|".join(http.methods) if http else "", path or "") if part)
    more = " with conditions" if permission.jwt is not None or (http is not None and http.header) else ""
    return f"{permission.action} {what}{more}".rstrip()
