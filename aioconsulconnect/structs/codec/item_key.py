"""Base of the keys by which the items of a watched value are told apart."""

from __future__ import annotations

import msgspec

from aioconsulconnect.errors import redact
from aioconsulconnect.structs.codec.consul_struct import redacted_fields


class ItemKey(msgspec.Struct, frozen=True, order=True, gc=False, cache_hash=True):
    """
    Key of an item, stable from one answer to the next; keys of one class are ordered by their fields.

    Hundred thousands of them stand in dictionaries, so a key hashes once and is nothing to the garbage collector.
    """

    def __repr__(self) -> str:
        return redact(msgspec.Struct.__repr__(self))

    def __rich_repr__(self) -> list[tuple[str, object]]:
        """Give pretty printers the fields, without private keys."""
        return redacted_fields(self)
