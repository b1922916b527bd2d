"""
Delays of a watch: pauses between requests, waits of polls, and pauses after failures.

Pure: `now` is a time in seconds on a monotonic clock, and `random` a function that returns a number from 0 to 1; both
are passed in by the caller.
"""

from __future__ import annotations

from collections.abc import Callable

from aioconsulconnect.watch.protocol.poll_settings import PollSettings

Random = Callable[[], float]

FROZEN_SERVER = 40.0  # seconds that a frozen server was seen to hold a request beyond its time (fact 9)
HERD = 20  # polls that may start within one second; more are spread over a second
TOKEN_INTERVAL = 2.0  # seconds between two reads of the token's source while requests are denied
REPEATED_DENIAL = 1.0  # seconds between two denials that end a watch without data
JITTERED_READ = 1.0  # seconds over which the reads of all watches of an agent in doubt are spread

_JITTER = 0.2  # part of the wait: Consul adds no jitter to polls of the agent's cache and streaming
_SERVER_JITTER = 17 / 16  # Consul adds up to a sixteenth to the wait that it was asked for (fact 11)
_RESTART = 30.0  # seconds that a restart of an agent may take
_LONG_REFUSED = 5.0
_FIRST_BACKOFF = 0.5
_FORGET_FAILURES = 120.0
_ALIKE = 0.2  # two cuts have the same cause if their times differ by at most this part
_SHORTENED = 0.8  # part of the time after which polls are cut off
_FORGET_CUTS = 600.0
_SLOWER = 1.5  # times the last interval, for reads without an index
_OVER_BUDGET_RATE = 50.0  # short reads a second, all watches beyond the budget together
_AT_ONCE = 0.8  # part of the burst: while more is left, a change is followed at once
_IDLE_BURST, _IDLE_RATE = 5, 1.0  # turns that bring nothing new
_COST = 10.0  # times the time spent on an answer, until the next turn
_MAX_AGE_SHARE = 0.6  # part of the age that a consumer accepts: the wait of its polls
_SHORT_WAIT = 0.25  # part of the wait beyond half of the budget, and of the interval of probes beyond all of it
_EARLIER = 0.25  # part of the interval of probes: the jitter that keeps clients from asking at once
_UNKNOWN_FOR = 45  # denials: an agent may take half a minute to know a new token (fact 10)
_LOOKS = 12  # reads of an absent value, in as much time as it has been absent already


class _Bucket:
    """A bucket of turns: `size` of them at once, then `rate` a second."""

    def __init__(self, size: float, rate: float) -> None:
        self._size = size
        self._rate = rate
        self._level = size
        self._filled = float("-inf")

    def take(self, now: float) -> None:
        """Take one turn out; the level can become negative."""
        self._level = self.level(now) - 1
        self._filled = now

    def level(self, now: float) -> float:
        """Return the number of turns in the bucket."""
        if self._filled == float("-inf"):
            return self._size
        return min(self._size, self._level + (now - self._filled) * self._rate)

    def wait(self, now: float) -> float:
        """Return the seconds until there is a whole turn in the bucket."""
        return max(0.0, (1 - self.level(now)) / self._rate)


class RateLimiter:
    """
    Limit on how often one query is asked, depending on what its last answers brought.

    A turn is a request with its answer. Turns that brought a change are taken from a bucket of `burst` turns that fills
    at `rate` a second: the next turn follows at once while more than four fifths are left, then turns begin at least
    `min_interval` apart, and with an empty bucket at `rate`. Turns that brought nothing new: five at once, then one a
    second. So an isolated change is never delayed, a stream of changes is followed, and a flood of them is sampled.

    - `burst`: number of turns that the bucket holds.
    - `rate`: turns a second at which it fills.
    - `min_interval`: shortest time in seconds between the beginnings of two turns below four fifths.
    """

    def __init__(self, burst: int, rate: float, min_interval: float) -> None:
        self._burst = burst
        self._min_interval = min_interval
        self._news = _Bucket(burst, rate)
        self._idle = _Bucket(_IDLE_BURST, _IDLE_RATE)
        self._sent = float("-inf")

    def sent(self, now: float) -> None:
        """Note that a turn begins at `now`."""
        self._sent = now

    def next_turn(self, now: float, *, news: bool) -> float:
        """
        Count a turn that ends at `now`, and return the earliest time for the next one.

        `news` says that the turn brought a change.
        """
        bucket = self._news if news else self._idle
        bucket.take(now)
        at = now + bucket.wait(now)
        if news and self._news.level(now) <= _AT_ONCE * self._burst:
            at = max(at, self._sent + self._min_interval)
        return at


