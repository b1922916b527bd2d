"""`/v1/health`: the instances of a service with their health."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec

from aioconsulconnect.endpoints.group import Group
from aioconsulconnect.endpoints.selection import selection
from aioconsulconnect.errors import Unsupported
from aioconsulconnect.structs.catalog import Instance, instances_by_key, read_instances, read_instances_in_slices
from aioconsulconnect.structs.codec.json_body import InSlices
from aioconsulconnect.transport.options import ALL_READ, Options
from aioconsulconnect.transport.request import Parameters, Request, path_of
from aioconsulconnect.transport.response import Response
from aioconsulconnect.watch.protocol.spec import Blocking, in_a_row
from aioconsulconnect.watch.query import Query

Instances = Query[tuple[Instance, ...], Instance]


class Health(Group):
    """
    Instances with their health; `Instance.address` and `.port` are where to dial.

    All take the same: `passing` leaves out whatever has a check that does not pass; `tags` that an instance must have,
    all of them, in the same case (they join the filter: Consul itself ignores `?tag` here); `filter`, an expression
    such as `Service.Meta.version == "2"`; `near` a node (or "_agent"), for the order; `node_meta` that the node must
    have (`?node-meta`); `merge_central_config` (Consul 1.13; an older one ignores it) to see the proxy's configuration
    with the central defaults merged in. They need `service:read` and `node:read`; without, Consul answers with nothing
    or, for `connect` from 1.16, with PermissionDenied.

    A watch is served from the agent's streaming view from Consul 1.10 on: then `meta.known_leader` says nothing.
    """

    def connect(
        self,
        service: str,
        *,
        passing: bool = False,
        tags: Sequence[str] = (),
        filter: str = "",  # noqa: A002 - Consul's word
        near: str = "",
        node_meta: Mapping[str, str] | None = None,
        peer: str = "",
        merge_central_config: bool = False,
        options: Options | None = None,
    ) -> Instances:
        """
        Where to dial to get to `service` through the mesh: proxies, and native instances.

        `GET /v1/health/connect/:service`. `peer` (Consul 1.13) asks for a service imported from there; an older server
        would answer with local instances, which raises Unsupported.
        """
        query = selection(
            tags, "Service.Tags", filter, near, node_meta, peer=peer, merge_central_config=merge_central_config
        )
        return self._instances("connect", service, query, passing=passing, peer=peer, near=near, options=options)

    def ingress(
        self,
        service: str,
        *,
        passing: bool = False,
        tags: Sequence[str] = (),
        filter: str = "",  # noqa: A002 - Consul's word
        near: str = "",
        node_meta: Mapping[str, str] | None = None,
        merge_central_config: bool = False,
        options: Options | None = None,
    ) -> Instances:
        """The ingress gateways that serve `service` (`GET /v1/health/ingress/:service`, Consul 1.8)."""
        query = selection(
            tags, "Service.Tags", filter, near, node_meta, peer="", merge_central_config=merge_central_config
        )
        return self._instances("ingress", service, query, passing=passing, near=near, options=options)

    def service(
        self,
        service: str,
        *,
        passing: bool = False,
        tags: Sequence[str] = (),
        filter: str = "",  # noqa: A002 - Consul's word
        near: str = "",
        node_meta: Mapping[str, str] | None = None,
        peer: str = "",
        merge_central_config: bool = False,
        options: Options | None = None,
    ) -> Instances:
        """
        The instances of exactly that name, in the mesh or not: applications, a proxy by its own name, gateways.

        `GET /v1/health/service/:service`; `peer` as for `connect`.
        """
        query = selection(
            tags, "Service.Tags", filter, near, node_meta, peer=peer, merge_central_config=merge_central_config
        )
        return self._instances("service", service, query, passing=passing, peer=peer, near=near, options=options)

    def _instances(
        self,
        which: str,
        service: str,
        query: Parameters,
        *,
        passing: bool,
        near: str,
        options: Options | None,
        peer: str = "",
    ) -> Instances:
        query = (("passing", ""), *query) if passing else query
        decode = _Instances(peer)
        request = Request(
            method="GET",
            path=path_of("health", which, service),
            query=query,
            decode=decode,
            slices=_Sliced(decode),
            takes=ALL_READ,
        )
        streaming = not near and which != "ingress"
        source: Literal["servers", "streaming"] = "streaming" if streaming else "servers"
        return self._query(request, Blocking(items=instances_by_key, source=source, rebuild=in_a_row), options)


class _Instances(msgspec.Struct, frozen=True):
    """Reads an answer. Two that are equal read alike, so their watches share a poll."""

    peer: str

    def __call__(self, response: Response) -> tuple[Instance, ...]:
        return self.checked(read_instances(response.body))

    def checked(self, found: tuple[Instance, ...]) -> tuple[Instance, ...]:
        """The instances; Unsupported where they are not what was asked for."""
        if any(instance.service.peer_name != self.peer for instance in found if self.peer):
            raise Unsupported("this Consul ignores peer, and answered with local instances", needs="1.13")
        return found


class _Sliced(msgspec.Struct, frozen=True):
    """The same for a big answer."""

    whole: _Instances

    def __call__(self, response: Response) -> InSlices[tuple[Instance, ...]]:
        return self.whole.checked((yield from read_instances_in_slices(response.body)))
