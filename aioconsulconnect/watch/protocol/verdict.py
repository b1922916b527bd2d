"""What a failure means for a watch. Pure."""

from __future__ import annotations

from aioconsulconnect.errors import (
    Closed,
    ConnectionFailed,
    ConsulError,
    ErrorReason,
    InvalidRequest,
    PermissionDenied,
    Unsupported,
)
from aioconsulconnect.watch.protocol.pacing import REPEATED_DENIAL

RIGHTS = frozenset(
    {
        ErrorReason.PERMISSION_DENIED,
        ErrorReason.TOKEN_LACKS_PERMISSION,
        ErrorReason.ANONYMOUS_LACKS_PERMISSION,
    }
)
"""Reasons that say that the token is known, and may not."""


def ends_watch(error: ConsulError, *, worked: bool, denied_for: float | None) -> bool:
    """
    Whether no waiting will heal it. After good data nothing that an answer says does.

    `denied_for`: seconds since the first of the denials in a row, None without one.
    """
    if isinstance(error, Closed):  # used from another event loop
        return True
    if worked:
        return False
    if isinstance(error, PermissionDenied):
        return error.reason in RIGHTS and denied_for is not None and denied_for >= REPEATED_DENIAL
    ours = isinstance(error, InvalidRequest | Unsupported) and error.status is None
    return error.final or ours


def is_unreachable(error: ConsulError) -> bool:
    """Whether there was no connection because there is no agent at the address."""
    return error.reason is ErrorReason.UNREACHABLE


def cut_short(error: ConsulError, elapsed: float, wait: float) -> bool:
    """Whether something between us and Consul can have ended a poll: early, and not in Consul's words."""
    if elapsed >= wait:
        return False
    if isinstance(error, ConnectionFailed):
        return True
    gateway = error.status in {408, 502, 504} or (
        error.status == 503 and error.reason is ErrorReason.NOT_CONSUL  # noqa: PLR2004
    )
    return gateway or error.reason is ErrorReason.DEADLINE_REACHED
