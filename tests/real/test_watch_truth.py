"""A watch shows what Consul's servers last said, no less and no more: on real agents, where it was seen otherwise."""

from __future__ import annotations

import asyncio
import contextlib
import random
import shutil
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from support.agents import Launcher, RealAgent
from support.wires import Gateway

from aioconsulconnect.client import Consul
from aioconsulconnect.errors import ConsulError
from aioconsulconnect.watch.changes import Batch, Removed
from aioconsulconnect.watch.protocol.poll_settings import PollSettings
from aioconsulconnect.watch.watch import Watch

INTENTIONS = "/v1/connect/intentions"
WAIT = 3.0
SHORT = PollSettings(wait=WAIT)
ONE_WAIT = WAIT * 17 / 16 + 1.0


def needs(agent: RealAgent | Launcher, since: tuple[int, int], why: str) -> None:
    version = agent.version if isinstance(agent, RealAgent) else agent.binary.version
    if version < since:
        pytest.skip(f"needs Consul {since[0]}.{since[1]} in CONSUL_BINARIES: {why}")


class Diary:
    """All batches of a watch, as they come."""

    def __init__(self, watch: Watch[Any, Any]) -> None:
        self.batches: list[Batch[Any]] = []
        self.error: Exception | None = None
        self._changes = watch.changes()
        self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        try:
            async for batch in self._changes:
                self.batches.append(batch)
        except ConsulError as error:
            self.error = error

    @property
    def removed(self) -> list[Any]:
        return [change.old for batch in self.batches for change in batch if isinstance(change, Removed)]

    async def has_removed(self, count: int) -> None:
        """Wait a moment for the batch that tells what `current` shows already."""
        async with asyncio.timeout(1):
            while len(self.removed) < count:
                await asyncio.sleep(0.01)
        assert len(self.removed) == count

    async def end(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


@contextlib.asynccontextmanager
async def watching(query: Any) -> AsyncIterator[tuple[Watch[Any, Any], Diary]]:
    async with query.watch() as watch:
        diary = Diary(watch)
        try:
            await watch.ready(10)
            yield watch, diary
        finally:
            await diary.end()


async def register(agent: RealAgent, node: str, name: str, **service: Any) -> None:
    """Put an instance into the catalog, on a node of its own."""
    body = {"Node": node, "Address": "10.0.0.1", "Service": {"ID": name, "Service": name, "Port": 21000, **service}}
    await agent.acall("PUT", "/v1/catalog/register", body)


async def proxy(agent: RealAgent, node: str, name: str, destination: str) -> None:
    await register(
        agent,
        node,
        name,
        Kind="connect-proxy",
        Proxy={"DestinationServiceName": destination, "DestinationServiceID": ""},
    )


async def deregister(agent: RealAgent, node: str) -> None:
    await agent.acall("PUT", "/v1/catalog/deregister", {"Node": node})


# The index stands still although an instance went (fact 19).

QUERIES: dict[str, Callable[[Consul], Any]] = {
    "health": lambda consul: consul.health.connect("shop"),
    "near": lambda consul: consul.health.connect("shop", near="_agent"),
    "catalog": lambda consul: consul.catalog.connect("shop"),
}


@pytest.mark.slow
@pytest.mark.parametrize("which", list(QUERIES))
@pytest.mark.parametrize("older", [True, False], ids=["older", "newer"])
async def test_w20_the_last_proxy_under_an_old_name_is_removed_within_one_wait(
    own_agent: Launcher, which: str, older: bool
) -> None:
    """Where it is the older one the index stands still, else it is lower (health, catalog's moves)."""
    agent = await own_agent()
    await proxy(agent, "old", "shop-old-proxy", "shop")
    await proxy(agent, "new", "shop-proxy", "shop")
    async with Consul(agent.url, polls=SHORT) as consul, watching(QUERIES[which](consul)) as (watch, diary):
        await watch.until(lambda now: len(now) == 2, timeout=5)
        await asyncio.sleep(0.5)
        await deregister(agent, "old" if older else "new")
        await watch.until(lambda now: len(now) == 1, timeout=ONE_WAIT)
        await diary.has_removed(1)
        assert watch.status.state == "synced"
        assert not diary.batches[-1].filtered


@pytest.mark.slow
@pytest.mark.parametrize("which", list(QUERIES))
async def test_w20_a_sidecar_beside_a_terminating_gateway_is_removed_within_one_wait(
    own_agent: Launcher, which: str
) -> None:
    agent = await own_agent()
    entry = {"Kind": "terminating-gateway", "Name": "gate", "Services": [{"Name": "shop"}]}
    await agent.acall("PUT", "/v1/config", entry)
    await register(agent, "shop", "shop")
    await proxy(agent, "sidecar", "shop-sidecar-proxy", "shop")
    await register(agent, "gate", "gate", Kind="terminating-gateway")
    async with Consul(agent.url, polls=SHORT) as consul, watching(QUERIES[which](consul)) as (watch, diary):
        await watch.until(lambda now: len(now) == 2, timeout=5)
        await asyncio.sleep(0.5)
        await deregister(agent, "sidecar")
        await watch.until(lambda now: len(now) == 1, timeout=ONE_WAIT)
        await asyncio.sleep(0.5)
        await deregister(agent, "gate")
        await watch.until(lambda now: not now, timeout=ONE_WAIT)
        await diary.has_removed(2)
        assert watch.status.state == "synced"


# Rights.

RULES = 'service "db" { policy = "read" intentions = "read" }'


async def intention(agent: RealAgent, source: str, destination: str) -> str:
    body = {"SourceName": source, "DestinationName": destination, "SourceType": "consul", "Action": "allow"}
    if agent.version < (1, 9):
        return str((await agent.acall("POST", INTENTIONS, body))["ID"])
    await agent.acall("PUT", f"{INTENTIONS}/exact?source={source}&destination={destination}", {"Action": "allow"})
    return ""


async def delete(agent: RealAgent, source: str, destination: str, known: str) -> None:
    path = f"{INTENTIONS}/{known}" if known else f"{INTENTIONS}/exact?source={source}&destination={destination}"
    await agent.acall("DELETE", path)


async def test_w21_an_invisible_intention_is_made_and_ours_deleted_within_one_wait(own_agent: Launcher) -> None:
    """Both come in one answer: it is filtered for the first time, and ours is not in it any more."""
    needs(own_agent, (1, 11), "X-Consul-Results-Filtered-By-ACLs")
    agent = await own_agent(acl=True)
    token = await agent.token_with(RULES)
    ours = await intention(agent, "web", "db")
    async with (
        Gateway(agent.url) as gateway,
        Consul(gateway.url, token=token, polls=SHORT) as consul,
        watching(consul.intentions.list()) as (watch, diary),
    ):
        await watch.until(lambda now: len(now) == 1, timeout=5)
        gateway.hold()
        await intention(agent, "api", "db")  # wakes the poll; the next one is held back
        async with asyncio.timeout(5):
            while not gateway.held:
                await asyncio.sleep(0.01)
        await intention(agent, "hidden", "secret")
        await delete(agent, "web", "db", ours)
        gateway.release()
        await watch.until(lambda now: {one.source_name for one in now} == {"api"}, timeout=ONE_WAIT)
        await diary.has_removed(1)
        assert [one.source_name for one in diary.removed] == ["web"]
        assert diary.batches[-1].filtered
        assert watch.status.filtered
        await asyncio.sleep(ONE_WAIT)
        assert {one.source_name for one in watch.current} == {"api"}


async def test_w21_rights_on_one_name_are_taken_while_something_else_is_written(own_agent: Launcher) -> None:
    """Least privilege: other names were invisible before, so the header says nothing new."""
    needs(own_agent, (1, 11), "X-Consul-Results-Filtered-By-ACLs")
    agent = await own_agent(acl=True)
    both = 'service "db" { policy = "read" intentions = "read" } service "api" { policy = "read" intentions = "read" }'
    policy = {"Name": "sight", "Rules": both + ' node_prefix "" { policy = "read" }'}
    made = await agent.acall("PUT", "/v1/acl/policy", policy)
    token = (await agent.acall("PUT", "/v1/acl/token", {"Policies": [{"Name": "sight"}]}))["SecretID"]
    for source, destination in (("web", "db"), ("web", "api"), ("hidden", "secret")):
        await intention(agent, source, destination)
    async with (
        Consul(agent.url, token=token, polls=SHORT) as consul,
        watching(consul.intentions.list()) as (watch, diary),
    ):
        await watch.until(lambda now: len(now) == 2, timeout=5)
        assert watch.status.filtered
        less = {"ID": made["ID"], "Name": "sight", "Rules": RULES + ' node_prefix "" { policy = "read" }'}
        await agent.acall("PUT", f"/v1/acl/policy/{made['ID']}", less)
        await asyncio.sleep(0.3)
        await intention(agent, "job", "db")
        await watch.until(lambda now: {one.destination_name for one in now} == {"db"}, timeout=2 * ONE_WAIT)
        await diary.has_removed(1)
        assert [one.destination_name for one in diary.removed] == ["api"]
        assert all(batch.filtered for batch in diary.batches)
        assert watch.status.filtered


# Answers out of order.


@pytest.mark.slow
@pytest.mark.parametrize("beside", ["refresh", "caught_up", "token_changed"])
async def test_w22_three_hundred_writes_beside_plain_reads(own_agent: Launcher, beside: str) -> None:
    """Only additions are written: nothing is ever removed, and no state is shorter than the one before."""
    agent = await own_agent()
    chance = random.Random(7)
    unpaced = PollSettings(burst=5000, min_interval=0.001)
    async with (
        Gateway(agent.url) as gateway,
        Consul(gateway.url, polls=unpaced) as consul,
        watching(consul.intentions.list()) as (watch, diary),
    ):
        sizes: list[int] = []
        # What was asked first comes last now and then: an answer to a plain read takes up to 40 ms more.
        gateway.lag = lambda request: 0.0 if b"index=" in request else chance.random() * 0.04

        async def sample() -> None:
            async for now in watch.snapshots():
                sizes.append(len(now))  # noqa: PERF401 - what has come so far counts

        async def read() -> None:
            while True:
                if beside == "token_changed":
                    consul.token_changed()
                    await asyncio.sleep(0.003)
                elif beside == "refresh":
                    await watch.refresh()
                else:
                    with contextlib.suppress(TimeoutError):
                        await watch.caught_up((watch.status.index or 0) + 1, timeout=0.05)

        tasks = [asyncio.create_task(sample()), *(asyncio.create_task(read()) for _ in range(2))]
        try:
            for number in range(300):
                await intention(agent, f"web-{number}", "db")
            written = time.monotonic()
            await watch.until(lambda now: len(now) == 300, timeout=5)
            assert time.monotonic() - written < 2
            assert diary.removed == []
            assert sizes == sorted(sizes)
            assert watch.status.state == "synced"
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


# A wiped server.


@pytest.mark.slow
@pytest.mark.timeout(200)
async def test_w20_a_wiped_server_never_takes_all_roots_away(own_agent: Launcher) -> None:
    """A server begins anew: for some 30 ms a 1.8.7 lists no root at all, which one of forty clients is sure to see."""
    agent = await own_agent(mode="server")
    async with contextlib.AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(Consul(agent.url)) for _ in range(40)]
        pairs = [await stack.enter_async_context(watching(consul.ca.roots())) for consul in clients]
        for _ in range(3):
            before = {root.id for root in pairs[0][0].current.roots}
            await asyncio.sleep(2)  # the polls are under way, and break: an index does not tell one life from another
            await asyncio.to_thread(agent.kill)
            await asyncio.to_thread(shutil.rmtree, agent.directory / "data")
            agent.start()
            for watch, _ in pairs:
                await watch.until(lambda now, old=before: bool({root.id for root in now.roots} - old), timeout=50)  # type: ignore[misc]
        assert [never_without_roots(diary) for _, diary in pairs] == [True] * 40


