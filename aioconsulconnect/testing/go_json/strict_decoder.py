"""Objects as Go's own decoder reads them: the right type for every member, and no unknown one."""

from typing import Final

from aioconsulconnect.testing.go_json.errors import DecodeError, go_type
from aioconsulconnect.testing.go_json.scalars import read_duration
from aioconsulconnect.testing.go_json.schema import EMPTY, ListOf, MapOf, MemberType, Struct, go_kind
from aioconsulconnect.testing.go_json.values import Object, is_list, is_object, without_null

_EXACT: Final = {"string": str, "bool": bool}
_RANGES: Final = {"int": range(-(2**63), 2**63), "uint32": range(2**32), "uint64": range(2**64)}


class _WrongTypeError(Exception):
    """A value of another type than its member has."""

    def __init__(self, found: str, kind: MemberType, path: str) -> None:
        super().__init__(f"json: cannot unmarshal {found}")
        self.kind: MemberType = kind
        self.path = path


def decode(value: object, struct: Struct, version: str, owner: str) -> Object:
    """Read the object `value` with the members of `struct` that `version` has; null is an empty one.

    DecodeError with Go's text for an unknown member or a wrong type. `owner` is Go's name for the struct in that text.
    """
    if value is None:
        return {}
    if not is_object(value):
        raise DecodeError(f"json: cannot unmarshal {go_type(value)} into Go value of type {struct.go_name}")
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
            member_path = f"{path}.{field.name}"
            try:
                taken = _decode_member(member, field.of, version, owner, member_path)
            except _WrongTypeError as error:
                wanted = field.go_type or go_kind(error.kind)
                raise DecodeError(f"{error} into Go struct field {owner}{error.path} of type {wanted}") from error
            decoded[field.name] = field.take(taken, member_path.removeprefix("."))
    return decoded


def _decode_member(value: object, kind: MemberType, version: str, owner: str, path: str) -> object:
    match kind:
        case Struct() if is_object(value):
            return _decode_object(value, kind, version, owner, path)
        case str() if value is None and kind not in {"open", "any"}:
            return EMPTY.get(kind, "")
        case ListOf(item) if is_list(value):
            kept = value if isinstance(item, str) else [each for each in value if each is not None]
            return [_decode_member(each, item, version, owner, path) for each in kept]
        case MapOf(item) if is_object(value):
            return {key: _decode_member(each, item, version, owner, path) for key, each in value.items()}
        case "any":
            return value
        case "open":
            return without_null(value, path.removeprefix("."))
        case "string" | "bool" if isinstance(value, _EXACT[kind]):
            return value
        case "int" | "uint32" | "uint64" if (
            isinstance(value, int) and not isinstance(value, bool) and value in _RANGES[kind]
        ):
            return value
        case "duration" | "nanoseconds" if isinstance(value, str | int) and not isinstance(value, bool):
            return read_duration(value, kind)
        case _:
            whole = kind in _RANGES and not isinstance(value, bool)
            found = f"number {value}" if whole and isinstance(value, int | float) else go_type(value)
            raise _WrongTypeError(found, kind, path)
