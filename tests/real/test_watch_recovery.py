"""How soon a watch is right again, or says that it is not: restarts, new tokens, agents that stand still."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import time
import urllib.request
import uuid
from pathlib import Path

import pytest
from support.agents import Launcher, RealAgent

from aioconsulconnect.client import Consul
from aioconsulconnect.structs.intentions import Intention
from aioconsulconnect.watch.changes import Removed

INTENTIONS = "/v1/connect/intentions"
READ = 'service_prefix "" { policy = "read" intentions = "read" }'
List = tuple[Intention, ...]


async def write(agent: RealAgent, source: str) -> None:
    body = {"SourceName": source, "DestinationName": "db", "SourceType": "consul", "Action": "allow"}
    if agent.version < (1, 9):
        await agent.acall("POST", INTENTIONS, body)
    else:
        await agent.acall("PUT", f"{INTENTIONS}/exact?source={source}&destination=db", {"Action": "allow"})


def has(source: str, now: List) -> bool:
    return source in {one.source_name for one in now}


def asked(url: str, token: str) -> List | None:
    """What a plain reader gets, if anything."""
    request = urllib.request.Request(f"{url}{INTENTIONS}", headers={"X-Consul-Token": token} if token else {})
    with contextlib.suppress(OSError, ValueError), urllib.request.urlopen(request, timeout=2) as answer:
        found: List = tuple(json.loads(answer.read()))
        return found
    return None


async def reader(url: str, token: str = "") -> float:
    """When a reader that asks every 0.2 s is served again."""
    while not await asyncio.to_thread(asked, url, token):
        await asyncio.sleep(0.2)
    return time.monotonic()


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize("acl", [False, True], ids=["open", "acl"])
async def test_w15_after_a_restart_a_watch_is_right_as_soon_as_a_reader(
    own_agent: Launcher,
    acl: bool,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A server with data is down for 4 or 10 s; then come refusals, a cut or a 500 without leader, then it is well."""
    agent = await own_agent(mode="server", acl=acl)
    await write(agent, "web")
    behind = []
    async with Consul(agent.url, token=agent.token or None) as consul, consul.intentions.list().watch() as watch:
        changes = watch.changes()
        await anext(changes)
        for number, down in enumerate((4.0, 10.0, 4.0)):
            await asyncio.to_thread(agent.kill)
            await watch.wait_for_state("stale", timeout=5)
            await asyncio.sleep(down)
            agent.start()
            served = asyncio.create_task(reader(agent.url, agent.token))
            synced = asyncio.create_task(watch.wait_for_state("synced", timeout=50))
            await synced
            right = time.monotonic()
            behind.append(right - await served)
            await write(agent, f"web-{number}")
            await watch.until(lambda now, name=f"web-{number}": has(name, now), timeout=2)  # type: ignore[misc]
        while watch.current != () and (batch := await asyncio.wait_for(anext(changes), 1)):
            assert not any(isinstance(change, Removed) for change in batch)
            if has("web-2", tuple(change.new for change in batch if not isinstance(change, Removed))):
                break
    with capsys.disabled():
        sys.stdout.write(
            f"\nright again after a reader that asks every 0.2 s by {[round(one, 2) for one in behind]} s\n"
        )
    assert max(behind) <= 1.5


async def test_w17_a_token_that_is_made_a_little_later_heals_the_watch(own_agent: Launcher) -> None:
    """The watch begins with a token that Consul does not know for another 3 s."""
    agent = await own_agent(acl=True)
    await write(agent, "web")
    token = str(uuid.uuid4())
    policy = {"Name": f"p{token}", "Rules": READ}
    await agent.acall("PUT", "/v1/acl/policy", policy)
    async with Consul(agent.url, token=token) as consul, consul.intentions.list().watch() as watch:
        told = asyncio.ensure_future(anext(watch.changes()))
        await asyncio.sleep(3)
        assert not told.done()
        assert watch.status.state == "denied"
        await agent.acall("PUT", "/v1/acl/token", {"SecretID": token, "Policies": [{"Name": policy["Name"]}]})
        await asyncio.wait_for(told, 2.5)
        assert has("web", watch.current)


@pytest.mark.slow
@pytest.mark.parametrize("denied", [8.0, pytest.param(95.0, marks=[pytest.mark.soak, pytest.mark.timeout(180)])])
async def test_w18_a_token_file_that_is_rewritten_after_a_denial_is_seen(
    own_agent: Launcher, tmp_path: Path, denied: float
) -> None:
    agent = await own_agent(acl=True)
    await write(agent, "web")
    file = tmp_path / "token"
    file.write_text(await agent.token_with(READ))
    async with Consul(agent.url, token_file=file) as consul, consul.intentions.list().watch() as watch:
        await watch.ready(5)
        own = await agent.acall("GET", "/v1/acl/token/self", token=file.read_text())
        await agent.acall("DELETE", f"/v1/acl/token/{own['AccessorID']}")
        await write(agent, "api")
        await watch.wait_for_state("denied", timeout=10)
        await asyncio.sleep(denied)
        file.write_text(await agent.token_with(READ))
        await watch.wait_for_state("synced", timeout=3)
        await watch.until(lambda now: has("api", now), timeout=1)


@pytest.mark.slow
@pytest.mark.timeout(120)
async def test_w22_an_agent_that_stands_still_is_told_within_forty_seconds(own_agent: Launcher) -> None:
    agent = await own_agent()
    async with Consul(agent.url) as consul, contextlib.AsyncExitStack() as stack:
        queries = [consul.intentions.list(), consul.intentions.match(destination="db"), consul.ca.roots()]
        watches = [await stack.enter_async_context(query.watch()) for query in queries]  # type: ignore[attr-defined]
        for watch in watches:
            await watch.ready(5)
        await asyncio.sleep(1)
        agent.pause()
        began = time.monotonic()
        ages: list[float] = []
        while {watch.status.state for watch in watches} != {"stale"}:
            for watch in watches:
                assert watch.status.age is not None
            ages.append(min(watch.status.age or 0.0 for watch in watches))
            assert time.monotonic() - began <= 40, ([watch.status.state for watch in watches], ages[-1])
            await asyncio.sleep(0.5)
        assert ages == sorted(ages)
        first = watches[0].status.age or 0.0
        assert first >= time.monotonic() - began - 1
        await asyncio.sleep(2)
        assert (watches[0].status.age or 0.0) >= first + 1.9
        agent.resume()
        await write(agent, "web")
        await watches[0].until(lambda now: has("web", now), timeout=5)
