"""Plans: what is compared, what is written, and what an import leaves alone."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import pytest
from support.canned import CannedSender, polls_of

from aioconsulconnect.structs.config_entries.access import ServiceIntentions, SourceIntention
from aioconsulconnect.transport.options import NO_OPTIONS, Options
from aioconsulconnect.watch.poller_pool import PollerPool
from aioconsulconnect.workflows.intentions import Intentions

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
    sender.answers = [json.dumps(STORED).encode(), json.dumps(STORED).encode(), b"true"]
    plan = await intentions.plan([new])
    assert ([e.name for e in plan.added], [e.name for e in plan.removed]) == (["new"], ["db", "old"])
    assert [asked.method for asked in sender.asked] == ["GET"]
    done = await intentions.import_([new])
    assert ([e.name for e in done.added], done.removed) == (["new"], ())
    assert [(method, path) for method, path, _ in sender.wire[1:]] == [
        ("GET", "/v1/config/service-intentions"),
        ("PUT", "/v1/config?cas=0"),
    ]


async def test_a_plan_removes_an_entry_where_it_is(sender: CannedSender, polls: PollerPool) -> None:
    stored = b'[{"Kind": "service-intentions", "Name": "db", "Namespace": "ns1", "Partition": "ap1", "ModifyIndex": 4}]'
    sender.answers = [stored, SELF_1_16, SELF_1_16, b"true"]
    plan = await Intentions(sender, polls, NO_OPTIONS).plan([])
    await plan.apply()
    assert sender.wire[-1][:2] == ("DELETE", "/v1/config/service-intentions/db?cas=4&ns=ns1&partition=ap1")
