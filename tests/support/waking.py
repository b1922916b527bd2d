"""Which write wakes which blocking query: the writes and the queries of the matrix."""

from __future__ import annotations

from typing import Any, NamedTuple


class Query(NamedTuple):
    """A blocking query: its path, and the versions that have it."""

    path: str
    since: tuple[int, int] = (1, 0)
    streams: tuple[int, int] = (99, 0)
    """The first version whose health queries are views of a stream when they block."""


class Write(NamedTuple):
    """A write: its request as (method, path, body), and the versions that have it.

    ALLOW and FORGET, with source and destination, are the requests that write and delete an intention.
    """

    request: tuple[str, str, Any]
    since: tuple[int, int] = (1, 0)
    untold: frozenset[str] = frozenset()
    """The queries that time alone decides on."""


STREAM = (1, 10)
QUERIES: dict[str, Query] = {
    "intentions": Query("/v1/connect/intentions"),
    "match to web": Query("/v1/connect/intentions/match?by=destination&name=web"),
    "match to web cached": Query("/v1/connect/intentions/match?by=destination&name=web&cached", since=(1, 9)),
    "match to nobody": Query("/v1/connect/intentions/match?by=destination&name=nobody"),
    "match from web": Query("/v1/connect/intentions/match?by=source&name=web"),
    "match from nobody": Query("/v1/connect/intentions/match?by=source&name=nobody"),
    "roots": Query("/v1/connect/ca/roots"),
    "agent roots": Query("/v1/agent/connect/ca/roots"),
    "leaf": Query("/v1/agent/connect/ca/leaf/web"),
    "services": Query("/v1/catalog/services"),
    "nodes": Query("/v1/catalog/nodes"),
    "service web": Query("/v1/catalog/service/web"),
    "service db": Query("/v1/catalog/service/db"),
    "service nobody": Query("/v1/catalog/service/nobody"),
    "service nobody cached": Query("/v1/catalog/service/nobody?cached"),
    "service gate": Query("/v1/catalog/service/gate"),
    "connect web": Query("/v1/catalog/connect/web"),
    "connect db": Query("/v1/catalog/connect/db"),
    "connect nobody": Query("/v1/catalog/connect/nobody"),
    "gateway-services entrance": Query("/v1/catalog/gateway-services/entrance"),
    "gateway-services exit": Query("/v1/catalog/gateway-services/exit"),
    "gateway-services side": Query("/v1/catalog/gateway-services/side"),
    "gateway-services nobody": Query("/v1/catalog/gateway-services/nobody"),
    "health web": Query("/v1/health/service/web", streams=STREAM),
    "health web near": Query("/v1/health/service/web?near=_agent"),
    "health web passing": Query("/v1/health/service/web?passing", streams=STREAM),
    "health web passing near": Query("/v1/health/service/web?passing&near=_agent"),
    "health web cached": Query("/v1/health/service/web?cached", streams=STREAM),
    "health db": Query("/v1/health/service/db", streams=STREAM),
    "health db near": Query("/v1/health/service/db?near=_agent"),
    "health nobody": Query("/v1/health/service/nobody", streams=STREAM),
    "health nobody near": Query("/v1/health/service/nobody?near=_agent"),
    "health connect web": Query("/v1/health/connect/web", streams=STREAM),
    "health connect web near": Query("/v1/health/connect/web?near=_agent"),
    "health connect db near": Query("/v1/health/connect/db?near=_agent"),
    "health connect nobody": Query("/v1/health/connect/nobody", streams=STREAM),
    "health connect nobody near": Query("/v1/health/connect/nobody?near=_agent"),
    "ingress web": Query("/v1/health/ingress/web"),
    "ingress extra": Query("/v1/health/ingress/extra"),
    "ingress nobody": Query("/v1/health/ingress/nobody"),
    "checks web": Query("/v1/health/checks/web"),
    "checks db": Query("/v1/health/checks/db"),
    "checks gate": Query("/v1/health/checks/gate"),
    "checks nobody": Query("/v1/health/checks/nobody"),
    "agent service": Query("/v1/agent/service/web1"),
    "config": Query("/v1/config/"),
    "config service-defaults": Query("/v1/config/service-defaults"),
    "config service-intentions": Query("/v1/config/service-intentions", since=(1, 9)),
    "config service-resolver": Query("/v1/config/service-resolver"),
    "config service-splitter": Query("/v1/config/service-splitter"),
    "config ingress-gateway": Query("/v1/config/ingress-gateway"),
    "config service-defaults/web": Query("/v1/config/service-defaults/web"),
    "config service-defaults/nobody": Query("/v1/config/service-defaults/nobody"),
    "config service-resolver/web": Query("/v1/config/service-resolver/web"),
    "config proxy-defaults/global": Query("/v1/config/proxy-defaults/global"),
    "chain web": Query("/v1/discovery-chain/web"),
    "chain web cached": Query("/v1/discovery-chain/web?cached"),
    "chain db": Query("/v1/discovery-chain/db"),
    "chain nobody": Query("/v1/discovery-chain/nobody"),
    "exported": Query("/v1/exported-services", since=(1, 18)),
}


