"""Minutes of everything at once on a real agent: writes, restarts, cut connections, consumers that come and go."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import logging
import os
import random
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, Self

import pytest
from support.agents import Launcher, RealAgent, sockets

from aioconsulconnect.client import Consul
from aioconsulconnect.structs.intentions import Intention
from aioconsulconnect.watch.changes import Added, Changed
from aioconsulconnect.watch.protocol.poll_settings import PollSettings
from aioconsulconnect.watch.query import Query

SECONDS = float(os.environ.get("SOAK_SECONDS", "300"))
INTENTIONS = "/v1/connect/intentions"
NAMES = 30


class ConsulStruct:
    """A connection to the agent that can be cut."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._open: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *error: object) -> None:
        self._server.close()
        self.cut()
        await asyncio.gather(*self._open, return_exceptions=True)

    def cut(self) -> None:
        for task in tuple(self._open):
            task.cancel()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._open.add(task)
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self._port)
            try:
                await asyncio.wait(
                    [asyncio.create_task(_copy(reader, back)), asyncio.create_task(_copy(there, writer))],
                    return_when=asyncio.FIRST_COMPLETED,
                )
            finally:
                back.close()
        except OSError:
            pass
        except asyncio.CancelledError:
            pass  # it was cut
        finally:
            writer.close()
            self._open.discard(task)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()


class Held(NamedTuple):
    """What the process holds on to."""

    tasks: int
    sockets: int
    memory: int


def held() -> Held:
    """What is held now; what a cache of limited size keeps is no growth, however late a slow machine fills it."""
    for one in gc.get_objects():
        if isinstance(one, functools._lru_cache_wrapper) and one.cache_parameters()["maxsize"] is not None:
            one.cache_clear()
    gc.collect()
    return Held(len(asyncio.all_tasks()), len(sockets()), tracemalloc.get_traced_memory()[0])


class Soak:
    def __init__(self, agent: RealAgent, wire: ConsulStruct, consul: Consul) -> None:
        self.agent = agent
        self.wire = wire
        self.consul = consul
        self.random = random.Random(7)
        self.end = time.monotonic() + SECONDS
        self.delivered = 0
        self.rounds = 0

    @property
    def goes_on(self) -> bool:
        return time.monotonic() < self.end

    def query(self) -> Query[tuple[Intention, ...], Intention]:
        if self.random.random() < 0.3:
            return self.consul.intentions.list()
        return self.consul.intentions.match(destination=f"db-{self.random.randrange(10)}")

    async def write(self) -> None:
        while self.goes_on:
            await asyncio.sleep(self.random.random() * 0.2)
            with contextlib.suppress(OSError, TypeError):
                if self.random.random() < 0.5:
                    name = self.random.randrange(NAMES)
                    body = {"SourceName": f"web-{name}", "DestinationName": f"db-{name % 10}", "Action": "allow"}
                    await self.agent.acall("POST", INTENTIONS, body)
                else:
                    known = await self.agent.acall("GET", INTENTIONS)
                    if known:
                        await self.agent.acall("DELETE", f"{INTENTIONS}/{self.random.choice(known)['ID']}")

    async def disturb(self) -> None:
        while self.goes_on:
            await asyncio.sleep(2 + 4 * self.random.random())
            kind = self.random.random()
            if kind < 0.6:
                self.wire.cut()
            elif kind < 0.8:
                await asyncio.to_thread(self.agent.pause)
                await asyncio.sleep(0.5)
                await asyncio.to_thread(self.agent.resume)
            else:
                with contextlib.suppress(TimeoutError):
                    await self.agent.restart(kill=self.random.random() < 0.5)

    async def consume(self) -> None:
        """Follow for a while, and see that the batches lead to what is there."""
        while self.goes_on:
            async with self.query().watch() as watch:
                seen: dict[str, Intention] = {}
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self.random.random() * 5):
                        async for batch in watch.changes():
                            for change in batch:
                                if isinstance(change, Added | Changed):
                                    seen[change.new.id] = change.new
                                else:
                                    del seen[change.old.id]
                            self.delivered += 1
                            if self.random.random() < 0.2:
                                await asyncio.sleep(self.random.random())
            self.rounds += 1

    async def run(self) -> tuple[Held, Held]:
        work = [self.write(), self.disturb(), *(self.consume() for _ in range(40))]
        tasks = [asyncio.create_task(one) for one in work]
        early = await self.most_held(until=time.monotonic() + SECONDS / 5)
        await asyncio.gather(*tasks)
        return early, held()

    @staticmethod
    async def most_held(until: float) -> Held:
        """The peak of each figure: a single look may meet an agent that is down, and nothing open."""
        most = held()
        while time.monotonic() < until:
            await asyncio.sleep(0.5)
            most = Held(*map(max, most, held()))
        return most


@pytest.fixture
def _traced() -> Iterator[None]:
    """Trace memory, and let pytest keep no records of the log: they are formatted, and gone."""
    log = logging.getLogger("aioconsulconnect")
    with Path(os.devnull).open("w") as nowhere:
        handler = logging.StreamHandler(nowhere)
        log.addHandler(handler)
        log.propagate = False
        tracemalloc.start()
        yield
        tracemalloc.stop()
        log.propagate = True
        log.removeHandler(handler)


@pytest.mark.soak
@pytest.mark.timeout(1800)
@pytest.mark.usefixtures("_traced")
async def test_client_under_soak_does_not_grow_in_tasks_sockets_or_memory(own_agent: Launcher) -> None:
    agent = await own_agent(mode="server")
    settings = PollSettings(idle_timeout=2, wait=10)
    async with ConsulStruct(agent.ports.http) as wire, Consul(wire.url, polls=settings) as consul:
        soak = Soak(agent, wire, consul)
        early, late = await soak.run()
        if not agent.running:
            agent.start()
        await agent.ready()
        async with consul.intentions.list().watch() as watch:
            expected = {one["ID"] for one in await agent.acall("GET", INTENTIONS)}
            await watch.until(lambda now: {one.id for one in now} == expected, timeout=30)
        async with asyncio.timeout(30):
            while consul._pool._pollers:  # they linger, and end
                await asyncio.sleep(0.2)
    assert soak.delivered > SECONDS
    assert soak.rounds > SECONDS * 3
    assert late.tasks <= early.tasks
    assert late.sockets <= early.sockets + 20
    assert late.memory <= early.memory * 1.25 + 500_000
