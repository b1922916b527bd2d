"""Structs of the discovery chain, which leads a proxy from a service name to instances."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from aioconsulconnect.structs.codec.consul_struct import NullAsEmpty
from aioconsulconnect.structs.codec.duration import Seconds
from aioconsulconnect.structs.codec.item_key import ItemKey
from aioconsulconnect.structs.codec.json_body import reader
from aioconsulconnect.structs.codec.unknown_fields import Part
from aioconsulconnect.structs.config_entries.defaults import FailoverPolicy, PrioritizeByLocality
from aioconsulconnect.structs.config_entries.traffic import LoadBalancer, Route, Split, Subset
from aioconsulconnect.structs.proxy import EnvoyExtension, Locality, MeshGateway, TransparentProxyConfig


class ChainFailover(Part, frozen=True, kw_only=True):
    """
    Failover of a resolver node.

    - `targets`: keys of the targets to try, in that order, when the node's own has no healthy instance.
    - `policy`: order of the targets (Consul 1.16, Enterprise).
    """

    targets: NullAsEmpty[tuple[str, ...]] = ()
    policy: FailoverPolicy | None = None


class ChainResolver(Part, frozen=True, kw_only=True):
    """
    Resolver: the end of a chain.

    - `target`: key of the target in `DiscoveryChain.targets`.
    - `default`: True if no config entry shaped it.
    - `connect_timeout`, `request_timeout`: seconds.
    - `failover`: targets to try when no instance is healthy.
    """

    connect_timeout: Seconds | None = None
    request_timeout: Seconds | None = None
    default: bool = False
    target: str = ""
    failover: ChainFailover | None = None


class ChainRoute(Part, frozen=True, kw_only=True):
    """
    Route of a router node.

    - `definition`: the route as configured.
    - `next_node`: key of the node that it leads to.
    """

    definition: Route | None = None
    next_node: str = ""


class ChainSplit(Part, frozen=True, kw_only=True):
    """
    Share of the requests in a splitter node.

    - `definition`: the split as configured (Consul 1.10).
    - `weight`: share in percent.
    - `next_node`: key of the node that it goes to.
    """

    definition: Split | None = None
    weight: float = 0.0
    next_node: str = ""


class ChainNode(Part, frozen=True, kw_only=True):
    """
    Node of a chain.

    `type` is "router", "splitter" or "resolver", and says which one of `routes`, `splits` and `resolver` is filled in.
    `load_balancer` is the choice among the instances of a resolver.
    """

    type: str = ""
    name: str = ""
    routes: NullAsEmpty[tuple[ChainRoute, ...]] = ()
    splits: NullAsEmpty[tuple[ChainSplit, ...]] = ()
    resolver: ChainResolver | None = None
    load_balancer: LoadBalancer | None = None


class ChainTarget(Part, frozen=True, kw_only=True):
    """
    Instances that a chain ends in, in whatever datacenter or peer they are.

    - `id`: key of the target in `DiscoveryChain.targets`.
    - `service`, `service_subset`, `namespace`, `partition`, `datacenter`, `peer`: the instances.
    - `subset`: definition of the subset.
    - `connect_timeout`: seconds.
    - `mesh_gateway`: route to other datacenters.
    - `external`: True for a service outside of the mesh.
    - `sni`, `name`: server name to connect with in TLS, and unique name of the target.
    """

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


class DiscoveryChainKey(ItemKey, frozen=True, order=True):
    """Key of a discovery chain."""

    service_name: str
    partition: str
    namespace: str
    datacenter: str


class DiscoveryChain(Part, frozen=True, kw_only=True):
    """
    Compiled discovery chain of a service.

    The keys of `nodes` and `targets` are opaque: follow them, never parse them.

    - `service_name`, `namespace`, `partition`, `datacenter`: the service, and the datacenter that it is compiled for.
    - `customization_hash`: set if `ChainOverrides` changed something.
    - `default`: True if no config entry shapes the chain (Consul 1.10).
    - `protocol`: protocol of the service.
    - `service_meta`, `envoy_extensions`: from the config entries of the service.
    - `start_node`: key of the first node.
    - `nodes`, `targets`: nodes and targets by key.
    - `auto_virtual_ips`, `manual_virtual_ips`: virtual addresses (Consul 1.16).
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
        """The key of the chain, unique among all chains."""
        return DiscoveryChainKey(self.service_name, self.partition, self.namespace, self.datacenter)


class ChainOverrides(Part, frozen=True, kw_only=True):
    """
    Settings that replace the configured ones in the compilation of a chain.

    - `protocol`: protocol; empty for the configured one.
    - `connect_timeout`: seconds; None for the configured one.
    - `mesh_gateway`: `MeshGateway` with the mode "none", "local" or "remote"; None for the configured one.
    """

    protocol: str = msgspec.field(default="", name="OverrideProtocol")
    connect_timeout: Seconds | None = msgspec.field(default=None, name="OverrideConnectTimeout")
    mesh_gateway: MeshGateway | None = msgspec.field(default=None, name="OverrideMeshGateway")


class _Answer(Part, frozen=True, kw_only=True):
    chain: DiscoveryChain


_read_answer = reader(_Answer)


def read_chain(body: bytes) -> DiscoveryChain:
    """Read the chain in a body of `/v1/discovery-chain/:service`."""
    return _read_answer(body).chain
