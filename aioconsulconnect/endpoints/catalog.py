"""Endpoints under `/v1/catalog`: nodes, services and their instances, whatever their health."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Unpack

import msgspec

from aioconsulconnect.endpoints.arguments import Selection, check_new_name, mapping, parameters, sequence
from aioconsulconnect.endpoints.group import Group
from aioconsulconnect.endpoints.intentions_requests import read_true
from aioconsulconnect.errors import InvalidRequest, Unsupported
from aioconsulconnect.structs.catalog import (
    CatalogBody,
    CatalogInstance,
    CatalogService,
    GatewayService,
    HealthCheck,
    Node,
    RemovalBody,
    ServiceInstance,
    catalog_by_key,
    read_catalog,
    read_gateway_services,
    read_nodes,
    read_services,
)
from aioconsulconnect.structs.codec.request_body import request_body
from aioconsulconnect.structs.proxy import Locality
from aioconsulconnect.transport.request import Parameters, Request, path_of
from aioconsulconnect.transport.response import Response
from aioconsulconnect.transport.settings.options import ALL_READ, NO_OPTIONS, UNCACHED_READ, Option, Options
from aioconsulconnect.watch.protocol.spec import WatchSpec
from aioconsulconnect.watch.query import Query

_WRITE: frozenset[Option] = frozenset({"datacenter", "namespace", "partition"})


class Catalog(Group):
    """
    Endpoints of the catalog: what is registered, whatever its health.

    Use `health` to find what can be dialled now, and `agent` to register what runs beside an agent.
    """

    def services(
        self, *, node_meta: Mapping[str, str] | None = None, options: Options | None = None
    ) -> Query[tuple[CatalogService, ...], CatalogService]:
        """
        All services by name, with the tags that their instances have.

        `GET /v1/catalog/services`. Needs `service:read`; what the token may not see is left out without an error.

        - `node_meta`: metadata that a node of the service must have; default: all.
        - `options`: options of this call, over the client's.
        """
        request = Request(
            method="GET",
            path=path_of("catalog", "services"),
            query=_of_nodes(node_meta),
            decode=_services,
            accepted_options=ALL_READ,
        )
        return self._query(request, WatchSpec(items=_services_by_key), options)

    def nodes(
        self,
        *,
        node_meta: Mapping[str, str] | None = None,
        filter: str = "",  # noqa: A002 - Consul's word
        near: str = "",
        options: Options | None = None,
    ) -> Query[tuple[Node, ...], Node]:
        """
        All nodes: those of agents, and those that were registered by hand.

        `GET /v1/catalog/nodes`. Needs `node:read`; what the token may not see is left out without an error.

        - `node_meta`: metadata that a node must have; default: all.
        - `filter`: filter expression, such as `Meta.os == "linux"`; default: all.
        - `near`: node, or "_agent": the nodes nearest to it come first.
        - `options`: options of this call, over the client's.
        """
        named = (("filter", filter), ("near", near))
        request = Request(
            method="GET",
            path=path_of("catalog", "nodes"),
            query=(*_of_nodes(node_meta), *((name, value) for name, value in named if value)),
            decode=_nodes,
            accepted_options=ALL_READ,
        )
        return self._query(request, WatchSpec(items=_nodes_by_key), options)

    async def register(
        self,
        node: str,
        address: str = "",
        *,
        node_id: str = "",
        node_meta: Mapping[str, str] | None = None,
        tagged_addresses: Mapping[str, str] | None = None,
        locality: Locality | None = None,
        service: ServiceInstance | None = None,
        checks: Sequence[HealthCheck] = (),
        skip_node_update: bool = False,
        options: Options | None = None,
    ) -> None:
        """
        Register a node without an agent, and a service or checks on it, or replace them.

        `PUT /v1/catalog/register`. It is for what lives outside of the mesh, such as a database behind a terminating
        gateway: no agent runs its checks. What an agent has is registered with `agent.register`, else the agent undoes
        it. Needs `node:write` on the node, and `service:write` on the service.

        - `node`, `address`: name of the node, and its address, which may be left out with `skip_node_update`.
        - `node_id`: UUID of the node; default: none.
        - `node_meta`, `tagged_addresses`, `locality`: further data of the node, as in `Node`.
        - `service`: the service; its `id` is its name where it is empty.
        - `checks`: checks with a `name` and a `status`; one with a `service_id` counts for that service.
        - `skip_node_update`: True to leave a node that exists as it is.
        - `options`: options of this call, over the client's.

        Raises InvalidRequest for a name by which nothing could be read later, and for a null in an open map.
        """
        check_new_name("node", node)
        if not address and not skip_node_update:
            raise InvalidRequest("address: a node needs one, but with skip_node_update")
        if service is not None:
            _check_service(service)
        checks = sequence("checks", checks, HealthCheck)
        for i, check in enumerate(checks):
            if check.check_id:
                check_new_name(f"checks[{i}].check_id", check.check_id)
        at = (options or NO_OPTIONS).over(self._defaults)
        body = CatalogBody(
            id=node_id,
            node=node,
            address=address,
            datacenter=at.datacenter or "",
            tagged_addresses=mapping("tagged_addresses", tagged_addresses, str),
            node_meta=mapping("node_meta", node_meta, str),
            service=service,
            checks=checks,
            skip_node_update=skip_node_update,
            locality=locality,
        )
        await self._put("register", request_body(body), options)

    async def deregister(
        self,
        node: str,
        *,
        service_id: str | None = None,
        check_id: str | None = None,
        options: Options | None = None,
    ) -> None:
        """
        Remove a node with all that is on it, or one service or check of it.

        It is no error where there is none.

        `PUT /v1/catalog/deregister`. What an agent has comes back: remove it with `agent.deregister`. Needs
        `node:write` on the node, or `service:write` on the service.

        - `node`: name of the node.
        - `service_id`: id of a service on it, which is removed alone; default: the whole node.
        - `check_id`: id of a check on it, which is removed alone; default: the whole node.
        - `options`: options of this call, over the client's.

        Raises InvalidRequest for an empty name or id, and for both ids at once.
        """
        for argument, given in (("node", node), ("service_id", service_id), ("check_id", check_id)):
            if given is not None and not given:
                raise InvalidRequest(f"{argument}: {given!r:.40} names nothing; Consul would take more than is meant")
        if service_id and check_id:
            raise InvalidRequest("give only one of service_id and check_id: Consul would remove the service alone")
        at = (options or NO_OPTIONS).over(self._defaults)
        body = RemovalBody(
            node=node, datacenter=at.datacenter or "", service_id=service_id or "", check_id=check_id or ""
        )
        await self._put("deregister", request_body(body), options)

    async def _put(self, verb: str, body: bytes, options: Options | None) -> None:
        request = Request(
            method="PUT",
            path=path_of("catalog", verb),
            body=body,
            decode=read_true,
            read=False,
            idempotent=True,
            accepted_options=_WRITE,
        )
        await self._call(request, options)

    def connect(
        self, service: str, *, peer: str = "", **selection: Unpack[Selection]
    ) -> Query[tuple[CatalogInstance, ...], CatalogInstance]:
        """
        The proxies and native instances through which a service is reached in the mesh.

        `GET /v1/catalog/connect/:service`. Without rights Consul answers with nothing.

        - `service`: name of the service.
        - `peer`: name of a peer from which the service is imported. Only the newest servers heed it here (1.22); others
          answer with local instances, which raises Unsupported. `health.connect` takes it from Consul 1.13 on.
        - `selection`: the keywords of `Selection`: `tags`, `filter`, `near`, `node_meta`, `merge_central_config`,
          `options`. With `merge_central_config` the node's address is missing in the instances.

        Raises TypeError for another keyword, and InvalidRequest for what cannot be sent.
        """
        request = Request(
            method="GET",
            path=path_of("catalog", "connect", service),
            query=parameters("connect", selection, Selection, tags_field="ServiceTags", peer=peer),
            decode=_Catalog(peer),
            accepted_options=ALL_READ,
        )
        return self._query(request, WatchSpec(items=catalog_by_key), selection.get("options"))

    def gateway_services(
        self, gateway: str, *, options: Options | None = None
    ) -> Query[tuple[GatewayService, ...], GatewayService]:
        """
        The services that an ingress or terminating gateway serves.

        `GET /v1/catalog/gateway-services/:gateway`.

        - `gateway`: name of the gateway's service.
        - `options`: options of this call, over the client's.
        """
        path = path_of("catalog", "gateway-services", gateway)
        request = Request(method="GET", path=path, decode=_gateway_services, accepted_options=UNCACHED_READ)
        return self._query(request, WatchSpec(items=_by_key), options)


def _check_service(service: ServiceInstance) -> None:
    """Raise InvalidRequest for a service that could not be found or removed later."""
    if not isinstance(service, ServiceInstance):
        raise InvalidRequest(f"service takes a ServiceInstance, not {service!r:.40}")
    check_new_name("service.service", service.service)
    if service.id:
        check_new_name("service.id", service.id)


def _of_nodes(node_meta: Mapping[str, str] | None) -> Parameters:
    return tuple(("node-meta", f"{key}:{value}") for key, value in mapping("node_meta", node_meta, str).items())


def _services(response: Response) -> tuple[CatalogService, ...]:
    return read_services(response.body)


def _services_by_key(services: tuple[CatalogService, ...]) -> Mapping[Hashable, CatalogService]:
    return {service.key: service for service in services}


def _nodes(response: Response) -> tuple[Node, ...]:
    return read_nodes(response.body)


def _nodes_by_key(nodes: tuple[Node, ...]) -> Mapping[Hashable, Node]:
    return {node.key: node for node in nodes}


class _Catalog(msgspec.Struct, frozen=True):
    """Reader of an answer; two with the same peer are equal, so that their watches share a poll."""

    peer: str

    def __call__(self, response: Response) -> tuple[CatalogInstance, ...]:
        found = read_catalog(response.body)
        if any(instance.peer_name != self.peer for instance in found if self.peer):
            raise Unsupported(
                "this Consul ignores peer here, and answered with local instances: use health.connect",
                min_version="1.22",
            )
        return found


def _gateway_services(response: Response) -> tuple[GatewayService, ...]:
    return read_gateway_services(response.body)


def _by_key(services: tuple[GatewayService, ...]) -> Mapping[Hashable, GatewayService]:
    return {service.key: service for service in services}
