"""W23 to W26: one poll for all consumers of a query, a budget for all, and a pace."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
from support.fakes import (
    SPEC,
    Answer,
    Call,
    FakeClock,
    Thing,
    Things,
    Told,
    World,
    decode,
    error,
    idle,
    removed,
    state,
    things,
    values,
)

from aioconsulconnect.errors import Throttled
from aioconsulconnect.transport.request import Request
from aioconsulconnect.transport.response import Response
from aioconsulconnect.transport.settings.options import UNCACHED_READ, Options
from aioconsulconnect.watch.connection_budget import ConnectionBudget
from aioconsulconnect.watch.protocol.pacing import over_budget_interval
from aioconsulconnect.watch.protocol.poll_settings import PollSettings
from aioconsulconnect.watch.query import Query


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


async def test_w24_by_default_thirty_two_connections_serve_three_hundred_watches() -> None:
    async with World(a="1") as world, contextlib.AsyncExitStack() as stack:
        watches = [await stack.enter_async_context(world.query(f"/v1/{number}").watch()) for number in range(300)]
        told = [Told(watch.snapshots(), world.clock) for watch in watches]
        await world.clock.advance(30)
        assert all(one.got for one in told)
        assert world.consul.most <= 32
        for number in range(3):
            world.consul.set(a=f"{number} more")
            written = world.clock.now()
            await world.clock.advance(10)
            assert max(one.times[-1] - written for one in told) <= 10
            assert all(values(one)[-1] == {"a": f"{number} more"} for one in told)
        assert world.consul.most <= 32


TOO_MANY = "Your IP is issuing too many concurrent connections, please rate limit your calls"


async def test_w24_one_refusal_halves_the_budget_once_in_half_a_minute() -> None:
    async with World(a="1") as world, contextlib.AsyncExitStack() as stack:
        watches = [await stack.enter_async_context(world.query(f"/v1/{number}").watch()) for number in range(60)]
        await world.clock.advance(30)
        before = world.consul.in_flight
        assert 20 <= before <= 32
        refusals = iter([error(429, TOO_MANY)] * 5)

        async def fault(call: Call) -> Answer | None:
            return None if call.polled else next(refusals, None)

        world.consul.fault = fault
        told = [asyncio.ensure_future(watch.refresh()) for watch in watches[:5]]  # any of our requests tells it
        await world.clock.advance(1)
        assert any(isinstance(error, Throttled) for error in await asyncio.gather(*told, return_exceptions=True))
        await world.clock.advance(65)  # what is in flight ends by itself
        assert before / 4 <= world.consul.in_flight <= before / 2 + 4
        assert all(watch.current for watch in watches)
        await world.clock.advance(1200)
        assert world.consul.in_flight > before / 2


async def test_w24_a_watch_without_data_is_served_by_short_reads_where_all_is_taken() -> None:
    async with World(a="1") as world, contextlib.AsyncExitStack() as stack:
        for number in range(40):
            await stack.enter_async_context(world.query(f"/v1/{number}").watch())
        await world.clock.advance(10)
        refusals = iter([error(429, TOO_MANY)])

        async def fault(call: Call) -> Answer | None:
            return next(refusals, None) if call.path == "/v1/new" else None

        world.consul.fault = fault
        async with world.query("/v1/new").watch() as watch:
            await world.clock.advance(20)
            assert watch.current == (Thing("a", "1"),)


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
        assert 5 <= world.consul.in_flight <= 8  # some wait shorter, and are given up already
        assert world.consul.in_flight + watches[0].status.zombies <= 8
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
        assert world.consul.most <= 32
        assert world.consul.in_flight == 0


async def written(world: World, told: Told, count: int, every: float) -> list[float]:
    """Write so many values, one after the other whatever happens; how long each took to be told, or one after it."""
    taken, at = [], []
    for number in range(count):
        at.append(world.clock.now())
        world.consul.set(n=str(number))
        await world.clock.advance(every)
    await world.clock.advance(2)
    seen = [(int(value["n"]), when) for value, when in zip(values(told), told.times, strict=True) if value["n"] != "-"]
    for number, when in enumerate(at):
        taken.append(min(told_at for told_number, told_at in seen if told_number >= number) - when)
    return taken


@pytest.mark.parametrize(("seconds", "bound"), [(5, 0.12), (60, 0.6)])
async def test_w26_a_stream_of_writes_is_followed_and_then_sampled(seconds: int, bound: float) -> None:
    async with World(n="-") as world, world.query().watch() as watch:
        told = Told(watch.snapshots(), world.clock)
        await world.clock.advance(10)
        taken = await written(world, told, 20 * seconds, 0.05)
        assert max(taken) <= bound
        assert values(told)[-1] == {"n": str(20 * seconds - 1)}


async def test_w26_a_write_that_waits_for_the_one_before_is_never_held_up() -> None:
    async with World(n="-") as world, world.query().watch() as watch:
        told = Told(watch.snapshots(), world.clock)
        await world.clock.advance(10)
        taken = []
        for number in range(50):
            began = world.clock.now()
            world.consul.set(n=str(number))
            while values(told)[-1] != {"n": str(number)}:
                await world.clock.advance(0.001)
                assert world.clock.now() - began < 5
            taken.append(world.clock.now() - began)
        assert max(taken[:10]) <= 0.015
        assert max(taken) <= 0.1


@pytest.mark.parametrize(("what", "most"), [("changes", 230), ("index", 70), ("nothing", 70)])
async def test_w26_a_flood_costs_a_bounded_number_of_requests(what: str, most: int) -> None:
    async with World(n="0") as world, world.query().watch() as watch:
        told = Told(watch.snapshots(), world.clock)
        await world.clock.advance(10)
        before = len(world.consul.calls)

        async def at_once(call: Call) -> Answer | None:
            await world.clock.sleep(0.01)
            return world.consul.now()

        if what == "nothing":  # the same index, again and again
            world.consul.fault = at_once
            world.consul.wake()
            await world.clock.advance(60)
        else:
            for number in range(6000):
                world.consul.set(n=str(number)) if what == "changes" else world.consul.put(world.consul.body)
                await world.clock.advance(0.01)
        assert len(world.consul.calls) - before <= most
        world.consul.fault = None
        world.consul.set(n="last")
        await world.clock.advance(1.2)  # the last value arrives within one interval
        assert values(told)[-1] == {"n": "last"}


async def test_w26_after_a_flood_an_isolated_change_is_told_at_once_again() -> None:
    async with World(n="0") as world, world.query().watch() as watch:
        told = Told(watch.snapshots(), world.clock)
        for number in range(1000):
            world.consul.set(n=str(number))
            await world.clock.advance(0.01)
        await world.clock.advance(60)
        for alone in ("alone", "another", "a third", "a fourth"):
            at = world.clock.now()
            world.consul.set(n=alone)
            await idle()
            assert told.times[-1] == at
            assert values(told)[-1] == {"n": alone}


async def test_w26_a_big_body_slows_itself_down() -> None:
    """Each answer costs 0.3 s to decode: a tenth of the time is spent on it, however often it changes."""
    async with World(n="0") as world:
        cost = [0.0]

        def dear(response: Response) -> Things:
            world.clock.jump(cost[0])
            return decode(response)

        asked = Request(method="GET", path="/v1/big", decode=dear, accepted_options=UNCACHED_READ)
        query: Query[Things, Thing] = Query(world.consul, world.polls, asked, SPEC)
        async with query.watch() as watch:
            await world.clock.advance(10)
            cost[0] = 0.3
            before, began = watch.status.counters.decoded, world.clock.now()
            for number in range(600):
                world.consul.set(n=str(number))
                await world.clock.advance(0.1)
            spent = 0.3 * (watch.status.counters.decoded - before)
            assert 0 < spent <= 0.12 * (world.clock.now() - began)
            await world.clock.advance(5)
            assert watch.current == (Thing("n", "599"),)


async def test_w26_confirming_reads_are_exempt() -> None:
    """A pace that is used up delays no read that decides whether something is gone."""
    async with World(a="1", b="2") as world, world.query().watch() as watch:
        told = Told(watch.changes(), world.clock)
        for number in range(300):
            world.consul.set(a=str(number), b="2")
            await world.clock.advance(0.01)
        while not world.consul.in_flight:
            await world.clock.advance(0.01)
        at = world.clock.now()
        world.consul.body = things(a="299")
        world.consul.wake()  # an answer with one item less, under the index that it was asked for
        await world.clock.advance(0.01)
        assert removed(told) == 1
        assert told.times[-1] - at <= 0.001


async def test_w24_a_budget_that_was_halved_comes_back_slowly_and_not_to_the_brim() -> None:
    clock = FakeClock()
    budget = ConnectionBudget(32, clock, lambda: 0.5)
    while budget.take():
        pass
    assert (budget.open, budget.limit) == (28, 28)
    budget.heed(1)
    lowered = budget.limit
    assert lowered == 12
    limits = []
    for _ in range(30):
        await clock.advance(59)
        limits.append(budget.limit)
        budget.heed(1)  # nothing new
    assert limits == sorted(limits)
    assert limits[0] <= lowered + 2
    assert limits[-1] == 20  # three quarters of what was too much, without what is kept for reads
    await clock.advance(60)
    assert budget.limit == 28  # after half an hour all of it is tried again


async def test_w24_poll_wait_with_scarce_connections_is_shorter() -> None:
    async with World(a="1") as world, contextlib.AsyncExitStack() as stack:
        for number in range(28):
            await stack.enter_async_context(world.query(f"/v1/{number}").watch())
            await world.clock.advance(0.1)
        waits = [call.wait for call in world.consul.polls]
        assert len(waits) == 28
        assert min(waits[:14]) >= 44
        assert max(waits[15:]) <= 55 / 4


@pytest.mark.parametrize(("watches", "least", "most"), [(5, 2, 5), (60, 8, 18)])
async def test_w24_the_question_comes_more_often_where_all_connections_are_taken(
    watches: int, least: int, most: int
) -> None:
    async with World(PollSettings(probe_interval=30.0), a="1") as world, contextlib.AsyncExitStack() as stack:
        for number in range(watches):
            await stack.enter_async_context(world.query(f"/v1/{number}").watch())
        await world.clock.advance(100)
        assert least <= len(world.consul.questions) <= most


def test_w24_all_that_have_no_connection_share_fifty_reads_a_second() -> None:
    assert over_budget_interval(10, PollSettings()) == 5
    assert over_budget_interval(1000, PollSettings()) == 20


async def test_w24_a_refusal_is_heeded_where_it_is_met() -> None:
    async with World(PollSettings(probe_interval=0), a="1") as world, world.query().watch() as watch:
        await world.clock.advance(5)
        before = world.polls.resources.budget.limit
        refusals = iter([error(429, TOO_MANY)])

        async def fault(call: Call) -> Answer | None:
            return next(refusals, None)

        world.consul.fault = fault
        with pytest.raises(Throttled):
            await watch.refresh()
        assert world.polls.resources.budget.limit < before / 2
