"""Random sequences of requests, sent to the box and to a real 1.8, are answered alike up to ids, times and indexes."""

import json
import uuid
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, Phase, given, settings, strategies as st
from support.agents import RealAgent, known
from support.side_by_side import OLD, Background, Command, Side, empty, running

from aioconsulconnect.testing import Agent

NAMES = st.sampled_from(["web", "Web", "db", "DB", "api", "*", "we*", "", "a/b", "ü <&>"])
NAMESPACES = st.sampled_from(["default", "DEFAULT", "other", "*", ""])
ACTIONS = st.sampled_from(["allow", "allow", "deny", "ALLOW", ""])
META = st.dictionaries(st.sampled_from(["b", "a", "team"]), st.sampled_from(["", "1", "x" * 513]), max_size=3)
FILTERS = st.sampled_from(
    [
        "SourceName == web",
        'SourceName != "web" and Action == allow',
        "not (DestinationName == db or DestinationName == api)",
        "Meta.a == 1",
        "Meta is empty",
        "Meta is not empty",
        "a in Meta",
        "a not in Meta",
        "Meta contains team",
        "SourceName matches `^w`",
        'DestinationName not matches "b$"',
        "Precedence == 9",
        "Precedence != 9",
        "Description is empty",
        'Description == ""',
        "Hash == x",
        "Nope is empty",
        "CreatedAt == x",
    ]
)


@st.composite
def intentions(draw: st.DrawFn) -> str:
    fields: dict[str, Any] = {"SourceName": draw(NAMES), "DestinationName": draw(NAMES), "Action": draw(ACTIONS)}
    optional = st.fixed_dictionaries(
        {},
        optional={
            "SourceNS": NAMESPACES,
            "DestinationNS": NAMESPACES,
            "SourceType": st.sampled_from(["consul", "vm"]),
            "Description": st.sampled_from(["", "why", "x" * 513, "ü<>&\u2028"]),
            "Meta": META,
            "Precedence": st.just(1),
            "ID": st.sampled_from(["", "11111111-2222-3333-4444-555555555555"]),
            "Bogus": st.just(1),
            "sourcename": st.just("api"),
            "DefaultAddr": st.just("x"),
            "CreatedAt": st.just("2020-01-01T00:00:00Z"),
        },
    )
    # Most intentions are good ones, or no sequence would get anywhere.
    return json.dumps(fields | (draw(optional) if draw(st.integers(0, 2)) == 0 else {}))


