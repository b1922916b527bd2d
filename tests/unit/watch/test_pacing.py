"""How often a poll asks, for how long, and how long it waits after a failure."""

from __future__ import annotations

import itertools
import random

import pytest
from hypothesis import given, strategies as st

from aioconsulconnect.errors import InvalidRequest
from aioconsulconnect.watch.protocol.pacing import (
    Backoff,
    RateLimiter,
    WaitTuner,
    absent_interval,
    after_cost,
    denied_pause,
    held_for,
    longest_wait,
    over_budget_interval,
    poll_deadline,
    probe_pause,
    slower_interval,
    spread,
    throttled_pause,
    verify_interval,
)
from aioconsulconnect.watch.protocol.poll_settings import PollSettings

SETTINGS = PollSettings()
Delays = st.lists(st.tuples(st.floats(0, 3), st.booleans()), min_size=1, max_size=150)
Chance = st.floats(0, 1, exclude_max=True)


def turns(limiter: RateLimiter, delays: list[tuple[float, bool]]) -> list[tuple[float, bool]]:
    """When each turn began, and whether it brought news: each takes so long, and the next begins as soon as it may."""
    now, began = 100.0, []
    for took, news in delays:
        limiter.sent(now)
        began.append((now, news))
        now = limiter.next_turn(now + took, news=news)
    return began


def most_in_any_stretch(times: list[float], size: float, rate: float) -> bool:
    pairs = itertools.combinations(range(len(times)), 2)
    return all(last - first + 1 <= 1 + size + rate * (times[last] - times[first]) + 1e-6 for first, last in pairs)


@given(Delays)
def test_news_is_followed_in_a_burst_and_then_at_the_rate(delays: list[tuple[float, bool]]) -> None:
    began = turns(RateLimiter(10, 2.0, 0.05), delays)
    assert most_in_any_stretch([time for time, news in began if news], 10, 2.0)


@given(Delays)
def test_rate_limiter_without_news_allows_five_turns_and_then_one_a_second(delays: list[tuple[float, bool]]) -> None:
    began = turns(RateLimiter(10, 2.0, 0.05), delays)
    assert most_in_any_stretch([time for time, news in began if not news], 5, 1.0)


@given(st.integers(1, 200), Delays)
def test_the_next_turn_never_begins_before_the_last_has_ended(burst: int, delays: list[tuple[float, bool]]) -> None:
    limiter, now = RateLimiter(burst, 2.0, 0.05), 100.0
    for took, news in delays:
        limiter.sent(now)
        at = limiter.next_turn(now + took, news=news)
        assert at >= now + took
        now = at


def test_news_is_followed_at_once_then_spaced_then_at_the_rate() -> None:
    limiter, now, gaps = RateLimiter(10, 2.0, 0.05), 100.0, []
    for _ in range(14):
        limiter.sent(now)
        at = limiter.next_turn(now, news=True)
        gaps.append(round(at - now, 2))
        now = at
    assert gaps[0] == 0  # four fifths are left after the second
    assert set(gaps[2:9]) == {0.05}
    assert gaps[-1] == pytest.approx(0.5)


def test_the_shortest_time_between_polls_is_from_one_beginning_to_the_next() -> None:
    limiter = RateLimiter(1, 1000.0, 0.05)
    limiter.sent(100.0)
    assert limiter.next_turn(100.0, news=True) == pytest.approx(100.05)
    limiter.sent(200.0)
    assert limiter.next_turn(260.0, news=True) == pytest.approx(260.001)


def test_idle_turns_take_nothing_from_the_burst_of_news() -> None:
    limiter = RateLimiter(100, 2.0, 0.05)
    assert [limiter.next_turn(10.0, news=False) for _ in range(6)] == [10, 10, 10, 10, 11, 12]
    assert limiter.next_turn(10.0, news=True) == 10


