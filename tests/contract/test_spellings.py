"""A member that a body spells twice: Go's decoder takes the last value, and fills on in lists of members and maps."""

from __future__ import annotations

from typing import Any

import pytest
from aiohttp import ClientSession
from support.agents_under_test import AgentUnderTest

TTL, NO_TIME = "TTL must be > 0 for TTL checks", "Interval must be > 0 for"


@pytest.mark.parametrize(
    ("check", "refused"),
    [
        ({"Args": ["true"], "args": []}, ""),
        ({"Args": ["true"], "args": None}, ""),
        ({"Args": ["true"], "ScriptArgs": []}, NO_TIME),
        ({"ScriptArgs": ["true"], "Args": []}, NO_TIME),
        ({"ScriptArgs": ["true"], "scriptargs": None}, ""),
        ({"docker_container_id": "x", "DockerContainerID": ""}, TTL),
        ({"HTTP": "http://x", "http": None}, NO_TIME),
        ({"Interval": "10s", "interval": None}, ""),
        ({"TTL": "10s", "ttl": None, "Notes": "n"}, TTL),
    ],
    ids=str,
)
async def test_check_that_is_spelt_twice(
    agent: AgentUnderTest, unique: str, check: dict[str, Any], refused: str
) -> None:
    async with ClientSession(agent.url) as session:
        body = {"Name": unique, "Check": check}
        async with session.put("/v1/agent/service/register", json=body) as answer:
            text = await answer.text()
            assert (answer.status, refused in text) == (400 if refused else 200, True)
        async with session.get("/v1/agent/checks") as answer:
            assert f"service:{unique}" not in await answer.json()
        await session.put(f"/v1/agent/service/deregister/{unique}")


async def test_service_that_is_spelt_twice(agent: AgentUnderTest, unique: str) -> None:
    first = {"Name": unique, "Tags": ["a"], "Meta": {"a": "1", "b": "1"}, "Weights": {"Passing": 2}, "Port": 7}
    second = {"tags": None, "meta": {"b": "2"}, "weights": {"Warning": 3}, "port": None}
    async with ClientSession(agent.url) as session:
        check = {"Check": {"TTL": "1m"}, "check": {"Notes": "both"}}
        async with session.put("/v1/agent/service/register", json=first | second | check) as answer:
            assert answer.status == 200
        async with session.get(f"/v1/agent/service/{unique}") as answer:
            service = await answer.json()
        async with session.get("/v1/agent/checks") as answer:
            made = (await answer.json())[f"service:{unique}"]
        await session.put(f"/v1/agent/service/deregister/{unique}")
    assert (service["Tags"], service["Meta"], service["Port"]) == ([], {"a": "1", "b": "2"}, 7)
    assert service["Weights"] == {"Passing": 2, "Warning": 3}
    assert (made["Type"], made["Notes"]) == ("ttl", "both")
