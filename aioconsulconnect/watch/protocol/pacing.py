"""How often a poll may ask, and how long it asks the server to wait. Time and randomness are handed in."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from aioconsulconnect.errors import InvalidRequest

Random = Callable[[], float]

_RESTART = 30.0  # seconds that a restart may take
_LONG_REFUSED = 5.0
_JITTER = 0.2  # of the wait: agent-cached and streaming answers bring none of their own
_ALIKE = 0.2  # two cuts are of one kind when their times differ by less than this part
_SHORTENED = 0.8  # of the time after which somebody cuts
_FORGET_CUTS = 600.0


class PollSettings(msgspec.Struct, frozen=True, kw_only=True):
    """
    How the client polls, in seconds and counts.

    `wait`: what a poll asks the server to hold it, jittered down by up to a fifth; `shortest_wait` where a proxy cuts.
    `margin`: what a poll may take beyond wait x 17/16; `read_timeout`: for reads without index. `check`: how often a
    streaming or cached watch proves itself by a plain read. `free_turns` at once, then one every `turn`. `backoff_cap`,
    `throttled` (from, to), `denied` (first, longest), `interval` of plain polling (first, longest) and of watches
    beyond the budget (`crowded`). `max_polls`: connections of polls, together with the polls that were given up and
    that the servers still hold. `linger`: how long a poll goes on without a consumer. `queue`: how many changes are
    kept for a consumer of every change. `fall`: the part of the items whose loss is confirmed before it is believed.
    """

    wait: float = 55.0
    shortest_wait: float = 2.0
    margin: float = 10.0
    read_timeout: float = 10.0
    check: float = 60.0
    free_turns: int = 5
    turn: float = 1.0
    backoff_cap: float = 30.0
    throttled: tuple[float, float] = (60.0, 180.0)
    denied: tuple[float, float] = (30.0, 300.0)
    interval: tuple[float, float] = (5.0, 60.0)
    crowded: float = 5.0
    reread: float = 5.0
    max_polls: int = 64
    linger: float = 30.0
    queue: int = 256
    fall: float = 0.8

    def __post_init__(self) -> None:
        """Refuse what would spin or never end."""
        for name in self.__struct_fields__:
            value: float | tuple[float, float] = getattr(self, name)
            numbers = value if isinstance(value, tuple) else (value,)
            if not all(0 <= number < float("inf") for number in numbers):
                raise InvalidRequest(f"PollSettings.{name} must be a finite number, not negative: {value!r}")
        if not 0.01 <= self.shortest_wait <= self.wait <= 600:  # noqa: PLR2004 - Consul's own cap
            raise InvalidRequest("PollSettings: shortest_wait <= wait <= 600 s (Consul's cap) must hold")
        if self.free_turns < 1 or self.max_polls < 2 or self.queue < 1 or self.turn <= 0:  # noqa: PLR2004
            raise InvalidRequest("PollSettings: free_turns and queue must be at least 1, max_polls 2, turn above 0")


class Pace:
    """
    `free` requests at once, then one every `interval` seconds; what is not used comes back at the same rate.

    So a single change is never delayed, a flood of them costs one request an interval, and the last of them is seen
    within one interval.
    """

    def __init__(self, free: int, interval: float) -> None:
        self._burst = (free - 1) * interval
        self._interval = interval
        self._paid_until = float("-inf")

    def at(self, now: float) -> float:
        """The earliest time for the next request."""
        return max(now, self._paid_until - self._burst)

    def spend(self, now: float) -> None:
        """Count a request that was sent at `now`."""
        self._paid_until = max(self._paid_until, now) + self._interval

    def refund(self) -> None:
        """The last request never reached anybody."""
        self._paid_until -= self._interval


class Waits:
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
