"""Endpoints under `/v1/agent`: roots, leaf certificates, authorization, services and checks."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

import msgspec

from aioconsulconnect.endpoints.agent_checks import TENANCY, AgentChecks, check_check
from aioconsulconnect.endpoints.arguments import check_new_name, is_odd, mapping, path_to, sequence
from aioconsulconnect.errors import BadRequest, InvalidRequest, UnreadableResponse
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
    check_body,
    read_authorization,
    read_info,
    read_leaf,
    read_service,
    read_services,
)
from aioconsulconnect.structs.ca import Root, Roots, read_roots, roots_by_key, without_active_root
from aioconsulconnect.structs.codec.request_body import refuse_nulls, request_body
from aioconsulconnect.structs.proxy import Locality, Proxy, ServiceKind, TaggedAddress, Weights
from aioconsulconnect.transport.request import Parameters, Request, path_of
from aioconsulconnect.transport.response import Response
from aioconsulconnect.transport.settings.options import NO_OPTIONS, Options
from aioconsulconnect.watch.protocol.spec import WatchSpec
from aioconsulconnect.watch.query import Query

_MAX_PARTS = 3  # partition/namespace/name
_AT_ONCE = 1  # seconds; a TTL that has to expire: only from then on the time in which a check is critical counts
_SOONEST_REMOVAL = 60  # seconds; Consul takes less for as much


class Agent(AgentChecks):
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
        if not isinstance(service, str):
            raise InvalidRequest(f"service takes text, not {service!r:.40}")
        if not service or "/" in service:
            raise InvalidRequest(f"service: Consul makes no certificate for the name {service!r}")
        path = path_of("agent", "connect", "ca", "leaf", service)
        request = Request(method="GET", path=path, decode=_leaf, accepted_options=TENANCY)
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
        if not isinstance(target, str):
            raise InvalidRequest(f"target takes text, not {target!r:.40}")
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
            body=request_body(body),
            decode=_authorization,
            accepted_options=TENANCY,
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

        Raises InvalidRequest for a name or id by which nothing could be read or removed later, for a combination that
        some versions of Consul refuse and others store without effect, for a null in an open map, and for what is no
        sequence or mapping.
        """
        _check_shape(name, kind, native=native, sidecar=sidecar, proxy=proxy, at=bool(port or socket_path))
        checks = sequence("checks", checks, Check)
        for i, check in enumerate(checks):
            check_check(f"checks[{i}]", check)
        _check_names(name, id, sidecar)
        refuse_nulls(sidecar or Sidecar(), "sidecar")
        body = Registration(
            kind=kind or "",
            name=name,
            id=id,
            tags=sequence("tags", tags, str),
            port=port,
            address=address,
            socket_path=socket_path,
            tagged_addresses=mapping("tagged_addresses", tagged_addresses, TaggedAddress),
            meta=mapping("meta", meta, str),
            checks=checks,
            weights=weights,
            enable_tag_override=enable_tag_override,
            proxy=proxy,
            connect=ConnectBody(native=native, sidecar_service=sidecar) if native or sidecar is not None else None,
            locality=locality,
            token=service_token,
        )
        query: Parameters = (("replace-existing-checks", "true"),) if replace_existing_checks else ()
        path = path_of("agent", "service", "register")
        await self._put(path, options, query=query, body=request_body(body))

    async def deregister(self, service_id: str, *, options: Options | None = None) -> None:
        """
        Remove a service from the agent, and its sidecar with it.

        `PUT /v1/agent/service/deregister/:id`. An id that this Consul takes in no path may be registered all the
        same, such as `a//b` before 1.20, or one with a character that is newer than the agent. Its service gets a
        critical check instead, by which the agent removes it after one to two minutes (`PUT /v1/agent/check/register`).

        - `service_id`: id of the instance. Raises NotFound for an unknown one from Consul 1.12, and up to 1.10 where
          ACLs are on; else that is no error.
        - `options`: options of this call, over the client's.
        """
        if not is_odd(service_id) or await self._is_reached(service_id, options):
            try:
                await self._put(path_to("agent", "service", "deregister", name=service_id), options, removes=True)
            except BadRequest as error:
                if error.text:
                    raise  # without a text it is the path that the agent does not take
            else:
                return
        check = Check(
            check_id=f"removal:{service_id}",
            name="Removal of the service",
            ttl=_AT_ONCE,
            status="critical",
            deregister_critical_service_after=_SOONEST_REMOVAL,
        )
        await self._put(path_of("agent", "check", "register"), options, body=check_body(check, service_id, ""))

    async def _is_reached(self, service_id: str, options: Options | None) -> bool:
        """Return True if a path leads to that service, and to no other: a gateway may tidy paths up."""
        if not service_id or not isinstance(service_id, str):
            raise InvalidRequest(f"service_id takes the id of a service, not {service_id!r:.40}")
        if not service_id.isprintable():
            return False
        try:
            await self.service(service_id, options=options)
        except UnreadableResponse:
            return False
        return True

    def service(self, service_id: str, *, options: Options | None = None) -> Query[AgentService | None, AgentService]:
        """
        A service as the agent has it registered, None where there is none.

        `GET /v1/agent/service/:id`. Needs `service:read`. A watch waits for another content hash, so registering the
        same again is no change. While there is none Consul does not block, and the watch reads from time to time.

        - `service_id`: id of the instance.
        - `options`: options of this call, over the client's.

        Raises InvalidRequest for an id that no Consul takes in a path, and UnreadableResponse for one that an older
        Consul does not take (such as `a//b` before 1.20). `services` shows these too.
        """
        path = path_to("agent", "service", name=service_id)
        request = Request(method="GET", path=path, decode=_Service(service_id), accepted_options=TENANCY)
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
            method="GET", path=path_of("agent", "services"), query=query, decode=_services, accepted_options=TENANCY
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

    async def info(self, *, options: Options | None = None) -> AgentInfo:
        """
        Read the agent's version, datacenter and node, and whether Connect is on.

        `GET /v1/agent/self`. Needs `agent:read`. `options` are those of this call, over the client's.
        """
        request = Request(method="GET", path=path_of("agent", "self"), decode=_info)
        return await self._call(request, options)


