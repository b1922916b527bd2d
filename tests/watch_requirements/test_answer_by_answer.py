"""W5 to W26, where a rule shows best in the protocol alone: an answer is handed in, and the next request looked at."""

from __future__ import annotations

import pytest
from support.driven import BORROWING, Beside, Driven, good
from support.fakes import ABSENT, STREAMING, error, lost, refused, understood

from aioconsulconnect.errors import ErrorReason, PermissionDenied
from aioconsulconnect.transport.response import Response
from aioconsulconnect.watch.protocol.pacing import Backoff
from aioconsulconnect.watch.protocol.transitions import Kind

DENIED = error(403, "Permission denied")
HTML = {"content-type": "text/html"}


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


def test_w13_poll_lost_within_a_second_is_an_outage_and_not_a_cut() -> None:
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


def test_w15_backoff_of_refused_connection_after_half_a_minute_is_five_seconds() -> None:
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


def test_w15_elections_leave_no_long_pauses_behind() -> None:
    """A dozen reads that an election refused, an answer, and one more failure: right again within half a second."""
    driven = Driven()
    driven.turn(good(a="1"))
    for _ in range(12):
        driven.turn(error(500, "No cluster leader"))
        assert driven.pause <= 0.5
    driven.turn(good(a="1"))
    driven.turn(error(500, "rpc error making call: EOF"))
    assert driven.pause <= 0.5


def test_w15_query_in_backoff_when_the_agent_recovers_tries_again_soon() -> None:
    driven = Driven()
    driven.turn(good(a="1"))
    for _ in range(8):
        driven.turn(error(500, "rpc error making call: EOF"))
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


def test_w17_two_denials_end_a_watch_without_data_whatever_was_between() -> None:
    driven = Driven()
    driven.turn(DENIED)
    driven.turn(error(500, "No cluster leader"), after=0.1)
    assert driven.query.end is None
    driven.turn(DENIED, after=2)
    assert isinstance(driven.query.end, PermissionDenied)


def test_w17_an_unknown_token_after_a_denial_ends_nothing() -> None:
    driven = Driven()
    driven.turn(DENIED)
    driven.turn(error(403, "ACL not found"), after=2)
    assert driven.query.end is None


def test_w18_a_poll_of_the_old_token_is_not_believed_however_high_it_stands() -> None:
    beside = Beside()
    assert beside.query.token_changed(beside.now)
    beside.read_answers(good(10, a="1", b="2"))
    beside.poll_answers(good(11, a="1"))
    assert beside.shown == {"a": "1", "b": "2"}


def test_w18_a_denial_of_the_old_token_says_nothing_of_the_new_one() -> None:
    driven = Driven()
    driven.turn(DENIED)
    driven.now += 5
    driven.query.token_changed(driven.now)
    driven.turn(DENIED)
    assert driven.query.end is None
    assert driven.pause == pytest.approx(1)


def test_w18_answer_to_the_old_token_is_dropped_and_read_again_at_once() -> None:
    driven = Driven()
    driven.turn(good(a="1"))
    asked = driven.next()
    sent = driven.query.start(asked, driven.now)
    assert driven.query.token_changed(driven.now)
    driven.query.receive(asked, sent, driven.now + 1, understood(good(10, a="old token")))
    assert (driven.next().kind, driven.next().at) == (Kind.READ, driven.now + 1)
    assert driven.shown == {"a": "1"}


def test_w21_a_denial_keeps_what_is_known() -> None:
    driven = Driven()
    driven.turn(good(10, a="1"))
    driven.turn(PermissionDenied("no token", reason=ErrorReason.TOKEN_MISSING))
    for _ in range(5):
        driven.turn(DENIED, after=2)
    assert driven.query.end is None
    assert driven.shown == {"a": "1"}


def test_w22_a_read_that_was_overtaken_is_made_again() -> None:
    driven = Beside()
    driven.poll_answers(good(11, a="1", b="2"))
    assert driven.read_answers(good(10, a="1"))
    assert driven.shown == {"a": "1", "b": "2"}


def test_w22_a_read_that_says_the_same_as_what_overtook_it_is_proof() -> None:
    driven = Beside()
    driven.poll_answers(good(11, a="2"))
    assert not driven.read_answers(good(11, a="2"))


def test_w22_a_read_that_was_overtaken_counts_where_it_stands_higher() -> None:
    driven = Beside()
    driven.poll_answers(good(11, a="2"))
    assert not driven.read_answers(good(12, a="3"))
    assert driven.shown == {"a": "3"}


def test_w22_indexes_of_two_backends_tell_no_order() -> None:
    driven = Beside()
    driven.poll_answers(good(11, backend="streaming", a="2"))
    assert driven.read_answers(good(12, a="1"))
    assert driven.shown == {"a": "2"}


def test_w22_a_read_that_another_answered_that_was_asked_later_is_not_made_again() -> None:
    driven = Beside()
    driven.poll_answers(good(11, a="2"))
    driven.turn(good(12, a="3"))
    assert not driven.read_answers(good(10, a="1"))
    assert driven.shown == {"a": "3"}


def test_w22_a_poll_that_a_read_overtook_counts_where_it_stands_higher() -> None:
    driven = Beside()
    driven.read_answers(good(11, a="2"))
    driven.poll_answers(good(12, a="3"))
    assert driven.shown == {"a": "3"}


