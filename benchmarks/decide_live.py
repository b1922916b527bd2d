"""
From a write to the first decision that shows it, with a live authorizer on a real agent.

The authorizer has a process of its own; we write from here, so that the writing does not take its time. Each write lets
another source in. `authorizer.changes()` wakes on the new table: nothing runs in between, as it would with a loop that
asks all the time and takes a processor from the agent. So the comparison of the two tables, some tens of microseconds,
counts against us. A `check` then confirms what was told. Both processes read the same clock, and it starts before a
write is sent. Consul 1.8 has no match to wait for: there the authorizer follows the list.

The stream has an authorizer of its own: a poll follows a hundred changes at once and then samples them (`burst` and
`rate` in `PollSettings`), and the writes before would be counted with those of the stream.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import random
import sys
import time
from collections.abc import Callable
from typing import Any

from aioconsulconnect.testing.real_agent import RealAgent, find_binaries, version_of
from benchmarks.agent import new_agent
from benchmarks.figures import interval, table
from benchmarks.watch_peers import Worker

WRITES = int(os.environ.get("WRITES", "100"))
RATE = 20  # writes a second, in the stream
SECONDS = 5
INTENTIONS = "/v1/connect/intentions"
DESTINATION = "db"

Sent = list[tuple[str, float]]
"""Names of sources, each with the time when the write was sent that lets it in."""


def live() -> None:
    rows: list[tuple[str, ...]] = []
    with new_agent() as agent:
        rows += _measured(agent)
    newest = max((version_of(path) for path in find_binaries()), key=lambda one: one.version)
    if newest.version > agent.version:
        with RealAgent(newest) as agent:
            rows += _measured(agent)
    print("from the sending of a write to the first decision that shows it, ms")
    table(("Consul", "writes", "number", "median", "p99", "worst", "wanted, under"), rows)


def _measured(agent: RealAgent) -> list[tuple[str, ...]]:
    writer = Writer(agent)
    writer.write("*", "deny")
    version = f"{agent.full_version}, {'match' if agent.version >= (1, 9) else 'list'}"
    return [
        _row(version, "one by one", *_followed(agent, lambda: _alone(writer)), "median 15"),
        _row(version, f"{RATE} a second, {SECONDS} s", *_followed(agent, lambda: _stream(writer)), "p99 120"),
    ]


def _followed(agent: RealAgent, write: Callable[[], Sent]) -> tuple[Sent, dict[str, float]]:
    """What was written and when, and when a new authorizer decided by it."""
    worker = Worker("decide_live", "", agent.url)
    worker.answer()  # it has its first data
    sent = write()
    seen = worker.run("seen", [source for source, _ in sent])
    worker.stop()
    return sent, seen


def _alone(writer: Writer) -> Sent:
    return [writer.write(f"alone-{i}", pause=random.uniform(0.1, 0.3)) for i in range(WRITES)]


def _stream(writer: Writer) -> Sent:
    sent = []
    begun = time.perf_counter()
    for i in range(RATE * SECONDS):
        time.sleep(max(0.0, begun + i / RATE - time.perf_counter()))
        sent.append(writer.write(f"stream-{i}"))
    return sent


def _row(version: str, what: str, sent: Sent, seen: dict[str, float], wanted: str) -> tuple[str, ...]:
    taken = sorted(1e3 * (seen[source] - when) for source, when in sent)
    median, low, high = interval(taken)
    p99 = taken[int(len(taken) * 0.99) - 1]
    return (
        version,
        what,
        f"{len(taken)}",
        f"{median:.1f} ({low:.1f}-{high:.1f})",
        f"{p99:.1f}",
        f"{taken[-1]:.1f}",
        wanted,
    )


class Writer:
    """Writes intentions over one kept-alive connection."""

    def __init__(self, agent: RealAgent) -> None:
        self._connection = http.client.HTTPConnection(agent.host, agent.ports.http, timeout=10)
        self._connection.connect()

    def write(self, source: str, action: str = "allow", *, pause: float = 0.0) -> tuple[str, float]:
        """Let the source in, after a pause; its name and when the write was sent."""
        time.sleep(pause)
        names = {"SourceName": source, "DestinationName": DESTINATION, "SourceType": "consul"}
        body = json.dumps(names | {"Action": action})
        sent = time.perf_counter()
        self._connection.request("POST", INTENTIONS, body, {"Content-Type": "application/json"})
        answer = self._connection.getresponse()
        text = answer.read()
        if answer.status != 200:
            raise SystemExit(f"benchmarks: the agent refused a write: {text.decode()}")
        return source, sent


# What the process of the authorizer does.


async def serve(url: str) -> None:
    """Note when each source may connect; for the line that comes in tell when those were that it names."""
    from aioconsulconnect import Consul

    loop = asyncio.get_running_loop()
    seen: dict[str, float] = {}

    async def follow(authorizer: Any) -> None:
        async for changes in authorizer.changes():
            now = time.perf_counter()
            for one in changes:
                if one.now.allowed and authorizer.check(one.source):
                    seen.setdefault(one.source, now)

    async with Consul(url) as consul, consul.authorizer(DESTINATION) as authorizer:
        await authorizer.ready(10)
        following = asyncio.create_task(follow(authorizer))
        await asyncio.sleep(1)  # what is learnt at the start is learnt
        print(json.dumps("ready"), flush=True)
        _, wanted = json.loads(await loop.run_in_executor(None, sys.stdin.readline))
        async with asyncio.timeout(30):
            while not seen.keys() >= set(wanted):
                await asyncio.sleep(0.05)
        print(json.dumps(seen), flush=True)
        following.cancel()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[2]))
