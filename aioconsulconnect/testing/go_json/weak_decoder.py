"""Objects as configuration entries are read: any case, snake case, a number for a string."""

import base64
import re

from aioconsulconnect.testing.go_json.errors import DecodeError, errors, go_type
from aioconsulconnect.testing.go_json.scalars import FALSE, TRUE, read_duration
from aioconsulconnect.testing.go_json.schema import EMPTY, ListOf, MapOf, MemberType, Struct, go_kind
from aioconsulconnect.testing.go_json.values import Object, is_list, is_object, without_null


def decode_weakly(value: Object, struct: Struct, version: str) -> Object:
    """Read the object `value` weakly, with the members of `struct` that `version` has.

    Keys count in any case and in snake case, and numbers stand for strings. DecodeError with Consul's text names all
    unknown keys at once, or the first value of a wrong type.
    """
    invalid: list[str] = []
    decoded = _weak_object(value, struct, version, "", invalid)
    invalid.sort(key=lambda member_path: -member_path.count("."))
    if invalid:
        raise DecodeError(errors([_invalid_key(key) for key in invalid]))
    return decoded


def _invalid_key(member_path: str) -> str:
    enterprise = member_path.rsplit(".", 1)[-1].lower() == "namespace"
    return f'invalid config key "{member_path}"' + ", namespaces are a consul enterprise feature" * enterprise


def decode_known(value: Object, struct: Struct, version: str) -> Object:
    """Read `value` by `struct` and `version` as `decode_weakly` does, but ignore unknown keys."""
    return _weak_object(value, struct, version, "", [])


def _weak_object(value: Object, struct: Struct, version: str, path: str, invalid: list[str]) -> Object:
    fields = tuple(struct.of(version))
    decoded: Object = {}
    for key, member in value.items():
        field = next((field for field in fields if field.answers_to(key)), None)
        member_path = f"{path}.{key}" if path else key
        if field is None:
            invalid.append(member_path)
        elif field.name in value and key != field.name:  # The exact spelling counts, another case is invalid.
            invalid.extend([member_path] * (key.lower() == field.name.lower()))
        elif member is not None and field.of != "ignored":
            decoded[field.name] = field.take(_weak_member(member, field.of, version, member_path, invalid), member_path)
    return decoded


def _weak_member(value: object, kind: MemberType, version: str, path: str, invalid: list[str]) -> object:
    match kind:
        case Struct() if is_object(value):
            return _weak_object(value, kind, version, path, invalid)
        case ListOf(item):
            items = value if is_list(value) else [value]
            return [_weak_member(each, item, version, f"{path}[{at}]", invalid) for at, each in enumerate(items)]
        case MapOf(item) if is_object(value):
            return {key: _weak_member(each, item, version, f"{path}[{key}]", invalid) for key, each in value.items()}
        case MapOf() if is_list(value):  # Its maps are merged into one.
            maps = [_weak_member(each, kind, version, path, invalid) for each in value if each is not None]
            return {key: member for each in maps if is_object(each) for key, member in each.items()}
        case str() if is_list(value) and len(value) == 1:
            return _weak_member(value[0], kind, version, path, invalid)
        case _:
            return _weak_scalar(value, kind, path)


def _weak_scalar(value: object, kind: MemberType, path: str) -> object:
    match kind:
        case "open":
            return without_null(value, path)
        case str() if value is None and kind != "any":
            return EMPTY.get(kind, "")
        case "duration" | "nanoseconds" if isinstance(value, str | int):
            try:
                return read_duration(value, kind)
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
        case "any" | "float64" if kind == "any" or isinstance(value, int | float):
            return value
        case _:
            return _weak_text(value, kind, path)


def _weak_text(value: object, kind: MemberType, path: str) -> object:
    """Read a number or a boolean that was sent as a string; DecodeError for any other value."""
    if isinstance(value, str) and kind in {"int", "uint64", "float64"}:
        if re.fullmatch(r"-?\d+", value):
            return int(value)
        raise _undecodable(f"cannot parse '{path}' as int: strconv.ParseInt: parsing \"{value}\": invalid syntax")
    if isinstance(value, str) and kind == "bool":
        if value in {"", *TRUE, *FALSE}:
            return value in TRUE
        raise _undecodable(f"cannot parse '{path}' as bool: strconv.ParseBool: parsing \"{value}\": invalid syntax")
    found = go_type(value).replace("number", "float64")
    if isinstance(kind, Struct | MapOf):
        raise _undecodable(f"'{path}' expected a map, got '{found.replace('array', 'slice')}'")
    found = found.replace("array", "[]interface {}").replace("object", "map[string]interface {}")
    raise _undecodable(f"'{path}' expected type '{go_kind(kind)}', got unconvertible type '{found}'")


def _undecodable(complaint: str) -> DecodeError:
    return DecodeError(f"1 error(s) decoding:\n\n* {complaint}")
