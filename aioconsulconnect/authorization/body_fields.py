"""
Fields of intentions that Consul sent and this version does not know.

The structs of intentions drop such fields, and a rule that restricts by one of them would seem to allow more than it
does. So the body is looked through once more, for keys alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from types import GenericAlias
from typing import cast, get_args

import msgspec

from aioconsulconnect.slices import InSlices, at_once
from aioconsulconnect.structs.codec.consul_struct import ConsulStruct
from aioconsulconnect.structs.codec.json_body import reader, slices_of
from aioconsulconnect.structs.intentions import Intention, IntentionKey

_HARMLESS = ("DefaultAddr", "DefaultPort")  # sent by Consul up to 1.8, and without effect
_Object = dict[str, object]

_cut_matches = reader(dict[str, list[msgspec.Raw] | None])
_objects = reader(list[_Object])
_keys = reader(list[Intention])


def unknown_fields(body: bytes) -> dict[IntentionKey, tuple[str, ...]]:
    """
    Return the fields that this version does not know, by intention; `Table.build` and `lint` take them.

    Raises UnreadableResponse for a body that is neither of the two.

    - `body`: answer of Consul: a list of intentions, or a match of names, as `Watch.body` has it.
    """
    return at_once(unknown_fields_in_slices(body))


def unknown_fields_in_slices(body: bytes) -> InSlices[dict[IntentionKey, tuple[str, ...]]]:
    """
    Return a generator that yields where other tasks may run, and returns what `unknown_fields` does.

    `body` is as for it.
    """
    lists = (_joined(part) for part in _cut_matches(body).values()) if _is_object(body) else (body,)
    found: dict[IntentionKey, tuple[str, ...]] = {}
    for one in lists:
        for part in slices_of(one):
            yield
            if not _is_known(part):
                unknown = [tuple(_unknown(Intention, item)) for item in _objects(part)]
                found |= {one.key: names for one, names in zip(_keys(part), unknown, strict=True) if names}
    return found


def _joined(items: list[msgspec.Raw] | None) -> bytes:
    return b"[" + b",".join(items or ()) + b"]"


def _is_known(part: bytes) -> bool:
    """True if a list of intentions surely has no unknown field; this is quick, and makes no objects to be collected."""
    try:
        _decoder().decode(part)
    except (ValueError, RecursionError):
        return False
    return True


@cache
def _decoder() -> msgspec.json.Decoder[object]:
    return msgspec.json.Decoder(GenericAlias(list, (_only_known(Intention),)))


def _only_known(kind: type[ConsulStruct]) -> type[msgspec.Struct]:
    """Return a struct with the keys of `kind` and of the structs inside it, that takes no others."""
    keys, nested = _fields(kind)
    inside: dict[str, object] = {}
    for key, inner in nested:
        one = _only_known(inner)
        inside[key] = one | GenericAlias(list, (one,)) | None
    fields = [(f"field_{i}", inside.get(key, msgspec.Raw), None) for i, key in enumerate(keys)]
    names = {f"field_{i}": key for i, key in enumerate(keys)}
    return msgspec.defstruct(f"Only{kind.__name__}", fields, rename=names, forbid_unknown_fields=True, gc=False)


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
    return (names.union(_HARMLESS) if kind is Intention else names), nested


def _struct_in(kind: object) -> type[ConsulStruct] | None:
    for one in (kind, *get_args(kind)):
        if isinstance(one, type) and issubclass(one, ConsulStruct):
            return one
    return None
