"""Public names that are imported at first use, so that a program pays for what it uses."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module


def lazy_names(package: str, homes: Mapping[str, str]) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """
    The functions `__getattr__` and `__dir__` of a package.

    `homes` gives for each module the public names that live there, separated by spaces; under "" the sub-packages.
    """
    home = {name: module for module, names in homes.items() for name in names.split()}

    def get(name: str) -> object:
        """The public name, from the module where it lives."""
        if name == "__all__":
            return public()
        if name not in home:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        module = home[name]
        value: object = (
            getattr(import_module(f"{package}.{module}"), name) if module else import_module(f"{package}.{name}")
        )
        setattr(sys.modules[package], name, value)
        return value

    def public() -> list[str]:
        """The public names."""
        return sorted([*home, *(["__version__"] if "__version__" in vars(sys.modules[package]) else [])])

    return get, public
