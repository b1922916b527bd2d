"""What a user's token function can do: it ends, hangs and recurses into nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from support.in_process import polling

from aioconsulconnect.client import Consul
from aioconsulconnect.errors import Closed, ConsulError
from aioconsulconnect.testing import Agent
from aioconsulconnect.watch.protocol.poll_settings import PollSettings

SETTINGS = PollSettings(wait=1.0, shortest_wait=0.1, margin=0.2, read_timeout=0.5, min_interval=0.01, backoff_cap=0.3)


@pytest.fixture
async def agent() -> AsyncIterator[Agent]:
    async with Agent() as agent:
        yield agent


@pytest.mark.parametrize("kind", ["async", "sync"])
@pytest.mark.parametrize("when", ["first", "later"])
async def test_one_that_raises_cancelled_error_is_a_failure_like_others(agent: Agent, kind: str, when: str) -> None:
    bad = [when == "first"]

    def now() -> str:
        if bad[0]:
            raise asyncio.CancelledError
        return ""

    async def soon() -> str:
        await asyncio.sleep(0)
        return now()

    token = soon if kind == "async" else now
    async with Consul(agent.url, token=token, polls=SETTINGS) as consul, consul.intentions.list().watch() as watch:
        if when == "later":
            await watch.ready(5)
            await polling(agent)
            bad[0] = True
            agent.faults.wake()
        async with asyncio.timeout(5):
            while not watch.status.error:
                await asyncio.sleep(0.01)
        assert watch.status.state in {"starting", "stale"}
        with pytest.raises(ConsulError):
            await asyncio.wait_for(consul.intentions.list().value(), 5)
        bad[0] = False
        await watch.wait_for_state("synced", timeout=5)


async def test_one_that_swallows_its_cancellation_holds_nothing_up(agent: Agent) -> None:
    ends = asyncio.Event()

    async def stubborn() -> str:
        while not ends.is_set():
            try:
                await ends.wait()
            except asyncio.CancelledError:
                continue
        return ""

    consul = Consul(agent.url, token=stubborn, polls=SETTINGS)
    watch = consul.intentions.list().watch()
    await watch.__aenter__()
    await asyncio.sleep(0.1)
    closing = asyncio.ensure_future(consul.aclose())
    done, _ = await asyncio.wait({closing}, timeout=2)
    ends.set()
    await asyncio.wait_for(closing, 5)
    await asyncio.sleep(0.05)
    assert done, "aclose() waited for a token function"
    assert watch.status.state == "closed"


@pytest.mark.parametrize("what", ["client", "watch", "refresh"])
async def test_one_that_calls_back_into_the_client(agent: Agent, what: str) -> None:
    """It closes the client, leaves the watch, or reads by the client that asks it."""
    calls = [0]

    async def token() -> str:
        calls[0] += 1
        if calls[0] == 2:
            if what == "client":
                await consul.aclose()
            elif what == "watch":
                await watch.aclose()
            else:
                await watch.refresh()
        return ""

    consul = Consul(agent.url, token=token, polls=SETTINGS)
    watch = consul.intentions.list().watch()
    await watch.__aenter__()

    async def follow() -> None:
        async for _ in watch.snapshots():
            pass

    following = asyncio.create_task(follow())
    async with asyncio.timeout(5):
        while calls[0] < 2:
            await asyncio.sleep(0.01)
        agent.faults.wake()
        await asyncio.sleep(0.3)
    if what == "refresh":
        await watch.wait_for_state("synced", timeout=5)
    closing = asyncio.ensure_future(consul.aclose())
    await asyncio.wait_for(closing, 3)
    await asyncio.wait_for(following, 3)
    assert watch.status.state == "closed"
    with pytest.raises(Closed):
        await watch.refresh()


@pytest.mark.slow
async def test_one_that_gives_no_token_any_more_is_a_denial_and_nothing_is_sent(agent: Agent) -> None:
    async with Agent(acl=True) as guarded:
        token = [guarded.management_token]
        async with Consul(guarded.url, token=lambda: token[0], polls=SETTINGS) as consul:
            await consul.intentions.upsert("web", "db", action="allow")
            async with consul.intentions.list().watch() as watch:
                await watch.until(lambda now: len(now) == 1, timeout=5)
                await polling(guarded)
                token[0] = ""
                before = len(guarded.requests)
                guarded.faults.wake()
                await watch.wait_for_state("denied", timeout=5)
                await asyncio.sleep(0.5)
                assert len(guarded.requests) - before <= 1  # the one that was under way, logged when it ended
                assert len(watch.current) == 1
                token[0] = guarded.management_token
                await watch.wait_for_state("synced", timeout=5)
