"""
Decisions of tables against those of real agents, over random intentions and callers in every odd form.

A table may deny what `authorize` allows, for a reason that stands here as code. It may never allow what it denies.
"""

from __future__ import annotations

import logging
import re
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple
from urllib.parse import unquote_to_bytes

import pytest
from support.agents import Launcher
from support.authorization_real import FORMS, TARGETS, Answer, Asked, Maker, Rule, RuleSet, Side

from aioconsulconnect.authorization.rules.settings import DecisionSettings
from aioconsulconnect.authorization.rules.source import Caller
from aioconsulconnect.authorization.rules.verdict import Reason, Verdict
from aioconsulconnect.authorization.table import Table
from aioconsulconnect.client import Consul
from aioconsulconnect.structs.intentions import Action, Intention

_log = logging.getLogger("tests.authorizer_differential")
LARGE, SMALL = 250, 25  # questions about one set: writing a set takes as long as some dozen of them


class Setup(NamedTuple):
    """Settings of an agent: the default of its ACLs, and of its intentions if that is another setting."""

    acls: Action
    intentions: Action | None = None

    @property
    def default(self) -> Action:
        return self.intentions or self.acls

    @property
    def config(self) -> dict[str, Any]:
        own = {"default_intention_policy": self.intentions} if self.intentions else {}
        return {"acl": {"default_policy": self.acls}, **own}


def setups(version: tuple[int, int]) -> list[Setup]:
    acls: tuple[Action, Action] = ("allow", "deny")
    policies = (None, *acls) if version >= (1, 18) else (None,)
    return [Setup(acl, policy) for acl in acls for policy in policies]


# Why a table denies what authorize allows. Each is a fact about the agent, and says in which questions it shows.


class Denied(NamedTuple):
    """A question that a table answers with a denial and authorize does not."""

    asked: Asked
    reason: Reason
    home: str
    version: tuple[int, int]

    @property
    def name(self) -> bytes:
        """What the last segment of the path decodes to."""
        return unquote_to_bytes(self.asked.uri.rpartition("/")[2])


def trust_domain_is_not_compared(one: Denied) -> bool:
    """The agent takes identities of any trust domain: whoever asks it has verified the chain."""
    return one.reason is Reason.FOREIGN_TRUST_DOMAIN and f"//{one.home}/" not in one.asked.uri


def uri_is_read_leniently(one: Denied) -> bool:
    """The agent takes a scheme and a host in any case, any host or none, a user, a port, a query, a fragment."""
    strict = re.fullmatch(r"spiffe://[a-z0-9]([a-z0-9._-]*[a-z0-9])?/[^?#]*", one.asked.uri)
    return one.reason is Reason.NO_SERVICE and strict is None


def path_is_read_unencoded(one: Denied) -> bool:
    """The agent takes characters in a path that a URI has to encode (RFC 3986, section 3.3)."""
    path = one.asked.uri.removeprefix(f"spiffe://{one.home}")
    return one.reason is Reason.NO_SERVICE and re.fullmatch(r"[A-Za-z0-9._~!$&'()*+,;=:@%/-]+", path) is None


def name_may_be_anything(one: Denied) -> bool:
    """The agent takes names that cannot be read or that a path resolves: control characters, blanks, bytes, `..`."""
    name = one.name.decode(errors="replace")
    odd = name in {".", ".."} or not name.isprintable() or "\ufffd" in name
    return one.reason is Reason.NO_SERVICE and odd


def uri_may_be_of_any_length(one: Denied) -> bool:
    """The agent takes a URI above 2,048 bytes, which SPIFFE forbids to make."""
    return one.reason is Reason.NO_SERVICE and len(one.asked.uri) > 2048


def namespace_is_another_service(one: Denied) -> bool:
    """An agent without namespaces decides about a caller of one by the default, and 1.8 by intentions that have one."""
    return one.reason is Reason.FOREIGN_TENANCY and unquote_to_bytes(one.asked.uri.split("/")[4]) != b"default"


def default_partition_is_written_out(one: Denied) -> bool:
    """An agent from 1.11 on takes `/ap/default/` for no partition; none before does, and no Consul signs such an id."""
    match = re.match(r"spiffe://[^/]*/ap/([^/]+)/ns/", one.asked.uri)
    return (
        one.reason is Reason.NO_SERVICE
        and match is not None
        and unquote_to_bytes(match[1]).lower() == b"default"
        and one.version >= (1, 11)
    )


def destination_is_a_plain_name(one: Denied) -> bool:
    """The agent takes any text for the name of a destination: also `*`, and what names a namespace or a peer."""
    target = one.asked.target
    return one.reason is Reason.DESTINATION_UNKNOWN and (target in {"*", "ns/db"} or target.startswith("peer:"))


EXPLANATIONS: tuple[Callable[[Denied], bool], ...] = (
    trust_domain_is_not_compared,
    uri_is_read_leniently,
    path_is_read_unencoded,
    name_may_be_anything,
    uri_may_be_of_any_length,
    namespace_is_another_service,
    default_partition_is_written_out,
    destination_is_a_plain_name,
)

