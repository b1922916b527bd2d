"""The requirements of a watch, W23 to W38: load, delivery, life, and what it tells of itself."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import logging
import pickle
import statistics
import time
import tracemalloc
from collections.abc import Iterator

import anyio
import pytest
from support.fakes import Answer, Call, Thing, Told, World, always, error, idle, lost, state, values

from aioconsulconnect.changes import Added, Changed, Removed
from aioconsulconnect.endpoints.intentions_requests import list_request
from aioconsulconnect.errors import Closed, ConsulError, InvalidRequest, NotReady
from aioconsulconnect.options import Options
from aioconsulconnect.pacing import PollSettings
from aioconsulconnect.request import Blocking, Response
from aioconsulconnect.watch import Query
from aioconsulconnect.wire.intentions import by_key


async def test_w23_one_poll_serves_all_consumers_of_a_query() -> None:
    async with World(a="1") as world, contextlib.AsyncExitStack() as stack:
        watches = [await stack.enter_async_context(world.query().watch()) for _ in range(500)]
        told = [Told(watch.snapshots(), world.clock) for watch in watches]
        await world.clock.advance(1)
        assert world.consul.flying == 1
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
        assert world.consul.flying == 2


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
        assert world.consul.flying == 0
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
    settings = PollSettings(max_polls=9, linger=0)  # 8 polls and one for reads
    async with World(settings, a="1") as world, contextlib.AsyncExitStack() as stack:

        async def hang(call: Call) -> Answer | None:
            await world.clock.sleep(1e6 if call.polled else 0)
            return None

        world.consul.fault = hang
        watches = [await stack.enter_async_context(world.query(f"/v1/{number}").watch()) for number in range(8)]
        await world.clock.advance(54)
        assert world.consul.flying == 8
        await world.clock.advance(15)
        before = len(world.consul.polls)
        assert watches[0].status.zombies > 0
        await world.clock.advance(20)
        assert watches[0].status.zombies + world.consul.flying <= 8
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
        assert world.consul.flying == 0


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


async def test_w27_cached_answers_are_on_request_and_checked() -> None:
    options = Options(cached=True)
    async with World(a="1") as world, world.query(options=options).watch() as watch, world.query().watch() as other:
        said = {"x-cache": "HIT", "age": "0"}
        stale = b""

        async def agent(call: Call) -> Answer | None:
            if "cached" not in call.parameters:
                return None
            answer = await world.consul.respond(call)
            return Response(answer.status, {**answer.headers, **said}, stale or answer.body)

        world.consul.fault = agent
        told = Told(watch.snapshots(), world.clock)
        await world.clock.advance(100)
        stale = world.consul.body
        world.consul.set(a="restored")  # the agent's cache does not see it
        await world.clock.advance(61)
        assert values(told)[-1] == {"a": "restored"}
        assert other.current == (Thing("a", "restored"),)
        assert {"cached" in call.parameters for call in world.consul.polls} == {True, False}


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
        query = Query(world.consul, world.polls, list_request(()), Blocking(items=by_key))
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
        batch = told.got[-1]
        assert set(batch) == {
            Removed(Thing("a", "1")),
            Changed(Thing("b", "1"), Thing("b", "2")),
            Added(Thing("c", "1")),
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
    settings = PollSettings(free_turns=20_000)
    async with World(settings, n="0", gone="1") as world, world.query().watch() as watch:
        changes = watch.changes()
        first = await anext(changes)
        assert len(first) == 2
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
            Removed(Thing("gone", "1")),
            Changed(Thing("n", "0"), Thing("n", "9999")),
            Added(Thing("back", "9999")),
        }
        assert batch.merged == watch.status.counters.changed - 2
        assert watch.status.counters.merged == batch.merged


async def test_w30_what_came_and_went_unseen_is_not_told() -> None:
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
    settings = PollSettings(free_turns=20_000)
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
        assert list(await anext(changes)) == [Changed(Thing("n", seen), Thing("n", "after"))]


async def test_w32_settle_holds_back_until_it_is_quiet() -> None:
    settings = PollSettings(free_turns=1000)
    async with World(settings, n="0") as world, world.query().watch(settle=(0.1, 0.4)) as watch:
        told = Told(watch.changes(), world.clock)
        await idle()
        assert len(told.got) == 1  # the first is never held
        start = world.clock.now()
        for number in range(20):
            world.consul.set(n=str(number))
            await world.clock.advance(0.015)
        await world.clock.advance(0.2)
        assert [list(batch) for batch in told.got[1:]] == [[Changed(Thing("n", "0"), Thing("n", "19"))]]
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
        assert list(told.got[-1]) == [Changed(Thing("b", "1"), Thing("b", "2"))]
        world.consul.set(a="2", b="2")
        await world.clock.advance(1)
        assert told.got[-1].changes[0].old is told.got[0].changes[0].new  # untouched items stay the same objects
        bad[0].cancel()
        results = await asyncio.gather(*bad, return_exceptions=True)
        assert [type(result) for result in results] == [asyncio.CancelledError, ValueError, AttributeError]


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
        assert list(await anext(changes)) == [Changed(Thing("a", "1"), Thing("a", "2"))]
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
        assert list(await first) == [Changed(Thing("a", "1"), Thing("a", "2"))]


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
        assert world.consul.flying == 0
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
        assert [list(batch) for batch in told.got] == [[Changed(Thing("a", "1"), Thing("a", "2"))]]
    async with World(a="2") as world, world.query().watch(since=cursor) as watch:
        await watch.ready()
        assert watch.resumed is False
        batch = await anext(watch.changes())
        assert (list(batch), batch.resync) == ([Added(Thing("a", "2"))], True)
    async with World(a="2") as world, world.query().watch(since=cursor) as watch:
        assert watch.cursor == cursor
        await watch.ready()
        assert watch.cursor == cursor  # the newest has not been told yet
        changes = watch.changes()
        await anext(changes)
        assert watch.cursor.digest != cursor.digest
    async with World(a="1") as world, world.query("/v1/other").watch(since=cursor) as watch:
        assert (await anext(watch.changes())).resync


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
        assert status.counters.turns == len(world.consul.calls) - 1
        assert status.counters.errors == {"NoLeader": len(world.consul.reads) - 2 - (status.counters.early > 1)}
        turns = watch.explain()
        assert [(turn.asked, turn.verdict) for turn in turns[:4]] == [
            ("read", "first"),
            ("poll", "unchanged, timeout"),
            ("poll", "unchanged, early"),
            ("read", "NoLeader"),
        ]
        kinds = [event.kind for event in world.events]
        assert kinds.count("state") == 3
        assert kinds.count("turn") == status.counters.turns


async def test_w38_the_hook_is_told_of_deliveries_and_may_fail() -> None:
    async with World(a="1") as world, world.query().watch() as watch:
        await anext(watch.changes())
        assert world.events[-1].kind == "delivered"

        def broken(event: object) -> None:
            raise ValueError

        world.polls._on_event = broken
        world.consul.set(a="2")
        await watch.until(lambda now: now[0].value == "2", timeout=1)
        assert state(watch) == "synced"
