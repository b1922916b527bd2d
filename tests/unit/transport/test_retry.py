"""When another try is worth it: only where it may help, and for a write only where nothing was applied."""

from __future__ import annotations

import errno

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aioconsulconnect.errors import (
    BadRequest,
    Conflict,
    ConnectionFailed,
    ConsulError,
    NoLeader,
    NotFound,
    OutcomeUnknown,
    PermissionDenied,
    RequestTimeout,
    ServerError,
    Throttled,
    UnreadableResponse,
)
from aioconsulconnect.request import Request, Response, failure
from aioconsulconnect.retry import PollBackoff, cut_short, delay, ends_watch, nobody_listens, outcome, worth_retrying


def answered(status: int, text: str, *, method: str = "PUT") -> ConsulError:
    request = Request(method=method, path="/v1/x", decode=lambda answer: answer.body)
    error = failure(request, Response(status, {}, text.encode(), "http://a:1"))
    assert error is not None
    return error


@given(st.integers(0, 10**6), st.floats(0, 1))
def test_the_pause_doubles_up_to_its_cap_and_lies_anywhere_below(failures: int, chance: float) -> None:
    assert 0 <= delay(failures, lambda: chance) <= min(2.0, 0.1 * 2 ** min(failures, 5))


def test_the_longest_pauses() -> None:
    assert [delay(n, lambda: 1.0) for n in range(6)] == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.6, 2.0])
    assert delay(3, lambda: 1.0, first=1, cap=5) == 5


# (error, again as a read, again as a write, what a write reports)
CASES = [
    (answered(429, "RPC rate limit exceeded"), True, True, Throttled),
    (
        answered(503, "rate limit exceeded for operation that can only be performed by the leader"),
        True,
        True,
        Throttled,
    ),
    (answered(500, "No cluster leader"), True, True, NoLeader),
    (answered(500, "rpc error making call: No cluster leader"), True, True, NoLeader),
    (answered(500, "Intentions are read only while being upgraded to config entries"), True, True, ServerError),
    (answered(500, "CA is uninitialized and unable to sign certificates yet"), True, True, ServerError),
    (answered(500, "CA has not finished initializing"), True, True, ServerError),
    (answered(500, "provider not initialized"), True, False, ServerError),
    (answered(500, "No path to datacenter"), False, False, ServerError),
    (answered(500, "leadership lost while committing log"), True, False, OutcomeUnknown),
    (answered(500, "rpc error making call: EOF"), True, False, OutcomeUnknown),
    (answered(500, "something never seen"), True, False, ServerError),
    (answered(502, "Bad Gateway"), True, False, OutcomeUnknown),
    (answered(504, ""), True, False, OutcomeUnknown),
    (answered(500, "Sources[0].Action must be set"), False, False, BadRequest),
    (answered(500, "duplicate intention found: ALLOW a => b"), False, False, Conflict),
    (answered(403, "Permission denied"), False, False, PermissionDenied),
    (answered(404, "Intention not found"), False, False, NotFound),
    (ConnectionFailed("no connection"), True, True, ConnectionFailed),
    (RequestTimeout("too slow"), True, False, OutcomeUnknown),
    (OutcomeUnknown("lost"), False, False, OutcomeUnknown),
    (UnreadableResponse("garbage"), False, False, UnreadableResponse),
]


@pytest.mark.parametrize(("error", "read", "write", "reported"), CASES, ids=lambda case: getattr(case, "text", None))
def test_what_is_tried_again(error: ConsulError, read: bool, write: bool, reported: type[ConsulError]) -> None:
    assert worth_retrying(error, read=True) is read
    assert worth_retrying(error, read=False) is write
    assert type(outcome(error)) is reported


def test_a_lost_outcome_keeps_all_that_was_known() -> None:
    before = answered(500, "leadership lost while committing log")
    after = outcome(before)
    assert "read before you write again" in after.message
    assert (after.status, after.text, after.method, after.path, after.address) == (
        before.status,
        before.text,
        "PUT",
        "/v1/x",
        "http://a:1",
    )


# Polls.


def test_a_poll_waits_longer_after_each_failure_up_to_the_cap() -> None:
    longest = PollBackoff(lambda: 1.0)
    assert [longest.failed(float(i)) for i in range(8)] == [0.5, 1, 2, 4, 8, 16, 30, 30]
    shortest = PollBackoff(lambda: 0.0)
    assert [shortest.failed(0.0) for _ in range(3)] == pytest.approx([0.2, 0.4, 0.8])


def test_a_poll_that_works_again_halves_the_count() -> None:
    backoff = PollBackoff(lambda: 1.0)
    for _ in range(4):
        backoff.failed(0.0)
    backoff.worked(1.0)
    assert backoff.failures == 2
    assert backoff.failed(1.0) == 2.0


def test_two_quiet_minutes_clear_the_count() -> None:
    backoff = PollBackoff(lambda: 1.0)
    for _ in range(6):
        backoff.failed(0.0)
    assert backoff.failed(121.0) == 0.5
    backoff.worked(242.0)
    assert backoff.failures == 0


def test_a_count_without_end_stays_a_wait() -> None:
    backoff = PollBackoff(lambda: 1.0)
    assert [backoff.failed(0.0) for _ in range(5000)][-1] == 30.0


def test_where_nobody_listens_a_poll_comes_back_soon() -> None:
    backoff = PollBackoff(lambda: 1.0)
    assert [backoff.failed(float(i), refused=True) for i in range(0, 40, 5)] == [0.5] * 6 + [5.0] * 2
    assert backoff.failed(41.0) == 30.0  # it answers again, and badly: the failures count as ever


@pytest.mark.parametrize(
    ("error", "never_worked", "has_worked"),
    [
        (answered(400, "no"), True, True),
        (answered(404, "Intention not found"), True, True),
        (answered(404, ""), True, True),
        (answered(500, "Sources[0] must be"), True, False),
        (answered(403, "ACL not found"), True, False),
        (answered(500, "No cluster leader"), False, False),
        (answered(429, "slow down"), False, False),
        (ConnectionFailed("gone"), False, False),
        (BadRequest("refused here"), True, True),
    ],
)
def test_what_no_waiting_can_heal(error: ConsulError, never_worked: bool, has_worked: bool) -> None:
    assert (ends_watch(error, worked=False), ends_watch(error, worked=True)) == (never_worked, has_worked)


@pytest.mark.parametrize(
    ("cause", "expected"),
    [
        (ConnectionRefusedError(errno.ECONNREFUSED, "refused"), True),
        (FileNotFoundError(errno.ENOENT, "no such socket"), True),
        (ConnectionResetError(errno.ECONNRESET, "reset"), False),
        (ValueError("else"), False),
        (None, False),
    ],
)
def test_nobody_listens(cause: Exception | None, expected: bool) -> None:
    error = ConnectionFailed("no connection")
    error.__cause__ = cause
    assert nobody_listens(error) is expected


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ConnectionFailed("broke"), True),
        (answered(408, ""), True),
        (answered(502, "Bad Gateway"), True),
        (answered(504, ""), True),
        (answered(503, "<html>no</html>"), True),
        (answered(503, "rate limit exceeded"), False),
        (answered(500, "rpc error making call: i/o deadline reached"), True),
        (answered(500, "No cluster leader"), False),
        (RequestTimeout("too slow"), False),
    ],
)
def test_a_poll_that_was_cut_short(error: ConsulError, expected: bool) -> None:
    assert cut_short(error, elapsed=20, wait=55) is expected
    assert cut_short(error, elapsed=55, wait=55) is False
