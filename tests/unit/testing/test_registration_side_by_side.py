"""Odd registrations, filters and reads are answered by the in-process agent as by a real one of its version."""

import asyncio
import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest
from support.agents import Launcher
from support.callers import REGISTER
from support.scripts import answer

from aioconsulconnect.testing import Agent

CHECK_REGISTER = "/v1/agent/check/register"
WRONG: tuple[Any, ...] = (5, -1, 1.5, 2**63, True, "x", [], ["x"], [5], {}, {"a": 5}, {"a": [5]})
MEMBERS = (
    *("Kind", "ID", "Name", "Tags", "TaggedAddresses", "TaggedAddresses.lan.Port", "Meta", "Port", "Weights.Passing"),
    *("Check", "Check.TTL", "Check.Args", "Check.Header", "Checks", "Checks.0.CheckID", "Checks.0.OutputMaxSize"),
    *("Proxy", "Proxy.Config", "Proxy.Upstreams", "Proxy.Upstreams.0.LocalBindPort", "Proxy.MeshGateway.Mode"),
    *("Proxy.Expose.Paths", "Proxy.Expose.Paths.0.Path", "Connect", "Connect.Native", "Connect.SidecarService.Port"),
    *("Connect.SidecarService.Proxy.Upstreams.0.DestinationName", "Connect.SidecarService.Connect.SidecarService"),
)
TTL = {"TTL": "1h"}
VIRTUAL = re.compile(r"240\.[0-9.]+")  # A real agent gives such an address away later.
BODIES: tuple[dict[str, Any], ...] = (
    *(
        {"Checks": [each]}
        for each in (TTL | {"OutputMaxSize": -1}, {"Args": ["true"]}, {"Interval": "1h"}, {"Notes": "n"})
    ),
    *(
        {"Check": {**TTL, key: True}}
        for key in ("tls_skip_verify", "h2ping_use_tls", "disable_redirects", "tcp_use_tls")
    ),
    *({"Check": {each: "127.0.0.1:1", "Interval": "1h"}} for each in ("GRPC", "TCP", "UDP", "H2PING", "OSService")),
    *({"Check": {"Interval": each, "HTTP": "x"}} for each in ("0s", "-1s")),
    {"Check": {"Interval": [], "HTTP": "x"}},
    {"Connect": {"SidecarService": {}}},
    {"Connect": {"SidecarService": {"Kind": "mesh-gateway"}}},
    {"Connect": {"SidecarService": {"Meta": {"consul-x": "y"}}}},
    {"Connect": {"SidecarService": {"Proxy": {"DestinationServiceName": "q"}}}},
    {"Connect": {"SidecarService": {"Proxy": {"Upstreams": [{}]}}}},
    {"Connect": {"SidecarService": {"Check": {**TTL, "Status": "bad"}}}},
    {"Kind": "mesh-gateway", "Meta": {"consul-wan-federation": "1"}},
    {"Kind": "ingress-gateway", "Meta": {"consul-wan-federation": "1"}},
    {"Kind": "api-gateway"},
    {"Kind": "api-gateway", "Proxy": {"DestinationServiceName": "x"}},
    {"Meta": {}},
    {"Meta": {"a b": ""}},
    {"socket_path": "/x"},
    {"tagged_addresses": {"lan": {"Address": "1.1.1.1", "Port": 1}}, "enable_tag_override": True},
    {"Kind": "connect-proxy", "Proxy": {"DestinationServiceName": "d", "Config": {"a": {"b": None}, "c": 1.0}}},
    {"Kind": "connect-proxy", "Proxy": {"DestinationServiceName": "d", "Config": {"a": [None]}}},
    {"Kind": "connect-proxy", "Proxy": {"DestinationServiceName": "d", "Upstreams": [None]}},
    {"Checks": [None]},
)
READS = (
    *("agent/services", "agent/checks", "catalog/service/w", "health/service/w", "health/checks/w"),
    *(
        "health/connect/w",
        "catalog/connect/d",
        "health/connect/d",
        "catalog/service/w-sidecar-proxy",
        "catalog/services",
    ),
)
FILTERS = (
    *("Foo == 1", "Foo.Bar == 1", "Meta.x.y == 1", "Proxy.Config == 1", "Connect.Native == true", "Definition == 1"),
    *("Port == x", "Port == 99999999999999999999", "Port == 5x", "Port in 5", "EnableTagOverride == 1", "ID is empty"),
    *("ID", "ID ==", "ID == a b", "ID == w-x", "(ID == a", "((ID == a))", "Tags[0] == a", 'Meta["a"] == b', "ID == `x"),
    *(
        "ID matches `(`",
        "ID matches `*`",
        "ID matches `a(?=b)`",
        "not ID == a and Port == 80 or Kind == x",
        'ID == "\\q"',
    ),
    *("ServiceName == w", "ServiceMeta.a == b", "Node.Foo == 1", "Service.Port == 80", "Checks.Status == passing", ""),
)
FILTERED = (
    *(f"agent/{each}" for each in ("services", "checks")),
    "catalog/service/w",
    "health/service/w",
    "catalog/services",
)


