"""The transport against servers that misbehave: one request on the wire, our errors, and a client that lives on."""

from __future__ import annotations

import asyncio
import gzip
import logging
import pickle
import socket
import threading
import traceback
import zlib
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aioresponses import aioresponses
from support.servers import Close, Hang, Keys, Many, Scripted, Step, answer

from aioconsulconnect.clock import Clock
from aioconsulconnect.errors import (
    BadRequest,
    Closed,
    ConnectionFailed,
    ConsulError,
    InvalidRequest,
    NoLeader,
    NotReady,
    OutcomeUnknown,
    PermissionDenied,
    RequestTimeout,
    ResponseTooLarge,
    ServerError,
    SettingsError,
    Throttled,
    UnreadableResponse,
)
from aioconsulconnect.options import Options
from aioconsulconnect.request import ALL_READ, Parameters, Request
from aioconsulconnect.settings import Settings
from aioconsulconnect.transport import Transport

SECRET = "5e1f0b9c-dead-beef-0000-0123456789ab"
RESET, CLOSE = Close(reset=True), Close()


class NoWait(Clock):
    """Does not wait, and remembers how long it should have."""

    def __init__(self) -> None:
        self.slept: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


def transport(*addresses: str, **settings: Any) -> Transport:
    clock, session = settings.pop("clock", None), settings.pop("session", None)
    loaded = Settings.load(addresses, environ={}, **settings)
    return Transport(loaded, session=session, clock=clock or NoWait(), random=lambda: 1.0)


def ask(method: str = "GET", path: str = "/v1/x", **more: Any) -> Request[bytes]:
    more.setdefault("read", method == "GET")
    return Request(method=method, path=path, decode=lambda response: response.body, **more)


@asynccontextmanager
async def one(*steps: Step, **settings: Any) -> AsyncIterator[tuple[Scripted, Transport]]:
    """A scripted server and a transport to it, which must still be of use in the end."""
    async with Scripted(steps) as server, aclosing(transport(server.url, **settings)) as carrier:
        yield server, carrier
        server.steps.clear()
        assert (await carrier.send(ask())).body == b"{}"


# One call is one request.


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


# What is tried again.


