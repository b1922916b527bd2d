"""Every struct of Consul's data that a user can meet."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Iterator

import msgspec

from aioconsulconnect import structs

INSIDE = {"Registration", "CreatedId", "CheckResult"}  # bodies of requests and answers that no method takes or returns
BASES = {
    "ItemKey", "FrozenStruct", "ConsulStruct", "Nullable", "Timed", "KeepsUnknown", "Part", "EntryBase", "NamedEntry",
}  # fmt: skip


def of_consul() -> Iterator[type[msgspec.Struct]]:
    """All structs of the folder `structs`, without bases and bodies."""
    for found in pkgutil.walk_packages(structs.__path__, f"{structs.__name__}."):
        module = importlib.import_module(found.name)
        for name, thing in inspect.getmembers(module, inspect.isclass):
            public = not name.startswith("_") and not name.endswith("Body") and name not in BASES | INSIDE
            if thing.__module__ == module.__name__ and issubclass(thing, msgspec.Struct) and public:
                yield thing
