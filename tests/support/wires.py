"""What stands between a client and an agent: a wire that can be held or cut, and that may answer in Consul's place."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Self

from yarl import URL


def plain_answer(status: int, text: str = "", content_type: str = "text/plain") -> bytes:
    """What a gateway says."""
    body = text.encode()
    kind = f"Content-Type: {content_type}\r\n" if text else ""
    return f"HTTP/1.1 {status} Whatever\r\n{kind}Content-Length: {len(body)}\r\n\r\n".encode() + body


class Gateway:
    """
    Passes requests on to an agent, one after the other on each connection.

    While `says` is set it answers with that in Consul's place, also those that wait already (when `says` is given to
    `answer`). While it is held, requests wait before they reach the agent.
    """

    def __init__(self, url: str) -> None:
        self._to = URL(url)
        self._open: set[asyncio.Task[None]] = set()
        self._says: bytes | None = None
        self._changed = asyncio.Event()
        self._free = asyncio.Event()
        self._free.set()
        self.lag: Callable[[bytes], float] = lambda request: 0.0  # how long an answer to it is under way
        self.requests = 0
        self.held = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, backlog=1000)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *error: object) -> None:
        self._server.close()
        for _ in range(3):  # until those who were just accepted are served, and can be cut
            await asyncio.sleep(0)
        self.cut()
        await asyncio.gather(*self._open, return_exceptions=True)
        await asyncio.sleep(0)

    def cut(self) -> None:
        """Break every connection."""
        for task in tuple(self._open):
            task.cancel()

    def hold(self) -> None:
        """Keep what comes from now on."""
        self._free.clear()

    def release(self) -> None:
        """Pass on what was kept."""
        self._free.set()

    def answer(self, says: bytes | None) -> None:
        """Say this to everything, what waits included; None: be a mere wire again."""
        self._says = says
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._open.add(task)
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = next(
                    (int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-l")),
                    0,
                )
                body = await reader.readexactly(length)
                self.requests += 1
                if not self._free.is_set():
                    self.held += 1
                    await self._free.wait()
                answer = self._says or await self._carried(head + body)
                await asyncio.sleep(self.lag(head))
                writer.write(answer)
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass
        except asyncio.CancelledError:
            pass  # it was cut
        finally:
            writer.close()
            self._open.discard(task)

    async def _carried(self, request: bytes) -> bytes:
        """The agent's answer, or what is said in its place meanwhile."""
        work = asyncio.create_task(self._asked(request))
        said = asyncio.create_task(self._changed.wait())
        try:
            await asyncio.wait({work, said}, return_when=asyncio.FIRST_COMPLETED)
            while not work.done() and self._says is None:
                said = asyncio.create_task(self._changed.wait())
                await asyncio.wait({work, said}, return_when=asyncio.FIRST_COMPLETED)
            return work.result() if work.done() else self._says or b""
        finally:
            for one in (work, said):
                one.cancel()
            await asyncio.gather(work, said, return_exceptions=True)

    async def _asked(self, request: bytes) -> bytes:
        assert self._to.host is not None
        there, back = await asyncio.open_connection(self._to.host, self._to.port)
        try:
            head, _, rest = request.partition(b"\r\n\r\n")
            lines = [
                line for line in head.split(b"\r\n") if not line.lower().startswith((b"connection:", b"accept-enc"))
            ]
            back.write(b"\r\n".join([*lines, b"Connection: close", b"", b""]) + rest)
            answer = await there.read()
            first, _, body = answer.partition(b"\r\n\r\n")
            if b"chunked" in first.lower():
                body = _joined(body)
            kept = [
                line
                for line in first.split(b"\r\n")
                if not line.lower().startswith((b"connection:", b"transfer-encoding:", b"content-length:"))
            ]
            if not answer:
                raise ConnectionResetError
            return b"\r\n".join([*kept, b"Content-Length: %d" % len(body), b"", b""]) + body
        finally:
            back.close()
            with contextlib.suppress(OSError):
                await back.wait_closed()


def _joined(chunked: bytes) -> bytes:
    whole = b""
    while chunked:
        size, _, chunked = chunked.partition(b"\r\n")
        count = int(size or b"0", 16)
        whole, chunked = whole + chunked[:count], chunked[count + 2 :]
        if not count:
            break
    return whole
