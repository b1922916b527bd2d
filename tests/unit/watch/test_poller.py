"""`Polls`: isolation, sharing, and what is told. For the requirements see tests/watch_requirements."""

from __future__ import annotations

import asyncio
import contextvars
import itertools

import msgspec
import pytest
from support.fakes import (
    SPEC,
    Call,
    Thing,
    Told,
    World,
    always,
    by_name,
    error,
    idle,
    lost,
    request,
    things,
)

from aioconsulconnect.errors import ConsulError, ErrorReason, Unsupported
from aioconsulconnect.transport.response import Response
from aioconsulconnect.transport.settings.options import Options
from aioconsulconnect.watch.poller_pool import sharing_key
from aioconsulconnect.watch.protocol.poll_settings import PollSettings
from aioconsulconnect.watch.protocol.spec import WatchSpec
from aioconsulconnect.watch.query import Query
from aioconsulconnect.watch.requester import read_of_leader


async def test_a_bug_ends_the_watches_of_its_query_only(caplog: pytest.LogCaptureFixture) -> None:
    def broken(now: tuple[Thing, ...]) -> dict[object, Thing]:
        if len(now) > 1:
            raise KeyError("a bug")
        return dict(by_name(now))

    async with World(a="1") as world:
        bad: WatchSpec[tuple[Thing, ...], Thing] = WatchSpec(items=broken)
        async with world.query(spec=bad).watch() as watch, world.query("/v1/other").watch() as other:
            await watch.ready()
            await other.ready()
            await idle()
            world.consul.set(a="1", b="1")
            with pytest.raises(ConsulError, match="bug") as caught:
                await watch.until(lambda now: len(now) == 2, timeout=1)
            assert isinstance(caught.value.__cause__, ConsulError)
            assert isinstance(caught.value.__cause__.__cause__, KeyError)
            assert len(await other.until(lambda now: len(now) == 2, timeout=1)) == 2
            assert "a bug" in caplog.text
        async with world.query(spec=bad).watch() as again:  # the next gets a poll of its own
            with pytest.raises(ConsulError):
                await again.ready(1)


@pytest.mark.parametrize("other", [False, True])
async def test_a_bug_in_a_read_beside_the_loop_ends_the_watches_too(
    other: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """A check that died unnoticed would leave a blind watch in good faith."""

    def broken(now: tuple[Thing, ...]) -> dict[object, Thing]:
        if now and now[0].value == "bug":
            raise KeyError("a bug")
        return dict(by_name(now))

    async with World(a="1") as world:
        world.consul.headers["x-consul-query-backend"] = "streaming"
        check = msgspec.structs.replace(request("/v1/check"), decode=lambda _: ()) if other else None
        bad: WatchSpec[tuple[Thing, ...], Thing] = WatchSpec(items=broken, source="streaming", verify_with=check)
        async with world.query(spec=bad).watch() as watch:
            states = Told(watch.states(), world.clock)
            await world.clock.advance(1)
            if other:
                watch._poller._query.receive_beside = raising  # type: ignore[union-attr, method-assign]

            async def check_only(call: Call) -> Response | None:
                return None if call.polled else world.consul.now(body=things(a="bug"))

            world.consul.fault = check_only
            checked = asyncio.ensure_future(watch.until(lambda now: now[0].value == "bug"))
            await world.clock.advance(70)
            with pytest.raises(ConsulError, match="bug") as caught:
                await checked
            assert isinstance(caught.value.__cause__, ConsulError)
            assert isinstance(caught.value.__cause__.__cause__, KeyError)
            assert "a bug" in caplog.text
            await world.clock.advance(300)  # the poll that was under way comes back, and tells nothing more
            assert [status.state for status in states.got][-2:] == ["synced", "closed"]
            assert states.ended


def raising(*_args: object, **_more: object) -> None:
    raise KeyError("a bug")


async def test_a_refresh_raises_the_bug_that_it_meets() -> None:
    async with (
        World(a="1") as world,
        world.query(spec=WatchSpec(items=lambda now: {now[0].name: now[0]})).watch() as watch,
    ):
        await watch.ready()
        await idle()
        world.consul.body = b"[]"
        with pytest.raises(ConsulError, match="bug"):
            await watch.refresh()
        with pytest.raises(ConsulError, match="bug"):
            await watch.refresh()


async def test_an_answer_that_shows_an_old_server_is_no_bug() -> None:
    def refuse(_response: Response) -> tuple[Thing, ...]:
        raise Unsupported("this Consul ignores peer", min_version="1.13")

    async with World(a="1") as world:
        query = Query(world.consul, world.polls, msgspec.structs.replace(request(), decode=refuse), SPEC)
        async with query.watch() as watch:
            with pytest.raises(Unsupported, match="peer"):
                await watch.ready(1)


async def test_a_poll_has_a_context_of_its_own() -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="of nobody")
    seen: list[str] = []

    async def look(call: Call) -> None:
        seen.append(variable.get())

    async with World() as world:
        world.consul.fault = look
        variable.set("of the caller")
        async with world.query().watch() as watch:
            await watch.ready()
            await watch.refresh()
    assert set(seen) == {"of nobody"}


