"""Services and checks as the agent, the catalog and health show them."""

import hashlib
import json
from typing import Final

from aioconsulconnect.testing.config_entries.central_configuration import PROXY, gateways
from aioconsulconnect.testing.go_json.schema import Field, ListOf, MapOf, Struct
from aioconsulconnect.testing.go_json.shaping import shape
from aioconsulconnect.testing.go_json.values import Object, child, is_list, is_object, text
from aioconsulconnect.testing.handlers import service_shapes as shapes
from aioconsulconnect.testing.handlers.context import AgentContext
from aioconsulconnect.testing.registration.definition_shapes import durations
from aioconsulconnect.testing.state.checks import Check
from aioconsulconnect.testing.state.service_registry import Instance, Node, Registry

_MEMBERS: Final = (
    "Kind",
    "ID",
    "Name",
    "Tags",
    "Address",
    "Weights",
    "Meta",
    "Port",
    "SocketPath",
    "EnableTagOverride",
    "Proxy",
    "Locality",
    "Connect",
)

CHECK_INTERNALS: Final = Struct(
    (
        Field("Interval", "duration"),
        Field("OutputMaxSize", "int"),
        Field("Timeout", "duration"),
        Field("DeregisterCriticalServiceAfter", "duration"),
        Field("HTTP"),
        Field("TLSServerName", since="1.10"),
        Field("TLSSkipVerify", "bool"),
        Field("Header", MapOf(shapes.TEXTS)),
        Field("Method"),
        Field("Body"),
        Field("DisableRedirects", "bool", since="1.16"),
        Field("TCP"),
        Field("TCPUseTLS", "bool", since="1.16"),
        Field("UDP", since="1.16"),
        Field("H2PING", since="1.10"),
        Field("OSService", since="1.16"),
        Field("H2PingUseTLS", "bool", since="1.16"),
        Field("ScriptArgs", shapes.TEXTS),
        Field("DockerContainerID"),
        Field("Shell"),
        Field("GRPC"),
        Field("GRPCUseTLS", "bool"),
        Field("AliasNode"),
        Field("AliasService"),
        Field("SessionName", since="1.22"),
        Field("TTL", "nanoseconds"),
    ),
    shadows=durations("Interval", "Timeout", "DeregisterCriticalServiceAfter", "TTL"),
    lenient=True,
)
"""What a check that was registered in the catalog tells of how it is run; filters do not see it."""
SHOWN_CHECK: Final = shapes.CHECK.with_member(Field("Definition", CHECK_INTERNALS, always=True))
SHOWN_HEALTHY_SERVICE: Final = shapes.HEALTHY_SERVICE.with_member(Field("Checks", ListOf(SHOWN_CHECK), always=True))


