"""W15 and W22 of the leader: what a watch does while there is none, and when there is another one."""

from __future__ import annotations

import pytest
from support.fakes import (
    Answer,
    Call,
    Thing,
    World,
    always,
    error,
    refused,
    state,
    things,
)

from aioconsulconnect.transport.settings.options import Options
from aioconsulconnect.watch.protocol.poll_settings import PollSettings


async def test_w15_a_leader_that_is_lost_sends_nobody_away_who_needs_none() -> None:
    """The next agent may be the leader that is gone: what answers is worth more than what might."""
    async with World(a="1") as world, world.query(options=Options(consistency="stale")).watch() as watch:
        world.consul.addresses = ("http://one", "http://two")

        async def two_is_down(call: Call) -> Answer | None:
            return refused() if call.address == "http://two" else None

        world.consul.fault = world.consul.question_fault = two_is_down
        await world.clock.advance(6)
        for leader in ("", "10.0.0.2:8300"):
            world.consul.leader = leader
            await world.clock.advance(60)
        assert state(watch) == "synced"
        assert {call.address for call in world.consul.calls} == {"http://one"}


async def test_w15_a_read_that_is_held_without_a_leader_is_not_waited_for() -> None:
    """An agent says that there is no path to its leader, still names it, and holds the next read for seconds."""
    async with World(a="1") as world, world.query().watch() as watch:
        await world.clock.advance(10)
        held: list[Call] = []

        async def leaderless(call: Call) -> Answer | None:
            if call.polled or not held:
                held.append(call)
                return error(500, "rpc error getting client: failed to get conn: connection refused")
            if call.time < lost_at + 3:
                await world.clock.sleep(7)
            return None

        world.consul.fault, lost_at = leaderless, world.clock.now()
        world.consul.end_polls(error(500, "rpc error making call: EOF"))
        await world.clock.advance(3)
        assert state(watch) == "stale"
        world.consul.leader, world.consul.fault = "10.0.0.2:8300", None
        world.consul.set(a="2")
        await world.clock.advance(1)
        assert watch.current == (Thing("a", "2"),)


async def test_w15_an_agent_without_a_leader_serves_who_needs_none() -> None:
    stale = Options(consistency="stale")
    async with World(a="1") as world, world.query(options=stale).watch() as watch, world.query().watch() as other:
        await world.clock.advance(3)
        world.consul.leader = ""
        await world.clock.advance(60)
        assert (state(watch), state(other)) == ("synced", "stale")
        world.consul.set(a="2")
        await world.clock.advance(1)
        assert watch.current == (Thing("a", "2"),)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("down", [8.0, 12.0, 20.0])
async def test_w15_a_new_leader_is_found_soon_however_long_there_was_none(down: float, seed: int) -> None:
    async with World(seed=seed, a="1") as world, world.query().watch() as watch:
        await world.clock.advance(3)
        world.consul.leader = ""
        world.consul.fault = always(error(500, "No cluster leader"))
        world.consul.end_polls(error(500, "No cluster leader"))
        await world.clock.advance(down)
        assert state(watch) == "stale"
        world.consul.leader, world.consul.fault = "10.0.0.2:8300", None
        await world.clock.advance(1.5)
        assert state(watch) == "synced"


async def test_w22_a_leader_that_is_lost_soon_after_the_start_is_noticed_by_the_next_question() -> None:
    async with World(PollSettings(wait=600, probe_interval=30.0), a="1") as world, world.query().watch() as watch:
        await world.clock.advance(8)
        world.consul.leader = "10.0.0.2:8300"
        world.consul.body, world.consul.index = things(a="2"), 11
        await world.clock.advance(32)
        assert watch.current == (Thing("a", "2"),)


@pytest.mark.parametrize("how", ["killed", "terminated"])
async def test_w22_a_leader_that_comes_back_between_two_rounds_is_noticed(how: str) -> None:
    """The second leader was there between two rounds: polls ended with the first, so it is known in time."""
    async with World(PollSettings(wait=600, probe_interval=30.0), a="1") as world, world.query().watch() as watch:
        await world.clock.advance(61)
        world.consul.leader = "10.0.0.2:8300"
        if how == "killed":
            world.consul.end_polls(error(500, "rpc error making call: EOF"))
        else:
            world.consul.wake()
        await world.clock.advance(9)
        assert state(watch) == "synced"
        world.consul.leader = "10.0.0.1:8300"
        world.consul.body, world.consul.index = things(a="2"), 11
        await world.clock.advance(40)
        assert watch.current == (Thing("a", "2"),)


async def test_w22_leader_probe_at_the_start_answered_by_a_gateway_is_sent_once() -> None:
    async with World(PollSettings(wait=10, probe_interval=300.0), a="1") as world, world.query().watch():
        world.consul.question_fault = always(error(403, "<html>Forbidden</html>"))
        await world.clock.advance(200)
        assert len(world.consul.questions) == 1
