"""Reads of the catalog, of health and of the KV store with odd parameters, and what is written for them to find."""

from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import quote

from hypothesis import strategies as st
from support.conversations import Side, Step
from support.odd_values import put
from support.service_bodies import REGISTER, SERVICES, Services

from aioconsulconnect.testing.versions import Version

FILTERS = (
    "",
    "Service.Meta.version == v1",
    "ServiceMeta.version == v1",
    "Meta.version == v1",
    'ID == "web"',
    "ServiceName == web",
    "Service.Service == web",
    "Service == web",
    "ServiceID == web",
    "Tags contains a",
    "ServiceTags contains a",
    '"a" in Service.Tags',
    "Tags is empty",
    "Service.Tags is not empty",
    "Checks.Status == passing",
    'any Checks as c { c.Status == "passing" }',
    "Status == passing",
    "Node == x",
    "Node.Node matches `n.*`",
    "Port == 80",
    "ServicePort == 80",
    "Service.Port != 80",
    "Port == x",
    "Port == `80`",
    "Kind == `connect-proxy`",
    'ServiceKind == "connect-proxy"',
    "Proxy.DestinationServiceName == web",
    "Service.Proxy.Upstreams is empty",
    "Weights.Passing == 1",
    "Connect.Native == true",
    "Connect.Native",
    "EnableTagOverride == false",
    "TaggedAddresses.wan.Address == `1.2.3.4`",
    "not ID == web",
    "ID == web and Port == 80",
    "ID == web or (Port == 81)",
    "ID != web and not (Port == 81 or Tags contains a)",
    'ID matches "("',
    'ID matches "w.*"',
    "ID contains w",
    "Bogus == 1",
    "Meta.bogus == 1",
    "Definition.TTL == 1",
    "Meta is empty",
    "Name == `c` and",
    "==",
    "(",
    "ID == ",
    'ID == "web',
    "ID = web",
    "SourceName == web",
)
READS = (
    *("/v1/agent/services", "/v1/agent/checks", "/v1/catalog/services", "/v1/catalog/nodes", "/v1/catalog/datacenters"),
    *(
        f"/v1/{of}/{name}"
        for of in ("catalog/service", "catalog/connect", "health/service", "health/connect")
        for name in ("web", "db", "none", "")
    ),
    *(
        "/v1/health/checks/web",
        "/v1/health/state/any",
        "/v1/health/state/passing",
        "/v1/health/state/bogus",
        "/v1/health/ingress/web",
    ),
    *("/v1/catalog/node/{node}", "/v1/catalog/node/none", "/v1/catalog/node-services/{node}", "/v1/health/node/{node}"),
    *("/v1/agent/health/service/name/web", "/v1/agent/health/service/id/web", "/v1/agent/health/service/id/none"),
    *(
        "/v1/agent/health/service/name/db",
        "/v1/agent/service/web",
        "/v1/status/leader",
        "/v1/status/peers",
        "/v1/agent/self/x",
    ),
    *("/v1/kv/a", "/v1/kv/a/b", "/v1/kv/", "/v1/kv/none", "/v1/config/service-defaults", "/v1/connect/intentions"),
    *(
        "/v1/agent/version",
        "/v1/agent/host/x",
        "/v1/session/list",
        "/v1/query",
        "/v1/coordinate/nodes",
        "/v1/event/list",
    ),
)
PARAMETERS = (
    *(("dc", value) for value in ("dc1", "dc2", "", "DC1")),
    *(("datacenter", value) for value in ("dc1", "dc2")),
    *(("passing", value) for value in ("", "true", "1", "false", "x")),
    *(("tag", value) for value in ("a", "", "b", "A")),
    *(("node-meta", value) for value in ("a:b", "a", "", ":")),
    *(("near", value) for value in ("_agent", "none", "_ip", "")),
    *(("ns", value) for value in ("default", "other", "*", "")),
    *(("partition", value) for value in ("default", "other")),
    *(("peer", value) for value in ("p", "")),
    *(("stale", ""), ("consistent", ""), ("cached", ""), ("stale", "x"), ("pretty", ""), ("merge-central-config", "")),
    *(("index", value) for value in ("0", "-1", "x", "", "18446744073709551616")),
    *(("wait", value) for value in ("1ms", "x", "0", "-1s", "")),
    *(("max_stale", value) for value in ("1s", "x")),
    *(("recurse", ""), ("raw", ""), ("keys", ""), ("separator", "/"), ("separator", ""), ("recurse", "false")),
    *(("format", value) for value in ("text", "json")),
    *(("filter", value) for value in FILTERS),
    *(("filter", value) for value in FILTERS),
)
NODES: tuple[dict[str, Any], ...] = (
    {"Node": "ext", "Address": "10.1.1.1"},
    {"Node": "ext", "Address": "10.1.1.1", "Service": {"Service": "far", "Port": 1}},
    {
        "Node": "ext",
        "Address": "10.1.1.1",
        "NodeMeta": {"a": "b"},
        "Service": {"ID": "far-1", "Service": "web", "Tags": ["a"]},
    },
    {"Node": "ext", "Address": "10.1.1.1", "Check": {"Node": "ext", "CheckID": "c", "Name": "c", "Status": "passing"}},
    {
        "Node": "ext",
        "Address": "10.1.1.1",
        "Service": {"Service": "px", "Kind": "connect-proxy", "Port": 1, "Proxy": {"DestinationServiceName": "web"}},
    },
)
NODE_MEMBERS: tuple[tuple[tuple[str, ...], tuple[Any, ...]], ...] = (
    (("Node",), ("", "a b", "n" * 300, 5, None, "other")),
    (("Address",), ("", "x", 5)),
    (("ID",), ("", "x", "11111111-2222-3333-4444-555555555555")),
    (("Datacenter",), ("dc1", "dc2", "")),
    (("TaggedAddresses",), ({"lan": "1.2.3.4"}, None, {"lan": 5}, "x")),
    (("NodeMeta",), ({"a": "b"}, {"consul-x": "b"}, {"a b": "c"}, {"": "b"}, None, {"a": 5})),
    (("SkipNodeUpdate",), (True, "x")),
    (("Service", "Service"), ("", "x", 5, "*")),
    (("Service", "ID"), ("", "far-2")),
    (("Service", "Kind"), ("", "connect-proxy", "mesh-gateway", "bogus")),
    (("Service", "Port"), (0, -1, 70000, "80")),
    (("Service", "Meta"), ({"a": "b"}, {"consul-x": "b"})),
    (("Service", "Address"), ("", "0.0.0.0", "1.2.3.4")),
    (("Service", "Weights"), ({"Passing": 0, "Warning": 0}, {"Passing": -1, "Warning": 1}, None)),
    (("Service", "Proxy"), ({"DestinationServiceName": "web"}, {}, {"Upstreams": [{}]}, {"Bogus": 1})),
    (("Service", "Connect"), ({"Native": True}, {"SidecarService": {}})),
    (("Check", "Status"), ("", "passing", "bogus")),
    (("Check", "CheckID"), ("", "d")),
    (("Check", "ServiceID"), ("", "far", "none")),
    (("Check", "Definition"), ({"TCP": "x", "IntervalDuration": "1s"}, {"Interval": "1s"}, {"Bogus": 1})),
    (("Checks",), ([], [{"CheckID": "e", "Status": "critical", "Node": "ext"}], [{}], "x")),
    (("Bogus",), (1,)),
)
REMOVALS: tuple[Any, ...] = (
    {"Node": "ext"},
    {"Node": "ext", "ServiceID": "far"},
    {"Node": "ext", "CheckID": "c"},
    {"Node": "none"},
    {"Node": ""},
    {"Node": "ext", "Datacenter": "dc2"},
    {"Node": "ext", "Bogus": 1},
    {},
    "null",
    "{",
)
KEYS = ("a", "a/b", "b", "a/", "", "/a", "a b", "ä")