class WaitTuner:
    """
    Choice of the `wait` of each poll, shorter where a proxy cuts polls off.

    Each wait is jittered down by up to a fifth. Two polls that were cut off after about the same time (within a fifth)
    show a proxy with a timeout: from then on polls ask for 0.8 of that time. After ten minutes the full wait is tried
    again.

    - `longest`: the full wait in seconds.
    - `shortest`: wait in seconds below which cuts never bring it.
    - `random`: source of the jitter, 0 to 1.
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
        """The longest wait in use now, in seconds, before jitter."""
        return self._limit

    def pick(self, now: float, cap: float) -> float:
        """
        Return the wait of the next poll in seconds: at most `cap`, and jittered down by up to a fifth.

        `now` decides whether earlier cuts still count.
        """
        if now - self._limited > _FORGET_CUTS:
            self._limit = self._longest
        return min(self._limit, cap) * (1 - _JITTER * self._random())

    def cut(self, after: float, now: float) -> bool:
        """
        Note a poll that broke off, and return True if the timeout of a proxy can be the cause.

        - `after`: seconds of its wait after which it broke off; too short a time is no proxy's timeout.
        - `now`: present time.
        """
        if after * _SHORTENED < self._shortest:
            return False
        if abs(after - self._cut) <= _ALIKE * max(after, self._cut):
            self._limit = max(self._shortest, _SHORTENED * min(after, self._cut))
            self._limited = now
        self._cut = after
        return True


class Backoff:
    """
    Pause after failures: 0.2 to 0.5 s after the first, then doubled with each one, up to `cap`.

    A poll that was answered halves the count of failures, and two minutes without a failure clear it. A plain read that
    was answered does neither: it does not show that polls work, and a server that answers reads and breaks polls would
    be asked again and again without a pause.

    Where nobody listens, or there is no leader, a try costs little, and a restart or an election takes seconds: the
    pause is then 0.2 to 0.5 s for half a minute, and after that 2 to 5 s. Such tries clear the count of other failures.

    - `random`: source of the jitter, 0 to 1.
    - `cap`: longest pause in seconds; default 30.
    """

    def __init__(self, random: Random, *, cap: float = 30.0) -> None:
        self.failures: int = 0
        self._random = random
        self._cap = cap
        self._last = float("-inf")
        self._refused_since: float | None = None

    def failed(self, now: float, *, refused: bool = False) -> float:
        """
        Count a failure at `now`, and return the seconds to wait.

        `refused` says that nobody listens at the address, or that there is no leader.
        """
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
        """Note that a poll was answered at `now`, which halves the count of failures or clears it."""
        self._refused_since = None
        self.failures = 0 if now - self._last > _FORGET_FAILURES else self.failures // 2


def after_cost(seconds: float, now: float) -> float:
    """
    Return the earliest time for the next turn after an answer that was expensive to process.

    It is ten times `seconds`, the time that decoding and comparing took, after `now`.
    """
    return now + _COST * seconds


def held_for(wait: float) -> float:
    """
    Return the longest time in seconds for which a healthy server holds a poll with that `wait`.

    Consul adds up to a sixteenth to the wait that it is asked for.
    """
    return wait * _SERVER_JITTER


def poll_deadline(wait: float, settings: PollSettings) -> float:
    """
    Return the seconds after which a poll with that `wait` is given up.

    `settings` has the margin that is added to what a healthy server takes.
    """
    return held_for(wait) + settings.margin


def longest_wait(settings: PollSettings, *, max_age: float | None, scarce: bool) -> float:
    """
    Return the longest wait in seconds that a poll may have now.

    - `settings`: has the full wait.
    - `max_age`: oldest state in seconds that a consumer accepts; the wait is at most 0.6 of it. None for no limit.
    - `scarce`: more than half of the connections for polls are in use; the full wait is then a quarter of itself.
    """
    wait = settings.wait * (_SHORT_WAIT if scarce else 1.0)
    return wait if max_age is None else min(wait, _MAX_AGE_SHARE * max_age)


def verify_interval(settings: PollSettings, *, max_age: float | None) -> float:
    """
    Return the seconds between two consistent reads that prove a watch whose own answers prove nothing.

    - `settings`: has the interval.
    - `max_age`: oldest state in seconds that a consumer accepts; the interval is at most 0.6 of it. None for no limit.
    """
    return settings.verify_interval if max_age is None else min(settings.verify_interval, _MAX_AGE_SHARE * max_age)


def denied_pause(denials: int, settings: PollSettings, *, unknown: bool) -> float:
    """
    Return the seconds to wait after a denial.

    - `denials`: number of denials in a row; the pause doubles with each one.
    - `settings`: has the first and the longest pause.
    - `unknown`: the answer did not say that the token lacks a right, so it may be too new to be known everywhere; the
      first 45 pauses then stay as short as the first one.
    """
    first, longest = settings.denied
    doublings = denials - (_UNKNOWN_FOR if unknown else 1)
    return float(min(longest, first * 2 ** max(0, min(doublings, 20))))


def throttled_pause(settings: PollSettings, random: Random, *, has_data: bool) -> float:
    """
    Return the seconds to wait after Consul refused a request as one too many.

    - `settings`: has the range that the pause is chosen from.
    - `random`: source of the jitter, 0 to 1.
    - `has_data`: the watch has data; without, the pause is about `settings.over_budget_interval` and much shorter.
    """
    if not has_data:
        return spread(settings.over_budget_interval, random)
    low, high = settings.throttled
    return low + (high - low) * random()


def absent_interval(absent_for: float, settings: PollSettings) -> float:
    """
    Return the seconds between two reads of what does not exist and cannot be blocked on.

    It is a twelfth of `absent_for`, the seconds since it was found absent, within the limits that `settings` has.
    """
    first, longest = settings.absent
    return max(first, min(longest, absent_for / _LOOKS))


def slower_interval(before: float | None, settings: PollSettings, *, changed: bool) -> float:
    """
    Return the seconds until the next read of a value on which the server cannot block.

    - `before`: the last interval in seconds, None for none; it grows by half each time.
    - `settings`: has the first and the longest interval.
    - `changed`: the last read brought a change, which begins again with the first interval.
    """
    first, longest = settings.interval
    return first if changed or before is None else min(longest, before * _SLOWER)


def over_budget_interval(watches: int, settings: PollSettings) -> float:
    """
    Return the seconds between two reads of each watch that finds no connection for a poll.

    - `watches`: number of such watches; together they make at most 50 reads a second.
    - `settings`: has the shortest interval.
    """
    return max(settings.over_budget_interval, watches / _OVER_BUDGET_RATE)


def probe_pause(settings: PollSettings, used: float, random: Random) -> float:
    """
    Return the seconds until the agents in use are asked for their leader again.

    - `settings`: has the interval.
    - `used`: share of the connections for polls that is in use; from 1 on the pause is a quarter of the interval.
    - `random`: source of the jitter, 0 to 1, which shortens the pause by up to a quarter.
    """
    return settings.probe_interval * (1.0 if used < 1 else _SHORT_WAIT) * (1 - _EARLIER * random())


def spread(interval: float, random: Random) -> float:
    """
    Return `interval` made shorter or longer by up to a quarter.

    So many watches do not stay in step. `random` is the source of the jitter, 0 to 1.
    """
    return interval * (0.75 + 0.5 * random())
