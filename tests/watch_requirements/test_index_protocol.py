"""W1 to W10: what an index means, and what is done without one."""

from __future__ import annotations

import asyncio

import pytest
from support.fakes import (
    STREAMING,
    Answer,
    Call,
    Thing,
    Told,
    World,
    addition,
    always,
    by_name,
    change_of,
    error,
    idle,
    lost,
    state,
    things,
    values,
)

from aioconsulconnect.endpoints.agent import Agent
from aioconsulconnect.transport.request import Request
from aioconsulconnect.transport.response import Response
from aioconsulconnect.transport.settings.options import UNCACHED_READ, Options
from aioconsulconnect.watch.protocol.spec import WatchSpec
from aioconsulconnect.watch.watch import all_ready


async def test_w01_the_first_item_is_a_full_snapshot_also_when_empty() -> None:
    async with World() as world, world.query().watch() as watch:

        async def slow(call: Call) -> Answer | None:
            await world.clock.sleep(0.3 if len(world.consul.calls) == 1 else 0)
            return None

        world.consul.fault = slow
        told = Told(watch.snapshots(), world.clock)
        ready = asyncio.create_task(all_ready(watch, watch))
        await world.clock.advance(0.29)
        assert not ready.done()
        assert told.got == []
        await world.clock.advance(0.02)
        assert ready.done()
        await world.clock.advance(200)
        assert told.got == [()]


async def test_w02_index_zero_is_never_sent_and_never_spins() -> None:
    async with World(a="1") as world, world.query().watch() as watch:
        world.consul.fault = always(world.consul.now(x_consul_index="0"))
        told = Told(watch.snapshots(), world.clock)
        await world.clock.advance(10)
        assert 2 <= len(world.consul.calls) <= 6
        assert {call.parameters["index"] for call in world.consul.polls} == {"1"}
        assert values(told) == [{"a": "1"}]


async def test_w03_an_index_that_goes_back_is_dropped_and_only_a_difference_is_told() -> None:
    async with World(a="1") as world, world.query().watch() as watch:
        world.consul.index = 100
        told = Told(watch.changes(), world.clock)
        await world.clock.advance(1)
        assert world.consul.calls[-1].parameters["index"] == "100"
        world.consul.index = 50
        world.consul.wake()
        await world.clock.advance(1)
        assert [call.parameters.get("index") for call in world.consul.calls] == [None, "100", None, "50"]
        assert watch.status.counters.reset == 1
        assert len(told.got) == 1


async def test_w03_indexes_of_two_backends_are_not_compared() -> None:
    async with World() as world, world.query(spec=STREAMING).watch() as watch:

        async def absent_name(call: Call) -> Answer | None:
            if call.polled:
                await world.clock.sleep(50)
                return world.consul.now(x_consul_index="27", x_consul_query_backend="streaming")
            return world.consul.now(x_consul_index="39", x_consul_query_backend="blocking-query")

        world.consul.fault = absent_name
        await world.clock.advance(500)
        assert len(world.consul.polls) >= 10
        assert watch.status.counters.reset == 0


async def test_w04_an_early_answer_under_the_same_index_is_read_again_at_once() -> None:
    async with World(a="new") as world, world.query().watch() as watch:
        told = Told(watch.snapshots(), world.clock)
        await world.clock.advance(3)
        world.consul.restore(4, a="old")
        await world.clock.advance(0.9)
        assert values(told) == [{"a": "new"}, {"a": "old"}]
        assert watch.status.counters.early == 1
        assert world.consul.calls[-1].parameters["index"] == "4"


async def test_w04_an_agent_that_goes_down_is_no_event() -> None:
    async with World(a="1") as world, world.query().watch() as watch:
        told = Told(watch.changes(), world.clock)
        await world.clock.advance(3)

        async def down(call: Call) -> Answer | None:
            return lost()

        world.consul.fault = down
        world.consul.wake()
        await world.clock.advance(5)
        assert watch.status.counters.early == 1
        assert state(watch) == "stale"
        assert len(told.got) == 1