BODIES = st.one_of(
    intentions(),
    intentions(),
    intentions(),
    st.sampled_from(
        [
            *(
                "",
                "{",
                "[",
                "null",
                "7",
                '"x"',
                "{}",
                "nul",
                '{"a" 1}',
                '{"a":1,}',
                '{"SourceName": 7}',
                "[]",
                "{} rest",
            ),
            *('{"SourceName": null, "Action": "allow"}', '{"Meta": {"a": 1}}', '{"Action": ["allow"]}', '{"a":"\t"}'),
            *(
                "\ufeff{}",
                "{'a': 1}",
                "[1 2]",
                '{"a": tru}',
                '{"Precedence": "x"}',
                '{"Meta": []}',
                '{"SourceName": 1.5}',
            ),
        ]
    ),
)
ENTRIES = st.one_of(
    st.builds(
        lambda name, protocol, more: json.dumps(
            {"Kind": "service-defaults", "Name": name, "Protocol": protocol} | more
        ),
        st.sampled_from(["web", "WEB", "db", ""]),
        st.sampled_from(["http", "HTTP", "tcp", "grpc", ""]),
        st.sampled_from([{}, {"MeshGateway": {"Mode": "local"}}, {"ExternalSNI": "x"}, {"expose": {"checks": True}}]),
    ),
    st.sampled_from(
        [
            '{"Kind": "proxy-defaults", "Name": "global", "Config": {"b": 1, "a": [1, {"d": 1, "c": 2}]}}',
            '{"Kind": "proxy-defaults", "Name": "other"}',
            '{"Kind": "proxy-defaults", "Name": "global"}',
            '{"kind": "service-defaults", "name": 5}',
            '{"Kind": "service-defaults", "Name": "x", "Bogus": 1}',
            '{"Kind": "service-intentions", "Name": "x"}',
            '{"Kind": "nope"}',
            '{"Name": "x"}',
            "null",
            "",
            "{",
        ]
    ),
)
CAS = st.sampled_from(["", "", "?cas=0", "?cas=1", "?cas=", "?cas=abc"])
COMMANDS: st.SearchStrategy[Command] = st.one_of(
    st.builds(lambda body: Command("POST", "/v1/connect/intentions", body), BODIES),
    st.builds(lambda body: Command("POST", "/v1/connect/intentions", body), intentions()),
    st.builds(lambda n, body: Command("PUT", f"/v1/connect/intentions/{{{n}}}", body), st.integers(0, 5), BODIES),
    st.builds(lambda n: Command("DELETE", f"/v1/connect/intentions/{{{n}}}"), st.integers(0, 5)),
    st.builds(lambda n: Command("GET", f"/v1/connect/intentions/{{{n}}}"), st.integers(0, 5)),
    st.sampled_from(
        [
            Command(method, f"/v1/connect/intentions{rest}")
            for method in ("GET", "PUT", "DELETE")
            for rest in ("/", "/x", "/11111111-2222-3333-4444-55555555555g", "/exact?source=a&destination=b", "/match/")
        ]
    ),
    st.sampled_from([Command("GET", "/v1/connect/intentions"), Command("GET", "/v1/connect/intentions?pretty")]),
    st.builds(lambda f: Command("GET", f"/v1/connect/intentions?filter={quote(f)}"), FILTERS),
    st.builds(
        lambda by, names: Command(
            "GET", f"/v1/connect/intentions/match?by={by}" + "".join(f"&name={quote(name)}" for name in names)
        ),
        st.sampled_from(["source", "destination", "", "x"]),
        st.lists(st.one_of(NAMES, st.sampled_from(["other/web", "DEFAULT/db", "a/b/c", "*/*", "/web"])), max_size=3),
    ),
    st.builds(
        lambda a, b, more: Command(
            "GET", f"/v1/connect/intentions/check?source={quote(a)}&destination={quote(b)}{more}"
        ),
        NAMES,
        NAMES,
        st.sampled_from(["", "&source-type=consul", "&source-type=", "&source=x", "&index=5", "&ns=x"]),
    ),
    st.builds(lambda body, cas: Command("PUT", f"/v1/config{cas}", body), ENTRIES, CAS),
    st.builds(
        lambda method, rest: Command(method, f"/v1/config/{rest}"),
        st.sampled_from(["GET", "GET", "DELETE"]),
        st.sampled_from(
            ["service-defaults", "service-defaults/web", "service-defaults/DB", "proxy-defaults/global", "nope"]
        ),
    ),
    st.builds(
        lambda method, path: Command(method, path, None),
        st.sampled_from(["GET", "HEAD", "OPTIONS", "PATCH", "PUT"]),
        st.sampled_from(
            [
                *("/v1/connect/nothing", "/v1/connect/intentions/match", "/v1/connect//intentions", "/nothing"),
                *(
                    "/v1/connect/intentions?index=x",
                    "/v1/connect/intentions?wait=10",
                    "/v1/connect/intentions?index=-1",
                ),
                *(
                    "/v1/connect/intentions?stale&consistent",
                    "/v1/connect/intentions?dc=mars",
                    "/v1/connect/./intentions",
                ),
                *("/v1/connect/intentions?cached&consistent", "/v1/connect/intentions?max_stale=x", "/v1/config"),
                *("/v1/connect/ca/roots?pem=maybe", "/v1/connect/ca/roots?dc=mars", "/v1/connect/intentions%0a"),
                *("/v1/connect/intentions?max_stale=1s", "/v1/connect/intentions?wait=1h&index=0", "/v1/acl/tokens"),
            ]
        ),
    ),
)


@pytest.fixture(scope="module")
def background() -> Iterator[Background]:
    running = Background()
    yield running
    running.end()


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealAgent]:
    """A real 1.8 of our own: what is listed must be ours."""
    yield from running(RealAgent(known(OLD[0] if OLD else None), tmp_path_factory.mktemp("real")))


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealAgent]:
    """Another one, with ACLs that deny by default."""
    yield from running(RealAgent(known(OLD[0] if OLD else None), tmp_path_factory.mktemp("guarded"), acl=True))


def run_both(background: Background, real: RealAgent, commands: list[Command]) -> None:
    box = Agent("1.8")
    background.run(box.start())
    sides = Side(box.url), Side(real.url)
    try:
        for at, command in enumerate(commands):
            ours, theirs = (side.send(command) for side in sides)
            assert ours == theirs, f"request {at} of {commands[: at + 1]}"
    finally:
        for side in sides:
            side.connection.close()
        background.run(box.stop())
        empty(real)


# Single requests at the edges of what HTTP and JSON allow.

