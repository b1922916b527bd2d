"""`/v1/connect/ca`: the certificate authority of the mesh, as the servers have it."""

from __future__ import annotations

from collections.abc import Mapping

from aioconsulconnect.endpoints.group import Group
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
from aioconsulconnect.transport.options import Option, Options
from aioconsulconnect.transport.request import Request, path_of
from aioconsulconnect.transport.response import Response
from aioconsulconnect.watch.protocol.spec import WatchSpec
from aioconsulconnect.watch.query import Query

_ROOTS = path_of("connect", "ca", "roots")
_CONFIGURATION = path_of("connect", "ca", "configuration")
_READ: frozenset[Option] = frozenset({"datacenter", "consistency"})


class CA(Group):
    """The certificate authority: its roots, which every service trusts, and its configuration."""

    def roots(self, *, options: Options | None = None) -> Query[Roots, Root]:
        """
        All roots that are trusted now, and the trust domain (`GET /v1/connect/ca/roots`). Needs no rights.

        The index can rise without any change of the roots.
        """
        request = Request(method="GET", path=_ROOTS, decode=_roots, accepted_options=_READ)
        return self._query(request, WatchSpec(items=roots_by_key, incomplete=without_active_root), options)

    async def roots_pem(self, *, options: Options | None = None) -> str:
        """
        The roots as one PEM text, each followed by its intermediates (`?pem=true`, Consul 1.8.5).

        It cannot be watched: Consul sends no index with it; watch `roots` instead.
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
        The provider and its configuration as stored (`GET /v1/connect/ca/configuration`).

        Needs `operator:write` (1.8.6), because it can hold the private key. It cannot be watched.
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
        Replace the provider's configuration (`PUT /v1/connect/ca/configuration`); needs `operator:write`.

        `provider` is "consul" for a `CAConfig`, and must be named for a map. All of it is replaced: a key that is left
        out is dropped, so start from `configuration()` to change one. A new private key
        or provider rotates the root, and so does a new key type (not on 1.8 to 1.10, which store it for the next
        rotation): the new root is cross-signed by the old one, unless the provider cannot and
        `force_without_cross_signing` is set, which breaks connections until every leaf is new.

        No ModifyIndex is ever sent: when it does not match, Consul's built-in authority stops signing for good.
        Raises InvalidRequest for keys that Consul would store and ignore (snake_case) and for bare numbers as times.
        """
        if provider is None and not isinstance(config, CAConfig):
            raise InvalidRequest("provider must be named beside a map of keys: another one would replace the authority")
        body = ConfigurationBody(
            provider="consul" if provider is None else provider,
            config=provider_config(config),
            force_without_cross_signing=force_without_cross_signing,
        )
        request = Request(method="PUT", path=_CONFIGURATION, body=encode(body), decode=_done, read=False)
        await self._call(request, options)


def _roots(response: Response) -> Roots:
    return read_roots(response.body)


def _configuration(response: Response) -> CAConfiguration:
    return read_configuration(response.body)


def _done(response: Response) -> None:
    """Nothing: a success has an empty body, labelled as one thing or another by version."""


def _pem(response: Response) -> str:
    text = response.body.decode("ascii", "replace")
    if text.startswith("{"):
        raise Unsupported("this agent gives roots as JSON alone: PEM needs Consul 1.8.5", min_version="1.8.5")
    if text.strip() and not text.lstrip().startswith("-----BEGIN CERTIFICATE-----"):
        raise UnreadableResponse("this is no chain of PEM certificates")
    return text
