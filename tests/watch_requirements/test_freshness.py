"""W22 and W27: how old the data is, and how it is proved."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Awaitable, Callable

import pytest
from support.fakes import (
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
    refused,
    state,
    things,
    values,
)

from aioconsulconnect.transport.request import Request
from aioconsulconnect.transport.response import Response
from aioconsulconnect.transport.settings.options import UNCACHED_READ, Options
from aioconsulconnect.watch.protocol.poll_settings import PollSettings
from aioconsulconnect.watch.protocol.spec import WatchSpec


async def test_w22_age_is_that_of_the_last_proof() -> None:
    async with World(a="1") as world, world.query().watch() as watch:
        world.consul.headers["x-consul-knownleader"] = "false"  # roots of 1.8.7
        await world.clock.advance(200)
        assert state(watch) == "synced"
        answered = max(call.ended for call in world.consul.calls if call.ended is not None)
        assert watch.status.age == pytest.approx(world.clock.now() - answered)  # an open poll proves nothing by itself
        world.consul.headers["x-consul-lastcontact"] = "2500"
        world.consul.set(a="2")
        await world.clock.advance(1)
        assert watch.status.age == pytest.approx(3.5)
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
    async with World(a="1") as world, world.query(spec=STREAMING).watch() as watch:
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


TRUTH: Request[object] = Request(method="GET", path="/v1/truth", decode=decode, accepted_options=UNCACHED_READ)
OTHER: Request[object] = Request(
    method="GET", path="/v1/truth", decode=lambda response: response.body, accepted_options=UNCACHED_READ
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


async def test_w22_watch_of_an_agent_held_value_is_verified_against_the_servers() -> None:
    blocking = WatchSpec(items=by_name, source="agent", verify_with=TRUTH)
    async with (
        World(a="1") as world,
        world.query(spec=blocking, options=Options(datacenter="far")).watch() as watch,
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
        world.query(spec=WatchSpec(items=by_name, source="agent", verify_with=OTHER)).watch() as watch,
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


async def test_w22_a_maximum_age_shortens_that_polls_wait() -> None:
    async with World(a="1") as world, world.query().watch(max_age=15) as watch, world.query("/v1/other").watch():
        ages = []
        for _ in range(120):
            await world.clock.advance(1)
            ages.append(watch.status.age or 0.0)
        waits = {path: [call.wait for call in world.consul.polls if call.path == path] for path in PATHS}
        assert max(waits["/v1/things"]) <= 9
        assert min(waits["/v1/other"]) >= 44
        assert max(ages) <= 15
        assert state(watch) == "synced"


PATHS = ("/v1/things", "/v1/other")
QUESTIONED = PollSettings(probe_interval=30.0)


async def test_w22_an_agent_that_stands_still_is_told_within_forty_seconds_by_one_question() -> None:
    async with World(QUESTIONED, a="1") as world, contextlib.AsyncExitStack() as stack:
        watches = [await stack.enter_async_context(world.query(f"/v1/{number}").watch()) for number in range(25)]
        await world.clock.advance(100)
        assert 2 <= len(world.consul.questions) <= 14  # one for all watches in 30 s, or in 7 where many polls are open
        world.consul.frozen = True
        await world.clock.advance(40)
        assert {state(watch) for watch in watches} == {"stale"}
        age = watches[0].status.age
        assert age is not None
        await world.clock.advance(10)
        assert watches[0].status.age == pytest.approx(age + 10)


async def test_w22_the_question_never_renews_an_age() -> None:
    async with World(QUESTIONED, a="1") as world, world.query().watch() as watch:
        await world.clock.advance(43)
        assert world.consul.questions
        assert watch.status.age == pytest.approx(43)


async def test_w22_another_leader_has_every_poll_read_anew() -> None:
    """A poll in flight at a follower learns nothing of a frozen leader: what is written meanwhile is found at once."""
    async with World(PollSettings(wait=600, probe_interval=30.0), a="1") as world, contextlib.AsyncExitStack() as stack:
        watches = [await stack.enter_async_context(world.query(f"/v1/{number}").watch()) for number in range(10)]
        await world.clock.advance(45)
        world.consul.leader = "10.0.0.2:8300"
        world.consul.body, world.consul.index = things(a="2"), 11  # and no poll is woken
        await world.clock.advance(40)
        assert {watch.current for watch in watches} == {(Thing("a", "2"),)}
        assert {state(watch) for watch in watches} == {"synced"}


@pytest.mark.parametrize("answer", [error(403, "<html>Forbidden</html>"), error(404, "default backend - 404")])
async def test_w22_probe_answered_by_a_gateway_changes_no_watch_state(answer: Response) -> None:
    async with World(QUESTIONED, a="1") as world, world.query().watch() as watch:
        states = Told(watch.states(), world.clock)
        world.consul.question_fault = always(answer)
        await world.clock.advance(200)
        assert [status.state for status in states.got] == ["starting", "synced"]


async def test_w22_the_question_can_be_off() -> None:
    async with World(PollSettings(probe_interval=0), a="1") as world, world.query().watch() as watch:
        await world.clock.advance(200)
        assert world.consul.questions == []
        assert state(watch) == "synced"


async def test_w22_no_poll_no_question() -> None:
    async with World(QUESTIONED, a="1") as world:
        async with world.query().watch():
            await world.clock.advance(5)
        await world.clock.advance(200)
        before = len(world.consul.questions)
        await world.clock.advance(300)
        assert len(world.consul.questions) == before


LONG = PollSettings(wait=600, probe_interval=30.0)
TROUBLES: dict[str, Callable[[World], None]] = {
    "silent": lambda world: setattr(world.consul, "frozen", True),
    "refused": lambda world: setattr(world.consul, "question_fault", always(refused())),
    "nobody leads": lambda world: setattr(world.consul, "leader", ""),
    "no leader": lambda world: setattr(world.consul, "question_fault", always(error(500, "No cluster leader"))),
    "no servers": lambda world: setattr(world.consul, "question_fault", always(error(500, "No known Consul servers"))),
}


@pytest.mark.parametrize("trouble", list(TROUBLES))
async def test_w22_the_question_alone_finds_what_is_wrong_for_all_watches(trouble: str) -> None:
    async with World(LONG, a="1") as world, contextlib.AsyncExitStack() as stack:
        watches = [await stack.enter_async_context(world.query(f"/v1/{number}").watch()) for number in range(5)]
        await world.clock.advance(100)
        assert {state(watch) for watch in watches} == {"synced"}
        TROUBLES[trouble](world)
        await world.clock.advance(43)
        assert {state(watch) for watch in watches} == {"stale"}


async def test_w22_another_leader_is_told_once_and_the_reads_are_jittered_over_a_second() -> None:
    settings = PollSettings(wait=600, probe_interval=30.0, max_polls=100)
    async with World(settings, a="1") as world, contextlib.AsyncExitStack() as stack:
        for number in range(25):
            await stack.enter_async_context(world.query(f"/v1/{number}").watch())
        await world.clock.advance(100)
        before = len(world.consul.calls)
        world.consul.leader = "10.0.0.2:8300"
        await world.clock.advance(100)
        reads = [call.time for call in world.consul.calls[before:] if not call.polled]
        assert len(reads) == 25
        assert 0.5 < max(reads) - min(reads) <= 1.5


async def test_w22_probe_answered_by_a_gateway_is_replaced_by_reads_of_one_watch() -> None:
    async with World(LONG, a="1") as world, contextlib.AsyncExitStack() as stack:
        for number in range(5):
            await stack.enter_async_context(world.query(f"/v1/{number}").watch())
        world.consul.question_fault = always(error(403, "<html>Forbidden</html>"))
        await world.clock.advance(50)
        before = len(world.consul.reads)
        await world.clock.advance(300)
        assert 7 <= len(world.consul.reads) - before <= 14


async def test_w22_each_datacenter_that_is_polled_is_asked_about() -> None:
    far = Options(datacenter="far")
    async with World(QUESTIONED, a="1") as world, world.query().watch(), world.query(options=far).watch():
        await world.clock.advance(100)
        asked = Counter(call.parameters.get("dc") for call in world.consul.questions)
        assert asked[None] == asked["far"] > 2


async def test_w22_a_maximum_age_holds_from_the_moment_in_which_it_is_asked_for() -> None:
    async with World(a="1") as world, world.query().watch() as first:
        await world.clock.advance(3)
        assert state(first) == "synced"
        async with world.query().watch(max_age=15) as watch:
            for _ in range(60):
                await world.clock.advance(1)
                assert (watch.status.age or 0.0) <= 15
