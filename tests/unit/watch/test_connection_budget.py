"""How many connections the polls of a client may have."""

from __future__ import annotations

from support.fakes import (
    FakeClock,
    World,
    always,
    error,
)

from aioconsulconnect.watch.connection_budget import ConnectionBudget


async def test_a_budget_is_lowered_and_comes_back_one_by_one() -> None:
    clock = FakeClock()
    budget = ConnectionBudget(64, clock)
    assert budget.limit == 56
    taken = 0
    while budget.take():
        taken += 1
    assert (taken, budget.open) == (56, 56)
    for _ in range(taken):  # each of them hears of it
        budget.lower()
    limits = [budget.limit]
    for seconds in (100, 1000):
        clock.jump(seconds)
        limits.append(budget.limit)
    assert limits == [24, 34, 56]
    budget.give(clock.now() + 5)
    assert (budget.open, budget.zombies) == (55, 1)
    assert not budget.take()
    clock.jump(46)
    assert budget.take()


async def test_too_many_connections_lower_the_budget_and_a_rate_limit_does_not() -> None:
    async with World(a="1") as world, world.query().watch() as watch:
        await watch.ready()
        world.consul.fault = always(error(429, "rate limit exceeded, try again later or against a different server"))
        world.consul.wake()
        await world.clock.advance(1)
        assert world.polls.resources.budget.limit == 56
        text = "Your IP is issuing too many concurrent connections, please rate limit your calls"
        world.consul.fault = always(error(429, text))
        await world.clock.advance(181)
        assert world.polls.resources.budget.limit < 40
