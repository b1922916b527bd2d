"""The token: whose it is, when it is read, and that it is never shown."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
from support.servers import Hang, Scripted, Step, answer
from support.transports import CLOSE, RESET, SECRET, ask, everything_shown, one

from aioconsulconnect.errors import (
    ConsulError,
    InvalidRequest,
    NotReady,
    PermissionDenied,
)
from aioconsulconnect.transport.aiohttp_transport import Transport
from aioconsulconnect.transport.settings.connection import Settings
from aioconsulconnect.transport.settings.options import Options


async def test_a_token_of_the_call_beats_that_of_the_client() -> None:
    async with one(token="client") as (server, carrier):
        await carrier.send(ask())
        await carrier.send(ask(options=Options(token="call")))
        await carrier.send(ask(options=Options(token="")))
        assert [seen.headers.get("x-consul-token") for seen in server.seen] == ["client", "call", None]


@pytest.mark.parametrize("asynchronous", [False, True])
async def test_a_token_function_is_asked_for_each_request(asynchronous: bool) -> None:
    tokens = iter(["one", "two", "", "three"])

    async def later() -> str:
        await asyncio.sleep(0)
        return next(tokens)

    token: Callable[[], Any] = later if asynchronous else lambda: next(tokens)
    async with one(answer(), CLOSE, token=token) as (server, carrier):
        await carrier.send(ask())
        await carrier.send(ask())  # sent twice, asked twice
        assert [seen.headers.get("x-consul-token") for seen in server.seen] == ["one", "two", None]


async def test_a_token_file_is_read_again(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("one")
    async with one(token_file=file) as (server, carrier):
        await carrier.send(ask())
        file.write_text("number two")
        await carrier.send(ask())
        assert [seen.headers["x-consul-token"] for seen in server.seen] == ["one", "number two"]


@pytest.mark.parametrize("token", ["geheim\n", "geheim\x7f", "gehüim", b"geheim", 7])
async def test_a_token_function_that_returns_what_no_header_can_carry(token: object) -> None:
    returned: list[object] = [token]
    provider: Callable[[], Any] = lambda: returned[0]  # noqa: E731
    async with one(token=provider) as (server, carrier):
        with pytest.raises(InvalidRequest, match="token") as caught:
            await carrier.send(ask())
        assert "geh" not in str(caught.value)
        assert server.seen == []
        returned[0] = "fine"


async def test_an_error_of_the_token_function_is_the_callers() -> None:
    calls: list[int] = []

    def provider() -> str:
        calls.append(1)
        if len(calls) == 1:
            raise LookupError("no vault")
        return "fine"

    async with one(token=provider) as (_, carrier):
        with pytest.raises(LookupError, match="no vault"):
            await carrier.send(ask())


@pytest.mark.parametrize(
    "step",
    [
        CLOSE,
        RESET,
        Hang(),
        Hang(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n{"),
        answer(f"ACL not found: {SECRET}".encode(), 403),
        answer(SECRET.encode() * 100, 500),
        answer(b"", 307, location=f"http://elsewhere/?token={SECRET}"),
        b"garbage\r\n\r\n",
        answer(b"no gzip", content_encoding="gzip"),
        answer(b"x" * 2000),
    ],
    ids=["close", "reset", "hang", "body", "quoted", "quoted often", "redirect", "garbage", "gzip", "large"],
)
@pytest.mark.parametrize("method", ["GET", "PUT"])
async def test_no_token_is_ever_shown(step: Step, method: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with one(step, tries=1, token=SECRET, auth=f"user:{SECRET}", max_body=1500) as (_, carrier):
        with pytest.raises(ConsulError) as caught:
            await carrier.send(ask(method, body=b"{}", options=Options(timeout=0.2)))
        assert SECRET not in everything_shown(caught.value)
        assert SECRET not in f"{carrier!r} {carrier.addresses}"
    assert SECRET not in caplog.text


async def test_a_token_function_that_never_returns_costs_its_time_and_no_more() -> None:
    async def never() -> str:
        await asyncio.Event().wait()
        return ""

    async with Scripted() as server, aclosing(Transport(Settings.load(server.url, token=never, environ={}))) as carrier:
        with pytest.raises(NotReady, match="token function"):
            await carrier.send(ask(read=False, options=Options(timeout=0.05)))
        with pytest.raises(NotReady, match="token function"):
            await carrier.attempt(ask(), extra=(), deadline=0.05, address=server.url)
        assert server.seen == []


async def test_no_answer_that_quotes_the_token_gets_further() -> None:
    async with (
        Scripted([answer(b"no such token: hush-hush", 403), answer(b"no such token: hush-hush", 403)]) as server,
        aclosing(Transport(Settings.load(server.url, token="hush-hush", environ={}))) as carrier,
    ):
        with pytest.raises(PermissionDenied) as caught:
            await carrier.send(ask())
        assert "hush" not in f"{caught.value} {caught.value.text}"
        polled = await carrier.attempt(ask(), extra=(), deadline=1, address=server.url)
        assert polled.body == b"no such token: ***"


@pytest.mark.parametrize(("token", "anonymous"), [("t", False), (None, True)])
async def test_an_answer_says_whether_a_token_was_sent(token: str | None, *, anonymous: bool) -> None:
    async with (
        Scripted() as server,
        aclosing(Transport(Settings.load(server.url, token=token, environ={}))) as carrier,
    ):
        assert (await carrier.send(ask())).anonymous is anonymous
