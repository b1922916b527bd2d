"""What a service says about its place in the mesh: its proxy, upstreams, exposed paths, addresses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

from aioconsulconnect.structs.codec.consul_struct import NullAsEmpty
from aioconsulconnect.structs.codec.unknown_fields import Part

ServiceKind = Literal["connect-proxy", "mesh-gateway", "terminating-gateway", "ingress-gateway", "api-gateway"]


class MeshGateway(Part, frozen=True, kw_only=True):
    """How traffic to other datacenters goes: `mode` "none" (straight), "local" or "remote" (through that gateway)."""

    mode: str = ""


class TransparentProxyConfig(Part, frozen=True, kw_only=True):
    """Where a transparent proxy listens, and whether it takes connections addressed to it directly (Consul 1.10)."""

    outbound_listener_port: int = 0
    dialed_directly: bool = False


class ExposePath(Part, frozen=True, kw_only=True):
    """A path that the proxy serves to everybody, without mutual TLS. `protocol` is "http" (default) or "http2"."""

    listener_port: int = 0
    path: str = ""
    local_path_port: int = 0
    protocol: str = ""
    parsed_from_check: bool = False


class Expose(Part, frozen=True, kw_only=True):
    """What is reachable past the proxy's mutual TLS: all HTTP and gRPC checks (`checks`), and these `paths`."""

    checks: bool = False
    paths: NullAsEmpty[tuple[ExposePath, ...]] = ()


class AccessLogs(Part, frozen=True, kw_only=True):
    """Access logs of the proxies (Consul 1.16). `type` "stdout", "stderr" or "file" (then `path`)."""

    enabled: bool = False
    disable_listener_logs: bool = False
    type: str = ""
    path: str = ""
    json_format: str = ""
    text_format: str = ""


class EnvoyExtension(Part, frozen=True, kw_only=True):
    """An extension of Envoy by name (Consul 1.16)."""

    name: str = ""
    required: bool = False
    arguments: NullAsEmpty[Mapping[str, object]] = {}
    consul_version: str = ""
    envoy_version: str = ""


class Upstream(Part, frozen=True, kw_only=True):
    """
    A service that the proxy makes reachable at a local port or socket.

    `destination_type` "service" (default) or "prepared_query"; `destination_peer` needs Consul 1.13.
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
    What a proxy or gateway does, and for whom. `destination_service_name` is the application behind a sidecar.

    `mode` ("direct", "transparent") needs Consul 1.10, `local_service_socket_path` too, `access_logs` and
    `envoy_extensions` 1.16.
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


class TaggedAddress(Part, frozen=True, kw_only=True):
    """The address of a service under a tag such as "lan", "wan" or "consul-virtual"."""

    address: str = ""
    port: int = 0


class Weights(Part, frozen=True, kw_only=True):
    """The share of DNS answers and requests while passing, and while warning; Consul's default is 1 and 1."""

    passing: int
    warning: int


class Locality(Part, frozen=True, kw_only=True):
    """Region and zone (Consul 1.16)."""

    region: str = ""
    zone: str = ""


class PeerMeta(Part, frozen=True, kw_only=True):
    """How to reach and recognise an imported service: server names and SPIFFE ids (Consul 1.13)."""

    sni: NullAsEmpty[tuple[str, ...]] = ()
    spiffe_id: NullAsEmpty[tuple[str, ...]] = msgspec.field(default=(), name="SpiffeID")
    protocol: str = ""


class Connect(Part, frozen=True, kw_only=True):
    """Whether a service speaks mutual TLS itself (`native`); `peer_meta` for services imported from a peer."""

    native: bool = False
    peer_meta: PeerMeta | None = None
