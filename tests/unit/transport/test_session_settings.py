"""Settings of the HTTP client: proxy, headers, resolver, sessions of another's making; for calls and polls alike."""

from __future__ import annotations

import asyncio
import socket
from contextlib import aclosing
from pathlib import Path
from typing import Any, Unpack

import aiohttp
import aiohttp.abc
import pytest
from support.proxies import ConnectProxy
from support.servers import Close, Hang, Keys, Late, Scripted, answer
from support.transports import CLOSE, SECRET, ask, everything_shown, transport

from aioconsulconnect.errors import Closed, ConnectionFailed, ConsulError, ErrorReason, SettingsError
from aioconsulconnect.transport.aiohttp_transport import Transport
from aioconsulconnect.transport.settings.http_client import ConnectorArguments, Session
from aioconsulconnect.transport.settings.options import Purpose

PURPOSES: tuple[Purpose, ...] = ("calls", "polls", "probe")


async def ask_for_each(carrier: Transport, address: str) -> None:
    """One request for each purpose."""
    await carrier.send(ask(path="/v1/calls"))
    for purpose in PURPOSES[1:]:
        await carrier.attempt(ask(path=f"/v1/{purpose}"), extra=(), deadline=5, address=address, purpose=purpose)


@pytest.mark.parametrize("name", ["User-Agent", "user-agent"])
async def test_headers_are_those_of_every_request(name: str) -> None:
    headers = {"X-Gateway-Key": "key", name: "mine"}
    async with Scripted() as server, aclosing(transport(server.url, headers=headers, token=SECRET)) as carrier:
        await ask_for_each(carrier, server.url)
        assert [seen.headers["x-gateway-key"] for seen in server.seen] == ["key"] * 3
        assert [seen.headers["user-agent"] for seen in server.seen] == ["mine"] * 3
        assert [seen.headers["x-consul-token"] for seen in server.seen] == [SECRET] * 3


@pytest.mark.parametrize(
    "headers",
    [{"X a": "1"}, {"X": "1\r\nY: 2"}, {"x-consul-token": "t"}, {"": "1"}, {"X": "a\0"}, {"X": 5}, {5: "X"}],
    ids=str,
)
def test_header_that_cannot_be_sent_is_refused(headers: Any) -> None:
    with pytest.raises(SettingsError, match="headers"):
        transport("http://127.0.0.1:1", headers=headers)


@pytest.mark.parametrize("nothing", [{"headers": None}, {"proxy": None}, {"proxy": ""}], ids=str)
def test_proxy_or_headers_of_none_are_the_default(nothing: dict[str, Any]) -> None:
    given, default = transport("http://127.0.0.1:1", **nothing), transport("http://127.0.0.1:1")
    assert given._settings.client == default._settings.client


@pytest.mark.parametrize("proxy", [5, b"http://a:1", "http://joe:p\u20acs3cret@a:1"])
def test_proxy_beyond_ascii_is_refused_without_showing_its_password(proxy: Any) -> None:
    with pytest.raises(SettingsError, match="proxy: give it as a text in ASCII") as refused:
        transport("https://127.0.0.1:1", proxy=proxy)
    assert "s3cret" not in str(refused.value)


def test_authorization_is_given_once() -> None:
    with pytest.raises(SettingsError, match="auth"):
        transport("http://127.0.0.1:1", headers={"Authorization": "Bearer x"}, auth="u:p")
    transport("http://127.0.0.1:1", headers={"Authorization": "Bearer x"})


async def test_everything_goes_through_the_proxy() -> None:
    async with (
        Scripted() as proxy,
        aclosing(transport("http://consul.internal:8500", proxy=proxy.url, token=SECRET)) as carrier,
    ):
        await ask_for_each(carrier, "http://consul.internal:8500")
        assert [seen.target for seen in proxy.seen] == [f"http://consul.internal:8500/v1/{one}" for one in PURPOSES]


@pytest.mark.parametrize("choice", [{"proxy": "http://a:1"}, {"session_factory": aiohttp.ClientSession}], ids=str)
def test_socket_needs_neither_proxy_nor_factory(choice: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match="unix://"):
        transport("unix:///s", **choice)


