"""Random sequences of requests on intentions and entries are answered as by a real 1.8, up to ids and times."""

import json
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given, settings, strategies as st
from support.agents import RealAgent
from support.side_by_side import COMMON, Command, run_both

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


@settings(COMMON, max_examples=25)
@given(commands=st.lists(COMMANDS, max_size=25))
def test_some_sequences_are_answered_alike(real: RealAgent, commands: list[Command]) -> None:
    run_both(real, commands)


@pytest.mark.slow
@pytest.mark.timeout(600)
@settings(COMMON, max_examples=500)
@given(commands=st.lists(COMMANDS, max_size=40))
def test_many_sequences_are_answered_alike(real: RealAgent, commands: list[Command]) -> None:
    run_both(real, commands)
