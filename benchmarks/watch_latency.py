"""
From a write to the consumer: single writes, a stream of them, and a chain where each waits for the one before.

Beside a hand-written long poll on raw aiohttp: both in processes of their own, one at a time, against the same real
agent, with the same path and the same structs. The clock starts when the write is sent. Single writes are compared
without our pacing, in interleaved rounds; stream and chain with the pacing that users have.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import sys
import time
from collections.abc import Sequence
from typing import Any

from benchmarks.agent import real_agent
from benchmarks.figures import interval, ratio, table
from benchmarks.watch_peers import PEERS, Numbered, Wait, Worker, ours, raw, unpaced, write

ROUNDS = int(os.environ.get("ROUNDS", "30"))
WRITES = 10  # in a round
RATE = 20  # writes a second, in a stream
STREAMS = (5, 60)  # seconds
CHAIN = 50  # writes
FIRST = 10  # of them are told apart


def latency() -> None:
    times: dict[str, list[float]] = {peer: [] for peer in PEERS}
    every: dict[str, list[float]] = {peer: [] for peer in PEERS}
    with real_agent() as url:
        workers = {peer: Worker("watch_latency", peer, url) for peer in PEERS}
        for number in range(ROUNDS + 1):
            for peer in sorted(workers, reverse=bool(number % 2)):
                taken = workers[peer].run("single", WRITES)
                if number:  # the first round warms up
                    times[peer].append(statistics.median(taken))
                    every[peer] += taken
        for worker in workers.values():
            worker.stop()
    rows = []
    for peer in PEERS:
        median, low, high = interval([1e3 * seconds for seconds in every[peer]])
        compared = ratio(times[peer], times["raw aiohttp"])
        rows.append((peer, f"{median:.2f} ({low:.2f}-{high:.2f})", f"{1e3 * _p99(every[peer]):.2f}", compared))
    print(f"from a write to the consumer, {ROUNDS} interleaved rounds of {WRITES} writes, ms")
    table(("client", "median", "p99", "/ raw aiohttp"), rows)


def stream() -> None:
    rows = []
    with real_agent() as url:
        for seconds in STREAMS:
            for peer in PEERS:
                worker = Worker("watch_latency", peer, url)
                taken = worker.run("stream", seconds)
                worker.stop()
                rows.append((f"{seconds} s", peer, f"{len(taken)}", *_figures(taken)))
    print(f"{RATE} writes a second, from the sending of each until the consumer has it or a later one, ms")
    table(("for", "client", "writes", "median", "p99", "worst"), rows)


def chain() -> None:
    rows = []
    with real_agent() as url:
        for peer in PEERS:
            worker = Worker("watch_latency", peer, url)
            taken = worker.run("chain", CHAIN)
            worker.stop()
            for name, part in ((f"the first {FIRST}", taken[:FIRST]), ("the others", taken[FIRST:])):
                rows.append((name, peer, *(_figures(part)[i] for i in (0, 2))))
    print(f"{CHAIN} writes, each sent when the one before was seen, ms")
    table(("writes", "client", "median", "worst"), rows)


def _p99(taken: Sequence[float]) -> float:
    return sorted(taken)[int(len(taken) * 0.99)]


def _figures(taken: Sequence[float]) -> tuple[str, str, str]:
    return tuple(f"{1e3 * each:.1f}" for each in (statistics.median(taken), _p99(taken), max(taken)))  # type: ignore[return-value]


# What a peer does in its process.


async def serve(peer: str, url: str) -> None:
    """For each line that comes in: writes, and how long each took to its own watcher."""
    import aiohttp

    loop = asyncio.get_running_loop()
    async with aiohttp.ClientSession() as session:
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            what, count = json.loads(line)
            settings = unpaced() if what == "single" else None
            async with raw(url) if peer == "raw aiohttp" else ours(url, settings) as wait:  # nobody polls in between
                if what == "single":
                    taken = [await _single(session, url, wait) for _ in range(count)]
                else:
                    numbered = Numbered(session, url, f"{what}-{peer[:3]}-{count}")
                    taken = await (_chain if what == "chain" else _stream)(numbered, wait, count)
            print(json.dumps(taken), flush=True)


async def _single(session: Any, url: str, wait: Wait) -> float:
    began = time.perf_counter()
    waiting = asyncio.ensure_future(wait())
    await write(session, url)
    await waiting
    return time.perf_counter() - began


async def _chain(numbered: Numbered, wait: Wait, count: int) -> list[float]:
    taken = []
    for number in range(count):
        writing = asyncio.ensure_future(numbered.write(number))
        while numbered.seen(await wait()) < number:
            pass
        seen = time.perf_counter()
        taken.append(seen - await writing)
    return taken


async def _stream(numbered: Numbered, wait: Wait, seconds: int) -> list[float]:
    count = RATE * seconds
    seen = [0.0] * count

    async def watch() -> None:
        known = -1
        while known < count - 1:
            newest, now = numbered.seen(await wait()), time.perf_counter()
            for number in range(known + 1, newest + 1):
                seen[number] = now
            known = max(known, newest)

    watching = asyncio.ensure_future(watch())
    sent = [await numbered.write(0)]
    writing = []
    began = time.perf_counter()
    for number in range(1, count):
        await asyncio.sleep(max(0.0, began + number / RATE - time.perf_counter()))
        writing.append(asyncio.ensure_future(numbered.write(number)))
    sent += await asyncio.gather(*writing)
    async with asyncio.timeout(60):
        await watching
    return [then - when for when, then in zip(sent, seen, strict=True)]


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], sys.argv[2]))