@pytest.mark.parametrize(
    "proxy",
    ["localhost:8080", "socks5://a:1", "http://", "http://a:0", "http://a:x", "http://a..b:1", "http://127.1:1"],
)
def test_proxy_that_is_none_is_refused_without_its_text(proxy: str) -> None:
    with pytest.raises(SettingsError, match="proxy: give it as http://host:port") as refused:
        transport("http://127.0.0.1:1", proxy=proxy)
    assert proxy not in str(refused.value).removeprefix("proxy: give it as http://host:port or https://host:port")


def test_password_of_a_proxy_and_headers_are_in_no_repr() -> None:
    carrier = transport("http://127.0.0.1:1", proxy="http://u:hidden@a:1", headers={"X-Key": "hidden"})
    assert "hidden" not in repr(carrier) + repr(carrier._settings) + repr(carrier._settings.client)


async def test_password_of_a_proxy_is_in_no_error_of_the_agent_behind_it(tmp_path: Path) -> None:
    keys = Keys(tmp_path)
    async with Scripted(tls=keys.server_context()) as server, ConnectProxy() as proxy:
        carrier = transport(server.url, proxy=proxy.url.replace("://", "://joe:hidden@"), tries=1)
        with pytest.raises(ConnectionFailed) as caught:  # its certificate is not trusted
            await carrier.send(ask())
        assert caught.value.reason is ErrorReason.CERTIFICATE
        assert "hidden" not in everything_shown(caught.value)
        await carrier.aclose()


