"""
Bodies of requests: a struct as JSON, without a null where Consul has none.

A null in an open map (`config`, `arguments`, …) is more than useless. In a list of a config entry it ends the server on
every version, on Consul 1.8 as a member of a map too; what it does not end, it breaks for the readers. So it is refused
here, by the path of its field. JSON has no word for a number that is not finite either: it would be a null.
"""

from __future__ import annotations

import math
import re
from typing import Literal

import msgspec

from aioconsulconnect.errors import InvalidRequest
from aioconsulconnect.structs.codec.containers import is_array, is_mapping, is_set
from aioconsulconnect.structs.codec.duration import Seconds
from aioconsulconnect.structs.codec.json_body import encode
from aioconsulconnect.structs.codec.unknown_fields import KeepsUnknown, fields_of, plain

Refused = Literal["anywhere", "in lists", "nowhere"]

_PLAIN_KEY = re.compile(r"[\w-]+")


def request_body(value: KeepsUnknown) -> bytes:
    """
    Return a struct as the JSON of a body.

    Raises InvalidRequest for a null or a number that is not finite in a map or list of `value`, and for what is no
    JSON.
    """
    refuse_nulls(value)
    return encode(plain(value))


def refuse_nulls(value: object, path: str = "", *, refused: Refused = "anywhere") -> None:
    """
    Raise InvalidRequest, with the path of the field, for a null or a number that is not finite.

    - `value`: the struct or JSON data. A field of a struct may be None where that is its default.
    - `path`: path of the value itself, for the error; default: it is the whole body.
    - `refused`: where a null is refused. "in lists" is for JSON data in which some maps are Consul's own structures,
      where null stands for an empty value; "nowhere" for data that is none of Consul's.
    """
    try:
        _walk(value, path, refused=refused)
    except RecursionError:
        raise InvalidRequest(f"{path or 'the body'} contains itself, or is nested too deeply for JSON") from None


def _walk(value: object, path: str, *, refused: Refused) -> None:
    if value is None:
        if refused == "nowhere":
            return
        raise InvalidRequest(f"{path}: Consul can take no null here; leave it out")
    if isinstance(value, str | int | Seconds):
        return
    if isinstance(value, float):
        if not math.isfinite(value):
            raise InvalidRequest(f"{path}: JSON has no number {value!r}, and would send null")
    elif isinstance(value, KeepsUnknown):
        _walk_struct(value, path, refused=refused)
    elif is_mapping(value):
        for key, item in value.items():
            if item is not None or refused == "anywhere":
                _walk(item, _member(path, key), refused=refused)
    elif is_array(value) or is_set(value):
        for i, item in enumerate(value):
            _walk(item, f"{path}[{i}]", refused=refused)
    else:
        _walk_other(value, path, refused=refused)


def _walk_struct(value: KeepsUnknown, path: str, *, refused: Refused) -> None:
    for field in fields_of(type(value)):
        item = getattr(value, field.name)
        if field.name == "unknown":
            for key, part in value.unknown:
                if part is not None:
                    _walk(part, _member(path, key), refused="in lists")
        elif item is not None or field.default is not None:
            _walk(item, _member(path, field.name), refused=refused)


def _walk_other(value: object, path: str, *, refused: Refused) -> None:
    """Look through an object that is no JSON data itself, such as a dataclass, as it would be sent."""
    try:
        sent = msgspec.to_builtins(value)
    except (TypeError, ValueError, NotImplementedError):
        raise InvalidRequest(f"{path}: {type(value).__name__} cannot be sent as JSON") from None
    _walk(sent, path, refused=refused)


def _member(path: str, key: object) -> str:
    if not isinstance(key, str) or not _PLAIN_KEY.fullmatch(key):
        return f"{path}[{key!r}]"
    return f"{path}.{key}" if path else key
