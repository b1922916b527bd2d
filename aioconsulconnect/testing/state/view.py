"""A view of the state of an agent, for a test to read."""

import copy
from dataclasses import dataclass

from aioconsulconnect.testing.agents_thread import AGENTS
from aioconsulconnect.testing.go_json.values import Object
from aioconsulconnect.testing.state.intention_store import IntentionStore
from aioconsulconnect.testing.state.service_registry import Registry
from aioconsulconnect.testing.state.store import Store


@dataclass(frozen=True, slots=True)
class View:
    """The state of an in-process agent, to read; everything in it is a copy."""

    _store: Store
    _intentions: IntentionStore
    _registry: Registry

    @property
    def index(self) -> int:
        """The index of the last write."""
        return self._store.index

    @property
    def intentions(self) -> list[Object]:
        """Every intention as the list endpoint shows it, in the order of evaluation."""
        return AGENTS.call(lambda: copy.deepcopy(self._intentions.all()))

    @property
    def entries(self) -> list[Object]:
        """Every configuration entry, in the order of kinds and names."""
        return AGENTS.call(lambda: copy.deepcopy([entry for _, entry in sorted(self._store.entries.items())]))

    @property
    def services(self) -> dict[str, Object]:
        """Every service of the agent by its id, as it was registered."""
        return AGENTS.call(lambda: {each.identifier: copy.deepcopy(each.definition) for each in self._registry.all()})

    @property
    def checks(self) -> dict[str, tuple[str, str]]:
        """The status and the output of every check by its id."""

        def found() -> dict[str, tuple[str, str]]:
            checks = (check for each in self._registry.all() for check in each.checks.values())
            return {check.identifier: (check.status, check.output) for check in checks}

        return AGENTS.call(found)
