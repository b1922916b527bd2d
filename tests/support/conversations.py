"""A conversation: the same requests for the in-process agent and a real one, and what the two say differently."""

import dataclasses
import http.client
import json
import re
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal, NamedTuple, Protocol, get_args
from urllib.parse import urlsplit

from support.agents import RealAgent
from support.conversations_known import Known
from support.side_by_side import FINGERPRINT, PEM, TIME, UUID, whole_cycles

from aioconsulconnect.testing import Agent

SETTLED = 1.0  # seconds: after them a real agent has told the catalog of its services
NOT_MODELLED = 501
ABSENT = (None, "")
LONGEST_SHRINKING = 60.0  # seconds, for all findings of a pair together
PASSING = re.compile(
    r"\w*Index|\w*Hash|AutoVirtualIPs|ManualVirtualIPs|CreatedAt|UpdatedAt|CreateTime|LastTransitionTime|SerialNumber|consul-version"
    r"|ValidAfter|ValidBefore"
)
# The names of things in the place of a difference: of a chain's nodes, of services and checks.
_NAMED = re.compile(r"(?<=\$\.)[^.\[]*(?=\.)(?<!Chain)|\w+:[\w.-]+?\.dc\d+\b|(?<=Subsets\.)\w+|(?<=Failover\.)[\w*]+")
CRASHED = "Server got itself in trouble"
Weight = Literal["crash", "lie", "refusal", "status", "words", "body", "wake"]
GRAVEST: tuple[Weight, ...] = get_args(Weight)


class Step(NamedTuple):
    """A request; ``{policy0}``, ``{token0}`` and the like stand for ids that the agent gave in the conversation."""

    method: str
    path: str
    body: Any = None
    token: str = ""

    def __str__(self) -> str:
        body = "" if self.body is None else " " + (self.body if isinstance(self.body, str) else json.dumps(self.body))
        return f"{self.method} {self.path}{body}" + (f" (as {self.token})" if self.token else "")


class Answer(NamedTuple):
    """What is compared of an answer."""

    status: int
    type: str | None
    text: str

    @property
    def good(self) -> bool:
        return 200 <= self.status < 300

    @property
    def value(self) -> Any:
        """The body in a form that two agents share: text as sorted lines, JSON without what always differs."""
        if self.type == "application/json" and self.text.strip():
            return plain(json.loads(self.text))
        return words(self.text)


def words(text: str) -> list[str]:
    """The lines of a refusal in an order of their own: some come in the order of Go's maps, which is random."""
    text = FINGERPRINT.sub("<fingerprint>", TIME.sub("<time>", UUID.sub("<uuid>", text)))
    text = re.sub(r"(no match found), expected: .*", r"\1", text)  # the words of a parser generator
    text = re.sub(r"\(was [^)]*\)", "(was …)", text)  # how far a time is from now
    text = re.sub(r"\[http2 http\]", "[http http2]", text)
    return sorted(whole_cycles(text).splitlines())


def plain(value: Any) -> Any:
    """JSON without times, ids, indexes, hashes, and the addresses that an agent gives in turn."""
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, str):
        value = TIME.sub("<time>", UUID.sub("<uuid>", PEM.sub("<pem>", value)))
        value = re.sub(r"^127\.0\.0\.1:[0-9]{4,5}$", "<server>", value)
        return re.sub(r"^240\.0\.\d+\.\d+$", "<virtual address>", value)
    if not isinstance(value, dict):
        return value
    if isinstance(addresses := value.get("TaggedAddresses", value.get("ServiceTaggedAddresses")), dict):
        # An agent learns of virtual addresses late, and a catalog keeps those of services that were there before.
        value = value | {"TaggedAddresses": {k: v for k, v in addresses.items() if not k.startswith("consul-virtual")}}
        value.pop("ServiceTaggedAddresses", None)
    value = {key: item for key, item in value.items() if key != "TaggedAddresses" or item}
    kept = {UUID.sub("<uuid>", key): plain(item) for key, item in value.items() if not PASSING.fullmatch(key)}
    if kept.get("ID", kept.get("ServiceID")) == "consul":  # its port is that of the servers
        kept |= {key: "<server>" for key in ("Port", "ServicePort") if key in kept}
    if {"CheckID", "Status", "Output"} <= kept.keys() and kept.get("Type") != "ttl":
        kept |= {"Status": "<by itself>", "Output": "<by itself>"}  # when it first runs is up to the agent
    return kept


