"""The clock moves forward, and whoever works long lets others run."""

from __future__ import annotations

import asyncio

from aioconsulconnect.clock import Clock, breathe


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
