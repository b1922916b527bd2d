"""Is it worth another try, and after how long. Pure: time and randomness are handed in."""

from __future__ import annotations

import errno
from collections.abc import Callable

from aioconsulconnect.errors import (
    BadRequest,
    Closed,
    ConnectionFailed,
    ConsulError,
    NoLeader,
    NotFound,
    OutcomeUnknown,
    PermissionDenied,
    RequestTimeout,
    ServerError,
    Throttled,
    Unsupported,
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


class PollBackoff:
    """
    How long a poll waits after its failures: 0.2 to 0.5 s first, twice as long after each more, up to `cap`.

    A poll that works again halves the count, and two minutes without a failure clear it. A plain read that works does
    neither: it does not show that polls work, and a server that takes reads and breaks polls would be asked for ever.
    Where nobody listens a try costs nobody anything, and an agent that is restarted is back within seconds: there the
    wait stays at 0.5 s for half a minute, and then at 5 s.
    """

    def __init__(self, random: Random, *, first: float = 0.5, cap: float = 30.0, forget: float = 120.0) -> None:
        self.failures: int = 0
        self._random = random
        self._first = first
        self._cap = cap
        self._forget = forget
        self._last = float("-inf")
        self._began = 0.0

    def failed(self, now: float, *, refused: bool = False) -> float:
        """Count a failure, `refused` when nobody listens; seconds to wait."""
        if now - self._last > self._forget:
            self.failures = 0
        if not self.failures:
            self._began = now
        longest = min(self._cap, self._first * 2 ** min(self.failures, 20))
        if refused:
            longest = min(longest, self._first if now - self._began < _RESTART else _LONG_REFUSED)
        self.failures += 1
        self._last = now
        return float(longest * (0.4 + 0.6 * self._random()))

    def worked(self, now: float) -> None:
        """Count a poll that was answered."""
        self.failures = 0 if now - self._last > self._forget else self.failures // 2


def ends_watch(error: ConsulError, *, worked: bool) -> bool:
    """
    Whether no waiting will heal it: the request itself is refused, or it never `worked` and rights forbid it.

    A 500 may mean anything, so it ends nothing that has worked before. Closed: it is used from another event loop.
    """
    if isinstance(error, BadRequest | NotFound | Unsupported):
        return not worked or error.status is None or error.status < 500  # noqa: PLR2004
    return isinstance(error, Closed) or (isinstance(error, PermissionDenied) and not worked)


def nobody_listens(error: ConsulError) -> bool:
    """Whether there was no connection because there is no agent at the address."""
    return isinstance(error.__cause__, OSError) and error.__cause__.errno in _NOBODY


def cut_short(error: ConsulError, elapsed: float, wait: float) -> bool:
    """Whether something between us and Consul can have ended a poll: early, and not in Consul's words."""
    if elapsed >= wait:
        return False
    if isinstance(error, ConnectionFailed):
        return True
    gateway = error.status in {408, 502, 504} or (error.status == 503 and error.text[:1] == "<")  # noqa: PLR2004
    return gateway or "i/o deadline reached" in error.text
