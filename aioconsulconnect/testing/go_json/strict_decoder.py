"""Objects as Go's own decoder reads them: the right type for every member, and no unknown one."""

from itertools import zip_longest
from math import isinf
from typing import Final, NoReturn

from aioconsulconnect.testing.go_json.errors import DecodeError, FatalNullError, go_type
from aioconsulconnect.testing.go_json.scalars import read_duration
from aioconsulconnect.testing.go_json.schema import EMPTY, Field, ListOf, MapOf, MemberType, Struct, go_kind
from aioconsulconnect.testing.go_json.values import Object, is_list, is_object, without_null
from aioconsulconnect.testing.version_facts import VersionFacts
from aioconsulconnect.testing.versions import FACTS

_OF_RAFT: Final = frozenset({"CreateIndex", "ModifyIndex"})
"""The members that Go has in a struct of their own, which newer versions name in errors."""
_EXACT: Final = {"string": str, "bool": bool}
_RANGES: Final = {"int": range(-(2**63), 2**63), "uint32": range(2**32), "uint64": range(2**64)}


def _facts(version: str) -> VersionFacts:
    return next(facts for facts in FACTS.values() if facts.version == version)


class _WrongTypeError(Exception):
    """A value of another type than its member has; the way to it is noted while the error leaves the objects."""

    def __init__(self, found: str, kind: MemberType) -> None:
        super().__init__(f"json: cannot unmarshal {found}")
        self.kind: MemberType = kind
        self.wanted: str = ""
        self.owner: str = ""
        self.inmost = True
        self.steps: list[str] = []

    def leave(self, struct: Struct, field: Field, step: str, version: str) -> None:
        """Note that the value lies in the member `field` of `struct`, at `step`; no step stands for its name."""
        if not self.wanted:
            self.wanted = (field.go_type if self.kind == field.of else "") or go_kind(self.kind, version)
        if self.inmost and struct.go_name.startswith("structs."):
            self.owner = struct.go_name.removeprefix("structs.")
        self.inmost = False
        outer: list[str] = []
        if _facts(version).alias_struct:
            hidden = step or field.name in {shadow.name for shadow in struct.shadows}
            outer += ["Alias"] if struct.shadows and not hidden else []
            outer += ["RaftIndex"] if field.name in _OF_RAFT else []
        self.steps[:0] = [*outer, step or field.name]

    def leave_decoder(self, version: str) -> None:
        """Note that the value lies in a struct with a decoder of its own, at which the outer one begins anew."""
        self.owner, self.inmost = "", True
        if not _facts(version).decoders_join_paths:
            self.steps = []


def decode(value: object, struct: Struct, version: str, owner: str) -> Object:
    """Read the object `value` with the members of `struct` that `version` has; null is an empty one.

    DecodeError with Go's text for an unknown member or a wrong type. `owner` is Go's name for the struct in that text.
    """
    if value is None:
        return {}
    if not is_object(value):
        kind = go_kind(struct, version)
        raise DecodeError(f"json: cannot unmarshal {go_type(value)} into Go value of type {kind}")
    try:
        return _decode_object(value, struct, version, "")
    except _WrongTypeError as error:
        path = ".".join([error.owner or owner, *error.steps])
        raise DecodeError(f"{error} into Go struct field {path} of type {error.wanted}") from error


def _decode_object(value: Object, struct: Struct, version: str, path: str) -> Object:
    known = {field.name.lower(): (field, "") for field in struct.of(version)}
    shadows = struct.shadows_of(version)
    known |= {shadow.key.lower(): (known[shadow.of.lower()][0], shadow.key) for shadow in shadows if shadow.key}
    loose = {shadow.name for shadow in shadows if shadow.go_type == "interface {}"}
    decoded: Object = {}
    behind: Object = {}
    for key, member in value.items():
        field, step = known.get(key.lower(), (None, ""))
        if field is None and key:
            named = (each for each in struct.of(version) if key == each.alias)
            field = next(named, None)
        if field is None and not struct.lenient:
            raise DecodeError(f'json: unknown field "{key}"')
        if field is None or field.of == "ignored":
            continue
        target, name = (behind, step.lower()) if step else (decoded, field.name)
        unread = field.name in loose and (isinstance(member, bool) or not isinstance(member, str | int | float))
        if member is None or unread:
            if unread or _is_nil(field.of):
                target.pop(name, None)
            continue
        try:
            taken = _decode_member(member, field.of, version, f"{path}.{field.name}")
        except _WrongTypeError as error:
            error.leave(struct, field, step or field.name * (field.name in loose), version)
            raise
        taken = field.take(taken, f"{path}.{field.name}".removeprefix("."))
        target[name] = _merged(target.get(name), taken, field.of)
    for shadow in shadows:
        if not decoded.get(shadow.of) and shadow.key.lower() in behind:
            decoded[shadow.of] = behind[shadow.key.lower()]
    return decoded


