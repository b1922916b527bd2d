"""The intentions of an agent, wherever its version keeps them."""

from typing import Protocol

from aioconsulconnect.testing.go_json.values import Object
from aioconsulconnect.testing.state.entry_intentions import EntryIntentionStore
from aioconsulconnect.testing.state.store import Store
from aioconsulconnect.testing.state.table_intentions import TableIntentionStore
from aioconsulconnect.testing.versions import VersionFacts


class IntentionStore(Protocol):
    """The intentions of an agent, wherever its version keeps them."""

    def index(self) -> int:
        """The index of the table."""
        ...

    def all(self) -> list[Object]:
        """Every intention, in order."""
        ...

    def list_keys(self) -> tuple[str, ...]:
        """What wakes a list."""
        ...

    def to(self, name: str, namespace: str = "default") -> list[Object]:
        """The intentions whose destination is a service or everything."""
        ...

    def by(self, name: str, namespace: str = "default") -> list[Object]:
        """The intentions whose source is a service or everything."""
        ...

    def match_keys(self, side: str, name: str) -> tuple[str, ...]:
        """What may change a match."""
        ...

    def get(self, identifier: str) -> Object | None:
        """The intention of a uuid."""
        ...

    def create(self, intention: Object) -> str:
        """Add an intention with a uuid of its own."""
        ...

    def update(self, before: Object, intention: Object) -> None:
        """Replace an intention under its uuid."""
        ...

    def delete(self, intention: Object) -> None:
        """Delete an intention that has a uuid."""
        ...


def intention_store_of(store: Store, facts: VersionFacts) -> IntentionStore:
    """The store of intentions that the version has."""
    return (EntryIntentionStore if facts.intentions_are_entries else TableIntentionStore)(store, facts)
