"""When another try is worth it: only where it may help, and for a write only where nothing was applied."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st
from support.canned import answered

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
from aioconsulconnect.transport.retry import delay, outcome, worth_retrying


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
def test_error_decides_retry_of_reads_and_writes_and_the_reported_class(
    error: ConsulError, read: bool, write: bool, reported: type[ConsulError]
) -> None:
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
