"""`Query` and `Watch`: what they give, and what they refuse. For the requirements see tests/watch_requirements."""

from __future__ import annotations

import asyncio
import pickle

import pytest
from support.fakes import ABSENT, SPEC, Thing, World, always, error, idle, lost, nothing, state, things

from aioconsulconnect.errors import Closed, InvalidRequest, NoLeader, NotFound, NotReady
from aioconsulconnect.transport.response import Reply


async def raised(world: World) -> None:
    """From here on `send` does as the transport does: whatever is no 2xx is raised."""
    world.consul.fault = always(NotFound("there is no such thing", status=404))


async def test_a_query_reads_once_for_each_await() -> None:
    async with World(a="1") as world:
        query = world.query()
        assert world.consul.calls == []
        assert await query == (Thing("a", "1"),)
        assert await asyncio.create_task(query.value()) == (Thing("a", "1"),)
        reply = await query.reply()
        assert isinstance(reply, Reply)
        assert (reply.value, reply.meta.index) == ((Thing("a", "1"),), 10)
        assert len(world.consul.calls) == 3
        assert not any(call.polled for call in world.consul.calls)


async def test_query_of_an_absent_value_returns_the_value_of_its_spec_or_raises() -> None:
    async with World() as world:
        await raised(world)
        absent = world.query(spec=ABSENT)
        assert await absent == nothing()
        assert (await absent.reply()).value == nothing()
        for read in (world.query().value(), world.query().reply()):
            with pytest.raises(NotFound):
                await read


async def test_a_query_is_neither_true_nor_false_and_stays_where_it_is() -> None:
    async with World() as world:
        query = world.query()
        with pytest.raises(TypeError, match="await"):
            bool(query)
        for alive in (query, query.watch()):
            with pytest.raises(TypeError, match="pickled"):
                pickle.dumps(alive)
        assert repr(query) == "<Query GET /v1/things>"


async def test_watch_with_invalid_options_is_refused() -> None:
    async with World() as world:
        with pytest.raises(InvalidRequest, match="delivery"):
            world.query().watch(delivery="some")  # type: ignore[arg-type]
        with pytest.raises(InvalidRequest, match="settle"):
            world.query().watch(settle=(3, 1))


async def test_before_it_is_entered_and_before_there_is_data() -> None:
    async with World() as world:
        world.consul.fault = always(lost("nobody there"))
        watch = world.query().watch()
        assert watch.status.state == "starting"
        assert watch.explain() == ()
        with pytest.raises(NotReady):
            _ = watch.cursor
        async with watch:
            assert repr(watch) == "<Watch GET /v1/things starting>"
            await idle()
            with pytest.raises(NotReady, match="nobody there"):
                await watch.ready(0)
            with pytest.raises(NotReady):
                _ = watch.current
            assert watch.status.age is None
            assert watch.status.index is None


async def test_until_is_level_based() -> None:
    async with World(a="1") as world, world.query().watch() as watch:
        assert await watch.until(lambda now: len(now) == 1) == (Thing("a", "1"),)
        waiting = asyncio.ensure_future(watch.until(lambda now: len(now) == 2))
        await idle()
        assert not waiting.done()
        world.consul.set(a="1", b="1")
        assert len(await waiting) == 2
        with pytest.raises(TimeoutError):
            await watch.until(lambda now: not now, timeout=0.01)
        with pytest.raises(ZeroDivisionError):
            await watch.until(lambda now: bool(1 // 0))
        assert watch.status.state == "synced"


async def test_caught_up_reads_what_was_written() -> None:
    async with World(a="1") as world, world.query().watch() as watch:
        await watch.ready()
        await idle()
        calls = len(world.consul.calls)
        await watch.caught_up(10)
        assert len(world.consul.calls) == calls  # it is there already
        world.consul.body, world.consul.index = things(a="2"), 20  # a write, of which the poll was not told yet
        await watch.caught_up(20, timeout=1)
        assert watch.current == (Thing("a", "2"),)
        with pytest.raises(TimeoutError):
            await watch.caught_up(21, timeout=0.01)


async def test_refresh_raises_what_it_meets_and_shares_reads() -> None:
    async with World(a="1") as world, world.query().watch() as watch:
        await watch.ready()
        await idle()
        calls = len(world.consul.calls)
        await asyncio.gather(*(watch.refresh() for _ in range(100)))
        assert len(world.consul.calls) == calls + 1
        world.consul.fault = always(error(500, "No cluster leader"))
        with pytest.raises(NoLeader):
            await watch.refresh()
        assert state(watch) == "stale"
        world.consul.fault = None
        await watch.refresh()
        assert state(watch) == "synced"


async def test_a_refresh_that_its_caller_gives_up_is_not_broken_off() -> None:
    async with World(a="1") as world, world.query().watch() as watch:
        await watch.ready()
        first, second = (asyncio.ensure_future(watch.refresh()) for _ in range(2))
        await asyncio.sleep(0)
        first.cancel()
        await second
        assert first.cancelled()


async def test_the_client_is_closed_under_a_watch() -> None:
    async with World(a="1") as world, world.query(spec=SPEC).watch() as watch:
        await watch.ready()
        await world.polls.aclose()
        with pytest.raises(Closed):
            await watch.until(lambda now: not now)
        assert [len(batch) async for batch in watch.changes()] == [1]  # what is known, and then the end
        assert watch.current == (Thing("a", "1"),)
        states = [status.state async for status in watch.states()]
        assert states[-1] == "closed"


async def test_a_client_that_is_closed_before_a_poll_has_begun() -> None:
    async with World(a="1") as world, world.query().watch() as watch:
        waiting = asyncio.ensure_future(watch.ready())
        changes = watch.changes()
        await world.polls.aclose()
        with pytest.raises(Closed):
            await asyncio.wait_for(waiting, 1)
        with pytest.raises(StopAsyncIteration):
            await asyncio.wait_for(anext(changes), 1)
        assert world.consul.calls == []


async def test_newest_state_has_the_bytes_and_answered_wakes_for_each_answer() -> None:
    async with World(a="1") as world, world.query().watch() as watch:
        before = watch.newest
        await world.clock.advance(0)
        newest = watch.newest
        assert before is None
        assert newest is not None
        assert (newest.value, newest.body) == ((Thing("a", "1"),), things(a="1"))
        waiting = asyncio.create_task(watch.answered())
        await idle()
        assert not waiting.done()
        world.consul.put(things(a="1"))  # the same data
        await world.clock.advance(0)
        assert waiting.done()
        last = asyncio.create_task(watch.answered())
        await idle()
        await world.polls.aclose()
        await last
        with pytest.raises(Closed):
            await watch.answered()