@pytest.mark.parametrize(
    "late", [good(10, a="1"), good(11, a="1"), good(12, backend="streaming", a="1")], ids=["lower", "same", "backend"]
)
def test_w22_a_poll_that_a_read_overtook_is_asked_again(late: Response) -> None:
    driven = Beside()
    driven.read_answers(good(11, a="2"))
    driven.poll_answers(late)
    assert driven.shown == {"a": "2"}
    assert driven.next().kind is Kind.READ
    assert driven.pause == 0


def test_w22_a_poll_for_what_is_not_reached_any_more_is_left_to_its_end() -> None:
    driven = Beside()
    driven.read_answers(good(9, a="0"))  # restored
    assert driven.query.abandoned
    driven.query.abandon(driven.now)
    assert (driven.next().kind, driven.next().at) == (Kind.READ, driven.now)


def test_w22_a_poll_that_a_read_has_overtaken_goes_on() -> None:
    driven = Beside()
    driven.read_answers(good(11, a="2"))
    assert not driven.query.abandoned


def test_w22_a_poll_of_an_agent_in_doubt_is_left_to_its_end() -> None:
    driven = Beside()
    driven.query.doubt(None, driven.now, retry_at=driven.now + 1)
    assert driven.query.abandoned


def test_w22_a_read_beside_a_loop_that_waits_has_it_read_again() -> None:
    driven = Driven()
    driven.turn(good(10, a="1"))
    for _ in range(6):
        driven.turn(lost())
    assert driven.pause > 5
    driven.beside(good(11, a="2"))
    assert driven.query.state == "synced"
    assert driven.query.last_index == 11
    assert driven.pause == 0


def test_w22_a_stream_that_could_not_be_verified_stays_stale_whatever_it_says() -> None:
    driven = Driven(STREAMING)
    driven.turn(good(10, backend="streaming", a="1"))
    driven.beside(error(500, "No known Consul servers"))
    driven.turn(good(11, backend="streaming", a="2"))
    stale = driven.query.status(driven.now)
    assert stale.state == "stale"
    driven.beside(good(11, a="2"))
    assert driven.query.state == "synced"


def test_w22_a_read_of_something_else_proves_that_the_servers_are_there() -> None:
    driven = Driven(STREAMING)
    driven.turn(good(10, backend="streaming", a="1"))
    driven.beside(error(500, "No known Consul servers"))
    driven.now += 100
    sent = driven.query.start_beside(driven.now)
    driven.query.receive_beside(sent, driven.now, understood(good(5)), same=False)
    assert driven.query.state == "synced"
    assert driven.query.status(driven.now).age == pytest.approx(0)
    assert driven.shown == {"a": "1"}


@pytest.mark.parametrize("max_age", [None, 15.0])
def test_w22_streaming_poll_is_verified_within_the_max_age_of_its_consumer(max_age: float | None) -> None:
    driven = Driven(STREAMING)
    driven.query.max_age = max_age
    driven.turn(good(10, backend="streaming", a="1"))
    driven.beside(good(10, a="1"))
    assert driven.query.verify_by is not None
    assert driven.query.verify_by - driven.now == pytest.approx(60 if max_age is None else 9)


def test_w22_a_borrowed_index_is_reached_by_the_read_that_follows_the_list() -> None:
    driven = Driven(BORROWING)
    driven.turn(good(None, a="1"))
    driven.turn(good(50))
    assert driven.query.last_index == 0
    driven.turn(good(None, a="1"))
    assert driven.query.last_index == 50
    driven.turn(good(None, a="2"), after=1)  # the poll says nothing of where it stands
    driven.turn(good(52))
    assert driven.query.last_index == 50
    driven.turn(good(None, a="2"))
    assert driven.query.last_index == 52


def test_w22_an_age_header_never_makes_it_younger() -> None:
    driven = Driven()
    answer = good(10, a="1")
    driven.turn(Response(200, {**answer.headers, "age": "3", "x-cache": "HIT"}, answer.body))
    assert driven.query.status(driven.now).age == pytest.approx(3)
    assert driven.query.status(driven.now + 10).age == pytest.approx(10)


def test_w26_after_a_wait_the_next_poll_follows_at_once() -> None:
    driven = Driven()
    driven.turn(good(10, a="1"))
    for _ in range(10):
        assert driven.turn(good(10, a="1"), after=driven.next().wait).kind is Kind.POLL
        assert driven.pause == 0


def test_w26_beyond_a_fifth_of_the_burst_polls_are_fifty_milliseconds_apart() -> None:
    driven = Driven()
    driven.turn(good(10, n="0"))
    pauses = []
    for number in range(1, 40):
        driven.turn(good(10 + number, n=str(number)), after=0.001)
        pauses.append(driven.pause)
    assert pauses[:18] == [0] * 18
    assert pauses[22:] == pytest.approx([0.049] * 17)


def test_w26_a_pace_that_is_used_up_delays_no_read_that_decides() -> None:
    driven = Driven()
    driven.turn(good(10, a="1"))
    for number in range(1, 15):
        driven.turn(good(10 + number, a="1"), after=0.001)
    assert driven.pause > 0.9
    assert driven.turn(good(24), after=0.001).kind is Kind.CONFIRM
    assert driven.pause == 0


def test_w26_a_pace_that_is_used_up_delays_no_read_after_an_early_answer() -> None:
    driven = Driven()
    driven.turn(good(10, a="1"))
    for number in range(1, 15):
        driven.turn(good(10 + number, a="1"), after=0.001)
    assert driven.pause > 0.9
    assert driven.turn(good(24, a="1"), after=0.001).kind is Kind.READ
    assert driven.pause == 0
