"""Values for the members of a body, good ones and odd ones, by the member's type and its name."""

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from hypothesis import strategies as st

from aioconsulconnect.testing.go_json.schema import Field, ListOf, MapOf, MemberType, Struct

LONG = "n" * 300
# What a member of this name takes, and what is nearly that; the first pattern that fits counts.
BY_NAME: tuple[tuple[str, tuple[Any, ...]], ...] = (
    (r"Protocol", ("tcp", "http", "http2", "grpc", "HTTP", "", "udp", "tcp ")),
    (r"MutualTLSMode", ("", "strict", "permissive", "bogus")),
    (r"BalanceInboundConnections|BalanceOutboundConnections", ("", "exact_balance", "bogus")),
    (r"Mode", ("", "none", "local", "remote", "direct", "transparent", "default", "sequential", "bogus", "LOCAL")),
    (r"Policy", ("", "random", "round_robin", "least_request", "ring_hash", "maglev", "bogus")),
    (r"Field", ("", "header", "cookie", "query_parameter", "bogus")),
    (r"DestinationType", ("", "service", "prepared_query", "bogus")),
    (r"Action", ("", "allow", "deny", "ALLOW")),
    (r"Type", ("", "consul", "file", "stdout", "stderr", "bogus")),
    (r"Status", ("", "passing", "warning", "critical", "bogus")),
    (r"TLSM..Version|M..Version", ("", "TLS_AUTO", "TLSv1_0", "TLSv1_1", "TLSv1_2", "TLSv1_3", "bogus")),
    (
        r"CipherSuites",
        ([], ["TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"], ["TLS_RSA_WITH_AES_256_CBC_SHA"], ["bogus"], [""]),
    ),
    (r"Methods", ([], ["GET"], ["get", "PUT"], ["GET", "GET"], ["BOGUS"], [""], "GET")),
    (r"Method", ("", "GET", "get", "BOGUS")),
    (
        r"Filter",
        (
            "",
            "Service.Meta.version == v1",
            "Service.Tags contains a",
            "Checks.Status == passing",
            "Service.Port == 80",
            "Node.Node == n",
            "Service.Port == x",
            "Bogus == 1",
            "Service.Meta.version ==",
            "(",
        ),
    ),
    (r"PathExact|PathPrefix|Path|PrefixRewrite", ("", "/", "/a", "a", "/a?b", "*")),
    (r".*Regex|JSONFormat", ("", ".*", "(", '{"a": "b"}', "{")),
    (r"ServiceSubset|DefaultSubset", ("", "v1", "v9", "V1", "*")),
    (
        r"Service|DestinationServiceName|DestinationName|AliasService|DestinationServiceID",
        ("", "web", "db", "api", "*", "Web", "a b", LONG),
    ),
    (r"Datacenters", ([], ["dc1"], ["dc2"], ["dc2", "dc2"], [""], ["*"], "dc2")),
    (r"Datacenter", ("", "dc1", "dc2", "*")),
    (r"Namespace|Partition|DestinationNamespace|DestinationPartition", ("", "default", "other", "*")),
    (r"Peer|DestinationPeer|SamenessGroup", ("", "p", "*", "local")),
    (
        r"Hosts|Hostnames",
        ([], ["*"], ["a.example"], ["*.a.example"], ["a.*"], ["x y"], [""], ["*", "a.example"], ["a", "a"], ["a:80"]),
    ),
    (r"Hostname", ("", "*", "a.example", "*.a.example", "x y", "a.*")),
    (
        r"Addresses",
        ([], ["a.example"], ["10.0.0.1"], ["*.a"], ["a", "a"], ["bad host"], [""], ["10.0.0.1", "b.example"]),
    ),
    (
        r"Address|LocalBindAddress|LocalServiceAddress",
        ("", "127.0.0.1", "10.0.0.1", "0.0.0.0", "::", "[::]", "::1", "a.example", "bad host", "10.0.0.1:80"),
    ),
    (r"RetryOn", ([], ["5xx"], ["reset", "5xx"], ["bogus"], [""])),
    (r"RetryOnStatusCodes", ([], [503], [0], [-1], ["503"], ["x"])),
    (r"Weight", (100, 50, 33.33, 0, 0.001, 0.01, -1, 100.01, "50", "x")),
    (r"Passing|Warning", (1, 10, 0, -1, 65535, 65536)),
    (r"Port|.*Port", (80, 8080, 9000, 0, -1, 65535, 65536, "80")),
    (r"LocalBindSocketMode", ("", "0644", "bogus", "999")),
    (r"Regions|Audiences|Tags", ([], ["a"], ["a", "a"], [""], ["a", "b"])),
    (r"Remove", ([], ["x-a"], [""], ["x-a", "x-a"])),
    (r"JWKS|InlineBytes", ("", "e30=", "!!", "eyJrZXlzIjogW119")),
    (r"URI|HTTP|ProxyHTTP", ("", "https://a.example/k", "http://127.0.0.1:1/", "://", "a b", "ftp://x")),
    (r"DiscoveryType", ("", "STATIC", "LOGICAL_DNS", "STRICT_DNS", "bogus", "DISCOVERY_TYPE_STATIC", "EDS")),
    (
        r"Arguments|Config",
        (
            {},
            {"a": 1},
            {"protocol": "http"},
            {"a": {"b": [1, "x"]}},
            {"Script": "x", "ProxyType": "connect-proxy", "Listener": "inbound"},
        ),
    ),
    (r"ScriptArgs|Args", ([], ["true"], None)),
    (
        r"Kind",
        (
            "",
            "connect-proxy",
            "mesh-gateway",
            "ingress-gateway",
            "terminating-gateway",
            "api-gateway",
            "http-route",
            "tcp-route",
            "inline-certificate",
            "bogus",
        ),
    ),
    (r"Region|Zone", ("", "r", "z")),
    (r"Interval|Timeout|TTL", ("10s", "1m30s", "0s", "-1s", "", "bogus", 5_000_000_000, "10")),
    (r"Token|AliasNode|Shell|DockerContainerID|OSService", ("", "x")),
    (r"TCP|UDP|GRPC|H2PING|ProxyGRPC", ("", "127.0.0.1:1", "bogus")),
    (r"EnforcingConsecutive5xx|MaxEjectionPercent", (0, 1, 100, 101, -1)),
    (r"Name", ("", "web", "db", "api", "v1", "*", "a*", "a b", "builtin/lua", "builtin/aws/lambda", "global", LONG)),
)
BY_TYPE: dict[str, tuple[Any, ...]] = {
    "string": ("", "a", "*", "A b", LONG, 5, True, 1.5, None, [], ["a"], {}),
    "bool": (True, False, "true", "x", 1, 0, None, "", [], 1.5),
    "int": (0, 1, 5, -1, 65536, 2**31, 2**40, "7", "x", 1.5, True, None, [], ""),
    "uint64": (0, 1, 7, -1, "7", "x", 1.5, None, 2**64),
    "float64": (0, 1, 50, 33.333, -1, "5", "x", None, True),
    "duration": ("10s", "1m", "0s", "-1s", "bogus", "", 5_000_000_000, 10, "1h30m", 1.5, None, True, "10", []),
    "nanoseconds": ("10s", "1m", "0s", "-1s", "bogus", "", 5_000_000_000, -5, 1.5, None, "1us", []),
    "bytes": ("", "abc", "!!", None, 5),
    "any": ({}, None, "x", [], {"a": 1}),
    "ignored": ({}, None, "x", [], 1),
    "open": ({}, {"a": 1}, {"a": "x", "b": [1, {"c": 2}]}, "x", [], 5, True),
}
ODD_TEXTS: tuple[Any, ...] = (5, True, None, [], ["a"], {}, 1.5)
ODD_LISTS: tuple[Any, ...] = (None, [], {}, "x", [None], [[]], 5, [{}, {}])
ODD_STRUCTS: tuple[Any, ...] = (None, {}, [], "x", [{}], {"Bogus": 1}, 5, True)
ODD_MAPS: tuple[Any, ...] = (
    None,
    {},
    [],
    "x",
    {"": "b"},
    {"a": 5},
    {"a": None},
    {"a": "b"},
    {"a": "b", "c": "d"},
    [{}],
)


