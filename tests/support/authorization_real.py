"""Random intentions on a real agent, callers in odd forms, and what the agent answers: for differential tests."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Any, NamedTuple, Self
from urllib.parse import quote

from aiohttp import ClientSession, TCPConnector
from support.agents import RealAgent

from aioconsulconnect.structs.agent import Authorization

IN_FLIGHT = 16
OTHERS_DOMAIN = "99999999-8888-7777-6666-555555555555.consul"

# Names that Consul stores as they are. A slash is no separator where a name is not written with its namespace.
PLAIN = ("web", "Web", "WEB", "api", "cron")
ODD = (
    "a.b",
    "a+b",
    "w x",
    "\u00e9",
    "\u00c9",
    "a%2Fb",
    "a/b",
    "peer:web",
    "\u00a0x",
    "\u200b",
    "..",
    "x?y",
    "x#y",
    "*",
)
SPELLINGS = (  # of one destination each: they differ in case alone, or do not differ to a careless comparison
    ("db", "DB", "Db"),
    ("cache", "Cache"),
    ("a.b", "A.B"),
    ("\u00e9t\u00e9", "\u00c9T\u00c9"),
    ("kit", "\u212ait", "KIT"),  # the sign for Kelvin is a capital k
    ("i", "I", "\u0130"),  # a capital with a dot becomes i and, to some, a dot more
    ("\u0131",),  # a dotless i is not the i that a capital I becomes
    ("\u03b1\u03c3", "\u0391\u03a3"),
    ("w x", "W X"),
    ("*",),
)
NO_RULES = "nobody"  # a destination for which there are never rules, but those of `*`
TARGETS = (*(name for names in SPELLINGS for name in names), NO_RULES, "default/db", "ns/db", "peer:db", "")
"""Destinations to ask about, as `Table.check` takes them."""


class Rule(NamedTuple):
    """An intention to write. `says` is an action, or "permissions"."""

    source: str
    destination: str
    says: str
    source_namespace: str = "default"
    destination_namespace: str = "default"
    peer: str = ""


class RuleSet(NamedTuple):
    """Rules, and the destinations whose entry requires a token."""

    rules: tuple[Rule, ...]
    with_token: frozenset[str]


class Asked(NamedTuple):
    """A question: a caller by its URI, the form of this, its name if it has one without the URI, and a destination."""

    form: str
    uri: str
    name: str | None
    target: str


def _own(home: str, name: str) -> str:
    return f"spiffe://{home}/ns/default/dc/dc1/svc/{quote(name, safe='')}"


def _encoded(name: str) -> str:
    return "".join(f"%{byte:02x}" for byte in name.encode())


def _hosted(host: str) -> Callable[[str, str], str]:
    return lambda home, name: _own(host.format(home=home), name)


def _under(path: str, *, words: str = "/ns/default/dc/dc1/svc/") -> Callable[[str, str], str]:
    return lambda home, name: _own(home, name).replace("/ns/default/dc/dc1/svc/", path + words, 1)


FORMS: dict[str, Callable[[str, str], str]] = {
    "own": _own,
    "foreign domain": lambda home, name: _own(OTHERS_DOMAIN, name),
    "other datacenter": lambda home, name: _own(home, name).replace("/dc/dc1/", "/dc/elsewhere/"),
    "other namespace": lambda home, name: _own(home, name).replace("/ns/default/", "/ns/other/"),
    "namespace in capitals": lambda home, name: _own(home, name).replace("/ns/default/", "/ns/DEFAULT/"),
    "namespace encoded": lambda home, name: _own(home, name).replace("/ns/default/", "/ns/de%66ault/"),
    "name encoded": lambda home, name: _own(home, "") + _encoded(name),
    "name encoded twice": lambda home, name: _own(home, _encoded(name)),
    "name not encoded": lambda home, name: _own(home, "") + name,
    "name longer": lambda home, name: _own(home, name) + "%00",
    "name in other bytes": lambda home, name: _own(home, name) + "%ff",
    "name very long": lambda home, name: _own(home, name + "x" * 2048),
    "path in a name": lambda home, name: _own(home, f"x/svc/{name}"),
    "path below": lambda home, name: _own(home, "x") + f"/../{quote(name, safe='')}",
    "path twice": _under("/ns/default/dc/dc1/svc/web"),
    "slash at the end": lambda home, name: _own(home, name) + "/",
    "slashes before": _under("/"),
    "words in capitals": _under("", words="/NS/default/DC/dc1/SVC/"),
    "words encoded": _under("", words="/n%73/default/dc/dc1/svc/"),
    "query": lambda home, name: _own(home, name) + "?x=1",
    "fragment": lambda home, name: _own(home, name) + "#x",
    "user": _hosted("root:secret@{home}"),
    "port": _hosted("{home}:8300"),
    "empty host": _hosted(""),
    "no host": lambda home, name: _own("", name).replace("//", "", 1),
    "host in capitals": lambda home, name: _own(home.upper(), name),
    "host with a dot": _hosted("{home}."),
    "host below the own": _hosted("x.{home}"),
    "host beyond ASCII": _hosted("\u00e9.consul"),
    "address as host": _hosted("[::1]"),
    "scheme in capitals": lambda home, name: _own(home, name).replace("spiffe", "SPIFFE", 1),
    "other scheme": lambda home, name: _own(home, name).replace("spiffe", "https", 1),
    "space before": lambda home, name: " " + _own(home, name),
    "line end behind": lambda home, name: _own(home, name) + "\n",
    "broken escape": lambda home, name: _own(home, name) + "%zz",
    "other partition": _under("/ap/foo"),
    "default partition": _under("/ap/default"),
    "default partition in capitals": _under("/ap/DEFAULT"),
    "default partition encoded": _under("/ap/de%66ault"),
    "gateway": lambda home, name: f"spiffe://{home}/gateway/mesh/dc/dc1",
    "agent": lambda home, name: f"spiffe://{home}/agent/client/dc/dc1/id/{quote(name, safe='')}",
    "server": lambda home, name: f"spiffe://{home}/agent/server/dc/dc1",
    "signing": lambda home, name: f"spiffe://{home}",
    "name alone": lambda home, name: name,
}


class Maker:
    """Random rules and questions of one seed, as an agent of `version` takes them."""

    def __init__(self, seed: int, version: tuple[int, int]) -> None:
        self._random = random.Random(seed)
        self._version = version

    def rules(self) -> RuleSet:
        """At most one rule for each pair of names, in one spelling for each destination."""
        found: dict[tuple[str, ...], Rule] = {}
        has_namespaces = self._version < (1, 9) and self._random.random() < 0.4
        destinations = [self._random.choice(names) for names in SPELLINGS]
        for _ in range(self._random.randint(4, 60)):
            one = self._rule(destinations, has_namespaces=has_namespaces)
            key: tuple[str, ...] = (*one[:2], *one[3:])
            if self._version < (1, 9):  # there case makes no second one
                key = tuple(name.lower() for name in key)
            found.setdefault(key, one)
        with_token: Iterable[str] = ()
        if self._version >= (1, 16):
            with_token = (name for name in destinations if self._random.random() < 0.2)
        return RuleSet(tuple(found.values()), frozenset(with_token))

    def _rule(self, destinations: list[str], *, has_namespaces: bool) -> Rule:
        pick = self._random.choice
        source, destination = pick((pick(PLAIN), pick(ODD), "*")), pick(destinations)
        says = pick(("allow", "deny"))
        if self._version >= (1, 9) and destination != "*" and self._random.random() < 0.25:
            says = "permissions"
        peer = pick(("", "", "", "east")) if self._version >= (1, 16) else ""
        one = Rule(source, destination, says, peer=peer)
        if not has_namespaces:
            return one
        namespace = pick(("default", "DEFAULT", "other", "*"))
        everywhere = destination == "*" and self._random.random() < 0.5
        return one._replace(
            source="*" if namespace == "*" else source,
            source_namespace=namespace,
            destination_namespace="*" if everywhere else pick(("default", "default", "DEFAULT")),
        )

    def questions(self, count: int, home: str) -> Iterator[Asked]:
        """Questions by callers of the trust domain `home`, and of others."""
        pick, forms = self._random.choice, tuple(FORMS)
        for _ in range(count):
            form = "own" if self._random.random() < 0.4 else pick(forms)
            name = pick((pick(PLAIN), pick(PLAIN), pick(ODD), "stranger"))
            by_name = name if form == "own" else None
            if form == "other namespace":
                by_name = f"other/{name}"
            yield Asked(form, FORMS[form](home, name), by_name, pick(TARGETS))


class Answer(NamedTuple):
    """What an agent answers: to authorize (None for HTTP 400), and to check (None if it was not asked, or refused)."""

    authorize: Authorization | None
    check: bool | None

    @property
    def authorized(self) -> bool:
        """True if authorize allows."""
        return self.authorize is not None and self.authorize.authorized


PERMISSIONS = [{"Action": "allow", "HTTP": {"PathPrefix": "/"}}]
_KEYS = {"JSONWebKeySet": {"Local": {"JWKS": "eyJrZXlzIjpbXX0="}}}
_PROVIDER = {"Kind": "jwt-provider", "Name": "okta", "Issuer": "okta", **_KEYS}


class Side:
    """The agent's side: takes rules, and answers questions once it decides by them. Enter it with `async with`."""

    def __init__(self, agent: RealAgent) -> None:
        self._agent = agent
        self._turn = 0
        self._session: ClientSession | None = None
        self.home = ""

    async def __aenter__(self) -> Self:
        headers = {"X-Consul-Token": self._agent.token} if self._agent.token else {}
        self._session = ClientSession(self._agent.url, headers=headers, connector=TCPConnector(limit=IN_FLIGHT))
        self.home = (await self._json("GET", "/v1/connect/ca/roots"))["TrustDomain"]
        if self._agent.version >= (1, 9):
            await self._put({"Kind": "proxy-defaults", "Name": "global", "Config": {"protocol": "http"}})
        if self._agent.version >= (1, 16):
            await self._put(_PROVIDER)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._session is not None
        await self._session.close()

    async def write(self, rules: RuleSet) -> None:
        """
        Put these rules in the place of all before.

        Each destination also has a rule for a caller of this turn, written last: once authorize knows it, its cache
        knows the others.
        """
        self._turn += 1
        if self._agent.version >= (1, 9):
            await self._write_entries(rules)
        else:
            await self._write_intentions(rules)
        uri, words = _own(self.home, self._marker), f"/{self._marker} =>"
        for target in TARGETS:
            async with asyncio.timeout(20):
                while bare(target):
                    told = await self._authorize(uri, bare(target))
                    if told is not None and words in told.reason:
                        break
                    await asyncio.sleep(0.002)

    async def ask(self, questions: Iterable[Asked]) -> list[tuple[Asked, Answer]]:
        """The answers, many questions at a time."""
        waiting, found = iter(questions), list[tuple[Asked, Answer]]()

        async def work() -> None:
            for asked in waiting:
                told = await self._authorize(asked.uri, bare(asked.target))
                check = None if asked.name is None else await self._check(asked.name, asked.target)
                found.append((asked, Answer(told, check)))

        async with asyncio.TaskGroup() as group:
            for _ in range(IN_FLIGHT):
                group.create_task(work())
        return found

    @property
    def _marker(self) -> str:
        return f"marker-{self._turn:04}"

    def _marking(self, rules: RuleSet) -> dict[str, Rule]:
        """By destination, the rule that is written last; of the spelling that the others have."""
        spelled = {names[0]: Rule(self._marker, names[0], "allow") for names in SPELLINGS}
        for rule in rules.rules:
            first = next(names[0] for names in SPELLINGS if rule.destination in names)
            spelled[first] = Rule(self._marker, rule.destination, "allow")
        return spelled

    async def _write_intentions(self, rules: RuleSet) -> None:
        old = await self._json("GET", "/v1/connect/intentions")
        await asyncio.gather(*(self._json("DELETE", f"/v1/connect/intentions/{one['ID']}") for one in old))
        for turn in (rules.rules, self._marking(rules).values()):
            await asyncio.gather(*(self._json("POST", "/v1/connect/intentions", _as_intention(one)) for one in turn))

    async def _write_entries(self, rules: RuleSet) -> None:
        entries: list[dict[str, Any]] = []
        for marking in self._marking(rules).values():
            sources = [one for one in rules.rules if one.destination == marking.destination]
            entry = {"Kind": "service-intentions", "Name": marking.destination}
            entries.append(entry | {"Sources": [_as_source(one) for one in (*sources, marking)]})
            if marking.destination in rules.with_token:
                entries[-1]["JWT"] = {"Providers": [{"Name": "okta"}]}
        entries.sort(key=lambda entry: str(entry["Name"]) != "*")  # so that the others' markers are after its rules
        await self._put(entries[0])
        await asyncio.gather(*(self._put(entry) for entry in entries[1:]))

    async def _put(self, entry: object) -> None:
        assert await self._json("PUT", "/v1/config", entry) is True

    async def _authorize(self, uri: str, target: str) -> Authorization | None:
        body = {"Target": target, "ClientCertURI": uri}
        assert self._session is not None
        async with self._session.post("/v1/agent/connect/authorize", json=body) as answer:
            if answer.status == 400:
                return None
            told = await answer.json()
        return Authorization(authorized=told["Authorized"], reason=told["Reason"])

    async def _check(self, source: str, destination: str) -> bool | None:
        assert self._session is not None
        names = {"source": source, "destination": destination}
        async with self._session.get("/v1/connect/intentions/check", params=names) as answer:
            return bool((await answer.json())["Allowed"]) if answer.status == 200 else None

    async def _json(self, method: str, path: str, body: object = None) -> Any:
        assert self._session is not None
        async with self._session.request(method, path, json=body) as answer:
            assert answer.status == 200, (method, path, body, answer.status, await answer.text())
            return await answer.json()


def bare(target: str) -> str:
    """A destination as authorize takes it, which knows no way to write the default namespace."""
    return target.removeprefix("default/")


def _as_intention(rule: Rule) -> dict[str, str]:
    return {
        "SourceNS": rule.source_namespace,
        "SourceName": rule.source,
        "DestinationNS": rule.destination_namespace,
        "DestinationName": rule.destination,
        "SourceType": "consul",
        "Action": rule.says,
    }


def _as_source(rule: Rule) -> dict[str, Any]:
    says = {"Permissions": PERMISSIONS} if rule.says == "permissions" else {"Action": rule.says}
    return {"Name": rule.source, **says} | ({"Peer": rule.peer} if rule.peer else {})
