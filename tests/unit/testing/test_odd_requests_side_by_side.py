"""Single requests at the edges of what HTTP and JSON allow are answered as by a real 1.8."""

import json

from support.agents import RealAgent
from support.side_by_side import Command, Side, empty

from aioconsulconnect.testing import Agent

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


def test_odd_requests_are_answered_alike(real: RealAgent) -> None:
    box = Agent("1.8")
    box.start()
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
        box.stop()
        empty(real)
    assert not differences, "\n".join(differences)
