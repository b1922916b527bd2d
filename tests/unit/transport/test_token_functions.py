"""A token function of the user's can do anything; what it does stays with the call that asked it."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from support.servers import Scripted
from support.transports import SECRET, ask

from aioconsulconnect.clock import Clock
from aioconsulconnect.errors import (
    Closed,
    ConnectionFailed,
    ConsulError,
    ErrorReason,
    InvalidRequest,
    NotReady,
    PermissionDenied,
    Unsupported,
)
from aioconsulconnect.transport.aiohttp_transport import Transport
from aioconsulconnect.transport.response import Response
from aioconsulconnect.transport.settings.connection import Settings
from aioconsulconnect.transport.settings.options import Options
from aioconsulconnect.watch.protocol.verdict import ends_watch

QUICK = Options(timeout=0.1)


class Later(Clock):
    """A clock that is moved on by hand."""

    def __init__(self) -> None:
        self.time = 0.0

    def now(self) -> float:
        return self.time


@asynccontextmanager
async def client(
    token: Callable[[], Any], clock: Clock | None = None
) -> AsyncIterator[tuple[Scripted, Transport, Callable[[], Any]]]:
    """A server, a transport with that token function, and a poll of it."""
    async with (
        Scripted() as server,
        aclosing(Transport(Settings.load(server.url, token=token, environ={}), clock=clock)) as carrier,
    ):

        async def poll() -> Response:
            return await carrier.attempt(ask(), extra=(), deadline=0.2, address=server.url)

        yield server, carrier, poll


def cancelled_sync() -> str:
    raise asyncio.CancelledError


async def cancelled_async() -> str:
    raise asyncio.CancelledError


async def cancelled_inside() -> str:
    inner = asyncio.ensure_future(asyncio.sleep(10))
    asyncio.get_running_loop().call_soon(inner.cancel)
    await inner
    return ""


def a_cancelled_future() -> asyncio.Future[str]:
    future: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    future.cancel()
    return future


async def cancels_itself() -> str:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    await asyncio.sleep(1)
    return ""


@pytest.mark.parametrize(
    "token", [cancelled_sync, cancelled_async, cancelled_inside, a_cancelled_future, cancels_itself]
)
async def test_a_function_that_raises_cancellation_fails_the_call_and_no_more(token: Callable[[], Any]) -> None:
    async with client(token) as (server, carrier, poll):
        for call in (lambda: carrier.send(ask()), poll):
            with pytest.raises(NotReady, match="token function was cancelled") as caught:
                await call()
            assert (caught.value.method, caught.value.path) == ("GET", "/v1/x")
            assert not ends_watch(caught.value, worked=False)
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0
        assert server.seen == []


async def test_a_function_that_swallows_cancellation_does_not_defeat_the_deadline() -> None:
    over = asyncio.Event()

    async def stubborn() -> str:
        while not over.is_set():
            try:
                await over.wait()
            except asyncio.CancelledError:
                gc.collect()  # it is held, or it would be gone here
        return "late"

    async with client(stubborn) as (server, carrier, poll):
        async with asyncio.timeout(5):
            with pytest.raises(NotReady, match="no token within"):
                await carrier.send(ask(options=QUICK))
            with pytest.raises(NotReady, match="no token within"):
                await poll()
        assert len(carrier._tokens._running) == 2
        over.set()
        await asyncio.sleep(0.01)
        assert carrier._tokens._running == set()
        assert server.seen == []


async def test_a_call_that_is_cancelled_takes_its_token_function_along() -> None:
    seen: list[str] = []
    started = asyncio.Event()

    async def slow() -> str:
        started.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise
        return ""

    async with client(slow) as (_, carrier, _):
        call = asyncio.create_task(carrier.send(ask()))
        await started.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await asyncio.sleep(0)
        assert seen == ["cancelled"]


async def test_a_future_that_many_calls_share_outlives_the_deadline_of_one() -> None:
    shared: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    async with client(lambda: shared) as (server, carrier, poll):
        with pytest.raises(NotReady):
            await poll()
        assert not shared.cancelled()
        shared.set_result(SECRET)
        await poll()
        await carrier.send(ask())
        assert [seen.headers["x-consul-token"] for seen in server.seen] == [SECRET, SECRET]


@pytest.mark.parametrize(
    "raised",
    [
        LookupError("no vault"),
        Closed("another client"),
        InvalidRequest("bad"),
        Unsupported("never"),
        ConnectionFailed("vault is down"),
        RecursionError(),
        StopAsyncIteration(),
    ],
)
@pytest.mark.parametrize("asynchronous", [False, True])
async def test_token_function_that_raises_ends_no_watch(raised: Exception, asynchronous: bool) -> None:
    def fails() -> str:
        raise raised

    async def fails_later() -> str:
        raise raised

    async with client(fails_later if asynchronous else fails) as (server, carrier, poll):
        with pytest.raises(NotReady, match="token function failed") as caught:
            await poll()
        assert caught.value.__cause__ is raised
        assert not ends_watch(caught.value, worked=False)
        with pytest.raises(NotReady if isinstance(raised, ConsulError) else type(raised)):
            await carrier.send(ask())  # an exception of the user's own is the caller's
        assert server.seen == []


@pytest.mark.parametrize("token", [7, b"x", "line\nbreak", object()])
async def test_garbage_of_a_function_ends_no_watch(token: object) -> None:
    async with client(lambda: token) as (server, _, poll):
        with pytest.raises(NotReady) as caught:
            await poll()
        assert not ends_watch(caught.value, worked=False)
        assert server.seen == []


async def test_a_function_that_closes_its_client_neither_hangs_nor_recurses() -> None:
    holder: list[Transport] = []

    async def closes() -> str:
        await holder[0].aclose()
        return "t"

    async with client(closes) as (server, carrier, poll):
        holder.append(carrier)
        async with asyncio.timeout(5):
            with pytest.raises(Closed):
                await poll()
            with pytest.raises(Closed):
                await carrier.send(ask())
            await carrier.aclose()
        assert server.seen == []


async def test_a_function_that_asks_for_its_own_token_does_not_recurse() -> None:
    holder: list[Transport] = []
    calls: list[int] = []

    async def asks_itself() -> str:
        calls.append(1)
        await holder[0].send(ask())
        return "t"

    async with client(asks_itself) as (server, carrier, poll):
        holder.append(carrier)
        with pytest.raises(NotReady, match="asked for its own token"):
            await poll()
        assert len(calls) == 1
        assert server.seen == []


async def test_a_function_may_call_its_client_with_a_token_of_its_own() -> None:
    holder: list[Transport] = []

    async def logs_in() -> str:
        await holder[0].send(ask(path="/v1/acl/login", options=Options(token="")))
        return "t"

    async with client(logs_in) as (server, carrier, poll):
        holder.append(carrier)
        await poll()
        assert [seen.headers.get("x-consul-token") for seen in server.seen] == [None, "t"]


async def test_a_task_that_a_function_has_started_may_use_the_client_later() -> None:
    holder: list[Transport] = []
    started: list[asyncio.Task[Response]] = []
    go = asyncio.Event()

    async def later() -> Response:
        await go.wait()
        return await holder[0].send(ask(path="/v1/later"))

    async def starts() -> str:
        if not started:
            started.append(asyncio.create_task(later()))
        return "t"

    async with client(starts) as (_, carrier, poll):
        holder.append(carrier)
        await poll()
        go.set()
        assert (await started[0]).status == 200


# No token any more.


async def test_a_poll_is_not_sent_anonymously_where_there_was_a_token() -> None:
    tokens: list[str] = ["", "t", "", "t"]
    async with client(lambda: tokens.pop(0)) as (server, carrier, poll):
        assert (await poll()).anonymous  # there never was one
        await poll()
        with pytest.raises(PermissionDenied) as caught:
            await poll()
        assert (caught.value.reason, caught.value.status, caught.value.path) == (
            ErrorReason.TOKEN_MISSING,
            None,
            "/v1/x",
        )
        assert not ends_watch(caught.value, worked=False, denied_for=60)
        assert len(server.seen) == 2
        await poll()
        tokens.append("")
        assert (await carrier.send(ask())).anonymous  # a plain call goes on as before
        assert len(server.seen) == 4


async def test_a_token_of_the_calls_own_that_is_empty_is_no_missing_one() -> None:
    async with client(lambda: "t") as (server, carrier, poll):
        await poll()
        asked = ask(options=Options(token=""))
        assert (await carrier.attempt(asked, extra=(), deadline=1, address=server.url)).anonymous


# Is it another one?


async def test_token_change_check_calls_the_function_every_two_seconds_at_most() -> None:
    clock, calls, token = Later(), [0], ["one"]

    def provider() -> str:
        calls[0] += 1
        return token[0]

    async with client(provider, clock) as (_, carrier, poll):
        assert carrier.token_mark() is None
        assert not await carrier.token_changed_since(None)
        clock.time += 10
        await poll()
        mark = carrier.token_mark()
        assert mark is not None
        calls[0], token[0] = 0, "two"
        for _ in range(100):
            assert not await carrier.token_changed_since(mark)
        clock.time += 2
        for _ in range(100):
            assert await carrier.token_changed_since(mark)
        assert calls[0] == 1
        assert not await carrier.token_changed_since(carrier.token_mark())


@pytest.mark.parametrize("worse", [LookupError("no vault"), asyncio.CancelledError(), None])
async def test_a_source_that_gives_nothing_has_no_other_token(worse: BaseException | None) -> None:
    clock, first = Later(), [True]

    async def provider() -> str | None:
        if first:
            first.clear()
            return "one"
        if worse is not None:
            raise worse
        return None

    async with client(provider, clock) as (_, carrier, poll):
        await poll()
        mark = carrier.token_mark()
        clock.time += 60
        assert not await carrier.token_changed_since(mark)


async def test_a_token_file_that_is_written_again_is_another_token(tmp_path: Path) -> None:
    clock, file = Later(), tmp_path / "token"
    file.write_text("one")
    async with (
        Scripted() as server,
        aclosing(Transport(Settings.load(server.url, token_file=file, environ={}), clock=clock)) as carrier,
    ):
        await carrier.send(ask())
        mark = carrier.token_mark()
        clock.time += 2
        assert not await carrier.token_changed_since(mark)
        file.write_text("number two")
        clock.time += 2
        assert await carrier.token_changed_since(mark)
        assert SECRET not in repr(carrier)


async def test_token_function_that_asks_consul_itself_finds_room_under_many_calls() -> None:
    """What it asks with a token of its own needs a connection as well, while all calls wait for its answer."""

    async def token() -> str:
        await carrier.send(ask(path="/v1/kv/token", options=Options(token="bootstrap")))
        return SECRET

    async with client(token) as (server, carrier, _):
        async with asyncio.timeout(5):
            await asyncio.gather(*(carrier.send(ask()) for _ in range(30)))
        assert [seen.headers["x-consul-token"] for seen in server.seen if seen.target == "/v1/x"] == [SECRET] * 30
