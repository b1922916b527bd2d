"""Plans: what is compared, what is written, and what an import leaves alone."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import pytest
from msgspec.structs import replace
from support.canned import Canned, CannedSender, polls_of

from aioconsulconnect.errors import InvalidRequest
from aioconsulconnect.structs.config_entries.access import ServiceIntentions, SourceIntention
from aioconsulconnect.structs.config_entries.kinds import read_entries
from aioconsulconnect.transport.settings.options import NO_OPTIONS, Options
from aioconsulconnect.watch.poller_pool import PollerPool
from aioconsulconnect.workflows.intentions import Intentions

NO_ACLS = (401, b"ACL support disabled")
SELF_1_16 = b'{"Config": {"Version": "1.16.6+ent", "Datacenter": "dc1"}}'
STORED = [
    {"Kind": "service-intentions", "Name": "db", "Sources": [{"Name": "web", "Action": "allow"}], "ModifyIndex": 7},
    {"Kind": "service-intentions", "Name": "old", "Sources": [{"Name": "web", "Action": "deny"}], "ModifyIndex": 8},
]


@pytest.fixture
async def intentions(sender: CannedSender) -> AsyncIterator[Intentions]:
    async with polls_of(sender) as polls:
        yield Intentions(sender, polls, NO_OPTIONS)


async def test_export_is_a_read_of_all_entries(sender: CannedSender, intentions: Intentions) -> None:
    sender.answers = [json.dumps(STORED).encode()]
    assert [entry.name for entry in await intentions.export(options=Options(datacenter="dc2"))] == ["db", "old"]
    assert sender.wire == [("GET", "/v1/config/service-intentions?dc=dc2", None)]


async def test_a_plan_writes_nothing_and_an_import_takes_nothing_away(
    sender: CannedSender, intentions: Intentions
) -> None:
    new = ServiceIntentions(name="new", sources=(SourceIntention(name="web", action="allow"),))
    sender.answers = [json.dumps(STORED).encode(), NO_ACLS, SELF_1_16]
    plan = await intentions.plan([new])
    assert ([e.name for e in plan.added], [e.name for e in plan.removed]) == (["new"], ["db", "old"])
    assert [asked.method for asked in sender.asked] == ["GET"] * 3
    sender.asked = []
    sender.answers = [json.dumps(STORED).encode(), NO_ACLS, b"true"]
    done = await intentions.import_([new])
    assert ([e.name for e in done.added], done.removed) == (["new"], ())
    assert [(method, path) for method, path, _ in sender.wire] == [
        ("GET", "/v1/config/service-intentions"),
        ("GET", "/v1/acl/token/self"),
        ("PUT", "/v1/config?cas=0"),
    ]


async def test_a_plan_removes_an_entry_where_it_is(sender: CannedSender, polls: PollerPool) -> None:
    stored = b'[{"Kind": "service-intentions", "Name": "db", "Namespace": "ns1", "Partition": "ap1", "ModifyIndex": 4}]'
    sender.answers = [stored, NO_ACLS, SELF_1_16, SELF_1_16, SELF_1_16, b"true"]
    plan = await Intentions(sender, polls, NO_OPTIONS).plan([])
    await plan.apply()
    assert sender.wire[-1][:2] == ("DELETE", "/v1/config/service-intentions/db?cas=4&ns=ns1&partition=ap1")


async def test_plan_is_asked_for_with_the_token_of_its_options(sender: CannedSender, intentions: Intentions) -> None:
    sender.answers = [b"[]", (403, b"Permission denied"), SELF_1_16]
    desired = ServiceIntentions(name="db", sources=(SourceIntention(name="web", action="allow"),))
    await intentions.plan([desired], options=Options(token="mine"))
    assert {asked.options.token for asked in sender.asked} == {"mine"}
    assert len(sender.asked) == 3  # 1.16 marks a list that leaves something out, so this one is whole


@pytest.mark.parametrize(
    ("options", "asked"),
    [
        (Options(consistency="consistent"), "?consistent"),
        (Options(consistency="stale"), "?stale"),
        (Options(datacenter="dc2"), "?dc=dc2"),
    ],
)
async def test_options_of_reads_are_left_out_of_the_writes(
    sender: CannedSender, intentions: Intentions, options: Options, asked: str
) -> None:
    sender.answers = [json.dumps(STORED).encode(), NO_ACLS, *[SELF_1_16] * 2, *[b"true", SELF_1_16] * 2, b"true"]
    new = ServiceIntentions(name="new", sources=(SourceIntention(name="web", action="allow"),))
    plan = await intentions.plan([new], options=replace(options, token="mine", timeout=3))
    assert sender.wire[0][1] == f"/v1/config/service-intentions{asked}"
    await plan.apply()
    writes = [
        (path, sent.options) for sent, (_, path, _) in zip(sender.asked, sender.wire, strict=True) if not sent.read
    ]
    assert [path.partition("?")[2] for path, _ in writes] == ["cas=0", "cas=7", "cas=8"]
    assert {(sent.token, sent.timeout) for _, sent in writes} == {("mine", 3)}


async def test_options_that_the_reads_do_not_take_are_refused(sender: CannedSender, intentions: Intentions) -> None:
    with pytest.raises(InvalidRequest, match="cached"):
        await intentions.plan([], options=Options(cached=True))
    assert sender.asked == []


# Fields that this library does not know.


def newer(name: str, **more: object) -> dict[str, object]:
    source = {"Name": "web", "Action": "allow", **more}
    return {"Kind": "service-intentions", "Name": name, "Sources": [source], "ModifyIndex": 3}


def entries(*data: object) -> tuple[ServiceIntentions, ...]:
    found = read_entries(json.dumps(data).encode(), keep_unknown=True)
    return tuple(each for each in found if isinstance(each, ServiceIntentions))


async def test_plan_with_a_misspelt_field_is_refused_by_the_name_of_the_entry_and_the_field(
    sender: CannedSender, intentions: Intentions
) -> None:
    for call in (intentions.plan, intentions.import_):
        sender.answers = [json.dumps([newer("db")]).encode(), NO_ACLS]
        with pytest.raises(InvalidRequest, match=r"'db': Sources\[0\]\.Descripton is no .* did you mean Description\?"):
            await call(entries(newer("db", Descripton="the shop")))
    assert all(asked.method == "GET" for asked in sender.asked)


async def test_field_that_this_consul_shows_may_be_written(sender: CannedSender, intentions: Intentions) -> None:
    stored = json.dumps([newer("db", Priority=1)]).encode()
    sender.answers = [stored, NO_ACLS, b"true", b"true"]
    plan = await intentions.import_(entries(newer("db", Priority=2), newer("api", Priority=3)))
    assert (len(plan.changed), len(plan.added)) == (1, 1)
    sent = [json.loads(body or b"{}")["Sources"][0]["Priority"] for _, _, body in sender.wire[2:]]
    assert sent == [3, 2]
    sender.answers = [stored, NO_ACLS]
    elsewhere = {**newer("db"), "Priority": 1}
    with pytest.raises(InvalidRequest, match="'db': Priority is no known field"):
        await intentions.plan(entries(elsewhere))
    sender.answers = [b"[]", NO_ACLS]
    assert (await intentions.plan(entries(elsewhere), keep_unknown=True)).added


async def test_export_of_a_newer_consul_plans_nothing(sender: CannedSender, intentions: Intentions) -> None:
    stored = json.dumps([newer("db", Priority=1)]).encode()
    sender.answers = [stored, stored, NO_ACLS]
    assert not await intentions.plan(await intentions.export())


# What Consul would refuse.


async def test_field_that_the_agent_is_too_old_for_is_noted(sender: CannedSender, intentions: Intentions) -> None:
    peered = SourceIntention(name="web", peer="east", action="allow")
    desired = [ServiceIntentions(name="db", sources=(peered,), meta={"Peer": "no field"})]
    old = b'{"Config": {"Version": "1.12.9", "Datacenter": "dc1"}}'
    sender.answers = [b"[]", NO_ACLS, old]
    assert (await intentions.plan(desired)).notes == ("db: Peer needs Consul 1.13, and the agent is 1.12.9",)
    sender.answers = [b"[]", NO_ACLS, SELF_1_16]
    assert (await intentions.plan(desired)).notes == ()


@pytest.mark.parametrize("answer", [(404, b""), (403, b"Permission denied"), (500, b"no such namespace")])
async def test_namespace_is_no_problem_where_consul_takes_one_in_a_read(
    sender: CannedSender, intentions: Intentions, answer: Canned
) -> None:
    source = SourceIntention(name="web", namespace="n", action="allow")
    sender.answers = [b"[]", NO_ACLS, answer, SELF_1_16]
    plan = await intentions.plan([ServiceIntentions(name="db", namespace="m", sources=(source,))])
    assert plan.problems == ()
    assert sender.wire[2][1] == "/v1/config/service-intentions/db?ns=default"


async def test_entry_that_was_made_while_the_plan_was_is_changed_and_not_added(
    sender: CannedSender, intentions: Intentions
) -> None:
    made = json.dumps(newer("db")).encode()
    sender.answers = [b"[]", (403, b"ACL not found"), (403, b"Permission denied"), *[(404, b"")] * 2, b"{}", made]
    deny = ServiceIntentions(name="db", sources=(SourceIntention(name="web", action="deny"),))
    plan = await intentions.plan([deny], prune=False)
    assert ([old.modify_index for old, _ in plan.changed], plan.added) == ([3], ())
