"""Connections: how many, which of them notice a dead path, and what is learnt where one is refused."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from pathlib import Path

import pytest
from support.servers import Close, Hang, Late, Scripted, answer
from support.transports import CLOSE, RESET, ask, one, transport

from aioconsulconnect.clock import Clock
from aioconsulconnect.errors import (
    ConnectionFailed,
    ConsulError,
    ErrorReason,
    OutcomeUnknown,
    RequestTimeout,
    Throttled,
)
from aioconsulconnect.transport.aiohttp_transport import Transport
from aioconsulconnect.transport.sender import CrowdingNotice
from aioconsulconnect.transport.settings.options import Options, Purpose

CROWDED = answer(b"Your IP is issuing too many concurrent connections, please rate limit your calls\n", 429)


def sockets(carrier: Transport, purpose: Purpose) -> list[socket.socket]:
    """The idle connections of that purpose."""
    connector = carrier._sessions._sessions[purpose, "", False].connector
    assert connector is not None
    found = []
    for connections in connector._conns.values():
        for protocol, _ in connections:
            assert protocol.transport is not None
            found.append(protocol.transport.get_extra_info("socket"))
    return found


async def test_sockets_of_polls_notice_a_dead_path() -> None:
    async with one() as (server, carrier):
        await carrier.attempt(ask(), extra=(), deadline=5, address=server.url)
        await carrier.send(ask())
        (poll,), (call,) = sockets(carrier, "polls"), sockets(carrier, "calls")
        assert poll.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert not call.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        if hasattr(socket, "TCP_KEEPIDLE"):
            names = (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
            assert [poll.getsockopt(socket.IPPROTO_TCP, name) for name in names] == [10, 5, 3]


async def test_plain_calls_have_twelve_connections_at_most() -> None:
    async with Scripted([Hang()] * 12) as server, aclosing(transport(server.url)) as carrier:
        calls = [asyncio.create_task(carrier.send(ask())) for _ in range(40)]
        async with asyncio.timeout(10):
            while len(server.seen) < 12:
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)
        assert server.connections == 12
        assert len(server.seen) == 12
        server.release.set()
        assert {got.status for got in await asyncio.gather(*calls)} == {200}
        assert server.connections == 12


async def test_connections_that_one_burst_has_made_are_not_kept_alive_by_single_calls() -> None:
    async with Scripted([Hang()] * 5) as server, aclosing(transport(server.url)) as carrier:
        calls = [asyncio.create_task(carrier.send(ask())) for _ in range(5)]
        async with asyncio.timeout(10):
            while len(server.seen) < 5:
                await asyncio.sleep(0.01)
        server.release.set()
        await asyncio.gather(*calls)
        for _ in range(10):
            await carrier.send(ask())
        assert len({seen.connection for seen in server.seen[5:]}) == 1
        connector = carrier._sessions._sessions["calls", "", False].connector
        assert connector is not None
        kept = connector._keepalive_timeout
        assert isinstance(kept, float)
        assert 2 * kept <= 15  # it looks for idle ones once in that time


async def test_a_write_that_waits_in_vain_for_a_connection_was_not_sent() -> None:
    async with Scripted([Hang()] * 12) as server, aclosing(transport(server.url, tries=1)) as carrier:
        calls = [asyncio.create_task(carrier.send(ask())) for _ in range(12)]
        async with asyncio.timeout(10):
            while len(server.seen) < 12:
                await asyncio.sleep(0.01)
        for method in ("PUT", "GET"):
            with pytest.raises(RequestTimeout, match=r"not sent: all 12 connections .* for 0\.2 s") as caught:
                await carrier.send(ask(method, options=Options(timeout=0.2)))
            assert caught.value.reason is ErrorReason.BUSY
        assert len(server.seen) == 12
        server.release.set()
        await asyncio.gather(*calls)


async def test_call_that_got_no_slot_makes_the_client_prefer_no_other_agent() -> None:
    async with (
        Scripted([Hang()] * 12) as server,
        Scripted() as other,
        aclosing(transport(server.url, other.url, tries=1)) as carrier,
    ):
        calls = [asyncio.create_task(carrier.send(ask())) for _ in range(12)]
        async with asyncio.timeout(10):
            while len(server.seen) < 12:
                await asyncio.sleep(0.01)
        with pytest.raises(RequestTimeout):
            await carrier.send(ask(options=Options(timeout=0.1)))
        assert carrier.addresses[0] == server.url
        server.release.set()
        await asyncio.gather(*calls)
        assert not other.seen


@pytest.mark.slow
async def test_many_writes_at_once_wait_for_their_turn_and_not_for_the_agent() -> None:
    async with Scripted() as server, aclosing(transport(server.url, tries=1)) as carrier:
        server.rest = Late(0.1)
        # Each takes a tenth of a second, and the last has its turn after four of them.
        await asyncio.gather(*(carrier.send(ask("PUT", options=Options(timeout=2))) for _ in range(60)))
        server.rest = Late(1.0)
        options = Options(timeout=0.3)
        outcomes = await asyncio.gather(
            *(carrier.send(ask("PUT", options=options)) for _ in range(40)), return_exceptions=True
        )
        kinds = [type(outcome) for outcome in outcomes]
        assert kinds.count(OutcomeUnknown) == len(server.seen) - 60
        assert kinds.count(RequestTimeout) == 40 - kinds.count(OutcomeUnknown) > 0


async def test_a_probe_makes_a_connection_of_its_own_each_time() -> None:
    async with one() as (server, carrier):
        for _ in range(3):
            await carrier.attempt(ask(), extra=(), deadline=5, address=server.url, purpose="probe")
        await carrier.attempt(ask(), extra=(), deadline=5, address=server.url)
        await carrier.send(ask())
        assert [seen.connection for seen in server.seen] == [1, 2, 3, 4, 5]
        assert sockets(carrier, "probe") == []


async def test_one_probe_at_a_time_goes_to_an_agent_and_none_waits_for_another_agents() -> None:
    async with (
        Scripted([Hang()]) as silent,
        Scripted() as well,
        aclosing(transport(silent.url, well.url)) as carrier,
    ):

        async def probe(address: str, deadline: float) -> int:
            return (await carrier.attempt(ask(), extra=(), deadline=deadline, address=address, purpose="probe")).status

        first = asyncio.create_task(probe(silent.url, 5))
        await silent.waiting.wait()
        with pytest.raises(ConsulError):
            await probe(silent.url, 0.1)
        assert silent.connections == 1
        assert await probe(well.url, 1) == 200
        silent.release.set()
        assert await first == 200


# Too many connections.


@asynccontextmanager
async def refusing(*, reset: bool, delay: float = 0.0) -> AsyncIterator[str]:
    """A server like Consul 1.8 to a host with too many connections: it closes whatever is opened."""

    async def close(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(delay)
        if reset:
            option = struct.pack("ii", 1, 0)
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, option)
            writer.transport.abort()
        else:
            writer.close()

    server = await asyncio.start_server(close, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


@pytest.mark.parametrize("reset", [False, True])
async def test_a_new_connection_that_is_closed_at_once_is_told_apart(reset: bool) -> None:
    async with refusing(reset=reset) as url, aclosing(transport(url, tries=1)) as carrier:
        for number in (1, 2):
            with pytest.raises(ConnectionFailed) as caught:
                await carrier.send(ask())
            assert caught.value.reason is ErrorReason.RESET_AT_ONCE
            assert carrier.crowding.seen == number - 1  # an agent that goes away makes one, too
            await asyncio.sleep(0.1)
        with pytest.raises(OutcomeUnknown) as lost:
            await carrier.send(ask("PUT"))
        assert lost.value.reason is ErrorReason.RESET_AT_ONCE


async def test_an_agent_that_goes_away_is_no_sign_of_crowding() -> None:
    notice = CrowdingNotice()
    for now in (0.0, 15.0, 30.0):
        notice.reset("http://one", now)
        notice.gone("http://one")
    notice.reset("http://one", 31.0)
    notice.reset("http://one", 31.01)  # another connection of the same moment
    notice.reset("http://two", 31.5)
    notice.reset("http://one", 70.0)  # not of the same kind any more
    assert notice.seen == 0
    notice.reset("http://one", 70.5)
    assert notice.seen == 1


async def test_a_refused_connection_tells_that_the_agent_was_going_away() -> None:
    async with AsyncExitStack() as stack:
        async with refusing(reset=True) as url:
            carrier = await stack.enter_async_context(aclosing(transport(url, tries=1)))
            with pytest.raises(ConnectionFailed):
                await carrier.send(ask())
        with pytest.raises(ConnectionFailed) as refused:
            await carrier.send(ask())
        assert refused.value.reason is ErrorReason.UNREACHABLE
        carrier.crowding.reset(url, Clock().now() + 1)
        assert carrier.crowding.seen == 0


@pytest.mark.parametrize("step", [CLOSE, RESET, Close(b"HTTP/1.1 200 OK\r\nContent-Len")])
async def test_a_connection_that_was_there_before_is_no_sign_of_crowding(step: Close) -> None:
    async with one(answer(), step, tries=1) as (_, carrier):
        await carrier.send(ask())
        with pytest.raises(ConnectionFailed) as caught:
            await carrier.send(ask())
        assert caught.value.reason is ErrorReason.BROKEN
        assert carrier.crowding.seen == 0


async def test_half_an_answer_on_a_new_connection_is_no_sign_of_crowding() -> None:
    async with one(Close(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{"), tries=1) as (_, carrier):
        with pytest.raises(ConnectionFailed) as caught:
            await carrier.send(ask())
        assert caught.value.reason is ErrorReason.BROKEN


async def test_half_a_head_on_a_new_connection_is_no_sign_of_crowding() -> None:
    async with one(Close(b"HTTP/1.1 200 OK\r\nContent-Len"), tries=1) as (_, carrier):
        with pytest.raises(ConnectionFailed) as caught:
            await carrier.send(ask())
        assert caught.value.reason is ErrorReason.BROKEN


async def test_a_poll_that_is_cut_later_is_no_sign_of_crowding() -> None:
    class Fast(Clock):
        """Ten seconds pass with every look."""

        time = 0.0

        def now(self) -> float:
            self.time += 10
            return self.time

    async with refusing(reset=False) as url, aclosing(transport(url, clock=Fast())) as carrier:
        with pytest.raises(ConnectionFailed) as caught:
            await carrier.attempt(ask(), extra=(), deadline=5, address=url)
        assert caught.value.reason is ErrorReason.BROKEN


async def test_refused_connection_is_unreachable_and_not_crowding(tmp_path: Path) -> None:
    for address in ("127.0.0.1:1", f"unix://{tmp_path}/none"):
        async with aclosing(transport(address, tries=1)) as carrier:
            with pytest.raises(ConnectionFailed) as caught:
                await carrier.send(ask())
            assert caught.value.reason is ErrorReason.UNREACHABLE
            assert carrier.crowding.seen == 0


@pytest.mark.parametrize("purpose", ["calls", "polls", "probe"])
async def test_too_many_connections_are_counted_on_any_request(purpose: Purpose) -> None:
    async with one(CROWDED, tries=1) as (server, carrier):
        if purpose == "calls":
            with pytest.raises(Throttled) as caught:
                await carrier.send(ask())
            error: ConsulError | None = caught.value
        else:
            got = await carrier.attempt(ask(), extra=(), deadline=5, address=server.url, purpose=purpose)
            error = got.error
        assert error is not None
        assert error.reason is ErrorReason.TOO_MANY_CONNECTIONS
        assert carrier.crowding.seen == 1


async def test_other_refusals_are_not_counted_as_crowding() -> None:
    async with one(answer(b"RPC rate limit exceeded", 429), tries=1) as (_, carrier):
        with pytest.raises(Throttled):
            await carrier.send(ask())
        assert carrier.crowding.seen == 0
