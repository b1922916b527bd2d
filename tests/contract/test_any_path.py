"""Any path of the API, in types of the caller's: read, watched and written; `/v1/kv` on the real agents alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Hashable
from typing import TypeVar

import msgspec
import pytest
from support.agents import Launcher, RealAgent
from support.agents_under_test import AgentUnderTest

from aioconsulconnect.client import Consul
from aioconsulconnect.errors import (
    BadRequest,
    ErrorReason,
    NoLeader,
    NotFound,
    NotReady,
    UnreadableResponse,
    Unsupported,
)
from aioconsulconnect.transport.settings.options import Options
from aioconsulconnect.watch.changes import Added, Change, Changed, Removed
from aioconsulconnect.watch.iterators import Changes
from aioconsulconnect.watch.protocol.poll_settings import PollSettings

T = TypeVar("T")
Item = TypeVar("Item")


class Check(msgspec.Struct, frozen=True, rename="pascal"):
    node: str
    status: str
    id: str = msgspec.field(name="CheckID")


class Service(msgspec.Struct, frozen=True, rename="pascal"):
    service: str
    port: int
    id: str = msgspec.field(name="ID")


class Instance(msgspec.Struct, frozen=True, rename="pascal"):
    service: Service
    checks: tuple[Check, ...]


class Pair(msgspec.Struct, frozen=True, rename="pascal"):
    key: str
    flags: int
    modify_index: int
    value: bytes | None = None
    """Base64 in Consul's JSON, and null for an empty value."""


def name_of(pair: tuple[str, object]) -> str:
    return pair[0]


def id_of(instance: Instance) -> str:
    return instance.service.id


def key_of(pair: Pair) -> str:
    return pair.key


async def next_of(changes: Changes[T, Item], key: Hashable, timeout: float = 20) -> Change[Item]:
    """The next change of one item; other tests use the same agent."""
    async with asyncio.timeout(timeout):
        async for batch in changes:
            for change in batch:
                if change.key == key:
                    return change
    raise AssertionError("the watch has ended")


# On every agent.


async def test_services_come_and_go_by_name(quick: Consul, unique: str) -> None:
    query = quick.query("/v1/catalog/services", dict[str, list[str]], key=name_of)
    async with query.watch() as watch:
        changes = watch.changes()
        await quick.agent.register(unique, port=9001)
        assert await next_of(changes, unique) == Added((unique, []), key=unique)
        await quick.agent.register(unique, port=9001, tags=["v1"])
        assert await next_of(changes, unique) == Changed((unique, []), (unique, ["v1"]), key=unique)
        assert (await query)[unique] == ["v1"]
        assert watch.status.state == "synced"
        assert any(record.asked == "poll" for record in watch.explain())
        await quick.agent.deregister(unique)
        assert await next_of(changes, unique) == Removed((unique, ["v1"]), key=unique)


async def test_instances_in_structs_of_ones_own_are_those_of_the_library(quick: Consul, unique: str) -> None:
    path, check = f"/v1/health/service/{unique}", f"{unique}-ttl"
    body = {"Name": unique, "Port": 9001, "Check": {"CheckID": check, "TTL": "10m", "Status": "passing"}}
    assert await quick.request("PUT", "/v1/agent/service/register", body=body, idempotent=True) == b""
    async with quick.query(path, list[Instance], key=id_of, parameters={"passing": ""}).watch() as watch:
        (instance,) = await watch.until(lambda found: len(found) == 1, 20)
        (ours,) = await quick.health.service(unique, passing=True)
        assert instance.service == Service(ours.service.service, 9001, ours.service.id)
        assert {each.id: each.status for each in instance.checks}[check] == "passing"
        (shown,) = await quick.query(f"/v1/health/checks/{unique}", tuple[Check, ...])
        assert shown == Check(ours.node.node, "passing", check)
        changes = watch.changes()
        await anext(changes)
        await quick.request("PUT", f"/v1/agent/service/deregister/{unique}")
        assert isinstance(await next_of(changes, unique), Removed)


async def test_nothing_there_is_an_empty_list_and_its_reply_has_an_index(consul: Consul, unique: str) -> None:
    reply = await consul.query(f"/v1/health/service/{unique}", tuple[Instance, ...], key=id_of).reply()
    assert reply.value == ()
    assert reply.meta.index is not None


async def test_path_that_nobody_serves_is_an_error_of_its_version(consul: Consul, agent: AgentUnderTest) -> None:
    known = agent.version >= (1, 11)  # older ones answer an empty 404, as anything else may
    with pytest.raises(Unsupported if known else UnreadableResponse):
        await consul.query("/v1/no-such-thing", object)
    with pytest.raises(Unsupported if known else UnreadableResponse):
        await consul.request("GET", "/v1/no-such-thing")


async def test_filter_that_can_never_work_ends_the_watch(consul: Consul) -> None:
    query = consul.query("/v1/health/service/web", object, parameters={"filter": "Nothing =="})
    async with query.watch() as watch:
        with pytest.raises(BadRequest) as caught:
            await watch.ready(10)
    assert caught.value.final


async def test_agent_that_runs_is_ready(consul: Consul) -> None:
    await consul.ready(timeout=10)
    await consul.with_options(Options(datacenter="dc1")).ready(timeout=10)


# On real agents: what the in-process one does not model.


@pytest.fixture
async def real(real_agent: RealAgent) -> AsyncIterator[Consul]:
    async with Consul(real_agent.url, polls=PollSettings(min_interval=0.02)) as client:
        yield client


