"""Type guards for containers of JSON data, of whose items nothing is known yet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set as AbstractSet
from typing import TypeGuard


def is_mapping(value: object) -> TypeGuard[Mapping[object, object]]:
    """Return True if `value` is a mapping."""
    return isinstance(value, Mapping)


def is_array(value: object) -> TypeGuard[Sequence[object]]:
    """Return True if `value` is a tuple or a list."""
    return isinstance(value, tuple | list)


def is_sequence(value: object) -> TypeGuard[Sequence[object]]:
    """Return True if `value` is a sequence, and neither a text nor bytes."""
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)


def is_buffer(value: object) -> TypeGuard[Sequence[int]]:
    """Return True if `value` holds bytes that may change."""
    return isinstance(value, bytearray | memoryview)


def is_set(value: object) -> TypeGuard[AbstractSet[object]]:
    """Return True if `value` is a set."""
    return isinstance(value, AbstractSet)
