"""The watchers of the list of intentions, each in a process of its own, and what they are told to do there."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

PEERS = ("raw aiohttp", "ours")
LIST = "/v1/connect/intentions"
PACED = "paced"

Intentions = tuple[Any, ...]
Wait = Callable[[], Awaitable[Intentions]]


class Worker:
    """A peer in a process of its own, which does what it is told; each of its answers is one line of JSON."""

    def __init__(self, module: str, peer: str, url: str) -> None:
        command = [sys.executable, "-m", f"benchmarks.{module}", peer, url]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def run(self, *what: object) -> Any:
        self.tell(*what)
        return self.answer()

    def tell(self, *what: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(what) + "\n")
        self._process.stdin.flush()

    def answer(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit("benchmarks: a peer has ended")
        return json.loads(line)

    def stop(self) -> None:
        """End it, whatever it does: a peer may be stuck in what is measured."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.terminate()
        self._process.wait(10)


def fitting(**settings: Any) -> Any:
    """PollSettings with those of the settings that this version has."""
    from aioconsulconnect.watch.protocol.poll_settings import PollSettings

    fields = PollSettings.__struct_fields__
    return PollSettings(**{name: value for name, value in settings.items() if name in fields})


def unpaced() -> Any:
    """Nothing is held back: the raw poll is not paced either."""
    return fitting(min_interval=0.001, burst=1_000_000, rate=1_000.0)


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


class Numbered:
    """One intention that is written again and again, with a number in its description."""

    def __init__(self, session: Any, url: str, name: str) -> None:
        self._session = session
        self._url = url
        self._body = {"SourceName": "bench", "DestinationName": name, "Action": "allow"}
        self._name = name
        self._id = ""

    async def write(self, number: int) -> float:
        """Write it; when that was sent."""
        body = self._body | {"Description": str(number)}
        sent = time.perf_counter()
        path = f"{self._url}{LIST}/{self._id}" if self._id else self._url + LIST
        async with self._session.request("PUT" if self._id else "POST", path, json=body) as answer:
            answer.raise_for_status()
            self._id = self._id or (await answer.json())["ID"]
        return sent

    def seen(self, intentions: Intentions) -> int:
        """The number that a watcher has; -1 where it has none."""
        return next((int(one.description) for one in intentions if one.destination_name == self._name), -1)


@asynccontextmanager
async def raw(url: str) -> AsyncIterator[Wait]:
    """What one writes by hand: a long poll that keeps the index."""
    import aiohttp
    import msgspec

    from aioconsulconnect.structs.intentions import Intention

    decode = msgspec.json.Decoder(tuple[Intention, ...]).decode
    news = asyncio.Event()
    known: Intentions = ()

    async def poll(session: aiohttp.ClientSession) -> None:
        nonlocal known
        index, first = "0", True
        while True:
            async with session.get(f"{url}{LIST}?index={index}&wait=55s") as answer:
                index = answer.headers["X-Consul-Index"]
                found = decode(await answer.read())
            if first or found != known:
                known, first = found, False
                news.set()

    async def wait() -> Intentions:
        await news.wait()
        news.clear()
        return known

    async with aiohttp.ClientSession(headers={"Accept-Encoding": "identity"}) as session:
        task = asyncio.create_task(poll(session))
        await wait()
        yield wait
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@asynccontextmanager
async def ours(url: str, settings: Any = None) -> AsyncIterator[Wait]:
    """Our watch, paced as users have it where no settings are given."""
    from aioconsulconnect import Consul

    async with Consul(url, polls=settings) as consul, consul.intentions.list().watch() as watch:
        changes = watch.changes()
        await anext(changes)

        async def wait() -> Intentions:
            await anext(changes)
            return watch.current

        yield wait
