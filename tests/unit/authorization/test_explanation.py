"""Explanations: what matched, what was shadowed, what the other mode says."""

from __future__ import annotations

import pytest
from support.authorization import allow, intent, table_of

from aioconsulconnect.authorization.explanation import explain
from aioconsulconnect.authorization.rules.request import HTTPRequest
from aioconsulconnect.authorization.rules.verdict import Reason, Verdict, denied, describe

EIGHT, SIX, FIVE = intent("*", "db", "deny"), intent("web", "*", "allow"), intent("*", "*", "allow")


def test_first_match_shadows_the_others() -> None:
    told = explain(table_of(EIGHT, SIX, FIVE), "web")
    assert told.matched == (EIGHT, SIX, FIVE)
    assert told.shadowed == (SIX, FIVE)
    assert not told.verdict
    assert told.other
    assert told.modes_differ
    assert str(told).splitlines() == [
        "denied by * -> db (deny, precedence 8): its action says so (mode consul)",
        "matches: * -> db (deny, precedence 8)",
        "shadowed: web -> * (allow, precedence 6)",
        "shadowed: * -> * (allow, precedence 5)",
        "mode envoy differs: allowed by web -> * (allow, precedence 6): its action says so",
    ]


def test_sidecar_applies_what_is_not_shadowed() -> None:
    told = explain(table_of(EIGHT, SIX, FIVE, mode="envoy"), "web")
    assert told.shadowed == (FIVE,)
    assert told.verdict
    assert not told.other


def test_permission_that_decided_is_named() -> None:
    table = table_of(intent("web", "db", (allow(path_exact="/a"), allow(path_prefix="/"))))
    told = explain(table, "web", request=HTTPRequest("GET", "/b"))
    assert "allowed by web -> db (2 permissions, precedence 9): its permission 1 is the first" in str(told)


def test_unknown_caller_matches_nothing() -> None:
    told = explain(table_of(EIGHT), None)
    assert told.matched == told.shadowed == ()
    assert str(told) == "denied: the source is not the identity of a service (mode consul)"


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_has_words(reason: Reason) -> None:
    assert str(denied(reason, EIGHT, 3)).startswith("denied by * -> db (deny, precedence 8): ")


def test_names_are_written_with_what_is_not_the_default() -> None:
    one = intent("web", "db", "allow", source_peer="east", destination_namespace="team")
    assert describe(one) == "peer:east/web -> team/db (allow, precedence 9)"
    assert describe(intent("web", "db", "allow", source_partition="blue")).startswith("blue/default/web -> ")


def test_age_is_in_the_words() -> None:
    verdict = Verdict(allowed=True, reason=Reason.INTENTION, intention=EIGHT, age=34.4)
    assert str(verdict) == "allowed by * -> db (deny, precedence 8): its action says so, by data of 34 s ago"
