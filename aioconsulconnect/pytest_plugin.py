"""
pytest fixtures that give a test a Consul agent and a client of it.

pytest finds them by itself; the in-process agent needs the extra `aioconsulconnect[testing]`.

- `consul_agent`: an in-process agent (`aioconsulconnect.testing.Agent`) of the newest version. A marker passes it other
  arguments: `@pytest.mark.consul_agent(version="1.10", acl=True)`, or `tls=True`, `default_policy="deny"`, ….
- `consul`: an open `Consul` client of that agent, with its management token where it has one.
- `consul_faults`: the faults that the agent can simulate: `consul_faults.no_leader()`, `consul_faults.cut_at(0.1)`, ….
- `real_consul`: the URL of a real agent in development mode, started for this test alone. The binary is looked for in
  CONSUL_BINARIES, on the PATH and at `.consul/consul`; where there is none, the test is skipped.

While a test has one of them, the CONSUL_* variables lead to that agent (to the one that was started last), and no other
is set. So a tested program that calls `Consul()` reaches it, and no test writes to an agent in use.

The fixtures are asynchronous. They work with pytest-asyncio in either mode, and with anyio's plugin on asyncio.
"""

# pytest imports this at each start, wherever the package is installed: nothing heavy before a fixture is used.

from __future__ import annotations

from collections.abc import AsyncIterator, Generator, Mapping
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


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker `consul_agent`."""
    config.addinivalue_line(
        "markers",
        "consul_agent(version, acl, tls, ...): what the fixture `consul_agent` gives to aioconsulconnect.testing.Agent",
    )


@async_fixture
async def consul_agent(request: pytest.FixtureRequest) -> AsyncIterator[Agent]:
    """An in-process Consul agent for one test; the marker `consul_agent` sets its arguments."""
    try:
        from aioconsulconnect.testing import Agent  # noqa: PLC0415 - only when a test asks for it
    except ImportError as error:
        pytest.fail(f"the in-process agent needs pip install 'aioconsulconnect[testing]': {error}", pytrace=False)
    marker = request.node.get_closest_marker("consul_agent")
    async with Agent(*marker.args, **marker.kwargs) if marker else Agent() as agent:
        with _environment(agent.environment):
            yield agent


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


@async_fixture
async def real_consul() -> AsyncIterator[str]:
    """The URL of a real Consul agent for one test; skips the test where there is no binary."""
    from aioconsulconnect.testing.real_agent import RealAgent, find_binary  # noqa: PLC0415 - only when a test needs it

    try:
        binary = find_binary()
    except FileNotFoundError as error:
        pytest.skip(str(error))
    with _environment({}):
        async with RealAgent(binary) as agent:
            with _environment({"CONSUL_HTTP_ADDR": agent.url}):
                yield agent.url


@contextmanager
def _environment(variables: Mapping[str, str]) -> Generator[None]:
    """Set these CONSUL_* variables and no others, until the end of the context."""
    with pytest.MonkeyPatch.context() as environment:
        for name in _VARIABLES:
            environment.delenv(name, raising=False)
        for name, value in variables.items():
            environment.setenv(name, value)
        yield
