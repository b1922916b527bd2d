"""Registration of services, checks and nodes in its details, and what the reads show of it."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import ClientSession, ServerDisconnectedError
from support.agents_under_test import AgentUnderTest
from support.asker import Asker

REGISTER = "/v1/agent/service/register"
CATALOG = "/v1/catalog/register"


class Registrar(Asker):
    """Requests about things that are removed after the test."""

    def __init__(self, session: ClientSession, name: str, version: tuple[int, int]) -> None:
        super().__init__(session)
        self.name = name
        self.version = version

    async def register(self, more: Any, status: int = 200, query: str = "") -> Any:
        """Register a service, and give the text of the answer."""
        body = {"Name": self.name, **more} if isinstance(more, dict) else more.replace(b"NAME", self.name.encode())
        return await self("PUT", f"{REGISTER}?{query}", body, status)

    async def put_node(self, more: Any, status: int = 200, **node: Any) -> Any:
        """Register a node with more, and give the answer."""
        return await self("PUT", CATALOG, {"Node": self.name, "Address": "10.0.0.9", **node, **more}, status)

    async def poll(self, path: str) -> Any:
        """Ask until there is something in the catalog."""
        async with asyncio.timeout(10):
            while not (found := await self("GET", path)):
                await asyncio.sleep(0.05)
        return found

    async def proxy(self) -> Any:
        """The definition of the proxy in the sidecar of the service."""
        return (await self("GET", f"/v1/agent/service/{self.name}-sidecar-proxy"))["Proxy"]

    async def services(self) -> Any:
        """The services of the node by their ids."""
        return (await self("GET", f"/v1/catalog/node/{self.name}"))["Services"]


@pytest.fixture
async def ask(agent: AgentUnderTest, unique: str) -> AsyncIterator[Registrar]:
    async with ClientSession(agent.url) as session:
        asker = Registrar(session, unique, agent.version)
        yield asker
        for name in await asker("GET", "/v1/agent/services"):
            if name.startswith(unique):
                await session.put(f"/v1/agent/service/deregister/{name}")
        await asker("PUT", "/v1/catalog/deregister", {"Node": unique})


@pytest.mark.parametrize("length", ["1e30", "9223372036854775807", "9223372036854775808", "-1e30"])
async def test_number_that_is_no_duration_is_the_least_one(ask: Registrar, length: str) -> None:
    text = await ask.register(b'{"Name":"NAME","Check":{"TTL":%s}}' % length.encode(), 400)
    assert text == "Invalid check: TTL must be > 0 for TTL checks"
    text = await ask.register(
        b'{"Name":"NAME","Check":{"HTTP":"http://127.0.0.1:1","Interval":%s}}' % length.encode(), 400
    )
    assert text.startswith("Invalid check: Interval must be > 0")
    body = b'{"Name":"NAME","TTL":%s}' % length.encode()
    assert "TTL must be > 0" in await ask("PUT", "/v1/agent/check/register", body, 400)
    check = b'{"Node":"%s","Address":"1.1.1.1","Check":{"Name":"c","Definition":{"Interval":%s,"HTTP":"x","TTL":%s}}}'
    await ask("PUT", CATALOG, check % (ask.name.encode(), length.encode(), length.encode()))
    (row,) = await ask("GET", f"/v1/health/node/{ask.name}")
    assert (row["Type"], row["Definition"]["TTL"]) == ("", -(2**63))
    assert row["Definition"]["Interval"] == "-2562047h47m16.854775808s"


async def test_longest_duration_is_read(ask: Registrar) -> None:
    await ask.register({"Check": {"TTL": "2562047h47m16.854775807s"}})
    await ask.register({"Check": {"TTL": "2562047h47m16.854775808s"}}, 400)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("1d", 'unknown unit "d" in duration "1d"'),
        ("1h 5m", 'unknown unit "h " in duration "1h 5m"'),
        ("1e5s", 'unknown unit "e" in duration "1e5s"'),
        ("1h5", 'missing unit in duration "1h5"'),
        ("1.5.5s", 'missing unit in duration "1.5.5s"'),
        (" 1h", 'invalid duration " 1h"'),
        ('1"é\n', r'unknown unit "\"\xc3\xa9\x0a" in duration "1\"\xc3\xa9\x0a"'),
    ],
)
async def test_wrong_duration_is_named(ask: Registrar, given: str, words: str) -> None:
    if ask.version == (1, 8) and "\\" in words:
        words = f'unknown unit "{given[1:]}" in duration "{given}"'
    decoding = f"Request decode failed: time: {words}"
    assert await ask.register({"Check": {"TTL": given}}, 400) == decoding
    assert await ask.put_node({"Check": {"Name": "c", "Definition": {"Timeout": given}}}, 400) == decoding
    authority = {"Provider": "consul", "Config": {"LeafCertTTL": given}}
    assert (await ask("PUT", "/v1/connect/ca/configuration", authority, 500)).endswith(f"'LeafCertTTL': time: {words}")
    entry = {"Kind": "service-resolver", "Name": ask.name, "ConnectTimeout": given}
    assert (await ask("PUT", "/v1/config", entry, 400)).endswith(f"'ConnectTimeout': time: {words}")


async def test_timeout_that_is_too_large_is_negative(ask: Registrar) -> None:
    entry = {"Kind": "service-resolver", "Name": ask.name, "ConnectTimeout": 1e30}
    text = await ask("PUT", "/v1/config", entry, 500)
    assert text == "Bad ConnectTimeout '-2562047h47m16.854775808s', must be >= 0"


@pytest.mark.parametrize("number", ["1e400", "1E1", "8.0"])
async def test_type_error_repeats_the_number(ask: Registrar, number: str) -> None:
    text = await ask.register(b'{"Name":"NAME","Port":%s}' % number.encode(), 400)
    assert f"json: cannot unmarshal number {number} into" in text
    if number == "1e400":
        text = await ask.register(b'{"Name":"NAME","Check":{"TTL":%s}}' % number.encode(), 400)
        assert text.endswith(("Check.TTL of type float64", "Check of type float64"))
        text = await ask.register(b'{"Name":"NAME","Proxy":{"Config":{"a":[1e400]}}}', 400)
        assert text.endswith(("Proxy.Alias.Config of type float64", "Proxy of type float64"))
        body = b'{"Kind":"service-resolver","Name":"x","ConnectTimeout":1e400}'
        assert (await ask("PUT", "/v1/config", body, 400)).endswith("number 1e400 into Go value of type float64")


@pytest.mark.parametrize(
    "part",
    [
        {"Service": {"Service": "s", "Proxy": {"Upstreams": [None]}}},
        {"Service": {"Service": "s", "Proxy": {"Expose": {"Paths": [None]}}}},
        {"Service": {"Service": "s", "proxy": None}},
        {"Service": {"Service": "s"}, "Check": {"Name": "c", "Definition": None}},
        {"Checks": [{"Name": "c", "definition": None}]},
        {"Checks": [None]},
    ],
)
async def test_null_that_ends_the_connection_writes_nothing(ask: Registrar, part: Any) -> None:
    with pytest.raises(ServerDisconnectedError):
        await ask.put_node(part)
    assert await ask("GET", f"/v1/catalog/node/{ask.name}") is None


@pytest.mark.parametrize(
    ("part", "words"),
    [
        ({"Weights": "x"}, "string into Go struct field NodeService.Service.Weights of type structs.Weights"),
        ({"Weights": {"Passing": "x"}}, "string into Go struct field Weights.Service.Weights.Passing of type int"),
        (
            {"TaggedAddresses": {"a": "x"}},
            "string into Go struct field NodeService.Service.TaggedAddresses of type structs.ServiceAddress",
        ),
        (
            {"Connect": {"Native": 1}},
            "number into Go struct field NodeService.Service.Connect.Alias.Native of type bool",
        ),
        (
            {"Proxy": {"Upstreams": [{"LocalBindPort": "x"}]}},
            "string into Go struct field NodeService.Service.Proxy.Alias.Upstreams.Alias.LocalBindPort of type int",
        ),
        ({"Port": "x"}, "string into Go struct field NodeService.Service.Port of type int"),
    ],
)
async def test_wrong_type_in_the_catalog_is_placed(ask: Registrar, part: Any, words: str) -> None:
    if ask.version == (1, 8) and ".Alias" in words:
        words = words[: words.index(".Alias")] + words[words.index(" of type") :]
    text = await ask.put_node({"Service": {"Service": "s", **part}}, 400)
    assert text == f"Request decode failed: json: cannot unmarshal {words}"


async def test_wrong_type_in_a_check_of_the_catalog_is_placed(ask: Registrar) -> None:
    inner = ".Alias.HTTP" if ask.version > (1, 8) else ""
    text = await ask.put_node({"Checks": [{"Name": "c", "Definition": {"HTTP": 1}}]}, 400)
    assert text.endswith(f"number into Go struct field HealthCheck.Checks.Definition{inner} of type string")
    await ask.put_node({"Check": {"Name": "c", "Definition": {"Interval": True, "Foo": 1}}})


WRONG_ADDRESSES = [
    *(("lan_ipv4", 4, address) for address in ("x", "", "::1", "256.1.1.1", "1.2.3")),
    ("wan_ipv4", 4, "::1"),
    *(("lan_ipv6", 6, address) for address in ("x", "1.2.3.4", "::ffff:1.2.3.4", "fe80::1%eth0")),
]


@pytest.mark.parametrize(("tag", "family", "address"), WRONG_ADDRESSES)
async def test_tagged_address_is_one_of_its_kind(ask: Registrar, tag: str, family: int, address: str) -> None:
    tagged = {"TaggedAddresses": {tag: {"Address": address, "Port": 1}}}
    words = f'Service tagged address "{tag}" must be a valid ipv{family} address'
    script = {"Check": {"ScriptArgs": ["a"], "Interval": "1s"}}
    assert await ask.register(tagged | script, 500) == words
    await ask("GET", f"/v1/agent/service/{ask.name}", status=404)
    assert await ask.register({"Port": 1, "Connect": {"SidecarService": tagged}}, 500) == words
    await ask("GET", f"/v1/agent/service/{ask.name}")
    await ask("GET", f"/v1/agent/service/{ask.name}-sidecar-proxy", status=404)
    await ask.put_node({"Service": {"Service": "s", **tagged}})


async def test_other_tagged_addresses_are_taken(ask: Registrar) -> None:
    for tag, address in (("lan_ipv4", "::ffff:1.2.3.4"), ("wan_ipv6", ""), ("wan_ipv6", "1.1.1.1"), ("lan", "x")):
        await ask.register({"TaggedAddresses": {tag: {"Address": address}}})
    for address, tags in (
        ("::ffff:1.2.3.4", ["lan_ipv4", "wan_ipv4"]),
        ("fe80::1%eth0", []),
        ("01.2.3.4", ["lan_ipv4", "wan_ipv4"] if ask.version == (1, 8) else []),
    ):
        await ask.register({"Address": address})
        shown = await ask("GET", f"/v1/agent/service/{ask.name}")
        assert list(shown.get("TaggedAddresses") or {}) == tags


async def test_metadata_is_measured_in_bytes(ask: Registrar) -> None:
    await ask.register({"Meta": {"k": "é" * 256}})
    text = await ask.register({"Meta": {"k": "日" * 171}}, 400)
    assert text.endswith("Value is too long (limit: 512 characters)")
    text = await ask.put_node({"Service": {"Service": "s", "Meta": {"k": "é" * 257}}}, 500)
    assert text.startswith(f"failed inserting service: Invalid Service Meta for node {ask.name} and serviceID s: ")


async def test_connect_takes_what_it_does_not_know(ask: Registrar) -> None:
    await ask.put_node({"Service": {"Service": "s", "Connect": {"Foo": 1, "PeerMeta": {}, "sidecar_service": None}}})
    peers = ask.version >= (1, 13)
    for given in ({"PeerMeta": "x"}, {"PeerMeta": {"SNI": "x"}}):
        text = await ask.register({"Connect": given}, 400 if peers else 200)
        assert not peers or ".Connect.Alias.PeerMeta" in text
    await ask.register({"Connect": {"PeerMeta": {"SNI": ["x"], "Foo": 1}}})
    (found,) = await ask.poll(f"/v1/health/service/{ask.name}")
    assert found["Service"]["Connect"] == ({"PeerMeta": {"SNI": ["x"]}} if peers else {})


async def test_upstream_that_central_configuration_made(ask: Registrar) -> None:
    if ask.version == (1, 8):
        return
    upstreams = [{"DestinationName": name, "CentrallyConfigured": True} for name in ("*", "db", "web")]
    proxy: Any = {"Kind": "connect-proxy", "Port": 1, "Proxy": {"DestinationServiceName": "b", "Upstreams": upstreams}}
    await ask.register(proxy)
    shown = await ask("GET", f"/v1/agent/service/{ask.name}")
    assert "CentrallyConfigured" not in shown["Proxy"]["Upstreams"][0]
    await ask.put_node({"Service": {"Service": "s", **proxy}})
    assert (await ask.services())["s"]["Proxy"]["Upstreams"][0]["CentrallyConfigured"] is True
    text = await ask.register({**proxy, "Proxy": {**proxy["Proxy"], "Upstreams": [*upstreams, upstreams[0]]}}, 400)
    assert 'upstreams cannot contain duplicates of [type="service", name="*"' in text


async def test_same_path_is_exposed_on_two_ports(ask: Registrar) -> None:
    def exposing(*ports: int) -> Any:
        paths = [{"Path": "/a", "ListenerPort": port} for port in ports]
        return {
            "Kind": "connect-proxy",
            "Port": 1,
            "Proxy": {"DestinationServiceName": "b", "Expose": {"Paths": paths}},
        }

    old = ask.version == (1, 8)
    await ask.register(exposing(1, 2), 400 if old else 200)
    await ask.put_node({"Service": {"Service": "s", **exposing(1, 2)}}, 500 if old else 200)
    text = await ask.register(exposing(1, 1), 400)
    assert "duplicate listener ports exposed" in text
    assert ("duplicate paths exposed" in text) == old


async def test_complaints_come_in_consuls_order(ask: Registrar) -> None:
    text = await ask.register({"Kind": "connect-proxy"}, 400)
    port, name = text.index("ort"), text.index("Proxy.DestinationServiceName must be non-empty")
    assert (port < name) == (ask.version >= (1, 16)), text
    if ask.version >= (1, 16):
        sidecar = {"ID": "x", "Connect": {"SidecarService": {}}}
        text = await ask.register(
            {"Connect": {"Native": True, "SidecarService": sidecar}, "Locality": {"Zone": "z"}}, 400
        )
        words = (
            "zone cannot be set",
            "cannot specify an ID",
            "cannot have a nested",
            "must be set for a Connect native",
        )
        places = [text.index(each) for each in words if each in text]
        assert len(places) == 3 + (ask.version >= (1, 20))
        assert places == sorted(places)


async def test_sidecar_of_a_service_behind_a_socket(ask: Registrar) -> None:
    if ask.version == (1, 8):
        return
    for service, given, told in (
        ({}, {}, {"LocalServiceSocketPath": "/a"}),
        ({"Port": 4}, {}, {"LocalServiceSocketPath": "/a"}),
        ({}, {"LocalServicePort": 5}, {"LocalServicePort": 5, "LocalServiceSocketPath": "/a"}),
        ({}, {"LocalServiceSocketPath": "/b"}, {"LocalServiceSocketPath": "/b"}),
    ):
        await ask.register({"SocketPath": "/a", **service, "Connect": {"SidecarService": {"Proxy": given}}})
        shown = await ask.proxy()
        assert {key: value for key, value in shown.items() if key.startswith("Local")} == told


async def test_sidecar_that_is_registered_by_hand_is_a_service_of_its_own(ask: Registrar) -> None:
    sidecar = f"{ask.name}-sidecar-proxy"
    await ask.register({"Port": 4, "Connect": {"SidecarService": {}}})
    await ask("PUT", REGISTER, {"Name": sidecar, "Port": 99})
    await ask("PUT", f"/v1/agent/service/deregister/{ask.name}")
    assert (await ask("GET", f"/v1/agent/service/{sidecar}"))["Port"] == 99


@pytest.mark.parametrize(("value", "kept"), [("1", True), ("TRUE", True), ("t", True), ("true", False), ("", False)])
async def test_checks_are_replaced_by_two_values_alone(ask: Registrar, value: str, kept: bool) -> None:
    await ask.register({"Check": {"TTL": "1h"}})
    await ask.register({}, query=f"replace-existing-checks={value}")
    assert (f"service:{ask.name}" in await ask("GET", "/v1/agent/checks")) == kept


async def test_node_may_be_spelt_in_another_case_by_a_check(ask: Registrar) -> None:
    other = ask.name.upper()
    new = ask.version >= (1, 16)
    await ask.put_node({"Check": {"Name": "c", "Node": other}}, 200 if new else 500)
    if new:
        assert [row["Node"] for row in await ask("GET", f"/v1/health/node/{ask.name}")] == [other]
    await ask.put_node({"Check": {"Name": "c", "Node": "x"}}, 500)


async def test_weights_that_are_none_become_the_default(ask: Registrar) -> None:
    wanted = {"a": (99999, 7), "b": (65536, 0), "c": (1, 99999), "d": (1, -5), "e": (0, 9), "f": (65535, 0)}
    for name, (passing, warning) in wanted.items():
        await ask.put_node({"Service": {"Service": name, "Weights": {"Passing": passing, "Warning": warning}}})
    found = {name: tuple(each["Weights"].values()) for name, each in (await ask.services()).items()}
    assert found == {**dict.fromkeys("abcde", (1, 1)), "f": (65535, 0)}


async def test_node_is_found_by_its_id(ask: Registrar) -> None:
    head, tail = f"{ask.name[1:]}", "1111-1111-1111-111111111111"
    await ask.put_node({"ID": f"{head}-{tail}"})
    for part in (head, head.upper(), f"{head}-", f"{head}1", f"{head}-{tail}", f"{head}-1111-1"):
        assert (await ask("GET", f"/v1/catalog/node/{part}"))["Node"]["Node"] == ask.name
        found = await ask("GET", f"/v1/catalog/node-services/{part}")
        assert (found["Node"]["Node"], found["Services"]) == (ask.name, None)
        assert await ask("GET", f"/v1/health/node/{part}") == []
    for part in (f"{head}-1", f"{head}-1111", f"{head}2222", f"{head}-{tail}-1111"):
        assert await ask("GET", f"/v1/catalog/node/{part}") is None


async def test_state_of_checks_ignores_case(ask: Registrar) -> None:
    await ask.put_node({"NodeMeta": {"of": ask.name}, "Check": {"Name": "c", "Status": "warning"}})
    for state, found in (("WARNING", ask.version > (1, 8)), ("Any", False), ("any", True), ("warning", True)):
        rows = await ask("GET", f"/v1/health/state/{state}?node-meta=of:{ask.name}")
        assert bool(rows) == found, state


async def test_ingress_with_a_tag_reads_the_service_itself(ask: Registrar) -> None:
    await ask.put_node({"Service": {"Service": ask.name, "Tags": ["m"]}})
    found = {
        tag: len(await ask("GET", f"/v1/health/ingress/{ask.name}{tag}")) for tag in ("?tag=M", "?tag=n", "?tag", "")
    }
    assert found == {"?tag=M": 1, "?tag=n": 0, "?tag": 0, "": 0}


async def test_health_of_a_service_tells_its_tags(ask: Registrar) -> None:
    for tags in (["t"], None):
        await ask.register({"Tags": tags, "Check": {"TTL": "1h"}}, query="replace-existing-checks")
        await ask("PUT", f"/v1/agent/service/maintenance/{ask.name}?enable=true")
        found = await ask("GET", f"/v1/agent/health/service/id/{ask.name}", status=503)
        assert [each["ServiceTags"] for each in found["Checks"] if each["ServiceID"] == ask.name] == [tags, tags]


async def test_node_tells_its_place(ask: Registrar) -> None:
    if ask.version < (1, 16):
        return
    await ask.put_node({"Locality": {"Region": "r"}, "Service": {"Service": ask.name}})
    await ask.put_node({"Locality": {"Zone": "z"}})  # it alone changes nothing
    (healthy,) = await ask("GET", f"/v1/health/service/{ask.name}")
    for node in (healthy["Node"], (await ask("GET", f"/v1/catalog/node/{ask.name}"))["Node"]):
        assert node["Locality"] == {"Region": "r"}
    await ask.put_node({"Locality": {}}, Address="10.0.0.8")
    assert (await ask("GET", f"/v1/catalog/node/{ask.name}"))["Node"]["Locality"] == {}


UNKNOWN = {
    "acl": " nope policies/ templated-policy/x",
    "agent": " Services check check/register/ checks/ services/ maintenance/ health connect/proxy/x",
    "agent/health": "service/foo/web",
    "agent/check": "c foo/x",
    "catalog": " bogus datacenters/ nodes/",
    "coordinate": " nope",
    "event": "nope",
    "health": " bogus/x",
    "internal": "nope",
    "operator": "nope raft",
    "peerings": "",
    "session": "nope",
    "snapshot": "",
    "status": "nope",
    "txn": "",
}


async def test_path_that_no_version_has_is_unknown(ask: Registrar) -> None:
    newer = "Invalid URL path: not a recognized HTTP API endpoint\n"
    for path in (f"{part}/{rest}" for part, each in UNKNOWN.items() for rest in each.split(" ")):
        text = await ask("GET", f"/v1/{path}", status=404)
        assert text == (newer if ask.version >= (1, 11) else ""), path


SLASHES = "service/deregister service/maintenance check/pass health/service/id connect/ca/leaf"


async def test_path_without_its_last_slash_is_redirected(ask: Registrar) -> None:
    paths = [*(f"agent/{path}" for path in SLASHES.split()), "acl/policy/name", "health/state"]
    for path, method in itertools.product(paths, ("GET", "PUT")):
        async with ask.session.request(method, f"/v1/{path}?a=b", allow_redirects=False) as answer:
            assert answer.status == (307 if ask.version >= (1, 20) else 301)
            assert answer.headers["Location"] == f"/v1/{path}/?a=b"


async def test_checks_are_held_to_a_filter_where_there_are_some(ask: Registrar) -> None:
    if await ask("GET", "/v1/agent/checks"):
        pytest.skip("the agent has a check of another test, whose id no path can name")
    assert await ask("GET", "/v1/agent/checks?filter=Foo==1") == {}
    await ask("GET", "/v1/agent/checks?filter=Foo=1", status=500)
    await ask.register({"Check": {"TTL": "1h"}})
    assert await ask("GET", "/v1/agent/checks?filter=Foo==1", status=500) == 'Selector "Foo" is not valid'


async def test_whole_numbers_have_the_digits_of_a_float(ask: Registrar) -> None:
    body = b'{"Name":"NAME","Kind":"connect-proxy","Port":1,"Proxy":{"DestinationServiceName":"b","Config":{"big":%s}}}'
    for given, shown in (("12345678901234567890", 12345678901234567000), ("1E3", 1000), ("0.5", 0.5)):
        await ask.register(body % given.encode())
        assert (await ask("GET", f"/v1/agent/service/{ask.name}"))["Proxy"]["Config"] == {"big": shown}


async def test_list_that_is_spelt_twice_is_read_by_element(ask: Registrar) -> None:
    await ask.register({"Checks": [{"TTL": "1h", "Name": "a"}, {"TTL": "1h"}], "checks": [{"Name": "b"}]})
    assert (await ask("GET", "/v1/agent/checks"))[f"service:{ask.name}"]["Name"] == "b"
    first = {"DestinationServiceName": "x", "Upstreams": [{"DestinationName": "a", "LocalBindPort": 1}]}
    second = {"upstreams": [{"LocalBindPort": 3}]}
    await ask.register({"Kind": "connect-proxy", "Port": 1, "Proxy": first, "proxy": second})
    (upstream,) = (await ask("GET", f"/v1/agent/service/{ask.name}"))["Proxy"]["Upstreams"]
    assert (upstream["DestinationName"], upstream["LocalBindPort"]) == ("a", 3)


async def test_half_a_character_is_marked_as_unreadable(ask: Registrar) -> None:
    body = rb'{"Name":"NAME","Meta":{"k":"\ud800-\udc00\ud83d\ude00"}}'
    await ask.register(body)
    assert (await ask("GET", f"/v1/agent/service/{ask.name}"))["Meta"] == {"k": "\ufffd-\ufffd\U0001f600"}


async def test_terminating_gateways_are_ways_to_what_lies_behind_them(ask: Registrar) -> None:
    gate = f"{ask.name}-gate"
    entry = {"Kind": "terminating-gateway", "Name": gate, "Services": [{"Name": f"{ask.name}-outside"}, {"Name": "x"}]}
    await ask("PUT", "/v1/config", entry)
    try:
        await ask("PUT", REGISTER, {"Name": gate, "Kind": "terminating-gateway", "Port": 8443})
        (healthy,) = await ask.poll(f"/v1/health/connect/{ask.name}-OUTSIDE")
        (found,) = await ask("GET", f"/v1/catalog/connect/{ask.name}-outside")
        assert (healthy["Service"]["Service"], found["ServiceName"]) == (gate, gate)
        assert await ask("GET", f"/v1/health/connect/{gate}") == []
    finally:
        await ask("DELETE", f"/v1/config/terminating-gateway/{gate}")
    assert await ask("GET", f"/v1/health/connect/{ask.name}-outside") == []
