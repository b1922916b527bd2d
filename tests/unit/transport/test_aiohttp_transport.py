"""The transport against servers that misbehave: one request on the wire, our errors, and a client that lives on."""

from __future__ import annotations

import asyncio
import threading
from contextlib import aclosing
from pathlib import Path

import aiohttp
import pytest
from aioresponses import aioresponses
from support.servers import Close, Hang, Scripted, Step, answer
from support.transports import CLOSE, RESET, SECRET, ask, one, transport

from aioconsulconnect.errors import (
    Closed,
    ConnectionFailed,
    OutcomeUnknown,
    RequestTimeout,
    UnreadableResponse,
)
from aioconsulconnect.transport.aiohttp_transport import _kept_url
from aioconsulconnect.transport.settings.options import ALL_READ, Options


@pytest.mark.parametrize(
    "dying", [CLOSE, RESET, Close(b"HTTP/1.1 200 OK\r\nContent-Len")], ids=["close", "reset", "head"]
)
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "POST"])
async def test_one_request_on_the_wire_when_an_idle_connection_dies(method: str, dying: Step) -> None:
    async with one(answer(), dying, tries=1) as (server, carrier):
        await carrier.send(ask())
        body = None if method in {"GET", "DELETE"} else b"{}"
        with pytest.raises(ConnectionFailed if method == "GET" else OutcomeUnknown):
            await carrier.send(ask(method, body=body))
        assert [seen.method for seen in server.seen] == ["GET", method]
        assert [seen.connection for seen in server.seen] == [1, 1]


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "POST"])
async def test_a_poll_is_one_request_too(method: str) -> None:
    async with one(answer(), CLOSE) as (server, carrier):
        await carrier.attempt(ask(), extra=(), deadline=5, address=server.url)
        with pytest.raises(ConnectionFailed):
            await carrier.attempt(ask(method, read=True), extra=(), deadline=5, address=server.url)
        assert len(server.seen) == 2


async def test_the_hidden_resend_would_be_there_without_us() -> None:
    """So that the tests above can fail: aiohttp by itself sends it again."""
    async with Scripted([answer(), CLOSE]) as server, aiohttp.ClientSession() as session:
        for _ in range(2):
            async with session.put(server.url) as response:
                await response.read()
        assert len(server.seen) == 3


# Deadlines.


