"""Base structs of all config entries."""

from __future__ import annotations

from collections.abc import Mapping

from aioconsulconnect.structs.codec.consul_struct import NullAsEmpty
from aioconsulconnect.structs.codec.unknown_fields import Part


class EntryBase(Part, frozen=True, kw_only=True, tag_field="Kind"):
    """
    Config entry.

    - `namespace`, `partition`: Consul Enterprise; the Community Edition refuses them when they are set.
    - `meta`: metadata of your own.
    - `modify_index`: index that check-and-set compares.
    - `hash` (Consul 1.16.4), `create_index`: set by Consul, like `modify_index`, and never sent.
    """

    namespace: str = ""
    partition: str = ""
    meta: NullAsEmpty[Mapping[str, str]] = {}
    hash: int = 0
    create_index: int = 0
    modify_index: int = 0

    @property
    def kind(self) -> str:
        """Consul's name for the kind of entry, such as "service-defaults"."""
        return str(self.__struct_config__.tag)


class NamedEntry(EntryBase, frozen=True, kw_only=True):
    """Config entry with a name, which Consul compares without regard to case."""

    name: str
