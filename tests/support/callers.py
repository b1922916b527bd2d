"""Callers of one agent for tests: plain requests with a token, past the library."""

import asyncio
import json
from typing import Any

import aiohttp
from support.versions import VERSIONS

from aioconsulconnect.testing import Agent

REGISTER = "/v1/agent/service/register"
NEWER = VERSIONS[VERSIONS.index("1.16") :]
SIDECAR = {"Name": "web", "Port": 80, "Tags": ["a"], "Meta": {"v": "1"}, "Connect": {"SidecarService": {}}}


class Caller:
    """Sends requests to one agent."""

    def __init__(self, session: aiohttp.ClientSession, agent: Agent, token: str = "") -> None:
        self.session = session
        self.agent = agent
        self.token = token
        self.headers: dict[str, str] = {}

    async def __call__(self, method: str, path: str, body: Any = None, status: int = 200) -> Any:
        """The answer: JSON where it is, else text."""
        token = {"X-Consul-Token": self.token} if self.token else {}
        async with self.session.request(method, self.agent.url + path, json=body, headers=token) as answer:
            text = await answer.text()
            assert answer.status == status, text
            self.headers = dict(answer.headers)
            return json.loads(text) if text and answer.content_type == "application/json" else text

    @property
    def index(self) -> int:
        """The index of the last answer."""
        return int(self.headers["X-Consul-Index"])

    def blocking(self, path: str, index: int, wait: str = "10s") -> "asyncio.Task[Any]":
        """A poll that waits."""
        return asyncio.create_task(
            Caller(self.session, self.agent, self.token)("GET", f"{path}?index={index}&wait={wait}")
        )

    async def waiting(self, count: int = 1) -> None:
        """Until so many polls wait."""
        async with asyncio.timeout(5):
            while len(self.agent.polls) < count:
                await asyncio.sleep(0.002)


async def made(session: aiohttp.ClientSession, agent: Agent, rules: str) -> Caller:
    """A caller with a token of these rules."""
    manager = Caller(session, agent, agent.management_token)
    policy = await manager("PUT", "/v1/acl/policy", {"Name": f"p{len(rules)}", "Rules": rules})
    token = await manager("PUT", "/v1/acl/token", {"Policies": [{"ID": policy["ID"]}]})
    return Caller(session, agent, token["SecretID"])
