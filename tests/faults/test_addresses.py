"""Agents that are dead, silent, or not whom they should be: over real sockets."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest
from support.servers import Keys, Scripted

from aioconsulconnect.client import Consul
from aioconsulconnect.errors import NotReady
from aioconsulconnect.testing import Agent
from aioconsulconnect.transport.settings.options import Options
from aioconsulconnect.watch.protocol.poll_settings import PollSettings
from aioconsulconnect.watch.watch import Watch


class Silent:
    """Takes connections, and never answers."""

    async def __aenter__(self) -> str:
        self._open: set[asyncio.StreamWriter] = set()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self._open.add(writer)
            await reader.read()

        self._server = await asyncio.start_server(serve, "127.0.0.1", 0)
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def __aexit__(self, *error: object) -> None:
        self._server.close()
        for writer in self._open:
            writer.transport.abort()
        await asyncio.sleep(0.02)


@pytest.mark.slow
async def test_w15_a_new_watch_has_data_as_fast_as_the_last_call_had() -> None:
    settings = PollSettings(read_timeout=2.0)
    async with (
        Silent() as silent,
        Agent() as agent,
        Consul([silent, agent.url], options=Options(timeout=2), polls=settings) as consul,
    ):
        await consul.intentions.list()  # learns it
        taken = []
        for number in range(5):
            began = time.monotonic()
            await consul.intentions.list()
            taken.append(time.monotonic() - began)
            began = time.monotonic()
            async with consul.intentions.match(destination=f"db-{number}").watch() as watch:
                await watch.ready(10)
            taken.append(time.monotonic() - began)
        assert max(taken) < 0.5, taken


@pytest.mark.slow
async def test_w15_silent_address_found_by_one_watch_delays_no_other_watch_or_call() -> None:
    settings = PollSettings(read_timeout=2.0)
    async with (
        Silent() as silent,
        Agent() as agent,
        Consul([silent, agent.url], options=Options(timeout=2), polls=settings) as consul,
        consul.intentions.list().watch() as watch,
    ):
        await watch.ready(10)
        for number in range(3):
            began = time.monotonic()
            async with consul.intentions.match(destination=f"db-{number}").watch() as another:
                await another.ready(10)
            assert time.monotonic() - began < 0.5
        began = time.monotonic()
        await consul.ca.roots()
        assert time.monotonic() - began < 0.5


async def waits(watch: Watch[Any, Any]) -> list[BaseException | object]:
    found: list[BaseException | object] = await asyncio.gather(
        watch.ready(0.6),
        watch.until(bool, timeout=0.6),
        watch.wait_for_state("synced", timeout=0.6),
        watch.caught_up(5, timeout=0.6),
        return_exceptions=True,
    )
    return found


async def test_w38_a_wrong_authority_is_named_by_whatever_waits(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    right, wrong = Keys(tmp_path / "a"), Keys(tmp_path / "b")
    async with (
        Scripted(tls=right.server_context()) as server,
        Consul(server.url, ca_cert=wrong.ca) as consul,
        consul.intentions.list().watch() as watch,
    ):
        for error in (await waits(watch))[:3]:
            assert isinstance(error, NotReady), error
            assert isinstance(error, TimeoutError)
            assert "certificate verify failed" in str(error).lower()


@pytest.mark.slow
async def test_w38_a_dead_agent_is_named_by_whatever_waits() -> None:
    async with Silent() as url:
        pass  # nobody listens there any more
    async with Consul(url) as consul, consul.intentions.list().watch() as watch:
        for error in await waits(watch):
            assert isinstance(error, NotReady | ConnectionError), error
            assert url.removeprefix("http://") in str(error)
        errors = await waits(watch)
        assert all(isinstance(error, NotReady) and isinstance(error, TimeoutError) for error in errors[:3])


async def test_w38_after_data_a_timeout_still_says_why() -> None:
    async with Agent() as agent, Consul(agent.url) as consul, consul.intentions.list().watch() as watch:
        await watch.ready(5)
        agent.faults.no_leader()
        agent.faults.wake()
        await watch.wait_for_state("stale", timeout=5)
        for wait in (watch.until(bool, timeout=0.1), watch.wait_for_state("synced", timeout=0.1)):
            with pytest.raises(NotReady, match=r"(?i)leader|failed to get conn") as caught:
                await wait
            assert isinstance(caught.value, TimeoutError)
