"""What the reference says of Consul beyond the recordings, asked of the box: statuses and exact texts, by version."""

import json
from typing import Any, NamedTuple

import aiohttp
import pytest
from support.versions import VERSIONS
from yarl import URL

from aioconsulconnect.testing import Agent, Version

EXACT = "/v1/connect/intentions/exact"
INTENTIONS = "/v1/connect/intentions"
ALLOW = {"Action": "allow"}
HTTP = ("PUT", "/v1/config", {"Kind": "service-defaults", "Name": "db", "Protocol": "http"})
WEB_DB = ("PUT", f"{EXACT}?source=web&destination=db", ALLOW)
Ask = tuple[str, str, Any]


class Fact(NamedTuple):
    """After some requests, one more gives a status and, where it is not None, exactly this body."""

    since: Version
    until: Version
    before: list[Ask]
    ask: Ask
    status: int
    body: Any = None


def put(query: str, body: Any) -> Ask:
    return ("PUT", f"{EXACT}?{query}", body)


def entry(name: str, *sources: dict[str, Any], **more: Any) -> Ask:
    return ("PUT", "/v1/config", {"Kind": "service-intentions", "Name": name, "Sources": list(sources), **more})


def config(kind: str, name: str, **more: Any) -> Ask:
    return ("PUT", "/v1/config", {"Kind": kind, "Name": name, **more})


def permission(**http: Any) -> dict[str, Any]:
    return {"Permissions": [{"Action": "allow", "HTTP": http}]}


def listed(*complaints: str) -> str:
    """Several complaints as Consul lists them."""
    count = f"{len(complaints)} error{'s' if len(complaints) > 1 else ''} occurred:"
    return count + "".join(f"\n\t* {complaint}" for complaint in complaints) + "\n\n"


LEGACY = ("POST", INTENTIONS, {"SourceName": "old", "DestinationName": "db", "Action": "allow"})
LEGACY_META = (
    "POST",
    INTENTIONS,
    {"SourceName": "old", "DestinationName": "db", "Action": "allow", "Meta": {"a": "b"}},
)
PEERED = entry("db", {"Name": "web", "Peer": "east", "Action": "deny"}, {"Name": "web", "Action": "allow"})
SOURCE = "Sources[0].Permissions[0].HTTP"
NO_NAMESPACES = "Namespaces is a Consul Enterprise feature"

