"""Wakeup of tasks that wait for something."""

from __future__ import annotations

import asyncio

from aioconsulconnect.clock import Clock


class Wakeup:
    """
    Wakes all tasks that wait on it, and remembers nothing: check the condition, wait, and check again.

    Unlike with asyncio.Event, a cancelled waiter costs constant time, however many wait beside it.
    """

    __slots__ = ("_waiting",)

    def __init__(self) -> None:
        self._waiting: dict[asyncio.Future[None], None] = {}

    def wake_all(self) -> None:
        """Wake all tasks that wait."""
        for future in self._waiting:
            _wake(future)
        self._waiting.clear()

    async def wait(self, clock: Clock | None = None, seconds: float = 0.0) -> None:
        """Return when woken, or after `seconds` on `clock` if a clock is given."""
        future = asyncio.get_running_loop().create_future()
        self._waiting[future] = None
        timer = asyncio.create_task(_after(clock, seconds, future)) if clock else None
        try:
            await future
        finally:
            self._waiting.pop(future, None)
            if timer is not None:
                timer.cancel()


async def _after(clock: Clock, seconds: float, future: asyncio.Future[None]) -> None:
    await clock.sleep(seconds)
    _wake(future)


def _wake(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
