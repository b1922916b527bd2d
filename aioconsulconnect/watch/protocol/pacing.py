"""Every delay of a watch: how often it asks, how long it waits, when it tries again. Time and chance are handed in."""

from __future__ import annotations

from collections.abc import Callable

from aioconsulconnect.watch.protocol.poll_settings import PollSettings

Random = Callable[[], float]

FROZEN_SERVER = 40.0  # seconds: how long a frozen server was seen to hold what it should have answered
HERD = 20  # polls that may start within a second before they are spread over one
TOKEN_INTERVAL = 2.0  # seconds between two looks at the token while it is denied
REPEATED_DENIAL = 1.0  # seconds between two denials that are believed before there is data
JITTERED_READ = 1.0  # seconds over which the reads of all watches of an agent in doubt are spread

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
_AT_ONCE = 0.8  # of the burst: as long as so much is left, a change is followed at once
_IDLE_BURST, _IDLE_RATE = 5, 1.0  # turns that bring nothing new
_COST = 10.0  # times what an answer cost us, until the next turn
_MAX_AGE_SHARE = 0.6  # of the age that a consumer allows: the wait of its polls
_SHORT_WAIT = 0.25  # of the wait, for polls beyond half of the budget; of the probes' interval beyond all of it
_EARLIER = 0.25  # of the probes' interval: not all clients ask at once
_UNKNOWN_FOR = 45  # denials: an agent may not know a new token for half a minute
_LOOKS = 12  # for what is absent, in the time that it has been absent


class _Bucket:
    """So many at once, then so many a second."""

    def __init__(self, size: float, rate: float) -> None:
        self._size = size
        self._rate = rate
        self._level = size
        self._filled = float("-inf")

    def take(self, now: float) -> None:
        """Take one out; it may be in debt then."""
        self._level = self.level(now) - 1
        self._filled = now

    def level(self, now: float) -> float:
        """How many are in it."""
        if self._filled == float("-inf"):
            return self._size
        return min(self._size, self._level + (now - self._filled) * self._rate)

    def wait(self, now: float) -> float:
        """Seconds until there is one."""
        return max(0.0, (1 - self.level(now)) / self._rate)


