"""The services and checks of the agent, and their rows in the catalog.

There is one node, so the agent and the catalog share them.
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
from aioconsulconnect.testing.versions import VersionFacts

_CENTRAL: Final = frozenset({"proxy-defaults", "service-defaults"})
MAINTENANCE: Final = "_service_maintenance:"


@dataclass(slots=True, eq=False)
class Instance:
    """A service instance, as it was registered and with the central configuration merged into it.

    - `definition`: as it was registered.
    - `resolved`: with the central configuration.
    - `created`, `modified`: the indexes of the catalog.
    - `checks`: its checks by id.
    """

    definition: Object
    resolved: Object
    parent: str = ""
    """The id of the instance whose registration brought this one as its sidecar; empty without one."""
    created: int = 0
    modified: int = 0
    checks: dict[str, Check] = field(default_factory=dict[str, Check])

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
    """The services of one agent."""

    def __init__(self, store: Store, facts: VersionFacts) -> None:
        self.store = store
        self.facts = facts
        self.addresses: VirtualIps = VirtualIps(store)
        self.runner: Runner = Runner(self._reported)
        self._instances: dict[str, Instance] = {}
        self._rows: dict[str, int] = {}
        store.listeners.append(self._entry_changed)
        store.prefixed = frozenset({"served", "meshed", "checked"} if facts.peers else ())
        store.rows["served"] = lambda: [row_of("served", name) for name in ("consul", *(i.name for i in self.all()))]
        store.rows["meshed"] = lambda: [row_of("meshed", each.destination) for each in self.all() if each.destination]
        store.rows["checked"] = lambda: [row_of("checked", each.name) for each in self.all() if each.checks]

    async def close(self) -> None:
        """End all checks."""
        for instance in self._instances.values():
            for check in instance.checks.values():
                self.runner.stop(check)
        await self.runner.close()

    def open(self) -> None:
        """Run the checks of the services that were registered before."""
        for instance in self._instances.values():
            for check in instance.checks.values():
                self.runner.start(check)

    # Reading.

    def get(self, identifier: str) -> Instance | None:
        """The instance with an id; None where there is none."""
        return self._instances.get(identifier)

    def all(self) -> list[Instance]:
        """Every instance, in the order of their ids."""
        return [self._instances[key] for key in sorted(self._instances)]

    def named(self, name: str) -> list[Instance]:
        """The instances of a service; the case of its name does not count."""
        return [each for each in self.all() if each.name.lower() == name.lower()]

    def connect(self, name: str) -> list[Instance]:
        """The instances through which a service is reached in the mesh."""
        return [each for each in self.all() if (each.destination or "").lower() == name.lower() != ""]

    def check(self, identifier: str) -> tuple[Instance, Check] | None:
        """The check with an id, and its service; None where there is none."""
        found = (each for each in self._instances.values() if identifier in each.checks)
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

    def register(self, definition: Object, checks: Iterable[Object], *, replace: bool, parent: str = "") -> Instance:
        """Register a service, or register it anew; only a change wakes blocking queries.

        - `definition`: the service.
        - `checks`: the definitions of its checks.
        - `replace`: true to drop its other checks, but for that of maintenance.
        - `parent`: the id of the instance that it is a sidecar of.
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
        parent = parent or (before.parent if before else "")
        instance = Instance(definition, resolved(definition, self.store.entry, self.facts), parent)
        if before is not None:
            instance.created, instance.modified = before.created, before.modified
            instance.checks = dict(before.checks)
        self._instances[identifier] = instance
        others = set(instance.checks) - {check.identifier for check in made}
        dropped = {key for key in others if replace and not key.startswith(MAINTENANCE)}
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
        for sidecar in [each for each in self.all() if each.parent == instance.identifier]:
            self.deregister(sidecar)

    def add_check(self, instance: Instance, definition: Object) -> None:
        """Add a check to an `instance`, or replace it; `definition` has its id and its name."""
        check = make_check(definition, instance.identifier, instance.name, text(definition, "CheckID"))
        owner = self.check(check.identifier)
        if owner is not None and owner[0] is not instance:
            self.remove_check(*owner)
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

        `reason` becomes the notes of the check that says so.
        """
        key = MAINTENANCE + instance.identifier
        if on == (key in instance.checks):
            return
        if on:
            check = Check(key, "Service Maintenance Mode", instance.identifier, "maintenance", {}, notes=reason)
            check.tags = instance.definition["Tags"]
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
        instance = self._instances.get(check.service_id)
        if not changed or instance is None:
            return
        check.shown = status, output
        check.modified = 0
        self._written(instance, service=False, checks=True)
        self._refresh_aliases(instance)

    def _refresh_aliases(self, of: Instance) -> None:
        for instance in self.all():
            for check in list(instance.checks.values()):
                target = text(check.definition, "AliasService")
                if check.kind == "alias" and (target == of.identifier or instance is of):
                    known = self._instances.get(target)
                    others = [each for _, each in sorted(known.checks.items())] if known else []
                    self._reported(check, *aliased(each for each in others if each is not check))

    async def run_checks(self) -> None:
        """Run every TCP and HTTP check now."""
        checks = [check for instance in self.all() for check in instance.checks.values()]
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

    def _keys(self, instance: Instance) -> list[str]:
        keys = [f"instances/{instance.name.lower()}", f"agent/{instance.identifier}"]
        return [*keys, f"mesh/{instance.destination.lower()}"] if instance.destination else keys

    @staticmethod
    def _rows_of(instance: Instance, *, service: bool, checks: bool) -> list[str]:
        """The rows that a write of an instance or of its checks changes, as they are watched by name."""
        name = instance.name.lower()
        meshed = [f"meshed/{instance.destination.lower()}"] if instance.destination else []
        return [*([f"served/{name}", *meshed] if service else []), *([f"checked/{name}"] if checks else [])]

    def _written(self, instance: Instance, *, service: bool, checks: bool) -> None:
        tables = [*(["services"] if service else []), *(["checks"] if checks else [])]
        if instance.destination is not None and service:
            self.addresses.use(instance.destination, used=True)
        rows = self._rows_of(instance, service=service, checks=checks)
        index = self.store.write(*tables, *rows, *self._keys(instance))
        self._rows[instance.name.lower()] = index
        if service:
            instance.created, instance.modified = instance.created or index, index
        for check in instance.checks.values():
            check.created = check.created or index
            check.modified = check.modified or index

    def _left(self, instance: Instance, *, renamed: bool = False) -> None:
        """Note that an instance is gone, or has another name now if `renamed`."""
        last = not self.named(instance.name)
        if instance.destination is not None:
            self.addresses.use(instance.destination, used=bool(self.connect(instance.destination)))
        tables = ["services"] if renamed else ["services", "checks", *(["extinctions"] if last else [])]
        rows = self._rows_of(instance, service=True, checks=bool(instance.checks) and not renamed)
        index = self.store.write(*tables, *rows, *self._keys(instance))
        if last:
            self._rows.pop(instance.name.lower(), None)
        else:
            self._rows[instance.name.lower()] = index
        self._refresh_aliases(instance)