@pytest.mark.parametrize(
    ("method", "steps", "sent", "error"),
    [
        ("GET", [CLOSE, RESET], 3, None),
        ("GET", [CLOSE, CLOSE, CLOSE], 3, ConnectionFailed),
        ("GET", [answer(b"No cluster leader", 500)], 2, None),
        ("PUT", [answer(b"No cluster leader", 500)], 2, None),
        ("PUT", [answer(b"RPC rate limit exceeded", 429), answer(b"rate limit exceeded", 503)], 3, None),
        ("PUT", [answer(b"No cluster leader", 500)] * 3, 3, NoLeader),
        ("POST", [answer(b"slow down", 429)] * 3, 3, Throttled),
        ("GET", [answer(b"leadership lost", 500)], 2, None),
        ("PUT", [answer(b"leadership lost", 500)], 1, OutcomeUnknown),
        ("PUT", [answer(b"Bad Gateway", 502)], 1, OutcomeUnknown),
        ("PUT", [answer(b"who knows", 500)], 1, ServerError),
        ("GET", [answer(b"who knows", 500)], 2, None),
        ("PUT", [CLOSE], 1, OutcomeUnknown),
        ("DELETE", [RESET], 1, OutcomeUnknown),
        ("PUT", [Close(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\ntr")], 1, OutcomeUnknown),
        ("GET", [answer(b"must be", 500)], 1, BadRequest),
        ("GET", [answer(b"no", 400)], 1, BadRequest),
    ],
)
async def test_what_is_tried_again(method: str, steps: list[Step], sent: int, error: type[ConsulError] | None) -> None:
    async with one(*steps) as (server, carrier):
        if error is None:
            assert (await carrier.send(ask(method, body=b"{}"))).status == 200
        else:
            with pytest.raises(error) as caught:
                await carrier.send(ask(method, body=b"{}"))
            assert type(caught.value) is error
            assert (caught.value.method, caught.value.path, caught.value.address) == (method, "/v1/x", server.url)
        assert len(server.seen) == sent


async def test_the_pauses_between_tries_grow() -> None:
    clock = NoWait()
    async with one(*[answer(b"No cluster leader", 500)] * 5, tries=5, clock=clock) as (_, carrier):
        with pytest.raises(NoLeader):
            await carrier.send(ask())
        assert clock.slept == pytest.approx([0.1, 0.2, 0.4, 0.8])


async def test_a_read_by_post_is_tried_again_like_a_read() -> None:
    async with one(CLOSE) as (server, carrier):
        await carrier.send(ask("POST", body=b"{}", read=True))
        assert len(server.seen) == 2


async def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    for method in ("GET", "PUT"):  # nothing was sent: no doubt about a write either
        async with aclosing(transport(f"127.0.0.1:{port}")) as carrier:
            with pytest.raises(ConnectionFailed, match="no connection to") as caught:
                await carrier.send(ask(method))
            assert isinstance(caught.value, ConnectionError)
            assert isinstance(caught.value.__cause__, aiohttp.ClientConnectorError)


async def test_a_name_that_nobody_knows() -> None:
    async with aclosing(transport("no-such-host.invalid:1", tries=1)) as carrier:
        with pytest.raises(ConnectionFailed, match=r"no-such-host\.invalid"):
            await carrier.send(ask())


# Several addresses.


async def test_failover_goes_on_to_the_next_address_and_stays_there() -> None:
    async with Scripted() as first, Scripted() as second, aclosing(transport(first.url, second.url)) as carrier:
        first.steps = [CLOSE]
        for _ in range(3):
            await carrier.send(ask())
        assert (len(first.seen), len(second.seen)) == (1, 3)
        assert carrier.addresses == (second.url, first.url)
        second.steps = [RESET]
        assert (await carrier.send(ask())).address == first.url


async def test_every_address_gets_a_try_even_where_there_are_more_than_tries() -> None:
    async with Scripted() as last:
        dead = [f"127.0.0.1:{port}" for port in (1, 2, 3, 4)]
        async with aclosing(transport(*dead, last.url, tries=1)) as carrier:
            assert (await carrier.send(ask())).address == last.url
            assert (await carrier.send(ask("PUT"))).address == last.url


async def test_a_write_without_an_answer_goes_nowhere_else() -> None:
    async with Scripted([CLOSE]) as first, Scripted() as second, aclosing(transport(first.url, second.url)) as carrier:
        with pytest.raises(OutcomeUnknown):
            await carrier.send(ask("PUT"))
        assert second.seen == []
        await carrier.send(ask("PUT"))


@pytest.mark.parametrize("lost", [b"No known Consul servers", b"rpc error making call: EOF"])
async def test_an_agent_that_has_lost_its_servers_is_left_for_another(lost: bytes) -> None:
    async with (
        Scripted([answer(lost, 500)]) as first,
        Scripted() as second,
        aclosing(transport(first.url, second.url)) as carrier,
    ):
        assert (await carrier.send(ask())).address == second.url


async def test_an_agent_that_is_asked_too_much_is_asked_again() -> None:
    async with (
        Scripted([answer(b"rate limit exceeded, try again later", 429)]) as first,
        Scripted() as second,
        aclosing(transport(first.url, second.url)) as carrier,
    ):
        assert (await carrier.send(ask())).address == first.url


async def test_calls_that_fail_together_move_on_once() -> None:
    async with (
        Scripted([Hang(), Hang()]) as first,
        Scripted() as second,
        Scripted() as third,
        aclosing(transport(first.url, second.url, third.url)) as carrier,
    ):
        asked = ask(options=Options(timeout=0.2))
        answers = await asyncio.gather(carrier.send(asked), carrier.send(asked))
        assert {response.address for response in answers} == {second.url}
        assert third.seen == []


async def test_a_poll_stays_where_it_is_sent() -> None:
    async with Scripted() as first, Scripted([CLOSE]) as second, aclosing(transport(first.url, second.url)) as carrier:
        with pytest.raises(ConnectionFailed):
            await carrier.attempt(ask(), extra=(), deadline=5, address=second.url)
        extra: Parameters = (("index", "7"), ("wait", "10s"))
        response = await carrier.attempt(ask(query=(("a", "b"),)), extra=extra, deadline=5, address=second.url)
        assert response.address == second.url
        assert second.seen[-1].target == "/v1/x?a=b&index=7&wait=10s"
        assert first.seen == []


async def test_a_poll_is_handed_whatever_was_answered() -> None:
    async with one(answer(b"No cluster leader", 500, x_consul_index="1")) as (server, carrier):
        response = await carrier.attempt(ask(), extra=(), deadline=5, address=server.url)
        assert (response.status, response.text, response.meta.index) == (500, "No cluster leader", 1)


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


async def test_cancelling_a_call_closes_its_connection() -> None:
    async with one(Hang()) as (server, carrier):
        task = asyncio.create_task(carrier.send(ask()))
        await server.waiting.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        server.release.set()


# Bodies.

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
async def test_what_is_not_http(step: Step) -> None:
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
            takes=ALL_READ,
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
            response = await carrier.send(ask(options=Options(consistency="stale"), takes=ALL_READ))
            assert response.body == b"far"
            session = next(iter(carrier._sessions.values()))
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


# TLS.


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    return Keys(tmp_path_factory.mktemp("keys"))


async def test_a_private_authority(keys: Keys, tmp_path: Path) -> None:
    folder = tmp_path / "authorities" / "deeper"
    folder.mkdir(parents=True)
    (folder / "ca.pem").write_bytes(keys.ca.read_bytes())
    async with Scripted(tls=keys.server_context()) as server:
        for trust in ({"ca_cert": keys.ca}, {"ca_path": folder.parent}, {"verify": False}):
            async with aclosing(transport(server.url, **trust)) as carrier:
                assert (await carrier.send(ask())).status == 200
        async with aclosing(transport(server.url, tries=1)) as carrier:
            with pytest.raises(ConnectionFailed, match="certificate"):
                await carrier.send(ask("PUT"))


async def test_the_name_to_verify(keys: Keys) -> None:
    async with Scripted(tls=keys.server_context()) as server:
        url = f"https://localhost:{server.port}"  # which the certificate does not name
        async with aclosing(transport(url, ca_cert=keys.ca, tries=1)) as carrier:
            with pytest.raises(ConnectionFailed, match="localhost"):
                await carrier.send(ask())
        async with aclosing(transport(url, ca_cert=keys.ca, tls_server_name="server.dc1.consul:8501")) as carrier:
            assert (await carrier.send(ask())).status == 200


async def test_a_client_certificate(keys: Keys) -> None:
    async with Scripted(tls=keys.server_context(verify_client=True)) as server:
        pair = {"client_cert": keys.client_cert, "client_key": keys.client_key}
        async with aclosing(transport(server.url, ca_cert=keys.ca, **pair)) as carrier:
            assert (await carrier.send(ask("PUT"))).status == 200
        async with aclosing(transport(server.url, verify=False, **pair)) as carrier:
            assert (await carrier.send(ask())).status == 200
        async with aclosing(transport(server.url, ca_cert=keys.ca, tries=1)) as carrier:
            with pytest.raises(ConnectionFailed):
                await carrier.send(ask())


async def test_plain_http_to_tls_and_back(keys: Keys) -> None:
    async def plain(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async with Scripted(tls=keys.server_context()) as server:
        async with aclosing(transport(f"127.0.0.1:{server.port}", tries=1)) as carrier:
            with pytest.raises((ConnectionFailed, UnreadableResponse)):
                await carrier.send(ask())
        refusing = await asyncio.start_server(plain, "127.0.0.1", 0)
        url = f"https://127.0.0.1:{refusing.sockets[0].getsockname()[1]}"
        async with refusing, aclosing(transport(url, tries=1)) as carrier:
            with pytest.raises(ConnectionFailed):
                await carrier.send(ask())


@pytest.mark.parametrize(
    ("what", "name"),
    [
        ({"ca_cert": "missing.pem"}, "cacert"),
        ({"ca_cert": "text.pem"}, "cacert"),
        ({"ca_path": "missing"}, "capath"),
        ({"ca_path": "."}, "capath"),
        ({"client_cert": "missing.pem", "client_key": "text.pem"}, "client_cert"),
        ({"client_cert": "text.pem", "client_key": "text.pem"}, "client_cert"),
        ({"client_cert": "client.pem", "client_key": "encrypted.key"}, "passphrase"),
        ({"client_cert": "client.pem", "client_key": "server.key"}, "client_cert"),
    ],
)
def test_unusable_files_are_named_at_construction(
    what: dict[str, str], name: str, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys.encrypted_client_key(b"geheim")
    (keys.folder / "text.pem").write_text("no PEM")
    monkeypatch.chdir(keys.folder)
    with pytest.raises(SettingsError, match=name):
        transport("h:1", **what)


def test_unusable_files_are_named_by_their_variable(tmp_path: Path) -> None:
    settings = Settings.load("h:1", environ={"CONSUL_CACERT": str(tmp_path / "gone")})
    with pytest.raises(SettingsError, match="CONSUL_CACERT"):
        Transport(settings)


# A borrowed session.


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


async def test_it_belongs_to_the_loop_of_its_first_call() -> None:
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


# The token.


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


def everything_shown(error: BaseException) -> str:
    """All that a log could show of an error and what it was raised from."""
    shown = "".join(traceback.format_exception(error))
    link: BaseException | None = error
    while link is not None:
        shown += f"{link!r} {link} {link.__dict__!r}"
        link = link.__cause__ or link.__context__
    return shown + repr(pickle.loads(pickle.dumps(error)).__dict__)


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
