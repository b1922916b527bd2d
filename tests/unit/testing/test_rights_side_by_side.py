"""Rights on intentions are judged as by a real 1.8: random rules, intentions and requests."""

import json
import uuid

import pytest
from hypothesis import given, settings, strategies as st
from support.agents import RealAgent
from support.side_by_side import COMMON, Command, Side, empty

from aioconsulconnect.testing import Agent

RULES = st.lists(
    st.one_of(
        st.builds(
            lambda kind, name, policy, more: f'{kind} "{name}" {{ policy = "{policy}" {more} }}',
            st.sampled_from(["service", "service_prefix"]),
            st.sampled_from(["", "a", "ab", "*", "db", "web"]),
            st.sampled_from(["read", "write", "deny"]),
            st.sampled_from(["", "", 'intentions = "read"', 'intentions = "write"', 'intentions = "deny"']),
        ),
        st.sampled_from(
            ['operator = "read"', 'operator = "write"', 'agent_prefix "" { policy = "read" }', "# nothing"]
        ),
        st.sampled_from(['acl = "read"', 'node_prefix "" { policy = "read" }', 'key "x" { policy = "deny" }']),
    ),
    max_size=4,
).map("\n".join)
SERVICES = st.sampled_from(["a", "ab", "abc", "b", "db", "web", "*"])
GUARDED: st.SearchStrategy[Command] = st.one_of(
    st.just(Command("GET", "/v1/connect/intentions")),
    st.builds(
        lambda by, names: Command("GET", f"/v1/connect/intentions/match?by={by}&name=" + "&name=".join(names)),
        st.sampled_from(["source", "destination"]),
        st.lists(SERVICES, min_size=1, max_size=2),
    ),
    st.builds(
        lambda a, b: Command("GET", f"/v1/connect/intentions/check?source={a}&destination={b}"), SERVICES, SERVICES
    ),
    st.builds(lambda n: Command("GET", f"/v1/connect/intentions/{{{n}}}"), st.integers(0, 5)),
    st.builds(lambda n: Command("DELETE", f"/v1/connect/intentions/{{{n}}}"), st.integers(0, 5)),
    st.builds(
        lambda method, n, a, b: Command(
            method,
            "/v1/connect/intentions" + (f"/{{{n}}}" if method == "PUT" else ""),
            json.dumps({"SourceName": a, "DestinationName": b, "Action": "allow"}),
        ),
        st.sampled_from(["POST", "PUT"]),
        st.integers(0, 5),
        SERVICES,
        SERVICES,
    ),
    st.builds(
        lambda target: Command(
            "POST",
            "/v1/agent/connect/authorize",
            json.dumps({"Target": target, "ClientCertURI": "spiffe://x/ns/default/dc/dc1/svc/web"}),
        ),
        SERVICES,
    ),
    st.builds(lambda name: Command("GET", f"/v1/config/service-defaults/{name}"), SERVICES),
    st.builds(lambda name: Command("DELETE", f"/v1/config/service-defaults/{name}"), SERVICES),
    st.builds(lambda n: Command("PUT", "/v1/config", json.dumps({"Kind": "service-defaults", "Name": n})), SERVICES),
    st.sampled_from(
        [
            *(Command("GET", "/v1/config/service-defaults"), Command("GET", "/v1/config/proxy-defaults")),
            *(
                Command("PUT", "/v1/config", '{"Kind": "proxy-defaults", "Name": "global"}'),
                Command("GET", "/v1/config/"),
            ),
            *(
                Command("GET", "/v1/connect/ca/roots?dc=mars"),
                Command("GET", "/v1/connect/intentions?filter=Nope%20==%201"),
            ),
            *(
                Command("PUT", "/v1/connect/ca/configuration", "{"),
                Command("GET", "/v1/connect/ca/configuration?stale"),
            ),
            Command("PUT", "/v1/connect/ca/configuration", '{"Provider": "nope"}'),
        ]
    ),
)


def run_guarded(real: RealAgent, rules: str, made: list[str], commands: list[Command], *, unknown: bool) -> None:
    box = Agent("1.8", acl=True)
    box.start()
    managers = Side(box.url, box.management_token), Side(real.url, real.token)
    name = f"p{uuid.uuid4().hex}"
    try:
        for command in [
            *(Command("POST", "/v1/connect/intentions", body) for body in made),
            Command("PUT", "/v1/config", '{"Kind": "service-defaults", "Name": "ab"}'),
        ]:
            ours, theirs = (manager.send(command) for manager in managers)
            assert ours == theirs
        sides: list[Side] = []
        for manager, url in zip(managers, (box.url, real.url), strict=True):
            policy = manager.send(Command("PUT", "/v1/acl/policy", json.dumps({"Name": name, "Rules": rules})))
            assert policy.status == 200
            manager.send(Command("PUT", "/v1/acl/token", json.dumps({"Policies": [{"Name": name}]})))
            secret = "11111111-2222-3333-4444-555555555555" if unknown else json.loads(manager.text)["SecretID"]
            sides.append(Side(url, secret))
            sides[-1].ids = manager.ids
        for at, command in enumerate(commands):
            ours, theirs = (side.send(command) for side in sides)
            assert ours == theirs, f"with {rules!r}, {made}: request {at} of {commands[: at + 1]}"
        for side in sides:
            side.connection.close()
    finally:
        for manager in managers:
            manager.connection.close()
        box.stop()
        empty(real)


UNKNOWN = st.sampled_from([False, False, False, True])  # whether the token is one that nobody made
MADE = st.lists(
    st.builds(lambda a, b: json.dumps({"SourceName": a, "DestinationName": b, "Action": "allow"}), SERVICES, SERVICES),
    max_size=4,
)


@settings(COMMON, max_examples=25)
@given(rules=RULES, made=MADE, commands=st.lists(GUARDED, min_size=1, max_size=15), unknown=UNKNOWN)
def test_some_rights_are_judged_alike(
    guarded: RealAgent, *, rules: str, made: list[str], commands: list[Command], unknown: bool
) -> None:
    run_guarded(guarded, rules, made, commands, unknown=unknown)


@pytest.mark.slow
@pytest.mark.timeout(600)
@settings(COMMON, max_examples=500)
@given(rules=RULES, made=MADE, commands=st.lists(GUARDED, min_size=1, max_size=25), unknown=UNKNOWN)
def test_many_rights_are_judged_alike(
    guarded: RealAgent, *, rules: str, made: list[str], commands: list[Command], unknown: bool
) -> None:
    run_guarded(guarded, rules, made, commands, unknown=unknown)
