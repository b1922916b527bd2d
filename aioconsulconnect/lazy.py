"""
Public names of a package that are imported at first use.

A program imports only the modules that it uses.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module


def lazy_names(package: str, homes: Mapping[str, str]) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """
    Return the functions `__getattr__` and `__dir__` for a package with lazily imported names.

    - `package`: full name of the package.
    - `homes`: for each module of the package, the public names that it defines, separated by spaces; under the key ""
      the names of sub-packages.
    """
    home = {name: module for module, names in homes.items() for name in names.split()}

    def get(name: str) -> object:
        """
        Return a public name, imported from its module and then stored in the package.

        Raises AttributeError for any other name.
        """
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
        """Return the public names in alphabetical order."""
        return sorted([*home, *(["__version__"] if "__version__" in vars(sys.modules[package]) else [])])

    return get, public
