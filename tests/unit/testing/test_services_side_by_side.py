"""Services and rights on them are answered as by a real 1.8."""

import asyncio
import json
from typing import Any

import aiohttp
import pytest
from support.agents import MANAGEMENT, Launcher
from support.callers import REGISTER
from support.scripts import answer, differences

from aioconsulconnect.testing import Agent


async def test_services_are_answered_as_by_a_real_1_8(own_agent: Launcher) -> None:
    if own_agent.binary.version != (1, 8):
        pytest.skip("the script was written for 1.8")
    found = [""]
    for _ in range(3):  # a real agent may miss the change of an alias for a minute: another one is asked then
        if found:
            real = await own_agent()
            async with Agent("1.8", node_name="box") as agent:
                found = await differences("services", agent.url, real.url)
    assert found == []


RULES = (
    "",
    'service "front" { policy = "read" }',
    'service "front" { policy = "read" } node_prefix "" { policy = "read" }',
    'service_prefix "" { policy = "read" } node_prefix "" { policy = "read" }',
    'service "front" { policy = "write" }',
    'service_prefix "front" { policy = "write" } node_prefix "" { policy = "read" }',
    'operator = "write"',
)
READS = (
    *(
        "/v1/agent/services",
        "/v1/agent/checks",
        "/v1/agent/service/f1",
        "/v1/agent/service/none",
        "/v1/catalog/services",
    ),
    *(
        f"/v1/{kind}/{name}"
        for kind in (
            *("catalog/connect", "catalog/service", "catalog/gateway-services", "discovery-chain"),
            *("health/connect", "health/service", "health/ingress", "health/checks"),
        )
        for name in ("front", "nat", "edge", "ghost")
    ),
    "/v1/health/connect/front?index=1&wait=1s",
    *(
        f"/v1/config/{kind}"
        for kind in ("", "service-defaults", "service-resolver", "proxy-defaults", "ingress-gateway")
    ),
    *("/v1/config/service-defaults/front", "/v1/config/service-defaults/ghost", "/v1/config/ingress-gateway/edge"),
)
NATIVE = {"Name": "nat", "Port": 81, "Connect": {"Native": True}, "Check": {"TTL": "1h"}}
LISTENER = {"Port": 1, "Protocol": "http", "Services": [{"Name": "front"}]}
ENTRIES: tuple[dict[str, Any], ...] = (
    {"Kind": "service-defaults", "Name": "front", "Protocol": "http"},
    {"Kind": "service-resolver", "Name": "front", "ConnectTimeout": "3s"},
    {"Kind": "proxy-defaults", "Name": "global"},
    {"Kind": "ingress-gateway", "Name": "edge", "Listeners": [LISTENER]},
    {"Kind": "terminating-gateway", "Name": "exit"},
)
WRITES: tuple[tuple[str, Any], ...] = (
    (REGISTER, {"Name": "front", "ID": "f2", "Port": 85}),
    (REGISTER, {"Name": "front", "ID": "f3", "Port": 86, "Connect": {"SidecarService": {}}}),
    (REGISTER, {"Name": "front-p", "Kind": "connect-proxy", "Port": 1, "Proxy": {"DestinationServiceName": "nat"}}),
    ("/v1/agent/service/maintenance/f1?enable=false", None),
    ("/v1/agent/service/maintenance/none?enable=false", None),
    ("/v1/agent/check/pass/service:nat", None),
    ("/v1/agent/check/pass/none", None),
    ("/v1/agent/service/deregister/f2", None),
    ("/v1/agent/service/deregister/none", None),
    *(("/v1/config", entry) for entry in ENTRIES),
)


async def test_rights_on_services_are_judged_as_by_a_real_1_8(own_agent: Launcher) -> None:
    if own_agent.binary.version != (1, 8):
        pytest.skip("the rights of 1.8 are compared")
    real = await own_agent(acl=True, config={"acl": {"tokens": {"agent": MANAGEMENT}}})
    async with Agent("1.8", acl=True) as agent, aiohttp.ClientSession() as session:
        sides = ((agent.url, agent.management_token), (real.url, real.token))

        async def send(method: str, path: str, body: Any, tokens: tuple[str, str]) -> list[tuple[object, ...]]:
            step = {"method": method, "path": path, "body": None if body is None else json.dumps(body)}
            return [await answer(session, url, step, token) for (url, _), token in zip(sides, tokens, strict=True)]

        managers = (sides[0][1], sides[1][1])
        front = {"Name": "front", "ID": "f1", "Port": 80, "Connect": {"SidecarService": {}}}
        for body in (front, NATIVE, {"Name": "edge", "Port": 82, "Kind": "ingress-gateway"}):
            await send("PUT", REGISTER, body, managers)
        for entry in ENTRIES:
            await send("PUT", "/v1/config", entry, managers)
        await asyncio.sleep(0.2)  # until the real agent has told its catalog
        for number, rules in enumerate(RULES):
            secrets = [await secret(session, *side, f"p{number}", rules) for side in sides]
            tokens = (secrets[0], secrets[1])
            for path in READS:
                ours, theirs = await send("GET", path, None, tokens)
                assert ours == theirs, f"{path} with {rules!r}"
            for path, body in WRITES:
                ours, theirs = await send("PUT", path, body, tokens)
                assert ours == theirs, f"{path} {body} with {rules!r}"
            await send("PUT", "/v1/agent/service/deregister/f3", None, managers)
            await asyncio.sleep(0.1)


async def secret(session: aiohttp.ClientSession, url: str, manager: str, name: str, rules: str) -> str:
    """A new token of these rules."""
    headers = {"X-Consul-Token": manager}
    async with session.put(f"{url}/v1/acl/policy", json={"Name": name, "Rules": rules}, headers=headers) as policy:
        policies = [{"ID": (await policy.json())["ID"]}]
    async with session.put(f"{url}/v1/acl/token", json={"Policies": policies}, headers=headers) as token:
        return str((await token.json())["SecretID"])
