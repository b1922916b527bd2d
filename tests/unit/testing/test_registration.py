"""Registering services with the in-process agent: sidecars, ports, checks that it takes and refuses."""

from typing import Any

import aiohttp
import pytest
from support.callers import NEWER, REGISTER, SIDECAR, Caller

from aioconsulconnect.testing import Agent, Version

# Registering.


async def test_a_sidecar_has_what_its_service_has(call: Caller) -> None:
    await call("PUT", REGISTER, SIDECAR)
    services = await call("GET", "/v1/agent/services")
    sidecar = services["web-sidecar-proxy"]
    assert (sidecar["Service"], sidecar["Kind"], sidecar["Port"]) == ("web-sidecar-proxy", "connect-proxy", 21000)
    assert (sidecar["Tags"], sidecar["Meta"]) == (["a"], {"v": "1"})
    assert sidecar["Proxy"]["LocalServicePort"] == 80
    assert sidecar["Proxy"]["DestinationServiceID"] == "web"
    assert "Connect" not in services["web"]
    assert ("Datacenter" in sidecar) == (call.agent.version != "1.8.7")
    checks = await call("GET", "/v1/agent/checks")
    assert {check["Name"]: check["Status"] for check in checks.values()} == {
        "Connect Sidecar Listening": "critical",
        "Connect Sidecar Aliasing web": "passing",
    }


async def test_a_sidecar_keeps_its_port_and_goes_with_its_service(call: Caller) -> None:
    await call("PUT", REGISTER, SIDECAR)
    await call("PUT", REGISTER, {**SIDECAR, "Name": "other"})
    await call("PUT", REGISTER, {**SIDECAR, "Tags": ["b"]})
    services = await call("GET", "/v1/agent/services")
    assert services["web-sidecar-proxy"]["Port"] == 21000
    assert services["other-sidecar-proxy"]["Port"] == 21001
    await call("PUT", REGISTER, {"Name": "web", "Port": 80})
    assert "web-sidecar-proxy" in await call("GET", "/v1/agent/services")
    await call("PUT", "/v1/agent/service/deregister/web")
    assert set(await call("GET", "/v1/agent/services")) == {"other", "other-sidecar-proxy"}


@pytest.mark.slow
async def test_the_ports_of_sidecars_run_out(session: aiohttp.ClientSession) -> None:
    async with Agent() as agent:
        call = Caller(session, agent)
        for number in range(256):
            await call("PUT", REGISTER, {"Name": f"s{number}", "Port": 1, "Connect": {"SidecarService": {}}})
        text = await call("PUT", REGISTER, SIDECAR, status=500)
        assert text.endswith("none left in the configured range [21000, 21255]")


@pytest.mark.parametrize(
    ("version", "words"),
    [
        ("1.8", "Port must be set for a Connect proxy"),
        ("1.10", "Port or SocketPath must be set for a Connect proxy"),
        ("1.16", "Validation failed: 1 error occurred:\n\t* Port or SocketPath must be set for a connect-proxy\n\n"),
        ("1.22", "Validation failed: 1 error occurred:\n\t* Port or SocketPath must be set for a connect-proxy\n\n"),
    ],
)
async def test_a_proxy_needs_a_port(session: aiohttp.ClientSession, version: Version, words: str) -> None:
    async with Agent(version) as agent:
        proxy = {"Name": "p", "Kind": "connect-proxy", "Proxy": {"DestinationServiceName": "web"}}
        assert words in await Caller(session, agent)("PUT", REGISTER, proxy, status=400)


async def test_fields_of_newer_versions_are_unknown(call: Caller) -> None:
    proxy = {"DestinationServiceName": "web", "Mode": "transparent"}
    body = {"Name": "p", "Kind": "connect-proxy", "Port": 1, "Proxy": proxy}
    if call.agent.version == "1.8.7":
        text = await call("PUT", REGISTER, body, status=400)
        assert text == 'Request decode failed: json: unknown field "Mode"'
    else:
        await call("PUT", REGISTER, body)
        service = await call("GET", "/v1/agent/service/p")
        assert service["Proxy"]["Mode"] == "transparent"


async def test_deregistration_of_an_unknown_service_is_accepted_or_404_by_version(call: Caller) -> None:
    if call.agent.version in {"1.8.7", "1.10.12"}:
        await call("PUT", "/v1/agent/service/deregister/none")
    else:
        text = await call("PUT", "/v1/agent/service/deregister/none", status=404)
        assert text.startswith('Unknown service ID "none".')


@pytest.mark.parametrize(("member", "kind"), [("GRPC", "grpc"), ("UDP", "udp"), ("H2PING", "h2ping")])
async def test_a_check_that_is_never_run_stays_critical(newest: Caller, member: str, kind: str) -> None:
    check = {member: "127.0.0.1:1", "Interval": "1h"}
    await newest("PUT", REGISTER, {"Name": "web", "Check": check})
    (found,) = (await newest("GET", "/v1/agent/checks")).values()
    assert (found["Type"], found["Status"], found["Output"]) == (kind, "critical", "")