class ServiceView:
    """The services of one agent, as its version shows them."""

    def __init__(self, context: AgentContext, registry: Registry) -> None:
        self.context = context
        self.registry = registry

    def agent_service(self, instance: Instance) -> Object:
        """A service as `/v1/agent` shows it."""
        given, facts = instance.resolved, self.context.facts
        service: Object = {**given, "Service": given["Name"], "Datacenter": self.context.datacenter, "Connect": None}
        if text(given, "Kind") not in {PROXY, *gateways(facts)}:
            service["Proxy"] = None
        if child(given, "Connect").get("Native"):
            service["Connect"] = {"Native": True}
        service["Meta"] = child(given, "Meta")
        service["TaggedAddresses"] = given.get("TaggedAddresses") or None
        return shape(service, shapes.AGENT_SERVICE, self.context.facts.version)

    def with_hash(self, service: Object, content: str) -> Object:
        """Copy `service` with `content`, the hash of its content, among its members."""
        return shape({**service, "ContentHash": content}, shapes.AGENT_SERVICE, self.context.facts.version)

    @staticmethod
    def content_hash(service: Object) -> str:
        """The hash of a service, in hexadecimal digits without padding."""
        content = json.dumps(service, sort_keys=True).encode()
        return f"{int.from_bytes(hashlib.blake2b(content, digest_size=8).digest()):x}"

    def node(self, node: Node) -> Object:
        """A node, as the catalog shows it."""
        return {**node.definition, "CreateIndex": node.created, "ModifyIndex": node.modified}

    def _addresses(self, instance: Instance, definition: Object) -> object:
        addresses = dict(child(definition, "TaggedAddresses"))
        virtual = self.registry.addresses.of(instance.destination) if instance.destination else None
        if virtual and self.context.facts.virtual_ips:
            addresses["consul-virtual"] = {"Address": virtual, "Port": definition.get("Port", 0)}
        return addresses or None

    def healthy_service(self, instance: Instance, definition: Object) -> Object:
        """A service as `/v1/health` shows it, with its node and its checks.

        `definition` is that of `instance`, with or without the central configuration.
        """
        service = {
            **definition,
            "Service": definition["Name"],
            "TaggedAddresses": self._addresses(instance, definition),
            "CreateIndex": instance.created,
            "ModifyIndex": instance.modified,
        }
        checks = [*self.node_checks(instance.node), *self._checks(instance)]
        found: Object = {"Node": self.node(instance.node), "Service": service, "Checks": checks}
        return shape(found, SHOWN_HEALTHY_SERVICE, self.context.facts.version)

    def catalog_service(self, instance: Instance, definition: Object, *, merged: bool = False) -> Object:
        """A service as `/v1/catalog` shows it, with its node.

        `definition` is that of `instance`; `merged` is true if central configuration was merged over it once more, and
        of the node there is no more than its name then.
        """
        blank = merged and self.context.facts.merged_nodes_are_blank
        blank = blank and text(definition, "Kind") in {PROXY, *gateways(self.context.facts)}
        node = {"Node": instance.node.name} if blank else self.node(instance.node)
        service: Object = {
            **node,
            **{f"Service{member}": definition.get(member) for member in _MEMBERS},
            "ServiceMeta": child(definition, "Meta"),
            "NodeMeta": node.get("Meta"),
            "ServiceTaggedAddresses": self._addresses(instance, definition),
            "CreateIndex": instance.created,
            "ModifyIndex": instance.modified,
        }
        return shape(service, shapes.CATALOG_SERVICE, self.context.facts.version)

    def is_unreadable(self, instance: Instance) -> bool:
        """True if Consul drops the connection of whoever reads an instance.

        It does so for a null in the Config of a proxy.
        """
        config = child(child(instance.resolved, "Proxy"), "Config")
        return _has_null(config, anywhere=self.context.facts.any_null_ends_reads)

    def check(self, check: Check, instance: Instance, *, shown: bool) -> Object:
        """The `check` of `instance` as the catalog shows it if `shown`, else as the agent shows it."""
        status, output = check.shown if shown else (check.status, check.output)
        timing = check.definition if self.context.facts.checks_tell_interval or check.tells_times else {}
        found: Object = {
            "Node": instance.node.name,
            "CheckID": check.identifier,
            "Name": check.name,
            "Status": status,
            "Notes": check.notes,
            "Output": output,
            "ServiceID": instance.identifier,
            "ServiceName": instance.name,
            "ServiceTags": check.tags,
            "Type": check.kind,
            "Interval": text(timing, "Interval"),
            "Timeout": text(timing, "Timeout"),
            "CreateIndex": check.created if shown else 0,
            "ModifyIndex": check.modified if shown else 0,
            **check.row,
        }
        return shape(found, SHOWN_CHECK, self.context.facts.version)

    def _checks(self, instance: Instance) -> list[Object]:
        return [self.check(each, instance, shown=True) for each in checks_of(instance)]

    def node_checks(self, node: Node) -> list[Object]:
        """The checks of a node itself, as the catalog shows them."""
        found = [*self._checks(node.whole), *([self._serf_health()] if node is self.registry.node else [])]
        return sorted(found, key=lambda check: text(check, "CheckID"))

    def all_checks(self, node: Node) -> list[Object]:
        """Every check on a node, as the catalog shows them in the order of their ids."""
        found = [*self.node_checks(node), *(check for each in self.registry.on(node) for check in self._checks(each))]
        return sorted(found, key=lambda check: text(check, "CheckID"))

    def _serf_health(self) -> Object:
        """The check of the agent's own node, which always passes."""
        found: Object = {
            "Node": self.registry.node.name,
            "CheckID": "serfHealth",
            "Name": "Serf Health Status",
            "Status": "passing",
            "Output": "Agent alive and reachable",
            "ServiceTags": [],
            "CreateIndex": 11,
            "ModifyIndex": 11,
        }
        return shape(found, shapes.CHECK, self.context.facts.version)


def checks_of(instance: Instance, *, in_catalog: bool = True) -> list[Check]:
    """The checks of an `instance` in the order of their ids; with `in_catalog` only those there."""
    return [check for _, check in sorted(instance.checks.items()) if check.in_catalog or not in_catalog]


def _has_null(value: object, *, anywhere: bool) -> bool:
    """True if JSON data has a null as an element of a list, or `anywhere`."""
    if is_object(value):
        return any((anywhere and each is None) or _has_null(each, anywhere=anywhere) for each in value.values())
    return is_list(value) and any(each is None or _has_null(each, anywhere=anywhere) for each in value)
