"""The catalog and health of the in-process agent: what wakes their readers and what they show."""

import asyncio

import aiohttp
import pytest
from support.callers import REGISTER, SIDECAR, Caller
from support.versions import VERSIONS

from aioconsulconnect.testing import Agent, Version

# Waiting.


async def test_a_hash_waits_for_a_change(call: Caller) -> None:
    await call("PUT", REGISTER, SIDECAR)
    content = (await call("GET", "/v1/agent/service/web"))["ContentHash"]
    assert call.headers["X-Consul-Contenthash"] == content
    poll = asyncio.create_task(
        Caller(call.session, call.agent)("GET", f"/v1/agent/service/web?hash={content}&wait=10s")
    )
    await call.waiting()
    await call("PUT", REGISTER, SIDECAR)
    await asyncio.sleep(0.05)
    assert not poll.done(), "the same registration woke it"
    await call("PUT", REGISTER, {**SIDECAR, "Tags": ["b"]})
    service = await poll
    assert service["Tags"] == ["b"]
    assert service["ContentHash"] != content


async def test_a_hash_of_what_goes_ends_with_404(call: Caller) -> None:
    await call("PUT", REGISTER, SIDECAR)
    content = (await call("GET", "/v1/agent/service/web"))["ContentHash"]
    path = f"/v1/agent/service/web?hash={content}&wait=10s"
    poll = asyncio.create_task(Caller(call.session, call.agent)("GET", path, status=404))
    await call.waiting()
    await call("PUT", "/v1/agent/service/deregister/web")
    assert await poll == "unknown service ID: web"


async def test_health_of_the_mesh_wakes_for_its_own(call: Caller) -> None:
    await call("PUT", REGISTER, {"Name": "web", "Port": 80, "Connect": {"Native": True}, "Check": {"TTL": "1h"}})
    await call("GET", "/v1/health/connect/web")
    index = call.index
    poll = call.blocking("/v1/health/connect/web", index)
    await call.waiting()
    await call("PUT", REGISTER, {"Name": "other", "Port": 81})
    await asyncio.sleep(0.05)
    assert not poll.done(), "another service woke it"
    await call("PUT", "/v1/agent/check/pass/service:web")
    assert (await poll)[0]["Checks"][1]["Status"] == "passing"
    await call("GET", "/v1/health/connect/web")
    assert call.index > index


async def test_an_absent_service_is_woken_by_others_unless_it_is_streamed(call: Caller) -> None:
    await call("GET", "/v1/health/service/ghost")
    poll = call.blocking("/v1/health/service/ghost", call.index, wait="300ms")
    await call.waiting()
    began = asyncio.get_running_loop().time()
    await call("PUT", REGISTER, {"Name": "other", "Port": 81})
    assert await poll == []
    woken = asyncio.get_running_loop().time() - began < 0.2
    assert woken == (call.agent.version == "1.8.7")


async def test_streaming_says_that_it_knows_no_leader(call: Caller) -> None:
    await call("PUT", REGISTER, SIDECAR)
    await call("GET", "/v1/health/connect/web")
    assert call.headers["X-Consul-Knownleader"] == "true"
    await call("GET", f"/v1/health/connect/web?index={call.index - 1}&wait=1s")
    streams = call.agent.version != "1.8.7"
    assert call.headers["X-Consul-Knownleader"] == str(not streams).lower()
    assert call.headers.get("X-Consul-Query-Backend") == ("streaming" if streams else None)
    await call("GET", "/v1/health/connect/web?cached")
    assert call.headers["X-Cache"] == "MISS"
    await call("GET", "/v1/health/connect/web?cached")
    assert call.headers["X-Cache"] == "HIT"


async def test_the_index_of_what_vanished_stands(call: Caller) -> None:
    await call("PUT", REGISTER, {"Name": "web", "Port": 80})
    await call("PUT", "/v1/agent/service/deregister/web")
    await call("GET", "/v1/catalog/service/web")
    gone = call.index
    await call("PUT", REGISTER, {"Name": "other", "Port": 81})
    await call("GET", "/v1/catalog/service/web")
    assert call.index == gone


# Reading.


async def test_service_instances_that_match_no_tag_or_filter_are_left_out(call: Caller) -> None:
    await call("PUT", REGISTER, {"Name": "web", "ID": "w1", "Port": 80, "Tags": ["A", "b"]})
    await call("PUT", REGISTER, {"Name": "web", "ID": "w2", "Port": 81, "Meta": {"v": "2"}})
    for query, ids in (
        ("tag=a", ["w1"]),
        ("tag=a&tag=c", []),
        ("filter=Service.Meta.v==2", ["w2"]),
        ("filter=Service.Port!=80", ["w2"]),
        ("filter=A+in+Service.Tags", ["w1"]),
        ("filter=Service.Tags+is+empty", ["w2"]),
        ("filter=Checks.Status==passing", ["w1", "w2"]),
        ("node-meta=a:b", []),
        ("near=_agent", ["w1", "w2"]),
    ):
        found = await call("GET", f"/v1/health/service/web?{query}")
        assert [each["Service"]["ID"] for each in found] == ids, query
    found = await call("GET", "/v1/catalog/service/web?filter=ServiceMeta.v==2")
    assert [each["ServiceID"] for each in found] == ["w2"]
    assert await call("GET", "/v1/catalog/services") == {"consul": [], "web": ["A", "b"]}
    text = await call("GET", "/v1/health/service/web?filter=Nope==2", status=500)
    assert text == 'Failed to create boolean expression evaluator: Selector "Nope" is not valid'


