"""Rows: what matches in which order, names as patterns, sources that nobody understands, contradictions."""

from __future__ import annotations

import random
import time
from itertools import permutations

import msgspec
import pytest
from support.authorization import allow, intent, table_of
from support.slices import counted

from aioconsulconnect.authorization.rules import regex, rule as rule_module
from aioconsulconnect.authorization.rules.regex import Regex
from aioconsulconnect.authorization.rules.rows import Rows, rows_in_slices
from aioconsulconnect.authorization.rules.settings import DecisionSettings, Mode
from aioconsulconnect.authorization.rules.source import Source
from aioconsulconnect.authorization.rules.verdict import Reason
from aioconsulconnect.authorization.table import Table
from aioconsulconnect.structs.intentions import Intention

MODES: tuple[Mode, ...] = ("consul", "envoy")


def test_intentions_are_found_by_precedence() -> None:
    every = [intent(source, destination, "allow") for source in ("web", "*") for destination in ("db", "*")]
    rows = Rows()
    for one in every:
        rows.add(one, ())
    assert not list(rows.finish_in_slices())
    found = rows.find(Source("web"), ("db", "*", ("", "default", "*", "*")))
    assert [(one.source_name, one.destination_name) for one in found if isinstance(one, Intention)] == [
        ("web", "db"), ("*", "db"), ("web", "*"), ("*", "*"),
    ]  # fmt: skip


def test_namespaces_are_found_from_the_exact_to_all() -> None:
    table = table_of(
        intent("*", "db", "allow", source_namespace="*"),
        intent("*", "db", "deny", source_namespace="team"),
        intent("web", "db", "allow", source_namespace="team"),
        enterprise=True,
    )
    assert table.check("team/web").precedence == 9
    assert table.check("team/api").precedence == 8
    assert table.check("other/web").precedence == 7
    assert table.check("web").precedence == 7


def test_partitions_have_no_wildcard() -> None:
    table = table_of(intent("*", "db", "allow", source_namespace="*"), enterprise=True)
    assert table.check("web")
    assert table.check("blue/default/web").reason is Reason.DEFAULT


def test_wildcard_of_local_services_is_not_for_a_peer() -> None:
    table = table_of(intent("*", "db", "allow"))
    assert table.check("peer:east/web").reason is Reason.DEFAULT


def test_peered_intention_is_not_for_the_local_service_of_that_name() -> None:
    table = table_of(intent("web", "db", "allow", source_peer="east"))
    assert not table.check("web")
    assert table.check("peer:east/web")
    assert not table.check("peer:west/web")


@pytest.mark.parametrize(
    ("pattern", "matching", "others"),
    [
        ("a.b", ("a.b", "axb"), ("a", "aXXb", "other")),
        (".+", ("web", "a.b", "w x"), ()),
        ("w.+|zz", ("web", "wab"), ("w", "other")),
        ("a+b", ("ab", "aab"), ("a+b",)),
        ("é", (), ("é", "other")),
        ("w x", (), ("w x",)),
    ],
)
def test_name_of_a_source_is_a_pattern_in_a_sidecar(
    pattern: str, matching: tuple[str, ...], others: tuple[str, ...]
) -> None:
    table = table_of(intent(pattern, "db", "deny"), default="allow", mode="envoy")
    assert [table.check(name).allowed for name in matching] == [False] * len(matching)
    assert [table.check(name).allowed for name in others] == [True] * len(others)
    documented = table_of(intent(pattern, "db", "deny"), default="allow")
    assert not documented.check(pattern)
    assert documented.check("other")


def test_pattern_shadows_the_wildcard_in_a_sidecar() -> None:
    table = table_of(intent("a.b", "db", "deny"), intent("*", "db", "allow"), mode="envoy")
    assert not table.check("axb")
    assert table.check("other")


def test_pattern_of_a_peer_is_not_for_local_services() -> None:
    table = table_of(intent("w.b", "db", "deny", source_peer="east"), default="allow", mode="envoy")
    assert table.check("wab")
    assert not table.check("peer:east/wab")


@pytest.mark.parametrize("bad", [intent("w[x", "db", "allow"), intent("api", "db", (allow(path_regex="(?=a)"),))])
def test_one_refused_expression_denies_everything_in_a_sidecar(bad: Intention) -> None:
    table = table_of(bad, intent("web", "db", "allow"), mode="envoy")
    verdict = table.check("web")
    assert (verdict.allowed, verdict.reason, verdict.intention) == (False, Reason.RULES_REFUSED, bad)
    assert table_of(bad, intent("web", "db", "allow")).check("web")


@pytest.mark.usefixtures("without_re2")
@pytest.mark.parametrize("rule", [intent("w.x", "db", "deny"), intent("api", "db", (allow(path_regex="/a(?=b)"),))])
def test_any_expression_denies_everything_in_a_sidecar_without_re2(rule: Intention) -> None:
    for destinations in (None, ["db"]):
        settings = DecisionSettings(default="allow", mode="envoy")
        table = Table.build([rule, intent("web", "db", "allow")], settings, destinations=destinations)
        verdict = table.check("web", "db")
        assert (verdict.allowed, verdict.reason, verdict.intention) == (False, Reason.REGEX_UNKNOWN, rule)
    assert table_of(rule, intent("web", "db", "allow")).check("web")