class Place(NamedTuple):
    """A member somewhere in a body: the way to it, and what it is."""

    way: tuple[str | int, ...]
    field: Field


def places(struct: Struct, version: str, way: tuple[str | int, ...] = ()) -> Iterator[Place]:
    """All members of an object that a version knows, and those of the objects within it."""
    for field in struct.of(version):
        if not way and field.name in {"Kind", "CreateIndex", "ModifyIndex", "Hash", "Status"}:
            continue
        here = (*way, field.name)
        yield Place(here, field)
        inner, then = _inner(field.of)
        if isinstance(inner, Struct) and len(here) < 14:
            yield from places(inner, version, here + then)


def _inner(kind: MemberType) -> tuple[MemberType, tuple[str | int, ...]]:
    match kind:
        case ListOf(item):
            return item, (0,)
        case MapOf(item):
            return item, ("v1",)
        case _:
            return kind, ()


def values(field: Field) -> tuple[Any, ...]:
    """Good and odd values of a member."""
    named = next((found for name, found in BY_NAME if re.fullmatch(name, field.name)), ())
    match field.of:
        case ListOf():
            return *named, *ODD_LISTS
        case MapOf():
            return *named, *ODD_MAPS
        case Struct():
            return ODD_STRUCTS
        case "string" if named:
            return *named, *named, *ODD_TEXTS
        case scalar:
            return *named, *named, *BY_TYPE.get(str(scalar), BY_TYPE["int"])


def put(value: Any, way: tuple[str | int, ...], new: Any) -> Any:
    """A copy of a body with another value at `way`, with all that it takes to get there."""
    if not way:
        return new
    step, rest = way[0], way[1:]
    if isinstance(step, int):
        items = value if isinstance(value, list) and value else [{}]
        at = min(step, len(items) - 1)
        return [*items[:at], put(items[at], rest, new), *items[at + 1 :]]
    members = value if isinstance(value, dict) else {}
    return members | {step: put(members.get(step), rest, new)}


def snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


@st.composite
def bent(draw: st.DrawFn, bases: tuple[Any, ...], struct: Struct, version: str) -> Any:
    """One of some good bodies, with a few members set: mostly one, mostly to a value that Consul must judge."""
    body = draw(st.sampled_from(bases))
    known = list(places(struct, version))
    outer = [place for place in known if len(place.way) <= 3]  # there are many more deep inside
    for _ in range(draw(st.sampled_from((0, 1, 1, 1, 1, 2, 2, 3)))):
        place = draw(st.sampled_from(draw(st.sampled_from((outer, known)))))
        way = place.way
        if draw(st.sampled_from(range(12))) == 0:  # another spelling of the last name
            way = (*way[:-1], draw(st.sampled_from((snake, str.lower, lambda name: name + "x")))(str(way[-1])))
        body = put(body, way, draw(st.sampled_from(values(place.field))))
    return body
