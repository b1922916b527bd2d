"""Structs of config entries of gateways: ingress-gateway, terminating-gateway."""

from __future__ import annotations

import msgspec

from aioconsulconnect.structs.codec.consul_struct import NullAsEmpty
from aioconsulconnect.structs.codec.unknown_fields import Part
from aioconsulconnect.structs.config_entries.defaults import PassiveHealthCheck
from aioconsulconnect.structs.config_entries.entry import NamedEntry
from aioconsulconnect.structs.config_entries.traffic import HeaderModifiers


class GatewayTLSSDS(Part, frozen=True, kw_only=True):
    """
    Certificates from Envoy's secret discovery service (SDS; Consul 1.11).

    - `cluster_name`: cluster of Envoy that serves them.
    - `cert_resource`: name of the certificate.
    """

    cluster_name: str = ""
    cert_resource: str = ""


class GatewayTLS(Part, frozen=True, kw_only=True):
    """
    TLS towards the clients of a gateway.

    - `enabled`: True for TLS with a certificate of the mesh.
    - `sds`: certificates from another source (Consul 1.11).
    - `tls_min_version`, `tls_max_version`: versions such as "TLSv1_2"; empty for the default.
    - `cipher_suites`: names of the cipher suites; empty for the default.
    """

    enabled: bool = False
    sds: GatewayTLSSDS | None = msgspec.field(default=None, name="SDS")
    tls_min_version: str = msgspec.field(default="", name="TLSMinVersion")
    tls_max_version: str = msgspec.field(default="", name="TLSMaxVersion")
    cipher_suites: NullAsEmpty[tuple[str, ...]] = ()


class IngressService(Part, frozen=True, kw_only=True):
    """
    Service behind a listener of an ingress gateway.

    - `name`, `namespace`, `partition`: the service; the name may be `*` unless the protocol is "tcp".
    - `hosts`: host names whose requests go to the service.
    - `tls`: TLS towards clients for these hosts.
    - `request_headers`, `response_headers`: headers to add, set and remove.
    - `max_connections`, `max_pending_requests`, `max_concurrent_requests`: limits; 0 for those of the gateway.
    - `passive_health_check`: ejection of failing instances.
    """

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
    """
    Listener of an ingress gateway.

    - `port`: port; each listener has its own.
    - `protocol`: "tcp" (the default), "http", "http2" or "grpc"; it must be that of the services.
    - `tls`: TLS towards clients.
    - `services`: services behind it; a listener for "tcp" has one.
    """

    port: int = 0
    protocol: str = ""
    tls: GatewayTLS | None = None
    services: NullAsEmpty[tuple[IngressService, ...]] = ()


class IngressDefaults(Part, frozen=True, kw_only=True):
    """
    Limits for all services behind an ingress gateway.

    - `max_connections`, `max_pending_requests`, `max_concurrent_requests`: limits for each service.
    - `passive_health_check`: ejection of failing instances.
    """

    max_connections: int = 0
    max_pending_requests: int = 0
    max_concurrent_requests: int = 0
    passive_health_check: PassiveHealthCheck | None = None


class IngressGateway(NamedEntry, frozen=True, kw_only=True, tag="ingress-gateway"):
    """
    Listeners of an ingress gateway, and the services behind them (kind ingress-gateway, Consul 1.8).

    - `name`: name of the gateway.
    - `tls`: TLS towards clients, for all listeners.
    - `defaults`: limits for all services.
    - `listeners`: the listeners.
    """

    tls: NullAsEmpty[GatewayTLS] = GatewayTLS()
    defaults: IngressDefaults | None = None
    listeners: NullAsEmpty[tuple[IngressListener, ...]] = ()


class LinkedService(Part, frozen=True, kw_only=True):
    """
    Service outside of the mesh behind a terminating gateway, and TLS to it.

    - `name`, `namespace`: the service; the name may be `*`.
    - `ca_file`: path, on the gateway, of the certificate authorities to trust.
    - `cert_file`, `key_file`: paths of a client certificate and its key; they need a `ca_file`.
    - `sni`: server name in TLS.
    - `disable_auto_host_rewrite`: True to leave the Host header as it is.
    """

    name: str
    namespace: str = ""
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""
    sni: str = ""
    disable_auto_host_rewrite: bool = False


class TerminatingGateway(NamedEntry, frozen=True, kw_only=True, tag="terminating-gateway"):
    """
    Services outside of the mesh behind a terminating gateway (kind terminating-gateway, Consul 1.8).

    - `name`: name of the gateway.
    - `services`: the services.
    """

    services: NullAsEmpty[tuple[LinkedService, ...]] = ()