async def test_a_check_of_a_system_service_is_refused_as_on_linux(newest: Caller) -> None:
    check = {"OSService": "sshd", "Interval": "1h"}
    assert await newest("PUT", REGISTER, {"Name": "web", "Check": check}, status=500) == "not implemented"
    assert await newest("GET", "/v1/agent/services") == {}


async def test_an_alias_of_the_node_passes_and_one_of_another_node_is_not_modelled(call: Caller) -> None:
    node = (await call("GET", "/v1/agent/self"))["Config"]["NodeName"]
    await call("PUT", REGISTER, {"Name": "web", "Check": {"AliasNode": node}})
    (found,) = (await call("GET", "/v1/agent/checks")).values()
    assert (found["Status"], found["Output"]) == ("passing", "All checks passing.")
    assert "AliasNode" in await call("PUT", REGISTER, {"Name": "web", "Check": {"AliasNode": "x"}}, status=501)


SCRIPTS = "Scripts are disabled on this agent from remote calls; to enable, configure 'enable_script_checks' to true"
PATH = {"Path": "/a", "ListenerPort": 1, "LocalPathPort": 2}


@pytest.mark.parametrize("member", ["Args", "ScriptArgs", "args", "script_args"])
async def test_commands_are_no_checks(call: Caller, member: str) -> None:
    check = {member: ["true"], "Interval": "1s"}
    assert await call("PUT", REGISTER, {"Name": "c", "Check": check}, 500) == SCRIPTS
    assert await call("GET", "/v1/agent/services") == {}
    sidecar = {"SidecarService": {"Checks": [check]}}
    assert await call("PUT", REGISTER, {"Name": "c", "Port": 1, "Connect": sidecar}, 500) == SCRIPTS
    said = await call("PUT", REGISTER, {"Name": "c", "Check": {member: ["true"]}}, 400)
    assert "Invalid check: Interval must be > 0 for " in said


@pytest.mark.parametrize(
    "more", [{"ServiceID": "other"}, {"service_id": "other"}, {"DockerContainerID": "x"}, {"docker_container_id": "x"}]
)
async def test_ttl_check_with_a_service_or_container_id_stays_a_ttl_check(call: Caller, more: dict[str, str]) -> None:
    await call("PUT", REGISTER, {"Name": "c", "Check": {"TTL": "10s", **more}})
    checks = await call("GET", "/v1/agent/checks")
    assert {name: (check["ServiceID"], check["Type"]) for name, check in checks.items()} == {"service:c": ("c", "ttl")}


@pytest.mark.parametrize("check", [{"Header": {}}, {"Header": {"a": ["b"]}}, {"DockerContainerID": "x"}])
async def test_a_check_that_nothing_runs_needs_a_time_limit(call: Caller, check: dict[str, Any]) -> None:
    said = await call("PUT", REGISTER, {"Name": "c", "Check": check}, 400)
    assert "Invalid check: TTL must be > 0 for TTL checks" in said


@pytest.mark.parametrize("check", [{"ServiceID": "x"}, {"Args": []}, {"Header": None}, {"Interval": "0s"}])
async def test_a_check_that_says_nothing_is_none(call: Caller, check: dict[str, Any]) -> None:
    await call("PUT", REGISTER, {"Name": "c", "Check": check})
    assert await call("GET", "/v1/agent/checks") == {}


@pytest.mark.parametrize(
    ("paths", "words"),
    [
        ([PATH | {"Path": ""}], ["empty path exposed"]),
        ([PATH | {"ListenerPort": 0}], ["invalid listener port: 0"]),
        ([PATH | {"ListenerPort": 65536}], ["invalid listener port: 65536"]),
        ([PATH, PATH | {"Path": "/b"}], ["duplicate listener ports exposed"]),
        ([{}], ["empty path exposed", "invalid listener port: 0"]),
    ],
)
async def test_an_exposed_path_has_a_name_and_a_port_of_its_own(
    call: Caller, paths: list[dict[str, Any]], words: list[str]
) -> None:
    said = await call("PUT", REGISTER, exposing(paths), 400)
    assert [line for line in said.splitlines() if line.startswith("\t")] == [f"\t* expose.paths: {w}" for w in words]
    assert said.startswith("Validation failed: ") == call.agent.version.startswith(NEWER)


async def test_an_exposed_path_speaks_http(call: Caller) -> None:
    said = await call("PUT", REGISTER, exposing([PATH | {"Protocol": "udp"}]), 400)
    assert "protocol 'udp' not supported for path: /a, must be in: [http http2]" in said
    for fine in ({"Protocol": "HTTP2"}, {"Path": "a"}, {"LocalPathPort": 0}, {"LocalPathPort": 70000}):
        await call("PUT", REGISTER, exposing([PATH | fine]))


def exposing(paths: list[dict[str, Any]]) -> dict[str, Any]:
    proxy = {"DestinationServiceName": "w", "Expose": {"Paths": paths}}
    return {"Name": "c", "Kind": "connect-proxy", "Port": 9, "Proxy": proxy}
