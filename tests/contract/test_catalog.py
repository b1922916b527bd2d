"""The catalog: nodes and services by name, and what is registered in it by hand."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp import ClientSession
from support.agents_under_test import AgentUnderTest

from aioconsulconnect.client import Consul
from aioconsulconnect.errors import ErrorReason, InvalidRequest, Unsupported
from aioconsulconnect.structs import CatalogServiceKey, HealthCheck, Proxy, ServiceInstance, TaggedAddress
from aioconsulconnect.watch.changes import Added, Changed, Removed


async def test_services_are_watched_by_name(quick: Consul, unique: str) -> None:
    async with quick.catalog.services().watch() as watch, asyncio.timeout(30):
        assert "consul" in {service.name for service in await watch.until(bool)}
        await quick.agent.register(unique, port=1, tags=["v1"])
        found = await watch.until(lambda found: unique in {service.name for service in found})
        assert {service.name: service.tags for service in found}[unique] == ("v1",)
        changes = watch.changes()
        await anext(changes)
        await quick.agent.register(unique, port=1, tags=["v2"])
        await quick.agent.deregister(unique)
        seen: list[object] = []
        while not any(isinstance(change, Removed) for change in seen):
            seen += [change for change in await anext(changes) if change.key == CatalogServiceKey(unique)]
        assert all(isinstance(change, Changed | Removed) for change in seen)


async def test_nodes_are_read_and_watched(consul: Consul) -> None:
    info = await consul.agent.info()
    nodes = await consul.catalog.nodes()
    (own,) = [node for node in nodes if node.node == info.node]
    assert (own.id, own.datacenter, own.address) == (info.node_id, "dc1", "127.0.0.1")
    assert await consul.catalog.nodes(filter=f'Node == "{info.node}"') == (own,)
    assert own in await consul.catalog.nodes(near="_agent")
    assert await consul.catalog.nodes(node_meta={"no": "such"}) == ()
    async with consul.catalog.nodes().watch() as watch, asyncio.timeout(30):
        async for batch in watch.changes():
            assert own.key in {change.key for change in batch if isinstance(change, Added)}
            break


async def test_service_outside_of_the_mesh_is_registered_and_removed(
    quick: Consul, agent: AgentUnderTest, unique: str
) -> None:
    node = f"{unique}-node"
    service = ServiceInstance(
        service=unique,
        id=f"{unique}/1",
        port=5432,
        tags=("v1",),
        meta={"k": "v"},
        tagged_addresses={"wan": TaggedAddress(address="192.0.2.1", port=1)},
    )
    check = HealthCheck(check_id=f"{unique}-up", name="up", status="passing", service_id=f"{unique}/1")
    try:
        await quick.catalog.register(
            node, "192.0.2.7", node_meta={"external-node": unique}, service=service, checks=[check]
        )
    except Unsupported as error:
        if error.reason is ErrorReason.NOT_IMPLEMENTED:
            pytest.skip(error.text)
        raise
    (found,) = await quick.health.service(unique, passing=True)
    assert (found.address, found.port, found.dial("wan").host) == ("192.0.2.7", 5432, "192.0.2.1")
    assert (found.service.tags, found.service.meta) == (("v1",), {"k": "v"})
    assert [node.node for node in await quick.catalog.nodes(node_meta={"external-node": unique})] == [node]
    assert [each.name for each in await quick.catalog.services(node_meta={"external-node": unique})] == [unique]
    async with quick.health.service(unique).watch() as watch, asyncio.timeout(30):
        await watch.until(lambda found: len(found) == 1)
        await quick.catalog.deregister(node, service_id=f"{unique}/1")
        await watch.until(lambda found: not found)
    await quick.catalog.register(node, service=ServiceInstance(service=unique), skip_node_update=True)
    await quick.catalog.deregister(node)
    await quick.catalog.deregister(node)  # again: it is no error
    assert await quick.catalog.nodes(node_meta={"external-node": unique}) == ()


async def test_null_in_a_registration_is_not_sent(consul: Consul, unique: str) -> None:
    with pytest.raises(InvalidRequest, match=r"service\.proxy\.config\.l\[1\]"):
        await consul.catalog.register(
            unique, "192.0.2.7", service=ServiceInstance(service=unique, proxy=Proxy(config={"l": [1, None]}))
        )


async def test_wildcard_of_a_gateway_takes_a_later_registration(
    consul: Consul, agent: AgentUnderTest, unique: str
) -> None:
    gate, path = f"{unique}-gate", f"/v1/catalog/gateway-services/{unique}-gate"
    services = [{"Name": "*", "SNI": "any"}, {"Name": unique, "CAFile": "own"}]
    async with ClientSession(agent.url) as session:
        try:
            await session.put("/v1/config", json={"Kind": "terminating-gateway", "Name": gate, "Services": services})
            async with session.get(path) as answer:
                (named,) = [row for row in await answer.json() if row["Service"]["Name"] == unique]
            await consul.agent.register(unique, port=1)
            wild = named
            async with asyncio.timeout(10):
                while "FromWildcard" not in wild:
                    async with session.get(path) as answer:
                        (wild,) = [row for row in await answer.json() if row["Service"]["Name"] == unique]
        finally:
            await session.delete(f"/v1/config/terminating-gateway/{gate}")
            await consul.agent.deregister(unique)
    assert named["CAFile"] == "own"
    assert (wild["SNI"], wild.get("CAFile")) == ("any", None)