def never_without_roots(diary: Diary) -> bool:
    """Whether the roots, as a consumer of the batches sees them, were never none."""
    there: set[object] = set()
    for batch in diary.batches:
        for change in batch:
            (there.discard if isinstance(change, Removed) else there.add)(change.key)
        if not there:
            return False
    return True


# What is not there yet.


@pytest.mark.slow
@pytest.mark.parametrize(
    ("after", "seen"), [(20.0, 2.5), pytest.param(150.0, 16.0, marks=[pytest.mark.soak, pytest.mark.timeout(240)])]
)
async def test_w09_a_sidecar_that_is_registered_later_is_seen_soon(
    own_agent: Launcher, after: float, seen: float
) -> None:
    agent = await own_agent()
    async with Consul(agent.url) as consul, consul.agent.service("web-sidecar-proxy").watch() as watch:
        await watch.ready(5)
        assert watch.current is None
        await asyncio.sleep(after)
        body = {"Name": "web", "Port": 80, "Connect": {"SidecarService": {}}}
        await agent.acall("PUT", "/v1/agent/service/register", body)
        await watch.until(lambda now: now is not None, timeout=seen)


# One write after the other.


async def test_w26_twenty_writes_each_made_when_the_last_was_seen(own_agent: Launcher) -> None:
    agent = await own_agent()
    async with Consul(agent.url) as consul, watching(consul.intentions.list()) as (watch, _):
        taken = []
        for number in range(20):
            name = f"web-{number}"
            await intention(agent, name, "db")
            written = time.monotonic()
            await watch.until(lambda now, name=name: name in {one.source_name for one in now}, timeout=5)  # type: ignore[misc]
            taken.append(time.monotonic() - written)
        assert sorted(taken)[18] <= 0.1, taken
        assert max(taken) <= 0.5, taken  # the machine may be busy once
