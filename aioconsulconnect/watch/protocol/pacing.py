"""Every delay of a watch: how often it asks, how long it waits, when it tries again. Time and chance are handed in."""

from __future__ import annotations

from collections.abc import Callable

from aioconsulconnect.watch.protocol.poll_settings import PollSettings

Random = Callable[[], float]

FROZEN_SERVER = 40.0  # seconds: how long a frozen server was seen to hold what it should have answered
BUDGET_RECOVERY = 10.0  # seconds for each connection that comes back after the budget was lowered
HERD = 20  # polls that may start within a second before they are spread over one

_JITTER = 0.2  # of the wait: agent-cached and streaming answers bring none of their own
_SERVER_JITTER = 17 / 16  # Consul adds up to a sixteenth to the wait that it was asked for
_RESTART = 30.0  # seconds that a restart may take
_LONG_REFUSED = 5.0
_FIRST_BACKOFF = 0.5
_FORGET_FAILURES = 120.0
_ALIKE = 0.2  # two cuts are of one kind when their times differ by less than this part
_SHORTENED = 0.8  # of the time after which somebody cuts
_FORGET_CUTS = 600.0
_SLOWER = 1.5  # from one read without an index to the next
_OVER_BUDGET_RATE = 50.0  # short reads a second, all watches beyond the budget together


class RateLimiter:
    """
    `burst` requests at once, then one every `interval` seconds; what is not used comes back at the same rate.

    So a single change is never delayed, a flood of them costs one request an interval, and the last of them is seen
    within one interval.
    """

    def __init__(self, burst: int, interval: float) -> None:
        self._burst = (burst - 1) * interval
        self._interval = interval
        self._paid_until = float("-inf")

    def at(self, now: float) -> float:
        """The earliest time for the next request."""
        return max(now, self._paid_until - self._burst)

    def spend(self, now: float) -> None:
        """Count a request that was sent at `now`."""
        self._paid_until = max(self._paid_until, now) + self._interval

    def refund(self) -> None:
        """Take back the last request: it never reached anybody."""
        self._paid_until -= self._interval


class WaitTuner:
    """
    How long the server is asked to hold a poll: `longest`, jittered down, or less where a proxy cuts earlier.

    Two cuts after about the same time are a proxy's doing: from then on polls end before it would cut. After ten
    minutes the full wait is tried again.
    """

    def __init__(self, longest: float, shortest: float, random: Random) -> None:
        self._longest = longest
        self._shortest = shortest
        self._random = random
        self._limit = longest
        self._limited = float("-inf")
        self._cut = 0.0

    @property
    def limit(self) -> float:
        """The longest wait in use."""
        return self._limit

    def pick(self, now: float) -> float:
        """Seconds for the next poll."""
        if now - self._limited > _FORGET_CUTS:
            self._limit = self._longest
        return self._limit * (1 - _JITTER * self._random())

    def cut(self, after: float, now: float) -> bool:
        """Note a poll that broke after so many seconds of its wait; whether that can be a proxy's doing."""
        if after * _SHORTENED < self._shortest:
            return False
        if abs(after - self._cut) <= _ALIKE * max(after, self._cut):
            self._limit = max(self._shortest, _SHORTENED * min(after, self._cut))
            self._limited = now
        self._cut = after
        return True


class Backoff:
    """
    How long a poll waits after its failures: 0.2 to 0.5 s first, twice as long after each more, up to `cap`.

    A poll that works again halves the count, and two minutes without a failure clear it. A plain read that works does
    neither: it does not show that polls work, and a server that takes reads and breaks polls would be asked for ever.
    Where nobody listens a try costs nobody anything, and an agent that is restarted is back within seconds: there the
    wait stays at 0.5 s for half a minute, and then at 5 s.
    """

    def __init__(self, random: Random, *, cap: float = 30.0) -> None:
        self.failures: int = 0
        self._random = random
        self._cap = cap
        self._last = float("-inf")
        self._began = 0.0

    def failed(self, now: float, *, refused: bool = False) -> float:
        """Count a failure, `refused` when nobody listens; seconds to wait."""
        if now - self._last > _FORGET_FAILURES:
            self.failures = 0
        if not self.failures:
            self._began = now
        longest = min(self._cap, _FIRST_BACKOFF * 2 ** min(self.failures, 20))
        if refused:
            longest = min(longest, _FIRST_BACKOFF if now - self._began < _RESTART else _LONG_REFUSED)
        self.failures += 1
        self._last = now
        return float(longest * (0.4 + 0.6 * self._random()))

    def worked(self, now: float) -> None:
        """Count a poll that was answered."""
        self.failures = 0 if now - self._last > _FORGET_FAILURES else self.failures // 2


def held_for(wait: float) -> float:
    """Seconds for which a healthy server holds a poll that asked for `wait`, at most."""
    return wait * _SERVER_JITTER


def poll_deadline(wait: float, settings: PollSettings) -> float:
    """Seconds after which a poll that asked for `wait` is given up."""
    return held_for(wait) + settings.margin


def denied_pause(denials: int, settings: PollSettings) -> float:
    """Seconds to wait after that many denials in a row."""
    first, longest = settings.denied
    return float(min(longest, first * 2 ** (min(denials, 20) - 1)))


def throttled_pause(settings: PollSettings, random: Random) -> float:
    """Seconds to wait where Consul says that it is asked too much."""
    low, high = settings.throttled
    return low + (high - low) * random()


def slower_interval(before: float | None, settings: PollSettings, *, changed: bool) -> float:
    """Seconds between two reads of what the server cannot block on: more and more while nothing changes."""
    first, longest = settings.interval
    return first if changed or before is None else min(longest, before * _SLOWER)


def over_budget_interval(watches: int, settings: PollSettings) -> float:
    """Seconds between two reads of each of so many watches that find no connection for a poll."""
    return max(settings.over_budget_interval, watches / _OVER_BUDGET_RATE)


def spread(interval: float, random: Random) -> float:
    """About `interval`: a quarter less or more, so that many do not stay in step."""
    return interval * (0.75 + 0.5 * random())
