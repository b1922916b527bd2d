"""`/v1/catalog/register` and `/v1/catalog/deregister`: nodes with their services and checks.

The rules are for other nodes than the agent's own: that one the agent itself keeps in the catalog.
"""

import re
from typing import Final

from aioconsulconnect.testing.go_json.errors import DecodeError, FatalNullError, errors
from aioconsulconnect.testing.go_json.scalars import parse_duration
from aioconsulconnect.testing.go_json.schema import Struct
from aioconsulconnect.testing.go_json.strict_decoder import decode
from aioconsulconnect.testing.go_json.values import Object, child, children, is_list, is_object, number, text
from aioconsulconnect.testing.handlers.context import AgentContext
from aioconsulconnect.testing.handlers.registration_rules import (
    DEFAULT_WEIGHTS,
    complaints,
    meta_complaint,
    weights_complaint,
)
from aioconsulconnect.testing.handlers.tables.registration_shapes import DEREGISTER, REGISTER
from aioconsulconnect.testing.protocol.refusals import Dropped, Refused, failed
from aioconsulconnect.testing.protocol.reply import Reply
from aioconsulconnect.testing.protocol.request import ConsulRequest
from aioconsulconnect.testing.state.acl import Authorizer
from aioconsulconnect.testing.state.checks import Check
from aioconsulconnect.testing.state.tables.nodes import NodeTable

_DECODING: Final = "Request decode failed: "
_ANY_ADDRESS: Final = frozenset({"0.0.0.0", "::"})  # noqa: S104 - refused, not listened on
_UNWORDED: Final = "The in-process agent does not word a wrong type in {}"
_UUID_LENGTH: Final = 36
_TYPES: Final = (
    ("GRPC", "grpc"),
    ("HTTP", "http"),
    ("TCP", "tcp"),
    ("UDP", "udp"),
    ("DockerContainerID", "docker"),
    ("ScriptArgs", "script"),
    ("H2PING", "h2ping"),
    ("OSService", "os_service"),
)
"""The types of checks that have an interval, by the member that makes one."""


