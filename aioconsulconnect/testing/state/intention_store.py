"""The interface to the intentions of an agent, wherever its version keeps them."""

from typing import Protocol

from aioconsulconnect.testing.go_json.values import Object
from aioconsulconnect.testing.state.entry_intentions import EntryIntentionStore
from aioconsulconnect.testing.state.store import Key, Store
from aioconsulconnect.testing.state.table_intentions import TableIntentionStore
from aioconsulconnect.testing.version_facts import VersionFacts


class IntentionStore(Protocol):
    """The intentions of an agent, in configuration entries or (1.8) in a table of their own."""

    def index(self) -> int:
        """The index of the table that holds the intentions."""
        ...

    def all(self) -> list[Object]:
        """Every intention, in the order of evaluation."""
        ...

    def list_keys(self) -> tuple[Key, ...]:
        """The keys whose writes wake a blocking query for the list."""
        ...

    def to(self, name: str, namespace: str = "default") -> list[Object]:
        """The intentions whose destination is the service `name` in `namespace`, or a wildcard."""
        ...

    def by(self, name: str, namespace: str = "default") -> list[Object]:
        """The intentions whose source is the service `name` in `namespace`, or a wildcard."""
        ...

    def match_keys(self, side: str, name: str) -> tuple[Key, ...]:
        """The keys whose writes wake a blocking query for a match.

        `side` is "source" or "destination", `name` the service.
        """
        ...

    def get(self, identifier: str) -> Object | None:
        """The intention with a uuid; None where there is none, a refusal where it cannot be one."""
        ...

    def create(self, intention: Object) -> str:
        """Add an intention, and return the uuid that it got."""
        ...

    def update(self, before: Object, intention: Object) -> None:
        """Replace the intention `before` by `intention`, under its uuid."""
        ...

    def delete(self, intention: Object) -> None:
        """Delete an intention that has a uuid."""
        ...


def intention_store_of(store: Store, facts: VersionFacts) -> IntentionStore:
    """Make the intention store of the version in `facts`, on `store`."""
    return (EntryIntentionStore if facts.intentions_are_entries else TableIntentionStore)(store, facts)
