"""Services in the agent in a box: registration, checks, catalog and health, waiting and rights."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from support.agents import MANAGEMENT, Launcher
from support.scripts import answer, differences
from support.versions import VERSIONS

from aioconsulconnect.testing import Agent, Version

REGISTER = "/v1/agent/service/register"
NEWER: tuple[Version, ...] = ("1.16", "1.22")
READ_WEB = ' service "web" { policy = "read" }'
SIDECAR = {"Name": "web", "Port": 80, "Tags": ["a"], "Meta": {"v": "1"}, "Connect": {"SidecarService": {}}}


class Caller:
    """Sends requests to one agent."""

    def __init__(self, session: aiohttp.ClientSession, agent: Agent, token: str = "") -> None:
        self.session = session
        self.agent = agent
        self.token = token
        self.headers: dict[str, str] = {}

    async def __call__(self, method: str, path: str, body: Any = None, status: int = 200) -> Any:
        """The answer: JSON where it is, else text."""
        token = {"X-Consul-Token": self.token} if self.token else {}
        async with self.session.request(method, self.agent.url + path, json=body, headers=token) as answer:
            text = await answer.text()
            assert answer.status == status, text
            self.headers = dict(answer.headers)
            return json.loads(text) if text and answer.content_type == "application/json" else text

    @property
    def index(self) -> int:
        """The index of the last answer."""
        return int(self.headers["X-Consul-Index"])

    def blocking(self, path: str, index: int, wait: str = "10s") -> "asyncio.Task[Any]":
        """A poll that waits."""
        return asyncio.create_task(
            Caller(self.session, self.agent, self.token)("GET", f"{path}?index={index}&wait={wait}")
        )

    async def waiting(self, count: int = 1) -> None:
        """Until so many polls wait."""
        async with asyncio.timeout(5):
            while len(self.agent.polls) < count:
                await asyncio.sleep(0.002)


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(20)) as session:
        yield session


@pytest.fixture(params=VERSIONS)
async def call(request: pytest.FixtureRequest, session: aiohttp.ClientSession) -> AsyncIterator[Caller]:
    async with Agent(request.param, node_name="vm") as agent:
        yield Caller(session, agent)


@pytest.fixture
async def newest(session: aiohttp.ClientSession) -> AsyncIterator[Caller]:
    async with Agent(node_name="vm") as agent:
        yield Caller(session, agent)


async def made(session: aiohttp.ClientSession, agent: Agent, rules: str) -> Caller:
    """A caller with a token of these rules."""
    manager = Caller(session, agent, agent.management_token)
    policy = await manager("PUT", "/v1/acl/policy", {"Name": f"p{len(rules)}", "Rules": rules})
    token = await manager("PUT", "/v1/acl/token", {"Policies": [{"ID": policy["ID"]}]})
    return Caller(session, agent, token["SecretID"])


# Registering.


async def test_a_sidecar_has_what_its_service_has(call: Caller) -> None:
    await call("PUT", REGISTER, SIDECAR)
    services = await call("GET", "/v1/agent/services")
    sidecar = services["web-sidecar-proxy"]
    assert (sidecar["Service"], sidecar["Kind"], sidecar["Port"]) == ("web-sidecar-proxy", "connect-proxy", 21000)
    assert (sidecar["Tags"], sidecar["Meta"]) == (["a"], {"v": "1"})
    assert sidecar["Proxy"]["LocalServicePort"] == 80
    assert sidecar["Proxy"]["DestinationServiceID"] == "web"
    assert "Connect" not in services["web"]
    assert ("Datacenter" in sidecar) == (call.agent.version != "1.8.7")
    checks = await call("GET", "/v1/agent/checks")
    assert {check["Name"]: check["Status"] for check in checks.values()} == {
        "Connect Sidecar Listening": "critical",
        "Connect Sidecar Aliasing web": "passing",
    }


async def test_a_sidecar_keeps_its_port_and_goes_with_its_service(call: Caller) -> None:
    await call("PUT", REGISTER, SIDECAR)
    await call("PUT", REGISTER, {**SIDECAR, "Name": "other"})
    await call("PUT", REGISTER, {**SIDECAR, "Tags": ["b"]})
    services = await call("GET", "/v1/agent/services")
    assert services["web-sidecar-proxy"]["Port"] == 21000
    assert services["other-sidecar-proxy"]["Port"] == 21001
    await call("PUT", REGISTER, {"Name": "web", "Port": 80})
    assert "web-sidecar-proxy" in await call("GET", "/v1/agent/services")
    await call("PUT", "/v1/agent/service/deregister/web")
    assert set(await call("GET", "/v1/agent/services")) == {"other", "other-sidecar-proxy"}


async def test_the_ports_of_sidecars_run_out(session: aiohttp.ClientSession) -> None:
    async with Agent() as agent:
        call = Caller(session, agent)
        for number in range(256):
            await call("PUT", REGISTER, {"Name": f"s{number}", "Port": 1, "Connect": {"SidecarService": {}}})
        text = await call("PUT", REGISTER, SIDECAR, status=500)
        assert text.endswith("none left in the configured range [21000, 21255]")


@pytest.mark.parametrize(
    ("version", "words"),
    [
        ("1.8", "Port must be set for a Connect proxy"),
        ("1.10", "Port or SocketPath must be set for a Connect proxy"),
        ("1.16", "Validation failed: 1 error occurred:\n\t* Port or SocketPath must be set for a connect-proxy\n\n"),
        ("1.22", "Validation failed: 1 error occurred:\n\t* Port or SocketPath must be set for a connect-proxy\n\n"),
    ],
)
async def test_a_proxy_needs_a_port(session: aiohttp.ClientSession, version: Version, words: str) -> None:
    async with Agent(version) as agent:
        proxy = {"Name": "p", "Kind": "connect-proxy", "Proxy": {"DestinationServiceName": "web"}}
        assert words in await Caller(session, agent)("PUT", REGISTER, proxy, status=400)


async def test_fields_of_newer_versions_are_unknown(call: Caller) -> None:
    proxy = {"DestinationServiceName": "web", "Mode": "transparent"}
    body = {"Name": "p", "Kind": "connect-proxy", "Port": 1, "Proxy": proxy}
    if call.agent.version == "1.8.7":
        text = await call("PUT", REGISTER, body, status=400)
        assert text == 'Request decode failed: json: unknown field "Mode"'
    else:
        await call("PUT", REGISTER, body)
        service = await call("GET", "/v1/agent/service/p")
        assert service["Proxy"]["Mode"] == "transparent"


async def test_what_nobody_knows_is_deregistered_or_not_by_version(call: Caller) -> None:
    if call.agent.version in {"1.8.7", "1.10.12"}:
        await call("PUT", "/v1/agent/service/deregister/none")
    else:
        text = await call("PUT", "/v1/agent/service/deregister/none", status=404)
        assert text.startswith('Unknown service ID "none".')


async def test_a_check_of_an_unknown_kind_is_not_modelled(call: Caller) -> None:
    check = {"GRPC": "127.0.0.1:1", "Interval": "1s"}
    text = await call("PUT", REGISTER, {"Name": "web", "Check": check}, status=501)
    assert "in-process agent" in text
    assert await call("GET", "/v1/agent/services") == {}


# Checks.


async def test_a_time_limit_runs_out(call: Caller) -> None:
    check = {"TTL": "80ms", "Status": "passing"}
    await call("PUT", REGISTER, {"Name": "web", "Port": 80, "Check": check})
    found = await call("GET", "/v1/health/service/web?passing")
    assert [each["Status"] for each in found[0]["Checks"]] == ["passing", "passing"]
    poll = call.blocking("/v1/health/service/web", call.index)
    checks = (await poll)[0]["Checks"]
    assert (checks[1]["Status"], checks[1]["Output"]) == ("critical", "TTL expired")
    assert await call("GET", "/v1/health/service/web?passing") == []


async def test_an_alias_follows_its_service(call: Caller) -> None:
    await call("PUT", REGISTER, {**SIDECAR, "Check": {"TTL": "1h", "CheckID": "c"}})
    checks = await call("GET", "/v1/agent/checks")
    assert checks["service:web-sidecar-proxy:2"]["Output"] == "Aliased check \"Service 'web' check\" failing: "
    await call("PUT", "/v1/agent/check/pass/c?note=fine")
    checks = await call("GET", "/v1/agent/checks")
    assert (checks["c"]["Status"], checks["c"]["Output"]) == ("passing", "fine")
    assert checks["service:web-sidecar-proxy:2"]["Status"] == "passing"
    await call("PUT", "/v1/agent/service/maintenance/web?enable=true&reason=moving")
    checks = await call("GET", "/v1/agent/checks")
    assert checks["_service_maintenance:web"]["Notes"] == "moving"
    assert checks["service:web-sidecar-proxy:2"]["Status"] == "critical"
    await call("PUT", "/v1/agent/service/maintenance/web?enable=false")
    assert (await call("GET", "/v1/agent/checks"))["service:web-sidecar-proxy:2"]["Status"] == "passing"


async def test_a_dial_finds_who_listens(call: Caller) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if await reader.read(1):
            writer.write(b"HTTP/1.1 429 Too Many Requests\r\nConnection: close\r\n\r\nlater")
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        checks: list[dict[str, str]] = [
            {"TCP": f"127.0.0.1:{port}", "Interval": "20ms", "CheckID": "tcp"},
            {"HTTP": f"http://127.0.0.1:{port}/x?y=1", "Interval": "20ms", "CheckID": "http"},
            {"TCP": "127.0.0.1:1", "Interval": "20ms", "CheckID": "none"},
        ]
        await call("PUT", REGISTER, {"Name": "web", "Port": 80, "Checks": checks})
        async with asyncio.timeout(5):
            while True:
                found = await call("GET", "/v1/agent/checks")
                if all(check["Output"] for check in found.values()):
                    break
                await asyncio.sleep(0.01)
    assert {key: check["Status"] for key, check in found.items()} == {
        "tcp": "passing",
        "http": "warning",
        "none": "critical",
    }
    assert found["tcp"]["Output"] == f"TCP connect 127.0.0.1:{port}: Success"
    assert found["http"]["Output"].endswith("429 Too Many Requests Output: later")
    assert found["none"]["Output"] == "dial tcp 127.0.0.1:1: connect: connection refused"


async def test_checks_that_dial_run_when_told(newest: Caller) -> None:
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 21000)
    async with server:
        await newest("PUT", REGISTER, SIDECAR)
        assert await newest("GET", "/v1/health/connect/web?passing") == []
        await newest.agent.run_checks()
        assert len(await newest("GET", "/v1/health/connect/web?passing")) == 1
    status, output = newest.agent.store.checks["service:web-sidecar-proxy:1"]
    assert (status, output) == ("passing", "TCP connect 127.0.0.1:21000: Success")
    assert newest.agent.store.services["web-sidecar-proxy"]["Port"] == 21000


async def test_a_check_that_nobody_knows(call: Caller) -> None:
    older = call.agent.version in {"1.8.7", "1.10.12"}
    text = await call("PUT", "/v1/agent/check/pass/none", status=500 if older else 404)
    assert text.startswith('CheckID "none" does not' if older else 'Unknown check ID "none".')


# Waiting.


async def test_a_hash_waits_for_a_change(call: Caller) -> None:
    await call("PUT", REGISTER, SIDECAR)
    content = (await call("GET", "/v1/agent/service/web"))["ContentHash"]
    assert call.headers["X-Consul-Contenthash"] == content
    poll = asyncio.create_task(
        Caller(call.session, call.agent)("GET", f"/v1/agent/service/web?hash={content}&wait=10s")
    )
    await call.waiting()
    await call("PUT", REGISTER, SIDECAR)
    await asyncio.sleep(0.05)
    assert not poll.done(), "the same registration woke it"
    await call("PUT", REGISTER, {**SIDECAR, "Tags": ["b"]})
    service = await poll
    assert service["Tags"] == ["b"]
    assert service["ContentHash"] != content


async def test_a_hash_of_what_goes_ends_with_404(call: Caller) -> None:
    await call("PUT", REGISTER, SIDECAR)
    content = (await call("GET", "/v1/agent/service/web"))["ContentHash"]
    path = f"/v1/agent/service/web?hash={content}&wait=10s"
    poll = asyncio.create_task(Caller(call.session, call.agent)("GET", path, status=404))
    await call.waiting()
    await call("PUT", "/v1/agent/service/deregister/web")
    assert await poll == "unknown service ID: web"


async def test_health_of_the_mesh_wakes_for_its_own(call: Caller) -> None:
    await call("PUT", REGISTER, {"Name": "web", "Port": 80, "Connect": {"Native": True}, "Check": {"TTL": "1h"}})
    await call("GET", "/v1/health/connect/web")
    index = call.index
    poll = call.blocking("/v1/health/connect/web", index)
    await call.waiting()
    await call("PUT", REGISTER, {"Name": "other", "Port": 81})
    await asyncio.sleep(0.05)
    assert not poll.done(), "another service woke it"
    await call("PUT", "/v1/agent/check/pass/service:web")
    assert (await poll)[0]["Checks"][1]["Status"] == "passing"
    await call("GET", "/v1/health/connect/web")
    assert call.index > index


async def test_an_absent_service_is_woken_by_others_unless_it_is_streamed(call: Caller) -> None:
    await call("GET", "/v1/health/service/ghost")
    poll = call.blocking("/v1/health/service/ghost", call.index, wait="300ms")
    await call.waiting()
    began = asyncio.get_running_loop().time()
    await call("PUT", REGISTER, {"Name": "other", "Port": 81})
    assert await poll == []
    woken = asyncio.get_running_loop().time() - began < 0.2
    assert woken == (call.agent.version == "1.8.7")


async def test_streaming_says_that_it_knows_no_leader(call: Caller) -> None:
    await call("PUT", REGISTER, SIDECAR)
    await call("GET", "/v1/health/connect/web")
    assert call.headers["X-Consul-Knownleader"] == "true"
    await call("GET", f"/v1/health/connect/web?index={call.index - 1}&wait=1s")
    streams = call.agent.version != "1.8.7"
    assert call.headers["X-Consul-Knownleader"] == str(not streams).lower()
    assert call.headers.get("X-Consul-Query-Backend") == ("streaming" if streams else None)
    await call("GET", "/v1/health/connect/web?cached")
    assert call.headers["X-Cache"] == "MISS"
    await call("GET", "/v1/health/connect/web?cached")
    assert call.headers["X-Cache"] == "HIT"


async def test_the_index_of_what_vanished_stands(call: Caller) -> None:
    await call("PUT", REGISTER, {"Name": "web", "Port": 80})
    await call("PUT", "/v1/agent/service/deregister/web")
    await call("GET", "/v1/catalog/service/web")
    gone = call.index
    await call("PUT", REGISTER, {"Name": "other", "Port": 81})
    await call("GET", "/v1/catalog/service/web")
    assert call.index == gone


# Reading.


async def test_what_is_not_asked_for_is_left_out(call: Caller) -> None:
    await call("PUT", REGISTER, {"Name": "web", "ID": "w1", "Port": 80, "Tags": ["A", "b"]})
    await call("PUT", REGISTER, {"Name": "web", "ID": "w2", "Port": 81, "Meta": {"v": "2"}})
    for query, ids in (
        ("tag=a", ["w1"]),
        ("tag=a&tag=c", []),
        ("filter=Service.Meta.v==2", ["w2"]),
        ("filter=Service.Port!=80", ["w2"]),
        ("filter=A+in+Service.Tags", ["w1"]),
        ("filter=Service.Tags+is+empty", ["w2"]),
        ("filter=Checks.Status==passing", ["w1", "w2"]),
        ("node-meta=a:b", []),
        ("near=_agent", ["w1", "w2"]),
    ):
        found = await call("GET", f"/v1/health/service/web?{query}")
        assert [each["Service"]["ID"] for each in found] == ids, query
    found = await call("GET", "/v1/catalog/service/web?filter=ServiceMeta.v==2")
    assert [each["ServiceID"] for each in found] == ["w2"]
    assert await call("GET", "/v1/catalog/services") == {"consul": [], "web": ["A", "b"]}
    text = await call("GET", "/v1/health/service/web?filter=Nope==2", status=500)
    assert text == 'Failed to create boolean expression evaluator: Selector "Nope" is not valid'


async def test_the_mesh_has_addresses_of_its_own(session: aiohttp.ClientSession) -> None:
    async with Agent() as agent:
        call = Caller(session, agent)
        await call("PUT", REGISTER, {"Name": "web", "Port": 80, "Connect": {"Native": True}})
        await call("PUT", REGISTER, {"Name": "db", "Port": 81, "Connect": {"SidecarService": {}}})

        async def address(name: str) -> str:
            found = await call("GET", f"/v1/catalog/connect/{name}")
            return str(found[0]["ServiceTaggedAddresses"]["consul-virtual"]["Address"])

        assert [await address("web"), await address("db")] == ["240.0.0.1", "240.0.0.2"]
        await call("PUT", "/v1/agent/service/deregister/web")
        await call("PUT", REGISTER, {"Name": "api", "Port": 82, "Connect": {"Native": True}})
        assert await address("api") == "240.0.0.1"


@pytest.mark.parametrize("version", VERSIONS)
async def test_the_central_configuration_is_merged_in(session: aiohttp.ClientSession, version: Version) -> None:
    async with Agent(version) as agent:
        call = Caller(session, agent)
        upstreams = [{"DestinationName": "db", "LocalBindPort": 9000}]
        sidecar = {"SidecarService": {"Proxy": {"Config": {"a": 1}, "Upstreams": upstreams}}}
        await call("PUT", REGISTER, {"Name": "web", "Port": 80, "Connect": sidecar})
        before = (await call("GET", "/v1/agent/service/web-sidecar-proxy"))["ContentHash"]
        defaults = {"Config": {"protocol": "http", "a": 2}, "MeshGateway": {"Mode": "local"}}
        await call("PUT", "/v1/config", {"Kind": "proxy-defaults", "Name": "global", **defaults})
        await call("PUT", "/v1/config", {"Kind": "service-defaults", "Name": "db", "Protocol": "grpc"})
        service = await call("GET", "/v1/agent/service/web-sidecar-proxy")
        proxy = service["Proxy"]
        if version == "1.8":
            assert service["ContentHash"] == before
            return
        assert proxy["Config"] == {"a": 1, "protocol": "http"}
        assert proxy["MeshGateway"] == {"Mode": "local"}
        assert proxy["Upstreams"][0]["Config"] == {"protocol": "grpc"}
        assert proxy["Upstreams"][0]["MeshGateway"] == {"Mode": "local"}
        healthy = await call("GET", "/v1/health/connect/web")
        assert healthy[0]["Service"]["Proxy"]["Config"] == proxy["Config"]


async def test_a_gateway_without_services_has_the_index_of_gateways_alone(call: Caller) -> None:
    for write in (REGISTER, {"Name": "web"}), ("/v1/config", {"Kind": "service-defaults", "Name": "web"}):
        await call("PUT", *write)
        await call("GET", "/v1/catalog/gateway-services/nobody")
        assert call.index == 1
    await call("PUT", "/v1/config", {"Kind": "terminating-gateway", "Name": "exit", "Services": [{"Name": "*"}]})
    await call("GET", "/v1/catalog/gateway-services/nobody")
    before = call.index
    poll = call.blocking("/v1/catalog/gateway-services/exit", before)
    await call.waiting()
    await call("PUT", REGISTER, {"Name": "bill", "Port": 1})
    assert {row["Service"]["Name"] for row in await poll} == {"web", "bill"}


async def test_gateways_lead_to_services(call: Caller) -> None:
    await call("PUT", "/v1/config", {"Kind": "service-defaults", "Name": "web", "Protocol": "http"})
    listener = {"Port": 8080, "Protocol": "http", "Services": [{"Name": "web"}]}
    await call("PUT", "/v1/config", {"Kind": "ingress-gateway", "Name": "edge", "Listeners": [listener]})
    await call("GET", "/v1/health/ingress/web")
    assert call.index == 1
    await call("PUT", REGISTER, {"Name": "edge", "Kind": "ingress-gateway", "Port": 8080})
    found = await call("GET", "/v1/health/ingress/web")
    assert [each["Service"]["ID"] for each in found] == ["edge"]
    assert call.index > 1
    rows = await call("GET", "/v1/catalog/gateway-services/edge")
    assert [(row["Service"]["Name"], row["Port"]) for row in rows] == [("web", 8080)]
    services = [{"Name": "bill", "SNI": "x"}, {"Name": "*"}]
    await call("PUT", "/v1/config", {"Kind": "terminating-gateway", "Name": "exit", "Services": services})
    await call("PUT", REGISTER, {"Name": "plain", "Port": 1})
    rows = await call("GET", "/v1/catalog/gateway-services/exit")
    assert [(row["Service"]["Name"], row.get("FromWildcard", False)) for row in rows] == [
        ("bill", False),
        ("plain", True),
    ]


# Rights.


@pytest.mark.parametrize("version", VERSIONS)
async def test_who_may_not_ask_learns_nothing(session: aiohttp.ClientSession, version: Version) -> None:
    async with Agent(version, acl=True) as agent:
        manager = Caller(session, agent, agent.management_token)
        await manager("PUT", REGISTER, SIDECAR)
        nobody = Caller(session, agent)
        began = asyncio.get_running_loop().time()
        assert await nobody("GET", "/v1/catalog/connect/web?index=1&wait=5s") == []
        assert asyncio.get_running_loop().time() - began < 1, "a denied read of the catalog never waits"
        assert (nobody.headers["X-Consul-Index"], nobody.headers["X-Consul-Knownleader"]) == ("1", "false")
        if version in NEWER:
            assert await nobody("GET", "/v1/health/connect/web", status=403) == "Permission denied"
        else:
            assert await nobody("GET", "/v1/health/connect/web") == []
            assert nobody.headers["X-Consul-Index"] == "1"
        if version != "1.8":
            assert await nobody("GET", "/v1/health/connect/web?cached") == []
            assert nobody.index > 1
        assert await nobody("GET", "/v1/agent/services") == {}
        text = await nobody("PUT", REGISTER, SIDECAR, status=403)
        assert text.startswith("Permission denied: ")
        assert ("Missing service:write on web" in text) == (version in {"1.8", "1.10"})


@pytest.mark.parametrize("version", VERSIONS)
async def test_an_instance_takes_rights_on_its_node_too(session: aiohttp.ClientSession, version: Version) -> None:
    async with Agent(version, acl=True, node_name="vm") as agent:
        await Caller(session, agent, agent.management_token)("PUT", REGISTER, SIDECAR)
        blind = await made(session, agent, 'service_prefix "web" { policy = "read" }')
        seeing = await made(session, agent, 'service_prefix "web" { policy = "read" } node "vm" { policy = "read" }')
        for path in ("/v1/catalog/connect/web", "/v1/health/connect/web", "/v1/health/service/web"):
            assert await blind("GET", path) == []
            assert blind.index > 1
            assert blind.headers.get("X-Consul-Results-Filtered-By-Acls") == ("true" if version in NEWER else None)
            assert len(await seeing("GET", path)) == 1
            assert "X-Consul-Results-Filtered-By-Acls" not in seeing.headers


async def test_a_sidecar_takes_a_right_of_its_own(session: aiohttp.ClientSession) -> None:
    async with Agent(acl=True) as agent:
        alone = await made(session, agent, 'service "web" { policy = "write" }')
        text = await alone("PUT", REGISTER, SIDECAR, status=403)
        assert "lacks permission 'service:write' on \"web-sidecar-proxy\"" in text
        both = await made(session, agent, 'service_prefix "web" { policy = "write" }')
        await both("PUT", REGISTER, SIDECAR)
        proxy = {"Name": "web-p", "Kind": "connect-proxy", "Port": 1, "Proxy": {"DestinationServiceName": "db"}}
        text = await both("PUT", REGISTER, proxy, status=403)
        assert 'on "db"' in text


@pytest.mark.parametrize("version", VERSIONS)
async def test_the_older_agents_hold_a_leaf_for_each_token(session: aiohttp.ClientSession, version: Version) -> None:
    async with Agent(version, acl=True) as agent:
        rules = ('service_prefix "" { policy = "write" }', 'service "web" { policy = "write" }')
        callers = [await made(session, agent, rule) for rule in rules]
        serials: list[str] = []
        for caller in (*callers, *callers):
            leaf = await caller("GET", "/v1/agent/connect/ca/leaf/web")
            serials.append(leaf["SerialNumber"])
        assert serials[:2] == serials[2:]
        assert (serials[0] != serials[1]) == version.startswith(("1.8", "1.10"))


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    "leading",
    [
        {"Kind": "service-resolver", "Redirect": {"Service": "web"}},
        {"Kind": "service-resolver", "Failover": {"*": {"Service": "web"}}},
        {"Kind": "service-splitter", "Splits": [{"Weight": 50, "Service": "web"}, {"Weight": 50}]},
        {"Kind": "service-router", "Routes": [{"Destination": {"Service": "web"}}]},
    ],
)
async def test_who_leads_to_a_service_may_read_it(
    session: aiohttp.ClientSession, version: Version, leading: dict[str, Any]
) -> None:
    async with Agent(version, acl=True) as agent:
        manager = Caller(session, agent, agent.management_token)
        for name in ("a", "web"):
            await manager("PUT", "/v1/config", {"Kind": "service-defaults", "Name": name, "Protocol": "http"})
        own = 'service "a" { policy = "write" }'
        stranger, reader = await made(session, agent, own), await made(session, agent, own + READ_WEB)
        assert "Permission denied" in await stranger("PUT", "/v1/config", {"Name": "a", **leading}, 403)
        await reader("PUT", "/v1/config", {"Name": "a", **leading})


async def test_streaming_is_slow_to_tell_of_an_unknown_token(session: aiohttp.ClientSession) -> None:
    async with Agent(acl=True) as agent:
        stranger = Caller(session, agent, "12345678-0000-0000-0000-000000000000")
        assert await stranger("GET", "/v1/health/connect/web", status=403) == "ACL not found"
        assert await stranger("GET", "/v1/health/connect/web?index=5&wait=100ms") == []
        assert (stranger.headers["X-Consul-Index"], stranger.headers["X-Consul-Knownleader"]) == ("1", "false")


# As a real one.


async def test_services_are_answered_as_by_a_real_1_8(own_agent: Launcher) -> None:
    if own_agent.binary.version != (1, 8):
        pytest.skip("the script was written for 1.8")
    found = [""]
    for _ in range(3):  # a real agent may miss the change of an alias for a minute: another one is asked then
        if found:
            real = await own_agent()
            async with Agent("1.8", node_name="box") as agent:
                found = await differences("services", agent.url, real.url)
    assert found == []


RULES = (
    "",
    'service "front" { policy = "read" }',
    'service "front" { policy = "read" } node_prefix "" { policy = "read" }',
    'service_prefix "" { policy = "read" } node_prefix "" { policy = "read" }',
    'service "front" { policy = "write" }',
    'service_prefix "front" { policy = "write" } node_prefix "" { policy = "read" }',
    'operator = "write"',
)
READS = (
    *(
        "/v1/agent/services",
        "/v1/agent/checks",
        "/v1/agent/service/f1",
        "/v1/agent/service/none",
        "/v1/catalog/services",
    ),
    *(
        f"/v1/{kind}/{name}"
        for kind in (
            *("catalog/connect", "catalog/service", "catalog/gateway-services", "discovery-chain"),
            *("health/connect", "health/service", "health/ingress", "health/checks"),
        )
        for name in ("front", "nat", "edge", "ghost")
    ),
    "/v1/health/connect/front?index=1&wait=1s",
    *(
        f"/v1/config/{kind}"
        for kind in ("", "service-defaults", "service-resolver", "proxy-defaults", "ingress-gateway")
    ),
    *("/v1/config/service-defaults/front", "/v1/config/service-defaults/ghost", "/v1/config/ingress-gateway/edge"),
)
NATIVE = {"Name": "nat", "Port": 81, "Connect": {"Native": True}, "Check": {"TTL": "1h"}}
LISTENER = {"Port": 1, "Protocol": "http", "Services": [{"Name": "front"}]}
ENTRIES: tuple[dict[str, Any], ...] = (
    {"Kind": "service-defaults", "Name": "front", "Protocol": "http"},
    {"Kind": "service-resolver", "Name": "front", "ConnectTimeout": "3s"},
    {"Kind": "proxy-defaults", "Name": "global"},
    {"Kind": "ingress-gateway", "Name": "edge", "Listeners": [LISTENER]},
    {"Kind": "terminating-gateway", "Name": "exit"},
)
WRITES: tuple[tuple[str, Any], ...] = (
    (REGISTER, {"Name": "front", "ID": "f2", "Port": 85}),
    (REGISTER, {"Name": "front", "ID": "f3", "Port": 86, "Connect": {"SidecarService": {}}}),
    (REGISTER, {"Name": "front-p", "Kind": "connect-proxy", "Port": 1, "Proxy": {"DestinationServiceName": "nat"}}),
    ("/v1/agent/service/maintenance/f1?enable=false", None),
    ("/v1/agent/service/maintenance/none?enable=false", None),
    ("/v1/agent/check/pass/service:nat", None),
    ("/v1/agent/check/pass/none", None),
    ("/v1/agent/service/deregister/f2", None),
    ("/v1/agent/service/deregister/none", None),
    *(("/v1/config", entry) for entry in ENTRIES),
)


async def test_rights_on_services_are_judged_as_by_a_real_1_8(own_agent: Launcher) -> None:
    if own_agent.binary.version != (1, 8):
        pytest.skip("the rights of 1.8 are compared")
    real = await own_agent(acl=True, config={"acl": {"tokens": {"agent": MANAGEMENT}}})
    async with Agent("1.8", acl=True) as agent, aiohttp.ClientSession() as session:
        sides = ((agent.url, agent.management_token), (real.url, real.token))

        async def send(method: str, path: str, body: Any, tokens: tuple[str, str]) -> list[tuple[object, ...]]:
            step = {"method": method, "path": path, "body": None if body is None else json.dumps(body)}
            return [await answer(session, url, step, token) for (url, _), token in zip(sides, tokens, strict=True)]

        managers = (sides[0][1], sides[1][1])
        front = {"Name": "front", "ID": "f1", "Port": 80, "Connect": {"SidecarService": {}}}
        for body in (front, NATIVE, {"Name": "edge", "Port": 82, "Kind": "ingress-gateway"}):
            await send("PUT", REGISTER, body, managers)
        for entry in ENTRIES:
            await send("PUT", "/v1/config", entry, managers)
        await asyncio.sleep(0.2)  # until the real agent has told its catalog
        for number, rules in enumerate(RULES):
            secrets = [await secret(session, *side, f"p{number}", rules) for side in sides]
            tokens = (secrets[0], secrets[1])
            for path in READS:
                ours, theirs = await send("GET", path, None, tokens)
                assert ours == theirs, f"{path} with {rules!r}"
            for path, body in WRITES:
                ours, theirs = await send("PUT", path, body, tokens)
                assert ours == theirs, f"{path} {body} with {rules!r}"
            await send("PUT", "/v1/agent/service/deregister/f3", None, managers)
            await asyncio.sleep(0.1)


async def secret(session: aiohttp.ClientSession, url: str, manager: str, name: str, rules: str) -> str:
    """A new token of these rules."""
    headers = {"X-Consul-Token": manager}
    async with session.put(f"{url}/v1/acl/policy", json={"Name": name, "Rules": rules}, headers=headers) as policy:
        policies = [{"ID": (await policy.json())["ID"]}]
    async with session.put(f"{url}/v1/acl/token", json={"Policies": policies}, headers=headers) as token:
        return str((await token.json())["SecretID"])


SCRIPTS = "Scripts are disabled on this agent from remote calls; to enable, configure 'enable_script_checks' to true"
PATH = {"Path": "/a", "ListenerPort": 1, "LocalPathPort": 2}


@pytest.mark.parametrize("member", ["Args", "ScriptArgs", "args", "script_args"])
async def test_commands_are_no_checks(call: Caller, member: str) -> None:
    check = {member: ["true"], "Interval": "1s"}
    assert await call("PUT", REGISTER, {"Name": "c", "Check": check}, 500) == SCRIPTS
    assert await call("GET", "/v1/agent/services") == {}
    sidecar = {"SidecarService": {"Checks": [check]}}
    assert await call("PUT", REGISTER, {"Name": "c", "Port": 1, "Connect": sidecar}, 500) == SCRIPTS
    said = await call("PUT", REGISTER, {"Name": "c", "Check": {member: ["true"]}}, 400)
    assert "Invalid check: Interval must be > 0 for " in said


@pytest.mark.parametrize(
    "more", [{"ServiceID": "other"}, {"service_id": "other"}, {"DockerContainerID": "x"}, {"docker_container_id": "x"}]
)
async def test_what_is_no_check_of_its_own_may_stand_beside_a_time_limit(call: Caller, more: dict[str, str]) -> None:
    await call("PUT", REGISTER, {"Name": "c", "Check": {"TTL": "10s", **more}})
    checks = await call("GET", "/v1/agent/checks")
    assert {name: (check["ServiceID"], check["Type"]) for name, check in checks.items()} == {"service:c": ("c", "ttl")}


@pytest.mark.parametrize("check", [{"Header": {}}, {"Header": {"a": ["b"]}}, {"DockerContainerID": "x"}])
async def test_a_check_that_nothing_runs_needs_a_time_limit(call: Caller, check: dict[str, Any]) -> None:
    said = await call("PUT", REGISTER, {"Name": "c", "Check": check}, 400)
    assert "Invalid check: TTL must be > 0 for TTL checks" in said


@pytest.mark.parametrize("check", [{"ServiceID": "x"}, {"Args": []}, {"Header": None}, {"Interval": "0s"}])
async def test_a_check_that_says_nothing_is_none(call: Caller, check: dict[str, Any]) -> None:
    await call("PUT", REGISTER, {"Name": "c", "Check": check})
    assert await call("GET", "/v1/agent/checks") == {}


@pytest.mark.parametrize(
    ("paths", "words"),
    [
        ([PATH | {"Path": ""}], ["empty path exposed"]),
        ([PATH | {"ListenerPort": 0}], ["invalid listener port: 0"]),
        ([PATH | {"ListenerPort": 65536}], ["invalid listener port: 65536"]),
        ([PATH, PATH | {"Path": "/b"}], ["duplicate listener ports exposed"]),
        ([PATH, PATH | {"ListenerPort": 2}], ["duplicate paths exposed"]),
        ([{}], ["empty path exposed", "invalid listener port: 0"]),
        ([PATH, PATH], ["duplicate paths exposed", "duplicate listener ports exposed"]),
    ],
)
async def test_an_exposed_path_has_a_name_and_a_port_of_its_own(
    call: Caller, paths: list[dict[str, Any]], words: list[str]
) -> None:
    said = await call("PUT", REGISTER, exposing(paths), 400)
    assert [line for line in said.splitlines() if line.startswith("\t")] == [f"\t* expose.paths: {w}" for w in words]
    assert said.startswith("Validation failed: ") == call.agent.version.startswith(NEWER)


async def test_an_exposed_path_speaks_http(call: Caller) -> None:
    said = await call("PUT", REGISTER, exposing([PATH | {"Protocol": "udp"}]), 400)
    assert "protocol 'udp' not supported for path: /a, must be in: [http http2]" in said
    for fine in ({"Protocol": "HTTP2"}, {"Path": "a"}, {"LocalPathPort": 0}, {"LocalPathPort": 70000}):
        await call("PUT", REGISTER, exposing([PATH | fine]))


def exposing(paths: list[dict[str, Any]]) -> dict[str, Any]:
    proxy = {"DestinationServiceName": "w", "Expose": {"Paths": paths}}
    return {"Name": "c", "Kind": "connect-proxy", "Port": 9, "Proxy": proxy}
