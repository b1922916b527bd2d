"""The shape of what goes in and out: what a struct holds, how strictly it is read, what an empty member looks like.

JSON is read in two ways. Most bodies go through Go's own decoder, which wants the right type and refuses an
unknown member (``decode``). Configuration entries go through a weak one, which takes snake case and turns a number
into a string (``decode_weakly``). Both give plain objects with Go's names; ``shape`` then writes them in Go's order and
fills in what is never absent.
"""

import base64
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from aioconsulconnect.testing.go_json.values import DecodeError, Object, is_list, is_object
from aioconsulconnect.testing.versions import NEWEST, spans

Scalar = Literal["string", "bool", "int", "uint64", "float64", "duration", "nanoseconds", "bytes"]
Ignored = Literal["ignored", "any"]
TRUE: Final = frozenset({"1", "t", "T", "TRUE", "true", "True"})
FALSE: Final = frozenset({"0", "f", "F", "FALSE", "false", "False"})
_UNITS: Final = {
    "ns": 1,
    "us": 10**3,
    "µs": 10**3,
    "μs": 10**3,
    "ms": 10**6,
    "s": 10**9,
    "m": 60 * 10**9,
    "h": 3600 * 10**9,
}
_DURATION: Final = re.compile(r"(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h)")
_WORD: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


@dataclass(frozen=True, slots=True)
class ListOf:
    """An array of one kind of thing."""

    item: "Kind"


@dataclass(frozen=True, slots=True)
class MapOf:
    """An object with free keys."""

    item: "Kind"


@dataclass(frozen=True, slots=True)
class Field:
    """A member: its name, its kind, whether it is written when empty, and which versions have it."""

    name: str
    of: "Kind" = "string"
    always: bool = False
    since: str = "1.8"
    until: str = NEWEST
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


Kind = Scalar | Ignored | ListOf | MapOf | Struct


def parse_duration(value: str) -> int:
    """Nanoseconds of a Go duration; ValueError with Go's words where it is none."""
    sign, rest = (-1, value[1:]) if value.startswith("-") else (1, value.removeprefix("+"))
    if rest == "0":
        return 0
    total, at = 0.0, 0
    while at < len(rest) and (part := _DURATION.match(rest, at)):
        total += float(part[1]) * _UNITS[part[2]]
        at = part.end()
    if at < len(rest) or not rest:
        missing = "missing unit in duration" if re.fullmatch(r"(\d+\.?\d*|\.\d+)", rest) else "invalid duration"
        raise ValueError(f'time: {missing} "{value}"')
    return sign * round(total)


def format_duration(nanoseconds: int) -> str:
    """A duration as Go prints it: ``1m30s``, ``1.5s``, ``250ms``."""
    if nanoseconds < 0:
        return "-" + format_duration(-nanoseconds)
    if nanoseconds < 10**9:
        for unit, size in (("ms", 10**6), ("µs", 10**3), ("ns", 1)):
            if nanoseconds >= size:
                return f"{nanoseconds / size:.9f}".rstrip("0").rstrip(".") + unit
        return "0s"
    minutes, rest = divmod(nanoseconds, 60 * 10**9)
    hours, minutes = divmod(minutes, 60)
    seconds = f"{rest // 10**9}.{rest % 10**9:09}".rstrip("0").rstrip(".") + "s"
    return f"{hours}h{minutes}m{seconds}" if hours else f"{minutes}m{seconds}" if minutes else seconds


# Strictly, as Go's own decoder reads.


class _WrongTypeError(Exception):
    """A value of another type than its member wants."""

    def __init__(self, found: str, kind: Kind, path: str) -> None:
        super().__init__(f"json: cannot unmarshal {found}")
        self.kind: Kind = kind
        self.path = path


def decode(value: object, struct: Struct, version: str, owner: str) -> Object:
    """Read an object strictly. ``owner`` is what Go calls the struct in its complaints."""
    if value is None:
        return {}
    if not is_object(value):
        raise DecodeError(f"json: cannot unmarshal {_go_type(value)} into Go value of type {struct.go_name}")
    return _decode_object(value, struct, version, owner, "")