def paths_of_difference(ours: Any, theirs: Any, at: str = "$") -> Iterator[str]:
    """Where two values differ, and how."""
    if type(ours) is not type(theirs):
        yield f"{at}: ours {_short(ours)}, real {_short(theirs)}"
    elif isinstance(ours, dict):
        for key in sorted({*ours, *theirs}):
            if key not in theirs:
                yield f"{at}.{key}: only ours ({_short(ours[key])})"
            elif key not in ours:
                yield f"{at}.{key}: only real ({_short(theirs[key])})"
            else:
                yield from paths_of_difference(ours[key], theirs[key], f"{at}.{key}")
        if list(ours) != list(theirs) and ours.keys() == theirs.keys():
            yield f"{at}: order of members, ours {list(ours)}, real {list(theirs)}"
    elif isinstance(ours, list):
        if len(ours) != len(theirs):
            yield f"{at}: ours {len(ours)} items, real {len(theirs)}: {_short(ours)}, {_short(theirs)}"
        else:
            for a, b in zip(ours, theirs, strict=True):
                yield from paths_of_difference(a, b, f"{at}[]")
    elif ours != theirs:
        yield f"{at}: ours {_short(ours)}, real {_short(theirs)}"


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 160 else text[:157] + "..."


@dataclasses.dataclass(frozen=True)
class Finding:
    """A difference, with the requests that led to it, of which the last is the one that differs."""

    weight: Weight
    steps: tuple[Step, ...]
    ours: Answer
    theirs: Answer
    details: tuple[str, ...] = ()

    @property
    def signature(self) -> str:
        """What two findings of one cause have in common: names, numbers and texts in quotes are left out."""
        step = self.steps[-1]
        depth = 3 if "/discovery-chain/" in step.path else 5 if "/agent/" in step.path else 4
        path = "/".join(step.path.partition("?")[0].split("/")[:depth])
        if self.weight in ("body", "wake"):
            said = (
                re.sub(r"^\$?", "", self.details[0])
                if self.weight == "wake"
                else "; ".join(sorted({_NAMED.sub("<name>", re.sub(r": .*", "", each)) for each in self.details})[:2])
            )
        else:
            said = f"{self._said(self.ours)} / {self._said(self.theirs)}"
        decoding = "ecoding failed" in self.theirs.text
        kind = (
            step.body.get("Kind", "") if isinstance(step.body, dict) and path == "/v1/config" and not decoding else ""
        )
        return f"{self.weight} {step.method} {path} {kind}: {said}"

    @staticmethod
    def _said(answer: Answer) -> str:
        if answer.good:
            return str(answer.status)
        text = "|".join(words(answer.text))
        text = re.sub(r'"[^"]*"|\'[^\']*\'|\[[^\]]*\]', "Q", text)
        text = re.sub(r"(Go (struct field|value)) .*", r"\1", text)  # which member it is says little
        return f"{answer.status} {re.sub(r'-?[0-9][0-9.e+]*', 'N', text)[:160]}"

    @property
    def size(self) -> tuple[int, int]:
        return len(self.steps), sum(len(str(step)) for step in self.steps)

    def __str__(self) -> str:
        lines = [f"{self.weight}: " + "\n      then ".join(map(str, self.steps))]
        if self.weight in ("body", "wake"):
            return "\n".join([*lines, *(f"      {each}" for each in self.details[:6])])
        return "\n".join(
            [
                *lines,
                *(
                    f"      {who} {a.status} {a.text.strip()[:300]!r}"
                    for who, a in (("ours", self.ours), ("real", self.theirs))
                ),
            ]
        )


