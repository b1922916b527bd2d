"""JSON values, and access to the members of an object by type."""

from typing import Self, TypeGuard

from aioconsulconnect.testing.go_json.errors import NullInOpenMapError

Object = dict[str, object]


class Number(float):
    """A number with a fraction or an exponent; as text it is its `literal`, which errors repeat."""

    def __new__(cls, literal: str | float) -> Self:
        """Read the number `literal`."""
        made = super().__new__(cls, literal)
        made.literal = str(literal)
        return made

    def __str__(self) -> str:
        return self.literal

    literal: str


def is_object(value: object) -> TypeGuard[Object]:
    """True if a JSON value is an object."""
    return isinstance(value, dict)


def is_list(value: object) -> TypeGuard[list[object]]:
    """True if a JSON value is an array."""
    return isinstance(value, list)


def without_null(value: object, path: str) -> object:
    """The JSON data `value` of an open map, which is at `path`; NullInOpenMapError where it holds a null."""
    if value is None:
        raise NullInOpenMapError(path)
    if is_object(value):
        for key, item in value.items():
            without_null(item, f"{path}.{key}")
    elif is_list(value):
        for at, item in enumerate(value):
            without_null(item, f"{path}[{at}]")
    return value


def text(value: Object, key: str) -> str:
    """The string in `value` at `key`; empty where there is none."""
    found = value.get(key)
    return found if isinstance(found, str) else ""


def number(value: Object, key: str) -> int:
    """The integer in `value` at `key`; 0 where there is none."""
    found = value.get(key)
    return found if isinstance(found, int) else 0


def child(value: Object, key: str) -> Object:
    """The object in `value` at `key`; an empty one where there is none."""
    found = value.get(key)
    return found if is_object(found) else {}


def children(value: Object, key: str) -> list[Object]:
    """The objects in the array in `value` at `key`; anything else in it is left out."""
    found = value.get(key)
    return [item for item in found if is_object(item)] if is_list(found) else []


def texts(value: Object, key: str) -> list[str]:
    """The strings in the array in `value` at `key`; anything else in it is left out."""
    found = value.get(key)
    return [item for item in found if isinstance(item, str)] if is_list(found) else []
