"""Query options, namespaces, datacenters and tokens: which endpoints look at them, and in which order."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import NamedTuple
from urllib.parse import quote

import pytest
from aiohttp import ClientSession
from cryptography import x509
from support.agents_under_test import AgentUnderTest, GuardedAgent
from yarl import URL

UUID = "11111111-1111-1111-1111-111111111111"
NAMESPACE = {"X-Consul-Namespace": "x"}
NO_PATH = "No path to datacenter"
READS_OF_ACL = (
    "policies",
    "roles",
    "tokens",
    f"token/{UUID}",
    f"policy/{UUID}",
    "policy/name/x",
    f"role/{UUID}",
    "role/name/x",
)
WRITES_OF_ACL = (
    ("PUT", "policy"),
    ("PUT", "role"),
    ("PUT", "token"),
    ("PUT", f"token/{UUID}/clone"),
    ("DELETE", f"policy/{UUID}"),
    ("DELETE", f"role/{UUID}"),
    ("DELETE", f"token/{UUID}"),
)
BAD_OPTIONS = (
    ("index=abc", "Invalid index"),
    ("wait=zz", "Invalid wait time"),
    ("max_stale=zz", 'Invalid max_stale value "zz"'),
    ("stale&consistent", "Cannot specify ?stale with ?consistent, conflicting semantics."),
    ("cached&consistent", "Cannot specify ?cached with ?consistent, conflicting semantics."),
)
CONSISTENCY = BAD_OPTIONS[2:]
BAD_CACHE = {"Cache-Control": "max-age=x"}


class Answer(NamedTuple):
    """The status and the text of an answer, without the words before a refusal that older versions have."""

    status: int
    text: str


class Plain:
    """Plain requests with one token."""

    def __init__(self, session: ClientSession, token: str = "") -> None:
        self.session = session
        self.token = token

    async def __call__(
        self,
        method: str,
        path: str,
        body: str = "{",
        headers: Mapping[str, str] | None = None,
        token: str | None = None,
    ) -> Answer:
        sent = {"X-Consul-Token": self.token if token is None else token, **(headers or {})}
        sent = {name: value for name, value in sent.items() if value}
        async with self.session.request(method, path, data=body if method != "GET" else None, headers=sent) as answer:
            return Answer(answer.status, (await answer.text()).removeprefix("Bad request: "))


@pytest.fixture
async def ask(guarded: GuardedAgent) -> AsyncIterator[Plain]:
    """Requests with the management token."""
    async with ClientSession(guarded.url) as session:
        yield Plain(session, guarded.management)


def no_namespace(parameter: str = "ns") -> Answer:
    return Answer(400, f'Invalid query parameter: "{parameter}" - Namespaces are a Consul Enterprise feature')


NO_NAMESPACE_IN_HEADER = Answer(
    400, 'Invalid header: "X-Consul-Namespace" - Namespaces are a Consul Enterprise feature'
)


async def test_reads_of_acls_read_all_options(ask: Plain) -> None:
    for path in (f"/v1/acl/{path}" for path in READS_OF_ACL):
        for option, words in BAD_OPTIONS:
            assert await ask("GET", f"{path}?{option}&ns=a&dc=dc9") == (400, words), path
        assert await ask("GET", path, headers=BAD_CACHE) == (400, "Invalid Cache-Control header."), path
        assert await ask("GET", f"{path}?ns=default&dc=dc9") == no_namespace(), path
        assert await ask("GET", f"{path}?ns=a", headers=NAMESPACE) == NO_NAMESPACE_IN_HEADER, path
        found = await ask("GET", f"{path}?authmethod-ns=a")
        assert found in {no_namespace("authmethod-ns"), await ask("GET", path)}, path
        assert await ask("GET", f"{path}?dc=dc9", token="unknown") == (500, NO_PATH), path


async def test_the_own_token_is_read_in_any_namespace(ask: Plain, guarded: GuardedAgent) -> None:
    path = "/v1/acl/token/self"
    assert (await ask("GET", f"{path}?ns=a", headers=NAMESPACE)).status == 200
    assert await ask("GET", f"{path}?index=abc") == (400, "Invalid index")
    assert await ask("GET", f"{path}?dc=dc9", token="unknown") == (500, NO_PATH)
    assert await ask("GET", "/v1/acl/tokens?authmethod-ns=a") == no_namespace("authmethod-ns")


async def test_writes_of_acls_take_no_namespace(ask: Plain, guarded: GuardedAgent) -> None:
    for method, path in ((method, f"/v1/acl/{path}") for method, path in WRITES_OF_ACL):
        assert await ask(method, f"{path}?ns=a") == no_namespace(), path
        assert await ask(method, path, headers=NAMESPACE) == NO_NAMESPACE_IN_HEADER, path
        refused = await ask(method, f"{path}?partition=a")
        assert ("Partitions are" in refused.text) == (guarded.version > (1, 10)), path
        assert NO_PATH not in (await ask(method, f"{path}?dc=dc9")).text, path


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
async def test_keys_read_all_options_whatever_is_done_with_them(ask: Plain, method: str) -> None:
    for option, words in BAD_OPTIONS:
        assert await ask(method, f"/v1/kv/?{option}&ns=a&cas=1") == (400, words)
    assert await ask(method, "/v1/kv/x", headers=BAD_CACHE) == (400, "Invalid Cache-Control header.")
    assert await ask(method, "/v1/kv/x?ns=a") == no_namespace()
    assert await ask(method, "/v1/kv/x", headers=NAMESPACE) == NO_NAMESPACE_IN_HEADER


READS = (
    "/v1/config/service-defaults",
    "/v1/config/service-defaults/x",
    "/v1/catalog/services",
    "/v1/catalog/service/x",
    "/v1/catalog/connect/x",
    "/v1/catalog/gateway-services/x",
    "/v1/catalog/node/x",
    "/v1/health/checks/x",
    "/v1/health/service/x",
    "/v1/health/connect/x",
    "/v1/health/state/any",
    "/v1/agent/services",
    "/v1/agent/service/x",
    "/v1/agent/health/service/id/x",
    "/v1/agent/connect/ca/leaf/x",
    "/v1/discovery-chain/x",
)


async def test_namespace_in_a_header_is_refused_as_one_in_a_parameter(ask: Plain) -> None:
    for path in READS:
        assert await ask("GET", f"{path}?ns=a", headers=NAMESPACE) == NO_NAMESPACE_IN_HEADER, path
        assert await ask("GET", f"{path}?ns=a") == no_namespace(), path


WRITES = (
    ("PUT", "/v1/catalog/register"),
    ("PUT", "/v1/catalog/deregister"),
    ("PUT", "/v1/agent/service/register"),
    ("PUT", "/v1/agent/service/deregister/x"),
    ("PUT", "/v1/agent/service/maintenance/x?enable=true"),
    ("PUT", "/v1/agent/check/register"),
    ("PUT", "/v1/agent/check/pass/x"),
    ("DELETE", "/v1/config/service-defaults/x"),
    ("POST", "/v1/agent/connect/authorize"),
)


async def test_writes_take_no_namespace(ask: Plain) -> None:
    for method, path in WRITES:
        with_parameter = f"{path}{'&' if '?' in path else '?'}ns=default"
        assert await ask(method, path, headers=NAMESPACE, token="unknown") == NO_NAMESPACE_IN_HEADER, path
        assert await ask(method, with_parameter, token="unknown") == no_namespace(), path


async def test_what_has_no_namespace_looks_for_none(ask: Plain, guarded: GuardedAgent) -> None:
    newest = ("/v1/exported-services",) if guarded.version >= (1, 18) else ()
    for path in ("/v1/catalog/nodes", "/v1/coordinate/nodes", *newest):
        for namespace in ("a", "default", "*"):
            assert (await ask("GET", f"{path}?ns={namespace}", headers=NAMESPACE)).status == 200
    if newest:
        assert await ask("GET", "/v1/exported-services?dc=dc9") == (200, "[]")
    else:
        assert await ask("GET", "/v1/coordinate/nodes?dc=dc9", token="unknown") == (500, NO_PATH)
    assert (await ask("DELETE", f"/v1/connect/intentions/{UUID}?ns=a")).status in {200, 500}
    assert (await ask("GET", f"/v1/connect/intentions/{UUID}?ns=a")).status == 404


async def test_members_are_of_no_partition(ask: Plain, guarded: GuardedAgent) -> None:
    refused = await ask("GET", "/v1/agent/members?partition=a", token="unknown")
    words = "Partitions are a Consul Enterprise feature" if guarded.version > (1, 10) else "ACL not found"
    assert refused.text.endswith(words)


async def test_entry_is_read_before_its_namespace(ask: Plain) -> None:
    assert await ask("PUT", "/v1/config?ns=a") == (400, "Request decoding failed: unexpected EOF")
    assert await ask("PUT", "/v1/config?ns=a&cas=x", '{"Kind": "service-defaults", "Name": "x"}') == no_namespace()
    assert (await ask("DELETE", "/v1/config/service-defaults?ns=a")).status == 404
    assert await ask("DELETE", "/v1/config/nope/x?ns=a") == (400, "invalid config entry kind: nope")


async def test_refusal_before_an_answer_that_is_given_nevertheless(ask: Plain, guarded: GuardedAgent) -> None:
    path = "/v1/catalog/datacenters"
    for option, words in CONSISTENCY:
        assert (await ask("GET", f"{path}?{option}")).text.rstrip() == f'{words}[\n    "dc1"\n]'
    assert (await ask("GET", path, headers=BAD_CACHE)).text.startswith("Invalid Cache-Control header.[\n")
    assert (await ask("GET", f"{path}?index=abc&wait=zz&ns=a")).status == 200
    paths = {"/v1/peerings": (1, 13), "/v1/exported-services": (1, 18)}
    for path in (path for path, since in paths.items() if guarded.version >= since):
        for option, words in BAD_OPTIONS:
            refused = await ask("GET", f"{path}?{option}")
            assert (refused.status, refused.text.rstrip()) == (400, f"{words}[]")


async def test_one_service_of_the_agent_is_always_consistent(ask: Plain) -> None:
    path = "/v1/agent/service/none"
    for option, _ in CONSISTENCY:
        assert await ask("GET", f"{path}?{option}", headers=BAD_CACHE) == (404, "unknown service ID: none")
    for option, words in BAD_OPTIONS[:2]:
        assert await ask("GET", f"{path}?{option}&ns=a") == (400, words)


async def test_configuration_of_the_authority_of_another_datacenter(ask: Plain) -> None:
    path = "/v1/connect/ca/configuration"
    assert await ask("GET", f"{path}?dc=dc9", token="unknown") == (500, NO_PATH)
    assert await ask("PUT", f"{path}?dc=dc9", '{"Provider": "consul"}', token="unknown") == (500, NO_PATH)
    assert await ask("PUT", f"{path}?dc=dc9") == (400, "Request decode failed: unexpected EOF")


@pytest.mark.parametrize("name", ["allow", "deny", "manage"])
async def test_names_that_consul_keeps_are_no_tokens(ask: Plain, guarded: GuardedAgent, name: str) -> None:
    refused = (500, "Cannot resolve root ACL")
    for path in ("acl/policies", "kv/x", "catalog/nodes", "agent/self", "agent/connect/ca/leaf/other", "config/mesh"):
        if path != "config/mesh" or guarded.version > (1, 10):
            assert await ask("GET", f"/v1/{path}", token=name) == refused
    assert await ask("DELETE", f"/v1/acl/token/{UUID}", token=name) == refused
    client = f"spiffe://{UUID}.consul/ns/default/dc/dc1/svc/web"
    asked = f'{{"Target": "db", "ClientCertURI": "{client}"}}'
    denied = await ask("POST", "/v1/agent/connect/authorize", asked, token=name)
    assert (denied.status, denied.text.endswith(refused[1])) == (500, True)


async def test_bearer_is_one_word_after_a_space(ask: Plain, guarded: GuardedAgent) -> None:
    secret, path = guarded.management, "/v1/acl/token/self"
    taken = (f"Bearer {secret}", f"bEARER   {secret}", f"Bearer {secret} x", f" Bearer {secret} ")
    refused = (f"Bearer\t{secret}", f"Bearer{secret}", f"Basic {secret}", secret)
    for value in taken:
        assert (await ask("GET", path, headers={"Authorization": value}, token="")).status == 200, value
    for value in refused:
        shown = (await ask("GET", path, headers={"Authorization": value}, token="")).text
        assert secret not in shown, value


async def test_leaf_that_the_agent_holds_is_for_every_token(ask: Plain, guarded: GuardedAgent, unique: str) -> None:
    path = f"/v1/agent/connect/ca/leaf/{unique}"
    writer = await guarded.token(f'service "{unique}" {{ policy = "write" }}')
    reader = await guarded.token(f'service "{unique}" {{ policy = "read" }}')
    assert (await ask("GET", path, token=reader)).status == 403
    held = await ask("GET", path, token=writer)
    assert held.status == 200
    shared = guarded.version > (1, 14)
    for token in (reader, "", "unknown"):
        found = await ask("GET", path, token=token)
        assert found == held if shared else found.status == 403


async def test_name_of_a_leaf_is_cut_off(agent: AgentUnderTest, unique: str) -> None:
    path = f"/v1/agent/connect/ca/leaf/{unique}-X{'x' * 60}"
    async with ClientSession(agent.url) as session, session.get(path) as answer:
        pem = (await answer.json())["CertPEM"]
    certificate = x509.load_pem_x509_certificates(pem.encode())[0]
    (name,) = [str(each.value) for each in certificate.subject] or [""]
    if agent.version > (1, 10):
        assert name == ""
    else:
        assert name.startswith(f"{unique}{'x' * 27}.svc.default.")
        assert len(name) == 64


@pytest.mark.parametrize(
    ("name", "escaped"),
    [("w*b", "w%2Ab"), ("a+b", "a+b"), ("a:b@c", "a:b@c"), ("a;b=c&d$,e", "a;b=c&d$,e"), ("!", "%21")],
)
async def test_uri_of_a_leaf_is_escaped_as_go_does(agent: AgentUnderTest, unique: str, name: str, escaped: str) -> None:
    path = URL(f"/v1/agent/connect/ca/leaf/{unique}{quote(name)}", encoded=True)
    async with ClientSession(agent.url) as session, session.get(path) as answer:
        leaf = await answer.json()
    assert leaf["ServiceURI"].endswith(f"/svc/{unique}{escaped}")


async def test_decision_is_held_for_every_datacenter(guarded: GuardedAgent, unique: str) -> None:
    client = f"spiffe://{UUID}.consul/ns/default/dc/dc1/svc/web"
    body = {"Target": unique, "ClientCertURI": client}
    async with ClientSession(guarded.url, headers={"X-Consul-Token": guarded.management}) as session:
        for query, cache in (("", "MISS"), ("?dc=dc9", "HIT"), ("?dc=dc1", "HIT")):
            async with session.post(f"/v1/agent/connect/authorize{query}", json=body) as answer:
                assert (answer.status, answer.headers["X-Cache"]) == (200, cache)


@pytest.mark.parametrize("path", ["/ui", "/debug/pprof", "/v1/kv"])
async def test_folders_have_a_slash_at_the_end(agent: AgentUnderTest, path: str) -> None:
    newest = agent.version > (1, 16)
    async with ClientSession(agent.url) as session, session.get(f"{path}?a=b", allow_redirects=False) as answer:
        assert (answer.status, answer.headers["Location"]) == (307 if newest else 301, f"{path}/?a=b")
