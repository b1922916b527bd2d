"""Strategies for intentions and for what is asked about them: few values of everything, so that they meet."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import strategies as st
from support.authorization import HOME, token
from support.authorization_oracle import Call, Caller, Question

from aioconsulconnect.authorization.rules.request import HTTPRequest
from aioconsulconnect.authorization.rules.settings import DecisionSettings
from aioconsulconnect.authorization.rules.source import Source
from aioconsulconnect.authorization.rules.verdict import Verdict
from aioconsulconnect.authorization.table import Table
from aioconsulconnect.structs.intentions import Action, HeaderPermission, HTTPPermission, Intention, Permission

TOKENS = st.sampled_from([None, None, token(), token(role="a"), token("auth0"), token("auth0", deep__role="a")])
CLAIMS = st.dictionaries(
    st.sampled_from(["okta", "auth0"]), st.sampled_from([{}, {"role": "a"}, {"deep": {"role": "a"}}]), max_size=2
)
HTTP = st.sampled_from(
    [
        HTTPPermission(path_prefix="/"),
        HTTPPermission(path_prefix="/a"),
        HTTPPermission(path_exact="/b"),
        HTTPPermission(methods=("GET",)),
        HTTPPermission(path_regex="/(a|b)"),
        HTTPPermission(header=(HeaderPermission(name="x", present=True),)),
        HTTPPermission(header=(HeaderPermission(name="x", present=True, invert=True),), path_prefix="/a"),
    ]
)
ACTIONS: st.SearchStrategy[Action] = st.sampled_from(["allow", "deny"])
PERMISSIONS = st.lists(st.builds(Permission, action=ACTIONS, http=HTTP, jwt=TOKENS), min_size=1, max_size=3).map(tuple)
NAMES = st.sampled_from([("default", "web"), ("default", "*"), ("default", "web"), ("team", "web"), ("*", "*")])
DESTINATIONS = st.sampled_from([("default", "db"), ("default", "*"), ("default", "DB"), ("*", "*")])


@st.composite
def one_intention(draw: st.DrawFn) -> Intention:
    (source_namespace, source_name), (namespace, name) = draw(NAMES), draw(DESTINATIONS)
    permissions = draw(st.one_of(st.just(()), PERMISSIONS)) if name != "*" else ()
    return Intention(
        source_namespace=source_namespace,
        source_name=source_name,
        source_peer=draw(st.sampled_from(["", "", "east"])),
        destination_namespace=namespace,
        destination_name=name,
        action=None if permissions else draw(ACTIONS),
        permissions=permissions,
        jwt=draw(TOKENS),
    )


INTENTIONS = st.lists(one_intention(), max_size=6)
CALLS = st.builds(
    Call, st.sampled_from(["GET", "POST"]), st.sampled_from(["/c", "/a", "/b"]), st.sampled_from([(), (("X", "1"),)])
)
CALLERS = [
    Caller(name, namespace, peer=peer)
    for name in ("web", "api")
    for namespace in ("default", "team")
    for peer in ("", "east")
]


def of_everybody(call: Call | None, claims: dict[str, dict[str, object]]) -> list[Question]:
    return [Question(caller, destination, call, claims) for caller in CALLERS for destination in ("db", "other")]


QUESTIONS = st.builds(of_everybody, st.none() | CALLS, CLAIMS)
"""The same question about every caller and destination."""
SETTINGS = st.builds(
    DecisionSettings,
    default=st.sampled_from(["deny", "allow", None]),
    mode=st.sampled_from(["consul", "envoy"]),
    trust_domain=st.just(HOME),
    enterprise=st.just(True),
)


def answer(table: Table, question: Question) -> Verdict:
    """What a table says; of a connection Consul asks for no token."""
    caller, destination, call, claims = question
    source = Source(caller.name, caller.namespace, caller.partition, caller.peer)
    if call is None:
        return table.check(source, destination)
    return table.check(source, destination, HTTPRequest(*call), claims=claims)


def answers(table: Table, questions: Sequence[Question]) -> list[Verdict]:
    return [answer(table, question) for question in questions]
