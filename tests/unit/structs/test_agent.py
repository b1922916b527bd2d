"""Structs of agent, catalog, health and chain: the address to dial, the status, null, and any JSON at all."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from aioconsulconnect.errors import UnreadableResponse
from aioconsulconnect.structs import agent, catalog
from aioconsulconnect.structs.catalog import Address, CatalogInstance, Instance, InstanceKey
from aioconsulconnect.structs.config_entries import discovery_chain as chain
from aioconsulconnect.structs.proxy import Connect, Proxy

READERS: list[Callable[[bytes], object]] = [
    agent.read_authorization, agent.read_info, agent.read_leaf, agent.read_service, agent.read_services,
    catalog.read_catalog, catalog.read_gateway_services, catalog.read_instances, chain.read_chain,
]  # fmt: skip
NODE = {"Node": "n1", "Address": "10.0.0.1", "TaggedAddresses": {"lan": "10.0.0.1", "wan": "198.51.100.1"}}
LEAF = {
    "SerialNumber": "0a", "CertPEM": "cert", "PrivateKeyPEM": "-----BEGIN EC PRIVATE KEY-----\nMHcC\n",
    "Service": "web", "ServiceURI": "spiffe://x",
    "ValidAfter": "2026-11-22T16:05:52Z", "ValidBefore": "2026-11-26T00:05:52Z",
}  # fmt: skip


def instance(service: dict[str, Any], *checks: tuple[str, str]) -> Instance:
    data = {
        "Node": NODE,
        "Service": {"ID": "web-1", "Service": "web", "Port": 80, **service},
        "Checks": [{"CheckID": check, "Status": status} for check, status in checks] or None,
    }
    (found,) = catalog.read_instances(json.dumps([data]).encode())
    return found


def in_catalog(service: dict[str, Any]) -> CatalogInstance:
    flat = {f"Service{key}": value for key, value in {"ID": "web-1", "Name": "web", "Port": 80, **service}.items()}
    (found,) = catalog.read_catalog(json.dumps([{**NODE, **flat}]).encode())
    return found


WAN = {"wan": {"Address": "192.0.2.1", "Port": 443}}


@pytest.mark.parametrize(
    ("service", "tag", "address"),
    [
        ({}, "", Address("10.0.0.1", 80)),
        ({"Address": ""}, "lan", Address("10.0.0.1", 80)),
        ({"Address": "10.9.9.9"}, "", Address("10.9.9.9", 80)),
        ({}, "wan", Address("198.51.100.1", 80)),
        ({"Address": "10.9.9.9"}, "wan", Address("10.9.9.9", 80)),
        ({"TaggedAddresses": WAN}, "", Address("10.0.0.1", 80)),
        ({"TaggedAddresses": WAN}, "wan", Address("192.0.2.1", 443)),
        ({"TaggedAddresses": {"wan": {"Address": "192.0.2.1", "Port": 0}}}, "wan", Address("192.0.2.1", 80)),
        ({"TaggedAddresses": {"wan": {"Address": "", "Port": 443}}}, "wan", Address("198.51.100.1", 80)),
        ({"TaggedAddresses": None}, "nobody-has-it", Address("10.0.0.1", 80)),
        ({"SocketPath": "/run/web.sock", "Port": 0}, "wan", Address("", 0, "/run/web.sock")),
    ],
)
def test_dial_address_prefers_tagged_then_service_then_node_address(
    service: dict[str, Any], tag: str, address: Address
) -> None:
    for found in (instance(service), in_catalog(service)):
        assert found.dial(tag) == address
        if not tag:
            assert (found.address, found.port) == (address.host, address.port)
        assert found.key == InstanceKey("", "", "n1", "web-1")


@pytest.mark.parametrize(
    ("checks", "status"),
    [
        ([], "passing"),
        ([("serfHealth", "passing"), ("a", "warning")], "warning"),
        ([("serfHealth", "critical"), ("a", "passing"), ("b", "warning")], "critical"),
        ([("a", "never-heard-of")], "critical"),
        ([("_service_maintenance:web-1", "critical")], "maintenance"),
        ([("a", "critical"), ("_node_maintenance", "critical")], "maintenance"),
    ],
)
def test_instance_status_is_that_of_its_worst_check(checks: list[tuple[str, str]], status: str) -> None:
    assert instance({}, *checks).status == status


def test_null_is_empty() -> None:
    found = instance({"Tags": None, "Meta": None, "Weights": None, "Proxy": None, "Connect": None, "Locality": None})
    assert (found.service.tags, found.service.meta, found.service.proxy) == ((), {}, Proxy())
    assert (found.service.connect, found.service.locality, found.checks) == (Connect(), None, ())
    merged = {"ServiceID": "x", "Address": "", "TaggedAddresses": None, "NodeMeta": None, "Node": "n1"}
    (item,) = catalog.read_catalog(json.dumps([merged]).encode())
    assert (item.tagged_addresses, item.node_meta, item.address) == ({}, {}, "")
    assert catalog.read_gateway_services(b"null") == ()


def test_a_leaf_keeps_its_key_to_itself() -> None:
    leaf = agent.read_leaf(json.dumps(LEAF).encode())
    shown = f"{leaf!r} {leaf} {leaf.__rich_repr__()}"
    assert "MHcC" not in shown
    assert "service='web'" in shown
    assert pickle.loads(pickle.dumps(leaf)) == leaf
    assert pickle.loads(pickle.dumps(leaf)).private_key_pem == LEAF["PrivateKeyPEM"]


def test_an_answer_that_does_not_decode_shows_nothing_of_the_key() -> None:
    broken = json.dumps({**LEAF, "ValidAfter": "yesterday"}).encode()
    with pytest.raises(UnreadableResponse) as caught:
        agent.read_leaf(broken)
    assert "MHcC" not in f"{caught.value!r} {caught.value} {caught.value.__cause__}"
    with pytest.raises(UnreadableResponse):
        agent.read_leaf(b"{}")


@pytest.mark.parametrize(
    ("said", "version", "connect"),
    [
        ({"Config": {"Version": "1.22.0-dev", "Datacenter": "dc1"}}, "1.22.0", None),
        ({"Config": {"Version": "1.16.6+ent"}, "DebugConfig": {"ConnectEnabled": True}}, "1.16.6", True),
        ({"Config": {"Version": "1.10.12"}, "DebugConfig": {"ConnectEnabled": False}}, "1.10.12", False),
    ],
)
def test_agent_info_has_version_datacenter_and_connect_flag(
    said: dict[str, Any], version: str, connect: bool | None
) -> None:
    info = agent.read_info(json.dumps(said).encode())
    assert (info.version, info.connect_enabled) == (version, connect)
    assert info.primary_datacenter == info.datacenter == said["Config"].get("Datacenter", "")


KEYS = st.sampled_from(
    [
        "Node",
        "Service",
        "Checks",
        "Chain",
        "Nodes",
        "Targets",
        "Proxy",
        "Config",
        "Version",
        "Meta",
        "Tags",
        "ConnectTimeout",
    ]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)


@given(JSON, st.sampled_from(READERS))
@settings(max_examples=400, deadline=None)
def test_any_json_is_read_or_our_error(data: Any, read: Callable[[bytes], object]) -> None:
    for body in (data, [data], {"Chain": data}, {"Config": data}, [{"Node": data, "Service": data}]):
        try:
            read(json.dumps(body).encode())
        except UnreadableResponse as error:
            assert "does not decode" in str(error)  # noqa: PT017


@given(st.binary(max_size=60), st.sampled_from(READERS))
def test_any_bytes_are_read_or_our_error(body: bytes, read: Callable[[bytes], object]) -> None:
    try:
        read(body)
    except UnreadableResponse:
        return
