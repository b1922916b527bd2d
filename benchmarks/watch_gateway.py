"""What stands before an agent: it carries and counts bytes, cuts, answers in the agent's place, or is not there."""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
from collections import Counter
from types import TracebackType
from typing import Self

_READ = 2**16
_ASKED = re.compile(rb"^GET (/v1/[a-z-]+/[a-z-]+(?:/match)?)", re.MULTILINE)


class Gateway:
    """
    A port that leads to another one.

    `answers` is sent in place of the agent while it is set; `once` to the next request alone. `bytes` and `requests`
    are what has passed, requests by the beginning of their path.
    """

    def __init__(self, upstream: str) -> None:
        host, _, port = upstream.removeprefix("http://").partition(":")
        self._upstream = host, int(port)
        self._server: asyncio.Server | None = None
        self._port = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._carried: set[asyncio.StreamWriter] = set()
        self.answers: bytes = b""
        self.once: bytes = b""
        self.cuts = False
        self.bytes = 0
        self.requests: Counter[str] = Counter()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self._port, family=socket.AF_INET)
        self._port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Nobody listens any more, and what is open is cut."""
        if self._server is not None:
            self._server.close()
        self.cut()
        await asyncio.sleep(0)

    def cut(self) -> None:
        """Break what is open."""
        for task in tuple(self._tasks):
            task.cancel()

    def replace(self, answers: bytes) -> None:
        """Answer in the agent's place from now on, what is in flight too."""
        self.answers = answers
        for writer in tuple(self._carried):
            with contextlib.suppress(OSError):
                writer.write(answers)
        self.cut()

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._carry(reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # what a cut looks like from within
        finally:
            self._tasks.discard(task)
            self._carried.discard(writer)
            writer.close()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.cuts:
            return
        head = await reader.readuntil(b"\r\n\r\n")  # they are all GET
        if canned := self.once or self.answers:
            self.once = b""
            self._count(head)
            writer.write(canned)
            await writer.drain()
            return
        upstream, onwards = await asyncio.open_connection(*self._upstream)
        self._carried.add(writer)
        self._count(head)
        onwards.write(head)
        both = [asyncio.ensure_future(self._pipe(*ends)) for ends in ((reader, onwards), (upstream, writer))]
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)  # the other half ends with it
        finally:
            for half in both:
                half.cancel()
            await asyncio.gather(*both, return_exceptions=True)
            onwards.close()

    async def _pipe(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        while data := await source.read(_READ):
            self._count(data)
            target.write(data)
            await target.drain()

    def _count(self, data: bytes) -> None:
        self.bytes += len(data)
        self.requests.update(found.decode() for found in _ASKED.findall(data))


def canned(status: str, body: str, kind: str = "text/plain") -> bytes:
    """An answer that closes its connection."""
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    return (head + body).encode()
