"""A program that starts before its agent: waited for, with the reason where it never comes."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterable
from pathlib import Path

import pytest
from support.canned import Canned, CannedSender
from support.servers import Hang, Keys, Scripted, answer

from aioconsulconnect.client import Consul
from aioconsulconnect.clock import Clock
from aioconsulconnect.errors import (
    BadRequest,
    Closed,
    ConnectionFailed,
    ErrorReason,
    InvalidRequest,
    NoLeader,
    NotReady,
    RequestTimeout,
    ServerError,
    SettingsError,
)
from aioconsulconnect.transport.settings.options import NO_OPTIONS, Options
from aioconsulconnect.workflows.readiness import wait_for_agent

LEADER = b'"10.0.0.1:8300"'
REFUSED = ConnectionFailed("no connection to http://canned:1: refused", reason=ErrorReason.UNREACHABLE)


class Leaping(Clock):
    """Time passes in pauses alone."""

    def __init__(self) -> None:
        self.pauses: list[float] = []

    def now(self) -> float:
        return 1000 + sum(self.pauses)

    async def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)


async def wait(answers: Iterable[Canned], timeout: float | None = 30) -> list[float]:
    """Wait for an agent with these answers, of which all must be asked for, and return the pauses."""
    sender, clock = CannedSender(), Leaping()
    sender.answers = list(answers)
    await wait_for_agent(sender, clock, NO_OPTIONS, timeout)
    assert sender.answers == []
    return clock.pauses


async def test_agent_that_is_there_is_asked_once() -> None:
    assert await wait([LEADER]) == []


@pytest.mark.parametrize(
    "before",
    [
        REFUSED,
        RequestTimeout("no answer"),
        b'""',
        (500, b"No cluster leader"),
        (500, b"No known Consul servers"),
        (502, b"<html>bad gateway"),
        (503, b"starting"),
        (404, b"page not found"),
        (403, b"ACL not found"),
        (429, b"Your IP is issuing too many concurrent connections, please rate limit your calls"),
        b"<html>welcome",
        NotReady("the token function failed"),
    ],
)
async def test_what_may_pass_is_waited_for(before: Canned) -> None:
    assert await wait([before] * 7 + [LEADER]) == [0.1, 0.2, 0.4, 0.8, 1, 1, 1]


async def test_wait_without_a_limit_goes_on() -> None:
    assert sum(await wait([REFUSED] * 1000 + [LEADER], timeout=None)) > 900


async def test_time_that_is_over_raises_the_last_error_and_what_to_do() -> None:
    with pytest.raises(
        NotReady, match=r"within 2\.5 s: no connection to http://canned:1: refused; see that an agent runs"
    ) as caught:
        await wait([RequestTimeout("no answer"), *[REFUSED] * 6], timeout=2.5)
    assert caught.value.__cause__ is REFUSED
    assert caught.value.reason is ErrorReason.UNREACHABLE
    with pytest.raises(NotReady) as caught:
        await wait([REFUSED, *[RequestTimeout("no answer within 0.9 s")] * 9], timeout=2.5)
    assert caught.value.__cause__ is REFUSED  # the others were given no time
    with pytest.raises(NotReady, match=r"consul members") as caught:
        await wait([b'""'] * 10, timeout=1)
    assert isinstance(caught.value.__cause__, NoLeader)
    assert (caught.value.method, caught.value.path, caught.value.address) == (
        "GET",
        "/v1/status/leader",
        "http://canned:1",
    )
    with pytest.raises(
        NotReady, match=r"GET /v1/status/leader: 503 'starting' .*what answers at that address"
    ) as caught:
        await wait([(503, b"starting")] * 10, timeout=1)
    assert isinstance(caught.value.__cause__, ServerError)
    assert isinstance(caught.value, TimeoutError)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ((400, b"Client sent an HTTP request to an HTTPS server.\n"), BadRequest),
        (SettingsError("CONSUL_CACERT: no such file"), SettingsError),
        (Closed("the client is closed"), Closed),
        (NoLeader("for ever", final=True), NoLeader),
    ],
)
async def test_what_no_waiting_helps_against_ends_it_at_once(error: Canned, kind: type[Exception]) -> None:
    with pytest.raises(kind):
        await wait([error])


async def test_certificate_is_tried_once_more_because_files_may_have_changed() -> None:
    untrusted = ConnectionFailed("TLS failed", reason=ErrorReason.CERTIFICATE)
    await wait([untrusted, LEADER])
    with pytest.raises(ConnectionFailed, match="TLS failed"):
        await wait([untrusted, untrusted])


@pytest.mark.parametrize("timeout", [0, -1, float("nan")])
async def test_timeout_of_nothing_is_refused(timeout: float) -> None:
    with pytest.raises(InvalidRequest, match="timeout"):
        await wait([], timeout=timeout)


# Over the wire.


@pytest.fixture
def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


async def test_agent_that_starts_later_is_waited_for(free_port: int) -> None:
    async with Consul(f"http://127.0.0.1:{free_port}", options=Options(datacenter="dc2", namespace="a")) as consul:
        waiting = asyncio.create_task(consul.ready(timeout=20))
        done, _ = await asyncio.wait({waiting}, timeout=0.3)
        assert not done
        async with Scripted([answer(b'""'), answer(LEADER)], port=free_port) as server:
            await waiting
            assert [seen.target for seen in server.seen] == ["/v1/status/leader?dc=dc2"] * 2


async def test_agent_that_never_starts_is_told_with_its_address(free_port: int) -> None:
    async with Consul(f"127.0.0.1:{free_port}") as consul:
        with pytest.raises(
            NotReady, match=rf"within 0\.3 s: no connection to http://127.0.0.1:{free_port}.*CONSUL_HTTP_ADDR"
        ):
            await consul.ready(timeout=0.3)


async def test_agent_that_stands_still_does_not_hold_it_beyond_its_time() -> None:
    async with Scripted() as server, Consul(server.url) as consul:
        server.rest = Hang()
        async with asyncio.timeout(5):
            with pytest.raises(NotReady, match="no answer"):
                await consul.ready(timeout=0.3)


async def test_another_address_that_is_ready_is_found_and_used_from_then_on(free_port: int) -> None:
    async with Scripted() as server:
        server.steps = [answer(b'""'), answer(LEADER)]
        async with Consul([f"127.0.0.1:{free_port}", server.url], tries=1) as consul:
            await consul.ready(timeout=10)
            assert repr(consul) == f"<Consul {server.url}, http://127.0.0.1:{free_port}>"  # the preferred one first
            assert await consul.request("GET", "/v1/x") == b"{}"
    assert [seen.target for seen in server.seen] == ["/v1/status/leader"] * 2 + ["/v1/x"]


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    return Keys(tmp_path)


@pytest.fixture
async def https(keys: Keys) -> AsyncIterator[Scripted]:
    async with Scripted(tls=keys.server_context()) as server:
        server.rest = answer(LEADER)
        yield server


async def test_certificate_that_is_not_trusted_ends_it_at_once(https: Scripted, keys: Keys) -> None:
    async with Consul(https.url) as consul, asyncio.timeout(5):
        with pytest.raises(ConnectionFailed, match="ca_cert") as caught:
            await consul.ready(timeout=60)
        assert caught.value.reason is ErrorReason.CERTIFICATE
    async with Consul(https.url, ca_cert=str(keys.ca)) as consul:
        await consul.ready(timeout=10)


@pytest.mark.parametrize("bad_first", [True, False])
async def test_certificate_that_is_not_trusted_at_one_of_two_addresses_is_no_end(
    https: Scripted, free_port: int, bad_first: bool
) -> None:
    addresses = [https.url, f"127.0.0.1:{free_port}"]
    async with Consul(addresses if bad_first else addresses[::-1]) as consul:
        waiting = asyncio.create_task(consul.ready(timeout=20))
        done, _ = await asyncio.wait({waiting}, timeout=0.3)
        assert not done
        async with Scripted(port=free_port) as server:
            server.rest = answer(LEADER)
            await waiting
