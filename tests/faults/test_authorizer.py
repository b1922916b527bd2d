"""
Authorizers whose agent starts anew or answers nothing, whose token is lost, or who hear a gateway in Consul's place.

Over real sockets, in real time: whatever happens, nobody is allowed what is denied.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Callable
from typing import Any, Literal
from uuid import uuid4

import pytest
from aiohttp import ClientSession
from support.versions import VERSIONS
from support.wires import Gateway, plain_answer
from yarl import URL

from aioconsulconnect.authorization.authorizer import Authorizer
from aioconsulconnect.authorization.rules.request import HTTPRequest
from aioconsulconnect.authorization.rules.verdict import Reason
from aioconsulconnect.client import Consul
from aioconsulconnect.errors import NotReady
from aioconsulconnect.structs import (
    HTTPPermission,
    JSONWebKeySet,
    JWTProvider,
    JWTProviderRequirement,
    JWTRequirement,
    LocalJWKS,
    Mesh,
    MeshHTTP,
    MeshHTTPIncoming,
    Permission,
    RequestNormalization,
    ServiceDefaults,
    ServiceIntentions,
    SourceIntention,
)
from aioconsulconnect.testing import Agent, Version
from aioconsulconnect.watch.protocol.poll_settings import PollSettings

pytestmark = pytest.mark.slow  # they wait for what takes its time

SHORT = PollSettings(wait=2.0, min_interval=0.02)
BRISK = PollSettings(wait=2.0, min_interval=0.02, backoff_cap=0.2, denied=(0.05, 0.2))
PATIENCE = 8.0
ANONYMOUS = "00000000-0000-0000-0000-000000000002"
Policy = Literal["allow", "deny"]


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


async def deny(consul: Consul, agent: Agent) -> None:
    if agent.version.startswith("1.8"):
        await consul.intentions.create("evil", "db", action="deny")
    else:
        await consul.intentions.upsert("evil", "db", action="deny")


async def test_restart_with_another_trust_domain_heals_by_itself(own: Agent) -> None:
    async with Consul(own.url, polls=SHORT) as consul, consul.authorizer("db") as authorizer:
        await allow(consul, own)
        old = uri(authorizer)
        await until(lambda: authorizer.check(old).reason is Reason.INTENTION)
        own.restart(keep=False)
        await consul.ready()  # a write on a connection from before has no known outcome
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
        own.stop()
        await until(lambda: authorizer.check("web").by_age, 5)


# A gateway that answers in Consul's place.

SAYS = {
    "page": plain_answer(404, "<html>no such page</html>", "text/html"),
    "text": plain_answer(404, "default backend - 404"),
    "nothing": plain_answer(404),
}
ONE, TWO, ALL = ("db",), ("db", "cache"), ()
EXPECTED = {
    "rule": True,
    "id": True,
    "rule that denies": False,
    "foreign id": False,
    "default": True,
    "request": True,
    "path that the mesh entry refuses": False,
    "token": True,
    "token of another issuer": False,
}


async def prepare(consul: Consul) -> None:
    """Entries of all kinds that decide."""
    keys = JSONWebKeySet(local=LocalJWKS(jwks="eyJrZXlzIjpbXX0="))
    await consul.config.write(JWTProvider(name="okta", issuer="okta", json_web_key_set=keys))
    strict = RequestNormalization(path_with_escaped_slashes_action="REJECT_REQUEST")
    await consul.config.write(Mesh(http=MeshHTTP(incoming=MeshHTTPIncoming(request_normalization=strict))))
    await consul.config.write(ServiceDefaults(name="db", protocol="http"))
    required = JWTRequirement(providers=(JWTProviderRequirement(name="okta"),))
    with_token = Permission(action="allow", http=HTTPPermission(path_prefix="/"), jwt=required)
    sources = (
        SourceIntention(name="web", action="allow"),
        SourceIntention(name="evil", action="deny"),
        SourceIntention(name="api", permissions=(with_token,)),
    )
    await consul.config.write(ServiceIntentions(name="db", sources=sources))


def decided(authorizer: Authorizer, home: str) -> dict[str, bool]:
    """Decisions of all kinds, about callers of the trust domain `home` and others."""
    request = HTTPRequest("GET", "/a")
    verdicts = {
        "rule": authorizer.check("web", "db"),
        "id": authorizer.check(f"spiffe://{home}/ns/default/dc/dc1/svc/web", "db"),
        "rule that denies": authorizer.check("evil", "db"),
        "foreign id": authorizer.check("spiffe://foreign.consul/ns/default/dc/dc1/svc/web", "db"),
        "default": authorizer.check("stranger", "db"),
        "request": authorizer.check("web", "db", request),
        "path that the mesh entry refuses": authorizer.check("web", "db", HTTPRequest("GET", "/a%2Fb")),
        "token": authorizer.check("api", "db", request, claims={"okta": {"iss": "okta"}}),
        "token of another issuer": authorizer.check("api", "db", request, claims={"okta": {"iss": "other"}}),
    }
    return {name: verdict.allowed for name, verdict in verdicts.items()}


@pytest.mark.parametrize(
    ("says", "names"), [("page", ONE), ("page", TWO), ("page", ALL), ("text", ALL), ("nothing", ONE)]
)
async def test_gateway_that_answers_404_changes_no_decision(says: str, names: tuple[str, ...]) -> None:
    async with Agent() as agent, Gateway(agent.url) as gateway, Consul(gateway.url, polls=BRISK) as consul:
        await prepare(consul)
        async with consul.authorizer(*names) as authorizer:

            def is_as_before() -> bool:
                assert decided(authorizer, agent.trust_domain) == EXPECTED
                assert authorizer.status.state == "ready"
                return True

            await authorizer.until(lambda: decided(authorizer, agent.trust_domain) == EXPECTED, PATIENCE)
            many = 12  # four watches follow what decides, and each is to ask again in vain
            async with asyncio.timeout(3 * PATIENCE):
                while not authorizer.status.default.error:  # until the question for the default met it as well
                    asked = gateway.requests
                    gateway.answer(SAYS[says])
                    while is_as_before() and gateway.requests < asked + many:
                        await asyncio.sleep(0.005)
                    gateway.answer(None)
                    while is_as_before() and authorizer.status.watch.state != "synced":
                        await asyncio.sleep(0.005)
                    many = 6
            await consul.intentions.upsert("stranger", "db", action="deny")
            await authorizer.until(lambda: not authorizer.check("stranger", "db"), PATIENCE)
            assert decided(authorizer, agent.trust_domain) == {**EXPECTED, "default": False}


@pytest.mark.parametrize(("says", "names"), [("page", ONE), ("text", TWO), ("nothing", ALL)])
async def test_gateway_that_answers_404_from_the_start_lets_nobody_pass(says: str, names: tuple[str, ...]) -> None:
    async with Agent() as agent, Gateway(agent.url) as gateway, Consul(gateway.url, polls=BRISK) as consul:
        async with Consul(agent.url) as direct:
            await prepare(direct)
        gateway.answer(SAYS[says])
        async with consul.authorizer(*names, ready_timeout=0) as authorizer:
            with pytest.raises(NotReady, match=r"within 0.5 s; it is starting: .* 404"):
                await authorizer.until(lambda: any(decided(authorizer, agent.trust_domain).values()), 0.5)
            assert authorizer.check("web", "db").by_ignorance
            gateway.answer(None)
            await authorizer.until(lambda: decided(authorizer, agent.trust_domain) == EXPECTED, PATIENCE)
            assert authorizer.status.state == "ready"


async def test_authorizer_that_is_ready_decides_by_all_that_it_has_learnt() -> None:
    async with Agent() as agent, Consul(agent.url, polls=BRISK) as consul:
        await prepare(consul)
        for _ in range(20):
            async with consul.authorizer("db") as authorizer:
                assert authorizer.status.state == "ready"
                assert decided(authorizer, agent.trust_domain) == EXPECTED


# An agent with other ACLs, and a token that is lost.


async def acl(agent: Agent, method: str, path: str, body: object = None) -> Any:
    headers = {"X-Consul-Token": agent.management_token}
    async with (
        ClientSession(agent.url, headers=headers, raise_for_status=True) as session,
        session.request(method, f"/v1/acl/{path}", json=body) as answer,
    ):
        return await answer.json()


async def token_with(agent: Agent, rules: str) -> dict[str, Any]:
    """A new token that has these rules."""
    policy = await acl(agent, "PUT", "policy", {"Name": f"p{uuid4().hex}", "Rules": rules})
    token: dict[str, Any] = await acl(agent, "PUT", "token", {"Policies": [{"ID": policy["ID"]}]})
    return token


def successor(agent: Agent, version: Version, default: Policy) -> Agent:
    """An agent with another default, not yet started, for the same address, with the same state."""
    port = URL(agent.url).port
    assert port is not None
    made = Agent(version, port=port, acl=True, default_policy=default)
    made.restore(agent.snapshot())
    return made


@pytest.mark.parametrize(("before", "after"), [("allow", "deny"), ("deny", "allow")])
@pytest.mark.parametrize("version", VERSIONS)
async def test_agent_that_starts_anew_with_another_default_is_asked_again(
    version: Version, before: Policy, after: Policy
) -> None:
    async with (
        Agent(version, acl=True, default_policy=before) as first,
        Consul(first.url, token=first.management_token, polls=BRISK) as consul,
        consul.authorizer("db") as authorizer,
    ):
        await allow(consul, first)
        await authorizer.until(lambda: authorizer.check("web").reason is Reason.INTENTION, PATIENCE)
        assert authorizer.check("stranger").allowed is (before == "allow")
        first.stop()
        async with successor(first, version, after) as second:
            await authorizer.until(lambda: authorizer.check("stranger").allowed is (after == "allow"), PATIENCE)
            assert authorizer.check("stranger").reason is Reason.DEFAULT
            assert authorizer.check(uri(authorizer)).reason is Reason.INTENTION
            assert authorizer.check(uri(authorizer))
            assert second.trust_domain in uri(authorizer)


@pytest.mark.parametrize("default", ["allow", "deny"])
@pytest.mark.parametrize("version", VERSIONS)
async def test_token_that_is_deleted_allows_nobody_until_it_is_back(version: Version, default: Policy) -> None:
    async with Agent(version, acl=True, default_policy=default) as agent:
        token = await token_with(agent, 'service "db" { policy = "write", intentions = "write" }')
        async with (
            Consul(agent.url, token=token["SecretID"], polls=BRISK) as consul,
            consul.authorizer("db") as authorizer,
        ):
            await allow(consul, agent)
            await authorizer.until(lambda: authorizer.check("web").reason is Reason.INTENTION, PATIENCE)
            await acl(agent, "DELETE", f"token/{token['AccessorID']}")
            agent.faults.wake()
            await authorizer.until(lambda: not authorizer.check("web"), PATIENCE)
            for caller in ("web", uri(authorizer), "stranger"):
                assert authorizer.check(caller).reason is Reason.INCOMPLETE
            assert "403" in authorizer.status.missing
            kept = {key: token[key] for key in ("AccessorID", "SecretID", "Policies")}
            await acl(agent, "PUT", "token", kept)
            await authorizer.until(lambda: authorizer.check("web").allowed, PATIENCE)
            assert authorizer.check("stranger").allowed is (default == "allow")


HIDES_ALL = 'service_prefix "" { policy = "read", intentions = "deny" }'


@pytest.mark.parametrize(
    ("version", "names"), [*((version, ONE) for version in VERSIONS), ("1.16", ALL), ("1.22", ALL)]
)
async def test_token_that_sees_less_than_before_does_not_uncover_the_default(
    version: Version, names: tuple[str, ...]
) -> None:
    async with Agent(version, acl=True, default_policy="allow") as agent:
        token = await token_with(agent, 'service_prefix "" { policy = "write", intentions = "write" }')
        async with Consul(agent.url, token=token["SecretID"], polls=BRISK) as consul:
            await deny(consul, agent)
            async with consul.authorizer(*names) as authorizer:
                assert authorizer.check("evil", "db").reason is Reason.INTENTION
                await authorizer.until(lambda: authorizer.check("stranger", "db"), PATIENCE)
                policy = await acl(agent, "GET", f"policy/{token['Policies'][0]['ID']}")
                kept = {"ID": policy["ID"], "Name": policy["Name"], "Rules": HIDES_ALL}
                await acl(agent, "PUT", f"policy/{policy['ID']}", kept)
                agent.faults.wake()

                def is_incomplete() -> bool:
                    assert not authorizer.check("evil", "db")
                    return authorizer.status.state == "incomplete"

                await authorizer.until(is_incomplete, PATIENCE)
                assert not authorizer.check("stranger", "db")


@pytest.mark.parametrize("version", ["1.8", "1.10"])
async def test_token_that_gives_way_to_a_lesser_one_does_not_uncover_the_default(version: Version) -> None:
    async with Agent(version, acl=True, default_policy="allow") as agent:
        lesser = await token_with(agent, HIDES_ALL)
        tokens = [agent.management_token]
        async with Consul(agent.url, token=lambda: tokens[-1], polls=BRISK) as consul:
            await deny(consul, agent)
            async with consul.authorizer() as authorizer:
                assert authorizer.check("evil", "db").reason is Reason.INTENTION
                tokens.append(lesser["SecretID"])
                consul.token_changed()
                await stays_denied(authorizer, 1.0)


@pytest.mark.parametrize("version", VERSIONS)
async def test_agent_that_starts_anew_with_acls_does_not_uncover_the_default(version: Version) -> None:
    async with Agent(version) as first, Consul(first.url, polls=BRISK) as consul:
        await deny(consul, first)
        async with consul.authorizer() as authorizer:
            assert authorizer.check("evil", "db").reason is Reason.INTENTION
            first.stop()
            second, _ = await successor_with_acls(first, version, HIDES_ALL)
            async with second:
                await stays_denied(authorizer, 2.0)


@pytest.mark.parametrize("version", VERSIONS)
async def test_intention_that_new_acls_hide_does_not_uncover_the_default(version: Version) -> None:
    async with Agent(version) as first, Consul(first.url, polls=BRISK) as consul, consul.authorizer() as authorizer:
        assert authorizer.check("evil", "db").by_default
        first.stop()
        second, token = await successor_with_acls(first, version, HIDES_ALL)
        async with second, Consul(second.url, token=token) as owner:
            await authorizer.until(lambda: authorizer.status.state == "incomplete", PATIENCE)
            await deny(owner, second)  # the list that the authorizer gets stays empty
            await stays_denied(authorizer, 1.0)


async def successor_with_acls(agent: Agent, version: Version, rules: str) -> tuple[Agent, str]:
    """
    An agent with ACLs and the default "allow", not yet started, and a token with all rights.

    Callers without a token have the `rules`.
    """
    async with Agent(version, acl=True, default_policy="allow") as model:
        policy = await acl(model, "PUT", "policy", {"Name": "hides", "Rules": rules})
        await acl(model, "PUT", f"token/{ANONYMOUS}", {"Policies": [{"ID": policy["ID"]}]})
        made = successor(agent, version, "allow")
        made.restore(dataclasses.replace(agent.snapshot(), acl=model.snapshot().acl))
        return made, model.management_token


async def stays_denied(authorizer: Authorizer, seconds: float) -> None:
    """Fail if `evil` is allowed at any moment of that time."""
    with pytest.raises(NotReady):
        await authorizer.until(lambda: authorizer.check("evil", "db"), seconds)
