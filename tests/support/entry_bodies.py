"""Good configuration entries of every kind, and conversations about entries and the chains compiled from them."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any
from urllib.parse import quote

from hypothesis import strategies as st
from support.conversations import Side, Step
from support.odd_values import bent

from aioconsulconnect.testing.config_entries.kinds import KINDS, EntryKind
from aioconsulconnect.testing.versions import Version, spans

NAMES = ("web", "db", "api")
GOOD: dict[str, tuple[dict[str, Any], ...]] = {
    "service-defaults": (
        {"Name": "web", "Protocol": "http"},
        {"Name": "db", "Protocol": "tcp"},
        {"Name": "api", "Protocol": "grpc", "MeshGateway": {"Mode": "local"}},
    ),
    "proxy-defaults": (
        {"Name": "global", "Config": {"protocol": "http"}},
        {"Name": "global", "MeshGateway": {"Mode": "remote"}},
    ),
    "service-resolver": (
        {"Name": "web", "DefaultSubset": "v1", "Subsets": {"v1": {"Filter": "Service.Meta.version == v1"}, "v2": {}}},
        {"Name": "web", "Redirect": {"Service": "api"}},
        {"Name": "db", "Failover": {"*": {"Datacenters": ["dc2"]}}},
        {"Name": "api", "ConnectTimeout": "5s"},
        {"Name": "api", "Subsets": {"v1": {}}, "Failover": {"v1": {"Service": "db"}}},
        {"Name": "web", "LoadBalancer": {"Policy": "ring_hash", "HashPolicies": [{"SourceIP": True}]}},
    ),
    "service-router": (
        {
            "Name": "web",
            "Routes": [{"Match": {"HTTP": {"PathPrefix": "/a"}}, "Destination": {"Service": "api"}}],
        },
        {
            "Name": "web",
            "Routes": [
                {
                    "Match": {"HTTP": {"PathExact": "/a", "Header": [{"Name": "x", "Exact": "1"}], "Methods": ["GET"]}},
                    "Destination": {"Service": "web", "ServiceSubset": "v1", "PrefixRewrite": "/", "NumRetries": 2},
                },
                {"Match": {"HTTP": {"QueryParam": [{"Name": "q", "Present": True}]}}},
            ],
        },
    ),
    "service-splitter": (
        {"Name": "web", "Splits": [{"Weight": 100}]},
        {"Name": "web", "Splits": [{"Weight": 50, "ServiceSubset": "v1"}, {"Weight": 50, "ServiceSubset": "v2"}]},
        {"Name": "web", "Splits": [{"Weight": 90, "Service": "web"}, {"Weight": 10, "Service": "api"}]},
    ),
    "ingress-gateway": (
        {"Name": "in", "Listeners": [{"Port": 8080, "Protocol": "tcp", "Services": [{"Name": "db"}]}]},
        {
            "Name": "in",
            "Listeners": [
                {"Port": 8080, "Protocol": "http", "Services": [{"Name": "web", "Hosts": ["a.example"]}]},
                {"Port": 8081, "Protocol": "http", "Services": [{"Name": "*"}]},
            ],
        },
    ),
    "terminating-gateway": (
        {"Name": "out", "Services": [{"Name": "db"}]},
        {
            "Name": "out",
            "Services": [{"Name": "db", "CAFile": "/ca", "CertFile": "/c", "KeyFile": "/k"}, {"Name": "*"}],
        },
    ),
    "service-intentions": (
        {"Name": "web", "Sources": [{"Name": "api", "Action": "allow"}]},
        {"Name": "db", "Sources": [{"Name": "web", "Action": "deny"}, {"Name": "*", "Action": "allow"}]},
        {
            "Name": "web",
            "Sources": [
                {"Name": "api", "Permissions": [{"Action": "allow", "HTTP": {"PathPrefix": "/a", "Methods": ["GET"]}}]}
            ],
        },
        {
            "Name": "web",
            "Sources": [
                {
                    "Name": "db",
                    "Permissions": [{"Action": "deny", "HTTP": {"Header": [{"Name": "x", "Present": True}]}}],
                }
            ],
        },
    ),
    "mesh": ({}, {"TransparentProxy": {"MeshDestinationsOnly": True}}),
    "exported-services": (
        {"Name": "default", "Services": [{"Name": "web", "Consumers": [{"Peer": "p"}]}]},
        {"Name": "default", "Services": [{"Name": "*", "Consumers": [{"Peer": "p"}, {"Peer": "q"}]}]},
    ),
    "sameness-group": ({"Name": "g", "Members": [{"Peer": "p"}]},),
    "jwt-provider": (
        {"Name": "j", "JSONWebKeySet": {"Local": {"JWKS": "eyJrZXlzIjogW119"}}},
        {
            "Name": "j",
            "JSONWebKeySet": {"Remote": {"URI": "https://a.example/k"}},
            "Locations": [{"Header": {"Name": "x"}}],
        },
    ),
    "api-gateway": (
        {"Name": "gw", "Listeners": [{"Name": "one", "Port": 8443, "Protocol": "http"}]},
        {"Name": "gw", "Listeners": [{"Name": "one", "Port": 8443, "Protocol": "tcp"}]},
    ),
    "http-route": (
        {
            "Name": "r",
            "Parents": [{"Kind": "api-gateway", "Name": "gw", "SectionName": "one"}],
            "Rules": [{"Services": [{"Name": "web"}]}],
        },
    ),
    "tcp-route": ({"Name": "t", "Parents": [{"Kind": "api-gateway", "Name": "gw"}], "Services": [{"Name": "db"}]},),
    "inline-certificate": ({"Name": "c", "Certificate": "x", "PrivateKey": "y"},),
    "bound-api-gateway": ({"Name": "gw"},),
    "file-system-certificate": ({"Name": "f", "Certificate": "/c.pem", "PrivateKey": "/k.pem"},),
}
# Traffic is what most people write, and what chains are compiled from.
OFTEN = ("service-defaults", "proxy-defaults", "service-resolver", "service-router", "service-splitter")
REMOVED = (
    *("http-route", "tcp-route", "api-gateway", "inline-certificate", "file-system-certificate", "exported-services"),
    *("ingress-gateway", "terminating-gateway", "service-intentions", "jwt-provider", "service-router"),
    *("service-splitter", "service-resolver", "service-defaults", "proxy-defaults", "mesh", "sameness-group"),
)
CHAIN_QUERIES = ("", "", "?compile-dc=dc2", "?compile-dc=", "?bogus=1", "?dc=dc1", "?ns=default", "?partition=default")
OVERRIDES: tuple[Any, ...] = (
    {},
    {"OverrideProtocol": "http"},
    {"OverrideProtocol": "bogus"},
    {"OverrideProtocol": 5},
    {"OverrideMeshGateway": {"Mode": "remote"}},
    {"OverrideMeshGateway": {"Mode": "bogus"}},
    {"OverrideMeshGateway": "x"},
    {"OverrideConnectTimeout": "7s"},
    {"OverrideConnectTimeout": "x"},
    {"OverrideConnectTimeout": -5},
    {"Bogus": 1},
    "null",
    "[]",
    "{",
    "",
)


def good_entries(kind: str) -> tuple[dict[str, Any], ...]:
    return GOOD.get(kind, ({"Name": "x"},))


def modelled(version: Version) -> list[EntryKind]:
    return [kind for kind in KINDS if kind.struct and spans(version, kind.since, kind.until)]


def entry(kind: EntryKind, version: Version) -> st.SearchStrategy[Step]:
    """A PUT of an entry of a kind."""
    assert kind.struct
    bodies = bent(tuple({"Kind": kind.name} | good for good in good_entries(kind.name)), kind.struct, version)
    return st.builds(
        lambda body, query: Step("PUT", f"/v1/config{query}", body),
        bodies,
        st.sampled_from(("",) * 14 + ("?cas=0", "?cas=9999999", "?cas=x", "?cas=")),
    )


def steps(version: Version) -> st.SearchStrategy[list[Step]]:
    """From 5 to 15 requests about entries."""
    kinds = modelled(version)
    by_name = {kind.name: kind for kind in kinds}
    written = st.sampled_from([*kinds, *(by_name[name] for name in OFTEN)]).flatmap(lambda kind: entry(kind, version))
    good = st.sampled_from(
        [Step("PUT", "/v1/config", {"Kind": k.name} | g) for k in kinds for g in good_entries(k.name)]
    )
    named = st.sampled_from(
        [(kind.name, good["Name"]) for kind in kinds for good in good_entries(kind.name) if "Name" in good]
    )
    services = st.sampled_from(NAMES)
    other = st.one_of(
        st.builds(
            lambda of, query: Step("DELETE", f"/v1/config/{of[0]}/{of[1]}{query}"),
            named,
            st.sampled_from(("", "", "?cas=1", "?cas=x")),
        ),
        st.builds(lambda of: Step("GET", f"/v1/config/{of[0]}/{of[1]}"), named),
        st.builds(
            lambda name, query: Step("GET", f"/v1/discovery-chain/{name}{query}"),
            services,
            st.sampled_from(CHAIN_QUERIES),
        ),
        st.builds(
            lambda name, body: Step("POST", f"/v1/discovery-chain/{name}", body), services, st.sampled_from(OVERRIDES)
        ),
    )
    return st.lists(st.one_of(written, written, written, good, other), min_size=5, max_size=15)


class Entries:
    """Configuration entries, discovery chains, the services of gateways."""

    name = "config entries and chains"
    acl = False

    def __init__(self, version: Version) -> None:
        self.kinds = [kind.name for kind in modelled(version)]

    def views(self, side: Side, steps: Sequence[Step]) -> Iterator[Step]:
        touched = {str(step.body.get("Kind")) for step in steps if isinstance(step.body, dict)}
        for kind in self.kinds:
            if kind in touched:
                yield Step("GET", f"/v1/config/{kind}")
        for name in NAMES:
            yield Step("GET", f"/v1/discovery-chain/{name}")
        for name in ("in", "out", "gw"):
            yield Step("GET", f"/v1/catalog/gateway-services/{name}")
        if "service-intentions" in touched:
            yield Step("GET", "/v1/connect/intentions")

    def clear(self, side: Side) -> None:
        remove_entries(side, self.kinds)


def remove_entries(side: Side, kinds: Iterable[str]) -> None:
    """Delete all entries, in an order in which none holds another, and again where one did."""
    for _ in range(3):
        left = False
        for kind in REMOVED:
            if kind not in kinds:
                continue
            for found in side.call("GET", f"/v1/config/{kind}") or ():
                left = True
                name = found.get("Name", "mesh")
                side.send(Step("DELETE", f"/v1/config/{kind}/{quoted(name)}"))
        if not left:
            return


def quoted(name: str) -> str:
    """A name as a part of a path."""
    return quote(name, safe="")
