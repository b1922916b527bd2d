"""What the error of a poll means: an end, an agent that is gone, or a proxy that cuts."""

from __future__ import annotations

import pytest
from support.canned import answered

from aioconsulconnect.errors import (
    BadRequest,
    ConnectionFailed,
    ConsulError,
    ErrorReason,
    RequestTimeout,
)
from aioconsulconnect.watch.protocol.verdict import cut_short, ends_watch, is_unreachable


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


@pytest.mark.parametrize(("reason", "expected"), [(ErrorReason.UNREACHABLE, True), (ErrorReason.UNSPECIFIED, False)])
def test_agent_is_unreachable_by_the_reason_of_the_error(reason: ErrorReason, expected: bool) -> None:
    assert is_unreachable(ConnectionFailed("no connection", reason=reason)) is expected


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
