"""The requirements of a watch, W1 to W22: the protocol, time, and what is true. The others: test_requirements_load."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from support.fakes import (
    ABSENT,
    STREAMING,
    Answer,
    Call,
    Thing,
    Told,
    World,
    always,
    by_name,
    decode,
    error,
    idle,
    lost,
    removed,
    state,
    things,
    values,
)

from aioconsulconnect.changes import Added, Changed, Removed
from aioconsulconnect.errors import BadRequest, ConsulError, PermissionDenied
from aioconsulconnect.options import Options
from aioconsulconnect.pacing import PollSettings
from aioconsulconnect.request import UNCACHED_READ, Blocking, Request, Response
from aioconsulconnect.watch import all_ready

HTML = {"content-type": "text/html"}


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
    async with World() as world, world.query(blocking=STREAMING).watch() as watch:

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
        assert len(world.consul.calls) <= 27  # paced


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
        assert [list(batch) for batch in told.got[1:]] == [[Changed(Thing("a", "a"), Thing("a", "b"))]]

        # Rights that were granted show under the index that is held, when a wait is over.
        world.consul.body = things(a="b", more="1")
        await world.clock.advance(60)
        assert list(told.got[-1]) == [Added(Thing("more", "1"))]


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
    method="GET", path="/v1/list", decode=lambda response: response.body, takes=UNCACHED_READ
)
BORROWING: Blocking[tuple[Thing, ...], Thing] = Blocking(items=by_name, borrow=LIST)


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
    async with World(a="1") as world, world.query(blocking=BORROWING, options=options).watch() as watch:
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
    async with World(a="1") as world, world.query(blocking=BORROWING).watch() as watch:

        async def fault(call: Call) -> Answer | None:
            return error(403, "Permission denied") if call.path == "/v1/list" else Response(200, {}, world.consul.body)

        world.consul.fault = fault
        await world.clock.advance(60)
        assert state(watch) == "polling"
        assert watch.current == (Thing("a", "1"),)


async def test_w11_every_poll_says_how_long_to_wait() -> None:
    async with World(a="1") as world, world.query().watch():
        await world.clock.advance(3000)
        waits = [call.parameters["wait"] for call in world.consul.polls]
        assert len(waits) > 50
        assert all(wait.endswith("ms") for wait in waits)
        seconds = [float(wait.removesuffix("ms")) / 1000 for wait in waits]
        assert 44 <= min(seconds) < 47
        assert 52 < max(seconds) <= 55
    for bad in ({"wait": 0}, {"wait": -1}, {"wait": float("nan")}, {"wait": 601}, {"shortest_wait": 0}):
        with pytest.raises(ConsulError):
            PollSettings(**bad)


async def test_w12_deadlines_leave_room_for_jitter_and_a_missing_leader() -> None:
    async with World(a="1") as world, world.query().watch() as watch:
        hold = [True]

        async def held(call: Call) -> Answer | None:
            if call.polled:
                await world.clock.sleep(call.wait * 17 / 16 + 7 if hold[0] else 1e6)
            return world.consul.now()

        world.consul.fault = held
        await world.clock.advance(200)
        assert watch.status.counters.errors == {}
        hold[0] = False
        await world.clock.advance(300)
        assert watch.status.counters.errors["RequestTimeout"] >= 1
        for call in world.consul.polls:
            assert call.deadline == pytest.approx(call.wait * 17 / 16 + 10, abs=0.01)
        assert {call.deadline for call in world.consul.reads} == {10}


async def test_w13_a_proxy_that_cuts_is_learned() -> None:
    async with World(a="1") as world, world.query().watch() as watch:

        async def cut(call: Call) -> Answer | None:
            if call.polled and call.wait > 3:
                await world.clock.sleep(3)
                return error(504, "<html>Gateway Time-out</html>", **HTML)
            return None

        world.consul.fault = cut
        states = Told(watch.states(), world.clock)
        told = Told(watch.snapshots(), world.clock)
        await world.clock.advance(60)
        cuts = [call for call in world.consul.polls if call.wait > 3]
        assert len(cuts) == 2
        assert watch.status.wait == pytest.approx(2.4)
        assert watch.status.counters.errors == {}
        written = world.clock.now()
        world.consul.set(a="2")
        await world.clock.advance(1)
        assert told.times[-1] - written < 0.1
        assert [status.state for status in states.got] == ["starting", "synced"]
        await world.clock.advance(620)  # after ten minutes the full wait is tried again
        assert sum(call.wait > 3 for call in world.consul.polls) > 2


async def test_w13_consuls_own_words_are_not_a_proxys() -> None:
    async with World(a="1") as world, world.query().watch() as watch:

        async def frozen(call: Call) -> Answer | None:
            await world.clock.sleep(20 if call.polled else 0)
            return error(503, "error reading from server: EOF") if call.polled else None

        world.consul.fault = frozen
        await world.clock.advance(120)
        assert watch.status.wait == 55
        assert watch.status.counters.errors["ServerError"] >= 2


async def test_w14_many_that_start_together_do_not_stay_together() -> None:
    settings = PollSettings(max_polls=400)
    async with World(settings, a="1") as world:
        watches = [world.query(f"/v1/things/{number}").watch() for number in range(200)]
        for watch in watches:
            await watch.__aenter__()
        await world.clock.advance(170)
        calls = {
            number: [call for call in world.consul.calls if call.path == f"/v1/things/{number}"]
            for number in range(200)
        }
        assert max(found[0].time for found in calls.values()) > 1000.8
        slots = Counter(int(found[2].time * 10) for found in calls.values())
        assert max(slots.values()) <= 20


async def test_w15_failures_back_off_and_recover() -> None:
    async with World(a="1") as world, world.query().watch() as watch:
        await watch.ready()
        world.consul.fault = always(lost())
        world.consul.wake()
        await world.clock.advance(100)
        times = [call.time for call in world.consul.reads[1:]]
        delays = [later - earlier for earlier, later in itertools.pairwise(times)]
        for number, delay in enumerate(delays, start=1):
            longest = min(30.0, 0.5 * 2 ** (number - 1))
            assert 0.4 * longest - 1e-6 <= delay <= longest + 1e-6
        assert watch.status.failures == len(times)
        retry = watch.status.retry_in
        assert retry is not None
        assert retry > 1

        # Whoever asks for data does not wait for the backoff.
        world.consul.fault = None
        world.consul.set(a="2")
        await watch.refresh()
        assert watch.current == (Thing("a", "2"),)
        assert state(watch) == "synced"
        await idle()
        assert world.consul.calls[-1].polled
        failures = watch.status.failures
        world.consul.set(a="3")
        await idle()
        assert watch.status.failures == failures // 2 > 1  # a poll that works halves the count
        await world.clock.advance(180)
        world.consul.fault = always(lost())
        world.consul.wake()
        await idle()
        assert watch.status.failures == 1  # two quiet minutes clear the count


async def test_w15_alternating_answers_do_not_make_a_storm() -> None:
    async with World(a="1") as world, world.query().watch():

        async def alternate(call: Call) -> Answer | None:
            return world.consul.now() if len(world.consul.calls) % 2 else error(500, "rpc error making call: EOF")

        world.consul.fault = alternate
        await world.clock.advance(60)
        assert 5 < len(world.consul.calls) <= 20


async def test_w16_after_a_freeze_it_reads_again_at_once() -> None:
    async with World(a="1") as world, world.query().watch() as watch:

        async def half_open(call: Call) -> Answer | None:
            await world.clock.sleep(1e6 if call.polled and len(world.consul.polls) == 1 else 0)
            return None

        world.consul.fault = half_open
        told = Told(watch.snapshots(), world.clock)
        await world.clock.advance(1)
        world.consul.set(5, a="2")
        world.clock.jump(120)  # no timer has seen it: the process was stopped
        resumed = world.clock.now()
        await world.clock.advance(2)
        assert values(told)[-1] == {"a": "2"}
        assert told.times[-1] - resumed < 0.01
        assert state(watch) == "synced"


TABLE = [
    (error(400, "Invalid wait time"), BadRequest, ""),
    (error(405, "method GET not allowed"), BadRequest, ""),
    (error(404, "Invalid URL path: not a recognized HTTP API endpoint"), ConsulError, ""),
    (error(403, "Permission denied"), None, "denied"),
    (error(403, "ACL not found"), None, "denied"),
    (error(401, "ACL support disabled"), ConsulError, ""),
    (error(429, "Your IP is issuing too many concurrent connections, please rate limit your calls"), None, "throttled"),
    (error(429, "rate limit exceeded, try again later or against a different server"), None, "throttled"),
    (error(503, "rate limit exceeded for operation that can only be performed by the leader"), None, "throttled"),
    (error(503, "resolver error: resolver produced no addresses"), None, "stale"),
    (error(503, "error reading from server: EOF"), None, "stale"),
    (error(500, "No cluster leader"), None, "stale"),
    (error(500, "rpc error making call: i/o deadline reached"), None, "stale"),
    (error(500, "something invalid that worked before"), None, "stale"),
    (error(502, "<html>Bad Gateway</html>", **HTML), None, "stale"),
    (error(301, ""), None, "stale"),
    (Response(200, {"x-consul-index": "11"}, b'[{"name": '), None, "stale"),
    (Response(200, {"x-consul-index": "11"}, b"<html>not consul</html>"), None, "stale"),
    (lost(), None, "stale"),
    (ValueError("the token function failed"), None, "stale"),
]


@pytest.mark.parametrize(("answer", "ends", "expected"), TABLE, ids=[str(number) for number in range(len(TABLE))])
async def test_w17_each_answer_ends_the_watch_or_is_a_state(
    answer: Answer, ends: type[ConsulError] | None, expected: str
) -> None:
    async with World(a="1") as world, world.query().watch() as watch:
        told = Told(watch.changes(), world.clock)
        await world.clock.advance(1)
        world.consul.fault = always(answer)
        world.consul.wake()
        await world.clock.advance(0.001)
        if ends is not None:
            assert isinstance(told.error, ends)
            return
        status = watch.status
        assert status.state == expected
        assert status.retry_in is not None
        low, high = {"denied": (30, 30), "throttled": (60, 180), "stale": (0.2, 0.5)}[expected]
        assert low - 0.001 <= status.retry_in <= high
        assert status.error
        assert watch.current == (Thing("a", "1"),)
        world.consul.fault = None
        world.consul.set(a="2")
        await world.clock.advance(181)
        assert state(watch) == "synced"
        assert watch.status.error == ""
        assert len(told.got) == 2


async def test_w17_what_is_not_there_is_a_value() -> None:
    async with World() as world, world.query(blocking=ABSENT).watch() as watch:
        world.consul.put(b'Config entry not found for "service-intentions" / "db"', status=404)
        told = Told(watch.snapshots(), world.clock)
        await world.clock.advance(1)
        assert state(watch) == "absent"
        assert world.consul.calls[-1].polled
        world.consul.set(db="1")
        await world.clock.advance(1)
        assert state(watch) == "synced"
        assert values(told) == [{}, {"db": "1"}]


async def test_w17_no_rights_from_the_start_ends_it_and_later_does_not() -> None:
    async with World(a="1") as world:
        world.consul.fault = always(error(403, "Permission denied"))
        async with world.query().watch() as watch:
            with pytest.raises(PermissionDenied):
                await watch.ready()
            with pytest.raises(PermissionDenied):
                await anext(watch.changes())
        world.consul.fault = None
        async with world.query().watch() as watch:
            await watch.ready()
            world.consul.fault = always(error(403, "ACL not found"))
            world.consul.wake()
            await world.clock.advance(1000)
            times = [call.time for call in world.consul.reads[2:]]
            delays = [round(later - earlier) for earlier, later in itertools.pairwise(times)]
            assert delays[:5] == [30, 60, 120, 240, 300]


async def test_w18_a_new_token_is_used_at_once_and_the_old_one_counts_no_more() -> None:
    async with World(a="1") as world:
        query = world.query()
        explicit = world.query(options=Options(token="5ec2e7"))
        async with query.watch() as watch, query.watch() as second, explicit.watch() as other:
            await all_ready(watch, second, other)
            await idle()
            world.consul.fault = always(error(403, "ACL not found"))
            world.consul.wake()
            await idle()
            assert state(watch) == "denied"
            world.consul.fault = None
            world.consul.set(a="2")
            before = world.clock.now(), len(world.consul.calls)
            world.polls.token_changed()
            await world.clock.advance(0.9)
            assert watch.current == (Thing("a", "2"),)
            assert state(watch) == "synced"
            assert len(world.consul.calls) - before[1] <= 4
            assert state(other) == "denied"  # its token is another, and did not change
            assert "5ec2e7" not in repr(world.polls) + repr(other) + repr(other.explain())
            keys: list[Any] = list(world.polls._polls)
            assert all(request.options.token != "5ec2e7" for request, _ in keys)


async def test_w18_an_answer_to_the_old_token_is_not_believed() -> None:
    async with World(a="1") as world, world.query().watch(delivery="all") as watch:
        told = Told(watch.snapshots(), world.clock)
        await world.clock.advance(1)
        world.consul.body = things(a="2")
        world.polls.token_changed()
        await idle()
        assert values(told)[-1] == {"a": "2"}
        assert world.consul.polls[-1].ended is None  # the poll with the old token goes on
        world.consul.body = things(a="what the old token sees")
        world.consul.restore(20, a="3")
        await world.clock.advance(1)
        assert values(told) == [{"a": "1"}, {"a": "2"}, {"a": "3"}]


async def test_w19_no_failure_however_long_removes_anything() -> None:
    async with World(a="1", b="2") as world, world.query().watch() as watch:
        told = Told(watch.changes(), world.clock)
        await world.clock.advance(1)
        world.consul.fault = always(error(500, "No cluster leader"))
        world.consul.wake()
        await world.clock.advance(600)
        assert len(told.got) == 1
        assert state(watch) == "stale"
        assert watch.status.since < 1002
        assert watch.status.age is not None
        assert watch.status.age == pytest.approx(600, abs=2)
        world.consul.fault = None
        world.consul.set(b="2", c="3")
        await world.clock.advance(40)
        assert [list(batch) for batch in told.got[1:]] == [[Removed(Thing("a", "1")), Added(Thing("c", "3"))]]


@pytest.mark.parametrize(
    ("lie", "truth", "expected"),
    [
        (
            {"index": "1", "knownleader": "false", "query_backend": "streaming"},
            error(500, "No cluster leader"),
            "stale",
        ),
        ({"index": "99", "query_backend": "streaming"}, error(403, "Permission denied"), "denied"),
        ({"index": "5"}, error(500, "rpc error making call: EOF"), "stale"),
        ({"index": "1", "knownleader": "false"}, None, "denied"),
    ],
)
async def test_w20_sudden_emptiness_is_confirmed(lie: dict[str, str], truth: Response | None, expected: str) -> None:
    async with World(a="1", b="2") as world, world.query(blocking=STREAMING).watch() as watch:
        told = Told(watch.changes(), world.clock)
        await world.clock.advance(3)
        empty = Response(200, {f"x-consul-{name.replace('_', '-')}": value for name, value in lie.items()}, b"[]")

        async def lying(call: Call) -> Answer | None:
            return empty if call.polled or truth is None else truth

        world.consul.fault = lying
        polls = len(world.consul.polls)

        # The poll in flight is the one that lies.
        world.consul.body, world.consul.headers = b"[]", dict(empty.headers)
        world.consul.wake()
        await world.clock.advance(0.5)
        assert removed(told) == 0
        assert state(watch) == expected
        await world.clock.advance(600)
        assert removed(told) == 0
        assert len(world.consul.polls) >= polls
        assert watch.current == (Thing("a", "1"), Thing("b", "2"))


async def test_w20_honest_emptiness_is_told_at_once() -> None:
    async with World(a="1", b="2") as world, world.query().watch() as watch:
        told = Told(watch.changes(), world.clock)
        await world.clock.advance(3)
        world.consul.headers["x-consul-query-backend"] = "streaming"
        world.consul.set()
        await world.clock.advance(1)
        assert removed(told) == 2
        assert [turn.asked for turn in watch.explain()][-2:] == ["poll", "confirm"]


async def test_w20_the_confirming_read_asks_the_leader() -> None:
    query_options = Options(consistency="stale", cached=True)
    async with World(a="1") as world, world.query(options=query_options).watch() as watch:
        told = Told(watch.changes(), world.clock)
        await world.clock.advance(3)
        assert {"stale", "cached"} <= set(world.consul.calls[-1].parameters)
        world.consul.set()
        await world.clock.advance(1)
        assert removed(told) == 1
        confirm = world.consul.reads[-1]
        assert not {"stale", "cached"} & set(confirm.parameters)


async def test_w21_hidden_items_are_not_removed() -> None:
    async with World(a="1", b="2") as world, world.query().watch() as watch:
        told = Told(watch.changes(), world.clock)
        await world.clock.advance(1)
        world.consul.headers["x-consul-results-filtered-by-acls"] = "true"
        world.consul.set(a="1")
        await world.clock.advance(1)
        assert removed(told) == 0
        assert (state(watch), watch.status.filtered) == ("denied", True)
        assert watch.current == (Thing("a", "1"), Thing("b", "2"))
        del world.consul.headers["x-consul-results-filtered-by-acls"]
        world.consul.set(a="1", b="2")
        await world.clock.advance(1)
        assert (state(watch), watch.status.filtered) == ("synced", False)

        # Old servers do not say it; but data cannot have changed where the index stands.
        world.consul.body = things(a="1")
        await world.clock.advance(60)
        assert removed(told) == 0
        assert state(watch) == "denied"


async def test_w21_a_hidden_item_holds_nothing_else_back() -> None:
    async with World(a="1", b="2") as world, world.query().watch() as watch:
        told = Told(watch.changes(), world.clock)
        await world.clock.advance(1)
        world.consul.headers["x-consul-results-filtered-by-acls"] = "true"
        world.consul.set(a="deny")
        await world.clock.advance(1)
        world.consul.set(a="deny", c="3")
        await world.clock.advance(1)
        world.consul.set(a="deny")  # it was visible, and the header had been there: removed
        await world.clock.advance(3)
        changed, c = Changed(Thing("a", "1"), Thing("a", "deny")), Thing("c", "3")
        assert [list(batch) for batch in told.got[1:]] == [[changed], [Added(c)], [Removed(c)]]
        assert watch.current == (Thing("a", "deny"), Thing("b", "2"))
        assert (state(watch), watch.status.filtered) == ("denied", True)
        del world.consul.headers["x-consul-results-filtered-by-acls"]
        world.consul.set(a="deny", c="4")  # all is visible now, and b was deleted meanwhile
        await world.clock.advance(3)
        assert set(told.got[-1]) == {Removed(Thing("b", "2")), Added(Thing("c", "4"))}
        assert (state(watch), watch.status.filtered) == ("synced", False)


async def test_w21_what_an_old_server_hides_stays_hidden_whatever_is_written() -> None:
    async with World(a="1", b="2", c="3") as world, world.query().watch() as watch:
        told = Told(watch.changes(), world.clock)
        await world.clock.advance(1)
        world.consul.body = things(c="3")  # under the same index
        await world.clock.advance(60)
        assert (removed(told), state(watch)) == (0, "denied")
        world.consul.set(c="4", d="5")
        await world.clock.advance(3)
        assert removed(told) == 0
        assert state(watch) == "denied"
        assert list(told.got[-1]) == [Changed(Thing("c", "3"), Thing("c", "4")), Added(Thing("d", "5"))]
        world.consul.body = things(a="1", c="4", d="5")  # one is seen again: b was deleted, after all were seen
        await world.clock.advance(60)
        assert list(told.got[-1]) == [Removed(Thing("b", "2"))]
        assert state(watch) == "synced"


async def test_w21_a_part_of_the_rights_comes_back() -> None:
    async with World(a="1", b="2") as world, world.query().watch() as watch:
        told = Told(watch.changes(), world.clock)
        await world.clock.advance(1)
        for visible in ({}, {"a": "1"}):
            world.consul.body = things(**visible)  # under the same index: nothing was deleted
            await world.clock.advance(60)
            assert (removed(told), state(watch)) == (0, "denied")
        world.consul.set(a="1")
        world.polls.token_changed()
        await world.clock.advance(3)
        assert removed(told) == 1
        assert state(watch) == "synced"


async def test_w21_a_lost_token_removes_nothing() -> None:
    async with World(a="1", b="2") as world, world.query().watch() as watch:
        told = Told(watch.changes(), world.clock)
        await world.clock.advance(1)
        world.consul.anonymous = True
        for index in (20, 30):
            world.consul.set(index)
            await world.clock.advance(3)
            assert removed(told) == 0
            assert (state(watch), watch.status.anonymous) == ("denied", True)
        assert len(watch.current) == 2
        world.consul.anonymous = False
        world.consul.set(40)
        await world.clock.advance(3)
        assert removed(told) == 2
        assert (state(watch), watch.status.anonymous) == ("synced", False)


async def test_w21_what_nobody_may_see_and_what_was_always_anonymous() -> None:
    async with World(a="1", b="2") as world, world.query().watch() as watch:
        world.consul.anonymous = True
        told = Told(watch.changes(), world.clock)
        await world.clock.advance(1)
        world.consul.set(a="1")
        await world.clock.advance(1)
        assert removed(told) == 1
        assert (state(watch), watch.status.anonymous) == ("synced", True)


async def test_w21_what_was_always_filtered_can_be_removed() -> None:
    async with World(a="1", b="2") as world, world.query().watch() as watch:
        world.consul.headers["x-consul-results-filtered-by-acls"] = "true"
        told = Told(watch.changes(), world.clock)
        await world.clock.advance(1)
        assert watch.status.filtered
        world.consul.set(a="1")
        await world.clock.advance(1)
        assert removed(told) == 1


async def test_w22_age_is_that_of_the_last_proof() -> None:
    async with World(a="1") as world, world.query().watch() as watch:
        world.consul.headers["x-consul-knownleader"] = "false"  # roots of 1.8.7
        await world.clock.advance(200)
        assert watch.status.age == 0
        world.consul.headers["x-consul-lastcontact"] = "2500"
        world.consul.set(a="2")
        await world.clock.advance(1)
        assert watch.status.age == 2.5
        world.consul.headers.update({"age": "30", "x-cache": "HIT"})
        world.consul.set(a="3")
        await world.clock.advance(1)
        assert watch.status.age is not None
        assert watch.status.age >= 30

        # A leaf: its Age is that of the certificate.
        world.consul.headers.update({"age": "1512", "x-consul-lastcontact": None})
        world.consul.set(a="4")
        await world.clock.advance(1)
        assert watch.status.age < 120


def stream(world: World) -> None:
    """Polls are answered by the agent's streaming view, plain reads by the servers."""

    async def fault(call: Call) -> Answer | None:
        answer = await world.consul.respond(call)
        backend = "streaming" if call.polled else "blocking-query"
        return Response(answer.status, {**answer.headers, "x-consul-query-backend": backend}, answer.body)

    world.consul.fault = fault


