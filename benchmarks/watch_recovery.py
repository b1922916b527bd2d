"""
How soon a watch is right again: after an agent lost its state, and after six kinds of outage.

Outages: our watch and a reader that asks every 0.2 s, each in a process of its own, look at the list of intentions of
one real agent that keeps its data; each has a gateway of its own before it where the outage needs one. The clock starts
when the outage is over: when a write was sent that the agent took, or for a gateway when it stands aside. Both clocks
are the machine's.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import statistics
import sys
import time
import urllib.error
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import msgspec

from aioconsulconnect.testing.real_agent import RealAgent
from benchmarks.agent import new_agent, send
from benchmarks.figures import table
from benchmarks.watch_gateway import Gateway, canned
from benchmarks.watch_peers import LIST, Worker, write

OUTAGES = int(os.environ.get("OUTAGES", "3"))  # of each kind
WATCHERS = ("reader", "ours")
EVERY = 0.2  # seconds between two questions of the reader
LOST = 120.0  # seconds after which nobody waits any more
NO_LEADER = canned("500 Internal Server Error", "No cluster leader")


class Scene(msgspec.Struct):
    """An agent, and what stands before it, one for each watcher."""

    agent: RealAgent
    gateways: list[Gateway]
    mark: str

    async def write(self) -> float:
        """Write the mark as soon as the agent takes it; when that one was sent."""
        body = {"SourceName": self.mark, "DestinationName": "marked", "Action": "allow"}
        while True:
            sent = time.monotonic()
            try:
                await asyncio.to_thread(send, self.agent.url, "POST", LIST, body)
            except (OSError, urllib.error.HTTPError):
                await asyncio.sleep(0.01)
            else:
                return sent


async def restarted(scene: Scene) -> float:
    await scene.agent.restart(kill=True, ready=False)
    return await scene.write()


async def killed(scene: Scene, seconds: float = 4.0) -> float:
    await asyncio.to_thread(scene.agent.kill)
    await asyncio.sleep(seconds)
    scene.agent.start()
    return await scene.write()


async def killed_and_500(scene: Scene) -> float:
    for gateway in scene.gateways:
        await gateway.close()
    await asyncio.to_thread(scene.agent.kill)
    await asyncio.sleep(10)
    scene.agent.start()
    await scene.agent.ready()
    for gateway in scene.gateways:
        gateway.once = NO_LEADER
        await gateway.open()
    return await scene.write()


async def restarted_behind_a_cut(scene: Scene) -> float:
    for gateway in scene.gateways:
        gateway.cuts = True
        gateway.cut()
    await scene.agent.restart(kill=True)
    await scene.write()
    for gateway in scene.gateways:
        gateway.cuts = False
    return time.monotonic()


async def frozen(scene: Scene) -> float:
    scene.agent.pause()
    await asyncio.sleep(5)
    scene.agent.resume()
    return await scene.write()


async def replaced(scene: Scene) -> float:
    for gateway in scene.gateways:
        gateway.replace(canned("404 Not Found", "default backend - 404"))
    await scene.write()
    await asyncio.sleep(1)
    for gateway in scene.gateways:
        gateway.replace(canned("502 Bad Gateway", "<html>Bad Gateway</html>", "text/html"))
    await asyncio.sleep(1)
    for gateway in scene.gateways:
        gateway.answers = b""
    return time.monotonic()


KINDS: dict[str, tuple[Callable[[Scene], Awaitable[float]], bool]] = {
    "killed, started again": (restarted, False),
    "killed for 4 s": (killed, False),
    "killed for 10 s, then one 500": (killed_and_500, True),
    "restarted behind a cut": (restarted_behind_a_cut, True),
    "frozen for 5 s": (frozen, False),
    "gateway says 404, then 502, 2 s": (replaced, True),
}


def outages() -> None:
    asyncio.run(_outages())


async def _outages() -> None:
    rows = []
    for name, (outage, needs_gateway) in KINDS.items():
        taken = [await _one(outage, needs_gateway=needs_gateway) for _ in range(OUTAGES)]
        reader, ours = zip(*taken, strict=True)
        later = [b - a for a, b in taken]
        rows.append((name, _seconds(reader), _seconds(ours), _seconds(later)))
    print(f"from the end of an outage to the new state, {OUTAGES} of each kind, seconds: median, worst")
    table(("outage", f"reader every {EVERY} s", "ours", "ours later by"), rows)


def _seconds(taken: Sequence[float]) -> str:
    return ", ".join(f"{each:.2f}" if each < LOST else "never" for each in (statistics.median(taken), max(taken)))


async def _one(outage: Callable[[Scene], Awaitable[float]], *, needs_gateway: bool) -> list[float]:
    """Seconds until each has seen what was written."""
    async with _scene(needs_gateway=needs_gateway) as scene:
        urls = [gateway.url for gateway in scene.gateways] or [scene.agent.url] * len(WATCHERS)
        workers = [Worker("watch_recovery", name, url) for name, url in zip(WATCHERS, urls, strict=True)]
        try:
            for worker in workers:
                await asyncio.to_thread(worker.run, scene.mark)
            await asyncio.sleep(1)  # both are in the middle of what they do
            over = await outage(scene)
            return [max(0.0, await asyncio.to_thread(worker.answer) - over) for worker in workers]
        finally:
            for worker in workers:
                worker.stop()


@asynccontextmanager
async def _scene(*, needs_gateway: bool) -> AsyncIterator[Scene]:
    async with AsyncExitStack() as stack:
        agent = await stack.enter_async_context(new_agent("server"))
        gateways = [Gateway(agent.url) for _ in WATCHERS if needs_gateway]
        for gateway in gateways:
            await stack.enter_async_context(gateway)
        yield Scene(agent, gateways, f"mark-{time.monotonic_ns()}")


# What a watcher does in its process.


async def serve(name: str, url: str) -> None:
    logging.disable()  # what it says of an outage is not the table's
    (mark,) = json.loads(sys.stdin.readline())
    async with asyncio.timeout(LOST):
        await (_read if name == "reader" else _watch)(url, mark)


async def _read(url: str, mark: str) -> None:
    import aiohttp

    ready = False
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as session:
        while True:
            found = None
            try:
                async with session.get(url + LIST) as answer:
                    found = await answer.text() if answer.status == 200 else None
            except (aiohttp.ClientError, TimeoutError):
                pass
            if found is not None and (mark in found or not ready):
                print(json.dumps(time.monotonic()), flush=True)
                if ready:
                    return
                ready = True
            await asyncio.sleep(EVERY)


async def _watch(url: str, mark: str) -> None:
    from aioconsulconnect import Consul, ConsulError

    async with Consul(url) as consul, consul.intentions.list().watch() as watch:
        await watch.ready()
        print(json.dumps(time.monotonic()), flush=True)
        try:
            await watch.until(lambda now: any(one.source_name == mark for one in now))
        except ConsulError:  # it has ended: it will never be right
            print(json.dumps(time.monotonic() + 2 * LOST), flush=True)
            return
        print(json.dumps(time.monotonic()), flush=True)


# After the agent was killed and started again without its state.


WAIT = 20  # seconds: short, so that the loop that waits for it ends

Mark = asyncio.Future[float]


def lost() -> None:
    asyncio.run(_lost())


async def _lost() -> None:
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
