"""Health and catalog: instances found, filtered, dialled and watched; and the whole way of a service."""

from __future__ import annotations

import asyncio

import pytest
from support.agents_under_test import AgentUnderTest

from aioconsulconnect.client import Consul
from aioconsulconnect.errors import InvalidRequest, Unsupported
from aioconsulconnect.structs.agent import Check, Sidecar
from aioconsulconnect.structs.catalog import Address, Instance
from aioconsulconnect.structs.config_entries.defaults import ServiceDefaults
from aioconsulconnect.structs.config_entries.gateways import (
    IngressGateway,
    IngressListener,
    IngressService,
    LinkedService,
    TerminatingGateway,
)
from aioconsulconnect.structs.proxy import TaggedAddress
from aioconsulconnect.structs.spiffe import SpiffeId
from aioconsulconnect.watch.changes import Added, Removed


def passing(check_id: str) -> tuple[Check, ...]:
    return (Check(check_id=check_id, name="alive", ttl=600, status="passing"),)


async def test_instances_are_found_filtered_and_dialled(consul: Consul, unique: str) -> None:
    first, second = f"{unique}-1", f"{unique}-2"
    await consul.agent.register(
        unique,
        id=first,
        port=9001,
        native=True,
        tags=["v1", "blue"],
        meta={"version": "1"},
        checks=passing(f"{first}-ttl"),
        tagged_addresses={"wan": TaggedAddress(address="192.0.2.1", port=443)},
    )
    await consul.agent.register(
        unique, id=second, port=9002, native=True, address="192.0.2.9", tags=["v2"], checks=[Check(ttl=600)]
    )
    async with consul.health.connect(unique).watch() as watch:
        found = await watch.until(lambda found: len(found) == 2, 20)
    one, two = sorted(found, key=lambda instance: instance.service.id)
    assert (one.address, one.port, one.status) == (one.node.address, 9001, "passing")
    assert (two.address, two.port, two.status) == ("192.0.2.9", 9002, "critical")
    assert one.dial("wan") == Address("192.0.2.1", 443)
    assert two.dial("wan") == Address("192.0.2.9", 9002)
    assert one.service.connect.native

    async def ids(**asked: object) -> list[str]:
        health = await consul.health.connect(unique, **asked)  # type: ignore[arg-type]
        if "passing" not in asked and "filter" not in asked:
            catalog = await consul.catalog.connect(unique, **asked)  # type: ignore[arg-type]
            assert sorted(each.service.id for each in health) == sorted(each.service_id for each in catalog)
        return sorted(each.service.id for each in health)

    assert await ids() == [first, second]
    assert await ids(passing=True) == [first]
    assert await ids(tags=["v1"]) == [first]
    assert await ids(tags=["v1", "blue"]) == [first]
    assert await ids(tags=["v1", "v2"]) == []
    assert await ids(tags=['"', "é"]) == []
    assert await ids(tags=["v2"], filter="Service.Port == 9002 or Service.Port == 9001") == [second]
    assert await ids(near="_agent") == [first, second]
    assert await ids(node_meta={"no": "such"}) == []
    assert await ids(filter='Service.Meta.version == "1"') == [first]
    by_meta = await consul.catalog.connect(unique, filter='ServiceMeta.version == "1"')
    assert [(each.address, each.port) for each in by_meta] == [(one.node.address, 9001)]
    plain = await consul.health.service(unique, passing=True)
    assert [each.key for each in plain] == [one.key]
    with pytest.raises(InvalidRequest):
        consul.health.connect(unique, tags="v1")
    for service_id in (first, second):
        await consul.agent.deregister(service_id)


async def test_health_and_catalog_of_an_unknown_service_are_empty(consul: Consul, unique: str) -> None:
    assert await consul.health.connect(unique) == ()
    assert await consul.health.ingress(unique) == ()
    assert await consul.health.service(unique) == ()
    assert await consul.catalog.connect(unique) == ()
    assert await consul.catalog.gateway_services(unique) == ()


