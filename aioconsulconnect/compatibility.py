"""
Consul versions that serve each operation, each kind of config entry and each field.

`Capabilities` holds what is known of one agent.
"""

from __future__ import annotations

import re

import msgspec

from aioconsulconnect.errors import InvalidRequest, Unsupported

Version = tuple[int, ...]

OLDEST = "1.8"

# For each operation its request, and the oldest Consul version that serves it ("" where that is `OLDEST`).
OPERATIONS: dict[str, tuple[str, str]] = {
    "intentions.list": ("GET /v1/connect/intentions", ""),
    "intentions.match": ("GET /v1/connect/intentions/match", ""),
    "intentions.match_many": ("GET /v1/connect/intentions/match", ""),
    "intentions.check": ("GET /v1/connect/intentions/check", ""),
    "intentions.read": ("GET /v1/connect/intentions/exact", "1.9"),
    "intentions.upsert": ("PUT /v1/connect/intentions/exact", "1.9"),
    "intentions.delete": ("DELETE /v1/connect/intentions/exact", "1.9"),
    "intentions.create": ("POST /v1/connect/intentions", ""),
    "intentions.read_by_id": ("GET /v1/connect/intentions/:uuid", ""),
    "intentions.update_by_id": ("PUT /v1/connect/intentions/:uuid", ""),
    "intentions.delete_by_id": ("DELETE /v1/connect/intentions/:uuid", ""),
    "intentions.export": ("GET /v1/config/service-intentions", "1.9"),
    "intentions.plan": ("GET /v1/config/service-intentions", "1.9"),
    "intentions.import_": ("GET /v1/config/service-intentions, PUT /v1/config", "1.9"),
    "ca.roots": ("GET /v1/connect/ca/roots", ""),
    "ca.roots_pem": ("GET /v1/connect/ca/roots?pem", "1.8.5"),
    "ca.configuration": ("GET /v1/connect/ca/configuration", ""),
    "ca.update_configuration": ("PUT /v1/connect/ca/configuration", ""),
    "agent.roots": ("GET /v1/agent/connect/ca/roots", ""),
    "agent.leaf": ("GET /v1/agent/connect/ca/leaf/:service", ""),
    "agent.authorize": ("POST /v1/agent/connect/authorize", ""),
    "agent.register": ("PUT /v1/agent/service/register", ""),
    "agent.deregister": ("PUT /v1/agent/service/deregister/:id", ""),
    "agent.service": ("GET /v1/agent/service/:id", ""),
    "agent.services": ("GET /v1/agent/services", ""),
    "agent.maintenance": ("PUT /v1/agent/service/maintenance/:id", ""),
    "agent.check_pass": ("PUT /v1/agent/check/pass/:id", ""),
    "agent.check_warn": ("PUT /v1/agent/check/warn/:id", ""),
    "agent.check_fail": ("PUT /v1/agent/check/fail/:id", ""),
    "agent.check_update": ("PUT /v1/agent/check/update/:id", ""),
    "agent.checks": ("GET /v1/agent/checks", ""),
    "agent.register_check": ("PUT /v1/agent/check/register", ""),
    "agent.deregister_check": ("PUT /v1/agent/check/deregister/:id", ""),
    "agent.info": ("GET /v1/agent/self", ""),
    "catalog.services": ("GET /v1/catalog/services", ""),
    "catalog.nodes": ("GET /v1/catalog/nodes", ""),
    "catalog.register": ("PUT /v1/catalog/register", ""),
    "catalog.deregister": ("PUT /v1/catalog/deregister", ""),
    "catalog.connect": ("GET /v1/catalog/connect/:service", ""),
    "catalog.gateway_services": ("GET /v1/catalog/gateway-services/:gateway", ""),
    "health.connect": ("GET /v1/health/connect/:service", ""),
    "health.ingress": ("GET /v1/health/ingress/:service", ""),
    "health.service": ("GET /v1/health/service/:service", ""),
    "config.read": ("GET /v1/config/:kind/:name", ""),
    "config.list": ("GET /v1/config/:kind", ""),
    "config.write": ("PUT /v1/config", ""),
    "config.delete": ("DELETE /v1/config/:kind/:name", ""),
    "config.delete with cas": ("DELETE /v1/config/:kind/:name?cas", "1.11"),
    "discovery_chain": ("GET, POST /v1/discovery-chain/:service", ""),
}

