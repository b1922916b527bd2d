"""
Bodies of requests: a struct as JSON, without a null where Consul has none.

A null in an open map (`config`, `arguments`, …) is more than useless. In a list of a config entry it ends the server on
every version, on Consul 1.8 as a member of a map too; what it does not end, it breaks for the readers. So it is refused
here, by the path of its field. JSON has no word for a number that is not finite either: it would be a null.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Set as AbstractSet

import msgspec

from aioconsulconnect.errors import InvalidRequest
from aioconsulconnect.structs.codec.duration import Seconds
from aioconsulconnect.structs.codec.json_body import encode
from aioconsulconnect.structs.codec.unknown_fields import KeepsUnknown, plain

_PLAIN_KEY = re.compile(r"[\w-]+")


def request_body(value: KeepsUnknown) -> bytes:
    """
    Return a struct as the JSON of a body.

    Raises InvalidRequest for a null or a number that is not finite in a map or list of `value`, and for what is no
    JSON.
    """
    refuse_nulls(value)
    return encode(plain(value))


def refuse_nulls(value: object, path: str = "", *, members: bool = True) -> None:
    """
    Raise InvalidRequest, with the path of the field, for a null or a number that is not finite.

    - `value`: the struct or JSON data. A field of a struct may be None where that is its default.
    - `path`: path of the value itself, for the error; default: it is the whole body.
    - `members`: True to refuse a null as a member of a map too, False for JSON data in which some maps are Consul's own
      structures, where null stands for an empty value. In a list it is refused in any case.
    """
    try:
        _walk(value, path, members=members)
    except RecursionError:
        raise InvalidRequest(f"{path or 'the body'} contains itself, or is nested too deeply for JSON") from None


def _walk(value: object, path: str, *, members: bool) -> None:
    if value is None:
        raise InvalidRequest(f"{path}: Consul can take no null here; leave it out")
    if isinstance(value, str | int | Seconds):
        return
    if isinstance(value, float):
        if not math.isfinite(value):
            raise InvalidRequest(f"{path}: JSON has no number {value!r}, and would send null")
    elif isinstance(value, KeepsUnknown):
        _walk_struct(value, path, members=members)
    elif isinstance(value, Mapping):
        for key, item in value.items():
            if item is not None or members:
                _walk(item, _member(path, key), members=members)
    elif isinstance(value, list | tuple | AbstractSet):
        for i, item in enumerate(value):
            _walk(item, f"{path}[{i}]", members=members)
    else:
        _walk_other(value, path, members=members)


def _walk_struct(value: KeepsUnknown, path: str, *, members: bool) -> None:
    for field in msgspec.structs.fields(type(value)):
        item = getattr(value, field.name)
        if field.name == "unknown":
            for key, part in value.unknown:
                if part is not None:
                    _walk(part, _member(path, key), members=False)
        elif item is not None or field.default is not None:
            _walk(item, _member(path, field.name), members=members)


def _walk_other(value: object, path: str, *, members: bool) -> None:
    """Look through an object that is no JSON data itself, such as a dataclass, as it would be sent."""
    try:
        sent = msgspec.to_builtins(value)
    except (TypeError, ValueError, NotImplementedError):
        raise InvalidRequest(f"{path}: {type(value).__name__} cannot be sent as JSON") from None
    _walk(sent, path, members=members)


def _member(path: str, key: object) -> str:
    if not isinstance(key, str) or not _PLAIN_KEY.fullmatch(key):
        return f"{path}[{key!r}]"
    return f"{path}.{key}" if path else key
