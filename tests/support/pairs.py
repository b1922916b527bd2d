"""Keys and values of Consul's KV store, in types of a caller's own."""

from __future__ import annotations

import msgspec


class Pair(msgspec.Struct, frozen=True, rename="pascal"):
    key: str
    value: bytes | None = None


class Folder(msgspec.Struct, frozen=True, rename="pascal"):
    name: str


PAIRS = b'[{"Key": "app/a", "Value": "MQ=="}, {"Key": "app/b", "Value": null}]'
READ: tuple[Pair, ...] = (Pair("app/a", b"1"), Pair("app/b"))
EITHER: msgspec.json.Decoder[tuple[Pair, ...] | str] = msgspec.json.Decoder(tuple[Pair, ...] | str)
