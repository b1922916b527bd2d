"""Texts of users are not kept: what stays after many calls does not grow with their length."""

from __future__ import annotations

import asyncio
import gc
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from aioconsulconnect.client import Consul

SIZE, CALLS = 20_000, 150
WARM = 150  # more than the 128 URLs that yarl keeps, whatever their length
MOST = 600_000  # bytes, of 3 million that were sent
Call = Callable[[Consul, str], Awaitable[object]]

CALLS_WITH_TEXT: dict[str, Call] = {
    "note": lambda consul, text: consul.agent.check_pass("web", note=text),
    "output": lambda consul, text: consul.agent.check_update("web", status="passing", output=text),
    "reason": lambda consul, text: consul.agent.maintenance("web", enable=True, reason=text),
    "meta": lambda consul, text: consul.agent.register("web", meta={"a": text}),
    "id": lambda consul, text: consul.agent.deregister(text),
}


@pytest.fixture
async def url() -> AsyncIterator[str]:
    """An agent that says yes to everything, and remembers nothing."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = next((n for n in head.lower().split(b"\r\n") if n.startswith(b"content-length:")), b":0")
                await reader.readexactly(int(length.partition(b":")[2]))
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, limit=1 << 20)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


@pytest.mark.parametrize("text", CALLS_WITH_TEXT)
@pytest.mark.slow
async def test_long_texts_are_not_kept(url: str, text: str) -> None:
    call = CALLS_WITH_TEXT[text]
    async with Consul(url) as consul:
        tracemalloc.start()
        try:
            for number in range(WARM):
                await call(consul, f"{number:0{SIZE}}")
            gc.collect()
            before, _ = tracemalloc.get_traced_memory()
            for number in range(WARM, WARM + CALLS):
                await call(consul, f"{number:0{SIZE}}")
            gc.collect()
            after, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert after - before < MOST