class RateLimiter:
    """
    When the next turn may begin, after what the last ones brought and cost.

    Turns that brought a change come out of a bucket of `burst` that fills at `rate` a second: at once while more than
    four fifths are left, then `min_interval` apart, and at `rate` when it is empty. Turns that brought nothing new:
    five at once, then one a second. So an isolated change is never delayed, a stream is followed, a flood is sampled.
    """

    def __init__(self, burst: int, rate: float, min_interval: float) -> None:
        self._burst = burst
        self._min_interval = min_interval
        self._news = _Bucket(burst, rate)
        self._idle = _Bucket(_IDLE_BURST, _IDLE_RATE)
        self._sent = float("-inf")

    def sent(self, now: float) -> None:
        """Note that a turn begins."""
        self._sent = now

    def next_turn(self, now: float, *, news: bool) -> float:
        """Count a turn that ends now; the earliest time for the next."""
        bucket = self._news if news else self._idle
        bucket.take(now)
        at = now + bucket.wait(now)
        if news and self._news.level(now) <= _AT_ONCE * self._burst:
            at = max(at, self._sent + self._min_interval)
        return at


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

    def pick(self, now: float, cap: float) -> float:
        """Seconds for the next poll, `cap` at most."""
        if now - self._limited > _FORGET_CUTS:
            self._limit = self._longest
        return min(self._limit, cap) * (1 - _JITTER * self._random())

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
    Where nobody listens, or there is no leader, a try costs nobody anything, and a restart or an election is over
    within seconds: there the wait stays at 0.5 s for half a minute, and then at 5 s; such tries are counted apart, and
    to come back from them clears the count.
    """

    def __init__(self, random: Random, *, cap: float = 30.0) -> None:
        self.failures: int = 0
        self._random = random
        self._cap = cap
        self._last = float("-inf")
        self._refused_since: float | None = None

    def failed(self, now: float, *, refused: bool = False) -> float:
        """Count a failure, `refused` when nobody listens; seconds to wait."""
        share = 0.4 + 0.6 * self._random()
        if refused:
            self.failures = 0
            if self._refused_since is None:
                self._refused_since = now
            return (_FIRST_BACKOFF if now - self._refused_since < _RESTART else _LONG_REFUSED) * share
        self._refused_since = None
        if now - self._last > _FORGET_FAILURES:
            self.failures = 0
        longest = min(self._cap, _FIRST_BACKOFF * 2 ** min(self.failures, 20))
        self.failures += 1
        self._last = now
        return float(longest * share)

    def worked(self, now: float) -> None:
        """Count a poll that was answered."""
        self._refused_since = None
        self.failures = 0 if now - self._last > _FORGET_FAILURES else self.failures // 2


def after_cost(seconds: float, now: float) -> float:
    """The earliest time for the next turn, after an answer that took so long to decode and compare."""
    return now + _COST * seconds


def held_for(wait: float) -> float:
    """Seconds for which a healthy server holds a poll that asked for `wait`, at most."""
    return wait * _SERVER_JITTER


def poll_deadline(wait: float, settings: PollSettings) -> float:
    """Seconds after which a poll that asked for `wait` is given up."""
    return held_for(wait) + settings.margin


def longest_wait(settings: PollSettings, *, max_age: float | None, scarce: bool) -> float:
    """Seconds that a poll may wait: less where a consumer allows no such age, or where connections are short."""
    wait = settings.wait * (_SHORT_WAIT if scarce else 1.0)
    return wait if max_age is None else min(wait, _MAX_AGE_SHARE * max_age)


def verify_interval(settings: PollSettings, *, max_age: float | None) -> float:
    """Seconds between two reads that prove a watch whose own answers prove nothing."""
    return settings.verify_interval if max_age is None else min(settings.verify_interval, _MAX_AGE_SHARE * max_age)


def denied_pause(denials: int, settings: PollSettings, *, unknown: bool) -> float:
    """Seconds to wait after that many denials in a row; longer from the start on than a token stays `unknown`."""
    first, longest = settings.denied
    doublings = denials - (_UNKNOWN_FOR if unknown else 1)
    return float(min(longest, first * 2 ** max(0, min(doublings, 20))))


def throttled_pause(settings: PollSettings, random: Random, *, has_data: bool) -> float:
    """Seconds to wait where Consul says that it is asked too much; a watch without data is served by short reads."""
    if not has_data:
        return spread(settings.over_budget_interval, random)
    low, high = settings.throttled
    return low + (high - low) * random()


def absent_interval(absent_for: float, settings: PollSettings) -> float:
    """Seconds between two looks for what is not there, where the server cannot block until it is."""
    first, longest = settings.absent
    return max(first, min(longest, absent_for / _LOOKS))


def slower_interval(before: float | None, settings: PollSettings, *, changed: bool) -> float:
    """Seconds between two reads of what the server cannot block on: more and more while nothing changes."""
    first, longest = settings.interval
    return first if changed or before is None else min(longest, before * _SLOWER)


def over_budget_interval(watches: int, settings: PollSettings) -> float:
    """Seconds between two reads of each of so many watches that find no connection for a poll."""
    return max(settings.over_budget_interval, watches / _OVER_BUDGET_RATE)


def probe_pause(settings: PollSettings, used: float, random: Random) -> float:
    """Seconds until an agent is asked for its leader again: sooner where all of the budget is `used`."""
    return settings.probe_interval * (1.0 if used < 1 else _SHORT_WAIT) * (1 - _EARLIER * random())


def spread(interval: float, random: Random) -> float:
    """About `interval`: a quarter less or more, so that many do not stay in step."""
    return interval * (0.75 + 0.5 * random())