async def test_w22_a_blind_stream_is_found_by_a_check_read() -> None:
    async with World(a="1") as world, world.query(blocking=STREAMING).watch() as watch:
        stream(world)
        streaming = world.consul.fault
        assert streaming is not None
        told = Told(watch.snapshots(), world.clock)
        await world.clock.advance(70)
        assert state(watch) == "synced"
        frozen = world.consul.body

        async def blind(call: Call) -> Answer | None:
            return await streaming(call) if call.polled else error(500, "No known Consul servers")

        world.consul.fault = blind
        await world.clock.advance(61)
        assert state(watch) == "stale"
        await world.clock.advance(120)
        assert state(watch) == "stale"  # although its polls say 200
        assert watch.status.age is not None
        assert watch.status.age > 120
        assert len(told.got) == 1

        # The servers are back, with another state that the stream does not show yet.
        async def behind(call: Call) -> Answer | None:
            answer = await streaming(call)
            return (
                Response(200, answer.headers, frozen if call.polled else things(a="2"))
                if isinstance(answer, Response)
                else answer
            )

        world.consul.fault = behind
        await world.clock.advance(61)
        assert values(told)[-1] == {"a": "2"}
        assert state(watch) == "synced"


TRUTH: Request[object] = Request(method="GET", path="/v1/truth", decode=decode, takes=UNCACHED_READ)
OTHER: Request[object] = Request(
    method="GET", path="/v1/truth", decode=lambda response: response.body, takes=UNCACHED_READ
)


