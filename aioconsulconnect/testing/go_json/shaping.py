"""Objects as they go out: members in Go's order, empty ones left out unless they are always there."""

from decimal import Decimal
from typing import Final

from aioconsulconnect.testing.go_json.schema import ListOf, MapOf, MemberType, Struct
from aioconsulconnect.testing.go_json.values import Object, is_list, is_object

_LONGEST_WHOLE: Final = 1e21
"""From this number on Go writes an exponent."""


def shape(value: Object, struct: Struct, version: str) -> Object:
    """Write the object `value` with the members of `struct` that `version` has, in Go's order.

    Empty members are left out, unless they are always there; unknown ones are dropped.
    """
    shaped: Object = {}
    for field in struct.of(version):
        if field.of == "ignored":
            continue
        given = value.get(field.name)
        member = _shape_member(given, field.of, version)
        if field.always or (given is not None if isinstance(field.of, Struct) or field.pointer else member):
            shaped[field.name] = None if field.nullable and given is None else member
    return shaped


def _shape_member(value: object, kind: MemberType, version: str) -> object:
    match kind:
        case Struct():
            return shape(value if is_object(value) else {}, kind, version)
        case ListOf(item):
            return [_shape_member(each, item, version) for each in value] if is_list(value) else None
        case MapOf(item):
            return (
                {key: _shape_member(value[key], item, version) for key in sorted(value)} if is_object(value) else None
            )
        case "any" | "open":
            return _sorted(value)
        case "string" | "duration" | "bytes":
            return value if isinstance(value, str) else ""
        case "bool":
            return value is True
        case _:
            return value if isinstance(value, int | float) else 0


def _sorted(value: object) -> object:
    """Sort the keys of free JSON, as Go writes maps, and write whole numbers as it does: no point, and 17 digits."""
    if is_object(value):
        return {key: _sorted(value[key]) for key in sorted(value)}
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _LONGEST_WHOLE:
        return int(Decimal(repr(float(value)))) if float(value).is_integer() else value
    return [_sorted(each) for each in value] if is_list(value) else value
