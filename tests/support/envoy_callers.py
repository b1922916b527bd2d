"""Callers of an Envoy over mutual TLS that send a request as it is written, and the application behind it."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from types import TracebackType
from typing import NamedTuple, Self

from support.authorization_oracle import Call

_LONGEST = 1 << 20
_PATIENCE = 20


class Outcome(NamedTuple):
    """
    What became of a request.

    - `status`: status of the answer; 0 if the connection was closed without one.
    - `target`, `headers`: what the application saw, if it was asked; names in lower case.
    """

    status: int
    target: str = ""
    headers: tuple[tuple[str, str], ...] = ()


class App:
    """Answers every request with its head, as it arrived; or, if it is an `echo`, sends back whatever it is sent."""

    def __init__(self, *, echo: bool = False) -> None:
        self._kind = _Echoing if echo else _Answering
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.BaseTransport] = set()

    @property
    def port(self) -> int:
        assert self._server is not None
        return int(self._server.sockets[0].getsockname()[1])

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: self._kind(self._open), "127.0.0.1", 0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        for transport in self._open:
            transport.close()


class _Echoing(asyncio.Protocol):
    def __init__(self, everybody: set[asyncio.BaseTransport]) -> None:
        self._everybody = everybody
        self._received = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._everybody.add(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._transport is not None:
            self._everybody.discard(self._transport)

    def data_received(self, data: bytes) -> None:
        assert self._transport is not None
        self._transport.write(data)


class _Answering(_Echoing):
    def data_received(self, data: bytes) -> None:
        assert self._transport is not None
        self._received += data
        while b"\r\n\r\n" in self._received:
            head, _, self._received = self._received.partition(b"\r\n\r\n")  # no request here has a body
            self._transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(head) + head)


class Connection:
    """
    A caller's connection, which is kept for its next request where Envoy keeps it.

    Rules that changed meanwhile do not apply to it: make a new one then.
    """

    def __init__(self, port: int, context: ssl.SSLContext, server_name: str) -> None:
        self.dials = 0
        self._port = port
        self._context = context
        self._server_name = server_name
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._hang_up()

    async def request(self, call: Call) -> Outcome:
        """Send a request as it is written, without a body."""
        lines = "".join(f"{name}: {value}\r\n" for name, value in call.headers)
        data = f"{call.method} {call.target} HTTP/1.1\r\n{lines}\r\n".encode("utf-8", "surrogateescape")
        is_reused = self._streams is not None
        async with asyncio.timeout(_PATIENCE):
            outcome = await self._exchange(data)
            if not outcome.status and is_reused:  # it may have been closed before the request came
                outcome = await self._exchange(data)
        return outcome

    async def is_served(self) -> bool:
        """True if what is sent comes back, False if Envoy ends the connection."""
        reader, writer = await self._dial()
        try:
            writer.write(b"x")
            return await reader.read(1) == b"x"
        except (ConnectionError, ssl.SSLError):
            return False
        finally:
            await self._hang_up()

    async def _dial(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._streams is None:
            self.dials += 1
            self._streams = await asyncio.open_connection(
                "127.0.0.1", self._port, ssl=self._context, server_hostname=self._server_name, limit=_LONGEST
            )
        return self._streams

    async def _hang_up(self) -> None:
        streams, self._streams = self._streams, None
        if streams is not None:
            streams[1].transport.abort()  # a polite end would wait for Envoy's, which may never come
            with contextlib.suppress(OSError):
                await streams[1].wait_closed()

    async def _exchange(self, data: bytes) -> Outcome:
        reader, writer = await self._dial()
        try:
            writer.write(data)
            status, headers = _head_of(await reader.readuntil(b"\r\n\r\n"))
            body = await reader.readexactly(int(dict(headers).get("content-length", "0")))
        except (asyncio.IncompleteReadError, ConnectionError, ssl.SSLError):
            await self._hang_up()
            return Outcome(0)
        if ("connection", "close") in headers:
            await self._hang_up()
        if not status.startswith("HTTP/1.1 200"):
            return Outcome(int(status.split(" ")[1]))
        seen, seen_headers = _head_of(body)
        return Outcome(200, seen.split(" ")[1], seen_headers)


def _head_of(data: bytes) -> tuple[str, tuple[tuple[str, str], ...]]:
    first, *lines = data.decode("utf-8", "surrogateescape").rstrip("\r\n").split("\r\n")
    pairs = (line.partition(":") for line in lines)
    return first, tuple((name.lower(), value.strip(" \t")) for name, _, value in pairs)
