"""
Reading of config entries of every kind, and the JSON that a write sends.

What Consul answers may hold fields that this library does not know: a newer Consul has them, so they are kept. In what
a user wrote, such a field is most often misspelt, so `read_entries` refuses it.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable, Iterator, Mapping
from typing import TypeVar, get_args

import msgspec

from aioconsulconnect.compatibility import KIND_SINCE
from aioconsulconnect.errors import InvalidRequest, UnreadableResponse
from aioconsulconnect.slices import InSlices
from aioconsulconnect.structs.codec.consul_struct import FrozenStruct
from aioconsulconnect.structs.codec.item_key import ItemKey
from aioconsulconnect.structs.codec.json_body import cause, encode, in_slices, reader, unreadable
from aioconsulconnect.structs.codec.request_body import refuse_nulls
from aioconsulconnect.structs.codec.unknown_fields import open_struct, plain
from aioconsulconnect.structs.config_entries.access import ExportedServices, JWTProvider, ServiceIntentions
from aioconsulconnect.structs.config_entries.defaults import Mesh, ProxyDefaults, ServiceDefaults
from aioconsulconnect.structs.config_entries.entry import EntryBase
from aioconsulconnect.structs.config_entries.gateways import IngressGateway, TerminatingGateway
from aioconsulconnect.structs.config_entries.traffic import ServiceResolver, ServiceRouter, ServiceSplitter
from aioconsulconnect.structs.config_entries.unknown_places import meant, unknown_places


class EntryKey(ItemKey, frozen=True, order=True):
    """Key of a config entry; `name` is in lower case, since Consul compares names without regard to case."""

    kind: str
    partition: str
    namespace: str
    name: str


class UnknownEntry(FrozenStruct, frozen=True, kw_only=True):
    """
    Config entry of a kind that this library has no struct for.

    `content` is the whole entry as JSON data. The entry can be read, changed (as another one with its own `content`)
    and written like any other.
    """

    content: Mapping[str, object]

    def __post_init__(self) -> None:
        """Raise InvalidRequest where the content is no mapping."""
        if not isinstance(self.content, Mapping):
            raise InvalidRequest(f"content takes a mapping, not {self.content!r:.40}")

    @property
    def kind(self) -> str:
        """The kind of the entry (`Kind`)."""
        return self._text("Kind")

    @property
    def name(self) -> str:
        """The name of the entry (`Name`)."""
        return self._text("Name")

    @property
    def namespace(self) -> str:
        """The namespace of the entry (Enterprise)."""
        return self._text("Namespace")

    @property
    def partition(self) -> str:
        """The partition of the entry (Enterprise)."""
        return self._text("Partition")

    @property
    def modify_index(self) -> int:
        """
        The index that check-and-set compares; 0 where the entry has none.

        Consul changes it by itself if the entry has a `Status`.
        """
        index = self.content.get("ModifyIndex")
        return index if isinstance(index, int) else 0

    def _text(self, key: str) -> str:
        value = self.content.get(key)
        return value if isinstance(value, str) else ""


KnownEntry = (
    ServiceIntentions
    | ServiceDefaults
    | ProxyDefaults
    | ServiceResolver
    | ServiceRouter
    | ServiceSplitter
    | Mesh
    | IngressGateway
    | TerminatingGateway
    | JWTProvider
    | ExportedServices
)
Entry = KnownEntry | UnknownEntry
E = TypeVar("E", bound=EntryBase)

KINDS: Mapping[str, type[KnownEntry]] = {str(kind.__struct_config__.tag): kind for kind in get_args(KnownEntry)}

_NAMED_KINDS = frozenset({*KINDS, *KIND_SINCE, "bound-api-gateway", "control-plane-request-limit"})
_MOST_TOLD = 10  # mistakes in a file that one error names

_OWN = ("Hash", "CreateIndex", "ModifyIndex")  # Consul's, and an unknown key to a server that is older than the entry

_read_object = reader(dict[str, object])
_read_objects = reader(tuple[dict[str, object], ...])
_SLICE = 100
_read_objects_in_slices = in_slices(_read_objects, size=_SLICE)


def read_entry(body: bytes) -> Entry:
    """
    Read the config entry in an answer of Consul's.

    Raises UnreadableResponse for any other body.
    """
    return _answered(body, "the entry", _read_object(body))


def read_listing(body: bytes) -> tuple[Entry, ...]:
    """
    Read the config entries in an answer of Consul's.

    Fields and kinds that this library does not know are kept. Raises UnreadableResponse for any other body.
    """
    return tuple(_answered(body, f"entry {i}", data) for i, data in enumerate(_read_objects(body)))


def read_listing_in_slices(body: bytes) -> InSlices[tuple[Entry, ...]]:
    """
    Read config entries from a big answer of Consul's slice by slice, as a generator.

    It yields where other tasks may run, and returns the entries.
    """
    found: list[Entry] = []
    for number, data in enumerate((yield from _read_objects_in_slices(body))):
        if number % _SLICE == 0:
            yield
        found.append(_answered(body, f"entry {number}", data))
    return tuple(found)


def _answered(body: bytes, label: str, data: Mapping[str, object]) -> Entry:
    try:
        return _entry(data)
    except ValueError as error:
        raise unreadable(body, ValueError(f"{label}{_titled(data)}: {error}")) from cause(error)


def read_entries(body: bytes, *, keep_unknown: bool = False) -> tuple[Entry, ...]:
    """
    Read config entries from a JSON array that somebody wrote, such as a file, or one of `dump_entries`.

    An entry of a kind that Consul has, and this library has no struct for, is an `UnknownEntry`. All keys are spelt as
    Consul shows them (`PathPrefix`).

    - `body`: the array.
    - `keep_unknown`: True to keep fields and kinds that this library does not know, as for a dump of the entries of a
      newer Consul. Default: they are refused, since most often they are misspelt.

    Raises InvalidRequest for anything else; the message names each entry by its position, kind and name, and the field.
    """
    try:
        listed = _read_objects(body)
    except UnreadableResponse as error:
        raise InvalidRequest(f"this is no JSON array of config entries: {error.message}") from cause(error)
    entries: list[Entry] = []
    mistakes: list[str] = []
    for i, data in enumerate(listed):
        label = f"entry {i}{_titled(data)}: "
        try:
            entries.append(entry := _entry(data))
        except ValueError as error:
            mistakes.append(f"{label}{error}")
            continue
        if not keep_unknown:
            mistakes += [label + text for text in _not_known(entry)]
    if mistakes:
        more = [f"and {len(mistakes) - _MOST_TOLD} more"] if len(mistakes) > _MOST_TOLD else []
        raise InvalidRequest("; ".join(mistakes[:_MOST_TOLD] + more))
    return tuple(entries)


def _not_known(entry: Entry) -> Iterator[str]:
    if not isinstance(entry, UnknownEntry):
        yield from map(str, unknown_places(entry))
    elif entry.kind not in _NAMED_KINDS:
        similar = meant(entry.kind, _NAMED_KINDS)
        yield f"Kind {entry.kind!r} is not known" + (f"; did you mean {similar!r}?" if similar else "")


def _titled(data: Mapping[str, object]) -> str:
    """Return kind and name of an entry, as far as it has them, for an error."""
    kind, name = data.get("Kind"), data.get("Name")
    title = " ".join([kind if isinstance(kind, str) else "", repr(name) if isinstance(name, str) else ""]).strip()
    return f" ({title})" if title else ""


_WHERE = re.compile(r"(.*) - at `\$\.?(.*)`", re.DOTALL)


def _entry(data: Mapping[str, object]) -> Entry:
    """Return the entry that JSON data is; ValueError, with the place, where it is none."""
    kind = data.get("Kind")
    if not isinstance(kind, str):
        similar = next((f"; write {key} as Kind" for key in data if key.lower() == "kind"), "")
        wrong = "Kind must be text" if "Kind" in data else f"Kind is missing{similar}"
        raise ValueError(wrong)  # noqa: TRY004 - all that is wrong with an entry is one
    if kind not in KINDS:
        return UnknownEntry(content=data)
    try:
        return open_struct(KINDS[kind], data)
    except msgspec.ValidationError as error:
        placed = _WHERE.fullmatch(str(error))
        raise ValueError(f"{placed[2]}: {placed[1]}" if placed and placed[2] else str(error)) from cause(error)


def entry_data(entry: Entry) -> dict[str, object]:
    """
    Return a config entry as JSON data.

    Fields that have their default are left out; keys that this library does not know are as they came.
    """
    if isinstance(entry, UnknownEntry):
        return dict(entry.content)
    data = msgspec.convert(plain(entry), dict[str, object])
    return data if isinstance(entry, Mesh) else {**data, "Name": entry.name}


def entry_body(entry: Entry) -> bytes:
    """
    Return the body that writes a config entry.

    It is without `Hash`, `CreateIndex` and `ModifyIndex`, which Consul sets. Raises InvalidRequest for a jwt-provider
    with `inline_bytes`, and for a null in an open map or a list, by its path.
    """
    if isinstance(entry, UnknownEntry):
        # Consul shows the empty lists of newer kinds as null, and takes it.
        refuse_nulls(entry.content, refused="in lists")
    else:
        refuse_nulls(entry)
    if isinstance(entry, JWTProvider):
        _refuse_inline_bytes(entry)
    return encode({key: value for key, value in entry_data(entry).items() if key not in _OWN})


def _refuse_inline_bytes(entry: JWTProvider) -> None:
    remote = entry.json_web_key_set and entry.json_web_key_set.remote
    certificates = remote and remote.jwks_cluster and remote.jwks_cluster.tls_certificates
    if certificates and certificates.trusted_ca and certificates.trusted_ca.inline_bytes:
        raise InvalidRequest("trusted_ca.inline_bytes would be encoded once more by Consul; use inline_string")


def dump_entries(entries: Iterable[Entry]) -> bytes:
    """
    Return config entries as an indented JSON array, which `read_entries` reads again.

    It is without `Hash`, which no write takes: each item is what `consul config write` reads.

    `entries` that a newer Consul sent may have fields that this library does not know: they are in the array, and
    `read_entries` takes them with `keep_unknown=True`.
    """
    data = [{key: value for key, value in entry_data(entry).items() if key != "Hash"} for entry in entries]
    return msgspec.json.format(encode(data), indent=2)


def entry_key(entry: Entry) -> EntryKey:
    """Return the key of a config entry, with its name in lower case."""
    return EntryKey(entry.kind, entry.partition, entry.namespace, entry.name.lower())


def entries_by_key(entries: tuple[Entry, ...]) -> Mapping[Hashable, Entry]:
    """Return the config entries by their keys."""
    return {entry_key(entry): entry for entry in entries}
