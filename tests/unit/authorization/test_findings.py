"""The lint: every kind of finding, and nothing where there is nothing."""

from __future__ import annotations

import random
import time
from typing import Any

import msgspec
import pytest
from support.authorization import HOME, allow, deny, intent, token
from support.authorization_sets import Maker

from aioconsulconnect.authorization.findings import Finding, Problem, lint
from aioconsulconnect.authorization.rules.settings import DecisionSettings
from aioconsulconnect.authorization.rules.source import Source
from aioconsulconnect.authorization.table import Table
from aioconsulconnect.structs.config_entries.defaults import RequestNormalization
from aioconsulconnect.structs.intentions import HeaderPermission as H, Intention, Permission


def linted(*intentions: Intention, **settings: Any) -> list[Problem]:
    return [one.problem for one in lint(intentions, DecisionSettings(**{"default": "deny", **settings}))]


def test_sound_intentions_have_no_findings() -> None:
    says = (deny(path_prefix="/admin"), allow(H(name="x-role", exact="a"), path_regex="/[a-z]+", methods=("GET",)))
    assert linted(intent("web", "db", says), intent("*", "db", "deny"), intent("*", "*", "deny")) == []


@pytest.mark.parametrize(("default", "eight", "six"), [("deny", "deny", "allow"), ("allow", "allow", "deny")])
def test_intentions_for_which_the_modes_differ_are_found(default: str, eight: Any, six: Any) -> None:
    above, below = intent("*", "db", eight), intent("web", "*", six)
    (found,) = lint([below, above], DecisionSettings(default=default))  # type: ignore[arg-type]
    assert (found.problem, found.intention, found.other) == (Problem.MODES_DIFFER, above, below)
    assert "* -> db" in str(found)
    assert linted(above, below, intent("web", "db", "deny"), default=default) == []
    assert linted(above, below, default="allow" if default == "deny" else "deny") == []


def test_permissions_for_which_the_modes_can_differ_are_found() -> None:
    assert linted(intent("*", "db", (allow(path_prefix="/a"),)), intent("web", "*", "allow")) == [Problem.MODES_DIFFER]


@pytest.mark.parametrize(
    ("name", "expected"),
    [("a.b", Problem.NAME_IS_PATTERN), ("é", Problem.NAME_IS_PATTERN), ("w[x", Problem.REGEX_REFUSED)],
)
def test_name_that_is_a_pattern_is_found(name: str, expected: Problem) -> None:
    assert linted(intent(name, "db", "allow")) == [expected]


@pytest.mark.parametrize(
    "permission",
    [
        allow(path_exact="/a?b"), allow(path_prefix="/é"), allow(path_exact="/a b"), allow(path_exact="/a/../b"),
        allow(path_prefix="/a/./b"), allow(path_exact="/%61"), allow(path_exact="/a#b"), allow(path_prefix="/../a"),
        allow(H(name="Connection", present=True)), allow(H(name="keep-alive", exact="a", invert=True)),
    ],
)  # fmt: skip
def test_permission_that_never_matches_is_found(permission: Permission) -> None:
    assert linted(intent("web", "db", (permission,))) == [Problem.NEVER_MATCHES]


def test_permission_that_matches_what_is_missing_is_not_found() -> None:
    assert linted(intent("web", "db", (allow(H(name="connection", present=True, invert=True)),))) == []
    assert linted(intent("web", "db", (allow(path_prefix="/a%2"), allow(path_exact="/b%2F")))) == []


def test_settings_of_the_mesh_can_keep_a_permission_from_matching() -> None:
    says = (allow(H(name="x_role", present=True)), allow(path_prefix="/a//b"), allow(path_exact="/x/../y"))
    assert linted(intent("web", "db", says)) == [Problem.NEVER_MATCHES]
    strict = RequestNormalization(headers_with_underscores_action="DROP_HEADER", merge_slashes=True)
    assert linted(intent("web", "db", says), normalization=strict) == [Problem.NEVER_MATCHES] * 3
    off = RequestNormalization(insecure_disable_path_normalization=True)
    assert linted(intent("web", "db", says), normalization=off) == []