# Why `GET …/check` says something else than a table, in either direction.


class Otherwise(NamedTuple):
    """A question that check answers otherwise. `spelled` is the verdict by intentions for just this destination."""

    asked: Asked
    verdict: Verdict
    spelled: Verdict
    check: bool
    setup: Setup
    version: tuple[int, int]

    @property
    def by_acls(self) -> bool:
        return self.setup.acls == "allow"


def check_compares_case(one: Otherwise) -> bool:
    """From 1.9 on check compares destinations with their case, and authorize does not."""
    return one.version >= (1, 9) and one.spelled.allowed is one.check


def check_knows_the_acls_default_alone(one: Otherwise) -> bool:
    """Check does not know `default_intention_policy`; both facts together are also possible."""
    by_default = one.verdict.by_default or (one.version >= (1, 9) and one.spelled.by_default)
    return one.setup.intentions is not None and by_default and one.check is one.by_acls


def check_takes_names_as_they_are(one: Otherwise) -> bool:
    """Check takes `*` for a name, and so does 1.8 with `peer:…`, for which no intention can be but that for all."""
    texts = (one.asked.name or "", one.asked.target)
    return one.verdict.reason in {Reason.NO_SERVICE, Reason.DESTINATION_UNKNOWN} and (
        one.asked.target in {"*", ""} or any(text.startswith("peer:") for text in texts)
    )


def check_of_1_8_knows_namespaces(one: Otherwise) -> bool:
    """1.8 stores intentions for namespaces, and compares them; a table without Enterprise knows no namespace."""
    reasons = {Reason.FOREIGN_TENANCY, Reason.DESTINATION_UNKNOWN, Reason.NO_SERVICE}
    texts = (one.asked.name or "") + one.asked.target
    return one.version < (1, 9) and one.verdict.reason in reasons and "/" in texts


CHECKS_EXPLANATIONS: tuple[Callable[[Otherwise], bool], ...] = (
    check_compares_case,
    check_knows_the_acls_default_alone,
    check_takes_names_as_they_are,
    check_of_1_8_knows_namespaces,
)


class Tables:
    """The tables of one set: of all intentions, and of what is matched for each destination."""

    def __init__(
        self, intentions: tuple[Intention, ...], matched: Mapping[str, tuple[Intention, ...]], setup: Setup, home: str
    ) -> None:
        settings = DecisionSettings(default=setup.default, trust_domain=home, compare_trust_domain=False)
        self.as_agent = Table.build(intentions, settings)
        self.strict = Table.build(intentions, DecisionSettings(default=setup.default, trust_domain=home))
        wide = DecisionSettings(default=setup.default, compare_trust_domain=False, enterprise=True)
        self.with_namespaces = Table.build(intentions, wide)
        self.single = {name: Table.build(found, settings, destinations=(name,)) for name, found in matched.items()}
        self._spelled = {
            name: Table.build([one for one in intentions if one.destination_name in {name, "*"}], settings)
            for name in TARGETS
        }

    def verdict(self, asked: Asked, source: Caller) -> Verdict:
        """The verdict of all intentions; the tables of single destinations must give the same."""
        verdict = self.as_agent.check(source, asked.target)
        single = self.single.get(asked.target)
        if single is not None:
            assert single.check(source, asked.target) == verdict, asked
            assert single.check(source) == verdict, asked
        return verdict

    def spelled(self, asked: Asked) -> Verdict:
        """What the intentions for a destination of just this spelling say."""
        return self._spelled[asked.target].check(asked.name, asked.target)


class Tally:
    """Comparison of answers: what was counted, and the questions for which there is no explanation."""

    def __init__(self, setup: Setup, version: tuple[int, int], home: str) -> None:
        self.setup = setup
        self.version = version
        self.home = home
        self.counts: Counter[str] = Counter()
        self.unexplained: list[object] = []
        self.wrongly_allowed: list[object] = []

    def compare(self, tables: Tables, asked: Asked, answer: Answer) -> None:
        self.counts["decisions"] += 1
        self.counts["allowed"] += answer.authorized
        self.counts["400"] += answer.authorize is None
        certificate = (asked.uri,)  # a text of its own could also be a name
        verdict = tables.verdict(asked, certificate)
        if "://" in asked.uri:
            assert tables.verdict(asked, asked.uri) == verdict
        self._with_authorize("", asked, verdict, answer)
        strict = tables.strict.check(certificate, asked.target)
        if strict != verdict:
            assert strict.reason is Reason.FOREIGN_TRUST_DOMAIN, (asked, strict, verdict)
            self._with_authorize("strict: ", asked, strict, answer)
        if "/ap/" not in asked.uri:
            # Where there are namespaces, there are partitions, and this agent has none.
            wide = tables.with_namespaces.check(certificate, asked.target)
            if verdict.reason is Reason.FOREIGN_TENANCY:
                self._with_authorize("namespaces: ", asked, wide, answer)
                assert wide.reason is not Reason.FOREIGN_TENANCY
        if answer.check is not None:
            self._with_check(tables, asked, answer.check)

    def _with_authorize(self, which: str, asked: Asked, verdict: Verdict, answer: Answer) -> None:
        if verdict.allowed and not answer.authorized:
            self.wrongly_allowed.append((which, asked, verdict, answer))
        elif verdict.allowed is not answer.authorized:
            why = [one.__name__ for one in EXPLANATIONS if one(Denied(asked, verdict.reason, self.home, self.version))]
            self.counts.update([f"authorize: {which}{name}" for name in why[:1]])
            if not why:
                self.unexplained.append((which, asked, verdict, answer))
        elif verdict.reason.is_rule and answer.authorize is not None:
            assert verdict.by_default is answer.authorize.by_default, (asked, verdict, answer)

    def _with_check(self, tables: Tables, asked: Asked, check: bool) -> None:
        assert asked.name is not None
        self.counts["checks"] += 1
        verdict = tables.verdict(asked, asked.name)
        if verdict.allowed is check:
            return
        other = Otherwise(asked, verdict, tables.spelled(asked), check, self.setup, self.version)
        why = [one.__name__ for one in CHECKS_EXPLANATIONS if one(other)]
        self.counts.update([f"check: {name}" for name in why[:1]])
        if not why:
            self.unexplained.append(("check", asked, verdict, check))


