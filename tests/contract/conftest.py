"""One suite for every agent there is: the in-process one in four versions, and each real one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import get_args
from uuid import uuid4

import pytest
from agents import Binary, RealAgent, SharedAgents, binaries, known

from aioconsulconnect.client import Consul
from aioconsulconnect.testing import Agent, Version

BOXES: tuple[Version, ...] = get_args(Version)


@dataclass(frozen=True)
class AgentUnderTest:
    """Where it is, and its version. No test asks for more: `name` is for its messages alone."""

    url: str
    version: tuple[int, int]
    name: str


@pytest.fixture(
    scope="session",
    params=[*BOXES, *(binaries() or (None,))],
    ids=lambda p: f"box-{p}" if isinstance(p, str) else f"real-{p}",
)
def which(request: pytest.FixtureRequest, shared_agents: SharedAgents) -> Version | RealAgent:
    """The version of an in-process agent, or a real one that all share."""
    given: Version | Binary | None = request.param
    return given if isinstance(given, str) else shared_agents.of(known(given))


@pytest.fixture
async def agent(which: Version | RealAgent) -> AsyncIterator[AgentUnderTest]:
    """The agent that this test runs on."""
    if isinstance(which, RealAgent):
        yield AgentUnderTest(which.url, which.version, f"real {which.full_version}")
        return
    async with Agent(version=which) as box:
        major, minor = which.split(".")
        yield AgentUnderTest(box.url, (int(major), int(minor)), f"box {which}")


@pytest.fixture
async def consul(agent: AgentUnderTest) -> AsyncIterator[Consul]:
    """A client of that agent."""
    async with Consul(agent.url) as client:
        yield client


@pytest.fixture
def unique() -> str:
    """A prefix for names that no other test uses."""
    return f"t{uuid4().hex[:8]}"
