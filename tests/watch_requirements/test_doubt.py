"""W18 to W21: what is not believed at once: another token, failures, emptiness, and what is hidden."""

from __future__ import annotations

from typing import Any

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
    change_of,
    error,
    idle,
    removal,
    removed,
    state,
    things,
    values,
)

from aioconsulconnect.transport.options import Options
from aioconsulconnect.transport.response import Response
from aioconsulconnect.watch.watch import all_ready


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
            keys: list[Any] = list(world.polls._pollers)
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
        assert [list(batch) for batch in told.got[1:]] == [[removal(Thing("a", "1")), addition(Thing("c", "3"))]]


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
    async with World(a="1", b="2") as world, world.query(spec=STREAMING).watch() as watch:
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
        changed, c = change_of(Thing("a", "1"), Thing("a", "deny")), Thing("c", "3")
        assert [list(batch) for batch in told.got[1:]] == [[changed], [addition(c)], [removal(c)]]
        assert watch.current == (Thing("a", "deny"), Thing("b", "2"))
        assert (state(watch), watch.status.filtered) == ("denied", True)
        del world.consul.headers["x-consul-results-filtered-by-acls"]
        world.consul.set(a="deny", c="4")  # all is visible now, and b was deleted meanwhile
        await world.clock.advance(3)
        assert set(told.got[-1]) == {removal(Thing("b", "2")), addition(Thing("c", "4"))}
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
        assert list(told.got[-1]) == [change_of(Thing("c", "3"), Thing("c", "4")), addition(Thing("d", "5"))]
        world.consul.body = things(a="1", c="4", d="5")  # one is seen again: b was deleted, after all were seen
        await world.clock.advance(60)
        assert list(told.got[-1]) == [removal(Thing("b", "2"))]
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
