"""The services and checks of the agent, and the rows of the catalog.

Of the agent's own node, the agent and the catalog share them. Other nodes are in the catalog alone.
"""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from aioconsulconnect.testing.config_entries.central_configuration import PROXY, resolved
from aioconsulconnect.testing.go_json.values import Object, child, number, text
from aioconsulconnect.testing.state.checks import Check, Runner, aliased, make_check
from aioconsulconnect.testing.state.store import Store, row_of
from aioconsulconnect.testing.state.virtual_addresses import VirtualIps
from aioconsulconnect.testing.version_facts import VersionFacts

_CENTRAL: Final = frozenset({"proxy-defaults", "service-defaults"})
MAINTENANCE: Final = "_service_maintenance:"
NODE_MAINTENANCE: Final = "_node_maintenance"
_NO_SERVICE: Final[Object] = {"ID": "", "Name": "", "Tags": []}


@dataclass(slots=True, eq=False)
class Node:
    """A node of the catalog.

    - `definition`: its members as the catalog shows them, without indexes.
    - `created`, `modified`: the indexes of the catalog.
    """

    definition: Object
    created: int = 0
    modified: int = 0
    whole: "Instance" = field(init=False, repr=False)
    """A service without a name, which stands for the node and has the checks of the node itself."""

    def __post_init__(self) -> None:
        self.whole = Instance(_NO_SERVICE, _NO_SERVICE, self)

    @property
    def name(self) -> str:
        """The name of the node."""
        return text(self.definition, "Node")


@dataclass(slots=True, eq=False)
class Instance:
    """A service instance, as it was registered and with the central configuration merged into it.

    - `definition`: as it was registered.
    - `resolved`: with the central configuration.
    - `node`: the node that it is on.
    - `created`, `modified`: the indexes of the catalog.
    - `checks`: its checks by id.
    """

    definition: Object
    resolved: Object
    node: Node
    parent: str = ""
    """The id of the instance whose registration brought this one as its sidecar; empty without one."""
    created: int = 0
    modified: int = 0
    checks: dict[str, Check] = field(default_factory=dict[str, Check])
    in_catalog: bool = True
    """False if the servers refuse the instance, so that only the agent has it."""

    @property
    def identifier(self) -> str:
        """The id of the instance."""
        return text(self.definition, "ID")

    @property
    def name(self) -> str:
        """The name of its service."""
        return text(self.definition, "Name")

    @property
    def destination(self) -> str | None:
        """The service that is reached through this instance in the mesh; None where none is."""
        if text(self.definition, "Kind") == PROXY:
            return text(child(self.definition, "Proxy"), "DestinationServiceName")
        return self.name if child(self.definition, "Connect").get("Native") else None


