"""W23 to W26: one poll for all consumers of a query, a budget for all, and a pace."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
from support.fakes import (
    Answer,
    Call,
    Thing,
    Told,
    World,
    idle,
    state,
    values,
)

from aioconsulconnect.transport.options import Options
from aioconsulconnect.watch.protocol.poll_settings import PollSettings


async def test_w23_one_poll_serves_all_consumers_of_a_query() -> None:
    async with World(a="1") as world, contextlib.AsyncExitStack() as stack:
        watches = [await stack.enter_async_context(world.query().watch()) for _ in range(500)]
        told = [Told(watch.snapshots(), world.clock) for watch in watches]
        await world.clock.advance(1)
        assert world.consul.in_flight == 1
        assert len(world.consul.calls) == 2
        assert all(values(one) == [{"a": "1"}] for one in told)
        assert watches[0].status.consumers == 500
        late = await stack.enter_async_context(world.query().watch())
        async with asyncio.timeout(0.1):
            assert await anext(late.snapshots()) == (Thing("a", "1"),)
        assert len(world.consul.calls) == 2
        await stack.enter_async_context(world.query(options=Options(token="other")).watch())
        await stack.enter_async_context(world.query(options=Options(timeout=3)).watch())
        await world.clock.advance(1)
        assert world.consul.in_flight == 2


async def test_w23_a_poll_lingers_and_then_ends() -> None:
    async with World(a="1") as world:
        async with world.query().watch() as watch:
            await watch.ready()
            await idle()
        world.consul.set(a="2")
        await world.clock.advance(29)
        async with world.query().watch() as watch:
            assert watch.current == (Thing("a", "2"),)
            assert len(world.consul.calls) == 3
        await world.clock.advance(100)
        assert world.consul.in_flight == 0
        assert "queries=0" in repr(world.polls)


async def test_w24_watches_beyond_the_budget_take_turns() -> None:
    settings = PollSettings(max_polls=50)
    async with World(settings, a="1") as world, contextlib.AsyncExitStack() as stack:
        watches = [
            await stack.enter_async_context(world.query(f"/v1/things/{number}").watch()) for number in range(300)
        ]
        told = [Told(watch.snapshots(), world.clock) for watch in watches]
        await world.clock.advance(20)
        assert sum(state(watch) == "synced" for watch in watches) == 44  # an eighth is for short reads
        polling = [watch.status for watch in watches if state(watch) == "polling"]
        assert len(polling) == 256
        assert all(status.interval and 5 <= status.interval <= 6 for status in polling)
        written = world.clock.now()
        world.consul.set(a="2")
        await world.clock.advance(10)
        assert all(values(one)[-1] == {"a": "2"} for one in told)
        assert max(one.times[-1] - written for one in told) <= 10
        await world.clock.advance(60)
        assert world.consul.most <= 50
        assert len(world.consul.calls) < 300 + 256 / 5 * 1.34 * 90  # it is no storm
        for watch in watches[:270]:
            await watch.aclose()
        await world.clock.advance(120)
        assert all(state(watch) == "synced" and watch.status.interval is None for watch in watches[270:])


async def test_w25_leaving_never_cancels_a_poll() -> None:
    async with World(a="1") as world:
        for _ in range(300):
            async with world.query().watch() as watch:
                await world.clock.advance(0.03)
                with pytest.raises(TimeoutError):
                    await watch.until(lambda now: not now, timeout=0)
        assert len(world.consul.calls) <= 3
        assert all(call.ended is None or call.ended - call.time >= 44 for call in world.consul.polls)


async def test_w25_polls_that_were_given_up_keep_their_place() -> None:
    settings = PollSettings(max_polls=9, idle_timeout=0)  # 8 polls and one for reads
    async with World(settings, a="1") as world, contextlib.AsyncExitStack() as stack:

        async def hang(call: Call) -> Answer | None:
            await world.clock.sleep(1e6 if call.polled else 0)
            return None

        world.consul.fault = hang
        watches = [await stack.enter_async_context(world.query(f"/v1/{number}").watch()) for number in range(8)]
        await world.clock.advance(54)
        assert world.consul.in_flight == 8
        await world.clock.advance(15)
        before = len(world.consul.polls)
        assert watches[0].status.zombies > 0
        await world.clock.advance(20)
        assert watches[0].status.zombies + world.consul.in_flight <= 8
        assert len(world.consul.polls) - before <= 8
        await world.clock.advance(40)
        assert len(world.consul.polls) > before


async def test_w25_different_queries_never_take_more_than_the_budget() -> None:
    async with World(a="1") as world:
        for number in range(300):
            async with world.query(f"/v1/{number}").watch():
                await world.clock.advance(0.05)
        await world.clock.advance(100)
        assert world.consul.most <= 64
        assert world.consul.in_flight == 0


async def test_w26_a_flood_is_paced_and_its_last_value_arrives() -> None:
    async with World(n="0") as world, world.query().watch() as watch:
        told = Told(watch.snapshots(), world.clock)
        await world.clock.advance(30)
        before = len(world.consul.calls)
        for number in range(1000):
            world.consul.set(n=str(number))
            await world.clock.advance(0.01)
        assert len(world.consul.calls) - before <= 16
        await world.clock.advance(1.2)
        assert values(told)[-1] == {"n": "999"}
        await world.clock.advance(30)
        for alone in ("alone", "another", "a third", "a fourth"):
            written = world.clock.now()
            world.consul.set(n=alone)
            await idle()
            assert told.times[-1] == written
            assert values(told)[-1] == {"n": alone}
