"""Regular expressions: RE2 or nothing, whole matches, both readings, bounded work."""

from __future__ import annotations

import importlib
import random
import time
from collections.abc import Callable
from functools import partial
from types import SimpleNamespace

import pytest
from hypothesis import given, strategies as st
from support.authorization import WEB, allow, intent, judged, table_of

from aioconsulconnect.authorization.rules import regex
from aioconsulconnect.authorization.rules.regex import MOST_STEPS, Budget, compile_regex
from aioconsulconnect.authorization.rules.request import HTTPRequest
from aioconsulconnect.authorization.rules.settings import Mode
from aioconsulconnect.authorization.rules.verdict import Reason
from aioconsulconnect.structs.intentions import HeaderPermission, Permission

HOSTILE = [
    "/(a+)+", "(a|a)*b", "(.*)*x", "([ab]*a[ab]{999})", "(a?){500}a{500}", "(x+x+)+y", r"\pL{250}", "((a*)*)*b",
    "(" * 1000 + ")" * 1000, ".*" * 2000, "[^x]{1000}" * 4, "a" * 100_000, "(?i)" + "é" * 1000, r"(\w*\d){300}",
]  # fmt: skip


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [
        ("/a", "/a", True), ("/a", "/ab", False), ("a", "/a", False), ("/a|/b", "/b", True), (".*", "/a", True),
        ("(?i)/A", "/a", True), ("/[0-9]+", "/12", True), ("^/a$", "/a", True), (r"/\d+", "/1", True), ("", "", True),
    ],
)  # fmt: skip
def test_pattern_must_match_the_whole_text(pattern: str, text: str, expected: bool) -> None:
    compiled = compile_regex(pattern)
    assert compiled is not None
    assert compiled.matches(text, Budget(), all_versions=True) is expected


@pytest.mark.parametrize("pattern", ["(?=a)", r"(a)\1", "(", "[", "a{2000}", "(?<!a)b", "\ud800", "a" * 5000, "*"])
def test_pattern_that_re2_refuses_is_none(pattern: str) -> None:
    assert compile_regex(pattern) is None


def test_text_beyond_ascii_is_unknown_where_versions_read_it_differently() -> None:
    compiled = compile_regex("caf.")
    assert compiled is not None
    assert compiled.matches("café", Budget(), all_versions=False) is False
    assert compiled.matches("café", Budget(), all_versions=True) is None
    same = compile_regex("caf.*")
    assert same is not None
    assert same.matches("café", Budget(), all_versions=True) is True


def test_text_that_is_not_utf8_is_judged_as_bytes() -> None:
    compiled = compile_regex(r"a\xff")
    assert compiled is not None
    assert compiled.matches("a\udcff", Budget(), all_versions=False) is True


def test_text_that_is_too_long_for_the_pattern_is_unknown() -> None:
    compiled = compile_regex("[ab]*a[ab]{500}")
    assert compiled is not None
    assert compiled.matches("a" * 60_000, Budget(), all_versions=False) is None
    cheap = compile_regex("a*")
    assert cheap is not None
    assert cheap.matches("a" * 60_000, Budget(), all_versions=False) is True


def test_matches_of_one_question_share_their_budget() -> None:
    budget = Budget()
    compiled = compile_regex("[ab]*a[ab]{500}")
    assert compiled is not None
    found = [compiled.matches("a" * 1000, budget, all_versions=False) for _ in range(20)]
    assert found[0] is True
    assert found[-1] is None
    assert 0 <= budget.left < MOST_STEPS


def test_many_plain_expressions_are_judged_of_a_usual_path() -> None:
    rules = tuple(allow(path_regex=f"/v{i}/items/[0-9]+") for i in range(500))
    assert judged(rules, "/v499/items/" + "1" * 80).permission == 499


def quickest(ask: Callable[[], object]) -> float:
    """Seconds that the quickest of a few calls takes."""
    taken = []
    for _ in range(3):
        begin = time.perf_counter()
        ask()
        taken.append(time.perf_counter() - begin)
    return min(taken)


SLOW = "/(?:a|b)*a(?:a|b){900}"
HOSTILE_RULES = {
    "paths": tuple(allow(path_regex=f"{SLOW}c{{{i + 1}}}") for i in range(40)),
    "headers": tuple(allow(HeaderPermission(name="x-a", regex=f"{SLOW}c{{{i + 1}}}")) for i in range(5)),
    "inverted header": (allow(HeaderPermission(name="x-a", regex=SLOW + "c", invert=True)),),
    "states": tuple(allow(path_regex=f"/(?:a|b)*a(?:a|b){{14}}c{{{i + 1}}}") for i in range(200)),
}


@pytest.mark.timed
@pytest.mark.parametrize("mode", ["consul", "envoy"])
@pytest.mark.parametrize("rules", HOSTILE_RULES.values(), ids=HOSTILE_RULES)
def test_request_is_answered_in_time_whatever_its_rules(rules: tuple[Permission, ...], mode: Mode) -> None:
    letters = random.Random(2)
    table = table_of(intent("web", "db", rules), mode=mode)
    for length in (800, 1650, 3150, 20_000):
        path = "/" + "".join(letters.choice("ab") for _ in range(length))
        lines = [("x-a", path)] * min(98, 38_000 // (length + 8))
        request = HTTPRequest("GET", path, lines)
        assert quickest(partial(table.check, "web", request=request)) < 0.05
        assert not table.check("web", request=request)


@pytest.mark.timed
def test_caller_is_answered_in_time_whatever_the_names_in_rules() -> None:
    names = (f"(?:a|b)*a(?:a|b){{{i}}}c" for i in range(20, 900, 2))
    table = table_of(*(intent(name, "db", "deny") for name in names), default="allow", mode="envoy")
    uri = WEB.removesuffix("web") + "ab" * 900
    assert quickest(lambda: table.find(uri, None, "envoy")) < 0.05
    assert table.check(uri).reason is Reason.REGEX_UNKNOWN


@pytest.mark.timed
@pytest.mark.parametrize("pattern", HOSTILE, ids=lambda pattern: pattern[:20])
def test_hostile_pattern_is_answered_in_time(pattern: str) -> None:
    for text in ("/" + "a" * 59_000, "ab" * 29_000, "a" * 3000, "ab" * 1500, "é" * 3000):
        begin = time.perf_counter()
        compiled = compile_regex(pattern)
        between = time.perf_counter()
        if compiled is not None:
            compiled.matches(text, Budget(), all_versions=False)
        assert between - begin < 0.1
        assert time.perf_counter() - between < 0.1


@given(st.text(), st.text())
def test_no_pattern_and_no_text_raises(pattern: str, text: str) -> None:
    compiled = compile_regex(pattern)
    if compiled is not None:
        compiled.matches(text.encode("utf-8", "replace").decode(), Budget(), all_versions=True)


@pytest.mark.usefixtures("without_re2")
def test_pattern_without_re2_denies() -> None:
    assert compile_regex("/a") is None
    assert not regex.is_available()
    verdict = judged((allow(path_regex="/.*"),), "/a", default="allow")
    assert (verdict.allowed, verdict.reason) == (False, Reason.REGEX_UNKNOWN)


def test_module_of_the_same_name_that_falls_back_to_re_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    regex._library.cache_clear()
    monkeypatch.setattr(importlib, "import_module", lambda name: SimpleNamespace(compile=None, error=ValueError))
    assert not regex.is_available()
    regex._library.cache_clear()
