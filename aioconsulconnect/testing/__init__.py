"""An in-process Consul agent for tests, and the names that tests of it use.

`Agent` answers the service-mesh part of Consul's HTTP API as a chosen version does, and holds its state in memory.
`Faults` is what can be made to go wrong between it and a client, each a `Fault`. `Request`, `Unmodelled`, `Poll` and
`View` are what a test reads of it, `Answer` what a route of the test's own answers, `Snapshot` is a state to restore,
`Version` and `Policy` are arguments of it. All of this needs the extra `aioconsulconnect[testing]`.

The module `real_agent` starts a Consul binary instead and needs the standard library alone.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aioconsulconnect.testing.agent import Agent as Agent
    from aioconsulconnect.testing.cluster import Policy as Policy, Snapshot as Snapshot
    from aioconsulconnect.testing.faults import Faults as Faults
    from aioconsulconnect.testing.handlers.context import HeldQuery
    from aioconsulconnect.testing.server.exchange import Fault as Fault
    from aioconsulconnect.testing.server.traffic import Answer as Answer, Request as Request, Unmodelled as Unmodelled
    from aioconsulconnect.testing.state.view import View as View
    from aioconsulconnect.testing.versions import Version as Version

    Poll = HeldQuery
else:
    # Names are imported when they are first used, so that `real_agent` works without the in-process agent's packages.
    _HOMES = {
        "Agent": "agent.Agent",
        "Answer": "server.traffic.Answer",
        "Fault": "server.exchange.Fault",
        "Faults": "faults.Faults",
        "Policy": "cluster.Policy",
        "Poll": "handlers.context.HeldQuery",
        "Request": "server.traffic.Request",
        "Snapshot": "cluster.Snapshot",
        "Unmodelled": "server.traffic.Unmodelled",
        "Version": "versions.Version",
        "View": "state.view.View",
    }
    __all__ = list(_HOMES)

    def __getattr__(name: str) -> object:
        """Import a public name from the module where it lives, when it is first used."""
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        module, _, own_name = _HOMES[name].rpartition(".")
        value: object = getattr(import_module(f"{__name__}.{module}"), own_name)
        globals()[name] = value
        return value

    def __dir__() -> list[str]:
        """List the public names."""
        return [*__all__]
