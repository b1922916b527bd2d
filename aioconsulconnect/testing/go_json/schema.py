"""The members of objects: their types, and the versions that have them.

JSON is read in two ways. Most bodies go through Go's own decoder, which wants the right type and refuses an
unknown member (``strict_decoder``). Configuration entries go through a weak one, which takes snake case and turns a
number into a string (``weak_decoder``). Both give plain objects with Go's names; ``shaping`` then writes them in Go's
order and fills in what is never absent.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

from aioconsulconnect.testing.versions import OLDEST, spans

Scalar = Literal["string", "bool", "int", "uint64", "float64", "duration", "nanoseconds", "bytes"]
Ignored = Literal["ignored", "any"]
_WORD: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


@dataclass(frozen=True, slots=True)
class ListOf:
    """An array of one kind of thing."""

    item: "MemberType"


@dataclass(frozen=True, slots=True)
class MapOf:
    """An object with free keys."""

    item: "MemberType"


@dataclass(frozen=True, slots=True)
class Field:
    """A member: its name, its kind, whether it is written when empty, and which versions have it."""

    name: str
    of: "MemberType" = "string"
    always: bool = False
    since: str = OLDEST
    until: str = ""
    alias: str = ""
    go_type: str = ""

    def answers_to(self, key: str) -> bool:
        """Whether the weak decoder takes a key for this member."""
        plain = key.lower()
        return plain in {self.name.lower(), self.alias, _WORD.sub("_", self.name).lower()}


@dataclass(frozen=True, slots=True)
class Struct:
    """An object with known members."""

    fields: tuple[Field, ...]
    go_name: str = "struct"
    snake: bool = False
    """Whether the strict decoder takes snake case here too, as it does for services and checks."""

    def of(self, version: str) -> Iterator[Field]:
        """The members that a version knows."""
        return (field for field in self.fields if spans(version, field.since, field.until))


MemberType = Scalar | Ignored | ListOf | MapOf | Struct


def go_kind(kind: MemberType) -> str:
    """What Go calls a kind of member."""
    match kind:
        case ListOf(item):
            return f"[]{go_kind(item)}"
        case MapOf(item):
            return f"map[string]{go_kind(item)}"
        case Struct():
            return "struct"
        case _:
            return kind


def walk(kind: MemberType) -> Iterator[Field]:
    """Every member of an object, and those of the objects within it."""
    match kind:
        case Struct(fields):
            for field in fields:
                yield field
                yield from walk(field.of)
        case ListOf(item) | MapOf(item):
            yield from walk(item)
        case _:
            return
