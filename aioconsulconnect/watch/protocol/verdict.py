"""
Meaning of a failure for a watch: its end, an absent agent, or a poll cut off by a proxy.

Pure.
"""

from __future__ import annotations

from aioconsulconnect.errors import (
    Closed,
    ConnectionFailed,
    ConsulError,
    ErrorReason,
    InvalidRequest,
    PermissionDenied,
)
from aioconsulconnect.watch.protocol.pacing import REPEATED_DENIAL

DENIALS = frozenset(
    {
        ErrorReason.PERMISSION_DENIED,
        ErrorReason.TOKEN_LACKS_PERMISSION,
        ErrorReason.ANONYMOUS_LACKS_PERMISSION,
    }
)


def ends_watch(error: ConsulError, *, worked: bool, denied_for: float | None = None) -> bool:
    """
    Return True if `error` ends a watch, because no waiting can help.

    `worked` says that the watch has had data: then only Closed ends it. Before that it also ends with Consul's own
    verdict that the request can never work (`error.final`), with InvalidRequest, and with a denial for lack of rights
    where the first such answer is at least 1 s old. `denied_for` is the age of that first denial in seconds, None for
    no denial.
    """
    if isinstance(error, Closed):
        return True
    if worked:
        return False
    if isinstance(error, PermissionDenied):
        return error.reason in DENIALS and denied_for is not None and denied_for >= REPEATED_DENIAL
    return error.final or isinstance(error, InvalidRequest)


def is_unreachable(error: ConsulError) -> bool:
    """Return True if `error` says that nobody listens at the agent's address."""
    return error.reason is ErrorReason.UNREACHABLE


def cut_short(error: ConsulError, elapsed: float, wait: float) -> bool:
    """
    Return True if something between the client and Consul can have cut a poll off.

    It came before the wait was over, as a broken connection (other than a new one that was closed at once), a gateway's
    status (408, 502, 504, or 503 not in Consul's words), or Consul's own "i/o deadline reached".

    - `error`: error of the poll.
    - `elapsed`: seconds since the poll was sent.
    - `wait`: seconds that it asked for.
    """
    if elapsed >= wait:
        return False
    if isinstance(error, ConnectionFailed):
        return error.reason is not ErrorReason.RESET_AT_ONCE  # the connection was refused, no poll was cut
    gateway = error.status in {408, 502, 504} or (
        error.status == 503 and error.reason is ErrorReason.NOT_CONSUL  # noqa: PLR2004
    )
    return gateway or error.reason is ErrorReason.DEADLINE_REACHED