class Registrations:
    """The handlers of one agent (`context`) that write its catalog, which is `table`."""

    def __init__(self, context: AgentContext, table: NodeTable) -> None:
        self.context = context
        self.table = table

    async def register(self, request: ConsulRequest) -> Reply:
        """Register a node, a service and checks (`PUT /v1/catalog/register`)."""
        request.enterprise_options()
        body = self._body(request, REGISTER, "RegisterRequest")
        who = self._resolved(request, body)
        node = self._node(body)
        self._refuse_own(text(node, "Node"), text(node, "ID"))
        service = self._service(body, text(node, "Node"))
        one = [child(body, "Check")] if is_object(body.get("Check")) else []
        checks = [self._check(each, body, service) for each in (*children(body, "Checks"), *one)]
        skip = body.get("SkipNodeUpdate") is True
        self._vet(who, node, service, checks, skip=skip)
        for check in checks:
            if not check.identifier:
                raise failed(self.context.facts.nameless_check_text.format(text(node, "Node")))
        self.table.register(node, service, checks, skip=skip)
        return Reply(body=True)

    async def deregister(self, request: ConsulRequest) -> Reply:
        """Remove a service, a check or a whole node (`PUT /v1/catalog/deregister`).

        It is no error if that is not there.
        """
        request.enterprise_options()
        body = self._body(request, DEREGISTER, self.context.facts.alias_struct)
        who = self._resolved(request, body)
        name, service_id, check_id = (text(body, member) for member in ("Node", "ServiceID", "CheckID"))
        if not name:
            raise failed("Must provide node")
        self._refuse_own(name, "")
        instance, check = self.table.service(name, service_id), self.table.check(name, check_id)
        node_write = who.may("node", "write", name)
        acl, unknown = self.context.acl, self.context.facts.unknown_row_text
        if service_id and not node_write:
            if instance is None:
                raise failed(unknown.format("service", service_id))
            acl.require(who, "service", "write", instance.name)
        elif check_id and not node_write:
            if check is None:
                raise failed(unknown.format("check", check_id))
            self._require(who, check[0].name, name)
        elif not node_write:
            raise acl.denied(who, "node:write", name)
        if text(body, "PeerName"):
            return Reply(body=True)
        if service_id:
            if instance is not None:
                self.table.remove_service(instance)
        elif check_id:
            if check is not None:
                self.table.remove_check(*check)
        elif (node := self.table.node(name)) is not None:
            self.table.remove_node(node)
        return Reply(body=True)

    # Reading the body.

    def _body(self, request: ConsulRequest, struct: Struct, owner: str) -> Object:
        try:
            version = self.context.facts.version
            return decode(_readable(request.unprefixed_json()), struct, version, owner)
        except FatalNullError as error:
            raise Dropped from error
        except DecodeError as error:
            words = str(error).replace(".Alias.Address", ".Address")
            if re.search(r'unknown field "namespace"', words, re.IGNORECASE):
                words += " - Namespaces are a Consul Enterprise feature"
            raise Refused(400, _DECODING + words) from error

    def _resolved(self, request: ConsulRequest, body: Object) -> Authorizer:
        """The rights of the request, whose datacenter is that in the body."""
        if text(body, "Datacenter") not in {"", self.context.datacenter}:
            raise failed("No path to datacenter")
        return self.context.acl.resolve(request.token)

    def _refuse_own(self, name: str, identifier: str) -> None:
        context = self.context
        if name.lower() == context.node_name.lower() or identifier.lower() == context.node_id:
            raise Refused(501, "The in-process agent does not model registrations for its own node by others")

    def _node(self, body: Object) -> Object:
        if not text(body, "Node"):
            raise failed("Must provide node")
        if not text(body, "Address") and body.get("SkipNodeUpdate") is not True:
            raise failed("Must provide address if SkipNodeUpdate is not set")
        identifier = text(body, "ID")
        if identifier:
            _check_node_id(identifier)
        parts = (body, child(body, "Service"), child(body, "Check"), *children(body, "Checks"))
        if any(text(part, "PeerName") for part in parts):
            raise failed("cannot register requests with PeerName in them")
        return {
            "ID": identifier,
            "Node": text(body, "Node"),
            "Address": text(body, "Address"),
            "Datacenter": self.context.datacenter,
            "TaggedAddresses": body.get("TaggedAddresses"),
            "Meta": body.get("NodeMeta"),
            "Locality": body.get("Locality"),
        }

    def _service(self, body: Object, node: str) -> Object | None:
        """The service in the body with its defaults; None where there is none."""
        given, facts = body.get("Service"), self.context.facts
        if not is_object(given):
            return None
        if child(given, "Connect").get("SidecarService") is not None:
            raise Refused(501, "The in-process agent models no SidecarService in the catalog, where it means nothing")
        name = text(given, "Service")
        identifier = text(given, "ID") or name
        if identifier and not name:
            raise failed(facts.unnamed_service_text)
        if text(given, "Address") in _ANY_ADDRESS:
            raise failed("Invalid service address")
        proxy = child(given, "Proxy")
        if not all(is_object(each.get("Config", {})) for each in (proxy, *children(proxy, "Upstreams"))):
            raise Refused(501, _UNWORDED.format("Service.Proxy"))
        service: Object = {
            **given,
            "ID": identifier,
            "Name": name,
            "Tags": given.get("Tags") or [],
            "Meta": child(given, "Meta") or None,
            "Weights": DEFAULT_WEIGHTS if weights_complaint(given) else given.get("Weights") or DEFAULT_WEIGHTS,
            "Proxy": proxy,
        }
        if found := list(complaints(service, facts)):
            raise failed(errors(found))
        if wrong := meta_complaint(service):
            where = f"Invalid Service Meta for node {node} and serviceID {identifier}:"
            raise failed("failed inserting service: " + wrong.replace("Invalid Service Meta:", where))
        if not name and facts.nameless_service_text:
            raise failed(facts.nameless_service_text)
        return service

    def _check(self, given: Object, body: Object, service: Object | None) -> Check:
        """A check in the body, with its defaults."""
        node, service_id = text(body, "Node"), text(given, "ServiceID")
        identifier = text(given, "CheckID") or text(given, "Name")
        facts, vetted = self.context.facts, self.context.facts.checks_are_vetted or self.context.acl.enabled
        named = text(given, "Node") or node
        if named != node and not (facts.check_nodes_ignore_case and named.lower() == node.lower()):
            of = f"Node '{text(given, 'Node')}' for check '{identifier}' doesn't match register request node '{node}'"
            raise failed(of if vetted else f'check node "{text(given, "Node")}" does not match node "{node}"')
        row: Object = {
            "Node": named,
            "Name": text(given, "Name"),
            "Status": text(given, "Status") or "critical",
            "Output": text(given, "Output"),
            "Notes": text(given, "Notes"),
            "ServiceTags": given.get("ServiceTags") or [],
            "ServiceName": text(given, "ServiceName"),
            "Type": text(given, "Type") or _type_of(child(given, "Definition")),
            **{member: given[member] for member in ("Interval", "Timeout", "ExposedPort") if member in given},
            "Definition": child(given, "Definition"),
        }
        if service_id:
            known = self.table.service(node, service_id)
            found = service if service and text(service, "ID") == service_id else known.definition if known else None
            if found is None:
                words = facts.unknown_service_of_check_text.format(service_id, identifier)
                unvetted = f'failed inserting check: Missing service registration on node "{node}"'
                raise failed(words if vetted else unvetted)
            row |= {"ServiceName": text(found, "Name"), "ServiceTags": found["Tags"]}
        status = text(row, "Status")
        return Check(identifier, text(row, "Name"), service_id, text(row, "Type"), {}, status=status, row=row)

    # Rights.

    def _vet(self, who: Authorizer, node: Object, service: Object | None, checks: list[Check], *, skip: bool) -> None:
        """Refuse a registration that the token has no right to: of the node, the service, and each check."""
        name, acl = text(node, "Node"), self.context.acl
        if self.table.node(name) is None or (not skip and self.table.changes(node)):
            acl.require(who, "node", "write", name)
        if service is not None:
            acl.require(who, "service", "write", text(service, "Name"))
            before = self.table.service(name, text(service, "ID"))
            if before is not None and before.name != text(service, "Name"):
                acl.require(who, "service", "write", before.name)
                if before.checks:
                    raise Refused(501, "The in-process agent does not model a new name for a service that has checks")
        for check in checks:
            self._require(who, text(check.row, "ServiceName") if check.service_id else "", name)

    def _require(self, who: Authorizer, service: str, node: str) -> None:
        """Refuse a token that may not write checks of a service, or of a node where `service` is empty."""
        self.context.acl.require(who, *(("service", "write", service) if service else ("node", "write", node)))


