"""Structs of a service's place in the mesh: its proxy, upstreams, exposed paths and addresses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

from aioconsulconnect.structs.codec.consul_struct import NullAsEmpty
from aioconsulconnect.structs.codec.containers import is_array
from aioconsulconnect.structs.codec.unknown_fields import Part

ServiceKind = Literal["connect-proxy", "mesh-gateway", "terminating-gateway", "ingress-gateway", "api-gateway"]


class MeshGateway(Part, frozen=True, kw_only=True):
    """
    Route of traffic to other datacenters.

    `mode` is "none" (directly), "local" or "remote" (through the mesh gateway of that datacenter).
    """

    mode: str = ""


class TransparentProxyConfig(Part, frozen=True, kw_only=True):
    """
    Settings of a transparent proxy (Consul 1.10).

    - `outbound_listener_port`: port at which the proxy takes redirected outbound connections.
    - `dialed_directly`: True if it takes connections that are addressed to it directly.
    """

    outbound_listener_port: int = 0
    dialed_directly: bool = False


class ExposePath(Part, frozen=True, kw_only=True):
    """
    HTTP path that a proxy serves to everybody, without mutual TLS.

    - `path`: the path.
    - `listener_port`: port at which the proxy serves it.
    - `local_path_port`: port of the application that the proxy passes it on to.
    - `protocol`: "http" (the default) or "http2".
    - `parsed_from_check`: True if Consul made it from a health check.
    """

    listener_port: int = 0
    path: str = ""
    local_path_port: int = 0
    protocol: str = ""
    parsed_from_check: bool = False


class Expose(Part, frozen=True, kw_only=True):
    """
    Paths that are reachable without the proxy's mutual TLS.

    - `checks`: True to expose all HTTP and gRPC checks.
    - `paths`: further paths to expose.
    """

    checks: bool = False
    paths: NullAsEmpty[tuple[ExposePath, ...]] = ()


class AccessLogs(Part, frozen=True, kw_only=True):
    """
    Access logs of the proxies (Consul 1.16).

    - `enabled`: True to write them.
    - `disable_listener_logs`: True to leave out connections that are rejected because they match no listener filter.
    - `type`, `path`: "stdout", "stderr", or "file" with its path.
    - `json_format`, `text_format`: format of a line, as a JSON dictionary or as a text; at most one of the two.
    """

    enabled: bool = False
    disable_listener_logs: bool = False
    type: str = ""
    path: str = ""
    json_format: str = ""
    text_format: str = ""


class EnvoyExtension(Part, frozen=True, kw_only=True):
    """
    Extension of Envoy by name (Consul 1.16).

    - `name`: name of the extension.
    - `required`: True if it is an error when it cannot be applied.
    - `arguments`: arguments of the extension.
    - `consul_version`, `envoy_version`: versions that it is limited to.
    """

    name: str = ""
    required: bool = False
    arguments: NullAsEmpty[Mapping[str, object]] = {}
    consul_version: str = ""
    envoy_version: str = ""


class Upstream(Part, frozen=True, kw_only=True):
    """
    Service that the proxy makes reachable at a local port or socket.

    - `destination_name`, `destination_namespace`, `destination_partition`, `destination_peer`: the service.
      `destination_peer` needs Consul 1.13; namespace and partition Consul Enterprise.
    - `destination_type`: "service" (the default) or "prepared_query".
    - `datacenter`: datacenter of the service; empty for the proxy's own.
    - `local_bind_address`, `local_bind_port`: where the application connects to.
    - `local_bind_socket_path`, `local_bind_socket_mode`: socket instead of a port (Consul 1.10), and its file mode.
    - `config`: settings of the upstream, such as `protocol` or `connect_timeout_ms`.
    - `mesh_gateway`: route to other datacenters.
    - `centrally_configured`: True if it came from a config entry.
    """

    destination_type: str = ""
    destination_namespace: str = ""
    destination_partition: str = ""
    destination_peer: str = ""
    destination_name: str = ""
    datacenter: str = ""
    local_bind_address: str = ""
    local_bind_port: int = 0
    local_bind_socket_path: str = ""
    local_bind_socket_mode: str = ""
    config: NullAsEmpty[Mapping[str, object]] = {}
    mesh_gateway: NullAsEmpty[MeshGateway] = MeshGateway()
    centrally_configured: bool = False


class Proxy(Part, frozen=True, kw_only=True):
    """
    Settings of a proxy or gateway.

    - `destination_service_name`, `destination_service_id`: the application behind a sidecar.
    - `local_service_address`, `local_service_port`, `local_service_socket_path` (Consul 1.10): where it listens.
    - `mode`, `transparent_proxy`: "direct" or "transparent" (Consul 1.10), and settings of a transparent proxy.
    - `config`: settings for Envoy, such as `protocol`.
    - `upstreams`: services that the proxy makes reachable. Those from config entries come last and sorted, since Consul
      sends them in another order each time.
    - `mesh_gateway`: route to other datacenters.
    - `expose`: paths that are reachable without mutual TLS.
    - `access_logs`, `envoy_extensions`: need Consul 1.16.
    """

    destination_service_name: str = ""
    destination_service_id: str = ""
    local_service_address: str = ""
    local_service_port: int = 0
    local_service_socket_path: str = ""
    mode: str = ""
    transparent_proxy: NullAsEmpty[TransparentProxyConfig] = TransparentProxyConfig()
    config: NullAsEmpty[Mapping[str, object]] = {}
    upstreams: NullAsEmpty[tuple[Upstream, ...]] = ()
    mesh_gateway: NullAsEmpty[MeshGateway] = MeshGateway()
    expose: NullAsEmpty[Expose] = Expose()
    access_logs: NullAsEmpty[AccessLogs] = AccessLogs()
    envoy_extensions: NullAsEmpty[tuple[EnvoyExtension, ...]] = ()

    def __post_init__(self) -> None:
        """Bring the upstreams that come from config entries into one order."""
        super().__post_init__()
        if _is_any_central(self.upstreams):
            msgspec.structs.force_setattr(self, "upstreams", tuple(sorted(self.upstreams, key=_sorting_key)))


def _is_central(upstream: object) -> bool:
    return isinstance(upstream, Upstream) and upstream.centrally_configured


def _is_any_central(upstreams: object) -> bool:
    return is_array(upstreams) and any(map(_is_central, upstreams))


def _sorting_key(upstream: Upstream) -> tuple[str, ...]:
    """Return the sorting key of an upstream from a config entry; that of any other is empty, so that it stays first."""
    if not _is_central(upstream):
        return ()
    return (
        upstream.destination_partition,
        upstream.destination_namespace,
        upstream.destination_name,
        upstream.destination_peer,
        upstream.datacenter,
    )


class TaggedAddress(Part, frozen=True, kw_only=True):
    """Address of a service under a tag such as "lan", "wan" or "consul-virtual"."""

    address: str = ""
    port: int = 0


class Weights(Part, frozen=True, kw_only=True):
    """
    Weights of a service in DNS answers and load balancing.

    `passing` and `warning` are the weights in that status; Consul's default is 1 and 1.
    """

    passing: int
    warning: int


class Locality(Part, frozen=True, kw_only=True):
    """Region and zone of a service or node (Consul 1.16)."""

    region: str = ""
    zone: str = ""


class PeerMeta(Part, frozen=True, kw_only=True):
    """
    Data to reach and recognise a service that was imported from a peer (Consul 1.13).

    - `sni`: server names for TLS.
    - `spiffe_id`: SPIFFE ids that the service may have.
    - `protocol`: protocol of the service.
    """

    sni: NullAsEmpty[tuple[str, ...]] = ()
    spiffe_id: NullAsEmpty[tuple[str, ...]] = msgspec.field(default=(), name="SpiffeID")
    protocol: str = ""


class Connect(Part, frozen=True, kw_only=True):
    """
    Part of a service that is about Connect.

    - `native`: True if the service speaks mutual TLS itself.
    - `peer_meta`: set for a service that was imported from a peer.
    """

    native: bool = False
    peer_meta: PeerMeta | None = None
