"""`/v1/catalog`: the instances of a service, whatever their health."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

import msgspec

from aioconsulconnect.endpoints.group import Group
from aioconsulconnect.endpoints.selection import selection
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
from aioconsulconnect.watch.protocol.spec import Blocking, in_a_row
from aioconsulconnect.watch.query import Query


class Catalog(Group):
    """What is registered, whatever its health; use `health` to find what can be dialled now."""

    def connect(
        self,
        service: str,
        *,
        tags: Sequence[str] = (),
        filter: str = "",  # noqa: A002 - Consul's word
        near: str = "",
        node_meta: Mapping[str, str] | None = None,
        peer: str = "",
        merge_central_config: bool = False,
        options: Options | None = None,
    ) -> Query[tuple[CatalogInstance, ...], CatalogInstance]:
        """
        The proxies and native instances of `service` (`GET /v1/catalog/connect/:service`).

        `tags` that an instance must have, all of them, in the same case; `filter`, an expression such as
        `ServiceMeta.version == "2"`; `near` a node (or "_agent"), for the order; `node_meta` that the node must have
        (`?node-meta`); `merge_central_config` (Consul 1.13; the node's address is then missing). `peer` works on the
        newest servers alone (1.22): others answer with local instances, which raises Unsupported; `health.connect`
        takes it from 1.13 on. Without rights Consul answers with nothing.
        """
        query = selection(
            tags, "ServiceTags", filter, near, node_meta, peer=peer, merge_central_config=merge_central_config
        )
        request = Request(
            method="GET",
            path=path_of("catalog", "connect", service),
            query=query,
            decode=_Catalog(peer),
            takes=ALL_READ,
        )
        return self._query(request, Blocking(items=catalog_by_key, rebuild=in_a_row), options)

    def gateway_services(
        self, gateway: str, *, options: Options | None = None
    ) -> Query[tuple[GatewayService, ...], GatewayService]:
        """The services that an ingress or terminating gateway serves (`GET /v1/catalog/gateway-services/:gateway`)."""
        path = path_of("catalog", "gateway-services", gateway)
        request = Request(method="GET", path=path, decode=_gateway_services, takes=UNCACHED_READ)
        return self._query(request, Blocking(items=_by_key, rebuild=in_a_row), options)


class _Catalog(msgspec.Struct, frozen=True):
    """Reads an answer. Two that are equal read alike, so their watches share a poll."""

    peer: str

    def __call__(self, response: Response) -> tuple[CatalogInstance, ...]:
        found = read_catalog(response.body)
        if any(instance.peer_name != self.peer for instance in found if self.peer):
            raise Unsupported(
                "this Consul ignores peer here, and answered with local instances: use health.connect", needs="1.22"
            )
        return found


def _gateway_services(response: Response) -> tuple[GatewayService, ...]:
    return read_gateway_services(response.body)


def _by_key(services: tuple[GatewayService, ...]) -> Mapping[Hashable, GatewayService]:
    return {service.key: service for service in services}
