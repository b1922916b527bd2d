"""Is it worth another try, and after how long. Pure: time and randomness are handed in."""

from __future__ import annotations

import errno
from collections.abc import Callable

from aioconsulconnect.errors import (
    ConnectionFailed,
    ConsulError,
    NoLeader,
    OutcomeUnknown,
    RequestTimeout,
    ServerError,
    Throttled,
)

Random = Callable[[], float]

_NOTHING_APPLIED = ("read only while being upgraded", "CA is uninitialized", "CA has not finished initializing")
_HOPELESS = ("No path to datacenter",)
_NOBODY = frozenset({errno.ECONNREFUSED, errno.ENOENT})
_RESTART = 30.0  # seconds that a restart may take
_LONG_REFUSED = 5.0


def delay(failures: int, random: Random, *, first: float = 0.1, cap: float = 2.0) -> float:
    """Seconds to wait after that many failures in a row: doubling up to `cap`, anywhere below it (full jitter)."""
    return random() * float(min(cap, first * 2 ** min(failures, 20)))


def worth_retrying(error: ConsulError, *, read: bool) -> bool:
    """Whether sending it again may succeed and cannot do harm: a write only if nothing was applied."""
    if isinstance(error, Throttled | NoLeader):
        return True
    if isinstance(error, ServerError):
        words = _NOTHING_APPLIED
        return any(word in error.text for word in words) or (read and not any(word in error.text for word in _HOPELESS))
    return isinstance(error, ConnectionFailed) or (read and isinstance(error, RequestTimeout))


def outcome(error: ConsulError) -> ConsulError:
    """What the error of a write means: where its answer was lost, nobody knows whether it was applied."""
    lost = isinstance(error, ServerError) and not worth_retrying(error, read=False) and not _plain_refusal(error)
    if not lost and not isinstance(error, RequestTimeout):
        return error
    return OutcomeUnknown(
        "the answer to this write was lost: it may or may not have been applied; read before you write again",
        status=error.status,
        text=error.text,
        method=error.method,
        path=error.path,
        address=error.address,
    )


def _plain_refusal(error: ServerError) -> bool:
    """A 500 with Consul's own words that name no broken call: the write was looked at and refused."""
    broken = ("broke off" in error.message) or error.status != 500  # noqa: PLR2004
    return not broken
