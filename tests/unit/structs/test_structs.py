"""Every struct that a user can meet has its name in `aioconsulconnect.structs`, and is at home in other tools."""

from __future__ import annotations

import json
from collections import UserDict, UserList, deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import get_args, get_origin

import msgspec
import pytest
from support.structs import of_consul

import aioconsulconnect
from aioconsulconnect import structs
from aioconsulconnect.structs import (
    CAConfig,
    Check,
    Intention,
    LoadBalancer,
    Permission,
    ProviderConfig,
    ProxyDefaults,
    RingHashConfig,
    ServiceDefaults,
    ServiceResolver,
    UnknownEntry,
)
from aioconsulconnect.structs.config_entries.traffic import CookieConfig, HashPolicy


def test_none_is_left_out() -> None:
    found = {thing.__name__ for thing in of_consul()}
    assert len(found) > 90
    assert found <= {*dir(structs), *dir(aioconsulconnect)}


def test_the_names_are_sorted_and_there() -> None:
    assert dir(structs) == sorted(dir(structs))
    assert all(hasattr(structs, name) for name in dir(structs))


def test_all_are_frozen_and_told_about() -> None:
    for thing in of_consul():
        assert thing.__struct_config__.frozen, thing
        assert thing.__doc__, thing


# Hashing.


def filled(kind: type[msgspec.Struct], *, turned: bool = False) -> msgspec.Struct:
    """A struct with something in each map and each field that takes whatever JSON has."""
    pairs: dict[str, object] = {"a": [1, {"b": [2]}], "c": None}
    value = dict(reversed(pairs.items())) if turned else pairs
    given: dict[str, object] = {}
    for field in msgspec.structs.fields(kind):
        types = {field.type, *get_args(field.type)} if get_origin(field.type) is not Mapping else {field.type}
        if any(get_origin(of) is Mapping for of in types):
            given[field.name] = value
        elif field.name == "unknown":
            given[field.name] = (("Newer", value),)
        elif field.required:
            given[field.name] = "x"
    return kind(**given)


def test_every_struct_is_hashable_whatever_it_holds_and_equal_ones_hash_alike() -> None:
    for kind in of_consul():
        if kind.__name__ != "SpiffeId":  # it takes nothing but texts of its own form
            one, other = filled(kind), filled(kind, turned=True)
            assert one == other
            assert hash(one) == hash(other), kind
            assert len({one, other}) == 1


def test_hash_of_what_consul_sent_equals_that_of_what_was_made() -> None:
    read = msgspec.json.decode(b'{"SourceName": "web", "Permissions": [], "Meta": {"a": "b"}}', type=Intention)
    assert len({read, Intention(source_name="web", meta={"a": "b"})}) == 1
    assert hash(Intention(source_name="web")) != hash(Intention(source_name="api"))


def test_hash_of_a_map_of_a_provider_follows_its_content() -> None:
    assert hash(ProviderConfig({"a": [1], "b": {}})) == hash(ProviderConfig({"b": {}, "a": [1]}))


@dataclass
class Unhashable:
    """A class of a caller's."""

    inside: object = None


@pytest.mark.parametrize(
    ("value", "equal"),
    [
        (bytearray(b"a"), b"a"),
        (memoryview(bytearray(b"a")), b"a"),
        (Unhashable(1), Unhashable(1)),
        ((Unhashable(1),), [Unhashable(1)]),
        (deque([1, {}]), deque([1, {}])),
        (UserList([1]), [1]),
        (UserDict(a=[]), {"a": []}),
        (msgspec.Raw(b"{}"), msgspec.Raw(b"{}")),
        (frozenset("ab"), {"a", "b"}),
    ],
)
def test_hash_takes_what_has_none_in_an_open_map(value: object, equal: object) -> None:
    assert hash(ProxyDefaults(config={"k": value})) == hash(ProxyDefaults(config={"k": equal}))
    assert hash(UnknownEntry(content={"k": [value]})) == hash(UnknownEntry(content={"k": [equal]}))


