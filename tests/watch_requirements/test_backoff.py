"""W11 to W17: how long a poll asks to wait, and how long it waits after a failure."""

from __future__ import annotations

import itertools
from collections import Counter

import pytest
from support.fakes import (
    ABSENT,
    Answer,
    Call,
    Thing,
    Told,
    World,
    always,
    error,
    idle,
    lost,
    state,
    values,
)

from aioconsulconnect.errors import BadRequest, ConsulError, PermissionDenied
from aioconsulconnect.transport.response import Response
from aioconsulconnect.watch.protocol.poll_settings import PollSettings

HTML = {"content-type": "text/html"}


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
    async with World() as world, world.query(spec=ABSENT).watch() as watch:
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
