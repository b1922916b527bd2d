"""Count of the slices in which work is done."""

from __future__ import annotations

from typing import TypeVar

from aioconsulconnect.slices import InSlices

T = TypeVar("T")


def counted(slices: InSlices[T]) -> tuple[T, int]:
    """The result of the work, and the number of times that other tasks could run."""
    count = 0
    while True:
        try:
            next(slices)
        except StopIteration as end:
            return end.value, count
        count += 1