def agent_with(truth: Callable[[Call], Awaitable[Answer]], world: World) -> None:
    """The agent answers from what it holds; `truth` is what the servers answer."""
    held = world.consul.body

    async def fault(call: Call) -> Answer | None:
        if call.path == "/v1/truth":
            return await truth(call)
        answer = await world.consul.respond(call)
        return Response(200, {**answer.headers, "x-cache": "HIT", "age": "0"}, held)

    world.consul.fault = fault


async def test_w22_what_the_agent_holds_is_compared_with_the_servers() -> None:
    blocking = Blocking(items=by_name, source="agent", check=TRUTH)
    async with (
        World(a="1") as world,
        world.query(blocking=blocking, options=Options(datacenter="far")).watch() as watch,
    ):
        agent_with(world.consul.respond, world)
        told = Told(watch.snapshots(), world.clock)
        await world.clock.advance(100)
        assert len(told.got) == 1
        world.consul.body = things(a="restored")
        await world.clock.advance(61)
        assert values(told) == [{"a": "1"}, {"a": "restored"}]
        world.consul.set(a="2")  # from here on it listens to the servers: the agent stays wrong for ten minutes
        await idle()
        assert values(told)[-1] == {"a": "2"}
        await world.clock.advance(500)
        assert len(told.got) == 3
        assert {call.parameters.get("dc") for call in world.consul.calls} == {"far"}


async def test_w22_a_leaf_is_as_old_as_the_last_answer_of_the_servers() -> None:
    async with (
        World(a="1") as world,
        world.query(blocking=Blocking(items=by_name, source="agent", check=OTHER)).watch() as watch,
    ):
        down = [False]

        async def servers(call: Call) -> Answer:
            return error(500, "No known Consul servers") if down[0] else world.consul.now(body=b"roots")

        agent_with(servers, world)
        await world.clock.advance(90)
        assert state(watch) == "synced"
        assert watch.status.age == pytest.approx(30)
        down[0] = True
        await world.clock.advance(61)
        assert state(watch) == "stale"
        await world.clock.advance(120)
        assert state(watch) == "stale"
        down[0] = False
        await world.clock.advance(61)
        assert state(watch) == "synced"
        assert watch.current == (Thing("a", "1"),)
