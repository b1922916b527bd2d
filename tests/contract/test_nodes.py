"""What stands beside Connect: nodes that others register, checks of the agent's own node, and keys."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator

import pytest
from aiohttp import ClientSession
from support.agents_under_test import AgentUnderTest, GuardedAgent
from support.asker import Asker

CHECK = "/v1/agent/check"


@pytest.fixture
async def ask(agent: AgentUnderTest) -> AsyncIterator[Asker]:
    async with ClientSession(agent.url) as session:
        yield Asker(session)


@pytest.fixture
async def node(ask: Asker, unique: str) -> AsyncIterator[str]:
    """A node with a service and a check of each."""
    service = {"Service": f"{unique}-db", "ID": f"{unique}-1", "Tags": ["t"]}
    checks = [{"Name": "of node", "Status": "passing"}, {"Name": "of service", "ServiceID": service["ID"]}]
    body = {"Node": unique, "Address": "10.0.0.9", "NodeMeta": {"rack": unique}, "Service": service, "Checks": checks}
    assert await ask("PUT", "/v1/catalog/register", body) is True
    yield unique
    await ask("PUT", "/v1/catalog/deregister", {"Node": unique})


async def test_registered_node_is_in_every_read(ask: Asker, node: str) -> None:
    found = await ask("GET", f"/v1/catalog/node/{node.upper()}")
    assert (found["Node"]["Node"], list(found["Services"])) == (node, [f"{node}-1"])
    (healthy,) = await ask("GET", f"/v1/health/service/{node}-db")
    assert [(each["CheckID"], each["ServiceTags"]) for each in healthy["Checks"]] == [
        ("of node", []),
        ("of service", ["t"]),
    ]
    assert [each["Name"] for each in await ask("GET", f"/v1/health/checks/{node}-db")] == ["of service"]
    assert [each["Status"] for each in await ask("GET", f"/v1/health/node/{node}")] == ["passing", "critical"]
    states = {
        state: [each["Name"] for each in await ask("GET", f"/v1/health/state/{state}?node-meta=rack:{node}")]
        for state in ("any", "passing", "critical", "odd")
    }
    assert states == {
        "any": ["of node", "of service"],
        "passing": ["of node"],
        "critical": ["of service"],
        "odd": [],
    }
    assert await ask("GET", f"/v1/catalog/services?node-meta=rack:{node}") == {f"{node}-db": ["t"]}
    assert await ask("GET", f"/v1/catalog/node/{node}-none") is None
    assert await ask("GET", f"/v1/catalog/node-services/{node}-none") == {"Node": None, "Services": None}


async def test_check_of_a_node_decides_on_its_services(ask: Asker, agent: AgentUnderTest, node: str) -> None:
    await ask("PUT", "/v1/catalog/deregister", {"Node": node, "CheckID": "of service"})
    assert len(await ask("GET", f"/v1/health/service/{node}-db?passing")) == 1
    index = ask.index
    waiting = asyncio.create_task(ask("GET", f"/v1/health/service/{node}-db?index={index}&wait=10s&near=_agent"))
    await asyncio.sleep(0.1)
    failing = {"Node": node, "SkipNodeUpdate": True, "Check": {"Name": "of node"}}
    async with ClientSession(agent.url) as other:
        await Asker(other)("PUT", "/v1/catalog/register", failing)
    async with asyncio.timeout(5):
        (found,) = await waiting
    assert [each["Status"] for each in found["Checks"]] == ["critical"]
    assert await ask("GET", f"/v1/health/service/{node}-db?passing") == []


async def test_registration_is_refused_in_consuls_words(ask: Asker, unique: str) -> None:
    register, node = "/v1/catalog/register", {"Node": unique, "Address": "10.0.0.9"}
    assert await ask("PUT", register, {"Address": "10.0.0.9"}, 500) == "Must provide node"
    text = await ask("PUT", register, {"Node": unique}, 500)
    assert text == "Must provide address if SkipNodeUpdate is not set"
    assert "uuid string is wrong length" in await ask("PUT", register, {**node, "ID": "x"}, 500)
    assert await ask("PUT", register, {**node, "Datacenter": "dc9"}, 500) == "No path to datacenter"
    assert 'unknown field "Foo"' in await ask("PUT", register, {**node, "Foo": 1}, 400)
    assert "Key contains invalid characters" in await ask(
        "PUT", register, {**node, "Service": {"Service": "s", "Meta": {"a b": "c"}}}, 500
    )
    assert "must be non-empty for Connect proxy services" in await ask(
        "PUT", register, {**node, "Service": {"Service": "s", "Port": 1, "Kind": "connect-proxy"}}, 500
    )
    assert await ask("GET", f"/v1/catalog/node/{unique}") is None


async def test_node_with_a_passing_serf_check_keeps_its_name(ask: Asker, unique: str) -> None:
    first, second = (f"40e4a748-2192-161a-0510-{digit}{unique[1:].zfill(11)}" for digit in "12")
    node = {"Node": unique, "Address": "10.0.0.9", "Checks": [{"CheckID": "serfHealth", "Status": "passing"}]}
    await ask("PUT", "/v1/catalog/register", {**node, "ID": first})
    text = await ask("PUT", "/v1/catalog/register", {**node, "ID": second}, 500)
    assert f"Node name {unique} is reserved by node {first}" in text
    await ask("PUT", "/v1/catalog/register", {"Node": f"{unique}-new", "Address": "10.0.0.9", "ID": first})
    assert await ask("GET", f"/v1/catalog/node/{unique}") is None
    await ask("PUT", "/v1/catalog/deregister", {"Node": f"{unique}-new"})


async def test_check_of_the_own_node_counts_for_every_service(ask: Asker, unique: str) -> None:
    await ask("PUT", "/v1/agent/service/register", {"Name": unique, "Check": {"TTL": "1h", "Status": "passing"}})
    await ask("PUT", f"{CHECK}/register", {"Name": f"{unique}-node", "TTL": "1h", "Status": "passing"})
    health = f"/v1/agent/health/service/id/{unique}?format=text"
    assert await ask("GET", health) == "passing"
    await ask("PUT", f"{CHECK}/warn/{unique}-node")
    assert await ask("GET", health, status=429) == "warning"
    assert (await ask("GET", "/v1/agent/checks"))[f"{unique}-node"]["ServiceID"] == ""
    await ask("PUT", "/v1/agent/maintenance?enable=true&reason=why")
    assert await ask("GET", health, status=503) == "maintenance"
    (found,) = await ask("GET", f"/v1/agent/health/service/name/{unique}", status=503)
    assert found["AggregatedStatus"] == "maintenance"
    await ask("PUT", "/v1/agent/maintenance?enable=false")
    await ask("PUT", f"{CHECK}/deregister/{unique}-node")
    assert await ask("GET", health) == "passing"
    await ask("PUT", f"/v1/agent/service/deregister/{unique}")
    assert await ask("GET", f"/v1/agent/health/service/name/{unique}", status=404) == []


async def test_keys_are_written_read_listed_and_deleted(ask: Asker, unique: str) -> None:
    key = f"/v1/kv/{unique}"
    await ask("GET", key, status=404)
    assert await ask("PUT", f"{key}/a?cas=0&flags=7", b"\xff1") is True
    assert await ask("PUT", f"{key}/a?cas=0", b"2") is False
    (row,) = await ask("GET", f"{key}/a")
    assert (row["Key"], row["Flags"], base64.b64decode(row["Value"])) == (f"{unique}/a", 7, b"\xff1")
    assert ask.index == str(row["ModifyIndex"])
    await ask("PUT", f"{key}/b/c", b"3")
    assert await ask("GET", f"{key}/?keys&separator=/") == [f"{unique}/a", f"{unique}/b/"]
    assert len(await ask("GET", f"{key}?recurse")) == 2
    assert await ask("GET", f"{key}/b/c?raw") == "3"
    assert "too large" in await ask("PUT", f"{key}/a", b"x" * (512 * 1024 + 1), 413)
    assert "Conflicting flags" in await ask("DELETE", f"{key}?recurse&cas=1", status=400)
    assert await ask("DELETE", f"{key}/a?cas=1") is False
    assert await ask("DELETE", f"{key}?recurse") is True
    await ask("GET", f"{key}?recurse", status=404)


async def test_waiting_for_a_key_ends_with_its_write(ask: Asker, agent: AgentUnderTest, unique: str) -> None:
    await ask("GET", f"/v1/kv/{unique}", status=404)
    index = ask.index
    waiting = asyncio.create_task(ask("GET", f"/v1/kv/{unique}?index={index}&wait=10s"))
    await asyncio.sleep(0.1)
    async with ClientSession(agent.url) as other:
        await Asker(other)("PUT", f"/v1/kv/{unique}", b"1")
    async with asyncio.timeout(5):
        (row,) = await waiting
    assert row["Key"] == unique
    await ask("DELETE", f"/v1/kv/{unique}")


async def test_keys_and_nodes_need_their_rights(guarded: GuardedAgent, unique: str) -> None:
    async with ClientSession(guarded.url) as session:
        ask = Asker(session)
        reader = await guarded.token(f'key_prefix "{unique}" {{ policy = "read" }}')
        writer = await guarded.token(f'key_prefix "{unique}" {{ policy = "write" }}')
        await ask("PUT", f"/v1/kv/{unique}/a", b"1", 403, reader)
        await ask("PUT", f"/v1/kv/{unique}/a", b"1", token=writer)
        assert len(await ask("GET", f"/v1/kv/{unique}?recurse", token=reader)) == 1
        await ask("GET", f"/v1/kv/{unique}?recurse", status=404)
        await ask("GET", f"/v1/kv/{unique}/a", status=403)
        await ask("DELETE", f"/v1/kv/{unique}?recurse", status=403, token=reader)
        await ask("DELETE", f"/v1/kv/{unique}?recurse", token=writer)
        registrar = await guarded.token(f'node "{unique}" {{ policy = "write" }}')
        node = {"Node": unique, "Address": "10.0.0.9"}
        await ask("PUT", "/v1/catalog/register", node, 403, reader)
        await ask("PUT", "/v1/catalog/register", node, token=registrar)
        await ask("PUT", "/v1/catalog/register", node, token=reader)  # it changes nothing
        await ask("PUT", "/v1/catalog/register", {**node, "Service": {"Service": unique}}, 403, registrar)
        text = await ask("PUT", "/v1/catalog/deregister", {"Node": unique, "ServiceID": "none"}, 500, reader)
        assert text.startswith("Unknown service")
        await ask("PUT", "/v1/agent/maintenance?enable=false", status=403, token=registrar)
        await ask("PUT", "/v1/catalog/deregister", {"Node": unique}, token=registrar)
        assert "no longer allowed" in await ask("PUT", "/v1/acl/bootstrap", status=403)


@pytest.mark.parametrize(
    ("rules", "prefix", "allowed"),
    [
        ('key "{0}/" {{ policy = "write" }}', "{0}/", False),
        ('key "{0}" {{ policy = "write" }}', "{0}", False),
        ('key_prefix "{0}/" {{ policy = "deny" }} key "{0}/x" {{ policy = "write" }}', "{0}/x", False),
        ('key_prefix "{0}" {{ policy = "write" }} key "{0}/x" {{ policy = "read" }}', "{0}/", False),
        ('key_prefix "{0}" {{ policy = "write" }} key_prefix "{0}/x/" {{ policy = "deny" }}', "{0}/", False),
        ('key_prefix "{0}" {{ policy = "deny" }} key_prefix "{0}/" {{ policy = "write" }}', "{0}/", True),
        ('key_prefix "{0}" {{ policy = "write" }} key "{0}/" {{ policy = "write" }}', "{0}/", True),
        ('key_prefix "{0}" {{ policy = "write" }} key_prefix "{0}/x/" {{ policy = "deny" }}', "{0}/y", True),
    ],
)
async def test_deletion_of_a_tree_needs_the_right_to_all_of_it(
    guarded: GuardedAgent, unique: str, rules: str, prefix: str, allowed: bool
) -> None:
    async with ClientSession(guarded.url) as session:
        ask, path = Asker(session), f"/v1/kv/{prefix.format(unique)}?recurse"
        for key in ("", "/x", "/y/z"):
            await ask("PUT", f"/v1/kv/{unique}{key}", b"1", token=guarded.management)
        token = await guarded.token(rules.format(unique))
        answer = await ask("DELETE", path, status=200 if allowed else 403, token=token)
        assert answer is True if allowed else answer.startswith("Permission denied")
        if not allowed and guarded.version > (1, 11):
            assert f"lacks permission 'key:write' on \"{prefix.format(unique)}\"" in answer
        left = await ask("GET", path, status=404 if allowed else 200, token=guarded.management)
        assert bool(left) is not allowed
        await ask("DELETE", f"/v1/kv/{unique}?recurse", token=guarded.management)


async def test_status_of_another_datacenter_has_no_path(ask: Asker) -> None:
    for path in ("/v1/status/leader", "/v1/status/peers", "/v1/kv/a", "/v1/catalog/node/a", "/v1/health/state/any"):
        assert await ask("GET", f"{path}?dc=dc9&filter=odd", status=500) == "No path to datacenter"
    assert await ask("GET", "/v1/catalog/datacenters?dc=dc9") == ["dc1"]
    assert await ask("PUT", "/v1/acl/bootstrap", status=401) == "ACL support disabled"
    (member,) = await ask("GET", "/v1/agent/members")
    assert (member["Tags"]["dc"], member["Status"]) == ("dc1", 1)
