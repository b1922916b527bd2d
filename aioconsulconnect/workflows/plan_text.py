"""Text of a plan: a line for each intention that changes, and for what else changes in an entry."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from aioconsulconnect.errors import redact
from aioconsulconnect.structs.codec.containers import is_array
from aioconsulconnect.structs.codec.unknown_fields import KeepsUnknown
from aioconsulconnect.structs.config_entries.access import ServiceIntentions, SourceIntention
from aioconsulconnect.structs.config_entries.kinds import EntryKey
from aioconsulconnect.structs.intentions import Permission
from aioconsulconnect.structs.names import in_words
from aioconsulconnect.workflows.comparison import SourceKey, key_of, meaning, source_key

EntryChange = tuple[ServiceIntentions | None, ServiceIntentions | None]


def lines_of(changes: Iterable[EntryChange]) -> list[str]:
    """Return the lines for `changes`, pairs of old and new entry, in the order of the destinations."""
    return [line for old, new in sorted(changes, key=_destination) for line in _difference(old, new)]


def on_one_line(text: str) -> str:
    """Return `text` without private keys, and quoted where it has a character that cannot be printed."""
    text = redact(text)
    return text if text.isprintable() else repr(text)


def _destination(change: EntryChange) -> EntryKey:
    old, new = change
    entry = new or old
    return EntryKey("", "", "", "") if entry is None else key_of(entry)


def _difference(old: ServiceIntentions | None, new: ServiceIntentions | None) -> Iterator[str]:
    entry = new or old
    if entry is None:
        return
    destination = _named(entry.name, entry.namespace, entry.partition)
    before, after = _rules(old), _rules(new)
    for key in sorted({*before, *after}):
        one, other = before.get(key), after.get(key)
        if one != other:
            yield _line(f"{_source(key)} => {destination}", _rule(one), _rule(other))
    if old is None or new is None:
        if (conditions := _conditions(entry)) or not entry.sources:
            yield f"{'+' if old is None else '-'} {destination}: {conditions or 'no sources'}"
        return
    if (old.jwt, old.unknown) != (new.jwt, new.unknown):
        yield _line(destination, _conditions(old) or "no conditions", _conditions(new) or "no conditions")
    if old.meta != new.meta:
        yield f"~ {destination}: meta"


def _line(what: str, before: str | None, after: str | None) -> str:
    if before is None:
        return f"+ {what}: {after}"
    if after is None:
        return f"- {what}: {before}"
    return f"~ {what}: {'other conditions' if before == after else f'{before} -> {after}'}"


def _rules(entry: ServiceIntentions | None) -> dict[SourceKey, SourceIntention]:
    return {} if entry is None else {source_key(source): source for source in meaning(entry).sources}


def _source(key: SourceKey) -> str:
    group, peer, partition, namespace, name = key
    source = _named(name, namespace, partition, group)
    return f"{source} of peer {on_one_line(peer)}" if peer else source


def _named(name: str, namespace: str, partition: str, sameness_group: str = "") -> str:
    words = in_words(name, namespace=namespace or "default", partition=partition, sameness_group=sameness_group)
    return on_one_line(words)


def _rule(source: SourceIntention | None) -> str | None:
    if source is None:
        return None
    rule = source.action or f"permissions {', '.join(_permission(p) for p in source.permissions)}"
    text = " ".join([rule, *_unknown(source)])
    return f"{text} ({on_one_line(source.description)})" if source.description else text


def _permission(permission: Permission) -> str:
    """Return a permission in words, such as `allow GET|PUT path_prefix='/admin' header(name='x' present=True)`."""
    words = [str(permission.action)]
    if (http := permission.http) is not None:
        words += ["|".join(http.methods), _fields(msgspec.structs.replace(http, methods=()))]
    words.append(_fields(msgspec.structs.replace(permission, action=None, http=None)))
    return " ".join(word for word in words if word)


def _conditions(entry: ServiceIntentions) -> str:
    """Return in words what an entry asks of all its sources."""
    jwt = [] if entry.jwt is None else [f"jwt({_fields(entry.jwt)})"]
    return " ".join([*jwt, *_unknown(entry)])


def _unknown(value: KeepsUnknown) -> Iterator[str]:
    return (f"{on_one_line(key)}={redact(repr(item))}" for key, item in value.unknown)


def _fields(value: KeepsUnknown) -> str:
    """Return the fields of a struct that are set, in words that differ where the structs do."""
    words: list[str] = []
    for field in msgspec.structs.fields(value):
        item = getattr(value, field.name)
        if field.name != "unknown" and item != field.default:
            words += (
                f"{field.name}({_fields(part)})"
                if isinstance(part, KeepsUnknown)
                else f"{field.name}={redact(repr(part))}"
                for part in (item if is_array(item) else (item,))
            )
    return " ".join([*words, *_unknown(value)])
