"""Rights on services: what a token may see and write in the in-process agent."""

import asyncio
from typing import Any

import aiohttp
import pytest
from support.callers import NEWER, REGISTER, SIDECAR, Caller, made
from support.versions import VERSIONS

from aioconsulconnect.testing import Agent, Version

READ_WEB = ' service "web" { policy = "read" }'


@pytest.mark.parametrize("version", VERSIONS)
async def test_token_without_rights_reads_no_service_and_registers_none(
    session: aiohttp.ClientSession, version: Version
) -> None:
    async with Agent(version, acl=True) as agent:
        manager = Caller(session, agent, agent.management_token)
        await manager("PUT", REGISTER, SIDECAR)
        nobody = Caller(session, agent)
        began = asyncio.get_running_loop().time()
        assert await nobody("GET", "/v1/catalog/connect/web?index=1&wait=5s") == []
        assert asyncio.get_running_loop().time() - began < 1, "a denied read of the catalog never waits"
        assert (nobody.headers["X-Consul-Index"], nobody.headers["X-Consul-Knownleader"]) == ("1", "false")
        if version in NEWER:
            assert await nobody("GET", "/v1/health/connect/web", status=403) == "Permission denied"
        else:
            assert await nobody("GET", "/v1/health/connect/web") == []
            assert nobody.headers["X-Consul-Index"] == "1"
        if version != "1.8":
            assert await nobody("GET", "/v1/health/connect/web?cached") == []
            assert nobody.index > 1
        assert await nobody("GET", "/v1/agent/services") == {}
        text = await nobody("PUT", REGISTER, SIDECAR, status=403)
        assert text.startswith("Permission denied: ")
        assert ("Missing service:write on web" in text) == (version in {"1.8", "1.10"})


@pytest.mark.parametrize("version", VERSIONS)
async def test_an_instance_takes_rights_on_its_node_too(session: aiohttp.ClientSession, version: Version) -> None:
    async with Agent(version, acl=True, node_name="vm") as agent:
        await Caller(session, agent, agent.management_token)("PUT", REGISTER, SIDECAR)
        blind = await made(session, agent, 'service_prefix "web" { policy = "read" }')
        seeing = await made(session, agent, 'service_prefix "web" { policy = "read" } node "vm" { policy = "read" }')
        for path in ("/v1/catalog/connect/web", "/v1/health/connect/web", "/v1/health/service/web"):
            assert await blind("GET", path) == []
            assert blind.index > 1
            assert blind.headers.get("X-Consul-Results-Filtered-By-Acls") == ("true" if version in NEWER else None)
            assert len(await seeing("GET", path)) == 1
            assert "X-Consul-Results-Filtered-By-Acls" not in seeing.headers


async def test_a_sidecar_takes_a_right_of_its_own(session: aiohttp.ClientSession) -> None:
    async with Agent(acl=True) as agent:
        alone = await made(session, agent, 'service "web" { policy = "write" }')
        text = await alone("PUT", REGISTER, SIDECAR, status=403)
        assert "lacks permission 'service:write' on \"web-sidecar-proxy\"" in text
        both = await made(session, agent, 'service_prefix "web" { policy = "write" }')
        await both("PUT", REGISTER, SIDECAR)
        proxy = {"Name": "web-p", "Kind": "connect-proxy", "Port": 1, "Proxy": {"DestinationServiceName": "db"}}
        text = await both("PUT", REGISTER, proxy, status=403)
        assert 'on "db"' in text


@pytest.mark.parametrize("version", VERSIONS)
async def test_the_older_agents_hold_a_leaf_for_each_token(session: aiohttp.ClientSession, version: Version) -> None:
    async with Agent(version, acl=True) as agent:
        rules = ('service_prefix "" { policy = "write" }', 'service "web" { policy = "write" }')
        callers = [await made(session, agent, rule) for rule in rules]
        serials: list[str] = []
        for caller in (*callers, *callers):
            leaf = await caller("GET", "/v1/agent/connect/ca/leaf/web")
            serials.append(leaf["SerialNumber"])
        assert serials[:2] == serials[2:]
        assert (serials[0] != serials[1]) == version.startswith(("1.8", "1.10"))


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    "leading",
    [
        {"Kind": "service-resolver", "Redirect": {"Service": "web"}},
        {"Kind": "service-resolver", "Failover": {"*": {"Service": "web"}}},
        {"Kind": "service-splitter", "Splits": [{"Weight": 50, "Service": "web"}, {"Weight": 50}]},
        {"Kind": "service-router", "Routes": [{"Destination": {"Service": "web"}}]},
    ],
)
async def test_config_entry_that_leads_to_a_service_needs_the_right_to_read_it(
    session: aiohttp.ClientSession, version: Version, leading: dict[str, Any]
) -> None:
    async with Agent(version, acl=True) as agent:
        manager = Caller(session, agent, agent.management_token)
        for name in ("a", "web"):
            await manager("PUT", "/v1/config", {"Kind": "service-defaults", "Name": name, "Protocol": "http"})
        own = 'service "a" { policy = "write" }'
        stranger, reader = await made(session, agent, own), await made(session, agent, own + READ_WEB)
        assert "Permission denied" in await stranger("PUT", "/v1/config", {"Name": "a", **leading}, 403)
        await reader("PUT", "/v1/config", {"Name": "a", **leading})


async def test_streaming_is_slow_to_tell_of_an_unknown_token(session: aiohttp.ClientSession) -> None:
    async with Agent(acl=True) as agent:
        stranger = Caller(session, agent, "12345678-0000-0000-0000-000000000000")
        assert await stranger("GET", "/v1/health/connect/web", status=403) == "ACL not found"
        assert await stranger("GET", "/v1/health/connect/web?index=5&wait=100ms") == []
        assert (stranger.headers["X-Consul-Index"], stranger.headers["X-Consul-Knownleader"]) == ("1", "false")
