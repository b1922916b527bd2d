"""What agent, health, catalog, config and chains ask of Consul, to the byte, and what they make of odd answers."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from support.canned import CannedSender, polls_of

from aioconsulconnect.endpoints.agent import Agent
from aioconsulconnect.endpoints.catalog import Catalog
from aioconsulconnect.endpoints.config import Config
from aioconsulconnect.endpoints.discovery_chain import DiscoveryChains
from aioconsulconnect.endpoints.health import Health
from aioconsulconnect.endpoints.intentions import Intentions
from aioconsulconnect.errors import Conflict, InvalidRequest, UnreadableResponse, Unsupported
from aioconsulconnect.options import NO_OPTIONS, Options
from aioconsulconnect.polls import Polls, sharing_key
from aioconsulconnect.watch import Query
from aioconsulconnect.wire.agent import Check, Sidecar
from aioconsulconnect.wire.chain import ChainOverrides
from aioconsulconnect.wire.entries_defaults import Mesh, ServiceDefaults
from aioconsulconnect.wire.proxy import Proxy, Upstream

MISSING = (404, b'Config entry not found for "mesh" / "mesh"')
SELF_1_10 = b'{"Config": {"Version": "1.10.12", "Datacenter": "dc1"}}'
SELF_1_16 = b'{"Config": {"Version": "1.16.6+ent", "Datacenter": "dc1"}}'
EVERY = Options(datacenter="dc2", namespace="ns1", partition="ap1", consistency="stale", cached=True)
EVERY_SENT = "dc=dc2&ns=ns1&partition=ap1&stale&cached"


@pytest.fixture
async def sender() -> CannedSender:
    return CannedSender()


@pytest.fixture
async def polls(sender: CannedSender) -> AsyncIterator[Polls]:
    async with polls_of(sender) as polls:
        yield polls


@pytest.fixture
async def agent(sender: CannedSender, polls: Polls) -> Agent:
    return Agent(sender, polls, NO_OPTIONS)


@pytest.fixture
async def config(sender: CannedSender, polls: Polls) -> Config:
    return Config(sender, polls, NO_OPTIONS)


async def test_instances(sender: CannedSender, polls: Polls) -> None:
    health, catalog = Health(sender, polls, NO_OPTIONS), Catalog(sender, polls, NO_OPTIONS)
    sender.answers = [b"[]"] * 6
    await health.connect("web", passing=True, tags=["a b", 'c"'], near="_agent", node_meta={"k": "v"}, peer="east")
    await health.connect("web", tags=["a"], filter="x == y or z", merge_central_config=True, options=EVERY)
    await health.ingress("web", filter="x")
    await health.service("web", passing=True)
    await catalog.connect("web", tags=["a"], near="n", node_meta={"k": "v"})
    await catalog.gateway_services("edge", options=Options(datacenter="dc2"))
    asked = "/v1/health/connect/web"
    both = "%22a%20b%22%20in%20Service.Tags%20and%20%60c%22%60%20in%20Service.Tags"
    joined = "%22a%22%20in%20Service.Tags%20and%20%28x%20%3D%3D%20y%20or%20z%29"
    assert [path for _, path, _ in sender.wire] == [
        f"{asked}?passing&node-meta=k:v&filter={both}&near=_agent&peer=east",
        f"{asked}?filter={joined}&merge-central-config&{EVERY_SENT}",
        "/v1/health/ingress/web?filter=x",
        "/v1/health/service/web?passing",
        "/v1/catalog/connect/web?node-meta=k:v&filter=%22a%22%20in%20ServiceTags&near=n",
        "/v1/catalog/gateway-services/edge?dc=dc2",
    ]
    with pytest.raises(InvalidRequest, match="quotes"):
        health.connect("web", tags=['"`'])


def test_who_answers_a_waiting_call(sender: CannedSender, polls: Polls) -> None:
    health = Health(sender, polls, NO_OPTIONS)
    assert source(health.connect("web")) == "streaming"
    assert source(health.service("web")) == "streaming"
    assert source(health.connect("web", near="_agent")) == "servers"
    assert source(health.ingress("web")) == "servers"
    assert source(Agent(sender, polls, NO_OPTIONS).leaf("web")) == "agent"
    assert source(Agent(sender, polls, NO_OPTIONS).roots()) == "agent"


def source(query: Query[Any, Any]) -> str:
    return query._blocking.source


def queries(sender: CannedSender, polls: Polls) -> list[Query[Any, Any]]:
    """One of each, of groups of their own."""
    agent, config = Agent(sender, polls, NO_OPTIONS), Config(sender, polls, NO_OPTIONS)
    catalog = Catalog(sender, polls, NO_OPTIONS)
    return [
        Health(sender, polls, NO_OPTIONS).connect("a", tags=["x"], peer="p"),
        catalog.connect("a"),
        catalog.gateway_services("a"),
        agent.leaf("a"),
        agent.roots(),
        agent.service("a"),
        config.read("mesh"),
        config.list("mesh"),
        DiscoveryChains(sender, polls, NO_OPTIONS)("a", overrides=ChainOverrides(protocol="http")),
    ]


def test_equal_queries_share_a_poll(sender: CannedSender, polls: Polls) -> None:
    first = [sharing_key(query._request, query._blocking) for query in queries(sender, polls)]
    second = [sharing_key(query._request, query._blocking) for query in queries(sender, polls)]
    assert first == second
    assert len({*first, *second}) == len(first)


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


async def test_what_the_agent_is_told(sender: CannedSender, agent: Agent) -> None:
    sender.answers = [b""] * 6
    await agent.deregister("a/b c")
    await agent.maintenance("x", enable=True, reason="moving house")
    await agent.maintenance("x", enable=False)
    await agent.check_pass("x", note="fine")
    await agent.check_warn("x")
    await agent.check_fail("x")
    assert [f"{method} {path}" for method, path, _ in sender.wire] == [
        "PUT /v1/agent/service/deregister/a%2Fb%20c",
        "PUT /v1/agent/service/maintenance/x?enable=true&reason=moving%20house",
        "PUT /v1/agent/service/maintenance/x?enable=false",
        "PUT /v1/agent/check/pass/x?note=fine",
        "PUT /v1/agent/check/warn/x",
        "PUT /v1/agent/check/fail/x",
    ]


async def test_authorize_says_where_the_target_is(sender: CannedSender, polls: Polls) -> None:
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


async def test_chains(sender: CannedSender, polls: Polls) -> None:
    chains = DiscoveryChains(sender, polls, NO_OPTIONS)
    sender.answers = [b'{"Chain": {"ServiceName": "web"}}'] * 3
    await chains("web", compile_datacenter="dc2", options=EVERY)
    await chains("web", overrides=ChainOverrides(connect_timeout=7))
    assert sender.wire == [
        ("GET", f"/v1/discovery-chain/web?compile-dc=dc2&{EVERY_SENT}", None),
        ("POST", "/v1/discovery-chain/web", b'{"OverrideConnectTimeout":"7s"}'),
    ]
    assert all(request.read for request in sender.asked)


async def test_config_reads(sender: CannedSender, config: Config) -> None:
    sender.answers = [
        b'{"Kind": "mesh"}', MISSING, b'[{"Kind": "mesh"}, {"Kind": "odd", "Name": "o"}]', b'[{"Kind": "mesh"}]',
    ]  # fmt: skip
    assert await config.read("mesh") == Mesh()
    assert await config.read("mesh") is None
    assert [entry.kind for entry in await config.list()] == ["mesh", "odd"]
    await config.list("mesh", options=Options(consistency="consistent"))
    assert [path for _, path, _ in sender.wire] == [
        "/v1/config/mesh/mesh", "/v1/config/mesh/mesh", "/v1/config/", "/v1/config/mesh?consistent",
    ]  # fmt: skip
    with pytest.raises(InvalidRequest, match="cached"):
        config.list("mesh", options=Options(cached=True))


async def test_an_entry_of_another_kind_is_no_answer(sender: CannedSender, config: Config) -> None:
    sender.answers = [b'{"Kind": "mesh"}', b'[{"Kind": "mesh"}]']
    with pytest.raises(UnreadableResponse, match="kind mesh"):
        await config.read("proxy-defaults")
    with pytest.raises(UnreadableResponse, match="kind mesh"):
        await config.list("service-defaults")


async def test_config_writes(sender: CannedSender, config: Config) -> None:
    entry = ServiceDefaults(name="web", protocol="http", modify_index=7, create_index=3, hash=2**63)
    sender.answers = [b"true", b"true\n", b"false", b"false"]
    await config.write(entry)
    await config.write(entry, cas=7, options=Options(partition="ap1"))
    with pytest.raises(Conflict):
        await config.write(entry, cas=0)
    with pytest.raises(Conflict):
        await config.write(entry)
    body = b'{"Kind":"service-defaults","Name":"web","Protocol":"http"}'
    assert [(method, path) for method, path, _ in sender.wire] == [
        ("PUT", "/v1/config"),
        ("PUT", "/v1/config?cas=7&partition=ap1"),
        ("PUT", "/v1/config?cas=0"),
        ("PUT", "/v1/config"),
    ]
    assert all(json.loads(sent or b"") == json.loads(body) for _, _, sent in sender.wire)
    with pytest.raises(InvalidRequest, match="datacenter"):
        await config.write(entry, options=Options(datacenter="dc2"))


async def test_a_checked_deletion_asks_for_the_version_first(sender: CannedSender, config: Config) -> None:
    sender.answers = [SELF_1_16, b"true", SELF_1_16, b"false", SELF_1_10]
    await config.delete("mesh", cas=5)
    with pytest.raises(Conflict):
        await config.delete("mesh", cas=5)
    with pytest.raises(Unsupported, match=r"1\.11, and the agent is 1\.10\.12"):
        await config.delete("mesh", cas=5)
    asked = [path for _, path, _ in sender.wire]
    deletion = ["/v1/agent/self", "/v1/config/mesh/mesh?cas=5"]
    assert asked == [*deletion, *deletion, "/v1/agent/self"]


async def test_an_old_server_behind_a_new_agent_does_not_go_unnoticed(sender: CannedSender, config: Config) -> None:
    sender.answers = [SELF_1_16, b"{}", b"{}", b"[]"]
    with pytest.raises(Unsupported, match="ignored cas, and deleted"):
        await config.delete("mesh", cas=5)
    await config.delete("mesh")
    with pytest.raises(UnreadableResponse):
        await config.delete("mesh")


async def test_a_kind_that_the_server_does_not_know(sender: CannedSender, config: Config) -> None:
    sender.answers = [(500, b"invalid config entry kind: mesh"), (404, b"")]
    with pytest.raises(Unsupported, match=r"needs Consul 1\.10") as caught:
        await config.read("mesh")
    assert caught.value.needs == "1.10"
    with pytest.raises(Unsupported, match="a newer Consul"):
        await config.list("service-defaults")


@pytest.mark.parametrize("answer", [b'[{"Service": {"PeerName": ""}, "Node": {}}]', b'[{"Service": {}, "Node": {}}]'])
async def test_local_instances_for_a_peer_are_no_answer(sender: CannedSender, polls: Polls, answer: bytes) -> None:
    sender.answers = [answer, b'[{"ServiceName": "x"}]']
    with pytest.raises(Unsupported) as caught:
        await Health(sender, polls, NO_OPTIONS).connect("web", peer="east")
    assert caught.value.needs == "1.13"
    with pytest.raises(Unsupported):
        await Catalog(sender, polls, NO_OPTIONS).connect("web", peer="east")


async def test_a_plan_removes_an_entry_where_it_is(sender: CannedSender, polls: Polls) -> None:
    stored = b'[{"Kind": "service-intentions", "Name": "db", "Namespace": "ns1", "Partition": "ap1", "ModifyIndex": 4}]'
    sender.answers = [stored, SELF_1_16, SELF_1_16, b"true"]
    plan = await Intentions(sender, polls, NO_OPTIONS).plan([])
    await plan.apply()
    assert sender.wire[-1][:2] == ("DELETE", "/v1/config/service-intentions/db?cas=4&ns=ns1&partition=ap1")
