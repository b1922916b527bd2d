"""Configuration entries of traffic, gateways and the mesh in the in-process agent, and the chains made of them."""

import asyncio
import json
from typing import Any

import aiohttp
import pytest
from support.agents import Launcher
from support.callers import REGISTER, Caller, made
from support.paths import DATA
from support.scripts import differences
from support.versions import VERSIONS

from aioconsulconnect.testing import Agent, Version

CONFIG = "/v1/config"


async def put(call: Caller, kind: str, name: str, status: int = 200, **members: Any) -> Any:
    return await call("PUT", CONFIG, {"Kind": kind, "Name": name, **members}, status=status)


async def chain(call: Caller, name: str, query: str = "", **overrides: Any) -> Any:
    path = f"/v1/discovery-chain/{name}{query}"
    answer = await (call("POST", path, overrides) if overrides else call("GET", path))
    return answer["Chain"]


def targets(chain: Any) -> set[str]:
    return {
        f"{each.get('ServiceSubset', '')}/{each['Service']}/{each['Datacenter']}" for each in chain["Targets"].values()
    }


# Chains.


async def test_a_service_that_nobody_described_has_a_chain(call: Caller) -> None:
    found = await chain(call, "ghost")
    scope = "default" if call.agent.version in {"1.8.7", "1.10.12"} else "default.default"
    assert found["StartNode"] == f"resolver:ghost.{scope}.dc1"
    assert found["Protocol"] == "tcp"
    assert found.get("Default", False) == (scope != "default")
    if scope != "default":
        assert (found["AutoVirtualIPs"], found["ManualVirtualIPs"]) == (None, None)
    sni = f"ghost.default.dc1.internal.{call.agent.trust_domain}"
    assert [target["SNI"] for target in found["Targets"].values()] == [sni]


async def test_a_router_leads_through_a_splitter_to_subsets(call: Caller) -> None:
    for name in ("shop", "till"):
        await put(call, "service-defaults", name, Protocol="http")
    await put(call, "service-resolver", "shop", DefaultSubset="v1", Subsets={"v1": {}, "v2": {"OnlyPassing": True}})
    splits = [{"Weight": 90, "ServiceSubset": "v1"}, {"Weight": 10, "ServiceSubset": "v2"}]
    await put(call, "service-splitter", "shop", Splits=splits)
    route = {"Match": {"HTTP": {"PathPrefix": "/pay", "Methods": ["get"]}}, "Destination": {"Service": "till"}}
    await put(call, "service-router", "shop", Routes=[route])
    found = await chain(call, "shop")
    nodes = found["Nodes"]
    routes = nodes[found["StartNode"]]["Routes"]
    assert routes[0]["Definition"]["Match"]["HTTP"] == {"PathPrefix": "/pay", "Methods": ["GET"]}
    assert nodes[routes[0]["NextNode"]]["Name"].startswith("till.")
    splitter = nodes[routes[1]["NextNode"]]
    assert [split["Weight"] for split in splitter["Splits"]] == [90, 10]
    assert targets(found) == {"/till/dc1", "v1/shop/dc1", "v2/shop/dc1"}


async def test_splitters_that_follow_each_other_are_one(call: Caller) -> None:
    for name in ("a", "b", "s"):
        await put(call, "service-defaults", name, Protocol="http")
    await put(call, "service-splitter", "a", Splits=[{"Weight": 25}, {"Weight": 75, "Service": "b"}])
    await put(
        call, "service-splitter", "s", Splits=[{"Weight": 50.004, "Service": "a"}, {"Weight": 49.996, "Service": "b"}]
    )
    found = await chain(call, "s")
    assert [split["Weight"] for split in found["Nodes"][found["StartNode"]]["Splits"]] == [12.5, 37.5, 50]
    text = await put(call, "service-splitter", "b", status=500, Splits=[{"Weight": 100, "Service": "s"}])
    assert "detected circular reference: [" in text


async def test_redirects_and_failover_are_followed(call: Caller) -> None:
    await put(call, "service-resolver", "old", Redirect={"Service": "new", "Datacenter": "dc2"})
    await put(call, "service-resolver", "new", Failover={"*": {"Datacenters": ["dc3", "dc2"]}}, ConnectTimeout="3s")
    found = await chain(call, "old")
    assert targets(found) == {"/new/dc2", "/new/dc3"}
    node = found["Nodes"][found["StartNode"]]["Resolver"]
    assert node["ConnectTimeout"] == "3s"
    assert len(node["Failover"]["Targets"]) == 1
    assert targets(await chain(call, "new", "?compile-dc=dc2")) == {"/new/dc2", "/new/dc3"}


