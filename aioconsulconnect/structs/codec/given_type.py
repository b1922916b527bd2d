"""Values of types that the caller gives: how they are read, and taken apart into items by key."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from copy import copy
from functools import lru_cache
from typing import Generic, NewType, TypeVar, cast, get_origin

import msgspec

from aioconsulconnect.errors import ConsulError, InvalidRequest, UnreadableResponse
from aioconsulconnect.slices import SLICE, InSlices, at_once
from aioconsulconnect.structs.codec.duration import Seconds
from aioconsulconnect.structs.codec.json_body import Reader, cause, reader, slices_of, unreadable

T = TypeVar("T")
Item = TypeVar("Item")

GivenType = type[T] | Callable[[bytes], T]
"""A class that msgspec can decode to, or a function from the body to the value."""

_EMPTY: dict[object, bytes] = {list: b"[]", tuple: b"[]", dict: b"{}"}


def reader_of(kind: GivenType[T]) -> Reader[T]:
    """
    Return a function that reads a body; it is equal for equal `kind`, and its errors are ConsulErrors.

    `bytes` gives the body as it is, and `null` is an empty list or map where `kind` is one. Raises InvalidRequest for a
    type that cannot be decoded.
    """
    kind = _real_type(kind)
    try:
        if isinstance(kind, type) or get_origin(kind) is not None:
            return cast("Reader[T]", _kept_reader(cast("Hashable", kind)))
        if callable(kind):
            hash(kind)
            return _Guarded(kind)
    except (TypeError, NameError) as error:
        raise InvalidRequest(f"type: {kind!r} cannot be decoded: {error}") from error
    raise InvalidRequest(f"type must be a class, or a function from bytes to the value, not {kind!r}")


@lru_cache(256)
def _kept_reader(kind: Hashable) -> Reader[object]:
    if kind is bytes:
        return bytes
    msgspec.json.Decoder(kind)  # raises TypeError now, and not at the first answer
    if (foreign := _foreign(kind)) is not None:
        raise TypeError(f"msgspec does not know {foreign!r}; give a function from bytes to the value")
    empty = _EMPTY.get(get_origin(kind) or kind)
    read = reader(cast("type[object]", kind))
    return read if empty is None else _NullAsEmpty(read, empty)


def _real_type(kind: GivenType[T]) -> GivenType[T]:
    """Return the type itself for a NewType, which is callable too, and any other as it is."""
    while isinstance(kind, NewType):
        kind = cast("GivenType[T]", kind.__supertype__)
    return kind


def _foreign(kind: object) -> object | None:
    """Return a class in a type that msgspec leaves to its user, so that nothing is read to it; None for none."""
    seen: set[int] = set()
    left: list[object] = [msgspec.inspect.type_info(kind)]
    while left:
        info = left.pop()
        if isinstance(info, msgspec.inspect.CustomType) and info.cls not in (object, Seconds):
            return info.cls
        if isinstance(info, msgspec.inspect.Type | msgspec.inspect.Field) and id(info) not in seen:
            seen.add(id(info))
            for name in info.__struct_fields__:
                part = getattr(info, name)
                left += part if isinstance(part, tuple) else (part,)
    return None


class _NullAsEmpty(msgspec.Struct, Generic[T], frozen=True):
    """Reader of a list or a map, for which Consul may send `null`."""

    read: Reader[T]
    empty: bytes

    def __call__(self, body: bytes) -> T:
        return self.read(self.empty if body.strip() == b"null" else body)


class _Guarded(msgspec.Struct, Generic[T], frozen=True):
    """Function of the caller's that reads a body; whatever it raises is UnreadableResponse."""

    function: Callable[[bytes], T]

    def __call__(self, body: bytes) -> T:
        try:
            return self.function(body)
        except ConsulError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is
            found = UnreadableResponse(f"type: it cannot read a body of {len(body)} bytes: {type(error).__name__}")
            if isinstance(error, msgspec.MsgspecError | RecursionError):
                found = unreadable(body, error)
            raise found from cause(error)


def reader_in_slices(kind: GivenType[T]) -> Callable[[bytes], InSlices[T]] | None:
    """
    Return a reader that lets other tasks run in between, equal for equal `kind`, or None.

    There is one for a list or a tuple of any length.
    """
    kind = _real_type(kind)
    origin = get_origin(kind)
    if origin is list or (origin is tuple and getattr(kind, "__args__", ())[-1:] == (...,)):
        read = cast("Reader[Sequence[object]]", reader_of(kind))
        return cast("Callable[[bytes], InSlices[T]]", _Sliced(read, list if origin is list else tuple))
    return None


class _Sliced(msgspec.Struct, frozen=True):
    """Reader of a large list or tuple in steps."""

    read: Reader[Sequence[object]]
    made: Callable[[list[object]], object]

    def __call__(self, body: bytes) -> InSlices[object]:
        found: list[object] = []
        for part in slices_of(b"[]" if body.strip() == b"null" else body):
            yield
            found += self.read(part)
        return self.made(found)


class Constant(Generic[T]):
    """
    Function that returns `value`, a new one each time where it could be changed.

    Two are equal if their values are, whether or not these can be hashed.
    """

    __slots__ = ("_value",)

    def __init__(self, value: T) -> None:
        self._value = value

    def __call__(self) -> T:
        """Return the value."""
        return copy(self._value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Constant) and self._shown() == cast("Constant[object]", other)._shown()

    def __hash__(self) -> int:
        return hash(type(self._value))

    def _shown(self) -> tuple[type[object], object]:
        return type(self._value), self._value


class OneItem(msgspec.Struct, Generic[Item], frozen=True):
    """
    Items of a value that is one item.

    - `key`: its key.
    - `absent`: gives the value that stands for absence, which is no item.
    """

    key: Hashable
    absent: Constant[object]

    def __call__(self, value: object) -> Mapping[Hashable, Item]:
        """Return the items of `value`: itself, or none."""
        return {} if value == self.absent() else {self.key: cast("Item", value)}


class ItemsInSlices(msgspec.Struct, Generic[Item], frozen=True):
    """
    Items of a tuple, a list or a map by key, found in steps.

    Those of a map are the pairs of its key and value. `key` is the caller's function from an item to its key.
    """

    key: Callable[[Item], Hashable]

    def __call__(self, value: object) -> InSlices[Mapping[Hashable, Item]]:
        """
        Return a generator that yields where other tasks may run, and returns the items of `value`.

        It raises InvalidRequest where `key` fails, or is the same for two items, whose changes could not be told apart.
        """
        if not isinstance(value, tuple | list | Mapping):
            raise InvalidRequest(f"key is for the items of a tuple, a list or a dict; this is a {type(value).__name__}")
        items = cast("Iterable[Item]", value.items() if isinstance(value, Mapping) else value)
        found: dict[Hashable, Item] = {}
        for number, item in enumerate(items, 1):
            if number % SLICE == 0:
                yield
            try:
                key = self.key(item)
                again = key in found
            except Exception as error:  # noqa: BLE001 - whatever it is
                raise InvalidRequest(f"key fails for item {number}: {type(error).__name__}: {error}") from cause(error)
            if again:
                raise InvalidRequest(f"key is {key!r} for two items, so their changes cannot be told apart")
            found[key] = item
        return found


class ItemsByKey(msgspec.Struct, Generic[Item], frozen=True):
    """Items of a tuple, a list or a map by `key`, as ItemsInSlices finds them."""

    key: Callable[[Item], Hashable]

    def __call__(self, value: object) -> Mapping[Hashable, Item]:
        """Return the items of `value`."""
        return at_once(ItemsInSlices(self.key)(value))
