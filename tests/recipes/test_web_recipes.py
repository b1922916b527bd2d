"""The web services among the recipes: what they answer, and when they refuse to."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import httpx
import pytest
import recipes.aiohttp_app
import recipes.fastapi_app
from aiohttp.test_utils import TestClient, TestServer
from support.agents_under_test import GuardedAgent

from aioconsulconnect import Consul, HTTPPermission, JWTProviderRequirement, JWTRequirement, Permission
from aioconsulconnect.structs import (
    JSONWebKeySet,
    JWTProvider,
    LocalJWKS,
    ServiceDefaults,
    ServiceIntentions,
    SourceIntention,
)
from aioconsulconnect.testing import Agent, Faults

PATIENCE = 8.0
READ_ONLY = Permission(action="allow", http=HTTPPermission(path_prefix="/", methods=("GET",)))

Answer = tuple[int, dict[str, Any]]
Get = Callable[[str], Awaitable[Answer]]
Service = Callable[[float], AbstractAsyncContextManager[Get]]


@asynccontextmanager
async def fastapi_service(max_age: float) -> AsyncIterator[Get]:
    app = recipes.fastapi_app.create_app("db", max_age)
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://app") as client,
    ):

        async def get(path: str) -> Answer:
            response = await client.get(path)
            return response.status_code, response.json()

        yield get


@asynccontextmanager
async def aiohttp_service(max_age: float) -> AsyncIterator[Get]:
    async with TestClient(TestServer(recipes.aiohttp_app.create_app("db", max_age))) as client:

        async def get(path: str) -> Answer:
            async with client.get(path) as response:
                return response.status, await response.json()

        yield get


SERVICES = pytest.mark.parametrize("service", [fastapi_service, aiohttp_service])


async def until(get: Get, path: str, status: int, says: dict[str, str]) -> None:
    """Ask again and again until the answer has this status and these texts in its members, or fail."""
    found: Answer = 0, {}

    def is_right() -> bool:
        return found[0] == status and all(text in found[1][member] for member, text in says.items())

    try:
        async with asyncio.timeout(PATIENCE):
            while not is_right():
                found = await get(path)
                await asyncio.sleep(0.01)
    except TimeoutError:
        pytest.fail(f"it went on to answer {found}")


async def answers(get: Get, source: str, status: int, why: str) -> None:
    """Wait until it answers so."""
    await until(get, f"/callers/{source}", status, {"why": why})


async def refuses(get: Get, state: str, why: str, missing: str) -> None:
    """Wait until it says that it does not know, and why."""
    await until(get, "/ready", 503, {"state": state, "missing": missing})
    await answers(get, "web", 503, why)


@SERVICES
async def test_service_that_knows_answers_by_the_first_intention_for_the_source_and_its_permissions(
    service: Service, consul: Consul
) -> None:
    await consul.config.write(ServiceDefaults(name="db", protocol="http"))
    await consul.intentions.upsert("web", "db", action="allow")
    await consul.intentions.upsert("reports", "db", permissions=[READ_ONLY])
    await consul.intentions.upsert("*", "db", action="deny")
    async with service(30) as get:
        await answers(get, "web", 200, "allowed by web -> db")
        await answers(get, "batch", 403, "denied by * -> db")
        for source in ("web", "batch"):
            allowed = await consul.intentions.check(source, "db")
            assert (await get(f"/callers/{source}"))[0] == (200 if allowed else 403)
        await answers(get, "reports?method=GET&path=/items", 200, "its permission 0 is the first")
        await answers(get, "reports?method=POST&path=/items", 403, "none of its permissions matches")
        await answers(get, "web?method=GE%20T&path=/items", 403, "the proxy would refuse the request")
        await until(get, "/ready", 200, {"state": "ready"})
        assert (await get("/ready"))[1]["missing"] == ""


@SERVICES
async def test_service_after_a_change_answers_by_what_is_so_now(service: Service, consul: Consul) -> None:
    await consul.intentions.upsert("web", "db", action="allow")
    async with service(30) as get:
        await answers(get, "web", 200, "web -> db")
        await consul.intentions.upsert("web", "db", action="deny")
        await answers(get, "web", 403, "web -> db")
        await consul.intentions.delete("web", "db")  # this agent allows by default; the service does not
        await answers(get, "web", 403, "no intention matches")


@SERVICES
async def test_service_with_an_intention_for_a_peer_denies_the_local_namesake(service: Service, consul: Consul) -> None:
    sources = (SourceIntention(name="web", peer="other", action="allow"),)
    await consul.config.write(ServiceIntentions(name="db", sources=sources))
    async with service(30) as get:
        await answers(get, "web", 403, "no intention matches")


@SERVICES
async def test_service_whose_intentions_require_a_token_denies_a_caller_without(
    service: Service, consul: Consul
) -> None:
    keys = JSONWebKeySet(local=LocalJWKS(jwks=base64.b64encode(b'{"keys": []}').decode()))
    await consul.config.write(JWTProvider(name="issuer", json_web_key_set=keys))
    await consul.config.write(ServiceDefaults(name="db", protocol="http"))
    required = JWTRequirement(providers=(JWTProviderRequirement(name="issuer"),))
    sources = (SourceIntention(name="web", action="allow"),)
    await consul.config.write(ServiceIntentions(name="db", sources=sources, jwt=required))
    async with service(30) as get:
        await answers(get, "web", 403, "it requires a token")


@SERVICES
@pytest.mark.slow
async def test_service_that_never_had_data_refuses(service: Service, consul_agent: Agent) -> None:
    consul_agent.stop()
    async with service(30) as get:
        assert (await get("/callers/web"))[0] == 503
        missing = f"GET /v1/connect/intentions/match: no connection to {consul_agent.url}"
        await refuses(get, "starting", "there is no data", missing)
        consul_agent.start()
        await answers(get, "web", 403, "no intention matches")


@SERVICES
async def test_service_whose_token_is_refused_refuses(service: Service, consul: Consul, consul_faults: Faults) -> None:
    await consul.intentions.upsert("web", "db", action="allow")
    async with service(30) as get:
        await answers(get, "web", 200, "web -> db")
        consul_faults.denied()
        consul_faults.wake()
        await refuses(get, "incomplete", "does not see everything", "GET /v1/connect/intentions/match: 403")


@pytest.mark.slow
@SERVICES
async def test_service_that_hears_nothing_refuses_by_age(
    service: Service, consul: Consul, consul_faults: Faults
) -> None:
    await consul.intentions.upsert("web", "db", action="allow")
    async with service(0.5) as get:
        await answers(get, "web", 200, "web -> db")
        with consul_faults.frozen():
            await refuses(get, "expired", "the data is too old", "")
        await answers(get, "web", 200, "web -> db")


@SERVICES
async def test_service_whose_token_sees_a_part_refuses(service: Service, consul: Consul, consul_faults: Faults) -> None:
    await consul.intentions.upsert("web", "db", action="allow")
    consul_faults.hidden()
    async with service(30) as get:
        await refuses(get, "incomplete", "does not see everything", "the token does not see all intentions")


@pytest.mark.consul_agent(acl=True)
@SERVICES
async def test_service_whose_token_may_only_read_intentions_decides(
    service: Service, consul: Consul, consul_agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    await consul.intentions.upsert("web", "db", action="allow")
    agent = GuardedAgent(consul_agent.url, (1, 22), "agent", consul_agent.management_token)
    monkeypatch.setenv("CONSUL_HTTP_TOKEN", await agent.token('service "db" { policy = "deny", intentions = "read" }'))
    async with service(30) as get:
        await answers(get, "web", 200, "web -> db")
        await answers(get, "batch", 403, "no intention matches")