async def test_the_caller_may_override(call: Caller) -> None:
    await put(call, "service-defaults", "web", Protocol="http")
    await put(call, "service-resolver", "web", Failover={"*": {"Datacenters": ["dc2"]}})
    plain = await chain(call, "web")
    assert "CustomizationHash" not in plain
    found = await chain(
        call,
        "web",
        OverrideProtocol="grpc",
        OverrideConnectTimeout="7s",
        OverrideMeshGateway={"Mode": "remote"},
        Unknown=True,
    )
    assert (found["Protocol"], len(found["CustomizationHash"])) == ("grpc", 8)
    assert found["Nodes"][found["StartNode"]]["Resolver"]["ConnectTimeout"] == "7s"
    modes = {each["Datacenter"]: each["MeshGateway"] for each in found["Targets"].values()}
    assert modes["dc2"] == {"Mode": "remote"}
    assert modes["dc1"] == ({} if call.agent.version in {"1.8.7", "1.10.12"} else {"Mode": "remote"})
    bad = {"OverrideMeshGateway": {"Mode": "nope"}}
    text = await call("POST", "/v1/discovery-chain/web", bad, status=400)
    assert text == "Invalid OverrideMeshGateway.Mode parameter"
    assert "Missing chain name" in await call("GET", "/v1/discovery-chain/", status=400)


async def test_a_chain_wakes_for_its_own_entries_and_on_1_8_for_any(call: Caller) -> None:
    await put(call, "service-defaults", "web", Protocol="http")
    await chain(call, "web")
    poll = call.blocking("/v1/discovery-chain/web", call.index)
    await call.waiting()
    await put(call, "service-defaults", "other", Protocol="http")
    await asyncio.sleep(0.05)
    assert poll.done() == (call.agent.version.startswith("1.8"))
    await put(call, "service-resolver", "web", ConnectTimeout="1s")
    assert (await poll)["Chain"]["Nodes"]


async def test_a_chain_takes_the_right_to_read_the_service(session: aiohttp.ClientSession) -> None:
    async with Agent(acl=True) as agent:
        stranger = Caller(session, agent)
        text = await stranger("GET", "/v1/discovery-chain/web", status=403)
        assert "lacks permission 'service:read' on \"web\"" in text
        assert stranger.headers["X-Consul-Index"] == "1"
        reader = await made(session, agent, 'service "web" { policy = "read" }')
        assert (await chain(reader, "web"))["ServiceName"] == "web"


# What no write may break.


async def test_advanced_routing_takes_http(call: Caller) -> None:
    text = await put(call, "service-router", "web", status=500)
    assert text.endswith('uses a protocol "tcp" that does not permit advanced routing or splitting behavior')
    await put(call, "service-defaults", "web", Protocol="http")
    await put(call, "service-router", "web")
    text = await call("DELETE", f"{CONFIG}/service-defaults/web", status=500)
    assert text.startswith('discovery chain "web" uses a protocol "tcp"')
    await call("DELETE", f"{CONFIG}/service-router/web")
    await call("DELETE", f"{CONFIG}/service-defaults/web")


async def test_one_chain_speaks_one_protocol(call: Caller) -> None:
    await put(call, "service-defaults", "a", Protocol="http")
    text = await put(call, "service-resolver", "b", status=500, Redirect={"Service": "a"})
    assert text == 'discovery chain "b" uses inconsistent protocols; service "a" has "http" which is not "tcp"'


async def test_a_listener_speaks_as_its_service(call: Caller) -> None:
    listener = {"Port": 1, "Protocol": "http", "Services": [{"Name": "web"}]}
    text = await put(call, "ingress-gateway", "edge", status=500, Listeners=[listener])
    assert text == 'service "web" has protocol "tcp", which does not match defined listener protocol "http"'
    await put(call, "service-defaults", "web", Protocol="http")
    await put(call, "ingress-gateway", "edge", Listeners=[listener])
    text = await put(call, "service-defaults", "web", status=500, Protocol="tcp")
    assert text.startswith('service "web" has protocol "tcp"')


# Kinds.


@pytest.mark.parametrize(
    ("kind", "since"), [("mesh", "1.10"), ("exported-services", "1.16"), ("file-system-certificate", "1.22")]
)
async def test_kinds_come_with_their_versions(call: Caller, kind: str, since: Version) -> None:
    version = next(each for each in VERSIONS if call.agent.version.startswith(f"{each}."))
    if VERSIONS.index(version) >= VERSIONS.index(since):
        assert await call("GET", f"{CONFIG}/{kind}") == []
    else:
        assert await call("GET", f"{CONFIG}/{kind}", status=500) == f"invalid config entry kind: {kind}"