def test_rate_limiter_after_a_pause_does_not_delay_the_next_turn() -> None:
    limiter = RateLimiter(10, 2.0, 0.05)
    for _ in range(30):
        limiter.next_turn(10.0, news=True)
    assert limiter.next_turn(10.0, news=True) > 20
    assert limiter.next_turn(60.0, news=True) == 60.0


def test_waits_are_jittered_down() -> None:
    tuner = WaitTuner(55.0, 2.0, random.Random(1).random)
    picked = [tuner.pick(0.0, 55.0) for _ in range(1000)]
    assert 44 <= min(picked) < 44.5
    assert 54.5 < max(picked) <= 55


@given(st.floats(0.1, 600), Chance)
def test_no_poll_waits_longer_than_its_cap(cap: float, chance: float) -> None:
    assert 0.8 * min(cap, 55) <= WaitTuner(55.0, 2.0, lambda: chance).pick(0.0, cap) <= cap


def test_two_cuts_after_the_same_time_shorten_the_wait_for_ten_minutes() -> None:
    tuner = WaitTuner(55.0, 2.0, lambda: 0.0)
    assert tuner.cut(30.0, 100.0)
    assert tuner.pick(100.0, 55.0) == 55
    assert tuner.cut(15.0, 200.0)
    assert tuner.pick(200.0, 55.0) == 55  # two different things
    assert tuner.cut(14.0, 300.0)
    assert tuner.pick(300.0, 55.0) == tuner.limit == pytest.approx(0.8 * 14)
    assert tuner.pick(900.0, 55.0) == pytest.approx(0.8 * 14)
    assert tuner.pick(901.0, 55.0) == tuner.limit == 55


def test_wait_tuner_does_not_take_an_early_break_for_a_cut() -> None:
    tuner = WaitTuner(55.0, 2.0, lambda: 0.0)
    assert not tuner.cut(0.01, 1.0)
    assert not tuner.cut(2.4, 2.0)
    assert tuner.cut(2.6, 3.0)
    assert tuner.cut(2.6, 4.0)
    assert tuner.pick(5.0, 55.0) == pytest.approx(2.08)


@given(st.lists(st.floats(0, 60), max_size=20))
def test_cuts_never_shorten_a_wait_below_the_shortest(cuts: list[float]) -> None:
    tuner = WaitTuner(55.0, 2.0, lambda: 0.0)
    for now, after in enumerate(cuts):
        tuner.cut(after, float(now))
    assert 2.0 <= tuner.limit <= 55


