"""
What a fleet of idle watches costs the servers, and what one write does.

Measured on a real agent with 100 intentions, behind a gateway that counts what passes: programs with a client and one
watch each. Idle at a tenth of the usual wait, and of the usual time between what a client asks beside its polls, so
that a tenth of what passes in a time is what passes in it at the usual settings; the writes at the usual settings.
Nothing else is scaled but the number of watches. Bytes are those of both directions, heads and bodies, uncompressed.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import msgspec

from benchmarks.agent import new_agent, send, write_intentions
from benchmarks.figures import table
from benchmarks.watch_gateway import Gateway
from benchmarks.watch_peers import LIST, Worker, fitting

PROGRAMS = int(os.environ.get("PROGRAMS", "30"))
SECONDS = int(os.environ.get("SECONDS_IDLE", "30"))
QUICKER = 10  # than the usual settings
SCALED_TO = 1000  # watches
SETTLED = 3.0  # seconds after which the consequences of a write are over
KINDS = ("intentions.match", "health.service", "ca.roots")
SERVICE = "/v1/agent/service/register"
WRITES: tuple[tuple[str, str, dict[str, object]], ...] = (
    ("an intention of the destination", LIST, {"DestinationName": "destination-0", "Action": "allow"}),
    ("another intention", LIST, {"DestinationName": "destination-1", "Action": "allow"}),
    ("the service", SERVICE, {"Name": "web"}),
    ("another service", SERVICE, {"Name": "other"}),
)


class Passed(msgspec.Struct):
    """What has passed the gateway."""

    requests: int
    bytes: int
    paths: dict[str, int]

    @classmethod
    def of(cls, gateway: Gateway) -> Passed:
        return cls(sum(gateway.requests.values()), gateway.bytes, dict(gateway.requests))

    def since(self, before: Passed) -> Passed:
        paths = {path: count - before.paths.get(path, 0) for path, count in self.paths.items()}
        return Passed(self.requests - before.requests, self.bytes - before.bytes, paths)


def fleet() -> None:
    asyncio.run(_fleet())


async def _fleet() -> None:
    async with AsyncExitStack() as stack:
        agent = await stack.enter_async_context(new_agent())
        await asyncio.to_thread(write_intentions, agent.url, 100)
        await asyncio.to_thread(send, agent.url, "PUT", SERVICE, {"Name": "web", "Port": 80})
        for kind in KINDS:
            gateway = await stack.enter_async_context(Gateway(agent.url))
            async with _programs(kind, "quicker", gateway):
                before = Passed.of(gateway)
                await asyncio.sleep(SECONDS)
                idle = Passed.of(gateway).since(before)
            async with _programs(kind, "usual", gateway):
                writes = {name: await _write(path, body, agent.url, gateway) for name, path, body in WRITES}
            _show(kind, idle, writes)


@asynccontextmanager
async def _programs(kind: str, pace: str, gateway: Gateway) -> AsyncIterator[None]:
    worker = Worker("watch_fleet", f"{kind} {pace}", gateway.url)
    try:
        await asyncio.to_thread(worker.answer)
        await asyncio.sleep(5)  # the first round is over, and the quicker ones are out of step
        yield
    finally:
        worker.stop()


async def _write(path: str, body: dict[str, object], url: str, gateway: Gateway) -> Passed:
    """What passes because of a write."""
    before = Passed.of(gateway)
    unlike_before = {"Port": int(time.time()) % 30000 + 1} if path == SERVICE else {"SourceName": f"{time.time()}"}
    await asyncio.to_thread(send, url, "PUT" if path == SERVICE else "POST", path, body | unlike_before)
    await asyncio.sleep(SETTLED)
    return Passed.of(gateway).since(before)


def _show(kind: str, idle: Passed, writes: dict[str, Passed]) -> None:
    many = SCALED_TO / PROGRAMS
    hour = 3600 / SECONDS / QUICKER * many
    rows = [("an hour of idleness", f"{idle.requests * hour:.0f}", f"{idle.bytes * hour / 1e6:.1f} MB")]
    for name, passed in writes.items():
        rows.append((f"a write of {name}", f"{passed.requests * many:.0f}", f"{passed.bytes * many / 1e6:.2f} MB"))
    print(f"{kind}: {SCALED_TO} watches, one a program; from {PROGRAMS}, idle for {SECONDS} s at a tenth of the wait")
    print("asked while idle:", ", ".join(f"{path} {count}" for path, count in sorted(idle.paths.items())))
    table((kind, "requests", "bytes"), rows)


# What the programs do, all in one process.


async def serve(what: str, url: str) -> None:
    from aioconsulconnect import Consul

    kind, _, pace = what.partition(" ")
    settings = fitting(wait=5.5, probe_interval=3.0) if pace == "quicker" else None
    async with AsyncExitStack() as stack:
        watches: list[Any] = []
        for _ in range(PROGRAMS):
            consul = await stack.enter_async_context(Consul(url, polls=settings))
            query: Any = {
                "intentions.match": lambda client: client.intentions.match(destination="destination-0"),
                "health.service": lambda client: client.health.service("web"),
                "ca.roots": lambda client: client.ca.roots(),
            }[kind](consul)
            watches.append(await stack.enter_async_context(query.watch()))
            await asyncio.sleep(0.05)
        for watch in watches:
            await watch.ready(10)
        print("true", flush=True)
        await asyncio.to_thread(sys.stdin.readline)


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], sys.argv[2]))
