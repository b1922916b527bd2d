"""What only a real Consul does to a watch: restarts, restores, lost tokens, lost leaders, too many connections."""

from __future__ import annotations

import asyncio
import contextlib
import statistics
import sys
import time
import urllib.request
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import msgspec
import pytest
from support.agents import Launcher, RealAgent, RealCluster

from aioconsulconnect.cli.throwaway import new_key
from aioconsulconnect.client import Consul
from aioconsulconnect.structs.intentions import Intention
from aioconsulconnect.watch.changes import Added, Changed, Removed
from aioconsulconnect.watch.protocol.poll_settings import PollSettings
from aioconsulconnect.watch.query import Query
from aioconsulconnect.watch.watch import Watch

List = tuple[Intention, ...]
UNPACED = PollSettings(min_interval=0.001)
INTENTIONS = "/v1/connect/intentions"


async def write(agent: RealAgent, source: str, destination: str, *, token: str | None = None) -> str:
    body = {"SourceName": source, "DestinationName": destination, "Action": "allow"}
    answer = await agent.acall("POST", INTENTIONS, body, token=token)
    return str(answer["ID"])


def names(intentions: List) -> set[str]:
    return {intention.source_name for intention in intentions}


class Removals:
    """Counts what a watch reports removed, all the while."""

    def __init__(self, watch: Watch[Any, Any]) -> None:
        self.removed: list[object] = []
        self._changes = watch.changes()
        self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        async for batch in self._changes:
            self.removed += [change for change in batch if isinstance(change, Removed)]

    async def end(self) -> list[object]:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        return self.removed


@contextlib.asynccontextmanager
async def watching(query: Query[List, Intention]) -> AsyncIterator[tuple[Watch[List, Intention], Removals]]:
    async with query.watch() as watch:
        removals = Removals(watch)
        try:
            yield watch, removals
        finally:
            await removals.end()


@pytest.mark.parametrize("which", ["list", "match", "roots"])
async def test_a_change_is_there_within_milliseconds(own_agent: Launcher, which: str) -> None:
    agent = await own_agent()
    async with Consul(agent.url, polls=UNPACED) as consul:
        if which == "roots":
            await roots_are_told_at_once(consul)
            return
        query = consul.intentions.list() if which == "list" else consul.intentions.match(destination="db")
        taken = []
        async with query.watch() as watch:
            changes = watch.changes()
            await anext(changes)
            for number in range(20):
                told = asyncio.ensure_future(anext(changes))
                await asyncio.sleep(0.02)
                await write(agent, f"web-{number}", "db")
                written = time.monotonic()
                batch = await told
                taken.append(time.monotonic() - written)
                added = [one for one in batch if isinstance(one, Added)]
                assert [one.new.source_name for one in added] == [f"web-{number}"]
                # From Consul 1.9 on the others of the same entry have another ModifyIndex, and nothing else.
                assert len(batch) == (1 if agent.version < (1, 9) else number + 1)
                for one in set(batch) - set(added):
                    assert isinstance(one, Changed)
                    assert msgspec.structs.replace(one.old, modify_index=one.new.modify_index) == one.new
        assert statistics.median(taken) < 0.01


async def roots_are_told_at_once(consul: Consul) -> None:
    taken = []
    async with consul.ca.roots().watch() as watch:
        changes = watch.changes()
        await anext(changes)
        configuration = await consul.ca.configuration()
        for _ in range(3):
            told = asyncio.ensure_future(anext(changes))
            await consul.ca.update_configuration({**configuration.config, "PrivateKey": new_key()}, provider="consul")
            written = time.monotonic()
            batch = await asyncio.wait_for(told, 5)
            taken.append(time.monotonic() - written)
            assert any(isinstance(change, Added) for change in batch)
    assert statistics.median(taken) < 0.01


async def test_w04_a_restored_snapshot_is_seen_within_a_second(own_agent: Launcher) -> None:
    agent = await own_agent()
    await write(agent, "before", "db")
    snapshot = await asyncio.to_thread(lambda: urllib.request.urlopen(agent.url + "/v1/snapshot").read())
    async with Consul(agent.url) as consul:
        queries = (consul.intentions.list(), consul.intentions.match(destination="db"))
        async with queries[0].watch() as listed, queries[1].watch() as matched:
            for number in range(5):
                await write(agent, f"after-{number}", "db")
            for watch in (listed, matched):
                await watch.until(lambda now: len(now) == 6, timeout=5)
            await asyncio.sleep(5)  # the pace has recovered
            request = urllib.request.Request(agent.url + "/v1/snapshot", data=snapshot, method="PUT")
            await asyncio.to_thread(lambda: urllib.request.urlopen(request).read())
            restored = time.monotonic()
            for watch in (listed, matched):
                await watch.until(lambda now: names(now) == {"before"}, timeout=5)
            assert time.monotonic() - restored < 1


