"""Many consumers of one query, and a watch where nothing happens."""

from __future__ import annotations

import asyncio
import gc
import os
import resource
import time
import tracemalloc
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from benchmarks.agent import real_agent
from benchmarks.figures import table
from benchmarks.watch_peers import fitting, write

CONSUMERS = int(os.environ.get("CONSUMERS", "10000"))


def crowd() -> None:
    with real_agent() as url:
        asyncio.run(_crowd(url))


def idle() -> None:
    with real_agent() as url:
        asyncio.run(_idle(url))


# Many consumers of one query.


async def _crowd(url: str) -> None:
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
            while not pool.resources.budget.open:
                await asyncio.sleep(0.01)
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


async def _idle(url: str) -> None:
    import aiohttp

    from aioconsulconnect import Consul

    async with aiohttp.ClientSession() as session:
        for number in range(400):
            await write(session, url, f"idle-{number}")
    settings = fitting(wait=0.5, shortest_wait=0.5, min_interval=0.001, burst=1_000_000, rate=1_000.0)
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
