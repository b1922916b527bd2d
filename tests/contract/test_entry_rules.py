"""What configuration entries may hold: each rule is tried on every agent, which takes or refuses an entry alike."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import pytest
from aiohttp import ClientSession
from support.agents_under_test import AgentUnderTest

WEB, SHOP = "rules-web", "rules-shop"
NAMES = {"proxy-defaults": "global", "exported-services": "default"}
JWKS = {"Local": {"JWKS": "eyJrZXlzIjpbXX0="}}
SDS = {"ClusterName": "c", "CertResource": "r"}
LUA = {"ProxyType": "connect-proxy", "Listener": "inbound", "Script": "x"}


class Row(NamedTuple):
    """A member of an entry, and what becomes of it: `refused` is part of the refusal, empty where it is taken."""

    kind: str
    body: dict[str, Any]
    refused: str = ""
    since: tuple[int, int] = (1, 8)


def upstream(**members: Any) -> dict[str, Any]:
    return {"UpstreamConfig": {"Defaults": members}}


def extension(name: str, **members: Any) -> dict[str, Any]:
    return {"EnvoyExtensions": [{"Name": name, **members}]}


def destination(*addresses: str, port: int = 80) -> dict[str, Any]:
    return {"Destination": {"Addresses": [*addresses], "Port": port}}


def failover(**members: Any) -> dict[str, Any]:
    return {"Subsets": {"k": {}}, "Failover": {"k": members}}


def hashed(**members: Any) -> dict[str, Any]:
    return {"LoadBalancer": {"Policy": "ring_hash", "HashPolicies": [members]}}


def subset(expression: str) -> dict[str, Any]:
    return {"Subsets": {"v": {"Filter": expression}}}


def routed(destination: dict[str, Any] | None = None, **match: Any) -> dict[str, Any]:
    return {"Routes": [{"Match": {"HTTP": match}, "Destination": destination or {}}]}


def ingress(service: dict[str, Any] | None = None, **members: Any) -> dict[str, Any]:
    services = [{"Name": WEB, **(service or {})}]
    return {"Listeners": [{"Port": 80, "Protocol": "http", "Services": services, **members}]}


def listener(**members: Any) -> dict[str, Any]:
    return {"Listeners": [{"Name": "l", "Port": 80, "Protocol": "http", **members}]}


def rule(**match: Any) -> dict[str, Any]:
    return {"Rules": [{"Services": [{"Name": WEB}], "Matches": [match]}]}


def exported(**consumer: str) -> dict[str, Any]:
    return {"Services": [{"Name": "x", "Consumers": [consumer]}]}


def cluster(**members: Any) -> dict[str, Any]:
    return {"JSONWebKeySet": {"Remote": {"URI": "https://a.b", "JWKSCluster": members}}}


NEWER = (1, 16)
NEWEST = (1, 22)
ROWS = [
    # Decoding.
    Row("service-defaults", {"MeshGateway": [{"Mode": "local"}]}),
    Row("service-defaults", {"MeshGateway": [{}, {}]}, "'MeshGateway' expected a map, got 'slice'"),
    Row("service-defaults", {"MeshGateway": {"Mode": {}}}, "expected type 'structs.MeshGatewayMode'"),
    Row("service-defaults", {"Expose": {"Paths": {}}}),
    Row("service-resolver", {"Subsets": {"k": None}}),
    Row("service-resolver", {"ConnectTimeout": 1.5}),
    Row("service-router", routed({"NumRetries": "x"}), "as uint: strconv.ParseUint"),
    Row("service-router", routed({"RetryOnStatusCodes": ["x", "y"]}), "2 error(s) decoding"),
    Row("service-defaults", {"kind": "mesh"}, "", (1, 10)),
    Row("service-defaults", {"fooNamespace": 1}, "namespaces are a consul enterprise feature"),
    Row("service-defaults", {"anyjwt": 1}, "api-gateway jwt validation is a consul enterprise feature", NEWEST),
    Row("service-defaults", {"Meta": {"a": "v" * 513}}, '1 error occurred:\n\t* Meta value for key "a" exceeds'),
    Row("service-defaults", {"Protocol": []}, "value: '[]'", (1, 10)),
    Row("service-splitter", {"Splits": [{"Weight": []}]}, "expected type 'float32'"),
    Row("service-splitter", {"Splits": [{"Weight": 100}, {"Weight": "", "Service": SHOP}]}, "", (1, 10)),
    # Snake case, which not every member takes.
    Row("service-defaults", upstream(PassiveHealthCheck={"enforcing_consecutive_5xx": 0}), "", NEWER),
    Row("service-defaults", upstream(PassiveHealthCheck={"enforcing_consecutive5xx": 0}), "invalid config key", NEWER),
    Row("service-defaults", extension("builtin/lua", consul_version=""), "invalid config key", NEWER),
    Row("ingress-gateway", {**ingress(), "Defaults": {"max_connections": 1}}, "invalid config key", NEWER),
    Row("ingress-gateway", ingress({"max_connections": 1}), "", NEWER),
    Row("api-gateway", listener(TLS={"min_version": ""}), "invalid config key", NEWER),
    Row("http-route", {"Parents": [{"section_name": ""}]}, 'key "Parents[0].section_name"', NEWER),
    Row("http-route", {"Rules": [{"Filters": {"url_rewrite": {}}}]}, "invalid config key", NEWER),
    Row("inline-certificate", {"private_key": ""}, 'invalid config key "private_key"', NEWER),
    Row("service-defaults", {"Name": {"a": 1}}, "value: 'map[a:1]'", (1, 10)),
    Row("service-splitter", {"Splits": [{"Weight": "1.5"}]}, "must be 100, not 1.500000"),
    Row("service-splitter", {"Splits": [{"Weight": ""}]}, "must be 100, not 0.000000", (1, 10)),
    Row("service-splitter", {"Splits": [{"Weight": "1x"}]}, 'strconv.ParseFloat: parsing "1x"'),
    Row("service-resolver", {"ConnectTimeout": "3d"}, 'time: unknown unit "d" in duration "3d"'),
    # Defaults.
    Row("service-defaults", {"MutualTLSMode": "x"}, 'Invalid MutualTLSMode "x"', NEWER),
    Row("service-defaults", {"MutualTLSMode": "permissive"}, "AllowEnablingPermissiveMutualTLS=false", NEWER),
    Row("service-defaults", upstream(Limits={"MaxConnections": -1}), "max connections cannot be negative", NEWER),
    Row("service-defaults", upstream(PassiveHealthCheck={"Interval": "-1s"}), "interval cannot be negative", NEWER),
    Row("service-defaults", upstream(BalanceOutboundConnections="x"), "balance_outbound_connections: x", NEWER),
    Row("service-defaults", destination("a_b", "::1", "http://a"), "", NEWER),
    Row("service-defaults", destination("a..b"), "Could not validate address a..b", NEWER),
    Row("service-defaults", destination("a", "a"), "Duplicate address 'a' is not allowed", NEWER),
    Row("service-defaults", {**destination("a"), **upstream()}, "are mutually exclusive", NEWER),
    Row("service-defaults", extension(""), "invalid EnvoyExtensions[0]: Name is required", NEWER),
    Row("service-defaults", extension("x"), 'name "x" is not a built-in extension', NEWER),
    Row("service-defaults", extension("builtin/lua", Arguments=LUA), "", NEWER),
    Row(
        "service-defaults",
        extension("builtin/lua", Arguments={"SCRIPT": "x", "listener": "inbound", "y": 1}),
        "",
        NEWER,
    ),
    Row(
        "service-defaults", extension("builtin/lua", Arguments={"Script": 5}), "got unconvertible type 'float64'", NEWER
    ),
    Row("service-defaults", extension("builtin/aws/lambda", Arguments={"ARN": "x", "InvocationMode": "y"}), "", NEWER),
    Row("service-defaults", extension("builtin/lua", Arguments={}), "missing Script value", NEWER),
    Row("service-defaults", extension("builtin/aws/lambda"), "ARN is required", NEWER),
    Row("service-defaults", extension("builtin/lua", ConsulVersion="x"), "Malformed constraint: x", NEWER),
    Row("service-defaults", extension("builtin/lua", ConsulVersion=">1,"), "Malformed constraint: \n", NEWER),
    Row(
        "service-defaults",
        extension("builtin/lua", Arguments=LUA, ConsulVersion="1-, 5s", EnvoyVersion="1~a"),
        "",
        NEWER,
    ),
    Row("service-defaults", {"RateLimits": {}}, "Rate limiting is a consul enterprise feature", NEWEST),
    Row("proxy-defaults", {"Name": ""}, "", NEWER),
    Row("proxy-defaults", {"Protocol": "http"}, "", NEWER),
    Row("proxy-defaults", {"AccessLogs": {"Type": "file"}}, "path must be specified", NEWER),
    Row("proxy-defaults", {"AccessLogs": {"Path": "/a"}}, "path is only valid for file type", NEWER),
    Row("proxy-defaults", {"AccessLogs": {"JSONFormat": "x"}}, "looking for beginning of value", NEWER),
    Row("proxy-defaults", extension("x"), "is not a built-in extension", NEWER),
    Row("mesh", {"TLS": {"Incoming": {"CipherSuites": ["x", "y"]}}}, "cipher suite found for x,y", NEWER),
    Row("mesh", {"TLS": {"Incoming": {"CipherSuites": ["TLS_RSA_WITH_AES_128_CBC_SHA"]}}}, "", NEWER),
    # Traffic.
    Row("service-resolver", {"Subsets": {"a" * 64: {}}}, "must be non-empty and 63 characters or fewer"),
    Row("service-resolver", {"RequestTimeout": "-1s"}, "Bad RequestTimeout '-1s'", NEWER),
    Row("service-resolver", {"PrioritizeByLocality": {"Mode": "none"}}, "requires Consul Enterprise", NEWER),
    Row("service-resolver", subset("a == b and not (`c` in d or e is not empty)")),
    Row("service-resolver", subset("a and b"), '1:3 (2): no match found, expected: "!=", "=="', NEWER),
    Row("service-resolver", subset("(a == b"), '1:8 (7): rule "grouping": Unmatched parentheses', NEWER),
    Row("service-resolver", subset("a == 01"), 'rule "number": Invalid number literal', NEWER),
    Row("service-resolver", subset(r'a == "\q"'), 'rule "string": invalid syntax', NEWER),
    Row("service-resolver", {"Redirect": {"Peer": "p"}}, "Redirect.Peer defined without Redirect.Service", NEWER),
    Row("service-resolver", {"Redirect": {"Peer": "p", "Service": "y"}}, "", NEWER),
    Row("service-resolver", {"Redirect": {"Namespace": "n"}}, "Setting Namespace requires", NEWER),
    Row("service-resolver", failover(Targets=[{"Peer": "p"}]), "", NEWER),
    Row("service-resolver", failover(Targets=[{"Peer": "p", "Datacenter": "d"}]), "cannot be set with Datac", NEWER),
    Row("service-resolver", failover(Targets=[{"ServiceSubset": "z"}]), "is not a valid subset of", NEWER),
    Row("service-resolver", failover(SamenessGroup="s"), "Setting SamenessGroup requires", NEWER),
    Row("service-resolver", failover(Policy={"Mode": "x"}, Service="x"), "Setting failover policies", NEWER),
    Row("service-resolver", hashed(Field="x", FieldValue="y"), '"x" is not a supported field', (1, 10)),
    Row("service-resolver", hashed(Field="header"), "was specified without a FieldValue", (1, 10)),
    Row("service-resolver", hashed(FieldValue="x"), "FieldValue requires a Field to apply to", (1, 10)),
    Row("service-resolver", hashed(CookieConfig={}), 'cookie_config provided for ""', (1, 10)),
    Row(
        "service-resolver",
        hashed(Field="cookie", FieldValue="x", CookieConfig={"Session": True, "TTL": "1s"}),
        "a session cookie cannot have an associated TTL",
        (1, 10),
    ),
    Row("service-router", routed(Methods=["FOO"]), 'invalid method "FOO"', (1, 10)),
    Row("service-router", routed(Methods=["get", "FOO", "GET"]), 'invalid method "FOO"', (1, 10)),
    Row("service-router", routed({"ServiceSubset": "k"}), 'does not have a subset named "k"'),
    Row("service-splitter", {"Splits": [{"Weight": 101}, {"Weight": -1, "Service": SHOP}]}),
    Row("service-splitter", {"Splits": [{"Weight": 0.005}, {"Weight": 99.995, "Service": SHOP}]}, "not 100.01000"),
    # Gateways.
    Row("ingress-gateway", ingress({"Hosts": ["a..b"]}), 'Host "a..b" must be a valid DNS hostname'),
    Row("ingress-gateway", ingress({"Hosts": ["*a"]}), "only allowed as the leftmost label"),
    Row("ingress-gateway", {**ingress({"Hosts": ["*"]}), "TLS": {"Enabled": True}}, "not allowed when TLS is enabled"),
    Row("ingress-gateway", {**ingress(), "TLS": {"SDS": {"CertResource": "c"}}}, "ClusterName is required", NEWER),
    Row("ingress-gateway", ingress(TLS={"SDS": {"ClusterName": "c"}}), "CertResource is required", NEWER),
    Row("ingress-gateway", ingress({"TLS": {"SDS": SDS}}), "must have at least one item in Hosts", NEWER),
    Row("ingress-gateway", ingress(TLS={"TLSMinVersion": "x"}), "no matching TLS version found for x", NEWER),
    Row("ingress-gateway", ingress({"PassiveHealthCheck": {"Interval": "-1s"}}), "", NEWER),
    Row(
        "ingress-gateway",
        ingress({"Hosts": ["x"], "RequestHeaders": {"Add": {"a": "b"}}}, Protocol="tcp"),
        "request headers only valid for http, http2 and grpc protocols",
        NEWER,
    ),
    Row("terminating-gateway", {"Services": [{"Name": "x", "KeyFile": "k"}]}, "for TLS origination"),
    Row("api-gateway", {"Listeners": []}, "api gateway must have at least one listener", NEWER),
    Row("api-gateway", listener(Name="A"), 'listener name "A" is invalid', NEWER),
    Row("api-gateway", listener(Name="-a"), 'listener name "-a" is invalid', NEWER),
    Row("api-gateway", listener(Name="a.b-1"), "", NEWER),
    Row("api-gateway", listener(Protocol=[]), "expected type 'structs.APIGatewayListenerProtocol'", NEWER),
    Row("api-gateway", listener(Port=0), "listener port 0 not in the range 1-65535", NEWER),
    Row("api-gateway", listener(Protocol="x"), 'unsupported listener protocol "x"', NEWER),
    Row("api-gateway", listener(Protocol="tcp", Hostname="x"), "not supported when using TCP", NEWER),
    Row("api-gateway", listener(TLS={"Certificates": [{"Kind": "x"}]}), 'unsupported certificate kind: "x"', NEWER),
    Row("api-gateway", listener(TLS={"MinVersion": "x"}), "no matching TLS version found for x", NEWER),
    Row("http-route", {"Hostnames": ["*.a"]}, 'host "*.a" must not be a wildcard', NEWER),
    Row("http-route", {"Parents": [{"Kind": "x"}]}, 'unsupported parent kind: "x"', NEWER),
    Row("http-route", {"Parents": [{"Name": "a"}, {"Name": "a"}]}, "route parents must be unique", NEWER),
    Row("http-route", rule(Method="x"), 'Method contains an invalid method "X"', NEWER),
    Row("http-route", rule(Path={"Match": "exact", "Value": "a"}), "doesn't start with '/'", NEWER),
    Row("http-route", rule(Headers=[{"Match": "x", "Name": "n"}]), "match type should be one of", NEWER),
    Row("http-route", rule(Query=[{"Match": "exact"}]), "missing required Name field", NEWER),
    Row("tcp-route", {"Services": [{"Name": "a"}, {"Name": "b"}]}, "only supports one service", NEWER),
    Row("inline-certificate", {"PrivateKey": "x"}, "failed to parse private key PEM", NEWER),
    Row("file-system-certificate", {}, "", NEWEST),
    Row("bound-api-gateway", {}, "only writeable by controller", NEWER),
    # The mesh.
    Row("exported-services", exported(Partition="*"), "all partitions (wildcard) is not supported", NEWER),
    Row("exported-services", exported(SamenessGroup="s"), "enterprise-only feature", NEWER),
    Row("exported-services", exported(), "", NEWER),
    Row("jwt-provider", {"JSONWebKeySet": {"Local": {"JWKS": "x!"}}}, "must be valid base64", NEWER),
    Row("jwt-provider", {"JSONWebKeySet": {"Remote": {"URI": "x"}}}, "invalid URI for request, uri: x", NEWER),
    Row("jwt-provider", cluster(TLSCertificates={}), "CaCertificateProviderInstance or TrustedCA", NEWER),
    Row("jwt-provider", cluster(TLSCertificates={"TrustedCA": {}}), "must specify exactly one of: Filename", NEWER),
    Row("jwt-provider", {"JSONWebKeySet": JWKS, "Locations": [{}]}, "must set exactly one of", NEWER),
]


@pytest.fixture
async def session(agent: AgentUnderTest) -> AsyncIterator[ClientSession]:
    """Sends requests to the agent, which knows two services that speak HTTP."""
    async with ClientSession(agent.url) as opened:
        for name in (WEB, SHOP):
            await opened.put("/v1/config", json={"Kind": "service-defaults", "Name": name, "Protocol": "http"})
        yield opened
        for name in (WEB, SHOP):
            await opened.delete(f"/v1/config/service-defaults/{name}")


@pytest.mark.parametrize("kind", sorted({row.kind for row in ROWS}))
async def test_entries_are_taken_or_refused_alike(agent: AgentUnderTest, session: ClientSession, kind: str) -> None:
    traffic = kind in {"service-router", "service-splitter"}
    name = NAMES.get(kind, WEB if traffic else "rules-own")
    named = {} if kind == "mesh" else {"Name": name}
    otherwise: list[tuple[dict[str, Any], int, str]] = []
    for row in ROWS:
        if row.kind != kind or agent.version < row.since:
            continue
        async with session.put("/v1/config", json={"Kind": kind, **named, **row.body}) as answer:
            text = await answer.text()
        if answer.status == 200:
            await session.delete(f"/v1/config/{kind}/{'mesh' if kind == 'mesh' else name}")
        if (answer.status == 200) != (not row.refused) or row.refused not in text or answer.status == 501:
            otherwise.append((row.body, answer.status, text))
    assert otherwise == []


async def write(session: ClientSession, kind: str, name: str, **members: Any) -> str:
    """The refusal of an entry; empty where it is taken."""
    async with session.put("/v1/config", json={"Kind": kind, "Name": name, **members}) as answer:
        return "" if answer.status == 200 else await answer.text()


async def test_routes_are_bound_to_the_listeners_that_fit(agent: AgentUnderTest, session: ClientSession) -> None:
    if agent.version < NEWER:
        pytest.skip("no API gateways there")
    written = [
        ("api-gateway", "rules-gate", listener()),
        ("http-route", "rules-http", {"Parents": [{"Name": "rules-gate"}], "Rules": [{"Services": [{"Name": WEB}]}]}),
        ("tcp-route", "rules-tcp", {"Parents": [{"Name": "rules-gate"}], "Services": [{"Name": "rules-own"}]}),
        ("http-route", "rules-none", {"Parents": [{"Name": "rules-gone"}]}),
    ]
    try:
        for kind, name, members in written:
            assert await write(session, kind, name, **members) == ""
        async with asyncio.timeout(5):
            while (found := [await judged(session, kind, name) for kind, name, _ in written[1:]]) != [
                ["Accepted", "Bound"],
                ["Accepted", "FailedToBind"],
                ["NoUpstreamServicesTargeted", "GatewayNotFound"],
            ]:
                assert len(found) == 3
                await asyncio.sleep(0.05)
            path, routes = "/v1/config/bound-api-gateway/rules-gate", None
            while routes != [{"Kind": "http-route", "Name": "rules-http", "SectionName": ""}]:
                async with session.get(path) as answer:
                    routes = (await answer.json())["Listeners"][0]["Routes"]
                await asyncio.sleep(0.05)
    finally:
        for kind, name, _ in written:
            await session.delete(f"/v1/config/{kind}/{name}")


async def judged(session: ClientSession, kind: str, name: str) -> list[str]:
    """The reasons in the status of a route."""
    async with session.get(f"/v1/config/{kind}/{name}") as answer:
        return [condition["Reason"] for condition in (await answer.json())["Status"]["Conditions"] or []]


async def test_exported_service_keeps_its_target(agent: AgentUnderTest, session: ClientSession) -> None:
    if agent.version < NEWER:
        pytest.skip("no peers there")
    peer = [{"Name": "rules-own", "Consumers": [{"Peer": "p"}]}]
    try:
        assert await write(session, "exported-services", "default", Services=peer) == ""
        text = await write(session, "service-resolver", "rules-own", Failover={"*": {"Datacenters": ["dc2"]}})
        assert text == 'peer exported service "rules-own" contains cross-datacenter failover'
        text = await write(session, "service-resolver", "rules-own", Redirect={"Service": "rules-else"})
        assert text.endswith('cannot introduce new discovery chain targets like "rules-else.default.default.dc1"')
        assert await write(session, "service-resolver", "rules-own", Failover={"*": {"Service": "rules-else"}}) == ""
    finally:
        for path in ("exported-services/default", "service-resolver/rules-own"):
            await session.delete(f"/v1/config/{path}")


async def test_chain_fails_over_to_a_peer(agent: AgentUnderTest, session: ClientSession) -> None:
    if agent.version < NEWER:
        pytest.skip("no peers there")
    try:
        assert await write(session, "service-resolver", "rules-own", Failover={"*": {"Targets": [{"Peer": "p"}]}}) == ""
        async with session.get("/v1/discovery-chain/rules-own") as answer:
            chain = (await answer.json())["Chain"]
        key = "rules-own.default.default.external.p"
        assert chain["Nodes"][chain["StartNode"]]["Resolver"]["Failover"] == {"Targets": [key]}
        assert chain["Targets"][key]["Peer"] == "p"
        assert not {"Datacenter", "SNI", "Name"} & chain["Targets"][key].keys()
    finally:
        await session.delete("/v1/config/service-resolver/rules-own")


async def test_what_others_need_is_not_deleted(agent: AgentUnderTest, session: ClientSession) -> None:
    try:
        assert await write(session, "ingress-gateway", "rules-in", **ingress()) == ""
        async with session.delete(f"/v1/config/service-defaults/{WEB}") as answer:
            assert answer.status == 500
            assert "does not match defined listener protocol" in await answer.text()
        if agent.version < NEWER:
            return
        allowed = {"Sources": [{"Name": "a", "Action": "allow"}], "JWT": {"Providers": [{"Name": "rules-okta"}]}}
        assert await write(session, "jwt-provider", "rules-okta", JSONWebKeySet=JWKS) == ""
        assert await write(session, "service-intentions", WEB, **allowed) == ""
        async with session.delete("/v1/config/jwt-provider/rules-okta") as answer:
            assert answer.status == 500
            assert "referenced by an intention" in await answer.text()
    finally:
        for path in ("ingress-gateway/rules-in", f"service-intentions/{WEB}", "jwt-provider/rules-okta"):
            await session.delete(f"/v1/config/{path}")


async def chain_of(session: ClientSession, name: str, **overrides: str) -> dict[str, Any]:
    async with session.post(f"/v1/discovery-chain/{name}", json=overrides) as answer:
        chain: dict[str, Any] = (await answer.json())["Chain"]
        return chain


async def test_chain_fails_over_to_a_peer_of_a_subset(agent: AgentUnderTest, session: ClientSession) -> None:
    if agent.version < NEWER:
        pytest.skip("no peers there")
    subset = {"DefaultSubset": "v1", "Subsets": {"v1": {}}}
    spare = [{"Peer": "p"}, {"Peer": "p", "Service": "rules-else"}]
    try:
        assert await write(session, "service-resolver", "rules-else", ConnectTimeout="8s", **subset) == ""
        failover = {"*": {"Targets": spare}}
        refused = await write(
            session, "service-resolver", "rules-own", ConnectTimeout="7s", **subset, Failover=failover
        )
        assert refused == ""
        targets = (await chain_of(session, "rules-own"))["Targets"]
        own, other = (targets[f"{name}.default.default.external.p"] for name in ("rules-own", "rules-else"))
        assert (own["ServiceSubset"], own["ConnectTimeout"]) == ("v1", "7s")
        assert (other.get("ServiceSubset"), other["ConnectTimeout"]) == (None, "5s")
    finally:
        for name in ("rules-own", "rules-else"):
            await session.delete(f"/v1/config/service-resolver/{name}")


async def test_splits_of_splits_set_the_headers_of_both(agent: AgentUnderTest, session: ClientSession) -> None:
    if agent.version < NEWER:
        pytest.skip("no headers in chains there")
    inner = {"Set": {"x": "inner"}, "Remove": ["a", "b"]}
    outer = {"Set": {"x": "outer", "y": "outer"}, "Remove": ["b", "c"]}
    try:
        splits = {"Splits": [{"Weight": 100, "RequestHeaders": inner}]}
        assert await write(session, "service-splitter", SHOP, **splits) == ""
        splits = {"Splits": [{"Weight": 100, "Service": SHOP, "RequestHeaders": outer, "ResponseHeaders": outer}]}
        assert await write(session, "service-splitter", WEB, **splits) == ""
        chain = await chain_of(session, WEB)
        (split,) = chain["Nodes"][chain["StartNode"]]["Splits"]
        both = {"Set": {"x": "inner", "y": "outer"}, "Remove": ["b", "c", "a"]}
        assert split["Definition"]["RequestHeaders"] == both
        assert split["Definition"]["ResponseHeaders"] == outer
    finally:
        for name in (WEB, SHOP):
            await session.delete(f"/v1/config/service-splitter/{name}")


async def test_customized_chain_has_the_hash_of_its_overrides(agent: AgentUnderTest, session: ClientSession) -> None:
    for overrides, wanted in (
        ({"OverrideProtocol": "tcp"}, "96f2c150"),
        ({"OverrideConnectTimeout": "1s"}, "701d0e19"),
        ({"OverrideProtocol": "grpc", "OverrideConnectTimeout": "7s"}, "7cf690e3"),
    ):
        assert (await chain_of(session, WEB, **overrides))["CustomizationHash"] == wanted
    assert "CustomizationHash" not in await chain_of(session, WEB, OverrideProtocol="http")
