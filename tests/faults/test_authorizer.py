"""Authorizers whose agent starts anew, or answers nothing: over real sockets, in real time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
from support.versions import VERSIONS

from aioconsulconnect.authorization.authorizer import Authorizer
from aioconsulconnect.authorization.rules.verdict import Reason
from aioconsulconnect.client import Consul
from aioconsulconnect.testing import Agent, Version
from aioconsulconnect.watch.protocol.poll_settings import PollSettings

SHORT = PollSettings(wait=2.0, min_interval=0.02)


@pytest.fixture(params=VERSIONS)
async def own(request: pytest.FixtureRequest) -> AsyncIterator[Agent]:
    version: Version = request.param
    async with Agent(version=version) as agent:
        yield agent


async def until(holds: Callable[[], bool], timeout: float = 10.0) -> None:
    async with asyncio.timeout(timeout):
        while not holds():
            await asyncio.sleep(0.005)


def uri(authorizer: Authorizer) -> str:
    return f"spiffe://{authorizer.status.trust_domain}/ns/default/dc/dc1/svc/web"


async def allow(consul: Consul, agent: Agent) -> None:
    if agent.version.startswith("1.8"):
        await consul.intentions.create("web", "db", action="allow")
    else:
        await consul.intentions.upsert("web", "db", action="allow")


async def test_restart_with_another_trust_domain_heals_by_itself(own: Agent) -> None:
    async with Consul(own.url, polls=SHORT) as consul, consul.authorizer("db") as authorizer:
        await allow(consul, own)
        old = uri(authorizer)
        await until(lambda: authorizer.check(old).reason is Reason.INTENTION)
        await own.restart(keep=False)
        await allow(consul, own)
        await until(lambda: authorizer.check(old).reason is Reason.FOREIGN_TRUST_DOMAIN, 20)
        await until(lambda: authorizer.check(uri(authorizer)).reason is Reason.INTENTION, 20)
        assert own.trust_domain in uri(authorizer)


@pytest.mark.parametrize("fault", ["frozen", "half_open"])
async def test_agent_that_answers_nothing_expires(own: Agent, fault: str) -> None:
    async with Consul(own.url) as consul, consul.authorizer("db", max_age=1.0) as authorizer:
        await allow(consul, own)
        await until(lambda: authorizer.check("web").reason is Reason.INTENTION)
        with getattr(own.faults, fault)():
            await until(lambda: authorizer.check("web").by_age, 5)
        if fault == "frozen":  # a lost request is given up later, which takes its time
            await until(lambda: authorizer.check("web").reason is Reason.INTENTION, 30)


async def test_dead_agent_expires(own: Agent) -> None:
    async with Consul(own.url) as consul, consul.authorizer("db", max_age=1.0) as authorizer:
        await allow(consul, own)
        await until(lambda: authorizer.check("web").reason is Reason.INTENTION)
        await own.stop()
        await until(lambda: authorizer.check("web").by_age, 5)
