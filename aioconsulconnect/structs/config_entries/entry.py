"""What all config entries share."""

from __future__ import annotations

from collections.abc import Mapping

from aioconsulconnect.structs.codec.consul_struct import NullAsEmpty
from aioconsulconnect.structs.codec.unknown_fields import Part


class EntryBase(Part, frozen=True, kw_only=True, tag_field="Kind"):
    """
    A config entry. `kind` is Consul's word for its class.

    `modify_index` is what check-and-set compares; indexes and `hash` (Consul 1.16.4) are Consul's own and never sent.
    `namespace` and `partition` are Consul Enterprise's; elsewhere they are refused when they are set.
    """

    namespace: str = ""
    partition: str = ""
    meta: NullAsEmpty[Mapping[str, str]] = {}
    hash: int = 0
    create_index: int = 0
    modify_index: int = 0

    @property
    def kind(self) -> str:
        """Consul's word, such as "service-defaults"."""
        return str(self.__struct_config__.tag)


class NamedEntry(EntryBase, frozen=True, kw_only=True):
    """A config entry with a name, which Consul compares without regard to case."""

    name: str