# Encoding by others.


@pytest.mark.parametrize(
    ("struct", "expected"),
    [
        (
            ServiceResolver(name="db", connect_timeout=5),
            {"Kind": "service-resolver", "Name": "db", "ConnectTimeout": "5s"},
        ),
        (
            ServiceResolver(
                name="db",
                load_balancer=LoadBalancer(
                    policy="ring_hash",
                    ring_hash_config=RingHashConfig(minimum_ring_size=3),
                    hash_policies=(HashPolicy(field="cookie", cookie_config=CookieConfig(ttl=90.5)),),
                ),
            ),
            {
                "Kind": "service-resolver",
                "Name": "db",
                "LoadBalancer": {
                    "Policy": "ring_hash",
                    "RingHashConfig": {"MinimumRingSize": 3},
                    "HashPolicies": [{"Field": "cookie", "CookieConfig": {"TTL": "1m30.5s"}}],
                },
            },
        ),
        (Check(name="alive", ttl=30), {"Name": "alive", "TTL": "30s"}),
        ([ServiceResolver(name="db", request_timeout=0.25)], None),
        ({"check": Check(interval=3600, tcp="db:1")}, None),
    ],
)
def test_struct_is_encoded_without_a_hook_with_durations_as_text(struct: object, expected: object) -> None:
    found = json.loads(msgspec.json.encode(struct))
    if expected is not None:
        assert found == expected
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(struct)) == found
    assert json.loads(json.dumps(msgspec.to_builtins(struct))) == found


def test_every_struct_is_encoded_without_a_hook() -> None:
    for kind in of_consul():
        if kind.__name__ not in {"SpiffeId", "CAConfiguration"}:  # the latter holds secrets of an authority
            assert isinstance(json.loads(msgspec.json.encode(filled(kind))), dict | list), kind


def test_duration_stays_a_number_of_seconds_for_the_user() -> None:
    timeout = ServiceResolver(name="db", connect_timeout=5).connect_timeout
    assert timeout == 5.0
    assert timeout is not None
    assert timeout + 1 == 6
    assert f"{timeout:.1f}|{timeout!r}|{timeout}" == "5.0|5.0|5.0"
    assert hash(timeout) == hash(5.0)


# In words.


@pytest.mark.parametrize(
    ("intention", "words"),
    [
        (Intention(source_name="web", destination_name="db", action="allow"), "web -> db allow"),
        (Intention(source_name="*", destination_name="db", action="deny"), "* -> db deny"),
        (Intention(source_name="web", destination_name="db", permissions=(Permission(),)), "web -> db 1 permission"),
        (
            Intention(source_name="web", destination_name="db", permissions=(Permission(),) * 2),
            "web -> db 2 permissions",
        ),
        (
            Intention(source_name="web", source_namespace="a", destination_name="db", action="allow"),
            "a/web -> db allow",
        ),
        (
            Intention(source_name="web", source_peer="dc2", destination_name="db", action="allow"),
            "peer:dc2/web -> db allow",
        ),
        (
            Intention(source_name="web", source_sameness_group="g", destination_name="db", action="allow"),
            "sameness-group:g/web -> db allow",
        ),
        (
            Intention(source_name="web", destination_partition="p", destination_name="db", action="allow"),
            "web -> p/default/db allow",
        ),
        (Intention(source_name="we\nb", destination_name="db", action="allow"), "'we\\nb' -> db allow"),
    ],
)
def test_intention_in_words(intention: Intention, words: str) -> None:
    assert str(intention) == f"{intention}" == words
    assert repr(intention).startswith("Intention(")


def test_texts_of_other_structs_are_their_reprs() -> None:
    for struct in (ServiceDefaults(name="db"), UnknownEntry(content={"Kind": "x"}), CAConfig(), ProxyDefaults()):
        assert str(struct) == repr(struct)
