"""Agents on which Connect is not enabled refuse the same, in the process and real ones."""

from __future__ import annotations

import json
import urllib.request
from urllib.error import HTTPError

import pytest
from support.agents import Launcher
from support.versions import VERSIONS

from aioconsulconnect.testing import Agent

CALLER = {"Target": "web", "ClientCertURI": "spiffe://x.consul/ns/default/dc/dc1/svc/a", "ClientCertSerial": "a"}
REQUESTS: tuple[tuple[str, str, object], ...] = (
    ("GET", "/v1/connect/ca/roots", None),
    ("GET", "/v1/connect/ca/configuration", None),
    ("PUT", "/v1/connect/ca/configuration", {"Provider": "consul", "Config": {}}),
    ("GET", "/v1/agent/connect/ca/roots", None),
    ("GET", "/v1/agent/connect/ca/leaf/web", None),
    ("POST", "/v1/agent/connect/authorize", CALLER),
    ("GET", "/v1/discovery-chain/web", None),
    ("POST", "/v1/connect/intentions", {"SourceName": "a", "DestinationName": "b", "Action": "allow"}),
    ("GET", "/v1/connect/intentions", None),
    ("GET", "/v1/connect/intentions/match?by=source&name=a", None),
    ("GET", "/v1/connect/intentions/check?source=a&destination=b", None),
    ("GET", "/v1/connect/intentions/00000000-0000-0000-0000-000000000000", None),
    ("GET", "/v1/catalog/connect/web", None),
    ("GET", "/v1/health/connect/web", None),
    ("GET", "/v1/config/service-defaults", None),
    ("PUT", "/v1/config", {"Kind": "service-defaults", "Name": "web", "Protocol": "http"}),
)


def answer(url: str, method: str, path: str, body: object) -> tuple[int, bool, str]:
    """The status, whether there is an index, and the words of a refusal."""
    data = json.dumps(body).encode() if body is not None else None
    try:
        with urllib.request.urlopen(urllib.request.Request(url + path, data, method=method), timeout=10) as found:
            return found.status, "X-Consul-Index" in found.headers, ""
    except HTTPError as refused:
        with refused:
            return refused.code, "X-Consul-Index" in refused.headers, refused.read().decode()


async def test_agent_without_connect_refuses_as_a_real_one(own_agent: Launcher) -> None:
    major, minor = own_agent.binary.version
    version = f"{major}.{minor}"
    if version not in VERSIONS:
        pytest.skip(f"the in-process agent does not play {version}")
    real = await own_agent(config={"connect": {"enabled": False}})
    with Agent(version, connect=False) as agent:
        for request in REQUESTS:
            assert answer(agent.url, *request) == answer(real.url, *request), request
