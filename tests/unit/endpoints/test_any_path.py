"""Any path of the API: what is asked, what comes back in which type, and what is refused before anything is sent."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest
from support.canned import CannedSender
from support.fakes import FakeClock, FakeConsul
from support.pairs import EITHER, PAIRS, READ, Folder, Pair
from support.servers import Scripted, answer

from aioconsulconnect.client import Consul
from aioconsulconnect.endpoints.any_path import AnyPath
from aioconsulconnect.errors import (
    InvalidRequest,
    NotFound,
    UnreadableResponse,
)
from aioconsulconnect.structs.intentions import Intention
from aioconsulconnect.transport.settings.options import NO_OPTIONS, Options
from aioconsulconnect.watch.changes import Added, Changed, Removed
from aioconsulconnect.watch.poller_pool import PollerPool, sharing_key
from aioconsulconnect.watch.protocol.poll_settings import PollSettings


@dataclass
class Node:
    Node: str


def key_of(pair: Pair) -> str:
    return pair.key


def name_of(pair: tuple[str, object]) -> str:
    return pair[0]


# The types of a query.


@pytest.mark.parametrize(
    ("kind", "body", "value"),
    [
        (tuple[Pair, ...], PAIRS, READ),
        (list[Pair], PAIRS, list(READ)),
        (tuple[Pair, ...], b"null\n", ()),
        (list[str], b" null", []),
        (dict[str, tuple[str, ...]], b'{"web": ["v1"]}', {"web": ("v1",)}),
        (dict[str, tuple[str, ...]], b"null", {}),
        (Pair, b'{"Key": "a", "LockIndex": 0}', Pair("a")),
        (Node, b'{"Node": "n"}', Node("n")),
        (Intention, b'{"SourceName": "web"}', Intention(source_name="web")),
        (str, b'"10.0.0.1:8300"\n', "10.0.0.1:8300"),
        (bool, b"true", True),
        (object, b'{"a": [1, null]}', {"a": [1, None]}),
        (bytes, b"\x00 as it is", b"\x00 as it is"),
        (bytes.decode, "grüße".encode(), "grüße"),
        (json.loads, b'{"a": 1}', {"a": 1}),
        (EITHER.decode, b'"text"', "text"),
        (EITHER.decode, PAIRS, READ),
        (tuple[Pair, ...] | str, PAIRS, READ),
    ],
)
async def test_query_gives_the_value_in_the_type_that_was_asked_for(
    sender: CannedSender, api: AnyPath, kind: Any, body: bytes, value: object
) -> None:
    sender.answers = [body, body]
    assert await api.query("/v1/x", kind) == value
    reply = await api.query("/v1/x", kind).reply()
    assert (reply.value, type(reply.value), reply.meta.index) == (value, type(value), 7)


def failing(body: bytes) -> str:
    raise LookupError(f"not in {body!r}")


@pytest.mark.parametrize(
    ("kind", "words"),
    [(tuple[Pair, ...], "does not decode"), (failing, "LookupError"), (json.loads, "JSONDecodeError"),
     (msgspec.json.Decoder(Pair).decode, "does not decode"), (str, "does not decode")],
)  # fmt: skip
async def test_body_of_another_type_is_unreadable_and_never_quoted(
    sender: CannedSender, api: AnyPath, kind: Any, words: str
) -> None:
    sender.answers = [b'{"secret-body'] * 2
    with pytest.raises(UnreadableResponse, match=words) as caught:
        await api.query("/v1/x", kind)
    assert (caught.value.path, caught.value.status) == ("/v1/x", 200)
    assert "secret-body" not in str(caught.value)


@pytest.mark.parametrize(
    "kind", [42, None, "tuple[Pair, ...]", type("Broken", (msgspec.Struct,), {"__annotations__": {"a": "Nowhere"}})]
)
def test_type_that_cannot_be_decoded_is_refused_at_once(api: AnyPath, kind: Any) -> None:
    with pytest.raises(InvalidRequest, match="type"):
        api.query("/v1/x", kind)


class Unhashable:
    __hash__ = None  # type: ignore[assignment]

    def __call__(self, given: object) -> str:
        return str(given)


@pytest.mark.parametrize("key", ["Key", 0, Unhashable()])
def test_key_that_is_no_function_is_refused_at_once(api: AnyPath, key: Any) -> None:
    with pytest.raises(InvalidRequest, match="key takes a function"):
        api.query("/v1/x", tuple[Pair, ...], key=key)
    with pytest.raises(InvalidRequest, match="unhashable"):
        api.query("/v1/x", Unhashable())


# The path and the parameters.


@pytest.mark.parametrize(
    ("path", "wire"),
    [
        ("/v1/kv/app/limit", "/v1/kv/app/limit"),
        ("/v1/kv/", "/v1/kv/"),
        ("/v1/kv/folder/", "/v1/kv/folder/"),
        ("/v1/kv/50% of ü&=+;", "/v1/kv/50%25%20of%20%C3%BC%26%3D%2B%3B"),
        ("/v1/kv/a%2Fb", "/v1/kv/a%252Fb"),
        ("/v1/kv/..a/b..", "/v1/kv/..a/b.."),
    ],
)
async def test_path_is_encoded_once(sender: CannedSender, api: AnyPath, path: str, wire: str) -> None:
    sender.answers = [b"", b""]
    await api.query(path, bytes)
    await api.request("DELETE", path)
    assert sender.wire == [("GET", wire, None), ("DELETE", wire, None)]


@pytest.mark.parametrize(
    "path",
    ["", "/", "/v1", "/v1/", "v1/kv/a", "/v2/kv/a", "http://h/v1/kv/a", "/v1/kv/a?raw", "/v1/kv/a#b",
     "/v1/kv/../agent/leave", "/v1/kv/a/..", "/v1/kv/./a", "/v1/kv/.", "/v1//kv/a", "/v1/kv//a", "/v1/kv/a//",
     "/v1/kv/a\nb", "/v1/kv/a\x00", "/v1/kv/a\x7f", "/v1/kv/a\u2028b", "/v1/kv/a\u00a0b", "/v1/kv/\ud800",
     None, b"/v1/kv/a"],
)  # fmt: skip
async def test_path_that_would_lead_elsewhere_is_refused(sender: CannedSender, api: AnyPath, path: Any) -> None:
    with pytest.raises(InvalidRequest):
        api.query(path, bytes)
    with pytest.raises(InvalidRequest):
        await api.request("PUT", path, body=b"")
    assert sender.asked == []


async def test_parameters_are_sent_as_given(sender: CannedSender, api: AnyPath) -> None:
    sender.answers = [b""]
    await api.query(
        "/v1/kv/a",
        bytes,
        parameters={"recurse": "", "separator": "/", "node-meta": ["a:1", "b:é"], "cas": 0, "none": ()},
        options=Options(consistency="stale", datacenter="dc2"),
    )
    assert sender.wire[0][1] == "/v1/kv/a?recurse&separator=/&node-meta=a:1&node-meta=b:%C3%A9&cas=0&dc=dc2&stale"


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ("recurse", "mapping"),
        ({1: "1"}, "no name"),
        ({"a&b": "1"}, "no name"),
        ({"": "1"}, "no name"),
        ({"a b": ""}, "no name"),
        ({"dc": "dc2"}, r"Options\(datacenter"),
        ({"stale": ""}, r"Options\(consistency"),
        ({"token": "secret"}, r"Options\(token"),
        ({"recurse": True}, "a flag is ''"),
        ({"recurse": None}, "a flag is ''"),
        ({"cas": 1.5}, "texts and numbers"),
        ({"a": ["b", False]}, "texts and numbers"),
        ({"a": {"b": "c"}}, "texts and numbers"),
    ],
)
async def test_parameters_that_mean_nothing_are_refused(
    sender: CannedSender, api: AnyPath, parameters: Any, words: str
) -> None:
    with pytest.raises(InvalidRequest, match=words) as caught:
        api.query("/v1/kv/a", bytes, parameters=parameters)
    assert "secret" not in str(caught.value)
    with pytest.raises(InvalidRequest, match=words):
        await api.request("PUT", "/v1/kv/a", parameters=parameters)
    assert sender.asked == []


@pytest.mark.parametrize("name", ["index", "wait", "hash"])
async def test_parameters_of_a_poll_are_for_watches_alone(sender: CannedSender, api: AnyPath, name: str) -> None:
    with pytest.raises(InvalidRequest, match=r"watch\(\)"):
        api.query("/v1/kv/a", bytes, parameters={name: "5"})
    sender.answers = [b""]
    await api.request("GET", "/v1/event/list", parameters={name: "5"})  # by hand, for who knows what he does
    assert sender.wire[0][1] == f"/v1/event/list?{name}=5"


# Absence.


async def test_missing_key_is_not_found_or_the_value_for_absence() -> None:
    async with Scripted() as server, Consul(server.url) as consul:
        server.rest = answer(b"", 404, x_consul_index="7")
        with pytest.raises(NotFound):
            await consul.query("/v1/kv/a", bytes)
        assert await consul.query("/v1/kv/a", bytes, absent=None) is None
        assert await consul.query("/v1/kv/", tuple[Pair, ...], key=key_of, absent=()) == ()
        assert await consul.query("/v1/kv/", list[Pair], key=key_of, absent=[]).value() == []
        server.rest = answer(b"404 page not found", 404)
        with pytest.raises(UnreadableResponse):  # not Consul's words
            await consul.query("/v1/kv/a", bytes, absent=None)


async def test_list_for_absence_is_a_new_one_each_time() -> None:
    async with Scripted() as server, Consul(server.url) as consul:
        server.rest = answer(b"", 404, x_consul_index="7")
        query = consul.query("/v1/kv/", list[Pair], absent=list[Pair]())
        (await query).append(Pair("mine"))
        assert await query == []


# Watches.


@pytest.fixture
async def world() -> AsyncIterator[tuple[FakeClock, FakeConsul, AnyPath]]:
    clock = FakeClock()
    consul = FakeConsul(clock)
    pool = PollerPool(consul, settings=PollSettings(), clock=clock, random=lambda: 0.5)
    yield clock, consul, AnyPath(consul, pool, NO_OPTIONS)
    await pool.aclose()


async def test_changes_are_told_by_item(world: tuple[FakeClock, FakeConsul, AnyPath]) -> None:
    clock, consul, api = world
    consul.put(PAIRS)
    async with api.query("/v1/kv/app/", tuple[Pair, ...], key=key_of, absent=()).watch() as watch:
        changes = watch.changes()
        await clock.advance(1)
        assert [(change.key, change.new) for change in await anext(changes) if isinstance(change, Added)] == [
            ("app/a", READ[0]),
            ("app/b", READ[1]),
        ]
        consul.put(b'[{"Key": "app/b", "Value": "Mg=="}]')
        await clock.advance(1)
        assert list(await anext(changes)) == [
            Removed(READ[0], key="app/a"),
            Changed(READ[1], Pair("app/b", b"2"), key="app/b"),
        ]
        consul.put(b"", status=404)
        await clock.advance(5)
        assert list(await anext(changes)) == [Removed(Pair("app/b", b"2"), key="app/b")]
        assert (watch.current, watch.status.state) == ((), "absent")


async def test_items_of_a_map_are_its_pairs(world: tuple[FakeClock, FakeConsul, AnyPath]) -> None:
    clock, consul, api = world
    consul.put(b'{"web": ["v1"], "db": []}')
    async with api.query("/v1/catalog/services", dict[str, list[str]], key=name_of).watch() as watch:
        changes = watch.changes()
        await clock.advance(1)
        assert [change.key for change in await anext(changes)] == ["web", "db"]
        consul.put(b'{"web": ["v1", "v2"], "db": []}')
        await clock.advance(1)
        assert list(await anext(changes)) == [Changed(("web", ["v1"]), ("web", ["v1", "v2"]), key="web")]


async def test_value_without_key_is_one_item_under_its_path(world: tuple[FakeClock, FakeConsul, AnyPath]) -> None:
    clock, consul, api = world
    consul.put(b"", status=404)
    async with api.query("/v1/kv/app/limit", bytes, parameters={"raw": ""}, absent=None).watch() as watch:
        changes = watch.changes()
        await clock.advance(1)
        assert list(await anext(changes)) == []
        for body, change in [
            (b"5", Added(b"5", key="/v1/kv/app/limit")),
            (b"6", Changed(b"5", b"6", key="/v1/kv/app/limit")),
        ]:
            consul.put(body)
            await clock.advance(1)
            assert list(await anext(changes)) == [change]
        consul.put(b"", status=404)
        await clock.advance(5)
        assert list(await anext(changes)) == [Removed(b"6", key="/v1/kv/app/limit")]
        assert watch.current is None
    assert consul.polls[0].path == "/v1/kv/app/limit"


@pytest.mark.parametrize(
    ("key", "words"),
    [(lambda pair: pair.nothing, "AttributeError"), (lambda pair: [pair.key], "TypeError"), (lambda _: 1, "two items")],
)
async def test_key_that_tells_nothing_apart_ends_the_watch_and_says_so(
    world: tuple[FakeClock, FakeConsul, AnyPath], key: Callable[[Any], Any], words: str
) -> None:
    clock, consul, api = world
    consul.put(PAIRS)
    async with api.query("/v1/kv/app/", tuple[Pair, ...], key=key).watch() as watch:
        changes = watch.changes()
        await clock.advance(1)
        with pytest.raises(InvalidRequest, match=words):
            await anext(changes)


async def test_key_for_a_value_without_items_is_refused(world: tuple[FakeClock, FakeConsul, AnyPath]) -> None:
    clock, consul, api = world
    consul.put(b'"text"')
    query = api.query("/v1/status/leader", str, key=len)  # type: ignore[arg-type]
    async with query.watch() as watch:
        await clock.advance(1)
        with pytest.raises(InvalidRequest, match="key is for the items"):
            await watch.ready(1)


@pytest.mark.parametrize(("kind", "empty"), [(tuple[Pair, ...], ()), (list[Pair], [])])
async def test_large_answer_is_read_in_steps_to_the_same_value(
    world: tuple[FakeClock, FakeConsul, AnyPath], kind: Any, empty: Any
) -> None:
    clock, consul, api = world
    pairs = [{"Key": f"app/{number}", "Value": "MQ=="} for number in range(20_000)]
    consul.put(msgspec.json.encode(pairs))
    async with api.query("/v1/kv/app/", kind, key=key_of, absent=empty).watch() as watch:
        await clock.advance(1)
        assert watch.current == type(empty)(Pair(f"app/{number}", b"1") for number in range(20_000))
        query = api.query("/v1/kv/app/", kind, key=key_of)
        assert query._request.slices is not None
        assert query._spec.items_in_slices is not None
        assert len(list(query._request.slices(consul.now()))) > 20
        assert len(list(query._spec.items_in_slices(watch.current))) > 20
        consul.put(msgspec.json.encode(pairs[1:]))
        changes = watch.changes()
        await anext(changes)
        await clock.advance(30)
        assert [change.key for change in await anext(changes)] == ["app/0"]


def test_equal_queries_share_a_poll_and_others_do_not(sender: CannedSender, polls: PollerPool) -> None:
    api = AnyPath(sender, polls, NO_OPTIONS)

    def queries() -> list[Any]:
        return [
            api.query("/v1/kv/a/", tuple[Pair, ...], key=key_of, absent=()),
            api.query("/v1/kv/a/", list[Pair], key=key_of, absent=[]),
            api.query("/v1/kv/a/", tuple[Folder, ...], key=str),
            api.query("/v1/kv/a/", dict[str, str], absent={"a": "b"}),
            api.query("/v1/kv/a/", dict[str, str], absent={}),
            api.query("/v1/kv/a/", EITHER.decode),
            api.query("/v1/kv/a/", bytes),
            api.query("/v1/kv/b/", bytes),
            api.query("/v1/kv/b/", bytes, parameters={"raw": ""}),
        ]

    first, second = ([sharing_key(query._request, query._spec) for query in queries()] for _ in range(2))
    assert first == second
    assert len({*first, *second}) == len(first)


def test_source_of_the_answers_follows_the_path(sender: CannedSender, polls: PollerPool) -> None:
    api = AnyPath(sender, polls, NO_OPTIONS)
    found = {
        path: api.query(path, bytes)._spec.source
        for path in ("/v1/kv/agent/", "/v1/agent/connect/ca/roots", "/v1/health/service/web", "/v1/health/state/any")
    }
    assert list(found.values()) == ["servers", "agent", "streaming", "servers"]
    assert api.query("/v1/health/service/web", bytes, parameters={"near": "_agent"})._spec.source == "servers"
    assert api.query("/v1/agent/service/web", bytes)._spec.cursor_kind == "hash"
