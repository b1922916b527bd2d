"""The bell wakes whoever waits."""

from __future__ import annotations

import asyncio

import pytest

from aioconsulconnect.clock import Clock
from aioconsulconnect.watch.wakeup import Wakeup


class StillClock(Clock):
    """Sleeps until told that the time has come."""

    def __init__(self) -> None:
        self.asked: list[float] = []
        self.come = asyncio.Event()

    async def sleep(self, seconds: float) -> None:
        self.asked.append(seconds)
        await self.come.wait()


async def test_a_ring_wakes_all_who_wait_and_is_not_remembered() -> None:
    bell = Wakeup()
    bell.wake_all()
    waiting = [asyncio.create_task(bell.wait()) for _ in range(3)]
    await asyncio.sleep(0)
    assert not any(task.done() for task in waiting)
    bell.wake_all()
    await asyncio.gather(*waiting)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(bell.wait(), 0.01)


async def test_a_wait_ends_after_its_time_by_that_clock() -> None:
    bell, clock = Wakeup(), StillClock()
    waiting = asyncio.create_task(bell.wait(clock, 7.0))
    while not clock.asked:
        await asyncio.sleep(0)
    assert not waiting.done()
    clock.come.set()
    await waiting
    assert clock.asked == [7.0]


async def test_a_ring_before_the_time_ends_the_timer() -> None:
    bell, clock = Wakeup(), StillClock()
    waiting = asyncio.create_task(bell.wait(clock, 7.0))
    while not clock.asked:
        await asyncio.sleep(0)
    bell.wake_all()
    await waiting
    assert clock.asked == [7.0]  # and the fixture sees that no task is left


async def test_a_cancelled_wait_leaves_nothing_and_disturbs_nobody() -> None:
    bell, clock = Wakeup(), StillClock()
    given_up = asyncio.create_task(bell.wait(clock, 7.0))
    patient = asyncio.create_task(bell.wait())
    while not clock.asked:
        await asyncio.sleep(0)
    given_up.cancel()
    with pytest.raises(asyncio.CancelledError):
        await given_up
    bell.wake_all()
    await patient


async def test_a_ring_at_the_very_moment_of_the_end_is_no_matter() -> None:
    bell, clock = Wakeup(), StillClock()
    waiting = asyncio.create_task(bell.wait(clock, 7.0))
    while not clock.asked:
        await asyncio.sleep(0)
    clock.come.set()
    await asyncio.sleep(0)  # the timer has woken it, and it has not run yet
    bell.wake_all()
    await waiting
