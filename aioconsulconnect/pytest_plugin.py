"""
pytest fixtures that give a test a Consul agent and a client of it.

pytest finds them by itself; the in-process agent needs the extra `aioconsulconnect[testing]`.

- `consul_agent`: an in-process agent (`aioconsulconnect.testing.Agent`) of the newest version. A marker passes it other
  arguments: `@pytest.mark.consul_agent(version="1.10", acl=True)`, or `tls=True`, `default_policy="deny"`, ….
- `consul_agent_module`, `consul_agent_session`: the same for all tests of a module or of the whole run. Its `reset`
  makes it new. The marker counts on the module; for the session a fixture of your own sets other arguments.
- `consul`: an open `Consul` client of that agent, with its management token where it has one.
- `consul_faults`: the faults that the agent can simulate: `consul_faults.no_leader()`, `consul_faults.cut_at(0.1)`, ….
- `real_consul`: the URL of a real agent in development mode, started for this test alone. The binary is looked for in
  CONSUL_BINARIES, on the PATH and at `.consul/consul`; where there is none, the test is skipped.

While a test has one of them, the CONSUL_* variables lead to that agent (to the one that was started last), and no other
is set. So a tested program that calls `Consul()` reaches it, and no test writes to an agent in use.

The agents run in a thread of their own: tests may be plain functions, or asynchronous under any plugin and in a loop of
any scope. `consul` alone is asynchronous, for pytest-asyncio in either mode and for anyio's plugin on asyncio. Under a
test that fails stand the requests that the in-process agent answered with 501, because it does not model them.
"""

# pytest imports this at each start, wherever the package is installed: nothing heavy before a fixture is used.

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Generator, Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from aioconsulconnect import Consul
    from aioconsulconnect.testing import Agent, Faults

if TYPE_CHECKING or find_spec("pytest_asyncio"):
    from pytest_asyncio import fixture as async_fixture  # in its strict mode it takes no other
else:
    async_fixture = pytest.fixture

_VARIABLES = (
    "CONSUL_HTTP_ADDR",
    "CONSUL_HTTP_TOKEN",
    "CONSUL_HTTP_TOKEN_FILE",
    "CONSUL_HTTP_AUTH",
    "CONSUL_HTTP_SSL",
    "CONSUL_HTTP_SSL_VERIFY",
    "CONSUL_CACERT",
    "CONSUL_CAPATH",
    "CONSUL_CLIENT_CERT",
    "CONSUL_CLIENT_KEY",
    "CONSUL_TLS_SERVER_NAME",
    "CONSUL_NAMESPACE",
    "CONSUL_PARTITION",
)


class _Variables:
    """The CONSUL_* variables: those of the agent that was started last of those that live; at the end the user's own.

    Agents of different scopes end in any order.
    """

    def __init__(self) -> None:
        self._theirs: dict[str, str] = {}
        self._leading: list[Mapping[str, str]] = []

    @contextmanager
    def lead(self, variables: Mapping[str, str]) -> Generator[None]:
        """Set these CONSUL_* variables and no others, until the end of the context."""
        own = dict(variables)
        if not self._leading:
            self._theirs = {name: os.environ[name] for name in _VARIABLES if name in os.environ}
        self._leading.append(own)
        self._apply()
        try:
            yield
        finally:
            self._leading = [each for each in self._leading if each is not own]
            self._apply()

    def _apply(self) -> None:
        now = self._leading[-1] if self._leading else self._theirs
        for name in _VARIABLES:
            os.environ.pop(name, None)
        os.environ.update(now)


_RUNNING: pytest.StashKey[list[Agent]] = pytest.StashKey()
"""The agents that run now."""
_BEFORE: pytest.StashKey[dict[Agent, int]] = pytest.StashKey()
"""The number of the last request before the test that is not modelled, by agent."""
_VARIABLES_OF_RUN: pytest.StashKey[_Variables] = pytest.StashKey()
"""The variables of whoever runs the tests, and those in force."""


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker `consul_agent`."""
    config.addinivalue_line(
        "markers",
        "consul_agent(version, acl, tls, ...): what the fixture `consul_agent` gives to aioconsulconnect.testing.Agent",
    )


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Note what the agents that live longer were asked before this test."""
    item.stash[_BEFORE] = {
        agent: max((each.number for each in agent.unmodelled), default=0) for agent in _running_now(item)
    }


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show under a failed test what it asked that the in-process agent does not model."""
    report = yield
    if report.failed:
        before = item.stash[_BEFORE]
        lines = [
            str(each) for agent in _running_now(item) for each in agent.unmodelled if each.number > before.get(agent, 0)
        ]
        if lines:
            report.sections.append(("not modelled by the in-process agent", "\n".join(dict.fromkeys(lines))))
    return report


def _running_now(item: pytest.Item) -> list[Agent]:
    return item.config.stash[_RUNNING] if _RUNNING in item.config.stash else []  # noqa: SIM401 - its type would be unknown


@pytest.fixture
def consul_agent(request: pytest.FixtureRequest) -> Iterator[Agent]:
    """An in-process Consul agent for one test; the marker `consul_agent` sets its arguments."""
    with _running(request) as agent:
        yield agent


@pytest.fixture(scope="module")
def consul_agent_module(request: pytest.FixtureRequest) -> Iterator[Agent]:
    """An in-process Consul agent for a module; the marker `consul_agent` of the module sets its arguments."""
    with _running(request) as agent:
        yield agent


@pytest.fixture(scope="session")
def consul_agent_session(request: pytest.FixtureRequest) -> Iterator[Agent]:
    """An in-process Consul agent of the newest version for all tests."""
    with _running(request) as agent:
        yield agent


@contextmanager
def _running(request: pytest.FixtureRequest) -> Generator[Agent]:
    """Run an in-process agent, to which the CONSUL_* variables lead."""
    try:
        from aioconsulconnect.testing import Agent  # noqa: PLC0415 - only when a test asks for it
    except ImportError as error:
        pytest.fail(f"the in-process agent needs pip install 'aioconsulconnect[testing]': {error}", pytrace=False)
    marker = request.node.get_closest_marker("consul_agent")
    running = request.config.stash.setdefault(_RUNNING, [])
    variables = _variables_of(request)
    with Agent(*marker.args, **marker.kwargs) if marker else Agent() as agent, variables.lead(agent.environment):
        running.append(agent)
        yield agent
        running.remove(agent)


def _variables_of(request: pytest.FixtureRequest) -> _Variables:
    return request.config.stash.setdefault(_VARIABLES_OF_RUN, _Variables())


@async_fixture
async def consul(consul_agent: Agent) -> AsyncIterator[Consul]:  # noqa: ARG001 - the variables lead to it
    """An open client of `consul_agent`."""
    from aioconsulconnect import Consul  # noqa: PLC0415 - only when a test asks for it

    async with Consul() as client:
        yield client


@pytest.fixture
def consul_faults(consul_agent: Agent) -> Faults:
    """The faults that `consul_agent` can simulate."""
    return consul_agent.faults


@pytest.fixture
def real_consul(request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of a real Consul agent for one test; skips the test where there is no binary."""
    from aioconsulconnect.testing.real_agent import RealAgent, find_binary  # noqa: PLC0415 - only when a test needs it

    try:
        binary = find_binary()
    except FileNotFoundError as error:
        pytest.skip(str(error))
    variables = _variables_of(request)
    with variables.lead({}), RealAgent(binary) as agent, variables.lead({"CONSUL_HTTP_ADDR": agent.url}):
        yield agent.url
