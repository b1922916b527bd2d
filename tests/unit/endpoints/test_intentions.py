"""What the intentions' methods ask of Consul, to the byte, and what they refuse to ask."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from support.canned import Canned, CannedSender, polls_of

from aioconsulconnect.endpoints.intentions import Intentions
from aioconsulconnect.errors import (
    Conflict,
    ConsulError,
    InvalidRequest,
    NotFound,
    OutcomeUnknown,
    PermissionDenied,
    ServerError,
    UnreadableResponse,
    Unsupported,
)
from aioconsulconnect.structs.intentions import HTTPPermission, Intention, MatchKey, Permission
from aioconsulconnect.transport.request import Request
from aioconsulconnect.transport.response import Response
from aioconsulconnect.transport.settings.options import NO_OPTIONS, Options

UUID = "17e58b74-7385-177d-294b-3eded8a6c468"
BASE = "/v1/connect/intentions"
EXACT = f"{BASE}/exact?source=web&destination=db"
NOTHING = b'{"db": null}'
WEB = {"SourceName": "web", "DestinationName": "db", "Action": "allow", "Precedence": 9}
PEERED = WEB | {"SourcePeer": "east"}


def matched(*intentions: dict[str, Any], name: str = "db") -> bytes:
    return json.dumps({name: intentions}).encode()


@pytest.fixture
async def intentions(sender: CannedSender) -> AsyncIterator[Intentions]:
    async with polls_of(sender) as polls:
        yield Intentions(sender, polls, NO_OPTIONS)


# Reads.


async def test_list(sender: CannedSender, intentions: Intentions) -> None:
    sender.answers = [json.dumps([WEB]).encode(), b"[]\n"]
    (found,) = await intentions.list()
    assert (found.source_name, found.action) == ("web", "allow")
    stale = Options(datacenter="dc2", consistency="stale", namespace="n", partition="p")
    assert await intentions.list(filter='SourceName == "web"', options=stale) == ()
    assert sender.wire == [
        ("GET", BASE, None),
        ("GET", f"{BASE}?filter=SourceName%20%3D%3D%20%22web%22&dc=dc2&ns=n&partition=p&stale", None),
    ]
    with pytest.raises(InvalidRequest, match="cached"):
        intentions.list(options=Options(cached=True))


async def test_match(sender: CannedSender, intentions: Intentions) -> None:
    sender.answers = [matched(WEB, PEERED), NOTHING, b'{"db": []}', matched(WEB, PEERED, name="web")]
    assert [known.source_peer for known in await intentions.match(destination="db")] == ["", "east"]
    assert await intentions.match(destination="db", options=Options(cached=True)) == ()
    assert await intentions.match(destination="db") == ()
    assert [known.source_peer for known in await intentions.match(source="web")] == [""]  # those of peers are left out
    assert [asked[1] for asked in sender.wire] == [
        f"{BASE}/match?by=destination&name=db",
        f"{BASE}/match?by=destination&name=db&cached",
        f"{BASE}/match?by=destination&name=db",
        f"{BASE}/match?by=source&name=web",
    ]


async def test_match_many(sender: CannedSender, intentions: Intentions) -> None:
    both = json.dumps({"db": [WEB], "x": None}).encode()
    sender.answers = [both, matched(WEB, PEERED, name="web")]
    assert await intentions.match_many(destinations=["x", "db", "x"]) == {"x": (), "db": (only(WEB),)}
    assert await intentions.match_many(sources=("web",)) == {"web": (only(WEB),)}
    assert sender.wire[0][1] == f"{BASE}/match?by=destination&name=x&name=db"


def only(raw: dict[str, Any]) -> Intention:
    return Intention(source_name=raw["SourceName"], destination_name="db", action=raw["Action"], precedence=9)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({}, "either sources or destinations"),
        ({"sources": []}, "at least one"),
        ({"sources": ["a"], "destinations": ["b"]}, "either"),
        ({"sources": "web"}, "sequences of names"),
        ({"destinations": "db"}, "sequences of names"),
        ({"sources": ["web", "a*"]}, "source: "),
    ],
)
async def test_match_many_of_what_makes_no_sense(intentions: Intentions, arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidRequest, match=words):
        intentions.match_many(**arguments)


@pytest.mark.parametrize(("source", "destination"), [("", ""), ("a", "b")])
async def test_match_takes_one_side(intentions: Intentions, source: str, destination: str) -> None:
    with pytest.raises(InvalidRequest, match="either source or destination"):
        intentions.match(source=source, destination=destination)


async def test_watches_tell_items_apart_and_borrow_an_index(intentions: Intentions) -> None:
    one, many = intentions.match(destination="db")._spec, intentions.match_many(destinations=["db"])._spec
    web = only(WEB)
    assert dict(one.items((web,))) == {web.key: web}
    assert dict(many.items({"db": (web,), "x": (web,)})) == {MatchKey("db", web.key): web, MatchKey("x", web.key): web}
    for blocking in (one, many):
        assert blocking.index_from is not None
        assert blocking.index_from.path == BASE


async def test_check(sender: CannedSender, intentions: Intentions) -> None:
    sender.answers = [b'{"Allowed": true}', b'{"Allowed": false}', b"{}"]
    assert await intentions.check("web", "db") is True
    assert await intentions.check("ns/web", "db", options=Options(datacenter="dc2")) is False
    with pytest.raises(UnreadableResponse):
        await intentions.check("web", "db")
    assert sender.wire[1][1] == f"{BASE}/check?source=ns/web&destination=db&dc=dc2"
    with pytest.raises(InvalidRequest, match="consistency"):
        await intentions.check("web", "db", options=Options(consistency="stale"))


async def test_check_is_about_two_services(sender: CannedSender, intentions: Intentions) -> None:
    for source, destination in (("*", "db"), ("web", "*"), ("web", "ns/*"), ("", "db")):
        with pytest.raises(InvalidRequest, match=r"source|destination"):
            await intentions.check(source, destination)
    assert sender.asked == []


async def test_read(sender: CannedSender, intentions: Intentions) -> None:
    sender.answers = [json.dumps(WEB).encode(), json.dumps(PEERED).encode(), (404, b"Intention not found")]
    assert (await intentions.read("web", "db")).source_name == "web"
    assert (await intentions.read("peer:east/web", "db", options=Options(consistency="stale"))).source_peer == "east"
    with pytest.raises(NotFound):
        await intentions.read("web", "db")
    assert [asked[1] for asked in sender.wire[:2]] == [
        EXACT,
        f"{BASE}/exact?source=peer:east/web&destination=db&stale",
    ]


# Writes by name.


async def test_upsert(sender: CannedSender, intentions: Intentions) -> None:
    sender.answers = [NOTHING, b"true\n", NOTHING, b"true"]
    await intentions.upsert("web", "db", action="deny", description="d")
    rule = Permission(action="allow", http=HTTPPermission(path_exact="/"))
    await intentions.upsert("web", "db", permissions=[rule])
    look = ("GET", f"{BASE}/match?by=destination&name=db", None)
    l7 = b'{"Permissions":[{"Action":"allow","HTTP":{"PathExact":"/"}}]}'
    assert sender.wire == [
        look,
        ("PUT", EXACT, b'{"Action":"deny","Description":"d"}'),
        look,
        ("PUT", EXACT, l7),
    ]
    assert [asked.read for asked in sender.asked] == [True, False, True, False]


async def test_delete(sender: CannedSender, intentions: Intentions) -> None:
    sender.answers = [NOTHING, b"true"]
    await intentions.delete("web", "db")
    assert sender.wire[1] == ("DELETE", EXACT, None)


Write = Callable[[Intentions, str, str, Options | None], Awaitable[None]]


WRITES: list[Write] = [
    lambda intentions, source, destination, options: intentions.upsert(
        source, destination, action="allow", options=options
    ),
    lambda intentions, source, destination, options: intentions.delete(source, destination, options=options),
]


@pytest.mark.parametrize("write", WRITES, ids=["upsert", "delete"])
async def test_before_a_write_consul_is_asked_the_truth(sender: CannedSender, write: Write) -> None:
    async with polls_of(sender) as polls:
        defaults = Options(namespace="n", consistency="stale", cached=True, token="t")
        intentions = Intentions(sender, polls, defaults)
        sender.answers = [matched(name="ns1/web"), matched(name="ns2/db"), b"true"]
        await write(intentions, "ns1/web", "ns2/db", Options(partition="p", token="mine", timeout=3))
    _, look, written = sender.asked
    assert sender.wire[0][1] == f"{BASE}/match?by=destination&name=ns1/web&ns=n&partition=p"
    assert sender.wire[1][1] == f"{BASE}/match?by=destination&name=ns2/db&ns=n&partition=p"
    assert sender.wire[2][1] == f"{BASE}/exact?source=ns1/web&destination=ns2/db&ns=n&partition=p"
    assert (look.options.token, look.options.timeout, written.options.token) == ("mine", 3, "mine")


@pytest.mark.parametrize("write", WRITES, ids=["upsert", "delete"])
async def test_a_refused_look_stops_the_write_unless_it_is_a_matter_of_rights(
    sender: CannedSender, intentions: Intentions, write: Write
) -> None:
    sender.answers = [(500, b'Invalid match entry namespace "n": Namespaces is a Consul Enterprise feature')]
    with pytest.raises(Unsupported):
        await write(intentions, "n/web", "db", None)
    assert len(sender.asked) == 1
    sender.answers = [(403, b"Permission denied"), (403, b"Permission denied")]
    with pytest.raises(PermissionDenied):
        await write(intentions, "web", "db", None)
    assert len(sender.asked) == 3


@pytest.mark.parametrize("write", WRITES, ids=["upsert", "delete"])
async def test_a_peers_intention_is_not_taken_for_the_local_one(
    sender: CannedSender, intentions: Intentions, write: Write
) -> None:
    sender.answers = [matched(PEERED)]
    with pytest.raises(Conflict, match="peer's service 'web'"):
        await write(intentions, "web", "db", None)
    assert len(sender.asked) == 1
    sender.answers = [matched(PEERED | {"SourceName": "other"}), b"true"]
    await write(intentions, "web", "db", None)
    sender.answers = [matched(PEERED | {"DestinationName": "*"}), b"true"]
    await write(intentions, "web", "db", None)


@pytest.mark.parametrize("write", WRITES, ids=["upsert", "delete"])
async def test_write_by_name_logs_the_intentions_that_lose_their_ids(
    sender: CannedSender, intentions: Intentions, write: Write, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        legacy = WEB | {"ID": UUID}
        sender.answers = [matched(legacy, WEB | {"SourceName": "new"}, legacy | {"DestinationName": "*"}), b"true"]
        await write(intentions, "web", "DB".lower(), None)
        assert caplog.text == ""
        sender.answers = [matched(legacy, legacy | {"SourceName": "old"}), b"true"]
        await write(intentions, "web", "db", None)
    assert "web => db by name made 1 intentions of the destination lose their ids: old" in caplog.text


REFUSED = [
    (500, b"Intention lookup failed: failed intention lookup: index error: UUID must be 36 characters"),  # 1.8
    (500, b"Sources[0].LegacyMeta must be omitted"),
    (403, b"Permission denied"),
    b"false",
]


@pytest.mark.parametrize("answer", REFUSED, ids=["1.8", "meta", "denied", "false"])
@pytest.mark.parametrize("write", WRITES, ids=["upsert", "delete"])
async def test_write_by_name_that_fails_tells_of_no_lost_ids(
    sender: CannedSender, intentions: Intentions, write: Write, answer: Canned, caplog: pytest.LogCaptureFixture
) -> None:
    both = matched(WEB | {"ID": UUID}, WEB | {"ID": UUID, "SourceName": "old"})
    sender.answers = [both, answer]
    with pytest.raises(ConsulError):
        await write(intentions, "web", "db", None)
    assert caplog.text == ""
    sender.answers = [both, OutcomeUnknown("lost")]
    with pytest.raises(OutcomeUnknown):
        await write(intentions, "web", "db", None)
    assert "web => db by name may have made 1 intentions" in caplog.text


@pytest.mark.parametrize("ended", [asyncio.CancelledError, TimeoutError, KeyboardInterrupt])
@pytest.mark.parametrize("write", WRITES, ids=["upsert", "delete"])
async def test_write_by_name_that_is_cut_short_may_have_taken_the_ids(
    sender: CannedSender,
    intentions: Intentions,
    write: Write,
    ended: type[BaseException],
    caplog: pytest.LogCaptureFixture,
) -> None:
    send = sender.send

    async def cut_short(request: Request[object]) -> Response:
        if not request.read:
            raise ended
        return await send(request)

    sender.answers = [matched(WEB | {"ID": UUID}, WEB | {"ID": UUID, "SourceName": "old"})]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sender, "send", cut_short)
        with pytest.raises(ended):
            await write(intentions, "web", "db", None)
    assert "web => db by name may have made 1 intentions" in caplog.text


async def test_deletion_of_what_is_not_there_takes_no_ids(
    sender: CannedSender, intentions: Intentions, caplog: pytest.LogCaptureFixture
) -> None:
    sender.answers = [matched(WEB | {"ID": UUID, "SourceName": "old"}), b"true"]
    await intentions.delete("web", "db")
    assert caplog.text == ""


@pytest.mark.parametrize(("write", "method"), [(WRITES[0], "PUT"), (WRITES[1], "DELETE")], ids=["upsert", "delete"])
async def test_refusal_for_a_peers_sake_names_the_request(
    sender: CannedSender, intentions: Intentions, write: Write, method: str
) -> None:
    sender.answers = [matched(PEERED)]
    with pytest.raises(Conflict) as caught:
        await write(intentions, "web", "db", None)
    assert caught.value.method == method


async def test_write_that_may_be_applied_twice_says_so(sender: CannedSender, intentions: Intentions) -> None:
    created = json.dumps({"ID": UUID}).encode()
    sender.answers = [NOTHING, b"true", NOTHING, b"true", created, created, b"true"]
    await intentions.upsert("web", "db", action="allow")
    await intentions.delete("web", "db")
    await intentions.create("web", "db", action="allow")
    await intentions.update_by_id(UUID, "web", "db", action="deny")
    await intentions.delete_by_id(UUID)
    writes = [(asked.method, asked.idempotent) for asked in sender.asked if not asked.read]
    assert writes == [("PUT", True), ("DELETE", True), ("POST", False), ("PUT", True), ("DELETE", False)]


@pytest.mark.parametrize("write", WRITES, ids=["upsert", "delete"])
@pytest.mark.parametrize(
    ("sides", "words"),
    [
        (("peer:east/web", "db"), "peer"),
        (("peer:east", "db"), "peer"),
        (("", "db"), "source"),
        (("web", "a/b/c/d"), "destination"),
        (("we*", "db"), "whole name"),
        (("*/web", "db"), "after the namespace"),
    ],
)
async def test_a_name_that_consul_would_take_for_something_else(
    sender: CannedSender, intentions: Intentions, write: Write, sides: tuple[str, str], words: str
) -> None:
    with pytest.raises(InvalidRequest, match=words):
        await write(intentions, *sides, None)
    assert sender.asked == []


@pytest.mark.parametrize("write", WRITES, ids=["upsert", "delete"])
async def test_a_write_has_no_datacenter(sender: CannedSender, intentions: Intentions, write: Write) -> None:
    with pytest.raises(InvalidRequest, match="datacenter"):
        await write(intentions, "web", "db", Options(datacenter="dc2"))
    assert sender.asked == []


@pytest.mark.parametrize("answer", [b"{}", b"", b"<html>", b"truth"])
@pytest.mark.parametrize("write", WRITES, ids=["upsert", "delete"])
async def test_a_write_that_is_not_answered_true_may_have_been_applied(
    sender: CannedSender, intentions: Intentions, write: Write, answer: bytes
) -> None:
    sender.answers = [NOTHING, answer]
    with pytest.raises(OutcomeUnknown, match="answers true"):
        await write(intentions, "web", "db", None)


async def test_a_write_that_is_answered_false_was_not_applied(sender: CannedSender, intentions: Intentions) -> None:
    for write in (*WRITES, lambda group, *_: group.delete_by_id(UUID)):
        sender.answers = [*([NOTHING] if write in WRITES else []), b"false"]
        with pytest.raises(ServerError, match="the answer is false: nothing was written") as caught:
            await write(intentions, "web", "db", None)
        assert (caught.value.status, caught.value.method) == (200, sender.asked[-1].method)


async def test_an_intention_that_consul_refuses_is_refused_before_anything_is_sent(
    sender: CannedSender, intentions: Intentions
) -> None:
    with pytest.raises(InvalidRequest, match="action"):
        await intentions.upsert("web", "db")
    with pytest.raises(InvalidRequest, match="description"):
        await intentions.upsert("web", "db", action="allow", description="x" * 600)
    with pytest.raises(InvalidRequest, match="meta"):
        await intentions.create("web", "db", action="allow", meta={"k": "x" * 600})
    with pytest.raises(InvalidRequest, match="source: an intention with an id"):
        await intentions.create("p/n/web", "db", action="allow")
    with pytest.raises(InvalidRequest, match="destination: Consul takes no service of a peer"):
        await intentions.create("web", "peer:east/db", action="allow")
    with pytest.raises(InvalidRequest, match="no partition"):
        await intentions.create("web", "db", action="allow", options=Options(partition="p"))
    assert sender.asked == []


async def test_a_service_of_a_peer_is_no_name_to_ask_for_but_in_a_read(
    sender: CannedSender, intentions: Intentions
) -> None:
    with pytest.raises(InvalidRequest, match="peer"):
        await intentions.check("peer:east/web", "db")
    with pytest.raises(InvalidRequest, match="peer"):
        intentions.match(source="peer:east/web")
    with pytest.raises(InvalidRequest, match="peer"):
        intentions.match_many(destinations=["peer:east/db"])
    with pytest.raises(InvalidRequest, match="peer"):
        await intentions.read("web", "peer:east/db")
    assert sender.asked == []
    sender.answers = [json.dumps(PEERED).encode()]
    assert (await intentions.read("peer:east/web", "db")).source_peer == "east"


@pytest.mark.parametrize("write", WRITES, ids=["upsert", "delete"])
async def test_rights_on_the_source_alone_hide_no_peer_of_the_destination(
    sender: CannedSender, intentions: Intentions, write: Write
) -> None:
    sender.answers = [(403, b"Permission denied"), matched(PEERED)]
    with pytest.raises(Conflict, match="peer"):
        await write(intentions, "default/web", "db", None)
    assert len(sender.asked) == 2


async def test_by_id_the_namespace_of_the_client_counts_too(sender: CannedSender) -> None:
    answer = json.dumps({"ID": UUID}).encode()
    async with polls_of(sender) as polls:
        intentions = Intentions(sender, polls, Options(namespace="team"))
        sender.answers = [answer]
        await intentions.create("web", "other/db", action="allow")
    method, url, body = sender.wire[0]
    assert (method, url) == ("POST", f"{BASE}?ns=team")
    sent = json.loads(body or b"")
    assert (sent["SourceNS"], sent["DestinationNS"]) == ("team", "other")


# By id.


async def test_by_id(sender: CannedSender, intentions: Intentions) -> None:
    answer = json.dumps({"ID": UUID}).encode()
    sender.answers = [answer, json.dumps(WEB | {"ID": UUID}).encode(), answer, b"true"]
    assert await intentions.create("ns/web", "db", action="allow", meta={"k": "v"}) == UUID
    assert (await intentions.read_by_id(UUID.upper())).id == UUID
    await intentions.update_by_id(UUID, "web", "db", action="deny", description="d")
    await intentions.delete_by_id(UUID)
    created = {
        "SourceNS": "ns", "SourceName": "web", "DestinationName": "db", "SourceType": "consul",
        "Action": "allow", "Meta": {"k": "v"},
    }  # fmt: skip
    updated = {
        "SourceName": "web", "DestinationName": "db", "SourceType": "consul", "Action": "deny", "Description": "d",
    }  # fmt: skip
    assert [(method, path) for method, path, _ in sender.wire] == [
        ("POST", BASE),
        ("GET", f"{BASE}/{UUID}"),
        ("PUT", f"{BASE}/{UUID}"),
        ("DELETE", f"{BASE}/{UUID}"),
    ]
    bodies = [json.loads(body) for _, _, body in sender.wire if body is not None]
    assert bodies == [created, updated]
    assert [asked.read for asked in sender.asked] == [False, True, False, False]


@pytest.mark.parametrize(
    "given", ["", "exact", UUID[:-1], UUID + "\n", f"{UUID}/..", UUID.replace("1", "x"), "../agent"]
)
async def test_an_id_is_a_uuid(sender: CannedSender, intentions: Intentions, given: str) -> None:
    calls: list[Awaitable[object]] = [
        intentions.read_by_id(given),
        intentions.delete_by_id(given),
        intentions.update_by_id(given, "web", "db", action="allow"),
    ]
    for call in calls:
        with pytest.raises(InvalidRequest, match="UUID"):
            await call
    assert sender.asked == []
