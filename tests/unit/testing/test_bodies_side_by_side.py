"""Many bodies of services and gateways, sent to the box and to a real 1.8, are answered alike and leave the same."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings, strategies as st
from support.agents import RealAgent
from support.side_by_side import Answer, Command, Side

from aioconsulconnect.testing import Agent

REGISTER = "/v1/agent/service/register"
KINDS = ("ingress-gateway", "terminating-gateway")
COMMON = settings(
    max_examples=400,
    deadline=None,
    derandomize=True,  # the same bodies each time: a gate must not depend on chance
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.data_too_large],
    phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.target, Phase.shrink],
)
TIMES = st.sampled_from(["10s", "10s", "0s", "1m30s", 5_000_000_000])
COMMANDS = st.sampled_from([["true"], ["true"], [], None])


def one_of_each(**members: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """An object with some of these members."""
    return st.fixed_dictionaries({}, optional=members)


CHECKS = one_of_each(
    CheckID=st.sampled_from(["one", "two", ""]),
    Name=st.just("a name"),
    Status=st.sampled_from(["passing", "critical", "bogus", ""]),
    Notes=st.just("why"),
    ServiceID=st.sampled_from(["other", None]),
    service_id=st.just("other"),
    Args=COMMANDS,
    args=COMMANDS,
    ScriptArgs=COMMANDS,
    HTTP=st.just("http://127.0.0.1:1"),
    TCP=st.just("127.0.0.1:1"),
    Header=st.sampled_from([{}, {"a": ["b"]}, None]),
    Method=st.just("PUT"),
    Interval=TIMES,
    TTL=TIMES,
    AliasService=st.just("other"),
    DockerContainerID=st.just("x"),
    docker_container_id=st.just("x"),
    Shell=st.just("sh"),
    Timeout=TIMES,
    tls_skip_verify=st.booleans(),
    DeregisterCriticalServiceAfter=st.just("10m"),
    OutputMaxSize=st.sampled_from([0, 1]),
    Bogus=st.just(1),
)
PATHS = one_of_each(
    Path=st.sampled_from(["/a", "/b", "a", ""]),
    ListenerPort=st.sampled_from([1, 2, 3, 0, -1, 65535, 65536]),
    LocalPathPort=st.sampled_from([0, 2, 70000]),
    Protocol=st.sampled_from(["http", "HTTP2", "", "udp"]),
    ParsedFromCheck=st.booleans(),
)
GOOD_PATHS = st.builds(
    lambda path, port: {"Path": path, "ListenerPort": port}, st.sampled_from(["/a", "/b"]), st.integers(1, 3)
)
EXPOSED = st.builds(
    lambda checks, paths: {"Checks": checks, "Paths": paths},
    st.booleans(),
    st.lists(st.one_of(PATHS, GOOD_PATHS), max_size=3),
)
SERVICES = st.one_of(
    st.builds(lambda check: {"Name": "c", "Check": check}, CHECKS),
    st.builds(lambda checks: {"Name": "c", "Checks": checks}, st.lists(CHECKS, max_size=2)),
    st.builds(
        lambda check: {"Name": "c", "Port": 9, "Connect": {"SidecarService": {"Port": 10, "Check": check}}}, CHECKS
    ),
    st.builds(
        lambda kind, exposed: {
            "Name": "c",
            "Kind": kind,
            "Port": 9,
            "Proxy": {"Expose": exposed} | ({"DestinationServiceName": "w"} if kind == "connect-proxy" else {}),
        },
        st.sampled_from(["connect-proxy", "connect-proxy", "mesh-gateway", ""]),
        EXPOSED,
    ),
    st.builds(
        lambda exposed: {"Name": "c", "Port": 9, "Connect": {"SidecarService": {"Proxy": {"Expose": exposed}}}}, EXPOSED
    ),
)
GATEWAY_NAMES = st.sampled_from(["g", "G", "h"])
GATEWAYS = st.one_of(
    st.builds(
        lambda kind, name: Command("PUT", "/v1/config", json.dumps({"Kind": kind, "Name": name})),
        st.sampled_from(KINDS),
        GATEWAY_NAMES,
    ),
    st.builds(
        lambda name, service, protocol: Command(
            "PUT",
            "/v1/config",
            json.dumps(
                {
                    "Kind": "ingress-gateway",
                    "Name": name,
                    "Listeners": [{"Port": 1, "Protocol": protocol, "Services": [{"Name": service}]}],
                }
            ),
        ),
        GATEWAY_NAMES,
        st.sampled_from(["web", "*", ""]),
        st.sampled_from(["tcp", "http"]),
    ),
    st.builds(
        lambda name, services: Command(
            "PUT",
            "/v1/config",
            json.dumps(
                {"Kind": "terminating-gateway", "Name": name, "Services": [{"Name": each} for each in services]}
            ),
        ),
        GATEWAY_NAMES,
        st.lists(st.sampled_from(["web", "db", "*", ""]), max_size=2),
    ),
    st.builds(
        lambda method, kind, name: Command(method, f"/v1/config/{kind}/{name}"),
        st.sampled_from(["GET", "DELETE"]),
        st.sampled_from(KINDS),
        GATEWAY_NAMES,
    ),
    st.builds(lambda name: Command("GET", f"/v1/catalog/gateway-services/{name}"), GATEWAY_NAMES),
)


@pytest.fixture(scope="module")
def box() -> Iterator[Agent]:
    box = Agent("1.8")
    box.start()
    yield box
    box.stop()


@pytest.fixture
def sides(box: Agent, real: RealAgent) -> Iterator[tuple[Side, Side]]:
    sides = Side(box.url), Side(real.url)
    yield sides
    for side in sides:
        side.connection.close()


def said(answer: Answer) -> Answer:
    """An answer without the order of a list of protocols, which is random."""
    if not isinstance(answer.body, list):
        return answer
    return answer._replace(body=[re.sub(r"\[http2 http\]", "[http http2]", str(line)) for line in answer.body])


def unindexed(command: Command, answer: Answer) -> Answer:
    """An answer without the index of the services behind a gateway: the box's moves with every write of a gateway."""
    is_row = command.path.startswith("/v1/catalog/gateway-services/")
    return answer._replace(headers=answer.headers | {"X-Consul-Index": None}) if is_row else answer


