"""Instances of services as the servers know them, with and without their health, and where to dial them."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import Literal, NamedTuple

import msgspec

from aioconsulconnect.structs.codec.consul_struct import Nullable, NullAsEmpty
from aioconsulconnect.structs.codec.json_body import InSlices, Reader, in_slices, reader
from aioconsulconnect.structs.codec.unknown_fields import Part
from aioconsulconnect.structs.proxy import Connect, Locality, Proxy, TaggedAddress, Weights

HealthStatus = Literal["passing", "warning", "critical", "maintenance"]

_MAINTENANCE = ("_node_maintenance", "_service_maintenance:")


class InstanceKey(NamedTuple):
    """What tells an instance from all others: peer, partition, node, and the id of the service there."""

    peer_name: str
    partition: str
    node: str
    service_id: str


class GatewayServiceKey(NamedTuple):
    """What tells a service from the others of its gateway."""

    namespace: str
    name: str
    port: int


class Address(msgspec.Struct, frozen=True):
    """Where to dial: host and port; or a Unix socket, then the host is empty and the port 0."""

    host: str
    port: int
    socket_path: str = ""


class Node(Part, frozen=True, kw_only=True):
    """The node that an instance runs on. `meta["consul-version"]` tells its agent's version from Consul 1.16 on."""

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


class ServiceInstance(Part, frozen=True, kw_only=True):
    """
    The service part of an instance. For a sidecar `service` is the proxy's name and `proxy.destination_service_name`
    the application's. `address` is often empty: `Instance.address` is the one to dial.
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
    """A check of an instance or (where `service_id` is empty) of its node; `interval` and `timeout` are Go's text."""

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
    """One instance of a service with its node and its checks."""

    node: Node
    service: ServiceInstance
    checks: NullAsEmpty[tuple[HealthCheck, ...]] = ()

    @property
    def key(self) -> InstanceKey:
        """What tells it from all others."""
        return InstanceKey(self.service.peer_name, self.node.partition, self.node.node, self.service.id)

    @property
    def address(self) -> str:
        """The host to dial: the service's own address, else its node's."""
        return self.dial().host

    @property
    def port(self) -> int:
        """The port to dial; 0 for a Unix socket."""
        return self.dial().port

    @property
    def status(self) -> HealthStatus:
        """The worst of its checks, the node's included; "maintenance" before all others."""
        if any(check.check_id.startswith(_MAINTENANCE) for check in self.checks):
            return "maintenance"
        found = {check.status for check in self.checks}
        return "critical" if found - {"passing", "warning"} else "warning" if "warning" in found else "passing"

    def dial(self, tag: str = "") -> Address:
        """
        Where to dial, by Consul's rules.

        A Unix socket if that is what it listens on. Else the service's address, and the node's where it has none. With
        a `tag` ("lan", "wan", "lan_ipv4", "consul-virtual", …) what the service, else the node, has under that tag
        comes first: "wan" is for callers in other datacenters.
        """
        service = self.service
        if service.socket_path:
            return Address("", 0, service.socket_path)
        own = Address(service.address, service.port)
        return _dial(own, service.tagged_addresses, self.node.address, self.node.tagged_addresses, tag)


class CatalogInstance(Part, frozen=True, kw_only=True):
    """
    One instance from the catalog, without its health; `node_address` and `service_address` are what is registered.

    With `merge_central_config` Consul leaves id, address and datacenter of the node empty: then only an instance with
    an address of its own can be dialled.
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
        """What tells it from all others."""
        return InstanceKey(self.peer_name, self.partition, self.node, self.service_id)

    @property
    def address(self) -> str:
        """The host to dial: the service's own address, else its node's."""
        return self.dial().host

    @property
    def port(self) -> int:
        """The port to dial; 0 for a Unix socket."""
        return self.dial().port

    def dial(self, tag: str = "") -> Address:
        """Where to dial, by Consul's rules: as `Instance.dial`."""
        if self.service_socket_path:
            return Address("", 0, self.service_socket_path)
        own = Address(self.service_address, self.service_port)
        return _dial(own, self.service_tagged_addresses, self.node_address, self.tagged_addresses, tag)


def _dial(
    own: Address, tagged: Mapping[str, TaggedAddress], node: str, node_tagged: Mapping[str, str], tag: str
) -> Address:
    under = tagged.get(tag)
    if under is not None and under.address:
        return Address(under.address, under.port or own.port)
    return Address(own.host or node_tagged.get(tag) or node, own.port)


class ServiceRef(Part, frozen=True, kw_only=True):
    """The name of a service or gateway."""

    name: str = ""
    namespace: str = ""
    partition: str = ""


class GatewayService(Part, frozen=True, kw_only=True):
    """A service that an ingress or terminating gateway serves; `from_wildcard` where its entry says `*`."""

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
        """What tells it from the others of the gateway."""
        return GatewayServiceKey(self.service.namespace, self.service.name, self.port)


read_instances: Reader[tuple[Instance, ...]] = reader(tuple[Instance, ...])
read_instances_in_slices: Callable[[bytes], InSlices[tuple[Instance, ...]]] = in_slices(read_instances, size=200)
read_catalog: Reader[tuple[CatalogInstance, ...]] = reader(tuple[CatalogInstance, ...])
_read_gateway_services = reader(NullAsEmpty[tuple[GatewayService, ...]])


def read_gateway_services(body: bytes) -> tuple[GatewayService, ...]:
    """The services in a body; Consul says null for none."""
    return _read_gateway_services(body) or ()


def instances_by_key(instances: tuple[Instance, ...]) -> Mapping[Hashable, Instance]:
    """The instances by what tells them apart."""
    return {instance.key: instance for instance in instances}


def catalog_by_key(instances: tuple[CatalogInstance, ...]) -> Mapping[Hashable, CatalogInstance]:
    """The instances by what tells them apart."""
    return {instance.key: instance for instance in instances}
