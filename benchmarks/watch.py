"""
`python -m benchmarks watch`: from a write to the consumer, many consumers, an idle watch, and a restart of the agent.

Latency is measured beside a hand-written long poll on raw aiohttp: both in processes of their own, one at a time, in
interleaved rounds against the same real agent, with the same path and the same structs. The clock starts when the write
is sent.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import resource
import statistics
import subprocess
import sys
import time
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from benchmarks.agent import new_agent, real_agent
from benchmarks.figures import interval, ratio, table

ROUNDS = int(os.environ.get("ROUNDS", "30"))
WRITES = 10  # in a round
CONSUMERS = int(os.environ.get("CONSUMERS", "10000"))
LIST = "/v1/connect/intentions"


def main() -> None:
    with real_agent() as url:
        latency(url)
        asyncio.run(crowd(url))
        asyncio.run(idle(url))
    asyncio.run(recovery())


# From the write to the consumer.


def latency(url: str) -> None:
    workers = {peer: Worker(peer, url) for peer in ("raw aiohttp", "ours")}
    times: dict[str, list[float]] = {peer: [] for peer in workers}
    every: dict[str, list[float]] = {peer: [] for peer in workers}
    for number in range(ROUNDS + 1):
        for peer in sorted(workers, reverse=bool(number % 2)):
            taken = workers[peer].run()
            if number:  # the first round warms up
                times[peer].append(statistics.median(taken))
                every[peer] += taken
    rows = []
    for peer, worker in workers.items():
        worker.stop()
        median, low, high = interval([1e3 * seconds for seconds in every[peer]])
        p99 = 1e3 * sorted(every[peer])[int(len(every[peer]) * 0.99)]
        ours = ratio(times[peer], times["raw aiohttp"])
        rows.append((peer, f"{median:.2f} ({low:.2f}-{high:.2f})", f"{p99:.2f}", ours))
    print(f"from a write to the consumer, {ROUNDS} interleaved rounds of {WRITES} writes, ms")
    table(("client", "median", "p99", "/ raw aiohttp"), rows)


class Worker:
    """A peer in a process of its own; it writes, waits for its own watcher to tell, and says how long each took."""

    def __init__(self, peer: str, url: str) -> None:
        command = [sys.executable, "-m", "benchmarks.watch", peer, url]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def run(self) -> list[float]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        taken: list[float] = json.loads(self._process.stdout.readline())
        return taken

    def stop(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(10)


Wait = Callable[[], Awaitable[None]]


async def serve(peer: str, url: str) -> None:
    """For each line that comes in: so many writes, each waited for."""
    import aiohttp

    loop = asyncio.get_running_loop()
    async with aiohttp.ClientSession() as session:
        while await loop.run_in_executor(None, sys.stdin.readline):
            taken = []
            async with (raw if peer == "raw aiohttp" else ours)(url) as wait:  # nobody polls between the rounds
                for _ in range(WRITES):
                    began = time.perf_counter()
                    waiting = asyncio.ensure_future(wait())
                    await write(session, url)
                    await waiting
                    taken.append(time.perf_counter() - began)
            print(json.dumps(taken), flush=True)


async def write(session: Any, url: str, name: str = "watched") -> None:
    """Write the intention, or take it away again."""
    body = {"SourceName": "bench", "DestinationName": name, "Action": "allow"}
    async with session.post(url + LIST, json=body) as answer:
        if answer.status == 200:
            return
    async with session.get(url + LIST) as answer:
        found = next(one for one in await answer.json() if one["DestinationName"] == name)
    async with session.delete(f"{url}{LIST}/{found['ID']}") as answer:
        answer.raise_for_status()


@asynccontextmanager
async def raw(url: str) -> AsyncIterator[Wait]:
    """What one writes by hand: a long poll that keeps the index."""
    import aiohttp
    import msgspec

    from aioconsulconnect.structs.intentions import Intention

    decode = msgspec.json.Decoder(tuple[Intention, ...]).decode
    news = asyncio.Event()

    async def poll(session: aiohttp.ClientSession) -> None:
        index, known = "0", None
        while True:
            async with session.get(f"{url}{LIST}?index={index}&wait=55s") as answer:
                index = answer.headers["X-Consul-Index"]
                found = decode(await answer.read())
            if found != known:
                known = found
                news.set()

    async def wait() -> None:
        await news.wait()
        news.clear()

    async with aiohttp.ClientSession(headers={"Accept-Encoding": "identity"}) as session:
        task = asyncio.create_task(poll(session))
        await wait()
        yield wait
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@asynccontextmanager
async def ours(url: str) -> AsyncIterator[Wait]:
    from aioconsulconnect import Consul
    from aioconsulconnect.watch.protocol.poll_settings import PollSettings

    settings = PollSettings(min_interval=0.001)  # the raw poll is not paced either
    async with Consul(url, polls=settings) as consul, consul.intentions.list().watch() as watch:
        changes = watch.changes()
        await anext(changes)

        async def wait() -> None:
            await anext(changes)

        yield wait


# Many consumers of one query.


async def crowd(url: str) -> None:
    import aiohttp

    import aioconsulconnect
    from aioconsulconnect import Consul

    package = Path(aioconsulconnect.__file__).parent
    async with Consul(url) as consul, aiohttp.ClientSession() as session, AsyncExitStack() as stack:
        query = consul.intentions.list()
        async with query.watch() as watch:
            await watch.ready()
            told: list[float] = []

            async def consume(changes: Any) -> None:
                await anext(changes)
                await anext(changes)
                told.append(time.perf_counter())

            gc.collect()
            tracemalloc.start()
            iterators = []
            for _ in range(CONSUMERS):
                one = await stack.enter_async_context(query.watch())
                iterators.append(one.changes())
            holding = tracemalloc.take_snapshot()
            tasks = [asyncio.create_task(consume(one)) for one in iterators]
            await asyncio.sleep(0)
            while len(asyncio.all_tasks()) < CONSUMERS or any(one._seen is None for one in iterators):
                await asyncio.sleep(0.05)
            waiting = tracemalloc.take_snapshot()
            tracemalloc.stop()
            only = [tracemalloc.Filter(inclusive=True, filename_pattern=f"{package}/*")]
            held, while_waiting = (
                sum(entry.size for entry in snapshot.filter_traces(only).statistics("filename")) / CONSUMERS
                for snapshot in (holding, waiting)
            )
            pool = consul._pool
            queries, connections = len(pool._pollers), pool.resources.budget.open
            began = time.perf_counter()
            await write(session, url, "crowd")
            await asyncio.gather(*tasks)
            table(
                ("many consumers of one query", ""),
                (
                    ("consumers", f"{CONSUMERS}"),
                    ("queries, connections of polls", f"{queries}, {connections}"),
                    ("write until the first has it", f"{1e3 * (min(told) - began):.0f} ms"),
                    ("write until the last has it", f"{1e3 * (max(told) - began):.0f} ms"),
                    ("bytes of ours for each", f"{held:.0f}; while it waits {while_waiting:.0f}"),
                ),
            )


# A watch where nothing happens.


async def idle(url: str) -> None:
    import aiohttp

    from aioconsulconnect import Consul
    from aioconsulconnect.watch.protocol.poll_settings import PollSettings

    async with aiohttp.ClientSession() as session:
        for number in range(400):
            await write(session, url, f"idle-{number}")
    settings = PollSettings(wait=0.5, shortest_wait=0.5, min_interval=0.001)
    async with Consul(url, polls=settings) as consul, AsyncExitStack() as stack:
        filters = [f'SourceName != "nobody-{number}"' for number in range(20)]
        watches = [await stack.enter_async_context(consul.intentions.list(filter=one).watch()) for one in filters]
        for watch in watches:
            await watch.ready()
        before = sum(watch.status.counters.requests for watch in watches)
        began = time.process_time()
        await asyncio.sleep(10)
        spent = time.process_time() - began
        requests = sum(watch.status.counters.requests for watch in watches) - before
        size = watches[0].explain()[-1].size
        decoded = sum(watch.status.counters.decoded for watch in watches)
    request = spent / requests
    table(
        (f"a watch of {size / 1000:.0f} KB where nothing happens", ""),
        (
            (
                "decodes in the first request of each and in all that follow",
                f"{len(watches)}, {decoded - len(watches)}",
            ),
            (f"CPU of a request ({requests} requests)", f"{1e3 * request:.2f} ms"),
            ("CPU of an hour at a wait of 55 s (44 to 55)", f"{1e3 * request * 3600 / 49.5:.0f} ms"),
            ("memory of the process", f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024} MiB"),
        ),
    )


# After the agent was killed and started again without its state.


WAIT = 20  # seconds: short, so that the loop that waits for it ends

Mark = asyncio.Future[float]


async def recovery() -> None:
    """Both had watched with a high index; how long after the agent answers again does each have the new state?"""
    import aiohttp

    from aioconsulconnect import Consul
    from aioconsulconnect.watch.protocol.poll_settings import PollSettings

    agent = new_agent()
    loop = asyncio.get_running_loop()
    marks: dict[str, Mark] = {name: loop.create_future() for name in ("py-consul", "ours")}
    async with agent, Consul(agent.url, polls=PollSettings(wait=WAIT)) as client, aiohttp.ClientSession() as session:
        for number in range(30):
            await write(session, agent.url, f"before-{number}")
            await put_mark(session, agent.url, f"before {number}")
        tasks = [
            asyncio.create_task(documented(agent.url, marks["py-consul"])),
            asyncio.create_task(watching(client, marks["ours"])),
        ]
        await asyncio.sleep(1)
        await agent.restart(kill=True)
        await put_mark(session, agent.url, "after")
        await write(session, agent.url, "after")
        began = time.perf_counter()
        await asyncio.gather(*tasks)
    rows = [(name, f"{max(0.0, mark.result() - began):.2f} s") for name, mark in marks.items()]
    print(f"an agent that lost its state: from the new state to the consumer, wait {WAIT} s")
    table(("client", ""), rows)


async def put_mark(session: Any, url: str, text: str) -> None:
    async with session.put(f"{url}/v1/kv/mark", data=text) as answer:
        answer.raise_for_status()


async def documented(url: str, mark: Mark) -> None:
    """The loop of py-consul's README, and a retry, which it leaves to the reader."""
    import aiohttp
    import consul.aio

    host, _, port = url.removeprefix("http://").partition(":")
    client = consul.aio.Consul(host=host, port=int(port))
    index = None
    try:
        while not mark.done():
            try:
                index, data = await client.kv.get("mark", index=index, wait=f"{WAIT}s")
            except (aiohttp.ClientError, OSError, consul.base.ConsulException):
                await asyncio.sleep(0.2)
                continue
            if data is not None and data["Value"] == b"after":
                mark.set_result(time.perf_counter())
    finally:
        await client.close()


async def watching(client: Any, mark: Mark) -> None:
    async with client.intentions.list().watch() as watch:
        await watch.until(lambda now: any(one.destination_name == "after" for one in now))
        mark.set_result(time.perf_counter())


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], sys.argv[2]))
