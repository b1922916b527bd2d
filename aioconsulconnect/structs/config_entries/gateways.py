"""Config entries of gateways: ingress-gateway, terminating-gateway."""

from __future__ import annotations

import msgspec

from aioconsulconnect.structs.codec.consul_struct import NullAsEmpty
from aioconsulconnect.structs.codec.unknown_fields import Part
from aioconsulconnect.structs.config_entries.defaults import PassiveHealthCheck
from aioconsulconnect.structs.config_entries.entry import NamedEntry
from aioconsulconnect.structs.config_entries.traffic import HeaderModifiers


class GatewayTLSSDS(Part, frozen=True, kw_only=True):
    """Certificates by Envoy's secret discovery."""

    cluster_name: str = ""
    cert_resource: str = ""


class GatewayTLS(Part, frozen=True, kw_only=True):
    """TLS towards the clients of a gateway."""

    enabled: bool = False
    sds: GatewayTLSSDS | None = msgspec.field(default=None, name="SDS")
    tls_min_version: str = msgspec.field(default="", name="TLSMinVersion")
    tls_max_version: str = msgspec.field(default="", name="TLSMaxVersion")
    cipher_suites: NullAsEmpty[tuple[str, ...]] = ()


class IngressService(Part, frozen=True, kw_only=True):
    """A service behind a listener, for these hosts."""

    name: str
    namespace: str = ""
    partition: str = ""
    hosts: NullAsEmpty[tuple[str, ...]] = ()
    tls: GatewayTLS | None = None
    request_headers: HeaderModifiers | None = None
    response_headers: HeaderModifiers | None = None
    max_connections: int = 0
    max_pending_requests: int = 0
    max_concurrent_requests: int = 0
    passive_health_check: PassiveHealthCheck | None = None


class IngressListener(Part, frozen=True, kw_only=True):
    """A port, and what is behind it; `protocol` must be that of the services."""

    port: int = 0
    protocol: str = ""
    tls: GatewayTLS | None = None
    services: NullAsEmpty[tuple[IngressService, ...]] = ()


class IngressDefaults(Part, frozen=True, kw_only=True):
    """Limits for all services behind a gateway."""

    max_connections: int = 0
    max_pending_requests: int = 0
    max_concurrent_requests: int = 0
    passive_health_check: PassiveHealthCheck | None = None


class IngressGateway(NamedEntry, frozen=True, kw_only=True, tag="ingress-gateway"):
    """What comes in, and where it goes (Consul 1.8)."""

    tls: NullAsEmpty[GatewayTLS] = GatewayTLS()
    defaults: IngressDefaults | None = None
    listeners: NullAsEmpty[tuple[IngressListener, ...]] = ()


class LinkedService(Part, frozen=True, kw_only=True):
    """A service outside of the mesh, and how to speak TLS with it; `name` may be `*`."""

    name: str
    namespace: str = ""
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""
    sni: str = ""
    disable_auto_host_rewrite: bool = False


class TerminatingGateway(NamedEntry, frozen=True, kw_only=True, tag="terminating-gateway"):
    """Which services outside of the mesh are reached through a gateway (Consul 1.8)."""

    services: NullAsEmpty[tuple[LinkedService, ...]] = ()
