"""W2 to W22, where a rule shows best in the protocol alone: an answer is handed in, and what is asked next looked at."""

from __future__ import annotations

from typing import Any

import pytest
from support.fakes import ABSENT, STREAMING, Thing, Things, by_name, error, lost, refused, request, things, understood

from aioconsulconnect.errors import ConsulError, ErrorReason, PermissionDenied
from aioconsulconnect.transport.request import Request
from aioconsulconnect.transport.response import Response
from aioconsulconnect.watch.protocol.blocking_query import BlockingQuery, NextRequest
from aioconsulconnect.watch.protocol.pacing import Backoff
from aioconsulconnect.watch.protocol.poll_settings import PollSettings
from aioconsulconnect.watch.protocol.spec import WatchSpec
from aioconsulconnect.watch.protocol.transitions import Kind

LIST: Request[object] = Request(method="GET", path="/v1/list", decode=lambda response: response.body)
BORROWING: WatchSpec[Things, Thing] = WatchSpec(items=by_name, index_from=LIST)
DENIED = error(403, "Permission denied")
HTML = {"content-type": "text/html"}


def good(index: int | None = 10, *, backend: str = "blocking-query", **values: str) -> Response:
    headers = {"x-consul-knownleader": "true", "x-consul-lastcontact": "0", "x-consul-query-backend": backend}
    if index is not None:
        headers["x-consul-index"] = str(index)
    return Response(200, headers, things(**values))


class Driven:
    """A query whose requests are answered by hand; chance always gives the most."""

    def __init__(self, spec: WatchSpec[Things, Thing] | None = None, **settings: Any) -> None:
        self.now = 1000.0
        self.query = BlockingQuery(
            request(), spec or WatchSpec(items=by_name), PollSettings(**settings), lambda: 1.0, self.now
        )

    def next(self) -> NextRequest:
        return self.query.next_request(self.now)

    @property
    def pause(self) -> float:
        return self.next().at - self.now

    def turn(self, answer: Response | ConsulError, after: float = 0.01) -> NextRequest:
        """Send what is due, and answer it so after some seconds; what is next."""
        asked = self.next()
        self.now = max(self.now, asked.at)
        sent = self.query.start(asked, self.now)
        self.now += after
        answer = understood(answer) if isinstance(answer, Response) else answer
        self.query.receive(asked, sent, self.now, answer)
        return self.next()

    def beside(self, answer: Response | ConsulError) -> tuple[ConsulError | None, bool]:
        """A plain read beside the loop, answered at once."""
        sent = self.query.start_beside(self.now)
        return self.query.receive_beside(sent, self.now, understood(answer) if isinstance(answer, Response) else answer)

    @property
    def shown(self) -> dict[str, str]:
        assert self.query.snapshot is not None
        return {thing.name: thing.value for thing in self.query.snapshot.value}


def test_w05_a_borrowed_index_is_dropped_too() -> None:
    driven = Driven(BORROWING)
    driven.turn(good(None, a="1"))
    driven.turn(good(900))  # the list
    assert driven.turn(good(None, a="1")).position == 900
    driven.turn(lost(), after=0.01)
    assert driven.next().kind is Kind.READ
    assert driven.turn(good(None, a="1")).kind is Kind.INDEX  # where the agent is now, the list has to say


def test_w06_an_index_that_moved_alone_is_looked_into_where_the_value_can_be_absent() -> None:
    """1.8 wakes for a deletion with what is deleted, under the index of the deletion."""
    driven = Driven(ABSENT)
    driven.turn(good(10, a="1"))
    assert driven.turn(good(11, a="1")).kind is Kind.READ
    assert driven.turn(good(11, a="1")).position == 11


def test_w10_a_borrowed_index_that_stands_costs_no_read_of_the_value() -> None:
    driven = Driven(BORROWING)
    driven.turn(good(None, a="1"))
    driven.turn(good(50))
    driven.turn(good(None, a="1"))
    for _ in range(3):
        assert driven.next().kind is Kind.POLL
        assert driven.turn(good(None, a="1"), after=50).kind is Kind.INDEX
        driven.turn(good(50))


def test_w10_another_token_may_read_the_list() -> None:
    driven = Driven(BORROWING)
    driven.turn(good(None, a="1"))
    driven.turn(DENIED)
    assert driven.turn(good(None, a="1")).kind is Kind.READ
    assert driven.query.state == "polling"
    driven.query.token_changed(driven.now)
    assert driven.turn(good(None, a="1")).kind is Kind.INDEX


DEADLINE = error(500, "rpc error making call: i/o deadline reached")