def _service(name: str, identifier: str, port: int, **more: Any) -> tuple[str, str, Any]:
    return ("PUT", "/v1/agent/service/register", {"Name": name, "ID": identifier, "Port": port, **more})


def _entry(kind: str, name: str, **members: Any) -> tuple[str, str, Any]:
    return ("PUT", "/v1/config", {"Kind": kind, "Name": name, **members})


def _check(action: str, note: str) -> tuple[str, str, Any]:
    return ("PUT", f"/v1/agent/check/{action}/web-ttl?note={note}", None)


def _allow(source: str, destination: str) -> tuple[str, str, Any]:
    return ("ALLOW", source, destination)


def _ingress(port: int, name: str) -> tuple[str, str, Any]:
    listener = {"Port": port, "Protocol": "http", "Services": [{"Name": name, "Hosts": ["*"]}]}
    return _entry("ingress-gateway", "entrance" if name == "web" else "side", Listeners=[listener])


_TTL = {"CheckID": "web-ttl", "Name": "ttl", "TTL": "1h"}
_WEB: dict[str, Any] = {"Tags": ["a"], "Meta": {"v": "1"}, "Check": _TTL}
_PROXY = {"Kind": "connect-proxy", "Proxy": {"DestinationServiceName": "db"}}
_CA = {"LeafCertTTL": "71h", "IntermediateCertTTL": "8760h"}

SETUP: tuple[tuple[str, str, Any], ...] = (
    _service("web", "web1", 80, **_WEB),
    _service("db", "db1", 90),
    _service("db-proxy", "db-proxy", 91, **_PROXY),
    _service("gate", "gate", 70),
    _service("entrance", "entrance", 71, Kind="ingress-gateway"),
    _allow("web", "db"),
    _entry("service-defaults", "web", Protocol="http"),
    _entry("service-defaults", "extra", Protocol="http"),
    _ingress(8080, "web"),
    _entry("terminating-gateway", "exit", Services=[{"Name": "legacy"}]),
)

