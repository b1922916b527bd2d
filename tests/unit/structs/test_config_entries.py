"""Config entries: any of any kind survives, nothing is lost, and any JSON decodes or raises our error."""

from __future__ import annotations

import json
import pickle
import types
import typing
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings, strategies as st
from msgspec.structs import replace

from aioconsulconnect.errors import InvalidRequest, UnreadableResponse
from aioconsulconnect.structs.codec.duration import Seconds
from aioconsulconnect.structs.codec.json_body import encode
from aioconsulconnect.structs.codec.unknown_fields import KeepsUnknown
from aioconsulconnect.structs.config_entries.access import (
    JSONWebKeySet,
    JWKSCluster,
    JWTProvider,
    RemoteJWKS,
    ServiceIntentions,
    SourceIntention,
    TLSCertificates,
    TrustedCA,
)
from aioconsulconnect.structs.config_entries.defaults import Mesh, ProxyDefaults, ServiceDefaults
from aioconsulconnect.structs.config_entries.kinds import (
    KINDS,
    Entry,
    EntryKey,
    UnknownEntry,
    dump_entries,
    entry_body,
    entry_data,
    entry_key,
    read_entries,
    read_entry,
    read_listing,
)
from aioconsulconnect.structs.config_entries.traffic import CookieConfig, HashPolicy, LoadBalancer, ServiceResolver
from aioconsulconnect.structs.intentions import HeaderPermission, HTTPPermission, Permission
from aioconsulconnect.structs.proxy import MeshGateway

# Whatever the types allow.

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
NANOSECONDS = st.integers(0, 10**15).map(lambda ns: ns / 10**9)


@cache
def of_type(kind: Any) -> st.SearchStrategy[Any]:
    """A strategy for a field's type."""
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin in (types.UnionType, typing.Union):
        return st.one_of(*(of_type(each) for each in args if each is not type(None)))
    if origin is tuple:
        return st.lists(of_type(args[0]), max_size=3).map(tuple)
    if origin is typing.Literal:
        return st.sampled_from(args)
    if origin in (dict, Mapping):
        return st.dictionaries(st.text(max_size=8), of_type(args[1]), max_size=3)
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return struct(kind)
    simple: dict[object, st.SearchStrategy[Any]] = {
        str: st.text(max_size=12),
        int: st.integers(0, 2**64 - 1),
        float: st.floats(0, 100),
        bool: st.booleans(),
        object: JSON,
        Seconds: NANOSECONDS,
        datetime: st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
    }
    return simple[kind]


@cache
def struct(kind: type[msgspec.Struct]) -> st.SearchStrategy[Any]:
    """Some of its fields set, each to anything that its type allows."""
    fields = {field.name: field for field in msgspec.structs.fields(kind) if field.name != "unknown"}
    required = {name for name, field in fields.items() if field.required}
    chosen = st.sets(st.sampled_from(sorted(fields)), max_size=5) if fields else st.just(set())
    return chosen.flatmap(
        lambda names: st.fixed_dictionaries({name: of_type(fields[name].type) for name in sorted(names | required)})
    ).map(lambda values: kind(**values))


ENTRIES: st.SearchStrategy[Entry] = st.sampled_from(sorted(KINDS)).flatmap(lambda kind: struct(KINDS[kind]))


@given(ENTRIES)
@settings(max_examples=400, deadline=None)
def test_any_entry_of_any_kind_survives_encode_decode_encode(entry: Entry) -> None:
    body = encode(entry_data(entry))
    again = read_entry(body)
    assert type(again) is type(entry)
    assert again == entry
    assert encode(entry_data(again)) == body
    assert pickle.loads(pickle.dumps(again)) == entry
    assert not isinstance(entry, UnknownEntry)
    assert read_entries(dump_entries([entry, again])) == (msgspec.structs.replace(entry, hash=0),) * 2


@given(JSON, st.sampled_from([*sorted(KINDS), "nobody-knows"]))
@settings(max_examples=300, deadline=None)
def test_any_json_is_an_entry_or_our_error(data: Any, kind: str) -> None:
    for body in (data, [data], {"Kind": kind, "Name": "x", "Sources": data, "Config": data, "Listeners": data}):
        text = json.dumps(body).encode()
        for read in (read_entry, read_listing):
            try:
                read(text)
            except UnreadableResponse as error:
                assert "does not decode" in str(error)  # noqa: PT017


@given(st.binary(max_size=40))
def test_any_bytes_are_an_entry_or_our_error(body: bytes) -> None:
    for read in (read_entry, read_listing):
        try:
            read(body)
        except UnreadableResponse:
            continue


# What a newer Consul put into an entry.

NEWER = {
    "Kind": "service-intentions",
    "Name": "db",
    "Invented": {"deep": [1, {"Empty": None}, {"x": 18446744073709551615}]},
    "Sources": [
        {
            "Name": "web",
            "Priority": 7,
            "Permissions": [
                {"Action": "allow", "HTTP": {"Header": [{"Name": "x", "Exact": "1", "Fuzzy": None}]}, "Quota": "2"}
            ],
        },
        {"Name": "api", "Action": "deny"},
    ],
    "JWT": {"Providers": [{"Name": "okta", "Realm": "r"}]},
    "Hash": 13565512402901976032,
    "CreateIndex": 25,
    "ModifyIndex": 26,
}


def test_unknown_keys_come_back_as_they_came_at_every_depth() -> None:
    sent = json.loads(entry_body(read_entry(json.dumps(NEWER).encode())))
    assert sent == {key: value for key, value in NEWER.items() if key not in {"Hash", "CreateIndex", "ModifyIndex"}}


