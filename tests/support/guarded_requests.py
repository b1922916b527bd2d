"""What tokens with all kinds of rights ask of an agent, with what must be there before."""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple

from support.guarded import NOBODY, Answer, unindexed


class Request(NamedTuple):
    """A request; ``{n}`` in its path is the id of the n-th intention that was made."""

    method: str
    path: str
    body: Any = None


def rule(resource: str, name: str, policy: str, intentions: str = "") -> str:
    more = f' intentions = "{intentions}"' if intentions else ""
    return f'{resource} "{name}" {{ policy = "{policy}"{more} }} '


SERVICES, NODES = "service_prefix", "node_prefix"
READS_NODES, WRITES_NODES = rule(NODES, "", "read"), rule(NODES, "", "write")
RULES = {
    "nothing": "",
    "reads-web": rule("service", "web", "read"),
    "writes-web": rule("service", "web", "write"),
    "reads-web-and-nodes": rule("service", "web", "read") + READS_NODES,
    "writes-services": rule(SERVICES, "", "write"),
    "reads-services": rule(SERVICES, "", "read"),
    "reads-services-and-nodes": rule(SERVICES, "", "read") + READS_NODES,
    "writes-services-and-nodes": rule(SERVICES, "", "write") + WRITES_NODES,
    "reads-nodes": READS_NODES,
    "writes-nodes": WRITES_NODES,
    "denied-the-node": rule("node", "box", "deny") + rule(SERVICES, "", "read"),
    **{f"operator-{policy}": f'operator = "{policy}"' for policy in ("read", "write", "deny")},
    **{f"mesh-{policy}": f'mesh = "{policy}"' for policy in ("read", "write", "deny")},
    "no-mesh-for-an-operator": 'mesh = "deny" operator = "write"',
    "mesh-for-no-operator": 'mesh = "write" operator = "deny"',
    **{f"intentions-{level}": rule("service", "db", "deny", level) for level in ("read", "write")},
    "writes-all-intentions": rule(SERVICES, "", "read", "write"),
    "denied-all-intentions": rule(SERVICES, "", "write", "deny"),
    "reads-agents": rule("agent_prefix", "", "read"),
    "writes-the-agent": rule("agent", "box", "write"),
    "denied-the-agent": rule("agent", "box", "deny"),
    **{f"acl-{policy}": f'acl = "{policy}"' for policy in ("read", "write", "deny")},
    "reads-keys": rule("key_prefix", "", "read"),
    "writes-keys": rule("key_prefix", "", "write"),
    "web-alone": rule(SERVICES, "", "deny") + rule("service", "web", "write") + READS_NODES,
    "all-but-web": rule("service", "web", "deny") + rule(SERVICES, "", "write") + WRITES_NODES,
    "keyring": 'keyring = "write"',
    "peering": 'peering = "write"',
    "a-star": rule("service", "*", "write"),
    "what-begins-with-w": rule(SERVICES, "w", "read", "write") + rule("node", "box", "read"),
    "sessions": rule("session_prefix", "", "write") + rule("event_prefix", "", "write"),
    "capitals": rule("service", "web", "READ") + rule(NODES, "", "Write") + 'operator = "READ"',
}
FEW = ("nothing", "reads-web-and-nodes", "writes-services", "no-mesh-for-an-operator", "acl-read", "all-but-web")

WEB = {"Name": "web", "Port": 8080, "Tags": ["t"], "Connect": {"SidecarService": {}}, "Check": {"TTL": "1h"}}
DB = {"Name": "db", "Port": 1, "Connect": {"Native": True}}
ENTRIES: list[dict[str, Any]] = [
    {"Kind": "service-defaults", "Name": "web", "Protocol": "http"},
    {"Kind": "service-defaults", "Name": "db", "Protocol": "tcp"},
    {"Kind": "service-resolver", "Name": "web"},
    {"Kind": "proxy-defaults", "Name": "global", "Config": {"a": 1}},
    {"Kind": "terminating-gateway", "Name": "term", "Services": [{"Name": "other"}]},
    {"Kind": "mesh"},
    {"Kind": "exported-services", "Name": "default", "Services": [{"Name": "web", "Consumers": [{"Peer": "p"}]}]},
    {"Kind": "jwt-provider", "Name": "j", "Issuer": "x", "JSONWebKeySet": {"Local": {"JWKS": "eyJrZXlzIjogW119"}}},
    {"Kind": "tcp-route", "Name": "tcpr", "Services": [{"Name": "db"}]},
]
KINDS = {
    "service-defaults": "web",
    "service-resolver": "web",
    "service-router": "web",
    "service-splitter": "web",
    "service-intentions": "db",
    "proxy-defaults": "global",
    "ingress-gateway": "ing",
    "terminating-gateway": "term",
    "mesh": "mesh",
    "exported-services": "default",
    "jwt-provider": "j",
    "api-gateway": "apig",
    "tcp-route": "tcpr",
    "http-route": "httpr",
    "sameness-group": "s",
    "inline-certificate": "c",
}
INTENTIONS = [("web", "db", "allow"), ("*", "web", "deny"), ("db", "*", "deny"), ("*", "*", "allow")]
SETUP = [
    Request("PUT", "/v1/agent/service/register", WEB),
    Request("PUT", "/v1/agent/service/register", DB),
    Request("PUT", "/v1/agent/service/register", {"Name": "term", "Kind": "terminating-gateway", "Port": 8}),
    *(Request("PUT", "/v1/config", entry) for entry in ENTRIES),
]