async def test_a_peer_is_never_mistaken_for_the_own_cluster(consul: Consul, agent: AgentUnderTest, unique: str) -> None:
    await consul.agent.register(unique, port=9001, native=True)
    async with consul.health.connect(unique).watch() as watch:
        await watch.until(lambda found: len(found) == 1, 20)
    if agent.version < (1, 13):
        with pytest.raises(Unsupported) as caught:
            await consul.health.connect(unique, peer="east")
        assert caught.value.min_version == "1.13"
    else:
        assert await consul.health.connect(unique, peer="east") == ()
    if agent.version < (1, 22):
        with pytest.raises(Unsupported, match=r"health\.connect"):
            await consul.catalog.connect(unique, peer="east")
    else:
        assert await consul.catalog.connect(unique, peer="east") == ()
    await consul.agent.deregister(unique)


async def test_gateways_and_what_they_serve(consul: Consul, unique: str) -> None:
    edge, way_out, shop = f"{unique}-edge", f"{unique}-exit", f"{unique}-shop"
    await consul.config.write(ServiceDefaults(name=shop, protocol="http"))
    services = (IngressService(name=shop, hosts=("shop.example",)),)
    listeners = (IngressListener(port=8080, protocol="http", services=services),)
    await consul.config.write(IngressGateway(name=edge, listeners=listeners))
    await consul.config.write(
        TerminatingGateway(name=way_out, services=(LinkedService(name=f"{unique}-out", sni="out.example"),))
    )
    await consul.agent.register(edge, kind="ingress-gateway", port=8081)
    async with consul.health.ingress(shop).watch() as watch:
        (gateway,) = await watch.until(lambda found: len(found) == 1, 20)
    assert (gateway.service.kind, gateway.port) == ("ingress-gateway", 8081)
    (served,) = await consul.catalog.gateway_services(edge)
    assert (served.service.name, served.port, served.protocol, served.hosts) == (shop, 8080, "http", ("shop.example",))
    (linked,) = await consul.catalog.gateway_services(way_out)
    assert (linked.service.name, linked.sni, linked.gateway_kind) == (
        f"{unique}-out", "out.example", "terminating-gateway",
    )  # fmt: skip
    await consul.agent.deregister(edge)
    await consul.config.delete("ingress-gateway", edge)
    await consul.config.delete("terminating-gateway", way_out)
    await consul.config.delete("service-defaults", shop)


async def test_merged_with_the_central_configuration(consul: Consul, agent: AgentUnderTest, unique: str) -> None:
    await consul.agent.register(unique, port=9001, sidecar=Sidecar(checks=passing(f"{unique}-ttl")))
    async with consul.health.connect(unique, merge_central_config=True).watch() as watch:
        (found,) = await watch.until(lambda found: len(found) == 1, 20)
    assert found.service.proxy.destination_service_name == unique
    (item,) = await consul.catalog.connect(unique, merge_central_config=True)
    assert item.service_id == found.service.id
    assert item.node == found.node.node
    await consul.agent.deregister(unique)


async def test_the_whole_way_of_a_service(consul: Consul, agent: AgentUnderTest, unique: str) -> None:
    web, check = f"{unique}-web", f"{unique}-ttl"
    async with consul.health.connect(unique, passing=True).watch() as watch, asyncio.timeout(40):
        changes = watch.changes()
        assert list(await anext(changes)) == []

        await consul.agent.register(unique, port=9001, sidecar=Sidecar(checks=(Check(check_id=check, ttl=600),)))
        await consul.agent.check_pass(check)
        (added,) = await anext(changes)
        assert isinstance(added, Added)
        instance: Instance = added.new
        assert instance.service.proxy.destination_service_name == unique
        assert instance.port >= 21000
        assert await consul.health.connect(unique, passing=True) == (instance,)

        leaf = await consul.agent.leaf(unique)
        assert SpiffeId.parse(leaf.service_uri).name == unique
        if agent.version < (1, 9):
            await consul.intentions.create(web, unique, action="allow")
        else:
            await consul.intentions.upsert(web, unique, action="allow")
        peer = await consul.agent.leaf(web)
        while not await consul.agent.authorize(unique, peer.service_uri, peer.serial_number):
            continue  # the agent's cache follows in the background

        await consul.agent.deregister(unique)
        (removed,) = await anext(changes)
        assert isinstance(removed, Removed)
        assert removed.old.service.id == instance.service.id