def _check_shape(
    name: str, kind: ServiceKind | None, *, native: bool, sidecar: Sidecar | None, proxy: Proxy | None, at: bool
) -> None:
    """Raise InvalidRequest for what some versions of Consul refuse, and others store without effect."""
    if not name:
        raise InvalidRequest("name: a service needs one")
    if sum((kind is not None, native, sidecar is not None)) > 1:
        raise InvalidRequest("give only one of kind, native and sidecar")
    for argument, given, of in (("sidecar", sidecar, Sidecar), ("proxy", proxy, Proxy)):
        if given is not None and not isinstance(given, of):
            raise InvalidRequest(f"{argument} takes {of.__name__}, not {given!r:.40}")
    if kind == "connect-proxy" and not (proxy and proxy.destination_service_name):
        raise InvalidRequest("a connect-proxy needs a proxy with a destination_service_name")
    if proxy is not None and kind is None:
        raise InvalidRequest("proxy belongs to a kind; the proxy of a sidecar is given as Sidecar(proxy=…)")
    if (native or kind == "connect-proxy") and not at:
        raise InvalidRequest("a native service and a connect-proxy need a port or a socket_path")


def _check_names(name: str, service_id: str, sidecar: Sidecar | None) -> None:
    """Raise InvalidRequest for a name by which nothing could be read or removed later."""
    check_new_name("name", name)
    if service_id:
        check_new_name("id", service_id)
    if sidecar is not None and sidecar.name:
        check_new_name("sidecar.name", sidecar.name)
    for i, check in enumerate(sequence("sidecar.checks", sidecar.checks, Check) if sidecar else ()):
        check_check(f"sidecar.checks[{i}]", check)


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


class _Service(msgspec.Struct, frozen=True):
    """Reader of a service; two for the same id are equal, so that their watches share a poll."""

    service_id: str

    def __call__(self, response: Response) -> AgentService | None:
        found = read_service(response.body)
        if found.id != self.service_id:
            raise UnreadableResponse(f"the service {found.id!r} came where {self.service_id!r} was asked for")
        return found


def _one_service(found: AgentService | None) -> Mapping[Hashable, AgentService]:
    return {} if found is None else {found.key: found}


def _absent() -> AgentService | None:
    return None


def _services(response: Response) -> Mapping[str, AgentService]:
    return read_services(response.body)


def _info(response: Response) -> AgentInfo:
    return read_info(response.body)
