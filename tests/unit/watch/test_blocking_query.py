"""The query alone: its states and how they are left, doubt, reads beside the loop, the token, the budget."""

from __future__ import annotations

import pytest
from support.fakes import ABSENT, SPEC, Thing, Things, by_name, lost, refused, request, things, understood

from aioconsulconnect.errors import Closed, ConsulError, NoLeader, RequestTimeout, UnreadableResponse
from aioconsulconnect.transport.request import Request
from aioconsulconnect.transport.response import Response
from aioconsulconnect.watch.protocol.blocking_query import BlockingQuery, NextRequest
from aioconsulconnect.watch.protocol.poll_settings import PollSettings
from aioconsulconnect.watch.protocol.snapshot import Sent
from aioconsulconnect.watch.protocol.spec import WatchSpec
from aioconsulconnect.watch.protocol.transitions import Kind

LIST: Request[object] = Request(method="GET", path="/v1/list", decode=lambda response: response.body)
BORROWED: WatchSpec[Things, Thing] = WatchSpec(items=by_name, index_from=LIST)
HASHED: WatchSpec[Things, Thing] = WatchSpec(items=by_name, cursor_kind="hash")
READ, POLL, INDEX, CONFIRM = Kind.READ, Kind.POLL, Kind.INDEX, Kind.CONFIRM
ONE, TWO, NONE, GONE = things(a="1"), things(a="1", b="2"), b"[]", b"Config entry not found"
NO_LEADER = NoLeader("the servers have no leader")


def good(index: int | None, body: bytes = ONE, status: int = 200, **headers: str) -> Response:
    found = {name.replace("_", "-"): value for name, value in headers.items()}
    if index is not None:
        found["x-consul-index"] = str(index)
    return understood(Response(status, found, body))


def failed(status: int, text: str) -> Response:
    return understood(Response(status, {}, text.encode()))


DENIED = failed(403, "Permission denied")
UNKNOWN = failed(403, "ACL not found")
THROTTLED = failed(429, "rate limit exceeded, try again later or against a different server")
LEADERLESS = failed(500, "No cluster leader")
BLIND = good(1, NONE, x_consul_knownleader="false")


class Life:
    """A query and its clock: each answer is the one to its next request."""

    def __init__(self, spec: WatchSpec[Things, Thing] = SPEC, *answers: Response | ConsulError) -> None:
        self.now = 1000.0
        self.query: BlockingQuery[Things, Thing] = BlockingQuery(request(), spec, PollSettings(), lambda: 0.5, self.now)
        self.kinds: list[Kind] = []
        for answer in answers:
            self.take(answer)

    @property
    def following(self) -> NextRequest:
        return self.query.next_request(self.now)

    @property
    def pause(self) -> float:
        """How long the next request waits."""
        return round(self.following.at - self.now, 3)

    @property
    def data(self) -> dict[str, str] | None:
        snapshot = self.query.snapshot
        return None if snapshot is None else {thing.name: thing.value for thing in snapshot.value}

    def begin(self) -> tuple[NextRequest, Sent]:
        asked = self.following
        self.now = max(self.now, asked.at)
        self.kinds.append(asked.kind)
        return asked, self.query.start(asked, self.now)

    def take(self, answer: Response | ConsulError, took: float = 1.0) -> NextRequest:
        asked, sent = self.begin()
        self.now += took
        self.query.receive(asked, sent, self.now, answer)
        return asked

    def beside(self, answer: Response | ConsulError, took: float = 0.0) -> tuple[ConsulError | None, bool]:
        sent = self.query.start_beside(self.now)
        self.now += took
        return self.query.receive_beside(sent, self.now, answer)


# States


