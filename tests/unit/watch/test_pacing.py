"""How often a poll asks, for how long, and how long it tuner after a failure."""

from __future__ import annotations

import itertools
import random

import pytest
from hypothesis import given, strategies as st

from aioconsulconnect.errors import InvalidRequest
from aioconsulconnect.watch.protocol.pacing import Backoff, RateLimiter, WaitTuner
from aioconsulconnect.watch.protocol.poll_settings import PollSettings

Delays = st.lists(st.floats(0, 3), min_size=1, max_size=60)


@given(Delays)
def test_five_at_once_and_then_one_a_second(delays: list[float]) -> None:
    limiter, now, sent = RateLimiter(5, 1.0), 100.0, []
    for delay in delays:
        now = max(now + delay, limiter.at(now + delay))
        limiter.spend(now)
        sent.append(now)
    for first, last in itertools.combinations(range(len(sent)), 2):
        assert last - first + 1 <= 5 + (sent[last] - sent[first]) + 1e-6


def test_whoever_waited_is_not_delayed() -> None:
    limiter = RateLimiter(5, 1.0)
    earliest = []
    for _ in range(5):
        limiter.spend(10.0)
        earliest.append(limiter.at(10.0))
    assert earliest == [10, 10, 10, 10, 11]
    assert limiter.at(20.0) == 20.0


def test_waits_are_jittered_down() -> None:
    tuner = WaitTuner(55.0, 2.0, random.Random(1).random)
    picked = [tuner.pick(0.0) for _ in range(1000)]
    assert 44 <= min(picked) < 44.5
    assert 54.5 < max(picked) <= 55


def test_two_cuts_after_the_same_time_shorten_the_wait_for_ten_minutes() -> None:
    tuner = WaitTuner(55.0, 2.0, lambda: 0.0)
    assert tuner.cut(30.0, 100.0)
    assert tuner.pick(100.0) == 55
    assert tuner.cut(15.0, 200.0)
    assert tuner.pick(200.0) == 55  # two different things
    assert tuner.cut(14.0, 300.0)
    assert tuner.pick(300.0) == pytest.approx(0.8 * 14)
    assert tuner.pick(899.0) == pytest.approx(0.8 * 14)
    assert tuner.pick(901.0) == 55


def test_what_breaks_at_once_is_no_cut() -> None:
    tuner = WaitTuner(55.0, 2.0, lambda: 0.0)
    assert not tuner.cut(0.01, 1.0)
    assert not tuner.cut(2.4, 2.0)
    assert tuner.cut(2.6, 3.0)
    assert tuner.cut(2.6, 4.0)
    assert tuner.pick(5.0) == pytest.approx(2.08)


@pytest.mark.parametrize(
    "bad",
    [
        {"wait": 0},
        {"wait": 601},
        {"shortest_wait": 56},
        {"margin": -1},
        {"throttled": (1, float("inf"))},
        {"denied": (float("nan"), 1)},
        {"burst": 0},
        {"min_interval": 0},
        {"max_polls": 1},
        {"max_pending": 0},
    ],
)
def test_settings_that_would_spin_or_never_end_are_refused(bad: dict[str, object]) -> None:
    with pytest.raises(InvalidRequest):
        PollSettings(**bad)  # type: ignore[arg-type]


def test_a_poll_waits_longer_after_each_failure_up_to_the_cap() -> None:
    longest = Backoff(lambda: 1.0)
    assert [longest.failed(float(i)) for i in range(8)] == [0.5, 1, 2, 4, 8, 16, 30, 30]
    shortest = Backoff(lambda: 0.0)
    assert [shortest.failed(0.0) for _ in range(3)] == pytest.approx([0.2, 0.4, 0.8])


def test_a_poll_that_works_again_halves_the_count() -> None:
    backoff = Backoff(lambda: 1.0)
    for _ in range(4):
        backoff.failed(0.0)
    backoff.worked(1.0)
    assert backoff.failures == 2
    assert backoff.failed(1.0) == 2.0


def test_two_quiet_minutes_clear_the_count() -> None:
    backoff = Backoff(lambda: 1.0)
    for _ in range(6):
        backoff.failed(0.0)
    assert backoff.failed(121.0) == 0.5
    backoff.worked(242.0)
    assert backoff.failures == 0


def test_a_count_without_end_stays_a_wait() -> None:
    backoff = Backoff(lambda: 1.0)
    assert [backoff.failed(0.0) for _ in range(5000)][-1] == 30.0


def test_where_nobody_listens_a_poll_comes_back_soon() -> None:
    backoff = Backoff(lambda: 1.0)
    assert [backoff.failed(float(i), refused=True) for i in range(0, 40, 5)] == [0.5] * 6 + [5.0] * 2
    assert backoff.failed(41.0) == 30.0  # it answers again, and badly: the failures count as ever