async def compare_one_setup(own_agent: Launcher, setup: Setup, count: int, seed: int) -> Tally:
    """Answers to `count` questions by an agent with this setup, against those of tables."""
    agent = await own_agent(acl=True, config=setup.config)
    async with Side(agent) as side, Consul(agent.url, token=agent.token) as consul:
        tally = Tally(setup, agent.version, side.home)
        names = [name for name in TARGETS if name and name != "*" and "/" not in name and ":" not in name]
        while tally.counts["decisions"] < count:
            seed += 1
            maker = Maker(seed, agent.version)
            await side.write(maker.rules())
            matched = {name: await consul.intentions.match(destination=name) for name in names}
            tables = Tables(await consul.intentions.list(), matched, setup, side.home)
            here = min(SMALL if count < 1_000 else LARGE, count - tally.counts["decisions"])
            for asked, answer in await side.ask(maker.questions(here, side.home)):
                tally.compare(tables, asked, answer)
    agent.kill()
    return tally


@pytest.mark.parametrize(
    ("count", "seed"), [(500, 0), pytest.param(20_000, 1_000, marks=[pytest.mark.slow, pytest.mark.timeout(300)])]
)
async def test_tables_agree_with_the_agent(own_agent: Launcher, count: int, seed: int) -> None:
    start, total = time.monotonic(), Counter[str]()
    ways = setups(own_agent.binary.version)
    for number, setup in enumerate(ways):
        tally = await compare_one_setup(own_agent, setup, -(-count // len(ways)), seed + 10_000 * number)
        assert not tally.wrongly_allowed, (setup, len(tally.wrongly_allowed), tally.wrongly_allowed[:5])
        assert not tally.unexplained, (setup, len(tally.unexplained), tally.unexplained[:5])
        total += tally.counts
    assert 0.1 < total["allowed"] / total["decisions"] < 0.9, total  # else it shows little
    _log.info("%s: %s in %.1f s", own_agent.binary, dict(sorted(total.items())), time.monotonic() - start)


async def test_default_partition_that_is_written_out_is_refused_whatever_the_agent_says(own_agent: Launcher) -> None:
    setup = Setup("allow")
    agent = await own_agent(acl=True, config=setup.config)
    async with Side(agent) as side, Consul(agent.url, token=agent.token) as consul:
        await side.write(RuleSet((Rule("web", "db", "allow"),), frozenset()))
        tables = Tables(await consul.intentions.list(), {}, setup, side.home)
        forms = [form for form in FORMS if form.startswith("default partition")]
        for one, answer in await side.ask([Asked(form, FORMS[form](side.home, "web"), None, "db") for form in forms]):
            assert answer.authorized is (agent.version >= (1, 11)), one
            assert tables.verdict(one, one.uri).reason is Reason.NO_SERVICE, one


async def test_namespace_of_a_destination_is_compared_without_case(own_agent: Launcher) -> None:
    if own_agent.binary.version >= (1, 9):
        pytest.skip("from 1.9 on an agent writes the default namespace in one way")
    setup = Setup("allow")
    agent = await own_agent(acl=True, config=setup.config)
    async with Side(agent) as side, Consul(agent.url, token=agent.token) as consul:
        await side.write(RuleSet((Rule("web", "db", "deny", destination_namespace="DEFAULT"),), frozenset()))
        tables = Tables(await consul.intentions.list(), {}, setup, side.home)
        asked = Asked("own", FORMS["own"](side.home, "web"), "web", "db")
        for one, answer in await side.ask([asked]):
            assert not answer.authorized
            assert tables.verdict(one, one.uri).reason is Reason.INTENTION
            assert not tables.verdict(one, one.uri)
