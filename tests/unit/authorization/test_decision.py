"""Decisions: both modes, where they differ, tokens under each default, and a default that is not known."""

from __future__ import annotations

import pytest
from support.authorization import allow, deny, intent, table_of, token

from aioconsulconnect.authorization.rules.request import HTTPRequest
from aioconsulconnect.authorization.rules.settings import Mode
from aioconsulconnect.authorization.rules.verdict import Reason
from aioconsulconnect.structs.intentions import Action, Intention

MODES: tuple[Mode, ...] = ("consul", "envoy")
DEFAULTS: tuple[Action, ...] = ("allow", "deny")
GET = HTTPRequest("GET", "/")
HOLDS = {"okta": {"role": "admin"}}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("default", DEFAULTS)
def test_nothing_that_matches_leaves_the_default(mode: Mode, default: Action) -> None:
    verdict = table_of(intent("api", "db", "deny"), default=default, mode=mode).check("web")
    assert (verdict.allowed, verdict.reason, verdict.intention) == (default == "allow", Reason.DEFAULT, None)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("default", DEFAULTS)
@pytest.mark.parametrize("first", DEFAULTS)
def test_exact_source_outranks_the_wildcard(mode: Mode, default: Action, first: Action) -> None:
    second: Action = "deny" if first == "allow" else "allow"
    table = table_of(intent("*", "db", second), intent("web", "db", first), default=default, mode=mode)
    assert table.check("web").allowed is (first == "allow")
    assert table.check("web").precedence == 9
    assert table.check("api").allowed is (second == "allow")
    assert table.check("api").precedence == 8


@pytest.mark.parametrize(("default", "eight", "six"), [("deny", "deny", "allow"), ("allow", "allow", "deny")])
def test_wildcard_source_does_not_outrank_a_wildcard_destination_in_a_sidecar(
    default: Action, eight: Action, six: Action
) -> None:
    both = (intent("*", "db", eight), intent("web", "*", six))
    documented = table_of(*both, default=default).check("web")
    enforced = table_of(*both, default=default, mode="envoy").check("web")
    assert (documented.allowed, documented.precedence) == (eight == "allow", 8)
    assert (enforced.allowed, enforced.precedence) == (six == "allow", 6)


@pytest.mark.parametrize("mode", MODES)
def test_exact_source_shadows_itself_for_all_destinations(mode: Mode) -> None:
    table = table_of(intent("web", "db", "deny"), intent("web", "*", "allow"), mode=mode)
    assert not table.check("web")


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("default", DEFAULTS)
def test_intention_with_permissions_denies_a_connection(mode: Mode, default: Action) -> None:
    table = table_of(intent("web", "db", (allow(path_prefix="/"),)), default=default, mode=mode)
    verdict = table.check("web")
    assert (verdict.allowed, verdict.reason) == (False, Reason.REQUEST_NEEDED)
    assert table.check("web", request=GET)


def test_token_of_an_intention_is_not_asked_of_a_connection() -> None:
    for mode in MODES:
        assert table_of(intent("web", "db", "allow", jwt=token()), mode=mode).check("web")


@pytest.mark.parametrize("default", DEFAULTS)
def test_token_is_enforced_under_every_default_in_mode_consul(default: Action) -> None:
    table = table_of(intent("web", "db", "allow", jwt=token(role="admin")), default=default)
    assert table.check("web", request=GET).reason is Reason.TOKEN
    assert not table.check("web", request=GET)
    assert table.check("web", request=GET, claims=HOLDS)


def test_token_is_not_enforced_under_default_allow_by_a_sidecar() -> None:
    one = intent("web", "db", "allow", jwt=token())
    assert table_of(one, default="allow", mode="envoy").check("web", request=GET)
    assert not table_of(one, default="deny", mode="envoy").check("web", request=GET)


def test_denial_with_a_token_denies_only_its_holders_in_a_sidecar() -> None:
    one = intent("web", "db", "deny", jwt=token())
    table = table_of(one, default="allow", mode="envoy")
    verdict = table.check("web", request=GET)
    assert (verdict.allowed, verdict.reason) == (True, Reason.TOKEN)
    assert not table.check("web", request=GET, claims=HOLDS)
    assert not table_of(one, default="allow").check("web", request=GET)


def test_denied_permission_with_a_token_denies_only_its_holders_in_a_sidecar() -> None:
    one = intent("web", "db", (deny(path_prefix="/", jwt=token()), allow(path_prefix="/")))
    table = table_of(one, default="allow", mode="envoy")
    assert table.check("web", request=GET)
    assert not table.check("web", request=GET, claims=HOLDS)
    assert not table_of(one, default="allow").check("web", request=GET)


def test_token_of_the_intention_is_needed_for_its_permissions() -> None:
    one = intent("web", "db", (allow(path_prefix="/"),), jwt=token())
    for mode in MODES:
        assert not table_of(one, mode=mode).check("web", request=GET)
        assert table_of(one, mode=mode).check("web", request=GET, claims=HOLDS)


@pytest.mark.parametrize("mode", MODES)
def test_unknown_default_denies_where_it_matters(mode: Mode) -> None:
    table = table_of(intent("web", "db", "allow"), intent("api", "db", "deny"), default=None, mode=mode)
    assert table.check("web")
    assert table.check("api").reason is Reason.INTENTION
    assert table.check("cron").reason is Reason.DEFAULT_UNKNOWN
    table = table_of(intent("web", "db", (allow(path_exact="/a"),)), default=None, mode=mode)
    assert table.check("web", request=HTTPRequest("GET", "/a"))
    assert table.check("web", request=GET).reason is Reason.DEFAULT_UNKNOWN


def test_unknown_default_denies_where_a_sidecar_would_depend_on_it() -> None:
    table = table_of(intent("*", "db", "deny"), intent("web", "*", "allow"), default=None, mode="envoy")
    assert table.check("web").reason is Reason.DEFAULT_UNKNOWN
    assert table.check("api").reason is Reason.INTENTION


@pytest.mark.parametrize(
    "one",
    [
        Intention(source_name="web", destination_name="db"),
        intent("web", "db", (allow(path_prefix="/"),), action="allow"),
        Intention(source_name="web", destination_name="*", permissions=(allow(path_prefix="/"),)),
    ],
)
@pytest.mark.parametrize("mode", MODES)
def test_intention_of_a_form_that_consul_refuses_denies(one: Intention, mode: Mode) -> None:
    table = table_of(one, default="allow", mode=mode)
    for verdict in (table.check("web"), table.check("web", request=GET)):
        assert (verdict.allowed, verdict.reason) == (False, Reason.MALFORMED)


@pytest.mark.parametrize("default", DEFAULTS)
def test_connection_needs_the_token_where_claims_are_given(default: Action) -> None:
    table = table_of(intent("web", "db", "allow", jwt=token(role="admin")), default=default)
    assert table.check("web")  # as the agent says, which knows of no token
    assert table.check("web", claims=HOLDS)
    for claims in ({}, {"okta": {"role": "user"}}, {"auth0": {"role": "admin"}}):
        assert table.check("web", claims=claims).reason is Reason.TOKEN
