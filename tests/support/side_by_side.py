"""The in-process agent and a real one, asked the same: requests, and answers in a form that can be compared."""

import http.client
import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from hypothesis import HealthCheck, Phase, settings
from support.agents import RealAgent, binaries

from aioconsulconnect.testing import Agent

UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
TIME = re.compile(r"20\d\d-\d\d-\d\dT[0-9:.]+Z")
PEM = re.compile(r"-----BEGIN [A-Z ]+-----.*?-----END [A-Z ]+-----", re.DOTALL)
FINGERPRINT = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){15,}")
CYCLE = re.compile(r"\[([^\]]+ -> [^\]]+)\]")
HEADERS = ("Content-Type", "Allow", "X-Consul-Knownleader", "X-Consul-Lastcontact", "X-Cache", "Vary", "Location")
OLD = tuple(binary for binary in binaries() if binary.version == (1, 8))

COMMON = settings(
    deadline=None,
    derandomize=True,  # the same requests each time: a gate must not depend on chance
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.data_too_large],
    phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.target, Phase.shrink],
)


def whole_cycles(text: str) -> str:
    """A text whose circles of names begin at no name: where Go begins with them is random."""
    return CYCLE.sub(lambda found: f"[{', '.join(sorted(set(found[1].split(' -> '))))}]", text)


class Command(NamedTuple):
    """A request; ``{n}`` in its path stands for the n-th intention created, where there is one."""

    method: str
    path: str
    body: str | None = None
    headers: tuple[tuple[str, str], ...] = ()


class Answer(NamedTuple):
    """What is compared."""

    status: int
    headers: dict[str, str | None]
    body: Any


class Side:
    """One of the two agents, and the names that its ids are compared under."""

    def __init__(self, url: str, token: str = "") -> None:
        self.token = token
        self.text = ""
        self.connection = http.client.HTTPConnection(str(urlsplit(url).netloc), timeout=10)
        self.ids: list[str] = []
        self.indexes: dict[str, str] = {}

    def send(self, command: Command) -> Answer:
        path = re.sub(r"\{(\d+)\}", lambda n: self.ids[int(n[1]) % len(self.ids)] if self.ids else "none", command.path)
        try:
            body = command.body and command.body.encode()
            headers = {"X-Consul-Token": self.token} | dict(command.headers)
            self.connection.request(command.method, path, body, headers)
            response = self.connection.getresponse()
            text = self.text = response.read().decode()
        except (http.client.RemoteDisconnected, ConnectionError):
            self.connection.close()
            return Answer(0, {}, "closed without an answer")
        if command.method == "POST" and response.status == 200:
            self.ids += UUID.findall(text)
        seen: dict[str, str | None] = {name: response.headers[name] for name in HEADERS}
        seen["X-Consul-Index"] = self._moved(path, response)
        return Answer(response.status, seen, self._normal(text, response.headers["Content-Type"] == "application/json"))

    def _moved(self, path: str, response: http.client.HTTPResponse) -> str | None:
        """Whether an index is another than the last time this path was asked; that of an error says nothing."""
        index = response.headers["X-Consul-Index"]
        if index is None or response.status >= 500:
            return index
        before = self.indexes.get(path)
        self.indexes[path] = index
        return "first" if before is None else "moved" if before != index else "same"

    def _normal(self, text: str, is_json: bool) -> Any:
        text = UUID.sub(lambda found: f"<{self.ids.index(found[0])}>" if found[0] in self.ids else found[0], text)
        text = UUID.sub("<uuid>", TIME.sub("<time>", text))
        text = FINGERPRINT.sub("<fingerprint>", PEM.sub("<pem>", text))
        text = re.sub(r"(no match found), expected: .*", r"\1", text)  # the words of a parser generator
        if not is_json:
            return sorted(text.splitlines())  # some complaints come in the order of Go's maps, which is random
        return self._indexless(json.loads(text)) if text.strip() else text

    def _indexless(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self._indexless(item) for item in value]
        if not isinstance(value, dict):
            return value
        plain = {key: self._indexless(item) for key, item in value.items() if not key.endswith(("Index", "Hash"))}
        if isinstance(value.get("SerialNumber"), int):
            plain["SerialNumber"] = "<index>"  # of a root: the raft index at which a real authority was ready
        if "ModifyIndex" in value:
            plain["modified since it was made"] = value["ModifyIndex"] != value["CreateIndex"]
        return [*plain.items()]  # with their order


def running(agent: RealAgent) -> Iterator[RealAgent]:
    agent.start()
    try:
        agent.wait_ready()
        yield agent
    finally:
        agent.kill()


def empty(real: RealAgent) -> None:
    """Take away what the sequence left in the real agent."""
    for intention in real.call("GET", "/v1/connect/intentions"):
        real.call("DELETE", f"/v1/connect/intentions/{intention['ID']}")
    for kind in ("service-defaults", "proxy-defaults"):
        for entry in real.call("GET", f"/v1/config/{kind}"):
            real.call("DELETE", f"/v1/config/{kind}/{entry['Name']}")


def run_both(real: RealAgent, commands: list[Command]) -> None:
    box = Agent("1.8")
    box.start()
    sides = Side(box.url), Side(real.url)
    try:
        for at, command in enumerate(commands):
            ours, theirs = (side.send(command) for side in sides)
            assert ours == theirs, f"request {at} of {commands[: at + 1]}"
    finally:
        for side in sides:
            side.connection.close()
        box.stop()
        empty(real)