class Side:
    """One of the two agents, and the ids that it gave."""

    def __init__(self, url: str, token: str = "", node: str = "") -> None:
        self.token, self.node = token, node
        self.netloc = urlsplit(url).netloc
        self.connection = http.client.HTTPConnection(self.netloc, timeout=20)
        self.given: dict[str, str] = {}

    def send(self, step: Step) -> Answer:
        body = step.body if isinstance(step.body, str) else None if step.body is None else json.dumps(step.body)
        secret = self.token if not step.token else self._own(step.token)
        headers = {"X-Consul-Token": secret} if secret else {}
        try:
            self.connection.request(
                step.method, self._own(step.path), None if body is None else self._own(body).encode(), headers
            )
            response = self.connection.getresponse()
            text = response.read().decode()
        except (http.client.HTTPException, ConnectionError):
            self.connection.close()
            return Answer(0, None, "closed without an answer")
        kind = response.headers["Content-Type"]
        answer = Answer(response.status, kind and kind.partition(";")[0], text)
        self._learn(step, answer)
        return answer

    def call(self, method: str, path: str) -> Any:
        answer = self.send(Step(method, path))
        return json.loads(answer.text) if answer.good and answer.text.strip() else None

    def close(self) -> None:
        self.connection.close()

    def _own(self, text: str) -> str:
        text = text.replace("{node}", self.node)
        return re.sub(r"\{(\w+\d)\}", lambda found: self.given.get(found[1], "none"), text)

    def _learn(self, step: Step, answer: Answer) -> None:
        what = re.fullmatch(r"/v1/(?:acl/(policy|token|role)|connect/(intention)s)(\?.*)?", step.path)
        if what is None or step.method == "GET" or not answer.good:
            return
        value = json.loads(answer.text)
        name = what[1] or what[2]
        at = sum(1 for known in self.given if re.fullmatch(rf"{name}\d+", known))
        self.given[f"{name}{at}"] = value.get("AccessorID") or value.get("ID")
        if "SecretID" in value:
            self.given[f"secret{at}"] = value["SecretID"]


class Subject(Protocol):
    """What conversations are about: what to look at when one is over, and how to clear the real agent."""

    name: str
    acl: bool

    def views(self, side: Side, steps: Sequence[Step]) -> Iterable[Step]: ...

    def clear(self, side: Side) -> None: ...


class Pair:
    """An in-process agent and a real one of the same version, for many conversations one after another."""

    def __init__(self, real: RealAgent, version: str, subject: Subject, known: Sequence[Known] = ()) -> None:
        self.real, self.version, self.subject, self.known = real, version, subject, known
        self.sent = self.not_modelled = self.accepted = 0
        self.unmodelled: Counter[str] = Counter()
        self.found: dict[str, Finding] = {}
        self._left_to_shrink = LONGEST_SHRINKING
        self._studied = ""  # the signature of what is being made smaller

    def talk(self, steps: Sequence[Step]) -> list[Finding]:
        """Send the requests to a fresh in-process agent and to the real one, which is cleared before and after."""
        node = str(self.real.config["node_name"])
        box = Agent(self.version, acl=self.subject.acl, node_name=node)  # type: ignore[arg-type]
        box.start()
        ours, theirs = Side(box.url, box.management_token, node), Side(self.real.url, self.real.token, node)
        try:
            self.prepare(ours)
            self.prepare(theirs)
            return list(self._talk(ours, theirs, steps))
        finally:
            self.subject.clear(theirs)
            ours.close()
            theirs.close()
            box.stop()

    def prepare(self, side: Side) -> None:
        """What a pair of some kind does before a conversation."""

    def _talk(self, ours: Side, theirs: Side, steps: Sequence[Step]) -> Iterator[Finding]:
        done: list[Step] = []
        for step in steps:
            here, there = self.both(ours, theirs, step)
            self.sent += 1
            if there is None:
                self.not_modelled += 1
                self.unmodelled[re.sub(r'"[^"]*"|(?<=/v1/)(\w+/\w+).*', r"\1", here.text.strip())[:120]] += 1
                continue
            done.append(step)
            self.accepted += there.good
            found = self._compared(done, here, there, ours, theirs)
            if found:
                yield found
                if step.method != "GET" and here.good != there.good:
                    return  # from here on the two know different things
            yield from self.further(tuple(done), here, there)
        for view in self.subject.views(ours, done):
            here, there = self.both(ours, theirs, view)
            if there and (found := self._compared([*done, view], here, there, ours, theirs)):
                yield found

    def both(self, ours: Side, theirs: Side, step: Step) -> tuple[Answer, Answer | None]:
        """The answers of the two; the real one is not asked for what the other does not model."""
        here = ours.send(step)
        return here, None if here.status == NOT_MODELLED else theirs.send(step)

    def further(self, steps: tuple[Step, ...], here: Answer, there: Answer) -> Iterable[Finding]:
        """What else a pair of some kind finds out about a request."""
        return ()

    def _compared(self, done: Sequence[Step], here: Answer, there: Answer, ours: Side, theirs: Side) -> Finding | None:
        """What differs; a read is repeated for a while, as an agent does some of its work after its answer."""
        until = time.monotonic() + SETTLED
        step = done[-1]
        while True:
            found = compared(tuple(done), here, there)
            if found is None or step.method != "GET" or time.monotonic() > until:
                return found
            if found.signature != self._studied and (self._studied or found.signature in self.found):
                return found  # not what is looked for, or seen before: not worth the wait
            time.sleep(0.05)
            here, there = ours.send(step), theirs.send(step)

    def explore(self, steps: Sequence[Step]) -> None:
        """Have a conversation, and keep what it found in its smallest form."""
        for finding in self.talk(steps):
            if finding.weight == "wake" and finding.signature not in self.found and not self._again(finding):
                continue  # the machine was busy
            if finding.signature not in self.found:
                self.found[finding.signature] = finding
                if finding in self.unknown and self._left_to_shrink > 0:
                    began = time.monotonic()
                    self.found[finding.signature] = self.smaller(finding)
                    self._left_to_shrink -= time.monotonic() - began

    def _again(self, finding: Finding) -> bool:
        return any(each.signature == finding.signature for each in self.talk(finding.steps))

    @property
    def unknown(self) -> list[Finding]:
        """What was found and is not expected, the gravest first."""
        left = [found for sign, found in self.found.items() if not any(each.fits(sign) for each in self.known)]
        return sorted(left, key=lambda found: (GRAVEST.index(found.weight), found.size))

    def unseen(self) -> list[Known]:
        """What was expected and not found."""
        return [each for each in self.known if not any(map(each.fits, self.found))]

    def smaller(self, finding: Finding) -> Finding:
        """The same finding with as few requests, members and elements as it takes."""
        left = 15 if finding.weight in ("body", "wake") else 100  # tries; what a view shows is seen after a while
        self._studied = finding.signature

        def still(steps: tuple[Step, ...]) -> Finding | None:
            nonlocal left
            left -= 1
            return next((each for each in self.talk(steps) if each.signature == finding.signature), None)

        best = still(finding.steps[-1:]) if len(finding.steps) > 1 else None
        best = best or finding
        improved = True
        while improved and left > 0:
            improved = False
            for steps in shorter(best.steps):
                if left <= 0:
                    break
                if (found := still(steps)) and found.size < best.size:
                    best, improved = found, True
                    break
        self._studied = ""
        return best

    def summary(self) -> str:
        share = 100 * self.not_modelled / max(self.sent, 1)
        return (
            f"{self.subject.name} {self.version}: {self.sent} requests, {self.accepted} accepted, "
            f"{share:.1f}% answered with 501, {len(self.found)} kinds of difference"
        )


