"""What a failure means for a watch. Pure."""

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
    Whether no waiting will heal it. Nothing that an answer says ends a watch that has `worked`.

    Before the first data it is Consul's own verdict on the request (`error.final`), our own, and "Permission denied",
    where the first such answer is `denied_for` seconds old (None: this is the first). Closed ends always.
    """
    if isinstance(error, Closed):
        return True
    if worked:
        return False
    if isinstance(error, PermissionDenied):
        return error.reason in DENIALS and denied_for is not None and denied_for >= REPEATED_DENIAL
    return error.final or isinstance(error, InvalidRequest)


def is_unreachable(error: ConsulError) -> bool:
    """Whether there was no connection because there is no agent at the address."""
    return error.reason is ErrorReason.UNREACHABLE


def cut_short(error: ConsulError, elapsed: float, wait: float) -> bool:
    """Whether something between us and Consul can have ended a poll: early, and not in Consul's words."""
    if elapsed >= wait:
        return False
    if isinstance(error, ConnectionFailed):
        return error.reason is not ErrorReason.RESET_AT_ONCE  # that was a connection, and no poll yet
    gateway = error.status in {408, 502, 504} or (
        error.status == 503 and error.reason is ErrorReason.NOT_CONSUL  # noqa: PLR2004
    )
    return gateway or error.reason is ErrorReason.DEADLINE_REACHED
