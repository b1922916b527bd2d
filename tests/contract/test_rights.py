"""The rights that the page of endpoints names are enough, and are needed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import NamedTuple

import pytest
from support.agents_under_test import GuardedAgent

from aioconsulconnect.client import Consul
from aioconsulconnect.compatibility import OPERATIONS, RIGHTS, version_of
from aioconsulconnect.errors import ErrorReason, NotFound, PermissionDenied, Unsupported
from aioconsulconnect.structs import (
    Check,
    IngressGateway,
    IngressListener,
    IngressService,
    ProxyDefaults,
    Redirect,
    ServiceDefaults,
    ServiceInstance,
    ServiceIntentions,
    ServiceResolver,
    ServiceSplitter,
    Sidecar,
    SourceIntention,
    Split,
    TerminatingGateway,
)
from aioconsulconnect.structs.config_entries.kinds import Entry

NOBODYS = {"ca.roots", "ca.roots_pem", "agent.roots"}  # need no right at all
Call = Callable[[Consul, str, str], Awaitable[object]]
CALLER = "spiffe://11111111-2222-3333-4444-555555555555.consul/ns/default/dc/dc1/svc/web"
FOR_NOTHING = 'node_prefix "" { policy = "read" }'


class Case(NamedTuple):
    """Rules for the service DB that are enough for a call, and some that are not."""

    rules: str
    call: Call
    too_few: str = FOR_NOTHING


READ = 'service "DB" { policy = "read" intentions = "read" }'
SERVICE_READ = 'service "DB" { policy = "read" intentions = "deny" } node_prefix "" { policy = "read" }'
SERVICE_WRITE = 'service_prefix "DB" { policy = "write" intentions = "deny" } node_prefix "" { policy = "read" }'
WRITE = 'service "DB" { policy = "read" intentions = "write" }'
BOTH = 'service "DB" { policy = "write" intentions = "read" }'
OPERATOR = 'operator = "write"'
AGENT = 'agent_prefix "" { policy = "read" }'
ALL_OF_IT = 'service_prefix "DB" { policy = "read" intentions = "deny" } node_prefix "" { policy = "read" }'


async def _by_id(consul: Consul, db: str, intention_id: str) -> None:
    await consul.intentions.update_by_id(intention_id, "web", db, action="deny")


async def _same_configuration(consul: Consul, db: str, intention_id: str) -> None:
    configuration = await consul.ca.configuration()
    await consul.ca.update_configuration(configuration.config, provider=configuration.provider)


async def _checked_delete(consul: Consul, db: str, intention_id: str) -> None:
    entry = await consul.config.read("service-defaults", db)
    await consul.config.delete("service-defaults", db, cas=entry.modify_index if entry else 1)


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
    "ca.update_configuration": Case(OPERATOR, _same_configuration),
    "agent.info": Case(AGENT, lambda c, db, i: c.agent.info()),
    "catalog.connect": Case(ALL_OF_IT, lambda c, db, i: c.catalog.connect(db).value()),
    "catalog.gateway_services": Case(ALL_OF_IT, lambda c, db, i: c.catalog.gateway_services(f"{db}-gateway").value()),
    "health.connect": Case(ALL_OF_IT, lambda c, db, i: c.health.connect(db).value()),
    "health.ingress": Case(ALL_OF_IT, lambda c, db, i: c.health.ingress(db).value()),
    "config.delete with cas": Case(SERVICE_WRITE, _checked_delete),
    # of a service that has no proxy: what an agent has in its cache it gives to everybody
    "agent.leaf": Case(SERVICE_WRITE, lambda c, db, i: c.agent.leaf(f"{db}-native").value()),
    "agent.authorize": Case(BOTH, lambda c, db, i: c.agent.authorize(db, CALLER)),
    "agent.register": Case(SERVICE_WRITE, lambda c, db, i: c.agent.register(db, id=f"{db}2", port=1)),
    "agent.deregister": Case(SERVICE_WRITE, lambda c, db, i: c.agent.deregister(db)),
    "agent.service": Case(SERVICE_READ, lambda c, db, i: c.agent.service(db).value()),
    "agent.services": Case(SERVICE_READ, lambda c, db, i: c.agent.services()),
    "agent.maintenance": Case(SERVICE_WRITE, lambda c, db, i: c.agent.maintenance(db, enable=True)),
    "agent.check_pass": Case(SERVICE_WRITE, lambda c, db, i: c.agent.check_pass(f"service:{db}")),
    "agent.check_warn": Case(SERVICE_WRITE, lambda c, db, i: c.agent.check_warn(f"service:{db}")),
    "agent.check_fail": Case(SERVICE_WRITE, lambda c, db, i: c.agent.check_fail(f"service:{db}")),
    "agent.check_update": Case(
        SERVICE_WRITE, lambda c, db, i: c.agent.check_update(f"service:{db}", status="passing", output="fine")
    ),
    "agent.checks": Case(SERVICE_READ, lambda c, db, i: c.agent.checks()),
    "agent.register_check": Case(
        SERVICE_WRITE, lambda c, db, i: c.agent.register_check(Check(name=f"{db}-own", ttl=60), service_id=db)
    ),
    "agent.deregister_check": Case(SERVICE_WRITE, lambda c, db, i: c.agent.deregister_check(f"service:{db}")),
    "catalog.services": Case(SERVICE_READ, lambda c, db, i: c.catalog.services().value()),
    "catalog.nodes": Case(
        'node_prefix "" { policy = "read" }',
        lambda c, db, i: c.catalog.nodes().value(),
        too_few='service_prefix "" { policy = "read" }',
    ),
    "catalog.register": Case(
        'node "DB-node" { policy = "write" } service "DB-out" { policy = "write" }',
        lambda c, db, i: c.catalog.register(
            f"{db}-node", "10.0.0.1", service=ServiceInstance(service=f"{db}-out", port=5432)
        ),
        too_few='node "DB-node" { policy = "write" }',
    ),
    "catalog.deregister": Case(
        'node "DB-node" { policy = "write" }', lambda c, db, i: c.catalog.deregister(f"{db}-node")
    ),
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
    """A service with a check, a sidecar, a gateway, config entries and an intention; the id of the intention."""
    await manager.agent.register(db, port=80, checks=(Check(ttl=60),), sidecar=Sidecar())
    await manager.config.write(ServiceDefaults(name=db, protocol="tcp"))
    listener = IngressListener(port=8080, protocol="tcp", services=(IngressService(name=db),))
    await manager.config.write(IngressGateway(name=f"{db}-gateway", listeners=(listener,)))
    await manager.agent.register(f"{db}-gateway", port=8443, kind="ingress-gateway")
    return await manager.intentions.create("web", db, action="allow")


async def test_rights_that_the_page_names_are_enough(operation: str, guarded: GuardedAgent, unique: str) -> None:
    rules, call, _ = CASES[operation]
    async with Consul(guarded.url, token=guarded.management) as manager:
        intention = await prepared(manager, unique)
    async with Consul(guarded.url, token=await guarded.token(rules.replace("DB", unique))) as consul:
        found = await modelled(call(consul, unique, intention))
    assert found or not reads(operation), f"{operation} finds nothing with its rights"


async def test_without_its_rights_a_call_is_denied_or_finds_nothing(
    operation: str, guarded: GuardedAgent, unique: str
) -> None:
    async with Consul(guarded.url, token=guarded.management) as manager:
        intention = await prepared(manager, unique)
        before = set(await manager.agent.services())
    too_few = CASES[operation].too_few.replace("DB", unique)
    async with Consul(guarded.url, token=await guarded.token(too_few)) as consul:
        if reads(operation):
            with suppress(PermissionDenied, NotFound):
                found = await modelled(CASES[operation].call(consul, unique, intention))
                assert not found, "it answers without rights"
        else:
            with pytest.raises(PermissionDenied):
                await modelled(CASES[operation].call(consul, unique, intention))
    async with Consul(guarded.url, token=guarded.management) as manager:
        assert set(await manager.agent.services()) == before


async def modelled(call: Awaitable[object]) -> object:
    """What the call brings, or a skip where the in-process agent says that it does not model it."""
    try:
        return await call
    except Unsupported as error:
        if error.reason is ErrorReason.NOT_IMPLEMENTED:
            pytest.skip(error.text)
        raise


def reads(operation: str) -> bool:
    """Whether it brings something back."""
    return OPERATIONS[operation][0].startswith("GET") and "PUT" not in OPERATIONS[operation][0]


def test_each_operation_has_rights_and_a_case() -> None:
    assert list(RIGHTS) == list(OPERATIONS)
    assert set(CASES) | NOBODYS == set(OPERATIONS)


MESH_WRITE = {True: 'operator = "write"', False: 'mesh = "write"'}  # up to 1.10, and later
ENTRIES: dict[str, tuple[str, Callable[[str], Entry]]] = {
    "service-resolver": ('service "DB" { policy = "write" }', lambda name: ServiceResolver(name=name)),
    "service-splitter": (
        'service "DB" { policy = "write" }',
        lambda name: ServiceSplitter(name=name, splits=(Split(weight=100, service=name),)),
    ),
    "ingress-gateway": ("mesh", lambda name: IngressGateway(name=name)),
    "terminating-gateway": ("mesh", lambda name: TerminatingGateway(name=name)),
    "proxy-defaults": ("mesh", lambda _: ProxyDefaults(config={"protocol": "http"})),
}


@pytest.mark.parametrize("kind", list(ENTRIES))
async def test_rights_of_a_kind_are_enough_and_needed(kind: str, guarded: GuardedAgent, unique: str) -> None:
    rules, make = ENTRIES[kind]
    write = MESH_WRITE[guarded.version < (1, 11)] if rules == "mesh" else rules.replace("DB", unique)
    read = f'service "{unique}" {{ policy = "read" }}'
    entry = make(unique)
    async with Consul(guarded.url, token=guarded.management) as manager:
        defaults = ServiceDefaults(name=unique, protocol="http")
        await manager.config.write(defaults)
    async with Consul(guarded.url, token=await guarded.token(read)) as reader:
        with pytest.raises(PermissionDenied):
            await reader.config.write(entry)
    async with Consul(guarded.url, token=await guarded.token(write)) as writer:
        await writer.config.write(entry)
    anonymous = Consul(guarded.url, token="")
    async with Consul(guarded.url, token=await guarded.token(read)) as reader, anonymous as nobody:
        assert (await reader.config.read(kind, entry.name)) is not None
        if kind == "proxy-defaults":
            assert (await nobody.config.read(kind, entry.name)) is not None
        else:
            with pytest.raises(PermissionDenied):
                await nobody.config.read(kind, entry.name)
    async with Consul(guarded.url, token=guarded.management) as manager:
        await manager.config.delete(kind, entry.name)
        await manager.config.delete("service-defaults", unique)


async def test_resolver_that_redirects_without_read_of_its_target_is_denied(guarded: GuardedAgent, unique: str) -> None:
    own = f'service "{unique}" {{ policy = "write" }}'
    entry = ServiceResolver(name=unique, redirect=Redirect(service=f"{unique}2"))
    async with Consul(guarded.url, token=await guarded.token(own)) as consul:
        with pytest.raises(PermissionDenied):
            await consul.config.write(entry)
    both = f'{own} service "{unique}2" {{ policy = "read" }}'
    async with Consul(guarded.url, token=await guarded.token(both)) as consul:
        await consul.config.write(entry)
    async with Consul(guarded.url, token=guarded.management) as manager:
        await manager.config.delete("service-resolver", unique)
