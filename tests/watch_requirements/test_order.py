"""W22, the order of answers: what was sent earlier may be answered later, and never takes a watch back."""

from __future__ import annotations

import asyncio
import contextlib
import random

import pytest
from support.fakes import (
    STREAMING,
    Answer,
    Call,
    Told,
    World,
    by_name,
    idle,
    removed,
    state,
    things,
    values,
)

from aioconsulconnect.transport.request import Request
from aioconsulconnect.transport.response import Response
from aioconsulconnect.transport.settings.options import UNCACHED_READ
from aioconsulconnect.watch.protocol.spec import WatchSpec


def slow_reads(world: World, seconds: float) -> None:
    """A plain read is answered with what was true when it was sent, some time later."""

    async def fault(call: Call) -> Answer | None:
        answer = world.consul.now()
        if call.polled:
            return None
        await world.clock.sleep(seconds)
        return answer

    world.consul.fault = fault


@pytest.mark.parametrize("beside", ["refresh", "caught_up", "token"])
async def test_w22_a_read_that_a_poll_overtook_takes_nothing_back(beside: str) -> None:
    async with World(a="1") as world, world.query().watch(delivery="all") as watch:
        changes, told = Told(watch.changes(), world.clock), Told(watch.snapshots(), world.clock)
        await world.clock.advance(3)
        slow_reads(world, 0.2)
        if beside == "token":
            world.polls.token_changed()
            task = None
        else:
            task = asyncio.ensure_future(watch.refresh() if beside == "refresh" else watch.caught_up(11))
        await world.clock.advance(0.1)
        world.consul.set(a="1", b="2")  # the poll tells it at once, the read does not know of it
        await world.clock.advance(5)
        assert task is None or task.done()
        assert values(told)[-1] == {"a": "1", "b": "2"}
        assert removed(changes) == 0
        assert state(watch) == "synced"
        age = watch.status.age
        assert age is not None
        assert age < 10


async def test_w22_a_verification_that_a_poll_overtook_takes_nothing_back() -> None:
    async with World(a="1") as world, world.query(spec=STREAMING).watch(delivery="all") as watch:

        async def fault(call: Call) -> Answer | None:
            answer = world.consul.now(x_consul_query_backend="blocking-query")
            if not call.polled:
                await world.clock.sleep(0.2 if len(world.consul.reads) > 1 else 0)
                return answer
            found = await world.consul.respond(call)
            return Response(200, {**found.headers, "x-consul-query-backend": "streaming"}, found.body)

        world.consul.fault = fault
        changes, told = Told(watch.changes(), world.clock), Told(watch.snapshots(), world.clock)
        await world.clock.advance(3)
        while len(world.consul.reads) == 1:  # until a check read is under way
            await world.clock.advance(0.1)
            assert world.clock.now() < 1300
        world.consul.set(a="1", b="2")
        await world.clock.advance(20)
        assert values(told)[-1] == {"a": "1", "b": "2"}
        assert removed(changes) == 0


@pytest.mark.parametrize("seed", range(6))
async def test_w22_three_hundred_writes_beside_reads_of_all_kinds(seed: int) -> None:
    """Items are only added, answers take any time and overtake each other: nothing is Removed or goes back."""
    chance = random.Random(seed)
    async with World(seed=seed) as world, world.query().watch(delivery="all") as watch, world.query().watch() as other:
        values_now: dict[str, str] = {}

        async def fault(call: Call) -> Answer | None:
            answer = await world.consul.respond(call)
            if chance.random() < 0.3:
                await world.clock.sleep(chance.random() * 0.3)  # on its way back
            return answer

        world.consul.fault = fault
        changes = [Told(one.changes(), world.clock) for one in (watch, other)]
        told = Told(watch.snapshots(), world.clock)
        ends = [False]

        async def reads() -> None:
            while not ends[0]:
                with contextlib.suppress(TimeoutError):
                    await (watch.refresh() if chance.random() < 0.8 else watch.caught_up(world.consul.index, 1))
                await world.clock.sleep(chance.random() * 0.02)
                if chance.random() < 0.05:
                    world.polls.token_changed()

        readers = [asyncio.create_task(reads()) for _ in range(3)]
        await world.clock.advance(1)
        for number in range(300):
            values_now[f"n{number}"] = str(number)
            world.consul.set(**values_now)
            await world.clock.advance(chance.random() * 0.1)
        ends[0] = True
        await world.clock.advance(3)
        sizes = [len(found) for found in values(told)]
        assert sizes == sorted(sizes)
        assert sum(removed(one) for one in changes) == 0
        assert len(watch.current) == 300
        assert state(watch) == "synced"
        for reader in readers:
            reader.cancel()
        await asyncio.gather(*readers, return_exceptions=True)