_CLIENT = f"spiffe://{NOBODY}.consul/ns/default/dc/dc1/svc/web"
_BUILT_IN = "00000000-0000-0000-0000-00000000000"
_INTENTIONS, _CATALOG, _HEALTH = "/v1/connect/intentions", "/v1/catalog", "/v1/health"
READS = [
    Request("GET", path)
    for path in (
        _INTENTIONS,
        *(f"{_INTENTIONS}/match?by=source&name={name}" for name in ("web", "*")),
        *(f"{_INTENTIONS}/match?by=destination&name={name}" for name in ("db", "web&name=db", "*")),
        *(f"{_INTENTIONS}/check?source=web&destination={name}" for name in ("db", "web", "*", "zzz")),
        *(f"{_INTENTIONS}/exact?source=*&destination={name}" for name in ("web", "*", "zzz")),
        f"{_INTENTIONS}/exact?source=web&destination=db",
        *(f"{_INTENTIONS}/{name}" for name in ("{0}", "{1}", "{3}", NOBODY)),
        *("/v1/connect/ca/roots", "/v1/connect/ca/configuration", "/v1/agent/connect/ca/roots"),
        *("/v1/agent/services", "/v1/agent/checks", "/v1/agent/self"),
        *(f"/v1/agent/service/{name}" for name in ("web", "web-sidecar-proxy", "db", "nope")),
        *(f"{_CATALOG}/nodes", f"{_CATALOG}/services"),
        *(f"{_CATALOG}/service/{name}" for name in ("web", "db", "nope")),
        *(f"{_CATALOG}/connect/{name}" for name in ("web", "db", "nope")),
        *(f"{_CATALOG}/gateway-services/{name}" for name in ("term", "nope")),
        *(f"{_HEALTH}/connect/{name}" for name in ("web", "db", "nope")),
        *(f"{_HEALTH}/service/{name}" for name in ("web", "web-sidecar-proxy", "nope")),
        *(f"{_HEALTH}/ingress/web", f"{_HEALTH}/checks/web", f"{_HEALTH}/checks/db"),
        *("/v1/discovery-chain/web", "/v1/discovery-chain/nope", "/v1/exported-services"),
        *("/v1/acl/policies", "/v1/acl/tokens", "/v1/acl/token/self", "/v1/acl/roles"),
        *(f"/v1/acl/policy/{name}" for name in (f"{_BUILT_IN}1", NOBODY)),
        *(f"/v1/acl/token/{name}" for name in (f"{_BUILT_IN}2", NOBODY)),
        *(f"/v1/config/{kind}/{name}" for kind, name in KINDS.items()),
        *(f"/v1/config/{kind}" for kind in KINDS),
    )
]
_CHECK = {"Name": "c2", "TTL": "1h", "ServiceID": "web"}
_PROXY = {"Name": "p", "Kind": "connect-proxy", "Port": 3, "Proxy": {"DestinationServiceName": "web"}}
WRITES = [
    *(Request("PUT", "/v1/config", entry) for entry in ENTRIES),
    Request("PUT", "/v1/config", {"Kind": "service-resolver", "Name": "zzz", "Redirect": {"Service": "db"}}),
    *(Request("DELETE", f"/v1/config/{kind}/zz") for kind in KINDS if kind != "mesh"),
    *(Request("PUT", "/v1/agent/service/register", body) for body in (WEB, DB, _PROXY)),
    *(Request("PUT", f"/v1/agent/service/deregister/{name}") for name in ("p", "nope")),
    Request("PUT", "/v1/agent/service/maintenance/web?enable=false"),
    Request("PUT", "/v1/agent/check/register", _CHECK),
    *(Request("PUT", f"/v1/agent/check/{path}") for path in ("deregister/c2", "deregister/nope", "pass/service:web")),
    *(
        Request("POST", "/v1/agent/connect/authorize", {"Target": target, "ClientCertURI": _CLIENT})
        for target in ("db", "web", "zzz")
    ),
    *(
        Request("POST", _INTENTIONS, {"SourceName": source, "DestinationName": destination, "Action": "allow"})
        for source, destination in (("a", ""), ("web", "db"))
    ),
    Request("PUT", f"{_INTENTIONS}/{{0}}", {"SourceName": "web", "DestinationName": "db", "Action": "allow"}),
    Request("DELETE", f"{_INTENTIONS}/{NOBODY}"),
    *(
        Request(method, f"{_INTENTIONS}/exact?source=q&destination={name}", body)
        for name in ("db", "web", "*")
        for method, body in (("PUT", {"Action": "allow"}), ("DELETE", None))
    ),
    Request("PUT", "/v1/connect/ca/configuration", {"Provider": "nope"}),
    *(Request("PUT", f"/v1/acl/{kind}", {"Name": "a b"}) for kind in ("policy", "role")),
    *(Request("PUT", f"/v1/acl/{kind}/{NOBODY}", {"Name": "q"}) for kind in ("policy", "role")),
    *(Request("PUT", f"/v1/acl/token/{path}", {}) for path in (NOBODY, f"{NOBODY}/clone")),
    *(Request("DELETE", f"/v1/acl/{kind}/{NOBODY}") for kind in ("policy", "role", "token")),
    *(Request("DELETE", f"/v1/acl/{path}") for path in (f"policy/{_BUILT_IN}1", f"token/{_BUILT_IN}2")),
    Request("POST", "/v1/discovery-chain/web", {}),
]

