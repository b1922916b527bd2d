"""A client in another event loop than its own: it says so, and the first loop is not harmed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator

import pytest

from aioconsulconnect import Consul
from aioconsulconnect.errors import Closed
from aioconsulconnect.structs.intentions import Intention
from aioconsulconnect.testing import Agent
from aioconsulconnect.watch.watch import Watch

Watched = Watch[tuple[Intention, ...], Intention]


async def consume(watch: Watched) -> None:
    async for _ in watch.changes():
        pass  # what is there; and then it would wait


USES: dict[str, Callable[[Consul, Watched], Awaitable[object]]] = {
    "call": lambda consul, _: consul.intentions.list().value(),
    "watch": lambda consul, _: consul.intentions.list().watch().__aenter__(),
    "authorizer": lambda consul, _: consul.authorizer("db").__aenter__(),
    "until": lambda _, watch: watch.until(lambda now: len(now) == 9, timeout=5),
    "refresh": lambda _, watch: watch.refresh(),
    "changes": lambda _, watch: consume(watch),
    "states": lambda _, watch: watch.wait_for_state("stale", timeout=5),
    "aclose": lambda consul, _: consul.aclose(),
}


@pytest.fixture
def own_loop() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


@pytest.mark.parametrize("use", USES)
def test_client_in_another_loop_names_both_loops_and_goes_on_in_its_own(use: str, own_loop: asyncio.Runner) -> None:
    async def begin(consul: Consul) -> Watched:
        watch = consul.intentions.list().watch()
        await watch.__aenter__()
        await watch.ready(5)
        return watch

    async def elsewhere(consul: Consul, watch: Watched) -> str:
        with pytest.raises(Closed) as caught:
            await USES[use](consul, watch)
        return str(caught.value)

    async def after(consul: Consul, watch: Watched) -> None:
        await consul.intentions.upsert("web", "db", action="allow")
        assert len(await watch.until(bool, timeout=5)) == 1
        await consul.aclose()

    with Agent() as agent:
        consul = Consul(agent.url)
        watch = own_loop.run(begin(consul))
        with asyncio.Runner() as other:
            message = other.run(elsewhere(consul, watch))
            for runner, state in ((own_loop, "not running"), (other, "running")):
                assert f"{id(runner.get_loop()):#x} ({state})" in message
        own_loop.run(after(consul, watch))


def test_client_of_a_loop_that_was_closed_says_so() -> None:
    async def used(consul: Consul) -> None:
        await consul.intentions.list()
        await consul.aclose()

    with Agent() as agent:
        consul = Consul(agent.url)
        asyncio.run(used(consul))
        with pytest.raises(Closed, match="this client was closed"):
            asyncio.run(used(consul))
        asyncio.run(consul.aclose())  # once more does no harm
