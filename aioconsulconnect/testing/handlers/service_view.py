"""Services and checks as the agent, the catalog and health show them."""

import hashlib
import json
from typing import Final

from aioconsulconnect.testing.config_entries.central_configuration import GATEWAYS, PROXY
from aioconsulconnect.testing.go_json.shaping import shape
from aioconsulconnect.testing.go_json.values import Object, child, text
from aioconsulconnect.testing.handlers import service_shapes as shapes
from aioconsulconnect.testing.handlers.context import AgentContext
from aioconsulconnect.testing.state.checks import Check
from aioconsulconnect.testing.state.service_registry import Instance, Registry

_ADDRESS: Final = "127.0.0.1"
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
)


class ServiceView:
    """The services of one agent, as its version shows them."""

    def __init__(self, context: AgentContext, registry: Registry) -> None:
        self.context = context
        self.registry = registry

    def agent_service(self, instance: Instance) -> Object:
        """A service as `/v1/agent` shows it."""
        given = instance.resolved
        service: Object = {**given, "Service": given["Name"], "Datacenter": self.context.datacenter, "Connect": None}
        if text(given, "Kind") not in {PROXY, *GATEWAYS}:
            service["Proxy"] = None
        if child(given, "Connect").get("Native"):
            service["Connect"] = {"Native": True}
        if not given.get("TaggedAddresses"):
            service["TaggedAddresses"] = None
        return shape(service, shapes.AGENT_SERVICE, self.context.facts.version)

    def with_hash(self, service: Object, content: str) -> Object:
        """Copy `service` with `content`, the hash of its content, among its members."""
        return shape({**service, "ContentHash": content}, shapes.AGENT_SERVICE, self.context.facts.version)

    @staticmethod
    def content_hash(service: Object) -> str:
        """The hash of a service, in hexadecimal digits without padding."""
        content = json.dumps(service, sort_keys=True).encode()
        return f"{int.from_bytes(hashlib.blake2b(content, digest_size=8).digest()):x}"

    def node(self) -> Object:
        """The only node, as the catalog shows it."""
        context = self.context
        meta: Object = {"consul-network-segment": ""}
        if context.facts.node_tells_version:
            meta["consul-version"] = context.facts.release
        tagged: Object = {"lan": _ADDRESS, "lan_ipv4": _ADDRESS, "wan": _ADDRESS, "wan_ipv4": _ADDRESS}
        node: Object = {
            "ID": context.node_id,
            "Node": context.node_name,
            "Address": _ADDRESS,
            "Datacenter": context.datacenter,
        }
        return {**node, "TaggedAddresses": tagged, "Meta": meta, "CreateIndex": 11, "ModifyIndex": 12}

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
            "Meta": definition.get("Meta") or None,
            "TaggedAddresses": self._addresses(instance, definition),
            "Connect": {"Native": True} if child(definition, "Connect").get("Native") else {},
            "CreateIndex": instance.created,
            "ModifyIndex": instance.modified,
        }
        checks = [self.serf_health(), *(self.check(each, instance, shown=True) for each in checks_of(instance))]
        found: Object = {"Node": self.node(), "Service": service, "Checks": checks}
        return shape(found, shapes.HEALTHY_SERVICE, self.context.facts.version)

    def catalog_service(self, instance: Instance, definition: Object, *, blank: bool = False) -> Object:
        """A service as `/v1/catalog` shows it, with its node.

        `definition` is that of `instance`, with or without the central configuration; `blank` leaves out the node but
        for its name.
        """
        node = {"Node": self.context.node_name} if blank else self.node()
        service: Object = {
            **node,
            **{f"Service{member}": definition.get(member) for member in _MEMBERS},
            "NodeMeta": node.get("Meta"),
            "ServiceTaggedAddresses": self._addresses(instance, definition),
            "ServiceConnect": {"Native": True} if child(definition, "Connect").get("Native") else {},
            "CreateIndex": instance.created,
            "ModifyIndex": instance.modified,
        }
        return shape(service, shapes.CATALOG_SERVICE, self.context.facts.version)

    def check(self, check: Check, instance: Instance, *, shown: bool) -> Object:
        """The `check` of `instance` as the catalog shows it if `shown`, else as the agent shows it."""
        status, output = check.shown if shown else (check.status, check.output)
        timing = check.definition if self.context.facts.checks_tell_interval else {}
        found: Object = {
            "Node": self.context.node_name,
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
        }
        return shape(found, shapes.CHECK, self.context.facts.version)

    def serf_health(self) -> Object:
        """The check of the node itself, which always passes."""
        found: Object = {
            "Node": self.context.node_name,
            "CheckID": "serfHealth",
            "Name": "Serf Health Status",
            "Status": "passing",
            "Output": "Agent alive and reachable",
            "ServiceTags": [],
            "CreateIndex": 11,
            "ModifyIndex": 11,
        }
        return shape(found, shapes.CHECK, self.context.facts.version)


def checks_of(instance: Instance) -> list[Check]:
    """The checks of a service, in the order of their ids."""
    return [check for _, check in sorted(instance.checks.items())]
