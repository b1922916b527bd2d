"""Every struct of Consul's data that a user can meet."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Iterator

import msgspec

from aioconsulconnect import structs

INSIDE = {
    "Registration",
    "CheckUpdate",
    "CreatedId",
    "CheckResult",
}  # bodies of requests and answers that no method takes or returns
BASES = {"EntryBase", "NamedEntry"}
TOOLS = f"{structs.__name__}.codec"


def of_consul() -> Iterator[type[msgspec.Struct]]:
    """All structs of the folder `structs`, without bases and bodies."""
    for found in pkgutil.walk_packages(structs.__path__, f"{structs.__name__}."):
        if found.name.startswith(TOOLS):
            continue
        module = importlib.import_module(found.name)
        for name, thing in inspect.getmembers(module, inspect.isclass):
            public = not name.startswith("_") and not name.endswith("Body") and name not in BASES | INSIDE
            if thing.__module__ == module.__name__ and issubclass(thing, msgspec.Struct) and public:
                yield thing
