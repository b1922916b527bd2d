"""Tables: every way to ask, what they hold, how they are built, and what they cost."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, strategies as st
from support.authorization import HOME, WEB, allow, intent, table_of, token
from support.slices import counted

from aioconsulconnect.authorization import table as table_module
from aioconsulconnect.authorization.explanation import explain
from aioconsulconnect.authorization.findings import lint
from aioconsulconnect.authorization.rules.request import HTTPRequest
from aioconsulconnect.authorization.rules.rows import Rows, Tiers
from aioconsulconnect.authorization.rules.rule import Held, Rule
from aioconsulconnect.authorization.rules.settings import DecisionSettings, Mode
from aioconsulconnect.authorization.rules.source import Caller, Peer, Source
from aioconsulconnect.authorization.rules.verdict import Reason, Verdict
from aioconsulconnect.authorization.table import Table
from aioconsulconnect.errors import InvalidRequest
from aioconsulconnect.structs.intentions import Intention
from aioconsulconnect.structs.spiffe import SpiffeId

MODES: tuple[Mode, ...] = ("consul", "envoy")
SETTINGS = DecisionSettings(default="deny", trust_domain=HOME)
SEVERAL = [
    intent("web", "db", "allow"),
    intent("*", "db", "deny"),
    intent("web", "cache", (allow(path_prefix="/a"),)),
    intent("api", "*", "allow"),
]


@pytest.mark.parametrize("caller", ["web", WEB, [WEB], (WEB,), SpiffeId.parse(WEB), Source("web"), "default/web"])
def test_caller_can_be_named_in_every_way_and_again(caller: Caller) -> None:
    single, every = Table.build(SEVERAL, SETTINGS, destinations=["db"]), Table.build(SEVERAL, SETTINGS)
    for _ in range(2):
        assert single.check(caller).intention == SEVERAL[0]
        assert every.check(caller, "db").intention == SEVERAL[0]
        assert every.check(caller, "cache", HTTPRequest("GET", "/a"))
        assert not every.check(caller, "cache")


@pytest.mark.parametrize(
    "caller", [None, "", [], [WEB, WEB], ["web"], 5, b"web", {}, object(), float("nan"), ("web", "db")]
)
def test_caller_that_is_no_service_is_denied_by_every_table(caller: Any) -> None:
    settings = DecisionSettings(default="allow", trust_domain=HOME)
    for table in (Table.build(SEVERAL, settings), Table.build(SEVERAL, settings, destinations=["db"])):
        assert table.check("web", "db")
        for verdict in (
            table.check(caller, "db"),
            table.check(caller, "db", HTTPRequest("GET", "/")),
            table.check(caller),
        ):
            assert not verdict
            assert verdict.by_caller


def test_two_texts_never_pass_for_a_caller_and_a_destination() -> None:
    table = Table.build([intent("web", "db", "allow")], SETTINGS, destinations=["db"])
    assert table.check(WEB, "db")
    assert table.check((WEB, "db")).reason is Reason.SEVERAL_IDENTITIES


@pytest.mark.parametrize("mode", MODES)
def test_name_that_no_intention_has_gets_the_wildcard_or_the_default(mode: Mode) -> None:
    assert table_of(*SEVERAL, mode=mode).check("other").intention == SEVERAL[1]
    assert table_of(SEVERAL[0], mode=mode).check("other").reason is Reason.DEFAULT


def test_service_that_is_called_like_the_wildcard_is_another_service() -> None:
    table = table_of(intent("*", "db", "allow"), intent("web", "db", "deny"))
    assert table.check("*").intention == table.check("other").intention
    assert not table_of(intent("web", "db", "allow")).check("*")
    assert Table.build(SEVERAL, SETTINGS).check("web", "*").reason is Reason.DESTINATION_UNKNOWN


def test_name_with_a_slash_in_an_id_is_no_namespace() -> None:
    table = table_of(intent("admin", "db", "allow", source_namespace="web"), enterprise=True)
    assert table.check("web/admin")
    assert not table.check(f"spiffe://{HOME}/ns/default/dc/dc1/svc/web%2Fadmin")
    odd = table_of(intent("web/admin", "db", "allow"))
    assert odd.check(f"spiffe://{HOME}/ns/default/dc/dc1/svc/web%2Fadmin")
    assert not odd.check("web/admin")


def test_destination_is_compared_without_case_and_source_with_it() -> None:
    for table in (Table.build([intent("web", "Db", "allow")], SETTINGS), table_of(intent("web", "dB", "allow"))):
        assert table.check("web", "db")
        assert table.check("web", "DB")
        assert not table.check("Web", "db")


def test_destination_that_the_table_does_not_hold_is_denied() -> None:
    settings = DecisionSettings(default="allow", trust_domain=HOME)
    for names in (["db"], ["db", "cache"]):
        table = Table.build(SEVERAL, settings, destinations=names)
        for caller in ("web", WEB):
            assert table.check(caller, "other").reason is Reason.DESTINATION_UNKNOWN
            assert table.check(caller, "team/db").reason is Reason.DESTINATION_UNKNOWN
            assert table.check(caller, "db")
    assert Table.build(SEVERAL, settings).check("web", "other").reason is Reason.DEFAULT
    assert Table.build(SEVERAL, settings).check("web").reason is Reason.DESTINATION_UNKNOWN


@pytest.mark.parametrize("destination", ["", "/", "a/b/c/d", "peer:east/db", 5, [], WEB, b"db"])
def test_destination_that_is_no_name_is_unknown(destination: Any) -> None:
    for table in (Table.build(SEVERAL, SETTINGS), table_of(*SEVERAL)):
        assert table.check("web", destination).reason is Reason.DESTINATION_UNKNOWN
        assert table.check("api", destination, HTTPRequest("GET", "/")).reason is Reason.DESTINATION_UNKNOWN


def test_foreign_trust_domain_is_denied_unless_it_is_a_peers() -> None:
    uri = WEB.replace(HOME, "east.consul")
    intentions = (intent("web", "db", "allow"), intent("web", "db", "deny", source_peer="east"))
    assert table_of(*intentions).check(uri).reason is Reason.FOREIGN_TRUST_DOMAIN
    assert table_of(*intentions, compare_trust_domain=False).check(uri)
    verdict = table_of(*intentions, peers=(Peer(name="east", trust_domain="east.consul"),)).check(uri)
    assert (verdict.allowed, verdict.intention) == (False, intentions[1])
    assert table_of(*intentions, trust_domain="").check(WEB).reason is Reason.TRUST_DOMAIN_UNKNOWN


def test_foreign_tenancy_is_denied_where_consul_has_none() -> None:
    for caller in ("team/web", "blue/default/web", f"spiffe://{HOME}/ap/blue/ns/default/dc/dc1/svc/web"):
        one = intent("*", "db", "allow")
        blue = intent("*", "other", "allow", source_partition="blue")
        assert table_of(one, blue, default="allow").check(caller).reason is Reason.FOREIGN_TENANCY
        assert table_of(one, default="allow", enterprise=True).check(caller).reason is Reason.DEFAULT


def test_unknown_fields_that_were_found_in_the_body_deny() -> None:
    one = intent("web", "db", "allow")
    table = Table.build([one], SETTINGS, destinations=["db"], unknown={one.key: ("Weekdays",)})
    verdict = table.check("web")
    assert (verdict.allowed, verdict.reason, verdict.intention) == (False, Reason.FIELD_UNKNOWN, one)


def test_request_that_is_refused_or_redirected_is_denied_before_any_rule() -> None:
    table = table_of(intent("web", "db", "allow"), default="allow")
    assert table.check("web", request=HTTPRequest("GET", "/a b")).reason is Reason.REQUEST_REFUSED


def test_verdict_hands_the_judged_request_back() -> None:
    table = table_of(intent("web", "db", (allow(path_prefix="/a"),)))
    verdict = table.check(
        "web", request=HTTPRequest("GET", "/b/../a/%62?c", {"connection": "x-a", "x-a": "1", "x-b": "2"})
    )
    assert verdict.request == HTTPRequest("GET", "/a/b?c", [("x-b", "2")])


@pytest.mark.parametrize(
    ("request_", "claims"), [("GET /", None), (5, None), (HTTPRequest("GET", "/"), 5), (HTTPRequest("GET", "/"), "x")]
)
def test_request_or_claims_of_another_type_raise_invalid_request(request_: Any, claims: Any) -> None:
    with pytest.raises(InvalidRequest):
        table_of(*SEVERAL).check("web", request=request_, claims=claims)


@pytest.mark.parametrize("destinations", ["db", ["a/b/c/d"], ["*"], [""], [None]])
def test_destinations_that_are_no_names_raise_invalid_request(destinations: Any) -> None:
    with pytest.raises(InvalidRequest):
        Table.build(SEVERAL, SETTINGS, destinations=destinations)


def test_table_of_no_destination_knows_none() -> None:
    assert Table.build(SEVERAL, SETTINGS, destinations=[]).check("web", "db").reason is Reason.DESTINATION_UNKNOWN


def test_caches_are_bounded() -> None:
    table = Table.build(SEVERAL, SETTINGS, destinations=["db"])
    for i in range(10_000):
        table.check(f"spiffe://{HOME}/ns/default/dc/dc1/svc/s{i}")
        table.check(f"spiffe://{HOME}/ns/default/dc/dc1/svc/s{i}", "db")
        table.check(f"s{i}", "db", HTTPRequest("GET", "/"))
    assert max(len(cache) for cache in (table._answers, table._pairs, table._found)) <= 4096


LONG = "x" * 300


@pytest.mark.parametrize("caller", [f"peer:x/{LONG}", SpiffeId(trust_domain=HOME, datacenter="dc1", name=LONG)])
def test_long_text_of_a_stranger_is_not_kept(caller: Caller) -> None:
    table = Table.build(SEVERAL, SETTINGS, destinations=["db"])
    for destination in (None, "db", LONG):
        for request in (None, HTTPRequest("GET", "/")):
            table.check(caller, destination, request)
            table.check(WEB, destination, request)
    kept = (*table._answers, *table._pairs, *table._found)
    assert kept
    assert LONG not in repr(kept)


@pytest.mark.parametrize("certificate", [[WEB], (WEB,)])
@pytest.mark.parametrize("request_", [None, HTTPRequest("GET", "/a")])
def test_certificate_with_one_uri_is_looked_into_once(
    monkeypatch: pytest.MonkeyPatch, certificate: Sequence[str], request_: HTTPRequest | None
) -> None:
    table = Table.build(SEVERAL, SETTINGS, destinations=["db"])
    for destination in (None, "db"):
        first = table.check(certificate, destination, request_)
        assert first
        with monkeypatch.context() as patch:
            patch.setattr(table_module, "identify", lambda caller, trust: pytest.fail("it was looked into again"))
            assert table.check(certificate, destination, request_) == first
            assert table.check(WEB, destination, request_) == first


@pytest.mark.parametrize("destination", [None, "db"])
def test_names_are_held_against_patterns_when_somebody_calls_and_once(
    monkeypatch: pytest.MonkeyPatch, destination: str | None
) -> None:
    calls: list[Source] = []
    find = Rows.find_as_envoy

    def counted(rows: Rows, source: Source, tiers: Tiers) -> Sequence[Held] | Verdict:
        calls.append(source)
        return find(rows, source, tiers)

    monkeypatch.setattr(Rows, "find_as_envoy", counted)
    intentions = [*(intent(f"team.s{i}", "db", "allow") for i in range(20)), intent("web", "db", "allow")]
    table = table_of(*intentions, mode="envoy")
    assert not calls
    for _ in range(3):
        assert table.check("team-s7", destination).intention == intentions[7]
    assert calls == [Source("team-s7")]


@pytest.mark.parametrize("mode", MODES)
def test_names_are_held_against_groups_when_somebody_calls(monkeypatch: pytest.MonkeyPatch, mode: Mode) -> None:
    monkeypatch.setattr(Rule, "may_concern", lambda rule, source, *, as_envoy: pytest.fail("nobody called"))
    group = [intent(f"s{i}", "db", "deny", source_sameness_group="g") for i in range(20)]
    table = table_of(*group, intent("web", "db", "allow"), mode=mode)
    monkeypatch.undo()
    assert table.check("web").reason is Reason.INTENTION
    assert table.check("s3").reason is Reason.SOURCE_KIND_UNKNOWN


TEXTS = st.one_of(st.text(max_size=12), st.sampled_from(["web", "db", WEB, "*", "team/web", "peer:east/web", "a.b"]))
CALLERS = st.one_of(TEXTS, st.none(), st.integers(), st.lists(TEXTS, max_size=2), st.binary(max_size=3))
NAMES = st.one_of(st.sampled_from(["web", "*", "a.b", "w[", "db", "DB", ""]), st.text(max_size=4))
INTENTIONS = st.lists(
    st.builds(
        Intention,
        source_name=NAMES,
        destination_name=NAMES,
        source_namespace=st.sampled_from(["default", "*", "team", ""]),
        destination_namespace=st.sampled_from(["default", "*"]),
        source_peer=st.sampled_from(["", "east"]),
        source_type=st.sampled_from(["", "consul", "vm"]),
        source_sameness_group=st.sampled_from(["", "", "g"]),
        action=st.sampled_from(["allow", "deny", None]),
        permissions=st.sampled_from([(), (allow(path_regex="("),), (allow(path_prefix="/"),)]),
        jwt=st.sampled_from([None, token()]),
    ),
    max_size=5,
)


@given(INTENTIONS, CALLERS, st.one_of(st.none(), TEXTS), TEXTS, st.sampled_from(MODES))
def test_no_intentions_and_no_question_raise(
    intentions: list[Intention], caller: Any, destination: str | None, path: str, mode: Mode
) -> None:
    settings = DecisionSettings(default="allow", trust_domain=HOME, mode=mode)
    assert all(str(finding) for finding in lint(intentions, settings))
    for names in (None, ["db"]):
        table = Table.build(intentions, settings, destinations=names)
        for request in (None, HTTPRequest("GET", path)):
            first = table.check(caller, destination, request)
            assert isinstance(first, Verdict)
            assert table.check(caller, destination, request) == first
            assert explain(table, caller, destination, request).verdict == first
            assert (
                Table.build(intentions[::-1], settings, destinations=names).check(caller, destination, request) == first
            )


def many(count: int) -> list[Intention]:
    return [intent(f"service-{i % 977}", f"service-{i // 20}", "allow" if i % 3 else "deny") for i in range(count)]


def test_building_in_slices_gives_the_same_table() -> None:
    intentions = many(3000)
    slices = Table.in_slices(intentions, SETTINGS)
    table, steps = counted(slices)
    assert steps >= 6
    assert table.rows.by_destination == Table.build(intentions, SETTINGS).rows.by_destination


def quickest(table: Table, questions: Sequence[tuple[Any, ...]]) -> float:
    """Seconds for one decision, in the best of several rounds."""
    best = 1.0
    for _ in range(7):
        begin = time.perf_counter()
        for question in questions:
            table.check(*question)
        best = min(best, (time.perf_counter() - begin) / len(questions))
    return best


@pytest.mark.timed
@pytest.mark.parametrize("mode", MODES)
def test_decision_takes_nanoseconds(mode: Mode) -> None:
    """Bounds are several times what is measured on an idle machine."""
    settings = DecisionSettings(default="deny", trust_domain=HOME, mode=mode)
    single = Table.build(SEVERAL, settings, destinations=["db"])
    assert quickest(single, [("web",)] * 1000) < 0.6e-6
    assert quickest(single, [("other",)] * 1000) < 1e-6
    assert quickest(single, [(WEB,)] * 1000) < 1e-6
    every = Table.build(many(20_000), settings)
    assert quickest(every, [(f"service-{i % 977}", f"service-{i % 1000}") for i in range(1000)]) < 4e-6
