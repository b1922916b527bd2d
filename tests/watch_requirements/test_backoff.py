"""W11 to W16: how long a poll asks to wait, and how long it waits after a failure."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections import Counter

import pytest
from support.fakes import (
    Answer,
    Call,
    Thing,
    Told,
    World,
    always,
    error,
    idle,
    lost,
    refused,
    state,
    things,
    values,
)

from aioconsulconnect.errors import ConnectionFailed, ConsulError, ErrorReason
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
        times: list[float] = []

        async def failing(call: Call) -> Answer | None:
            times.append(call.time)
            return error(500, "rpc error making call: EOF")

        world.consul.fault = failing
        world.consul.wake()
        await world.clock.advance(100)
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


LAST_TROUBLES: dict[str, list[Answer]] = {
    "500": [error(500, "No cluster leader")],
    "cut": [lost()],
    "cut-500-cut": [lost(), error(500, "rpc error making call: EOF"), lost()],
    "403": [error(403, "rpc error making call: ACL system must be bootstrapped: ACL not found")],
}


@pytest.mark.parametrize("last", list(LAST_TROUBLES))
@pytest.mark.parametrize("down", [4.0, 10.0, 25.0])
@pytest.mark.parametrize("seed", range(4))
async def test_w15_tries_that_nobody_took_do_not_lengthen_what_comes_after(down: float, last: str, seed: int) -> None:
    """Nobody listens for a while, then come other failures, then all is well: right 1.5 s after the last of them."""
    async with World(seed=seed, a="1") as world, world.query().watch() as watch:
        told = Told(watch.snapshots(), world.clock)
        await world.clock.advance(30)
        world.consul.fail(refused())
        await world.clock.advance(down)
        assert state(watch) == "stale"
        world.consul.down = None
        troubles = iter(LAST_TROUBLES[last])
        done = [0.0]

        async def fault(call: Call) -> Answer | None:
            found = next(troubles, None)
            if found is not None:
                done[0] = world.clock.now()
            return found

        world.consul.fault = fault
        world.consul.index, world.consul.body = 20, things(a="2")
        await world.clock.advance(10)
        assert values(told) == [{"a": "1"}, {"a": "2"}]
        assert done[0]
        assert told.times[-1] - done[0] <= (1.5 if len(LAST_TROUBLES[last]) == 1 else 3)
        assert state(watch) == "synced"


async def test_w15_three_outages_in_a_row_are_each_over_at_once() -> None:
    async with World(a="0") as world, world.query().watch() as watch:
        told = Told(watch.snapshots(), world.clock)
        await world.clock.advance(5)
        for number in range(1, 4):
            world.consul.fail(refused())
            await world.clock.advance(12)
            world.consul.down = None
            world.consul.fault = always(error(500, "No cluster leader"))
            await world.clock.advance(0.6)
            world.consul.fault = None
            world.consul.set(a=str(number))
            well = world.clock.now()
            await world.clock.advance(5)
            assert values(told)[-1] == {"a": str(number)}
            assert told.times[-1] - well <= 1.5


def tries(world: World, since: float) -> list[float]:
    """When the agent was asked anything, by whomever."""
    return sorted(call.time for call in [*world.consul.calls, *world.consul.questions] if call.time >= since)


@pytest.mark.parametrize("broken", [refused(), lost()], ids=["refused", "cut"])
async def test_w15_five_hundred_watches_of_a_dead_agent_try_four_times_a_second(broken: ConnectionFailed) -> None:
    settings = PollSettings(max_polls=32)
    async with World(settings, a="1") as world, contextlib.AsyncExitStack() as stack:
        watches = [await stack.enter_async_context(world.query(f"/v1/{number}").watch()) for number in range(500)]
        await world.clock.advance(40)
        assert all(watch.current for watch in watches)
        world.consul.fail(broken)
        died = world.clock.now()
        await world.clock.advance(2)
        assert {state(watch) for watch in watches} == {"stale"}
        await world.clock.advance(28)
        times = tries(world, died + 2)
        assert times  # somebody asks
        most = max(sum(begin <= time < begin + 1 for time in times) for begin in times)
        assert most <= 4
        world.consul.down = None
        world.consul.set(a="2")
        well = world.clock.now()
        await world.clock.advance(15)
        assert {state(watch) for watch in watches} <= {"synced", "polling"}
        assert all(watch.current[0].value == "2" for watch in watches)
        first = min(call.time for call in world.consul.calls if call.time >= well)
        assert first - well <= (1.5 if broken.reason is ErrorReason.UNREACHABLE else 6)


async def test_w15_agent_probe_after_the_probing_watch_closes_is_taken_over_by_another() -> None:
    async with World(a="1") as world, contextlib.AsyncExitStack() as stack:
        watches = [await stack.enter_async_context(world.query(f"/v1/{number}").watch()) for number in range(20)]
        await world.clock.advance(10)
        world.consul.fail(refused())
        await world.clock.advance(3)
        for watch in watches[:19]:
            last = (world.consul.calls or world.consul.questions)[-1].path
            leave = next((one for one in watches if last in repr(one)), watch)
            await leave.aclose()
            await world.clock.advance(0.3)
        rest = [watch for watch in watches if state(watch) != "closed"]
        assert rest
        await world.clock.advance(40)
        world.consul.down = None
        world.consul.set(a="2")
        await world.clock.advance(6)
        assert [state(watch) for watch in rest] == ["synced"] * len(rest)


async def test_w15_a_new_watch_does_not_try_what_is_known_to_be_silent() -> None:
    """The first of two addresses takes connections and never answers."""
    async with World(a="1") as world:
        world.consul.addresses = ("http://silent", "http://well")

        async def silent(call: Call) -> Answer | None:
            if call.address == "http://silent":
                await world.clock.sleep(1e6)
            return None

        world.consul.fault = world.consul.question_fault = silent
        async with world.query("/v1/first").watch() as watch:
            await world.clock.advance(30)
            assert state(watch) == "synced"
            for number in range(20):
                async with world.query(f"/v1/{number}").watch() as another:
                    await world.clock.advance(0.2)
                    assert state(another) == "synced"
                await world.clock.advance(5)


async def test_w15_poll_in_backoff_after_token_change_reads_at_once() -> None:
    async with World(a="1") as world, world.query().watch() as watch:
        await world.clock.advance(1)
        world.consul.fault = always(error(500, "No cluster leader"))
        world.consul.wake()
        await world.clock.advance(300)
        world.consul.fault = None
        world.consul.set(a="2")
        world.polls.token_changed()
        await world.clock.advance(0.05)
        assert state(watch) == "synced"


async def test_w12_a_plain_read_that_was_given_up_keeps_its_place_for_a_while() -> None:
    """A frozen server holds it for up to 40 s."""
    async with World(PollSettings(probe_interval=0), a="1") as world, world.query().watch() as watch:
        await world.clock.advance(1)
        world.consul.end_polls(lost())
        await idle()
        world.consul.frozen = True
        await world.clock.advance(10)
        assert watch.status.zombies == 0
        await world.clock.advance(1)
        assert watch.status.zombies >= 1
        world.consul.frozen = False
        await world.clock.advance(42)
        assert watch.status.zombies == 0


async def test_w15_address_that_refuses_a_poll_is_avoided_by_all_calls_at_once() -> None:
    async with World(a="1") as world, world.query().watch():
        await world.clock.advance(1)
        world.consul.addresses = ("http://one", "http://two")

        async def fault(call: Call) -> Answer | None:
            return refused() if call.address == "http://one" else None

        world.consul.fault = world.consul.question_fault = fault
        world.consul.end_polls(refused())
        await idle()
        assert world.consul.addresses[0] == "http://two"
        assert await world.query("/v1/other") == (Thing("a", "1"),)


async def test_w15_a_poll_that_nobody_took_tells_all_others_at_once() -> None:
    async with World(a="1") as world, world.query("/v1/one").watch() as watch, world.query("/v1/two").watch() as other:
        broken = asyncio.Event()

        async def fault(call: Call) -> Answer | None:
            if call.path == "/v1/one" and call.polled:
                await broken.wait()
                world.consul.down = refused()
                return refused()
            return None

        world.consul.fault = fault
        await world.clock.advance(10)
        assert (state(watch), state(other)) == ("synced", "synced")
        broken.set()
        await idle()
        assert (state(watch), state(other)) == ("stale", "stale")


async def test_w15_one_asks_for_all_while_an_agent_is_silent() -> None:
    async with World(a="1") as world, contextlib.AsyncExitStack() as stack:
        for number in range(20):
            await stack.enter_async_context(world.query(f"/v1/{number}").watch())
        await world.clock.advance(10)

        async def silent(call: Call) -> Answer | None:
            await world.clock.sleep(1e6)
            return None

        world.consul.question_fault = silent
        before = len(world.consul.questions)
        world.consul.fault = always(lost())
        world.consul.end_polls(lost())
        await world.clock.advance(4)
        assert len(world.consul.questions) - before == 1


async def test_w15_of_two_agents_that_were_down_the_one_that_is_back_is_used() -> None:
    async with World(a="1") as world, world.query().watch() as watch:
        world.consul.addresses = ("http://one", "http://two")
        await world.clock.advance(3)
        world.consul.fail(refused())
        await world.clock.advance(10)
        assert state(watch) == "stale"

        async def only(call: Call) -> Answer | None:
            return None if call.address == "http://two" else refused()

        world.consul.down, world.consul.fault, world.consul.question_fault = None, only, only
        world.consul.index, world.consul.body = 20, things(a="2")
        await world.clock.advance(6)
        assert (state(watch), watch.status.address) == ("synced", "http://two")
        assert watch.current == (Thing("a", "2"),)


async def test_w15_poll_after_failover_is_not_disturbed_when_the_first_agent_recovers() -> None:
    async with World(a="1") as world, world.query().watch() as watch:
        world.consul.addresses = ("http://one", "http://two")
        await world.clock.advance(3)
        down = [True]

        async def one_is_down(call: Call) -> Answer | None:
            return refused() if down[0] and call.address == "http://one" else None

        world.consul.fault = world.consul.question_fault = one_is_down
        world.consul.end_polls(refused())
        await world.clock.advance(5)
        assert (state(watch), watch.status.address) == ("synced", "http://two")
        before = len(world.consul.calls)
        down[0] = False
        await world.clock.advance(10)
        assert len(world.consul.calls) == before


async def test_w15_poll_after_refused_connection_asks_the_next_agent_at_once() -> None:
    async with World(a="1") as world, world.query().watch() as watch:
        world.consul.addresses = ("http://one", "http://two")
        await world.clock.advance(6)

        async def one_is_down(call: Call) -> Answer | None:
            return refused() if call.address == "http://one" else None

        world.consul.fault = world.consul.question_fault = one_is_down
        before = len(world.consul.calls)
        world.consul.end_polls(lost())
        await world.clock.advance(2)
        assert (state(watch), watch.status.address) == ("synced", "http://two")
        first, second = world.consul.calls[before : before + 2]
        assert (first.address, second.address) == ("http://one", "http://two")
        assert second.time - first.time <= 0.16