FACTS: dict[str, Fact] = {
    # Names and namespaces.
    "exact get: foreign namespace": Fact(
        "1.10",
        "1.22",
        [],
        ("GET", f"{EXACT}?source=ns1/x&destination=db", None),
        500,
        f'Invalid SourceNS "ns1": {NO_NAMESPACES}',
    ),
    "match: foreign namespace": Fact(
        "1.10",
        "1.22",
        [],
        ("GET", f"{INTENTIONS}/match?by=source&name=ns1/x", None),
        500,
        f'Invalid match entry namespace "ns1": {NO_NAMESPACES}',
    ),
    "check: foreign namespace": Fact(
        "1.10",
        "1.22",
        [],
        ("GET", f"{INTENTIONS}/check?source=ns1/x&destination=db", None),
        500,
        f'Invalid source namespace "ns1": {NO_NAMESPACES}',
    ),
    "put in a foreign namespace writes to the own one": Fact(
        "1.10",
        "1.22",
        [put("source=ns1/foo&destination=db", ALLOW)],
        ("GET", f"{EXACT}?source=foo&destination=db", None),
        200,
    ),
    "delete in a foreign namespace deletes from the own one": Fact(
        "1.10",
        "1.22",
        [WEB_DB, ("DELETE", f"{EXACT}?source=ns1/web&destination=db", None)],
        ("GET", f"{EXACT}?source=web&destination=db", None),
        404,
        "Intention not found",
    ),
    "post in a foreign namespace": Fact(
        "1.10",
        "1.10",
        [],
        ("POST", INTENTIONS, {"SourceNS": "foo", "SourceName": "a", "DestinationName": "b", "Action": "allow"}),
        400,
        f"Bad request: Invalid SourceNS(foo): {NO_NAMESPACES}",
    ),
    "1.8 takes foreign namespaces literally": Fact(
        "1.8",
        "1.8",
        [("POST", INTENTIONS, {"SourceNS": "foo", "SourceName": "a", "DestinationName": "b", "Action": "deny"})],
        ("GET", f"{INTENTIONS}/check?source=foo/a&destination=b", None),
        200,
        {"Allowed": False},
    ),
    "four parts are too many": Fact(
        "1.16",
        "1.22",
        [],
        ("GET", f"{INTENTIONS}/match?by=source&name=a/b/c/d", None),
        500,
        "name \"a/b/c/d\" is invalid: input can contain at most two '/'",
    ),
    "three parts are too many before": Fact(
        "1.8",
        "1.10",
        [],
        ("GET", f"{INTENTIONS}/match?by=source&name=a/b/c", None),
        500,
        "name \"a/b/c\" is invalid: input can contain at most one '/'",
    ),
    "empty parts are default": Fact(
        "1.16", "1.22", [WEB_DB], ("GET", f"{EXACT}?source=//web&destination=/db", None), 200
    ),
    "a namespace in capitals": Fact(
        "1.10", "1.22", [WEB_DB], ("GET", f"{EXACT}?source=DEFAULT/web&destination=db", None), 200
    ),
    "exact ignores the partition": Fact(
        "1.16",
        "1.22",
        [put("source=foo/default/web&destination=db", ALLOW)],
        ("GET", f"{EXACT}?source=web&destination=db", None),
        200,
    ),
    "exact: an empty source": Fact(
        "1.10", "1.22", [], ("GET", f"{EXACT}?source=&destination=db", None), 500, listed("SourceName is missing")
    ),
    "exact put: an empty source": Fact(
        "1.16", "1.22", [], put("source=&destination=db", ALLOW), 500, "required query parameter 'source' not set"
    ),
    "exact: a source twice": Fact(
        "1.10",
        "1.22",
        [],
        ("GET", f"{EXACT}?source=a&source=b&destination=db", None),
        500,
        "required query parameter 'source' not set",
    ),
    # Peers.
    "exact get of a peer": Fact(
        "1.16", "1.22", [PEERED], ("GET", f"{EXACT}?source=peer:east/default/web&destination=db", None), 200
    ),
    "a peer is case-sensitive": Fact(
        "1.16",
        "1.22",
        [PEERED],
        ("GET", f"{EXACT}?source=peer:EAST/web&destination=db", None),
        404,
        "Intention not found",
    ),
    "a peer without a service": Fact(
        "1.16",
        "1.22",
        [],
        ("GET", f"{EXACT}?source=peer:east&destination=db", None),
        500,
        'source "peer:east" is invalid: need to specify the service name as well',
    ),
    "a peer as destination": Fact(
        "1.16",
        "1.22",
        [],
        ("GET", f"{EXACT}?source=web&destination=peer:east/db", None),
        500,
        'destination "peer:east/db" is invalid: cannot specify a peer here',
    ),
    "SourcePeer in a body": Fact(
        "1.16",
        "1.22",
        [],
        put("source=web&destination=db", {"SourcePeer": "east", "Action": "allow"}),
        500,
        "SourcePeer field is not supported on this endpoint. Use config entries instead",
    ),
    "a delete by name hits the peered source that stands first": Fact(
        "1.16",
        "1.22",
        [PEERED, ("DELETE", f"{EXACT}?source=web&destination=db", None)],
        ("GET", f"{EXACT}?source=peer:east/web&destination=db", None),
        404,
    ),
    "check passes over peered sources": Fact(
        "1.16",
        "1.22",
        [entry("db", {"Name": "web", "Peer": "east", "Action": "deny"})],
        ("GET", f"{INTENTIONS}/check?source=web&destination=db", None),
        200,
        {"Allowed": True},
    ),
    "match by source finds no peered source alone": Fact(
        "1.16",
        "1.22",
        [entry("db", {"Name": "web", "Peer": "east", "Action": "deny"})],
        ("GET", f"{INTENTIONS}/match?by=source&name=web", None),
        200,
        {"web": None},
    ),
    "a wildcard peer": Fact(
        "1.16",
        "1.22",
        [],
        entry("db", {"Name": "web", "Peer": "*", "Action": "deny"}),
        500,
        "Sources[0].Peer: cannot use wildcard '*' in peer",
    ),
    "a peer twice": Fact(
        "1.16",
        "1.22",
        [],
        entry("db", *[{"Name": "a", "Peer": "p1", "Action": "deny"}] * 2),
        500,
        'Sources[1] defines peer("p1") "a" more than once',
    ),
    "a sameness group": Fact(
        "1.16",
        "1.22",
        [],
        entry("db", {"Name": "a", "SamenessGroup": "g", "Action": "deny"}),
        500,
        "Sources[0].SamenessGroup: Sameness groups are a Consul Enterprise feature. ",
    ),
    "a sameness group by name": Fact(
        "1.16",
        "1.22",
        [],
        put("source=a&destination=db", {"SourceSamenessGroup": "g", "Action": "deny"}),
        500,
        "Sources[0].SamenessGroup: Sameness groups are a Consul Enterprise feature. ",
    ),
    "peers are unknown to 1.10": Fact(
        "1.10",
        "1.10",
        [],
        put("source=web&destination=db", {"SourcePeer": "east", "Action": "allow"}),
        400,
        'Bad request: Request decode failed: json: unknown field "SourcePeer"',
    ),
    # What an intention may hold.
    "a partial wildcard": Fact(
        "1.10",
        "1.22",
        [],
        put("source=we*&destination=db", ALLOW),
        500,
        "Sources[0].Name: wildcard character '*' cannot be used with partial values",
    ),
    "a partial wildcard as destination": Fact(
        "1.16",
        "1.22",
        [],
        put("source=web&destination=d*", ALLOW),
        500,
        "Name: wildcard character '*' cannot be used with partial values",
    ),
    "another source type": Fact(
        "1.10",
        "1.22",
        [],
        put("source=web&destination=db", {**ALLOW, "SourceType": "vm"}),
        500,
        "Sources[0].Type must be set to 'consul'",
    ),
    "Action in capitals": Fact(
        "1.10",
        "1.22",
        [],
        put("source=web&destination=db", {"Action": "ALLOW"}),
        500,
        "Sources[0].Action must be set to 'allow' or 'deny'",
    ),
    "no permissions at all": Fact(
        "1.10",
        "1.22",
        [],
        put("source=web&destination=db", {"Permissions": []}),
        500,
        "Sources[0].Action must be set to 'allow' or 'deny'",
    ),
    "Meta on a new destination": Fact(
        "1.10",
        "1.22",
        [],
        put("source=web&destination=db", {**ALLOW, "Meta": {"a": "b"}}),
        500,
        "Meta must not be specified",
    ),
    "empty Meta": Fact("1.10", "1.22", [], put("source=web&destination=db", {**ALLOW, "Meta": {}}), 200, True),
    "Meta as it is": Fact(
        "1.10",
        "1.22",
        [entry("db", {"Name": "x", "Action": "deny"}, Meta={"a": "b"})],
        put("source=web&destination=db", {**ALLOW, "Meta": {"a": "b"}}),
        200,
        True,
    ),
    "a long description": Fact(
        "1.10",
        "1.22",
        [],
        entry("db", {"Name": "x", "Action": "deny", "Description": "x" * 513}),
        500,
        "Sources[0].Description exceeds maximum length 512",
    ),
    "permissions for everything": Fact(
        "1.10",
        "1.22",
        [],
        put("source=web&destination=*", permission(PathExact="/")),
        500,
        "Sources[0].Permissions cannot be specified on intentions with wildcarded destinations",
    ),
    "a path without a slash": Fact(
        "1.10",
        "1.22",
        [HTTP],
        put("source=web&destination=db", permission(PathExact="x")),
        500,
        f"{SOURCE}.PathExact doesn't start with '/': \"x\"",
    ),
    "a method that is none": Fact(
        "1.10",
        "1.22",
        [HTTP],
        put("source=web&destination=db", permission(Methods=["foo"])),
        500,
        f'{SOURCE}.Methods contains an invalid method "FOO"',
    ),
    "a method twice": Fact(
        "1.10",
        "1.22",
        [HTTP],
        put("source=web&destination=db", permission(Methods=["GET", "get"])),
        500,
        f'{SOURCE}.Methods contains "GET" more than once',
    ),
    "a header without a name": Fact(
        "1.10",
        "1.22",
        [HTTP],
        put("source=web&destination=db", permission(Header=[{"Exact": "x"}])),
        500,
        f"{SOURCE}.Header[0] missing required Name field",
    ),
    "a header with two kinds": Fact(
        "1.10",
        "1.16",
        [HTTP],
        put("source=web&destination=db", permission(Header=[{"Name": "x", "Exact": "x", "Prefix": "y"}])),
        500,
        f"{SOURCE}.Header[0] should only contain one of Present, Exact, Prefix, Suffix, or Regex",
    ),
    "a header with two kinds, newest": Fact(
        "1.22",
        "1.22",
        [HTTP],
        put("source=web&destination=db", permission(Header=[{"Name": "x", "Exact": "x", "Prefix": "y"}])),
        500,
        f"{SOURCE}.Header[0] should only contain one of Present, Exact, Prefix, Suffix, Contains, or Regex",
    ),
    "no HTTP": Fact(
        "1.10",
        "1.22",
        [HTTP],
        put("source=web&destination=db", {"Permissions": [{"Action": "allow"}]}),
        500,
        f"{SOURCE} is required",
    ),
    "a permission without an action": Fact(
        "1.10",
        "1.22",
        [HTTP],
        put("source=web&destination=db", {"Permissions": [{"HTTP": {"PathExact": "/"}}]}),
        500,
        "Sources[0].Permissions[0].Action must be set to 'allow' or 'deny'",
    ),
    "nested snake case by name": Fact(
        "1.16",
        "1.22",
        [HTTP],
        put("source=web&destination=db", permission(path_exact="/")),
        400,
        'Request decode failed: json: unknown field "path_exact"',
    ),
    "nested snake case in an entry": Fact(
        "1.10",
        "1.22",
        [HTTP],
        entry("db", {"Name": "web", "Permissions": [{"Action": "allow", "HTTP": {"path_exact": "/"}}]}),
        200,
        True,
    ),
    "a protocol of proxy-defaults serves too": Fact(
        "1.10",
        "1.22",
        [("PUT", "/v1/config", {"Kind": "proxy-defaults", "Name": "global", "Config": {"protocol": "grpc"}})],
        put("source=web&destination=db", permission(PathExact="/")),
        200,
        True,
    ),
    "JWT without a name": Fact(
        "1.16",
        "1.22",
        [],
        entry("db", {"Name": "web", "Action": "allow"}, JWT={"Providers": [{}]}),
        500,
        listed("JWT provider name is required"),
    ),
    "empty JWT": Fact("1.16", "1.22", [], entry("db", {"Name": "web", "Action": "allow"}, JWT={}), 200, True),
    "JWT in a body by name is dropped": Fact(
        "1.16",
        "1.22",
        [],
        put("source=web&destination=db", {**ALLOW, "JWT": {"Providers": [{"Name": "nobody"}]}}),
        200,
        True,
    ),
    "a provider in use": Fact(
        "1.22",
        "1.22",
        [
            (
                "PUT",
                "/v1/config",
                {"Kind": "jwt-provider", "Name": "okta", "JSONWebKeySet": {"Local": {"JWKS": "eyJrZXlzIjpbXX0="}}},
            ),
            entry("db", {"Name": "web", "Action": "allow"}, JWT={"Providers": [{"Name": "okta"}]}),
        ],
        ("DELETE", "/v1/config/jwt-provider/okta", None),
        500,
    ),
    # The old way beside the new one.
    "both ways for one destination": Fact(
        "1.10",
        "1.22",
        [WEB_DB],
        LEGACY,
        500,
        'cannot use legacy intention API to edit intentions with a destination of "db" '
        "after editing them via a service-intentions config entry",
    ),
    "Meta of an old one blocks others": Fact(
        "1.10",
        "1.22",
        [LEGACY_META],
        put("source=web&destination=db", ALLOW),
        500,
        "Sources[0].LegacyMeta must be omitted",
    ),
    "an old one without Meta loses its id": Fact(
        "1.10", "1.22", [LEGACY, WEB_DB], ("GET", f"{EXACT}?source=old&destination=db", None), 200
    ),
    "POST without a destination": Fact(
        "1.16", "1.22", [], ("POST", INTENTIONS, {"SourceName": "a", "Action": "allow"}), 403, "Permission denied"
    ),
    "POST without a destination, before": Fact(
        "1.10",
        "1.10",
        [],
        ("POST", INTENTIONS, {"SourceName": "a", "Action": "allow"}),
        500,
        listed("DestinationName must be set"),
    ),
    "POST with permissions": Fact(
        "1.10",
        "1.22",
        [],
        (
            "POST",
            INTENTIONS,
            {"SourceName": "a", "DestinationName": "b", "Action": "allow", **permission(PathExact="/")},
        ),
        500,
        listed("Permissions must not be set when using the legacy APIs"),
    ),
    "POST with an id": Fact(
        "1.8",
        "1.22",
        [],
        ("POST", INTENTIONS, {"ID": "x", "SourceName": "a", "DestinationName": "b", "Action": "allow"}),
        500,
        "ID must be empty when creating a new intention",
    ),
    "POST with a partition": Fact(
        "1.16",
        "1.22",
        [],
        ("POST", INTENTIONS, {"SourcePartition": "x", "SourceName": "a", "DestinationName": "b", "Action": "allow"}),
        400,
        "Cannot specify a source partition with this endpoint",
    ),
    "no uuid": Fact("1.10", "1.22", [], ("GET", f"{INTENTIONS}/", None), 404, "Intention not found"),
    "PUT to no uuid": Fact(
        "1.10",
        "1.22",
        [],
        ("PUT", f"{INTENTIONS}/nope", ALLOW),
        500,
        "Intention lookup failed: failed config entry lookup: index error: UUID must be 36 characters",
    ),
    # Casing.
    "destinations in any case": Fact(
        "1.10", "1.22", [WEB_DB], ("GET", f"{EXACT}?source=web&destination=DB", None), 200
    ),
    "sources in their own case": Fact(
        "1.10", "1.22", [WEB_DB], ("GET", f"{EXACT}?source=WEB&destination=db", None), 404
    ),
    "check minds the case of both": Fact(
        "1.10",
        "1.22",
        [put("source=web&destination=db", {"Action": "deny"})],
        ("GET", f"{INTENTIONS}/check?source=web&destination=DB", None),
        200,
        {"Allowed": True},
    ),
    # Configuration entries.
    "check-and-set lost": Fact(
        "1.10",
        "1.22",
        [WEB_DB],
        ("PUT", "/v1/config?cas=0", entry("db", {"Name": "x", "Action": "deny"})[2]),
        200,
        False,
    ),
    "check-and-set of the same content": Fact(
        "1.10",
        "1.22",
        [WEB_DB],
        ("PUT", "/v1/config?cas=1", entry("db", {"Name": "web", "Action": "allow"})[2]),
        200,
        True,
    ),
    "check-and-set on nothing": Fact(
        "1.10", "1.22", [], ("PUT", "/v1/config?cas=7", entry("db", {"Name": "x", "Action": "deny"})[2]), 200, False
    ),
    "an old delete ignores cas": Fact(
        "1.10", "1.10", [WEB_DB], ("DELETE", "/v1/config/service-intentions/db?cas=1", None), 200, {}
    ),
    "a newer delete minds cas": Fact(
        "1.16", "1.22", [WEB_DB], ("DELETE", "/v1/config/service-intentions/db?cas=1", None), 200, False
    ),
    "a newer delete of nothing": Fact(
        "1.16", "1.22", [], ("DELETE", "/v1/config/service-intentions/db?cas=9", None), 200, True
    ),
    "cas that is no number": Fact(
        "1.16",
        "1.22",
        [],
        ("DELETE", "/v1/config/service-intentions/db?cas=abc", None),
        500,
        'strconv.ParseUint: parsing "abc": invalid syntax',
    ),
    "no sources": Fact("1.10", "1.22", [], entry("db"), 500, "At least one source is required"),
    "one source instead of a list": Fact(
        "1.10",
        "1.22",
        [],
        (
            "PUT",
            "/v1/config",
            {"Kind": "service-intentions", "Name": "db", "Sources": {"Name": "web", "Action": "allow"}},
        ),
        200,
        True,
    ),
    "a source without a name": Fact(
        "1.10", "1.22", [], entry("db", {"Action": "allow"}), 500, "Sources[0].Name is required"
    ),
    "an entry without a name": Fact(
        "1.10", "1.22", [], entry("", {"Name": "web", "Action": "allow"}), 500, "Name is required"
    ),
    "a namespace in an entry": Fact(
        "1.16",
        "1.22",
        [],
        entry("db", {"Name": "web", "Action": "allow", "Namespace": ""}),
        400,
        "Request decoding failed: "
        + listed('invalid config key "Sources[0].Namespace", namespaces are a consul enterprise feature'),
    ),
    "a filter on intentions": Fact(
        "1.16",
        "1.22",
        [],
        ("GET", "/v1/config/service-intentions?filter=x", None),
        500,
        "filtering not supported for config entry kind=service-intentions",
    ),
    "a filter on intentions, before": Fact(
        "1.10", "1.10", [], ("GET", "/v1/config/service-intentions?filter=x", None), 200, []
    ),
    "service-defaults that an intention needs": Fact(
        "1.10",
        "1.22",
        [HTTP, put("source=web&destination=db", permission(PathExact="/"))],
        ("DELETE", "/v1/config/service-defaults/db", None),
        500,
        'service "db" has protocol "tcp", which is incompatible with L7 intentions permissions',
    ),
    "config without a slash": Fact("1.10", "1.22", [], ("GET", "/v1/config", None), 405, "method GET not allowed"),
    "delete without a name": Fact(
        "1.10",
        "1.22",
        [],
        ("DELETE", "/v1/config/service-intentions", None),
        404,
        "Must provide both a kind and name to delete",
    ),
    # HTTP.
    "outside /v1": Fact(
        "1.16",
        "1.22",
        [],
        ("GET", "/connect/intentions", None),
        404,
        "Invalid URL path: if attempting to use the HTTP API, ensure the path starts with '/v1/'\n",
    ),
    "two slashes": Fact("1.8", "1.16", [], ("GET", "/v1//connect/intentions", None), 301),
    "two slashes, newest": Fact("1.22", "1.22", [], ("GET", "/v1//connect/intentions", None), 307),
    "a semicolon": Fact("1.16", "1.22", [], ("GET", f"{INTENTIONS}?a;b", None), 500, ""),
    "partition on a community agent": Fact(
        "1.16",
        "1.22",
        [],
        ("GET", f"{INTENTIONS}?partition=default", None),
        400,
        'Invalid query parameter: "partition" - Partitions are a Consul Enterprise feature',
    ),
    "an empty partition": Fact("1.16", "1.22", [], ("GET", f"{INTENTIONS}?partition=&ns=", None), 200, []),
    "datacenter wins over dc": Fact(
        "1.16", "1.22", [], ("GET", f"{INTENTIONS}?dc=dc1&datacenter=mars", None), 500, "No path to datacenter"
    ),
    "writes by name go to the primary": Fact(
        "1.10", "1.22", [], put("source=web&destination=db&dc=mars", ALLOW), 200, True
    ),
    # Configuration entries.
    **{
        f"{kind} with the name of another gateway": Fact(
            "1.8",
            "1.22",
            [config(other, "g")],
            config(kind, "G"),
            500,
            f'cannot create a "{kind}" config entry with name "G", '
            f'a "{other}" config entry with that name already exists',
        )
        for kind, other in (
            ("ingress-gateway", "terminating-gateway"),
            ("terminating-gateway", "ingress-gateway"),
        )
    },
    **{
        f"proxy-defaults with {given!r} for a map": Fact(
            "1.8",
            "1.8",
            [],
            config("proxy-defaults", "global", Config=given),
            400,
            f"Bad request: Request decoding failed: 1 error(s) decoding:\n\n* 'Config' expected a map, got '{found}'",
        )
        for given, found in (("x", "string"), (1, "float64"), (True, "bool"), (["a"], "string"))
    },
    **{
        f"two spellings of {other}": Fact(
            "1.8",
            "1.8",
            [],
            ("PUT", "/v1/config", {"Kind": "service-defaults", "Name": "y", other: "y"}),
            400,
            "Bad request: Request decoding failed: " + listed(f'invalid config key "{other}"'),
        )
        for other in ("kind", "name")
    },
    "no kind but null": Fact(
        "1.8",
        "1.8",
        [],
        ("PUT", "/v1/config", {"Kind": None, "kind": "service-defaults"}),
        400,
        "Bad request: Request decoding failed: Kind value in payload is not a string",
    ),
    # Authorize.
    "authorize: a foreign partition": Fact(
        "1.22",
        "1.22",
        [],
        (
            "POST",
            "/v1/agent/connect/authorize",
            {"Target": "db", "ClientCertURI": "spiffe://x/ap/a/ns/default/dc/dc1/svc/web"},
        ),
        400,
        'Mismatched partitions: "a" != "default"',
    ),
    "authorize: a foreign partition, before": Fact(
        "1.16",
        "1.16",
        [],
        (
            "POST",
            "/v1/agent/connect/authorize",
            {"Target": "db", "ClientCertURI": "spiffe://x/ap/a/ns/default/dc/dc1/svc/web"},
        ),
        200,
        {"Authorized": False, "Reason": 'Mismatched partitions: "a" != "default"'},
    ),
    "authorize: permissions": Fact(
        "1.10",
        "1.22",
        [HTTP, put("source=web&destination=db", permission(PathExact="/"))],
        (
            "POST",
            "/v1/agent/connect/authorize",
            {"Target": "DB", "ClientCertURI": "spiffe://x/ns/default/dc/dc1/svc/web"},
        ),
        200,
        {
            "Authorized": False,
            "Reason": "Matched L7 intention: default/web => default/db (Precedence: 9, Permissions: 1)",
        },
    ),
    "authorize: by default": Fact(
        "1.16",
        "1.22",
        [],
        (
            "POST",
            "/v1/agent/connect/authorize",
            {"Target": "db", "ClientCertURI": "spiffe://x/ns/default/dc/dc1/svc/web"},
        ),
        200,
        {"Authorized": True, "Reason": "Default behavior configured by ACLs"},
    ),
}


@pytest.mark.parametrize(
    ("name", "version"),
    [
        (name, version)
        for name, fact in FACTS.items()
        for version in VERSIONS[VERSIONS.index(fact.since) : VERSIONS.index(fact.until) + 1]
    ],
)
async def test_the_box_keeps_to_the_reference(name: str, version: Version) -> None:
    fact = FACTS[name]
    async with Agent(version) as agent, aiohttp.ClientSession() as session:

        async def ask(method: str, path: str, body: Any) -> tuple[int, Any]:
            url = URL(agent.url + path, encoded=True)
            data = None if body is None else json.dumps(body)
            async with session.request(method, url, data=data, allow_redirects=False) as response:
                text = await response.text()
                return response.status, json.loads(text) if response.content_type == "application/json" else text

        for before in fact.before:
            status, said = await ask(*before)
            assert status == 200, said
        status, body = await ask(*fact.ask)
        assert (status, body if fact.body is not None else None) == (fact.status, fact.body), body