@pytest.mark.parametrize(
    "bad",
    [
        {"wait": 0},
        {"wait": 601},
        {"shortest_wait": 56},
        {"shortest_wait": 0},
        {"margin": -1},
        {"min_interval": -1},
        {"throttled": (1, float("inf"))},
        {"denied": (float("nan"), 1)},
        {"burst": 0},
        {"rate": 0},
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


def test_backoff_of_refused_connection_is_half_a_second_and_then_five() -> None:
    backoff = Backoff(lambda: 1.0)
    assert [backoff.failed(float(i), refused=True) for i in range(0, 40, 5)] == [0.5] * 6 + [5.0] * 2


@pytest.mark.parametrize("refusals", [1, 100])
def test_refusals_are_counted_apart_and_clear_the_count(refusals: int) -> None:
    backoff = Backoff(lambda: 1.0)
    for _ in range(6):
        backoff.failed(0.0)
    for number in range(refusals):
        assert backoff.failed(1.0 + number / 10, refused=True) == 0.5
    assert backoff.failures == 0
    assert [backoff.failed(12.0) for _ in range(2)] == [0.5, 1.0]


@pytest.mark.parametrize("between", ["worked", "failed"])
def test_a_refusal_after_something_else_begins_its_half_minute_anew(between: str) -> None:
    backoff = Backoff(lambda: 1.0)
    backoff.failed(0.0, refused=True)
    assert backoff.failed(31.0, refused=True) == 5.0
    if between == "worked":
        backoff.worked(32.0)
    else:
        backoff.failed(32.0)
    assert backoff.failed(33.0, refused=True) == 0.5


@given(st.lists(st.tuples(st.floats(0, 200), st.booleans()), max_size=50), Chance)
def test_no_failure_is_followed_at_once_or_never(failures: list[tuple[float, bool]], chance: float) -> None:
    backoff, now = Backoff(lambda: chance), 0.0
    for later, refused in failures:
        now += later
        assert 0.2 <= backoff.failed(now, refused=refused) <= 30


def test_a_denial_is_doubled_up_to_a_minute() -> None:
    pauses = [denied_pause(count, SETTINGS, unknown=False) for count in (1, 2, 3, 6, 7, 5000)]
    assert pauses == [1, 2, 4, 32, 60, 60]


def test_an_unknown_token_is_tried_every_second_while_it_spreads() -> None:
    pauses = [denied_pause(count, SETTINGS, unknown=True) for count in (1, 2, 45, 46, 47, 5000)]
    assert pauses == [1, 1, 1, 2, 4, 60]


@given(Chance)
def test_a_throttled_watch_keeps_away_and_one_without_data_is_served(chance: float) -> None:
    assert 60 <= throttled_pause(SETTINGS, lambda: chance, has_data=True) <= 180
    assert 3.75 <= throttled_pause(SETTINGS, lambda: chance, has_data=False) <= 6.25


def test_absent_interval_grows_from_two_to_fifteen_seconds() -> None:
    assert [absent_interval(since, SETTINGS) for since in (0.0, 24, 60, 180, 1e6)] == [2, 2, 5, 15, 15]


def test_reads_without_an_index_get_fewer_until_something_changes() -> None:
    pauses = [slower_interval(None, SETTINGS, changed=False)]
    pauses += [slower_interval(pauses[-1] * 1.0, SETTINGS, changed=False)]
    assert pauses == [5, 7.5]
    assert slower_interval(50.0, SETTINGS, changed=False) == 60
    assert slower_interval(60.0, SETTINGS, changed=True) == 5


def test_all_watches_beyond_the_budget_together_read_fifty_times_a_second() -> None:
    assert [over_budget_interval(count, SETTINGS) for count in (0, 250, 500, 5000)] == [5, 5, 10, 100]


def test_a_poll_is_given_up_after_what_the_server_may_add() -> None:
    assert held_for(16.0) == 17.0
    assert poll_deadline(16.0, SETTINGS) == 27.0


@pytest.mark.parametrize(
    ("max_age", "scarce", "expected"),
    [(None, False, 55), (None, True, 13.75), (10.0, False, 6), (10.0, True, 6), (1000.0, True, 13.75)],
)
def test_a_poll_waits_for_no_longer_than_consumers_and_budget_allow(
    max_age: float | None, scarce: bool, expected: float
) -> None:
    assert longest_wait(SETTINGS, max_age=max_age, scarce=scarce) == pytest.approx(expected)


def test_a_consumer_of_fresh_data_has_it_proved_in_time() -> None:
    assert [verify_interval(SETTINGS, max_age=age) for age in (None, 10.0, 1000.0)] == [60, 6, 60]


def test_agents_are_asked_sooner_where_the_whole_budget_is_used() -> None:
    assert [probe_pause(SETTINGS, used, lambda: 0.0) for used in (0.0, 0.99, 1.0, 2.0)] == [30, 30, 7.5, 7.5]
    assert probe_pause(SETTINGS, 0.0, lambda: 1.0) == 22.5  # never later: a frozen agent is found within 40 s


def test_turn_after_an_expensive_answer_waits_ten_times_its_cost() -> None:
    assert after_cost(0.25, 100.0) == 102.5


@given(st.floats(0, 1e6), Chance)
def test_spread_interval_differs_by_at_most_a_quarter(interval: float, chance: float) -> None:
    assert 0.75 * interval <= spread(interval, lambda: chance) <= 1.25 * interval
