"""Objects as configuration entries are read: any case, snake case, a number for a string."""

import base64
import re
from collections.abc import Mapping
from math import isinf
from typing import Final

from aioconsulconnect.testing.go_json.errors import DecodeError, errors, go_type
from aioconsulconnect.testing.go_json.scalars import FALSE, TRUE, read_duration
from aioconsulconnect.testing.go_json.schema import EMPTY, ListOf, MapOf, MemberType, Struct, go_kind
from aioconsulconnect.testing.go_json.values import Object, is_list, is_object, without_null
from aioconsulconnect.testing.versions import facts_of

_SIZES: Final[Mapping[str, int]] = {"uint32": 1 << 32, "uint64": 1 << 64}
_PARSERS: Final[Mapping[str, str]] = {"int": "Int", "uint32": "Uint", "uint64": "Uint", "float64": "Float"}

_INTEGER: Final = re.compile(r"-?(?:0x[0-9a-fA-F]+|0[0-7]*|[1-9][0-9]*)")
_FLOAT: Final = re.compile(r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?")


def decode_weakly(value: Object, struct: Struct, version: str) -> Object:
    """Read the object `value` weakly, with the members of `struct` that `version` has.

    Keys count in any case and in snake case, and numbers stand for strings. DecodeError with Consul's text names all
    unknown keys at once, or the first value of a wrong type.
    """
    invalid: list[str] = []
    decoded = _weak_object(value, struct, version, "", invalid)
    facts = facts_of(version)
    wrong = [key for key in invalid if not (facts.kind_may_stand_twice and key in {"Kind", "kind"})]
    if wrong:
        raise DecodeError(errors([_invalid_key(key, jwt=facts.jwt_is_enterprise) for key in wrong]))
    return decoded


def _invalid_key(member_path: str, *, jwt: bool) -> str:
    words, plain = "", member_path.lower()
    if plain.endswith("namespace"):
        words = ", namespaces are a consul enterprise feature"
    elif jwt and "jwt" in plain:
        words = ", api-gateway jwt validation is a consul enterprise feature"
    return f'invalid config key "{member_path}"{words}'


def decode_known(value: Object, struct: Struct, version: str) -> Object:
    """Read `value` by `struct` and `version` as `decode_weakly` does, but ignore unknown keys."""
    return _weak_object(value, struct, version, "", [])


def decode_scalars(value: Object, struct: Struct, version: str) -> Object:
    """Read the members of `struct` and `version` in `value`, all of which are scalars, weakly.

    This is the decoder without the hooks of configuration entries: keys count in any case but not in snake case, and
    unknown ones not at all; null is absent. DecodeError names all values of a wrong type.
    """
    wrong: list[str] = []
    decoded: Object = {}
    for field in struct.of(version):
        same = (key for key in value if key.lower() == field.name.lower())
        member = value.get(field.name if field.name in value else next(same, ""))
        if member is None:
            continue
        try:
            decoded[field.name] = _weak_scalar(member, field.of, field.name, version)
        except _UndecodableError as error:
            named = f"expected type '{field.go_type or go_kind(field.of)}'"
            wrong += [re.sub(r"expected type '[\w.]+'", named, each) for each in error.complaints]
    if wrong:
        raise _UndecodableError(wrong)
    return decoded


def _weak_object(value: Object, struct: Struct, version: str, path: str, invalid: list[str]) -> Object:
    fields = tuple(struct.of(version))
    found = {key: next((at for at, field in enumerate(fields) if field.answers_to(key)), None) for key in value}
    own: list[str] = []
    decoded: Object = {}
    wrong: list[str] = []
    for key in sorted(value, key=lambda key: found[key] or 0):  # The members within count first, in Go's order.
        at, member, before = found[key], value[key], f"{path}." if path else ""
        field = None if at is None else fields[at]
        if field is None:
            own.append(before + key)
            continue
        member_path = before + field.name
        if field.name in value and key != field.name:  # The exact spelling counts, another one is invalid.
            own.append(before + (key if key.lower() == field.name.lower() else field.name.lower()))
        elif member is not None and field.of != "ignored":
            try:
                taken = _weak_member(member, field.of, version, member_path, invalid)
            except _UndecodableError as error:
                plain = rf"('{re.escape(member_path)}(?:\[\d+\])?' expected type )'[^']*'"
                named = rf"\g<1>'{field.go_type}'"
                wrong += [re.sub(plain, named, each) if field.go_type else each for each in error.complaints]
                continue
            decoded[field.name] = field.take(taken, member_path)
    invalid += own
    if wrong:
        raise _UndecodableError(wrong)
    return decoded


def _weak_member(value: object, kind: MemberType, version: str, path: str, invalid: list[str]) -> object:
    match kind:
        case Struct() if is_object(value) or value is None:
            return _weak_object(value or {}, kind, version, path, invalid)
        case ListOf() if value is None or value == {}:
            return []
        case ListOf(item):
            items = value if is_list(value) else [value]
            return list(
                _each({f"{path}[{at}]": each for at, each in enumerate(items)}, item, version, invalid).values()
            )
        case MapOf(item) if is_object(value) or value is None:
            members = _each({f"{path}[{key}]": each for key, each in (value or {}).items()}, item, version, invalid)
            return dict(zip(value or {}, members.values(), strict=True))
        case MapOf() if is_list(value):  # Its maps are merged into one.
            maps = [_weak_member(each, kind, version, path, invalid) for each in value if each is not None]
            return {key: member for each in maps if is_object(each) for key, member in each.items()}
        case str() | Struct() if is_list(value) and len(value) == 1:
            return _weak_member(value[0], kind, version, path, invalid)
        case _:
            return _weak_scalar(value, kind, path, version)


def _each(values: Object, kind: MemberType, version: str, invalid: list[str]) -> Object:
    """Read the elements of a list or a map, by their paths."""
    decoded: Object = {}
    wrong: list[str] = []
    for path, value in values.items():
        try:
            decoded[path] = _weak_member(value, kind, version, path, invalid)
        except _UndecodableError as error:
            wrong += error.complaints
    if wrong:
        raise _UndecodableError(wrong)
    return decoded


def _weak_scalar(value: object, kind: MemberType, path: str, version: str) -> object:
    match kind:
        case "open":
            return without_null(value, path)
        case str() if value is None and kind != "any":
            return EMPTY.get(kind, "")
        case str() if isinstance(value, float) and isinf(value):
            raise DecodeError(f"json: cannot unmarshal number {value} into Go value of type float64")
        case "duration" | "nanoseconds" if isinstance(value, str | int | float):
            try:
                return read_duration(value, kind, quotes=facts_of(version).durations_are_quoted)
            except DecodeError as error:
                raise _undecodable(f"error decoding '{path}': {error}") from error
        case "bytes" if isinstance(value, str):
            return base64.b64encode(value.encode()).decode()
        case "string" if isinstance(value, bool | int | float | str):
            return {True: "1", False: "0"}[value] if isinstance(value, bool) else str(value)
        case "bool" if isinstance(value, bool | int | float):
            return bool(value)
        case "int" | "uint32" | "uint64" if isinstance(value, int | float):
            return int(value) % _SIZES.get(kind, 1 << 64) if kind != "int" else int(value)
        case "any" | "float64" if kind == "any" or isinstance(value, int | float):
            return value
        case _:
            return _weak_text(value, kind, path, version)


def _weak_text(value: object, kind: MemberType, path: str, version: str) -> object:
    """Read a number or a boolean that was sent as a string; DecodeError for any other value."""
    if isinstance(value, str) and isinstance(kind, str) and kind in _PARSERS:
        name = _PARSERS[kind]
        if value == "" and facts_of(version).empty_text_is_zero:
            return 0
        if kind == "float64" and _FLOAT.fullmatch(value):
            size = float(value)
            return int(size) if size.is_integer() else size
        if kind != "float64" and _INTEGER.fullmatch(value):
            return int(value, 8 if re.match(r"-?0[0-7]", value) else 0)
        words = f'strconv.Parse{name}: parsing "{value}": invalid syntax'
        raise _undecodable(f"cannot parse '{path}' as {name.lower()}: {words}")
    if isinstance(value, str) and kind == "bool":
        if value in {"", *TRUE, *FALSE}:
            return value in TRUE
        raise _undecodable(f"cannot parse '{path}' as bool: strconv.ParseBool: parsing \"{value}\": invalid syntax")
    if isinstance(kind, Struct | MapOf):
        found = go_type(value).replace("number", "float64").replace("array", "slice")
        raise _undecodable(f"'{path}' expected a map, got '{found}'")
    raise _undecodable(wrong_type(path, kind, value, version))


def wrong_type(path: str, kind: MemberType, value: object, version: str) -> str:
    """Complain in the words of `version` that the `value` at `path` is not of the type `kind`."""
    found = go_type(value).replace("number", "float64")
    found = found.replace("array", "[]interface {}").replace("object", "map[string]interface {}")
    shown = f", value: '{_printed(value)}'" if facts_of(version).decoder_shows_value else ""
    return f"'{path}' expected type '{go_kind(kind)}', got unconvertible type '{found}'{shown}"


def _printed(value: object) -> str:
    """A value as Go prints it, such as `map[a:1]`."""
    if is_object(value):
        return f"map[{' '.join(f'{key}:{_printed(value[key])}' for key in sorted(value))}]"
    if is_list(value):
        return f"[{' '.join(map(_printed, value))}]"
    if isinstance(value, bool):
        return str(value).lower()
    return "<nil>" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


class _UndecodableError(DecodeError):
    """All the values of a wrong type."""

    def __init__(self, complaints: list[str]) -> None:
        lines = "\n".join(f"* {each}" for each in sorted(complaints))
        super().__init__(f"{len(complaints)} error(s) decoding:\n\n{lines}")
        self.complaints = complaints


def _undecodable(complaint: str) -> DecodeError:
    return _UndecodableError([complaint])
