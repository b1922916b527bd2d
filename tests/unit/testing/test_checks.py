"""Checks of the in-process agent: time limits, aliases and dials."""

import asyncio

import pytest
from support.callers import REGISTER, SIDECAR, Caller

# Checks.


async def test_a_time_limit_runs_out(call: Caller) -> None:
    check = {"TTL": "80ms", "Status": "passing"}
    await call("PUT", REGISTER, {"Name": "web", "Port": 80, "Check": check})
    found = await call("GET", "/v1/health/service/web?passing")
    assert [each["Status"] for each in found[0]["Checks"]] == ["passing", "passing"]
    poll = call.blocking("/v1/health/service/web", call.index)
    checks = (await poll)[0]["Checks"]
    assert (checks[1]["Status"], checks[1]["Output"]) == ("critical", "TTL expired")
    assert await call("GET", "/v1/health/service/web?passing") == []


async def test_an_alias_follows_its_service(call: Caller) -> None:
    await call("PUT", REGISTER, {**SIDECAR, "Check": {"TTL": "1h", "CheckID": "c"}})
    checks = await call("GET", "/v1/agent/checks")
    assert checks["service:web-sidecar-proxy:2"]["Output"] == "Aliased check \"Service 'web' check\" failing: "
    await call("PUT", "/v1/agent/check/pass/c?note=fine")
    checks = await call("GET", "/v1/agent/checks")
    assert (checks["c"]["Status"], checks["c"]["Output"]) == ("passing", "fine")
    assert checks["service:web-sidecar-proxy:2"]["Status"] == "passing"
    await call("PUT", "/v1/agent/service/maintenance/web?enable=true&reason=moving")
    checks = await call("GET", "/v1/agent/checks")
    assert checks["_service_maintenance:web"]["Notes"] == "moving"
    assert checks["service:web-sidecar-proxy:2"]["Status"] == "critical"
    await call("PUT", "/v1/agent/service/maintenance/web?enable=false")
    assert (await call("GET", "/v1/agent/checks"))["service:web-sidecar-proxy:2"]["Status"] == "passing"


@pytest.mark.slow
async def test_a_dial_finds_who_listens(call: Caller) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if await reader.read(1):
            writer.write(b"HTTP/1.1 429 Too Many Requests\r\nConnection: close\r\n\r\nlater")
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        checks: list[dict[str, str]] = [
            {"TCP": f"127.0.0.1:{port}", "Interval": "20ms", "CheckID": "tcp"},
            {"HTTP": f"http://127.0.0.1:{port}/x?y=1", "Interval": "20ms", "CheckID": "http"},
            {"TCP": "127.0.0.1:1", "Interval": "20ms", "CheckID": "none"},
        ]
        await call("PUT", REGISTER, {"Name": "web", "Port": 80, "Checks": checks})
        async with asyncio.timeout(5):
            while True:
                found = await call("GET", "/v1/agent/checks")
                if all(check["Output"] for check in found.values()):
                    break
                await asyncio.sleep(0.01)
    assert {key: check["Status"] for key, check in found.items()} == {
        "tcp": "passing",
        "http": "warning",
        "none": "critical",
    }
    assert found["tcp"]["Output"] == f"TCP connect 127.0.0.1:{port}: Success"
    assert found["http"]["Output"].endswith("429 Too Many Requests Output: later")
    assert found["none"]["Output"] == "dial tcp 127.0.0.1:1: connect: connection refused"


async def test_checks_that_dial_run_when_told(newest: Caller) -> None:
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 21000)
    async with server:
        await newest("PUT", REGISTER, SIDECAR)
        assert await newest("GET", "/v1/health/connect/web?passing") == []
        newest.agent.run_checks()
        assert len(await newest("GET", "/v1/health/connect/web?passing")) == 1
    status, output = newest.agent.store.checks["service:web-sidecar-proxy:1"]
    assert (status, output) == ("passing", "TCP connect 127.0.0.1:21000: Success")
    assert newest.agent.store.services["web-sidecar-proxy"]["Port"] == 21000


