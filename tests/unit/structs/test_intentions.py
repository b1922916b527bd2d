"""Intentions: every recorded one decodes, and a rule that Consul always refuses is an error that names the field."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import given, strategies as st
from support.recorded import Exchange, exchanges
from support.slices import counted

from aioconsulconnect.errors import InvalidRequest
from aioconsulconnect.structs.codec.json_body import encode
from aioconsulconnect.structs.codec.unknown_fields import open_struct, plain
from aioconsulconnect.structs.intention_rules import METHODS, check_description, check_rule
from aioconsulconnect.structs.intentions import (
    Action,
    HeaderPermission,
    HTTPPermission,
    Intention,
    IntentionBody,
    JWTProviderRequirement,
    JWTRequirement,
    Permission,
    VerifyClaim,
    by_key,
    by_key_in_slices,
    read_check,
    read_id,
    read_list,
    read_matches,
    read_one,
)

BASE = "/v1/connect/intentions"


def recorded(method: str, *ends: str) -> list[Exchange]:
    """The good answers to this method at one of these places under the base ("" is the list, "uuid" any id)."""
    found = []
    for exchange in exchanges():
        path = urlsplit(exchange.path).path
        end = path.removeprefix(BASE).removeprefix("/")
        end = "uuid" if end.count("-") == 4 else end
        if exchange.method == method and path.startswith(BASE) and end in ends and exchange.response.status == 200:
            found.append(exchange)
    assert {exchange.version for exchange in found} >= {"1.10.12", "1.16.6", "1.22-dev"}
    return found


def flat(intention: Intention) -> dict[str, Any]:
    return {name: value for name, value in json.loads(encode(intention)).items() if value}


@pytest.mark.parametrize("exchange", recorded("GET", "", "exact", "uuid", "match"), ids=str)
def test_every_recorded_intention_decodes_whole(exchange: Exchange) -> None:
    raw = json.loads(exchange.response.body)
    if "/match" in exchange.path:
        found = read_matches(exchange.response.body)
        assert set(found) == {value for name, value in parse_qsl(urlsplit(exchange.path).query) if name == "name"}
        pairs = [
            (struct, item) for name in raw for struct, item in zip(found[name] or (), raw[name] or (), strict=True)
        ]
    elif isinstance(raw, list):
        pairs = list(zip(read_list(exchange.response.body), raw, strict=True))
    else:
        pairs = [(read_one(exchange.response.body), raw)]
    for struct, item in pairs:
        again = flat(struct)
        for key, value in item.items():
            if key in {"CreatedAt", "UpdatedAt"}:
                seen = dt.datetime.fromisoformat(value)
                assert abs(dt.datetime.fromisoformat(again[key]) - seen) <= dt.timedelta(microseconds=1)
            elif (
                value and key not in {"DefaultAddr", "DefaultPort"} and not (key.endswith("NS") and value == "default")
            ):
                assert again[key] == value, key


def test_the_recordings_have_rules_of_every_kind() -> None:
    seen = [known for e in recorded("GET", "") for known in read_list(e.response.body)]
    assert any(known.permissions for known in seen)
    assert any(known.id and known.created_at for known in seen)
    assert any(known.source_peer for known in seen)
    assert all((known.action is None) == bool(known.permissions) for known in seen)


def test_every_recorded_write_and_check_decodes() -> None:
    for exchange in recorded("POST", "") + recorded("PUT", "uuid"):
        assert len(read_id(exchange.response.body).id) == 36
    assert {read_check(e.response.body).allowed for e in recorded("GET", "check")} == {True, False}


def test_times_are_rounded_to_the_microsecond() -> None:
    found = read_one(b'{"CreatedAt": "2026-11-22T16:08:39.130827999Z", "UpdatedAt": "2026-11-22T16:08:39Z"}')
    assert found.created_at == dt.datetime(2026, 11, 22, 16, 8, 39, 130828, dt.UTC)
    assert found.updated_at == dt.datetime(2026, 11, 22, 16, 8, 39, tzinfo=dt.UTC)


def test_indexes_may_be_as_large_as_they_come() -> None:
    assert read_one(b'{"ModifyIndex": 18446744073709551615}').modify_index == 2**64 - 1


def test_the_key_tells_intentions_apart_in_consuls_order() -> None:
    web, peered = (
        Intention(source_name="web", destination_name="db"),
        Intention(source_name="web", destination_name="db", source_peer="east"),
    )
    assert set(by_key((web, peered))) == {web.key, peered.key}
    assert sorted([peered, web], key=lambda known: known.key) == [web, peered]


def test_keys_in_slices_are_those_at_once() -> None:
    many = tuple(Intention(source_name=f"s{i}", destination_name="db") for i in range(1201))
    keys, slices = counted(by_key_in_slices(many))
    assert slices == 3
    assert list(keys.items()) == list(by_key(many).items())


def test_only_what_was_said_is_sent() -> None:
    assert encode(plain(IntentionBody(action="allow"))) == b'{"Action":"allow"}'
    permission = Permission(
        action="allow",
        http=HTTPPermission(path_prefix="/", methods=("GET",), header=(HeaderPermission(name="x", present=True),)),
        jwt=JWTRequirement(
            providers=(JWTProviderRequirement(name="okta", verify_claims=(VerifyClaim(path=("a",), value="b"),)),)
        ),
    )
    assert json.loads(encode(plain(IntentionBody(permissions=(permission,))))) == {
        "Permissions": [
            {
                "Action": "allow",
                "HTTP": {"PathPrefix": "/", "Methods": ["GET"], "Header": [{"Name": "x", "Present": True}]},
                "JWT": {"Providers": [{"Name": "okta", "VerifyClaims": [{"Path": ["a"], "Value": "b"}]}]},
            }
        ]
    }


# What Consul always refuses.

GET = HTTPPermission(methods=("GET",))
OK = Permission(action="allow", http=GET)


def http(**rule: Any) -> Permission:
    return Permission(action="allow", http=HTTPPermission(**rule))


def header(**rule: Any) -> Permission:
    return http(header=(HeaderPermission(**{"name": "x", **rule}),))


@pytest.mark.parametrize(
    ("action", "permissions", "words"),
    [
        (None, (), "action must be 'allow' or 'deny', or permissions"),
        ("allow", (OK,), "action must be left out"),
        ("ALLOW", (), "action must be .*lower case"),
        ("", (), "action must be"),
        (None, (OK, Permission(http=GET)), r"permissions\[1\]\.action"),
        (None, (Permission(action="deny"),), r"permissions\[0\]\.http must say"),
        (None, (http(),), r"permissions\[0\]\.http must say"),
        (None, (http(path_exact="/a", path_prefix="/b"),), r"http: give only one of path_exact, path_prefix"),
        (None, (http(path_exact="/a", path_regex=".*", path_prefix="/"),), "give only one"),
        (None, (http(path_exact="a"),), r"http\.path_exact must start with '/'"),
        (None, (http(path_prefix="a"),), r"http\.path_prefix must start with '/'"),
        (None, (http(methods=("GET", "FETCH")),), r"http\.methods: 'FETCH' is none of"),
        (None, (http(methods=("GET", "get")),), r"http\.methods names a method more than once"),
        (None, (header(),), r"header\[0\]: give exactly one of .*now none"),
        (None, (header(exact="a", prefix="b"),), r"header\[0\]: give exactly one of .*now exact, prefix"),
        (None, (header(name="", exact="a"),), r"header\[0\]\.name is required"),
        (None, (header(present=True, ignore_case=True),), r"header\[0\]\.ignore_case goes with"),
        (None, (header(regex="a", ignore_case=True),), r"not with regex"),
        (
            None,
            (Permission(action="allow", http=GET, jwt=JWTRequirement(providers=(JWTProviderRequirement(),))),),
            r"permissions\[0\]\.jwt\.providers\[0\]\.name is required",
        ),
    ],
)
def test_rule_that_consul_always_refuses_raises_invalid_request(
    action: Any, permissions: tuple[Permission, ...], words: str
) -> None:
    with pytest.raises(InvalidRequest, match=words):
        check_rule(action, permissions, destination="db")


@pytest.mark.parametrize(
    ("action", "permissions"),
    [
        ("allow", ()),
        ("deny", ()),
        (None, (OK,)),
        (None, (OK, Permission(action="deny", http=GET))),
        (None, (http(path_regex="relative"),)),
        (None, (http(methods=tuple(METHODS)),)),
        (None, (http(methods=("get",)),)),
        (None, (header(contains="a", ignore_case=True, invert=True),)),
        (None, (header(present=True),)),
        (None, (Permission(action="allow", http=GET, jwt=JWTRequirement()),)),
        (
            None,
            (Permission(action="deny", http=GET, jwt=JWTRequirement(providers=(JWTProviderRequirement(name="o"),))),),
        ),
    ],
)
def test_rule_that_consul_accepts_passes_the_check(action: Action | None, permissions: tuple[Permission, ...]) -> None:
    check_rule(action, permissions, destination="db")


@pytest.mark.parametrize("destination", ["*", "default/*", "a/b/*"])
def test_permissions_need_one_destination(destination: str) -> None:
    check_rule("allow", (), destination=destination)
    with pytest.raises(InvalidRequest, match="destination"):
        check_rule(None, (OK,), destination=destination)


@pytest.mark.parametrize(
    ("description", "meta", "words"),
    [
        ("x" * 513, {}, "description"),
        ("ü" * 257, {}, "description"),
        ("", {str(i): "" for i in range(65)}, "64 keys"),
        ("", {"k" * 129: ""}, "128 bytes"),
        ("", {"k": "ü" * 257}, r"meta\['k'\]"),
    ],
)
def test_texts_beyond_consuls_limits(description: str, meta: dict[str, str], words: str) -> None:
    with pytest.raises(InvalidRequest, match=words):
        check_description(description, meta)


def test_texts_at_consuls_limits() -> None:
    check_description("ü" * 256, {f"{i:0128}": "x" * 512 for i in range(64)})


@given(
    st.builds(
        Permission,
        action=st.sampled_from(["allow", "deny"]),
        http=st.builds(
            HTTPPermission,
            path_exact=st.just("/a"),
            methods=st.lists(st.sampled_from(sorted(METHODS)), unique=True).map(tuple),
            header=st.lists(st.builds(HeaderPermission, name=st.just("x"), suffix=st.text(min_size=1))).map(tuple),
        ),
    )
)
def test_a_permission_reads_back_as_it_was_sent(permission: Permission) -> None:
    check_rule(None, (permission,), destination="db")
    sent = encode(plain(IntentionBody(permissions=(permission,))))
    assert read_one(sent).permissions == (permission,)


def test_permission_with_unknown_keys_is_sent_back_unchanged() -> None:
    raw = {"Action": "allow", "HTTP": {"PathExact": "/", "Cookie": [{"Name": "x"}]}}
    body = IntentionBody(permissions=(open_struct(Permission, raw),))
    assert json.loads(encode(plain(body))) == {"Permissions": [raw]}
