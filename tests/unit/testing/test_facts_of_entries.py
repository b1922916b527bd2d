"""What the reference says of configuration entries, HTTP and authorize: statuses and exact texts, by version."""

import pytest
from support.reference_facts import (
    ALLOW,
    HTTP,
    INTENTIONS,
    WEB_DB,
    Fact,
    cases,
    check,
    config,
    entry,
    listed,
    permission,
    put,
)

from aioconsulconnect.testing import Version

FACTS: dict[str, Fact] = {
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


@pytest.mark.parametrize(("name", "version"), cases(FACTS))
async def test_the_agent_keeps_to_the_reference(name: str, version: Version) -> None:
    await check(FACTS[name], version)
