"""Agents with ACLs, asked the same: the in-process one, real ones, and what real ones of three versions once answered.

`tests/data/guarded` has rules of policies, identities of clients, and conversations about policies, roles and tokens.
"""

from __future__ import annotations

import http.client
import json
import re
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from support.agents import MANAGEMENT, Binary, RealAgent
from support.paths import DATA

from aioconsulconnect.testing import Agent
from aioconsulconnect.testing.versions import Version

NOBODY = "11111111-2222-3333-4444-555555555555"
MANAGEMENT_POLICY = "/v1/acl/policy/00000000-0000-0000-0000-000000000001"
RECORDED: tuple[Version, ...] = ("1.8", "1.16", "1.22")
_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_TIME = re.compile(r"20\d\d-\d\d-\d\dT[0-9:.]+(?:Z|[+-]\d\d:\d\d)")
_INDEXES = ("Hash", "CreateIndex", "ModifyIndex")


def read(name: str) -> list[dict[str, Any]]:
    """The rows of a file of recorded answers; those alike in all versions stand once, as "all"."""
    return [json.loads(line) for line in (DATA / "guarded" / f"{name}.jsonl").read_text("utf-8").splitlines()]


class Answer(NamedTuple):
    status: int
    headers: Mapping[str, str]
    text: str


class Guarded:
    """Sends requests to one agent with ACLs, with its management token unless another is named."""

    def __init__(self, url: str, token: str) -> None:
        self.token = token
        self.connection = http.client.HTTPConnection(str(urlsplit(url).netloc), timeout=20)

    def ask(self, method: str, path: str, body: object = None, token: str | None = None) -> Answer:
        """The answer; a text is a body as it is, anything else is sent as JSON."""
        data = body if isinstance(body, str) or body is None else json.dumps(body)
        secret = self.token if token is None else token
        headers = {"X-Consul-Token": secret} if secret else {}
        try:
            self.connection.request(method, path, None if data is None else data.encode(), headers)
            response = self.connection.getresponse()
            return Answer(response.status, dict(response.getheaders()), response.read().decode())
        except (http.client.RemoteDisconnected, ConnectionError):
            self.connection.close()
            return Answer(0, {}, "")

    def value(self, method: str, path: str, body: object = None) -> Any:
        """The JSON of an answer that must be a success."""
        answer = self.ask(method, path, body)
        assert answer.status == 200, f"{method} {path}: {answer}"
        return json.loads(answer.text) if answer.text.strip() else None

    def empty(self) -> None:
        """Take away what another test left in the agent."""
        for each in self.value("GET", "/v1/connect/intentions"):
            query = f"source={each['SourceName']}&destination={each['DestinationName']}"
            if self.ask("DELETE", f"/v1/connect/intentions/exact?{query}").status != 200:
                self.ask("DELETE", f"/v1/connect/intentions/{each.get('ID')}")
        for _ in range(4):  # some stand on others
            for each in self.value("GET", "/v1/config/"):
                self.ask("DELETE", f"/v1/config/{each['Kind']}/{each.get('Name', 'mesh')}")
        for identifier in self.value("GET", "/v1/agent/services"):
            self.ask("PUT", f"/v1/agent/service/deregister/{identifier}")
        for each in self.value("GET", "/v1/acl/tokens"):
            if each["Description"] not in {"Master Token", "Initial Management Token", "Anonymous Token"}:
                self.ask("DELETE", f"/v1/acl/token/{each['AccessorID']}")
        for several, one in (("policies", "policy"), ("roles", "role")):
            for each in self.value("GET", f"/v1/acl/{several}"):
                self.ask("DELETE", f"/v1/acl/{one}/{each['ID']}")


@contextmanager
def in_process(version: Version, policy: Any = "deny") -> Iterator[Guarded]:
    """An in-process agent with ACLs."""
    agent = Agent(version, acl=True, default_policy=policy, node_name="box")
    agent.start()
    side = Guarded(agent.url, agent.management_token)
    try:
        yield side
    finally:
        side.connection.close()
        agent.stop()


def real_agent(binary: Binary, folder: Path, policy: str) -> RealAgent:
    """A real agent of our own with ACLs, which may write down what its node is."""
    acl = {"default_policy": policy, "tokens": {"agent": MANAGEMENT}}
    return RealAgent(binary, folder, acl=True, config={"node_name": "box", "acl": acl})