async def test_w04_is_limited_to_once_in_five_seconds() -> None:
    async with World(a="1") as world, world.query().watch() as watch:
        await watch.ready()
        before = len(world.consul.reads)

        async def flood(call: Call) -> Answer | None:
            return world.consul.now()

        world.consul.fault = flood
        world.consul.wake()
        await world.clock.advance(20)
        assert len(world.consul.reads) - before <= 5
        assert len(world.consul.calls) <= 32  # without news: five at once, then one a second


async def test_w05_an_index_is_dropped_after_any_failure() -> None:
    async with World(a="1") as world, world.query().watch() as watch:
        world.consul.index = 900
        told = Told(watch.snapshots(), world.clock)
        await world.clock.advance(1)
        world.consul.end_polls(lost())
        world.consul.fault = always(lost())
        await world.clock.advance(1)
        world.consul.fault = None
        world.consul.index, world.consul.body = 3, things(a="2")
        await world.clock.advance(2.5)
        assert values(told) == [{"a": "1"}, {"a": "2"}]
        assert world.consul.calls[-1].parameters["index"] == "3"


async def test_w05_a_failure_moves_to_the_next_agent() -> None:
    async with World(a="1") as world, world.query().watch() as watch:
        world.consul.addresses = ("http://one", "http://two")
        await watch.ready()
        assert {call.address for call in world.consul.calls} == {"http://one"}

        async def one_is_down(call: Call) -> Answer | None:
            return lost() if call.address == "http://one" else None

        world.consul.fault = one_is_down
        world.consul.set(a="2")
        await world.clock.advance(60)
        await watch.until(lambda now: now[0].value == "2", 1)
        await world.clock.advance(60)
        assert watch.status.address == "http://two"


async def test_w06_content_decides_and_not_the_index() -> None:
    async with World(a="a") as world, world.query().watch() as watch:
        world.consul.index = 7
        told = Told(watch.changes(), world.clock)
        await world.clock.advance(1)
        world.consul.fault = always(error(500, "No cluster leader"))
        world.consul.wake()
        await world.clock.advance(1)
        world.consul.fault = None
        world.consul.body = things(a="b")
        await world.clock.advance(5)
        assert [list(batch) for batch in told.got[1:]] == [[change_of(Thing("a", "a"), Thing("a", "b"))]]

        # Rights that were granted show under the index that is held, when a wait is over.
        world.consul.body = things(a="b", more="1")
        await world.clock.advance(60)
        assert list(told.got[-1]) == [addition(Thing("more", "1"))]


async def test_w07_an_unchanged_body_is_not_decoded() -> None:
    async with World(a="1") as world, world.query().watch() as watch:
        told = Told(watch.changes(), world.clock)
        await world.clock.advance(1)
        for _ in range(5):
            world.consul.put(world.consul.body)
            await world.clock.advance(3)
        counters = watch.status.counters
        assert (counters.decoded, counters.unchanged) == (1, 5)
        assert world.consul.calls[-1].parameters["index"] == str(world.consul.index)
        assert len(told.got) == 1


async def test_w08_headers_are_read_strictly_and_each_by_itself() -> None:
    async with World(a="1") as world, world.query().watch() as watch:
        world.consul.index = 9
        await watch.ready()
        await world.clock.advance(1)
        world.consul.set(100, a="2")  # "9" to "100" is not back
        await world.clock.advance(1)
        assert watch.status.counters.reset == 0
        assert world.consul.calls[-1].parameters["index"] == "100"
        big = 2**64 - 1
        world.consul.set(big, a="3")
        await world.clock.advance(1)
        assert world.consul.calls[-1].parameters["index"] == str(big)

        # An error's index is no index.
        world.consul.fault = always(error(403, "Permission denied", **{"x-consul-index": "1"}))
        world.consul.wake()
        await world.clock.advance(1)
        world.consul.fault = None
        await world.clock.advance(40)
        assert watch.status.counters.reset == 0
        assert watch.status.index == big


