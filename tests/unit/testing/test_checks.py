"""Checks of the in-process agent: time limits, aliases and dials."""

import asyncio

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
