"""Good policies and tokens, and conversations about them and about what they let their holders do."""

from collections.abc import Iterator, Sequence
from typing import Any

from hypothesis import strategies as st
from support.conversations import Side, Step
from support.entry_bodies import modelled, remove_entries
from support.odd_values import put

from aioconsulconnect.testing.versions import Version

ANONYMOUS = "00000000-0000-0000-0000-000000000002"
MANAGEMENT = "00000000-0000-0000-0000-000000000001"
NOBODY = "11111111-2222-3333-4444-555555555555"
RESOURCES = (
    "service",
    "service_prefix",
    "node",
    "node_prefix",
    "key",
    "key_prefix",
    "agent",
    "agent_prefix",
    "session",
    "session_prefix",
    "event",
    "event_prefix",
    "query",
    "query_prefix",
    "identity",
    "bogus",
)
PLAIN = ("acl", "operator", "keyring", "mesh", "peering", "bogus")
LEVELS = ("read", "write", "deny", "list", "bogus", "")
RULES = (
    'service "web" { policy = "write" }',
    'service_prefix "" { policy = "read" }',
    'service "web" { policy = "read" intentions = "write" }',
    'node_prefix "" { policy = "read" }',
    'operator = "read"',
    'acl = "read"',
    'service "web" {\n  policy = "write"\n}\nnode_prefix "" {\n  policy = "read"\n}',
    '{"service": {"web": {"policy": "write"}}}',
    "",
)
ODD_RULES = (
    "{",
    "}",
    "service",
    'service "web"',
    'service "web" {}',
    'service "web" { policy = read }',
    'service "web" { policy = "read", intentions = "bogus" }',
    'service "web" { Policy = "read" }',
    'service "web" { policy = "read" bogus = "x" }',
    'service "web" { policy = "read" } service "web" { policy = "write" }',
    'service "" { policy = "read" }',
    'service { policy = "read" }',
    'service "a" "b" { policy = "read" }',
    'key "a" { policy = "list" }',
    'key_prefix "a" { policy = "list" }',
    'operator { policy = "read" }',
    'namespace "x" { service "a" { policy = "read" } }',
    'partition "x" { mesh = "read" }',
    "# nothing\n",
    "// nothing",
    "/* nothing */",
    '{"service": [{"web": {"policy": "read"}}]}',
    '{"bogus": 1}',
    "[]",
    "null",
    "5",
    'service "web" { policy = "read" sentinel { code = "x" enforcementlevel = "y" } }',
    'service_prefix "web" { policy = "write" intentions = "deny" }',
    'mesh = "write"\noperator = "write"',
)
NAMES = ("p", "q", "p-1", "P", "a b", "", "x" * 129, "global-management", "ä", 5, None)
SERVICE_IDENTITIES: tuple[Any, ...] = (
    [{"ServiceName": "web"}],
    [{"ServiceName": "web", "Datacenters": ["dc1"]}],
    [{"ServiceName": "web", "Datacenters": ["dc2"]}],
    [{"ServiceName": "web"}, {"ServiceName": "web"}],
    [{"ServiceName": "Web"}],
    [{"ServiceName": "web_1"}],
    [{"ServiceName": "a b"}],
    [{"ServiceName": "-a"}],
    [{"ServiceName": "x" * 257}],
    [{"ServiceName": "*"}],
    [{"ServiceName": ""}],
    [{}],
    [{"Bogus": 1}],
    [{"ServiceName": 5}],
    [None],
    [],
    None,
    {},
    "web",
)
NODE_IDENTITIES: tuple[Any, ...] = (
    [{"NodeName": "n", "Datacenter": "dc1"}],
    [{"NodeName": "n"}],
    [{"Datacenter": "dc1"}],
    [{"NodeName": "n", "Datacenter": "dc2"}],
    [{"NodeName": "a b", "Datacenter": "dc1"}],
    [{"NodeName": "N", "Datacenter": "dc1"}],
    [{"NodeName": "n", "Datacenter": "dc1"}, {"NodeName": "n", "Datacenter": "dc1"}],
    [{"NodeName": "n", "Datacenter": "DC1"}],
    [{}],
    [None],
    [],
    None,
    "n",
)
TOKEN_MEMBERS: tuple[tuple[str, tuple[Any, ...]], ...] = (
    ("Description", ("d", "", 5, None, "x" * 300)),
    (
        "Policies",
        (
            [{"ID": "{policy0}"}],
            [{"Name": "p"}],
            [{"Name": "nope"}],
            [{"ID": NOBODY}],
            [{}],
            [],
            None,
            "p",
            [None],
            [{"ID": "{policy0}", "Name": "other"}],
            [{"ID": "{policy0}"}, {"Name": "p"}],
            [{"ID": "x"}],
            {"Name": "p"},
        ),
    ),
    ("ServiceIdentities", SERVICE_IDENTITIES),
    ("NodeIdentities", NODE_IDENTITIES),
    ("Roles", ([{"Name": "nope"}], [{"ID": NOBODY}], [{"ID": "{role0}"}], [], None, [{}])),
    ("Local", (True, False, None, "x", 1)),
    ("AccessorID", (NOBODY, "x", "", ANONYMOUS, "{token0}", 5, None, "11111111-2222-3333-4444-55555555555")),
    ("SecretID", (NOBODY, "x", "", "{secret0}", 5, "anonymous")),
    ("ExpirationTTL", ("1h", "1s", "48h", "10000h", "-1s", "x", "", 3600000000000, 5)),
    ("ExpirationTime", ("2030-01-01T00:00:00Z", "2001-01-01T00:00:00Z", "x", None)),
    (
        "TemplatedPolicies",
        ([{"TemplateName": "builtin/service", "TemplateVariables": {"Name": "web"}}], [{}], [], None),
    ),
    ("CreateTime", ("2001-01-01T00:00:00Z", "x")),
    ("CreateIndex", (5, "x")),
    ("Hash", ("", "AAAA", 5)),
    ("AuthMethod", ("", "x")),
    ("Rules", ("", 'service "web" { policy = "read" }')),
    ("Type", ("", "client")),
    ("Namespace", ("", "default")),
    ("Bogus", (1,)),
)
POLICY_MEMBERS: tuple[tuple[str, tuple[Any, ...]], ...] = (
    ("Name", NAMES),
    ("Description", ("d", "", 5, None)),
    ("Rules", (*ODD_RULES, *ODD_RULES, *RULES, 5, None)),
    ("Datacenters", (["dc1"], ["dc2"], ["dc1", "dc2"], [], None, "dc1", [5], [""], ["DC1"])),
    ("ID", (NOBODY, "", "x", "{policy0}", MANAGEMENT)),
    ("Hash", ("", "AAAA")),
    ("CreateIndex", (5, "x")),
    ("Syntax", ("",)),
    ("Namespace", ("", "default")),
    ("Bogus", (1,)),
)
POLICIES = tuple({"Name": name, "Rules": rules} for name in ("p", "q") for rules in RULES)
TOKENS: tuple[dict[str, Any], ...] = (
    {},
    {"Policies": [{"Name": "p"}]},
    {"Policies": [{"ID": "{policy0}"}]},
    {"Description": "d", "Local": True},
    {"ServiceIdentities": [{"ServiceName": "web"}]},
    {"NodeIdentities": [{"NodeName": "n", "Datacenter": "dc1"}]},
)
RAW = ("null", "[]", "{", "", "5", '{"Name": "p"} trailing')
# What the holder of a token tries: reads and writes that rights decide about.
TRIED: tuple[Step, ...] = (
    Step("GET", "/v1/acl/token/self"),
    Step("GET", "/v1/acl/tokens"),
    Step("GET", "/v1/acl/policies"),
    Step("GET", "/v1/agent/services"),
    Step("GET", "/v1/agent/self"),
    Step("GET", "/v1/catalog/services"),
    Step("GET", "/v1/catalog/nodes"),
    Step("GET", "/v1/health/service/web"),
    Step("GET", "/v1/health/connect/web"),
    Step("GET", "/v1/catalog/service/web"),
    Step("GET", "/v1/agent/service/web"),
    Step("PUT", "/v1/agent/service/register", {"Name": "web", "Port": 80}),
    Step("PUT", "/v1/agent/service/register", {"Name": "other", "Port": 80}),
    Step("PUT", "/v1/agent/service/deregister/web"),
    Step("GET", "/v1/connect/intentions"),
    Step("GET", "/v1/connect/intentions/check?source=web&destination=db"),
    Step("GET", "/v1/connect/intentions/match?by=destination&name=web"),
    Step("GET", "/v1/config/service-defaults"),
    Step("GET", "/v1/config/service-defaults/web"),
    Step("PUT", "/v1/config", {"Kind": "service-defaults", "Name": "web"}),
    Step("PUT", "/v1/config", {"Kind": "proxy-defaults", "Name": "global"}),
    Step("PUT", "/v1/config", {"Kind": "ingress-gateway", "Name": "in"}),
    Step("DELETE", "/v1/config/service-defaults/web"),
    Step("GET", "/v1/discovery-chain/web"),
    Step("GET", "/v1/connect/ca/configuration"),
    Step("GET", "/v1/agent/connect/ca/leaf/web?bogus"),
    Step(
        "POST",
        "/v1/agent/connect/authorize",
        {"Target": "web", "ClientCertURI": "spiffe://x.consul/ns/default/dc/dc1/svc/db"},
    ),
)


