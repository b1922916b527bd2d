"""
One value of X-Consul-Index, followed from the answer on the socket to the consumer and to the next request.

`python tests/packaging/test_trace.py` prints the way that it takes through the package.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import sys
from pathlib import Path
from types import FrameType
from typing import NamedTuple

import aioconsulconnect
from aioconsulconnect import Consul

FOLDER = str(Path(aioconsulconnect.__file__).parent) + os.sep
MOST_FOLDERS, MOST_CHANGES = 6, 20


class Step(NamedTuple):
    """A call of a function of the package (a coroutine that goes on counts as one)."""

    module: str
    function: str

    @property
    def folder(self) -> str:
        """The folder of the package, empty for a module in its root."""
        return os.path.dirname(self.module)  # noqa: PTH120 - a name, not a file


class Recorder:
    """Writes down the calls while it is on."""

    def __init__(self) -> None:
        self.steps: list[Step] = []

    def __call__(self, frame: FrameType, event: str, _: object) -> None:
        code = frame.f_code
        if event == "call" and code.co_filename.startswith(FOLDER):
            self.steps.append(Step(code.co_filename.removeprefix(FOLDER), code.co_qualname))


class Server:
    """Answers a read at once, the first poll when told to, and no further one."""

    def __init__(self, recorder: Recorder) -> None:
        self.move, self.polled, self.polled_again = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._recorder = recorder
        self._requests = 0

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while (await reader.readuntil(b"\r\n\r\n")) and self._requests < 2:
            self._requests += 1
            if self._requests == 2:
                self.polled.set()
                await self.move.wait()
                sys.setprofile(self._recorder)
            writer.write(answer(9 + self._requests))
        self.polled_again.set()
        writer.close()


def answer(index: int) -> bytes:
    intention = {"SourceName": "web", "DestinationName": "db", "Action": "allow", "ModifyIndex": index}
    body = json.dumps([intention]).encode()
    headers = f"X-Consul-Index: {index}\r\nX-Consul-KnownLeader: true\r\nX-Consul-LastContact: 0"
    return f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n{headers}\r\n\r\n".encode() + body


async def trace() -> list[Step]:
    """The calls between the answer to a poll and both of its ends: the consumer has it, the next poll is sent."""
    recorder = Recorder()
    serve = Server(recorder)
    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        host, port = server.sockets[0].getsockname()
        async with Consul(f"http://{host}:{port}") as consul, consul.intentions.list().watch() as watch:
            changes = watch.changes()
            await anext(changes)
            await serve.polled.wait()
            waiting = asyncio.ensure_future(anext(changes))
            await asyncio.sleep(0)
            serve.move.set()
            batch = await waiting
            await serve.polled_again.wait()
            sys.setprofile(None)
            assert (batch.index, len(batch)) == (11, 1)
    return recorder.steps


async def test_index_from_socket_to_consumer_stays_in_few_folders() -> None:
    before = sys.getprofile()
    try:
        steps = await trace()
    finally:
        sys.setprofile(before)
    folders = [step.folder for step in steps if step.folder]
    changes = sum(a != b for a, b in itertools.pairwise(folders))
    assert len(set(folders)) <= MOST_FOLDERS, set(folders)
    assert changes <= MOST_CHANGES, folders


if __name__ == "__main__":
    for step in asyncio.run(trace()):
        sys.stdout.write(f"{step.module:42} {step.function}\n")