class Registry:
    """The services of one agent, on `node`, and those of other nodes."""

    def __init__(self, store: Store, facts: VersionFacts, node: Node) -> None:
        self.store = store
        self.facts = facts
        self.node = node
        self.nodes: dict[str, Node] = {node.name.lower(): node}
        """Every node by its name in lower case."""
        self.others: dict[tuple[str, str], Instance] = {}
        """The services that the catalog has and the agent has not, by their node in lower case and their id."""
        self.addresses: VirtualIps = VirtualIps(store)
        self.runner: Runner = Runner(self._reported)
        self._instances: dict[str, Instance] = {}
        self._rows: dict[str, int] = {}
        store.listeners.append(self._entry_changed)
        store.prefixed = frozenset({"served", "meshed", "checked"} if facts.peers else ())
        store.rows["served"] = lambda: [row_of("served", each.name) for each in self.everywhere()]
        store.rows["meshed"] = lambda: [
            row_of("meshed", each.destination) for each in self.everywhere() if each.destination
        ]
        store.rows["checked"] = lambda: [row_of("checked", each.name) for each in self.everywhere() if each.checks]

    async def close(self) -> None:
        """End all checks."""
        for instance in self._checked():
            for check in instance.checks.values():
                self.runner.stop(check)
        await self.runner.close()

    def open(self) -> None:
        """Run the checks of the services that were registered before."""
        for instance in self._checked():
            for check in instance.checks.values():
                self.runner.start(check)

    def _checked(self) -> list[Instance]:
        """Everything that the agent checks: its services, and its node."""
        return [*self.all(), self.node.whole]

    # Reading.

    def get(self, identifier: str) -> Instance | None:
        """The instance with an id; None where there is none."""
        return self._instances.get(identifier)

    def all(self) -> list[Instance]:
        """Every instance of the agent, in the order of their ids."""
        return [self._instances[key] for key in sorted(self._instances)]

    def everywhere(self) -> list[Instance]:
        """Every instance in the catalog, in the order of their nodes and ids."""
        found = [*(each for each in self._instances.values() if each.in_catalog), *self.others.values()]
        return sorted(found, key=lambda each: (each.node.name.lower(), each.identifier))

    def on(self, node: Node) -> list[Instance]:
        """The instances on a node, in the order of their ids."""
        return [each for each in self.everywhere() if each.node is node]

    def named(self, name: str) -> list[Instance]:
        """The instances of a service; the case of its name does not count."""
        return [each for each in self.everywhere() if each.name.lower() == name.lower()]

    def connect(self, name: str) -> list[Instance]:
        """The instances through which a service is reached in the mesh."""
        return [each for each in self.everywhere() if (each.destination or "").lower() == name.lower() != ""]

    def check(self, identifier: str) -> tuple[Instance, Check] | None:
        """The agent's check with an id, and its service or node; None where there is none."""
        found = (each for each in self._checked() if identifier in each.checks)
        return next(((each, each.checks[identifier]) for each in found), None)

    def ports(self) -> set[int]:
        """The ports of all services."""
        return {number(each.definition, "Port") for each in self._instances.values()}

    def index(self, name: str, *, exists: bool, checks: bool) -> int:
        """The index of a service: its own, that of the last service that vanished, or that of the table.

        - `name`: the service.
        - `exists`: true if it has instances.
        - `checks`: true if writes of checks count.
        """
        if not exists and (gone := self.store.touched("extinctions")) > 1:
            return gone
        tables = ("nodes", "services", "checks") if checks else ("nodes", "services")
        return self._rows.get(name.lower()) or self.store.touched(*tables)

    # Writing.

    def register(
        self,
        definition: Object,
        checks: Iterable[Object],
        *,
        replace: bool,
        parent: str = "",
        in_catalog: bool = True,
    ) -> Instance:
        """Register a service, or register it anew; only a change wakes blocking queries.

        - `definition`: the service.
        - `checks`: the definitions of its checks.
        - `replace`: true to drop its other checks, that of maintenance too.
        - `parent`: the id of the instance that it is a sidecar of.
        - `in_catalog`: false if the servers refuse it.
        """
        identifier, name = text(definition, "ID"), text(definition, "Name")
        definitions = list(checks)
        default_ids = [
            f"service:{identifier}{f':{at}' if len(definitions) > 1 else ''}" for at in range(1, len(definitions) + 1)
        ]
        made = [
            make_check(each, identifier, name, default_id)
            for each, default_id in zip(definitions, default_ids, strict=True)
        ]
        before = self._instances.get(identifier)
        merged = resolved(definition, self.store.entry, self.facts)
        instance = Instance(definition, merged, self.node, parent, in_catalog=in_catalog)
        if before is not None:
            instance.created, instance.modified = before.created, before.modified
            instance.checks = dict(before.checks)
        self._instances[identifier] = instance
        others = set(instance.checks) - {check.identifier for check in made}
        dropped = others if replace else set[str]()
        for gone in dropped:
            self.runner.stop(instance.checks.pop(gone))
        added = self._add_checks(instance, made)
        changed = before is None or before.resolved != instance.resolved or before.definition != definition
        if before is not None and before.name != name:
            self._left(before, renamed=True)
        rewritten = bool(made) and self.facts.checks_always_written
        if changed or dropped or added:
            self._written(instance, service=changed, checks=bool(dropped or added or rewritten))
        elif rewritten:
            self.store.write("checks", f"checked/{name.lower()}")
        self._refresh_aliases(instance)
        return instance

    def _add_checks(self, instance: Instance, made: Iterable[Check]) -> bool:
        """Put checks in place of those with their ids, whose state they keep.

        True if the catalog shows something new.
        """
        news = False
        for check in made:
            owner = self.check(check.identifier)
            if owner is not None and owner[0].identifier != instance.identifier:
                self.remove_check(*owner)
            check.tags = instance.definition["Tags"]
            before = instance.checks.get(check.identifier)
            if before is not None:
                self.runner.stop(before)
                check.status, check.output = before.status, before.output
                check.shown = check.status, check.output
                check.created = before.created
            shown = (check.definition, check.shown, check.tags)
            same = before is not None and (before.definition, before.shown, before.tags) == shown
            check.modified = before.modified if same and before else 0
            news = news or not same
            instance.checks[check.identifier] = check
            self.runner.start(check)
        return news

    def deregister(self, instance: Instance) -> None:
        """Remove a service, its checks, and the sidecar that came with it."""
        del self._instances[instance.identifier]
        for check in instance.checks.values():
            self.runner.stop(check)
        self._left(instance)
        if not instance.in_catalog and self._tells():
            self._tell_all()
        for sidecar in [each for each in self.all() if each.parent == instance.identifier]:
            self.deregister(sidecar)

    def add_check(self, instance: Instance, definition: Object) -> None:
        """Add a check to an `instance`, or replace it; `definition` has its id and its name."""
        check = make_check(definition, instance.identifier, instance.name, text(definition, "CheckID"))
        check.tells_times = True
        owner = self.check(check.identifier)
        if owner is not None and owner[0] is not instance:
            self.remove_check(*owner)
            instance.checks[check.identifier] = owner[1]  # It keeps its state.
        if self._add_checks(instance, [check]):
            self._written(instance, service=False, checks=True)
        self._refresh_aliases(instance)

    def remove_check(self, instance: Instance, check: Check) -> None:
        """Take a `check` from an `instance`."""
        self.runner.stop(instance.checks.pop(check.identifier))
        self._written(instance, service=False, checks=True)
        self._refresh_aliases(instance)

    def _remove(self, identifier: str) -> None:
        """Remove the service with an id, if it is still there."""
        if (instance := self._instances.get(identifier)) is not None:
            self.deregister(instance)

    def set_maintenance(self, instance: Instance, reason: str, *, on: bool) -> None:
        """Put `instance` into maintenance if `on`, else take it out; nothing changes if it is so already.

        `reason` becomes the notes of the check that says so. The `whole` of the agent's node stands for the node.
        """
        whole = instance is self.node.whole
        key = NODE_MAINTENANCE if whole else MAINTENANCE + instance.identifier
        if on == (key in instance.checks):
            return
        if on:
            name = "Node Maintenance Mode" if whole else "Service Maintenance Mode"
            check = Check(key, name, instance.identifier, "maintenance", {}, notes=reason)
            check.tags = instance.definition["Tags"]
            check.in_catalog = self._tells()
            instance.checks[key] = check
        else:
            del instance.checks[key]
        self._written(instance, service=False, checks=True)
        self._refresh_aliases(instance)

    def _reported(self, check: Check, status: str, output: str) -> None:
        """Note the result of a check."""
        changed = check.status != status
        check.status, check.output = status, output
        self.runner.remove_in_time(check, lambda: self._remove(check.service_id))
        instance = self._instances.get(check.service_id) if check.service_id else self.node.whole
        if not changed or instance is None:
            return
        if self._tells():
            check.shown = status, output
            check.modified = 0
            self._written(instance, service=False, checks=True)
        self._refresh_aliases(instance)

    def _tells(self) -> bool:
        """True if the agent tells the catalog of checks, which on 1.8 it never reaches after a service is refused."""
        return not self.facts.sync_ends_at_refusal or all(each.in_catalog for each in self._instances.values())

    def _tell_all(self) -> None:
        for instance in self._instances.values():
            for check in instance.checks.values():
                if not check.in_catalog or check.shown[0] != check.status:
                    check.in_catalog, check.shown, check.modified = True, (check.status, check.output), 0
                    self._written(instance, service=False, checks=True)

    def _refresh_aliases(self, of: Instance) -> None:
        whole = self.node.whole
        for instance in self._checked():
            for check in list(instance.checks.values()):
                target = text(check.definition, "AliasService")
                own = target == instance.identifier != ""  # Consul never runs such a check.
                if check.kind == "alias" and not own and (of is whole or target == of.identifier or instance is of):
                    known = self._instances.get(target)
                    self._reported(check, *aliased(check, whole.checks, known.checks if known else None))

    async def run_checks(self) -> None:
        """Run every TCP and HTTP check now."""
        checks = [check for instance in self._checked() for check in instance.checks.values()]
        await asyncio.gather(*(self.runner.run(check) for check in checks))

    def _entry_changed(self, kind: str, _name: str) -> None:
        if kind in _CENTRAL:
            self.refresh()

    def refresh(self) -> None:
        """Merge the central configuration into every service anew."""
        for instance in self.all():
            now = resolved(instance.definition, self.store.entry, self.facts)
            if now != instance.resolved:
                instance.resolved = now
                self._written(instance, service=True, checks=False)

    @staticmethod
    def _keys(instance: Instance) -> list[str]:
        keys = [f"instances/{instance.name.lower()}", f"agent/{instance.identifier}"]
        return [*keys, f"mesh/{instance.destination.lower()}"] if instance.destination else keys

    def write(self, changed: Iterable[Instance], *keys: str, gone: bool = False) -> int:
        """Write `keys` and those of the instances that have `changed` at one new index, and return it.

        It is the index of their services from now on. `gone` says that the instances are no longer there.
        """
        changed = [each for each in changed if each is not each.node.whole]
        service, checks = "services" in keys, any(key.partition("/")[0] == "checks" for key in keys)
        rows = self._names(each for each in changed if each.name.lower() not in self._rows) if service else []
        for each in changed:
            rows += self._rows_of(each, service=service, checks=checks and not (gone and not each.checks))
            rows += self._keys(each)
        index = self.store.write(*keys, *rows)
        self._rows.update((each.name.lower(), index) for each in changed)
        return index

    @staticmethod
    def _names(instances: Iterable[Instance]) -> list[str]:
        """The key of the names of services, if one of `instances` is neither a proxy nor a gateway."""
        return ["names"] if any(not text(each.definition, "Kind") for each in instances) else []

    @staticmethod
    def tables(node: Node, *, services: bool, checks: bool) -> list[str]:
        """The keys of the tables that a write of `services` or `checks` on `node` touches."""
        name = node.name.lower()
        return [*(["services", f"on/{name}"] if services else []), *([f"checks/{name}"] if checks else [])]

    @staticmethod
    def _rows_of(instance: Instance, *, service: bool, checks: bool) -> list[str]:
        """The rows that a write of an instance or of its checks changes, as they are watched by name."""
        name = instance.name.lower()
        meshed = [f"meshed/{instance.destination.lower()}"] if instance.destination else []
        return [*([f"served/{name}", *meshed] if service else []), *([f"checked/{name}"] if checks else [])]

    def _written(self, instance: Instance, *, service: bool, checks: bool) -> None:
        if instance.destination is not None and service:
            self.addresses.use(instance.destination, used=True)
        whole = instance is instance.node.whole
        tables = self.tables(instance.node, services=service, checks=checks)
        if service and not whole and not text(instance.definition, "Kind"):
            tables.append(f"registered/{instance.name.lower()}")
        index = self.write(self.on(instance.node) if whole else [instance], *tables)
        if service:
            instance.created, instance.modified = instance.created or index, index
        for check in instance.checks.values():
            check.created = check.created or index
            check.modified = check.modified or index

    def _left(self, instance: Instance, *, renamed: bool = False) -> None:
        """Note that an instance is gone, or has another name now if `renamed`."""
        self.gone([instance], *self.tables(instance.node, services=True, checks=not renamed), renamed=renamed)
        self._refresh_aliases(instance)

    def gone(self, instances: list[Instance], *keys: str, renamed: bool = False) -> None:
        """Note at one index that `instances` are no longer there, or are `renamed`, and write `keys`."""
        last = [each for each in instances if not self.named(each.name)]
        self.write(instances, *keys, *self._names(last), *(["extinctions"] if last and not renamed else []), gone=True)
        for name in (each.name.lower() for each in last):
            self.addresses.use(name, used=False)  # Its proxies alone would not hold it, nor do they free it.
            self._rows.pop(name, None)