@pytest.mark.parametrize(
    ("spec", "answers", "state", "data"),
    [
        (SPEC, [], "starting", None),
        (SPEC, [good(10)], "synced", {"a": "1"}),
        (HASHED, [good(None, x_consul_contenthash="h")], "synced", {"a": "1"}),
        (BORROWED, [good(None), good(10), good(None)], "synced", {"a": "1"}),
        (ABSENT, [good(10, GONE, 404)], "absent", {}),
        (ABSENT, [good(10, GONE, 404), good(11)], "synced", {"a": "1"}),
        (ABSENT, [good(None, GONE, 404)], "polling", {}),
        (SPEC, [good(None)], "polling", {"a": "1"}),
        (SPEC, [THROTTLED], "throttled", None),
        (SPEC, [DENIED], "denied", None),
        (SPEC, [LEADERLESS], "stale", None),
        (SPEC, [BLIND], "stale", None),
        (SPEC, [good(10), THROTTLED], "throttled", {"a": "1"}),
        (SPEC, [good(10), DENIED], "denied", {"a": "1"}),
        (SPEC, [good(10), UNKNOWN], "denied", {"a": "1"}),
        (SPEC, [good(10), LEADERLESS], "stale", {"a": "1"}),
        (SPEC, [good(10), RequestTimeout("late")], "stale", {"a": "1"}),
        (SPEC, [good(10), refused()], "stale", {"a": "1"}),
        (SPEC, [good(10), good(11, b"null")], "stale", {"a": "1"}),
        (SPEC, [good(10), good(11, GONE, 404)], "stale", {"a": "1"}),  # absence is no state of a list
        (SPEC, [good(10), BLIND], "stale", {"a": "1"}),
    ],
)
def test_a_state_follows_from_the_answers_and_a_good_one_leaves_it(
    spec: WatchSpec[Things, Thing], answers: list[Response | ConsulError], state: str, data: dict[str, str] | None
) -> None:
    life = Life(spec, *answers)
    assert (life.query.state, life.data, life.query.end) == (state, data, None)
    status = life.query.status(life.now)
    in_trouble = state in {"throttled", "denied", "stale"}
    assert bool(status.error) is bool(status.error_class) is in_trouble
    assert (status.retry_in is not None) is in_trouble
    life.take(good(50, TWO, x_consul_contenthash="h2"))
    assert (life.query.state, life.data) == ("synced", {"a": "1", "b": "2"})
    assert life.query.status(life.now).error == ""


@pytest.mark.parametrize(
    ("spec", "answers", "kinds"),
    [
        (SPEC, [good(10), good(11), good(11)], [READ, POLL, POLL, READ]),  # the last one came early
        (SPEC, [good(10), good(9)], [READ, POLL, READ]),
        (SPEC, [good(0), good(5)], [READ, POLL, POLL]),
        (SPEC, [good(10, TWO), good(10), good(10)], [READ, POLL, CONFIRM, POLL]),
        (SPEC, [good(10, TWO), good(11)], [READ, POLL, POLL]),
        (SPEC, [good(10), lost()], [READ, POLL, READ]),
        (BORROWED, [good(None), good(10), good(None), good(None), good(10)], [READ, INDEX, READ, POLL, INDEX, POLL]),
        (BORROWED, [good(None), good(10), good(None), good(None), good(11)], [READ, INDEX, READ, POLL, INDEX, READ]),
        (BORROWED, [good(None), good(None), good(None)], [READ, INDEX, READ, READ]),
        (BORROWED, [good(None), DENIED, good(None)], [READ, INDEX, READ, READ]),
        (BORROWED, [good(10)], [READ, POLL]),
        (ABSENT, [good(7), good(8), good(8, GONE, 404), good(8, GONE, 404)], [READ, POLL, READ, CONFIRM, POLL]),
    ],
)
def test_next_request_after_each_answer_has_the_expected_kind(
    spec: WatchSpec[Things, Thing], answers: list[Response], kinds: list[Kind]
) -> None:
    life = Life(spec, *answers)
    assert [*life.kinds, life.following.kind] == kinds


@pytest.mark.parametrize("index", [8, 9])
def test_a_deletion_that_wakes_with_what_is_deleted_is_looked_into(index: int) -> None:
    """As 1.8 does for a config entry: the poll gets the old entry at a new index, and only a read says 404."""
    life = Life(ABSENT, good(7), good(8))
    assert life.data == {"a": "1"}
    life.take(good(index, GONE, 404))
    assert (life.data, life.following.consistent) == ({"a": "1"}, True)
    life.take(good(index, GONE, 404))
    assert (life.data, life.query.state) == ({}, "absent")


