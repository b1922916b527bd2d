"""Config entries of every kind: how they are read, and what of them is sent."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from typing import NamedTuple, TypeVar, get_args

import msgspec

from aioconsulconnect.errors import InvalidRequest
from aioconsulconnect.structs.codec.json_body import InSlices, encode, in_slices, reader, unreadable
from aioconsulconnect.structs.codec.unknown_fields import open_struct, plain
from aioconsulconnect.structs.config_entries.access import ExportedServices, JWTProvider, ServiceIntentions
from aioconsulconnect.structs.config_entries.defaults import Mesh, ProxyDefaults, ServiceDefaults
from aioconsulconnect.structs.config_entries.entry import EntryBase
from aioconsulconnect.structs.config_entries.gateways import IngressGateway, TerminatingGateway
from aioconsulconnect.structs.config_entries.traffic import ServiceResolver, ServiceRouter, ServiceSplitter


class EntryKey(NamedTuple):
    """What tells a config entry from all others; `name` is in lower case, since Consul compares names so."""

    kind: str
    partition: str
    namespace: str
    name: str


class UnknownEntry(msgspec.Struct, frozen=True, kw_only=True):
    """
    A config entry of a kind that this library has no struct for: `content` is all of it, as JSON.

    It can be read, changed (`content` of another one) and written like the others.
    """

    content: Mapping[str, object]

    @property
    def kind(self) -> str:
        """Consul's word."""
        return self._text("Kind")

    @property
    def name(self) -> str:
        """Its name."""
        return self._text("Name")

    @property
    def namespace(self) -> str:
        """Its namespace (Enterprise)."""
        return self._text("Namespace")

    @property
    def partition(self) -> str:
        """Its partition (Enterprise)."""
        return self._text("Partition")

    @property
    def modify_index(self) -> int:
        """What check-and-set compares. Consul moves it by itself where an entry has a `Status`."""
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
    """The entry in a body."""
    return _entry(body, _read_object(body))


def read_entries(body: bytes) -> tuple[Entry, ...]:
    """The entries in a body."""
    return tuple(_entry(body, data) for data in _read_objects(body))


def read_entries_in_slices(body: bytes) -> InSlices[tuple[Entry, ...]]:
    """The same for a big body: it yields where others may run."""
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
    """All of an entry as JSON: what is not its default, and what came with it that this library does not know."""
    if isinstance(entry, UnknownEntry):
        return dict(entry.content)
    data = msgspec.convert(plain(entry), dict[str, object])
    return data if isinstance(entry, Mesh) else {**data, "Name": entry.name}


def entry_body(entry: Entry) -> bytes:
    """What a write sends: without index and hash, which are Consul's own."""
    if isinstance(entry, JWTProvider):
        _refuse_inline_bytes(entry)
    return encode({key: value for key, value in entry_data(entry).items() if key not in _OWN})


def _refuse_inline_bytes(entry: JWTProvider) -> None:
    remote = entry.json_web_key_set and entry.json_web_key_set.remote
    certificates = remote and remote.jwks_cluster and remote.jwks_cluster.tls_certificates
    if certificates and certificates.trusted_ca and certificates.trusted_ca.inline_bytes:
        raise InvalidRequest("trusted_ca.inline_bytes would be encoded once more by Consul; use inline_string")


def dump_entries(entries: Iterable[Entry]) -> bytes:
    """The entries as a JSON array, to be kept and read again with `read_entries`: indented, one after the other."""
    return msgspec.json.format(encode([entry_data(entry) for entry in entries]), indent=2)


def entry_key(entry: Entry) -> EntryKey:
    """What tells it from all others; Consul compares names without regard to case."""
    return EntryKey(entry.kind, entry.partition, entry.namespace, entry.name.lower())


def entries_by_key(entries: tuple[Entry, ...]) -> Mapping[Hashable, Entry]:
    """The entries by what tells them apart."""
    return {entry_key(entry): entry for entry in entries}
