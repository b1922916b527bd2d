"""Recordings of real agents, sent to the in-process agent of the same version, and what differs."""

import asyncio
import json
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from support.paths import DATA
from support.side_by_side import whole_cycles
from yarl import URL

from aioconsulconnect.testing import Agent

RECORDINGS = DATA / "recordings"
RELEASES = {"1.8": "1.8.7", "1.10": "1.10.12", "1.16": "1.16.6", "1.22": "1.22-dev"}
NOT_MODELLED = 501
FASTER = 4  # what was recorded in seconds is waited for in quarters of them
RECORDED_TOKEN = "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee"
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
# What differs between any two agents of one version.
PASSING = re.compile(
    r"\w*Index|\w*Hash|SerialNumber|SigningKeyID|ID|NodeID|\w*PEM|RootCert|IntermediateCerts|CreatedAt|UpdatedAt|CreateTime"
    r"|NotBefore|NotAfter|ValidAfter|ValidBefore|ActiveRootID|SecretID|AccessorID|LastTransitionTime"
)
EXACT_HEADERS = (
    "X-Consul-Knownleader",
    "X-Consul-Lastcontact",
    "X-Consul-Query-Backend",
    "X-Consul-Effective-Consistency",
    "X-Consul-Default-Acl-Policy",
    "X-Consul-Results-Filtered-By-Acls",
    "X-Cache",
    "Allow",
    "Content-Encoding",
    "Content-Type",
    "Vary",
)