def test_index_zero_is_never_sent() -> None:
    life = Life(SPEC, good(0))
    assert (life.following.position, life.following.extra[0]) == (1, ("index", "1"))
    assert life.pause >= 0.2


@pytest.mark.parametrize(
    ("answers", "pause"),
    [
        ([good(10)], 0),
        ([good(10), good(9)], 0),
        ([good(10), refused()], 0.35),
        ([good(10), LEADERLESS], 0.35),
        ([good(10), LEADERLESS, LEADERLESS], 0.35),
        ([good(10), failed(500, "rpc error making call: EOF"), failed(500, "rpc error making call: EOF")], 0.7),
        ([good(10), DENIED], 1),
        ([good(10), DENIED, DENIED], 2),
        ([good(10), UNKNOWN, UNKNOWN], 1),
        ([good(10), THROTTLED], 120),
        ([THROTTLED], 5),
        ([good(None)], 5),
        ([good(None), good(None)], 7.5),
        ([good(None), good(None), good(None, TWO)], 5),
    ],
)
def test_next_request_after_each_answer_has_the_expected_pause(
    answers: list[Response | ConsulError], pause: float
) -> None:
    assert Life(SPEC, *answers).pause == pytest.approx(pause)


def test_a_proxy_that_cuts_is_no_failure_and_shortens_the_wait() -> None:
    life = Life(SPEC, good(10))
    for _ in range(2):
        life.take(lost(), took=20.0)
        assert (life.query.state, life.following.kind) == ("synced", READ)
        life.take(good(10))
    assert life.following.wait == pytest.approx(16 * 0.9)


def test_a_frozen_process_reads_at_once() -> None:
    life = Life(SPEC, good(10))
    life.take(RequestTimeout("late"), took=1000.0)
    assert (life.following.kind, life.pause) == (READ, 0)


# Ends


@pytest.mark.parametrize(
    ("answers", "ends"),
    [
        ([failed(400, "Missing service name")], True),
        ([DENIED], False),
        ([DENIED, DENIED], True),
        ([UNKNOWN, UNKNOWN], False),
        ([good(10), failed(400, "Missing service name")], False),
        ([good(10), DENIED, DENIED, DENIED], False),
        ([good(10), Closed("closed")], True),
    ],
)
def test_query_with_data_is_ended_by_no_answer(answers: list[Response | ConsulError], ends: bool) -> None:
    life = Life(SPEC, *answers)
    assert (life.query.end is not None) is ends
    assert life.query.verify_by is None


# Doubt


def test_a_poll_under_way_is_of_no_use_where_the_agent_is_in_trouble() -> None:
    life = Life(SPEC, good(10, TWO))
    life.begin()
    life.query.doubt(NO_LEADER, life.now, retry_at=life.now + 9)
    assert (life.query.abandoned, life.query.state) == (True, "stale")
    life.query.abandon(life.now + 0.5)
    assert (life.query.abandoned, life.following.kind, life.pause) == (False, READ, 0.5)


def test_missing_item_after_doubt_is_confirmed() -> None:
    life = Life(SPEC, good(10, TWO))
    life.query.doubt(NO_LEADER, life.now, retry_at=life.now + 9)
    assert (life.following.kind, life.pause) == (READ, 9)
    life.take(good(11))
    assert (life.data, life.following.kind, life.following.consistent) == ({"a": "1", "b": "2"}, CONFIRM, True)
    life.take(good(11))
    assert (life.data, life.query.state) == ({"a": "1"}, "synced")


def test_a_change_of_leader_is_no_trouble() -> None:
    life = Life(SPEC, good(10))
    life.begin()
    life.query.doubt(None, life.now, retry_at=life.now + 9)
    assert (life.query.abandoned, life.query.state) == (True, "synced")


@pytest.mark.parametrize("trouble", [None, NO_LEADER])
def test_a_read_under_way_is_let_go(trouble: ConsulError | None) -> None:
    """Servers hold a read that was sent without a leader for longer than there is none."""
    life = Life()
    life.begin()
    life.query.doubt(trouble, life.now, retry_at=life.now + 9)
    assert life.query.abandoned
    life.query.abandon(life.now + 0.1)
    assert (life.following.kind, life.pause) == (READ, 0.1)


