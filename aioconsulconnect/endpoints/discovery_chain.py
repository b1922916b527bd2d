"""`/v1/discovery-chain`: how a proxy that dials a service gets to its instances."""

from __future__ import annotations

from collections.abc import Hashable, Mapping

from aioconsulconnect.endpoints.group import Group
from aioconsulconnect.structs.codec.json_body import encode
from aioconsulconnect.structs.codec.unknown_fields import plain
from aioconsulconnect.structs.config_entries.discovery_chain import ChainOverrides, DiscoveryChain, read_chain
from aioconsulconnect.transport.options import ALL_READ, Options
from aioconsulconnect.transport.request import Parameters, Request, path_of
from aioconsulconnect.transport.response import Response
from aioconsulconnect.watch.protocol.spec import WatchSpec
from aioconsulconnect.watch.query import Query


class DiscoveryChains(Group):
    """Compiled discovery chains: called with the name of a service, `consul.discovery_chain("web")`."""

    def __call__(
        self,
        service: str,
        *,
        compile_datacenter: str = "",
        overrides: ChainOverrides | None = None,
        options: Options | None = None,
    ) -> Query[DiscoveryChain, DiscoveryChain]:
        """
        The chain of `service` as the servers compile it: always one, of a name that nobody knows too.

        `GET /v1/discovery-chain/:service`, and with `overrides` a POST that changes nothing. `compile_datacenter`
        (`?compile-dc`) compiles it as seen from there. Needs `service:read`; PermissionDenied without.
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