def test_w13_an_io_deadline_before_the_wait_is_over_is_a_cut() -> None:
    driven = Driven()
    driven.turn(good(a="1"))
    driven.turn(DEADLINE, after=20)
    assert driven.query.state == "synced"
    driven.turn(good(a="1"))
    driven.turn(DEADLINE, after=20)
    assert driven.query.status(driven.now).wait == pytest.approx(16)


@pytest.mark.parametrize("answer", [DEADLINE, error(504, "<html>", **HTML)], ids=["deadline", "gateway"])
def test_w13_after_the_wait_nothing_is_a_cut(answer: Response) -> None:
    driven = Driven()
    driven.turn(good(a="1"))
    driven.turn(answer, after=driven.next().wait + 1)
    assert driven.query.state == "stale"


def test_w13_what_breaks_at_once_is_an_outage() -> None:
    driven = Driven()
    driven.turn(good(a="1"))
    driven.turn(lost(), after=1)
    assert driven.query.state == "stale"


def test_w13_a_cut_is_no_failure() -> None:
    driven = Driven()
    driven.turn(good(a="1"))
    driven.turn(error(504, "<html>", **HTML), after=30)
    assert driven.query.status(driven.now).failures == 0
    assert driven.pause <= 0.5


def test_w15_the_pause_is_jittered() -> None:
    assert Backoff(lambda: 0.0).failed(1000) == pytest.approx(0.2)
    assert Backoff(lambda: 1.0).failed(1000) == pytest.approx(0.5)


def test_w15_two_quiet_minutes_clear_the_count_of_failures() -> None:
    backoff = Backoff(lambda: 1.0)
    for _ in range(6):
        backoff.failed(1000)
    assert backoff.failed(1000 + 119) > 10
    assert backoff.failed(1000 + 119 + 121) == 0.5


def test_w15_coming_back_from_tries_that_nobody_took_clears_the_count() -> None:
    backoff = Backoff(lambda: 1.0)
    for _ in range(6):
        backoff.failed(1000)
    assert backoff.failed(1001, refused=True) == 0.5
    assert backoff.failed(1002) == 0.5


def test_w15_where_nobody_listens_it_is_tried_less_often_after_half_a_minute() -> None:
    backoff = Backoff(lambda: 1.0)
    assert backoff.failed(1000, refused=True) == 0.5
    assert backoff.failed(1029, refused=True) == 0.5
    assert backoff.failed(1031, refused=True) == 5.0


def test_w15_a_poll_that_nobody_took_is_tried_again_within_half_a_second() -> None:
    driven = Driven()
    driven.turn(good(a="1"))
    for _ in range(8):
        driven.turn(refused())
        assert driven.pause <= 0.5


def test_w15_who_waits_after_failures_tries_when_the_agent_is_well() -> None:
    driven = Driven()
    driven.turn(good(a="1"))
    for _ in range(8):
        driven.turn(error(500, "No cluster leader"))
    assert driven.pause > 10
    driven.query.doubt(None, driven.now, retry_at=driven.now + 0.3)
    assert driven.pause == pytest.approx(0.3)


def test_w17_an_answer_that_is_no_denial_clears_their_count() -> None:
    driven = Driven()
    driven.turn(good(a="1"))
    for _ in range(4):
        driven.turn(DENIED)
    assert driven.pause == pytest.approx(8)
    driven.turn(good(a="1"))
    driven.turn(DENIED)
    assert driven.pause == pytest.approx(1)


def test_w17_a_denial_long_after_the_last_one_is_the_first_again() -> None:
    driven = Driven()
    driven.turn(DENIED)
    driven.turn(error(500, "No cluster leader"), after=0.1)
    assert driven.query.end is None
    driven.turn(DENIED, after=2)
    assert isinstance(driven.query.end, PermissionDenied)


def test_w18_a_denial_of_the_old_token_says_nothing_of_the_new_one() -> None:
    driven = Driven()
    driven.turn(DENIED)
    driven.now += 5
    driven.query.token_changed(driven.now)
    driven.turn(DENIED)
    assert driven.query.end is None
    assert driven.pause == pytest.approx(1)


def test_w18_what_was_asked_with_the_old_token_is_asked_again_at_once() -> None:
    driven = Driven()
    driven.turn(good(a="1"))
    asked = driven.next()
    sent = driven.query.start(asked, driven.now)
    assert driven.query.token_changed(driven.now)
    driven.query.receive(asked, sent, driven.now + 1, understood(good(10, a="old token")))
    assert (driven.next().kind, driven.next().at) == (Kind.READ, driven.now + 1)
    assert driven.shown == {"a": "1"}


