"""W34 to W37: beginning, end, cancellation, and another life by a cursor."""

from __future__ import annotations

import asyncio
import contextlib
import pickle

import anyio
import pytest
from support.fakes import (
    Thing,
    Told,
    World,
    addition,
    always,
    change_of,
    idle,
    lost,
    state,
)

from aioconsulconnect.errors import Closed, ConsulError, NotReady


@pytest.mark.parametrize("scope", ["wait_for", "timeout", "anyio", "cancel"])
async def test_w34_a_cancelled_next_loses_nothing(scope: str) -> None:
    async with World(a="1") as world, world.query().watch() as watch:
        changes = watch.changes()
        await anext(changes)

        async def once(seconds: float) -> object:
            if scope == "wait_for":
                return await asyncio.wait_for(anext(changes), seconds)
            if scope == "timeout":
                async with asyncio.timeout(seconds):
                    return await anext(changes)
            if scope == "anyio":
                with anyio.fail_after(seconds):
                    return await anext(changes)
            task = asyncio.ensure_future(anext(changes))
            await asyncio.sleep(seconds)
            task.cancel()
            return await task

        for _ in range(100):
            with pytest.raises((TimeoutError, asyncio.CancelledError)):
                await once(0.0005)
        world.consul.set(a="2")
        assert list(await anext(changes)) == [change_of(Thing("a", "1"), Thing("a", "2"))]
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(anext(changes), 0.001)


async def test_w34_a_second_waiter_on_one_iterator_raises_at_once() -> None:
    async with World(a="1") as world, world.query().watch() as watch:
        changes = watch.changes()
        await anext(changes)
        first = asyncio.ensure_future(anext(changes))
        await idle()
        with pytest.raises(RuntimeError, match="one of its own"):
            await anext(changes)
        states = watch.states()
        while (await anext(states)).state != "synced":
            pass
        waiting = asyncio.ensure_future(anext(states))
        await idle()
        with pytest.raises(RuntimeError, match="one of its own"):
            await anext(states)
        waiting.cancel()
        world.consul.set(a="2")
        assert list(await first) == [change_of(Thing("a", "1"), Thing("a", "2"))]


async def test_w35_a_watch_lives_inside_async_with() -> None:
    async with World(a="1") as world:
        watch = world.query().watch()
        for use in (watch.changes, watch.snapshots, watch.states):
            with pytest.raises(Closed):
                use()
        with pytest.raises(Closed):
            await watch.ready()
        with pytest.raises(NotReady):
            _ = watch.current
        assert repr(watch) == "<Watch GET /v1/things not entered>"
        assert world.consul.calls == []
        async with watch:
            told = Told(watch.changes(), world.clock)
            await idle()
        await idle()
        assert told.ended
        assert watch.current == (Thing("a", "1"),)
        with pytest.raises(Closed):
            watch.changes()
        with pytest.raises(Closed):
            await watch.__aenter__()
        tasks = len(asyncio.all_tasks())
        for _ in range(1000):
            async with world.query().watch() as watch:
                async for _ in watch.changes():
                    break
        await idle()
        assert len(asyncio.all_tasks()) == tasks
        assert len(world.consul.calls) == 2


async def test_w35_leaving_ends_every_way_of_waiting() -> None:
    async with World() as world:
        world.consul.fault = always(lost())
        watch = world.query().watch()
        await watch.__aenter__()
        told = [Told(one, world.clock) for one in (watch.changes(), watch.snapshots(), watch.states())]
        waits = [
            asyncio.ensure_future(wait) for wait in (watch.ready(), watch.until(bool), watch.wait_for_state("synced"))
        ]
        await idle()
        await watch.aclose()
        await watch.aclose()
        results = await asyncio.gather(*waits, return_exceptions=True)
        assert all(isinstance(result, Closed) for result in results)
        await idle()
        assert all(one.ended for one in told)


async def test_w36_aclose_ends_everything_at_once_from_any_task_and_twice() -> None:
    world = World(a="1")
    async with contextlib.AsyncExitStack() as stack:
        watches = [await stack.enter_async_context(world.query(f"/v1/{number}").watch()) for number in range(64)]
        told = [Told(watch.changes(), world.clock) for watch in watches]
        waiting = asyncio.ensure_future(watches[0].until(lambda now: False))
        await idle()
        refreshing = asyncio.ensure_future(watches[1].refresh())
        world.consul.fault = always(lost())
        loop = asyncio.get_running_loop()
        started = loop.time()
        await asyncio.gather(*(asyncio.create_task(world.polls.aclose()) for _ in range(2)))
        assert loop.time() - started < 0.2
        await idle()
        assert all(one.ended for one in told)
        assert world.consul.in_flight == 0
        for task in (waiting, refreshing):
            with pytest.raises(ConsulError):
                await task
        assert {state(watch) for watch in watches} == {"closed"}
        with pytest.raises(Closed):
            await world.query().watch().__aenter__()


async def test_w37_a_cursor_tells_whether_something_changed_meanwhile() -> None:
    async with World(a="1") as world, world.query().watch() as watch:
        with pytest.raises(NotReady):
            _ = watch.cursor
        assert watch.resumed is None
        changes = watch.changes()
        await anext(changes)
        cursor = watch.cursor
        assert (cursor.index, cursor.address) == (10, "http://one")
        cursor = pickle.loads(pickle.dumps(cursor))
    async with World(a="1") as world, world.query().watch(since=cursor) as watch:  # another life, another index
        world.consul.index = 500
        told, whole = Told(watch.changes(), world.clock), Told(watch.snapshots(), world.clock)
        await world.clock.advance(3)
        assert (told.got, whole.got) == ([], [])
        assert watch.resumed is True
        assert watch.current == (Thing("a", "1"),)
        world.consul.set(a="2")
        await world.clock.advance(3)
        assert [list(batch) for batch in told.got] == [[change_of(Thing("a", "1"), Thing("a", "2"))]]
    async with World(a="2") as world, world.query().watch(since=cursor) as watch:
        await watch.ready()
        assert watch.resumed is False
        batch = await anext(watch.changes())
        assert (list(batch), batch.resync) == ([addition(Thing("a", "2"))], True)
    async with World(a="2") as world, world.query().watch(since=cursor) as watch:
        assert watch.cursor == cursor
        await watch.ready()
        assert watch.cursor == cursor  # the newest has not been told yet
        changes = watch.changes()
        await anext(changes)
        assert watch.cursor.digest != cursor.digest
    async with World(a="1") as world, world.query("/v1/other").watch(since=cursor) as watch:
        assert (await anext(watch.changes())).resync
