"""Endpoint `/v1/discovery-chain`: how a proxy that dials a service gets to its instances."""

from __future__ import annotations

from collections.abc import Hashable, Mapping

from aioconsulconnect.endpoints.group import Group
from aioconsulconnect.structs.codec.json_body import encode
from aioconsulconnect.structs.codec.unknown_fields import plain
from aioconsulconnect.structs.config_entries.discovery_chain import ChainOverrides, DiscoveryChain, read_chain
from aioconsulconnect.transport.request import Parameters, Request, path_of
from aioconsulconnect.transport.response import Response
from aioconsulconnect.transport.settings.options import ALL_READ, Options
from aioconsulconnect.watch.protocol.spec import WatchSpec
from aioconsulconnect.watch.query import Query


class DiscoveryChains(Group):
    """
    Endpoint of compiled discovery chains, called with the name of a service.

    For example `await consul.discovery_chain("web")`.
    """

    def __call__(
        self,
        service: str,
        *,
        compile_datacenter: str = "",
        overrides: ChainOverrides | None = None,
        options: Options | None = None,
    ) -> Query[DiscoveryChain, DiscoveryChain]:
        """
        The discovery chain of a service, as the servers compile it.

        `GET /v1/discovery-chain/:service`, and with `overrides` a POST that changes nothing. There is always a chain,
        also for a name that nobody knows. Needs `service:read`; raises PermissionDenied without.

        - `service`: name of the service.
        - `compile_datacenter`: datacenter from which the chain is seen (`?compile-dc`); default: the one that is asked.
        - `overrides`: values in place of the configured ones.
        - `options`: options of this call, over the client's.
        """
        query: Parameters = (("compile-dc", compile_datacenter),) if compile_datacenter else ()
        request = Request(
            method="GET" if overrides is None else "POST",
            path=path_of("discovery-chain", service),
            query=query,
            body=None if overrides is None else encode(plain(overrides)),
            decode=_chain,
            accepted_options=ALL_READ,
        )
        return self._query(request, WatchSpec(items=_one), options)


def _one(chain: DiscoveryChain) -> Mapping[Hashable, DiscoveryChain]:
    return {chain.key: chain}


def _chain(response: Response) -> DiscoveryChain:
    return read_chain(response.body)
