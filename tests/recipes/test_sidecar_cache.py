"""The decision cache among the recipes: what it answers, when it denies, and what it logs."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import recipes.sidecar_cache
from aiohttp import ClientSession
from aiohttp.test_utils import TestClient, TestServer
from support.agents import RealAgent
from support.package import FOLDER

from aioconsulconnect import Consul, HTTPPermission, Permission, Unsupported
from aioconsulconnect.structs import (
    JSONWebKeySet,
    JWTProvider,
    JWTProviderRequirement,
    JWTRequirement,
    LocalJWKS,
    ServiceDefaults,
    ServiceIntentions,
    SourceIntention,
)
from aioconsulconnect.testing import Agent, Faults

PATIENCE = 8.0
READS = Permission(action="allow", http=HTTPPermission(path_prefix="/items", methods=("GET",)))

Answer = tuple[int, dict[str, Any]]


class Cache:
    """The program, as its callers see it."""

    def __init__(self, session: Callable[..., Any]) -> None:
        self._request = session

    async def get_ready(self) -> Answer:
        async with self._request("GET", "/ready") as response:
            return response.status, await response.json()

    async def send(self, body: bytes) -> Answer:
        async with self._request("POST", "/decide", data=body) as response:
            return response.status, await response.json()

    async def decide(self, source: str | list[str], destination: str = "db", **more: object) -> dict[str, Any]:
        status, answer = await self.send(json.dumps({"source": source, "destination": destination, **more}).encode())
        assert status == 200
        return answer

    async def is_ready(self) -> None:
        await until(self.get_ready, lambda found: found[0] == 200)

    async def refuses(self, state: str) -> None:
        """Wait until it is in this state, and deny everything."""
        await until(self.get_ready, lambda found: found[0] == 503 and found[1]["state"] == state)
        assert (await self.decide("web"))["allowed"] is False


async def until(ask: Callable[[], Awaitable[Answer]], right: Callable[[Answer], bool]) -> None:
    """Ask again and again until the answer is right, or fail."""
    async with asyncio.timeout(PATIENCE):
        while not right(await ask()):
            await asyncio.sleep(0.01)


@asynccontextmanager
async def caching(*services: str, max_age: float = 30) -> AsyncIterator[Cache]:
    app = recipes.sidecar_cache.create_app(*(services or ("db",)), max_age=max_age)
    async with TestClient(TestServer(app)) as client:
        yield Cache(client.request)


@pytest.mark.consul_agent(acl=True)  # without, it would allow what no rule matches
async def test_cache_answers_with_the_rule_and_the_path_to_serve(consul: Consul) -> None:
    await consul.config.write(ServiceDefaults(name="db", protocol="http"))
    await consul.intentions.upsert("web", "db", permissions=[READS])
    async with caching() as cache:
        await cache.is_ready()
        answer = await cache.decide("web", request={"method": "GET", "path": "/x/../items?n=1"})
        assert (answer["allowed"], answer["reason"], answer["path"]) == (True, "permission", "/items?n=1")
        assert (answer["intention"]["SourceName"], answer["intention"]["DestinationName"]) == ("web", "db")
        assert 0 <= answer["age"] < 30
        denied = await cache.decide("web", request={"method": "GET", "path": "/items/../secret"})
        assert (denied["allowed"], denied["path"]) == (False, None)
        assert (await cache.decide("web"))["reason"] == "request needed"


async def test_cache_judges_certificates_by_their_trust_domain(consul: Consul, consul_agent: Agent) -> None:
    await consul.intentions.upsert("web", "db", action="allow")
    path = "/ns/default/dc/dc1/svc/web"
    own, foreign = f"spiffe://{consul_agent.trust_domain}{path}", f"spiffe://foreign.consul{path}"
    async with caching() as cache:
        await cache.is_ready()
        assert (await cache.decide(own))["allowed"]
        assert (await cache.decide([own]))["allowed"]
        assert (await cache.decide(foreign))["reason"] == "foreign trust domain"
        assert (await cache.decide([own, foreign]))["reason"] == "several identities"
        assert (await cache.decide(""))["reason"] == "no service"


async def test_cache_compares_headers_and_claims(consul: Consul) -> None:
    keys = JSONWebKeySet(local=LocalJWKS(jwks="eyJrZXlzIjpbXX0="))
    await consul.config.write(JWTProvider(name="okta", issuer="https://okta.example", json_web_key_set=keys))
    await consul.config.write(ServiceDefaults(name="db", protocol="http"))
    required = JWTRequirement(providers=(JWTProviderRequirement(name="okta"),))
    sources = (SourceIntention(name="web", action="allow"),)
    await consul.config.write(ServiceIntentions(name="db", sources=sources, jwt=required))
    request = {"method": "GET", "path": "/", "headers": [["x-a", "1"], ["x-a", "2"]]}
    async with caching() as cache:
        await cache.is_ready()
        assert (await cache.decide("web", request=request))["reason"] == "token"
        for issuer, allowed in (("https://okta.example", True), ("https://other.example", False)):
            answer = await cache.decide("web", request=request, claims={"okta": {"iss": issuer}})
            assert answer["allowed"] is allowed


async def test_cache_for_several_services_denies_about_others(consul: Consul) -> None:
    await consul.intentions.upsert("web", "*", action="allow")
    async with caching("db", "cache") as cache:
        await cache.is_ready()
        assert (await cache.decide("web", "db"))["allowed"]
        assert (await cache.decide("web", "cache"))["allowed"]
        assert (await cache.decide("web", "api"))["reason"] == "destination unknown"


async def test_cache_after_a_change_answers_by_what_is_so_now(consul: Consul) -> None:
    await consul.intentions.upsert("web", "db", action="allow")
    async with caching() as cache:
        await cache.is_ready()
        assert (await cache.decide("web"))["allowed"]
        await consul.intentions.upsert("web", "db", action="deny")
        async with asyncio.timeout(PATIENCE):
            while (await cache.decide("web"))["allowed"]:
                await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"nonsense",
        b"[]",
        b"\xff",
        b'{"source": "\xff", "destination": "db"}',
        b'{"source": "\\ud800", "destination": "db"}',
        b'{"source": "web"}',
        b'{"source": null, "destination": "db"}',
        b'{"source": "web", "destination": "db", "requests": {"method": "GET", "path": "/"}}',
        b'{"source": "web", "destination": "db", "request": {"method": "GET"}}',
        b'{"source": "web", "destination": "db", "request": {"method": "GET", "path": "/", "headers": {"x-a": "1"}}}',
        b'{"source": "web", "destination": "db", "claims": {"okta": "iss"}}',
        b'{"source": "web", "destination": "db", "claims": {"okta": {"iss": ' + b"[" * 60_000,
        b'{"source": "web", "destination": "' + b"d" * 100_000 + b'"}',
    ],
    ids=range(14),
)
async def test_cache_asked_something_malformed_denies(
    body: bytes, consul: Consul, caplog: pytest.LogCaptureFixture
) -> None:
    await consul.intentions.upsert("web", "db", action="allow")
    async with caching() as cache:
        await cache.is_ready()
        status, answer = await cache.send(body)
        assert (status, answer["allowed"]) == (400, False)
        assert answer["reason"].startswith("malformed: ")
        assert [record.levelname for record in caplog.records if record.name == "decisions"] == ["WARNING"]
        assert (await cache.decide("web"))["allowed"]


async def test_cache_without_consul_starts_and_denies_until_there_is_data(consul: Consul, consul_agent: Agent) -> None:
    await consul.intentions.upsert("web", "db", action="allow")
    consul_agent.stop()
    async with caching() as cache:
        await cache.refuses("starting")
        await until(cache.get_ready, lambda found: f"no connection to {consul_agent.url}" in found[1]["missing"])
        consul_agent.start()
        await cache.is_ready()


async def test_cache_whose_token_is_refused_denies(consul: Consul, consul_faults: Faults) -> None:
    await consul.intentions.upsert("web", "db", action="allow")
    async with caching() as cache:
        await cache.is_ready()
        consul_faults.denied()
        consul_faults.wake()
        await cache.refuses("incomplete")


@pytest.mark.slow
async def test_cache_that_hears_nothing_denies_by_age(consul: Consul, consul_faults: Faults) -> None:
    await consul.intentions.upsert("web", "db", action="allow")
    async with caching(max_age=0.5) as cache:
        await cache.is_ready()
        with consul_faults.frozen():
            await cache.refuses("expired")
            assert (await cache.decide("web"))["reason"] == "expired"
        await cache.is_ready()


async def test_cache_logs_each_decision_without_the_query(consul: Consul, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "decisions")
    await consul.intentions.upsert("*", "db", action="deny")
    await consul.intentions.upsert("web", "db", action="allow")
    async with caching() as cache:
        await cache.is_ready()
        await cache.decide("web", request={"method": "GET", "path": "/items?access_token=secret"})
        await cache.decide("a\nb'c'")
    assert [(one.levelname, one.getMessage()) for one in caplog.records if one.name == "decisions"] == [
        ("INFO", "'web' -> 'db', 'GET' '/items': 'allowed by web -> db (allow, precedence 9): its action says so'"),
        ("WARNING", "\"a\\nb'c'\" -> 'db', a connection: 'denied by * -> db (deny, precedence 8): its action says so'"),
    ]


async def test_cache_on_a_real_agent_decides_as_the_agent_does(
    real_agent: RealAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CONSUL_HTTP_ADDR", real_agent.url)
    web, db = f"web-{uuid4().hex}", f"db-{uuid4().hex}"
    async with Consul() as consul:
        by_id = ""
        try:
            await consul.intentions.upsert(web, db, action="deny")
        except Unsupported:
            by_id = await consul.intentions.create(web, db, action="deny")
        try:
            async with caching(db) as cache:
                await cache.is_ready()
                for source in (web, "other"):
                    answer = await cache.decide(source, db)
                    assert answer["allowed"] is await consul.intentions.check(source, db)
        finally:
            await (consul.intentions.delete_by_id(by_id) if by_id else consul.intentions.delete(web, db))


async def run(*services: str) -> asyncio.subprocess.Process:
    variables = {**os.environ, "PYTHONPATH": str(FOLDER.parent), "PYTHONUNBUFFERED": "1", "PORT": "0"}
    program = Path(recipes.sidecar_cache.__file__)
    return await asyncio.create_subprocess_exec(
        sys.executable, "-W", "error", str(program), *services, env=variables, stdout=PIPE, stderr=PIPE
    )


async def test_cache_as_a_program_listens_on_loopback_and_ends_on_sigterm(consul: Consul) -> None:
    await consul.intentions.upsert("web", "db", action="allow")
    process = await run("db")
    try:
        assert process.stdout is not None
        async with asyncio.timeout(2 * PATIENCE):
            url = (await process.stdout.readline()).decode().split()[-2]
            assert url.startswith("http://127.0.0.1:")
            async with ClientSession(url) as session:
                cache = Cache(session.request)
                await cache.is_ready()
                assert (await cache.decide("web"))["allowed"]
            process.terminate()
            _, log = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()
    assert process.returncode == 0
    assert "INFO decisions: 'web' -> 'db', a connection: 'allowed by web -> db (allow" in log.decode()
    assert "Traceback" not in log.decode()


async def test_cache_as_a_program_without_services_says_what_is_missing(consul: Consul) -> None:
    process = await run()
    async with asyncio.timeout(2 * PATIENCE):
        _, errors = await process.communicate()
    assert (process.returncode, errors) == (1, b"name the services to decide about\n")