@st.composite
def _bent(draw: st.DrawFn, bases: tuple[dict[str, Any], ...], members: tuple[tuple[str, tuple[Any, ...]], ...]) -> Any:
    if draw(st.sampled_from(range(20))) == 0:
        return draw(st.sampled_from(RAW))
    body = draw(st.sampled_from(bases))
    for _ in range(draw(st.sampled_from((0, 1, 1, 1, 2)))):
        name, values = draw(st.sampled_from(members))
        body = put(body, (name,), draw(st.sampled_from(values)))
    return body


@st.composite
def _rule(draw: st.DrawFn) -> str:
    """A rule for any resource, with any level."""
    level = draw(st.sampled_from(LEVELS))
    if draw(st.booleans()):
        return f'{draw(st.sampled_from(PLAIN))} = "{level}"'
    return f'{draw(st.sampled_from(RESOURCES))} "web" {{ policy = "{level}" }}'


def steps(version: Version) -> st.SearchStrategy[list[Step]]:
    """From 5 to 15 requests about policies and tokens, and by their holders."""
    ruled = st.builds(lambda rules: {"Name": "p", "Rules": rules}, _rule())
    policies = st.one_of(_bent(POLICIES, POLICY_MEMBERS), _bent(POLICIES, POLICY_MEMBERS), ruled)
    tokens = _bent(TOKENS, TOKEN_MEMBERS)
    ids = st.sampled_from(("{policy0}", "{policy0}", "{policy1}", NOBODY, MANAGEMENT, "x", ""))
    accessors = st.sampled_from(("{token0}", "{token0}", "{token1}", NOBODY, ANONYMOUS, "x", "self", ""))
    made = st.one_of(
        st.builds(lambda body: Step("PUT", "/v1/acl/policy", body), policies),
        st.builds(lambda body: Step("PUT", "/v1/acl/token", body), tokens),
        st.builds(lambda one, body: Step("PUT", f"/v1/acl/policy/{one}", body), ids, policies),
        st.builds(lambda one, body: Step("PUT", f"/v1/acl/token/{one}", body), accessors, tokens),
    )
    other = st.one_of(
        st.builds(lambda verb, one: Step(verb, f"/v1/acl/policy/{one}"), st.sampled_from(("GET", "DELETE")), ids),
        st.builds(lambda verb, one: Step(verb, f"/v1/acl/token/{one}"), st.sampled_from(("GET", "DELETE")), accessors),
        st.builds(
            lambda step, token: step._replace(token=token),
            st.sampled_from(TRIED),
            st.sampled_from(("{secret0}", "{secret0}", "{secret1}", "anonymous", NOBODY)),
        ),
    )
    first = st.tuples(
        st.sampled_from(POLICIES[: len(RULES)]).map(lambda body: Step("PUT", "/v1/acl/policy", body)),
        st.sampled_from(TOKENS).map(lambda body: Step("PUT", "/v1/acl/token", body)),
    )
    later = st.lists(st.one_of(made, other, other), min_size=3, max_size=13)
    return st.builds(lambda begun, rest: [*begun, *rest], first, later)


