"""W28 to W33: what a consumer is told, and when."""

from __future__ import annotations

import asyncio
import gc
import json
import statistics
import time
import tracemalloc
from collections.abc import Iterator

import pytest
from support.fakes import (
    Thing,
    Told,
    World,
    addition,
    change_of,
    idle,
    removal,
)

from aioconsulconnect.endpoints.intentions_requests import list_request
from aioconsulconnect.errors import InvalidRequest
from aioconsulconnect.structs.intentions import by_key
from aioconsulconnect.watch.changes import Changed
from aioconsulconnect.watch.protocol.poll_settings import PollSettings
from aioconsulconnect.watch.protocol.spec import WatchSpec
from aioconsulconnect.watch.query import Query


@pytest.fixture
def _no_collector() -> Iterator[None]:
    """What a collector adds to a turn of the loop depends on all that the tests before have left."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.timed
@pytest.mark.usefixtures("_no_collector")
async def test_w28_a_big_answer_does_not_hold_the_loop() -> None:
    intention = {
        "ID": "8b4c9f5e-4f0a-1b57-a8c0-2f1d0a3b7c11",
        "Description": "may talk to the database",
        "SourceNS": "default",
        "SourceType": "consul",
        "DestinationNS": "default",
        "DestinationName": "db",
        "Action": "allow",
        "Meta": {"team": "payments"},
        "Precedence": 9,
        "CreatedAt": "2026-01-01T00:00:00.123456789Z",
        "UpdatedAt": "2026-01-01T00:00:00.123456789Z",
        "Hash": "mUsAz4GrvzXVKKBbSdYGwbknOXgMJDntFaNere2Nnpg=",
        "CreateIndex": 1,
    }

    def body(mark: int) -> bytes:
        return json.dumps(
            [{**intention, "SourceName": f"web-{n}", "ModifyIndex": n or mark} for n in range(5000)]
        ).encode()

    async with World() as world:
        world.consul.put(body(1))
        query = Query(world.consul, world.polls, list_request(()), WatchSpec(items=by_key))
        async with query.watch() as watch:
            told = Told(watch.changes(), world.clock)
            await watch.ready()
            longest, parts = [], []
            for number in range(7):
                await world.clock.advance(5)
                world.consul.put(body(number + 2))
                steps = []
                for _ in range(50):
                    began = time.thread_time()  # not the time that others took
                    await asyncio.sleep(0)
                    steps.append(time.thread_time() - began)
                longest.append(max(steps))
                parts.append(max(steps) / sum(steps))
            assert [len(batch) for batch in told.got[1:]] == [1] * 7
            assert min(longest) < 0.02, longest
            assert statistics.median(parts) < 0.4, parts


async def test_w29_one_batch_for_each_change_with_its_index_and_time() -> None:
    async with (
        World(a="1", b="1") as world,
        world.query().watch() as watch,
        world.query().watch(ignore=["index"]) as quiet,
    ):
        told, ignoring = Told(watch.changes(), world.clock), Told(quiet.changes(), world.clock)
        await world.clock.advance(3)
        world.consul.set(42, c="1", b="2")
        await idle()
        assert [each.first for each in told.got] == [True, False]
        batch = told.got[-1]
        assert set(batch) == {
            removal(Thing("a", "1")),
            change_of(Thing("b", "1"), Thing("b", "2")),
            addition(Thing("c", "1")),
        }
        assert (batch.index, batch.time, batch.merged, batch.resync) == (42, world.clock.now(), 0, False)
        world.consul.put(b'[{"name":"b","value":"2"},{"name":"c","value":"1"}]')  # the order of a list says nothing
        await world.clock.advance(3)
        assert len(told.got) == 2
        world.consul.put(b'[{"name":"b","value":"2","index":9},{"name":"c","value":"1"}]')
        await world.clock.advance(3)
        assert len(told.got) == 3
        assert len(ignoring.got) == 2


async def test_w30_a_slow_consumer_gets_the_sum_in_constant_memory() -> None:
    settings = PollSettings(burst=100_000)
    async with World(settings, n="0", gone="1") as world, world.query().watch() as watch:
        changes = watch.changes()
        first = await anext(changes)
        assert len(first) == 2
        assert first.first
        before = 0
        for number in range(10_000):
            if number == 9000:  # from here on, because it is slow
                tracemalloc.start()
                before, _ = tracemalloc.get_traced_memory()
            world.consul.set(n=str(number), back=str(number)) if number % 2 else world.consul.set(n=str(number))
            await idle()
            if number % 100 == 0:
                world.consul.calls.clear()
                world.events.clear()
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert after - before < 2**17
        batch = await anext(changes)
        assert set(batch) == {
            removal(Thing("gone", "1")),
            change_of(Thing("n", "0"), Thing("n", "9999")),
            addition(Thing("back", "9999")),
        }
        assert not batch.first
        assert batch.merged == watch.status.counters.changed - 2
        assert watch.status.counters.merged == batch.merged


async def test_w30_item_added_and_removed_before_delivery_is_not_delivered() -> None:
    async with World(a="1") as world, world.query().watch() as watch:
        changes = watch.changes()
        await anext(changes)
        await world.clock.advance(5)
        for more in ({"b": "1"}, {}, {"c": "1"}, {}):
            world.consul.set(a="1", **more)
            await world.clock.advance(2)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await anext(changes)
        assert watch.status.counters.changed == 5


@pytest.mark.parametrize("count", [100, 1000])
async def test_w31_every_change_up_to_a_bound(count: int) -> None:
    settings = PollSettings(burst=100_000)
    async with World(settings, n="start") as world, world.query().watch(delivery="all") as watch:
        changes = watch.changes()
        await anext(changes)
        for number in range(count):
            world.consul.set(n=str(number))
            await idle()
        seen, batches = "start", []
        while seen != str(count - 1):
            batch = await anext(changes)
            (change,) = batch
            assert isinstance(change, Changed)
            assert change.old.value == seen
            seen = change.new.value
            batches.append(batch)
        if count == 100:
            assert len(batches) == 100
            assert not any(batch.resync for batch in batches)
        else:
            assert len(batches) == 1
            assert batches[0].resync
            assert batches[0].merged == watch.status.counters.dropped == 999
        world.consul.set(n="after")
        await idle()
        assert list(await anext(changes)) == [change_of(Thing("n", seen), Thing("n", "after"))]


BIG = 422_000  # bytes, as seen


async def test_w31_a_consumer_that_keeps_up_holds_nothing() -> None:
    settings = PollSettings(burst=100_000)
    async with World(settings, n="0") as world, world.query().watch(delivery="all") as watch:
        told = Told(watch.changes(), world.clock)
        await world.clock.advance(1)

        async def write(count: int) -> int:
            """How much memory so many writes leave behind."""
            for number in range(count):
                world.consul.set(n=f"{len(told.got)}-{number}", big="x" * BIG)
                await world.clock.advance(0.1)
                del told.got[:], world.consul.calls[:], world.events[:]
            gc.collect()
            return tracemalloc.get_traced_memory()[0]

        tracemalloc.start()
        try:
            before = await write(5)
            after = await write(300)
            assert after - before < 3 * BIG
        finally:
            tracemalloc.stop()


async def test_w31_backlog_of_a_slow_consumer_is_bounded_in_bytes_and_freed() -> None:
    settings = PollSettings(burst=100_000)
    async with World(settings, n="0") as world, world.query().watch() as other:
        tracemalloc.start()
        try:
            async with world.query().watch(delivery="all") as watch:
                changes = watch.changes()
                await anext(changes)
                world.consul.set(n="begin", big="x" * BIG)
                await world.clock.advance(0.1)
                before, _ = tracemalloc.get_traced_memory()
                for number in range(200):
                    world.consul.set(n=str(number), big="x" * BIG)
                    await world.clock.advance(0.1)
                gc.collect()
                after, _ = tracemalloc.get_traced_memory()
                assert after - before < 3 * 16 * 2**20  # the bodies, and what was decoded from them
                batch = await anext(changes)
                assert batch.resync or len(batch) > 0
                while not batch.resync:
                    batch = await anext(changes)
                assert watch.current == other.current
                del batch
            await world.clock.advance(1)
            del changes, watch
            gc.collect()
            left, _ = tracemalloc.get_traced_memory()
            assert left - before < 4 * BIG
        finally:
            tracemalloc.stop()


async def test_w32_settle_holds_back_until_it_is_quiet() -> None:
    settings = PollSettings(burst=1000)
    async with World(settings, n="0") as world, world.query().watch(settle=(0.1, 0.4)) as watch:
        told = Told(watch.changes(), world.clock)
        await idle()
        assert len(told.got) == 1  # the first is never held
        start = world.clock.now()
        for number in range(20):
            world.consul.set(n=str(number))
            await world.clock.advance(0.015)
        await world.clock.advance(0.2)
        assert [list(batch) for batch in told.got[1:]] == [[change_of(Thing("n", "0"), Thing("n", "19"))]]
        assert told.times[-1] - start == pytest.approx(0.385)
        start = world.clock.now()
        for number in range(100):
            world.consul.set(n=f"more {number}")
            await world.clock.advance(0.015)
        assert told.times[2] - start == pytest.approx(0.4)
        for bad in ((2, 1), (-1, 1)):
            with pytest.raises(InvalidRequest):
                world.query().watch(settle=bad)


async def test_w33_consumers_cannot_disturb_each_other() -> None:
    async with World(a="1", b="1") as world, world.query().watch() as watch:

        async def sleeps() -> None:
            async for _ in watch.changes():
                await world.clock.sleep(1e6)

        async def raises() -> None:
            async for _ in watch.changes():
                raise ValueError

        async def mutates() -> None:
            async for now in watch.snapshots():
                now[0].value = "mine"  # type: ignore[misc]

        bad = [asyncio.create_task(one()) for one in (sleeps, raises, mutates)]
        told = Told(watch.changes(), world.clock)
        await world.clock.advance(3)
        world.consul.set(a="1", b="2")
        await idle()
        assert list(told.got[-1]) == [change_of(Thing("b", "1"), Thing("b", "2"))]
        world.consul.set(a="2", b="2")
        await world.clock.advance(1)
        assert told.got[-1].changes[0].old is told.got[0].changes[0].new  # untouched items stay the same objects
        bad[0].cancel()
        results = await asyncio.gather(*bad, return_exceptions=True)
        assert [type(result) for result in results] == [asyncio.CancelledError, ValueError, AttributeError]


async def test_w29_the_order_of_a_list_is_no_change_of_the_value() -> None:
    async with World(a="1", b="1") as world, world.query().watch() as watch:
        told = Told(watch.snapshots(), world.clock)
        await world.clock.advance(3)
        world.consul.put(b'[{"name":"b","value":"1"},{"name":"a","value":"1"}]')
        await world.clock.advance(3)
        assert len(told.got) == 1
        assert watch.status.counters.changed == 1


async def test_w31_backlog_after_the_watch_closes_is_freed() -> None:
    async with World(n="0") as world, world.query().watch() as other:
        tracemalloc.start()
        try:
            async with world.query().watch(delivery="all") as watch:
                changes = watch.changes()
                await anext(changes)
                world.consul.set(n="begin", big="x" * BIG)
                await world.clock.advance(1)
                before, _ = tracemalloc.get_traced_memory()
                for number in range(20):
                    world.consul.set(n=str(number), big="x" * BIG)
                    await world.clock.advance(1)
            with pytest.raises(StopAsyncIteration):
                await anext(changes)
            gc.collect()
            left, _ = tracemalloc.get_traced_memory()
            assert left - before < 6 * BIG
            assert other.current[0] == Thing("n", "19")
        finally:
            tracemalloc.stop()