def compared(steps: tuple[Step, ...], here: Answer, there: Answer) -> Finding | None:
    """The difference between two answers to the last of `steps`."""
    if CRASHED in here.text:
        return Finding("crash", steps, here, there)
    if here.good and there.good:
        if here.type != there.type:
            return Finding("body", steps, here, there, (f"content type: ours {here.type}, real {there.type}",))
        details = tuple(paths_of_difference(here.value, there.value))
        return Finding("body", steps, here, there, details) if details else None
    if here.good or there.good:
        return Finding("lie" if here.good else "refusal", steps, here, there)
    if here.status != there.status:
        return Finding("status", steps, here, there)
    return Finding("words", steps, here, there) if words(here.text) != words(there.text) else None


def shorter(steps: tuple[Step, ...]) -> Iterator[tuple[Step, ...]]:
    """The same steps with one left out, or with a body that has something less."""
    for at in range(len(steps) - 1):
        yield steps[:at] + steps[at + 1 :]
    for at in range(len(steps) - 1, -1, -1):
        step = steps[at]
        if not isinstance(step.body, str):
            for body in less(step.body):
                yield (*steps[:at], step._replace(body=body), *steps[at + 1 :])


def less(value: Any) -> Iterator[Any]:
    """The value with one member or element less, the outermost first."""
    if isinstance(value, dict):
        for key in value:
            yield {name: item for name, item in value.items() if name != key}
        for key, item in value.items():
            yield from (value | {key: smaller} for smaller in less(item))
    elif isinstance(value, list):
        for at in range(len(value)):
            yield value[:at] + value[at + 1 :]
        for at, item in enumerate(value):
            yield from ([*value[:at], smaller, *value[at + 1 :]] for smaller in less(item))
