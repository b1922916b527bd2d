"""Rules, identities of clients, policies, roles and tokens are judged as real agents of three versions once did."""

from __future__ import annotations

from typing import Any

import pytest
from support.guarded import RECORDED, SETS, Talk, authorized, in_process, intend, read
from support.versions import VERSIONS

from aioconsulconnect.testing import Version
from aioconsulconnect.testing.go_json.errors import NotModelledError
from aioconsulconnect.testing.protocol.acl_rules import RulesError, merged, parse_rules
from aioconsulconnect.testing.protocol.refusals import Dropped
from aioconsulconnect.testing.state.acl import Authorizer
from aioconsulconnect.testing.versions import FACTS

NAMED = ("service", "key", "node", "agent", "event", "query", "session")
GLOBAL = ("acl", "operator", "keyring", "mesh", "peering")
RIGHTS = [
    *((resource, access, name) for resource in NAMED for access in ("read", "write") for name in ("a", "ab", "x")),
    *(("intention", access, name) for access in ("read", "write") for name in ("a", "x", "*")),
    *((resource, access, "") for resource in GLOBAL for access in ("read", "write")),
]
# The words of these differ: in them the library counts positions in ways of its own.
LOOSE = ("heredoc", "zero-length", "literal not terminated", "expected closing RBRACE", '\\n "')


@pytest.fixture(params=RECORDED)
def recorded(request: pytest.FixtureRequest) -> Version:
    version: Version = request.param
    return version


def judged(rules: str, version: Version) -> list[Any]:
    """The status that rules get, with their rights or the refusal."""
    try:
        parsed = parse_rules(rules, FACTS[version])
    except RulesError as error:
        return [500, str(error)]
    except NotModelledError as error:
        return [501, str(error)]
    except Dropped:
        return [0, ""]
    who = Authorizer("x", "deny", rules=merged(parsed))
    known = RIGHTS if version != "1.8" else [right for right in RIGHTS if right[0] not in {"mesh", "peering"}]
    return [200, [f"{r}:{access} {name}".strip() for r, access, name in known if who.may(r, access, name)]]


def test_rules_are_taken_and_refused_as_recorded(recorded: Version) -> None:
    unread = 0
    for row in read("rules"):
        ours, theirs = judged(row["rules"], recorded), row.get("all") or row[recorded]
        if ours[0] == 501:
            unread += 1
        elif ours[0] == theirs[0] == 500 and any(word in theirs[1] for word in LOOSE):
            continue
        else:
            assert ours == theirs, row["rules"]
    assert unread < 35


def test_unknown_rule_gives_nothing_and_takes_nothing() -> None:
    """A resource that came later is no rule at all: what it falls back to decides."""
    rules = 'mesh = "deny" operator = "write"'
    for version in VERSIONS:
        may = version in {"1.8", "1.10"}
        who = Authorizer("x", "deny", rules=parse_rules(rules, FACTS[version]))
        assert who.may("mesh", "write") is may, version


def test_deeply_nested_rules_are_answered_501() -> None:
    with pytest.raises(NotModelledError):
        parse_rules("a { " * 5000, FACTS["1.22"])


@pytest.mark.parametrize("intentions", SETS)
def test_identities_are_judged_as_recorded(recorded: Version, intentions: str) -> None:
    with in_process(recorded) as side:
        intend(side, intentions)
        for row in read("identities"):
            theirs = row[recorded]
            expected = theirs if isinstance(theirs, list) else theirs[intentions]
            assert authorized(side, row["uri"]) == expected, row["uri"]


@pytest.mark.parametrize("conversation", ["tokens", "roles"])
def test_policies_roles_and_tokens_are_kept_as_recorded(recorded: Version, conversation: str) -> None:
    with in_process(recorded) as side:
        talk = Talk(side)
        for step in read(conversation):
            expected = tuple(step.get("all") or step[recorded])
            assert talk.say(step) == expected, step