def held(side: Side) -> object:
    """The services and checks of an agent, but for what a check finds."""
    side.send(Command("GET", "/v1/agent/services"))
    services: dict[str, dict[str, Any]] = json.loads(side.text)
    side.send(Command("GET", "/v1/agent/checks"))
    checks: dict[str, dict[str, Any]] = json.loads(side.text)
    found = {"Status", "Output", "Node"}
    return services, {name: {k: v for k, v in check.items() if k not in found} for name, check in checks.items()}


@pytest.mark.slow
@pytest.mark.timeout(600)
@settings(COMMON)
@given(service=SERVICES)
def test_many_services_are_registered_alike(sides: tuple[Side, Side], service: dict[str, Any]) -> None:
    try:
        ours, theirs = (said(side.send(Command("PUT", REGISTER, json.dumps(service)))) for side in sides)
        assert ours == theirs
        ours_held, theirs_held = (held(side) for side in sides)
        assert ours_held == theirs_held
    finally:
        for side in sides:
            for name in ("c", "c-sidecar-proxy"):
                side.send(Command("PUT", f"/v1/agent/service/deregister/{name}"))


@pytest.mark.slow
@pytest.mark.timeout(600)
@settings(COMMON, max_examples=150)
@given(commands=st.lists(GATEWAYS, max_size=12))
def test_many_gateways_are_written_alike(sides: tuple[Side, Side], commands: list[Command]) -> None:
    try:
        for command in commands:
            ours, theirs = (unindexed(command, side.send(command)) for side in sides)
            assert ours == theirs
    finally:
        for side in sides:
            side.indexes.clear()
            for kind in KINDS:
                for name in ("g", "h"):
                    side.send(Command("DELETE", f"/v1/config/{kind}/{name}"))