async def test_keys_are_written_read_and_watched(real: Consul, unique: str) -> None:
    folder = f"/v1/kv/{unique}/"
    query = real.query(folder, tuple[Pair, ...], key=key_of, parameters={"recurse": ""}, absent=())
    assert await query == ()
    with pytest.raises(NotFound):
        await real.query(folder, tuple[Pair, ...], parameters={"recurse": ""})
    async with query.watch() as watch:
        changes = watch.changes()
        assert list(await anext(changes)) == []
        assert watch.status.state == "absent"
        assert await real.request("PUT", f"{folder}limit", body=b"5", type=bool, parameters={"flags": 42}) is True
        added = await next_of(changes, f"{unique}/limit")
        assert isinstance(added, Added)
        assert (added.new.value, added.new.flags) == (b"5", 42)
        index = added.new.modify_index
        stale = await real.request("PUT", f"{folder}limit", body=b"6", type=bool, parameters={"cas": index - 1})
        taken = await real.request("PUT", f"{folder}limit", body=b"7", type=bool, parameters={"cas": index})
        assert (stale, taken) == (False, True)
        changed = await next_of(changes, f"{unique}/limit")
        assert isinstance(changed, Changed)
        assert changed.new.value == b"7"
        await real.request("PUT", f"{folder}empty", body=b"")
        empty = await next_of(changes, f"{unique}/empty")
        assert isinstance(empty, Added)
        assert empty.new.value is None
        assert await real.request("DELETE", folder, type=bool, parameters={"recurse": ""}, idempotent=True) is True
        assert isinstance(await next_of(changes, f"{unique}/limit"), Removed)
        assert (await watch.until(lambda pairs: not pairs, 20), watch.status.state) == ((), "absent")


async def test_raw_value_is_one_item_that_comes_changes_and_goes(real: Consul, unique: str) -> None:
    path = f"/v1/kv/{unique}/page"
    query = real.query(path, bytes, parameters={"raw": ""}, absent=None)
    text = real.query(path, bytes.decode, parameters={"raw": ""})
    async with query.watch() as watch:
        changes = watch.changes()
        assert (await query, list(await anext(changes))) == (None, [])
        await real.request("PUT", path, body="<html>grün".encode())
        assert await next_of(changes, path) == Added("<html>grün".encode(), key=path)
        assert await text == "<html>grün"
        assert await real.request("GET", path, parameters={"raw": ""}) == "<html>grün".encode()
        await real.request("PUT", path, body={"a": [1, None]})
        assert await next_of(changes, path) == Changed("<html>grün".encode(), b'{"a":[1,null]}', key=path)
        assert await real.query(path, object, parameters={"raw": ""}) == {"a": [1, None]}
        await real.request("DELETE", path)
        assert await next_of(changes, path) == Removed(b'{"a":[1,null]}', key=path)


@pytest.mark.parametrize("name", ["50% of ü&=+;", "a%2Fb", "folder/", "..a/b..", "a:b@c*d~e$f!g'(h)", "日本"])
async def test_key_is_found_under_the_name_that_it_was_given(real: Consul, unique: str, name: str) -> None:
    key = f"{unique}/{name}"
    await real.request("PUT", f"/v1/kv/{key}", body=b"x")
    (pair,) = await real.query(f"/v1/kv/{key}", tuple[Pair, ...])
    names = await real.query(f"/v1/kv/{unique}/", list[str], parameters={"keys": ""})
    assert (pair.key, names) == (key, [key])
    assert await real.request("DELETE", f"/v1/kv/{key}", type=bool)


async def test_transaction_and_session_take_objects_and_structs(real: Consul, unique: str) -> None:
    class Made(msgspec.Struct):
        id: str = msgspec.field(name="ID")

    class Session(msgspec.Struct, rename="pascal"):
        name: str
        ttl: str = msgspec.field(name="TTL")

    write = {"KV": {"Verb": "set", "Key": f"{unique}/a", "Value": b"by a transaction"}}  # bytes become base64
    await real.request("PUT", "/v1/txn", body=[write])
    assert await real.request("GET", f"/v1/kv/{unique}/a", parameters={"raw": ""}) == b"by a transaction"
    made = await real.request("PUT", "/v1/session/create", body=Session(unique, "30s"), type=Made)
    (session,) = await real.query(f"/v1/session/info/{made.id}", tuple[Session, ...])
    assert (session.name, session.ttl) == (unique, "30s")
    assert await real.request("PUT", f"/v1/session/destroy/{made.id}", type=bool)
    await real.request("DELETE", f"/v1/kv/{unique}/a")


async def test_agent_that_starts_after_the_program_is_waited_for(own_agent: Launcher) -> None:
    agent = own_agent.prepare()
    async with Consul(agent.url) as consul:
        waiting = asyncio.create_task(consul.ready(timeout=50))
        done, _ = await asyncio.wait({waiting}, timeout=0.5)
        assert not done
        await asyncio.to_thread(agent.start)
        await waiting
        assert await consul.request("PUT", "/v1/kv/first", body=b"1", type=bool)


async def test_servers_that_find_no_leader_are_told_apart_from_no_agent(own_agent: Launcher) -> None:
    agent = own_agent.prepare(mode="server", config={"bootstrap_expect": 3})
    await asyncio.to_thread(agent.start)
    async with Consul(agent.url) as consul:
        async with asyncio.timeout(30):
            while True:
                with pytest.raises(NotReady) as caught:
                    await consul.ready(timeout=1)
                if caught.value.reason is ErrorReason.NO_LEADER:
                    break
        assert isinstance(caught.value.__cause__, NoLeader)
        assert "consul members" in str(caught.value)


async def test_datacenter_that_nobody_knows_is_waited_for_in_vain(real: Consul) -> None:
    with pytest.raises(NotReady, match="datacenter") as caught:
        await real.with_options(Options(datacenter="nowhere")).ready(timeout=0.5)
    assert caught.value.reason is ErrorReason.DATACENTER_UNKNOWN
