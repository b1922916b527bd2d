"""The members of JSON objects: their types, and the versions that have them.

JSON is read in two ways. Most bodies go through Go's own decoder, which wants the right type and refuses an unknown
member (`strict_decoder`). Configuration entries go through a weak one, which takes snake case and turns a number into a
string (`weak_decoder`). Both give plain objects with Go's names; `shaping` then writes them in Go's order and fills in
what is never absent.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final, Literal

from aioconsulconnect.testing.go_json.errors import NotCheckedError
from aioconsulconnect.testing.versions import OLDEST, spans

Scalar = Literal["string", "bool", "int", "uint32", "uint64", "float64", "duration", "nanoseconds", "bytes"]
Ignored = Literal["ignored", "any", "open"]
_WORD: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


@dataclass(frozen=True, slots=True)
class ListOf:
    """The type of an array whose elements are all of the type `item`."""

    item: "MemberType"


@dataclass(frozen=True, slots=True)
class MapOf:
    """The type of an object with free keys, whose values are all of the type `item`."""

    item: "MemberType"


@dataclass(frozen=True, slots=True)
class Field:
    """A member of an object, and the versions that have it.

    - `name`: the name in Go's spelling.
    - `of`: the type, a string by default.
    - `always`: write it even when it is empty; off by default.
    - `since`, `until`: the first and the last version that has it; by default all versions do.
    - `alias`: another name that the decoders take, such as `peer_name`.
    - `go_type`: Go's name for the type in errors, where it is not that of `of`.
    - `filtered`: false if a filter cannot select it, although it is shown.
    - `nullable`: write null, and not an empty object, where it is absent and is always there.
    - `pointer`: write it whenever it was given, even if it is 0.
    - `snaked`: false if the weak decoder does not take its name in snake case; true by default.
    - `checked`: false if Consul checks the value and the agent does not: any but an empty one is NotCheckedError (501).
    """

    name: str
    of: "MemberType" = "string"
    always: bool = False
    since: str = OLDEST
    until: str = ""
    alias: str = ""
    go_type: str = ""
    filtered: bool = True
    checked: bool = True
    nullable: bool = False
    pointer: bool = False
    snaked: bool = True

    def take(self, value: object, path: str) -> object:
        """The decoded `value` of this member, which is at `path`; NotCheckedError where it may not have one."""
        if value and not self.checked:
            raise NotCheckedError(path)
        return value

    def answers_to(self, key: str) -> bool:
        """True if the weak decoder takes `key` for this member: in any case, in snake case, or by its alias."""
        plain = key.lower()
        return plain in {self.name.lower(), self.alias} or (self.snaked and plain == _WORD.sub("_", self.name).lower())


@dataclass(frozen=True, slots=True)
class Shadow:
    """A member that a struct's own decoder in Go adds, as a rule for the snake case of another one.

    - `name`, `go_type`: the name and the type that it has in Go, and in errors.
    - `of`: the member that it stands for: its value counts where that one has none.
    - `key`: the key in JSON; empty for a member that only hides the one of the same name.
    - `since`, `until`: the first and the last version that has it; by default all versions do.
    """

    name: str
    go_type: str
    of: str
    key: str = ""
    since: str = OLDEST
    until: str = ""

    def __str__(self) -> str:
        return f"{self.name} {self.go_type}" + (f' "json:\\"{self.key}\\""' if self.key else "")


@dataclass(frozen=True, slots=True)
class Struct:
    """The type of an object with known members.

    - `fields`: the members.
    - `go_name`: Go's name for it in errors.
    - `shadows`: what its own decoder in Go adds, in Go's order; none for a struct without such a decoder.
    - `lenient`: true if that decoder ignores unknown members; false by default.
    """

    fields: tuple[Field, ...]
    go_name: str = "struct"
    shadows: tuple[Shadow, ...] = ()
    lenient: bool = False

    def of(self, version: str) -> Iterator[Field]:
        """The members that `version` knows."""
        return (field for field in self.fields if spans(version, field.since, field.until))

    def with_member(self, member: Field) -> "Struct":
        """Copy this type with `member` in place of the one of its name."""
        return replace(self, fields=tuple(member if each.name == member.name else each for each in self.fields))

    def shadows_of(self, version: str) -> list[Shadow]:
        """The shadows that `version` has."""
        return [shadow for shadow in self.shadows if spans(version, shadow.since, shadow.until)]


# "open" is what an open map holds: any JSON but null, at which a real Consul ends, or breaks for those who read.
MemberType = Scalar | Ignored | ListOf | MapOf | Struct


EMPTY: Final[dict[str, object]] = {"bool": False, "int": 0, "uint32": 0, "uint64": 0, "float64": 0, "nanoseconds": 0}
"""What a null is for a member of a type, where it is not empty text."""


def go_kind(kind: MemberType, version: str = "") -> str:
    """Go's name for the type `kind` of a member, as the errors of `version` spell it."""
    match kind:
        case ListOf(item):
            return f"[]{go_kind(item)}"
        case MapOf(item):
            return f"map[string]{go_kind(item)}"
        case Struct(shadows=()):
            return kind.go_name
        case Struct():
            return f"struct {{ {'; '.join(map(str, kind.shadows_of(version)))}; *structs.Alias }}"
        case "duration" | "nanoseconds":
            return "time.Duration"
        case "open":
            return "map[string]interface {}"
        case "any":
            return "interface {}"
        case _:
            return kind


def walk(kind: MemberType) -> Iterator[Field]:
    """Every member of an object type, and those of the objects within it."""
    match kind:
        case Struct(fields):
            for field in fields:
                yield field
                yield from walk(field.of)
        case ListOf(item) | MapOf(item):
            yield from walk(item)
        case _:
            return
