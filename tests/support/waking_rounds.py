"""The rounds of the matrix of `waking`: one agent, one round for each write, all queries held at once.

A cell says what a query did in the round of a write, such as `woke index body then index body`: whether its answer came
before its wait was over (`woke`) or not (`lay`), what moved between the index and the body that it was held with and
those of its answer, and then what moved between a read before the round and one after it. `lower` is an index that went
back.

`python -m support.waking_rounds BINARY ...` in the folder of the tests writes the stored tables anew.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from support.paths import DATA
from support.waking import ACL_WRITES, QUERIES, SETUP, WRITES, Query, Write

from aioconsulconnect.testing import Agent, Version
from aioconsulconnect.testing.real_agent import Binary, RealAgent, version_of

Table = dict[str, dict[str, str]]
"""By write, by query: the cell."""
FOLDER = DATA / "waking"
USUAL = "lay then"
"""The cell of a query that a write does not concern, which the stored tables leave out."""


class Seen(NamedTuple):
    """An answer: the index (or hash) to go on from, and the body."""

    at: str
    body: str


@dataclass
class Rounds:
    """The rounds of one agent.

    - `wait`: the seconds for which a query is held. A server adds up to a sixteenth, and takes nothing off.
    - `pause`: the seconds between two reads that must agree before a round begins, and before its write.
    """

    session: aiohttp.ClientSession
    version: tuple[int, int]
    wait: float
    pause: float
    ids: dict[tuple[str, str], str] = field(default_factory=dict)

    @property
    def queries(self) -> Mapping[str, Query]:
        """The queries that the version has."""
        return {name: query for name, query in QUERIES.items() if query.since <= self.version}

    async def table(self, writes: Mapping[str, Write]) -> Table:
        """Do every write, and see what each query does."""
        for request in SETUP:
            await self._write(*request)
        rows: Table = {}
        for name, write in writes.items():
            if write.since <= self.version:
                rows[name] = await self.round(write)
        return rows

    async def round(self, write: Write) -> dict[str, str]:
        """Hold every query, do one write, and say what each did."""
        before = await self._settled()
        async with asyncio.TaskGroup() as group:
            held = {
                name: group.create_task(self._held(query, self._position(name, before)))
                for name, query in self.queries.items()
            }
            await asyncio.sleep(max(self.pause, 0.05))  # until they wait
            await self._write(*write.request)
        after = await self._settled()
        return {
            name: self._cell(name, before, after, *task.result())
            for name, task in held.items()
            if name not in write.untold
        }

    def _cell(self, name: str, before: dict[str, Seen], after: dict[str, Seen], seen: Seen, woke: bool) -> str:
        held_at = Seen(self._position(name, before), before[name].body)
        moves = (*moved(held_at, seen), "then", *moved(before[name], after[name]))
        return " ".join(("woke" if woke else "lay", *moves))

    def _position(self, name: str, seen: Mapping[str, Seen]) -> str:
        # 1.8 tells no index with a match, but the list is of the same table.
        return seen[name].at or seen["intentions"].at

    async def _settled(self) -> dict[str, Seen]:
        """What the queries answer, once two answers in a row agree."""
        before: dict[str, Seen] = {}
        for _ in range(100):
            found = await asyncio.gather(*(self._fresh(query) for query in self.queries.values()))
            now = dict(zip(self.queries, found, strict=True))
            if now == before:
                return now
            before = now
            await asyncio.sleep(self.pause)
        raise AssertionError("the agent does not come to rest")

    async def _fresh(self, query: Query) -> Seen:
        if query.streams <= self.version:  # the view has an index of its own
            return (await self._held(query, "1", 0.2))[0]
        return await self._get(query.path)

    async def _held(self, query: Query, position: str, wait: float = 0.0) -> tuple[Seen, bool]:
        wait = wait or self.wait
        joint = "&" if "?" in query.path else "?"
        parameter = "hash" if "/agent/service/" in query.path else "index"
        began = asyncio.get_running_loop().time()
        seen = await self._get(f"{query.path}{joint}{parameter}={position}&wait={1000 * wait:.0f}ms")
        return seen, asyncio.get_running_loop().time() - began < wait

    async def _get(self, path: str) -> Seen:
        async with self.session.get(path) as answer:
            body = await answer.text()
            assert answer.status in {200, 404}, (path, answer.status, body)
            headers = answer.headers
            return Seen(headers.get("X-Consul-Index") or headers.get("X-Consul-Contenthash") or "", body)

    async def _write(self, method: str, path: str, body: Any) -> None:
        if method in {"ALLOW", "FORGET"}:
            method, path, body = self._intention(method, path, body)
        data = None if body is None else json.dumps(body).replace('"KEY"', json.dumps(private_key()))
        async with self.session.request(method, path, data=data) as answer:
            text = await answer.text()
            assert answer.status == 200, (method, path, answer.status, text)
            if method == "POST":
                self.ids[body["SourceName"], body["DestinationName"]] = json.loads(text)["ID"]

    def _intention(self, method: str, source: str, destination: str) -> tuple[str, str, Any]:
        """The request that writes or deletes an intention, in the way that the version has."""
        if self.version >= (1, 9):
            path = f"/v1/connect/intentions/exact?source={source}&destination={destination}"
            return ("PUT", path, {"Action": "allow"}) if method == "ALLOW" else ("DELETE", path, None)
        body = {"SourceName": source, "DestinationName": destination, "Action": "allow"}
        known = self.ids.get((source, destination))
        if method == "FORGET":
            return "DELETE", f"/v1/connect/intentions/{known}", None
        return ("PUT", f"/v1/connect/intentions/{known}", body) if known else ("POST", "/v1/connect/intentions", body)


def moved(before: Seen, after: Seen) -> list[str]:
    """What moved between two answers."""
    numbers = before.at.isdigit() and after.at.isdigit()
    lower = numbers and int(after.at) < int(before.at)
    told = bool(after.at) and before.at != after.at
    return [*(["lower" if lower else "index"] if told else []), *(["body"] if before.body != after.body else [])]


def private_key() -> str:
    """A private key for a new root."""
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()).decode()


async def table_of(url: str, version: tuple[int, int], writes: Mapping[str, Write], **how: Any) -> Table:
    """The table of one agent."""
    headers = {"X-Consul-Token": how.pop("token", "")}
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(url, headers=headers, connector=connector) as session:
        return await Rounds(session, version, **how).table(writes)


async def in_process(version: Version) -> Table:
    """The table of the in-process agent, with and without ACLs."""
    major, minor = map(int, version.split("."))
    how = {"wait": 0.4, "pause": 0.0}
    async with Agent(version) as agent:
        plain = await table_of(agent.url, (major, minor), WRITES, **how)
    async with Agent(version, acl=True) as agent:
        return plain | await table_of(agent.url, (major, minor), ACL_WRITES, token=agent.management_token, **how)


async def real(binary: Binary) -> Table:
    """The table of a real agent, with and without ACLs."""
    how = {"wait": 1.2, "pause": 0.25}
    async with RealAgent(binary) as agent:
        plain = await table_of(agent.url, agent.version, WRITES, **how)
    guarded = RealAgent(binary, acl=True)
    tokens = {"initial_management" if guarded.version >= (1, 11) else "master": guarded.token, "agent": guarded.token}
    guarded.configure(guarded.config | {"acl": {"enabled": True, "default_policy": "deny", "tokens": tokens}})
    async with guarded:
        return plain | await table_of(guarded.url, guarded.version, ACL_WRITES, token=guarded.token, **how)


def stored(version: str) -> Table | None:
    """The stored table of a version such as 1.16; None where there is none."""
    path = FOLDER / f"{version}.json"
    if not path.exists():
        return None
    rows: dict[str, dict[str, list[str]]] = json.loads(path.read_text())
    return {write: {query: cell for cell, queries in row.items() for query in queries} for write, row in rows.items()}


def compact(table: Table) -> dict[str, dict[str, list[str]]]:
    """A table as it is stored: by write and cell the queries, but for the usual cell."""
    rows: dict[str, dict[str, list[str]]] = {}
    for write, row in table.items():
        of_write = rows.setdefault(write, {})
        for query, cell in row.items():
            if cell != USUAL:
                of_write.setdefault(cell, []).append(query)
    return rows


def differences(ours: Table, theirs: Table, *, named: bool = True) -> list[str]:
    """The pairs of a write and a query in which two tables differ; with both cells if `named`."""
    pairs = {(write, query) for table in (ours, theirs) for write, row in table.items() for query in row}
    both = [(*pair, *(table.get(pair[0], {}).get(pair[1], USUAL) for table in (ours, theirs))) for pair in pairs]
    return sorted(f"{w} / {q}" + (f": {one} | {two}" if named else "") for w, q, one, two in both if one != two)


async def main(paths: list[str]) -> None:
    """Write the stored table of each binary."""
    for path in paths:
        binary = version_of(path)
        rows = compact(await real(binary))
        name = ".".join(map(str, binary.version))
        lines = (f" {json.dumps(write)}: {json.dumps(row)}" for write, row in rows.items())
        Path(FOLDER / f"{name}.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