def nested(path: str, value: Any) -> dict[str, Any]:
    """An object with this value at a path, which goes through lists by 0."""
    for part in reversed(path.split(".")):
        value = [value] if part == "0" else {part: value}
    return dict(value)


def steps(version: tuple[int, int]) -> Iterator[tuple[str, str, Any]]:
    """Registrations that are refused for a value of the wrong type, or have no name."""
    if version != (1, 10):  # The real one may be built with a Go that words these errors in another way.
        for path in MEMBERS:
            for wrong in WRONG:
                yield "PUT", REGISTER, nested(path, wrong)
        for member in ("ID", "Args", "ScriptArgs", "Header", "TTL", "Namespace", "ProxyHTTP"):
            for wrong in WRONG:
                yield "PUT", CHECK_REGISTER, {member: wrong}
    yield from (("PUT", REGISTER, []), ("PUT", REGISTER, "x"), ("PUT", REGISTER, None))


async def test_registrations_and_filters_are_answered_as_by_a_real_agent(own_agent: Launcher) -> None:
    real = await own_agent(config={"node_name": "box"})
    major, minor = real.version
    async with Agent(f"{major}.{minor}", node_name="box") as agent, aiohttp.ClientSession() as session:  # type: ignore[arg-type]

        async def ask(url: str, method: str, path: str, body: Any = None) -> tuple[object, ...]:
            step = {"method": method, "path": path, "body": json.dumps(body) if method == "PUT" else None}
            try:
                found = await answer(session, url, step)
                return tuple(json.loads(VIRTUAL.sub("240.…", json.dumps(found))))
            except aiohttp.ClientError:
                return ("dropped",)

        async def same(method: str, path: str, body: Any = None, after: Any = "") -> bool:
            tries = 200 if method == "GET" else 1  # a real agent tells the catalog a little later
            ours: object = None
            theirs: object = ()
            for _ in range(tries):
                ours, theirs = [await ask(url, method, path, body) for url in (agent.url, real.url)]
                if ours == theirs:
                    break
                await asyncio.sleep(0.05)
            assert ours == theirs, f"{method} {path} {body} {after}"
            return ours[0] == 200 if isinstance(ours, tuple) else False

        for method, path, body in steps(real.version):
            await same(method, path, body)
        for body in BODIES:
            if await same("PUT", REGISTER, {"Name": "w", "Port": 80, **body}):
                for path in READS:
                    await same("GET", f"/v1/{path}", after=body)
            for url in (agent.url, real.url):
                await ask(url, "PUT", "/v1/agent/service/deregister/w")
        await same("PUT", REGISTER, {"Name": "w", "Port": 80, "Meta": {"a": "b"}, "Check": {"TTL": "1h"}})
        for path in FILTERED:
            for expression in FILTERS:
                await same("GET", f"/v1/{path}?filter={quote(expression)}")


@pytest.mark.parametrize("name", ["consul", "CONSUL"])
async def test_consul_itself_is_in_the_catalog_as_with_a_real_agent(own_agent: Launcher, name: str) -> None:
    real = await own_agent(config={"node_name": "box"})
    major, minor = real.version
    async with Agent(f"{major}.{minor}", node_name="box") as agent, aiohttp.ClientSession() as session:  # type: ignore[arg-type]
        for path in (f"catalog/service/{name}", f"health/service/{name}?passing", f"health/checks/{name}"):
            step = {"method": "GET", "path": f"/v1/{path}", "body": None}
            ours, theirs = "", "?"
            for _ in range(40):  # a real agent tells the catalog of its node a little later
                ours, theirs = [json.dumps(await answer(session, url, step)) for url in (agent.url, real.url)]
                theirs = theirs.replace(str(real.ports.server), "8300")
                if ours == theirs:
                    break
                await asyncio.sleep(0.1)
            assert ours == theirs, path
