"""Checks that are registered by themselves at the in-process agent, and services that are removed by one."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import aiohttp
import pytest
from hypothesis import given, settings, strategies as st
from support.agents import RealAgent
from support.callers import REGISTER, SIDECAR, Caller, made
from support.side_by_side import COMMON, Command, Side

from aioconsulconnect.testing import Agent
from aioconsulconnect.testing.state import checks

OWN = "/v1/agent/check/register"
GONE = "/v1/agent/check/deregister/"


async def test_check_is_added_to_a_service_and_taken_from_it(call: Caller) -> None:
    await call("PUT", REGISTER, {"Name": "web", "Port": 80})
    await call("GET", "/v1/health/service/web")
    poll = call.blocking("/v1/health/service/web", call.index)
    assert await call("PUT", OWN, {"ID": "up", "Name": "is up", "TTL": "1h", "ServiceID": "web", "Notes": "n"}) == ""
    (found,) = await poll
    assert [(check["CheckID"], check["Name"], check["Status"], check["Notes"]) for check in found["Checks"]][1:] == [
        ("up", "is up", "critical", "n")
    ]
    await call("PUT", "/v1/agent/check/update/up", {"Status": "passing", "Output": "fine"})
    await call("PUT", OWN, {"ID": "up", "Name": "is up", "TTL": "2h", "ServiceID": "web"})
    kept = (await call("GET", "/v1/agent/checks"))["up"]
    assert (kept["Status"], kept["Output"]) == ("passing", "fine")
    assert await call("PUT", GONE + "up") == ""
    assert await call("GET", "/v1/agent/checks") == {}


async def test_check_without_an_id_has_its_name_for_one(call: Caller) -> None:
    await call("PUT", REGISTER, {"Name": "web", "Port": 80})
    await call("PUT", OWN, {"Name": "is up", "TTL": "1h", "service_id": "web", "Status": "passing"})
    assert (await call("GET", "/v1/agent/checks"))["is up"]["Status"] == "passing"


async def test_what_a_check_can_lack(call: Caller) -> None:
    await call("PUT", REGISTER, {"Name": "web", "Port": 80})
    old = call.agent.version in {"1.8.7", "1.10.12"}
    assert await call("PUT", OWN, {"TTL": "1h"}, 400) == "Missing check name"
    assert await call("PUT", OWN, None, 400) == "Request decode failed: EOF"
    assert await call("PUT", OWN, {"Name": "x", "TTL": "1h", "Status": "odd"}, 400) == "Bad check status"
    assert await call("PUT", OWN, {"Name": "x"}, 400) == "Invalid check: TTL must be > 0 for TTL checks"
    unknown = {"Name": "x", "TTL": "1h", "ServiceID": "none"}
    assert await call("PUT", OWN, unknown, 500 if old else 404) == 'ServiceID "none" does not exist'
    text = await call("PUT", OWN, {"Name": "x", "TTL": "1h", "CheckID": "y"}, 400)
    assert text == 'Request decode failed: json: unknown field "CheckID"'
    assert "serfHealth" in await call("PUT", OWN, {"Name": "x", "ID": "serfHealth", "TTL": "1h"}, 501)
    assert "Scripts are disabled" in await call(
        "PUT", OWN, {"Name": "x", "Args": ["true"], "Interval": "1s", "ServiceID": "web"}, 500
    )
    if old:
        assert await call("PUT", GONE + "none") == ""
        assert await call("PUT", GONE, None, 500) == "CheckID missing"
    else:
        assert (await call("PUT", GONE + "none", None, 404)).startswith('Unknown check ID "none".')


async def test_check_needs_the_rights_of_its_service() -> None:
    async with Agent("1.16", acl=True) as agent, aiohttp.ClientSession() as session:
        manager = Caller(session, agent, agent.management_token)
        await manager("PUT", REGISTER, {"Name": "web", "Port": 80})
        reader = await made(session, agent, 'service "web" { policy = "read" }')
        check = {"Name": "up", "TTL": "1h", "ServiceID": "web"}
        await reader("PUT", OWN, check, 403)
        await manager("PUT", OWN, check)
        await reader("PUT", GONE + "up", None, 403)
        assert set(await reader("GET", "/v1/agent/checks")) == {"up"}


async def test_service_goes_whose_check_stays_critical(call: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "SOONEST_REMOVAL", 0.05)
    monkeypatch.setattr(checks, "BETWEEN_LOOKS", 0.01)
    await call("PUT", REGISTER, SIDECAR)
    check = {"Name": "removal", "TTL": "10ms", "Status": "critical", "DeregisterCriticalServiceAfter": "10ms"}
    await call("PUT", OWN, {**check, "ServiceID": "web"})
    async with asyncio.timeout(10):
        while await call("GET", "/v1/agent/services"):
            await call.waiting(0)
    assert await call("GET", "/v1/agent/checks") == {}


async def test_service_stays_whose_check_passes_again(call: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "SOONEST_REMOVAL", 0.2)
    monkeypatch.setattr(checks, "BETWEEN_LOOKS", 0.01)
    lasting = {"TTL": "1h", "DeregisterCriticalServiceAfter": "10ms"}
    await call("PUT", REGISTER, {"Name": "web", "Port": 80, "Check": {**lasting, "CheckID": "c"}})
    await call("PUT", REGISTER, {"Name": "db", "Port": 81, "Check": {**lasting, "CheckID": "d"}})
    await call("PUT", "/v1/agent/check/fail/c")
    await call("PUT", "/v1/agent/check/fail/d")
    await call("PUT", "/v1/agent/check/pass/c")
    async with asyncio.timeout(10):
        while "db" in await call("GET", "/v1/agent/services"):
            await call.waiting(0)
    assert set(await call("GET", "/v1/agent/services")) == {"web"}


async def test_a_check_added_to_a_service_tells_times_of_zero(call: Caller) -> None:
    await call("PUT", REGISTER, {"Name": "web", "Check": {"TTL": "1h"}})
    await call("PUT", "/v1/agent/check/register", {"Name": "c", "ServiceID": "web", "TTL": "1h"})
    found = await call("GET", "/v1/agent/checks")
    shown = [found[key].get("Interval") for key in ("service:web", "c")]
    assert shown == ([None, None] if call.agent.version == "1.8.7" else ["", "0s"])


# Nulls.


@pytest.mark.parametrize(
    ("path", "body", "null"),
    [
        ("/v1/config", {"Kind": "proxy-defaults", "Name": "global", "Config": {"l": [1, None]}}, "Config[l][1]"),
        ("/v1/config", {"Kind": "proxy-defaults", "Name": "global", "Config": {"m": {"n": None}}}, "Config[m].n"),
    ],
)
async def test_null_in_an_open_map_is_not_modelled(call: Caller, path: str, body: dict[str, Any], null: str) -> None:
    assert f"no null in an open map ({null})" in await call("PUT", path, body, 501)
    assert await call("GET", "/v1/config/proxy-defaults") == []


@pytest.mark.parametrize(("config", "since"), [({"a": [None]}, "never"), ({"a": {"b": None}}, "1.16")])
async def test_null_in_the_config_of_a_proxy_ends_reads_of_the_catalog(
    call: Caller, config: dict[str, Any], since: str
) -> None:
    proxy = {"DestinationServiceName": "web", "Config": config}
    await call("PUT", REGISTER, {"Name": "p", "Kind": "connect-proxy", "Port": 1, "Proxy": proxy})
    assert (await call("GET", "/v1/agent/service/p"))["Proxy"]["Config"] == config
    for path in ("/v1/catalog/service/p", "/v1/health/connect/web"):
        if since == "1.16" and call.agent.version in {"1.16.6", "1.22.0"}:
            assert len(await call("GET", path)) == 1
        else:
            with pytest.raises(aiohttp.ServerDisconnectedError):
                await call("GET", path)
        assert await call("GET", f"{path}?tag=none&node-meta=a:b") == []


async def test_null_in_the_arguments_of_an_extension_is_not_modelled(newest: Caller) -> None:
    extension = {"Name": "builtin/lua", "Arguments": {"Script": "x", "l": [None]}}
    body = {"Kind": "service-defaults", "Name": "web", "EnvoyExtensions": [extension]}
    assert "EnvoyExtensions[0].Arguments[l]" in await newest("PUT", "/v1/config", body, 501)


async def test_null_in_a_map_or_list_of_texts_is_an_empty_text(call: Caller) -> None:
    await call("PUT", REGISTER, {"Name": "web", "Port": 80, "Meta": {"a": None}, "Tags": ["a", None]})
    service = (await call("GET", "/v1/agent/services"))["web"]
    assert (service["Meta"], service["Tags"]) == ({"a": ""}, ["a", ""])
    await call("PUT", "/v1/config", {"Kind": "service-defaults", "Name": "web", "Meta": {"a": None}})
    assert (await call("GET", "/v1/config/service-defaults/web"))["Meta"] == {"a": ""}


# The node.


async def test_nodes_are_the_one_that_there_is(call: Caller) -> None:
    (node,) = await call("GET", "/v1/catalog/nodes")
    assert (node["Node"], node["Address"], node["Datacenter"]) == ("vm", "127.0.0.1", "dc1")
    assert call.index == 12
    assert await call("GET", "/v1/catalog/nodes?filter=Node==vm") == [node]
    assert await call("GET", "/v1/catalog/nodes?filter=Node==other") == []
    assert await call("GET", "/v1/catalog/nodes?node-meta=a:b") == []


# Side by side with a real 1.8.

OF_A_CHECK = st.fixed_dictionaries(
    {},
    optional={
        "ID": st.sampled_from(["one", "a/b", ""]),
        "Name": st.sampled_from(["a name", "other", ""]),
        "Status": st.sampled_from(["passing", "critical", "bogus", "", None]),
        "Notes": st.sampled_from(["why", None]),
        "ServiceID": st.sampled_from(["web", "none"]),
        "TTL": st.sampled_from(["1h", "0s", 5_000_000_000_000, None]),
        "Interval": st.sampled_from(["1h", None]),
        "TCP": st.just("127.0.0.1:1"),
        "HTTP": st.just("http://127.0.0.1:1"),
        "Header": st.sampled_from([{}, {"a": ["b"]}, {"a": ["b", None]}, None]),
        "Args": st.sampled_from([["true"], [], None]),
        "AliasService": st.just("web"),
        "Token": st.just("x"),
        "CheckID": st.just("x"),
        "tls_skip_verify": st.booleans(),
        "DeregisterCriticalServiceAfter": st.just("10m"),
    },
)
COMMANDS = st.one_of(
    st.builds(lambda body: Command("PUT", OWN, json.dumps(body)), OF_A_CHECK),
    st.builds(
        lambda body: Command("PUT", OWN, json.dumps({"Name": "n", "TTL": "1h", "ServiceID": "web", **body})), OF_A_CHECK
    ),
    st.builds(lambda name: Command("PUT", GONE + name), st.sampled_from(["one", "a%2Fb", "a%20name", "n", "none", ""])),
    st.builds(
        lambda name, status: Command(
            "PUT", f"/v1/agent/check/update/{name}", json.dumps({"Status": status, "Output": "o"})
        ),
        st.sampled_from(["one", "n", "none"]),
        st.sampled_from(["passing", "warning", "odd"]),
    ),
)


@pytest.fixture
def sides(real: RealAgent) -> Iterator[tuple[Side, Side]]:
    box = Agent("1.8")
    box.start()
    sides = Side(box.url), Side(real.url)
    yield sides
    for side in sides:
        side.connection.close()
    box.stop()


@pytest.mark.slow
@pytest.mark.timeout(600)
@settings(COMMON, max_examples=200)
@given(commands=st.lists(COMMANDS, min_size=1, max_size=6))
def test_many_checks_are_registered_alike(sides: tuple[Side, Side], commands: list[Command]) -> None:
    try:
        for side in sides:
            side.send(Command("PUT", REGISTER, json.dumps({"Name": "web", "Port": 80})))
        for command in commands:
            ours, theirs = (side.send(command) for side in sides)
            if ours.status == 501:  # it says that it does not model this
                sides[1].send(Command("PUT", GONE + "one"))
                return
            assert ours == theirs, command
        assert held(sides[0]) == held(sides[1])
    finally:
        for side in sides:
            for each in json.loads(read(side, "/v1/agent/checks")):
                side.send(Command("PUT", GONE + each.replace("/", "%2F").replace(" ", "%20")))
            side.send(Command("PUT", "/v1/agent/service/deregister/web"))


def read(side: Side, path: str) -> str:
    side.send(Command("GET", path))
    return side.text


def held(side: Side) -> object:
    """The checks of an agent, but for what a dial finds."""
    found: dict[str, dict[str, Any]] = json.loads(read(side, "/v1/agent/checks"))
    for check in found.values():
        del check["Node"]
        if check["Type"] != "ttl":
            del check["Output"], check["Status"]
    return found