def test_query_in_backoff_when_the_agent_recovers_reads_soon() -> None:
    life = Life(SPEC, good(10), *[failed(500, "rpc error making call: EOF")] * 8)
    assert life.pause > 10
    life.query.doubt(None, life.now, retry_at=life.now + 0.5)
    assert (life.following.kind, life.pause) == (READ, 0.5)


def test_query_waiting_for_its_turn_keeps_its_request_after_a_leader_change() -> None:
    life = Life(SPEC, good(10))
    before = life.following
    life.query.doubt(None, life.now, retry_at=life.now + 9)
    assert life.following == before


# Beside the loop


def test_a_good_read_beside_the_loop_counts_and_ends_a_failure() -> None:
    life = Life(SPEC, good(10), LEADERLESS)
    assert life.beside(good(11, TWO)) == (None, False)
    assert (life.query.state, life.data, life.query.last_index) == ("synced", {"a": "1", "b": "2"}, 11)
    assert (life.following.kind, life.pause) == (READ, 0)


@pytest.mark.parametrize(
    ("answer", "kind"),
    [(lost(), "ConnectionFailed"), (LEADERLESS, "NoLeader"), (BLIND, "ConsulError"), (good(11, b"null"), None)],
)
def test_a_read_beside_the_loop_that_failed_is_told_and_proves_nothing(
    answer: Response | ConsulError, kind: str | None
) -> None:
    life = Life(SPEC, good(10))
    error, again = life.beside(answer)
    assert type(error).__name__ == (kind or UnreadableResponse.__name__)
    assert (again, life.query.state, life.data) == (False, "stale", {"a": "1"})
    life.take(good(10), took=55.0)
    assert life.query.state == "synced"


def test_missing_item_after_a_failed_read_is_confirmed() -> None:
    life = Life(SPEC, good(10, TWO))
    life.beside(lost())
    life.take(good(11))
    assert (life.data, life.following.kind) == ({"a": "1", "b": "2"}, CONFIRM)


def test_a_read_that_was_overtaken_is_made_again_unless_a_later_answer_satisfies() -> None:
    life = Life(SPEC, good(10))
    asked, polled = life.begin()
    beside = life.query.start_beside(life.now)
    life.query.receive(asked, polled, life.now + 2, good(11, things(a="2")))
    assert life.query.receive_beside(beside, life.now + 3, good(10)) == (None, True)
    assert life.data == {"a": "2"}
    life.take(good(12, things(a="3")))
    assert life.query.receive_beside(beside, life.now + 1, good(10)) == (None, False)
    assert life.data == {"a": "3"}


def test_a_read_of_something_else_proves_that_the_servers_are_there() -> None:
    life = Life(SPEC, good(10, x_cache="HIT"))
    life.query.receive_beside(life.query.start_beside(life.now), life.now, lost(), same=False)
    assert life.query.state == "stale"
    sent = life.query.start_beside(life.now)
    assert life.query.receive_beside(sent, life.now, good(99, b"null"), same=False, value=1) == (None, False)
    assert (life.query.state, life.data, life.query.status(life.now).age) == ("synced", {"a": "1"}, 0)


@pytest.mark.parametrize(
    ("index", "counts"),
    [(10, False), (12, False), (13, True), (None, False)],
)
def test_a_poll_that_was_asked_before_a_read_counts_where_it_stands_higher(index: int | None, counts: bool) -> None:
    life = Life(SPEC, good(10))
    asked, sent = life.begin()
    life.beside(good(12, things(a="2")))
    assert not life.query.abandoned
    life.query.receive(asked, sent, life.now + 1, good(index, things(a="3")))
    assert life.data == {"a": "3" if counts else "2"}
    assert life.following.kind is (POLL if counts else READ)


def test_a_poll_that_waits_for_a_position_of_before_a_restore_is_left() -> None:
    life = Life(SPEC, good(10))
    life.begin()
    life.beside(good(5, things(a="restored")))
    assert life.query.abandoned


def test_a_read_that_changes_nothing_leaves_the_poll_alone() -> None:
    life = Life(SPEC, good(10))
    asked, sent = life.begin()
    life.beside(good(10))
    assert not life.query.abandoned
    life.query.receive(asked, sent, life.now + 1, good(11, things(a="2")))
    assert life.data == {"a": "2"}


