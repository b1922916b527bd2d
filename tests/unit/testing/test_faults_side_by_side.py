"""Abandoned polls and restored snapshots: the in-process agent does as a real one of its version does."""

import asyncio
import time
from collections.abc import AsyncIterator

import aiohttp
import pytest
from support.agents import Launcher
from support.versions import VERSIONS

from aioconsulconnect.testing import Agent

LIST = "/v1/connect/intentions"


@pytest.fixture(params=["in-process", "real"])
async def limited(request: pytest.FixtureRequest, own_agent: Launcher) -> AsyncIterator[tuple[str, Agent | None]]:
    """The address of an agent that takes six connections of a client, real, or in the process and of its version."""
    version = ".".join(map(str, own_agent.binary.version))
    if version not in VERSIONS:
        pytest.skip(f"there is no in-process agent of {version}")
    if request.param == "real":
        real = await own_agent(config={"limits": {"http_max_conns_per_client": 6}})
        yield real.url, None
        return
    async with Agent(version) as box:
        box.faults.zombie_limit(6)
        yield box.url, box


async def listed(session: aiohttp.ClientSession, url: str, **query: str) -> tuple[set[str], int]:
    async with session.get(url + LIST, params=query) as answer:
        assert answer.status == 200
        return {each["SourceName"] for each in await answer.json()}, int(answer.headers["X-Consul-Index"])


async def test_zombies_lock_out_for_the_rest_of_their_wait(limited: tuple[str, Agent | None]) -> None:
    url, _ = limited
    async with aiohttp.ClientSession() as session:
        _, index = await listed(session, url)
        polls = [asyncio.create_task(listed(session, url, index=str(index), wait="1s")) for _ in range(6)]
        await asyncio.wait(polls, timeout=0.3)
        for poll in polls:
            poll.cancel()
        await asyncio.wait(polls)
    began = time.monotonic()
    refused = 0
    while time.monotonic() - began < 10:
        try:
            async with aiohttp.ClientSession() as session:
                await listed(session, url)
            break
        except (aiohttp.ClientConnectionError, AssertionError):
            refused += 1
            await asyncio.sleep(0.1)
    assert refused
    assert 0.5 < time.monotonic() - began < 3


async def test_a_restore_lies_once_and_wakes_the_polls(limited: tuple[str, Agent | None]) -> None:
    url, box = limited
    async with aiohttp.ClientSession() as session:

        async def allow(source: str) -> None:
            body = {"SourceName": source, "DestinationName": "db", "SourceType": "consul", "Action": "allow"}
            async with session.post(url + LIST, json=body) as answer:
                assert answer.status == 200

        await allow("web")
        saved = box.snapshot() if box else await (await session.get(f"{url}/v1/snapshot")).read()
        await allow("api")
        _, index = await listed(session, url)
        poll = asyncio.create_task(listed(session, url, index=str(index), wait="20s"))
        await asyncio.wait([poll], timeout=0.3)
        began = time.monotonic()
        if box and not isinstance(saved, bytes):
            box.restore(saved)
        else:
            await session.put(f"{url}/v1/snapshot", data=saved)
        assert await poll == ({"web", "api"}, index)
        assert time.monotonic() - began < 2
        sources, lower = await listed(session, url)
        assert sources == {"web"}
        assert lower < index
        await allow("cron")
        sources, higher = await listed(session, url)
        assert sources == {"web", "cron"}
        assert higher > index
