"""Every recorded answer decodes, and its structs have the same content as its JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import datetime
from typing import Any

import msgspec
import pytest
from support.recorded import Exchange, exchanges

from aioconsulconnect.structs import agent, ca, catalog, intentions
from aioconsulconnect.structs.codec.consul_struct import ConsulStruct
from aioconsulconnect.structs.codec.duration import seconds_of
from aioconsulconnect.structs.codec.json_body import encode
from aioconsulconnect.structs.codec.unknown_fields import KeepsUnknown, plain
from aioconsulconnect.structs.config_entries import discovery_chain as chain, kinds as entries
from aioconsulconnect.structs.config_entries.entry import EntryBase

Read = Callable[[bytes], object]

READERS: list[tuple[str, Read]] = [
    (r"GET /v1/connect/intentions", intentions.read_list),
    (r"GET /v1/connect/intentions/match", intentions.read_matches),
    (r"GET /v1/connect/intentions/check", intentions.read_check),
    (r"GET /v1/connect/intentions/(exact|[0-9a-f-]{36})", intentions.read_one),
    (r"(POST /v1/connect/intentions|PUT /v1/connect/intentions/[0-9a-f-]{36})", intentions.read_id),
    (r"GET /v1/(agent/)?connect/ca/roots", ca.read_roots),
    (r"GET /v1/connect/ca/configuration", ca.read_configuration),
    (r"GET /v1/agent/connect/ca/leaf/.*", agent.read_leaf),
    (r"POST /v1/agent/connect/authorize", agent.read_authorization),
    (r"GET /v1/agent/service/.*", agent.read_service),
    (r"GET /v1/agent/services", agent.read_services),
    (r"GET /v1/agent/self", agent.read_info),
    (r"GET /v1/catalog/connect/.*", catalog.read_catalog),
    (r"GET /v1/catalog/gateway-services/.*", catalog.read_gateway_services),
    (r"GET /v1/health/(connect|ingress)/.*", catalog.read_instances),
    (r"(GET|POST) /v1/discovery-chain/.*", chain.read_chain),
    (r"GET /v1/config/[^/]+", entries.read_listing),
    (r"GET /v1/config/[^/]+/[^/]+", entries.read_entry),
]
# Not of this library: what set the scene when it was recorded, and endpoints that it leaves alone.
OTHERS = re.compile(r"\w+ /v1/(query|acl|peering|exported-services|imported-services).*")
# No JSON to read: PEM, and writes whose whole answer is true, {} or nothing.
PEM = re.compile(r"GET /v1/connect/ca/roots\?.*pem")
WRITES = re.compile(r"(PUT|DELETE) .*")

NOTHING = {"SourceNS": ("default",), "DestinationNS": ("default",)}
DURATIONS = re.compile(r"(Interval|BaseEjectionTime|TTL|ConnectTimeout|RequestTimeout|IdleTimeout|CacheDuration)")


def answers() -> list[Exchange]:
    return [
        each for each in exchanges() if each.response.status == 200 and not OTHERS.match(f"{each.method} {each.path}")
    ]


def reader_of(exchange: Exchange) -> Read | None:
    asked = f"{exchange.method} {exchange.path.partition('?')[0]}"
    for pattern, read in READERS:
        if re.fullmatch(pattern, asked):
            return None if PEM.match(f"{exchange.method} {exchange.path}") else read
    assert WRITES.match(asked), f"nobody reads {asked}"
    return None


def meaning(value: Any, key: str = "") -> Any:
    """
    JSON reduced to what it says.

    A key that holds null, "", 0, false, [] or {} says the same as one that is not there: Consul itself writes the one
    or the other by version; an intention's namespace is `default` unless it says otherwise. A duration says the same as
    text and as nanoseconds. Times are compared to the microsecond.
    """
    if isinstance(value, dict):
        said = {name: meaning(part, name) for name, part in value.items()}
        return {
            name: part for name, part in said.items() if part not in NOTHING.get(name, (None, "", 0, False, [], {}))
        }
    if isinstance(value, list):
        return [meaning(part) for part in value]
    if DURATIONS.fullmatch(key) and value:
        return float(seconds_of(value))
    if isinstance(value, str) and re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:]{8}(\.\d+)?Z", value):
        return msgspec.convert(value, datetime)
    return value


def dumped(value: object) -> Any:
    """What a struct says, as JSON."""
    if isinstance(value, entries.UnknownEntry):
        return dict(value.content)
    if isinstance(value, EntryBase):
        return entries.entry_data(value)  # type: ignore[arg-type]
    if isinstance(value, tuple):
        return [dumped(item) for item in value]
    if isinstance(value, dict):
        return {key: dumped(item) for key, item in value.items()}
    if isinstance(value, catalog.Instance):
        return {"Node": dumped(value.node), "Service": dumped(value.service), "Checks": dumped(value.checks)}
    if isinstance(value, KeepsUnknown):
        return plain(value)
    assert value is None or isinstance(value, ConsulStruct), type(value)
    return json.loads(encode(value))


@pytest.mark.parametrize("exchange", answers(), ids=str)
def test_struct_decoded_from_a_recorded_answer_has_the_same_content(exchange: Exchange) -> None:
    read = reader_of(exchange)
    if read is None:
        return
    value, said = read(exchange.response.body), json.loads(exchange.response.body)
    if isinstance(value, ca.CAConfiguration):
        assert dict(value.config) == said["Config"]
        assert (value.provider, value.modify_index) == (said["Provider"], said["ModifyIndex"])
    elif isinstance(value, agent.AgentInfo):
        config = said["Config"]
        expected = (config["Version"], config["Datacenter"], config["NodeName"], config["NodeID"], config["Server"])
        assert (value.version, value.datacenter, value.node, value.node_id, value.server) == expected
        assert value.primary_datacenter == config.get("PrimaryDatacenter", config["Datacenter"])
    else:
        said = said["Chain"] if "discovery-chain" in exchange.path else said
        assert meaning(dumped(value)) == meaning(said)


def test_every_reader_reads_something() -> None:
    """So that a pattern with a slip of the pen is seen."""
    read = {reader_of(exchange) for exchange in answers()}
    assert {reader for _, reader in READERS} <= read


def test_no_known_key_of_a_recorded_entry_is_taken_for_unknown() -> None:
    found = 0
    for exchange in answers():
        if exchange.path.startswith("/v1/config/") and exchange.method == "GET":
            read = reader_of(exchange)
            assert read is not None
            found += _assert_nothing_unknown(read(exchange.response.body))
    assert found > 100


def _assert_nothing_unknown(value: object) -> int:
    """How many structs there are in it."""
    if isinstance(value, entries.UnknownEntry):
        return 0
    if isinstance(value, tuple):
        return sum(map(_assert_nothing_unknown, value))
    if isinstance(value, dict):
        return sum(map(_assert_nothing_unknown, value.values()))
    if isinstance(value, KeepsUnknown):
        assert value.unknown == (), type(value)
        return 1 + sum(_assert_nothing_unknown(getattr(value, name)) for name in value.__struct_fields__)
    return 0


def test_a_leaf_hides_its_key() -> None:
    leaf = next(
        agent.read_leaf(each.response.body) for each in answers() if "/ca/leaf/" in each.path and each.method == "GET"
    )
    secret = leaf.private_key_pem.splitlines()[1]
    assert secret not in repr(leaf)
    assert secret not in str(leaf.__rich_repr__())
    assert msgspec.json.encode(leaf) != b""
    assert "private_key_pem='***'" in repr(leaf)