@pytest.mark.parametrize("first", [b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n{"])
async def test_no_answer_in_time(first: bytes) -> None:
    quick = Options(timeout=0.1)
    async with one(Hang(first), Hang(first), tries=1) as (server, carrier):
        with pytest.raises(RequestTimeout, match=r"within 0\.1 s") as caught:
            await carrier.send(ask(options=quick))
        assert isinstance(caught.value, TimeoutError)
        with pytest.raises(OutcomeUnknown, match="no answer"):
            await carrier.send(ask("PUT", options=quick))
        server.steps = [Hang(first)]
        with pytest.raises(RequestTimeout):
            await carrier.attempt(ask(), extra=(), deadline=0.1, address=server.url)


async def test_deadlines_without_end_are_not_all_remembered() -> None:
    async with one() as (server, carrier):
        for i in range(200):
            await carrier.attempt(ask(), extra=(), deadline=5 + i / 100, address=server.url)
        assert len(carrier._timeouts) < 100


async def test_urls_of_calls_are_kept_and_those_of_polls_are_not() -> None:
    async with one(*[answer(b"{}")] * 9) as (server, carrier):
        _kept_url.cache_clear()
        for index in range(3):
            for cursor in ("index", "hash"):
                extra = ((cursor, str(index)), ("wait", "60s"))
                await carrier.attempt(ask(path="/v1/poll"), extra=extra, deadline=5, address=server.url)
        assert _kept_url.cache_info().currsize == 0
        for _ in range(2):
            await carrier.send(ask(path="/v1/call"))
        assert _kept_url.cache_info().currsize == 1
        assert [seen.target for seen in server.seen[-3:]] == ["/v1/poll?hash=2&wait=60s", "/v1/call", "/v1/call"]


async def test_cancelling_a_call_closes_its_connection() -> None:
    async with one(Hang()) as (server, carrier):
        task = asyncio.create_task(carrier.send(ask()))
        await server.waiting.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        server.release.set()


# Redirects.


@pytest.mark.parametrize("status", [301, 302, 307, 308])
@pytest.mark.parametrize("method", ["GET", "PUT"])
async def test_a_redirect_is_not_followed_and_the_token_does_not_travel(status: int, method: str) -> None:
    async with (
        Scripted() as elsewhere,
        one(answer(b"", status, location=f"{elsewhere.url}/v1/x"), token=SECRET) as (server, carrier),
    ):
        with pytest.raises(UnreadableResponse, match="redirect"):
            await carrier.send(ask(method))
        assert len(server.seen) == 1
        assert elsewhere.seen == []


# What is sent.


async def test_the_request_on_the_wire() -> None:
    async with one(token=SECRET, auth="user:pass") as (server, carrier):
        request = ask(
            "PUT",
            "/v1/config/a%2Fb",
            query=(("name", "ns/*"), ("filter", 'a == "ü;&+#"'), ("name", "peer:east/web"), ("stale", "")),
            body=b'{"a": 1}',
            options=Options(datacenter="dc 2"),
            accepted_options=ALL_READ,
        )
        await carrier.send(request)
        (seen,) = server.seen
        assert seen.target == (
            "/v1/config/a%2Fb?name=ns/*&filter=a%20%3D%3D%20%22%C3%BC%3B%26%2B%23%22&name=peer:east/web&stale&dc=dc%202"
        )
        assert (seen.method, seen.body) == ("PUT", b'{"a": 1}')
        assert seen.headers["x-consul-token"] == SECRET
        assert seen.headers["authorization"] == "Basic dXNlcjpwYXNz"
        assert seen.headers["content-type"] == "application/json"
        assert seen.headers["user-agent"].startswith("aioconsulconnect/")
        assert seen.headers["accept-encoding"] == "identity"  # it is on this machine
        assert "cookie" not in seen.headers


async def test_a_read_carries_no_more_than_it_must() -> None:
    async with one() as (server, carrier):
        await carrier.send(ask())
        assert set(server.seen[0].headers) == {"host", "user-agent", "accept-encoding", "accept"}


async def test_a_path_prefix_and_a_host_that_is_far() -> None:
    with aioresponses() as canned:
        canned.get("http://consul.example/prefix/v1/x?stale", body=b"far")
        async with aclosing(transport("http://consul.example/prefix/")) as carrier:
            response = await carrier.send(ask(options=Options(consistency="stale"), accepted_options=ALL_READ))
            assert response.body == b"far"
            session = next(iter(carrier._sessions._sessions.values()))
            assert session.headers["Accept-Encoding"] == "gzip, deflate"


async def test_cookies_are_not_kept() -> None:
    async with one(answer(set_cookie="a=b")) as (server, carrier):
        await carrier.send(ask())
        await carrier.send(ask())
        assert "cookie" not in server.seen[1].headers


async def test_a_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "consul.sock"
    async with Scripted([CLOSE], path=path) as server, aclosing(transport(server.url)) as carrier:
        assert (await carrier.send(ask())).address == f"unix://{path}"
        response = await carrier.attempt(ask(), extra=(), deadline=5, address=server.url)
        assert response.status == 200
        assert server.seen[-1].headers["host"] == "localhost"
    async with aclosing(transport(f"unix://{path}-gone", tries=1)) as carrier:
        with pytest.raises(ConnectionFailed, match=r"consul\.sock-gone"):
            await carrier.send(ask())


# Polls never delay a call.


async def test_150_open_polls_never_delay_a_call() -> None:
    async with Scripted([Hang()] * 150) as server, aclosing(transport(server.url)) as carrier:
        polls = [
            asyncio.create_task(carrier.attempt(ask(), extra=(), deadline=30, address=server.url)) for _ in range(150)
        ]
        async with asyncio.timeout(20):
            while len(server.seen) < 150:
                await asyncio.sleep(0.01)
            loop = asyncio.get_running_loop()
            before = loop.time()
            for _ in range(20):
                await carrier.send(ask())
            assert loop.time() - before < 2
        assert not any(poll.done() for poll in polls)
        server.release.set()
        assert {response.status for response in await asyncio.gather(*polls)} == {200}


# Life.


async def test_closing_twice_and_from_another_task() -> None:
    async with Scripted([Hang()]) as server:
        carrier = transport(server.url, tries=1)
        call = asyncio.create_task(carrier.send(ask()))
        await server.waiting.wait()
        await asyncio.create_task(carrier.aclose())
        await asyncio.gather(carrier.aclose(), carrier.aclose())
        with pytest.raises((ConnectionFailed, Closed)):
            await call
        with pytest.raises(Closed, match="closed"):
            await carrier.send(ask())
        with pytest.raises(Closed):
            await carrier.attempt(ask(), extra=(), deadline=5, address=server.url)
        assert repr(carrier) == f"<Transport to {server.url} (closed)>"
        server.release.set()


async def test_closing_what_was_never_used() -> None:
    await transport("h:1").aclose()


async def test_transport_in_another_loop_than_that_of_its_first_call_raises_closed() -> None:
    async with one() as (_, carrier):
        await carrier.send(ask())
        errors: list[BaseException] = []

        def elsewhere() -> None:
            try:
                asyncio.run(carrier.send(ask()))
            except Closed as error:
                errors.append(error)

        thread = threading.Thread(target=elsewhere)
        thread.start()
        while thread.is_alive():
            await asyncio.sleep(0.01)
        assert "event loop" in str(errors[0])
