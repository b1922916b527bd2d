"""The rules by which a write wakes a blocking query, one by one; `tests/contract/test_waking.py` has every pair."""

from __future__ import annotations

import asyncio

import pytest
from support.callers import REGISTER, Caller

from aioconsulconnect.testing.state.store import Store, Watch

EXPORTED = "/v1/exported-services"
TTL = {"CheckID": "ttl", "Name": "ttl", "TTL": "1h"}


async def put(call: Caller, kind: str, name: str, **members: object) -> None:
    await call("PUT", "/v1/config", {"Kind": kind, "Name": name, **members})


async def woken(call: Caller, path: str, method: str, target: str, body: object = None) -> bool:
    """Whether a write, wakes a query that waits."""
    await call("GET", path)
    poll = call.blocking(path, call.index, "150ms")
    await call.waiting()
    await call(method, target, body)
    done, _ = await asyncio.wait([poll], timeout=0.1)
    await poll
    return bool(done)


def store_with(*names: str) -> Store:
    store = Store(1, {})
    for name in names:
        store.put_entry({"Kind": "service-defaults", "Name": name})
    return store


@pytest.mark.parametrize(
    ("names", "wanted", "prefix"),
    [
        ((), "web", ""),
        (("web",), "web", "service-defaults/web\0"),
        (("db",), "web", "s"),  # the only row is one edge from the root
        (("db", "web"), "wild", "service-defaults/w"),
        (("db", "web"), "api", "s"),
        (("web-1", "web-2"), "web", "s"),
        (("web-1", "web-2", "db"), "web", "service-defaults/w"),
    ],
)
def test_a_missing_row_waits_for_the_nearest_node(names: tuple[str, ...], wanted: str, prefix: str) -> None:
    found = store_with(*names).watch(f"config/service-defaults/{wanted}")
    assert found == Watch("config", f"config/service-defaults/{wanted}\0", f"config/{prefix}")


async def test_a_similar_name_wakes_and_so_does_the_join_of_nodes() -> None:
    store = store_with("db", "web", "web-proxy")
    waiting = store.subscribe([store.watch("config/service-defaults/web-prox")])
    store.put_entry({"Kind": "service-defaults", "Name": "db-2"})
    assert not waiting.done()
    store.put_entry({"Kind": "service-defaults", "Name": "web-pr"})
    assert waiting.done()
    missing = store.subscribe([store.watch("config/service-defaults/wild")])
    store.delete_entry("service-defaults", "db-2")
    assert not missing.done()
    store.delete_entry("service-defaults", "db")
    assert missing.done()


@pytest.mark.slow
async def test_a_check_raises_the_index_of_a_service_in_the_catalog_and_wakes_nobody(call: Caller) -> None:
    await call("PUT", REGISTER, {"Name": "web", "Check": TTL})
    await call("GET", "/v1/catalog/service/web")
    before = call.index
    assert not await woken(call, "/v1/catalog/service/web", "PUT", "/v1/agent/check/pass/ttl")
    await call("GET", "/v1/catalog/service/web")
    assert call.index > before
    assert await woken(call, "/v1/health/service/web", "PUT", "/v1/agent/check/fail/ttl")


@pytest.mark.slow
async def test_a_new_tag_wakes_the_checks_that_were_registered_with_it(call: Caller) -> None:
    await call("PUT", REGISTER, {"Name": "web", "Tags": ["a"], "Check": TTL})
    assert not await woken(call, "/v1/health/checks/web", "PUT", REGISTER, {"Name": "web", "Tags": ["b"]})
    assert [check["ServiceTags"] for check in await call("GET", "/v1/health/checks/web")] == [["a"]]
    retagged = {"Name": "web", "Tags": ["b"], "Check": TTL}
    assert await woken(call, "/v1/health/checks/web", "PUT", REGISTER, retagged)
    assert [check["ServiceTags"] for check in await call("GET", "/v1/health/checks/web")] == [["b"]]
    old = call.agent.version.startswith("1.8")  # it writes them even if they stay the same
    assert await woken(call, "/v1/health/checks/web", "PUT", REGISTER, retagged) == old


@pytest.mark.slow
async def test_ingress_waits_for_its_gateways_alone(call: Caller) -> None:
    listener = {"Port": 80, "Protocol": "tcp", "Services": [{"Name": "web"}]}
    await put(call, "ingress-gateway", "edge", Listeners=[listener])
    await call("PUT", REGISTER, {"Name": "edge", "Kind": "ingress-gateway", "Port": 80})
    path = "/v1/health/ingress/web"
    assert not await woken(call, path, "PUT", REGISTER, {"Name": "other"})
    defaults = {"Kind": "service-defaults", "Name": "other", "Protocol": "http"}
    assert not await woken(call, path, "PUT", "/v1/config", defaults)
    entry = {"Kind": "ingress-gateway", "Name": "edge", "Listeners": [listener | {"Port": 81}]}
    assert await woken(call, path, "PUT", "/v1/config", entry)
    assert not await woken(call, path, "PUT", "/v1/config", entry | {"TLS": {"Enabled": True}})


@pytest.mark.parametrize("call", ["1.22"], indirect=True)
async def test_exported_services_wait_for_new_names_where_all_are_exported(call: Caller) -> None:
    await call("PUT", REGISTER, {"Name": "web", "Port": 80})
    for names, expected in (("*", True), ("web", False)):
        services = [{"Name": names, "Consumers": [{"Peer": "p"}]}]
        await put(call, "exported-services", "default", Services=services)
        assert await woken(call, EXPORTED, "PUT", REGISTER, {"Name": "db", "Port": 81}) is expected
        assert not await woken(call, EXPORTED, "PUT", REGISTER, {"Name": "db", "Port": 81, "Tags": ["new"]})
        assert await woken(call, EXPORTED, "PUT", "/v1/agent/service/deregister/db") is expected


@pytest.mark.parametrize("call", ["1.8"], indirect=True)
async def test_1_8_wakes_for_nothing_new_and_shows_a_deleted_entry_once_more(call: Caller) -> None:
    path = "/v1/config/service-defaults/web"
    await put(call, "service-defaults", "web", Protocol="http")
    await call("GET", path)
    poll = call.blocking(path, call.index)
    await call.waiting()
    await call("DELETE", path)
    assert (await poll)["Name"] == "web"
    await call("GET", path, status=404)


async def test_the_agents_cache_asks_again_only_when_it_is_woken(call: Caller) -> None:
    await call("PUT", REGISTER, {"Name": "web", "Check": TTL})
    path = "/v1/catalog/service/web"
    await call("GET", f"{path}?cached")
    before = call.index
    await call("PUT", "/v1/agent/check/pass/ttl")
    await call("GET", f"{path}?cached")
    assert call.index == before
    await call("PUT", REGISTER, {"Name": "web", "Port": 1, "Check": TTL})
    found = await call("GET", f"{path}?cached")
    assert found[0]["ServicePort"] == 1
    assert call.index > before
    await call("GET", path)
    now = call.index
    await call("GET", f"{path}?cached")
    assert call.index == now
