"""W38: what a watch tells of itself."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging

import pytest
from support.fakes import (
    Answer,
    Call,
    Told,
    World,
    always,
    error,
    state,
)

from aioconsulconnect.endpoints.intentions import Intentions
from aioconsulconnect.errors import NotReady
from aioconsulconnect.transport.settings.options import Options
from aioconsulconnect.watch.protocol.poll_settings import PollSettings


async def test_w38_an_outage_is_exactly_four_states_and_two_warnings(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "aioconsulconnect")
    async with World(PollSettings(probe_interval=0), a="1") as world, world.query().watch() as watch:
        told = Told(watch.states(), world.clock)
        await world.clock.advance(70)
        failures: list[float] = []

        async def leaderless(call: Call) -> Answer | None:
            failures.append(call.time)
            return error(500, "No cluster leader")

        world.consul.fault = leaderless
        world.consul.leader = ""
        world.consul.wake()
        await world.clock.advance(60)
        stale = asyncio.ensure_future(watch.wait_for_state("synced", timeout=1))
        world.consul.fault = None
        world.consul.leader = "10.0.0.1:8300"
        await world.clock.advance(40)
        assert (await stale).state == "synced"
        assert [status.state for status in told.got] == ["starting", "synced", "stale", "synced"]
        warnings = [record for record in caplog.records if record.levelno >= logging.WARNING]
        assert len(warnings) == 2
        assert len(caplog.records) == 3
        assert "No cluster leader" in warnings[0].getMessage()

        status = watch.status
        assert (status.index, status.consumers, status.wait, status.zombies) == (10, 1, 55, 0)
        assert status.counters.requests == len(world.consul.calls) - 1
        assert set(status.counters.errors) == {"NoLeader"}
        assert status.counters.errors["NoLeader"] >= len(failures) > 0
        log = watch.explain()
        assert [record.asked for record in log[:4]] == ["read", "poll", "poll", "read"]
        verdicts = [record.verdict.partition(",")[0] for record in log[:4]]
        assert verdicts == ["first", "unchanged", "unchanged", "NoLeader"]
        kinds = [event.kind for event in world.events]
        assert kinds.count("state") == 3
        assert kinds.count("poll") == status.counters.requests


async def test_w38_the_hook_is_told_of_deliveries_and_may_fail() -> None:
    async with World(a="1") as world, world.query().watch() as watch:
        await anext(watch.changes())
        assert world.events[-1].kind == "delivered"

        def broken(event: object) -> None:
            raise ValueError

        world.polls.resources._on_event = broken
        world.consul.set(a="2")
        await watch.until(lambda now: now[0].value == "2", timeout=1)
        assert state(watch) == "synced"


def matches(number: int) -> str:
    return f"/v1/connect/intentions/match?by=destination&name=db-{number}"


async def test_w38_each_of_twenty_watches_in_trouble_names_its_query(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "aioconsulconnect")
    async with World() as world, contextlib.AsyncExitStack() as stack:
        world.consul.put(json.dumps({f"db-{number}": None for number in range(20)}).encode())
        intentions = Intentions(world.consul, world.polls, Options())
        watches = [
            await stack.enter_async_context(intentions.match(destination=f"db-{number}").watch())
            for number in range(20)
        ]
        await world.clock.advance(10)
        assert {watch.status.state for watch in watches} == {"synced"}
        caplog.clear()
        world.events.clear()
        world.consul.fault = always(error(500, "No cluster leader"))
        world.consul.end_polls(error(500, "No cluster leader"))
        await world.clock.advance(1)
        wanted = {matches(number) for number in range(20)}
        warnings = [record for record in caplog.records if record.levelno == logging.WARNING]
        assert len({record.getMessage() for record in warnings}) == 20
        for record in warnings:
            query = record.query  # type: ignore[attr-defined]
            assert query in record.getMessage()
            assert record.state == "stale"  # type: ignore[attr-defined]
            assert record.address == "http://one"  # type: ignore[attr-defined]
            assert record.error == "NoLeader"  # type: ignore[attr-defined]
        assert {record.query for record in warnings} == wanted  # type: ignore[attr-defined]
        assert {event.query for event in world.events} == wanted
        assert {event.state for event in world.events if event.kind == "state"} == {"stale"}
        assert [repr(watch) for watch in watches] == [f"<Watch GET {matches(number)} stale>" for number in range(20)]


async def test_w38_an_event_tells_the_true_state() -> None:
    async with World(a="1") as world, world.query().watch() as watch:
        changes = watch.changes()
        await anext(changes)
        await world.clock.advance(60)
        polls = [event for event in world.events if event.kind == "poll"]
        assert len(polls) >= 2
        assert {event.state for event in polls} == {"synced"}
        assert next(event for event in world.events if event.kind == "delivered").state == "synced"
        world.consul.fault = always(error(403, "ACL not found"))
        world.consul.wake()
        await world.clock.advance(1)
        assert world.events[-1].state == "denied"


async def test_w38_wait_that_times_out_raises_not_ready_with_the_cause() -> None:
    async with World(a="1") as world, world.query().watch() as watch:
        world.consul.fault = always(error(500, "No cluster leader"))
        await world.clock.advance(3)
        waits = {
            "ready": watch.ready(0.01),
            "until": watch.until(bool, timeout=0.01),
            "state": watch.wait_for_state("synced", timeout=0.01),
        }
        for name, wait in waits.items():
            with pytest.raises(NotReady, match="No cluster leader") as caught:
                await wait
            assert isinstance(caught.value, TimeoutError), name
        world.consul.fault = None
        await world.clock.advance(10)
        with pytest.raises(NotReady):
            await watch.until(lambda now: not now, timeout=0.01)
        with pytest.raises(NotReady):
            await asyncio.gather(watch.caught_up(999, 0.01), world.clock.advance(3))


async def test_w38_no_secret_is_in_what_a_watch_tells(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "aioconsulconnect")
    async with World(a="1") as world, world.query(options=Options(token="5ec2e7")).watch() as watch:
        await world.clock.advance(3)
        world.consul.fault = always(error(403, "ACL not found"))
        world.consul.wake()
        await world.clock.advance(30)
        told = repr([world.events, watch, watch.status, watch.explain(), [vars(one) for one in caplog.records]])
        assert "5ec2e7" not in told