@st.composite
def _node(draw: st.DrawFn) -> Any:
    body = draw(st.sampled_from(NODES))
    for _ in range(draw(st.sampled_from((0, 1, 1, 2)))):
        way, values = draw(st.sampled_from(NODE_MEMBERS))
        body = put(body, way, draw(st.sampled_from(values)))
    return body


def _read(path: str, parameters: list[tuple[str, str]]) -> Step:
    query = "&".join(f"{name}={quote(text)}" if text else name for name, text in dict(parameters).items())
    return Step("GET", f"{path}?{query}" if query else path)


def steps(version: Version) -> st.SearchStrategy[list[Step]]:
    """From 5 to 15 requests: a few writes, many reads."""
    keys = st.sampled_from([quote(key) for key in KEYS])
    parameters = st.lists(st.sampled_from(PARAMETERS), max_size=2)
    reads = st.builds(_read, st.sampled_from(READS), parameters)
    writes = st.one_of(
        st.sampled_from([Step("PUT", REGISTER, body) for body in SERVICES]),
        st.builds(lambda body: Step("PUT", "/v1/catalog/register", body), _node()),
        st.builds(lambda body: Step("PUT", "/v1/catalog/deregister", body), st.sampled_from(REMOVALS)),
        st.builds(
            lambda key, value, query: Step("PUT", f"/v1/kv/{key}{query}", value),
            keys,
            st.sampled_from(("x", "", '{"a": 1}')),
            st.sampled_from(
                (
                    "",
                    "",
                    "",
                    "?cas=0",
                    "?cas=x",
                    "?cas=5",
                    "?flags=7",
                    "?flags=x",
                    "?acquire=x",
                    "?release=x",
                    "?dc=dc2",
                )
            ),
        ),
        st.builds(
            lambda key, query: Step("DELETE", f"/v1/kv/{key}{query}"),
            keys,
            st.sampled_from(("", "?recurse", "?cas=0", "?cas=x", "?cas=1")),
        ),
    )
    return st.lists(st.one_of(writes, reads, reads), min_size=5, max_size=15)


class Reads(Services):
    """Catalog, health and keys, read with parameters."""

    name = "catalog, health and keys"

    def views(self, side: Side, steps: Sequence[Step]) -> Iterator[Step]:
        for path in ("/v1/catalog/services", "/v1/catalog/nodes", "/v1/kv/?recurse", "/v1/catalog/service/far"):
            yield Step("GET", path)
        yield from super().views(side, steps)

    def clear(self, side: Side) -> None:
        side.send(Step("DELETE", "/v1/kv/?recurse"))
        for node in side.call("GET", "/v1/catalog/nodes") or ():
            if not node["Node"].startswith("node-"):
                side.send(Step("PUT", "/v1/catalog/deregister", {"Node": node["Node"]}))
        super().clear(side)
