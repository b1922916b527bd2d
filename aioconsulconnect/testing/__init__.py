"""A Consul to test with: an agent in the process that answers as a real one does."""

from aioconsulconnect.testing.agent import Agent, Policy, Snapshot
from aioconsulconnect.testing.faults import Faults
from aioconsulconnect.testing.handlers.context import HeldQuery as Poll
from aioconsulconnect.testing.server.exchange import Fault
from aioconsulconnect.testing.server.frontend import Request
from aioconsulconnect.testing.state.view import View
from aioconsulconnect.testing.versions import Version

__all__ = ["Agent", "Fault", "Faults", "Policy", "Poll", "Request", "Snapshot", "Version", "View"]