def test_sameness_group_with_a_pattern_for_a_name_may_be_for_everybody_in_a_sidecar() -> None:
    group = intent("a.b", "db", "deny", source_sameness_group="g")
    verdict = table_of(group, default="allow", mode="envoy").check("axb")
    assert (verdict.allowed, verdict.reason, verdict.intention) == (False, Reason.SOURCE_KIND_UNKNOWN, group)
    assert table_of(group, default="allow").check("axb")
    assert not table_of(group, default="allow").check("a.b")


@pytest.mark.parametrize("mode", MODES)
def test_source_that_nobody_understands_denies_what_it_may_match(mode: Mode) -> None:
    group = intent("web", "db", "allow", source_sameness_group="g")
    table = table_of(group, intent("*", "db", "allow"), default="allow", mode=mode)
    verdict = table.check("web")
    assert (verdict.allowed, verdict.reason, verdict.intention) == (False, Reason.SOURCE_KIND_UNKNOWN, group)
    assert not table.check("peer:east/web")
    assert table.check("api")


def test_certain_intention_of_the_same_precedence_comes_before_a_sameness_group() -> None:
    group = intent("web", "db", "deny", source_sameness_group="g")
    assert table_of(group, intent("web", "db", "allow")).check("web")


@pytest.mark.parametrize("mode", MODES)
def test_unknown_kind_of_source_denies_everybody(mode: Mode) -> None:
    table = table_of(intent("x", "*", "allow", source_type="vm"), intent("*", "*", "allow"), default="allow", mode=mode)
    assert table.check("web").reason is Reason.SOURCE_KIND_UNKNOWN


@pytest.mark.parametrize("mode", MODES)
def test_contradicting_intentions_of_the_same_names_deny_in_every_order(mode: Mode) -> None:
    pair = (intent("web", "db", "allow"), intent("web", "DB", "deny"))
    first, second = (table_of(*order, default="allow", mode=mode).check("web") for order in permutations(pair))
    assert (first.allowed, first.reason) == (False, Reason.MALFORMED)
    assert first == second


def test_intention_that_is_listed_twice_is_one() -> None:
    assert table_of(*[intent("web", "db", "allow", modify_index=i) for i in (7, 9)]).check("web")


def built(intentions: list[Intention], *, as_envoy: bool = False) -> tuple[Rows, int]:
    """The rows, and the number of steps that it took to build them."""
    return counted(rows_in_slices(intentions, {}, compile_all=False, as_envoy=as_envoy))


def group(name: str, destination: str = "db") -> Intention:
    return intent(name, destination, "deny", source_sameness_group="g")


def test_many_rules_that_no_lookup_finds_are_sorted_in_steps() -> None:
    intentions = [group(f"s{i}") for i in range(3000)]
    random.Random(1).shuffle(intentions)
    rows, steps = built(intentions)
    assert steps > 12
    names = [rule.intention.source_name for rule in rows.special["db"]]
    assert names == sorted(f"s{i}" for i in range(3000))


@pytest.mark.timed
def test_time_to_take_in_rules_that_no_lookup_finds_is_proportional_to_their_number() -> None:
    intentions = [group(f"s{i}") for i in range(30_000)]
    begin = time.perf_counter()
    built(intentions)
    assert time.perf_counter() - begin < 0.7


def test_repeated_intention_is_held_once() -> None:
    intentions = [msgspec.structs.replace(one) for _ in range(3) for one in (group("a"), group("b"), group("a", "*"))]
    rows, _ = built([*intentions, group("a")])
    assert [len(rules) for rules in rows.special.values()] == [2, 1]


def test_repeated_intention_is_not_written_out_to_be_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Intention, "__repr__", lambda self: pytest.fail("it was written out"))
    one = intent("web", "*", "allow")
    rows, _ = built([msgspec.structs.replace(one) for _ in range(3)])
    assert rows.by_destination == {"*": {"web": one}}


def test_names_of_sources_are_compiled_one_in_a_step_for_a_sidecar_and_not_at_all_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    compiled: list[str] = []

    def compile_regex(pattern: str, *, before: str) -> Regex | None:
        compiled.append(pattern)
        return regex.compile_regex(pattern, before=before)

    monkeypatch.setattr(rule_module, "compile_regex", compile_regex)
    intentions = [intent(f"team.s{i}", f"d{i}", "allow") for i in range(20)]
    built(intentions)
    assert not compiled
    _, steps = built(intentions, as_envoy=True)
    assert steps >= len(compiled) == 20


@pytest.mark.parametrize("fields", [{}, {"source_peer": "east"}, {"source_namespace": "team"}])
@pytest.mark.parametrize(("source", "destination"), [("a/b", "db"), ("web", "a:b")])
def test_rows_know_that_a_name_may_be_an_id_or_have_a_namespace(
    source: str, destination: str, fields: dict[str, str]
) -> None:
    assert built([intent(source, destination, "allow", **fields)])[0].has_odd_names
    assert not built([intent("web", "db", "allow", **fields)])[0].has_odd_names
