"""Config entries: written, read, listed, watched and deleted, on every agent."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp import ClientSession
from msgspec.structs import replace
from support.agents_under_test import AgentUnderTest

from aioconsulconnect.client import Consul
from aioconsulconnect.compatibility import KIND_SINCE, version_of
from aioconsulconnect.errors import BadRequest, Conflict, InvalidRequest, UnreadableResponse, Unsupported
from aioconsulconnect.structs.config_entries.access import (
    Consumer,
    ExportedService,
    ExportedServices,
    JSONWebKeySet,
    JWTLocation,
    JWTLocationHeader,
    JWTProvider,
    LocalJWKS,
    ServiceIntentions,
    SourceIntention,
)
from aioconsulconnect.structs.config_entries.defaults import Mesh, MeshTransparentProxy, ProxyDefaults, ServiceDefaults
from aioconsulconnect.structs.config_entries.gateways import (
    IngressGateway,
    IngressListener,
    IngressService,
    LinkedService,
    TerminatingGateway,
)
from aioconsulconnect.structs.config_entries.kinds import Entry, UnknownEntry
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
from aioconsulconnect.structs.proxy import Expose, ExposePath, MeshGateway
from aioconsulconnect.watch.changes import Added, Changed, Removed


def samples(name: str) -> list[Entry]:
    """One of each kind, in an order in which Consul takes them, with fields that the first server of the kind knows."""
    shop, till = f"{name}-shop", f"{name}-till"
    http = RouteHTTPMatch(path_prefix="/admin", methods=("GET",))
    return [
        ProxyDefaults(
            config={"local_connect_timeout_ms": 1000},
            mesh_gateway=MeshGateway(mode="local"),
            expose=Expose(checks=True, paths=(ExposePath(path="/health", local_path_port=8080, listener_port=21500),)),
        ),
        ServiceDefaults(name=shop, protocol="http", mesh_gateway=MeshGateway(mode="remote")),
        ServiceDefaults(name=till, protocol="http", external_sni="sni.example"),
        ServiceResolver(
            name=shop,
            default_subset="v1",
            subsets={
                "v1": Subset(filter="Service.Meta.version == v1", only_passing=True),
                "v2": Subset(filter="a in b"),
            },
            failover={"*": Failover(datacenters=("dc2",))},
            connect_timeout=15,
        ),
        ServiceSplitter(
            name=shop, splits=(Split(weight=90, service_subset="v1"), Split(weight=10, service_subset="v2"))
        ),
        ServiceRouter(
            name=shop,
            routes=(
                Route(
                    match=RouteMatch(http=http),
                    destination=RouteDestination(
                        service=till, request_timeout=3, num_retries=2, retry_on_status_codes=(503,)
                    ),
                ),
            ),
        ),
        IngressGateway(
            name=f"{name}-edge",
            listeners=(
                IngressListener(
                    port=8080, protocol="http", services=(IngressService(name=shop, hosts=("a.example",)),)
                ),
            ),
        ),
        TerminatingGateway(name=f"{name}-exit", services=(LinkedService(name=f"{name}-out", sni="out.example"),)),
        ServiceIntentions(
            name=till,
            sources=(
                SourceIntention(name=shop, action="allow", description="sells"),
                SourceIntention(name="*", action="deny"),
            ),
        ),
        Mesh(transparent_proxy=MeshTransparentProxy(mesh_destinations_only=True)),
        ExportedServices(services=(ExportedService(name=till, consumers=(Consumer(peer="east"),)),)),
        JWTProvider(
            name=f"{name}-okta",
            issuer="https://issuer.example",
            audiences=("a",),
            json_web_key_set=JSONWebKeySet(local=LocalJWKS(jwks="eyJrZXlzIjpbXX0=")),
            locations=(JWTLocation(header=JWTLocationHeader(name="x-jwt", value_prefix="Bearer ")),),
            clock_skew_seconds=30,
        ),
    ]


def asked(entry: Entry) -> Entry:
    """The entry without what the server adds to it."""
    assert not isinstance(entry, UnknownEntry)
    if isinstance(entry, ServiceIntentions):
        entry = replace(entry, sources=tuple(replace(source, precedence=0, type="") for source in entry.sources))
    if isinstance(entry, ServiceRouter):
        entry = replace(entry, routes=tuple(_without_default_namespace(route) for route in entry.routes))
    return replace(entry, hash=0, create_index=0, modify_index=0)


def _without_default_namespace(route: Route) -> Route:
    """1.8 fills it in."""
    destination = route.destination
    assert destination is not None
    return replace(route, destination=replace(destination, namespace=destination.namespace.removeprefix("default")))


def knows(agent: AgentUnderTest, kind: str) -> bool:
    return agent.version >= version_of(KIND_SINCE.get(kind, "1.8"))[:2]


async def test_every_kind_is_written_read_listed_and_deleted(
    consul: Consul, agent: AgentUnderTest, unique: str
) -> None:
    written: list[Entry] = []
    for entry in samples(unique):
        if not knows(agent, entry.kind):
            with pytest.raises(Unsupported) as caught:
                await consul.config.write(entry)
            assert caught.value.min_version == KIND_SINCE[entry.kind]
            with pytest.raises(Unsupported):
                await consul.config.list(entry.kind)
            continue
        await consul.config.write(entry)
        written.append(entry)
        found = await consul.config.read(entry.kind, entry.name)
        assert found is not None
        assert asked(found) == entry
        assert found in await consul.config.list(entry.kind)
        assert found.modify_index > 0
    assert len(written) >= 8
    every = await consul.config.list()
    assert {(entry.kind, entry.name) for entry in written} <= {(entry.kind, entry.name) for entry in every}
    for entry in reversed(written):
        await consul.config.delete(entry.kind, entry.name)
        assert await consul.config.read(entry.kind, entry.name) is None
        await consul.config.delete(entry.kind, entry.name)


async def test_config_entry_written_back_as_read_is_unchanged(
    consul: Consul, agent: AgentUnderTest, unique: str
) -> None:
    for entry in samples(unique):
        if not knows(agent, entry.kind):
            continue
        await consul.config.write(entry)
        found = await consul.config.read(entry.kind, entry.name)
        assert found is not None
        await consul.config.write(found, cas=found.modify_index)
        again = await consul.config.read(entry.kind, entry.name)
        assert again is not None
        assert asked(again) == asked(found)
        if agent.version > (1, 8):  # 1.8 writes whatever it is given
            assert again.modify_index == found.modify_index
    for entry in reversed(samples(unique)):
        if knows(agent, entry.kind):
            await consul.config.delete(entry.kind, entry.name)


async def test_check_and_set(consul: Consul, unique: str) -> None:
    entry = ServiceDefaults(name=unique, protocol="http")
    with pytest.raises(Conflict):
        await consul.config.write(entry, cas=12345)
    await consul.config.write(entry, cas=0)
    with pytest.raises(Conflict):
        await consul.config.write(replace(entry, protocol="grpc"), cas=0)
    first = await consul.config.read("service-defaults", unique)
    assert first is not None
    await consul.config.write(replace(entry, protocol="grpc"), cas=first.modify_index)
    with pytest.raises(Conflict) as caught:
        await consul.config.write(replace(entry, protocol="http2"), cas=first.modify_index)
    assert caught.value.path == "/v1/config"
    second = await consul.config.read("service-defaults", unique)
    assert second is not None
    assert second.protocol == "grpc"


async def test_a_checked_deletion_deletes_only_what_was_read(
    consul: Consul, agent: AgentUnderTest, unique: str
) -> None:
    await consul.config.write(ServiceDefaults(name=unique, protocol="http"))
    found = await consul.config.read("service-defaults", unique)
    assert found is not None
    if agent.version < (1, 11):
        with pytest.raises(Unsupported, match=r"1\.11"):
            await consul.config.delete("service-defaults", unique, cas=found.modify_index - 1)
    else:
        with pytest.raises(Conflict):
            await consul.config.delete("service-defaults", unique, cas=found.modify_index - 1)
    assert await consul.config.read("service-defaults", unique) == found
    if agent.version >= (1, 11):
        await consul.config.delete("service-defaults", unique, cas=found.modify_index)
        assert await consul.config.read("service-defaults", unique) is None
        await consul.config.delete("service-defaults", unique, cas=found.modify_index)


async def test_config_call_with_invalid_arguments_raises_invalid_request(consul: Consul) -> None:
    with pytest.raises(InvalidRequest):
        consul.config.read("service-defaults", "")
    with pytest.raises(InvalidRequest):
        await consul.config.delete("service-defaults")
    with pytest.raises(InvalidRequest):
        await consul.config.delete("service-defaults", "x", cas=0)
    with pytest.raises(InvalidRequest):
        await consul.config.write(ServiceDefaults(name="x"), cas=-1)


async def test_consul_tells_what_is_wrong_with_an_entry(consul: Consul, unique: str) -> None:
    with pytest.raises(BadRequest):
        await consul.config.write(UnknownEntry(content={"Kind": "service-defaults", "Name": unique, "Bogus": 1}))
    with pytest.raises(Unsupported):
        await consul.config.write(UnknownEntry(content={"Kind": "no-such-kind", "Name": unique}))
    with pytest.raises(Unsupported):
        await consul.config.list("no-such-kind")


async def test_a_field_of_a_newer_server_names_the_version(consul: Consul, agent: AgentUnderTest, unique: str) -> None:
    entry = ServiceDefaults(name=unique, max_inbound_connections=5)
    if agent.version >= (1, 14):
        await consul.config.write(entry)
        found = await consul.config.read("service-defaults", unique)
        assert found is not None
        assert found.max_inbound_connections == 5
        return
    with pytest.raises(Unsupported) as caught:
        await consul.config.write(entry)
    assert caught.value.min_version == "1.14"


async def test_an_entry_and_a_list_can_be_watched(consul: Consul, unique: str) -> None:
    async with (
        consul.config.read("service-defaults", unique).watch() as one,
        consul.config.list("service-defaults").watch() as every,
        asyncio.timeout(30),
    ):
        changes, others = one.changes(), every.changes()
        assert list(await anext(changes)) == []
        known = [change.new.name for change in await anext(others) if isinstance(change, Added)]
        assert unique not in known

        await consul.config.write(ServiceDefaults(name=unique, protocol="http"))
        (added,) = await anext(changes)
        assert isinstance(added, Added)
        assert added.new.protocol == "http"
        assert one.current == added.new
        await every.until(lambda found: any(entry.name == unique for entry in found))

        await consul.config.write(ServiceDefaults(name=unique, protocol="grpc"))
        (changed,) = await anext(changes)
        assert isinstance(changed, Changed)
        assert (changed.old.protocol, changed.new.protocol) == ("http", "grpc")

        await consul.config.delete("service-defaults", unique)
        (removed,) = await anext(changes)
        assert isinstance(removed, Removed)
        assert one.current is None


@pytest.mark.parametrize(
    ("entry", "path"),
    [
        (ProxyDefaults(config={"protocol": "http", "l": [1, None]}), r"config\.l\[1\]"),
        (ProxyDefaults(config={"a": {"b": None}}), r"config\.a\.b"),
        (ProxyDefaults(config={"ratio": float("nan")}), r"config\.ratio"),
    ],
)
async def test_null_in_an_open_map_does_not_reach_the_server(consul: Consul, entry: Entry, path: str) -> None:
    with pytest.raises(InvalidRequest, match=path):
        await consul.config.write(entry)
    assert (await consul.agent.info()).node  # it still runs


async def test_entry_with_an_odd_name_is_deleted_where_consul_can(
    consul: Consul, agent: AgentUnderTest, unique: str
) -> None:
    async with ClientSession(agent.url) as session:
        body = {"Kind": "service-defaults", "Name": f"{unique}//b", "Protocol": "tcp"}
        async with session.put("/v1/config", json=body) as answer:
            assert answer.status == 200
    with pytest.raises(InvalidRequest, match="name"):
        await consul.config.write(ServiceDefaults(name=f"{unique}//b"))
    if agent.version < (1, 20):
        with pytest.raises(UnreadableResponse):
            await consul.config.delete("service-defaults", f"{unique}//b")
    else:
        await consul.config.delete("service-defaults", f"{unique}//b")
    names = {entry.name for entry in await consul.config.list("service-defaults")}
    assert (f"{unique}//b" in names) == (agent.version < (1, 20))