@pytest.mark.parametrize("mode", ["server", "dev"])
async def test_w05_an_agent_that_is_killed_and_comes_back(own_agent: Launcher, mode: str) -> None:
    """With its state (server) nothing is told; without (dev) exactly what is different."""
    agent = await own_agent(mode=mode)
    for number in range(3):
        await write(agent, f"web-{number}", "db")
    async with Consul(agent.url) as consul, watching(consul.intentions.list()) as (watch, removals):
        await watch.until(lambda now: len(now) == 3, timeout=5)
        await agent.restart(kill=True)
        back = time.monotonic()
        if mode == "server":
            await watch.wait_for_state("synced", timeout=5)
            assert removals.removed == []
        else:
            await watch.until(lambda now: now == (), timeout=10)
            assert len(removals.removed) == 3
        await write(agent, "new", "db")
        await watch.until(lambda now: "new" in names(now), timeout=5)
        assert time.monotonic() - back < 5


async def test_w04_an_agent_that_is_asked_to_end_is_no_event(own_agent: Launcher) -> None:
    agent = await own_agent(mode="server")
    await write(agent, "web", "db")
    async with Consul(agent.url) as consul, watching(consul.intentions.list()) as (watch, removals):
        await watch.until(lambda now: len(now) == 1, timeout=5)
        await asyncio.to_thread(agent.stop)
        await watch.wait_for_state("stale", timeout=5)
        await asyncio.sleep(1)
        assert removals.removed == []
        assert names(watch.current) == {"web"}
        agent.start()
        await agent.ready()
        await watch.wait_for_state("synced", timeout=10)
        assert removals.removed == []


async def test_w17_a_deleted_token_keeps_the_data_and_a_new_one_heals(own_agent: Launcher) -> None:
    agent = await own_agent(acl=True)
    rules = 'service_prefix "" { policy = "read" intentions = "read" }'
    token = [await agent.token_with(rules)]
    own = await agent.acall("GET", "/v1/acl/token/self", token=token[0])
    await write(agent, "web", "db")
    async with (
        Consul(agent.url, token=lambda: token[0], polls=PollSettings(wait=2)) as consul,
        watching(consul.intentions.list()) as (listed, removed_of_list),
        watching(consul.intentions.match(destination="db")) as (matched, removed_of_match),
    ):
        for watch in (listed, matched):
            await watch.until(lambda now: len(now) == 1, timeout=5)
        await agent.acall("DELETE", f"/v1/acl/token/{own['AccessorID']}")
        for watch in (listed, matched):
            await watch.wait_for_state("denied", timeout=10)
            assert names(watch.current) == {"web"}
        token[0] = await agent.token_with(rules)
        await write(agent, "api", "db")
        changed = time.monotonic()
        consul.token_changed()
        for watch in (listed, matched):
            await watch.until(lambda now: names(now) == {"web", "api"}, timeout=5)
            assert watch.status.state == "synced"
        assert time.monotonic() - changed < 1
        assert (removed_of_list.removed, removed_of_match.removed) == ([], [])


async def test_w21_lost_rights_are_removals_that_say_so(own_agent: Launcher) -> None:
    """What is no longer visible is removed like what is gone; from 1.11 on the batch says that it may be that."""
    agent = await own_agent(acl=True)
    policy = {"Name": "sight", "Rules": 'service_prefix "" { policy = "read" intentions = "read" }'}
    made = await agent.acall("PUT", "/v1/acl/policy", policy)
    token = (await agent.acall("PUT", "/v1/acl/token", {"Policies": [{"Name": "sight"}]}))["SecretID"]
    for number in range(3):
        await write(agent, f"web-{number}", "db")
    settings = PollSettings(wait=2)
    async with (
        Consul(agent.url, token=token, polls=settings) as consul,
        watching(consul.intentions.list()) as (watch, removals),
    ):
        await watch.until(lambda now: len(now) == 3, timeout=5)
        nothing = 'service_prefix "" { policy = "deny" }'
        await agent.acall("PUT", f"/v1/acl/policy/{made['ID']}", policy | {"ID": made["ID"], "Rules": nothing})
        await watch.until(lambda now: not now, timeout=10)
        says_so = agent.version >= (1, 11)
        await asyncio.sleep(0.05)
        assert len(removals.removed) == 3
        assert (watch.status.state, watch.status.filtered) == ("synced", says_so)
        await write(agent, "web-9", "elsewhere")  # moves the index
        await asyncio.sleep(3)
        assert watch.current == ()
        await agent.acall("PUT", f"/v1/acl/policy/{made['ID']}", policy | {"ID": made["ID"]})
        await watch.until(lambda now: len(now) == 4, timeout=10)
        assert not watch.status.filtered
        assert len(removals.removed) == 3


