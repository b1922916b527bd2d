"""The transition table: complete, without dead rows, and without a circle that has no pause."""

from __future__ import annotations

import random
from collections import defaultdict

import pytest
from support.fakes import Thing, Things, by_name, nothing, request, things, understood

from aioconsulconnect.errors import Closed, ConnectionFailed, ConsulError, ErrorReason
from aioconsulconnect.transport.request import Request
from aioconsulconnect.transport.response import Response
from aioconsulconnect.watch.protocol import blocking_query
from aioconsulconnect.watch.protocol.blocking_query import BlockingQuery, NextRequest
from aioconsulconnect.watch.protocol.poll_settings import PollSettings
from aioconsulconnect.watch.protocol.spec import WatchSpec
from aioconsulconnect.watch.protocol.transitions import TRANSITIONS, Kind, Outcome, Pause, Transition, table

LIST: Request[object] = Request(method="GET", path="/v1/list", decode=lambda response: response.body)
SPECS: tuple[WatchSpec[Things, Thing], ...] = (
    WatchSpec(items=by_name),
    WatchSpec(items=by_name, cursor_kind="hash"),
    WatchSpec(items=by_name, index_from=LIST, value_when_absent=nothing),
    WatchSpec(items=by_name, value_when_absent=nothing),
)
BODIES = (b"[]", things(a="1"), things(a="1", b="2"), things(a="2"))
FAILURES: tuple[Response | ConsulError, ...] = (
    ConnectionFailed("nobody listens", reason=ErrorReason.UNREACHABLE),
    ConnectionFailed("it broke"),
    Response(403, {}, b"Permission denied"),
    Response(403, {}, b"ACL not found"),
    Response(429, {}, b"Your IP is issuing too many concurrent connections"),
    Response(500, {}, b"No cluster leader"),
    Response(200, {"x-consul-index": "9"}, b"null"),
    Closed("the client is closed"),
)


class Walked(dict[tuple[Kind, Outcome], Transition]):
    """The table, and which of its rows were walked."""

    def __init__(self) -> None:
        super().__init__(TRANSITIONS)
        self.rows: set[tuple[Kind, Outcome]] = set()

    def __getitem__(self, row: tuple[Kind, Outcome]) -> Transition:
        self.rows.add(row)
        return super().__getitem__(row)


def any_answer(chance: random.Random, asked: NextRequest, *, placed: float) -> Response | ConsulError:
    """Something that a server, or what stands before it, may say; `placed`: how often it names an index."""
    if chance.random() < 0.15:
        failure = chance.choice(FAILURES[:-1] if chance.random() < 0.9 else FAILURES)
        return understood(failure) if isinstance(failure, Response) else failure
    at = asked.position if isinstance(asked.position, int) else 10
    headers: dict[str, str] = {}
    if chance.random() < (0.7 if asked.kind is Kind.INDEX else placed):
        headers["x-consul-index"] = str(chance.choice((0, 1, max(1, at - 1), at, at, at + 1)))
        headers["x-consul-knownleader"] = chance.choice(("true", "true", "false"))
    if chance.random() < 0.7:
        headers["x-consul-contenthash"] = chance.choice("xyz")
    if chance.random() < 0.2:
        headers["x-consul-query-backend"] = chance.choice(("streaming", "blocking-query"))
    if chance.random() < 0.15:
        return understood(Response(404, headers, b"Config entry not found"))
    return Response(200, headers, chance.choice(BODIES))


def walk(spec: WatchSpec[Things, Thing], seed: int) -> None:
    chance, now, placed = random.Random(seed), 1000.0, (0.7, 0.1)[seed // len(SPECS) % 2]
    query = BlockingQuery(request(), spec, PollSettings(), chance.random, now)
    for _ in range(30):
        asked = query.next_request(now)
        now = max(now, asked.at)
        sent = query.start(asked, now)
        now += chance.choice((0.0, 0.1, 4.0, 56.0))
        if chance.random() < 0.1:
            query.token_changed(now)
        query.receive(asked, sent, now, any_answer(chance, asked, placed=placed))
        if query.end is not None:
            return


@pytest.fixture(scope="module")
def walked() -> set[tuple[Kind, Outcome]]:
    """The rows that a thousand arbitrary lives of a query walk."""
    rows = Walked()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocking_query, "TRANSITIONS", rows)
        for seed in range(1000):
            walk(SPECS[seed % len(SPECS)], seed)
    return rows.rows


