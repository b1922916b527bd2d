"""What stands before Consul and answers in its place, over real sockets: nothing is removed, and nothing ends."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from support.wires import Gateway, plain_answer

from aioconsulconnect.client import Consul
from aioconsulconnect.errors import ConsulError
from aioconsulconnect.structs.agent import Sidecar
from aioconsulconnect.structs.config_entries.defaults import ServiceDefaults
from aioconsulconnect.testing import Agent
from aioconsulconnect.watch.changes import Removed
from aioconsulconnect.watch.watch import Watch

REFUSED = (400, 402, 405, 407, 409, 410, 413, 421, 425, 431, 499)
SAYS = {
    "404 of a default backend": plain_answer(404, "default backend - 404"),
    "404 of nobody": plain_answer(404, "404 page not found\n"),
    "404 without a word": plain_answer(404),
    **{str(status): plain_answer(status, "the gateway reloads") for status in REFUSED},
    **{f"{status} without a word": plain_answer(status) for status in (400, 405, 410)},
}


class Witness:
    """What a consumer is told, and how its watch ends."""

    def __init__(self, watch: Watch[Any, Any]) -> None:
        self.removed: list[object] = []
        self.error: Exception | None = None
        self._changes = watch.changes()
        self.task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        try:
            async for batch in self._changes:
                self.removed += [change for change in batch if isinstance(change, Removed)]
        except ConsulError as error:
            self.error = error


@contextlib.asynccontextmanager
async def everything(consul: Consul) -> AsyncIterator[list[Watch[Any, Any]]]:
    """A watch of each kind, with data."""
    queries: list[Any] = [
        consul.config.read("service-defaults", "web"),
        consul.agent.service("web"),
        consul.agent.leaf("web"),
        consul.agent.roots(),
        consul.ca.roots(),
        consul.intentions.list(),
        consul.intentions.match(destination="db"),
        consul.health.connect("web"),
        consul.catalog.connect("web"),
        consul.discovery_chain("web"),
    ]
    async with contextlib.AsyncExitStack() as stack:
        watches = [await stack.enter_async_context(query.watch()) for query in queries]
        for watch in watches:
            await watch.ready(10)
        yield watches


@pytest.mark.slow
@pytest.mark.parametrize("says", list(SAYS))
async def test_a_gateway_that_answers_for_a_moment_ends_and_removes_nothing(says: str) -> None:
    async with Agent() as agent, Gateway(agent.url) as gateway, Consul(gateway.url) as consul:
        await prepare(consul)
        async with everything(consul) as watches:
            witnesses = [Witness(watch) for watch in watches]
            await asyncio.sleep(0.2)
            before = [watch.current for watch in watches]
            gateway.answer(SAYS[says])
            ends = time.monotonic() + 1.5
            for query in (consul.config.read("service-defaults", "web"), consul.agent.service("web")):
                with pytest.raises(ConsulError):
                    await query
            await asyncio.sleep(ends - time.monotonic())
            gateway.answer(None)
            well = time.monotonic()
            for watch in watches:
                await watch.wait_for_state("synced", timeout=4)
            assert time.monotonic() - well < 4
            assert [witness.error for witness in witnesses] == [None] * len(watches)
            assert [witness.removed for witness in witnesses] == [[] for _ in watches]
            assert [watch.current for watch in watches] == before
            await asyncio.gather(*(end(witness) for witness in witnesses))


async def prepare(consul: Consul) -> None:
    await consul.agent.register("web", port=80, sidecar=Sidecar())
    await consul.config.write(ServiceDefaults(name="web", protocol="http"))
    await consul.intentions.upsert("web", "db", action="allow")


async def end(witness: Witness) -> None:
    witness.task.cancel()
    await asyncio.gather(witness.task, return_exceptions=True)


@pytest.mark.slow
async def test_a_gateway_that_says_404_from_the_start_is_waited_for() -> None:
    async with Agent() as agent, Gateway(agent.url) as gateway, Consul(gateway.url) as consul:
        async with Consul(agent.url) as direct:
            await prepare(direct)
        gateway.answer(plain_answer(404, "default backend - 404"))
        queries: list[Any] = [
            consul.config.read("service-defaults", "web"),
            consul.agent.service("web"),
            consul.intentions.list(),
        ]
        async with contextlib.AsyncExitStack() as stack:
            watches = [await stack.enter_async_context(query.watch()) for query in queries]
            witnesses = [Witness(watch) for watch in watches]
            await asyncio.sleep(1)
            assert [witness.error for witness in witnesses] == [None] * 3
            assert {watch.status.state for watch in watches} <= {"starting", "stale"}
            gateway.answer(None)
            for watch in watches:
                await watch.ready(4)
                assert watch.current
            await asyncio.gather(*(end(witness) for witness in witnesses))


@pytest.mark.slow
async def test_several_faults_in_a_row_from_two_hops() -> None:
    """A 404, a 502, a 421, with cuts between: in the end all is as it was, and the next write is seen."""
    async with Agent() as agent, Gateway(agent.url) as gateway, Consul(gateway.url) as consul:
        await prepare(consul)
        async with everything(consul) as watches:
            witnesses = [Witness(watch) for watch in watches]
            await asyncio.sleep(0.1)
            for says in (plain_answer(404), plain_answer(502, "<html>", "text/html"), plain_answer(421, "misdirected")):
                gateway.answer(says)
                await asyncio.sleep(0.4)
                gateway.cut()
            gateway.answer(None)
            gateway.cut()
            async with Consul(agent.url) as direct:
                await direct.intentions.upsert("api", "db", action="allow")
            listed = watches[5]
            await listed.until(lambda now: len(now) == 2, timeout=5)
            for watch in watches:
                await watch.wait_for_state("synced", timeout=5)
            assert [witness.error for witness in witnesses] == [None] * len(watches)
            assert [witness.removed for witness in witnesses] == [[] for _ in watches]
            await asyncio.gather(*(end(witness) for witness in witnesses))
