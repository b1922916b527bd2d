"""How many connections the polls of a client may have."""

from __future__ import annotations

from hypothesis import given, strategies as st
from support.fakes import (
    FakeClock,
    World,
    always,
    error,
)

from aioconsulconnect.watch.connection_budget import ConnectionBudget


def budget_of(limit: int, taken: int = 0) -> tuple[FakeClock, ConnectionBudget]:
    clock = FakeClock()
    budget = ConnectionBudget(limit, clock, lambda: 0.5)
    for _ in range(taken):
        assert budget.take()
    return clock, budget


def test_an_eighth_is_kept_for_short_reads() -> None:
    _, budget = budget_of(64, taken=56)
    assert (budget.limit, budget.open, budget.used) == (56, 56, 1.0)
    assert not budget.take()
    assert budget.open == 56


def test_a_poll_that_was_given_up_keeps_its_place_until_the_servers_let_go() -> None:
    clock, budget = budget_of(64, taken=56)
    budget.give(clock.now() + 5)
    assert (budget.open, budget.zombies, budget.used) == (55, 1, 1.0)
    assert not budget.take()
    clock.jump(44.9)  # a frozen server holds it for 40 s more
    assert not budget.take()
    clock.jump(0.2)
    assert budget.zombies == 0
    assert budget.take()


def test_a_request_that_nobody_holds_leaves_nothing_behind() -> None:
    _, budget = budget_of(64, taken=1)
    budget.give()
    budget.given_up(None)
    assert (budget.open, budget.zombies, budget.used) == (0, 0, 0.0)


def test_connections_are_scarce_beyond_half_and_zombies_count() -> None:
    clock, budget = budget_of(64, taken=28)
    before = budget.scarce
    budget.given_up(clock.now())
    assert (before, budget.scarce) == (False, True)
    assert budget.used == 29 / 56


def test_pollers_without_a_poll_are_without_a_connection() -> None:
    _, budget = budget_of(64, taken=3)
    budget.pollers = 10
    assert budget.without_connection == 7


def test_a_warning_halves_what_is_in_use() -> None:
    _, budget = budget_of(64, taken=56)
    budget.heed(1)
    assert budget.limit == 24  # half of all 64, an eighth of 64 kept
    _, idle = budget_of(64, taken=4)
    idle.heed(1)
    assert idle.limit == 1  # whoever has few connections is crowded by others: half of 12 is less than one


def test_warnings_that_are_known_already_change_nothing() -> None:
    clock, budget = budget_of(64, taken=56)
    budget.heed(0)
    assert budget.limit == 56
    budget.heed(3)
    clock.jump(31)
    before = budget.limit
    budget.heed(3)
    assert budget.limit == before


def test_many_that_hear_of_it_at_once_halve_it_once() -> None:
    clock, budget = budget_of(64, taken=56)
    for warnings in range(1, 57):
        budget.heed(warnings)
    assert budget.limit == 24
    clock.jump(29)
    budget.heed(57)
    assert budget.limit == 24
    clock.jump(2)
    budget.heed(58)
    assert budget.limit == 8  # half of what was allowed then


def test_a_halved_budget_comes_back_slowly_and_not_to_the_brim() -> None:
    clock, budget = budget_of(64, taken=56)
    budget.heed(1)
    limits = []
    for seconds in (29, 2, 269, 1000, 499, 2):
        clock.jump(seconds)
        limits.append(budget.limit)
    # One in half a minute; three quarters of 64 with the eighth for reads; after half an hour all.
    assert limits == [24, 25, 34, 40, 40, 56]


@given(st.integers(2, 300), st.lists(st.tuples(st.integers(0, 5), st.floats(0, 2000)), max_size=60))
def test_budget_after_any_steps_has_one_connection_and_never_more_than_allowed(
    limit: int, steps: list[tuple[int, float]]
) -> None:
    clock, budget = budget_of(limit)
    warnings = 0
    for what, number in steps:
        match what:
            case 0 | 1:
                for _ in range(int(number) % 40):
                    budget.take()
            case 2 if budget.open:
                budget.give(clock.now() + number if number > 1000 else None)
            case 3:
                warnings += 1
                budget.heed(warnings)
            case _:
                clock.jump(number)
        whole = limit - max(1, limit // 8)
        assert 1 <= budget.limit <= whole
        assert 0 <= budget.open <= whole
        if budget.open + budget.zombies >= budget.limit:
            assert not budget.take()
        assert budget.used >= 0


async def test_too_many_connections_lower_the_budget_and_a_rate_limit_does_not() -> None:
    async with World(a="1") as world, world.query().watch() as watch:
        await watch.ready()
        budget = world.polls.resources.budget
        whole = budget.limit
        world.consul.fault = always(error(429, "rate limit exceeded, try again later or against a different server"))
        world.consul.wake()
        await world.clock.advance(1)
        assert budget.limit == whole == 28
        text = "Your IP is issuing too many concurrent connections, please rate limit your calls"
        world.consul.fault = always(error(429, text))
        await world.clock.advance(181)
        assert budget.limit < whole / 2
