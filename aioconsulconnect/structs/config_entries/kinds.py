"""Reading of config entries of every kind, and the JSON that a write sends."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from typing import TypeVar, get_args

import msgspec

from aioconsulconnect.errors import InvalidRequest
from aioconsulconnect.slices import InSlices
from aioconsulconnect.structs.codec.item_key import ItemKey
from aioconsulconnect.structs.codec.json_body import encode, in_slices, reader, unreadable
from aioconsulconnect.structs.codec.unknown_fields import open_struct, plain
from aioconsulconnect.structs.config_entries.access import ExportedServices, JWTProvider, ServiceIntentions
from aioconsulconnect.structs.config_entries.defaults import Mesh, ProxyDefaults, ServiceDefaults
from aioconsulconnect.structs.config_entries.entry import EntryBase
from aioconsulconnect.structs.config_entries.gateways import IngressGateway, TerminatingGateway
from aioconsulconnect.structs.config_entries.traffic import ServiceResolver, ServiceRouter, ServiceSplitter


class EntryKey(ItemKey, frozen=True, order=True):
    """Key of a config entry; `name` is in lower case, since Consul compares names without regard to case."""

    kind: str
    partition: str
    namespace: str
    name: str


class UnknownEntry(msgspec.Struct, frozen=True, kw_only=True):
    """
    Config entry of a kind that this library has no struct for.

    `content` is the whole entry as JSON data. The entry can be read, changed (as another one with its own `content`)
    and written like any other.
    """

    content: Mapping[str, object]

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

_OWN = ("Hash", "CreateIndex", "ModifyIndex")  # Consul's, and an unknown key to a server that is older than the entry

_read_object = reader(dict[str, object])
_read_objects = reader(tuple[dict[str, object], ...])
_SLICE = 100
_read_objects_in_slices = in_slices(_read_objects, size=_SLICE)


def read_entry(body: bytes) -> Entry:
    """
    Read the config entry in a body.

    Raises UnreadableResponse for any other body.
    """
    return _entry(body, _read_object(body))


def read_entries(body: bytes) -> tuple[Entry, ...]:
    """
    Read config entries from a JSON array, such as one that `dump_entries` wrote.

    An entry of a kind without a struct is an `UnknownEntry`. Raises UnreadableResponse for any other text.
    """
    return tuple(_entry(body, data) for data in _read_objects(body))


def read_entries_in_slices(body: bytes) -> InSlices[tuple[Entry, ...]]:
    """
    Read config entries from a big JSON array slice by slice, as a generator.

    It yields where other tasks may run, and returns the entries.
    """
    found: list[Entry] = []
    for number, data in enumerate((yield from _read_objects_in_slices(body))):
        if number % _SLICE == 0:
            yield
        found.append(_entry(body, data))
    return tuple(found)


def _entry(body: bytes, data: Mapping[str, object]) -> Entry:
    kind = data.get("Kind")
    if not isinstance(kind, str):
        raise unreadable(body, ValueError("a config entry without a Kind"))
    if kind not in KINDS:
        return UnknownEntry(content=data)
    try:
        return open_struct(KINDS[kind], data)
    except msgspec.ValidationError as error:
        raise unreadable(body, error) from error


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
    with `inline_bytes`.
    """
    if isinstance(entry, JWTProvider):
        _refuse_inline_bytes(entry)
    return encode({key: value for key, value in entry_data(entry).items() if key not in _OWN})


def _refuse_inline_bytes(entry: JWTProvider) -> None:
    remote = entry.json_web_key_set and entry.json_web_key_set.remote
    certificates = remote and remote.jwks_cluster and remote.jwks_cluster.tls_certificates
    if certificates and certificates.trusted_ca and certificates.trusted_ca.inline_bytes:
        raise InvalidRequest("trusted_ca.inline_bytes would be encoded once more by Consul; use inline_string")


def dump_entries(entries: Iterable[Entry]) -> bytes:
    """Return config entries as an indented JSON array, which `read_entries` reads again."""
    return msgspec.json.format(encode([entry_data(entry) for entry in entries]), indent=2)


def entry_key(entry: Entry) -> EntryKey:
    """Return the key of a config entry, with its name in lower case."""
    return EntryKey(entry.kind, entry.partition, entry.namespace, entry.name.lower())


def entries_by_key(entries: tuple[Entry, ...]) -> Mapping[Hashable, Entry]:
    """Return the config entries by their keys."""
    return {entry_key(entry): entry for entry in entries}
