"""Beginning and end, cancellation, and other loops: nothing is left, nothing hangs, and nothing is lost."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import AsyncIterator

import pytest
import uvloop
from aiohttp import web
from support.in_process import polling
from support.servers import Close, Hang, Scripted, answer

from aioconsulconnect.client import Consul
from aioconsulconnect.testing import Agent
from aioconsulconnect.watch.protocol.poll_settings import PollSettings
from aioconsulconnect.watch.protocol.status import Event

LIST = answer(b"[]", x_consul_index="5")
SETTINGS = PollSettings(wait=1.0, shortest_wait=0.1, margin=0.2, read_timeout=0.5, min_interval=0.01, backoff_cap=0.3)


@pytest.fixture
async def agent() -> AsyncIterator[Agent]:
    async with Agent() as agent:
        yield agent


@pytest.fixture
async def consul(agent: Agent) -> AsyncIterator[Consul]:
    """A client that a fixture opens in one task and closes, it may be, in another."""
    async with Consul(agent.url) as consul:
        yield consul


@pytest.fixture
async def watching(consul: Consul) -> AsyncIterator[object]:
    async with consul.intentions.list().watch() as watch:
        await watch.ready(5)
        yield watch


async def test_a_watch_in_a_fixture(watching: object) -> None:
    assert "synced" in repr(watching)


async def test_two_clients_are_closed_out_of_order(agent: Agent) -> None:
    first, second = Consul(agent.url), Consul(agent.url)
    one, two = first.intentions.list().watch(), second.intentions.list().watch()
    await one.__aenter__()
    await two.__aenter__()
    await one.ready(5)
    await two.ready(5)
    await first.aclose()
    assert two.status.state == "synced"
    await two.__aexit__(None, None, None)
    await asyncio.create_task(second.aclose())
    await one.__aexit__(None, None, None)
    await first.aclose()


async def test_in_cleanup_ctx_of_a_web_application(agent: Agent) -> None:
    seen: list[object] = []

    async def context(app: web.Application) -> AsyncIterator[None]:
        async with Consul(agent.url) as consul, consul.ca.roots().watch() as watch:
            await watch.ready(5)
            seen.append(watch.current)
            yield

    app = web.Application()
    app.cleanup_ctx.append(context)
    runner = web.AppRunner(app)
    await runner.setup()
    await runner.cleanup()
    assert len(seen) == 1


async def test_closing_with_answers_half_way(agent: Agent) -> None:
    head = b"HTTP/1.1 200 OK\r\nX-Consul-Index: 6\r\nContent-Length: 100\r\n\r\n["
    async with Scripted([LIST, Hang(head)]) as server:
        consul = Consul(server.url)
        async with consul.intentions.list().watch() as watch:
            await watch.ready(5)
            await asyncio.wait_for(server.waiting.wait(), 5)
            told = asyncio.ensure_future(watch.until(bool))
            await asyncio.sleep(0)
            loop = asyncio.get_running_loop()
            began = loop.time()
            await consul.aclose()
            assert loop.time() - began < 0.2
            with pytest.raises(RuntimeError, match="closed"):
                await told
    async with Consul(agent.url) as consul:
        for _ in range(100):
            await consul.ca.roots()


async def test_an_answer_that_breaks_in_the_middle_is_no_answer() -> None:
    head = b"HTTP/1.1 200 OK\r\nX-Consul-Index: 6\r\nContent-Length: 100\r\n\r\n["
    async with (
        Scripted([LIST, Close(head), LIST, Hang()]) as server,
        Consul(server.url, polls=SETTINGS) as consul,
        consul.intentions.list().watch() as watch,
    ):
        await watch.wait_for_state("stale", timeout=5)
        assert watch.current == ()
        await asyncio.wait_for(server.waiting.wait(), 5)
        assert watch.status.state == "synced"
        assert [seen.target.partition("?")[2][:7] for seen in server.seen[:4]] == ["", "index=5", "", "index=5"]


@pytest.mark.slow
async def test_a_dead_connection_is_given_up_at_the_deadline() -> None:
    async with (
        Scripted([LIST, Hang(), LIST, Hang()]) as server,
        Consul(server.url, polls=PollSettings(wait=0.4, shortest_wait=0.1, margin=0.1, backoff_cap=0.1)) as consul,
        consul.intentions.list().watch() as watch,
    ):
        await watch.ready(5)
        loop = asyncio.get_running_loop()
        began = loop.time()
        await watch.wait_for_state("stale", timeout=5)
        assert 0.4 < loop.time() - began < 1.5
        assert watch.status.counters.errors == {"RequestTimeout": 1}
        await watch.wait_for_state("synced", timeout=5)


async def test_the_token_function_may_fail_and_recover(agent: Agent) -> None:
    fails = [False]

    def token() -> str:
        if fails[0]:
            raise OSError("vault is sealed: secret-token")
        return ""

    async with Consul(agent.url, token=token, polls=SETTINGS) as consul, consul.intentions.list().watch() as watch:
        await watch.ready(5)
        await polling(agent)
        fails[0] = True
        agent.faults.wake()  # the next request asks for the token
        await watch.wait_for_state("stale", timeout=5)
        assert "secret-token" not in repr(watch.status)
        fails[0] = False
        await watch.wait_for_state("synced", timeout=5)


@pytest.mark.slow
async def test_a_thousand_rounds_leave_nothing(agent: Agent) -> None:
    async with Consul(agent.url, polls=PollSettings(idle_timeout=0.1, wait=0.5, shortest_wait=0.5)) as consul:
        async with consul.intentions.list().watch() as watch:
            await watch.ready(5)
        for number in range(1000):
            async with consul.intentions.list().watch() as watch:
                if number % 3 == 0:
                    await anext(watch.changes())
                elif number % 3 == 1:
                    with pytest.raises(TimeoutError):
                        await asyncio.wait_for(watch.until(bool), 0.0005)
            assert len(own_tasks()) <= 3  # the loop, its poll, and the question for the leader
        async with asyncio.timeout(5):
            while own_tasks():
                await asyncio.sleep(0.05)
        assert agent.polls == ()


def own_tasks() -> list[str]:
    return [task.get_name() for task in asyncio.all_tasks() if task.get_name().startswith("aioconsulconnect")]


def test_under_uvloop_and_in_a_thread() -> None:
    async def main() -> str:
        async with Agent() as agent, Consul(agent.url) as consul, consul.ca.roots().watch() as watch:
            roots = (await anext(watch.snapshots())).roots
            agent.rotate_root()
            await watch.until(lambda now: len(now.roots) == len(roots) + 1, timeout=5)
            with pytest.raises(TimeoutError):
                await watch.until(lambda now: not now.roots, timeout=0.01)
            return watch.status.state

    assert uvloop.run(main()) == "synced"
    found: list[str] = []
    thread = threading.Thread(target=lambda: found.append(asyncio.run(main())))
    thread.start()
    thread.join(20)
    assert found == ["synced"]


def test_a_program_that_forgets_to_leave_ends_all_the_same() -> None:
    program = """
import asyncio
from aioconsulconnect import Consul
from aioconsulconnect import Event
from aioconsulconnect.testing import Agent

async def main():
    async with Agent() as agent:
        consul = Consul(agent.url)
        watch = consul.intentions.list().watch()
        await watch.__aenter__()
        await watch.ready(5)
        print(watch.status.state)

asyncio.run(main())
"""
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=False)
    assert result.stdout == "synced\n"
    assert result.returncode == 0
    assert "Traceback" not in result.stderr


async def test_the_metrics_hook_of_a_client(agent: Agent) -> None:
    events: list[Event] = []
    async with Consul(agent.url, on_event=events.append) as consul, consul.ca.roots().watch() as watch:
        await anext(watch.changes())
    assert [event.kind for event in events[:3]] == ["state", "poll", "delivered"]
    assert events[0].path == "/v1/connect/ca/roots"
    assert 0 < events[1].took < 5
