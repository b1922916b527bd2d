"""Nodes, node checks and keys are answered as by real agents, request for request."""

from support.agents import Launcher
from support.scripts import differences
from support.versions import VERSIONS

from aioconsulconnect.testing import Agent


async def test_nodes_checks_and_keys_are_answered_as_by_a_real_agent(own_agent: Launcher) -> None:
    major, minor = own_agent.binary.version
    version = next(each for each in VERSIONS if each == f"{major}.{minor}")
    real = await own_agent(config={"node_name": "box"})
    async with Agent(version, node_name="box") as agent:
        assert await differences("tables", agent.url, real.url) == []