async def test_w22_a_lower_index_that_is_a_restore_is_not_dropped() -> None:
    async with World(a="new") as world, world.query().watch() as watch:
        world.consul.index = 900
        told = Told(watch.snapshots(), world.clock)
        await world.clock.advance(3)
        world.consul.index, world.consul.body = 12, things(a="old")  # restored, and no poll was woken
        await watch.refresh()
        await world.clock.advance(1)
        assert values(told) == [{"a": "new"}, {"a": "old"}]


LIST: Request[object] = Request(
    method="GET", path="/v1/list", decode=lambda response: response.body, accepted_options=UNCACHED_READ
)


async def test_w22_caught_up_returns_when_the_write_is_there_where_the_index_is_borrowed() -> None:
    """Match on 1.8: the list tells the index, and what it means comes a read later."""
    spec = WatchSpec(items=by_name, index_from=LIST)
    async with World(a="1") as world, world.query(spec=spec).watch() as watch:
        slow = [0.0]

        async def eight(call: Call) -> Answer | None:
            listed = call.path == "/v1/list"
            answer = await world.consul.respond(call)
            headers = {name: value for name, value in answer.headers.items() if listed or name != "x-consul-index"}
            await world.clock.sleep(0 if listed else slow[0])
            return Response(200, headers, answer.body)

        world.consul.fault = eight
        await world.clock.advance(5)
        for number in range(2, 6):
            slow[0] = 0.0
            await world.clock.advance(20)
            slow[0] = 0.3
            world.consul.set(a=str(number))
            index, seen = world.consul.index, asyncio.ensure_future(caught_up(watch, world.consul.index))
            for _ in range(40):
                await world.clock.advance(0.05)
                if seen.done():
                    break
            assert await seen == str(number), index


async def test_w22_a_borrowed_index_that_came_first_proves_nothing() -> None:
    """The list has told the new index before the match was read again: who asks in between waits."""
    spec = WatchSpec(items=by_name, index_from=LIST)
    async with World(a="1") as world, world.query(spec=spec).watch() as watch:
        released = asyncio.Event()
        holding = [False]

        async def eight(call: Call) -> Answer | None:
            listed = call.path == "/v1/list"
            if holding[0] and not listed and not call.polled:
                await released.wait()
            answer = await world.consul.respond(call)
            headers = {name: value for name, value in answer.headers.items() if listed or name != "x-consul-index"}
            over = holding[0] and call.polled  # its wait was over just before the write
            return Response(200, headers, things(a="1") if over else answer.body)

        world.consul.fault = eight
        await world.clock.advance(10)
        holding[0] = True
        world.consul.set(a="2")
        await idle()
        assert world.consul.calls[-1].path == "/v1/things"  # after the list that has moved
        seen = asyncio.ensure_future(caught_up(watch, world.consul.index))
        await world.clock.advance(1)
        assert not seen.done()
        released.set()
        await world.clock.advance(3)
        assert await seen == "2"


async def caught_up(watch: object, index: int) -> str:
    await watch.caught_up(index)  # type: ignore[attr-defined]
    return str(watch.current[0].value)  # type: ignore[attr-defined]
