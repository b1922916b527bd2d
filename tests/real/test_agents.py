"""The fixtures that the other tests stand on."""

from __future__ import annotations

import pytest
from support.agents import Launcher, RealAgent, RealCluster


def test_a_session_has_one_agent_for_each_binary(real_agent: RealAgent) -> None:
    said = real_agent.call("GET", "/v1/agent/self", token="")["Config"]["Version"]
    assert said.startswith(".".join(map(str, real_agent.version)))


async def test_state_survives_a_restart_of_a_server(own_agent: Launcher) -> None:
    agent = await own_agent(mode="server", acl=True)
    token = await agent.token_with('service_prefix "" { policy = "read" intentions = "write" }')
    body = {"SourceName": "web", "DestinationName": "db", "SourceType": "consul", "Action": "allow"}
    created = await agent.acall("POST", "/v1/connect/intentions", body, token=token)
    url = agent.url
    await agent.restart(kill=True)
    read = await agent.acall("GET", f"/v1/connect/intentions/{created['ID']}", token=token)
    assert (agent.url, read["SourceName"]) == (url, "web")


async def test_a_cluster_elects_another_leader(real_cluster: RealCluster) -> None:
    first = await real_cluster.wait_leader()
    real_cluster.kill(first)
    assert await real_cluster.wait_leader(other_than=first) != first
    await real_cluster.restart(first)
    assert real_cluster.servers[first].running
    with pytest.raises(AssertionError):
        real_cluster.servers[first].start()
