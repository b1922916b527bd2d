"""What the error of a poll means: an end, an agent that is gone, or a proxy that cuts."""

from __future__ import annotations

import pytest
from support.canned import answered

from aioconsulconnect.errors import (
    Closed,
    ConnectionFailed,
    ConsulError,
    ErrorReason,
    InvalidRequest,
    RequestTimeout,
    Unsupported,
)
from aioconsulconnect.watch.protocol.verdict import cut_short, ends_watch, is_unreachable


@pytest.mark.parametrize(
    ("error", "never_worked"),
    [
        (answered(400, "no", method="GET"), False),
        (answered(400, "Missing service name", method="GET"), True),
        (answered(404, "Intention not found"), False),
        (answered(404, "", method="GET"), False),
        (answered(500, "Sources[0] must be"), False),
        (answered(403, "ACL not found"), False),
        (answered(500, "No cluster leader"), False),
        (answered(429, "slow down"), False),
        (ConnectionFailed("gone"), False),
        (InvalidRequest("refused here"), True),
        (Unsupported("not with this Consul"), True),
    ],
)
def test_error_ends_watch_only_if_permanent_and_before_first_data(error: ConsulError, never_worked: bool) -> None:
    assert (ends_watch(error, worked=False), ends_watch(error, worked=True)) == (never_worked, False)


def test_a_denial_ends_a_watch_without_data_when_a_second_answer_repeats_it() -> None:
    denied = answered(403, "Permission denied")
    told = [ends_watch(denied, worked=False, denied_for=seconds) for seconds in (None, 0.5, 1.0)]
    assert told == [False, False, True]
    assert not ends_watch(denied, worked=True, denied_for=60)
    assert not ends_watch(answered(403, "ACL not found"), worked=False, denied_for=60)


@pytest.mark.parametrize("worked", [False, True])
def test_a_closed_client_ends_every_watch(worked: bool) -> None:
    assert ends_watch(Closed("another loop"), worked=worked)


@pytest.mark.parametrize(("reason", "expected"), [(ErrorReason.UNREACHABLE, True), (ErrorReason.UNSPECIFIED, False)])
def test_agent_is_unreachable_by_the_reason_of_the_error(reason: ErrorReason, expected: bool) -> None:
    assert is_unreachable(ConnectionFailed("no connection", reason=reason)) is expected


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ConnectionFailed("broke"), True),
        (ConnectionFailed("broke", reason=ErrorReason.RESET_AT_ONCE), False),
        (answered(408, ""), True),
        (answered(502, "Bad Gateway"), True),
        (answered(504, ""), True),
        (answered(503, "<html>no</html>"), True),
        (answered(503, "rate limit exceeded"), False),
        (answered(503, "error reading from server: EOF"), False),
        (answered(500, "rpc error making call: i/o deadline reached"), True),
        (answered(500, "No cluster leader"), False),
        (RequestTimeout("too slow"), False),
    ],
)
def test_a_poll_that_was_cut_short(error: ConsulError, expected: bool) -> None:
    assert cut_short(error, elapsed=20, wait=55) is expected
    assert cut_short(error, elapsed=55, wait=55) is False
