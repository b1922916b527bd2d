"""`/v1/connect/ca` and `/v1/agent/connect`: roots, CA configuration, leaf certificates, authorize."""

import re
import time
from typing import Final
from urllib.parse import unquote

from aioconsulconnect.testing.config_entries.intention_precedence import decides
from aioconsulconnect.testing.go_json.errors import DecodeError
from aioconsulconnect.testing.go_json.scalars import FALSE, TRUE
from aioconsulconnect.testing.go_json.schema import Field, MapOf, Shadow, Struct
from aioconsulconnect.testing.go_json.strict_decoder import decode
from aioconsulconnect.testing.go_json.values import Object, children, text
from aioconsulconnect.testing.handlers.context import AgentContext, Found
from aioconsulconnect.testing.protocol.refusals import Dropped, Refused
from aioconsulconnect.testing.protocol.reply import Meta, Reply, empty
from aioconsulconnect.testing.protocol.request import ConsulRequest
from aioconsulconnect.testing.protocol.urls import parse_url
from aioconsulconnect.testing.state.acl import Authorizer
from aioconsulconnect.testing.state.authority import Leaf
from aioconsulconnect.testing.state.intention_store import IntentionStore
from aioconsulconnect.testing.state.table_intentions import describe

_CONFIGURATION: Final = Struct(
    (
        Field("Provider"),
        Field("Config", MapOf("any"), go_type="map[string]interface {}"),
        Field("State", MapOf("string")),
        Field("ForceWithoutCrossSigning", "bool"),
        Field("CreateIndex", "uint64"),
        Field("ModifyIndex", "uint64"),
    ),
    shadows=(
        Shadow("ForceWithoutCrossSigningSnake", "bool", "ForceWithoutCrossSigning", key="force_without_cross_signing"),
    ),
)
_AUTHORIZE: Final = Struct(
    (Field("Target"), Field("ClientCertURI"), Field("ClientCertSerial")), "structs.ConnectAuthorizeRequest"
)
_PARTITION: Final = r"(?:/ap/(?P<partition>[^/]+))?"
_SERVICE: Final = re.compile(_PARTITION + r"/ns/(?P<namespace>[^/]+)/dc/([^/]+)/svc/(?P<service>[^/]+)")
_AGENT: Final = re.compile(_PARTITION + r"/agent/client/dc/[^/]+/id/[^/]+")
_GATEWAY: Final = re.compile(_PARTITION + r"/gateway/mesh/dc/[^/]+")
_SERVER: Final = re.compile(r"/agent/server/dc/[^/]+")
_LEAF_WAIT: Final = 600.0


