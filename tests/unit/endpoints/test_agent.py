"""What the agent group asks of Consul, to the byte."""

from __future__ import annotations

import json
from typing import Any

import pytest
from support.canned import CannedSender

from aioconsulconnect.endpoints.agent import Agent
from aioconsulconnect.errors import BadRequest, InvalidRequest
from aioconsulconnect.structs.agent import Check, Sidecar
from aioconsulconnect.structs.proxy import Proxy, Upstream
from aioconsulconnect.transport.settings.options import NO_OPTIONS, Options
from aioconsulconnect.watch.poller_pool import PollerPool


@pytest.fixture
async def agent(sender: CannedSender, polls: PollerPool) -> Agent:
    return Agent(sender, polls, NO_OPTIONS)


async def test_register_sends_what_is_said_and_no_more(sender: CannedSender, agent: Agent) -> None:
    sender.answers = [b""] * 4
    await agent.register("web")
    await agent.register("web", port=1, native=True, checks=[Check(ttl=30, status="passing")], service_token="secret")
    upstream = Upstream(destination_name="db", local_bind_port=9)
    await agent.register("web", sidecar=Sidecar(proxy=Proxy(upstreams=(upstream,))), replace_existing_checks=True)
    await agent.register("web", sidecar=Sidecar(), options=Options(namespace="ns1"))
    assert [(path, json.loads(body or b"")) for _, path, body in sender.wire] == [
        ("/v1/agent/service/register", {"Name": "web"}),
        (
            "/v1/agent/service/register",
            {
                "Name": "web",
                "Port": 1,
                "Checks": [{"Status": "passing", "TTL": "30s"}],
                "Connect": {"Native": True},
                "Token": "secret",
            },
        ),
        (
            "/v1/agent/service/register?replace-existing-checks=true",
            {
                "Name": "web",
                "Connect": {
                    "SidecarService": {"Proxy": {"Upstreams": [{"DestinationName": "db", "LocalBindPort": 9}]}}
                },
            },
        ),
        ("/v1/agent/service/register?ns=ns1", {"Name": "web", "Connect": {"SidecarService": {}}}),
    ]
    assert all(not request.read for request in sender.asked)


async def test_deregister_maintenance_and_check_calls_send_the_expected_requests(
    sender: CannedSender, agent: Agent
) -> None:
    sender.answers = [b""] * 9
    await agent.deregister("a/b c")
    await agent.maintenance("x", enable=True, reason="moving house")
    await agent.maintenance("x", enable=False)
    await agent.check_pass("x", note="fine")
    await agent.check_warn("x")
    await agent.check_fail("x")
    await agent.check_fail("x", note="down")
    await agent.check_update("x", status="warning", output="slow")
    await agent.deregister_check("a/b c")
    assert [f"{method} {path}" for method, path, _ in sender.wire] == [
        "PUT /v1/agent/service/deregister/a%2Fb%20c",
        "PUT /v1/agent/service/maintenance/x?enable=true&reason=moving%20house",
        "PUT /v1/agent/service/maintenance/x?enable=false",
        "PUT /v1/agent/check/update/x",
        "PUT /v1/agent/check/warn/x",
        "PUT /v1/agent/check/fail/x",
        "PUT /v1/agent/check/update/x",
        "PUT /v1/agent/check/update/x",
        "PUT /v1/agent/check/deregister/a%2Fb%20c",
    ]
    assert [json.loads(body) for _, _, body in sender.wire if body] == [
        {"Status": "passing", "Output": "fine"},
        {"Status": "critical", "Output": "down"},
        {"Status": "warning", "Output": "slow"},
    ]


async def test_id_that_only_the_agent_takes_for_unprintable_is_removed_by_a_check(
    sender: CannedSender, agent: Agent
) -> None:
    sender.answers = [(400, b""), b""]
    await agent.deregister("\U0001fae0")
    assert [path for _, path, _ in sender.wire] == [
        "/v1/agent/service/deregister/%F0%9F%AB%A0",
        "/v1/agent/check/register",
    ]
    sent = json.loads(sender.wire[1][2] or b"")
    assert (sent["ServiceID"], sent["Status"], sent["DeregisterCriticalServiceAfter"]) == (
        "\U0001fae0",
        "critical",
        "1m0s",
    )
    sender.answers = [(400, b"Invalid service ID")]
    with pytest.raises(BadRequest, match="Invalid service ID"):
        await agent.deregister("x")


