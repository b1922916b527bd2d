"""The lint: every kind of finding, and nothing where there is nothing."""

from __future__ import annotations

import random
import time
from collections import Counter
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings, strategies as st
from support.authorization import HOME, allow, deny, intent, token
from support.authorization_oracle import Question
from support.authorization_sets import METHODS, TARGETS, VALUES, Maker
from support.authorization_strategies import CALLS, CLAIMS, INTENTIONS, answers, of_everybody

from aioconsulconnect.authorization.findings import Finding, Problem, lint
from aioconsulconnect.authorization.rules.regex import is_available
from aioconsulconnect.authorization.rules.request import HTTPRequest
from aioconsulconnect.authorization.rules.settings import DecisionSettings
from aioconsulconnect.authorization.rules.source import Source
from aioconsulconnect.authorization.table import Table
from aioconsulconnect.structs.config_entries.defaults import RequestNormalization
from aioconsulconnect.structs.intentions import HeaderPermission as H, Intention, Permission


def linted(*intentions: Intention, **how: Any) -> list[Problem]:
    return [one.problem for one in lint(intentions, DecisionSettings(**{"default": "deny", **how}))]


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
        allow(path_prefix="/ad%6Din"), allow(path_prefix="/a%2e"), allow(path_prefix="/a\\b"), allow(path_exact="a"),
        allow(path_exact="/a", methods=("get",)), allow(methods=("FETCH", "get")), allow(path_exact="/a/.."),
        allow(path_exact="/" + 61_440 * "a"), allow(path_prefix="/" + 61_440 * "a"),
        allow(H(name="X", exact="a"), H(name="x", present=True, invert=True)),
        allow(H(name="x", present=True), H(name="x", present=True, invert=True)),
        allow(H(name="x y", exact="a")), allow(H(name="é", present=True)), allow(H(name="x:", exact="a", invert=True)),
        allow(H(name="host", present=True, invert=True)), allow(H(name=":path", present=True, invert=True)),
    ],
)  # fmt: skip
def test_permission_that_never_matches_is_found(permission: Permission) -> None:
    assert linted(intent("web", "db", (permission,))) == [Problem.NEVER_MATCHES]


@pytest.mark.parametrize(
    "permission",
    [
        allow(H(name="connection", present=True, invert=True)), allow(H(name="x y", present=True, invert=True)),
        allow(path_prefix="/a%2"), allow(path_prefix="/a%"), allow(path_exact="/b%2F"), allow(path_exact="/b%zz"),
        allow(path_prefix="/."), allow(path_prefix="/a/.."), allow(path_prefix="//"), allow(path_prefix="/a/."),
        allow(path_prefix="/%6"), allow(methods=("GET", "get")), allow(path_prefix="/" + 61_000 * "a"),
        allow(path_exact="/..;x"), allow(path_prefix="/..;x"), allow(path_exact="*"),
        allow(H(name="te", exact="trailers")), allow(H(name="upgrade", exact="websocket")),
        allow(H(name="content-length", present=True)), allow(H(name=":path", exact="/a")),
        allow(H(name="x-request-id", present=True)), allow(H(name="host", exact="a")),
        allow(H(name="x", exact="a"), H(name="x", exact="b")), allow(H(name="x", exact="a"), H(name="x", suffix="b")),
    ],
)  # fmt: skip
def test_permission_that_can_match_is_not_found(permission: Permission) -> None:
    assert linted(intent("web", "db", (permission,))) == []


def test_settings_of_the_mesh_can_keep_a_permission_from_matching() -> None:
    says = (allow(H(name="x_role", present=True)), allow(path_prefix="/a//b"), allow(path_exact="/x/../y"))
    assert linted(intent("web", "db", says)) == [Problem.NEVER_MATCHES]
    strict = RequestNormalization(headers_with_underscores_action="DROP_HEADER", merge_slashes=True)
    assert linted(intent("web", "db", says), normalization=strict) == [Problem.NEVER_MATCHES] * 3
    off = RequestNormalization(insecure_disable_path_normalization=True)
    assert linted(intent("web", "db", says), normalization=off) == []


@pytest.mark.parametrize("action", ["REJECT_REQUEST", "UNESCAPE_AND_FORWARD", "UNESCAPE_AND_REDIRECT"])
def test_escaped_slash_never_matches_where_the_mesh_lets_none_through(action: str) -> None:
    slashes = RequestNormalization(path_with_escaped_slashes_action=action)
    says = (allow(path_exact="/a%2Fb"), allow(path_prefix="/b%5c"), allow(path_exact="/a/b"), allow(path_prefix="/c%2"))
    found = lint([intent("web", "db", says)], DecisionSettings(default="deny", normalization=slashes))
    assert [(one.problem, one.permission) for one in found] == [(Problem.NEVER_MATCHES, 0), (Problem.NEVER_MATCHES, 1)]