class Certificates:
    """The handlers of `/v1/connect/ca` and `/v1/agent/connect` for one agent."""

    def __init__(self, context: AgentContext, intentions: IntentionStore) -> None:
        self.context = context
        self.intentions = intentions

    async def roots(self, request: ConsulRequest) -> Reply:
        """Answer with the roots that the server has, as JSON or PEM (`GET /v1/connect/ca/roots`)."""
        request.read_options()
        context, wanted = self.context, request.first("pem")
        if wanted and wanted not in TRUE | FALSE:
            raise request.bad("The 'pem' query parameter must be a boolean value")

        def query() -> Found[object]:
            context.check_datacenter(request)
            value: object = context.authority.pem().encode() if wanted in TRUE else context.authority.roots_value()
            return Found(value, context.store.touched("roots"), ("roots",))

        found = await context.block(request, query)
        if wanted in TRUE:
            return Reply(found.value, content_type="application/pem-certificate-chain")
        return Reply(found.value, meta=Meta(found.index, known_leader=context.facts.knows_leader_of_roots))

    async def agent_roots(self, request: ConsulRequest) -> Reply:
        """Answer with the roots in the agent's cache (`GET /v1/agent/connect/ca/roots`)."""
        request.read_options()
        context = self.context

        def query() -> Found[Object]:
            context.check_datacenter(request)
            return Found(context.authority.roots_value(), context.store.touched("roots"), ("roots",))

        if context.facts.agent_holds_roots and not request.token:
            context.cached(request, ("roots",))
        cache, age = context.cached(request, ("roots",))
        found = await context.block(request, query, local=True)
        if request.waited:
            cache, age = "MISS", None
        meta = Meta(found.index, known_leader=context.facts.knows_leader_of_roots)
        return Reply(found.value, meta=meta, cache=cache, age=age)

    async def configuration(self, request: ConsulRequest) -> Reply:
        """Answer with the configuration of the CA (`GET /v1/connect/ca/configuration`)."""
        request.read_options()
        self.context.check_datacenter(request)
        self._operator(request)
        return Reply(self.context.authority.configuration())

    async def configure(self, request: ConsulRequest) -> Reply:
        """Replace the configuration of the CA (`PUT /v1/connect/ca/configuration`)."""
        facts = self.context.facts
        value = request.json()
        if value is None:
            raise Dropped
        try:
            wanted = decode(value, _CONFIGURATION, facts.version, "")
        except DecodeError as error:
            raise request.bad(f"Request decode failed: {error}") from error
        self.context.check_datacenter(request)
        self._operator(request)
        self.context.authority.configure(wanted)
        return empty(facts)

    def _operator(self, request: ConsulRequest) -> None:
        who = self.context.acl.resolve(request.token)
        self.context.acl.require(who, "operator", "write")

    async def leaf(self, request: ConsulRequest) -> Reply:
        """Answer with the leaf certificate of a service, one that is held or one signed now.

        `GET /v1/agent/connect/ca/leaf/NAME`. A blocking query waits for 600 seconds unless the request sets the wait.
        """
        request.enterprise_options()
        request.read_options()
        if not request.options.explicit_wait:
            request.options.wait = _LEAF_WAIT
        context, service = self.context, request.rest
        if not service:
            raise Refused(500, context.facts.leaf_without_name)
        held = context.authority.held(service, request.token) is not None
        if context.facts.leaf_minds_datacenter or not held:
            context.check_datacenter(request)
        if context.facts.leaf_minds_token or not held:
            who = context.acl.resolve(request.token)
            if "/" in service:
                raise Refused(500, f"SPIFFE ID is not in the expected format: {context.authority.uri(service)}")
            context.acl.require(who, "service", "write", service)

        def query() -> Found[Leaf]:
            leaf = context.authority.leaf(service, request.token)
            return Found(leaf, leaf.index, (f"leaf/{service}",))

        watched = any(each.path == request.path for each in context.held_queries)
        found = await context.block(request, query, local=True)
        hit = (
            held
            and not request.waited
            and (watched or bool(request.options.index) or not context.facts.leaf_revalidates)
        )
        age = int(time.monotonic() - found.value.fetched) if hit else None
        meta = Meta(found.index, known_leader=None)
        return Reply(found.value.value, meta=meta, cache="HIT" if hit else "MISS", age=age)

    async def authorize(self, request: ConsulRequest) -> Reply:
        """Decide if a client certificate may connect to a service, and answer with the reason.

        `POST /v1/agent/connect/authorize`. An intention with permissions counts as a denial.
        """
        context, facts = self.context, self.context.facts
        request.enterprise_options()
        who = self._authorizer_for(request)
        try:
            body = decode(request.json(), _AUTHORIZE, facts.version, "ConnectAuthorizeRequest")
        except DecodeError as error:
            raise request.bad(f"Request decode failed: {error}") from error
        target = text(body, "Target")
        if not target:
            raise request.bad("Target service must be specified")
        partition, namespace, source = self._client(request, text(body, "ClientCertURI"))
        context.acl.require(who, "service", "write", target)
        if partition.lower() != "default":
            mismatch = f'Mismatched partitions: "{partition}" != "default"'
            if facts.foreign_partition == "refused":
                raise request.bad(mismatch)
            return Reply({"Authorized": False, "Reason": mismatch})
        try:
            context.acl.require(who, "intention", "read", target)
        except Refused as refused:
            raise Refused(403, self._prefixed("failed getting intention match: ", refused.text)) from refused
        request.datacenter = ""  # It asks no other one.
        cache, age = context.cached(request, ("match", "destination", target))
        authorized, reason = self._decide(namespace, source, target)
        return Reply({"Authorized": authorized, "Reason": reason}, cache=cache, age=age)

    def _authorizer_for(self, request: ConsulRequest) -> Authorizer:
        try:
            return self.context.acl.resolve(request.token)
        except Refused as refused:
            raise Refused(
                refused.status, self._prefixed("Could not resolve token to authorizer: ", refused.text)
            ) from refused

    def _prefixed(self, prefix: str, refusal: str) -> str:
        return prefix + refusal if self.context.facts.authorize_error_prefix else refusal

    def _client(self, request: ConsulRequest, uri: str) -> tuple[str, str, str]:
        """The partition, the namespace and the service in a client's SPIFFE URI, or a refusal.

        Trust domain and datacenter are not looked at.
        """
        facts = self.context.facts
        scheme, host, path = parse_url(uri) or ("", "", "")
        if scheme != "spiffe":
            raise request.bad("ClientCertURI not a valid Connect identifier")
        old = facts.foreign_partition == "invalid"
        found = _SERVICE.fullmatch(path)
        if found and not (old and found["partition"]):
            return unquote(found["partition"] or "default"), unquote(found["namespace"]), unquote(found["service"])
        signs = not path and "." in host[1:]
        other = _AGENT.fullmatch(path)
        known = other and not (old and other["partition"])
        newer = not old and (_GATEWAY.fullmatch(path) or _SERVER.fullmatch(path))
        kind = "Service" if signs or known or newer else "Connect"
        raise request.bad(f"ClientCertURI not a valid {kind} identifier")

    def _decide(self, namespace: str, source: str, target: str) -> tuple[bool, str]:
        context, facts = self.context, self.context.facts
        found = decides(self.intentions.to(target), "Source", source, namespace)
        if found is None:
            off = None if context.acl.enabled else facts.authorize_default_reason
            return context.acl.allows_by_default, off or "Default behavior configured by ACLs"
        allowed = text(found, "Action") == "allow"
        if not facts.authorize_reason_names_kind:
            return allowed, f"Matched intention: {describe(found)}"
        sides = f"{found['SourceNS']}/{found['SourceName']} => {found['DestinationNS']}/{found['DestinationName']}"
        identifier = f"ID: {found['ID']}, " if found.get("ID") else ""
        permissions = children(found, "Permissions")
        level, rest = (
            ("L7", f"Permissions: {len(permissions)}")
            if permissions
            else ("L4", f"Action: {text(found, 'Action').upper()}")
        )
        return allowed, f"Matched {level} intention: {sides} ({identifier}Precedence: {found['Precedence']}, {rest})"