# The token


def test_another_token_is_used_at_once() -> None:
    life = Life(SPEC, good(10), *[DENIED] * 9)
    assert life.pause == 60
    assert not life.query.token_changed(life.now)
    assert (life.following.kind, life.pause) == (READ, 0)
    life.take(DENIED)
    assert life.pause == 1  # the denials of the old token do not count


@pytest.mark.parametrize("index", [10, 11])
def test_an_answer_to_the_old_token_is_not_believed(index: int) -> None:
    life = Life(SPEC, good(10))
    asked, sent = life.begin()
    assert life.query.token_changed(life.now)
    life.beside(good(10, TWO), took=1.0)  # what the new token sees
    life.query.receive(asked, sent, life.now + 1, good(index))
    assert (life.data, life.following.kind) == ({"a": "1", "b": "2"}, READ)


def test_another_token_may_borrow_again() -> None:
    life = Life(BORROWED, good(None), DENIED, good(None))
    assert life.following.kind is READ
    life.query.token_changed(life.now)
    life.take(good(None))
    assert life.following.kind is INDEX


# The budget, the age, the cost


def test_beyond_the_budget_it_reads_at_intervals_until_a_poll_begins() -> None:
    life = Life(SPEC, good(10))
    life.query.on_over_budget(life.now, 8.0)
    status = life.query.status(life.now)
    assert (status.state, status.interval, life.following.kind, life.pause) == ("polling", 8, READ, 8)
    life.take(good(11))
    assert (life.query.state, life.following.kind) == ("polling", POLL)
    life.begin()
    assert (life.query.state, life.query.status(life.now).interval) == ("synced", None)


def test_a_failure_shows_also_beyond_the_budget() -> None:
    life = Life(SPEC, good(10))
    life.query.on_over_budget(life.now, 8.0)
    states = []
    for answer in (LEADERLESS, good(10)):
        life.take(answer)
        states.append(life.query.state)
    assert states == ["stale", "polling"]


def test_a_poll_waits_shorter_for_a_fresh_consumer_and_where_connections_are_scarce() -> None:
    life = Life(SPEC, good(10))
    waits = [life.following.wait, life.query.next_request(life.now, scarce=True).wait]
    life.query.max_age = 10.0
    assert [*waits, life.following.wait] == pytest.approx([49.5, 12.375, 5.4])


def test_a_cost_puts_off_polls_alone() -> None:
    life = Life(SPEC, good(10))
    life.query.spent(2.0, life.now)
    assert life.pause == 20
    life = Life(SPEC, good(10, TWO), good(10))
    life.query.spent(2.0, life.now)
    assert (life.following.kind, life.pause) == (CONFIRM, 0)


# Proof


def test_a_source_that_can_be_blind_is_verified_and_others_prove_themselves() -> None:
    assert Life().query.verify_by is None
    assert Life(SPEC, good(10)).query.verify_by is None
    for headers in ({"x_cache": "HIT"}, {"x_consul_query_backend": "streaming"}):
        life = Life(SPEC, good(10, **headers))  # type: ignore[arg-type]
        assert life.query.verify_by == 1060
        life.beside(lost())
        assert life.query.verify_by == pytest.approx(life.now + 0.35)
        life.beside(good(10))
        assert life.query.verify_by == life.now + 60


def test_a_cache_that_was_proved_wrong_is_passed_for_eleven_minutes() -> None:
    life = Life(SPEC, good(10, x_cache="HIT"))
    plain = [life.following.consistent]
    life.beside(good(11, TWO))
    for seconds in (0, 659, 2):
        life.now += seconds
        plain.append(life.following.consistent)
    assert plain == [False, True, True, False]


def test_the_log_names_what_was_odd_and_not_what_is_usual() -> None:
    life = Life(SPEC, good(10, TWO), good(11, TWO), good(9, TWO), good(9, TWO), good(9), good(9))
    words = [(record.asked, record.verdict) for record in life.query.poll_log]
    assert words == [
        ("read", "first"),
        ("poll", "unchanged"),
        ("poll", "unchanged, went back"),
        ("read", "unchanged"),
        ("poll", "confirm"),
        ("confirm", "changed"),
    ]
