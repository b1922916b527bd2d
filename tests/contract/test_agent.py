"""The agent: registration in every shape, checks, leaf and roots, verdicts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import ClientSession
from cryptography import x509
from support.agents_under_test import AgentUnderTest

from aioconsulconnect.client import Consul
from aioconsulconnect.errors import BadRequest, ConsulError, InvalidRequest, NotFound, Unsupported
from aioconsulconnect.structs.agent import Check, Sidecar
from aioconsulconnect.structs.intentions import Action
from aioconsulconnect.structs.proxy import Expose, ExposePath, MeshGateway, Proxy, TaggedAddress, Upstream, Weights
from aioconsulconnect.structs.spiffe import SpiffeId
from aioconsulconnect.watch.changes import Added, Changed, Removed

OTHER = "spiffe://11111111-2222-3333-4444-555555555555.consul/ns/default/dc/dc1/svc/{}"


@asynccontextmanager
async def intention(
    consul: Consul, agent: AgentUnderTest, source: str, destination: str, action: Action
) -> AsyncIterator[None]:
    """An intention for a while: one that matches every source would disturb other tests on the same agent."""
    if agent.version >= (1, 9):
        await consul.intentions.upsert(source, destination, action=action)
        yield
        await consul.intentions.delete(source, destination)
    else:
        created = await consul.intentions.create(source, destination, action=action)
        yield
        await consul.intentions.delete_by_id(created)


async def test_agent_info_has_version_datacenter_and_node(consul: Consul, agent: AgentUnderTest) -> None:
    info = await consul.agent.info()
    major, minor = agent.version
    assert info.version.startswith(f"{major}.{minor}.") or info.version == f"{major}.{minor}"
    assert info.datacenter == info.primary_datacenter == "dc1"
    assert info.node
    assert info.server
    assert info.connect_enabled is not False


async def test_capabilities_follow_the_version_of_the_agent_and_are_cached(
    consul: Consul, agent: AgentUnderTest
) -> None:
    found = await consul.capabilities()
    assert found is await consul.capabilities()
    assert found is not await consul.capabilities(refresh=True)
    assert found.address == agent.url
    assert found.serves("intentions.upsert") == (agent.version >= (1, 9))
    assert found.serves("config.delete with cas") == (agent.version >= (1, 11))
    assert found.serves("agent.leaf")
    if agent.version < (1, 9):
        with pytest.raises(Unsupported, match=r"1\.9") as caught:
            found.require("intentions.upsert")
        assert caught.value.min_version == "1.9"


async def test_a_native_service(consul: Consul, unique: str) -> None:
    await consul.agent.register(
        unique,
        id=f"{unique}-1",
        port=9191,
        native=True,
        tags=["a"],
        meta={"v": "1"},
        weights=Weights(passing=3, warning=1),
    )
    service = await consul.agent.service(f"{unique}-1")
    assert service is not None
    assert (service.service, service.port, service.tags, service.meta) == (unique, 9191, ("a",), {"v": "1"})
    assert service.connect.native
    assert service.weights == Weights(passing=3, warning=1)
    assert service.content_hash
    assert f"{unique}-1" in await consul.agent.services()
    await consul.agent.deregister(f"{unique}-1")
    assert await consul.agent.service(f"{unique}-1") is None
    assert f"{unique}-1" not in await consul.agent.services()


async def test_a_sidecar_with_what_consul_fills_in(consul: Consul, unique: str) -> None:
    upstream = Upstream(destination_name="native-db", local_bind_port=9999, mesh_gateway=MeshGateway(mode="local"))
    await consul.agent.register(
        unique,
        port=9292,
        meta={"v": "1"},
        sidecar=Sidecar(proxy=Proxy(upstreams=(upstream,), expose=Expose(checks=True))),
    )
    sidecar = await consul.agent.service(f"{unique}-sidecar-proxy")
    assert sidecar is not None
    assert sidecar.kind == "connect-proxy"
    assert sidecar.meta == {"v": "1"}
    assert 21000 <= sidecar.port <= 21255
    assert sidecar.proxy is not None
    assert sidecar.proxy.destination_service_name == unique
    assert sidecar.proxy.destination_service_id == unique
    assert sidecar.proxy.local_service_port == 9292
    assert sidecar.proxy.expose.checks
    (found,) = sidecar.proxy.upstreams
    assert (found.destination_name, found.local_bind_port, found.mesh_gateway.mode) == ("native-db", 9999, "local")
    await consul.agent.deregister(unique)
    assert await consul.agent.service(f"{unique}-sidecar-proxy") is None


async def test_a_proxy_of_its_own_and_the_gateways(consul: Consul, unique: str) -> None:
    await consul.agent.register(
        f"{unique}-proxy",
        kind="connect-proxy",
        port=20000,
        proxy=Proxy(
            destination_service_name=unique,
            local_service_port=8080,
            config={"protocol": "http"},
            upstreams=(
                Upstream(destination_type="prepared_query", destination_name="q", local_bind_port=1),
                Upstream(destination_name="till", local_bind_port=2, datacenter="dc2", config={"a": 1}),
            ),
            expose=Expose(paths=(ExposePath(path="/m", local_path_port=1, listener_port=2),)),
        ),
    )
    proxy = await consul.agent.service(f"{unique}-proxy")
    assert proxy is not None
    assert proxy.proxy is not None
    assert [each.destination_name for each in proxy.proxy.upstreams][:2] == ["q", "till"]
    assert proxy.proxy.upstreams[1].datacenter == "dc2"
    assert proxy.proxy.expose.paths[0].path == "/m"
    for kind in ("mesh-gateway", "ingress-gateway", "terminating-gateway"):
        name = f"{unique}-{kind}"
        await consul.agent.register(
            name,
            kind=kind,
            port=8443,
            tagged_addresses={"wan": TaggedAddress(address="192.0.2.1", port=443)},
        )
        gateway = await consul.agent.service(name)
        assert gateway is not None
        assert gateway.kind == kind
        assert gateway.tagged_addresses == {"wan": TaggedAddress(address="192.0.2.1", port=443)}
    found = await consul.agent.services(filter=f'Service contains "{unique}" and Kind == "mesh-gateway"')
    assert list(found) == [f"{unique}-mesh-gateway"]
    for service_id in await consul.agent.services(filter=f'Service contains "{unique}"'):
        await consul.agent.deregister(service_id)


async def test_a_field_of_a_newer_agent_names_the_version(consul: Consul, agent: AgentUnderTest, unique: str) -> None:
    async def register() -> None:
        await consul.agent.register(unique, socket_path="/run/x.sock", native=True)

    if agent.version < (1, 10):
        with pytest.raises(Unsupported) as caught:
            await register()
        assert caught.value.min_version == "1.10"
        return
    await register()
    service = await consul.agent.service(unique)
    assert service is not None
    assert service.socket_path == "/run/x.sock"
    await consul.agent.deregister(unique)


@pytest.mark.parametrize(
    "shape",
    [
        {"name": ""},
        {"native": True},
        {"native": True, "sidecar": Sidecar(), "port": 1},
        {"kind": "connect-proxy", "port": 1},
        {"kind": "connect-proxy", "proxy": Proxy(destination_service_name="x")},
        {"proxy": Proxy(destination_service_name="x"), "port": 1},
        {"tags": "abc"},
    ],
)
async def test_a_shape_that_has_no_use_is_refused_before_it_is_sent(consul: Consul, shape: dict[str, object]) -> None:
    with pytest.raises(InvalidRequest):
        await consul.agent.register(**{"name": "x", **shape})  # type: ignore[arg-type]


async def test_consul_tells_what_is_wrong_with_a_registration(consul: Consul, unique: str) -> None:
    with pytest.raises(BadRequest):
        await consul.agent.register(unique, address="0.0.0.0")


async def test_to_deregister_an_unknown_service(consul: Consul, agent: AgentUnderTest, unique: str) -> None:
    if agent.version >= (1, 12):
        with pytest.raises(NotFound):
            await consul.agent.deregister(unique)
    else:
        await consul.agent.deregister(unique)


async def test_a_ttl_check_and_maintenance_show_in_the_health(quick: Consul, unique: str) -> None:
    consul, check = quick, f"{unique}-ttl"
    await consul.agent.register(unique, port=1, checks=[Check(check_id=check, name="alive", ttl=60)])
    async with consul.health.service(unique).watch() as watch, asyncio.timeout(30):
        for report, status in (
            (consul.agent.check_pass, "passing"),
            (consul.agent.check_warn, "warning"),
            (consul.agent.check_fail, "critical"),
            (consul.agent.check_pass, "passing"),
        ):
            await report(check, note=f"now {status}")
            (found,) = await watch.until(lambda found, status=status: [i.status for i in found] == [status])  # type: ignore[misc]
            assert next(each for each in found.checks if each.check_id == check).output == f"now {status}"
        await consul.agent.maintenance(unique, enable=True, reason="moving")
        (found,) = await watch.until(lambda found: [i.status for i in found] == ["maintenance"])
        assert "moving" in [each.notes for each in found.checks]
        await consul.agent.maintenance(unique, enable=False)
        await watch.until(lambda found: [i.status for i in found] == ["passing"])
        await consul.agent.deregister(unique)
        await watch.until(lambda found: not found)


ODD = ("/{}", "{}//b", "http://{}/x", "{}\u2028b", "{}\u00a0b", "{}\nb", "{}/../b")


async def test_services_with_odd_ids_are_cleaned_up(consul: Consul, agent: AgentUnderTest, unique: str) -> None:
    """A loop over all services removes them: at once where a path leads to them, else a critical check sees to it."""
    made = [odd.format(unique) for odd in ODD]
    async with ClientSession(agent.url) as session:
        for service_id in made:
            body = {"Name": unique, "ID": service_id, "Port": 1}
            async with session.put("/v1/agent/service/register", json=body) as answer:
                assert answer.status == 200
    for service_id, service in (await consul.agent.services()).items():
        if service.service == unique:
            await consul.agent.deregister(service_id)
    left = {key for key, service in (await consul.agent.services()).items() if service.service == unique}
    assert left == {key for key in made if agent.version < (1, 20) or not key.isprintable()}
    removing = {check.service_id: check.status for check in (await consul.agent.checks()).values()}
    assert {removing.get(key) for key in left} == {"critical"}


async def test_check_by_itself(consul: Consul, agent: AgentUnderTest, unique: str) -> None:
    await consul.agent.register(unique, port=1)
    own = f"{unique}/own check"
    await consul.agent.register_check(Check(check_id=own, name="own", notes="by hand", ttl=60), service_id=unique)
    await consul.agent.register_check(Check(name=f"{unique}-named", ttl=60, status="passing"), service_id=unique)
    found = {key: check for key, check in (await consul.agent.checks()).items() if check.service_id == unique}
    assert {key: (check.name, check.status, check.type) for key, check in found.items()} == {
        own: ("own", "critical", "ttl"),
        f"{unique}-named": (f"{unique}-named", "passing", "ttl"),
    }
    assert (found[own].notes, found[own].service_name) == ("by hand", unique)
    await consul.agent.check_update(own, status="warning", output="slow")
    await consul.agent.check_pass(f"{unique}-named", note="x" * 20_000)
    chosen = await consul.agent.checks(filter=f'CheckID == "{own}"')
    assert [(check.status, check.output) for check in chosen.values()] == [("warning", "slow")]
    await consul.agent.deregister_check(own)
    await consul.agent.deregister_check(f"{unique}-named")
    assert unique not in {check.service_id for check in (await consul.agent.checks()).values()}
    if agent.version >= (1, 12):
        with pytest.raises(NotFound):
            await consul.agent.deregister_check(own)
    else:
        await consul.agent.deregister_check(own)
    with pytest.raises(NotFound):
        await consul.agent.register_check(Check(name=own, ttl=60), service_id=f"{unique}-none")
    await consul.agent.deregister(unique)


async def test_what_consul_finds_wrong_in_a_check(consul: Consul, unique: str) -> None:
    await consul.agent.register(unique, port=1)
    for check in (
        Check(name="x"),
        Check(name="x", ttl=1, status="fine"),
        Check(name="x", ttl=1, interval=1),
        Check(name="x", tcp="127.0.0.1:1"),
    ):
        with pytest.raises(BadRequest):
            await consul.agent.register_check(check, service_id=unique)
    await consul.agent.deregister(unique)


async def test_an_unknown_check_or_service(consul: Consul, agent: AgentUnderTest, unique: str) -> None:
    unknown: type[ConsulError] = NotFound if agent.version >= (1, 12) else BadRequest
    with pytest.raises(unknown):
        await consul.agent.check_pass(unique)
    with pytest.raises(NotFound):
        await consul.agent.maintenance(unique, enable=True)


async def test_one_service_is_watched_by_its_hash(consul: Consul, unique: str) -> None:
    await consul.agent.register(unique, port=1, meta={"v": "1"})
    async with consul.agent.service(unique).watch() as watch, asyncio.timeout(30):
        changes = watch.changes()
        (added,) = await anext(changes)
        assert isinstance(added, Added)
        await consul.agent.register(unique, port=1, meta={"v": "1"})
        await consul.agent.register(unique, port=1, meta={"v": "2"})
        (changed,) = await anext(changes)
        assert isinstance(changed, Changed)
        assert (changed.old.meta, changed.new.meta) == ({"v": "1"}, {"v": "2"})
        await consul.agent.deregister(unique)
        (removed,) = await anext(changes)
        assert isinstance(removed, Removed)
        assert watch.current is None


async def test_the_leaf_is_for_the_service_and_signed_by_the_roots(consul: Consul, unique: str) -> None:
    roots = await consul.agent.roots()
    assert roots == await consul.ca.roots()
    leaf = await consul.agent.leaf(unique)
    assert leaf.service == unique
    assert SpiffeId.parse(leaf.service_uri) == SpiffeId(trust_domain=roots.trust_domain, datacenter="dc1", name=unique)
    certificate = x509.load_pem_x509_certificate(leaf.cert_pem.encode())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == [leaf.service_uri]
    assert certificate.not_valid_after_utc == leaf.valid_before
    assert leaf.valid_after < leaf.valid_before
    assert roots.active is not None
    certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(roots.active.root_cert.encode()))
    assert await consul.agent.leaf(unique) == leaf
    async with consul.agent.leaf(unique).watch() as watch:
        assert await watch.until(lambda found: found.service == unique, 10) == leaf


async def test_a_name_that_no_certificate_can_have(consul: Consul) -> None:
    for name in ("", "a/b"):
        with pytest.raises(InvalidRequest):
            consul.agent.leaf(name)


async def test_authorize(consul: Consul, agent: AgentUnderTest, unique: str) -> None:
    web, db = f"{unique}-web", f"{unique}-db"
    uri = str(SpiffeId(trust_domain=(await consul.agent.roots()).trust_domain, datacenter="dc1", name=web))
    async with intention(consul, agent, "*", db, "deny"):
        await _until_authorized(consul, db, uri, wanted=False)
        async with intention(consul, agent, web, db, "allow"):
            await _until_authorized(consul, db, uri, wanted=True)
            await _until_authorized(consul, db, OTHER.format(web), wanted=True)
            await _until_authorized(consul, db, OTHER.format("stranger"), wanted=False)
        await _until_authorized(consul, db, uri, wanted=False)


async def _until_authorized(consul: Consul, target: str, uri: str, *, wanted: bool) -> None:
    """The agent decides from a cache that follows the servers in the background."""
    async with asyncio.timeout(10):
        while True:
            verdict = await consul.agent.authorize(target, uri, "0a")
            if bool(verdict) == wanted:
                assert verdict.reason
                return


async def test_authorize_refuses_what_it_cannot_judge(consul: Consul) -> None:
    for uri in ("https://web", "spiffe://x.consul/agent/client/dc/dc1/id/n", ""):
        with pytest.raises(BadRequest):
            await consul.agent.authorize("db", uri)
    for target in ("", "a//b", "a/b/c/d"):
        with pytest.raises(InvalidRequest):
            await consul.agent.authorize(target, OTHER.format("web"))
