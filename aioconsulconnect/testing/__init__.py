"""A Consul to test with: an agent in the process that answers as a real one does."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aioconsulconnect.testing.agent import Agent, Policy, Snapshot
    from aioconsulconnect.testing.faults import Faults
    from aioconsulconnect.testing.handlers.context import HeldQuery as Poll
    from aioconsulconnect.testing.server.exchange import Fault
    from aioconsulconnect.testing.server.frontend import Request
    from aioconsulconnect.testing.state.view import View
    from aioconsulconnect.testing.versions import Version

__all__ = ["Agent", "Fault", "Faults", "Policy", "Poll", "Request", "Snapshot", "Version", "View"]

# A name is imported when it is first used: `real_agent` needs none of what the in-process agent is built on.
_HOMES = {
    "Agent": ("agent", "Agent"),
    "Fault": ("server.exchange", "Fault"),
    "Faults": ("faults", "Faults"),
    "Policy": ("agent", "Policy"),
    "Poll": ("handlers.context", "HeldQuery"),
    "Request": ("server.frontend", "Request"),
    "Snapshot": ("agent", "Snapshot"),
    "Version": ("versions", "Version"),
    "View": ("state.view", "View"),
}


def __getattr__(name: str) -> object:
    """The public name, from the module where it lives."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, own_name = _HOMES[name]
    value: object = getattr(import_module(f"{__name__}.{module}"), own_name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """The public names."""
    return [*__all__]
