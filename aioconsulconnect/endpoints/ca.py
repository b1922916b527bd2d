"""Endpoints under `/v1/connect/ca`: the certificate authority of the mesh, as the servers have it."""

from __future__ import annotations

from collections.abc import Mapping

from aioconsulconnect.endpoints.group import Group, read_nothing
from aioconsulconnect.errors import InvalidRequest, UnreadableResponse, Unsupported
from aioconsulconnect.structs.ca import (
    CAConfig,
    CAConfiguration,
    ConfigurationBody,
    Root,
    Roots,
    provider_config,
    read_configuration,
    read_roots,
    roots_by_key,
    without_active_root,
)
from aioconsulconnect.structs.codec.json_body import encode
from aioconsulconnect.transport.request import Request, path_of
from aioconsulconnect.transport.response import Response
from aioconsulconnect.transport.settings.options import Option, Options
from aioconsulconnect.watch.protocol.spec import WatchSpec
from aioconsulconnect.watch.query import Query

_ROOTS = path_of("connect", "ca", "roots")
_CONFIGURATION = path_of("connect", "ca", "configuration")
_READ: frozenset[Option] = frozenset({"datacenter", "consistency"})


class CA(Group):
    """Endpoints of the certificate authority: the roots that every service trusts, and the configuration."""

    def roots(self, *, options: Options | None = None) -> Query[Roots, Root]:
        """
        All roots that the mesh trusts now, with the trust domain.

        `GET /v1/connect/ca/roots`. Needs no rights. The index can rise without any change of the roots. `options` are
        those of this call, over the client's; it takes `datacenter` and `consistency`.
        """
        request = Request(method="GET", path=_ROOTS, decode=_roots, accepted_options=_READ)
        return self._query(request, WatchSpec(items=roots_by_key, incomplete=without_active_root), options)

    async def roots_pem(self, *, options: Options | None = None) -> str:
        """
        Read the roots as one PEM text, each followed by its intermediates.

        `GET /v1/connect/ca/roots?pem=true`, Consul 1.8.5. It cannot be watched, because Consul sends no index with it;
        watch `roots` instead. `options` are those of this call, over the client's.

        Raises Unsupported on an older Consul, and UnreadableResponse for anything but PEM certificates.
        """
        request = Request(
            method="GET",
            path=_ROOTS,
            query=(("pem", "true"),),
            decode=_pem,
            accepted_options=_READ,
            min_version="1.8.5",
        )
        return await self._call(request, options)

    async def configuration(self, *, options: Options | None = None) -> CAConfiguration:
        """
        Read the provider of the certificate authority and its configuration, as stored.

        `GET /v1/connect/ca/configuration`. Needs `operator:write` (Consul 1.8.6), because it can hold the private key.
        It cannot be watched. `options` are those of this call, over the client's.
        """
        request = Request(method="GET", path=_CONFIGURATION, decode=_configuration, accepted_options=_READ)
        return await self._call(request, options)

    async def update_configuration(
        self,
        config: CAConfig | Mapping[str, object],
        *,
        provider: str | None = None,
        force_without_cross_signing: bool = False,
        options: Options | None = None,
    ) -> None:
        """
        Replace the configuration of the certificate authority's provider.

        `PUT /v1/connect/ca/configuration`. Needs `operator:write`. All of it is replaced: a key that is left out is
        dropped, so start from `configuration()` to change one. A new private key or provider rotates the root, and so
        does a new key type (not on Consul 1.8 to 1.10, which store it for the next rotation). The new root is
        cross-signed by the old one, unless the provider cannot.

        - `config`: configuration, a `CAConfig` for the built-in provider or a map of keys.
        - `provider`: name of the provider; default "consul" for a `CAConfig`, and required for a map.
        - `force_without_cross_signing`: rotate even if the new root cannot be cross-signed, which breaks connections
          until every leaf is new; default False.
        - `options`: options of this call, over the client's.

        No ModifyIndex is ever sent: when it does not match, Consul's built-in authority stops signing for good.

        Raises InvalidRequest for a map without a `provider`, for keys that Consul would store and ignore (snake_case),
        and for bare numbers as times.
        """
        if provider is None and not isinstance(config, CAConfig):
            raise InvalidRequest("provider must be named beside a map of keys: another one would replace the authority")
        body = ConfigurationBody(
            provider="consul" if provider is None else provider,
            config=provider_config(config),
            force_without_cross_signing=force_without_cross_signing,
        )
        request = Request(method="PUT", path=_CONFIGURATION, body=encode(body), decode=read_nothing, read=False)
        await self._call(request, options)


def _roots(response: Response) -> Roots:
    return read_roots(response.body)


def _configuration(response: Response) -> CAConfiguration:
    return read_configuration(response.body)


def _pem(response: Response) -> str:
    text = response.body.decode("ascii", "replace")
    if text.startswith("{"):
        raise Unsupported("this agent gives roots as JSON alone: PEM needs Consul 1.8.5", min_version="1.8.5")
    if text.strip() and not text.lstrip().startswith("-----BEGIN CERTIFICATE-----"):
        raise UnreadableResponse("this is no chain of PEM certificates")
    return text
