"""The virtual addresses of services in the mesh: 240.0.0.1 and up, the lowest free one first."""

from ipaddress import IPv4Address
from typing import Final

from aioconsulconnect.testing.state.store import Store

_BASE: Final = IPv4Address("240.0.0.0")
_KINDS: Final = ("service-defaults", "service-intentions", "service-resolver", "service-router", "service-splitter")
"""The kinds of entries that give the service of their name an address."""


class VirtualIps:
    """The virtual addresses of one agent's services."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._numbers: dict[str, int] = {}
        self._instances: set[str] = set()
        store.listeners.append(self.entry_changed)

    def entry_changed(self, kind: str, name: str) -> None:
        """Assign or release the address of `name` after its entry of `kind` was written or deleted."""
        if kind in _KINDS and name != "*":
            self._settle(name)

    def use(self, name: str, *, used: bool) -> None:
        """Note whether the service `name` has an instance in the mesh (`used`), which gives it an address."""
        if used:
            self._instances.add(name.lower())
        else:
            self._instances.discard(name.lower())
        self._settle(name)

    def of(self, name: str) -> str | None:
        """The address of a service; None where it has none."""
        number = self._numbers.get(name.lower())
        return str(_BASE + number) if number else None

    def _settle(self, name: str) -> None:
        key = name.lower()
        if key in self._instances or any(self.store.entry(kind, name) for kind in _KINDS):
            taken = set(self._numbers.values())
            self._numbers.setdefault(key, next(n for n in range(1, len(taken) + 2) if n not in taken))
        else:
            self._numbers.pop(key, None)
