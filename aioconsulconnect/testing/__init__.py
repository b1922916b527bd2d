"""A Consul to test with: an agent in the process that cannot be told from the real one."""

from aioconsulconnect.testing.agent import Agent, Policy, Snapshot, Version
from aioconsulconnect.testing.faults import Faults
from aioconsulconnect.testing.handlers.context import Poll
from aioconsulconnect.testing.server.exchange import Fault
from aioconsulconnect.testing.server.frontend import Request
from aioconsulconnect.testing.state.view import View

__all__ = ["Agent", "Fault", "Faults", "Policy", "Poll", "Request", "Snapshot", "Version", "View"]
