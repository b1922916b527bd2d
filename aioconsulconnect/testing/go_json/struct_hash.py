"""The number by which Consul knows a Go struct again: FNV-1 of its names and values, in any order."""

from collections.abc import Mapping
from struct import pack
from typing import Final

_BITS: Final = (1 << 64) - 1
_START, _PRIME = 0xCBF29CE484222325, 0x100000001B3

Hashed = str | int | tuple[str, Mapping[str, "Hashed"]]
"""Text, a number, or a struct: its Go name, empty where it has none, and its members."""


def struct_hash(value: Hashed) -> int:
    """The hash of `value`, a number of 64 bits."""
    match value:
        case str():
            return _fnv(value.encode())
        case int():
            return _fnv(pack("<q", value))
        case (name, members):
            found = _fnv(name.encode())
            for member, each in members.items():
                found ^= _fnv(pack("<QQ", _fnv(member.encode()), struct_hash(each)))
            return found


def _fnv(data: bytes) -> int:
    found = _START
    for byte in data:
        found = (found * _PRIME & _BITS) ^ byte
    return found
