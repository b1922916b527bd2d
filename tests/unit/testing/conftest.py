"""What several tests of the in-process agent stand on: agents, and plain clients of them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import aiohttp
import pytest
from support import polling
from support.agents import RealAgent, known
from support.callers import Caller
from support.side_by_side import OLD, running
from support.versions import EACH_VERSION

from aioconsulconnect.testing import Agent, Version


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(20)) as session:
        yield session


@pytest.fixture(params=EACH_VERSION)
async def call(request: pytest.FixtureRequest, session: aiohttp.ClientSession) -> AsyncIterator[Caller]:
    """Sends requests to an agent of each version."""
    async with Agent(request.param, node_name="vm") as agent:
        yield Caller(session, agent)


@pytest.fixture
async def newest(session: aiohttp.ClientSession) -> AsyncIterator[Caller]:
    """Sends requests to an agent of the newest version."""
    async with Agent(node_name="vm") as agent:
        yield Caller(session, agent)


@pytest.fixture(params=EACH_VERSION)
def version(request: pytest.FixtureRequest) -> Version:
    found: Version = request.param
    return found


@pytest.fixture
async def client(version: Version) -> AsyncIterator[polling.Client]:
    """Sees when a query waits, at an agent of each version."""
    async with Agent(version) as agent, polling.session() as opened:
        yield polling.Client(agent, opened)


@pytest.fixture
async def newest_client() -> AsyncIterator[polling.Client]:
    """The same at an agent of the newest version."""
    async with Agent() as agent, polling.session() as opened:
        yield polling.Client(agent, opened)


# Side by side with a real 1.8.


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealAgent]:
    """A real 1.8 of our own: what is listed must be ours."""
    yield from running(RealAgent(known(OLD[0] if OLD else None), tmp_path_factory.mktemp("real")))


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealAgent]:
    """Another one, with ACLs that deny by default."""
    yield from running(RealAgent(known(OLD[0] if OLD else None), tmp_path_factory.mktemp("guarded"), acl=True))