def _decode_object(value: Object, struct: Struct, version: str, owner: str, path: str) -> Object:
    fields = tuple(struct.of(version))
    known = {field.name.lower(): field for field in fields}
    decoded: Object = {}
    for key, member in value.items():
        field = known.get(key.lower())
        if field is None and key:
            named = (each for each in fields if key == each.alias or (struct.snake and each.answers_to(key)))
            field = next(named, None)
        if field is None:
            raise DecodeError(f'json: unknown field "{key}"')
        if member is not None and field.of != "ignored":
            place = f"{path}.{field.name}"
            try:
                decoded[field.name] = _decode_member(member, field.of, version, owner, place)
            except _WrongTypeError as error:
                wanted = field.go_type or _go_kind(error.kind)
                raise DecodeError(f"{error} into Go struct field {owner}{error.path} of type {wanted}") from error
    return decoded


def _decode_member(value: object, kind: Kind, version: str, owner: str, path: str) -> object:
    match kind:
        case Struct() if is_object(value):
            return _decode_object(value, kind, version, owner, path)
        case ListOf(item) if is_list(value):
            return [_decode_member(each, item, version, owner, path) for each in value if each is not None]
        case MapOf(item) if is_object(value):
            return {key: _decode_member(each, item, version, owner, path) for key, each in value.items()}
        case "any":
            return value
        case "string" if isinstance(value, str):
            return value
        case "bool" if isinstance(value, bool):
            return value
        case "int" | "uint64" if (
            isinstance(value, int) and not isinstance(value, bool) and (kind == "int" or value >= 0)
        ):
            return value
        case "duration" | "nanoseconds" if isinstance(value, str | int) and not isinstance(value, bool):
            return _length(value, kind)
        case _:
            found = f"number {value}" if isinstance(value, float) and kind in {"int", "uint64"} else _go_type(value)
            raise _WrongTypeError(found, kind, path)


def _length(value: str | int, kind: Literal["duration", "nanoseconds"]) -> object:
    """A duration, written as it is kept."""
    try:
        length = parse_duration(value) if isinstance(value, str) else int(value)
    except ValueError as error:
        raise DecodeError(str(error)) from error
    return (format_duration(length) if length else "") if kind == "duration" else length


def _go_type(value: object) -> str:
    if isinstance(value, bool):
        return "bool"
    names: Mapping[type, str] = {str: "string", int: "number", float: "number", list: "array", dict: "object"}
    return next(name for kind, name in names.items() if isinstance(value, kind))


def _go_kind(kind: Kind) -> str:
    match kind:
        case ListOf(item):
            return f"[]{_go_kind(item)}"
        case MapOf(item):
            return f"map[string]{_go_kind(item)}"
        case Struct():
            return "struct"
        case _:
            return kind


# Weakly, as configuration entries are read.


def decode_weakly(value: Object, struct: Struct, version: str) -> Object:
    """Read an object weakly: any case, snake case, numbers for strings; unknown keys are all named at once."""
    invalid: list[str] = []
    decoded = _weak_object(value, struct, version, "", invalid)
    invalid.sort(key=lambda place: -place.count("."))
    if invalid:
        raise DecodeError(errors([_invalid_key(key) for key in invalid]))
    return decoded


def _invalid_key(place: str) -> str:
    enterprise = place.rsplit(".", 1)[-1].lower() == "namespace"
    return f'invalid config key "{place}"' + ", namespaces are a consul enterprise feature" * enterprise


def decode_known(value: Object, struct: Struct, version: str) -> Object:
    """Read an object weakly, passing over what is not known."""
    return _weak_object(value, struct, version, "", [])


def errors(messages: list[str]) -> str:
    """Several complaints in the list form that ends in two newlines."""
    lines = [f"\t* {message}\n" for message in messages]
    return f"{len(lines)} error{'s' if len(lines) > 1 else ''} occurred:\n{''.join(lines)}\n"


def _weak_object(value: Object, struct: Struct, version: str, path: str, invalid: list[str]) -> Object:
    fields = tuple(struct.of(version))
    decoded: Object = {}
    for key, member in value.items():
        field = next((field for field in fields if field.answers_to(key)), None)
        place = f"{path}.{key}" if path else key
        if field is None:
            invalid.append(place)
        elif field.name in value and key != field.name:  # The exact spelling counts, another case is one too many.
            invalid.extend([place] * (key.lower() == field.name.lower()))
        elif member is not None and field.of != "ignored":
            decoded[field.name] = _weak_member(member, field.of, version, place, invalid)
    return decoded


