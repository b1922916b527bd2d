"""The nodes of the catalog, and what others than the agent have registered on them."""

import copy
from collections.abc import Iterable, Mapping
from typing import Final, TypeAlias

from aioconsulconnect.testing.go_json.values import Object, text
from aioconsulconnect.testing.protocol.refusals import refused_by_server
from aioconsulconnect.testing.state.checks import Check
from aioconsulconnect.testing.state.service_registry import Instance, Node, Registry
from aioconsulconnect.testing.version_facts import VersionFacts

State: TypeAlias = tuple[dict[str, Node], dict[tuple[str, str], Instance]]
_ADDRESS: Final = "127.0.0.1"
_UNCOMPARED: Final = {"Node": "", "Locality": None}
"""The members of a node whose change alone is none."""
_SERF: Final = {"serf_protocol_current": "2", "serf_protocol_max": "5", "serf_protocol_min": "1"}


def own_node(facts: VersionFacts, name: str, identifier: str, *, datacenter: str, meta: Mapping[str, str]) -> Object:
    """The agent's own node as the catalog of a version (`facts`) shows it.

    `name`, `identifier`, `datacenter` and `meta` are those of the node.
    """
    version: Object = {"consul-version": facts.release} if facts.node_tells_version else {}
    return {
        "ID": identifier,
        "Node": name,
        "Address": _ADDRESS,
        "Datacenter": datacenter,
        "TaggedAddresses": dict.fromkeys(("lan", "lan_ipv4", "wan", "wan_ipv4"), _ADDRESS),
        "Meta": {"consul-network-segment": "", **version, **meta},
    }


def _consul(node: Node, facts: VersionFacts) -> Instance:
    """The service of the server itself, which is in the catalog and not among those of the agent."""
    replica: Object = {"read_replica": "false"} if facts.servers_tell_replica else {}
    meta: Object = {"non_voter": "false", "raft_version": "3", **replica, **_SERF, "version": facts.release}
    weights = {"Passing": 1, "Warning": 1}
    service: Object = {"ID": "consul", "Name": "consul", "Tags": [], "Meta": meta, "Port": 8300, "Weights": weights}
    return Instance(service, service, node, created=11, modified=11)


