"""
What a fleet of idle watches costs the servers, and what one write does.

Measured on a real agent behind a gateway that counts what passes: programs with a client of their own, each with one
watch of every kind, at a tenth of the usual wait and for some tenths of it; what a client asks beside its polls is set
to a tenth as well. So a tenth of the requests of the measured time are those of as much time at the usual settings;
nothing else is scaled but the number of watches. Bytes are those of both directions, heads and bodies, uncompressed.
"""

from __future__ import annotations

import asyncio
import os
import sys
from contextlib import AsyncExitStack
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
        await asyncio.to_thread(send, agent.url, "PUT", "/v1/agent/service/register", {"Name": "web", "Port": 80})
        for kind in KINDS:
            gateway = await stack.enter_async_context(Gateway(agent.url))
            worker = Worker("watch_fleet", kind, gateway.url)
            stack.callback(worker.stop)
            await asyncio.to_thread(worker.answer)
            await asyncio.sleep(5)  # the first round is over, and the watches are out of step
            before = Passed.of(gateway)
            await asyncio.sleep(SECONDS)
            idle = Passed.of(gateway).since(before)
            own, before = await _write(kind, agent.url, gateway, 0)
            other, _ = await _write(kind, agent.url, gateway, 1)
            _show(kind, idle, {"of what is watched": own, "of another of its kind": other})
            worker.stop()


async def _write(kind: str, url: str, gateway: Gateway, other: int) -> tuple[Passed, Passed]:
    before = Passed.of(gateway)
    if kind == "health.service":
        service = {"Name": ("web", "other")[other], "Port": 81}
        await asyncio.to_thread(send, url, "PUT", "/v1/agent/service/register", service)
    else:
        names = {"SourceName": f"new-{kind}-{other}", "DestinationName": f"destination-{other}"}
        await asyncio.to_thread(send, url, "POST", LIST, names | {"Action": "allow"})
    await asyncio.sleep(SETTLED)
    after = Passed.of(gateway)
    return after.since(before), after


def _show(kind: str, idle: Passed, writes: dict[str, Passed]) -> None:
    """For so many watches; the polls that end in the time after a write are taken off."""
    many = SCALED_TO / PROGRAMS
    hour = 3600 / SECONDS / QUICKER * many
    rows = [("an hour of idleness", f"{idle.requests * hour:.0f}", f"{idle.bytes * hour / 1e6:.1f} MB")]
    share = SETTLED / SECONDS
    for name, passed in writes.items():
        requests = max(0.0, passed.requests - share * idle.requests) * many
        size = max(0.0, passed.bytes - share * idle.bytes) * many
        rows.append((f"a write {name}", f"{requests:.0f}", f"{size / 1e6:.2f} MB"))
    print(f"{kind}: {SCALED_TO} watches, one a program; from {PROGRAMS} in {SECONDS} s at a tenth of the wait")
    print("asked while idle:", ", ".join(f"{path} {count}" for path, count in sorted(idle.paths.items())))
    table((kind, "requests", "bytes"), rows)


# What the programs do, all in one process.


async def serve(kind: str, url: str) -> None:
    from aioconsulconnect import Consul

    settings = fitting(wait=5.5, probe_interval=3.0)
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
