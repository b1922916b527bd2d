"""
Fields of intentions that Consul sent and this version does not know.

The structs of intentions drop such fields, and a rule that restricts by one of them would seem to allow more than it
does. So the body is looked through once more, for keys alone.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from functools import cache
from typing import cast, get_args

import msgspec

from aioconsulconnect.structs.codec.consul_struct import ConsulStruct
from aioconsulconnect.structs.codec.json_body import cut_in_slices, reader
from aioconsulconnect.structs.intentions import Intention, IntentionKey

_SLICE = 500
_HARMLESS = frozenset({"DefaultAddr", "DefaultPort"})  # sent by Consul up to 1.8, and without effect
_Object = dict[str, object]

_cut_matches = reader(dict[str, list[msgspec.Raw] | None])
_objects = reader(list[_Object])
_keys = reader(list[Intention])


def unknown_fields(body: bytes) -> Generator[None, None, dict[IntentionKey, tuple[str, ...]]]:
    """
    Return a generator that looks for unknown fields, and returns them by intention.

    It yields where other tasks may run, and raises UnreadableResponse for a body that is neither of the two.

    - `body`: answer of Consul: a list of intentions, or a match of several names.
    """
    if _is_object(body):
        items = [item for part in _cut_matches(body).values() for item in part or ()]
    else:
        items = yield from cut_in_slices(body)
    found: dict[IntentionKey, tuple[str, ...]] = {}
    for start in range(0, len(items), _SLICE):
        yield
        part = b"[" + b",".join(items[start : start + _SLICE]) + b"]"
        unknown = [tuple(_unknown(Intention, item)) for item in _objects(part)]
        if any(unknown):
            found |= {one.key: names for one, names in zip(_keys(part), unknown, strict=True) if names}
    return found


def _is_object(body: bytes) -> bool:
    return body.lstrip()[:1] == b"{"


def _unknown(kind: type[ConsulStruct], data: _Object, path: str = "") -> Iterator[str]:
    known, nested = _fields(kind)
    if not data.keys() <= known:
        yield from (path + key for key in data.keys() - known)
    for key, inner in nested:
        value = data.get(key)
        for part in cast("list[object]", value) if isinstance(value, list) else (value,):
            if isinstance(part, dict):
                yield from _unknown(inner, cast("_Object", part), f"{path}{key}.")


@cache
def _fields(kind: type[ConsulStruct]) -> tuple[frozenset[str], tuple[tuple[str, type[ConsulStruct]], ...]]:
    """The keys of a struct, and the structs inside it by their keys."""
    fields = msgspec.structs.fields(kind)
    names = frozenset(field.encode_name for field in fields if field.name != "unknown")
    nested = tuple((field.encode_name, inner) for field in fields if (inner := _struct_in(field.type)) is not None)
    return (names | _HARMLESS if kind is Intention else names), nested


def _struct_in(kind: object) -> type[ConsulStruct] | None:
    for one in (kind, *get_args(kind)):
        if isinstance(one, type) and issubclass(one, ConsulStruct):
            return one
    return None