async def test_a_check_by_itself_is_sent_with_the_keys_of_its_endpoint(sender: CannedSender, agent: Agent) -> None:
    sender.answers = [b""] * 2
    await agent.register_check(Check(name="disk", ttl=30, header={"a": ("b",)}))
    await agent.register_check(
        Check(check_id="db-up", name="up", tcp="db:1", interval=10), service_id="a//b", service_token="secret"
    )
    assert [(path, json.loads(body or b"")) for _, path, body in sender.wire] == [
        ("/v1/agent/check/register", {"Name": "disk", "TTL": "30s", "Header": {"a": ["b"]}}),
        (
            "/v1/agent/check/register",
            {"ID": "db-up", "Name": "up", "TCP": "db:1", "Interval": "10s", "ServiceID": "a//b", "Token": "secret"},
        ),
    ]


async def test_writes_say_which_of_them_may_be_repeated(sender: CannedSender, agent: Agent) -> None:
    sender.answers = [b""] * 7
    await agent.register("web")
    await agent.check_pass("x")
    await agent.check_pass("x", note="n")
    await agent.maintenance("x", enable=True)
    await agent.register_check(Check(name="x", ttl=1))
    await agent.deregister("x")
    await agent.deregister_check("x")
    assert [request.idempotent for request in sender.asked] == [True] * 7
    assert [request.removes for request in sender.asked] == [False] * 5 + [True] * 2


async def test_a_check_that_cannot_be_is_refused(sender: CannedSender, agent: Agent) -> None:
    with pytest.raises(InvalidRequest, match=r"check\.name"):
        await agent.register_check(Check(ttl=1))
    with pytest.raises(InvalidRequest, match="check takes a Check"):
        await agent.register_check("x")  # type: ignore[arg-type]
    with pytest.raises(InvalidRequest, match="alias_node"):
        await agent.register_check(Check(name="x", alias_node="n"))
    with pytest.raises(InvalidRequest, match=r"checks\[0\]: alias_node"):
        await agent.register("web", checks=[Check(alias_node="n")])
    with pytest.raises(InvalidRequest, match="status"):
        await agent.check_update("x", status="fine")  # type: ignore[arg-type]
    assert not sender.asked


async def test_argument_of_another_type_is_refused_by_its_name(sender: CannedSender, agent: Agent) -> None:
    other: Any = 5
    with pytest.raises(InvalidRequest, match="service"):
        agent.leaf(other)
    with pytest.raises(InvalidRequest, match="service_id takes"):
        await agent.deregister(other)
    with pytest.raises(InvalidRequest, match="filter takes text, not 5"):
        await agent.services(filter=other)
    with pytest.raises(InvalidRequest, match="filter takes text, not 5"):
        await agent.checks(filter=other)
    with pytest.raises(InvalidRequest, match="reason takes text, not 5"):
        await agent.maintenance("x", enable=True, reason=other)
    with pytest.raises(InvalidRequest, match="status must be"):
        await agent.check_update("x", status=[other])  # type: ignore[arg-type]
    assert not sender.asked


async def test_authorize_says_where_the_target_is(sender: CannedSender, polls: PollerPool) -> None:
    uri = "spiffe://x.consul/ns/default/dc/dc1/svc/web"
    yes, no = b'{"Authorized": true, "Reason": "r"}', b'{"Authorized": false, "Reason": "r"}'
    sender.answers = [yes, yes, yes, no]
    agent = Agent(sender, polls, NO_OPTIONS)
    assert await agent.authorize("db", uri)
    assert await agent.authorize("ap1/ns1/db", uri, "0a")
    assert (await Agent(sender, polls, Options(namespace="mine", token="t")).authorize("db", uri)).reason == "r"
    assert not await agent.authorize("db", uri)
    assert [json.loads(body or b"") for _, _, body in sender.wire[:3]] == [
        {"Target": "db", "ClientCertURI": uri},
        {
            "Target": "db",
            "ClientCertURI": uri,
            "ClientCertSerial": "0a",
            "Namespace": "ns1",
            "Partition": "ap1",
        },
        {"Target": "db", "ClientCertURI": uri, "Namespace": "mine"},
    ]
    assert all(request.read for request in sender.asked)


async def test_a_service_that_is_not_there(sender: CannedSender, agent: Agent) -> None:
    sender.answers = [(404, b"unknown service ID: x"), (404, b"unknown service ID: x")]
    assert await agent.service("x") is None
    assert (await agent.service("x").reply()).value is None
