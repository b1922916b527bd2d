"""A name is taken by all calls or by none; what stands in Consul under an odd one can be removed."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from support.canned import CannedSender

from aioconsulconnect.endpoints.agent import Agent
from aioconsulconnect.endpoints.catalog import Catalog
from aioconsulconnect.endpoints.config import Config
from aioconsulconnect.endpoints.health import Health
from aioconsulconnect.errors import InvalidRequest, UnreadableResponse
from aioconsulconnect.structs import (
    Check,
    HealthCheck,
    HTTPPermission,
    Permission,
    ServiceDefaults,
    ServiceInstance,
    ServiceIntentions,
    Sidecar,
    SourceIntention,
    UnknownEntry,
)
from aioconsulconnect.transport.settings.options import NO_OPTIONS
from aioconsulconnect.watch.poller_pool import PollerPool
from aioconsulconnect.workflows.intentions import Intentions

ODD = ["/a", "a/", "a//b", "http://h/x", "..", ".", "a/../b", "a\u2028b", "a\u00a0b", "a\nb", "a\x00b", "a\u200bb"]
USUAL = ["a", "a/b", "a b", "a%2Fb", "%2e%2e", "..a", "ä", "a?b#c;d", "a:b", "*"]
REDIRECT = (301, b"")


class Groups:
    """The groups of endpoints on one sender."""

    def __init__(self, sender: CannedSender, polls: PollerPool) -> None:
        self.sender = sender
        self.agent = Agent(sender, polls, NO_OPTIONS)
        self.catalog = Catalog(sender, polls, NO_OPTIONS)
        self.config = Config(sender, polls, NO_OPTIONS)
        self.health = Health(sender, polls, NO_OPTIONS)
        self.intentions = Intentions(sender, polls, NO_OPTIONS)


@pytest.fixture
async def groups(sender: CannedSender, polls: PollerPool) -> Groups:
    return Groups(sender, polls)


Call = Callable[[Groups, str], Awaitable[object]]

MAKING: dict[str, Call] = {
    "name": lambda g, name: g.agent.register(name),
    "id": lambda g, name: g.agent.register("web", id=name),
    "sidecar.name": lambda g, name: g.agent.register("web", sidecar=Sidecar(name=name)),
    "checks[0].check_id": lambda g, name: g.agent.register("web", checks=[Check(check_id=name, ttl=1)]),
    "sidecar.checks[0].check_id": lambda g, name: g.agent.register(
        "web", sidecar=Sidecar(checks=(Check(check_id=name, ttl=1),))
    ),
    "check.check_id": lambda g, name: g.agent.register_check(Check(check_id=name, name="x", ttl=1)),
    "check.name": lambda g, name: g.agent.register_check(Check(name=name, ttl=1)),
    "node": lambda g, name: g.catalog.register(name, "10.0.0.1"),
    "service.service": lambda g, name: g.catalog.register("n", "10.0.0.1", service=ServiceInstance(service=name)),
    "service.id": lambda g, name: g.catalog.register("n", "10.0.0.1", service=ServiceInstance(service="s", id=name)),
    "checks[0].check_id in the catalog": lambda g, name: g.catalog.register(
        "n", "10.0.0.1", checks=[HealthCheck(check_id=name, name="x", status="passing")]
    ),
    "name of an entry": lambda g, name: g.config.write(ServiceDefaults(name=name)),
    "name of an unknown entry": lambda g, name: g.config.write(UnknownEntry(content={"Kind": "new", "Name": name})),
}
READING: dict[str, Call] = {
    "service": lambda g, name: g.agent.service(name).value(),
    "maintenance": lambda g, name: g.agent.maintenance(name, enable=True),
    "check_pass": lambda g, name: g.agent.check_pass(name),
    "check_update": lambda g, name: g.agent.check_update(name, status="passing"),
    "deregister": lambda g, name: g.agent.deregister(name),
    "deregister_check": lambda g, name: g.agent.deregister_check(name),
    "health": lambda g, name: g.health.service(name).value(),
    "connect": lambda g, name: g.catalog.connect(name).value(),
    "entry": lambda g, name: g.config.read("service-defaults", name).value(),
}


@pytest.mark.parametrize("argument", MAKING)
@pytest.mark.parametrize("name", ODD)
async def test_name_that_no_path_leads_to_is_not_made(groups: Groups, argument: str, name: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        await MAKING[argument](groups, name)
    assert caught.value.message.startswith(f"{argument.partition(' ')[0]}: ")
    assert not groups.sender.asked


@pytest.mark.parametrize("name", USUAL)
async def test_name_that_paths_lead_to_is_taken_by_all_calls(groups: Groups, name: str) -> None:
    entry = json.dumps({"Kind": "service-defaults", "Name": name}).encode()
    service = json.dumps({"ID": name, "Service": "web"}).encode()
    answers = {"service": service, "health": b"[]", "connect": b"[]", "entry": entry}
    for argument, call in MAKING.items():
        in_servers = (
            "catalog" in argument or "entry" in argument or argument in {"node", "service.service", "service.id"}
        )
        groups.sender.answers = [b"true" if in_servers else b""]
        await call(groups, name)
    for method, call in READING.items():
        groups.sender.answers = [answers.get(method, b"")]
        await call(groups, name)


@pytest.mark.parametrize(
    ("name", "segment"),
    [
        ("/a", "%2Fa"),
        ("a//b", "a%2F%2Fb"),
        ("http://h/x", "http%3A%2F%2Fh%2Fx"),
        ("..", "%2E%2E"),
        (".", "%2E"),
        ("a/../b", "a%2F..%2Fb"),
    ],
)
async def test_service_with_an_odd_id_is_removed_by_the_path_that_leads_to_it(
    groups: Groups, name: str, segment: str
) -> None:
    groups.sender.answers = [json.dumps({"ID": name, "Service": "web"}).encode(), b""]
    await groups.agent.deregister(name)
    assert [(method, path) for method, path, _ in groups.sender.wire] == [
        ("GET", f"/v1/agent/service/{segment}"),
        ("PUT", f"/v1/agent/service/deregister/{segment}"),
    ]


@pytest.mark.parametrize(
    ("name", "answers"),
    [
        ("/a", [REDIRECT]),
        ("..", [REDIRECT]),
        ("a//b", [b'{"ID": "a/b", "Service": "web"}']),  # a gateway has tidied the path up
        ("a\u2028b", []),
        ("a\nb", []),
    ],
)
async def test_service_that_no_path_leads_to_is_removed_by_a_critical_check(
    groups: Groups, name: str, answers: list[bytes | tuple[int, bytes]]
) -> None:
    groups.sender.answers = [*answers, b""]
    await groups.agent.deregister(name)
    method, path, body = groups.sender.wire[-1]
    assert (method, path) == ("PUT", "/v1/agent/check/register")
    sent = json.loads(body or b"")
    assert sent["ServiceID"] == name
    assert (sent["Status"], sent["DeregisterCriticalServiceAfter"]) == ("critical", "1m0s")
    assert [asked.method for asked in groups.sender.asked[:-1]] == ["GET"] * len(answers)


async def test_service_without_an_id_is_not_removed(groups: Groups) -> None:
    with pytest.raises(InvalidRequest, match="service_id"):
        await groups.agent.deregister("")
    assert not groups.sender.asked


async def test_service_of_another_id_is_no_answer(groups: Groups) -> None:
    groups.sender.answers = [b'{"ID": "b", "Service": "web"}']
    with pytest.raises(UnreadableResponse, match=r"'b' came where 'a/\.\./b'"):
        await groups.agent.service("a/../b")


async def test_entry_with_an_odd_name_is_deleted_where_the_path_surely_leads_to_it(groups: Groups) -> None:
    groups.sender.answers = [b'{"Kind": "service-defaults", "Name": "A//b"}', b"{}"]
    await groups.config.delete("service-defaults", "a//b")
    assert [path for _, path, _ in groups.sender.wire] == ["/v1/config/service-defaults/a%2F%2Fb"] * 2
    groups.sender.answers = [b'{"Kind": "service-defaults", "Name": "a/b"}']
    with pytest.raises(UnreadableResponse, match="'a/b' came where 'a//b'"):
        await groups.config.delete("service-defaults", "a//b")
    groups.sender.answers = [(404, b'Config entry not found for "service-defaults" / "a//b"')]
    await groups.config.delete("service-defaults", "a//b")
    assert [asked.method for asked in groups.sender.asked] == ["GET", "DELETE", "GET", "GET"]


@pytest.mark.parametrize("name", ODD)
async def test_destination_that_no_path_leads_to_gets_no_intention(groups: Groups, name: str) -> None:
    for made in (
        groups.intentions.upsert("web", name, action="allow"),
        groups.intentions.create("web", name, action="allow"),
        groups.intentions.upsert("web", f"ns/{name}", action="allow"),
    ):
        with pytest.raises(InvalidRequest, match=r"^destination: "):
            await made
    assert not groups.sender.asked


@pytest.mark.parametrize("name", [name for name in ODD if "/" not in name])
async def test_intention_of_an_odd_destination_is_deleted(groups: Groups, name: str) -> None:
    groups.sender.answers = [json.dumps({name: None}).encode(), b"true"]
    await groups.intentions.delete("web", name)
    assert [asked.method for asked in groups.sender.asked] == ["GET", "DELETE"]
    assert dict(groups.sender.asked[1].query) == {"source": "web", "destination": name}


async def test_catalog_removes_any_name_that_stands_in_it(groups: Groups) -> None:
    for name in ODD:
        groups.sender.answers = [b"true"] * 3
        await groups.catalog.deregister(name)
        await groups.catalog.deregister("n", service_id=name)
        await groups.catalog.deregister("n", check_id=name)
        sent = [json.loads(body or b"") for _, _, body in groups.sender.wire[-3:]]
        assert sent == [{"Node": name}, {"Node": "n", "ServiceID": name}, {"Node": "n", "CheckID": name}]


# Arguments of another shape.


def allowing(**fields: Any) -> Permission:
    return Permission(action="allow", **fields)


def rule(**fields: Any) -> Permission:
    return allowing(http=HTTPPermission(**fields))


def entry(**fields: Any) -> ServiceIntentions:
    return ServiceIntentions(**{"name": "db", **fields})


def web(**fields: Any) -> tuple[SourceIntention, ...]:
    return (SourceIntention(**{"name": "web", **fields}),)


@pytest.mark.parametrize(
    ("argument", "call"),
    [
        ("tags", lambda g: g.agent.register("web", tags=None)),
        ("tags", lambda g: g.agent.register("web", tags="ab")),
        ("tags", lambda g: g.agent.register("web", tags=5)),
        ("tags[1]", lambda g: g.agent.register("web", tags=["a", None])),
        ("checks", lambda g: g.agent.register("web", checks=None)),
        ("checks", lambda g: g.agent.register("web", checks=Check(ttl=1))),
        ("checks[0]", lambda g: g.agent.register("web", checks=[{"TTL": "1s"}])),
        ("meta", lambda g: g.agent.register("web", meta=["a"])),
        ("meta['a']", lambda g: g.agent.register("web", meta={"a": None})),
        ("tagged_addresses", lambda g: g.agent.register("web", tagged_addresses="wan")),
        ("tagged_addresses['wan']", lambda g: g.agent.register("web", tagged_addresses={"wan": "10.0.0.1"})),
        ("sidecar.checks", lambda g: g.agent.register("web", sidecar=Sidecar(checks=None))),  # type: ignore[arg-type]
        ("tags", lambda g: g.health.service("web", tags=None)),
        ("tags[0]", lambda g: g.health.service("web", tags=[None])),
        ("tags", lambda g: g.catalog.connect("web", tags=7)),
        ("node_meta", lambda g: g.health.service("web", node_meta=["a"])),
        ("node_meta['a']", lambda g: g.catalog.connect("web", node_meta={"a": 1})),
        ("node_meta", lambda g: g.catalog.nodes(node_meta="a:b")),
        ("checks", lambda g: g.catalog.register("n", "10.0.0.1", checks=None)),
        ("tagged_addresses", lambda g: g.catalog.register("n", "10.0.0.1", tagged_addresses=[])),
        ("service", lambda g: g.catalog.register("n", "10.0.0.1", service="web")),
        ("entry", lambda g: g.config.write(None)),
        ("entry", lambda g: g.config.write({"Kind": "mesh"})),
        ("id", lambda g: g.agent.register("web", id=5)),
        ("sidecar", lambda g: g.agent.register("web", sidecar=True)),
        ("proxy", lambda g: g.agent.register("web", kind="connect-proxy", port=1, proxy={})),
        ("target", lambda g: g.agent.authorize(None, "spiffe://x")),
        ("cas", lambda g: g.config.delete("mesh", cas="5")),
        ("permissions", lambda g: g.intentions.upsert("a", "b", permissions=None)),
        ("permissions[0]", lambda g: g.intentions.upsert("a", "b", permissions=["GET"])),
        ("source", lambda g: g.intentions.upsert(None, "b", action="allow")),
        ("description", lambda g: g.intentions.upsert("a", "b", action="allow", description=None)),
        ("meta", lambda g: g.intentions.create("a", "b", action="allow", meta=["a"])),
        ("meta['a']", lambda g: g.intentions.create("a", "b", action="allow", meta={"a": None})),
        ("destinations[0]", lambda g: g.intentions.match_many(destinations=[None])),
        ("destinations", lambda g: g.intentions.match_many(destinations=5)),
        ("permissions[0].http.methods", lambda g: g.intentions.upsert("a", "b", permissions=[rule(methods=None)])),
        (
            "permissions[0].http.methods[1]",
            lambda g: g.intentions.upsert("a", "b", permissions=[rule(methods=("GET", 5))]),
        ),
        ("permissions[0].http.methods", lambda g: g.intentions.upsert("a", "b", permissions=[rule(methods="GET")])),
        ("permissions[0].http.path_exact", lambda g: g.intentions.upsert("a", "b", permissions=[rule(path_exact=5)])),
        (
            "permissions[0].http.header[0]",
            lambda g: g.intentions.upsert("a", "b", permissions=[rule(header=({"Name": "x"},))]),
        ),
        (
            "permissions[0].http",
            lambda g: g.intentions.upsert("a", "b", permissions=[allowing(http={"PathExact": "/"})]),
        ),
        ("permissions[0].http", lambda g: g.intentions.upsert("a", "b", permissions=[allowing(http="/")])),
        ("permissions[0].jwt", lambda g: g.intentions.upsert("a", "b", permissions=[allowing(jwt=("okta",))])),
        ("destination", lambda g: g.intentions.upsert("a", None, permissions=[allowing()])),
        ("destination", lambda g: g.intentions.create("a", None, action="allow")),
        ("intention_id", lambda g: g.intentions.read_by_id(None)),
        ("intention_id", lambda g: g.intentions.delete_by_id(5)),
        ("'db': sources[0]", lambda g: g.intentions.plan([entry(sources=({"Name": "web"},))])),
        ("'db': sources", lambda g: g.intentions.plan([entry(sources=5)])),
        ("'db': sources[0].name", lambda g: g.intentions.plan([entry(sources=web(name=5))])),
        (
            "'db': sources[0].permissions[0].http.methods",
            lambda g: g.intentions.plan([entry(sources=web(permissions=(rule(methods=None),)))]),
        ),
        ("'db': jwt", lambda g: g.intentions.plan([entry(jwt={"Providers": []})])),
        ("5: name", lambda g: g.intentions.plan([entry(name=5)])),
        ("'db': meta['a']", lambda g: g.intentions.plan([entry(sources=web(), meta={"a": None})])),
        ("the entries", lambda g: g.intentions.plan(None)),
        ("the entries", lambda g: g.intentions.import_(None)),
        ("the entries[0]", lambda g: g.intentions.plan([{"Name": "db"}])),
    ],
)
async def test_argument_of_another_shape_is_refused_by_its_name(
    groups: Groups, argument: str, call: Callable[[Groups], Awaitable[object]]
) -> None:
    with pytest.raises(InvalidRequest) as caught:
        await call(groups)
    assert caught.value.message.startswith((f"{argument} takes ", f"{argument}: "))
    assert not groups.sender.asked


@pytest.mark.parametrize("action", [["allow"], {"allow": 1}, 5, None, "Allow"])
async def test_action_that_is_neither_allow_nor_deny_is_refused_by_its_name(groups: Groups, action: Any) -> None:
    source = SourceIntention(name="web", action=action)
    for call in (
        groups.intentions.upsert("web", "db", action=action),
        groups.intentions.create("web", "db", action=action),
        groups.intentions.plan([ServiceIntentions(name="db", sources=(source,))]),
        groups.intentions.upsert(
            "web", "db", permissions=[Permission(action=action, http=HTTPPermission(methods=("GET",)))]
        ),
    ):
        with pytest.raises(InvalidRequest, match="action must be 'allow' or 'deny'"):
            await call
    assert not groups.sender.asked


async def test_sequence_of_any_kind_is_taken(groups: Groups) -> None:
    groups.sender.answers = [b""]
    await groups.agent.register("web", tags=(tag for tag in "ab"), checks=iter([Check(ttl=1)]))  # type: ignore[arg-type]
    body = json.loads(groups.sender.wire[0][2] or b"")
    assert body["Tags"] == ["a", "b"]
    assert len(body["Checks"]) == 1


@pytest.mark.parametrize(
    ("call", "path"),
    [
        (lambda g: g.agent.register("web", sidecar=Sidecar(meta={"a": None})), "sidecar.meta.a"),  # type: ignore[dict-item]
        (lambda g: g.config.write(UnknownEntry(content={"Kind": "k", "Name": "n", "C": [None]})), "C[0]"),
    ],
)
async def test_null_is_refused_before_anything_is_sent(
    groups: Groups, call: Callable[[Groups], Awaitable[object]], path: str
) -> None:
    with pytest.raises(InvalidRequest) as caught:
        await call(groups)
    assert caught.value.message.startswith(f"{path}: ")
    assert not groups.sender.asked