def test_sharing_key_differs_by_path_query_options_and_source_not_timeout() -> None:
    blocking: WatchSpec[tuple[Thing, ...], Thing] = WatchSpec(items=by_name)
    key = sharing_key(request(), blocking)
    assert sharing_key(request(), WatchSpec(items=by_name)) == key
    assert sharing_key(request(options=Options(timeout=1)), blocking) == key
    for other in (
        request("/v1/others"),
        request(query=(("a", "b"),)),
        request(options=Options(datacenter="dc2")),
        request(options=Options(consistency="stale")),
        request(options=Options(token="one")),
    ):
        assert sharing_key(other, blocking) != key
    assert sharing_key(request(), WatchSpec(items=by_name, source="agent")) != key
    assert "one" not in str(pickled_token(Options(token="one")))


def pickled_token(options: Options) -> object:
    key: object = sharing_key(request(options=options), WatchSpec(items=by_name))
    assert isinstance(key, tuple)
    return key[0].options.token


def test_a_read_of_the_leader_goes_past_the_cache_and_keeps_the_other_options() -> None:
    options = Options(cached=True, consistency="stale", datacenter="dc2", token="one")
    found = read_of_leader(request(), options, "consistent").options
    assert found == Options(consistency="consistent", datacenter="dc2", token="one")


async def test_a_new_token_while_nothing_is_under_way() -> None:
    async with World(PollSettings(denied=(1000, 1000)), a="1") as world, world.query().watch() as watch:
        await watch.ready()
        world.consul.fault = always(error(403, "ACL not found"))
        world.consul.wake()
        await world.clock.advance(1)
        world.consul.fault = None
        world.polls.token_changed()
        await asyncio.sleep(0)
        await idle()
        assert watch.status.state == "synced"


async def test_an_agent_that_is_restarted_is_found_within_half_a_second() -> None:
    """Where nobody listens a try costs nobody anything; where somebody breaks connections it does."""
    async with World(a="1") as world, world.query().watch() as watch:
        await watch.ready()
        await idle()
        world.consul.fail(lost("no connection", ErrorReason.UNREACHABLE))
        await world.clock.advance(25)
        down = [call.time for call in world.consul.questions]
        assert all(0.19 < later - earlier <= 0.5 for earlier, later in itertools.pairwise(down))
        assert len(down) > 40
        await world.clock.advance(600)
        long = [call.time for call in world.consul.questions if call.time > down[-1] + 10]
        assert all(1.9 < later - earlier <= 5 for earlier, later in itertools.pairwise(long))
        assert len(long) > 100
        assert len(world.consul.calls) == 2  # the watch itself waits
        world.consul.down = None
        world.consul.set(3, a="2")
        await world.clock.advance(5)
        assert watch.current == (Thing("a", "2"),)
        assert watch.status.state == "synced"


async def test_an_event_for_each_poll_state_and_delivery() -> None:
    async with World(a="1") as world, world.query().watch() as watch:
        changes = watch.changes()
        await anext(changes)
        world.consul.set(a="2")
        await anext(changes)
        kinds = [event.kind for event in world.events]
        assert {kind: kinds.count(kind) for kind in ("poll", "state", "delivered")} == {
            "poll": 2,
            "state": 1,
            "delivered": 2,
        }
        assert world.events[0].path == "/v1/things"
