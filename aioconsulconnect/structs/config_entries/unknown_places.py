"""Places of unknown fields in a config entry, and the known ones that may be meant."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from typing import NamedTuple

from aioconsulconnect.structs.codec.containers import is_array, is_mapping
from aioconsulconnect.structs.codec.unknown_fields import KeepsUnknown, fields_of

_POSITION = re.compile(r"\[[^]]*\]")


class UnknownPlace(NamedTuple):
    """
    Place of an unknown field.

    - `path`: way from the entry to the field, such as `Sources[0].Permissions[1].HTTP.PathPrefx`.
    - `meant`: known field of that place with a similar name; empty where there is none.
    """

    path: str
    meant: str

    @property
    def pattern(self) -> str:
        """The path without positions, which is the same for all items of a list."""
        return _POSITION.sub("", self.path)

    def __str__(self) -> str:
        return f"{self.path} is no known field" + (f"; did you mean {self.meant}?" if self.meant else "")


def unknown_places(value: object, path: str = "") -> Iterator[UnknownPlace]:
    """
    Return an iterator over the unknown fields of a struct and of all that is inside it.

    `value` is an entry or a part of one, and `path` the way to it.
    """
    if isinstance(value, KeepsUnknown):
        fields = {field.encode_name: field.name for field in fields_of(type(value)) if field.name != "unknown"}
        start = f"{path}." if path else ""
        for key, _ in value.unknown:
            yield UnknownPlace(start + key, meant(key, fields))
        for key, name in fields.items():
            yield from unknown_places(getattr(value, name), start + key)
    elif is_array(value):
        for i, item in enumerate(value):
            yield from unknown_places(item, f"{path}[{i}]")
    elif is_mapping(value):
        for member, item in value.items():
            yield from unknown_places(item, f"{path}[{member!r}]")


def meant(key: str, known: Iterable[str]) -> str:
    """
    Return the one of the `known` names that is meant by `key`, empty where none is similar.

    Consul takes `path_prefix` and `pathprefix` for `PathPrefix`; this library writes the last alone.
    """
    names = {_letters(name): name for name in known}
    found = get_close_matches(_letters(key), names, n=1, cutoff=0.75)
    return names[found[0]] if found else ""


def _letters(key: str) -> str:
    return key.replace("_", "").replace("-", "").lower()
