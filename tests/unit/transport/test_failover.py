"""Several addresses: who is asked next, and who is asked no more."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import pytest
from support.servers import Hang, Scripted, answer
from support.transports import CLOSE, RESET, ask, one, transport

from aioconsulconnect.errors import (
    ConnectionFailed,
    OutcomeUnknown,
)
from aioconsulconnect.transport.request import Parameters
from aioconsulconnect.transport.settings.options import Options


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