def test_transition_table_has_a_row_for_each_outcome_and_no_dead_row(walked: set[tuple[Kind, Outcome]]) -> None:
    assert walked == set(TRANSITIONS)


@pytest.mark.parametrize("row", TRANSITIONS, ids=lambda row: f"{row[0].name}-{row[1].name}")
def test_a_row_leads_to_a_kind_or_to_the_end(row: tuple[Kind, Outcome]) -> None:
    transition = TRANSITIONS[row]
    assert isinstance(transition.pause, Pause)
    if row[1] is Outcome.FINAL:
        assert transition.following is None
    else:
        assert isinstance(transition.following, Kind)


@pytest.mark.parametrize("outcome", Outcome)
def test_every_outcome_and_every_pause_is_used(outcome: Outcome) -> None:
    assert outcome in {row[1] for row in TRANSITIONS}
    assert {transition.pause for transition in TRANSITIONS.values()} == set(Pause)


@pytest.mark.parametrize("kind", Kind)
def test_every_kind_can_fail_and_ends_only_where_nothing_heals(kind: Kind) -> None:
    for outcome in (Outcome.FAILED, Outcome.DENIED, Outcome.THROTTLED, Outcome.UNREACHABLE, Outcome.SUPERSEDED):
        assert TRANSITIONS[kind, outcome].following is Kind.READ
    assert TRANSITIONS[kind, Outcome.FINAL].following is None


def test_every_failure_waits() -> None:
    free = {Pause.NONE, Pause.COUNTED}
    failures = {Outcome.DENIED, Outcome.THROTTLED, Outcome.UNREACHABLE, Outcome.FAILED, Outcome.BLIND, Outcome.CUT}
    assert not {row for row, to in TRANSITIONS.items() if row[1] in failures and to.pause in free}


def test_no_circle_is_without_a_pause() -> None:
    """What is superseded, borrowed or confirmed is asked at once; such steps end in one that waits."""
    free: dict[Kind, set[Kind]] = defaultdict(set)
    for (kind, outcome), to in TRANSITIONS.items():
        ends = {Outcome.SUPERSEDED, Outcome.NO_INDEX, Outcome.INDEX_MOVED}  # each once for a token, a life, an index
        if to.following is not None and to.pause is Pause.NONE and outcome not in ends:
            free[kind].add(to.following)

    def visit(kind: Kind, path: tuple[Kind, ...]) -> None:
        assert kind not in path, path
        for following in free[kind]:
            visit(following, (*path, kind))

    for kind in Kind:
        visit(kind, ())


def test_doubt_is_confirmed_once_and_a_confirmation_leaves_none() -> None:
    assert TRANSITIONS[Kind.READ, Outcome.DOUBTFUL] == Transition(Kind.CONFIRM, Pause.NONE)
    assert TRANSITIONS[Kind.POLL, Outcome.DOUBTFUL] == Transition(Kind.CONFIRM, Pause.NONE)
    assert (Kind.CONFIRM, Outcome.DOUBTFUL) not in TRANSITIONS


def test_unexpected_outcome_is_followed_by_a_plain_read() -> None:
    odd = {
        Outcome.MOVED_ALONE, Outcome.EARLY, Outcome.WENT_BACK, Outcome.SUPERSEDED, Outcome.CUT, Outcome.BLIND,
        Outcome.FAILED,
    }  # fmt: skip
    assert {to.following for row, to in TRANSITIONS.items() if row[1] in odd} == {Kind.READ}


def test_the_printed_table_has_a_line_for_each_row() -> None:
    lines = table().splitlines()
    assert lines[0].startswith("| after")
    told = {tuple(cell.strip() for cell in line.strip("|").split("|")) for line in lines[2:]}
    for (kind, outcome), to in TRANSITIONS.items():
        following = to.following.value if to.following else "the end"
        assert any(
            kind.value in cells[0].split(", ") and cells[1:] == (outcome.value, following, to.pause.value)
            for cells in told
        ), (kind, outcome)
