"""Intentions made ready: their keys, and what of them is not understood."""

from __future__ import annotations

import pytest
from support.authorization import allow, intent, token

from aioconsulconnect.authorization.rules import rule as rule_module
from aioconsulconnect.authorization.rules.rule import (
    Rule,
    fold,
    held,
    is_literal,
    key_of_destination,
    key_of_source,
    keys_for,
    uri_of,
)
from aioconsulconnect.authorization.rules.source import Source
from aioconsulconnect.authorization.rules.verdict import Reason
from aioconsulconnect.structs.intentions import Intention, JWTRequirement


def test_intention_that_only_allows_or_denies_is_held_as_it_is() -> None:
    one = intent("web", "db", "allow")
    assert held(one) is one
    assert isinstance(held(intent("web", "db", "allow", jwt=token())), Rule)
    assert isinstance(held(intent("web", "db", (allow(path_prefix="/"),))), Rule)
    assert isinstance(held(one, ("New",)), Rule)


@pytest.mark.parametrize(
    ("one", "flaw"),
    [
        (intent("web", "db", "allow", source_sameness_group="g"), Reason.SOURCE_KIND_UNKNOWN),
        (intent("web", "db", "allow", source_type="vm"), Reason.SOURCE_KIND_UNKNOWN),
        (intent("web", "db", "allow", source_namespace="*"), Reason.SOURCE_KIND_UNKNOWN),
        (intent("web", "db", "allow", source_peer="*"), Reason.SOURCE_KIND_UNKNOWN),
        (intent("web", "db", "allow", source_partition="*"), Reason.SOURCE_KIND_UNKNOWN),
        (intent("web", "db", "allow", jwt=JWTRequirement(unknown=(("New", 1),))), Reason.FIELD_UNKNOWN),
        (Intention(source_name="web", destination_name="db"), Reason.MALFORMED),
        (intent("web", "db", "allow", source_type="consul"), None),
        (intent("web", "db", "allow", jwt=JWTRequirement()), None),
    ],
)
def test_flaw_of_an_intention_is_found(one: Intention, flaw: Reason | None) -> None:
    assert Rule(one).flaw is flaw


def test_destination_is_folded_and_source_is_not() -> None:
    one = intent("Web", "DB", "allow")
    assert (key_of_source(one), key_of_destination(one)) == ("Web", "db")


@pytest.mark.parametrize(("name", "folded"), [("ÀB", "àb"), ("İ", "i"), ("\u0391\u03a3", "\u03b1\u03c3"), ("", "")])
def test_name_is_folded_letter_by_letter(name: str, folded: str) -> None:
    assert fold(name) == folded


def test_key_of_another_tenancy_is_no_name() -> None:
    assert key_of_source(intent("web", "db", "allow", source_peer="east")) == ("east", "default", "default", "web")
    assert key_of_source(intent("web", "db", "allow", source_partition="default")) == "web"
    assert key_of_source(intent("*", "db", "allow", source_namespace="*")) == ("", "default", "*", "*")
    assert keys_for(Source("web", "team")) == tuple(
        ("", "default", *rest) for rest in (("team", "web"), ("team", "*"), ("*", "*"))
    )


def test_partition_of_a_peer_is_not_part_of_its_key() -> None:
    assert keys_for(Source("web", partition="blue", peer="east"))[0] == ("east", "default", "default", "web")


@pytest.mark.parametrize(
    ("name", "literal"), [("web-1_A", True), ("*", True), ("a.b", False), ("a+b", False), ("é", False), ("", False)]
)
def test_name_that_envoy_reads_as_a_pattern_is_not_literal(name: str, literal: bool) -> None:
    assert is_literal(name) is literal


def test_uri_of_a_source_is_percent_encoded_or_there_is_none() -> None:
    assert str(uri_of(Source("w x", "team", "blue"))).endswith("/ap/blue/ns/team/dc/dc/svc/w%20x")
    assert uri_of(Source("a\nb")) is None


def test_permissions_are_compiled_once() -> None:
    rule = Rule(intent("web", "db", (allow(path_regex="/a.*"), allow(path_prefix="/"))))
    assert len(list(rule.compile_in_slices())) == 2
    assert rule.conditions() is rule.conditions()


EXPRESSIONS = (intent("w.x", "db", "allow"), intent("web", "db", (allow(path_regex="/a"),)))


@pytest.mark.parametrize("one", [intent("web", "db", (allow(path_regex="(?=a)"),)), intent("w[x", "db", "allow")])
def test_rule_that_envoy_refuses_says_why(one: Intention) -> None:
    assert Rule(one).refusal_by_envoy() is Reason.RULES_REFUSED


@pytest.mark.parametrize("one", EXPRESSIONS)
def test_rule_with_good_expressions_is_not_refused(one: Intention) -> None:
    assert Rule(one).refusal_by_envoy() is None


@pytest.mark.usefixtures("without_re2")
@pytest.mark.parametrize("one", EXPRESSIONS)
def test_rule_with_expressions_may_be_refused_without_re2(one: Intention) -> None:
    assert Rule(one).refusal_by_envoy() is Reason.REGEX_UNKNOWN
    assert Rule(intent("web", "db", (allow(path_prefix="/a"),))).refusal_by_envoy() is None


def test_name_of_a_source_is_compiled_when_a_sidecars_view_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[str] = []
    monkeypatch.setattr(rule_module, "compile_regex", lambda pattern, before: compiled.append(pattern))
    rule = Rule(intent("w.x", "db", "allow"))
    assert not compiled
    assert rule.source_pattern is rule.source_pattern
    assert len(compiled) == 1
