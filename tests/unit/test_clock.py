"""The clock moves forward, and whoever works long lets others run."""

from __future__ import annotations

import asyncio

from aioconsulconnect.clock import Clock, breathe, in_turns
from aioconsulconnect.slices import InSlices, at_once


async def test_the_clock_is_monotonic_and_sleeps() -> None:
    clock = Clock()
    before = clock.now()
    await clock.sleep(0.02)
    assert clock.now() - before >= 0.02


async def test_to_breathe_is_to_let_others_run() -> None:
    ran: list[str] = []
    asyncio.get_running_loop().call_soon(ran.append, "other")
    await breathe()
    assert ran == ["other"]


def counting(count: int) -> InSlices[int]:
    for _ in range(count):
        yield
    return count


async def test_work_in_slices_gives_its_result_and_lets_others_run_after_each() -> None:
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    task = asyncio.create_task(other())
    assert at_once(counting(50)) == 50
    assert turns == 0
    assert await in_turns(counting(50)) == 50
    task.cancel()
    assert turns >= 48
