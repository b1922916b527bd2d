"""The clock behind every wait, which tests can replace."""

from __future__ import annotations

import asyncio
import time
from typing import TypeVar

from aioconsulconnect.slices import InSlices

T = TypeVar("T")


class Clock:
    """
    Monotonic time and sleep.

    Jumps of the wall clock have no effect. A test can pass a subclass as `Consul(clock=…)` to control time.
    """

    def now(self) -> float:
        """The current time in seconds on a monotonic clock."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Wait for `seconds`."""
        await asyncio.sleep(seconds)


async def breathe() -> None:
    """
    Let other tasks that are ready run once.

    It goes through no `Clock`, so a test that holds its clock still does not block it.
    """
    await asyncio.sleep(0)


async def in_turns(slices: InSlices[T]) -> T:
    """Do all the work of `slices`, let other tasks run once after each, and return its result."""
    while True:
        try:
            next(slices)
        except StopIteration as end:
            result: T = end.value
            return result
        await breathe()
