"""A Consul to test with: an agent in the process that answers as a real one does."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aioconsulconnect.testing.agent import Agent as Agent, Policy as Policy, Snapshot as Snapshot
    from aioconsulconnect.testing.faults import Faults as Faults
    from aioconsulconnect.testing.handlers.context import HeldQuery
    from aioconsulconnect.testing.server.exchange import Fault as Fault
    from aioconsulconnect.testing.server.frontend import Request as Request
    from aioconsulconnect.testing.state.view import View as View
    from aioconsulconnect.testing.versions import Version as Version

    Poll = HeldQuery
else:
    # A name is imported when it is first used: `real_agent` needs none of what the in-process agent is built on.
    _HOMES = {
        "Agent": "agent.Agent",
        "Fault": "server.exchange.Fault",
        "Faults": "faults.Faults",
        "Policy": "agent.Policy",
        "Poll": "handlers.context.HeldQuery",
        "Request": "server.frontend.Request",
        "Snapshot": "agent.Snapshot",
        "Version": "versions.Version",
        "View": "state.view.View",
    }
    __all__ = list(_HOMES)

    def __getattr__(name: str) -> object:
        """The public name, from the module where it lives."""
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        module, _, own_name = _HOMES[name].rpartition(".")
        value: object = getattr(import_module(f"{__name__}.{module}"), own_name)
        globals()[name] = value
        return value

    def __dir__() -> list[str]:
        """The public names."""
        return [*__all__]