async def test_w09_without_an_index_it_reads_at_growing_intervals() -> None:
    async with World(a="1") as world, world.query().watch() as watch:
        world.consul.headers["x-consul-index"] = None
        told = Told(watch.snapshots(), world.clock)
        await world.clock.advance(300)
        assert 8 <= len(world.consul.calls) <= 14
        assert state(watch) == "polling"
        assert watch.status.interval == 60
        world.consul.body = things(a="2")
        await world.clock.advance(76)
        assert values(told)[-1] == {"a": "2"}
        assert watch.status.interval in {5, 7.5, 11.25, 16.875, 25.3125}
        del world.consul.headers["x-consul-index"]
        await world.clock.advance(60)
        assert world.consul.calls[-1].polled
        assert state(watch) == "synced"


LIST: Request[object] = Request(
    method="GET", path="/v1/list", decode=lambda response: response.body, accepted_options=UNCACHED_READ
)


BORROWING: WatchSpec[tuple[Thing, ...], Thing] = WatchSpec(items=by_name, index_from=LIST)


def eight(world: World) -> None:
    """A Consul 1.8: match blocks, and does not say where."""

    async def fault(call: Call) -> Answer | None:
        answer = await world.consul.respond(call)
        headers = dict(answer.headers)
        if call.path != "/v1/list":
            del headers["x-consul-index"]
        return Response(answer.status, headers, answer.body)

    world.consul.fault = fault


async def test_w10_match_borrows_the_index_of_the_list() -> None:
    options = Options(datacenter="far")
    async with World(a="1") as world, world.query(spec=BORROWING, options=options).watch() as watch:
        eight(world)
        told = Told(watch.snapshots(), world.clock)
        await world.clock.advance(10)
        assert state(watch) == "synced"
        assert len(world.consul.calls) == 4  # read, list, read, poll
        assert {call.parameters["dc"] for call in world.consul.calls} == {"far"}
        world.consul.set(a="2")
        await idle()
        assert values(told) == [{"a": "1"}, {"a": "2"}]
        assert [call.path for call in world.consul.calls[-3:]] == ["/v1/list", "/v1/things", "/v1/things"]
        before = len(world.consul.calls)
        await world.clock.advance(55)
        assert len(world.consul.calls) - before <= 3

        # A change between the answer of a poll and the list is not lost.
        world.consul.set(a="3")
        world.consul.body = things(a="4")
        world.consul.index += 1
        await world.clock.advance(1)
        assert values(told)[-1] == {"a": "4"}


async def test_w10_polls_plainly_where_the_list_is_forbidden() -> None:
    async with World(a="1") as world, world.query(spec=BORROWING).watch() as watch:

        async def fault(call: Call) -> Answer | None:
            return error(403, "Permission denied") if call.path == "/v1/list" else Response(200, {}, world.consul.body)

        world.consul.fault = fault
        await world.clock.advance(60)
        assert state(watch) == "polling"
        assert watch.current == (Thing("a", "1"),)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("after", "seen"), [(3.0, 2.5), (20.0, 2.5), (150.0, 16.0)])
async def test_w09_absent_service_without_hash_is_found_soon_after_registration(
    after: float, seen: float, seed: int
) -> None:
    """A sidecar that is registered a little later: its 404 has no hash to wait for."""
    async with World(seed=seed) as world:
        service = b'{"ID": "web-sidecar-proxy", "Service": "web-sidecar-proxy", "Port": 21000, "ContentHash": "aa"}'
        there = [False]

        async def fault(call: Call) -> Answer | None:
            if not there[0]:
                return error(404, "unknown service ID: web-sidecar-proxy")
            if call.parameters.get("hash") == "aa":
                await world.clock.sleep(call.wait)
            return Response(200, {"x-consul-contenthash": "aa"}, service)

        world.consul.fault = fault
        agent = Agent(world.consul, world.polls, Options())
        async with agent.service("web-sidecar-proxy").watch() as watch:
            await world.clock.advance(after)
            asked = len(world.consul.calls)
            assert [watch.current] == [None]
            there[0] = True
            await world.clock.advance(seen)
            assert watch.current is not None
            assert asked <= 3 + after / 2
            assert world.consul.calls[-1].polled
            assert watch.status.state == "synced"
