"""Scripts of requests that two agents must answer alike, up to ids, indexes and hashes."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any

import aiohttp
from support.paths import DATA
from yarl import URL

SCRIPTS = DATA / "scripts"
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
CIRCLE = re.compile(r"(?<=circular reference: \[)[^\]]+")
PASSING = re.compile(r"\w*Index|\w*Hash|Node|NodeName")


async def differences(script: str, ours: str, theirs: str) -> list[str]:
    """What the first agent answers otherwise than the second."""
    found: list[str] = []
    async with aiohttp.ClientSession() as session:
        for line in (SCRIPTS / f"{script}.jsonl").read_text().splitlines():
            step = json.loads(line)
            tries = 40 if step["method"] == "GET" else 1  # a real agent tells the catalog a little later
            while True:
                a, b = [await answer(session, url, step) for url in (ours, theirs)]
                tries -= 1
                if a == b or not tries:
                    break
                await asyncio.sleep(0.05)
            if a != b:
                found.append(f"{step}:\n  {a}\n  {b}")
            if "idecar" in (step["body"] or ""):
                await asyncio.sleep(0.1)  # what changes before a real agent watches an alias, it learns in a minute
    return found


async def answer(
    session: aiohttp.ClientSession, base: str, step: dict[str, Any], token: str = ""
) -> tuple[object, ...]:
    """What an agent answers, without what differs between any two."""
    credentials = {"X-Consul-Token": token} if token else {}
    url = URL(base + step["path"], encoded=True)
    async with session.request(
        step["method"], url, data=step["body"], headers=credentials, allow_redirects=False
    ) as reply:
        text = await reply.text()
        headers = {name: value for name, value in reply.headers.items() if name.startswith("X-")}
        for name in ("X-Consul-Index", "X-Consul-Contenthash"):
            if headers.get(name, "1") != "1":
                headers[name] = "…"
        try:
            body = _plain(json.loads(text))
            if isinstance(body, dict) and step["path"].startswith("/v1/catalog/services"):
                body = {name: sorted(tags) for name, tags in body.items()}  # The order of a Go map is random.
        except ValueError:
            body = CIRCLE.sub(_from_its_least, UUID.sub("…", text))
        return reply.status, reply.headers.get("Content-Type"), headers, body


def _from_its_least(circle: re.Match[str]) -> str:
    """A circle from its least member on: where a real one begins is the order of a Go map, which is random."""
    members = circle[0].split(" -> ")[:-1]
    at = members.index(min(members))
    return " -> ".join([*members[at:], *members[: at + 1]])


def _plain(value: Any) -> Any:
    """A value without what differs between any two agents."""
    if isinstance(value, dict):
        return {key: _member(key, each) for key, each in value.items()}
    if isinstance(value, list):
        return [_plain(each) for each in value]
    return UUID.sub("…", value) if isinstance(value, str) else value


def _member(key: str, value: Any) -> Any:
    # When a check runs first is left to chance, and so is whether the catalog learns of an output alone.
    by_chance = key == "Output" and value.startswith(("dial tcp", "Aliased check"))
    passing = PASSING.fullmatch(key) and not isinstance(value, dict)
    return "" if by_chance else "…" if passing else _plain(value)