BLIND = Response(200, {"x-consul-index": "1", "x-consul-knownleader": "false"}, b"[]")


def test_w20_an_empty_answer_under_index_1_with_a_leader_is_confirmed_and_believed() -> None:
    driven = Driven()
    driven.turn(good(10, a="1"))
    assert driven.turn(good(1)).kind is Kind.CONFIRM
    driven.turn(good(1))
    assert driven.shown == {}
    assert driven.query.state == "synced"


@pytest.mark.parametrize(
    ("last", "answer"),
    [
        (good(10, a="1", b="2"), good(10, a="1")),
        (good(10, a="1", b="2"), good(9, a="1")),
        (good(10, a="1", b="2"), good(None, a="1")),
        (good(None, a="1", b="2"), good(10, a="1")),
        (good(0, a="1", b="2"), good(1, a="1")),
        (good(10, a="1", b="2"), good(11, backend="streaming", a="1")),
    ],
    ids=["same", "lower", "none", "none before", "one", "other backend"],
)
def test_w20_what_is_missing_without_a_higher_index_of_the_same_backend_is_confirmed(
    last: Response, answer: Response
) -> None:
    driven = Driven()
    driven.turn(last)
    assert driven.turn(answer).kind is Kind.CONFIRM
    assert driven.shown == {"a": "1", "b": "2"}
    driven.turn(answer)
    assert driven.shown == {"a": "1"}


def test_w20_what_is_missing_under_a_higher_index_is_believed() -> None:
    driven = Driven()
    driven.turn(good(10, a="1", b="2"))
    assert driven.turn(good(11, a="1")).kind is Kind.POLL
    assert driven.shown == {"a": "1"}


def test_w20_what_is_missing_in_a_cached_answer_is_confirmed() -> None:
    driven = Driven()
    driven.turn(good(10, a="1", b="2"))
    answer = good(11, a="1")
    cached = Response(200, {**answer.headers, "x-cache": "HIT", "age": "0"}, answer.body)
    assert driven.turn(cached).kind is Kind.CONFIRM


@pytest.mark.parametrize("trouble", ["failure", "doubt", "blind", "unproved"])
def test_w20_what_is_missing_after_a_failure_is_confirmed(trouble: str) -> None:
    driven = Driven(STREAMING)
    driven.turn(good(10, backend="streaming", a="1", b="2"))
    match trouble:
        case "failure":
            driven.turn(lost())
        case "doubt":
            driven.query.doubt(lost(), driven.now, retry_at=driven.now)
        case "blind":
            driven.turn(BLIND)
        case _:
            driven.beside(error(500, "No known Consul servers"))
    assert driven.turn(good(11, backend="streaming", a="1")).kind is Kind.CONFIRM
    assert driven.shown == {"a": "1", "b": "2"}


def test_w20_a_blind_server_is_asked_less_and_less() -> None:
    driven = Driven()
    pauses = []
    for _ in range(6):
        driven.turn(BLIND)
        pauses.append(driven.pause)
    assert pauses == pytest.approx([0.5, 1, 2, 4, 8, 16])
    assert driven.query.status(driven.now).error == "the servers know nothing yet"


def test_w20_a_blind_leader_beside_the_loop_decides_nothing() -> None:
    driven = Driven()
    driven.turn(good(10, a="1"))
    assert isinstance(driven.beside(BLIND)[0], ConsulError)
    assert driven.shown == {"a": "1"}
    assert driven.query.state == "stale"


def test_w20_a_plain_read_beside_the_loop_needs_no_confirmation() -> None:
    driven = Driven()
    driven.turn(good(10, a="1", b="2"))
    assert driven.beside(good(10, a="1")) == (None, False)
    assert driven.shown == {"a": "1"}


def test_w20_the_confirming_read_leaves_what_is_known_of_the_loops_backend() -> None:
    driven = Driven(STREAMING)
    driven.turn(good(10, backend="streaming", a="1", b="2"))
    driven.turn(good(10, backend="streaming", a="1"))
    driven.turn(good(12, a="1"))  # the leader, by another backend
    assert driven.query.status(driven.now).backend == "streaming"
    assert driven.query.verify_by is not None


def test_w21_a_denial_keeps_what_is_known() -> None:
    driven = Driven()
    driven.turn(good(10, a="1"))
    driven.turn(PermissionDenied("no token", reason=ErrorReason.TOKEN_MISSING))
    for _ in range(5):
        driven.turn(DENIED, after=2)
    assert driven.query.end is None
    assert driven.shown == {"a": "1"}