_NAMES = ("web", "", "web/", "/web", "//web", "ns/web", "other/default/web", "a/b/c/d", "peer:p/web", "peer:p", "*/*")
_ODD: list[dict[str, Any]] = [
    *({f"{side}Partition": value} for side in ("Source", "Destination") for value in ("other", "default", "")),
    *({f"{side}NS": "x"} for side in ("Source", "Destination")),
    {"SourcePartition": "other", "SourcePeer": "p"},
    {"SourceSamenessGroup": "g"},
]
_WHOLE = {"SourceName": "q", "DestinationName": "b", "Action": "allow"}
ODD_INTENTIONS = [
    *(Request(method, f"{_INTENTIONS}/", body) for method, body in (("GET", None), ("PUT", {}), ("DELETE", None))),
    *(
        Request("PUT", f"{_INTENTIONS}/{name}", {**base, **odd})
        for odd in ({}, *_ODD)
        for base in ({}, _WHOLE)
        for name in ("{0}", NOBODY)
    ),
    *(Request("POST", _INTENTIONS, odd) for odd in ({}, *_ODD)),
    *(
        Request("GET", f"{_INTENTIONS}/check?source={source}&destination={destination}{more}")
        for source in _NAMES
        for destination in ("db", "ns/db", "db/", "p/default/db", "peer:p/db")
        for more in ("", "&source-type=x")
    ),
]
EXACT_INTENTIONS = [
    Request(method, f"{_INTENTIONS}/exact?source={source}&destination={destination}", body)
    for source in _NAMES
    for destination in ("db", "", "ns/db", "db/", "p/default/db", "peer:p/db")
    for method, body in (("GET", None), ("PUT", {}), ("DELETE", None))
]
"""Requests for intentions by names that hold more or less than a name, from 1.9."""


def comparable(request: Request, answer: Answer) -> tuple[object, ...]:
    """The status, what is said or the names of what is seen, and the marks in the headers."""
    marks = {
        "filtered": "X-Consul-Results-Filtered-By-Acls" in answer.headers,
        "knows a leader": answer.headers.get("X-Consul-Knownleader"),
        "index": {None: None, "1": "1"}.get(answer.headers.get("X-Consul-Index"), "another"),
    }
    text = re.sub(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "U", answer.text)
    if answer.status != 200:
        return answer.status, text, marks
    try:
        value = unindexed(json.loads(text))
    except ValueError:
        return answer.status, text, marks
    if isinstance(value, list):
        return answer.status, sorted(map(_identity, value)), marks
    mapping = "services" in request.path or "checks" in request.path
    return answer.status, sorted(value) if mapping else "an object", marks


def _identity(value: Any) -> str:
    """The members of an object that name it, and those that a token may hide."""
    names = ("Kind", "Name", "SourceName", "DestinationName", "Node", "ServiceID", "CheckID", "SecretID", "Description")
    named = {name: value[name] for name in names if name in value} if isinstance(value, dict) else value
    if isinstance(named, dict) and isinstance(value.get("Service"), dict):
        named["Service"] = value["Service"].get("ID") or value["Service"].get("Name")
    if isinstance(named, dict) and isinstance(named.get("Node"), dict):
        named["Node"] = named["Node"]["Node"]
    return json.dumps(named)