def test_detail_says_why_a_permission_never_matches() -> None:
    says = {
        "upper case": allow(methods=("get",)),
        "after its normalization": allow(path_prefix="/ad%6Din"),
        "has 70001": allow(path_exact="/" + 70_000 * "a"),
        "and not to be there": allow(H(name="x", exact="a"), H(name="X", present=True, invert=True)),
        "of the name 'x y'": allow(H(name="x y", present=True)),
        "always there": allow(H(name="Host", present=True, invert=True)),
    }
    found = lint([intent("web", "db", tuple(says.values()))], DecisionSettings(default="deny"))
    assert [one.permission for one in found] == list(range(len(says)))
    assert [words in one.detail for words, one in zip(says, found, strict=True)] == [True] * len(says)
    assert all(len(str(one)) < 300 for one in found)


@pytest.mark.parametrize(
    ("first", "second", "shadowed"),
    [
        (allow(path_prefix="/"), deny(path_exact="/a"), True),
        (allow(path_prefix="/a"), deny(path_prefix="/a/b"), True),
        (allow(path_exact="/a"), deny(path_exact="/a", methods=("GET",)), True),
        (allow(methods=("GET", "PUT")), deny(path_exact="/a", methods=("GET",)), True),
        (allow(H(name="a", present=True)), deny(H(name="a", present=True), H(name="b", present=True)), True),
        (allow(path_regex="/a"), deny(path_regex="/a", methods=("GET",)), True),
        (allow(path_prefix="/a"), deny(path_regex="/a"), True),
        (allow(path_regex="/.*"), deny(path_exact="/admin"), True),
        (allow(path_regex="/.*"), deny(path_prefix="/admin"), True),
        (allow(path_regex="/.*"), deny(methods=("GET",)), True),
        (allow(path_regex="/adm.*"), deny(path_prefix="/admin"), True),
        (allow(path_regex="/(a|b)"), deny(path_exact="/b"), True),
        (allow(path_regex=r"/a\.b"), deny(path_exact="/a.b"), True),
        (allow(path_prefix="/"), deny(path_regex="/admin.*"), True),
        (allow(path_prefix="/"), deny(path_regex="(?i)x|y"), True),
        (allow(path_prefix="/adm"), deny(path_regex="^/admin[0-9]$"), True),
        (allow(path_prefix="/"), deny(H(name="x", exact="a")), True),
        (allow(H(name="x", present=True)), deny(H(name="x", exact="a")), True),
        (allow(H(name="x", present=True)), deny(H(name="x", exact="a", invert=True)), True),
        (allow(H(name="X", present=True)), deny(H(name="x", present=True)), True),
        (allow(H(name="x", prefix="a")), deny(H(name="X", exact="ab")), True),
        (allow(H(name="x", suffix="B", ignore_case=True)), deny(H(name="x", exact="ab")), True),
        (allow(H(name="x", contains="b")), deny(H(name="x", prefix="abc")), True),
        (allow(H(name="x", exact="ab", invert=True)), deny(H(name="x", prefix="a", invert=True)), True),
        (allow(H(name="x", exact="ab")), deny(H(name="x", prefix="a")), False),
        (allow(H(name="x", prefix="a", invert=True)), deny(H(name="x", exact="ab", invert=True)), False),
        (allow(H(name="x", prefix="A")), deny(H(name="x", exact="AB", ignore_case=True)), False),
        (allow(H(name="x", prefix="b")), deny(H(name="x", suffix="b")), False),
        (allow(H(name="x", suffix="b")), deny(H(name="x", contains="b")), False),
        (allow(H(name="x", exact="a", invert=True)), deny(H(name="x", exact="b")), False),
        (allow(H(name="x", present=True, invert=True)), deny(H(name="x", exact="a")), False),
        (allow(H(name="x", present=True)), deny(H(name="y", exact="a")), False),
        (allow(path_regex="/a.*"), deny(path_prefix="/"), False),
        (allow(path_regex="/a.+"), deny(path_prefix="/a"), False),
        (allow(path_regex="/.*", methods=("GET",)), deny(path_exact="/a"), False),
        (allow(path_prefix="/ab"), deny(path_regex="/ab*"), False),
        (allow(path_prefix="/ab"), deny(path_regex="/ab|/c"), False),
        (allow(path_prefix="/ab"), deny(path_regex="(?i)/abc"), False),
        (allow(path_prefix="/ab"), deny(path_regex="/ab{0}"), False),
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


def test_denial_that_only_those_with_a_token_meet_is_found() -> None:
    whole, part = intent("*", "*", "deny", jwt=token()), intent("web", "db", (deny(path_prefix="/", jwt=token()),))
    found = lint([whole, part], DecisionSettings(default="allow"))
    assert [(one.problem, one.intention, one.permission) for one in found] == [
        (Problem.DENIAL_NEEDS_TOKEN, part, 0),
        (Problem.DENIAL_NEEDS_TOKEN, whole, None),
    ]
    assert linted(whole, part) == []


def test_token_of_an_intention_is_found_for_what_none_of_its_permissions_matches() -> None:
    found = lint([intent("web", "db", (deny(path_exact="/b"),), jwt=token())], DecisionSettings(default="allow"))
    assert [(one.problem, one.permission) for one in found] == [
        (Problem.DENIAL_NEEDS_TOKEN, 0),
        (Problem.TOKEN_NOT_ENFORCED, None),
    ]
    assert "no permission matches" in str(found[1])


def test_token_that_a_less_exact_intention_does_not_ask_for_is_found() -> None:
    above, below = intent("*", "db", "allow", jwt=token()), intent("web", "*", "allow")
    (found,) = lint([above, below], DecisionSettings(default="deny"))
    assert (found.problem, found.intention, found.other) == (Problem.MODES_DIFFER, above, below)
    assert linted(above, intent("web", "*", "allow", jwt=token(role="a"))) == []
    assert linted(above, intent("web", "*", "allow", jwt=token("auth0"))) == [Problem.MODES_DIFFER]


def test_intention_of_a_default_that_is_not_known_is_judged_under_both() -> None:
    found = lint(
        [intent("web", "db", "allow", jwt=token()), intent("*", "db", "deny"), intent("api", "*", "allow")],
        DecisionSettings(),
    )
    assert [(one.problem, one.detail.partition(" a sidecar")[0]) for one in found] == [
        (Problem.TOKEN_NOT_ENFORCED, "with the default allow"),
        (Problem.MODES_DIFFER, "with the default deny"),
    ]
    opposite = lint([intent("*", "db", "allow"), intent("web", "*", "deny")], DecisionSettings())
    assert [str(one).rpartition(": ")[2] for one in opposite] == [
        "with the default allow a sidecar applies both, and denies more than documented"
    ]


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
    assert linted(plain, intent("web", "DB", "deny")) == [Problem.NOT_UNDERSTOOD]
    assert linted(plain, plain) == []
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


@pytest.mark.timed
@pytest.mark.parametrize("below", ["allow", "token"])
def test_rules_for_every_destination_are_not_tried_for_each_of_many_destinations(below: str) -> None:
    others: list[Intention] = [
        intent(f"w{i}", "*", "allow", jwt=token() if below == "token" else None) for i in range(3000)
    ]
    aboves = [intent("*", f"d{i}", "deny") for i in range(3000)]
    exact = [intent(f"w{i}", "d1", "deny") for i in range(2999)]
    begin = time.perf_counter()
    found = lint([*others, *aboves, *exact], DecisionSettings(default="deny"))
    assert time.perf_counter() - begin < 2
    assert len(found) == len(aboves)
    assert [one.other.source_name for one in found if one.other and one.intention == aboves[1]] == ["w2999"]


def test_intention_that_has_no_effect_in_a_sidecar_either_is_not_found() -> None:
    above, shadow = intent("*", "db", "deny", source_namespace="*"), intent("web", "*", "deny")
    shadowed = intent("web", "*", "allow", destination_namespace="*")
    assert linted(above, shadowed) == [Problem.MODES_DIFFER]
    assert linted(above, shadow, shadowed) == []
    assert linted(above, intent("*", "db", "allow"), shadowed) == []
    assert linted(above, intent("web", "*", "allow", source_peer="east")) == []


DECIDING = set(Problem) - {Problem.SHADOWED, Problem.NEVER_MATCHES}


def test_finding_names_an_intention_wherever_the_modes_differ() -> None:
    reasons: Counter[str] = Counter()

    @settings(max_examples=600, deadline=None)
    @given(
        INTENTIONS, st.sampled_from(["deny", "allow", None]), st.lists(st.tuples(st.none() | CALLS, CLAIMS), max_size=3)
    )
    def hold(intentions: list[Intention], default: Any, asked: list[Any]) -> None:
        how = DecisionSettings(default=default, trust_domain=HOME, enterprise=True)
        named = set()
        for one in lint(intentions, how):
            if one.problem in DECIDING:
                named |= {one.intention.key} | ({one.other.key} if one.other else set())
        modes = [Table.build(intentions, msgspec.structs.replace(how, mode=mode)) for mode in ("consul", "envoy")]
        for call, claims in asked:
            questions: list[Question] = of_everybody(call, claims)
            for documented, enforced in zip(*(answers(table, questions) for table in modes), strict=True):
                if documented.allowed is not enforced.allowed:
                    reasons[documented.reason.name] += 1
                    deciding = {one.intention.key for one in (documented, enforced) if one.intention}
                    assert deciding & named, (documented, enforced)

    hold()
    assert min(reasons["INTENTION"], reasons["TOKEN"]) > 5, reasons


# What is said to be idle decides nothing.

TEXTS = ("a", "A", "ab")
PATHS = ("/", "/a", "/admin", "/a%2Fb", "/ad%6Din", "/a//b", "/.")
REGEXES = ("/.*", "/ad.*", r"/a\.b", "/a|/b", "/admin?", "(?i)/A.*")
MESHES = st.builds(
    RequestNormalization,
    insecure_disable_path_normalization=st.booleans(),
    merge_slashes=st.booleans(),
    path_with_escaped_slashes_action=st.sampled_from(["", "REJECT_REQUEST", "UNESCAPE_AND_FORWARD"]),
    headers_with_underscores_action=st.sampled_from(["", "REJECT_REQUEST", "DROP_HEADER"]),
)
OF_PATHS = [
    HTTPRequest(method, path)
    for method in METHODS
    for path in (*TARGETS, *PATHS[3:], "/ADMIN", "/admi", "/a.b", "/axb", "/c", "/ad/x", "/.x")
]
Pair = tuple[str, str] | None
OF_X: list[Pair] = [None, *(("x", one) for one in VALUES)]
OTHERS: list[Pair] = [None, ("x_y", "a"), ("te", "trailers"), ("host", "b"), ("connection", "x")]
OF_HEADERS = [
    HTTPRequest("GET", "/", [pair for pair in (first, second, third) if pair is not None])
    for first in OF_X
    for second in OF_X
    for third in OTHERS
]


@st.composite
def of_paths(draw: st.DrawFn) -> Permission:
    kind = draw(st.sampled_from(["path_exact", "path_prefix", *(["path_regex"] * is_available())]))
    path: dict[str, Any] = {kind: draw(st.sampled_from(REGEXES if kind == "path_regex" else PATHS))}
    return allow(methods=draw(st.sampled_from([(), (), (), ("GET",), ("get",)])), **path)


@st.composite
def of_headers(draw: st.DrawFn) -> Permission:
    conditions = []
    for _ in range(draw(st.sampled_from([1, 1, 2]))):
        kind = draw(
            st.sampled_from(["present", "exact", "prefix", "suffix", "contains", *(["regex"] * is_available())])
        )
        says: dict[str, Any] = {kind: True if kind == "present" else draw(st.sampled_from(TEXTS))}
        if kind not in {"present", "regex"}:
            says["ignore_case"] = draw(st.booleans())
        name = draw(st.sampled_from(["x", "x", "x", "X", "X", "x_y", "te", "x y", "host"]))
        conditions.append(H(name=name, invert=draw(st.booleans()), **says))
    return allow(*conditions)


@pytest.mark.parametrize(("permissions", "requests"), [(of_paths(), OF_PATHS), (of_headers(), OF_HEADERS)])
@pytest.mark.slow
def test_permission_found_shadowed_or_never_matching_decides_no_request(
    permissions: st.SearchStrategy[Permission], requests: list[HTTPRequest]
) -> None:
    idle: Counter[Problem] = Counter()

    @settings(max_examples=600, deadline=None)
    @given(st.lists(permissions, min_size=2, max_size=3), MESHES)
    def hold(says: list[Permission], mesh: RequestNormalization) -> None:
        one = intent("web", "db", tuple(says))
        how = DecisionSettings(default="deny", trust_domain=HOME, normalization=mesh)
        found = {f.permission: f for f in lint([one], how) if f.problem not in DECIDING}
        idle.update(f.problem for f in found.values())
        for mode in ("consul", "envoy") if found else ():
            table = Table.build([one], msgspec.structs.replace(how, mode=mode))
            for request in requests:
                verdict = table.check("web", "db", request)
                assert verdict.permission not in found, (str(found[verdict.permission]), request, verdict)

    hold()
    assert min(idle[Problem.SHADOWED], idle[Problem.NEVER_MATCHES]) > 20, idle
