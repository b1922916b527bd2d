"""Three servers with ACLs lose their leader again and again under twenty watches: nothing false is told."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import time
import urllib.request
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Literal

import pytest
from support.agents import MANAGEMENT, Binary, RealAgent, RealCluster

from aioconsulconnect.client import Consul
from aioconsulconnect.errors import ConsulError
from aioconsulconnect.structs.intentions import Intention
from aioconsulconnect.transport.settings.options import Options
from aioconsulconnect.watch.changes import Removed
from aioconsulconnect.watch.watch import Watch

ROUNDS = int(os.environ.get("CLUSTER_ROUNDS", "20"))
WATCHES = 20
INTENTIONS = "/v1/connect/intentions"
BEHIND_A_READER = 2.0
TOLD_AS_STALE = 40.0
SLACK = 1.5  # seconds that an age may be off: a stale answer's LastContact is of another moment
Fault = Literal["kill -9", "SIGTERM", "SIGSTOP"]
FAULTS: tuple[Fault, ...] = ("kill -9", "SIGTERM", "SIGSTOP")
List = tuple[Intention, ...]


def sources(now: List) -> set[str]:
    return {one.source_name for one in now}


class Witness:
    """One watch: what it removed, whether it ended, and since when it has a mark."""

    def __init__(self, watch: Watch[List, Intention], name: str) -> None:
        self.watch = watch
        self.name = name
        self.removed: list[str] = []
        self.ended = False
        self.seen: dict[str, float] = {}
        self._changes = watch.changes()
        self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        with contextlib.suppress(ConsulError):
            async for batch in self._changes:
                for change in batch:
                    if isinstance(change, Removed):
                        self.removed.append(change.old.source_name)
                    else:
                        self.seen.setdefault(change.new.source_name, time.monotonic())
        self.ended = True

    async def end(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    def lies(self, mark: str, written: float) -> str:
        """Whether it says that it is synced, and younger than a write that it does not have."""
        status = self.watch.status
        late = time.monotonic() - written
        knows = mark in sources(self.watch.current)  # its consumer may be told a moment later
        if status.state == "synced" and not knows and (status.age or 0.0) < late - SLACK:
            return f"{self.name}: synced, age {status.age:.1f}, without what was written {late:.1f} s ago"
        return ""


def ask(server: RealAgent, method: str, path: str, body: object = None, timeout: float = 2.0) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(
        server.url + path, data=data, method=method, headers={"X-Consul-Token": MANAGEMENT}
    )
    with urllib.request.urlopen(request, timeout=timeout) as answer:
        return json.loads(answer.read() or b"null")


async def first_of(cluster: RealCluster, out: int, what: Callable[[RealAgent], Any]) -> float:
    """Ask the servers that are well in turn, every 0.2 s, until one answers with something; when that was."""
    others = [server for number, server in enumerate(cluster.servers) if number != out]
    for number in range(1000):
        began = time.monotonic()
        with contextlib.suppress(OSError, ValueError):
            if await asyncio.to_thread(what, others[number % 2]):
                return time.monotonic()
        await asyncio.sleep(max(0.0, 0.2 - (time.monotonic() - began)))
    raise AssertionError("no server answers any more")


def has(mark: str) -> Callable[[RealAgent], bool]:
    def asked(server: RealAgent) -> bool:
        return any(one["SourceName"] == mark for one in ask(server, "GET", INTENTIONS))

    return asked


def writes(mark: str) -> Callable[[RealAgent], Any]:
    body = {"SourceName": mark, "DestinationName": "db", "SourceType": "consul", "Action": "allow"}

    def asked(server: RealAgent) -> Any:
        with contextlib.suppress(OSError):  # also a 500 because the try before it was applied after all
            ask(server, "POST", INTENTIONS, body)
        return has(mark)(server)

    return asked


def all_vote(server: RealAgent) -> bool:
    """Whether all three count: a server that was thought dead has no vote for its first ten seconds back."""
    voters = ask(server, "GET", "/v1/operator/raft/configuration")["Servers"]
    return [one["Voter"] for one in voters] == [True] * 3


@contextlib.asynccontextmanager
async def witnesses(cluster: RealCluster) -> AsyncIterator[list[Witness]]:
    found = []
    async with contextlib.AsyncExitStack() as stack:
        for number in range(WATCHES):
            order = cluster.urls[number % 3 :] + cluster.urls[: number % 3]
            consul = await stack.enter_async_context(Consul(order, token=MANAGEMENT))
            options = Options(consistency="stale") if number % 4 == 3 else None
            kind = "list" if number % 2 else "match"
            query: Any = (
                consul.intentions.list(options=options)
                if number % 2
                else consul.intentions.match(destination="db", options=options)
            )
            watch = await stack.enter_async_context(query.watch())
            await watch.ready(20)
            found.append(Witness(watch, f"{number} {kind}{' stale' if options else ''}"))
        try:
            yield found
        finally:
            await asyncio.gather(*(witness.end() for witness in found))


async def whole(cluster: RealCluster) -> int:
    """Wait until there is a leader and all vote; who leads."""
    leader = await cluster.wait_leader(60)
    async with asyncio.timeout(60):
        while not await asyncio.to_thread(all_vote, cluster.servers[leader]):
            await asyncio.sleep(0.2)
    return leader


async def one_round(cluster: RealCluster, all_of: list[Witness], number: int, fault: Fault) -> str:
    leader = await whole(cluster)
    server, mark = cluster.servers[leader], f"mark-{number}"
    began = time.monotonic()
    if fault == "SIGSTOP":
        server.pause()
    else:
        await asyncio.to_thread(server.kill if fault == "kill -9" else server.stop)
    written = await first_of(cluster, leader, writes(mark))
    read = await first_of(cluster, leader, has(mark))
    bound = TOLD_AS_STALE if fault == "SIGSTOP" else BEHIND_A_READER
    lies: set[str] = set()
    late: list[str] = []
    while True:
        now = time.monotonic()
        lies |= {lie for witness in all_of if (lie := witness.lies(mark, written))}
        missing = [witness for witness in all_of if mark not in witness.seen]
        if fault == "SIGSTOP":
            unknowing = [witness for witness in missing if witness.watch.status.state == "synced"]
            if not unknowing:
                break
            late = [witness.name for witness in unknowing]
        elif not missing:
            break
        else:
            late = [f"{witness.name} {witness.watch.status.state}" for witness in missing]
        if now - read > bound + 1:
            break
        await asyncio.sleep(0.05)
    settled = time.monotonic()
    if fault == "SIGSTOP":
        server.resume()
    else:
        await cluster.restart(leader)
    for witness in all_of:
        async with asyncio.timeout(90):
            while mark not in witness.seen and not witness.ended:
                await asyncio.sleep(0.05)
    seen = max(witness.seen.get(mark, settled) for witness in all_of)
    told = f"{fault}: reader after {read - began:.2f} s, all watches {seen - read:+.2f} s"
    assert settled - read <= bound, f"{told}, then still without it: {late}"
    assert lies == set()
    return told


@pytest.mark.soak
@pytest.mark.timeout(120 + ROUNDS * 75)
async def test_a_cluster_loses_its_leader_twenty_times_in_three_ways(
    real_binary: Binary, fresh_directory: Callable[[], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    cluster = RealCluster(real_binary, fresh_directory(), acl=True)
    troubles: list[str] = []
    try:
        cluster.start()
        for number in range(50):
            body = {"SourceName": f"web-{number}", "DestinationName": "db", "Action": "allow"}
            await asyncio.to_thread(ask, cluster.servers[0], "POST", INTENTIONS, body, 10.0)
        async with witnesses(cluster) as all_of:
            for number in range(ROUNDS):
                fault = FAULTS[number % 3]
                try:
                    told = await one_round(cluster, all_of, number, fault)
                except AssertionError as wrong:
                    told = str(wrong).splitlines()[0]
                    troubles.append(f"round {number}: {told}")
                with capsys.disabled():
                    sys.stdout.write(f"\n{number:2} {told}")
                    sys.stdout.flush()
            assert [witness.removed for witness in all_of] == [[] for _ in all_of]
            assert not any(witness.ended for witness in all_of)
            assert all({f"web-{number}" for number in range(50)} <= sources(one.watch.current) for one in all_of)
        assert troubles == []
    finally:
        cluster.end()