def _readable(body: object) -> object:
    """The body, unless FatalNullError: for a null among the checks, or in place of a definition or of a proxy."""
    parts = {key.lower(): value for key, value in body.items()} if is_object(body) else {}
    checks = parts.get("checks")
    several = checks if is_list(checks) else []
    opaque = [("proxy", parts.get("service")), *(("definition", each) for each in (parts.get("check"), *several))]
    if None in several or any(
        value is None and key.lower() == name for name, part in opaque if is_object(part) for key, value in part.items()
    ):
        raise FatalNullError
    return body


def _check_node_id(identifier: str) -> None:
    if len(identifier) != _UUID_LENGTH:
        raise failed("Bad node ID: uuid string is wrong length")
    if not re.fullmatch(r".{8}(-.{4}){3}-.{12}", identifier):
        raise failed("Bad node ID: uuid is improperly formatted")
    if wrong := re.search(r"[^0-9a-fA-F-]", identifier):
        raise failed(f"Bad node ID: encoding/hex: invalid byte: U+{ord(wrong[0]):04X} '{wrong[0]}'")


def _type_of(definition: Object) -> str:
    """The type of a check by its definition; empty for one that nobody can run."""
    if parse_duration(text(definition, "Interval") or "0") > 0:
        for member, kind in _TYPES:
            if definition.get(member):
                return kind
    if number(definition, "TTL") > 0:
        return "ttl"
    return "alias" if definition.get("AliasService") or definition.get("AliasNode") else ""