def _weak_member(value: object, kind: Kind, version: str, path: str, invalid: list[str]) -> object:
    match kind:
        case Struct() if is_object(value):
            return _weak_object(value, kind, version, path, invalid)
        case ListOf(item):
            items = value if is_list(value) else [value]
            return [_weak_member(each, item, version, f"{path}[{at}]", invalid) for at, each in enumerate(items)]
        case MapOf(item) if is_object(value):
            return {key: _weak_member(each, item, version, f"{path}[{key}]", invalid) for key, each in value.items()}
        case MapOf() if is_list(value):  # It stands for the map that its maps make together.
            maps = [_weak_member(each, kind, version, path, invalid) for each in value if each is not None]
            return {key: member for each in maps if is_object(each) for key, member in each.items()}
        case str() if is_list(value) and len(value) == 1:
            return _weak_member(value[0], kind, version, path, invalid)
        case _:
            return _weak_scalar(value, kind, path)


def _weak_scalar(value: object, kind: Kind, path: str) -> object:
    match kind:
        case "any":
            return value
        case "duration" | "nanoseconds" if isinstance(value, str | int):
            try:
                return _length(value, kind)
            except DecodeError as error:
                raise _undecodable(f"error decoding '{path}': {error}") from error
        case "bytes" if isinstance(value, str):
            return base64.b64encode(value.encode()).decode()
        case "string" if isinstance(value, bool | int | float | str):
            return {True: "1", False: "0"}[value] if isinstance(value, bool) else str(value)
        case "bool" if isinstance(value, bool | int):
            return bool(value)
        case "int" | "uint64" if isinstance(value, int | float):
            return int(value)
        case "float64" if isinstance(value, int | float):
            return value
        case _:
            return _weak_text(value, kind, path)


def _weak_text(value: object, kind: Kind, path: str) -> object:
    """A number or boolean that was sent as a string."""
    if isinstance(value, str) and kind in {"int", "uint64", "float64"}:
        if re.fullmatch(r"-?\d+", value):
            return int(value)
        raise _undecodable(f"cannot parse '{path}' as int: strconv.ParseInt: parsing \"{value}\": invalid syntax")
    if isinstance(value, str) and kind == "bool":
        if value in {"", *TRUE, *FALSE}:
            return value in TRUE
        raise _undecodable(f"cannot parse '{path}' as bool: strconv.ParseBool: parsing \"{value}\": invalid syntax")
    found = _go_type(value).replace("number", "float64")
    if isinstance(kind, Struct | MapOf):
        raise _undecodable(f"'{path}' expected a map, got '{found.replace('array', 'slice')}'")
    found = found.replace("array", "[]interface {}").replace("object", "map[string]interface {}")
    raise _undecodable(f"'{path}' expected type '{_go_kind(kind)}', got unconvertible type '{found}'")


def _undecodable(complaint: str) -> DecodeError:
    return DecodeError(f"1 error(s) decoding:\n\n* {complaint}")


# Out again.


def shape(value: Object, struct: Struct, version: str) -> Object:
    """Write an object in Go's order: what is empty is left out, unless it is always there."""
    shaped: Object = {}
    for field in struct.of(version):
        if field.of == "ignored":
            continue
        given = value.get(field.name)
        member = _shape_member(given, field.of, version)
        if field.always or (given is not None if isinstance(field.of, Struct) else member):
            shaped[field.name] = member
    return shaped


def _shape_member(value: object, kind: Kind, version: str) -> object:
    match kind:
        case Struct():
            return shape(value if is_object(value) else {}, kind, version)
        case ListOf(item):
            return [_shape_member(each, item, version) for each in value] if is_list(value) else None
        case MapOf(item):
            return (
                {key: _shape_member(value[key], item, version) for key in sorted(value)} if is_object(value) else None
            )
        case "any":
            return _sorted(value)
        case "string" | "duration" | "bytes":
            return value if isinstance(value, str) else ""
        case "bool":
            return value is True
        case _:
            return value if isinstance(value, int | float) else 0


def _sorted(value: object) -> object:
    """Free JSON with its keys in order, as Go writes maps."""
    if is_object(value):
        return {key: _sorted(value[key]) for key in sorted(value)}
    return [_sorted(each) for each in value] if is_list(value) else value
