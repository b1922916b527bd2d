"""Intentions of 1.8: a table of their own, each with a uuid."""

import uuid
from typing import Final

from aioconsulconnect.testing.config_entries.intention_precedence import digest, order, precedence
from aioconsulconnect.testing.config_entries.intention_rules import legacy_complaints
from aioconsulconnect.testing.go_json.errors import errors
from aioconsulconnect.testing.go_json.scalars import now
from aioconsulconnect.testing.go_json.values import Object, child, number, text
from aioconsulconnect.testing.protocol.names import check_uuid
from aioconsulconnect.testing.protocol.refusals import refused_by_server
from aioconsulconnect.testing.state.store import Key, Store
from aioconsulconnect.testing.version_facts import VersionFacts

_TABLE: Final = "intentions"


class TableIntentionStore:
    """The intentions of an agent that keeps them in a table of their own."""

    def __init__(self, store: Store, facts: VersionFacts) -> None:
        self.store = store
        self.facts = facts
        self._rows: dict[str, Object] = {}

    def state(self) -> dict[str, Object]:
        """Copy the table for a snapshot."""
        return dict(self._rows)

    def load(self, state: dict[str, Object]) -> None:
        """Restore the table of a snapshot."""
        self._rows = dict(state)

    def index(self) -> int:
        """The index of the table of intentions."""
        return self.store.touched(_TABLE)

    def all(self) -> list[Object]:
        """Every intention, in the order of evaluation."""
        return sorted(self._rows.values(), key=order)

    def list_keys(self) -> tuple[Key, ...]:
        """The keys that wake a list: any intention does."""
        return (_TABLE,)

    def match_keys(self, side: str, name: str) -> tuple[Key, ...]:  # noqa: ARG002 - any intention wakes any match
        """The keys that wake a match, whatever `side` and `name`: any intention does."""
        return (_TABLE,)

    def to(self, name: str, namespace: str = "default") -> list[Object]:
        """The intentions whose destination is the service `name` in `namespace`, or a wildcard."""
        return self._side("Destination", name, namespace)

    def by(self, name: str, namespace: str = "default") -> list[Object]:
        """The intentions whose source is the service `name` in `namespace`, or a wildcard."""
        return self._side("Source", name, namespace)

    def _side(self, side: str, name: str, namespace: str) -> list[Object]:
        def matches(row: Object) -> bool:
            of, called = text(row, f"{side}NS").lower(), text(row, f"{side}Name").lower()
            return (of == namespace.lower() and called in {name.lower(), "*"}) or (of, called) == ("*", "*")

        return sorted((row for row in self._rows.values() if matches(row)), key=order)

    def get(self, identifier: str) -> Object | None:
        """The intention with a uuid; None where there is none, a refusal where it cannot be one."""
        check_uuid(identifier, self.facts.lookup_of_uuid)
        return self._rows.get(identifier.lower())

    def create(self, intention: Object) -> str:
        """Add an intention, and return the uuid that it got."""
        identifier = str(uuid.uuid4())
        self._put(identifier, intention, None)
        return identifier

    def update(self, before: Object, intention: Object) -> None:
        """Replace the intention `before` by `intention`, under its uuid."""
        self._put(text(before, "ID"), intention, before)

    def _put(self, identifier: str, intention: Object, before: Object | None) -> None:
        if complaints := list(legacy_complaints(intention)):
            raise refused_by_server(errors(complaints))
        same = next((row for row in self.all() if _pair(row) == _pair(intention) and row["ID"] != identifier), None)
        if same is not None:
            raise refused_by_server(f"duplicate intention found: {describe(same)}")
        moment = now()
        row: Object = {
            "ID": identifier,
            "Description": text(intention, "Description"),
            "SourceNS": text(intention, "SourceNS"),
            "SourceName": text(intention, "SourceName"),
            "DestinationNS": text(intention, "DestinationNS"),
            "DestinationName": text(intention, "DestinationName"),
            "SourceType": text(intention, "SourceType"),
            "Action": text(intention, "Action"),
            "DefaultAddr": text(intention, "DefaultAddr"),
            "DefaultPort": number(intention, "DefaultPort"),
            "Meta": dict(sorted(child(intention, "Meta").items())),
        }
        source = text(row, "SourceNS"), text(row, "SourceName")
        row["Precedence"] = precedence(source, (text(row, "DestinationNS"), text(row, "DestinationName")))
        row["CreatedAt"] = before["CreatedAt"] if before else moment
        row["UpdatedAt"] = moment
        row["Hash"] = digest(row)
        index = self.store.write(_TABLE)
        row["CreateIndex"], row["ModifyIndex"] = before["CreateIndex"] if before else index, index
        self._rows[identifier] = row

    def delete(self, intention: Object) -> None:
        """Delete an intention."""
        del self._rows[text(intention, "ID")]
        self.store.write(_TABLE)


def _pair(intention: Object) -> tuple[str, ...]:
    """The names that no two intentions share, in lower case."""
    return tuple(text(intention, key).lower() for key in ("SourceNS", "SourceName", "DestinationNS", "DestinationName"))


def describe(intention: Object) -> str:
    """Write an intention as 1.8 prints it."""
    source = f"{intention['SourceNS']}/{intention['SourceName']}"
    destination = f"{intention['DestinationNS']}/{intention['DestinationName']}"
    action = str(intention["Action"]).upper()
    return f"{action} {source} => {destination} (ID: {intention['ID']}, Precedence: {intention['Precedence']})"
