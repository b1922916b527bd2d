"""
Rules for another try: whether it is worth one, and after how long.

Pure: time and randomness are passed in.
"""

from __future__ import annotations

from collections.abc import Callable

from aioconsulconnect.errors import (
    ConnectionFailed,
    ConsulError,
    ErrorReason,
    NoLeader,
    OutcomeUnknown,
    RequestTimeout,
    ServerError,
    Throttled,
)

Random = Callable[[], float]

_NOTHING_APPLIED = frozenset({ErrorReason.UPGRADING, ErrorReason.CA_UNINITIALIZED})
_POINTLESS = frozenset({ErrorReason.BUSY, ErrorReason.CERTIFICATE, ErrorReason.PROXY_REFUSED})
_HOPELESS = frozenset({ErrorReason.DATACENTER_UNKNOWN})
_LOST = frozenset({ErrorReason.BROKEN, ErrorReason.RESET_AT_ONCE})
_NOT_REFUSED = frozenset({ErrorReason.INTERRUPTED, ErrorReason.DEADLINE_REACHED, ErrorReason.NOT_CONSUL})


def delay(failures: int, random: Random, *, first: float = 0.1, cap: float = 2.0) -> float:
    """
    Return the seconds to wait before another try.

    It is a random time up to a limit that doubles with each failure (full jitter).

    - `failures`: number of failures in a row before the last one.
    - `random`: source of the jitter, 0 to 1.
    - `first`: limit after the first failure, in seconds.
    - `cap`: highest limit, in seconds.
    """
    return random() * float(min(cap, first * 2 ** min(failures, 20)))


def worth_retrying(error: ConsulError, *, read: bool) -> bool:
    """
    Return True if another try may succeed and cannot do harm.

    `error` is the failure; `read` says that the request changes nothing. A write is worth it only if nothing was
    applied.
    """
    if error.final or error.reason in _POINTLESS:
        return False
    if isinstance(error, Throttled | NoLeader):
        return True
    if isinstance(error, ServerError):
        return error.reason in _NOTHING_APPLIED or (read and error.reason not in _HOPELESS)
    return isinstance(error, ConnectionFailed) or (read and (isinstance(error, RequestTimeout) or from_gateway(error)))


def worth_repeating(error: ConsulError) -> bool:
    """
    Return True if the answer to a write was lost with its connection.

    An idempotent one may then be repeated. `error` is what the write raised.
    """
    return isinstance(error, OutcomeUnknown) and error.reason in _LOST


def from_gateway(error: ConsulError) -> bool:
    """
    Return True if `error` is a refusal by something between the client and Consul.

    A redirect is no refusal.
    """
    return error.reason is ErrorReason.NOT_CONSUL and error.status is not None and error.status >= 400  # noqa: PLR2004


def outcome(error: ConsulError) -> ConsulError:
    """
    Return the `error` of a write for the caller: OutcomeUnknown where the answer was lost.

    Then nobody can tell whether the write was applied.
    """
    lost = isinstance(error, ServerError) and not worth_retrying(error, read=False) and not _plain_refusal(error)
    if not lost and (not isinstance(error, RequestTimeout) or error.reason is ErrorReason.BUSY):
        return error
    return OutcomeUnknown(
        "the answer to this write was lost: it may or may not have been applied; read before you write again",
        reason=error.reason,
        status=error.status,
        text=error.text,
        method=error.method,
        path=error.path,
        address=error.address,
    )


def _plain_refusal(error: ServerError) -> bool:
    """
    Return True for a 500 in Consul's own words that name no broken call.

    The write was then examined and refused.
    """
    return error.status == 500 and error.reason not in _NOT_REFUSED  # noqa: PLR2004
