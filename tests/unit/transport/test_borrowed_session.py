"""A session of the caller, and trace configs of his."""

from __future__ import annotations

from contextlib import aclosing
from typing import Any

import aiohttp
import pytest
from support.servers import Scripted, answer
from support.transports import CLOSE, SECRET, ask, transport

from aioconsulconnect.errors import (
    Closed,
    ConnectionFailed,
    ConsulError,
    SettingsError,
)
from aioconsulconnect.transport.aiohttp_transport import Transport
from aioconsulconnect.transport.settings import Settings


async def test_a_borrowed_session_serves_plain_calls_and_is_not_closed() -> None:
    paths: list[str] = []
    traced: list[str] = []

    async def middleware(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
        paths.append(request.url.path)
        request.headers["X-Middle"] = "was here"
        return await handler(request)

    async def on_start(_: Any, __: Any, params: aiohttp.TraceRequestStartParams) -> None:
        traced.append(params.url.path)

    trace = aiohttp.TraceConfig()
    trace.on_request_start.append(on_start)
    session = aiohttp.ClientSession(
        middlewares=[middleware],
        trace_configs=[trace],
        raise_for_status=True,
        auto_decompress=False,
        headers={"X-Own": "mine", "User-Agent": "theirs", "Accept-Encoding": "br"},
    )
    async with Scripted([answer(), answer(b"Intention not found", 404), CLOSE]) as server, session:
        carrier = transport(server.url, session=session, tries=1, token=SECRET, auth="u:p")
        await carrier.send(ask())
        with pytest.raises(ConsulError, match="Intention not found"):
            await carrier.send(ask(path="/v1/y"))
        with pytest.raises(ConnectionFailed):
            await carrier.send(ask(path="/v1/z"))  # and no hidden resend here either
        assert [seen.target for seen in server.seen] == ["/v1/x", "/v1/y", "/v1/z"] == paths
        headers = server.seen[0].headers
        assert (headers["x-own"], headers["x-middle"], headers["x-consul-token"]) == ("mine", "was here", SECRET)
        assert headers["user-agent"].startswith("aioconsulconnect/")
        assert headers["accept-encoding"] == "identity"
        assert headers["authorization"] == "Basic dTpw"
        await carrier.attempt(ask(path="/v1/poll"), extra=(), deadline=5, address=server.url)
        assert server.seen[-1].connection != server.seen[0].connection
        assert "x-own" not in server.seen[-1].headers
        assert traced == ["/v1/x", "/v1/y", "/v1/z", "/v1/poll"]
        await carrier.aclose()
        assert not session.closed
        async with session.get(server.url) as response:
            assert response.status == 200


async def test_a_borrowed_session_that_was_closed() -> None:
    session = aiohttp.ClientSession()
    async with Scripted() as server, aclosing(transport(server.url, session=session)) as carrier:
        await carrier.send(ask())
        await session.close()
        with pytest.raises(Closed, match="session was closed"):
            await carrier.send(ask())


async def test_a_borrowed_session_cannot_go_with_a_unix_socket() -> None:
    async with aiohttp.ClientSession() as session:
        with pytest.raises(SettingsError, match="unix://"):
            transport("unix:///s", session=session)


async def test_trace_configs_of_ours() -> None:
    traced: list[str] = []

    async def on_start(_: Any, __: Any, params: aiohttp.TraceRequestStartParams) -> None:
        traced.append(params.method)

    trace = aiohttp.TraceConfig()
    trace.on_request_start.append(on_start)
    async with (
        Scripted() as server,
        aclosing(Transport(Settings.load(server.url, environ={}), trace_configs=[trace])) as carrier,
    ):
        await carrier.send(ask())
        await carrier.attempt(ask("POST"), extra=(), deadline=5, address=server.url)
    assert traced == ["GET", "POST"]


async def test_an_error_that_is_not_of_the_network_is_not_dressed_up() -> None:
    async def broken(_: aiohttp.ClientRequest, __: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
        raise RuntimeError("a bug of the middleware")

    async with (
        Scripted() as server,
        aiohttp.ClientSession(middlewares=[broken]) as session,
        aclosing(transport(server.url, session=session)) as carrier,
    ):
        with pytest.raises(RuntimeError, match="a bug of the middleware"):
            await carrier.send(ask())
