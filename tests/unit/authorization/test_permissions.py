"""Permissions: paths, methods, every kind of header condition, and tokens."""

from __future__ import annotations

import time
from typing import Any

import msgspec
import pytest
from support.authorization import allow, deny, intent, judged, table_of, token

from aioconsulconnect.authorization.rules.permissions import is_met
from aioconsulconnect.authorization.rules.request import HTTPRequest
from aioconsulconnect.authorization.rules.settings import Mode
from aioconsulconnect.authorization.rules.verdict import Reason
from aioconsulconnect.structs.intentions import (
    HeaderPermission as H,
    HTTPPermission,
    JWTProviderRequirement,
    JWTRequirement,
    Permission,
    VerifyClaim,
)


@pytest.mark.parametrize(
    ("http", "path", "expected"),
    [
        ({"path_exact": "/a"}, "/a", True), ({"path_exact": "/a"}, "/a?b", True),
        ({"path_exact": "/a"}, "/a/", False), ({"path_exact": "/a"}, "/A", False),
        ({"path_exact": "/a"}, "/x/../a", True), ({"path_exact": "/a"}, "/%61", True),
        ({"path_prefix": "/a"}, "/ab", True), ({"path_prefix": "/a/"}, "/a", False),
        ({"path_prefix": "/a"}, "/b?/a", False), ({"path_regex": "/[a-z]+"}, "/abc?1", True),
        ({"path_regex": "/[a-z]+"}, "/abc/1", False), ({"path_regex": "/[a-z]"}, "/abc", False),
        ({"methods": ("GET", "HEAD")}, "/", True), ({"methods": ("POST",)}, "/", False),
        ({"path_prefix": "/", "methods": ("POST",)}, "/", False),
        ({"path_exact": "/a", "methods": ("GET",)}, "/b", False),
    ],
)  # fmt: skip
def test_path_and_method_match(http: dict[str, Any], path: str, expected: bool) -> None:
    verdict = judged((allow(**http),), path)
    assert verdict.allowed is expected
    assert verdict.reason is (Reason.PERMISSION if expected else Reason.NO_PERMISSION)


def test_method_is_compared_with_its_case() -> None:
    assert not judged((allow(methods=("GET",)),), method="get")


ROLE = {"x-role": "Root"}


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (H(name="X-ROLE", present=True), True),
        (H(name="x-role", exact="Root"), True),
        (H(name="x-role", exact="root"), False),
        (H(name="x-role", exact="root", ignore_case=True), True),
        (H(name="x-role", prefix="Ro"), True),
        (H(name="x-role", prefix="ro"), False),
        (H(name="x-role", prefix="RO", ignore_case=True), True),
        (H(name="x-role", prefix="oo"), False),
        (H(name="x-role", suffix="ot"), True),
        (H(name="x-role", suffix="oo"), False),
        (H(name="x-role", suffix="OT", ignore_case=True), True),
        (H(name="x-role", contains="oo"), True),
        (H(name="x-role", contains="OO"), False),
        (H(name="x-role", contains="OO", ignore_case=True), True),
        (H(name="x-role", regex="R.*"), True),
        (H(name="x-role", regex="R"), False),
    ],
)
def test_header_condition_and_its_inverse_match(header: H, expected: bool) -> None:
    assert judged((allow(header),), headers=ROLE).allowed is expected
    inverted = msgspec.structs.replace(header, invert=True)
    assert judged((allow(inverted),), headers=ROLE).allowed is not expected


def test_case_is_ignored_for_letters_of_ascii_alone() -> None:
    assert not judged((allow(H(name="x-role", exact="É", ignore_case=True)),), headers={"x-role": "é"})
    assert judged((allow(H(name="x-role", exact="éA", ignore_case=True)),), headers={"x-role": "éa"})
    assert not judged((allow(H(name="x-role", exact="K", ignore_case=True)),), headers={"x-role": "\u212a"})


@pytest.mark.parametrize("kind", ["exact", "prefix", "suffix", "contains", "regex"])
def test_missing_header_fails_also_where_inverted(kind: str) -> None:
    for invert in (False, True):
        condition = H(**{"name": "x-role", kind: "a", "invert": invert})  # type: ignore[arg-type]
        assert not judged((allow(condition),))


def test_missing_header_matches_an_inverted_present() -> None:
    assert judged((allow(H(name="x-role", present=True, invert=True)),))
    assert not judged((allow(H(name="x-role", present=True, invert=True)),), headers=ROLE)


def test_empty_header_is_present() -> None:
    assert judged((allow(H(name="x-role", present=True)),), headers={"x-role": ""})


TWICE = [("x-role", "a"), ("X-Role", "b")]


