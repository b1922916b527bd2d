"""Authorizers on every agent: they decide as the agent does, and what they do not know they deny."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import AsyncIterator, Callable

import pytest
from aiohttp import ClientSession
from support.agents_under_test import AgentUnderTest, GuardedAgent

from aioconsulconnect.authorization.authorizer import Authorizer
from aioconsulconnect.authorization.rules.request import HTTPRequest
from aioconsulconnect.authorization.rules.verdict import Reason
from aioconsulconnect.client import Consul
from aioconsulconnect.structs.config_entries.defaults import ServiceDefaults
from aioconsulconnect.structs.intentions import Action, HTTPPermission, Permission
from aioconsulconnect.watch.protocol.poll_settings import PollSettings

SHORT = PollSettings(wait=2.0, min_interval=0.02)


@pytest.fixture(autouse=True)
async def _clean(agent: AgentUnderTest, unique: str) -> AsyncIterator[None]:
    """Afterwards no intention or config entry of this test is left."""
    yield
    async with Consul(agent.url) as consul:
        await _remove(consul, unique)


async def _remove(consul: Consul, unique: str) -> None:
    for known in await consul.intentions.list():
        if known.source_name.startswith(unique) or known.destination_name.startswith(unique):
            if known.id:
                await consul.intentions.delete_by_id(known.id)
            else:
                await consul.intentions.delete(known.source_name, known.destination_name)
    for entry in await consul.config.list("service-defaults"):
        if entry.name.startswith(unique):
            await consul.config.delete("service-defaults", entry.name)


async def put(consul: Consul, agent: AgentUnderTest, source: str, destination: str, action: Action = "allow") -> None:
    if agent.version < (1, 9):
        await consul.intentions.create(source, destination, action=action)
    else:
        await consul.intentions.upsert(source, destination, action=action)


async def until(holds: Callable[[], bool], timeout: float = 10.0) -> None:
    async with asyncio.timeout(timeout):
        while not holds():
            await asyncio.sleep(0.005)


def uri(authorizer: Authorizer, name: str) -> str:
    return f"spiffe://{authorizer.status.trust_domain}/ns/default/dc/dc1/svc/{name}"


async def test_decisions_agree_with_authorize_and_check(consul: Consul, agent: AgentUnderTest, unique: str) -> None:
    chance = random.Random(12)
    sources = [f"{unique}{name}" for name in ("web", "api", "job", "other")]
    destinations = [f"{unique}{name}" for name in ("db", "cache", "queue")]
    for source, destination in itertools.product([*sources[:3], "*"], destinations):
        if chance.random() < 0.5:
            await put(consul, agent, source, destination, chance.choice(["allow", "deny"]))
    async with consul.authorizer(*destinations) as several, consul.authorizer() as every:
        for source, destination in itertools.product(sources, destinations):
            async with consul.authorizer(destination) as one:
                told = await consul.agent.authorize(destination, uri(one, source))
                assert await consul.intentions.check(source, destination) is told.authorized
                for verdict in (
                    one.check(source),
                    one.check(uri(one, source)),
                    several.check(source, destination),
                    every.check(uri(one, source), destination),
                ):
                    assert verdict.allowed is told.authorized, (source, destination, told.reason, verdict)
                    assert verdict.by_default is told.by_default, (source, destination, told.reason, verdict)


async def test_write_is_decided_by_in_a_moment(quick: Consul, agent: AgentUnderTest, unique: str) -> None:
    web, db = f"{unique}web", f"{unique}db"
    async with quick.authorizer(db, default="deny") as authorizer:
        assert not authorizer.check(web)
        await put(quick, agent, web, db)
        await until(lambda: authorizer.check(web).allowed)
        assert authorizer.check(uri(authorizer, web))


async def test_request_is_decided_where_the_agent_only_denies(
    consul: Consul, agent: AgentUnderTest, unique: str
) -> None:
    if agent.version < (1, 9):
        pytest.skip("no permissions")
    web, db = f"{unique}web", f"{unique}db"
    await consul.config.write(ServiceDefaults(name=db, protocol="http"))
    reads = Permission(action="allow", http=HTTPPermission(path_prefix="/items", methods=("GET",)))
    await consul.intentions.upsert(web, db, permissions=(reads,))
    async with consul.authorizer(db, default="deny") as authorizer:
        assert not await consul.agent.authorize(db, uri(authorizer, web))
        assert authorizer.check(web).reason is Reason.REQUEST_NEEDED
        assert authorizer.check(web, request=HTTPRequest("GET", "/items/7"))
        assert not authorizer.check(web, request=HTTPRequest("PUT", "/items/7"))


async def test_default_that_an_intention_hides_is_learnt_by_another_name(
    consul: Consul, agent: AgentUnderTest, unique: str
) -> None:
    db = f"{unique}db"
    await put(consul, agent, "*", db, "deny")
    async with consul.authorizer(db) as authorizer:
        assert authorizer.check(f"{unique}web").reason is Reason.INTENTION
        assert (authorizer.status.default.action, authorizer.status.default.error) == ("allow", "")


async def test_default_with_acls_is_learnt(guarded: GuardedAgent, unique: str) -> None:
    async with Consul(guarded.url, token=guarded.management) as consul, consul.authorizer(f"{unique}db") as authorizer:
        assert authorizer.status.default.action == "deny"
        assert authorizer.check(f"{unique}web").reason is Reason.DEFAULT


async def test_token_without_write_does_not_learn_the_default(guarded: GuardedAgent, unique: str) -> None:
    db = f"{unique}db"
    token = await guarded.token(f'service "{db}" {{ policy = "read" intentions = "read" }}')
    async with Consul(guarded.url, token=token) as consul, consul.authorizer(db) as authorizer:
        assert authorizer.check(f"{unique}web").reason is Reason.DEFAULT_UNKNOWN
        assert authorizer.status.default.error


@pytest.mark.slow
async def test_token_that_is_deleted_denies(guarded: GuardedAgent, unique: str) -> None:
    web, db = f"{unique}web", f"{unique}db"
    token = await guarded.token(f'service "{db}" {{ policy = "write" intentions = "write" }}')
    async with Consul(guarded.url, token=token, polls=SHORT) as consul, consul.authorizer(db) as authorizer:
        await put(consul, guarded, web, db)
        await until(lambda: authorizer.check(web).allowed)
        async with ClientSession(guarded.url, raise_for_status=True) as session:
            async with session.get("/v1/acl/token/self", headers={"X-Consul-Token": token}) as answer:
                accessor = (await answer.json())["AccessorID"]
            await session.delete(f"/v1/acl/token/{accessor}", headers={"X-Consul-Token": guarded.management})
        await until(lambda: authorizer.check(web).reason is Reason.INCOMPLETE, 45)
    async with Consul(guarded.url, token=guarded.management) as consul:
        await _remove(consul, unique)


async def test_list_that_is_filtered_or_anonymous_denies(guarded: GuardedAgent, unique: str) -> None:
    web, db, hidden = f"{unique}web", f"{unique}db", f"{unique}hidden"
    token = await guarded.token(f'service "{db}" {{ policy = "write" intentions = "read" }}')
    async with Consul(guarded.url, token=guarded.management) as consul:
        await put(consul, guarded, web, db)
        await put(consul, guarded, f"{unique}api", hidden)
        async with consul.authorizer() as authorizer:
            assert authorizer.check(web, db)
        async with Consul(guarded.url, token=token) as limited, limited.authorizer(ready_timeout=0) as authorizer:
            await until(lambda: authorizer.check(web, db).reason is Reason.INCOMPLETE)
        async with Consul(guarded.url, token="") as nobody, nobody.authorizer(ready_timeout=0) as authorizer:
            await until(lambda: authorizer.check(web, db).reason is Reason.INCOMPLETE)
        await _remove(consul, unique)


async def test_anonymous_list_without_acls_is_whole(consul: Consul, agent: AgentUnderTest, unique: str) -> None:
    await put(consul, agent, f"{unique}web", f"{unique}db")
    async with consul.authorizer() as authorizer:
        assert authorizer.status.visibility.acls is False
        assert authorizer.check(f"{unique}web", f"{unique}db")