class Fixed(aiohttp.abc.AbstractResolver):
    """Leads every name to this machine."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.closed = False

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[aiohttp.abc.ResolveResult]:
        self.asked.append(host)
        return [{"hostname": host, "host": "127.0.0.1", "port": port, "family": socket.AF_INET, "proto": 0, "flags": 0}]

    async def close(self) -> None:
        self.closed = True


async def test_resolver_resolves_for_every_purpose_and_stays_open() -> None:
    resolver = Fixed()
    async with Scripted() as server:
        address = server.url.replace("127.0.0.1", "consul.internal")
        async with aclosing(transport(address, resolver=resolver)) as carrier:
            await ask_for_each(carrier, address)
        assert len(server.seen) == 3
    assert resolver.asked == ["consul.internal"] * 3
    assert not resolver.closed


class Factory:
    """Makes sessions with a middleware and a trace, and remembers them."""

    def __init__(self) -> None:
        self.made: list[tuple[Purpose, Session]] = []
        self.traced: list[str] = []

    def __call__(self, purpose: Purpose, **ours: Unpack[ConnectorArguments]) -> Session:
        async def middleware(
            request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
        ) -> aiohttp.ClientResponse:
            request.headers["X-Middle"] = "was here"
            return await handler(request)

        async def on_start(_: Any, __: Any, params: aiohttp.TraceRequestStartParams) -> None:
            self.traced.append(params.url.path)

        trace = aiohttp.TraceConfig()
        trace.on_request_start.append(on_start)
        connector = aiohttp.TCPConnector(**ours)
        session = aiohttp.ClientSession(
            connector=connector,
            middlewares=[middleware],
            trace_configs=[trace],
            raise_for_status=True,
            headers={"X-Own": "mine", "User-Agent": "theirs", "Accept-Encoding": "br"},
        )
        self.made.append((purpose, session))
        return session


async def test_session_factory_makes_the_sessions_of_every_purpose() -> None:
    factory = Factory()
    async with Scripted([answer()] * 3 + [answer(b"Intention not found", 404), CLOSE]) as server:
        carrier = transport(
            server.url, session_factory=factory, headers={"X-Key": "k"}, tries=1, token=SECRET, auth="u:p"
        )
        await ask_for_each(carrier, server.url)
        assert [purpose for purpose, _ in factory.made] == list(PURPOSES)
        assert factory.traced == [f"/v1/{purpose}" for purpose in PURPOSES]
        for seen in server.seen:
            found = {name: seen.headers[name] for name in ("x-own", "x-middle", "x-consul-token", "x-key")}
            assert found == {"x-own": "mine", "x-middle": "was here", "x-consul-token": SECRET, "x-key": "k"}
            assert (seen.headers["user-agent"], seen.headers["accept-encoding"]) == ("theirs", "br")
            assert seen.headers["authorization"] == "Basic dTpw"
        with pytest.raises(ConsulError, match="Intention not found"):
            await carrier.send(ask(path="/v1/y"))
        with pytest.raises(ConnectionFailed):
            await carrier.send(ask(path="/v1/z"))  # and no hidden resend here either
        assert [seen.target for seen in server.seen][3:] == ["/v1/y", "/v1/z"]
        await carrier.aclose()
        assert all(session.closed for _, session in factory.made)


async def test_second_try_uses_a_new_connection_of_the_factory_too() -> None:
    repeatable = ask("PUT", body=b"{}", idempotent=True)
    async with Scripted() as server, aclosing(transport(server.url, session_factory=Factory())) as carrier:
        server.rest = Late(0.05)
        await asyncio.gather(*(carrier.send(ask()) for _ in range(3)))
        server.rest, server.steps = answer(), [Close()]
        before = server.connections
        assert (await carrier.send(repeatable)).status == 200
        assert server.seen[-1].connection == before + 1


async def test_factory_that_returns_no_session_is_refused() -> None:
    async def factory(_: Purpose, **ours: Unpack[ConnectorArguments]) -> Session:
        return aiohttp.ClientSession(connector=aiohttp.TCPConnector(**ours))

    carrier = transport("http://127.0.0.1:1", session_factory=factory)
    with pytest.raises(SettingsError, match=r"must return an aiohttp\.ClientSession, not coroutine"):
        await carrier.send(ask())
    await carrier.aclose()


async def test_session_that_its_maker_closed_is_told() -> None:
    factory = Factory()
    async with Scripted() as server, aclosing(transport(server.url, session_factory=factory)) as carrier:
        await carrier.send(ask())
        await factory.made[0][1].close()
        with pytest.raises(Closed, match="session was closed"):
            await carrier.send(ask())


async def test_trace_configs_are_those_of_every_session() -> None:
    traced: list[str] = []

    async def on_start(_: Any, __: Any, params: aiohttp.TraceRequestStartParams) -> None:
        traced.append(params.url.path)

    trace = aiohttp.TraceConfig()
    trace.on_request_start.append(on_start)
    async with Scripted() as server, aclosing(transport(server.url, trace_configs=[trace])) as carrier:
        await ask_for_each(carrier, server.url)
    assert traced == [f"/v1/{purpose}" for purpose in PURPOSES]


async def test_error_that_is_not_of_the_network_is_not_dressed_up() -> None:
    async def broken(_: aiohttp.ClientRequest, __: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
        raise RuntimeError("a bug of the middleware")

    def factory(_: Purpose, **ours: Unpack[ConnectorArguments]) -> Session:
        return aiohttp.ClientSession(connector=aiohttp.TCPConnector(**ours), middlewares=[broken])

    async with Scripted() as server, aclosing(transport(server.url, session_factory=factory)) as carrier:
        with pytest.raises(RuntimeError, match="a bug of the middleware"):
            await carrier.send(ask())
        await asyncio.sleep(0)


async def test_middleware_that_makes_another_error_of_the_deadline_leaves_no_cancellation_behind() -> None:
    async def middleware(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
        try:
            return await handler(request)
        except asyncio.CancelledError:
            raise aiohttp.ClientConnectionError("given up") from None

    def factory(_: Purpose, **ours: Unpack[ConnectorArguments]) -> Session:
        return aiohttp.ClientSession(connector=aiohttp.TCPConnector(**ours), middlewares=[middleware])

    async with Scripted([Hang()]) as server, aclosing(transport(server.url, session_factory=factory)) as carrier:
        with pytest.raises(ConnectionFailed, match="given up"):
            await carrier.attempt(ask(), extra=(), deadline=0.1, address=server.url)
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0
        server.release.set()
