"""Config entries about the mesh as a whole and its services one by one: mesh, proxy-defaults, service-defaults."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from aioconsulconnect.structs.codec.consul_struct import NullAsEmpty
from aioconsulconnect.structs.codec.duration import Seconds
from aioconsulconnect.structs.codec.unknown_fields import Part
from aioconsulconnect.structs.config_entries.entry import EntryBase, NamedEntry
from aioconsulconnect.structs.proxy import AccessLogs, EnvoyExtension, Expose, MeshGateway, TransparentProxyConfig


class MeshTransparentProxy(Part, frozen=True, kw_only=True):
    """Whether transparent proxies reach nothing but the mesh."""

    mesh_destinations_only: bool = False


class MeshTLSDirection(Part, frozen=True, kw_only=True):
    """Versions ("TLSv1_2", …) and cipher suites of one direction."""

    tls_min_version: str = msgspec.field(default="", name="TLSMinVersion")
    tls_max_version: str = msgspec.field(default="", name="TLSMaxVersion")
    cipher_suites: NullAsEmpty[tuple[str, ...]] = ()


class MeshTLS(Part, frozen=True, kw_only=True):
    """TLS inside the mesh."""

    incoming: MeshTLSDirection | None = None
    outgoing: MeshTLSDirection | None = None


class RequestNormalization(Part, frozen=True, kw_only=True):
    """
    What proxies make of a request before intentions see it (Consul 1.20.1).

    `path_with_escaped_slashes_action` "IMPLEMENTATION_SPECIFIC_DEFAULT", "KEEP_UNCHANGED", "REJECT_REQUEST",
    "UNESCAPE_AND_REDIRECT" or "UNESCAPE_AND_FORWARD"; `headers_with_underscores_action` "ALLOW", "REJECT_REQUEST" or
    "DROP_HEADER".
    """

    insecure_disable_path_normalization: bool = False
    merge_slashes: bool = False
    path_with_escaped_slashes_action: str = ""
    headers_with_underscores_action: str = ""


class MeshHTTPIncoming(Part, frozen=True, kw_only=True):
    """Incoming requests."""

    request_normalization: RequestNormalization | None = None


class MeshHTTP(Part, frozen=True, kw_only=True):
    """HTTP inside the mesh."""

    sanitize_x_forwarded_client_cert: bool = False
    incoming: MeshHTTPIncoming | None = None


class MeshPeering(Part, frozen=True, kw_only=True):
    """Whether peering goes through mesh gateways (Consul 1.14)."""

    peer_through_mesh_gateways: bool = False


class Mesh(EntryBase, frozen=True, kw_only=True, tag="mesh"):
    """The settings of the whole mesh (Consul 1.10). There is one; its name is `mesh`, and is not part of it."""

    transparent_proxy: NullAsEmpty[MeshTransparentProxy] = MeshTransparentProxy()
    allow_enabling_permissive_mutual_tls: bool = msgspec.field(default=False, name="AllowEnablingPermissiveMutualTLS")
    validate_clusters: bool = False
    tls: MeshTLS | None = None
    http: MeshHTTP | None = None
    peering: MeshPeering | None = None

    @property
    def name(self) -> str:
        """Under which it is read and deleted."""
        return "mesh"


class FailoverPolicy(Part, frozen=True, kw_only=True):
    """The order of failover targets (Consul 1.16, Enterprise)."""

    mode: str = ""
    regions: NullAsEmpty[tuple[str, ...]] = ()


class PrioritizeByLocality(Part, frozen=True, kw_only=True):
    """Whether near instances come first (Consul 1.16, Enterprise)."""

    mode: str = ""


class ProxyDefaults(NamedEntry, frozen=True, kw_only=True, tag="proxy-defaults"):
    """
    What holds for all proxies. The one name is `global`.

    `transparent_proxy` and `mode` need Consul 1.10; `mutual_tls_mode`, `access_logs`, `envoy_extensions` and the
    policies 1.16.
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
    """At most so many; None is Envoy's own limit."""

    max_connections: int | None = None
    max_pending_requests: int | None = None
    max_concurrent_requests: int | None = None


class PassiveHealthCheck(Part, frozen=True, kw_only=True):
    """When an upstream's instance is left alone for a while: `interval` and `base_ejection_time` are seconds."""

    interval: Seconds | None = None
    max_failures: int = 0
    enforcing_consecutive_5xx: int | None = None
    max_ejection_percent: int | None = None
    base_ejection_time: Seconds | None = None


class UpstreamOverride(Part, frozen=True, kw_only=True):
    """How a service reaches an upstream; as `defaults` it has no name."""

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
    """How a service reaches all its upstreams, and some of them (Consul 1.10)."""

    defaults: UpstreamOverride | None = None
    overrides: NullAsEmpty[tuple[UpstreamOverride, ...]] = ()


class Destination(Part, frozen=True, kw_only=True):
    """Addresses outside of the mesh, reached through a terminating gateway (Consul 1.14)."""

    addresses: NullAsEmpty[tuple[str, ...]] = ()
    port: int = 0


class RateLimitRoute(Part, frozen=True, kw_only=True):
    """A limit for some paths; give one of the three."""

    path_exact: str = ""
    path_prefix: str = ""
    path_regex: str = ""
    requests_per_second: int = 0
    requests_max_burst: int = 0


class InstanceRateLimits(Part, frozen=True, kw_only=True):
    """The limits of each instance."""

    requests_per_second: int = 0
    requests_max_burst: int = 0
    routes: NullAsEmpty[tuple[RateLimitRoute, ...]] = ()


class RateLimits(Part, frozen=True, kw_only=True):
    """Limits of the requests to a service (Enterprise)."""

    instance_level: InstanceRateLimits | None = None


class ServiceDefaults(NamedEntry, frozen=True, kw_only=True, tag="service-defaults"):
    """
    What holds for one service. Its `protocol` ("http", "http2", "grpc") must be declared here, or for all in
    proxy-defaults, before it can have L7 intentions or routes.

    `mode`, `transparent_proxy` and `upstream_config` need Consul 1.10; `destination`, the limits and timeouts 1.14;
    `mutual_tls_mode` and `envoy_extensions` 1.16; `rate_limits` Enterprise.
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