WRITES: dict[str, Write] = {
    "register a new name": Write(_service("fresh", "fresh", 1)),
    "register a second instance": Write(_service("web", "web2", 81)),
    "register the same again": Write(_service("web", "web2", 81)),
    "change a tag": Write(_service("web", "web1", 80, **{**_WEB, "Tags": ["b"]})),
    "change a port": Write(_service("web", "web1", 82, **{**_WEB, "Tags": ["b"]})),
    "change the metadata": Write(_service("web", "web1", 82, **{**_WEB, "Tags": ["b"], "Meta": {"v": "2"}})),
    "register a sidecar": Write(_service("web", "web2", 81, Connect={"SidecarService": {}})),
    "register a native instance": Write(_service("native", "native", 2, Connect={"Native": True})),
    "register a proxy of web": Write(
        _service("other-proxy", "other", 3, Kind="connect-proxy", Proxy={"DestinationServiceName": "web"})
    ),
    "change the gateway's port": Write(_service("entrance", "entrance", 72, Kind="ingress-gateway")),
    "pass a check": Write(_check("pass", "one")),
    "pass it again": Write(_check("pass", "one")),
    "pass it with another output": Write(_check("pass", "two")),
    "fail it": Write(_check("fail", "three")),
    "register a check": Write(
        ("PUT", "/v1/agent/check/register", {"Name": "x", "ID": "x", "TTL": "1h", "ServiceID": "web1"})
    ),
    "register a check of another service": Write(
        ("PUT", "/v1/agent/check/register", {"Name": "y", "ID": "y", "TTL": "1h", "ServiceID": "gate"})
    ),
    "register a check of the proxy": Write(
        ("PUT", "/v1/agent/check/register", {"Name": "z", "ID": "z", "TTL": "1h", "ServiceID": "db-proxy"})
    ),
    "deregister a check": Write(("PUT", "/v1/agent/check/deregister/x", None)),
    "maintenance": Write(("PUT", "/v1/agent/service/maintenance/web1?enable=true", None)),
    "end of maintenance": Write(("PUT", "/v1/agent/service/maintenance/web1?enable=false", None)),
    "deregister the proxy of web": Write(("PUT", "/v1/agent/service/deregister/other", None)),
    "deregister one of two": Write(
        ("PUT", "/v1/agent/service/deregister/web2", None),
        untold=frozenset({"services"}),  # two writes, of the sidecar too
    ),
    "deregister the last of a name": Write(("PUT", "/v1/agent/service/deregister/fresh", None)),
    "register another name": Write(_service("later", "later", 4)),
    "register a similar name": Write(_service("nod", "nod", 5)),
    "deregister the similar name": Write(("PUT", "/v1/agent/service/deregister/nod", None)),
    "deregister the native instance": Write(("PUT", "/v1/agent/service/deregister/native", None)),
    "rename an instance": Write(_service("renamed", "later", 4)),
    "allow api to web": Write(_allow("api", "web")),
    "allow it again": Write(_allow("api", "web")),
    "allow web to others": Write(_allow("web", "others")),
    "allow strangers": Write(_allow("x", "y")),
    "forbid api to web": Write(("FORGET", "api", "web")),
    "allow by id": Write(
        ("POST", "/v1/connect/intentions", {"SourceName": "p", "DestinationName": "q", "Action": "allow"}),
    ),
    "forget nothing": Write(("FORGET", "no", "such"), since=(1, 9)),
    "intentions of web": Write(
        _entry("service-intentions", "web", Sources=[{"Name": "api", "Action": "deny"}]), since=(1, 9)
    ),
    "defaults of web": Write(_entry("service-defaults", "web", Protocol="http", MeshGateway={"Mode": "local"})),
    "defaults of web again": Write(_entry("service-defaults", "web", Protocol="http", MeshGateway={"Mode": "local"})),
    "defaults of another": Write(_entry("service-defaults", "zeta", Protocol="http")),
    "defaults of the missing": Write(_entry("service-defaults", "nobody", Protocol="grpc")),
    "defaults of the similar": Write(_entry("service-defaults", "nod", Protocol="grpc")),
    "delete the defaults of the missing": Write(("DELETE", "/v1/config/service-defaults/nobody", None)),
    "check-and-set in vain": Write(
        ("PUT", "/v1/config?cas=1", {"Kind": "service-defaults", "Name": "web", "Protocol": "grpc"})
    ),
    "resolver of web": Write(_entry("service-resolver", "web", ConnectTimeout="9s")),
    "resolver of another": Write(_entry("service-resolver", "zeta", ConnectTimeout="9s")),
    "router of web": Write(_entry("service-router", "web", Routes=[])),
    "splitter of web": Write(_entry("service-splitter", "web", Splits=[{"Weight": 100}])),
    "delete the splitter": Write(("DELETE", "/v1/config/service-splitter/web", None)),
    "delete the resolver": Write(("DELETE", "/v1/config/service-resolver/web", None)),
    "delete nothing": Write(("DELETE", "/v1/config/service-resolver/nobody", None)),
    "change the ingress": Write(_ingress(8081, "web")),
    "another ingress": Write(_ingress(8082, "extra")),
    "change the exit": Write(_entry("terminating-gateway", "exit", Services=[{"Name": "older"}])),
    "another exit": Write(_entry("terminating-gateway", "exit2", Services=[{"Name": "legacy"}])),
    "mesh": Write(
        ("PUT", "/v1/config", {"Kind": "mesh", "TransparentProxy": {"MeshDestinationsOnly": True}}), since=(1, 10)
    ),
    "exported services": Write(
        _entry("exported-services", "default", Services=[{"Name": "web", "Consumers": [{"Peer": "p"}]}]),
        since=(1, 16),
    ),
    "proxy defaults": Write(_entry("proxy-defaults", "global", MeshGateway={"Mode": "local"})),
    "proxy defaults with configuration": Write(
        _entry("proxy-defaults", "global", MeshGateway={"Mode": "local"}, Config={"a": 1})
    ),
    "CA configuration": Write(("PUT", "/v1/connect/ca/configuration", {"Provider": "consul", "Config": _CA})),
    "CA configuration again": Write(("PUT", "/v1/connect/ca/configuration", {"Provider": "consul", "Config": _CA})),
    "new root": Write(
        ("PUT", "/v1/connect/ca/configuration", {"Provider": "consul", "Config": {**_CA, "PrivateKey": "KEY"}}),
        untold=frozenset({"leaf"}),
    ),
}

ACL_WRITES: dict[str, Write] = {
    "policy": Write(("PUT", "/v1/acl/policy", {"Name": "p", "Rules": 'service "web" { policy = "read" }'})),
    "token": Write(("PUT", "/v1/acl/token", {"Policies": [{"Name": "p"}]})),
}