def test_repeated_header_matches_by_any_of_its_values() -> None:
    assert judged((allow(H(name="x-role", exact="b")),), headers=TWICE)
    assert not judged((allow(H(name="x-role", exact="a", invert=True)),), headers=TWICE)
    assert not judged((allow(H(name="x-role", exact="a,b")),), headers=TWICE)


def test_repeated_header_denies_where_versions_of_envoy_differ() -> None:
    verdict = judged((allow(H(name="x-role", exact="b")),), headers=TWICE, mode="envoy")
    assert (verdict.allowed, verdict.reason) == (False, Reason.VERSIONS_DIFFER)
    assert judged((allow(H(name="x-role", prefix="a")),), headers=TWICE, mode="envoy")


def test_list_in_one_line_is_one_value() -> None:
    assert not judged((allow(H(name="x-role", exact="a")),), headers={"x-role": "a,b"})


def test_all_headers_must_match() -> None:
    both = (H(name="a", present=True), H(name="b", present=True))
    assert judged((allow(*both),), headers={"a": "", "b": ""})
    assert not judged((allow(*both),), headers={"a": ""})


def test_pseudo_headers_can_be_named() -> None:
    assert judged((allow(H(name=":path", suffix="?x=1")),), "/a/../b?x=1")
    assert judged((allow(H(name=":method", exact="GET")),))
    assert judged((allow(H(name=":authority", exact="db")),), headers={"Host": "db"})


@pytest.mark.parametrize("name", ["x-request-id", "x-forwarded-client-cert", "x-forwarded-proto", ":scheme", "host"])
def test_header_that_only_the_proxy_knows_denies(name: str) -> None:
    verdict = judged((deny(H(name=name, exact="a")), allow(path_prefix="/")), default="allow")
    assert (verdict.allowed, verdict.reason, verdict.permission) == (False, Reason.HEADER_UNKNOWN, 0)
    assert judged((allow(H(name=name, present=True)),))


def test_header_that_no_rule_ever_sees_is_missing() -> None:
    assert not judged((allow(H(name="connection", present=True)),), headers={"connection": "close"})


def test_part_that_fails_settles_what_is_unknown() -> None:
    unknown = (H(name="x-request-id", exact="a"),)
    assert judged((deny(*unknown, path_exact="/a"), allow(path_prefix="/")), "/b")
    assert judged((deny(*unknown, H(name="x", exact="1")), allow(path_prefix="/")), "/b")
    assert judged((deny(path_regex="(?=a)", methods=("POST",)), allow(path_prefix="/")), "/b")


def test_first_permission_whose_http_part_matches_decides() -> None:
    says = (deny(path_exact="/a"), allow(path_prefix="/a"), deny(path_prefix="/"))
    assert [judged(says, path).permission for path in ("/a", "/ab", "/b")] == [0, 1, 2]
    assert [judged(says, path).allowed for path in ("/a", "/ab", "/b")] == [False, True, False]


@pytest.mark.parametrize("default", ["allow", "deny"])
def test_no_permission_leads_to_the_default_and_not_to_the_next_intention(default: str) -> None:
    table = table_of(
        intent("web", "db", (allow(path_exact="/a"),)),
        intent("*", "db", "allow" if default == "deny" else "deny"),
        default=default,
    )
    verdict = table.check("web", request=HTTPRequest("GET", "/b"))
    assert verdict.allowed is (default == "allow")
    assert verdict.reason is Reason.NO_PERMISSION
    assert verdict.by_default


UNKNOWN = (("NewField", True),)
HTTP = HTTPPermission(path_prefix="/")


@pytest.mark.parametrize(
    "permission",
    [
        Permission(action="allow", http=HTTP, unknown=UNKNOWN),
        Permission(action="allow", http=msgspec.structs.replace(HTTP, unknown=UNKNOWN)),
        allow(H(name="a", present=True, unknown=UNKNOWN)),
        allow(jwt=JWTRequirement(unknown=UNKNOWN), path_prefix="/"),
        allow(jwt=JWTRequirement(providers=(JWTProviderRequirement(name="a", unknown=UNKNOWN),)), path_prefix="/"),
        allow(
            jwt=JWTRequirement(
                providers=(JWTProviderRequirement(name="a", verify_claims=(VerifyClaim(unknown=UNKNOWN),)),)
            ),
            path_prefix="/",
        ),
    ],
)
def test_unknown_field_of_a_permission_denies_under_every_default(permission: Permission) -> None:
    for default in ("allow", "deny"):
        verdict = judged((permission, allow(path_prefix="/")), default=default, headers={"a": "b"})
        assert (verdict.allowed, verdict.reason, verdict.permission) == (False, Reason.FIELD_UNKNOWN, 0)


