"""Every struct that a user can meet has its name in `aioconsulconnect.structs`."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Iterator

import msgspec

import aioconsulconnect
from aioconsulconnect import structs

INSIDE = {"Registration", "CreatedId", "CheckResult"}  # bodies of requests and answers that no method takes or returns
BASES = {"ItemKey", "ConsulStruct", "Nullable", "Timed", "KeepsUnknown", "Part", "EntryBase", "NamedEntry"}


def of_consul() -> Iterator[type]:
    for found in pkgutil.walk_packages(structs.__path__, f"{structs.__name__}."):
        module = importlib.import_module(found.name)
        for name, thing in inspect.getmembers(module, inspect.isclass):
            public = not name.startswith("_") and not name.endswith("Body") and name not in BASES | INSIDE
            if thing.__module__ == module.__name__ and issubclass(thing, msgspec.Struct) and public:
                yield thing


def test_none_is_left_out() -> None:
    found = {thing.__name__ for thing in of_consul()}
    assert len(found) > 90
    assert found <= {*dir(structs), *dir(aioconsulconnect)}


def test_the_names_are_sorted_and_there() -> None:
    assert dir(structs) == sorted(dir(structs))
    assert all(hasattr(structs, name) for name in dir(structs))


def test_all_are_frozen_and_told_about() -> None:
    for thing in of_consul():
        assert thing.__struct_config__.frozen, thing  # type: ignore[attr-defined]
        assert thing.__doc__, thing
