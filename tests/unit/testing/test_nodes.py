"""Other nodes, checks of the own node, and keys in the in-process agent."""

from __future__ import annotations

from support.callers import REGISTER, Caller

NODE = "/v1/catalog/register"
CHECK = "/v1/agent/check"


async def test_snapshot_holds_other_nodes_and_keys(call: Caller) -> None:
    node = {"Node": "ext", "Address": "10.0.0.9", "Service": {"Service": "db"}, "Check": {"Name": "up"}}
    await call("PUT", NODE, node)
    await call("PUT", "/v1/kv/a", 1)
    before = call.agent.snapshot()
    await call("PUT", "/v1/catalog/deregister", {"Node": "ext", "ServiceID": "db"})
    await call("DELETE", "/v1/kv/a")
    await call("PUT", "/v1/kv/b", 1)
    call.agent.restore(before)
    assert list((await call("GET", "/v1/catalog/node/ext"))["Services"]) == ["db"]
    assert [check["Name"] for check in await call("GET", "/v1/health/node/ext")] == ["up"]
    assert await call("GET", "/v1/kv/?keys") == ["a"]
    assert "consul" in await call("GET", "/v1/catalog/services")


async def test_own_node_is_not_registered_by_others(call: Caller) -> None:
    text = await call("PUT", NODE, {"Node": "VM", "Address": "10.0.0.9"}, 501)
    assert "its own node" in text
    await call("PUT", "/v1/catalog/deregister", {"Node": "vm"}, 501)


async def test_agent_lists_neither_the_server_nor_services_of_other_nodes(call: Caller) -> None:
    await call("PUT", NODE, {"Node": "ext", "Address": "10.0.0.9", "Service": {"Service": "db"}})
    assert await call("GET", "/v1/agent/services") == {}
    (own,) = await call("GET", "/v1/catalog/service/consul")
    assert (own["Node"], own["ServicePort"], own["ServiceMeta"]["version"]) == ("vm", 8300, call.agent.version)
    assert call.agent.store.services == {}


async def test_proxy_that_leaves_does_not_free_the_address_of_its_destination(newest: Caller) -> None:
    proxy = {"Kind": "connect-proxy", "Port": 1}
    for name, destination in (("p1", "one"), ("p2", "two")):
        await newest("PUT", REGISTER, {**proxy, "Name": name, "Proxy": {"DestinationServiceName": destination}})
        await newest("PUT", f"/v1/agent/service/deregister/{name}")
    await newest("PUT", REGISTER, {**proxy, "Name": "p2", "Proxy": {"DestinationServiceName": "two"}})
    (found,) = await newest("GET", "/v1/catalog/connect/two")
    assert found["ServiceTaggedAddresses"]["consul-virtual"]["Address"] == "240.0.0.2"


async def test_long_output_of_a_check_is_cut(call: Caller) -> None:
    await call("PUT", f"{CHECK}/register", {"Name": "short", "TTL": "1h", "OutputMaxSize": 3})
    await call("PUT", f"{CHECK}/register", {"Name": "long", "TTL": "1h"})
    for name in ("short", "long"):
        await call("PUT", f"{CHECK}/update/{name}", {"Status": "passing", "Output": "o" * 5000})
    checks = await call("GET", "/v1/agent/checks")
    assert checks["short"]["Output"] == "ooo ... (captured 3 of 5000 bytes)"
    assert checks["long"]["Output"] == "o" * 4096 + " ... (captured 4096 of 5000 bytes)"


async def test_alias_sees_checks_of_the_node_and_misses_a_service(call: Caller) -> None:
    await call("PUT", REGISTER, {"Name": "web"})
    await call("PUT", f"{CHECK}/register", {"Name": "of web", "AliasService": "web"})
    await call("PUT", f"{CHECK}/register", {"Name": "of none", "AliasService": "none"})
    checks = await call("GET", "/v1/agent/checks")
    assert checks["of none"]["Output"] == "Service none could not be found on node "
    assert checks["of web"]["Status"] == "critical"  # as that of none is, a check of the node
    await call("PUT", f"{CHECK}/deregister/of none")
    assert (await call("GET", "/v1/agent/checks"))["of web"]["Status"] == "passing"


async def test_check_keeps_its_state_where_it_moves(call: Caller) -> None:
    await call("PUT", REGISTER, {"Name": "web"})
    await call("PUT", f"{CHECK}/register", {"Name": "up", "TTL": "1h", "Status": "passing"})
    await call("PUT", f"{CHECK}/register", {"Name": "up", "TTL": "1h", "ServiceID": "web"})
    found = (await call("GET", "/v1/agent/checks"))["up"]
    assert (found["Status"], found["ServiceID"]) == ("passing", "web")


async def test_sidecar_in_the_catalog_is_answered_501(call: Caller) -> None:
    service = {"Service": "web", "Connect": {"SidecarService": {}}}
    text = await call("PUT", NODE, {"Node": "ext", "Address": "10.0.0.9", "Service": service}, 501)
    assert "SidecarService" in text


async def test_service_with_checks_keeps_its_name(call: Caller) -> None:
    node = {"Node": "ext", "Address": "10.0.0.9", "Service": {"Service": "db", "ID": "1"}}
    await call("PUT", NODE, {**node, "Check": {"Name": "up", "ServiceID": "1"}})
    renamed = {**node, "Service": {"Service": "other", "ID": "1"}}
    assert "a new name for a service" in await call("PUT", NODE, renamed, 501)
    await call("PUT", "/v1/catalog/deregister", {"Node": "ext", "CheckID": "up"})
    await call("PUT", NODE, renamed)
    assert set(await call("GET", "/v1/catalog/services")) == {"consul", "other"}
