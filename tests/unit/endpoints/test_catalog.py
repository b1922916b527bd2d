"""What the catalog group asks of Consul, to the byte."""

from __future__ import annotations

import json
from typing import Any

import pytest
from support.canned import CannedSender

from aioconsulconnect.endpoints.catalog import Catalog
from aioconsulconnect.errors import InvalidRequest, OutcomeUnknown, UnreadableResponse
from aioconsulconnect.structs import CatalogService, HealthCheck, Node, NodeKey, Proxy, ServiceInstance
from aioconsulconnect.transport.settings.options import NO_OPTIONS, Options
from aioconsulconnect.watch.poller_pool import PollerPool


@pytest.fixture
async def catalog(sender: CannedSender, polls: PollerPool) -> Catalog:
    return Catalog(sender, polls, NO_OPTIONS)


async def test_services_have_names_and_tags(sender: CannedSender, catalog: Catalog) -> None:
    sender.answers = [b'{"consul": [], "web": ["v1", "v2"], "odd": null}', b"{}"]
    assert await catalog.services() == (
        CatalogService("consul"),
        CatalogService("web", ("v1", "v2")),
        CatalogService("odd"),
    )
    assert await catalog.services(node_meta={"os": "linux"}, options=Options(datacenter="dc2")) == ()
    assert [path for _, path, _ in sender.wire] == [
        "/v1/catalog/services",
        "/v1/catalog/services?node-meta=os:linux&dc=dc2",
    ]
    assert CatalogService("web", ("a",)).key == CatalogService("web", ("b",)).key


async def test_tags_in_another_order_are_no_change(sender: CannedSender, catalog: Catalog) -> None:
    sender.answers = [b'{"web": ["a", "b", "c"]}', b'{"web": ["c", "a", "b"]}']
    assert await catalog.services() == await catalog.services() == (CatalogService("web", ("a", "b", "c")),)


async def test_upstreams_from_config_entries_in_another_order_are_no_change(
    sender: CannedSender, catalog: Catalog
) -> None:
    def answer(*names: str) -> bytes:
        upstreams: list[object] = [{"DestinationName": name, "CentrallyConfigured": name < "x"} for name in names]
        return json.dumps([{"ServiceID": "web-proxy", "ServiceProxy": {"Upstreams": upstreams}}]).encode()

    sender.answers = [answer("z", "y", "a", "b", "c"), answer("z", "y", "c", "a", "b")]
    (one,), (other,) = [await catalog.connect("web", merge_central_config=True) for _ in "ab"]
    assert one == other
    assert [upstream.destination_name for upstream in other.service_proxy.upstreams] == ["z", "y", "a", "b", "c"]


async def test_nodes_are_those_of_instances(sender: CannedSender, catalog: Catalog) -> None:
    sender.answers = [b'[{"ID": "", "Node": "ext", "Address": "10.0.0.1", "Meta": null}]', b"[]"]
    nodes = await catalog.nodes()
    assert nodes == (Node(node="ext", address="10.0.0.1"),)
    assert nodes[0].key == NodeKey("", "", "ext")
    await catalog.nodes(node_meta={"os": "linux"}, filter='Node == "a b"', near="_agent")
    assert sender.wire[1][1] == "/v1/catalog/nodes?node-meta=os:linux&filter=Node%20%3D%3D%20%22a%20b%22&near=_agent"


async def test_register_sends_what_is_said_and_no_more(sender: CannedSender, catalog: Catalog) -> None:
    sender.answers = [b"true"] * 3
    await catalog.register("ext", "10.0.0.1")
    await catalog.register(
        "ext",
        "10.0.0.1",
        node_id="40e4a748-2192-161a-0510-9bf59fe950b5",
        node_meta={"external-node": "true"},
        tagged_addresses={"lan": "10.0.0.1"},
        service=ServiceInstance(service="db", port=5432, tags=("v1",), proxy=Proxy(config={"a": 1})),
        checks=[HealthCheck(name="up", status="passing", service_id="db")],
        options=Options(datacenter="dc2", token="secret"),
    )
    await catalog.register("ext", service=ServiceInstance(service="db"), skip_node_update=True)
    assert [(method, path, json.loads(body or b"")) for method, path, body in sender.wire] == [
        ("PUT", "/v1/catalog/register", {"Node": "ext", "Address": "10.0.0.1"}),
        (
            "PUT",
            "/v1/catalog/register?dc=dc2",
            {
                "Node": "ext",
                "Address": "10.0.0.1",
                "ID": "40e4a748-2192-161a-0510-9bf59fe950b5",
                "NodeMeta": {"external-node": "true"},
                "TaggedAddresses": {"lan": "10.0.0.1"},
                "Datacenter": "dc2",
                "Service": {"Service": "db", "Port": 5432, "Tags": ["v1"], "Proxy": {"Config": {"a": 1}}},
                "Checks": [{"Name": "up", "Status": "passing", "ServiceID": "db"}],
            },
        ),
        ("PUT", "/v1/catalog/register", {"Node": "ext", "Service": {"Service": "db"}, "SkipNodeUpdate": True}),
    ]
    assert all(asked.idempotent and not asked.read for asked in sender.asked)


async def test_deregister_removes_a_node_or_one_thing_of_it(sender: CannedSender, polls: PollerPool) -> None:
    catalog = Catalog(sender, polls, Options(datacenter="dc2"))
    sender.answers = [b"true"] * 2
    await catalog.deregister("ext")
    await catalog.deregister("ext", service_id="db")
    assert [json.loads(body or b"") for _, _, body in sender.wire] == [
        {"Node": "ext", "Datacenter": "dc2"},
        {"Node": "ext", "Datacenter": "dc2", "ServiceID": "db"},
    ]


async def test_what_would_do_too_much_or_nothing_is_refused(sender: CannedSender, catalog: Catalog) -> None:
    with pytest.raises(InvalidRequest, match="address"):
        await catalog.register("ext")
    with pytest.raises(InvalidRequest, match="service_id"):
        await catalog.deregister("ext", service_id="")  # it would remove the whole node
    with pytest.raises(InvalidRequest, match="check_id"):
        await catalog.deregister("ext", check_id="")
    with pytest.raises(InvalidRequest, match="node"):
        await catalog.deregister("")
    with pytest.raises(InvalidRequest, match="only one"):
        await catalog.deregister("ext", service_id="a", check_id="b")
    with pytest.raises(InvalidRequest, match=r"service\.proxy\.config\.l\[1\]"):
        await catalog.register(
            "ext", "10.0.0.1", service=ServiceInstance(service="db", proxy=Proxy(config={"l": [1, None]}))
        )
    assert not sender.asked


async def test_parameter_that_is_no_text_is_refused_by_its_name(sender: CannedSender, catalog: Catalog) -> None:
    values: list[Any] = [5, ["a"], b"a"]
    for value in values:
        with pytest.raises(InvalidRequest, match="filter takes text"):
            catalog.nodes(filter=value)
        with pytest.raises(InvalidRequest, match="near takes text"):
            catalog.nodes(near=value)
        with pytest.raises(InvalidRequest, match="filter takes text"):
            catalog.connect("web", tags=["v1"], filter=value)
        with pytest.raises(InvalidRequest, match="near takes text"):
            catalog.connect("web", near=value)
    assert not sender.asked


async def test_an_answer_that_is_not_true_is_no_success(sender: CannedSender, catalog: Catalog) -> None:
    sender.answers = [b"<html>"]
    with pytest.raises((UnreadableResponse, OutcomeUnknown)):
        await catalog.register("ext", "10.0.0.1")
