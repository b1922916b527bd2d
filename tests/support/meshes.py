"""A fake Consul with the endpoints that an authorizer asks, each with an index of its own, and authorizers on it."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import msgspec
from support.authorization import HOME
from support.fakes import Answer, Call, FakeClock, FakeConsul, World, error

from aioconsulconnect.authorization.authorizer import Authorizer
from aioconsulconnect.authorization.authorizer_status import AuthorizerOptions
from aioconsulconnect.transport.response import Response
from aioconsulconnect.transport.settings.options import NO_OPTIONS, Options

LIST = "/v1/connect/intentions"
MATCH = "/v1/connect/intentions/match"
ROOTS = "/v1/connect/ca/roots"
MESH = "/v1/config/mesh/mesh"
AUTHORIZE = "/v1/agent/connect/authorize"
OWN_TOKEN = "/v1/acl/token/self"
SELF = "/v1/agent/self"
PROVIDER = "/v1/config/jwt-provider/"

BY_ACLS = "Default behavior configured by ACLs"
Json = Any


def rule(source: str, destination: str = "db", action: str = "allow", **fields: Json) -> dict[str, Json]:
    """An intention as Consul sends it."""
    says = {} if "Permissions" in fields else {"Action": action}
    return {
        "SourceNS": "default",
        "SourceName": source,
        "DestinationNS": "default",
        "DestinationName": destination,
        "SourceType": "consul",
        "Precedence": 9,
        "CreateIndex": 7,
        "ModifyIndex": 7,
        **says,
        **fields,
    }


class FakeMesh(FakeConsul):
    """Every path has its own answer and its own index; `authorize` says what `default` and `matched` are."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(clock)
        self.bodies: dict[str, tuple[int, int, bytes]] = {}
        self.flags: dict[str, dict[str, str]] = {}
        self.default: Response = self.says(False, BY_ACLS)
        self.own_token: Response = error(401, "ACL support disabled")
        self.put_at(SELF, {"Config": {"Version": "1.22.0"}})
        self.trust(HOME)
        self.put_at(MESH, 'Config entry not found for "mesh" / "mesh"', status=404)
        self.intentions()

    def says(self, allowed: bool, reason: str) -> Response:
        return Response(200, {}, msgspec.json.encode({"Authorized": allowed, "Reason": reason}))

    def put_at(self, path: str, value: Json, *, status: int = 200) -> None:
        body = value.encode() if isinstance(value, str) else msgspec.json.encode(value)
        index, _, _ = self.bodies.get(path, (10, 0, b""))
        self.bodies[path] = index + 1, status, body
        self.moved.wake_all()

    def intentions(self, *rules: dict[str, Json], **others: list[dict[str, Json]]) -> None:
        """What a match of `db` and the list say; `others` are further names of the match."""
        self.put_at(MATCH, {"db": list(rules), **others})
        self.put_at(LIST, [*rules, *(one for found in others.values() for one in found)])

    def trust(self, domain: str) -> None:
        root = {"ID": f"root-of-{domain}", "Name": "root", "Active": True, "RootCert": "PEM"}
        self.put_at(ROOTS, {"ActiveRootID": root["ID"], "TrustDomain": domain, "Roots": [root]})

    async def answer(self, call: Call) -> Answer:
        if call.path == AUTHORIZE:
            return self.default
        if call.path == OWN_TOKEN:
            return self.own_token
        if "index" in call.parameters and self._index(call) <= int(call.parameters["index"]):
            generation = self.generation
            deadline = self.clock.now() + call.wait
            while generation == self.generation and self.clock.now() < deadline:
                await self.moved.wait(self.clock, deadline - self.clock.now())
                if self._index(call) > int(call.parameters["index"]):
                    break
            if generation != self.generation and self.last_words:
                return self.last_words
        index, status, body = self.bodies.get(call.path, (10, 404, b"Config entry not found"))
        return self.now(status, body, **{"x-consul-index": str(index), **self.flags.get(call.path, {})})

    def _index(self, call: Call) -> int:
        return self.bodies.get(call.path, (10, 0, b""))[0]


class MeshWorld(World):
    """A world whose server is a `FakeMesh`."""

    def __init__(self) -> None:
        super().__init__()
        self.mesh = FakeMesh(self.clock)
        self.consul = self.mesh
        self.polls.resources.sender = self.mesh

    def authorizer(self, *destinations: str, options: Options = NO_OPTIONS, **choices: Json) -> Authorizer:
        made = AuthorizerOptions(**{"ready_timeout": 0, **choices})
        return Authorizer(self.mesh, self.polls, options, destinations, made)

    @contextlib.asynccontextmanager
    async def entered(self, *destinations: str, **choices: Json) -> AsyncIterator[Authorizer]:
        """An authorizer that has been told everything there is."""
        async with self.authorizer(*destinations, **choices) as authorizer:
            await self.clock.advance(2.5)
            yield authorizer