async def test_the_mesh_has_no_name(newest: Caller) -> None:
    await newest("PUT", CONFIG, {"Kind": "mesh", "HTTP": {"SanitizeXForwardedClientCert": True}})
    entry = await newest("GET", f"{CONFIG}/mesh/mesh")
    assert "Name" not in entry
    assert entry["TransparentProxy"] == {"MeshDestinationsOnly": False}
    assert entry["HTTP"] == {"SanitizeXForwardedClientCert": True}
    text = await newest("PUT", CONFIG, {"Kind": "mesh", "Name": "mesh"}, status=400)
    assert 'invalid config key "Name"' in text


async def test_a_controller_judges_gateways_after_they_are_written(newest: Caller) -> None:
    listener = {"Name": "l1", "Port": 9090, "Protocol": "http"}
    await put(newest, "api-gateway", "gw", Listeners=[listener])
    gateway = await newest("GET", f"{CONFIG}/api-gateway/gw")
    assert {each["Type"]: each["Status"] for each in gateway["Status"]["Conditions"]} == {
        "Accepted": "True",
        "Conflicted": "False",
        "ResolvedRefs": "True",
    }
    assert gateway["ModifyIndex"] > gateway["CreateIndex"]
    rule = {"Services": [{"Name": "web"}]}
    await put(newest, "http-route", "r", Parents=[{"Kind": "api-gateway", "Name": "gw"}], Rules=[rule])
    route = await newest("GET", f"{CONFIG}/http-route/r")
    assert route["Rules"][0]["Services"][0]["Weight"] == 1
    assert [each["Type"] for each in route["Status"]["Conditions"]] == ["Accepted", "Bound"]
    text = await put(newest, "bound-api-gateway", "gw", status=403)
    assert text == "Permission denied: only writeable by controller"


async def test_enterprise_config_entry_is_refused_by_a_community_server(newest: Caller) -> None:
    text = await put(newest, "sameness-group", "sg", status=500)
    assert text == "sameness-groups are an enterprise-only feature"
    limits = {"InstanceLevel": {"RequestsPerSecond": 1}}
    text = await put(newest, "service-defaults", "web", status=500, RateLimits=limits)
    assert "Rate limiting is a consul enterprise feature" in text
    text = await put(newest, "proxy-defaults", "global", status=500, PrioritizeByLocality={"Mode": "failover"})
    assert text == "Prioritize-by-locality requires Consul Enterprise "


async def test_services_are_exported_to_peers(newest: Caller) -> None:
    services = [
        {"Name": "till", "Consumers": [{"Peer": "east"}]},
        {"Name": "shop", "Consumers": [{"peer_name": "west"}]},
    ]
    await put(newest, "exported-services", "default", Services=services)
    assert await newest("GET", "/v1/exported-services") == [
        {"Service": "shop", "Consumers": {"Peers": ["west"]}},
        {"Service": "till", "Consumers": {"Peers": ["east"]}},
    ]


@pytest.mark.parametrize(
    ("kind", "rules", "may"),
    [
        ("service-resolver", 'service "x" { policy = "write" }', True),
        ("service-resolver", 'service "x" { policy = "read" }', False),
        ("ingress-gateway", 'service "x" { policy = "write" }', False),
        ("ingress-gateway", 'operator = "write"', True),
        ("terminating-gateway", 'mesh = "write"', True),
        ("terminating-gateway", 'mesh = "read" service "x" { policy = "read" }', False),
    ],
)
async def test_a_kind_takes_a_right(session: aiohttp.ClientSession, kind: str, rules: str, *, may: bool) -> None:
    async with Agent(acl=True) as agent:
        caller = await made(session, agent, rules)
        await put(caller, kind, "x", status=200 if may else 403)
        await Caller(session, agent)("GET", f"{CONFIG}/{kind}/x", status=403)


async def test_addresses_go_with_what_needs_them(newest: Caller) -> None:
    await put(newest, "service-resolver", "a", ConnectTimeout="1s")
    await put(newest, "service-resolver", "b", ConnectTimeout="1s")
    assert (await chain(newest, "b"))["AutoVirtualIPs"] == ["240.0.0.2"]
    await newest("DELETE", f"{CONFIG}/service-resolver/a")
    assert (await chain(newest, "a"))["AutoVirtualIPs"] is None
    await newest("PUT", REGISTER, {"Name": "c", "Port": 1, "Connect": {"Native": True}})
    assert (await chain(newest, "c"))["AutoVirtualIPs"] == ["240.0.0.1"]


