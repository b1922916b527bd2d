"""The discovery chain: compiled, overridden, watched."""

from __future__ import annotations

import asyncio

from aioconsulconnect.client import Consul
from aioconsulconnect.structs.config_entries.defaults import ServiceDefaults
from aioconsulconnect.structs.config_entries.discovery_chain import ChainOverrides
from aioconsulconnect.structs.config_entries.traffic import (
    Failover,
    Route,
    RouteDestination,
    RouteHTTPMatch,
    RouteMatch,
    ServiceResolver,
    ServiceRouter,
    ServiceSplitter,
    Split,
    Subset,
)
from aioconsulconnect.structs.proxy import MeshGateway
from aioconsulconnect.watch.changes import Changed


async def test_a_name_that_nobody_knows_has_a_chain(consul: Consul, unique: str) -> None:
    chain = await consul.discovery_chain(unique)
    assert (chain.service_name, chain.datacenter, chain.protocol) == (unique, "dc1", "tcp")
    node = chain.nodes[chain.start_node]
    assert node.type == "resolver"
    assert node.resolver is not None
    assert node.resolver.connect_timeout == 5
    target = chain.targets[node.resolver.target]
    assert target.service == unique
    assert target.sni.startswith(f"{unique}.default.dc1.internal.")


async def test_overrides(consul: Consul, unique: str) -> None:
    overrides = ChainOverrides(protocol="grpc", connect_timeout=7.5, mesh_gateway=MeshGateway(mode="local"))
    chain = await consul.discovery_chain(unique, overrides=overrides)
    assert chain.protocol == "grpc"
    assert chain.customization_hash
    resolver = chain.nodes[chain.start_node].resolver
    assert resolver is not None
    assert resolver.connect_timeout == 7.5
    assert await consul.discovery_chain(unique, compile_datacenter="dc1") == await consul.discovery_chain(unique)


async def test_router_splitter_and_resolver_make_the_chain(consul: Consul, unique: str) -> None:
    till = f"{unique}-till"
    for name in (unique, till):
        await consul.config.write(ServiceDefaults(name=name, protocol="http"))
    await consul.config.write(
        ServiceResolver(
            name=unique,
            subsets={
                "v1": Subset(filter="Service.Meta.version == v1", only_passing=True),
                "v2": Subset(filter="a in b"),
            },
            failover={"*": Failover(datacenters=("dc2",))},
            connect_timeout=15,
        )
    )
    splits = (Split(weight=90, service_subset="v1"), Split(weight=10, service_subset="v2"))
    await consul.config.write(ServiceSplitter(name=unique, splits=splits))
    route = Route(
        match=RouteMatch(http=RouteHTTPMatch(path_prefix="/pay")),
        destination=RouteDestination(service=till, request_timeout=3),
    )
    await consul.config.write(ServiceRouter(name=unique, routes=(route,)))

    chain = await consul.discovery_chain(unique)
    router = chain.nodes[chain.start_node]
    assert router.type == "router"
    first, rest = router.routes
    assert first.definition is not None
    assert first.definition.destination is not None
    assert first.definition.destination.request_timeout == 3
    to_till = chain.nodes[first.next_node].resolver
    assert to_till is not None
    assert chain.targets[to_till.target].service == till
    splitter = chain.nodes[rest.next_node]
    assert [split.weight for split in splitter.splits] == [90, 10]
    resolver = chain.nodes[splitter.splits[0].next_node].resolver
    assert resolver is not None
    assert resolver.connect_timeout == 15
    assert chain.targets[resolver.target].subset.only_passing
    assert resolver.failover is not None
    assert [chain.targets[name].datacenter for name in resolver.failover.targets] == ["dc2"]
    for kind in ("service-router", "service-splitter", "service-resolver"):
        await consul.config.delete(kind, unique)


async def test_a_chain_is_watched(consul: Consul, unique: str) -> None:
    async with consul.discovery_chain(unique).watch() as watch, asyncio.timeout(30):
        changes = watch.changes()
        await anext(changes)
        await consul.config.write(ServiceDefaults(name=unique, protocol="http"))
        (changed,) = await anext(changes)
        assert isinstance(changed, Changed)
        assert (changed.old.protocol, changed.new.protocol) == ("tcp", "http")
