"""The discovery chain: how a proxy that dials a service gets to its instances."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from aioconsulconnect.structs.codec.consul_struct import NullAsEmpty
from aioconsulconnect.structs.codec.duration import Seconds
from aioconsulconnect.structs.codec.json_body import reader
from aioconsulconnect.structs.codec.unknown_fields import Part
from aioconsulconnect.structs.config_entries.defaults import FailoverPolicy, PrioritizeByLocality
from aioconsulconnect.structs.config_entries.traffic import LoadBalancer, Route, Split, Subset
from aioconsulconnect.structs.proxy import EnvoyExtension, Locality, MeshGateway, TransparentProxyConfig


class ChainFailover(Part, frozen=True, kw_only=True):
    """The targets that come next when no instance of the first is healthy, in that order."""

    targets: NullAsEmpty[tuple[str, ...]] = ()
    policy: FailoverPolicy | None = None


class ChainResolver(Part, frozen=True, kw_only=True):
    """The end of a chain: `target` is a key of the chain's targets. `default` where no config entry made it."""

    connect_timeout: Seconds | None = None
    request_timeout: Seconds | None = None
    default: bool = False
    target: str = ""
    failover: ChainFailover | None = None


class ChainRoute(Part, frozen=True, kw_only=True):
    """A route, and the node that it leads to."""

    definition: Route | None = None
    next_node: str = ""


class ChainSplit(Part, frozen=True, kw_only=True):
    """A share of the requests in percent, and the node that it goes to. `definition` comes from Consul 1.10."""

    definition: Split | None = None
    weight: float = 0.0
    next_node: str = ""


class ChainNode(Part, frozen=True, kw_only=True):
    """A node of a chain; `type` says which one of the others is filled in."""

    type: str = ""
    name: str = ""
    routes: NullAsEmpty[tuple[ChainRoute, ...]] = ()
    splits: NullAsEmpty[tuple[ChainSplit, ...]] = ()
    resolver: ChainResolver | None = None
    load_balancer: LoadBalancer | None = None


class ChainTarget(Part, frozen=True, kw_only=True):
    """The instances that a chain ends in, wherever they are; `sni` is the server name to dial them with."""

    id: str = ""
    service: str = ""
    service_subset: str = ""
    namespace: str = ""
    partition: str = ""
    datacenter: str = ""
    peer: str = ""
    locality: Locality | None = None
    connect_timeout: Seconds | None = None
    mesh_gateway: NullAsEmpty[MeshGateway] = MeshGateway()
    subset: NullAsEmpty[Subset] = Subset()
    transparent_proxy: NullAsEmpty[TransparentProxyConfig] = TransparentProxyConfig()
    external: bool = False
    sni: str = ""
    name: str = ""
    prioritize_by_locality: PrioritizeByLocality | None = None


class DiscoveryChainKey(NamedTuple):
    """What tells a chain from all others."""

    service_name: str
    partition: str
    namespace: str
    datacenter: str


class DiscoveryChain(Part, frozen=True, kw_only=True):
    """
    The compiled chain of a service. Keys of `nodes` and `targets` are opaque: follow them, never take them apart.

    `default` (from Consul 1.10) where no config entry shapes it. The virtual addresses come from 1.16.
    """

    service_name: str = ""
    namespace: str = ""
    partition: str = ""
    datacenter: str = ""
    customization_hash: str = ""
    default: bool = False
    protocol: str = ""
    service_meta: NullAsEmpty[Mapping[str, str]] = {}
    envoy_extensions: NullAsEmpty[tuple[EnvoyExtension, ...]] = ()
    start_node: str = ""
    nodes: NullAsEmpty[Mapping[str, ChainNode]] = {}
    targets: NullAsEmpty[Mapping[str, ChainTarget]] = {}
    auto_virtual_ips: NullAsEmpty[tuple[str, ...]] = ()
    manual_virtual_ips: NullAsEmpty[tuple[str, ...]] = ()

    @property
    def key(self) -> DiscoveryChainKey:
        """What tells it from all others."""
        return DiscoveryChainKey(self.service_name, self.partition, self.namespace, self.datacenter)


class ChainOverrides(Part, frozen=True, kw_only=True):
    """
    What to put in place of the configured: a protocol, a timeout in seconds, a mode of the mesh gateway.

    The modes are "none", "local" and "remote".
    """

    protocol: str = msgspec.field(default="", name="OverrideProtocol")
    connect_timeout: Seconds | None = msgspec.field(default=None, name="OverrideConnectTimeout")
    mesh_gateway: MeshGateway | None = msgspec.field(default=None, name="OverrideMeshGateway")


class _Answer(Part, frozen=True, kw_only=True):
    chain: DiscoveryChain


_read_answer = reader(_Answer)


def read_chain(body: bytes) -> DiscoveryChain:
    """The chain in a body."""
    return _read_answer(body).chain
