"""Several programs of one host at one agent that counts its connections: all are served, and nobody is refused."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from support.agents import Launcher, RealAgent
from support.paths import ROOT

from aioconsulconnect.client import Consul

SECONDS = float(os.environ.get("HOST_SECONDS", "300"))
PROGRAM = ROOT / "tests" / "support" / "program.py"


async def run(agent: RealAgent, number: int, watches: int, seconds: float) -> dict[str, Any]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(PROGRAM), agent.url, str(number), str(watches), str(seconds),
        stdout=asyncio.subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    try:
        out, _ = await process.communicate()
    except BaseException:
        process.kill()
        await process.wait()
        raise
    found: dict[str, Any] = json.loads(out)
    return found


def asks_anew(agent: RealAgent) -> str:
    """A call of somebody else's on a connection of its own; what was wrong with it."""
    connection = http.client.HTTPConnection(agent.host, agent.ports.http, timeout=5)
    try:
        connection.request("GET", "/v1/status/leader")
        answer = connection.getresponse()
        answer.read()
        return "" if answer.status == 200 else str(answer.status)
    except OSError as error:
        return repr(error)
    finally:
        connection.close()


@pytest.mark.soak
@pytest.mark.timeout(SECONDS + 120)
async def test_w24_four_programs_of_sixty_watches_on_one_host(
    own_agent: Launcher, capsys: pytest.CaptureFixture[str]
) -> None:
    agent = await own_agent(config={"limits": {"http_max_conns_per_client": 200}})
    programs = [asyncio.create_task(run(agent, number, 60, SECONDS)) for number in range(4)]
    began, refused = time.monotonic(), []
    while not all(program.done() for program in programs):
        if time.monotonic() - began > 33 and (wrong := await asyncio.to_thread(asks_anew, agent)):
            refused.append(f"{time.monotonic() - began:.1f} s: {wrong}")
        await asyncio.wait(programs, timeout=1)
    results = await asyncio.gather(*programs)
    with capsys.disabled():
        for result in results:
            told = {**result, "refused": (len(result["refused"]), result["refused"][:2])}
            sys.stdout.write(f"\n{told}")
        sys.stdout.write(f"\nothers: {len(refused)} refused {refused[:3]}\n")
    assert [result["late"] for result in results] == [0] * 4
    assert max(result["ready"] for result in results) <= 30
    assert [result["refused"] for result in results] == [[]] * 4
    assert refused == []


@pytest.mark.slow
@pytest.mark.timeout(60)
async def test_w24_unused_connections_are_closed_also_while_calls_go_on(own_agent: Launcher) -> None:
    """100 calls at once, then one a second: two sockets after 15 s."""
    agent = await own_agent()
    async with Consul(agent.url) as consul:
        await asyncio.gather(*(consul.intentions.list().value() for _ in range(100)))
        for _ in range(16):
            await asyncio.sleep(1)
            await consul.intentions.list()
        assert connections(agent.ports.http) <= 2


def connections(port: int) -> int:
    """The established connections of this host to that port."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text("ascii").splitlines()[1:]]
    return sum(row[2].endswith(f":{port:04X}") and row[3] == "01" for row in rows)
