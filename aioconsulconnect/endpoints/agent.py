"""Endpoints under `/v1/agent`: roots, leaf certificates, authorization, services and checks."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

from aioconsulconnect.endpoints.group import Group, read_nothing
from aioconsulconnect.errors import InvalidRequest
from aioconsulconnect.structs.agent import (
    AgentInfo,
    AgentService,
    Authorization,
    AuthorizeBody,
    Check,
    ConnectBody,
    Leaf,
    Registration,
    Sidecar,
    read_authorization,
    read_info,
    read_leaf,
    read_service,
    read_services,
)
from aioconsulconnect.structs.ca import Root, Roots, read_roots, roots_by_key, without_active_root
from aioconsulconnect.structs.codec.json_body import encode
from aioconsulconnect.structs.codec.unknown_fields import plain
from aioconsulconnect.structs.proxy import Locality, Proxy, ServiceKind, TaggedAddress, Weights
from aioconsulconnect.transport.options import NO_OPTIONS, Option, Options
from aioconsulconnect.transport.request import Parameters, Request, path_of
from aioconsulconnect.transport.response import Response
from aioconsulconnect.watch.protocol.spec import WatchSpec
from aioconsulconnect.watch.query import Query

_TENANCY: frozenset[Option] = frozenset({"namespace", "partition"})
_MAX_PARTS = 3  # partition/namespace/name


class Agent(Group):
    """
    Endpoints of the local agent: cached roots, leaf certificates, authorization, services and checks.

    The agent answers from its own memory, so its answers come fast, and without a leader too. A watch of roots or of a
    leaf waits at the agent, which renews a leaf by itself in good time.
    """

    def roots(self, *, options: Options | None = None) -> Query[Roots, Root]:
        """
        The CA roots that the mesh trusts, as the agent has them cached.

        `GET /v1/agent/connect/ca/roots`. Needs no rights. Needs a server when the agent has none cached yet. `options`
        are those of this call, over the client's; it takes `datacenter`.
        """
        path = path_of("agent", "connect", "ca", "roots")
        request = Request(method="GET", path=path, decode=_roots, accepted_options=frozenset({"datacenter"}))
        spec = WatchSpec(items=roots_by_key, source="agent", verify_with=_SERVERS_ROOTS, incomplete=without_active_root)
        return self._query(request, spec, options)

    def leaf(self, service: str, *, options: Options | None = None) -> Query[Leaf, Leaf]:
        """
        The leaf certificate of a service with its private key.

        `GET /v1/agent/connect/ca/leaf/:service`. The agent makes one at the first call, and hands out the same until it
        renews it; watch it to have the next one in time. Needs `service:write`, though newer agents give a cached leaf
        to any token: having a leaf proves no right.

        - `service`: name of the service, which need not be registered.
        - `options`: options of this call, over the client's.

        Raises InvalidRequest for an empty name and for one with a slash, and Throttled when the certificate authority
        signs as much as it may.
        """
        if not service or "/" in service:
            raise InvalidRequest(f"service: Consul makes no certificate for the name {service!r}")
        path = path_of("agent", "connect", "ca", "leaf", service)
        request = Request(method="GET", path=path, decode=_leaf, accepted_options=_TENANCY)
        return self._query(
            request, WatchSpec(items=_one_leaf, source="agent", verify_with=_SERVERS_ROOTS, replaces=_replaces), options
        )

    async def authorize(
        self, target: str, client_cert_uri: str, client_cert_serial: str = "", *, options: Options | None = None
    ) -> Authorization:
        """
        Ask the agent whether a client may connect to a service.

        `POST /v1/agent/connect/authorize`. The result is true or false, and has a reason. Verify the client's
        certificate first: Consul looks at neither trust domain nor datacenter nor serial number. L7 intentions count as
        a denial. The agent answers from its cache, so it can be a moment behind. Needs `service:write` and
        `intentions:read` on the target.

        - `target`: name of the service; in Consul Enterprise also `namespace/name` or `partition/namespace/name`.
        - `client_cert_uri`: SPIFFE ID from the client's certificate.
        - `client_cert_serial`: serial number of that certificate; default empty.
        - `options`: options of this call, over the client's.

        Raises InvalidRequest for a `target` of another form.
        """
        *tenancy, name = target.split("/")
        if not all(target.split("/")) or len(tenancy) >= _MAX_PARTS:
            raise InvalidRequest(f"target: {target!r} is not a name, namespace/name or partition/namespace/name")
        defaults = (options or NO_OPTIONS).over(self._defaults)
        body = AuthorizeBody(
            target=name,
            client_cert_uri=client_cert_uri,
            client_cert_serial=client_cert_serial,
            namespace=tenancy[-1] if tenancy else defaults.namespace or "",
            partition=tenancy[0] if tenancy[1:] else defaults.partition or "",
        )
        request = Request(
            method="POST",
            path=path_of("agent", "connect", "authorize"),
            body=encode(plain(body)),
            decode=_authorization,
            accepted_options=_TENANCY,
        )
        return await self._call(request, options)

    async def register(
        self,
        name: str,
        *,
        id: str = "",  # noqa: A002 - Consul's word
        port: int = 0,
        address: str = "",
        socket_path: str = "",
        kind: ServiceKind | None = None,
        native: bool = False,
        sidecar: Sidecar | None = None,
        proxy: Proxy | None = None,
        tags: Sequence[str] = (),
        meta: Mapping[str, str] | None = None,
        checks: Sequence[Check] = (),
        tagged_addresses: Mapping[str, TaggedAddress] | None = None,
        weights: Weights | None = None,
        enable_tag_override: bool = False,
        locality: Locality | None = None,
        service_token: str = "",
        replace_existing_checks: bool = False,
        options: Options | None = None,
    ) -> None:
        """
        Register a service with the agent, or replace its registration.

        `PUT /v1/agent/service/register`. A service in the mesh is one of these: `native`, with a `sidecar`, of kind
        "connect-proxy" with a `proxy` that names its destination, or a gateway. The agent takes a registration without
        a leader too, and announces it later. Needs `service:write` on the name, on that of the sidecar, and on the
        destination of a proxy.

        - `name`: name of the service.
        - `id`: id of the instance at this agent; default: the name.
        - `port`: port to dial; default 0 for none.
        - `address`: host to dial; default: that of the node.
        - `socket_path`: Unix socket to dial instead of address and port (Consul 1.10).
        - `kind`: "connect-proxy", "mesh-gateway", "ingress-gateway", "terminating-gateway" or "api-gateway"; default:
          an application.
        - `native`: the service speaks mutual TLS itself; it needs a port or socket.
        - `sidecar`: proxy that is registered along with the service; `Sidecar()` for all defaults.
        - `proxy`: configuration of a proxy or gateway, for a service with a `kind`.
        - `tags`: tags of the instance.
        - `meta`: metadata of the instance.
        - `checks`: health checks of the instance.
        - `tagged_addresses`: further addresses under tags such as "lan" and "wan".
        - `weights`: share of DNS answers and requests while passing and while warning; Consul's default is 1 and 1.
        - `enable_tag_override`: tags that are changed in the catalog stay as changed.
        - `locality`: region and zone (Consul 1.16).
        - `service_token`: ACL token with which the agent announces the service.
        - `replace_existing_checks`: remove the checks of the service that are not in `checks`.
        - `options`: options of this call, over the client's.

        Raises InvalidRequest for an empty name, for a combination that some versions of Consul refuse and others store
        without effect, and for text in place of a sequence.
        """
        _check_shape(name, kind, native=native, sidecar=sidecar, proxy=proxy, at=bool(port or socket_path))
        for tuple_of, value in (("tags", tags), ("checks", checks)):
            if isinstance(value, str):
                raise InvalidRequest(f"{tuple_of} takes a sequence, not one string")
        body = Registration(
            kind=kind or "",
            name=name,
            id=id,
            tags=tuple(tags),
            port=port,
            address=address,
            socket_path=socket_path,
            tagged_addresses=tagged_addresses or {},
            meta=meta or {},
            checks=tuple(checks),
            weights=weights,
            enable_tag_override=enable_tag_override,
            proxy=proxy,
            connect=ConnectBody(native=native, sidecar_service=sidecar) if native or sidecar is not None else None,
            locality=locality,
            token=service_token,
        )
        query: Parameters = (("replace-existing-checks", "true"),) if replace_existing_checks else ()
        await self._put(path_of("agent", "service", "register"), options, query=query, body=encode(plain(body)))

    async def deregister(self, service_id: str, *, options: Options | None = None) -> None:
        """
        Remove a service from the agent, and its sidecar with it.

        `PUT /v1/agent/service/deregister/:id`.

        - `service_id`: id of the instance. Raises NotFound for an unknown one from Consul 1.12, and up to 1.10 where
          ACLs are on; else that is no error.
        - `options`: options of this call, over the client's.
        """
        await self._put(path_of("agent", "service", "deregister", service_id), options)

    def service(self, service_id: str, *, options: Options | None = None) -> Query[AgentService | None, AgentService]:
        """
        A service as the agent has it registered, None where there is none.

        `GET /v1/agent/service/:id`. Needs `service:read`. A watch waits for another content hash, so registering the
        same again is no change. While there is none Consul does not block, and the watch reads from time to time.

        - `service_id`: id of the instance.
        - `options`: options of this call, over the client's.
        """
        path = path_of("agent", "service", service_id)
        request = Request(method="GET", path=path, decode=_service, accepted_options=_TENANCY)
        return self._query(
            request, WatchSpec(items=_one_service, cursor_kind="hash", value_when_absent=_absent), options
        )

    async def services(
        self,
        *,
        filter: str = "",  # noqa: A002 - Consul's word
        options: Options | None = None,
    ) -> Mapping[str, AgentService]:
        """
        Read all services of the agent, by id, with proxies and gateways.

        `GET /v1/agent/services`. It cannot be watched. What the token may not see is left out without an error.

        - `filter`: filter expression, such as `Kind == "connect-proxy"`; default: all.
        - `options`: options of this call, over the client's.
        """
        query: Parameters = (("filter", filter),) if filter else ()
        request = Request(
            method="GET", path=path_of("agent", "services"), query=query, decode=_services, accepted_options=_TENANCY
        )
        return await self._call(request, options)

    async def maintenance(
        self, service_id: str, *, enable: bool, reason: str = "", options: Options | None = None
    ) -> None:
        """
        Switch the maintenance mode of a service on or off.

        `PUT /v1/agent/service/maintenance/:id`. While it is on the service counts as critical.

        - `service_id`: id of the instance.
        - `enable`: True to switch it on, False to switch it off.
        - `reason`: text for people to read; default empty.
        - `options`: options of this call, over the client's.
        """
        query: Parameters = (("enable", "true" if enable else "false"),)
        path = path_of("agent", "service", "maintenance", service_id)
        await self._put(path, options, query=(*query, ("reason", reason)) if reason else query)

    async def check_pass(self, check_id: str, *, note: str = "", options: Options | None = None) -> None:
        """
        Set a TTL check to passing, for as long as its TTL.

        `PUT /v1/agent/check/pass/:id`.

        - `check_id`: id of the check. Raises NotFound for an unknown one (BadRequest on Consul 1.8).
        - `note`: text for people to read; default empty.
        - `options`: options of this call, over the client's.
        """
        await self._check("pass", check_id, note, options)

    async def check_warn(self, check_id: str, *, note: str = "", options: Options | None = None) -> None:
        """
        Set a TTL check to warning, for as long as its TTL.

        `PUT /v1/agent/check/warn/:id`.

        - `check_id`: id of the check. Raises NotFound for an unknown one (BadRequest on Consul 1.8).
        - `note`: text for people to read; default empty.
        - `options`: options of this call, over the client's.
        """
        await self._check("warn", check_id, note, options)

    async def check_fail(self, check_id: str, *, note: str = "", options: Options | None = None) -> None:
        """
        Set a TTL check to critical.

        `PUT /v1/agent/check/fail/:id`.

        - `check_id`: id of the check. Raises NotFound for an unknown one (BadRequest on Consul 1.8).
        - `note`: text for people to read; default empty.
        - `options`: options of this call, over the client's.
        """
        await self._check("fail", check_id, note, options)

    async def info(self, *, options: Options | None = None) -> AgentInfo:
        """
        Read the agent's version, datacenter and node, and whether Connect is on.

        `GET /v1/agent/self`. Needs `agent:read`. `options` are those of this call, over the client's.
        """
        request = Request(method="GET", path=path_of("agent", "self"), decode=_info)
        return await self._call(request, options)

    async def _check(self, verb: str, check_id: str, note: str, options: Options | None) -> None:
        await self._put(path_of("agent", "check", verb, check_id), options, query=(("note", note),) if note else ())

    async def _put(
        self, path: str, options: Options | None, *, query: Parameters = (), body: bytes | None = None
    ) -> None:
        request = Request(
            method="PUT", path=path, query=query, body=body, decode=read_nothing, read=False, accepted_options=_TENANCY
        )
        await self._call(request, options)


def _check_shape(
    name: str, kind: ServiceKind | None, *, native: bool, sidecar: Sidecar | None, proxy: Proxy | None, at: bool
) -> None:
    """Raise InvalidRequest for what some versions of Consul refuse, and others store without effect."""
    if not name:
        raise InvalidRequest("name: a service needs one")
    if sum((kind is not None, native, sidecar is not None)) > 1:
        raise InvalidRequest("give only one of kind, native and sidecar")
    if kind == "connect-proxy" and not (proxy and proxy.destination_service_name):
        raise InvalidRequest("a connect-proxy needs a proxy with a destination_service_name")
    if proxy is not None and kind is None:
        raise InvalidRequest("proxy belongs to a kind; the proxy of a sidecar is given as Sidecar(proxy=…)")
    if (native or kind == "connect-proxy") and not at:
        raise InvalidRequest("a native service and a connect-proxy need a port or a socket_path")


def _roots(response: Response) -> Roots:
    return read_roots(response.body)


_SERVERS_ROOTS = Request(
    method="GET", path=path_of("connect", "ca", "roots"), decode=_roots, accepted_options=frozenset({"datacenter"})
)


def _leaf(response: Response) -> Leaf:
    return read_leaf(response.body)


def _one_leaf(leaf: Leaf) -> Mapping[Hashable, Leaf]:
    return {leaf.key: leaf}


def _replaces(old: Leaf, new: Leaf, roots: object) -> bool:
    """
    Return True if the leaf `new` takes the place of `old`.

    So it does if it alone is signed by the active root, else if it was issued later; of two that were issued within one
    second the index tells which. Behind one address there may be two agents, each with a leaf of its own.
    """
    active = roots.active if isinstance(roots, Roots) else None
    if active is not None and (signed := new.signed_by(active)) != old.signed_by(active):
        return signed
    return (new.valid_after, new.modify_index) > (old.valid_after, old.modify_index)


def _authorization(response: Response) -> Authorization:
    return read_authorization(response.body)


def _service(response: Response) -> AgentService | None:
    return read_service(response.body)


def _one_service(found: AgentService | None) -> Mapping[Hashable, AgentService]:
    return {} if found is None else {found.key: found}


def _absent() -> AgentService | None:
    return None


def _services(response: Response) -> Mapping[str, AgentService]:
    return read_services(response.body)


def _info(response: Response) -> AgentInfo:
    return read_info(response.body)
