"""W18 to W21: what is not believed at once: another token, failures, and answers that prove nothing."""

from __future__ import annotations

import contextlib
from typing import Any

import msgspec
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
    error,
    idle,
    lost,
    refused,
    removal,
    removed,
    state,
    things,
    values,
)

from aioconsulconnect.endpoints.ca import CA
from aioconsulconnect.errors import ErrorReason, PermissionDenied
from aioconsulconnect.transport.response import Response
from aioconsulconnect.transport.settings.options import Options
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


FILTERED = "x-consul-results-filtered-by-acls"
BLIND = {"index": "1", "knownleader": "false"}


@pytest.mark.parametrize(
    ("lie", "truth", "expected"),
    [
        (BLIND | {"query_backend": "streaming"}, error(500, "No cluster leader"), "stale"),
        ({"index": "10", "query_backend": "streaming"}, error(403, "Permission denied"), "denied"),
        ({"index": "5"}, error(500, "rpc error making call: EOF"), "stale"),
        ({}, error(404, "default backend - 404"), "stale"),
        (BLIND, None, "stale"),  # the leader is as blind: that decides nothing
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

        # The poll in flight is the one that lies.
        world.consul.body, world.consul.headers = b"[]", {"x-consul-index": None} | dict(empty.headers)
        world.consul.wake()
        await world.clock.advance(0.5)
        assert removed(told) == 0
        assert state(watch) == expected
        await world.clock.advance(600)
        assert removed(told) == 0
        assert watch.current == (Thing("a", "1"), Thing("b", "2"))


async def test_w20_a_blind_server_is_no_first_answer() -> None:
    async with World() as world, world.query().watch() as watch:
        world.consul.index, world.consul.headers = 1, {"x-consul-knownleader": "false"}
        told = Told(watch.changes(), world.clock)
        await world.clock.advance(20)
        assert told.got == []
        assert state(watch) in {"starting", "stale"}
        world.consul.headers = {}
        world.consul.set(12, a="1")
        await world.clock.advance(31)
        assert [list(batch) for batch in told.got] == [[addition(Thing("a", "1"))]]


@pytest.mark.parametrize("backend", ["blocking-query", "streaming"])
async def test_w20_honest_emptiness_under_a_higher_index_is_told_at_once(backend: str) -> None:
    async with World(a="1", b="2") as world, world.query(spec=STREAMING).watch() as watch:
        world.consul.headers["x-consul-query-backend"] = backend
        told = Told(watch.changes(), world.clock)
        await world.clock.advance(3)
        reads = len(world.consul.reads)
        world.consul.set()
        await idle()
        assert removed(told) == 2
        assert len(world.consul.reads) == reads  # that server has applied it: nobody else is asked


async def test_w20_one_missing_item_under_an_index_that_stands_is_asked_of_the_leader_and_removed() -> None:
    """Nothing but the last of two kinds of instances went: Consul does not move the index then."""
    async with World() as world, world.query().watch() as watch:
        world.consul.put(things(**{f"i{number}": "1" for number in range(10)}))
        told = Told(watch.changes(), world.clock)
        await world.clock.advance(3)
        world.consul.body = things(**{f"i{number}": "1" for number in range(9)})
        await world.clock.advance(60)
        assert [list(batch) for batch in told.got[1:]] == [[removal(Thing("i9", "1"))]]
        assert not told.got[-1].filtered
        assert state(watch) == "synced"
        assert "confirm" in [turn.asked for turn in watch.explain()]
        assert watch.status.counters.confirm == 1
        assert len(watch.current) == 9


async def test_w20_twenty_streaming_watches_and_ten_removals_cost_few_requests() -> None:
    async with World() as world, contextlib.AsyncExitStack() as stack:
        world.consul.headers["x-consul-query-backend"] = "streaming"
        there = {f"i{number}": "1" for number in range(30)}
        world.consul.put(things(**there))
        queries = [world.query(f"/v1/{number}", spec=STREAMING) for number in range(20)]
        watches = [await stack.enter_async_context(query.watch()) for query in queries]
        await world.clock.advance(5)
        before = len(world.consul.calls)
        for number in range(10):
            del there[f"i{number}"]
            world.consul.put(things(**there))
            await world.clock.advance(0.5)
        assert len(world.consul.calls) - before <= 220
        assert {len(watch.current) for watch in watches} == {20}


async def test_w20_answer_of_the_leader_after_doubt_is_delivered_whole() -> None:
    """The doubtful answer has one item less, the leader another one less, and one more: no mixture of the two."""
    async with World(a="1", b="2", c="3") as world, world.query().watch() as watch:
        told = Told(watch.snapshots(), world.clock)
        await world.clock.advance(3)
        doubtful = world.consul.now(body=things(a="1", b="9"))

        async def fault(call: Call) -> Answer | None:
            return doubtful if call.polled and len(told.got) == 1 else None

        world.consul.fault = fault
        world.consul.body = things(b="2", c="4", d="5")
        world.consul.end_polls(doubtful)
        await world.clock.advance(1)
        assert values(told) == [{"a": "1", "b": "2", "c": "3"}, {"b": "2", "c": "4", "d": "5"}]


async def test_w20_the_confirming_read_is_a_consistent_one() -> None:
    query_options = Options(consistency="stale", cached=True)
    async with World(a="1") as world, world.query(options=query_options).watch() as watch:
        told = Told(watch.changes(), world.clock)
        await world.clock.advance(3)
        assert {"stale", "cached"} <= set(world.consul.calls[-1].parameters)
        world.consul.restore(10)
        world.consul.body = b"[]"
        await world.clock.advance(1)
        assert removed(told) == 1
        confirming = set(world.consul.reads[-1].parameters)
        assert "consistent" in confirming
        assert not {"stale", "cached"} & confirming


@pytest.mark.parametrize("index", [9, None], ids=["lower index", "no index"])
@pytest.mark.parametrize("behind", [{"a": "1"}, {"a": "1", "b": "1"}], ids=["without an item", "with an older item"])
async def test_w20_a_new_leader_that_has_not_applied_all_takes_nothing_back(
    behind: dict[str, str], index: int | None
) -> None:
    """Seen with three servers, leader killed: for some ms the next one answers without the last write (fact 13)."""
    async with World() as world, world.query().watch() as watch:
        world.consul.set(10, a="1", b="2")
        if index is None:
            world.consul.headers["x-consul-index"] = None
        told = Told(watch.snapshots(), world.clock)
        await world.clock.advance(3)
        lost_leader = error(500, "rpc error making call: EOF")
        old = world.consul.now(body=things(**behind), x_consul_index="" if index is None else str(index))
        answers = iter([lost_leader, old])

        async def elected(call: Call) -> Answer | None:
            return None if "consistent" in call.parameters else next(answers, None)

        world.consul.fault = elected
        world.consul.end_polls(lost_leader)
        await world.clock.advance(20)
        assert next(answers, None) is None
        assert values(told) == [{"a": "1", "b": "2"}]
        assert state(watch) in {"synced", "polling"}


@pytest.mark.parametrize("beside", ["refresh", "new token"])
async def test_w20_a_read_beside_the_poll_is_a_consistent_one(beside: str) -> None:
    async with World(a="1", b="2") as world, world.query().watch() as watch:
        told = Told(watch.changes(), world.clock)
        await world.clock.advance(3)
        lagging = world.consul.now(body=things(a="1"))

        async def elected(call: Call) -> Answer | None:
            return None if "consistent" in call.parameters or call.polled else lagging

        world.consul.fault = elected
        if beside == "refresh":
            await watch.refresh()
        else:
            world.polls.token_changed()
        await world.clock.advance(1)
        assert removed(told) == 0


async def test_w20_a_server_that_replays_its_log_removes_nothing() -> None:
    """Seen with three servers: 200 with 206, 292, 248 and 320 of 400 instances, under lower indexes."""
    whole = {f"i{number}": "1" for number in range(400)}
    query_options = Options(consistency="stale")
    async with World() as world, world.query(options=query_options).watch() as watch:
        world.consul.put(things(**whole), 1000)
        told = Told(watch.changes(), world.clock)
        await world.clock.advance(3)
        replaying = iter([(206, 400), (292, 620), (248, 700), (320, 810), (0, 1), (399, 999)])

        async def fault(call: Call) -> Answer | None:
            if "stale" not in call.parameters or (found := next(replaying, None)) is None:
                return None
            count, index = found
            some = dict(list(whole.items())[:count])
            return world.consul.now(body=things(**some), x_consul_index=str(index))

        world.consul.fault = fault
        world.consul.end_polls(lost())
        for _ in range(10):
            await world.clock.advance(15)
            world.consul.wake()
        assert removed(told) == 0
        assert len(watch.current) == 400
        world.consul.fault = None
        world.consul.set(1001, **dict(list(whole.items())[:399]))  # and then one is really gone
        await world.clock.advance(70)
        assert removed(told) == 1


async def test_w20_a_list_of_roots_without_an_active_one_is_no_news() -> None:
    """A wiped 1.8.7 lists no root at all for some 30 ms."""
    async with World() as world:
        ca = CA(world.consul, world.polls, Options())
        world.consul.put(roots("one"), 50)
        async with ca.roots().watch() as watch:
            told: Told = Told(watch.changes(), world.clock)
            await world.clock.advance(3)
            assert len(told.got) == 1
            world.consul.fail(refused())
            await world.clock.advance(2)
            world.consul.down = None
            world.consul.put(b'{"ActiveRootID":"","TrustDomain":"","Roots":[]}', 7)
            await world.clock.advance(1)
            assert [root.id for root in watch.current.roots] == ["one"]
            world.consul.put(roots("two"), 9)
            await world.clock.advance(35)
            batches = [[type(change).__name__ for change in batch] for batch in told.got[1:]]
            assert batches == [["Removed", "Added"]]
            assert watch.status.state == "synced"


def roots(name: str) -> bytes:
    root = {"ID": name, "Name": "Consul CA Root Cert", "RootCert": "-----BEGIN CERTIFICATE-----", "Active": True}
    return msgspec.json.encode({"ActiveRootID": name, "TrustDomain": "x.consul", "Roots": [root]})


@pytest.mark.parametrize("before", [False, True], ids=["all seen before", "least privilege"])
async def test_w21_a_removal_under_filtered_answers_is_told_and_marked(before: bool) -> None:
    async with World(a="1", b="2") as world, world.query().watch() as watch:
        told = Told(watch.changes(), world.clock)
        if before:
            world.consul.headers[FILTERED] = "true"
        await world.clock.advance(1)
        assert told.got[0].filtered is before
        world.consul.headers[FILTERED] = "true"
        world.consul.set(a="1")  # rights on b were taken, while something else was written
        await world.clock.advance(1)
        assert list(told.got[-1]) == [removal(Thing("b", "2"))]
        assert (told.got[-1].filtered, watch.status.filtered) == (True, True)
        assert (state(watch), watch.current) == ("synced", (Thing("a", "1"),))
        del world.consul.headers[FILTERED]
        world.consul.set(a="1", b="2")
        await world.clock.advance(1)
        assert (told.got[-1].filtered, watch.status.filtered) == (False, False)


async def test_w21_a_true_removal_beside_a_new_invisible_item_is_a_removal() -> None:
    """Fact 24: the header and the removal come in one answer, and later answers say the same again."""
    async with World(a="1", b="2") as world, world.query().watch() as watch:
        told = Told(watch.changes(), world.clock)
        await world.clock.advance(1)
        world.consul.headers[FILTERED] = "true"
        world.consul.set(b="2")
        for _ in range(3):
            await world.clock.advance(60)
            assert watch.current == (Thing("b", "2"),)
        world.consul.set(b="2", c="3")
        await world.clock.advance(1)
        assert [list(batch) for batch in told.got[1:]] == [[removal(Thing("a", "1"))], [addition(Thing("c", "3"))]]
        assert [batch.filtered for batch in told.got] == [False, True, True]
        assert "a" not in {thing.name for thing in watch.current}


async def test_w21_rights_that_go_and_come_under_an_unmoved_index() -> None:
    async with World(a="1", b="2") as world, world.query().watch() as watch:
        told = Told(watch.changes(), world.clock)
        await world.clock.advance(1)
        world.consul.body, world.consul.headers[FILTERED] = things(a="1"), "true"
        await world.clock.advance(60)
        assert list(told.got[-1]) == [removal(Thing("b", "2"))]
        assert told.got[-1].filtered
        world.consul.body = things(a="1", b="2")
        del world.consul.headers[FILTERED]
        await world.clock.advance(60)
        assert list(told.got[-1]) == [addition(Thing("b", "2"))]
        assert (told.got[-1].filtered, watch.status.filtered, state(watch)) == (False, False, "synced")


async def test_w21_answers_to_nobody_are_marked() -> None:
    async with World(a="1", b="2") as world, world.query().watch() as watch:
        world.consul.anonymous = True
        told = Told(watch.changes(), world.clock)
        await world.clock.advance(1)
        assert told.got[0].anonymous
        world.consul.set(a="1")
        await world.clock.advance(1)
        assert list(told.got[-1]) == [removal(Thing("b", "2"))]
        assert (told.got[-1].anonymous, told.got[-1].filtered) == (True, False)
        assert (state(watch), watch.status.anonymous) == ("synced", True)


async def test_w21_a_token_source_that_gives_none_is_a_denial() -> None:
    """It gave one before: nothing is sent, and the data stays."""
    async with World(a="1", b="2") as world, world.query().watch() as watch:
        told = Told(watch.changes(), world.clock)
        await world.clock.advance(1)
        world.consul.fault = always(PermissionDenied("no token", reason=ErrorReason.TOKEN_MISSING))
        world.consul.wake()
        await world.clock.advance(100)
        assert (removed(told), state(watch)) == (0, "denied")
        world.consul.fault = None
        world.consul.set(a="1")
        await world.clock.advance(61)
        assert (removed(told), state(watch)) == (1, "synced")


async def test_w18_a_token_file_that_changed_ends_a_denial_within_seconds() -> None:
    async with World(a="1") as world, world.query().watch() as watch:
        await world.clock.advance(1)
        world.consul.fault = always(error(403, "Permission denied"))
        world.consul.wake()
        await world.clock.advance(100)
        retry = watch.status.retry_in
        assert state(watch) == "denied"
        assert retry is not None
        assert retry > 10
        world.consul.fault, world.consul.token = None, "another"
        await world.clock.advance(2.1)
        assert state(watch) == "synced"
