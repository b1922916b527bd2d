"""Retries of the transport: the requests that are retried, and the pause before each."""

from __future__ import annotations

import asyncio
import socket
from contextlib import aclosing

import msgspec
import pytest
from support.servers import Close, Late, Scripted, Step, answer
from support.transports import CLOSE, RESET, NoWait, ask, one, transport

from aioconsulconnect.errors import (
    BadRequest,
    ConnectionFailed,
    ConsulError,
    NoLeader,
    NotFound,
    OutcomeUnknown,
    ServerError,
    Throttled,
)
from aioconsulconnect.transport.request import Request
from aioconsulconnect.transport.settings.options import Options


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
        ("PUT", [answer(b"must be", 500)], 1, BadRequest),
        ("PUT", [answer(b"no", 400)], 1, BadRequest),
        ("GET", [answer(b"must be", 500)], 2, None),
        ("GET", [answer(b"no", 400)], 2, None),
        ("GET", [answer(b"Missing service name", 400)], 1, BadRequest),
        ("GET", [answer(b"Failed to create boolean expression evaluator: x", 500)], 1, BadRequest),
    ],
)
async def test_failed_request_is_retried_by_its_method_and_error(
    method: str, steps: list[Step], sent: int, error: type[ConsulError] | None
) -> None:
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


async def test_refused_connection_raises_connection_failed_for_reads_and_writes() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    for method in ("GET", "PUT"):  # nothing was sent: no doubt about a write either
        async with aclosing(transport(f"127.0.0.1:{port}")) as carrier:
            with pytest.raises(ConnectionFailed, match="no connection to") as caught:
                await carrier.send(ask(method))
            assert isinstance(caught.value, ConnectionError)
            assert isinstance(caught.value.__cause__, ConnectionRefusedError)


async def test_a_name_that_nobody_knows() -> None:
    async with aclosing(transport("no-such-host.invalid:1", tries=1)) as carrier:
        with pytest.raises(ConnectionFailed, match=r"no-such-host\.invalid"):
            await carrier.send(ask())


# Writes that do no harm when they are applied twice.


def repeatable(method: str = "PUT") -> Request[bytes]:
    return ask(method, body=b"{}", idempotent=True)


@pytest.mark.parametrize("broken", [CLOSE, RESET, Close(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\ntr")], ids=str)
async def test_idempotent_write_is_repeated_once_where_the_connection_broke(broken: Step) -> None:
    async with one(broken) as (server, carrier):
        assert (await carrier.send(repeatable())).status == 200
        assert len(server.seen) == 2
        server.steps = [broken, broken]
        with pytest.raises(OutcomeUnknown):
            await carrier.send(repeatable())
        assert len(server.seen) == 4


async def test_idempotent_write_is_not_repeated_where_an_answer_came_or_none_in_time() -> None:
    async with one(answer(b"leadership lost", 500)) as (server, carrier):
        with pytest.raises(OutcomeUnknown):
            await carrier.send(repeatable())
        server.rest = Late(1.0)
        with pytest.raises(OutcomeUnknown):
            await carrier.send(msgspec.structs.replace(repeatable(), options=Options(timeout=0.1)))
        assert len(server.seen) == 2
        server.rest = answer()


@pytest.mark.parametrize(
    "trouble",
    [answer(b"No cluster leader", 500), answer(b"slow down", 429), answer(b"Permission denied", 403), CLOSE, RESET],
    ids=["no leader", "throttled", "denied", "closed", "reset"],
)
async def test_trouble_of_the_repetition_says_nothing_of_the_first_try(trouble: Step) -> None:
    """What says "nothing was applied" there would be untrue of the write as a whole."""
    async with one(CLOSE, trouble) as (server, carrier):
        with pytest.raises(OutcomeUnknown, match="may or may not have been applied"):
            await carrier.send(repeatable())
        assert len(server.seen) == 2


async def test_agent_that_ends_amid_a_write_leaves_its_outcome_unknown() -> None:
    async def ends(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        agent.close()
        writer.transport.abort()

    agent = await asyncio.start_server(ends, "127.0.0.1", 0)
    port = agent.sockets[0].getsockname()[1]
    async with aclosing(transport(f"127.0.0.1:{port}")) as carrier:
        with pytest.raises(OutcomeUnknown) as caught:
            await carrier.send(repeatable())
        assert isinstance(caught.value.__cause__, ConnectionFailed)  # of the repetition: nobody is there


async def test_write_is_repeated_at_the_agent_that_may_have_applied_it() -> None:
    """Removed from one agent is not removed from another, which knows of no such thing."""
    nothing = answer(b'Unknown service ID "web"', 404)
    removal = msgspec.structs.replace(repeatable(), removes=True)
    async with (
        Scripted([CLOSE, answer(b"No cluster leader", 500)]) as first,
        Scripted([nothing]) as second,
        aclosing(transport(first.url, second.url)) as carrier,
    ):
        with pytest.raises(OutcomeUnknown):
            await carrier.send(removal)
        assert (len(first.seen), len(second.seen)) == (2, 0)


async def test_removal_whose_repetition_finds_nothing_was_done() -> None:
    nothing = answer(b'Unknown service ID "web"', 404)
    async with one(CLOSE, nothing) as (server, carrier):
        removal = msgspec.structs.replace(repeatable(), removes=True)
        assert (await carrier.send(removal)).status == 200
        server.steps = [nothing]
        with pytest.raises(NotFound):  # asked once
            await carrier.send(removal)
        server.steps = [CLOSE, nothing]
        with pytest.raises(NotFound):  # not a removal: there is nothing to write to
            await carrier.send(repeatable())


@pytest.mark.parametrize("again", [ask(), repeatable()], ids=["read", "write"])
async def test_second_try_uses_no_connection_that_may_have_died_as_well(again: Request[bytes]) -> None:
    async with one(tries=2) as (server, carrier):
        server.rest = Late(0.05)
        await asyncio.gather(*(carrier.send(ask()) for _ in range(6)))
        server.rest = answer()
        server.steps = [CLOSE]
        assert server.open == 6  # all idle, and each may be dead: a proxy closes them without saying so
        before = server.connections
        assert (await carrier.send(again)).status == 200
        assert server.seen[-1].connection == before + 1


async def test_proxy_that_closes_each_connection_after_its_answer_loses_no_idempotent_write() -> None:
    async with one() as (server, carrier):
        server.rest = Close(answer())
        for _ in range(40):
            await carrier.send(repeatable())
        server.rest = answer()