def goroutines(agent: RealAgent) -> int:
    with urllib.request.urlopen(agent.url + "/debug/pprof/goroutine?debug=1") as answer:
        return int(answer.readline().rpartition(b" ")[2])


@pytest.mark.slow
async def test_w25_three_hundred_come_and_go_and_the_agent_still_answers(own_agent: Launcher) -> None:
    config = {"limits": {"http_max_conns_per_client": 200}, "enable_debug": True}
    agent = await own_agent(config=config)
    async with Consul(agent.url, polls=PollSettings(wait=10, idle_timeout=1)) as consul:
        query = consul.intentions.match(destination="db")
        for _ in range(300):
            async with query.watch():
                await asyncio.sleep(0.02)
        assert len(consul._pool._pollers) == 1
        while_it_lasts = await asyncio.to_thread(goroutines, agent)
        async with asyncio.timeout(20):
            while consul._pool._pollers:
                await asyncio.sleep(0.1)
        assert while_it_lasts - await asyncio.to_thread(goroutines, agent) <= 4
        for number in range(300):
            async with consul.intentions.match(destination=f"db-{number}").watch():
                await asyncio.sleep(0.02)
            if number % 50 == 0:
                assert await agent.acall("GET", "/v1/status/leader")
        assert await agent.acall("GET", "/v1/status/leader")
        await consul.intentions.list()


@pytest.mark.slow
async def test_w24_plain_calls_beside_two_hundred_watches(own_agent: Launcher) -> None:
    agent = await own_agent()
    async with Consul(agent.url) as consul, contextlib.AsyncExitStack() as stack:
        queries = [consul.intentions.match(destination=f"db-{number}") for number in range(200)]
        watches = [await stack.enter_async_context(query.watch()) for query in queries]
        for watch in watches:
            await watch.ready(30)
        taken = []
        for _ in range(200):
            began = time.monotonic()
            await consul.ca.roots()
            taken.append(time.monotonic() - began)
            await asyncio.sleep(0.01)
        assert sorted(taken)[197] < 0.1
        for number in (0, 100, 199):
            await write(agent, "web", f"db-{number}")
            await watches[number].until(lambda now: len(now) == 1, timeout=10)


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_a_leader_is_killed_ten_times_under_twenty_watches(
    real_cluster: RealCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    converged = []
    async with contextlib.AsyncExitStack() as stack:
        watches, removals = [], []
        for number in range(20):
            order = real_cluster.urls[number % 3 :] + real_cluster.urls[: number % 3]
            consul = await stack.enter_async_context(Consul(order))
            query = consul.intentions.list() if number % 2 else consul.intentions.match(destination="db")
            watch = await stack.enter_async_context(query.watch())
            watches.append(watch)
            removals.append(Removals(watch))
            await watch.ready(20)
        for round_number in range(10):
            leader = await real_cluster.wait_leader(30)
            writer = asyncio.create_task(keep_writing(real_cluster, f"r{round_number}"))
            await asyncio.sleep(0.5)
            await asyncio.to_thread(real_cluster.kill, leader)
            await real_cluster.wait_leader(30, other_than=leader)
            await real_cluster.restart(leader)
            last = await writer
            written = time.monotonic()
            await asyncio.gather(*(watch.until(partial(has, last), timeout=30) for watch in watches))
            converged.append(time.monotonic() - written)
        for one in removals:
            assert await one.end() == []
    with capsys.disabled():
        sys.stdout.write(
            f"\nleader killed: the last write everywhere after {sorted(round(each, 2) for each in converged)} s\n"
        )


def has(name: str, intentions: List) -> bool:
    return name in names(intentions)


async def keep_writing(cluster: RealCluster, prefix: str) -> str:
    """Write for some seconds, through whichever server takes it; the last that was taken."""
    last = ""
    for number in range(40):
        for server in cluster.servers:
            if not server.running:
                continue
            try:
                await write(server, f"{prefix}-{number}", "db")
            except OSError:
                continue
            last = f"{prefix}-{number}"
            break
        await asyncio.sleep(0.1)
    return last
