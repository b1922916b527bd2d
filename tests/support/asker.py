"""Plain requests to an agent."""

from __future__ import annotations

from typing import Any

from aiohttp import ClientSession


class Asker:
    """Plain requests, whose answers are JSON where they can be."""

    def __init__(self, session: ClientSession) -> None:
        self.session = session
        self.index = ""

    async def __call__(self, method: str, path: str, body: Any = None, status: int = 200, token: str = "") -> Any:
        headers = {"X-Consul-Token": token} if token else {}
        sent: dict[str, Any] = {"data": body} if isinstance(body, bytes) else {"json": body}
        async with self.session.request(method, path, headers=headers, **sent) as answer:
            text = await answer.text()
            assert answer.status == status, text
            self.index = answer.headers.get("X-Consul-Index", "")
            return await answer.json() if answer.content_type == "application/json" and text else text
