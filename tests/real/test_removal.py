"""A service that no path leads to is removed by the agent itself, because of the check that `deregister` gives it."""

from __future__ import annotations

import asyncio

import pytest
from support.agents import Launcher

from aioconsulconnect.client import Consul


@pytest.mark.slow
@pytest.mark.timeout(240)
async def test_services_that_no_path_leads_to_are_gone_after_two_minutes(own_agent: Launcher) -> None:
    agent = await own_agent()
    for service_id in ("/a", "a//b", "..", "a\u2028b", "a\nb", "plain"):
        sidecar: dict[str, object] = {"SidecarService": {}}
        body = {"Name": "web", "ID": service_id, "Port": 80, "Connect": sidecar}
        await agent.acall("PUT", "/v1/agent/service/register", body)
    async with Consul(agent.url) as consul:
        for service_id in await consul.agent.services():
            if not service_id.endswith("-sidecar-proxy"):
                await consul.agent.deregister(service_id)
        assert "plain" not in await consul.agent.services()
        assert all(instance.status == "critical" for instance in await consul.health.service("web"))
        async with asyncio.timeout(150):
            while await consul.agent.services():
                await asyncio.sleep(1)
        assert await consul.agent.checks() == {}
