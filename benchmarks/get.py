"""
`python -m benchmarks get`: the CPU time of one read, in our process, beside the peers in theirs.

Every peer runs in a process of its own against the same agent, in interleaved rounds; all ask for the same paths over
kept-alive connections without compression. What is compared is CPU time per request, round by round.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable

from benchmarks.agent import real_agent, write_intentions
from benchmarks.figures import interval, ratio, table

PEERS = ("aiohttp+json", "aiohttp+msgspec", "py-consul", "ours")
SHAPES = (("small", 1, 300), ("small", 50, 600), ("500 intentions", 1, 30), ("500 intentions", 50, 50))
ROUNDS = int(os.environ.get("ROUNDS", "30"))
CHECK = "/v1/connect/intentions/check?source=source-1&destination=destination-1"
LIST = "/v1/connect/intentions"

Call = Callable[[], Awaitable[object]]


def main() -> None:
    with real_agent() as url:
        write_intentions(url, 500)
        workers = {peer: Worker(peer, url) for peer in PEERS}
        times: dict[tuple[str, str, int], list[float]] = {}
        for round_number in range(ROUNDS + 1):
            for body, at_once, count in SHAPES:
                for peer in PEERS[round_number % 4 :] + PEERS[: round_number % 4]:
                    seconds = workers[peer].run(body, at_once, count)
                    if round_number:  # the first round warms up
                        times.setdefault((peer, body, at_once), []).append(seconds)
        for worker in workers.values():
            worker.stop()
    show(times)
    show_import()


def show(times: dict[tuple[str, str, int], list[float]]) -> None:
    rows = []
    for body, at_once, _ in SHAPES:
        base = times["aiohttp+msgspec", body, at_once]
        peer = times["py-consul", body, at_once]
        for name in PEERS:
            own = times[name, body, at_once]
            micros = f"{1e6 * statistics.median(own):.0f}"
            rows.append((f"{body}, {at_once} at once", name, micros, ratio(own, base), ratio(own, peer)))
    print(f"CPU time of one read, median of {ROUNDS} interleaved rounds; ratios with their 95 % intervals")
    table(("read", "client", "µs", "/ aiohttp+msgspec", "/ py-consul"), rows)


def show_import() -> None:
    """What `from aioconsulconnect import Consul` adds to the import of what it needs, all of it compiled before."""
    bare: list[float] = []
    ours: list[float] = []
    with tempfile.TemporaryDirectory() as cache:
        for round_number in range(26):
            times = _import("pass", cache), _import("from aioconsulconnect import Consul", cache)
            if round_number:  # the first round compiles
                bare.append(times[0])
                ours.append(times[1])
    added, low, high = interval([1e3 * (b - a) for a, b in zip(bare, ours, strict=True)])
    print(f"import, CPU time: {1e3 * statistics.median(bare):.0f} ms for aiohttp, msgspec and anyio;", end=" ")
    print(f"ours adds {added:.0f} ms ({low:.0f}-{high:.0f})\n")


def _import(what: str, cache: str) -> float:
    code = f"import time; t=time.process_time(); import aiohttp, msgspec, anyio; {what}; print(time.process_time()-t)"
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": cache, "PYTHONDONTWRITEBYTECODE": ""}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, check=True, text=True)
    return float(done.stdout)


class Worker:
    """A peer in a process of its own, which runs what it is told and says how much CPU time a request took."""

    def __init__(self, peer: str, url: str) -> None:
        command = [sys.executable, "-m", "benchmarks.get", peer, url]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def run(self, body: str, at_once: int, count: int) -> float:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([body, at_once, count]) + "\n")
        self._process.stdin.flush()
        return float(self._process.stdout.readline())

    def stop(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(10)


async def serve(peer: str, url: str) -> None:
    calls, close = await OPEN[peer](url)
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        body, at_once, count = json.loads(line)
        began = time.process_time()
        await asyncio.gather(*(repeat(calls[body], count // at_once) for _ in range(at_once)))
        print((time.process_time() - began) / count, flush=True)
    await close()


async def repeat(call: Call, times: int) -> None:
    for _ in range(times):
        await call()


async def open_raw(url: str, decode_check: Callable[[bytes], object], decode_list: Callable[[bytes], object]) -> Opened:
    import aiohttp

    session = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=100, keepalive_timeout=15),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"Accept-Encoding": "identity"},
        timeout=aiohttp.ClientTimeout(total=10, sock_connect=10),
    )

    async def get(path: str, decode: Callable[[bytes], object]) -> object:
        async with session.get(url + path) as answer:
            answer.raise_for_status()
            return decode(await answer.read())

    return {"small": lambda: get(CHECK, decode_check), "500 intentions": lambda: get(LIST, decode_list)}, session.close


async def open_json(url: str) -> Opened:
    return await open_raw(url, json.loads, json.loads)


async def open_msgspec(url: str) -> Opened:
    import msgspec

    from aioconsulconnect.structs.intentions import CheckResult, Intention

    check = msgspec.json.Decoder(CheckResult).decode
    return await open_raw(url, check, msgspec.json.Decoder(tuple[Intention, ...]).decode)


async def open_py_consul(url: str) -> Opened:
    import consul.aio

    host, _, port = url.removeprefix("http://").partition(":")
    client = consul.aio.Consul(host=host, port=int(port))
    client.http._session.headers["Accept-Encoding"] = "identity"

    return {
        "small": lambda: client.connect.intentions.check("source-1", "destination-1"),
        "500 intentions": client.connect.intentions.list,
    }, client.close


async def open_ours(url: str) -> Opened:
    from aioconsulconnect import Consul

    client = Consul(url)
    calls: dict[str, Call] = {
        "small": lambda: client.intentions.check("source-1", "destination-1"),
        "500 intentions": lambda: client.intentions.list().value(),
    }
    return calls, client.aclose


Opened = tuple[dict[str, Call], Callable[[], Awaitable[None]]]
OPEN: dict[str, Callable[[str], Awaitable[Opened]]] = {
    "aiohttp+json": open_json,
    "aiohttp+msgspec": open_msgspec,
    "py-consul": open_py_consul,
    "ours": open_ours,
}

if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], sys.argv[2]))
