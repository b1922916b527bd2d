"""Mode `envoy` against a real Envoy, case by case: requests that no random set has, headers, and rules it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest
from support import envoy_process
from support.authorization import HOME, allow, deny, intent
from support.authorization_oracle import Call
from support.envoy_callers import App, Connection
from support.envoy_comparison import difference_in_request
from support.envoy_config import LISTENER, http_chain, static_config, tcp_chain
from support.envoy_identities import Authority, uri_of
from support.envoy_process import Envoy
from support.envoy_rbac import Domains, rbac

from aioconsulconnect.authorization.rules.request import HTTPRequest
from aioconsulconnect.authorization.rules.settings import DecisionSettings
from aioconsulconnect.authorization.rules.source import Peer
from aioconsulconnect.authorization.rules.verdict import Reason
from aioconsulconnect.authorization.table import Table
from aioconsulconnect.structs.config_entries.defaults import RequestNormalization
from aioconsulconnect.structs.intentions import Action, HeaderPermission, Intention

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

EAST = "bbbb.consul"
WEB = uri_of(HOME, "web")
DOMAINS = Domains(HOME, {"east": EAST})
PLAIN = RequestNormalization()
Headers = tuple[tuple[str, str], ...]


@pytest.fixture(scope="module", autouse=True)
def _envoy_is_there() -> None:
    envoy_process.binary()


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


def table(intentions: list[Intention], default: Action = "deny") -> Table:
    settings = DecisionSettings(
        default=default, mode="envoy", trust_domain=HOME, peers=(Peer(name="east", trust_domain=EAST),)
    )
    return Table.build(intentions, settings, destinations=("db",))


# Requests.


def get(*headers: tuple[str, str], target: str = "/", method: str = "GET", host: str = "db") -> Call:
    return Call(method, target, (("Host", host), *headers))


def many(count: int, size: int = 1) -> Headers:
    return tuple((f"x-h{i}", "a" * size) for i in range(count))


REQUESTS = {
    "plain": get(),
    "PATCH": get(method="PATCH"),
    "TRACE": get(method="TRACE"),
    "empty host": get(host=""),
    "absolute target": get(target="http://x/a?b"),
    "absolute target with https": get(target="https://x/a"),
    "absolute target in capitals": get(target="HTTP://x/a"),
    "absolute target without a path": get(target="http://x"),
    "absolute target of another scheme": get(target="ftp://x/a"),
    "absolute target without a host": get(target="http:///a"),
    "asterisk": get(target="*"),
    "a hundred headers": get(*many(99)),
    "header below the limit": get(("x", "a" * 58_000)),
    "header above the limit": get(("x", "a" * 61_500)),
    "path below the limit": get(target="/" + "a" * 58_000),
    "path above the limit": get(target="/" + "a" * 61_500),
    "te: trailers": get(("te", "trailers")),
    "expect": get(("expect", "something")),
    "upgrade to h2c": get(("connection", "http2-settings, upgrade"), ("upgrade", "h2c"), ("http2-settings", "x")),
    "forwarded": get(("x-forwarded-for", "1.2.3.4"), ("x-forwarded-host", "h"), ("via", "a"), ("user-agent", "u")),
    "cookies": get(("cookie", "a"), ("cookie", "b")),
    "header in three lines": get(("x", "a"), ("x", "b"), ("x", "")),
    "proxy headers": get(("proxy-authorization", "x"), ("proxy-authenticate", "y"), ("trailer", "z")),
    "connection names a header": get(("connection", "x-a"), ("x-a", "1"), ("x-a", "2"), ("x-b", "1")),
    "two lines of connection": get(("connection", "x-a"), ("x-a", "1"), ("Connection", "x-b"), ("x-b", "1")),
    "space in a name": get(("x a", "1")),
    "bracket in a name": get(("x(a", "1")),
    "tab in a value": get(("x", "a\tb")),
    "null in a value": get(("x", "a\0b")),
    "byte beyond UTF-8 in a value": get(("x", "a\udcffb")),
    "CONNECT": get(method="CONNECT", target="db:80"),
    "OPTIONS *": get(method="OPTIONS", target="*"),
    "absolute target with a query only": get(target="http://x?q"),
    "space in the host": get(host="a b"),
    "slash in the host": get(host="a/b"),
    "letter beyond ASCII in the host": get(host="é"),
    "bar in the host of the target": get(target="http://a|b/a"),
    "unknown method": get(method="FOO"),
    "method in lower case": get(method="get"),
    "101 headers": get(*many(100)),
    "headers and path above the limit together": get(("x", "a" * 40_000), target="/" + "a" * 40_000),
    "negative length": get(("content-length", "-1")),
    "two lengths": get(("content-length", "0"), ("content-length", "0")),
    "connection names host and cookie": get(("connection", "cookie, host"), ("cookie", "1")),
    "connection names x-forwarded-for": get(("connection", "x-forwarded-for"), ("x-forwarded-for", "1")),
    "connection names a pseudo header": get(("connection", ":path")),
    "control character in a value": get(("x", "a\x01b")),
    "DEL in a value": get(("x", "a\x7fb")),
    "user in the host of the target": get(target="http://u@x/a"),
    "te: gzip": get(("te", "gzip")),
    "connection names te": get(("connection", "te"), ("te", "trailers")),
    "te: trailers among others": get(("te", "trailers, gzip")),
    "both lengths": get(("content-length", "0"), ("transfer-encoding", "chunked")),
    "another coding": get(("transfer-encoding", "gzip")),
    "no number for a length": get(("content-length", "0x0")),
    "two users in the target": get(target="http://u@v@x/a"),
    "no port in the target": get(target="http://x:/a"),
    "IPv6 in the target": get(target="http://[::1]:80/a"),
}
# The table and Envoy differ here.
DIFFERENT_REQUESTS = {
    # Envoy goes on with "a,b"; no request may have two, so the table denies.
    "two hosts": get(("Host", "b"), host="a"),
    "same host twice": get(("Host", "db")),
    # Envoy answers 400. A caller of the table need not name the host.
    "no host": Call("GET", "/", ()),
}


async def test_requests_are_judged_as_by_envoy_but_for_known_ones(authority: Authority, tmp_path: Path) -> None:
    rules = rbac([], "allow", "db", DOMAINS, http=True)
    permissive = table([], "allow")
    differing = {}
    async with App() as app:
        config = static_config([http_chain("db.http", rules, authority, PLAIN)], app.port)
        async with Envoy(config, tmp_path) as envoy:
            for name, call in (REQUESTS | DIFFERENT_REQUESTS).items():
                async with Connection(envoy.ports[LISTENER], authority.context(WEB), "db.http") as connection:
                    outcome = await connection.request(call)
                difference = difference_in_request(permissive.check(WEB, request=HTTPRequest(*call)), outcome)
                if difference:
                    differing[name] = difference[:200], outcome.status
    assert differing.keys() == DIFFERENT_REQUESTS.keys(), differing


# Headers that rules see.

SEEN_ALIKE = (
    ":method", ":path", ":authority", ":scheme", ":status", "host", "x-request-id", "x-forwarded-proto", "cookie",
    "x-forwarded-client-cert", "authorization", "content-length", "content-type", "expect", "x-forwarded-for",
    "x-forwarded-host", "x-forwarded-port", "forwarded", "via", "user-agent", "traceparent", "grpc-timeout", "referer",
    "connection", "keep-alive", "proxy-connection", "upgrade", "x-envoy-internal", "x-envoy-retry-on", "x-envoy-other",
    "x-envoy-original-path", "x-envoy-external-address", "x-envoy-attempt-count",
    "proxy-authorization", "trailer", "http2-settings", "origin", "range", "x_role", "x-client-trace-id", "early-data",
)  # fmt: skip
# One more, x-envoy-upstream-stream-duration-ms, is seen by Envoy 1.36 and not by 1.40.
TAKEN_AWAY = (
    "te", "transfer-encoding", "x-envoy-decorator-operation", "x-envoy-expected-rq-timeout-ms", "x-envoy-force-trace",
    "x-envoy-hedge-on-per-try-timeout", "x-envoy-ip-tags", "x-envoy-max-retries", "x-envoy-retriable-header-names",
    "x-envoy-retriable-status-codes", "x-envoy-retry-grpc-on", "x-envoy-upstream-alt-stat-name",
    "x-envoy-upstream-rq-per-try-timeout-ms", "x-envoy-upstream-rq-timeout-alt-response",
    "x-envoy-upstream-rq-timeout-ms",
)  # fmt: skip
VALUES = {"content-length": "0", "transfer-encoding": "chunked", "te": "gzip"}


async def test_headers_are_seen_as_by_envoy(authority: Authority, tmp_path: Path) -> None:
    names = [*SEEN_ALIKE, *TAKEN_AWAY]
    sets = [[intent("web", "db", (allow(HeaderPermission(name=name, present=True)),))] for name in names]
    chains = [
        http_chain(f"set{i}.http", rbac(one, "deny", "db", DOMAINS, http=True), authority, PLAIN)
        for i, one in enumerate(sets)
    ]
    differing = set()
    async with App() as app, Envoy(static_config(chains, app.port), tmp_path) as envoy:
        for i, name in enumerate(names):
            can_be_sent = name != "host" and not name.startswith(":")
            sent = get((name, VALUES.get(name, "1"))) if can_be_sent else get()
            for call in (get(), sent):
                async with Connection(envoy.ports[LISTENER], authority.context(WEB), f"set{i}.http") as connection:
                    outcome = await connection.request(call)
                assert outcome.status in {200, 403}
                if table(sets[i]).check(WEB, request=HTTPRequest(*call)).allowed is not (outcome.status == 200):
                    differing.add(name)
    assert differing == set()


# Names as patterns.


async def test_alternation_in_a_name_also_reaches_peers(authority: Authority, tmp_path: Path) -> None:
    intentions = [intent("x|.*", "db", "deny")]
    chain = tcp_chain("db.tcp", rbac(intentions, "allow", "db", DOMAINS, http=False), authority)
    told, served = [], []
    async with App() as app, Envoy(static_config([chain], app.port), tmp_path) as envoy:
        for uri in (WEB, uri_of(EAST, "web")):
            async with Connection(envoy.ports[LISTENER], authority.context(uri), "db.tcp") as connection:
                served.append(await connection.is_served())
            told.append(table(intentions, "allow").check(uri).allowed)
    assert served == [False, False]
    assert told == [False, False]


# Rules that Envoy refuses as a whole.

BAD = ("(?=a)", "(a", r"(a)\1", "a{2000}", "[", "*", "(?P<n", r"\8", "a**")
GOOD = ("a{2,5}", "(?i)a", r"\d+", "(?:a|b)", "[[:alpha:]]", r"\pL", "é", "(?s).", "(?P<n>a)")


@pytest.mark.parametrize(("patterns", "is_fine"), [(BAD, False), (GOOD, True)], ids=["refused", "taken"])
def test_rules_are_refused_by_the_table_when_envoy_refuses_them(
    patterns: tuple[str, ...], is_fine: bool, authority: Authority, tmp_path: Path
) -> None:
    for pattern in patterns:
        in_header = HeaderPermission(name="x-role", regex=pattern)
        for one in (
            intent("web", "db", (allow(path_regex=pattern),)),
            intent("web", "db", (deny(in_header), allow(path_prefix="/"))),
        ):
            rules = rbac([one], "deny", "db", DOMAINS, http=True)
            config = static_config([http_chain("db.http", rules, authority, PLAIN)], 1)
            assert envoy_process.accepts(config, tmp_path) is is_fine, pattern
            verdict = table([one]).check(WEB, request=HTTPRequest("GET", "/b", (("x-role", "b"),)))
            assert (verdict.reason is not Reason.RULES_REFUSED) is is_fine, (pattern, verdict)


def test_names_are_refused_by_the_table_when_envoy_refuses_them(authority: Authority, tmp_path: Path) -> None:
    for name in ("w[x", "(web", "web)", "a++b"):
        intentions = [intent(name, "db", "allow"), intent("web", "db", "allow")]
        chain = tcp_chain("db.tcp", rbac(intentions, "deny", "db", DOMAINS, http=False), authority)
        assert not envoy_process.accepts(static_config([chain], 1), tmp_path)
        assert table(intentions).check(WEB).reason is Reason.RULES_REFUSED
