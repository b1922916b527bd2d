"""W38: what a watch tells of itself."""

from __future__ import annotations

import asyncio
import logging

import pytest
from support.fakes import (
    Told,
    World,
    always,
    error,
    state,
)


async def test_w38_an_outage_is_exactly_four_states_and_two_warnings(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "aioconsulconnect")
    async with World(a="1") as world, world.query().watch() as watch:
        told = Told(watch.states(), world.clock)
        await world.clock.advance(70)
        world.consul.fault = always(error(500, "No cluster leader"))
        world.consul.wake()
        await world.clock.advance(60)
        stale = asyncio.ensure_future(watch.wait_for_state("synced", timeout=1))
        world.consul.fault = None
        await world.clock.advance(40)
        assert (await stale).state == "synced"
        assert [status.state for status in told.got] == ["starting", "synced", "stale", "synced"]
        warnings = [record for record in caplog.records if record.levelno >= logging.WARNING]
        assert len(warnings) == 2
        assert len(caplog.records) == 3
        assert "No cluster leader" in warnings[0].getMessage()

        status = watch.status
        assert (status.index, status.consumers, status.wait, status.zombies) == (10, 1, 55, 0)
        assert status.counters.requests == len(world.consul.calls) - 1
        assert status.counters.errors == {"NoLeader": len(world.consul.reads) - 2 - (status.counters.early > 1)}
        log = watch.explain()
        assert [(record.asked, record.verdict) for record in log[:4]] == [
            ("read", "first"),
            ("poll", "unchanged, timeout"),
            ("poll", "unchanged, early"),
            ("read", "NoLeader"),
        ]
        kinds = [event.kind for event in world.events]
        assert kinds.count("state") == 3
        assert kinds.count("poll") == status.counters.requests


async def test_w38_the_hook_is_told_of_deliveries_and_may_fail() -> None:
    async with World(a="1") as world, world.query().watch() as watch:
        await anext(watch.changes())
        assert world.events[-1].kind == "delivered"

        def broken(event: object) -> None:
            raise ValueError

        world.polls.resources._on_event = broken
        world.consul.set(a="2")
        await watch.until(lambda now: now[0].value == "2", timeout=1)
        assert state(watch) == "synced"