AUTHORIZE = "/v1/agent/connect/authorize"
CONFIGURATION = "/v1/connect/ca/configuration"
ODD = [
    *(
        Command("GET", f"{path}{query}")
        for path in ("/v1/connect/intentions", "/v1/connect/ca/roots", "/v1/config/service-defaults")
        for query in (
            *("?index=%2B5", "?index=0x10", "?index=%205", "?index=18446744073709551616", "?wait=&index=", "?wait=-5s"),
            *(
                "?wait=1.5s",
                "?wait=10",
                "?max_stale=5",
                "?max_stale=",
                "?stale=false",
                "?cached&stale",
                "?leader&stale",
            ),
            *(
                "?leader&consistent",
                "?index=0&index=x",
                "?wait=1s&wait=x",
                "?filter=",
                "?filter=%20",
                "?dc=",
                "?dc=DC1",
            ),
            *("?datacenter=mars", "?dc=mars", "?token=", "?stale&consistent", "?cached&consistent", "?ns=x", "?x=%zz"),
            *("?a;b", "?pretty", "?partition=x", "/", "//", "/.", "/..", "%2F", "?", "?&&", "?=x"),
        )
    ),
    *(
        Command("GET", "/v1/connect/intentions", None, (("Cache-Control", value),))
        for value in ("max-age=5", "max-age=x", "no-cache", "max-age=-1", "max-age=5 must-revalidate", "max-age", "x=y")
    ),
    *(
        Command("GET", f"/v1/connect/intentions{rest}")
        for rest in (
            *("/check?source=a;destination=b", "/check?source=a&destination=b&dc=mars", "/check?source=&destination="),
            *(
                "/check?source=*&destination=*",
                "/check?source=a/b/c&destination=b",
                "/check?source=a&destination=b/c/d",
            ),
            *(
                "/match?by=source&name=x&dc=mars",
                "/match?by=source&name=x&stale&consistent",
                "/match?by=source&by=x&name=a",
            ),
            *(
                "/match?name=a/b/c&by=source",
                "/match?by=source&name=x&ns=y",
                "/match;x",
                "/match%zz",
                "/check/",
                "/exact/",
            ),
            *(
                "/11111111-2222-3333-4444-555555555555?dc=mars",
                "/1111-11112222-3333-4444-555555555555-",
                "/%00",
                "/a%20b",
            ),
            *("/11111111222233334444555555555555xxxx", "/11111111-2222-3333-4444-55555555555G", "/x/y", "/%2e%2e"),
        )
    ),
    *(
        Command("POST", AUTHORIZE, json.dumps({"Target": "db", "ClientCertURI": uri}))
        for uri in (
            *(
                "spiffe://x",
                "spiffe://x.consul",
                "spiffe://",
                "spiffe:///ns/default/dc/dc1/svc/web",
                "SPIFFE://x/ns/a/dc/b/svc/c",
            ),
            *(
                "spiffe://x/ns/default/dc/dc1/svc/web",
                "spiffe://x/ns/default/dc/dc1/svc/we%62",
                "spiffe://x/ns/d/dc/e/svc/",
            ),
            *(
                "spiffe://x/ns/default/dc/dc1/svc/web/",
                "spiffe://x/agent/client/dc/dc1/id/n",
                "spiffe://x/gateway/mesh/dc/dc1",
            ),
            *(
                "spiffe://x/agent/server/dc/dc1",
                "spiffe://x/ap/a/ns/b/dc/c/svc/d",
                "https://web",
                "web",
                "",
                ":",
                "%zz",
            ),
            *("spiffe://.consul", "spiffe://x/", "spiffe://x.y/", "spiffe://x/ns/default/dc/dc1/svc/a%2Fb", "spiffe:x"),
        )
    ),
    *(
        Command("POST", AUTHORIZE, body)
        for body in (
            "null",
            "",
            "{",
            "[]",
            "7",
            '{"Target": 7}',
            '{"Namespace": "x"}',
            '{"target": "db"}',
            '{"Target": ""}',
        )
    ),
    *(
        Command("PUT", CONFIGURATION, body)
        for body in (
            *(
                "null",
                "",
                "{",
                "[]",
                "{}",
                '{"Provider": ""}',
                '{"Provider": "nope"}',
                '{"Provider": 7}',
                '{"Bogus": 1}',
            ),
            *(
                '{"provider": "nope"}',
                '{"Provider": "consul", "Config": "x"}',
                '{"Provider": "consul", "State": {"a": "b"}}',
            ),
            *(
                json.dumps({"Provider": "consul", "Config": config})
                for config in (
                    *({"LeafCertTTL": "x"}, {"LeafCertTTL": "1s"}, {"LeafCertTTL": "9000h"}, {"PrivateKeyType": "x"}),
                    *({"PrivateKeyBits": 1}, {"PrivateKeyType": "rsa", "PrivateKeyBits": 1}, {"PrivateKey": "x"}),
                    *({"RootCert": "x"}, {"LeafCertTTL": "72h", "IntermediateCertTTL": "100h"}, {"LeafCertTTL": 1}),
                    *(
                        {"leafcertttl": "1s"},
                        {"leaf_cert_ttl": "1s"},
                        {"LeafCertTTL": "1.5h", "IntermediateCertTTL": "2h"},
                    ),
                )
            ),
        )
    ),
    *(
        Command(method, path)
        for method in ("GET", "PUT", "POST", "DELETE", "HEAD", "OPTIONS", "PATCH")
        for path in (
            *(
                CONFIGURATION,
                AUTHORIZE,
                "/v1/agent/connect/ca/roots",
                "/v1/status/leader",
                "/v1/acl/tokens",
                "/v1/config/",
            ),
            *(
                "/v1/config/service-defaults",
                "/v1/config/service-defaults/",
                "/v1/config/nope/x",
                "/v1/config/nope/",
                "/",
            ),
            *(
                "/v1",
                "/v1/",
                "/v2/x",
                "/v1/agent/connect/ca/leaf/",
                "/v1/agent/connect/ca/leaf/a%2Fb",
            ),
        )
        if (method, path) not in {("GET", "/v1/status/leader"), ("GET", "/v1/agent/connect/ca/roots")}
    ),
    Command("POST", "/v1/connect/intentions?dc=mars", '{"SourceName": "a", "DestinationName": "b", "Action": "allow"}'),
    Command("DELETE", "/v1/connect/intentions/11111111-2222-3333-4444-555555555555?dc=mars"),
    Command("PUT", "/v1/config?dc=mars", '{"Kind": "service-defaults", "Name": "q"}'),
    Command("DELETE", "/v1/config/service-defaults/q?dc=mars"),
    Command("GET", "/v1/agent/connect/ca/leaf/new?dc=mars"),
    Command("GET", "/v1/agent/connect/ca/roots?dc=mars"),
]