@dataclass
class Replay:
    """One recording against a fresh pair of agents: one without ACLs, one with ACLs that deny by default.

    - `version`: the version that is played.
    - `recording`: the first part of the name of its file.
    - `node`: the name of the node that was recorded.
    """

    version: str
    recording: str = "consul"
    node: str = "vm"
    names: dict[str, str] = field(default_factory=dict)  # the recording's ids and indexes → ours
    differences: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    lies: dict[str, str] = field(default_factory=dict)  # writes that Consul refused and we accepted
    refusals: dict[str, str] = field(default_factory=dict)  # and the other way round, but for what we do not model
    unmodelled: set[str] = field(default_factory=set)
    compared: int = 0

    async def run(self) -> "Replay":
        lines = (RECORDINGS / f"{self.recording}-{RELEASES[self.version]}.jsonl").read_text().splitlines()
        async with (
            Agent(self.version, node_name=self.node) as plain,  # type: ignore[arg-type]
            Agent(self.version, node_name=self.node, acl=True) as acl,  # type: ignore[arg-type]
            aiohttp.ClientSession(auto_decompress=False) as session,
        ):
            self.names[RECORDED_TOKEN] = acl.management_token
            later: list[asyncio.Task[object]] = []
            for recorded in map(json.loads, lines):
                agent = plain if recorded["agent"] == "plain" else acl
                if "later" in recorded:
                    later.append(asyncio.create_task(self._later(session, agent, recorded)))
                    continue
                answer = await self._send(session, agent, recorded["request"])
                for task in later:
                    await task
                later.clear()
                if not recorded.get("varies"):  # two real agents of one version differ there
                    self._compare(recorded, *answer)
        return self

    def all_differences(self) -> dict[str, list[str]]:
        """What differs by the name of the exchange, with what is not modelled."""
        found = {name: what for (_, name), what in self.differences.items()}
        return {name: ["status: not modelled"] for name in self.unmodelled} | found

    async def _later(self, session: aiohttp.ClientSession, agent: Agent, recorded: dict[str, Any]) -> None:
        await asyncio.sleep(recorded["later"] / FASTER)
        await self._send(session, agent, recorded["request"])

    async def _send(
        self, session: aiohttp.ClientSession, agent: Agent, request: dict[str, Any]
    ) -> tuple[int, dict[str, str], str, float]:
        headers = {"Accept-Encoding": "identity"} | {k: self._ours(v) for k, v in request["headers"].items()}
        url = URL(agent.url + self._ours(request["path"]), encoded=True)
        body = None if request["body"] is None else self._ours(request["body"]).encode()
        began = time.monotonic()
        async with session.request(
            request["method"], url, data=body, headers=headers, allow_redirects=False
        ) as response:
            text = (await response.read()).decode("utf-8", "replace")
            return response.status, dict(response.headers), text, time.monotonic() - began

    def _ours(self, text: str) -> str:
        text = UUID.sub(lambda found: self.names.get(found[0], found[0]), text)
        text = re.sub(r"(?<=[?&]hash=)([0-9a-f]+)", lambda f: self.names.get("h" + f[1], f[1]), text)
        text = re.sub(r"(?<=[?&]wait=)(\d+)s\b", lambda f: f"{1000 * int(f[1]) // FASTER}ms", text)
        return re.sub(r"(?<=[?&])(index|cas)=(\d+)", lambda f: f"{f[1]}={self.names.get('i' + f[2], f[2])}", text)

    def _compare(
        self, recorded: dict[str, Any], status: int, headers: dict[str, str], text: str, seconds: float
    ) -> None:
        response = recorded["response"]
        theirs = dict(response["headers"])
        if "X-Consul-Index" in theirs and "X-Consul-Index" in headers:
            self.names["i" + theirs["X-Consul-Index"]] = headers["X-Consul-Index"]
        if "X-Consul-Contenthash" in theirs and "X-Consul-Contenthash" in headers:
            self.names["h" + theirs["X-Consul-Contenthash"]] = headers["X-Consul-Contenthash"]
        for old, new in zip(UUID.findall(response["body"]), UUID.findall(text), strict=False):
            self.names.setdefault(old, new)
        self._judge(recorded, status, text)
        if status == NOT_MODELLED:
            return
        found = list(self._headers(response, theirs, status, headers, text))
        if response["seconds"] > 0.2 and seconds < 0.9 * response["seconds"] / FASTER:
            found.append(f"blocking: answered after {seconds:.2f} s, not {response['seconds'] / FASTER:.2f}")
        if response["seconds"] <= 0.2 and seconds > 0.9:
            found.append(f"blocking: answered only after {seconds:.2f} s")
        if not response["body"].startswith("("):  # left out of the recording
            found += self._body(recorded["name"], response["body"], text)
        self.compared += 1
        if found:
            self.differences[recorded["agent"], recorded["name"]] = found

    def _judge(self, recorded: dict[str, Any], status: int, text: str) -> None:
        """Note a write that only one of the two accepted."""
        method, path, wanted = (
            recorded["request"]["method"],
            recorded["request"]["path"],
            recorded["response"]["status"],
        )
        if status == NOT_MODELLED:
            self.unmodelled.add(recorded["name"])
        elif method != "GET":
            said = f"{method} {path} {recorded['request']['body']}: {wanted} became {status} {text[:200]!r}"
            if status < 300 <= wanted:
                self.lies[recorded["name"]] = said
            elif wanted < 300 <= status:
                self.refusals[recorded["name"]] = said

    @staticmethod
    def _headers(
        response: dict[str, Any], theirs: dict[str, str], status: int, ours: dict[str, str], text: str
    ) -> Iterator[str]:
        if status != response["status"]:
            yield f"status: {response['status']} became {status} {text[:120]!r}"
        for name in EXACT_HEADERS:
            if theirs.get(name) != ours.get(name):
                yield f"header {name}: {theirs.get(name)!r} became {ours.get(name)!r}"
        for name in ("X-Consul-Index", "X-Consul-Contenthash", "Age"):
            if (name in theirs) != (name in ours):
                yield f"header {name}: {theirs.get(name)!r} became {ours.get(name)!r}"
        if (theirs.get("X-Consul-Index") == "1") != (ours.get("X-Consul-Index") == "1"):
            yield f"header X-Consul-Index: {theirs.get('X-Consul-Index')} became {ours.get('X-Consul-Index')}"
        if unknown := {name for name in ours if name.startswith("X-") and name not in theirs}:
            yield f"headers not in the recording: {sorted(unknown)}"

    def _body(self, name: str, theirs: str, ours: str) -> Iterator[str]:
        try:
            old, new = json.loads(theirs), json.loads(ours)
        except ValueError:
            if "BEGIN CERTIFICATE" in theirs and "BEGIN CERTIFICATE" in ours:
                return
            # Some complaints come in the order of Go's maps, which is random.
            a, b = (sorted(whole_cycles(UUID.sub("U", text)).splitlines()) for text in (theirs, ours))
            if a != b or theirs.endswith("\n") != ours.endswith("\n"):
                yield f"text: {theirs!r} became {ours!r}"
            return
        if name.startswith("agent self"):  # the recording holds a part of it
            old, new = old["Config"], new["Config"]
        elif len(theirs) - len(theirs.rstrip("\n")) != len(ours) - len(ours.rstrip("\n")):
            yield "layout: another end"
        yield from self._walk(old, new, "$")

    def _walk(self, old: Any, new: Any, at: str) -> Iterator[str]:
        key = re.sub(r"\[\d+\]$", "", at.rsplit(".", 1)[-1])
        if key == "ModifyIndex":
            self.names[f"i{old}"] = str(new)
        if type(old) is not type(new):
            yield (
                f"null: {at}: {old!r} became {new!r}" if old is None or new is None else f"{at}: {old!r} became {new!r}"
            )
        elif isinstance(old, dict):
            if set(old) != set(new):
                yield f"keys: {at}: missing {sorted(set(old) - set(new))}, extra {sorted(set(new) - set(old))}"
            elif list(old) != list(new):
                yield f"order: {at}: {list(old)} became {list(new)}"
            for each in old.keys() & new.keys():
                yield from self._walk(old[each], new[each], f"{at}.{each}")
        elif isinstance(old, list):
            if len(old) != len(new):
                yield f"{at}: {len(old)} items became {len(new)}"
            if old and isinstance(old[0], dict) and "Active" in old[0]:  # in the order of their ids, which are random
                old, new = (sorted(roots, key=lambda root: root["Active"]) for roots in (old, new))
            for i, (a, b) in enumerate(zip(old, new, strict=False)):
                yield from self._walk(a, b, f"{at}[{i}]")
        elif old != new and not PASSING.fullmatch(key) and UUID.sub("U", str(old)) != UUID.sub("U", str(new)):
            yield f"{at}: {old!r} became {new!r}"