# For each operation the ACL rights that its token needs. What is "filtered" is left out of the answer without an error.
RIGHTS: dict[str, str] = {
    "intentions.list": "`intentions:read` on source or destination; filtered",
    "intentions.match": "`intentions:read` on the name",
    "intentions.match_many": "`intentions:read` on every name",
    "intentions.check": "`service:read` on the destination",
    "intentions.read": "`intentions:read` on source or destination",
    "intentions.upsert": "`intentions:write` on the destination",
    "intentions.delete": "`intentions:write` on the destination",
    "intentions.create": "`intentions:write` on the destination",
    "intentions.read_by_id": "`intentions:read` on source or destination",
    "intentions.update_by_id": "`intentions:write` on the destination",
    "intentions.delete_by_id": "`intentions:write` on the destination",
    "intentions.export": "`intentions:read` on the destination; filtered",
    "intentions.plan": "`intentions:read` on the destination, filtered; `intentions:write` to apply",
    "intentions.import_": "`intentions:write` on the destination",
    "ca.roots": "none",
    "ca.roots_pem": "none",
    "ca.configuration": "`operator:write`",
    "ca.update_configuration": "`operator:write`",
    "agent.roots": "none",
    "agent.leaf": "`service:write` on the service",
    "agent.authorize": "`service:write` and `intentions:read` on the target",
    "agent.register": "`service:write` on the service",
    "agent.deregister": "`service:write` on the service",
    "agent.service": "`service:read` on the service",
    "agent.services": "`service:read`; filtered",
    "agent.maintenance": "`service:write` on the service",
    "agent.check_pass": "`service:write` on the check's service",
    "agent.check_warn": "`service:write` on the check's service",
    "agent.check_fail": "`service:write` on the check's service",
    "agent.check_update": "`service:write` on the check's service",
    "agent.checks": "`service:read`; filtered",
    "agent.register_check": "`service:write` on the check's service, or `node:write` for one of the node",
    "agent.deregister_check": "`service:write` on the check's service, or `node:write` for one of the node",
    "agent.info": "`agent:read` on the node",
    "catalog.services": "`service:read`; filtered",
    "catalog.nodes": "`node:read`; filtered",
    "catalog.register": "`node:write` on the node, `service:write` on the service",
    "catalog.deregister": "`service:write` on the service, or `node:write` for the node",
    "catalog.connect": "`service:read` on the service, `node:read`; filtered",
    "catalog.gateway_services": "`service:read` on the gateway, and on each service; those are filtered",
    "health.connect": "`service:read` on the service, `node:read`; filtered",
    "health.ingress": "`service:read` on the service, `node:read`; filtered",
    "health.service": "`service:read` on the service, `node:read`; filtered",
    "config.read": "read of the kind, see below",
    "config.list": "read of the kind, see below; filtered",
    "config.write": "write of the kind, see below",
    "config.delete": "write of the kind, see below",
    "config.delete with cas": "write of the kind, see below",
    "discovery_chain": "`service:read` on the service",
}

# For each kind of config entry the oldest Consul version that knows it; the kinds left out are known to `OLDEST`.
KIND_SINCE = {
    "service-intentions": "1.9",
    "mesh": "1.10",
    "exported-services": "1.14",
    "jwt-provider": "1.16",
    "api-gateway": "1.16",
    "http-route": "1.16",
    "tcp-route": "1.16",
    "inline-certificate": "1.16",
    "sameness-group": "1.16 (Enterprise)",
    "file-system-certificate": "1.20",
}