def _is_nil(kind: MemberType) -> bool:
    """True if null empties a member that a body spelt otherwise has filled: text, numbers and structs stay."""
    return isinstance(kind, ListOf | MapOf) or kind in {"any", "open"}


def _merged(before: object, value: object, kind: MemberType) -> object:
    """A member after `value`, where the same one spelt otherwise gave `before`: objects are filled on, in lists too."""
    if isinstance(kind, ListOf) and is_list(before) and is_list(value):
        return [_merged(old, new, kind.item) for old, new in zip_longest(before[: len(value)], value)]
    if not (is_object(before) and is_object(value)):
        return value
    match kind:
        case Struct():
            kinds: dict[str, MemberType] = {field.name: field.of for field in kind.fields}
            return before | {key: _merged(before.get(key), each, kinds.get(key, "any")) for key, each in value.items()}
        case MapOf() | "open":
            return before | value
        case _:
            return value


def _decode_member(value: object, kind: MemberType, version: str, path: str) -> object:
    match kind:
        case Struct():
            return _decode_struct(value, kind, version, path)
        case str() if value is None and kind not in {"open", "any"}:
            return EMPTY.get(kind, "")
        case ListOf() | MapOf() if value is None:
            return [] if isinstance(kind, ListOf) else {}
        case ListOf(item) if is_list(value):
            kept = [each for each in value if each is not None or _takes_null(item)]
            if len(kept) < len(value) and isinstance(item, Struct) and item.shadows:
                raise FatalNullError
            return [_decode_member(each, item, version, path) for each in kept]
        case MapOf(item) if is_object(value):
            return {key: _decode_member(each, item, version, path) for key, each in value.items()}
        case "any":
            return _finite(value)
        case "open" if is_object(value):
            return without_null(value, path.removeprefix("."))
        case _:
            return _decode_scalar(value, kind, version)


def _finite(value: object) -> object:
    """Free JSON, which Go reads where all its numbers fit."""
    if isinstance(value, float) and isinf(value):
        _refuse(f"number {value}", "float64")
    for each in value.values() if is_object(value) else value if is_list(value) else ():
        _finite(each)
    return value


def _decode_scalar(value: object, kind: MemberType, version: str) -> object:
    match kind:
        case "string" | "bool" if isinstance(value, _EXACT[kind]):
            return value
        case "int" | "uint32" | "uint64" if isinstance(value, int | float) and not isinstance(value, bool):
            if isinstance(value, int) and value in _RANGES[kind]:
                return value
            return _refuse(f"number {value}", kind)
        case "duration" | "nanoseconds" if isinstance(value, str | int | float) and not isinstance(value, bool):
            if isinstance(value, float) and isinf(value):
                return _refuse(f"number {value}", "float64")
            return read_duration(value, kind, quotes=_facts(version).durations_are_quoted)
        case _:
            return _refuse(go_type(value), kind)


def _takes_null(item: MemberType) -> bool:
    """True if null in a list is an empty `item`: so it is for text and numbers, and for a struct that is no pointer."""
    return isinstance(item, str) or (isinstance(item, Struct) and item.go_name.startswith("structs."))


def _decode_struct(value: object, struct: Struct, version: str, path: str) -> Object:
    if value is None:
        return {}
    try:
        return _decode_object(value, struct, version, path) if is_object(value) else _refuse(go_type(value), struct)
    except _WrongTypeError as error:
        if struct.shadows:
            error.leave_decoder(version)
        raise


def _refuse(found: str, kind: MemberType) -> NoReturn:
    raise _WrongTypeError(found, kind)
