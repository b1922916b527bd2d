"""Endpoints under `/v1/health`: the instances of a service with the status of their checks."""

from __future__ import annotations

from typing import Unpack

import msgspec

from aioconsulconnect.endpoints.arguments import HealthSelection, parameters
from aioconsulconnect.endpoints.group import Group
from aioconsulconnect.errors import Unsupported
from aioconsulconnect.slices import InSlices
from aioconsulconnect.structs.catalog import Instance, instances_by_key, read_instances, read_instances_in_slices
from aioconsulconnect.transport.request import Request, path_of
from aioconsulconnect.transport.response import Response
from aioconsulconnect.transport.settings.options import ALL_READ
from aioconsulconnect.watch.protocol.spec import WatchSpec
from aioconsulconnect.watch.query import Query

Instances = Query[tuple[Instance, ...], Instance]


class Health(Group):
    """
    Endpoints of health: the instances of a service, where to dial them, and the status of their checks.

    `Instance.address` and `Instance.port` are where to dial. All reads need `service:read` and `node:read`; without,
    Consul answers with nothing or, for `connect` from 1.16, with PermissionDenied. A watch is served from the agent's
    streaming view from Consul 1.10 on: then `meta.known_leader` says nothing.
    """

    def connect(self, service: str, *, peer: str = "", **selection: Unpack[HealthSelection]) -> Instances:
        """
        The proxies and native instances to dial to get to a service through the mesh.

        `GET /v1/health/connect/:service`.

        - `service`: name of the service.
        - `peer`: name of a peer from which the service is imported (Consul 1.13). An older server answers with local
          instances, which raises Unsupported.
        - `selection`: the keywords of `HealthSelection`: `tags`, `filter`, `near`, `node_meta`, `merge_central_config`,
          `passing`, `options`.

        Raises TypeError for another keyword, and InvalidRequest for what cannot be sent.
        """
        return self._instances("connect", service, selection, peer=peer)

    def ingress(self, service: str, **selection: Unpack[HealthSelection]) -> Instances:
        """
        The ingress gateways that serve a service.

        `GET /v1/health/ingress/:service`, Consul 1.8.

        - `service`: name of the service.
        - `selection`: the keywords of `HealthSelection`: `tags`, `filter`, `near`, `node_meta`, `merge_central_config`,
          `passing`, `options`.

        Raises TypeError for another keyword, and InvalidRequest for what cannot be sent.
        """
        return self._instances("ingress", service, selection)

    def service(self, service: str, *, peer: str = "", **selection: Unpack[HealthSelection]) -> Instances:
        """
        The instances of exactly that name, in the mesh or not.

        `GET /v1/health/service/:service`. They are applications, proxies by their own name, and gateways.

        - `service`: name of the service.
        - `peer`: name of a peer from which the service is imported (Consul 1.13). An older server answers with local
          instances, which raises Unsupported.
        - `selection`: the keywords of `HealthSelection`: `tags`, `filter`, `near`, `node_meta`, `merge_central_config`,
          `passing`, `options`.

        Raises TypeError for another keyword, and InvalidRequest for what cannot be sent.
        """
        return self._instances("service", service, selection, peer=peer)

    def _instances(self, which: str, service: str, selection: HealthSelection, *, peer: str = "") -> Instances:
        query = parameters(which, selection, HealthSelection, tags_field="Service.Tags", peer=peer)
        decode = _Instances(peer)
        request = Request(
            method="GET",
            path=path_of("health", which, service),
            query=(("passing", ""), *query) if selection.get("passing") else query,
            decode=decode,
            slices=_Sliced(decode),
            accepted_options=ALL_READ,
        )
        streaming = not selection.get("near") and which != "ingress"
        spec = WatchSpec(items=instances_by_key, source="streaming" if streaming else "servers")
        return self._query(request, spec, selection.get("options"))


class _Instances(msgspec.Struct, frozen=True):
    """Reader of an answer; two with the same peer are equal, so that their watches share a poll."""

    peer: str

    def __call__(self, response: Response) -> tuple[Instance, ...]:
        return self.checked(read_instances(response.body))

    def checked(self, found: tuple[Instance, ...]) -> tuple[Instance, ...]:
        """Return the instances; Unsupported where they are not of the peer that was asked for."""
        if any(instance.service.peer_name != self.peer for instance in found if self.peer):
            raise Unsupported("this Consul ignores peer, and answered with local instances", min_version="1.13")
        return found


class _Sliced(msgspec.Struct, frozen=True):
    """Reader of a large answer, in steps."""

    whole: _Instances

    def __call__(self, response: Response) -> InSlices[tuple[Instance, ...]]:
        return self.whole.checked((yield from read_instances_in_slices(response.body)))
