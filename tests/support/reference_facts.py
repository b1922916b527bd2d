"""Facts of the reference beyond the recordings: what an agent answers after some requests, by version."""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

import aiohttp
from support.versions import VERSIONS
from yarl import URL

from aioconsulconnect.testing import Agent, Version

EXACT = "/v1/connect/intentions/exact"
INTENTIONS = "/v1/connect/intentions"
ALLOW = {"Action": "allow"}
HTTP = ("PUT", "/v1/config", {"Kind": "service-defaults", "Name": "db", "Protocol": "http"})
WEB_DB = ("PUT", f"{EXACT}?source=web&destination=db", ALLOW)
Asked = tuple[str, str, Any]


class Fact(NamedTuple):
    """After some requests, one more gives a status and, where it is not None, exactly this body."""

    since: Version
    until: Version
    before: list[Asked]
    request: Asked
    status: int
    body: Any = None


def put(query: str, body: Any) -> Asked:
    return ("PUT", f"{EXACT}?{query}", body)


def entry(name: str, *sources: dict[str, Any], **more: Any) -> Asked:
    return ("PUT", "/v1/config", {"Kind": "service-intentions", "Name": name, "Sources": list(sources), **more})


def config(kind: str, name: str, **more: Any) -> Asked:
    return ("PUT", "/v1/config", {"Kind": kind, "Name": name, **more})


def permission(**http: Any) -> dict[str, Any]:
    return {"Permissions": [{"Action": "allow", "HTTP": http}]}


def listed(*complaints: str) -> str:
    """Several complaints as Consul lists them."""
    count = f"{len(complaints)} error{'s' if len(complaints) > 1 else ''} occurred:"
    return count + "".join(f"\n\t* {complaint}" for complaint in complaints) + "\n\n"


LEGACY = ("POST", INTENTIONS, {"SourceName": "old", "DestinationName": "db", "Action": "allow"})
LEGACY_META = (
    "POST",
    INTENTIONS,
    {"SourceName": "old", "DestinationName": "db", "Action": "allow", "Meta": {"a": "b"}},
)
PEERED = entry("db", {"Name": "web", "Peer": "east", "Action": "deny"}, {"Name": "web", "Action": "allow"})
SOURCE = "Sources[0].Permissions[0].HTTP"
NO_NAMESPACES = "Namespaces is a Consul Enterprise feature"


def cases(facts: Mapping[str, Fact]) -> list[tuple[str, Version]]:
    """Each fact by name, with every version for which it holds."""
    return [
        (name, version)
        for name, fact in facts.items()
        for version in VERSIONS[VERSIONS.index(fact.since) : VERSIONS.index(fact.until) + 1]
    ]


async def check(fact: Fact, version: Version) -> None:
    """See that an agent of a version answers so."""
    async with Agent(version) as agent, aiohttp.ClientSession() as session:

        async def send(method: str, path: str, body: Any) -> tuple[int, Any]:
            url = URL(agent.url + path, encoded=True)
            data = None if body is None else json.dumps(body)
            async with session.request(method, url, data=data, allow_redirects=False) as response:
                text = await response.text()
                return response.status, json.loads(text) if response.content_type == "application/json" else text

        for before in fact.before:
            status, said = await send(*before)
            assert status == 200, said
        status, body = await send(*fact.request)
        assert (status, body if fact.body is not None else None) == (fact.status, fact.body), body
