"""A real agent that is started anew with ACLs, which then hide intentions from an authorizer for all destinations."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest
from support.agents import MANAGEMENT, Launcher, RealAgent

from aioconsulconnect.authorization.rules.verdict import Reason
from aioconsulconnect.client import Consul
from aioconsulconnect.errors import NotReady, PermissionDenied
from aioconsulconnect.testing.real_agent import merged

ANONYMOUS = "00000000-0000-0000-0000-000000000002"
HIDES_ALL = 'service_prefix "" { policy = "read", intentions = "deny" }'


async def as_owner(agent: RealAgent, method: str, path: str, body: object) -> Any:
    """A request with all rights, as soon as the agent knows the token that has them."""
    async with asyncio.timeout(20):
        while True:
            try:
                return await agent.acall(method, path, body, token=MANAGEMENT)
            except OSError:
                await asyncio.sleep(0.1)


async def test_all_is_denied_where_new_acls_hide_intentions_and_the_list_stays_the_same(own_agent: Launcher) -> None:
    agent = await own_agent(mode="server")
    async with Consul(agent.url) as consul, consul.authorizer() as authorizer:
        assert authorizer.check("evil", "db").by_default
        management = "initial_management" if agent.version >= (1, 11) else "master"
        acl = {"enabled": True, "default_policy": "allow", "tokens": {management: MANAGEMENT}}
        agent.configure(merged(agent.config, {"acl": acl}))
        await agent.restart(kill=True)
        await authorizer.until(
            lambda: authorizer.status.state == "incomplete" and authorizer.status.visibility.acls, 20
        )
        await as_owner(agent, "PUT", "/v1/acl/policy", {"Name": "hides", "Rules": HIDES_ALL})
        await as_owner(agent, "PUT", f"/v1/acl/token/{ANONYMOUS}", {"Policies": [{"Name": "hides"}]})
        denial = {"SourceName": "evil", "DestinationName": "db", "Action": "deny"}
        await as_owner(agent, "POST", "/v1/connect/intentions", denial)
        with contextlib.suppress(PermissionDenied):
            assert await consul.intentions.list() == ()
        with pytest.raises(NotReady):
            await authorizer.until(lambda: authorizer.check("evil", "db").reason is not Reason.INCOMPLETE, 2)
