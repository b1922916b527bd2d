"""JSON values, and the members of objects by type."""

from typing import TypeGuard

Object = dict[str, object]


def is_object(value: object) -> TypeGuard[Object]:
    """Whether a JSON value is an object."""
    return isinstance(value, dict)


def is_list(value: object) -> TypeGuard[list[object]]:
    """Whether a JSON value is an array."""
    return isinstance(value, list)


def text(value: Object, key: str) -> str:
    """A member that is a string, empty where it is absent."""
    found = value.get(key)
    return found if isinstance(found, str) else ""


def number(value: Object, key: str) -> int:
    """A member that is an integer, 0 where it is absent."""
    found = value.get(key)
    return found if isinstance(found, int) else 0


def child(value: Object, key: str) -> Object:
    """A member that is an object, an empty one where it is absent."""
    found = value.get(key)
    return found if is_object(found) else {}


def children(value: Object, key: str) -> list[Object]:
    """The objects of a member that is an array."""
    found = value.get(key)
    return [item for item in found if is_object(item)] if is_list(found) else []


def texts(value: Object, key: str) -> list[str]:
    """The strings of a member that is an array."""
    found = value.get(key)
    return [item for item in found if isinstance(item, str)] if is_list(found) else []
