"""
A server in a process of its own that says what a Consul with 100,000 intentions says, and blocks as it does.

Its list is made before, so that a change costs it nothing but the sending. For each line that comes in it goes on to
the next of two lists, in which one intention is another.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

from aiohttp import web

INTENTIONS = 100_000
SERVICES = 5_000
MARKED = ("marked", "svc-0")  # the names of the intention that changes
DOMAIN = "11111111-2222-3333-4444-555555555555.consul"


class Served:
    """The answers, and the index of the list."""

    def __init__(self) -> None:
        self._bodies = [json.dumps(intentions(action), separators=(",", ":")).encode() for action in ("allow", "deny")]
        self._index = 1000
        self._moved = asyncio.Event()

    @property
    def action(self) -> str:
        return "deny" if self._index % 2 else "allow"

    @property
    def size(self) -> int:
        return len(self._bodies[0])

    def go_on(self) -> None:
        self._index += 1
        self._moved.set()
        self._moved = asyncio.Event()

    async def list(self, request: web.Request) -> web.Response:
        await self._block(request, self._index)
        return _json(self._bodies[self._index % 2], self._index)

    async def roots(self, request: web.Request) -> web.Response:
        await self._block(request, None)
        root = {"ID": "root", "Name": "root", "Active": True, "RootCert": "PEM"}
        body = {"ActiveRootID": "root", "TrustDomain": DOMAIN, "Roots": [root]}
        return _json(json.dumps(body).encode(), 10)

    async def mesh(self, request: web.Request) -> web.Response:
        await self._block(request, None)
        return _json(b'Config entry not found for "mesh" / "mesh"', 10, 404)

    async def authorize(self, _: web.Request) -> web.Response:
        body = {"Authorized": False, "Reason": "Default behavior configured by ACLs"}
        return _json(json.dumps(body).encode(), 10)

    async def own_token(self, _: web.Request) -> web.Response:
        return _json(b"ACL support disabled", 10, 401)

    async def _block(self, request: web.Request, index: int | None) -> None:
        """Wait while nothing is newer than what the caller has; for `None` nothing ever is."""
        known = int(request.query.get("index", "0"))
        if known >= (10 if index is None else index):
            moved = self._moved if index is not None else asyncio.Event()
            try:
                async with asyncio.timeout(_seconds(request.query.get("wait", "300s"))):
                    await moved.wait()
            except TimeoutError:
                pass


def _seconds(wait: str) -> float:
    return float(wait.removesuffix("ms")) / 1000 if wait.endswith("ms") else float(wait.removesuffix("s"))


def intentions(action: str) -> list[dict[str, Any]]:
    """The list as Consul writes it, with all the fields that it sends; twenty sources for each service."""
    found = [_intention(0, *MARKED, action)]
    for number in range(1, INTENTIONS):
        source, destination = number * 7919 + number // SERVICES, number  # no pair comes twice
        found.append(_intention(number, f"svc-{source % SERVICES}", f"svc-{destination % SERVICES}", "allow"))
    return found


def _intention(number: int, source: str, destination: str, action: str) -> dict[str, Any]:
    return {
        "ID": f"{number:08x}-0000-4000-8000-000000000000",
        "Description": "",
        "SourceNS": "default",
        "SourceName": source,
        "DestinationNS": "default",
        "DestinationName": destination,
        "SourceType": "consul",
        "Action": action,
        "Meta": {},
        "Precedence": 9,
        "CreatedAt": "2024-01-01T00:00:00.000000000Z",
        "UpdatedAt": "2024-01-01T00:00:00.000000000Z",
        "CreateIndex": 100 + number,
        "ModifyIndex": 100 + number + (action == "deny"),
    }


def _json(body: bytes, index: int, status: int = 200) -> web.Response:
    headers = {"X-Consul-Index": str(index), "X-Consul-KnownLeader": "true", "X-Consul-LastContact": "0"}
    headers |= {"X-Consul-Default-Acl-Policy": "deny", "Content-Type": "application/json"}
    return web.Response(body=body, status=status, headers=headers)


async def serve() -> None:
    served = Served()
    app = web.Application()
    app.router.add_get("/v1/connect/intentions", served.list)
    app.router.add_get("/v1/connect/ca/roots", served.roots)
    app.router.add_get("/v1/config/mesh/mesh", served.mesh)
    app.router.add_post("/v1/agent/connect/authorize", served.authorize)
    app.router.add_get("/v1/acl/token/self", served.own_token)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    print(json.dumps([f"http://{host}:{port}", served.size]), flush=True)
    loop = asyncio.get_running_loop()
    while await loop.run_in_executor(None, sys.stdin.readline):
        served.go_on()
        print(json.dumps(served.action), flush=True)
    await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(serve())
