"""Bodies without a null where Consul has none, refused by the path of the field."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any

import pytest

from aioconsulconnect.errors import InvalidRequest
from aioconsulconnect.structs import (
    Check,
    EnvoyExtension,
    Proxy,
    ProxyDefaults,
    ServiceDefaults,
    Sidecar,
    UnknownEntry,
    Upstream,
    dump_entries,
    read_entries,
)
from aioconsulconnect.structs.codec.request_body import refuse_nulls, request_body
from aioconsulconnect.structs.config_entries.kinds import entry_body, read_entry

ENDLESS: dict[str, object] = {}
ENDLESS["again"] = ENDLESS


@dataclass
class Limits:
    """What a program of a user may put into an open map."""

    most: int | None = None


def with_arguments(**arguments: object) -> ServiceDefaults:
    return ServiceDefaults(name="db", envoy_extensions=(EnvoyExtension(name="lua", arguments=arguments),))


@pytest.mark.parametrize(
    ("entry", "path"),
    [
        (ProxyDefaults(config={"protocol": "http", "l": [1, None]}), "config.l[1]"),
        (ProxyDefaults(config={"a": None}), "config.a"),
        (ProxyDefaults(config={"a": {"b.c": {"d": None}}}), "config.a['b.c'].d"),
        (ProxyDefaults(config={"a": [{"b": [[None]]}]}), "config.a[0].b[0][0]"),
        (ProxyDefaults(config={"a": (1, None)}), "config.a[1]"),
        (ProxyDefaults(config={"a": {None}}), "config.a[0]"),
        (ProxyDefaults(config={"limits": Limits()}), "config.limits.most"),
        (ProxyDefaults(config={"ratio": math.nan}), "config.ratio"),
        (ProxyDefaults(config={"most": math.inf}), "config.most"),
        (ProxyDefaults(config={"a": object()}), "config.a"),
        (ProxyDefaults(config=ENDLESS), "the body contains itself"),
        (ProxyDefaults(meta={"a": None}), "meta.a"),  # type: ignore[dict-item]
        (ServiceDefaults(name=None), "name"),  # type: ignore[arg-type]
        (with_arguments(script=None), "envoy_extensions[0].arguments.script"),
        (with_arguments(l=[0, {"x": [None]}]), "envoy_extensions[0].arguments.l[1].x[0]"),
        (ServiceDefaults(name="db", unknown=(("Newer", {"l": [None]}),)), "Newer.l[0]"),
        (UnknownEntry(content={"Kind": "new", "Name": "x", "Config": {"l": [1, None]}}), "Config.l[1]"),
        (UnknownEntry(content={"Kind": "new", "Name": "x", "Config": {"l": math.nan}}), "Config.l"),
    ],
)
def test_null_in_an_entry_is_refused_by_its_path(entry: Any, path: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        entry_body(entry)
    assert caught.value.message.startswith((f"{path}:", f"{path} ", path + ","))


@pytest.mark.parametrize(
    ("value", "path"),
    [
        (Proxy(config={"x": [None]}), "proxy.config.x[0]"),
        (Proxy(upstreams=(Upstream(config={"x": None}),)), "proxy.upstreams[0].config.x"),
        (Sidecar(meta={"x": None}), "proxy.meta.x"),  # type: ignore[dict-item]
        (Sidecar(tags=None), "proxy.tags"),  # type: ignore[arg-type]
        (Check(header={"x": (None,)}), "proxy.header.x[0]"),  # type: ignore[dict-item]
        ([1, None], "proxy[1]"),
        (None, "proxy"),
    ],
)
def test_null_in_a_part_is_refused_by_its_path(value: object, path: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        refuse_nulls(value, "proxy")
    assert caught.value.message.startswith(f"{path}: ")


def test_fields_that_are_not_given_are_no_nulls() -> None:
    assert request_body(Check(name="x", ttl=1)) == b'{"Name":"x","TTL":"1s"}'
    full = ProxyDefaults(config={"a": [0, "", False, 1.5, {"b": []}]}, meta={"x": ""})
    assert json.loads(entry_body(full))["Config"] == {"a": [0, "", False, 1.5, {"b": []}]}


def test_empty_members_of_consuls_own_structures_come_back_as_they_came() -> None:
    """Newer kinds have null for every list that is empty; Consul takes it back."""
    gateway = {"Kind": "api-gateway", "Name": "g", "Listeners": [{"Name": "l", "TLS": {"CipherSuites": None}}]}
    body = json.dumps({**gateway, "Hostnames": None}).encode()
    assert json.loads(entry_body(read_entry(body))) == {**gateway, "Hostnames": None}
    newer = json.dumps({"Kind": "service-defaults", "Name": "db", "Newer": {"a": None}, "Newest": None}).encode()
    assert json.loads(entry_body(read_entry(newer))) == json.loads(newer)


def test_null_that_stands_in_consul_can_be_read_and_dumped() -> None:
    entry = ProxyDefaults(config={"a": None})
    assert read_entries(dump_entries([entry])) == (entry,)