def test_odd_requests_are_answered_alike(background: Background, real: RealAgent) -> None:
    box = Agent("1.8")
    background.run(box.start())
    differences: list[str] = []
    try:
        for command in ODD:
            # Connections of their own, as some of these end the connection.
            sides = Side(box.url), Side(real.url)
            ours, theirs = (side.send(command) for side in sides)
            if ours != theirs:
                differences.append(f"{command}\n  {ours}\n  {theirs}")
            for side in sides:
                side.connection.close()
    finally:
        background.run(box.stop())
        empty(real)
    assert not differences, "\n".join(differences)


# Rights: the same requests by a token with some rules, for intentions that a management token made.

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


def run_guarded(
    background: Background, real: RealAgent, rules: str, made: list[str], commands: list[Command], *, unknown: bool
) -> None:
    box = Agent("1.8", acl=True)
    background.run(box.start())
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
        background.run(box.stop())
        empty(real)


COMMON = settings(
    deadline=None,
    derandomize=True,  # the same requests each time: a gate must not depend on chance
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.data_too_large],
    phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.target, Phase.shrink],
)


@settings(COMMON, max_examples=25)
@given(commands=st.lists(COMMANDS, max_size=25))
def test_some_sequences_are_answered_alike(background: Background, real: RealAgent, commands: list[Command]) -> None:
    run_both(background, real, commands)


@pytest.mark.slow
@pytest.mark.timeout(600)
@settings(COMMON, max_examples=500)
@given(commands=st.lists(COMMANDS, max_size=40))
def test_many_sequences_are_answered_alike(background: Background, real: RealAgent, commands: list[Command]) -> None:
    run_both(background, real, commands)


UNKNOWN = st.sampled_from([False, False, False, True])  # whether the token is one that nobody made
MADE = st.lists(
    st.builds(lambda a, b: json.dumps({"SourceName": a, "DestinationName": b, "Action": "allow"}), SERVICES, SERVICES),
    max_size=4,
)


@settings(COMMON, max_examples=25)
@given(rules=RULES, made=MADE, commands=st.lists(GUARDED, min_size=1, max_size=15), unknown=UNKNOWN)
def test_some_rights_are_judged_alike(
    background: Background, guarded: RealAgent, *, rules: str, made: list[str], commands: list[Command], unknown: bool
) -> None:
    run_guarded(background, guarded, rules, made, commands, unknown=unknown)


@pytest.mark.slow
@pytest.mark.timeout(600)
@settings(COMMON, max_examples=500)
@given(rules=RULES, made=MADE, commands=st.lists(GUARDED, min_size=1, max_size=25), unknown=UNKNOWN)
def test_many_rights_are_judged_alike(
    background: Background, guarded: RealAgent, *, rules: str, made: list[str], commands: list[Command], unknown: bool
) -> None:
    run_guarded(background, guarded, rules, made, commands, unknown=unknown)
