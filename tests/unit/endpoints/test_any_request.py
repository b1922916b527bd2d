"""Requests of any kind to any path: bodies, answers, and what is no success."""

from __future__ import annotations

from typing import Any

import pytest
from support.canned import CannedSender
from support.pairs import EITHER, PAIRS, READ, Folder, Pair
from support.servers import Close, Scripted, answer

from aioconsulconnect.client import Consul
from aioconsulconnect.endpoints.any_path import AnyPath
from aioconsulconnect.errors import (
    BadRequest,
    ConnectionFailed,
    ErrorReason,
    InvalidRequest,
    OutcomeUnknown,
)
from aioconsulconnect.structs.intentions import Intention
from aioconsulconnect.transport.settings.options import Options


@pytest.mark.parametrize(
    ("body", "wire"),
    [
        (None, None),
        (b"", b""),
        (b"\x00raw", b"\x00raw"),
        (bytearray(b"x"), b"x"),
        (memoryview(b"x"), b"x"),
        ({"Name": "n", "TTL": None}, b'{"Name":"n","TTL":null}'),
        ([1, "a"], b'[1,"a"]'),
        ({"a": [1, None]}, b'{"a":[1,null]}'),
        (False, b"false"),
        (Folder("n"), b'{"Name":"n"}'),
        (Intention(source_name="web"), b'{"SourceName":"web"}'),
    ],
)
async def test_body_is_sent_as_bytes_or_as_json(sender: CannedSender, api: AnyPath, body: Any, wire: bytes) -> None:
    sender.answers = [b"true"]
    assert await api.request("PUT", "/v1/kv/a", body=body, type=bool) is True
    assert sender.wire == [("PUT", "/v1/kv/a", wire)]
    assert (sender.asked[0].read, sender.asked[0].idempotent) == (False, False)


async def test_answer_of_a_request_is_bytes_or_of_the_type_asked_for(sender: CannedSender, api: AnyPath) -> None:
    sender.answers = [b"<html>kept", b"false\n", PAIRS, b'"x"', b""]
    assert await api.request("GET", "/v1/kv/page", parameters={"raw": ""}) == b"<html>kept"
    assert await api.request("PUT", "/v1/kv/a", body=b"1", parameters={"cas": 0}, type=bool) is False
    assert await api.request("GET", "/v1/kv/app/", type=tuple[Pair, ...]) == READ
    assert await api.request("POST", "/v1/x", type=EITHER.decode) == "x"
    assert await api.request("PUT", "/v1/agent/check/deregister/x", idempotent=True) == b""
    assert [(asked.read, asked.idempotent) for asked in sender.asked] == [
        (True, False), (False, False), (True, False), (False, False), (False, True),
    ]  # fmt: skip


ENDLESS: list[object] = []
ENDLESS.append(ENDLESS)


@pytest.mark.parametrize(
    ("method", "more", "words"),
    [
        ("put", {}, "method"),
        ("PATCH", {}, "method"),
        (["GET"], {}, "method"),
        ("GET", {"body": b"x"}, "no body"),
        ("PUT", {"body": "text"}, "encode"),
        ("PUT", {"body": object()}, "JSON"),
        ("PUT", {"body": {"a": [1, float("nan")]}}, r"a\[1\]: JSON has no number"),
        ("PUT", {"body": ENDLESS}, "contains itself"),
        ("PUT", {"body": {"a": "\ud800"}}, "surrogate"),
        ("PUT", {"options": Options(consistency="stale")}, "consistency"),
        ("PUT", {"options": Options(cached=True)}, "cached"),
        ("PUT", {"type": 42}, "type"),
    ],
)
async def test_request_with_a_wrong_argument_is_not_sent(
    sender: CannedSender, api: AnyPath, method: Any, more: dict[str, Any], words: str
) -> None:
    with pytest.raises(InvalidRequest, match=words):
        await api.request(method, "/v1/kv/a", **more)
    assert sender.asked == []


@pytest.mark.parametrize(
    "page", [answer(b"portal", content_type="text/html; charset=utf-8"), answer(b" <!doctype html>")]
)
@pytest.mark.parametrize("kind", [{}, {"type": bytes}, {"type": bytes.decode}, {"type": bool}], ids=str)
async def test_page_in_the_place_of_an_answer_to_a_write_is_no_success(page: bytes, kind: Any) -> None:
    async with Scripted([page]) as server, Consul(server.url) as consul:
        with pytest.raises(OutcomeUnknown) as caught:
            await consul.request("PUT", "/v1/kv/a", body=b"1", **kind)
        assert caught.value.reason is ErrorReason.NOT_CONSUL
        assert len(server.seen) == 1


async def test_lost_answer_to_a_write_is_an_unknown_outcome_and_repeated_once_where_that_does_no_harm() -> None:
    async with Scripted() as server, Consul(server.url) as consul:
        server.steps = [answer(b"true"), Close()]
        assert await consul.request("PUT", "/v1/kv/a", body=b"1", type=bool)
        with pytest.raises(OutcomeUnknown):
            await consul.request("PUT", "/v1/kv/a", body=b"1")
        assert len(server.seen) == 2
        server.steps = [answer(b"true"), Close(), answer(b"true")]
        assert await consul.request("PUT", "/v1/kv/a", body=b"1", type=bool)
        assert await consul.request("PUT", "/v1/kv/a", body=b"2", type=bool, idempotent=True)
        assert [seen.body for seen in server.seen[2:]] == [b"1", b"2", b"2"]


async def test_refused_write_and_lost_read_are_the_errors_of_every_call() -> None:
    async with Scripted() as server, Consul(server.url, tries=1) as consul:
        server.steps = [answer(b"Request decode failed: EOF", 400), Close()]
        with pytest.raises(BadRequest, match="PUT /v1/session/create: 400"):
            await consul.request("PUT", "/v1/session/create", body={})
        with pytest.raises(ConnectionFailed):
            await consul.request("GET", "/v1/session/list")


async def test_view_asks_with_its_own_options() -> None:
    async with Scripted() as server, Consul(server.url, options=Options(datacenter="dc1")) as consul:
        view = consul.with_options(Options(datacenter="dc2"))
        await view.query("/v1/kv/a", object)
        await consul.request("PUT", "/v1/kv/a", options=Options(namespace="team"))
        assert [seen.target for seen in server.seen] == ["/v1/kv/a?dc=dc2", "/v1/kv/a?dc=dc1&ns=team"]
