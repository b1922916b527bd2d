"""One suite for every agent there is: the in-process one in four versions, and each real one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from uuid import uuid4

import pytest
from support.agents import Binary, RealAgent, SharedAgents, binaries, known
from support.agents_under_test import AgentUnderTest, GuardedAgent
from support.versions import EACH_VERSION

from aioconsulconnect.client import Consul
from aioconsulconnect.testing import Agent, Version
from aioconsulconnect.watch.protocol.poll_settings import PollSettings


@pytest.fixture(
    scope="session",
    params=[*EACH_VERSION, *(binaries() or (None,))],
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
async def quick(agent: AgentUnderTest) -> AsyncIterator[Consul]:
    """A client whose watches see many changes in a row without a pause."""
    async with Consul(agent.url, polls=PollSettings(min_interval=0.02)) as client:
        yield client


@pytest.fixture(scope="session")
def which_guarded(which: Version | RealAgent, shared_agents: SharedAgents) -> Version | RealAgent:
    """The same with ACLs."""
    return which if isinstance(which, str) else shared_agents.of(which.made_of, acl=True)


@pytest.fixture
async def guarded(which_guarded: Version | RealAgent) -> AsyncIterator[GuardedAgent]:
    """An agent with ACLs."""
    if isinstance(which_guarded, RealAgent):
        real = which_guarded
        yield GuardedAgent(real.url, real.version, f"real {real.full_version}", real.token)
        return
    async with Agent(version=which_guarded, acl=True) as box:
        major, minor = which_guarded.split(".")
        yield GuardedAgent(box.url, (int(major), int(minor)), f"box {which_guarded}", box.management_token)


@pytest.fixture
def unique() -> str:
    """A prefix for names that no other test uses."""
    return f"t{uuid4().hex[:8]}"