# For each JSON key that is sent only when it is set, the oldest Consul version known to accept it. An older one refuses
# it as unknown.
FIELD_SINCE = {
    "LoadBalancer": "1.9",
    "Permissions": "1.9",
    "CentrallyConfigured": "1.10",
    "H2PING": "1.10",
    "LocalBindSocketMode": "1.10",
    "LocalBindSocketPath": "1.10",
    "LocalServiceSocketPath": "1.10",
    "Mode": "1.10",
    "RequestHeaders": "1.11",
    "ResponseHeaders": "1.11",
    "SocketPath": "1.10",
    "TLSServerName": "1.10",
    "TransparentProxy": "1.10",
    "UpstreamConfig": "1.10",
    "DestinationPartition": "1.11 (Enterprise)",
    "Partition": "1.11 (Enterprise)",
    "SDS": "1.11",
    "SourcePartition": "1.11 (Enterprise)",
    "DestinationPeer": "1.13",
    "Peer": "1.13",
    "PeerMeta": "1.13",
    "SourcePeer": "1.13",
    "BalanceInboundConnections": "1.14",
    "Destination": "1.14",
    "IdleTimeout": "1.14",
    "LocalConnectTimeoutMs": "1.14",
    "LocalRequestTimeoutMs": "1.14",
    "MaxInboundConnections": "1.14",
    "Peering": "1.14",
    "RequestTimeout": "1.14",
    "RetryOn": "1.14",
    "Targets": "1.14",
    "AccessLogs": "1.16",
    "AllowEnablingPermissiveMutualTLS": "1.16",
    "BalanceOutboundConnections": "1.16",
    "BaseEjectionTime": "1.16",
    "CipherSuites": "1.16",
    "EnforcingConsecutive5xx": "1.16",
    "EnvoyExtensions": "1.16",
    "FailuresBeforeWarning": "1.16",
    "FailoverPolicy": "1.16",
    "JWT": "1.16",
    "Locality": "1.16",
    "MaxEjectionPercent": "1.16",
    "MutualTLSMode": "1.16",
    "PassiveHealthCheck": "1.16",
    "PrioritizeByLocality": "1.16",
    "SamenessGroup": "1.16 (Enterprise)",
    "SourceSamenessGroup": "1.16 (Enterprise)",
    "TLSMaxVersion": "1.16",
    "TLSMinVersion": "1.16",
    "UDP": "1.16",
    "Hash": "1.16.4",
    "CaseInsensitive": "1.20",
    "DisableAutoHostRewrite": "1.20",
    "RateLimits": "1.20 (Enterprise)",
    "ValidateClusters": "1.20",
    "Contains": "1.20.1",
    "IgnoreCase": "1.20.1",
    "Incoming": "1.20.1",
    "UseSNI": "1.22",
    "Namespace": "Enterprise",
}


def version_of(text: str) -> Version:
    """
    Return the leading numbers of a version: `(1, 16, 6)` for "1.16.6+ent".

    Raises InvalidRequest for a text that does not start with a number.
    """
    match = re.match(r"\d+(?:\.\d+)*", text)
    if match is None:
        raise InvalidRequest(f"{text!r} is not a version of Consul")
    return tuple(int(part) for part in match[0].split("."))


class Capabilities(msgspec.Struct, frozen=True, kw_only=True):
    """
    Version of one agent and the operations it serves, as of the moment it was asked.

    - `address`: URL of the agent.
    - `version`: version that the agent reports; None where the token may not read it.
    - `at_least`: oldest version that the agent can have. It equals `version` where that is known; otherwise it follows
      from the agent's answers, and the agent may be newer, but not older.

    All of it is about the agent; the servers behind a client agent can have other versions.
    """

    address: str
    version: str | None
    at_least: str

    def knows(self, version: str) -> bool:
        """
        True if the agent is certain to have this version or a newer one.

        `version` is a text such as "1.9"; InvalidRequest for any that is no version.
        """
        return version_of(self.at_least) >= version_of(version)

    def serves(self, operation: str) -> bool:
        """
        True if the agent is certain to serve an operation.

        `operation` is a key of `OPERATIONS`, such as "intentions.upsert"; InvalidRequest for any other.
        """
        if operation not in OPERATIONS:
            raise InvalidRequest(f"{operation!r} is no operation of this library")
        return self.knows(OPERATIONS[operation][1] or OLDEST)

    def require(self, operation: str) -> None:
        """
        Raise Unsupported unless the agent is certain to serve an operation.

        `operation` is a key of `OPERATIONS`; InvalidRequest for any other. The error's `min_version` is the version
        needed.
        """
        if not self.serves(operation):
            min_version = OPERATIONS[operation][1]
            known = self.version or f"of an unknown version, at least {self.at_least}"
            raise Unsupported(
                f"{operation} needs Consul {min_version}, and the agent is {known}",
                min_version=min_version,
                address=self.address,
            )


def table() -> str:
    """Return the operations as a Markdown table: name, request, oldest Consul version, ACL rights."""
    rows = (
        f"| `{name}` | `{request}` | {since or OLDEST} | {RIGHTS[name]} |"
        for name, (request, since) in OPERATIONS.items()
    )
    return "\n".join(("| operation | request | Consul | rights |", "| --- | --- | --- | --- |", *rows)) + "\n"
