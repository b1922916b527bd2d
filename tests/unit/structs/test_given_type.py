"""Types of the caller's: which can be read, and which are refused before anything is sent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NewType

import msgspec
import pytest
from support.structs import of_consul

from aioconsulconnect.errors import InvalidRequest
from aioconsulconnect.structs import CAConfiguration
from aioconsulconnect.structs.codec.given_type import reader_in_slices, reader_of
from aioconsulconnect.structs.config_entries.traffic import CookieConfig

UserId = NewType("UserId", int)
Owner = NewType("Owner", UserId)
Names = NewType("Names", list[str])


class Plain:
    """A class that msgspec does not know, as that of a pydantic model."""


class Tree(msgspec.Struct, frozen=True):
    name: str
    owner: UserId = UserId(0)
    inside: tuple[Tree, ...] = ()


class Grove(msgspec.Struct):
    trees: dict[str, Tree | None]
    plain: tuple[int, list[Plain]]


@dataclass
class Listed:
    of: list[Grove]


@pytest.mark.parametrize(
    "kind",
    [Plain, complex, Callable[[bytes], int], list[Plain], dict[str, tuple[Plain, ...]], Grove, Listed, Plain | None,
     NewType("Wrapped", Plain), type("Own", (dict,), {})],
)  # fmt: skip
def test_type_that_msgspec_does_not_know_is_refused(kind: Any) -> None:
    with pytest.raises(InvalidRequest, match="function from bytes to the value"):
        reader_of(kind)


def test_type_that_msgspec_knows_is_read_however_deep() -> None:
    assert reader_of(Tree)(b'{"name": "a", "inside": [{"name": "b"}]}') == Tree("a", inside=(Tree("b"),))
    assert reader_of(CookieConfig)(b'{"TTL": "1m"}') == CookieConfig(ttl=60)
    assert reader_of(dict[str, object])(b'{"a": [1]}') == {"a": [1]}
    for kind in of_consul():
        if kind is not CAConfiguration:  # its map is of a class of ours, which msgspec does not make
            assert callable(reader_of(kind))


@pytest.mark.parametrize(("kind", "body", "value"), [(UserId, b"5", 5), (Owner, b"5", 5), (Names, b"null", [])])
def test_new_type_is_read_as_what_it_stands_for(kind: Any, body: bytes, value: object) -> None:
    assert reader_of(kind)(body) == value


def test_new_type_of_a_list_is_read_in_slices() -> None:
    kind: Any = Names
    assert reader_in_slices(kind) == reader_in_slices(list[str]) is not None
