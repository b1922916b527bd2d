"""The one clock that every wait goes through, so that tests can hold it still."""

from __future__ import annotations

import asyncio
import time


class Clock:
    """Monotonic time and sleep. Wall-clock jumps never matter; a test hands in a subclass of its own."""

    def now(self) -> float:
        """Seconds on a monotonic clock."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Return after `seconds`, or when cancelled."""
        await asyncio.sleep(seconds)


async def breathe() -> None:
    """Let whatever else is ready run; takes no time of any clock."""
    await asyncio.sleep(0)
