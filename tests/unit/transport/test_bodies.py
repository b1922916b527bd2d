"""Bodies that are too large, broken, or no HTTP at all."""

from __future__ import annotations

import gzip
import zlib

import pytest
from support.servers import Close, Many, Step, answer
from support.transports import SECRET, ask, everything_shown, one

from aioconsulconnect.errors import (
    ResponseTooLarge,
    UnreadableResponse,
)

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
MEGABYTE = 1024 * 1024
BOMB = gzip.compress(bytes(64 * MEGABYTE), 9)


@pytest.mark.parametrize(
    "step",
    [
        answer(b"x" * 1001),
        CHUNKED + b"3e9\r\n" + b"x" * 1001 + b"\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + b"x" * 1001,
        answer(gzip.compress(bytes(1001)), content_encoding="gzip"),
        answer(zlib.compress(bytes(1001)), content_encoding="deflate"),
        answer(b"x" * 1001, status=500),
        answer(BOMB, content_encoding="gzip"),
    ],
    ids=["length", "chunked", "until closed", "gzip", "deflate", "error", "bomb"],
)
async def test_a_body_above_the_limit(step: Step) -> None:
    async with one(step, max_body=1000) as (server, carrier):
        with pytest.raises(ResponseTooLarge, match="1000 bytes") as caught:
            await carrier.send(ask())
        assert (caught.value.method, caught.value.address) == ("GET", server.url)
        assert len(server.seen) == 1  # another try would bring the same


@pytest.mark.parametrize("body", [b"x" * 1000, b""])
async def test_a_body_within_the_limit(body: bytes) -> None:
    packed = answer(gzip.compress(body), content_encoding="gzip")
    chunked = CHUNKED + (f"{len(body):x}\r\n".encode() + body + b"\r\n" if body else b"") + b"0\r\n\r\n"
    async with one(answer(body), packed, chunked, max_body=1000) as (_, carrier):
        assert [(await carrier.send(ask())).body for _ in range(3)] == [body] * 3


@pytest.mark.parametrize(
    "head",
    [CHUNKED, b"HTTP/1.1 200 OK\r\nContent-Length: 104857600\r\n\r\n"],
)
async def test_a_hundred_megabytes(head: bytes) -> None:
    chunk = b"x" * MEGABYTE
    async with one(Many(head, b"100000\r\n" + chunk + b"\r\n" if head is CHUNKED else chunk, 100)) as (_, carrier):
        with pytest.raises(ResponseTooLarge, match=str(64 * MEGABYTE)):
            await carrier.send(ask())


@pytest.mark.parametrize(
    "step",
    [
        b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
        b"HTTP/1.1 two hundred\r\n\r\n",
        b"\x00" * 100 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nbad header\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 20000 + b"\r\nContent-Length: 0\r\n\r\n",
        CHUNKED + b"zz\r\n",
        answer(b"this is no gzip", content_encoding="gzip"),
        answer(gzip.compress(b"x" * 500)[:-1] + b"!", content_encoding="gzip"),
    ],
    ids=["ssh", "status", "zeros", "header", "long header", "chunk size", "no gzip", "bad checksum"],
)
async def test_answer_that_is_not_http_raises_unreadable_response_without_the_token(step: Step) -> None:
    async with one(step, tries=1, token=SECRET) as (_, carrier):
        with pytest.raises(UnreadableResponse) as caught:
            await carrier.send(ask())
        assert SECRET not in everything_shown(caught.value)


async def test_a_body_that_ends_too_early_is_tried_again() -> None:
    async with one(Close(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\ntr"), Close(CHUNKED + b"5\r\nab")) as (
        server,
        carrier,
    ):
        assert (await carrier.send(ask())).body == b"{}"
        assert len(server.seen) == 3
