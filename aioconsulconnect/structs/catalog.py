"""Structs of service instances as the servers know them, with and without health."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import Literal

import msgspec

from aioconsulconnect.slices import InSlices
from aioconsulconnect.structs.codec.consul_struct import FrozenStruct, Nullable, NullAsEmpty
from aioconsulconnect.structs.codec.item_key import ItemKey
from aioconsulconnect.structs.codec.json_body import Reader, in_slices, reader
from aioconsulconnect.structs.codec.unknown_fields import Part
from aioconsulconnect.structs.proxy import Connect, Locality, Proxy, TaggedAddress, Weights

HealthStatus = Literal["passing", "warning", "critical", "maintenance"]

_MAINTENANCE = ("_node_maintenance", "_service_maintenance:")


class InstanceKey(ItemKey, frozen=True, order=True):
    """Key of an instance: peer, partition, node, and the id of the service on that node."""

    peer_name: str
    partition: str
    node: str
    service_id: str


class GatewayServiceKey(ItemKey, frozen=True, order=True):
    """Key of a service among the services of one gateway."""

    namespace: str
    name: str
    port: int


class NodeKey(ItemKey, frozen=True, order=True):
    """Key of a node: its peer, its partition, its name."""

    peer_name: str
    partition: str
    node: str


class CatalogServiceKey(ItemKey, frozen=True, order=True):
    """Key of a service among all services: its name."""

    name: str


class CatalogService(FrozenStruct, frozen=True):
    """
    Service by its name, with the tags that any of its instances has.

    `tags` are sorted: Consul sends them in another order each time, and that is no change.
    """

    name: str
    tags: tuple[str, ...] = ()

    @property
    def key(self) -> CatalogServiceKey:
        """The key of the service, unique among all services."""
        return CatalogServiceKey(self.name)


class Address(FrozenStruct, frozen=True):
    """
    Address to connect to: host and port, or a Unix socket.

    With a `socket_path` the host is empty and the port 0.
    """

    host: str
    port: int
    socket_path: str = ""


class Node(Part, frozen=True, kw_only=True):
    """
    Node that instances run on.

    - `id`, `node`: id and name.
    - `address`, `tagged_addresses`: address, and addresses by tag, such as "lan" or "wan".
    - `meta`: metadata; from Consul 1.16 on `meta["consul-version"]` is the version of its agent.
    - `partition`: Consul Enterprise (1.11).
    - `peer_name`: peer that the node was imported from (Consul 1.13); empty for a local one.
    - `locality`: region and zone (Consul 1.16).
    """

    id: str = ""
    node: str = ""
    address: str = ""
    datacenter: str = ""
    tagged_addresses: NullAsEmpty[Mapping[str, str]] = {}
    meta: NullAsEmpty[Mapping[str, str]] = {}
    partition: str = ""
    peer_name: str = ""
    locality: Locality | None = None
    create_index: int = 0
    modify_index: int = 0

    @property
    def key(self) -> NodeKey:
        """The key of the node, unique among all nodes."""
        return NodeKey(self.peer_name, self.partition, self.node)


class ServiceInstance(Part, frozen=True, kw_only=True):
    """
    Service part of an instance.

    - `kind`: empty for an application, else "connect-proxy" or the kind of a gateway.
    - `id`, `service`: id, which is unique on the node, and name. For a sidecar `service` is the name of the proxy, and
      `proxy.destination_service_name` that of the application.
    - `address`, `port`, `socket_path`, `tagged_addresses`: where it listens. `address` is often empty: connect to
      `Instance.address`.
    - `connect`: `connect.native` is True if the service speaks mutual TLS itself.
    - `peer_name`: peer that the service was imported from (Consul 1.13); empty for a local one.
    """

    kind: str = ""
    id: str = ""
    service: str = ""
    tags: NullAsEmpty[tuple[str, ...]] = ()
    address: str = ""
    tagged_addresses: NullAsEmpty[Mapping[str, TaggedAddress]] = {}
    meta: NullAsEmpty[Mapping[str, str]] = {}
    port: int = 0
    socket_path: str = ""
    weights: Weights | None = None
    enable_tag_override: bool = False
    proxy: NullAsEmpty[Proxy] = Proxy()
    connect: NullAsEmpty[Connect] = Connect()
    peer_name: str = ""
    locality: Locality | None = None
    namespace: str = ""
    partition: str = ""
    create_index: int = 0
    modify_index: int = 0


class HealthCheck(Part, frozen=True, kw_only=True):
    """
    Health check of an instance, or of its node, and its last result.

    - `status`: "passing", "warning" or "critical".
    - `service_id`, `service_name`: the service that is checked; empty for a check of the node.
    - `notes`, `output`: text for people, and output of the last run.
    - `type`: kind of check, such as "http" or "ttl".
    - `exposed_port`: port at which the proxy exposes the check; 0 if it does not.
    - `interval`, `timeout`: durations as Go's text, such as "10s".
    """

    node: str = ""
    check_id: str = ""
    name: str = ""
    status: str = ""
    notes: str = ""
    output: str = ""
    service_id: str = ""
    service_name: str = ""
    service_tags: NullAsEmpty[tuple[str, ...]] = ()
    type: str = ""
    interval: str = ""
    timeout: str = ""
    exposed_port: int = 0
    definition: NullAsEmpty[Mapping[str, object]] = {}
    peer_name: str = ""
    namespace: str = ""
    partition: str = ""
    create_index: int = 0
    modify_index: int = 0


class Instance(Nullable, frozen=True, kw_only=True):
    """Instance of a service, with its node and the checks of both."""

    node: Node
    service: ServiceInstance
    checks: NullAsEmpty[tuple[HealthCheck, ...]] = ()

    @property
    def key(self) -> InstanceKey:
        """The key of the instance, unique among all instances."""
        return InstanceKey(self.service.peer_name, self.node.partition, self.node.node, self.service.id)

    @property
    def address(self) -> str:
        """
        The host to connect to: the address of the service, else that of its node.

        Empty for a Unix socket.
        """
        return self.dial().host

    @property
    def port(self) -> int:
        """The port to connect to; 0 for a Unix socket."""
        return self.dial().port

    @property
    def status(self) -> HealthStatus:
        """
        The worst status of the checks, those of the node included.

        "maintenance" comes before all others. Without checks it is "passing".
        """
        if any(check.check_id.startswith(_MAINTENANCE) for check in self.checks):
            return "maintenance"
        found = {check.status for check in self.checks}
        return "critical" if found - {"passing", "warning"} else "warning" if "warning" in found else "passing"

    def dial(self, tag: str = "") -> Address:
        """
        Return the address to connect to, by Consul's rules.

        A Unix socket comes first, if the service listens on one. Else the host is the first that is set of: the
        service's address under `tag`, the service's address, the node's address under `tag`, the node's address. The
        port is the service's, unless its address under `tag` has one of its own.

        `tag` is for example "lan", "wan", "lan_ipv4" or "consul-virtual"; "wan" is for callers in other datacenters.
        Default: no tag.
        """
        service = self.service
        if service.socket_path:
            return Address("", 0, service.socket_path)
        own = Address(service.address, service.port)
        return _dial(own, service.tagged_addresses, self.node.address, self.node.tagged_addresses, tag)


class CatalogInstance(Part, frozen=True, kw_only=True):
    """
    Instance of a service from the catalog, without its health.

    Fields that begin with `service_` describe the service, the others its node. `node_address` and `service_address`
    are as registered; `address` and `port` are where to connect to.

    With `merge_central_config` Consul leaves the id, address and datacenter of the node empty. Then only an instance
    with an address of its own can be connected to.
    """

    id: str = ""
    node: str = ""
    node_address: str = msgspec.field(default="", name="Address")
    datacenter: str = ""
    tagged_addresses: NullAsEmpty[Mapping[str, str]] = {}
    node_meta: NullAsEmpty[Mapping[str, str]] = {}
    service_kind: str = ""
    service_id: str = ""
    service_name: str = ""
    service_tags: NullAsEmpty[tuple[str, ...]] = ()
    service_address: str = ""
    service_tagged_addresses: NullAsEmpty[Mapping[str, TaggedAddress]] = {}
    service_weights: Weights | None = None
    service_meta: NullAsEmpty[Mapping[str, str]] = {}
    service_port: int = 0
    service_socket_path: str = ""
    service_enable_tag_override: bool = False
    service_proxy: NullAsEmpty[Proxy] = Proxy()
    service_connect: NullAsEmpty[Connect] = Connect()
    service_locality: Locality | None = None
    peer_name: str = ""
    namespace: str = ""
    partition: str = ""
    create_index: int = 0
    modify_index: int = 0

    @property
    def key(self) -> InstanceKey:
        """The key of the instance, unique among all instances."""
        return InstanceKey(self.peer_name, self.partition, self.node, self.service_id)

    @property
    def address(self) -> str:
        """
        The host to connect to: the address of the service, else that of its node.

        Empty for a Unix socket.
        """
        return self.dial().host

    @property
    def port(self) -> int:
        """The port to connect to; 0 for a Unix socket."""
        return self.dial().port

    def dial(self, tag: str = "") -> Address:
        """
        Return the address to connect to, by Consul's rules.

        `tag` selects tagged addresses, as described at `Instance.dial`.
        """
        if self.service_socket_path:
            return Address("", 0, self.service_socket_path)
        own = Address(self.service_address, self.service_port)
        return _dial(own, self.service_tagged_addresses, self.node_address, self.tagged_addresses, tag)


def _dial(
    own: Address, tagged: Mapping[str, TaggedAddress], node: str, node_tagged: Mapping[str, str], tag: str
) -> Address:
    """Return the address to connect to where there is no Unix socket."""
    under = tagged.get(tag)
    if under is not None and under.address:
        return Address(under.address, under.port or own.port)
    return Address(own.host or node_tagged.get(tag) or node, own.port)


class ServiceRef(Part, frozen=True, kw_only=True):
    """Reference to a service or gateway by name."""

    name: str = ""
    namespace: str = ""
    partition: str = ""


class GatewayService(Part, frozen=True, kw_only=True):
    """
    Service that an ingress or terminating gateway serves.

    - `gateway`, `gateway_kind`: the gateway, and its kind.
    - `service`: the service.
    - `port`, `protocol`, `hosts`: listener of an ingress gateway that leads to the service.
    - `ca_file`, `cert_file`, `key_file`, `sni`: TLS from a terminating gateway to the service.
    - `auto_host_rewrite`: True if a terminating gateway rewrites the Host header for the service.
    - `from_wildcard`: True if the config entry of the gateway names `*` instead of the service.
    """

    gateway: ServiceRef
    service: ServiceRef
    gateway_kind: str = ""
    port: int = 0
    protocol: str = ""
    hosts: NullAsEmpty[tuple[str, ...]] = ()
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""
    sni: str = ""
    from_wildcard: bool = False
    service_kind: str = ""
    auto_host_rewrite: bool = False
    create_index: int = 0
    modify_index: int = 0

    @property
    def key(self) -> GatewayServiceKey:
        """The key of the service, unique among the services of the gateway."""
        return GatewayServiceKey(self.service.namespace, self.service.name, self.port)


class CatalogBody(Part, frozen=True, kw_only=True):
    """Body of `PUT /v1/catalog/register`."""

    id: str = ""
    node: str
    address: str = ""
    datacenter: str = ""
    tagged_addresses: Mapping[str, str] = {}
    node_meta: Mapping[str, str] = {}
    service: ServiceInstance | None = None
    checks: tuple[HealthCheck, ...] = ()
    skip_node_update: bool = False
    locality: Locality | None = None
    namespace: str = ""
    partition: str = ""


class RemovalBody(Part, frozen=True, kw_only=True):
    """Body of `PUT /v1/catalog/deregister`."""

    node: str
    datacenter: str = ""
    service_id: str = ""
    check_id: str = ""
    namespace: str = ""
    partition: str = ""


read_nodes: Reader[tuple[Node, ...]] = reader(tuple[Node, ...])
_read_services = reader(dict[str, tuple[str, ...] | None])


def read_services(body: bytes) -> tuple[CatalogService, ...]:
    """Read the names of all services and their tags in a body."""
    return tuple(CatalogService(name, tuple(sorted(tags or ()))) for name, tags in _read_services(body).items())


read_instances: Reader[tuple[Instance, ...]] = reader(tuple[Instance, ...])
read_instances_in_slices: Callable[[bytes], InSlices[tuple[Instance, ...]]] = in_slices(read_instances, size=200)
read_catalog: Reader[tuple[CatalogInstance, ...]] = reader(tuple[CatalogInstance, ...])
_read_gateway_services = reader(NullAsEmpty[tuple[GatewayService, ...]])


def read_gateway_services(body: bytes) -> tuple[GatewayService, ...]:
    """Read the services of a gateway in a body; `null` is none."""
    return _read_gateway_services(body) or ()


def instances_by_key(instances: tuple[Instance, ...]) -> Mapping[Hashable, Instance]:
    """Return the instances by their keys."""
    return {instance.key: instance for instance in instances}


def catalog_by_key(instances: tuple[CatalogInstance, ...]) -> Mapping[Hashable, CatalogInstance]:
    """Return the instances by their keys."""
    return {instance.key: instance for instance in instances}
