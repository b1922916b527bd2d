"""Intentions, and conversations that ask who may call whom: by authorize, check and match, with odd identities."""

from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import quote

from hypothesis import strategies as st
from support.conversations import Side, Step
from support.entry_bodies import modelled, remove_entries

from aioconsulconnect.testing.versions import Version

NAMES = ("web", "db", "*", "Web", "api")
ODD_NAMES = (
    "",
    "a*",
    "a b",
    "ns/web",
    "default/web",
    "*/*",
    "*/web",
    "a/b/c",
    "a/b/c/d",
    "peer:p/web",
    "peer:p",
    "/web",
    "web/",
    "ä",
    "n" * 300,
)
TRUST = "11111111-2222-3333-4444-555555555555.consul"
URIS = (
    *(
        f"spiffe://{TRUST}/ns/default/dc/dc1/svc/{name}"
        for name in ("web", "db", "Web", "api", "%77eb", "a%20b", "a%2Fb", "", "*")
    ),
    f"spiffe://{TRUST}/ns/default/dc/dc2/svc/web",
    f"spiffe://{TRUST}/ns/other/dc/dc1/svc/web",
    f"spiffe://{TRUST}/ap/default/ns/default/dc/dc1/svc/web",
    f"spiffe://{TRUST}/ap/other/ns/default/dc/dc1/svc/web",
    f"spiffe://{TRUST}/ns/default/dc/dc1/svc/web/",
    f"spiffe://{TRUST}/ns/default/dc/dc1/svc/web?x=1",
    f"spiffe://{TRUST}/ns/default/dc/dc1/svc/web#f",
    f"spiffe://{TRUST}/ns/default/dc/dc1/svc",
    f"spiffe://{TRUST}/ns/default/svc/web",
    f"spiffe://{TRUST}//ns/default/dc/dc1/svc/web",
    f"spiffe://{TRUST}/agent/client/dc/dc1/id/n",
    f"spiffe://{TRUST}/gateway/mesh/dc/dc1",
    f"spiffe://{TRUST}/agent/server/dc/dc1",
    f"spiffe://{TRUST}",
    f"spiffe://{TRUST}/",
    "spiffe://other.example/ns/default/dc/dc1/svc/web",
    "spiffe:///ns/default/dc/dc1/svc/web",
    f"spiffe://user@{TRUST}/ns/default/dc/dc1/svc/web",
    f"spiffe://{TRUST}:80/ns/default/dc/dc1/svc/web",
    f"SPIFFE://{TRUST}/ns/default/dc/dc1/svc/web",
    f"spiffe://{TRUST.upper()}/ns/default/dc/dc1/svc/web",
    f"https://{TRUST}/ns/default/dc/dc1/svc/web",
    f"spiffe://{TRUST}/NS/default/DC/dc1/SVC/web",
    f"spiffe://{TRUST}/ns/default/dc/dc1/svc/w%zz",
    f"spiffe://{TRUST}/ns/default/dc/dc1/svc/web%00",
    "web",
    "",
    "://",
    "%",
    " ",
    "\u0001",
)
TARGETS: tuple[Any, ...] = (*NAMES, *NAMES, "", "a b", "ns/web", "a*", 5, None, [])
ASKED: tuple[tuple[str, tuple[Any, ...]], ...] = (
    ("ClientCertSerial", ("", "01:02", "x", 5, None)),
    ("ClientCertURI", (5, None, [])),
    ("Namespace", ("", "default", "other")),
    ("Partition", ("", "default", "other")),
    ("Target", TARGETS),
    ("target", ("db",)),
    ("Bogus", (1,)),
    ("TargetNamespace", ("",)),
)
RAW = ("null", "[]", "{", "", "5", '"x"', "{} x", '{"Target": "web"}')
FIELDS: tuple[tuple[str, tuple[Any, ...]], ...] = (
    ("SourceName", (*NAMES, *ODD_NAMES, 5, None)),
    ("DestinationName", (*NAMES, *ODD_NAMES, 5)),
    ("SourceNS", ("", "default", "other", "*")),
    ("DestinationNS", ("", "default", "other", "*")),
    ("SourceType", ("", "consul", "bogus", "CONSUL")),
    ("Action", ("allow", "deny", "", "ALLOW", 5)),
    ("Description", ("d", "x" * 513, 5)),
    ("Meta", ({"a": "b"}, {}, None, {"a": 5}, {"": "x"}, {"a" * 129: "x"}, {"a": "x" * 513}, {"a b": "c"}, "x")),
    ("Precedence", (5, "x", -1)),
    ("ID", ("", "x", TRUST[:36], "{intention0}")),
    ("Permissions", ([], None, [{"Action": "allow", "HTTP": {"PathPrefix": "/"}}], [{}], "x")),
    ("Hash", ("x", 5)),
    ("CreatedAt", ("2001-01-01T00:00:00Z", "x", None)),
    ("SourcePeer", ("", "p")),
    ("SourcePartition", ("", "default", "other")),
    ("SourceSamenessGroup", ("", "g")),
    ("JWT", ({}, None)),
    ("Bogus", (1,)),
)


