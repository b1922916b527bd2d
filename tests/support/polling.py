"""A plain client for tests of blocking queries, which sees when a query waits."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import aiohttp

from aioconsulconnect.testing import Agent

INTENTIONS = "/v1/connect/intentions"


class Client:
    """Plain requests, past the library."""

    def __init__(self, agent: Agent, session: aiohttp.ClientSession) -> None:
        self.agent = agent
        self.session = session

    async def ask(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any, dict[str, str]]:
        data = body if isinstance(body, str | None) else json.dumps(body)
        async with self.session.request(method, self.agent.url + path, data=data, headers=headers) as response:
            text = await response.text()
            is_json = response.content_type == "application/json" and text
            return response.status, json.loads(text) if is_json else text, dict(response.headers)

    async def allow(self, source: str, destination: str) -> None:
        """Allow a connection, in the way that the version has."""
        if self.agent.version.startswith("1.8"):
            intention = {"SourceName": source, "DestinationName": destination, "Action": "allow"}
            status, said, _ = await self.ask("POST", INTENTIONS, intention)
        else:
            path = f"{INTENTIONS}/exact?source={source}&destination={destination}"
            status, said, _ = await self.ask("PUT", path, {"Action": "allow"})
        assert status == 200, said

    async def index(self, path: str = INTENTIONS) -> str:
        _, _, headers = await self.ask("GET", path)
        return headers["X-Consul-Index"]

    async def poll(self, path: str, index: str, wait: str) -> "asyncio.Task[tuple[int, Any, dict[str, str]]]":
        """A blocking query, on its way and waiting."""
        before = len(self.agent.polls)
        joint = "&" if "?" in path else "?"
        task = asyncio.create_task(self.ask("GET", f"{path}{joint}index={index}&wait={wait}"))
        await until(lambda: len(self.agent.polls) > before or task.done())
        return task


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.001)


def session() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