class Talk:
    """A conversation with one agent: its steps name what earlier ones made, ``{t1}`` the token kept as t1.

    ``{t1.s}`` is its secret; with a ``^`` at the end it is in capitals.
    """

    def __init__(self, side: Guarded) -> None:
        soon = datetime.now(UTC) + timedelta(hours=2)
        self.side = side
        self.names = {f"u{n}": str(uuid.uuid4()) for n in range(1, 9)}
        self.names["soon"] = f"{soon:%Y-%m-%dT%H:00:00Z}"
        self.names["M.Rules"] = side.value("GET", MANAGEMENT_POLICY)["Rules"]
        self.secrets: dict[str, str] = {}

    def say(self, step: Mapping[str, Any]) -> tuple[int, Any, str]:
        """Take one step, and bring its answer into a form that can be compared."""
        body = step.get("body")
        answer = self.side.ask(
            step["method"],
            self._named(step["path"]),
            body if isinstance(body, str) else self._filled(body),
            self._token(step.get("who", "")),
        )
        if "save" in step and answer.status == 200:
            made = json.loads(answer.text)
            self.names[step["save"]] = made.get("AccessorID") or made["ID"]
            self.secrets[step["save"]] = made.get("SecretID", "")
        index = {None: "", "1": "i1"}.get(answer.headers.get("X-Consul-Index"), "iN")
        return answer.status, self._normal(answer.text.replace("Bad request: ", "")), index

    def _token(self, who: str) -> str | None:
        if who.startswith("#"):
            return self._named(f"{{{who[1:]}}}")
        return {"": None, "=": "", "!": NOBODY}.get(who, self.secrets.get(who, NOBODY))

    def _named(self, text: str) -> str:
        return re.sub(r"\{([A-Za-z][\w.]*\^?)\}", self._name, text)

    def _name(self, found: re.Match[str]) -> str:
        name = found[1].rstrip("^")
        value = self.secrets.get(name[:-2], NOBODY) if name.endswith(".s") else self.names.get(name)
        value = value or NOBODY.replace("1", "9")
        return value.upper() if found[1].endswith("^") else value

    def _filled(self, value: Any) -> Any:
        if isinstance(value, str):
            return self._named(value)
        if isinstance(value, list):
            return [self._filled(each) for each in value]
        return {k: self._filled(v) for k, v in value.items()} if isinstance(value, dict) else value

    def _normal(self, text: str) -> Any:
        known = {secret.lower(): f"<{name}.s>" for name, secret in self.secrets.items()}
        known |= {value.lower(): f"<{name}>" for name, value in [*self.names.items()][::-1] if _UUID.fullmatch(value)}

        def other(found: re.Match[str]) -> str:
            return found[0] if found[0].startswith(("00000000-0000", "11111111-2222")) else "U"

        text = _UUID.sub(lambda found: known.get(found[0].lower()) or other(found), text)
        text = _TIME.sub("TIME", text)
        try:
            value = unindexed(json.loads(text))
        except ValueError:
            return text
        return json.dumps(sorted(map(json.dumps, value)) if isinstance(value, list) else value)


def unindexed(value: Any) -> Any:
    """JSON without what two agents cannot agree in: indexes, and the order of identities, which is random."""
    if isinstance(value, list):
        return [unindexed(each) for each in value]
    if not isinstance(value, dict):
        return value
    plain = {key: "#" if key in _INDEXES else unindexed(each) for key, each in value.items()}
    for key in ("ServiceIdentities", "NodeIdentities"):
        if key in plain:
            plain[key] = sorted(plain[key], key=json.dumps)
    return plain


def authorized(side: Guarded, uri: str) -> list[Any]:
    """What an agent says to a client with this identity that asks for db: the status, and the verdict or the text."""
    answer = side.ask("POST", "/v1/agent/connect/authorize", {"Target": "db", "ClientCertURI": uri})
    if answer.status != 200:
        return [answer.status, answer.text]
    said = json.loads(answer.text)
    return [200, [said["Authorized"], re.sub(r"\(ID: [0-9a-f-]{36}, ", "(", said["Reason"])]]


SETS: Mapping[str, Sequence[tuple[str, str, str]]] = {
    "exact": [("web", "db", "allow")],
    "wildcard": [("*", "db", "allow")],
    "everything": [("*", "*", "allow"), ("web", "db", "deny")],
}
"""Intentions under which identities are tried."""


def intend(side: Guarded, name: str) -> None:
    """Write a set of intentions."""
    for source, destination, action in SETS[name]:
        body = {"SourceName": source, "DestinationName": destination, "Action": action}
        side.value("POST", "/v1/connect/intentions", body)
