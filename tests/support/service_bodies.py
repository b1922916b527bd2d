"""Good registrations of services and checks, and conversations about them."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

from hypothesis import strategies as st
from support.conversations import Side, Step
from support.entry_bodies import modelled, quoted, remove_entries
from support.odd_values import bent

from aioconsulconnect.testing.go_json.schema import Field, Struct
from aioconsulconnect.testing.versioned_fields import structs
from aioconsulconnect.testing.versions import Version

REGISTER = "/v1/agent/service/register"
# The shape of a registration is the one that has both checks and a token.
SERVICE_DEFINITION = next(
    struct for struct in structs() if {"Checks", "Token", "Weights"} <= {field.name for field in struct.fields}
)
# A check of its own has the members of one in a service, and a few more.
OWN_CHECK = Struct(
    (
        *(Field(name) for name in ("ID", "ServiceID", "Token", "Namespace")),
        *(
            each
            for field in SERVICE_DEFINITION.fields
            if field.name == "Check" and isinstance(field.of, Struct)
            for each in field.of.fields
        ),
    )
)
SERVICES: tuple[dict[str, Any], ...] = (
    {"Name": "web", "Port": 80},
    {"ID": "web-2", "Name": "web", "Port": 81, "Tags": ["a"], "Meta": {"version": "v1"}, "Address": "10.0.0.1"},
    {"Name": "web", "Port": 80, "Connect": {"SidecarService": {}}},
    {"Name": "web", "Port": 80, "Connect": {"Native": True}},
    {
        "Name": "db",
        "Port": 5432,
        "Connect": {
            "SidecarService": {
                "Port": 21500,
                "Proxy": {"Upstreams": [{"DestinationName": "web", "LocalBindPort": 9000}]},
            }
        },
    },
    {"Name": "db", "Port": 5432, "Check": {"TTL": "10m", "CheckID": "db-ttl"}},
    {
        "Name": "db",
        "Port": 5432,
        "Checks": [{"TTL": "10m", "Status": "passing"}, {"TCP": "127.0.0.1:1", "Interval": "1h"}],
    },
    {"Name": "px", "Kind": "connect-proxy", "Port": 20000, "Proxy": {"DestinationServiceName": "web"}},
    {
        "Name": "px",
        "Kind": "connect-proxy",
        "Port": 20000,
        "Proxy": {
            "DestinationServiceName": "web",
            "DestinationServiceID": "web",
            "LocalServicePort": 80,
            "Config": {"a": 1},
            "Upstreams": [
                {"DestinationName": "db", "LocalBindPort": 9000},
                {"DestinationName": "api", "LocalBindPort": 9001, "Datacenter": "dc2", "Config": {"protocol": "http"}},
            ],
            "MeshGateway": {"Mode": "local"},
            "Expose": {"Paths": [{"Path": "/a", "ListenerPort": 21500, "LocalPathPort": 80}]},
        },
    },
    {
        "Name": "mgw",
        "Kind": "mesh-gateway",
        "Port": 443,
        "TaggedAddresses": {"wan": {"Address": "1.2.3.4", "Port": 443}},
    },
    {"Name": "in", "Kind": "ingress-gateway", "Port": 8443},
    {"Name": "out", "Kind": "terminating-gateway", "Port": 8444},
    {"Name": "web", "Port": 80, "Weights": {"Passing": 10, "Warning": 1}, "EnableTagOverride": True},
)
IDS = ("web", "web-2", "db", "px", "mgw", "in", "out", "web-sidecar-proxy", "db-sidecar-proxy")
CHECKS: tuple[dict[str, Any], ...] = (
    {"Name": "alone", "TTL": "10m"},
    {"ID": "of-web", "Name": "c", "TTL": "10m", "ServiceID": "web", "Status": "passing"},
    {"Name": "tcp", "TCP": "127.0.0.1:1", "Interval": "1h", "Timeout": "1s"},
    {"Name": "http", "HTTP": "http://127.0.0.1:1/", "Interval": "1h", "Method": "PUT", "Header": {"x": ["y"]}},
    {"Name": "alias", "AliasService": "web"},
)
CHECK_IDS = ("alone", "of-web", "tcp", "http", "alias", "db-ttl", "service:db", "service:db:1", "service:web", "nope")
UPDATES: tuple[Any, ...] = (
    {"Status": "passing"},
    {"Status": "warning", "Output": "o"},
    {"Status": "critical", "Output": "x" * 5000},
    {"Status": "bogus"},
    {"Status": ""},
    {"Output": "o"},
    {"Bogus": 1, "Status": "passing"},
    {"status": "passing"},
    {"Status": 5},
    "null",
    "{",
    "",
)
# What the proxies and services of these conversations are merged with.
CENTRAL: tuple[dict[str, Any], ...] = (
    {"Kind": "service-defaults", "Name": "web", "Protocol": "http"},
    {"Kind": "service-defaults", "Name": "web", "MeshGateway": {"Mode": "remote"}, "Expose": {"Checks": True}},
    {
        "Kind": "proxy-defaults",
        "Name": "global",
        "Config": {"protocol": "http", "a": 2},
        "MeshGateway": {"Mode": "none"},
    },
    {
        "Kind": "ingress-gateway",
        "Name": "in",
        "Listeners": [{"Port": 8080, "Protocol": "tcp", "Services": [{"Name": "db"}]}],
    },
    {"Kind": "terminating-gateway", "Name": "out", "Services": [{"Name": "*"}]},
)


def steps(version: Version) -> st.SearchStrategy[list[Step]]:
    """From 5 to 15 requests about services and checks."""
    ids, check_ids = st.sampled_from(IDS), st.sampled_from(CHECK_IDS)
    queries = st.sampled_from(("",) * 9 + ("?replace-existing-checks=true", "?replace-existing-checks", "?ns=default"))
    registered = st.builds(
        lambda body, query: Step("PUT", REGISTER + query, body), bent(SERVICES, SERVICE_DEFINITION, version), queries
    )
    good = st.sampled_from([Step("PUT", REGISTER, body) for body in SERVICES])
    checks = st.builds(lambda body: Step("PUT", "/v1/agent/check/register", body), bent(CHECKS, OWN_CHECK, version))
    other = st.one_of(
        st.builds(lambda one: Step("PUT", f"/v1/agent/service/deregister/{one}"), ids),
        st.builds(lambda one: Step("PUT", f"/v1/agent/check/deregister/{one}"), check_ids),
        st.builds(
            lambda one, verb, note: Step("PUT", f"/v1/agent/check/{verb}/{one}{note}"),
            check_ids,
            st.sampled_from(("pass", "warn", "fail")),
            st.sampled_from(("", "?note=n")),
        ),
        st.builds(
            lambda one, body: Step("PUT", f"/v1/agent/check/update/{one}", body), check_ids, st.sampled_from(UPDATES)
        ),
        st.builds(
            lambda one, query: Step("PUT", f"/v1/agent/service/maintenance/{one}{query}"),
            ids,
            st.sampled_from(("?enable=true", "?enable=true&reason=r", "?enable=false", "?enable=x", "", "?enable=")),
        ),
        st.builds(lambda one: Step("GET", f"/v1/agent/service/{one}"), ids),
        st.sampled_from([Step("PUT", "/v1/config", entry) for entry in CENTRAL]),
    )
    return st.lists(st.one_of(registered, registered, registered, good, checks, other), min_size=5, max_size=15)


class Services:
    """Services and checks as registered, and as agent, catalog and health show them."""

    name = "services and checks"
    acl = False

    def __init__(self, version: Version) -> None:
        self.kinds = [kind.name for kind in modelled(version)]

    def views(self, side: Side, steps: Sequence[Step]) -> Iterator[Step]:
        yield Step("GET", "/v1/agent/services")
        yield Step("GET", "/v1/agent/checks")
        known = side.call("GET", "/v1/agent/services") or {}
        for identifier in known:
            yield Step("GET", f"/v1/agent/service/{quoted(identifier)}")
        yield Step("GET", "/v1/catalog/services")
        for name in sorted({str(service["Service"]) for service in known.values()}):
            if name and len(name) < 100:
                yield Step("GET", f"/v1/catalog/service/{quoted(name)}")
                yield Step("GET", f"/v1/health/service/{quoted(name)}")
                yield Step("GET", f"/v1/health/checks/{quoted(name)}")
        yield Step("GET", "/v1/health/connect/web")
        yield Step("GET", "/v1/catalog/connect/db")
        for name in ("in", "out"):
            yield Step("GET", f"/v1/catalog/gateway-services/{name}")

    def clear(self, side: Side) -> None:
        for identifier in side.call("GET", "/v1/agent/services") or ():
            side.send(Step("PUT", f"/v1/agent/service/deregister/{quoted(identifier)}"))
        for identifier in side.call("GET", "/v1/agent/checks") or ():
            side.send(Step("PUT", f"/v1/agent/check/deregister/{quoted(identifier)}"))
        remove_entries(side, self.kinds)
        self._wait(side)

    @staticmethod
    def _wait(side: Side) -> None:
        """Wait until the catalog has heard of it."""
        for _ in range(200):
            if set(json.loads(side.send(Step("GET", "/v1/catalog/services")).text or "{}")) <= {"consul"}:
                return