async def test_a_check_that_nobody_knows(call: Caller) -> None:
    older = call.agent.version in {"1.8.7", "1.10.12"}
    text = await call("PUT", "/v1/agent/check/pass/none", status=500 if older else 404)
    assert text.startswith('CheckID "none" does not' if older else 'Unknown check ID "none".')


# What the agent has, and what it tells the catalog.


async def test_a_long_output_is_cut(call: Caller) -> None:
    await call("PUT", REGISTER, {"Name": "web", "Checks": [{"TTL": "1h"}, {"TTL": "1h", "OutputMaxSize": 3}]})
    for number in (1, 2):
        await call("PUT", f"/v1/agent/check/update/service:web:{number}", {"Status": "passing", "Output": "o" * 5000})
    outputs = [each["Output"] for each in (await call("GET", "/v1/agent/checks")).values()]
    assert outputs == ["o" * 4096 + " ... (captured 4096 of 5000 bytes)", "ooo ... (captured 3 of 5000 bytes)"]


async def test_an_alias_of_a_service_that_is_not_there_is_critical(call: Caller) -> None:
    await call("PUT", REGISTER, {"Name": "web", "Check": {"AliasService": "db"}})
    (found,) = (await call("GET", "/v1/agent/checks")).values()
    assert (found["Status"], found["Output"]) == ("critical", "Service db could not be found on node ")


async def test_the_last_service_takes_the_place_of_one_that_does_not_pass(call: Caller) -> None:
    for name in "abcd":
        check = {"TTL": "1h", "Status": "critical" if name == "b" else "passing"}
        await call("PUT", REGISTER, {"Name": "web", "ID": name, "Check": check})
    found = await call("GET", "/v1/health/service/web?passing")
    assert [each["Service"]["ID"] for each in found] == ["a", "d", "c"]


async def test_a_check_of_a_newly_registered_service_moves_to_it(call: Caller) -> None:
    for name in ("web", "db"):
        await call("PUT", REGISTER, {"Name": name, "Check": {"TTL": "1h", "CheckID": "c"}})
    assert await call("GET", "/v1/health/checks/web") == []
    assert [each["ServiceID"] for each in await call("GET", "/v1/health/checks/db")] == ["db"]


async def test_replacing_checks_ends_maintenance(call: Caller) -> None:
    await call("PUT", REGISTER, {"Name": "web", "Check": {"TTL": "1h"}})
    await call("PUT", "/v1/agent/service/maintenance/web?enable=true")
    await call("PUT", f"{REGISTER}?replace-existing-checks=x", {"Name": "web"})
    assert len(await call("GET", "/v1/agent/checks")) == 2
    await call("PUT", f"{REGISTER}?replace-existing-checks", {"Name": "web"})
    assert await call("GET", "/v1/agent/checks") == {}


async def test_an_odd_sidecar_is_refused_or_kept_from_the_catalog(call: Caller) -> None:
    body = {"Name": "web", "Port": 80, "Check": {"TTL": "1h"}, "Connect": {"SidecarService": {"Kind": "mesh-gateway"}}}
    if call.agent.version in {"1.16.6", "1.22.0"}:
        assert "Port must be non-zero for a mesh-gateway" in await call("PUT", REGISTER, body, status=400)
        return
    await call("PUT", REGISTER, body)
    assert set(await call("GET", "/v1/agent/services")) == {"web", "web-sidecar-proxy"}
    assert set(await call("GET", "/v1/catalog/services")) == {"consul", "web"}
    await call("PUT", "/v1/agent/check/pass/service:web")
    told = {"1.8.7": "critical", "1.10.12": "passing"}[call.agent.version]
    assert [each["Status"] for each in await call("GET", "/v1/health/checks/web")] == [told]
    await call("PUT", "/v1/agent/service/deregister/web-sidecar-proxy")
    assert [each["Status"] for each in await call("GET", "/v1/health/checks/web")] == ["passing"]