@pytest.mark.parametrize(
    "permission",
    [
        Permission(action="allow"),
        Permission(action="allow", http=HTTPPermission()),
        Permission(http=HTTP),
        allow(path_exact="/", path_prefix="/"),
        allow(H(name="", present=True)),
        allow(H(name="a")),
        allow(H(name="a", exact="b", prefix="b")),
        allow(H(name="a", present=True, ignore_case=True)),
        allow(H(name="a", regex="b", ignore_case=True)),
    ],
)
def test_permission_of_a_form_that_consul_refuses_denies(permission: Permission) -> None:
    for mode in ("consul", "envoy"):
        verdict = judged((permission,), headers={"a": "b"}, default="allow", mode=mode)
        assert (verdict.allowed, verdict.reason) == (False, Reason.MALFORMED)


CLAIMS = {"okta": {"iss": "https://okta", "role": "admin", "perms": {"role": "admin", "list": ["admin"], "yes": True}}}


@pytest.mark.parametrize(
    ("jwt", "expected"),
    [
        (None, True),
        (JWTRequirement(), True),
        (token(), True),
        (token("auth0"), False),
        (token(role="admin"), True),
        (token(role="user"), False),
        (token(perms__role="admin"), True),
        (token(perms__list="admin"), False),
        (token(perms__yes="true"), False),
        (token(perms__role__x="admin"), False),
        (token(missing=""), False),
        (token(perms__role="admin", role="user"), False),
        (JWTRequirement(providers=(*token("auth0").providers, *token().providers)), True),
        (
            JWTRequirement(providers=(JWTProviderRequirement(name="okta", verify_claims=(VerifyClaim(value="x"),)),)),
            False,
        ),
    ],
)
def test_token_fulfils_a_requirement(jwt: JWTRequirement | None, expected: bool) -> None:
    assert is_met(jwt, CLAIMS, None) is expected
    assert is_met(jwt, None, None) is (jwt is None or not jwt.providers)


def test_issuer_is_compared_where_it_is_known() -> None:
    assert is_met(token(), CLAIMS, {"okta": "https://okta"})
    assert not is_met(token(), CLAIMS, {"okta": "https://other"})
    assert not is_met(token(), CLAIMS, {})
    assert not is_met(token(), {"okta": "text"}, None)  # type: ignore[dict-item]


def test_permission_with_a_token_denies_without_it_and_does_not_fall_through() -> None:
    says = (allow(jwt=token(), path_prefix="/a"), allow(path_prefix="/"))
    assert judged(says, "/a", claims=CLAIMS)
    verdict = judged(says, "/a")
    assert (verdict.allowed, verdict.reason, verdict.permission) == (False, Reason.TOKEN, 0)


def about(kind: str, count: int, *, ignore_case: bool = False) -> tuple[Permission, ...]:
    """Permissions for other values of one header."""
    one = H(name="x-a", ignore_case=ignore_case)
    return tuple(allow(msgspec.structs.replace(one, **{kind: f"zq{i};"})) for i in range(count))


@pytest.mark.timed
@pytest.mark.parametrize("mode", ["consul", "envoy"])
@pytest.mark.parametrize(
    "rules",
    [about("contains", 3000), about("contains", 3000, ignore_case=True), about("exact", 3000, ignore_case=True)],
)
def test_large_headers_are_compared_in_time_however_many_rules_there_are(
    rules: tuple[Permission, ...], mode: Mode
) -> None:
    table = table_of(intent("web", "db", rules), mode=mode)
    for value, lines in (("ab" * 29_000, 1), ("é" * 29_000, 1), ("ab" * 290, 98)):
        request = HTTPRequest("GET", "/", [("x-a", value)] * lines)
        taken = []
        for _ in range(3):
            begin = time.perf_counter()
            assert table.check("web", request=request).reason is Reason.TOO_COSTLY
            taken.append(time.perf_counter() - begin)
        assert min(taken) < 0.05


def test_headers_of_a_usual_size_are_compared_with_many_rules() -> None:
    cookie = [("x-a", "n=1; " * 1600 + "zq99;")]
    assert judged(about("contains", 100), headers=cookie).permission == 99
    assert judged(about("exact", 3000), headers=[("x-a", "zq2999;")]).permission == 2999


@pytest.mark.parametrize("value", ["É-A", "\udcff-A", "\u212a-A"])  # the last begins with the sign for kelvin
def test_letters_beyond_ascii_keep_their_case(value: str) -> None:
    exact = (allow(H(name="x-a", exact=value.lower()[:-1] + "a", ignore_case=True)),)
    assert judged(exact, headers=[("x-a", value)]).allowed is (value.lower()[:-2] == value[:-2])
    assert judged((allow(H(name="x-a", suffix="-a", ignore_case=True)),), headers=[("x-a", value)])
