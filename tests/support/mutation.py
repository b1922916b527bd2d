"""One change of the package that takes a behaviour away."""

from __future__ import annotations

from typing import NamedTuple


class Mutation(NamedTuple):
    """
    `symbol` is a method ("Class.method"), a function or a constant of a module; its name is unique in the package.

    `node` is an expression or a statement in it, and occurs there once, or is the `occurrence`-th of them. `becomes` is
    of the same kind, but a call that stands alone may become a statement too: `pass` takes it out.
    """

    requirement: str
    symbol: str
    node: str
    becomes: str
    occurrence: int = 0

    def __str__(self) -> str:
        return f"{self.requirement}: {self.symbol}: {self.node} -> {self.becomes}"
