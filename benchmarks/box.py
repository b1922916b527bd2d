"""
`python -m benchmarks box`: the in-process agent beside a real Consul 1.8, in one run.

Both run in a process of their own and are asked by the same client over the same kept-alive connections, in interleaved
rounds. The box plays the same version. Its start is measured where tests have it: in our own process.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import aiohttp

from aioconsulconnect.testing import Agent
from benchmarks.agent import real_agent, write_intentions
from benchmarks.figures import ratio, table

ROUNDS = int(os.environ.get("ROUNDS", "30"))
CONNECTIONS = 20
INTENTIONS = "/v1/connect/intentions"
READS = {
    "check": (f"{INTENTIONS}/check?source=source-1&destination=destination-1", 400),
    "match": (f"{INTENTIONS}/match?by=destination&name=destination-1", 300),
    "list of 100": (INTENTIONS, 60),
}


def main() -> None:
    with served_box() as box, real_agent() as real:
        urls = {"box": box, "real": real}
        for url in urls.values():
            write_intentions(url, 100)
        asyncio.run(compare(urls))
    asyncio.run(starts())


@contextmanager
def served_box() -> Iterator[str]:
    """The URL of a box in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.box"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield json.loads(process.stdout.readline())
    finally:
        process.stdin.close()
        process.wait(10)


async def serve() -> None:
    """What that process does: until its input ends."""
    async with Agent("1.8") as agent:
        print(json.dumps(agent.url), flush=True)
        await asyncio.to_thread(sys.stdin.read)


async def compare(urls: dict[str, str]) -> None:
    rates: dict[tuple[str, str], list[float]] = {}
    wakes: dict[str, list[float]] = {name: [] for name in urls}
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, headers={"Accept-Encoding": "identity"}) as session:
        for number in range(ROUNDS + 1):
            names = list(urls)[:: 1 if number % 2 else -1]
            for name in names:
                for read, (path, count) in READS.items():
                    rate = await requests_a_second(session, urls[name] + path, count)
                    if number:  # the first round warms up
                        rates.setdefault((name, read), []).append(rate)
                wakes[name] += [await write_to_wake(session, urls[name], number, turn) for turn in range(5)]
    print(f"median of {ROUNDS} interleaved rounds, {CONNECTIONS} connections; the ratio with its 95 % interval")
    rows = [
        (
            f"{read}, requests/s",
            f"{statistics.median(rates['box', read]):.0f}",
            f"{statistics.median(rates['real', read]):.0f}",
            ratio(rates["box", read], rates["real", read]),
        )
        for read in READS
    ]
    ours, theirs = ([1e3 * seconds for seconds in wakes[name][5:]] for name in ("box", "real"))
    wake = (f"{statistics.median(ours):.2f}", f"{statistics.median(theirs):.2f}", ratio(ours, theirs))
    table(("", "box", "real 1.8", "box / real"), [*rows, ("write to woken poll, ms", *wake)])


async def requests_a_second(session: aiohttp.ClientSession, url: str, count: int) -> float:
    async def ask(times: int) -> None:
        for _ in range(times):
            async with session.get(url) as response:
                await response.read()

    began = time.perf_counter()
    await asyncio.gather(*(ask(max(1, count // CONNECTIONS)) for _ in range(CONNECTIONS)))
    return max(1, count // CONNECTIONS) * CONNECTIONS / (time.perf_counter() - began)


async def write_to_wake(session: aiohttp.ClientSession, url: str, number: int, turn: int) -> float:
    """Seconds from sending a write to the answer of a poll that waits for it; the write's own may come later."""
    async with session.get(url + INTENTIONS) as response:
        index = response.headers["X-Consul-Index"]
    path = f"{INTENTIONS}/match?by=destination&name=woken&index={index}&wait=60s"

    async def poll() -> float:
        async with session.get(url + path) as response:
            await response.read()
            return time.perf_counter()

    waiting = asyncio.create_task(poll())
    await asyncio.sleep(0.02)  # time to arrive: too little would show as a wake before the write
    intention = {"SourceName": f"s-{number}-{turn}", "DestinationName": "woken", "Action": "allow"}
    sent = time.perf_counter()
    async with session.post(url + INTENTIONS, json=intention) as response:
        identifier = (await response.json())["ID"]
    woken = await waiting
    async with session.delete(f"{url}{INTENTIONS}/{identifier}") as response:
        await response.read()
    return woken - sent


async def starts() -> None:
    """How long the box and a real agent take from nothing to their first answer."""
    box: list[float] = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        async with Agent("1.8"):
            box.append(1e3 * (time.perf_counter() - began))
    real: list[float] = []
    for _ in range(3):
        began = time.perf_counter()
        with real_agent():
            real.append(1e3 * (time.perf_counter() - began))
    print("start-up, ms: the box in the process that uses it, the real one until it has a CA")
    table(("", "box", "real 1.8"), [("median", f"{statistics.median(box):.1f}", f"{statistics.median(real):.0f}")])


if __name__ == "__main__":
    asyncio.run(serve())