async def test_the_mesh_has_addresses_of_its_own(session: aiohttp.ClientSession) -> None:
    async with Agent() as agent:
        call = Caller(session, agent)
        await call("PUT", REGISTER, {"Name": "web", "Port": 80, "Connect": {"Native": True}})
        await call("PUT", REGISTER, {"Name": "db", "Port": 81, "Connect": {"SidecarService": {}}})

        async def address(name: str) -> str:
            found = await call("GET", f"/v1/catalog/connect/{name}")
            return str(found[0]["ServiceTaggedAddresses"]["consul-virtual"]["Address"])

        assert [await address("web"), await address("db")] == ["240.0.0.1", "240.0.0.2"]
        await call("PUT", "/v1/agent/service/deregister/web")
        await call("PUT", REGISTER, {"Name": "api", "Port": 82, "Connect": {"Native": True}})
        assert await address("api") == "240.0.0.1"


@pytest.mark.parametrize("version", VERSIONS)
async def test_the_central_configuration_is_merged_in(session: aiohttp.ClientSession, version: Version) -> None:
    async with Agent(version) as agent:
        call = Caller(session, agent)
        upstreams = [{"DestinationName": "db", "LocalBindPort": 9000}]
        sidecar = {"SidecarService": {"Proxy": {"Config": {"a": 1}, "Upstreams": upstreams}}}
        await call("PUT", REGISTER, {"Name": "web", "Port": 80, "Connect": sidecar})
        before = (await call("GET", "/v1/agent/service/web-sidecar-proxy"))["ContentHash"]
        defaults = {"Config": {"protocol": "http", "a": 2}, "MeshGateway": {"Mode": "local"}}
        await call("PUT", "/v1/config", {"Kind": "proxy-defaults", "Name": "global", **defaults})
        await call("PUT", "/v1/config", {"Kind": "service-defaults", "Name": "db", "Protocol": "grpc"})
        service = await call("GET", "/v1/agent/service/web-sidecar-proxy")
        proxy = service["Proxy"]
        if version == "1.8":
            assert service["ContentHash"] == before
            return
        assert proxy["Config"] == {"a": 1, "protocol": "http"}
        assert proxy["MeshGateway"] == {"Mode": "local"}
        assert proxy["Upstreams"][0]["Config"] == {"protocol": "grpc"}
        assert proxy["Upstreams"][0]["MeshGateway"] == {"Mode": "local"}
        healthy = await call("GET", "/v1/health/connect/web")
        assert healthy[0]["Service"]["Proxy"]["Config"] == proxy["Config"]


async def test_a_gateway_without_services_has_the_index_of_gateways_alone(call: Caller) -> None:
    for write in (REGISTER, {"Name": "web"}), ("/v1/config", {"Kind": "service-defaults", "Name": "web"}):
        await call("PUT", *write)
        await call("GET", "/v1/catalog/gateway-services/nobody")
        assert call.index == 1
    await call("PUT", "/v1/config", {"Kind": "terminating-gateway", "Name": "exit", "Services": [{"Name": "*"}]})
    await call("GET", "/v1/catalog/gateway-services/nobody")
    before = call.index
    poll = call.blocking("/v1/catalog/gateway-services/exit", before)
    await call.waiting()
    await call("PUT", REGISTER, {"Name": "bill", "Port": 1})
    assert {row["Service"]["Name"] for row in await poll} == {"web", "bill"}


async def test_gateways_lead_to_services(call: Caller) -> None:
    await call("PUT", "/v1/config", {"Kind": "service-defaults", "Name": "web", "Protocol": "http"})
    listener = {"Port": 8080, "Protocol": "http", "Services": [{"Name": "web"}]}
    await call("PUT", "/v1/config", {"Kind": "ingress-gateway", "Name": "edge", "Listeners": [listener]})
    assert await call("GET", "/v1/health/ingress/other") == []
    assert call.index == 1
    (entry,) = await call("GET", "/v1/config/ingress-gateway")
    assert await call("GET", "/v1/health/ingress/web") == []
    assert call.index == entry["ModifyIndex"]
    await call("PUT", REGISTER, {"Name": "edge", "Kind": "ingress-gateway", "Port": 8080})
    found = await call("GET", "/v1/health/ingress/web")
    assert [each["Service"]["ID"] for each in found] == ["edge"]
    assert call.index > entry["ModifyIndex"]
    rows = await call("GET", "/v1/catalog/gateway-services/edge")
    assert [(row["Service"]["Name"], row["Port"]) for row in rows] == [("web", 8080)]
    services = [{"Name": "bill", "SNI": "x"}, {"Name": "*"}]
    await call("PUT", "/v1/config", {"Kind": "terminating-gateway", "Name": "exit", "Services": services})
    await call("PUT", REGISTER, {"Name": "plain", "Port": 1})
    rows = await call("GET", "/v1/catalog/gateway-services/exit")
    assert [(row["Service"]["Name"], row.get("FromWildcard", False)) for row in rows] == [
        ("bill", False),
        ("plain", True),
    ]
