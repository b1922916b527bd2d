"""Faults by name, over real sockets, against the agent in a box: a watch keeps its word through each, and recovers."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
import pytest
from support.in_process import polling
from support.versions import NEWEST, VERSIONS

from aioconsulconnect.client import Consul
from aioconsulconnect.structs.intentions import Intention
from aioconsulconnect.testing import Agent, Fault, Faults
from aioconsulconnect.watch.changes import Added, Removed
from aioconsulconnect.watch.protocol.poll_settings import PollSettings
from aioconsulconnect.watch.watch import Watch

List = tuple[Intention, ...]
SETTINGS = PollSettings(
    wait=0.6,
    shortest_wait=0.05,
    margin=0.2,
    read_timeout=0.5,
    min_interval=0.02,
    backoff_cap=0.1,
    throttled=(0.05, 0.1),
    denied=(0.05, 0.1),
    interval=(0.05, 0.1),
    reread=0.1,
)
# Each fault, the state that the watch is in while it lasts, and whether a change gets through meanwhile.
FAULTS: dict[str, tuple[Callable[[Faults], Fault], set[str], bool]] = {
    "index_zero": (lambda faults: faults.index_zero(), {"synced"}, True),
    "bad_index": (lambda faults: faults.bad_index(), {"polling"}, True),
    "goes_back": (lambda faults: faults.goes_back(times=5), {"synced"}, True),
    "no_header": (lambda faults: faults.no_header(), {"polling"}, True),
    "flood": (lambda faults: faults.flood(), {"synced"}, True),
    "empty_lie": (lambda faults: faults.empty_lie(times=1), {"synced"}, False),
    "garbage": (lambda faults: faults.garbage(), {"stale"}, False),
    "error_with_index": (lambda faults: faults.error_with_index(), {"stale"}, False),
    "denied": (lambda faults: faults.denied(), {"denied"}, False),
    "throttled": (lambda faults: faults.throttled(), {"throttled"}, False),
    "html_error": (lambda faults: faults.html_error(), {"stale"}, False),
    "no_leader": (lambda faults: faults.no_leader(), {"stale"}, False),
    "cut_at": (lambda faults: faults.cut_at(0.15), {"synced"}, True),
    "cut_with_a_page": (lambda faults: faults.cut_at(0.15, 504), {"synced"}, True),
    "half_open": (lambda faults: faults.half_open(), {"synced", "stale"}, False),
    "slow_body": (lambda faults: faults.slow_body(0.1), {"synced"}, True),
    "truncated": (lambda faults: faults.truncated(), {"stale"}, False),
    "lost_answer": (lambda faults: faults.lost_answer(), {"stale"}, False),
}


pytestmark = pytest.mark.slow  # they wait for what takes its time


class Witness:
    """What a consumer is told, all the while."""

    def __init__(self, watch: Watch[List, Intention]) -> None:
        self.removed: list[str] = []
        self.added: list[str] = []
        self.filtered: list[bool] = []  # of the batches that removed something
        self._changes = watch.changes()
        self.task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        async for batch in self._changes:
            self.removed += [change.old.source_name for change in batch if isinstance(change, Removed)]
            self.filtered += [batch.filtered for change in batch if isinstance(change, Removed)]
            self.added += [change.new.source_name for change in batch if isinstance(change, Added)]


EACH_VERSION = [pytest.param(one, marks=[] if one == NEWEST else [pytest.mark.slow]) for one in VERSIONS]


@pytest.fixture(params=EACH_VERSION)
async def agent(request: pytest.FixtureRequest) -> AsyncIterator[Agent]:
    async with Agent(version=request.param) as agent:
        yield agent


@pytest.fixture
async def write(agent: Agent) -> AsyncIterator[Callable[[str], Any]]:
    """Allow one more source; past the library, and past its faults, which are for GET alone here."""
    async with aiohttp.ClientSession() as session:

        async def write(source: str) -> None:
            body = {"SourceName": source, "DestinationName": "db", "Action": "allow"}
            async with session.post(agent.url + "/v1/connect/intentions", json=body) as answer:
                assert answer.status == 200, await answer.text()

        yield write


@contextlib.asynccontextmanager
async def watched(agent: Agent, kind: str) -> AsyncIterator[tuple[Watch[List, Intention], Witness]]:
    async with Consul(agent.url, polls=SETTINGS) as consul:
        query = consul.intentions.list() if kind == "list" else consul.intentions.match(destination="db")
        async with query.watch() as watch:
            await watch.ready(5)
            witness = Witness(watch)
            yield watch, witness
        await witness.task


@pytest.mark.parametrize("name", FAULTS)
async def test_a_fault_removes_nothing_and_passes(agent: Agent, write: Callable[[str], Any], name: str) -> None:
    make, states, _ = FAULTS[name]
    await write("one")
    await write("two")
    async with watched(agent, "list") as (watch, witness):
        await watch.until(lambda now: len(now) == 2, timeout=5)
        await polling(agent)
        with make(agent.faults):
            agent.faults.wake()
            await asyncio.sleep(0.2)
            assert watch.status.state in states, watch.explain()
            assert witness.removed == []
            requests = len(agent.requests)
            await asyncio.sleep(0.15)
            assert len(agent.requests) - requests <= 10  # paced, whatever happens
        await write("three")
        await watch.until(lambda now: len(now) == 3, timeout=10)
        await watch.wait_for_state("synced", timeout=10)
        assert witness.removed == []
        assert sorted(witness.added) == ["one", "three", "two"]


@pytest.mark.parametrize("name", [name for name, (_, _, through) in FAULTS.items() if through])
async def test_a_change_gets_through_a_fault(agent: Agent, write: Callable[[str], Any], name: str) -> None:
    make, _, _ = FAULTS[name]
    async with watched(agent, "match") as (watch, _witness):
        await polling(agent)
        with make(agent.faults):
            await asyncio.sleep(0.1)
            for _ in range(5):
                try:
                    await write("through")
                except aiohttp.ClientError:
                    continue
                break
            await watch.until(lambda now: len(now) == 1, timeout=10)


async def test_hidden_items_are_removals_that_say_so(agent: Agent, write: Callable[[str], Any]) -> None:
    """Rights were lost: the leader says the same, so it is told, and marked where Consul says it."""
    await write("one")
    await write("two")
    async with watched(agent, "list") as (watch, witness):
        await watch.until(lambda now: len(now) == 2, timeout=5)
        await polling(agent)
        with agent.faults.hidden():
            agent.faults.wake()
            await watch.until(lambda now: not now, timeout=5)
            await asyncio.sleep(0.02)
            assert sorted(witness.removed) == ["one", "two"]
            assert watch.status.state == "synced"
            says_so = tuple(map(int, agent.version.split(".")[:2])) >= (1, 11)
            assert watch.status.filtered is says_so
            assert set(witness.filtered) <= {says_so}
        await watch.until(lambda now: len(now) == 2, timeout=5)
        assert not watch.status.filtered


@pytest.mark.parametrize("kind", ["list", "match"])
async def test_a_restored_snapshot_is_seen_at_once(agent: Agent, write: Callable[[str], Any], kind: str) -> None:
    await write("before")
    snapshot = agent.snapshot()
    async with watched(agent, kind) as (watch, _):
        for number in range(5):
            await write(f"after-{number}")
        await watch.until(lambda now: len(now) == 6, timeout=5)
        await asyncio.sleep(0.3)
        agent.restore(snapshot)
        await watch.until(lambda now: [one.source_name for one in now] == ["before"], timeout=1)


@pytest.mark.parametrize("keep", [True, False])
async def test_a_restart_tells_what_is_different(agent: Agent, write: Callable[[str], Any], keep: bool) -> None:
    for number in range(5):
        await write(f"web-{number}")
    async with watched(agent, "list") as (watch, witness):
        await watch.until(lambda now: len(now) == 5, timeout=5)
        agent.restart(keep=keep)
        await asyncio.sleep(0.05)  # whoever writes finds that his connection was closed
        await write("new")
        await watch.until(lambda now: "new" in {one.source_name for one in now}, timeout=5)
        await watch.until(lambda now: len(now) == (6 if keep else 1), timeout=5)
        await watch.wait_for_state("synced", timeout=5)
        assert len(witness.removed) == (0 if keep else 5)


async def test_the_connection_limit_is_respected(agent: Agent) -> None:
    """A naive client is locked out by the polls that it has left: here they are few, and the agent still answers."""
    settings = PollSettings(wait=2.0, max_polls=16, min_interval=0.02)
    with agent.faults.zombie_limit(40):
        async with Consul(agent.url, polls=settings) as consul:

            async def come_and_go(*numbers: int) -> None:
                for number in numbers:
                    async with consul.intentions.match(destination=f"db-{number}").watch() as watch:
                        await watch.ready(5)

            await asyncio.gather(*(come_and_go(number, number + 50) for number in range(50)))
            await consul.ca.roots()
            assert agent.connections <= 40
