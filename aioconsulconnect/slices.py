"""Work in slices, between which other tasks of the event loop can run."""

from __future__ import annotations

from collections.abc import Generator
from typing import TypeVar

T = TypeVar("T")

InSlices = Generator[None, None, T]
"""Work that yields where other tasks may run, and returns its result."""

SLICE = 500
"""Number of items in a slice, where the work on each takes some microseconds."""


def at_once(slices: InSlices[T]) -> T:
    """Do all the work of `slices`, and return its result."""
    while True:
        try:
            next(slices)
        except StopIteration as end:
            result: T = end.value
            return result