@st.composite
def _intention(draw: st.DrawFn) -> Any:
    if draw(st.sampled_from(range(15))) == 0:
        return draw(st.sampled_from(RAW))
    name = st.sampled_from(NAMES)
    body = {"SourceName": draw(name), "DestinationName": draw(name), "Action": draw(st.sampled_from(("allow", "deny")))}
    for _ in range(draw(st.sampled_from((0, 0, 1, 1, 2)))):
        member, values = draw(st.sampled_from(FIELDS))
        body = body | {member: draw(st.sampled_from(values))}
    return body


@st.composite
def _question(draw: st.DrawFn) -> Any:
    if draw(st.sampled_from(range(20))) == 0:
        return draw(st.sampled_from(RAW))
    body = {"Target": draw(st.sampled_from(TARGETS)), "ClientCertURI": draw(st.sampled_from(URIS[:4] * 5 + URIS))}
    for _ in range(draw(st.sampled_from((0, 0, 0, 1)))):
        member, values = draw(st.sampled_from(ASKED))
        body = body | {member: draw(st.sampled_from(values))}
    return body


def _query(**parameters: str | None) -> str:
    return "&".join(f"{name.replace('_', '-')}={quote(text)}" for name, text in parameters.items() if text is not None)


def steps(version: Version) -> st.SearchStrategy[list[Step]]:
    """From 5 to 15 requests that write intentions and ask about them."""
    name = st.sampled_from(NAMES * 4 + ODD_NAMES)
    maybe = st.sampled_from((None, None, None, None, None, "", "x", "consul", "allow", "default"))
    writes = st.builds(lambda body: Step("POST", "/v1/connect/intentions", body), _intention())
    ids = st.sampled_from(("{intention0}", "{intention0}", "{intention1}", "x", TRUST[:36], ""))
    asked = [
        st.builds(lambda body: Step("POST", "/v1/agent/connect/authorize", body), _question()),
        st.builds(
            lambda source, destination, kind: Step(
                "GET",
                "/v1/connect/intentions/check?" + _query(source=source, destination=destination, source_type=kind),
            ),
            st.one_of(name, name, name, st.none()),
            name,
            maybe,
        ),
        st.builds(
            lambda by, one, two: Step(
                "GET",
                f"/v1/connect/intentions/match?{_query(by=by, name=one)}" + (f"&{_query(name=two)}" if two else ""),
            ),
            st.sampled_from(("source", "destination", "destination", "", "bogus", "Source")),
            name,
            st.one_of(st.none(), name),
        ),
    ]
    by_id = st.one_of(
        st.builds(
            lambda verb, one: Step(verb, f"/v1/connect/intentions/{one}"), st.sampled_from(("GET", "DELETE")), ids
        ),
        st.builds(lambda one, body: Step("PUT", f"/v1/connect/intentions/{one}", body), ids, _intention()),
    )
    defaults = st.sampled_from(
        [
            Step("PUT", "/v1/config", {"Kind": "service-defaults", "Name": n, "Protocol": p})
            for n in ("web", "db")
            for p in ("http", "tcp")
        ]
    )
    choices = [writes, *asked, *asked, by_id, defaults]
    if any(kind.name == "service-intentions" for kind in modelled(version)):
        exact = st.builds(
            lambda verb, source, destination, body: Step(
                verb,
                f"/v1/connect/intentions/exact?{_query(source=source, destination=destination)}",
                body if verb == "PUT" else None,
            ),
            st.sampled_from(("PUT", "PUT", "PUT", "GET", "DELETE")),
            name,
            name,
            _intention(),
        )
        choices += [exact, exact]
    return st.lists(st.one_of(choices), min_size=5, max_size=15)


class Identities:
    """Intentions, authorize, check and match."""

    name = "intentions and identities"

    def __init__(self, version: Version, *, acl: bool = False) -> None:
        self.acl = acl
        self.kinds = [kind.name for kind in modelled(version)]

    def views(self, side: Side, steps: Sequence[Step]) -> Iterator[Step]:
        yield Step("GET", "/v1/connect/intentions")

    def clear(self, side: Side) -> None:
        if "service-intentions" not in self.kinds:
            for found in side.call("GET", "/v1/connect/intentions") or ():
                side.send(Step("DELETE", f"/v1/connect/intentions/{found['ID']}"))
        remove_entries(side, self.kinds)