class NodeTable:
    """The nodes of one agent's catalog, and the services and checks that were registered there."""

    def __init__(self, registry: Registry) -> None:
        self.registry = registry
        own = registry.node
        registry.others[own.name.lower(), "consul"] = _consul(own, registry.facts)

    def state(self) -> State:
        """Copy what was registered, for a snapshot."""
        own = self.registry.node
        nodes = {name: node for name, node in self.registry.nodes.items() if node is not own}
        return copy.deepcopy((nodes, {key: each for key, each in self.registry.others.items() if each.node is not own}))

    def load(self, state: State) -> None:
        """Restore what was registered from a snapshot."""
        own = self.registry.node
        nodes, others = copy.deepcopy(state)
        kept = {key: each for key, each in self.registry.others.items() if each.node is own}
        self.registry.nodes = {own.name.lower(): own, **nodes}
        self.registry.others = kept | others

    # Reading.

    def node(self, name: str) -> Node | None:
        """The node called `name`, in any case; None where there is none."""
        return self.registry.nodes.get(name.lower())

    def service(self, node: str, identifier: str) -> Instance | None:
        """The service `identifier` that was registered on `node`; None where there is none."""
        return self.registry.others.get((node.lower(), identifier))

    def check(self, node: str, identifier: str) -> tuple[Instance, Check] | None:
        """The check `identifier` on `node`, with its owner; None where there is none.

        The owner is a service, or the `whole` of the node.
        """
        known = self.node(node)
        owners = [known.whole, *self.registry.on(known)] if known else []
        found = (each for each in owners if identifier in each.checks)
        return next(((each, each.checks[identifier]) for each in found), None)

    def changes(self, definition: Object) -> bool:
        """True if a node of this `definition` is not in the catalog as it is."""
        known = self.node(text(definition, "Node"))
        if known is None or (known.name != text(definition, "Node") and self.registry.facts.node_names_keep_case):
            return True
        return {**known.definition, **_UNCOMPARED} != {**definition, **_UNCOMPARED}

    # Writing.

    def register(self, definition: Object, service: Object | None, checks: Iterable[Check], *, skip: bool) -> None:
        """Write a node, a service on it and checks at one index; what is there already is not written.

        - `definition`: the node.
        - `service`: the service, with its defaults; None for none.
        - `checks`: the checks, of the service with their `service_id` or of the node.
        - `skip`: true to leave a node as it is that exists.
        """
        registry, name = self.registry, text(definition, "Node").lower()
        self._make_room(definition)
        node = registry.nodes.get(name) or Node(definition)
        keys: list[str] = []
        changed: list[Instance] = []
        fresh = name not in registry.nodes or (not skip and self.changes(definition))
        if fresh:
            keys.append(f"nodes/{name}")
            changed = registry.on(node)
            node.definition = definition
            registry.nodes[name] = node
        instance = self._placed(node, service) if service else None
        if instance is not None:
            keys += registry.tables(node, services=True, checks=False)
            changed.append(instance)
        news = [check for check in checks if self._add_check(node, check)]
        if news:
            keys.append(f"checks/{name}")
            of_node = any(not check.service_id for check in news)
            ids = {check.service_id for check in news}
            changed += [each for each in registry.on(node) if of_node or each.identifier in ids]
        if not keys:
            return
        index = registry.write(changed, *keys)
        rows: list[Node | Instance | Check] = [*([node] if fresh else []), *([instance] if instance else []), *news]
        for row in rows:
            row.created, row.modified = row.created or index, index

    def _make_room(self, definition: Object) -> None:
        """Refuse a node whose name another one has; a node that has got a new name leaves the old one."""
        identifier, name = text(definition, "ID"), text(definition, "Node")
        holders = (each for each in self.registry.nodes.values() if text(each.definition, "ID") == identifier)
        holder = next(holders, None) if identifier else None
        named = self.node(name)
        if named is not None and identifier and named is not holder:
            taken = text(named.definition, "ID")
            serf = named.whole.checks.get("serfHealth")
            if serf is not None and serf.status != "critical" and (taken or holder is not None):
                where = f" ({text(holder.definition, 'Address')})" if holder else ""
                raise refused_by_server(
                    f'failed inserting node: Error while renaming Node ID: "{identifier}"{where}: Node name {name} is '
                    f"reserved by node {taken} with name {named.name} ({text(named.definition, 'Address')})"
                )
        if holder is not None and holder is not named:
            self.remove_node(holder)

    def _placed(self, node: Node, service: Object) -> Instance | None:
        """Put a service on a node; None where it is there already."""
        key = (node.name.lower(), text(service, "ID"))
        before = self.registry.others.get(key)
        if before is not None and before.definition == service:
            return None
        instance = Instance(service, service, node)
        if before is not None:
            instance.created, instance.checks = before.created, before.checks
        self.registry.others[key] = instance
        if before is not None and (before.name, before.destination) != (instance.name, instance.destination):
            self.registry.gone([before])
        if instance.destination is not None:
            self.registry.addresses.use(instance.destination, used=True)
        return instance

    def _add_check(self, node: Node, check: Check) -> bool:
        """Put a check in place of the one with its id; false where it is there already."""
        owner = self.service(node.name, check.service_id) if check.service_id else node.whole
        found = self.check(node.name, check.identifier)
        if found is not None:
            before_owner, before = found
            if before.row == check.row and before_owner is owner:
                return False
            del before_owner.checks[check.identifier]
            check.created = before.created
        if owner is not None:
            owner.checks[check.identifier] = check
        return True

    def remove_service(self, instance: Instance) -> None:
        """Remove a service and its checks."""
        del self.registry.others[instance.node.name.lower(), instance.identifier]
        self.registry.gone([instance], *self.registry.tables(instance.node, services=True, checks=True))

    def remove_check(self, owner: Instance, check: Check) -> None:
        """Remove a `check` of its `owner`, a service or the `whole` of a node."""
        del owner.checks[check.identifier]
        services = self.registry.on(owner.node) if owner is owner.node.whole else [owner]
        self.registry.write(services, "services", f"checks/{owner.node.name.lower()}")

    def remove_node(self, node: Node) -> None:
        """Remove a node, its services and all their checks."""
        services, name = self.registry.on(node), node.name.lower()
        checks = any(each.checks for each in (node.whole, *services))
        tables = self.registry.tables(node, services=bool(services), checks=checks)
        for each in services:
            del self.registry.others[name, each.identifier]
        del self.registry.nodes[name]
        self.registry.gone(services, *tables, f"nodes/{name}", "node-extinctions")
