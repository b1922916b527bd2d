"""What a test of the contract is told of the agent that it runs on."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import uuid4

from aiohttp import ClientSession


@dataclass(frozen=True)
class AgentUnderTest:
    """Where it is, and its version. No test asks for more: `name` is for its messages alone."""

    url: str
    version: tuple[int, int]
    name: str


@dataclass(frozen=True)
class GuardedAgent(AgentUnderTest):
    """An agent with ACLs that denies by default; `management` may do everything."""

    management: str

    async def token(self, rules: str) -> str:
        """The SecretID of a new token with these rules."""
        name = f"p{uuid4().hex}"
        headers = {"X-Consul-Token": self.management}
        async with ClientSession(self.url, headers=headers, raise_for_status=True) as session:
            await session.put("/v1/acl/policy", json={"Name": name, "Rules": rules})
            async with session.put("/v1/acl/token", json={"Policies": [{"Name": name}]}) as answer:
                return str((await answer.json())["SecretID"])