class Rights:
    """Policies, tokens and what they allow."""

    name = "policies and tokens"
    acl = True

    def __init__(self, version: Version) -> None:
        self.kinds = [kind.name for kind in modelled(version)]

    def views(self, side: Side, steps: Sequence[Step]) -> Iterator[Step]:
        for name in sorted(side.given):
            if name.startswith(("policy", "token")):
                yield Step("GET", f"/v1/acl/{name.rstrip('0123456789')}/{{{name}}}")
        yield Step("GET", "/v1/agent/services")

    def clear(self, side: Side) -> None:
        for token in side.call("GET", "/v1/acl/tokens") or ():
            if (
                token["AccessorID"] != ANONYMOUS
                and "Management" not in token["Description"]
                and "Master" not in token["Description"]
            ):
                side.send(Step("DELETE", f"/v1/acl/token/{token['AccessorID']}"))
        for policy in side.call("GET", "/v1/acl/policies") or ():
            if not policy["Name"].startswith("global-management") and not policy["Name"].startswith("builtin/"):
                side.send(Step("DELETE", f"/v1/acl/policy/{policy['ID']}"))
        if any(token["AccessorID"] == ANONYMOUS for token in side.call("GET", "/v1/acl/tokens") or ()):
            side.send(
                Step("PUT", f"/v1/acl/token/{ANONYMOUS}", {"AccessorID": ANONYMOUS, "Description": "Anonymous Token"})
            )
        for identifier in side.call("GET", "/v1/agent/services") or ():
            side.send(Step("PUT", f"/v1/agent/service/deregister/{identifier}"))
        remove_entries(side, self.kinds)
