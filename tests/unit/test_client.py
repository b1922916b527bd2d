"""`Consul`, the only door: built anywhere, closed by anyone, and of use after whatever a server sends."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import gzip
import pickle
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import anyio
import pytest
from support.servers import Hang, Scripted, answer

from aioconsulconnect.client import Consul
from aioconsulconnect.errors import (
    Closed,
    ConnectionFailed,
    ConsulError,
    InvalidRequest,
    NoLeader,
    OutcomeUnknown,
    ResponseTooLarge,
    SettingsError,
    UnreadableResponse,
    Unsupported,
)
from aioconsulconnect.transport.response import Reply
from aioconsulconnect.transport.settings.options import Options

MEGABYTE = 1024 * 1024
UUID = "17e58b74-7385-177d-294b-3eded8a6c468"
SECRET = "5e1f0b9c-dead-beef-0000-0123456789ab"

CALLS: dict[str, Callable[[Consul], Awaitable[object]]] = {
    "list": lambda consul: consul.intentions.list(),
    "match": lambda consul: consul.intentions.match(destination="db"),
    "match_many": lambda consul: consul.intentions.match_many(sources=["a", "b"]),
    "check": lambda consul: consul.intentions.check("web", "db"),
    "read": lambda consul: consul.intentions.read("web", "db"),
    "upsert": lambda consul: consul.intentions.upsert("web", "db", action="allow"),
    "delete": lambda consul: consul.intentions.delete("web", "db"),
    "create": lambda consul: consul.intentions.create("web", "db", action="allow"),
    "read_by_id": lambda consul: consul.intentions.read_by_id(UUID),
    "update_by_id": lambda consul: consul.intentions.update_by_id(UUID, "web", "db", action="deny"),
    "delete_by_id": lambda consul: consul.intentions.delete_by_id(UUID),
    "roots": lambda consul: consul.ca.roots(),
    "roots_pem": lambda consul: consul.ca.roots_pem(),
    "configuration": lambda consul: consul.ca.configuration(),
}

WRITES = {"upsert", "delete", "create", "update_by_id", "delete_by_id"}

MALFORMED = {
    "empty": answer(b""),
    "truncated": answer(b'[{"SourceName": "web", "Dest'),
    "html": answer(b"<html><body>nginx</body></html>", content_type="text/html"),
    "number": answer(b"42"),
    "NaN": answer(
        b'{"Allowed": NaN, "ID": NaN, "SourceName": NaN, "Provider": NaN, "Roots": NaN, "db": NaN, "a": NaN}'
    ),
    "invalid utf-8": answer(b'"\xff\xfe"'),
    "half a pair": answer(b'"\\ud800"'),
    "null": answer(b"null"),
    "binary": answer(bytes(range(256))),
    "deep": answer(b"[" * 100_000),
    "false gzip": answer(b"no gzip", content_encoding="gzip"),
    "bomb": answer(gzip.compress(bytes(2 * MEGABYTE), 9), content_encoding="gzip"),
}

WRONG_TYPES = [
    b'[{"SourceName": 1}]', b'[{"Permissions": {}}]', b'[{"Precedence": "9"}]', b'[{"Action": "maybe"}]', b"[[]]",
    b"{}",
    b'[{"CreatedAt": "yesterday"}]', b'[{"ModifyIndex": -1.5}]', b'[{"Meta": {"a": 1}}]', b'[{"JWT": "x"}]',
]  # fmt: skip


@pytest.fixture
async def server() -> AsyncIterator[Scripted]:
    async with Scripted() as scripted:
        yield scripted


@pytest.fixture
async def consul(server: Scripted) -> AsyncIterator[Consul]:
    async with Consul(server.url, token=SECRET, tries=1, max_body=MEGABYTE) as client:
        yield client


# Whatever a server sends.


@pytest.mark.parametrize("body", MALFORMED)
@pytest.mark.parametrize("call", CALLS)
async def test_a_malformed_body_is_one_error_and_the_client_lives_on(
    server: Scripted, consul: Consul, call: str, body: str
) -> None:
    if call in {"upsert", "delete"}:
        server.steps = [answer(b'{"db": null}')]
    server.steps.append(MALFORMED[body])
    if call == "roots_pem" and body == "empty":
        assert await CALLS[call](consul) == ""  # no roots, no text
    elif call == "roots_pem" and body == "NaN":
        with pytest.raises(Unsupported):
            await CALLS[call](consul)  # an object instead of a text: an agent that does not know the parameter
    else:
        kind = OutcomeUnknown if call in WRITES else UnreadableResponse
        with pytest.raises(ResponseTooLarge if body == "bomb" else kind) as caught:
            await CALLS[call](consul)
        assert (caught.value.address, caught.value.status in {200, None}) == (server.url, True)
        assert caught.value.path.startswith("/v1/connect/")
        assert SECRET not in f"{caught.value!r}{caught.value}"
    server.steps = [answer(b"[]")]
    assert await consul.intentions.list() == ()


@pytest.mark.parametrize("body", WRONG_TYPES)
async def test_wrong_types(server: Scripted, consul: Consul, body: bytes) -> None:
    server.steps = [answer(body)]
    with pytest.raises(UnreadableResponse, match="does not decode"):
        await consul.intentions.list()


async def test_a_refusal_names_the_call(server: Scripted, consul: Consul) -> None:
    server.steps = [answer(b"No cluster leader", 500)]
    with pytest.raises(NoLeader, match="GET /v1/connect/intentions/match: 500 'No cluster leader'"):
        await consul.intentions.match(destination="db")


async def test_reads_have_their_metadata(server: Scripted, consul: Consul) -> None:
    server.steps = [answer(b"[]", x_consul_index="12", x_consul_knownleader="true", x_consul_lastcontact="5")]
    reply = await consul.intentions.list().reply()
    assert isinstance(reply, Reply)
    assert (reply.value, reply.meta.index, reply.meta.known_leader, reply.meta.last_contact) == ((), 12, True, 0.005)


# Options and views.


async def test_a_view_has_options_of_its_own_and_shares_the_rest(server: Scripted) -> None:
    async with Consul(server.url, options=Options(datacenter="dc1", token="one")) as consul:
        view = consul.with_options(Options(consistency="stale", token="two"))
        server.steps = [answer(b"[]")] * 3
        await consul.intentions.list()
        await view.intentions.list()
        await view.intentions.list(options=Options(consistency="consistent"))
        assert [seen.target.partition("?")[2] for seen in server.seen] == [
            "dc=dc1",
            "dc=dc1&stale",
            "dc=dc1&consistent",
        ]
        assert [seen.headers["x-consul-token"] for seen in server.seen] == ["one", "two", "two"]
        assert {seen.connection for seen in server.seen} == {1}
        await view.aclose()
        with pytest.raises(Closed):
            await consul.intentions.list()


@pytest.mark.parametrize("name", ["agent", "catalog", "health", "config", "discovery_chain", "capabilities"])
async def test_a_group_is_made_once_and_has_the_options_of_its_client(server: Scripted, name: str) -> None:
    async with Consul(server.url, options=Options(token="one")) as consul:
        view = consul.with_options(Options(token="two"))
        assert getattr(consul, name) is getattr(consul, name)
        assert getattr(view, name) is not getattr(consul, name)
        call: dict[str, Callable[[Consul], Awaitable[object]]] = {
            "agent": lambda consul: consul.agent.roots(),
            "catalog": lambda consul: consul.catalog.connect("db"),
            "health": lambda consul: consul.health.connect("db"),
            "config": lambda consul: consul.config.list("mesh"),
            "discovery_chain": lambda consul: consul.discovery_chain("db"),
            "capabilities": lambda consul: consul.capabilities(),
        }
        for client, token in ((consul, "one"), (view, "two")):
            server.seen.clear()
            with contextlib.suppress(ConsulError):  # what comes back is no matter here
                await call[name](client)
            assert {seen.headers["x-consul-token"] for seen in server.seen} == {token}


async def test_the_environment_is_honoured(server: Scripted, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONSUL_HTTP_ADDR", server.url)
    monkeypatch.setenv("CONSUL_HTTP_TOKEN", SECRET)
    monkeypatch.setenv("CONSUL_NAMESPACE", "team")
    server.steps = [answer(b"[]")]
    async with Consul() as consul:
        await consul.intentions.list()
    assert server.seen[0].target == "/v1/connect/intentions?ns=team"
    assert server.seen[0].headers["x-consul-token"] == SECRET


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("CONSUL_HTTP_ADDR", "ftp://x"),
        ("CONSUL_HTTP_SSL_VERIFY", "maybe"),
        ("CONSUL_HTTP_SSL", "yes"),
        ("CONSUL_CACERT", "/no/such/file"),
        ("CONSUL_CAPATH", "/no/such/folder"),
        ("CONSUL_CLIENT_CERT", "/only/one"),
        ("CONSUL_HTTP_TOKEN_FILE", "/no/such/file"),
        ("CONSUL_HTTP_TOKEN", "a\nb"),
        ("CONSUL_TLS_SERVER_NAME", "a b"),
    ],
)
def test_client_with_a_malformed_setting_raises_at_construction_and_names_it(
    variable: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsError, match=variable):
        Consul()


# Life.


def test_client_built_outside_a_loop_can_be_used_without_entering_it() -> None:
    consul = Consul("127.0.0.1:1", tries=1)

    async def use() -> None:
        with pytest.raises(ConnectionFailed):
            await consul.intentions.list()
        await consul.aclose()
        await consul.aclose()

    asyncio.run(use())


async def test_a_client_that_was_never_used_leaves_nothing() -> None:
    Consul("127.0.0.1:1")
    async with Consul("127.0.0.1:1"):
        pass


async def test_closing_from_another_task_ends_watches_and_calls(server: Scripted) -> None:
    consul = Consul(server.url)
    server.steps = [answer(b"[]", x_consul_index="7")]
    async with consul.intentions.list().watch() as watch:
        snapshots = watch.snapshots()
        assert await anext(snapshots) == ()
        waiting = asyncio.create_task(anext(snapshots))
        await asyncio.sleep(0)
        await asyncio.gather(asyncio.create_task(consul.aclose()), asyncio.create_task(consul.aclose()))
        with pytest.raises((Closed, StopAsyncIteration)):
            await waiting
    with pytest.raises(Closed):
        await consul.intentions.list()
    with pytest.raises(Closed):
        await consul.ca.configuration()


async def test_denied_watch_after_token_changed_is_called_reads_at_once(server: Scripted) -> None:
    server.steps = [answer(b"[]", x_consul_index="7"), *[answer(b"Permission denied", 403)] * 20]
    async with Consul(server.url, tries=1) as consul, consul.intentions.list().watch() as watch:
        await watch.ready(timeout=5)
        await watch.wait_for_state("denied", timeout=5)
        server.steps = [answer(b"[]", x_consul_index="8"), Hang()]
        consul.token_changed()
        await watch.wait_for_state("synced", timeout=0.5)


async def test_an_error_inside_the_block_comes_out_as_it_is(server: Scripted) -> None:
    with pytest.raises(LookupError, match="mine"):
        async with Consul(server.url):
            raise LookupError("mine")


def test_another_loop_is_a_clear_error() -> None:
    consul = Consul("127.0.0.1:1", tries=1)

    async def use() -> None:
        with pytest.raises(ConnectionFailed):
            await consul.intentions.list()

    async def elsewhere() -> None:
        with pytest.raises(Closed, match="event loop"):
            await consul.intentions.list()

    with asyncio.Runner() as runner:
        runner.run(use())
        asyncio.run(elsewhere())
        runner.run(consul.aclose())


# What it shows.


def test_the_repr_is_true_and_has_no_secrets(tmp_path: Path) -> None:
    consul = Consul(["h:1", "https://g/x"], token=SECRET, auth=f"u:{SECRET}", options=Options(token=SECRET))
    shown = f"{consul!r} {consul.intentions!r} {consul.with_options(Options(datacenter='x'))!r}"
    assert repr(consul) == "<Consul http://h:1, https://g/x>"
    assert SECRET not in shown


@pytest.mark.parametrize("transfer", [pickle.dumps, copy.copy, copy.deepcopy])
def test_a_client_cannot_be_pickled(transfer: Callable[[Consul], object]) -> None:
    with pytest.raises(TypeError, match="cannot be pickled"):
        transfer(Consul("h:1"))


def test_a_forgotten_await_is_not_true() -> None:
    query = Consul("h:1").intentions.list()
    with pytest.raises(TypeError, match="await"):
        bool(query)


def test_errors_are_consul_errors() -> None:
    with pytest.raises(ConsulError):
        Consul("ftp://x")
    with pytest.raises(InvalidRequest):
        Consul("h:1").intentions.match()


def test_a_watch_cannot_be_entered_in_another_loop() -> None:
    consul = Consul("http://127.0.0.1:1", tries=1)

    async def use() -> None:
        with pytest.raises(ConnectionFailed):
            await consul.ca.roots()

    async def watch() -> None:
        with pytest.raises(Closed, match="event loop"):
            await consul.ca.roots().watch().__aenter__()

    with asyncio.Runner() as runner:
        runner.run(use())
        asyncio.run(watch())
        runner.run(consul.aclose())


async def test_scope_that_is_cancelled_waits_until_the_client_has_closed(server: Scripted) -> None:
    server.steps = [answer(b"[]", x_consul_index="7"), Hang()]
    with anyio.move_on_after(0.2) as scope:
        async with Consul(server.url) as consul, consul.intentions.list().watch() as watch:
            await watch.ready()
            await anyio.sleep(10)
    assert scope.cancelled_caught
    assert consul._transport._sessions.closed
    assert consul._transport._sessions._sessions == {}
