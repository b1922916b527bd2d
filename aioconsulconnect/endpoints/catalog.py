"""Endpoints under `/v1/catalog`: the instances of a service, whatever their health."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Unpack

import msgspec

from aioconsulconnect.endpoints.group import Group
from aioconsulconnect.endpoints.selection import Selection, parameters
from aioconsulconnect.errors import Unsupported
from aioconsulconnect.structs.catalog import (
    CatalogInstance,
    GatewayService,
    catalog_by_key,
    read_catalog,
    read_gateway_services,
)
from aioconsulconnect.transport.options import ALL_READ, UNCACHED_READ, Options
from aioconsulconnect.transport.request import Request, path_of
from aioconsulconnect.transport.response import Response
from aioconsulconnect.watch.protocol.spec import WatchSpec
from aioconsulconnect.watch.query import Query


class Catalog(Group):
    """
    Endpoints of the catalog: what is registered, whatever its health.

    Use `health` to find what can be dialled now.
    """

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