# What is read may be written.


def recorded_entries() -> list[dict[str, Any]]:
    """The entries that the newest agent took while it was recorded, in order."""
    lines = map(json.loads, (DATA / "recordings" / "consul-1.22-dev.jsonl").read_text().splitlines())
    taken = [
        r["request"]["body"] for r in lines if r["name"].startswith("kinds put") and r["response"]["status"] == 200
    ]
    return [json.loads(body) for body in taken]


async def test_writing_what_was_read_changes_nothing(newest: Caller) -> None:
    entries = recorded_entries()
    for entry in entries:
        await newest("PUT", CONFIG, entry)
    read = [entry for entry in await newest("GET", f"{CONFIG}/") if entry["Kind"] != "bound-api-gateway"]
    assert {entry["Kind"] for entry in read} == {entry.get("Kind", entry.get("kind")) for entry in entries}
    for entry in read:
        assert await newest("PUT", CONFIG, entry) is True
    again = {(entry["Kind"], entry.get("Name")): entry for entry in await newest("GET", f"{CONFIG}/")}
    for entry in read:
        if "Status" not in entry:  # their controller writes it anew
            assert again[entry["Kind"], entry.get("Name")] == entry


async def test_inline_bytes_are_encoded_at_each_writing(newest: Caller) -> None:
    authority = {"TLSCertificates": {"TrustedCA": {"InlineBytes": "pem"}}, "ConnectTimeout": "5s"}
    await put(newest, "jwt-provider", "p", JSONWebKeySet={"Remote": {"URI": "https://x", "JWKSCluster": authority}})
    entry = await newest("GET", f"{CONFIG}/jwt-provider/p")
    cluster = entry["JSONWebKeySet"]["Remote"]["JWKSCluster"]
    assert cluster["ConnectTimeout"] == 5_000_000_000
    assert cluster["TLSCertificates"]["TrustedCA"]["InlineBytes"] == "cGVt"
    await newest("PUT", CONFIG, entry)
    again = await newest("GET", f"{CONFIG}/jwt-provider/p")
    assert again["JSONWebKeySet"]["Remote"]["JWKSCluster"]["TLSCertificates"]["TrustedCA"]["InlineBytes"] == "Y0dWdA=="
    assert again["ModifyIndex"] > entry["ModifyIndex"]


async def test_a_listing_of_defaults_takes_a_filter(call: Caller) -> None:
    await put(call, "service-defaults", "a", Protocol="http")
    await put(call, "service-defaults", "b", Protocol="tcp")
    found = await call("GET", f"{CONFIG}/service-defaults?filter=Protocol==http")
    filters = call.agent.version not in {"1.8.7", "1.10.12"}
    assert [entry["Name"] for entry in found] == (["a"] if filters else ["a", "b"])
    if filters:
        text = await call("GET", f"{CONFIG}/service-resolver?filter=Name==a", status=500)
        assert text == "filtering not supported for config entry kind=service-resolver"


# As a real one.


async def test_entries_and_chains_are_answered_as_by_a_real_1_8(own_agent: Launcher) -> None:
    if own_agent.binary.version != (1, 8):
        pytest.skip("the script was written for 1.8")
    real = await own_agent()
    async with Agent("1.8", node_name="box") as agent:
        assert await differences("entries", agent.url, real.url) == []


async def test_splits_at_whose_headers_consul_ends_are_not_modelled(call: Caller) -> None:
    if call.agent.version.startswith(("1.8", "1.10")):
        pytest.skip("no headers in chains there")
    for name in ("web", "api"):
        await call("PUT", "/v1/config", {"Kind": "service-defaults", "Name": name, "Protocol": "http"})
    entry = {
        "Kind": "service-splitter",
        "Name": "web",
        "Splits": [{"Weight": 100, "RequestHeaders": {"Remove": ["a"]}}],
    }
    await call("PUT", "/v1/config", entry)
    split = {"Weight": 100, "Service": "web", "RequestHeaders": {"Add": {"b": "c"}}}
    text = await call("PUT", "/v1/config", {**entry, "Name": "api", "Splits": [split]}, 501)
    assert "Consul ends" in text
    await call("GET", "/v1/config/service-splitter/api", status=404)
