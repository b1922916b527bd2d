"""A program that watches and calls: `python program.py URL NUMBER WATCHES SECONDS`; one JSON line at its end."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import time

from aioconsulconnect.client import Consul
from aioconsulconnect.errors import ConsulError


async def main(url: str, number: int, count: int, seconds: float) -> None:
    refused: list[str] = []
    calls = 0
    began = time.monotonic()
    async with Consul(url, tries=1) as consul, contextlib.AsyncExitStack() as stack:
        watches = [
            await stack.enter_async_context(consul.intentions.match(destination=f"p{number}-{name}").watch())
            for name in range(count)
        ]
        late = 0
        for watch in watches:
            try:
                await watch.ready(max(0.01, began + 60 - time.monotonic()))
            except ConsulError:
                late += 1
        ready = time.monotonic() - began
        await asyncio.sleep(max(0.0, 30 - ready))
        settled = time.monotonic()
        while time.monotonic() - settled < seconds:
            calls += 1
            try:
                await consul.intentions.list()
            except ConsulError as error:
                refused.append(f"{time.monotonic() - settled:.1f} s: {error}"[:200])
            await asyncio.sleep(0.5)
        states: dict[str, int] = {}
        for watch in watches:
            states[watch.status.state] = states.get(watch.status.state, 0) + 1
    sys.stdout.write(
        json.dumps({"ready": ready, "late": late, "calls": calls, "refused": refused, "states": states}) + "\n"
    )


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])))
