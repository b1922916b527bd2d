"""What a failure means for a watch. Pure."""

from __future__ import annotations

from aioconsulconnect.errors import (
    BadRequest,
    Closed,
    ConnectionFailed,
    ConsulError,
    ErrorReason,
    NotFound,
    PermissionDenied,
    Unsupported,
)


def ends_watch(error: ConsulError, *, worked: bool) -> bool:
    """
    Whether no waiting will heal it: the request itself is refused, or it never `worked` and rights forbid it.

    A 500 may mean anything, so it ends nothing that has worked before. Closed: it is used from another event loop.
    """
    if isinstance(error, BadRequest | NotFound | Unsupported):
        return not worked or error.status is None or error.status < 500  # noqa: PLR2004
    return isinstance(error, Closed) or (isinstance(error, PermissionDenied) and not worked)


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
