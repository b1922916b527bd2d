"""Structs of config entries with defaults: mesh, proxy-defaults, service-defaults."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from aioconsulconnect.structs.codec.consul_struct import NullAsEmpty
from aioconsulconnect.structs.codec.duration import Seconds
from aioconsulconnect.structs.codec.unknown_fields import Part
from aioconsulconnect.structs.config_entries.entry import EntryBase, NamedEntry
from aioconsulconnect.structs.proxy import AccessLogs, EnvoyExtension, Expose, MeshGateway, TransparentProxyConfig


class MeshTransparentProxy(Part, frozen=True, kw_only=True):
    """
    Limits of transparent proxies in the mesh.

    `mesh_destinations_only` is True if they reach nothing outside of the mesh.
    """

    mesh_destinations_only: bool = False


class MeshTLSDirection(Part, frozen=True, kw_only=True):
    """
    TLS settings of one direction.

    - `tls_min_version`, `tls_max_version`: versions such as "TLSv1_2"; empty for the default.
    - `cipher_suites`: names of the cipher suites; empty for the default.
    """

    tls_min_version: str = msgspec.field(default="", name="TLSMinVersion")
    tls_max_version: str = msgspec.field(default="", name="TLSMaxVersion")
    cipher_suites: NullAsEmpty[tuple[str, ...]] = ()


class MeshTLS(Part, frozen=True, kw_only=True):
    """TLS settings inside the mesh, for `incoming` and `outgoing` connections of proxies."""

    incoming: MeshTLSDirection | None = None
    outgoing: MeshTLSDirection | None = None


class RequestNormalization(Part, frozen=True, kw_only=True):
    """
    Normalization of a request before intentions are applied to it (Consul 1.20.1).

    - `insecure_disable_path_normalization`: True to leave paths as they are.
    - `merge_slashes`: True to merge adjacent slashes of a path.
    - `path_with_escaped_slashes_action`: "IMPLEMENTATION_SPECIFIC_DEFAULT", "KEEP_UNCHANGED", "REJECT_REQUEST",
      "UNESCAPE_AND_REDIRECT" or "UNESCAPE_AND_FORWARD".
    - `headers_with_underscores_action`: "ALLOW", "REJECT_REQUEST" or "DROP_HEADER".
    """

    insecure_disable_path_normalization: bool = False
    merge_slashes: bool = False
    path_with_escaped_slashes_action: str = ""
    headers_with_underscores_action: str = ""


class MeshHTTPIncoming(Part, frozen=True, kw_only=True):
    """Settings of incoming HTTP requests (Consul 1.20.1)."""

    request_normalization: RequestNormalization | None = None


class MeshHTTP(Part, frozen=True, kw_only=True):
    """
    HTTP settings inside the mesh.

    - `sanitize_x_forwarded_client_cert`: True to remove the header X-Forwarded-Client-Cert.
    - `incoming`: settings of incoming requests (Consul 1.20.1).
    """

    sanitize_x_forwarded_client_cert: bool = False
    incoming: MeshHTTPIncoming | None = None


class MeshPeering(Part, frozen=True, kw_only=True):
    """
    Peering settings of the mesh (Consul 1.14).

    `peer_through_mesh_gateways` is True if peering goes through mesh gateways.
    """

    peer_through_mesh_gateways: bool = False


class Mesh(EntryBase, frozen=True, kw_only=True, tag="mesh"):
    """
    Settings of the whole mesh (kind mesh, Consul 1.10).

    There is one entry. Its name is `mesh`, and is not part of the entry.

    - `transparent_proxy`: limits of transparent proxies.
    - `allow_enabling_permissive_mutual_tls`: True to allow the `mutual_tls_mode` "permissive" (Consul 1.16).
    - `validate_clusters`: True to have Envoy refuse routes to clusters that do not exist.
    - `tls`, `http`: TLS and HTTP settings.
    - `peering`: peering settings (Consul 1.14).
    """

    transparent_proxy: NullAsEmpty[MeshTransparentProxy] = MeshTransparentProxy()
    allow_enabling_permissive_mutual_tls: bool = msgspec.field(default=False, name="AllowEnablingPermissiveMutualTLS")
    validate_clusters: bool = False
    tls: MeshTLS | None = None
    http: MeshHTTP | None = None
    peering: MeshPeering | None = None

    @property
    def name(self) -> str:
        """The name under which the entry is read and deleted: always `mesh`."""
        return "mesh"


class FailoverPolicy(Part, frozen=True, kw_only=True):
    """
    Order of failover targets (Consul 1.16, Enterprise).

    - `mode`: "sequential" (the default) or "order-by-locality".
    - `regions`: regions in order of preference.
    """

    mode: str = ""
    regions: NullAsEmpty[tuple[str, ...]] = ()


class PrioritizeByLocality(Part, frozen=True, kw_only=True):
    """
    Preference for near instances (Consul 1.16, Enterprise).

    `mode` is "none" (the default) or "failover".
    """

    mode: str = ""


class ProxyDefaults(NamedEntry, frozen=True, kw_only=True, tag="proxy-defaults"):
    """
    Defaults of all proxies (kind proxy-defaults).

    There is one entry, and its name is `global`.

    - `config`: settings for Envoy, such as `protocol`.
    - `mode`, `transparent_proxy`: "direct" or "transparent", and settings of transparent proxies (Consul 1.10).
    - `mutual_tls_mode`: "strict" or "permissive" (Consul 1.16).
    - `mesh_gateway`: route to other datacenters.
    - `expose`: paths that are reachable without mutual TLS.
    - `access_logs`, `envoy_extensions`: need Consul 1.16.
    - `failover_policy`, `prioritize_by_locality`: need Consul 1.16, Enterprise.
    """

    name: str = "global"
    config: NullAsEmpty[Mapping[str, object]] = {}
    mode: str = ""
    transparent_proxy: NullAsEmpty[TransparentProxyConfig] = TransparentProxyConfig()
    mutual_tls_mode: str = msgspec.field(default="", name="MutualTLSMode")
    mesh_gateway: NullAsEmpty[MeshGateway] = MeshGateway()
    expose: NullAsEmpty[Expose] = Expose()
    access_logs: NullAsEmpty[AccessLogs] = AccessLogs()
    envoy_extensions: NullAsEmpty[tuple[EnvoyExtension, ...]] = ()
    failover_policy: FailoverPolicy | None = None
    prioritize_by_locality: PrioritizeByLocality | None = None


class UpstreamLimits(Part, frozen=True, kw_only=True):
    """
    Largest number of connections and requests to an upstream; None is Envoy's own limit.

    - `max_connections`: connections.
    - `max_pending_requests`: requests that wait for a connection.
    - `max_concurrent_requests`: requests at the same time.
    """

    max_connections: int | None = None
    max_pending_requests: int | None = None
    max_concurrent_requests: int | None = None


class PassiveHealthCheck(Part, frozen=True, kw_only=True):
    """
    Ejection of an upstream's failing instances from load balancing for a while.

    - `interval`: seconds between two analyses of the instances.
    - `max_failures`: failures in a row that eject an instance.
    - `enforcing_consecutive_5xx`: percentage of such instances that are ejected.
    - `max_ejection_percent`: percentage of all instances that can be ejected.
    - `base_ejection_time`: seconds of the first ejection of an instance; each further one is longer.
    """

    interval: Seconds | None = None
    max_failures: int = 0
    enforcing_consecutive_5xx: int | None = None
    max_ejection_percent: int | None = None
    base_ejection_time: Seconds | None = None


class UpstreamOverride(Part, frozen=True, kw_only=True):
    """
    Settings of a service's connections to an upstream.

    - `name`, `namespace`, `partition`, `peer`: the upstream; no name in `UpstreamConfig.defaults`. `peer` needs Consul
      1.13.
    - `envoy_listener_json`, `envoy_cluster_json`: Envoy's configuration in place of the one that Consul makes.
    - `protocol`: protocol of the upstream.
    - `connect_timeout_ms`: milliseconds to connect.
    - `limits`, `passive_health_check`: limits of connections and requests, and ejection of failing instances.
    - `mesh_gateway`: route to other datacenters.
    - `balance_outbound_connections`: balance of connections over the threads of the proxy.
    """

    name: str = ""
    namespace: str = ""
    partition: str = ""
    peer: str = ""
    envoy_listener_json: str = ""
    envoy_cluster_json: str = ""
    protocol: str = ""
    connect_timeout_ms: int = 0
    limits: UpstreamLimits | None = None
    passive_health_check: PassiveHealthCheck | None = None
    mesh_gateway: NullAsEmpty[MeshGateway] = MeshGateway()
    balance_outbound_connections: str = ""


class UpstreamConfig(Part, frozen=True, kw_only=True):
    """
    Settings of a service's connections to its upstreams (Consul 1.10).

    - `defaults`: settings for all upstreams.
    - `overrides`: settings for single upstreams, each by its name.
    """

    defaults: UpstreamOverride | None = None
    overrides: NullAsEmpty[tuple[UpstreamOverride, ...]] = ()


class Destination(Part, frozen=True, kw_only=True):
    """
    Destination outside of the mesh that a terminating gateway reaches (Consul 1.14).

    `addresses` are host names or IP addresses, all at the same `port`.
    """

    addresses: NullAsEmpty[tuple[str, ...]] = ()
    port: int = 0


class RateLimitRoute(Part, frozen=True, kw_only=True):
    """
    Limit of the requests to some paths; give one of the three conditions on the path.

    - `path_exact`, `path_prefix`, `path_regex`: paths that the limit is for.
    - `requests_per_second`: average number of requests.
    - `requests_max_burst`: number of requests at once.
    """

    path_exact: str = ""
    path_prefix: str = ""
    path_regex: str = ""
    requests_per_second: int = 0
    requests_max_burst: int = 0


class InstanceRateLimits(Part, frozen=True, kw_only=True):
    """
    Limits of the requests to each instance of a service.

    - `requests_per_second`: average number of requests.
    - `requests_max_burst`: number of requests at once.
    - `routes`: limits for some paths.
    """

    requests_per_second: int = 0
    requests_max_burst: int = 0
    routes: NullAsEmpty[tuple[RateLimitRoute, ...]] = ()


class RateLimits(Part, frozen=True, kw_only=True):
    """Limits of the requests to a service (Enterprise), for each instance."""

    instance_level: InstanceRateLimits | None = None


class ServiceDefaults(NamedEntry, frozen=True, kw_only=True, tag="service-defaults"):
    """
    Settings of one service (kind service-defaults).

    - `protocol`: "http", "http2", "grpc" or "tcp". A service can have L7 intentions or routes only if an HTTP protocol
      is declared here, or for all services in proxy-defaults.
    - `mode`, `transparent_proxy`: "direct" or "transparent", and settings of its transparent proxy (Consul 1.10).
    - `mutual_tls_mode`: "strict" or "permissive" (Consul 1.16).
    - `mesh_gateway`: route to other datacenters.
    - `expose`: paths that are reachable without mutual TLS.
    - `external_sni`: server name in TLS of a service outside of the mesh.
    - `upstream_config`: settings of its upstreams (Consul 1.10).
    - `destination`: addresses outside of the mesh (Consul 1.14).
    - `max_inbound_connections`: limit for each instance (Consul 1.14).
    - `balance_inbound_connections`: balance of connections over the threads of the proxy (Consul 1.14).
    - `local_connect_timeout_ms`, `local_request_timeout_ms`: milliseconds for the proxy to connect to the application,
      and for a request to it (Consul 1.14).
    - `rate_limits`: limits of requests (Enterprise).
    - `envoy_extensions`: extensions of Envoy (Consul 1.16).
    """

    protocol: str = ""
    mode: str = ""
    transparent_proxy: NullAsEmpty[TransparentProxyConfig] = TransparentProxyConfig()
    mutual_tls_mode: str = msgspec.field(default="", name="MutualTLSMode")
    mesh_gateway: NullAsEmpty[MeshGateway] = MeshGateway()
    expose: NullAsEmpty[Expose] = Expose()
    external_sni: str = ""
    upstream_config: UpstreamConfig | None = None
    destination: Destination | None = None
    max_inbound_connections: int = 0
    balance_inbound_connections: str = ""
    local_connect_timeout_ms: int = 0
    local_request_timeout_ms: int = 0
    rate_limits: RateLimits | None = None
    envoy_extensions: NullAsEmpty[tuple[EnvoyExtension, ...]] = ()
