"""
A program that closes a client amid something, and its event loop at once.

`python closing_program.py LOOPS URL CA PROXY AMID…`, where LOOPS is the module that makes event loops. For each AMID it
says its name, and does so ten times. Python tells of whatever is left behind, with `-X dev -W error`.
"""

from __future__ import annotations

import asyncio
import gc
import importlib
import sys
from collections.abc import Awaitable, Callable

from aioconsulconnect import Consul

ROUNDS = 10


async def amid_a_watch(consul: Consul) -> None:
    async with consul.intentions.list().watch() as watch:
        await watch.ready(10)
        await asyncio.sleep(0.05)  # the poll is on its way
        await consul.aclose()


async def amid_the_first_read_of_a_watch(consul: Consul) -> None:
    async with consul.intentions.list().watch():
        await asyncio.sleep(0.05)


async def amid_a_call(consul: Consul) -> None:
    call = asyncio.create_task(consul.catalog.connect("slow").value())
    await asyncio.sleep(0.05)
    call.cancel()


async def amid_a_call_that_goes_on(consul: Consul) -> None:
    call = asyncio.create_task(consul.catalog.connect("slow").value())
    await asyncio.sleep(0.05)
    await consul.aclose()
    await asyncio.gather(call, return_exceptions=True)


async def after_answers(consul: Consul) -> None:
    await asyncio.gather(*(consul.intentions.list().value() for _ in range(5)))


async def after_last_answers(consul: Consul) -> None:
    await asyncio.gather(*(consul.health.service("last").value() for _ in range(5)))


AMID: dict[str, Callable[[Consul], Awaitable[None]]] = {
    "watch": amid_a_watch,
    "first-read": amid_the_first_read_of_a_watch,
    "cancelled-call": amid_a_call,
    "call": amid_a_call_that_goes_on,
    "answers": after_answers,
    "last-answers": after_last_answers,
}


async def main(url: str, ca: str, proxy: str, amid: str) -> None:
    asyncio.get_running_loop().slow_callback_duration = 60  # a busy machine is not what this is about
    async with Consul(url, ca_cert=ca or None, proxy=proxy or None) as consul:
        await AMID[amid](consul)


if __name__ == "__main__":
    loops, url, ca, proxy, *under_way = sys.argv[1:]
    for amid in under_way:
        sys.stdout.write(f"{amid}\n")
        sys.stdout.flush()
        for _ in range(ROUNDS):
            loop = importlib.import_module(loops).new_event_loop()
            loop.run_until_complete(main(url, ca, proxy, amid))
            loop.close()
        gc.collect()
