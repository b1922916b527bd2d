"""The rights that the page of endpoints names are enough, and are needed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import NamedTuple

import pytest
from support.agents_under_test import GuardedAgent

from aioconsulconnect.client import Consul
from aioconsulconnect.compatibility import OPERATIONS, RIGHTS, version_of
from aioconsulconnect.errors import NotFound, PermissionDenied
from aioconsulconnect.structs import Check, ServiceDefaults, ServiceIntentions, SourceIntention

NOBODYS = {"ca.roots", "ca.roots_pem", "agent.roots"}  # need no right at all
Call = Callable[[Consul, str, str], Awaitable[object]]
CALLER = "spiffe://11111111-2222-3333-4444-555555555555.consul/ns/default/dc/dc1/svc/web"
FOR_NOTHING = 'node_prefix "" { policy = "read" }'


class Case(NamedTuple):
    """Rules for the service DB that are enough for a call."""

    rules: str
    call: Call


READ = 'service "DB" { policy = "read" intentions = "read" }'
SERVICE_READ = 'service "DB" { policy = "read" intentions = "deny" } node_prefix "" { policy = "read" }'
SERVICE_WRITE = 'service_prefix "DB" { policy = "write" intentions = "deny" } node_prefix "" { policy = "read" }'
WRITE = 'service "DB" { policy = "read" intentions = "write" }'
BOTH = 'service "DB" { policy = "write" intentions = "read" }'
OPERATOR = 'operator = "write"'


async def _by_id(consul: Consul, db: str, intention_id: str) -> None:
    await consul.intentions.update_by_id(intention_id, "web", db, action="deny")


CASES: dict[str, Case] = {
    "intentions.list": Case(READ, lambda c, db, i: c.intentions.list().value()),
    "intentions.match": Case(READ, lambda c, db, i: c.intentions.match(destination=db).value()),
    "intentions.match_many": Case(READ, lambda c, db, i: c.intentions.match_many(destinations=[db]).value()),
    "intentions.check": Case(SERVICE_READ, lambda c, db, i: c.intentions.check("web", db)),
    "intentions.read": Case(READ, lambda c, db, i: c.intentions.read("web", db)),
    "intentions.upsert": Case(WRITE, lambda c, db, i: c.intentions.upsert("web", db, action="deny")),
    "intentions.delete": Case(WRITE, lambda c, db, i: c.intentions.delete("web", db)),
    "intentions.create": Case(WRITE, lambda c, db, i: c.intentions.create("other", db, action="deny")),
    "intentions.read_by_id": Case(READ, lambda c, db, i: c.intentions.read_by_id(i)),
    "intentions.update_by_id": Case(WRITE, _by_id),
    "intentions.delete_by_id": Case(WRITE, lambda c, db, i: c.intentions.delete_by_id(i)),
    "intentions.export": Case(READ, lambda c, db, i: c.intentions.export()),
    "intentions.plan": Case(READ, lambda c, db, i: c.intentions.plan([])),
    "intentions.import_": Case(
        WRITE,
        lambda c, db, i: c.intentions.import_(
            [ServiceIntentions(name=db, sources=(SourceIntention(name="new", action="deny"),))]
        ),
    ),
    "ca.configuration": Case(OPERATOR, lambda c, db, i: c.ca.configuration()),
    "agent.leaf": Case(SERVICE_WRITE, lambda c, db, i: c.agent.leaf(db).value()),
    "agent.authorize": Case(BOTH, lambda c, db, i: c.agent.authorize(db, CALLER)),
    "agent.register": Case(SERVICE_WRITE, lambda c, db, i: c.agent.register(db, id=f"{db}2", port=1)),
    "agent.deregister": Case(SERVICE_WRITE, lambda c, db, i: c.agent.deregister(db)),
    "agent.service": Case(SERVICE_READ, lambda c, db, i: c.agent.service(db).value()),
    "agent.services": Case(SERVICE_READ, lambda c, db, i: c.agent.services()),
    "agent.maintenance": Case(SERVICE_WRITE, lambda c, db, i: c.agent.maintenance(db, enable=True)),
    "agent.check_pass": Case(SERVICE_WRITE, lambda c, db, i: c.agent.check_pass(f"service:{db}")),
    "agent.check_warn": Case(SERVICE_WRITE, lambda c, db, i: c.agent.check_warn(f"service:{db}")),
    "agent.check_fail": Case(SERVICE_WRITE, lambda c, db, i: c.agent.check_fail(f"service:{db}")),
    "health.service": Case(SERVICE_READ, lambda c, db, i: c.health.service(db).value()),
    "discovery_chain": Case(SERVICE_READ, lambda c, db, i: c.discovery_chain(db).value()),
    "config.read": Case(SERVICE_READ, lambda c, db, i: c.config.read("service-defaults", db).value()),
    "config.list": Case(SERVICE_READ, lambda c, db, i: c.config.list("service-defaults").value()),
    "config.write": Case(SERVICE_WRITE, lambda c, db, i: c.config.write(ServiceDefaults(name=db, protocol="tcp"))),
    "config.delete": Case(SERVICE_WRITE, lambda c, db, i: c.config.delete("service-defaults", db)),
}


@pytest.fixture(params=list(CASES))
async def operation(request: pytest.FixtureRequest, guarded: GuardedAgent) -> str:
    """An operation that the agent serves."""
    name = str(request.param)
    since = OPERATIONS[name][1]
    if since and guarded.version < version_of(since)[:2]:
        pytest.skip(f"{name} is served from {since} on")
    return name


async def prepared(manager: Consul, db: str) -> str:
    """A service with a check, a config entry and an intention; the id of the intention."""
    await manager.agent.register(db, port=80, checks=(Check(ttl=60),))
    await manager.config.write(ServiceDefaults(name=db, protocol="tcp"))
    return await manager.intentions.create("web", db, action="allow")


async def test_rights_that_the_page_names_are_enough(operation: str, guarded: GuardedAgent, unique: str) -> None:
    rules, call = CASES[operation]
    async with Consul(guarded.url, token=guarded.management) as manager:
        intention = await prepared(manager, unique)
    async with Consul(guarded.url, token=await guarded.token(rules.replace("DB", unique))) as consul:
        found = await call(consul, unique, intention)
    assert found is None or found is False or found, f"{operation} finds nothing with its rights"


async def test_without_its_rights_a_call_is_denied_or_finds_nothing(
    operation: str, guarded: GuardedAgent, unique: str
) -> None:
    async with Consul(guarded.url, token=guarded.management) as manager:
        intention = await prepared(manager, unique)
        services_before = await manager.agent.services()
    async with Consul(guarded.url, token=await guarded.token(FOR_NOTHING)) as consul:
        try:
            found = await CASES[operation].call(consul, unique, intention)
        except (PermissionDenied, NotFound):
            found = None
    assert not found, f"{operation} answers without rights"
    async with Consul(guarded.url, token=guarded.management) as manager:
        assert await manager.agent.services() == services_before


def test_each_operation_has_rights_and_most_have_a_case() -> None:
    assert list(RIGHTS) == list(OPERATIONS)
    without = set(OPERATIONS) - set(CASES) - NOBODYS
    assert without == {
        "ca.update_configuration",
        "agent.info",
        "catalog.connect",
        "catalog.gateway_services",
        "health.connect",
        "health.ingress",
        "config.delete with cas",
    }
