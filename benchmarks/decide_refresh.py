"""
How long the event loop stands still while an authorizer for all takes a new list of 100,000 intentions.

The authorizer and a task that does nothing but pass the loop are in one process, the server that sends the list in
another. The gaps between two passes are what every other task of a program would notice. The same task with nothing
beside it says what the machine itself does. The garbage collector is on and nothing is frozen. On a machine with too
much to do a gap is longer than what we do in it: so the worst gap is shown in processor time as well.
"""

from __future__ import annotations

import asyncio
import heapq
import json
import sys
import time
from typing import Any

from benchmarks.decide_served import INTENTIONS, MARKED
from benchmarks.figures import table
from benchmarks.watch_peers import Worker

REFRESHES = 4
WORST = 5
AFTERWARDS = 1.0  # seconds: what is thrown away then counts as well


def refresh() -> None:
    served = Worker("decide_served", "", "")
    url, size = served.answer()
    worker = Worker("decide_refresh", "", url)
    bare = worker.run("bare", 5)
    first = worker.run("enter")
    runs = [_refreshed(worker, served, is_allowed=bool(number % 2)) for number in range(REFRESHES)]
    worker.stop()
    served.stop()
    print(f"{INTENTIONS:,} intentions ({size / 1e6:.0f} MB): the {WORST} worst gaps of the event loop, ms; gc on")
    rows = [("a bare loop, 5 s", *_row(bare), ""), ("the first list", *_row(first), "")]
    rows += [(f"a new list, {i}", *_row(one), "20") for i, one in enumerate(runs, 1)]
    places = [f"{i}." for i in range(1, WORST + 1)]
    table(("", "until it decides, s", *places, "worst, CPU time", "worst wanted, under"), rows)


def _refreshed(worker: Worker, served: Worker, *, is_allowed: bool) -> Any:
    """What the loop did from before the list changed until after the authorizer decides by it."""
    worker.run("refresh", is_allowed)
    served.run("next")
    return worker.answer()


def _row(found: dict[str, Any]) -> tuple[str, ...]:
    gaps = [*found["gaps"], found["busiest"]]
    return f"{found['seconds']:.2f}", *(f"{1e3 * gap:.1f}" for gap in gaps)


# What the process of the authorizer does.


class Watcher:
    """A task that passes the loop again and again, and keeps the longest gaps, and the longest in processor time."""

    def __init__(self) -> None:
        self._worst: list[float] = [0.0] * WORST
        self._busiest = 0.0
        self._began = time.perf_counter()
        self._task = asyncio.create_task(self._watch())

    async def _watch(self) -> None:
        before, spent = time.perf_counter(), time.thread_time()
        while True:
            await asyncio.sleep(0)
            now, used = time.perf_counter(), time.thread_time()
            if now - before > self._worst[0]:
                heapq.heapreplace(self._worst, now - before)
            self._busiest = max(self._busiest, used - spent)
            before, spent = now, used

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self._began

    def stop(self, seconds: float) -> dict[str, Any]:
        """What it found, with the `seconds` until what was waited for."""
        self._task.cancel()
        return {"seconds": seconds, "gaps": sorted(self._worst, reverse=True), "busiest": self._busiest}


async def serve(url: str) -> None:
    from aioconsulconnect import Consul

    loop = asyncio.get_running_loop()

    async def told() -> list[Any]:
        line = await loop.run_in_executor(None, sys.stdin.readline)
        return list(json.loads(line)) if line else []

    def say(what: object) -> None:
        print(json.dumps(what), flush=True)

    _, seconds = await told()
    watcher = Watcher()
    await asyncio.sleep(seconds)
    say(watcher.stop(seconds))
    await told()
    watcher = Watcher()
    async with Consul(url) as consul, consul.authorizer(ready_timeout=60) as authorizer:
        await authorizer.ready(60)
        taken = watcher.seconds
        await asyncio.sleep(AFTERWARDS)
        say(watcher.stop(taken))
        while what := await told():
            say("watching")
            watcher = Watcher()
            while authorizer.check(*MARKED).allowed is not what[1]:
                await asyncio.sleep(0.005)
            taken = watcher.seconds
            await asyncio.sleep(AFTERWARDS)  # the old list goes
            say(watcher.stop(taken))


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[2]))