def test_unknown_keys_stay_with_their_part_when_the_entry_is_changed() -> None:
    entry = read_entry(json.dumps(NEWER).encode())
    assert isinstance(entry, ServiceIntentions)
    web, api = entry.sources
    changed = replace(entry, sources=(replace(api, action="allow"), replace(web, description="moved")))
    sent = json.loads(entry_body(changed))["Sources"]
    assert sent[0] == {"Name": "api", "Action": "allow"}
    assert sent[1]["Priority"] == 7
    assert sent[1]["Permissions"][0]["Quota"] == "2"
    assert sent[1]["Permissions"][0]["HTTP"]["Header"] == [{"Name": "x", "Exact": "1", "Fuzzy": None}]


def test_a_key_that_passes_for_the_field_of_unknown_keys_is_just_another_unknown_key() -> None:
    data = {"Kind": "mesh", "...": [["Name", "x"]]}
    assert json.loads(entry_body(read_entry(json.dumps(data).encode()))) == data


def test_an_unknown_kind_survives_untouched() -> None:
    data = {"Kind": "api-gateway", "Name": "gw", "Listeners": [{"TLS": {"Certificates": None}}], "Hash": 2**64 - 1}
    entry = read_entry(json.dumps({**data, "ModifyIndex": 9}).encode())
    assert isinstance(entry, UnknownEntry)
    assert (entry.kind, entry.name, entry.modify_index) == ("api-gateway", "gw", 9)
    assert json.loads(entry_body(entry)) == {key: value for key, value in data.items() if key != "Hash"}


# What is sent.


@pytest.mark.parametrize(
    ("entry", "sent"),
    [
        (ServiceDefaults(name="web", protocol="http"), {"Name": "web", "Protocol": "http"}),
        (ProxyDefaults(), {"Name": "global"}),
        (ProxyDefaults(mesh_gateway=MeshGateway(mode="local")), {"Name": "global", "MeshGateway": {"Mode": "local"}}),
        (Mesh(allow_enabling_permissive_mutual_tls=True), {"AllowEnablingPermissiveMutualTLS": True}),
        (
            ServiceResolver(
                name="web",
                connect_timeout=1.5,
                load_balancer=LoadBalancer(hash_policies=(HashPolicy(cookie_config=CookieConfig(ttl=90)),)),
            ),
            {
                "Name": "web",
                "ConnectTimeout": "1.5s",
                "LoadBalancer": {"HashPolicies": [{"CookieConfig": {"TTL": "1m30s"}}]},
            },
        ),
        (
            ServiceIntentions(
                name="db",
                sources=(
                    SourceIntention(
                        name="web",
                        permissions=(
                            Permission(
                                action="allow",
                                http=HTTPPermission(
                                    path_prefix="/", header=(HeaderPermission(name="a", present=True),)
                                ),
                            ),
                        ),
                    ),
                ),
            ),
            {
                "Name": "db",
                "Sources": [
                    {
                        "Name": "web",
                        "Permissions": [
                            {
                                "Action": "allow",
                                "HTTP": {"PathPrefix": "/", "Header": [{"Name": "a", "Present": True}]},
                            }
                        ],
                    }
                ],
            },
        ),
    ],
)
def test_only_what_is_set_is_sent(entry: Entry, sent: dict[str, object]) -> None:
    assert json.loads(entry_body(entry)) == {"Kind": entry.kind, **sent}


def test_an_empty_object_is_not_the_same_as_none() -> None:
    entry = read_entry(b'{"Kind": "service-resolver", "Name": "x", "Redirect": {}, "LoadBalancer": null}')
    assert json.loads(entry_body(entry)) == {"Kind": "service-resolver", "Name": "x", "Redirect": {}}


def test_null_is_empty() -> None:
    body = b'{"Kind": "ingress-gateway", "Name": "g", "TLS": null, "Listeners": [{"Port": 1, "Services": null}]}'
    entry = read_entry(body)
    assert entry.listeners[0].services == ()  # type: ignore[union-attr]
    assert entry.tls.enabled is False  # type: ignore[union-attr]


def test_bytes_that_consul_would_encode_once_more_are_refused() -> None:
    trusted = TLSCertificates(trusted_ca=TrustedCA(inline_bytes="QQ=="))
    remote = RemoteJWKS(uri="https://x", jwks_cluster=JWKSCluster(tls_certificates=trusted))
    provider = JWTProvider(name="p", json_web_key_set=JSONWebKeySet(remote=remote))
    with pytest.raises(InvalidRequest, match="inline_string"):
        entry_body(provider)
    assert read_entry(encode(entry_data(provider))) == provider


def test_names_are_keyed_without_regard_to_case() -> None:
    assert entry_key(ServiceDefaults(name="Web")) == entry_key(ServiceDefaults(name="web"))
    assert entry_key(Mesh()) == EntryKey("mesh", "", "", "mesh")


def test_every_kind_has_its_struct_and_no_field_shares_a_key() -> None:
    assert sorted(KINDS) == [
        "exported-services", "ingress-gateway", "jwt-provider", "mesh", "proxy-defaults", "service-defaults",
        "service-intentions", "service-resolver", "service-router", "service-splitter", "terminating-gateway",
    ]  # fmt: skip
    waiting: list[type[msgspec.Struct]] = list(KINDS.values())
    while waiting:
        kind = waiting.pop()
        fields = msgspec.structs.fields(kind)
        assert issubclass(kind, KeepsUnknown)
        assert len({field.encode_name for field in fields}) == len(fields)
        for field in fields:
            waiting += [part for part in _parts(field.type) if issubclass(part, msgspec.Struct)]


def _parts(kind: Any) -> list[type]:
    args = typing.get_args(kind)
    return [kind] if isinstance(kind, type) and not args else [part for arg in args for part in _parts(arg)]
