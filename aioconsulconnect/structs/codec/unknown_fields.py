"""Structs that keep unknown keys, so that what a newer Consul sent survives being written back."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import TypeGuard, TypeVar

import msgspec

from aioconsulconnect.errors import InvalidRequest
from aioconsulconnect.structs.codec.consul_struct import ConsulStruct, Nullable, consul_case
from aioconsulconnect.structs.codec.containers import is_array
from aioconsulconnect.structs.codec.duration import Seconds, from_wire, go_text

S = TypeVar("S", bound="KeepsUnknown")

_NESTED = (dict, list)
_UNKNOWN = "..."  # key for the field `unknown`; Consul has none of that name


class Timed(Nullable, frozen=True, kw_only=True, rename=consul_case):
    """Struct with durations, which takes any number given for a duration as seconds."""

    def __post_init__(self) -> None:
        """
        Turn plain numbers into `Seconds`, so that none is sent as nanoseconds.

        Raises InvalidRequest for what is no number.
        """
        super().__post_init__()
        for name in _durations(type(self)):
            value = getattr(self, name)
            if value is not None and not isinstance(value, Seconds):
                if isinstance(value, bool) or not isinstance(value, int | float):
                    raise InvalidRequest(f"{name} takes a number of seconds, such as 2.5, not {value!r:.40}")
                msgspec.structs.force_setattr(self, name, Seconds(value))


@cache
def _durations(kind: type[Timed]) -> tuple[str, ...]:
    return tuple(f.name for f in msgspec.structs.fields(kind) if Seconds in {f.type, *getattr(f.type, "__args__", ())})


class KeepsUnknown(ConsulStruct, frozen=True, kw_only=True, rename=consul_case):
    """
    Struct that is read and written back, with the keys that this library does not know.

    `unknown` holds these keys with their JSON, as they were read. It is filled in config entries and their parts
    (`open_struct`), and empty in any other struct and in one that you make yourself. `config.write` sends the keys back
    as they came, and `msgspec.structs.replace` copies them.
    """

    unknown: tuple[tuple[str, object], ...] = msgspec.field(default=(), name=_UNKNOWN)


@cache
def fields_of(kind: type[KeepsUnknown]) -> tuple[msgspec.structs.FieldInfo, ...]:
    """Return the fields of the struct `kind`, which msgspec would find anew for each value."""
    return msgspec.structs.fields(kind)


class Part(KeepsUnknown, Timed, frozen=True, kw_only=True, rename=consul_case):
    """
    Struct with durations, `null` for empty values, and room for keys that this library does not know.

    It is the base of config entries and their parts, of services, nodes and checks.
    """


def open_struct(kind: type[S], data: Mapping[str, object]) -> S:
    """
    Return `data` as a struct of type `kind` that keeps unknown keys at every level.

    Raises msgspec's ValidationError if the data does not fit.
    """
    value = msgspec.convert(data, kind, dec_hook=from_wire)
    _keep(value, data)
    return value


def _keep(value: object, data: object) -> None:
    """
    Store unknown keys in `value` and the structs inside it.

    It walks both in parallel: `value` was made from `data` just before, so all positions agree.
    """
    if isinstance(value, KeepsUnknown) and _is_object(data):
        unknown: list[tuple[str, object]] = []
        fields, tag = _fields(type(value)), value.__struct_config__.tag_field
        for key, part in data.items():
            if key in fields:
                if type(part) in _NESTED:
                    _keep(getattr(value, fields[key][0]), part)
            elif key != tag:
                unknown.append((key, part))
        msgspec.structs.force_setattr(value, "unknown", tuple(unknown))
    elif is_array(value) and is_array(data):
        for item, part in zip(value, data, strict=True):
            _keep(item, part)
    elif _is_object(value) and _is_object(data):
        for key, item in value.items():
            _keep(item, data[key])


def plain(value: object) -> object:
    """
    Return `value` as plain JSON data.

    Fields that have their default are left out, durations become text, and unknown keys are as they came.
    """
    if isinstance(value, KeepsUnknown):
        out: dict[str, object] = dict(value.unknown)
        if value.__struct_config__.tag_field is not None:
            out[value.__struct_config__.tag_field] = value.__struct_config__.tag
        for key, (name, default) in _fields(type(value)).items():
            item = getattr(value, name)
            if item != default:
                out[key] = plain(item)
        return out
    if is_array(value):
        return [plain(item) for item in value]
    if _is_object(value):
        return {key: plain(item) for key, item in value.items()}
    return go_text(value) if isinstance(value, Seconds) else value


@cache
def _fields(kind: type[KeepsUnknown]) -> dict[str, tuple[str, object]]:
    """
    The name and the default of each field, by its key.

    No value equals the stand-in default of a field that has none.
    """
    return {
        field.encode_name: (field.name, field.default if field.default_factory is msgspec.NODEFAULT else {})
        for field in fields_of(kind)
        if field.encode_name != _UNKNOWN
    }


def _is_object(value: object) -> TypeGuard[Mapping[str, object]]:
    return isinstance(value, Mapping)