@pytest.mark.parametrize(
    ("first", "second", "shadowed"),
    [
        (allow(path_prefix="/"), deny(path_exact="/a"), True),
        (allow(path_prefix="/a"), deny(path_prefix="/a/b"), True),
        (allow(path_exact="/a"), deny(path_exact="/a", methods=("GET",)), True),
        (allow(methods=("GET", "PUT")), deny(path_exact="/a", methods=("GET",)), True),
        (allow(H(name="a", present=True)), deny(H(name="a", present=True), H(name="b", present=True)), True),
        (allow(path_regex="/a"), deny(path_regex="/a", methods=("GET",)), True),
        (allow(path_prefix="/a"), deny(path_regex="/a"), False),
        (allow(methods=("GET",)), deny(path_exact="/a"), False),
        (allow(H(name="a", present=True)), deny(path_exact="/a"), False),
        (allow(path_prefix="/a/b"), deny(path_prefix="/a"), False),
        (allow(path_exact="/a"), deny(path_prefix="/a"), False),
    ],
)
def test_shadowed_permission_is_found(first: Permission, second: Permission, shadowed: bool) -> None:
    found = lint([intent("web", "db", (first, second))], DecisionSettings(default="deny"))
    assert [(one.problem, one.permission) for one in found] == [(Problem.SHADOWED, 1)] * shadowed


def test_token_that_a_sidecar_does_not_ask_for_is_found() -> None:
    whole, part = intent("a", "db", "allow", jwt=token()), intent("b", "db", (allow(path_prefix="/", jwt=token()),))
    assert linted(whole, part, default="allow") == [Problem.TOKEN_NOT_ENFORCED] * 2
    assert linted(whole, part, intent("c", "db", "deny", jwt=token())) == []


def test_expression_that_re2_refuses_is_found() -> None:
    says = (allow(path_regex="(?=a)"), allow(H(name="a", regex=r"(a)\1")), allow(path_regex="/a"))
    assert linted(intent("web", "db", says)) == [Problem.REGEX_REFUSED] * 2


def test_what_is_not_understood_is_found() -> None:
    one = intent("web", "db", "allow", source_sameness_group="g")
    odd = allow(H(name="a", present=True, unknown=(("New", 1),)))
    assert linted(one, intent("api", "db", (odd,))) == [Problem.NOT_UNDERSTOOD] * 2
    plain = intent("web", "db", "allow")
    (found,) = lint([plain], DecisionSettings(default="deny"), unknown={plain.key: ("New",)})
    assert found.problem is Problem.NOT_UNDERSTOOD
    assert msgspec.structs.replace(found, detail="x") != found


def test_order_of_the_list_does_not_matter() -> None:
    for seed in range(40):
        intentions = Maker(seed, regexes=True).intentions()
        settings = DecisionSettings(default="deny")
        expected = lint(intentions, settings)
        random.Random(seed).shuffle(intentions)
        assert sorted(map(str, lint(intentions, settings))) == sorted(map(str, expected))


def test_modes_differ_for_connections_only_where_the_lint_says_so() -> None:
    differing = 0
    for seed in range(1500):
        intentions = Maker(seed, regexes=False).intentions()
        default = random.Random(seed).choice(("allow", "deny"))
        settings = DecisionSettings(default=default, trust_domain=HOME, enterprise=True)  # type: ignore[arg-type]
        findings: tuple[Finding, ...] = lint(intentions, settings)
        pairs = {(one.intention.key, one.other.key) for one in findings if one.other is not None}
        modes = [Table.build(intentions, msgspec.structs.replace(settings, mode=mode)) for mode in ("consul", "envoy")]
        for source in [
            Source(name, space, peer=peer)
            for name in ("web", "other")
            for space in ("default", "team")
            for peer in ("", "east")
        ]:
            documented, enforced = (table.check(source, "db") for table in modes)
            if documented.allowed is not enforced.allowed:
                differing += 1
                assert documented.intention is not None
                assert documented.intention.key in {first for first, _ in pairs}, (seed, source)
    assert differing > 10


@pytest.mark.timed
def test_rules_for_every_destination_are_not_compared_where_no_source_is_vague() -> None:
    intentions = [intent(f"s{i}", f"d{i}", "allow") for i in range(6000)]
    intentions += [intent(f"w{i}", "*", "deny") for i in range(6000)]
    begin = time.perf_counter()
    assert lint(intentions, DecisionSettings(default="deny")) == ()
    assert time.perf_counter() - begin < 0.6
