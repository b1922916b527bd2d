"""
W4 to W6, W17 to W22: after any events a watch shows true states, in order, and is current within a poll.

A run is a list of things that happen, in words, to a model of Consul and to one watch of each kind beside each other;
see `support.model`. It fails with the first promise that a watch breaks.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Iterable, Iterator, Sequence

import pytest
from hypothesis import HealthCheck, given, seed, settings, strategies as st
from support.fakes import idle
from support.model import FAULTS, KEYS, KINDS, LATE, SETTINGS, ModelClock, ModelConsul, asked
from support.promises import BrokenPromise, Watched

from aioconsulconnect.watch.poller_pool import PollerPool
from aioconsulconnect.watch.protocol.pacing import held_for
from aioconsulconnect.watch.query import Query

POLL = held_for(SETTINGS.wait) + SETTINGS.margin + LATE
LOOKED_FOR = 20.0  # what is absent is looked for every 15 s at the latest, a quarter more or less

# What can happen, the simple things first: hypothesis shrinks towards them.
STEPS = (
    "wait 0.1",
    "wait 1",
    "wait 5",
    "wait 70",
    "wait 300",
    *(f"write {name}" for name in KEYS),
    *(f"delete {name}" for name in KEYS),
    *(f"delete {name} under the same index" for name in KEYS[:2]),
    "write c and delete a",
    "write a and delete c",
    *(f"hide {name}" for name in KEYS),
    "hide nothing",
    "lose the token",
    "find the token",
    "restore 1",
    "restore 3",
    "refresh",
    "catch up",
    "token changed",
    "late reads",
    "late polls",
    "in time",
    "freeze",
    "thaw",
    "well",
    "new leader without 1",
    "new leader without 2",
    "follower stands",
    "follower replays 1",
    "follower replays 3",
    "follower in step",
    "stream stands",
    "stream goes on",
    "first address down",
    *(f"answer {fault}" for fault in FAULTS),
)

FAULTY = ("answer", "freeze", "first", "late", "new leader")


class Run:
    """One run: a model, a watch of each kind, and what happens to them."""

    def __init__(self, names: Iterable[str], seed: int) -> None:
        self.clock = ModelClock()
        self.consul = ModelConsul(self.clock)
        self.pool = PollerPool(self.consul, settings=SETTINGS, clock=self.clock, random=random.Random(seed).random)
        self.names = tuple(names)
        self.watched: list[Watched] = []

    async def go(self, steps: Sequence[str]) -> None:
        try:
            for name in self.names:
                query = Query(self.consul, self.pool, asked(name), KINDS[name].spec)
                watch = await query.watch(delivery="all").__aenter__()
                self.watched.append(Watched(name, watch, self.consul))
            for step in steps:
                await self.step(step)
                self.check()
            await self.settle(faultless=not any(step.startswith(FAULTY) for step in steps))
        finally:
            for one in self.watched:
                one.leave()
            await self.pool.aclose()
            await asyncio.sleep(0)

    async def step(self, step: str) -> None:
        what, _, rest = step.partition(" ")
        consul = self.consul
        match what:
            case "wait":
                await self.clock.advance(float(rest))
            case "write":
                consul.write(rest[0])
                if len(rest) > 1:
                    consul.delete(rest[-1])
            case "delete":
                consul.delete(rest[0], moves=len(rest) == 1)
            case "hide":
                consul.hide(frozenset(rest) if len(rest) == 1 else frozenset())
            case "lose" | "find":
                consul.lose_token(anonymous=what == "lose")
            case "restore":
                consul.restore(int(rest))
            case "answer" | "well":
                consul.breaks(rest)
            case "first":
                consul.breaks("", down=consul.addresses[0])
            case _:
                self.little(step)
        await idle()

    def little(self, step: str) -> None:
        consul, last = self.consul, len(self.consul.history) - 1
        match step.split():
            case ["refresh"]:
                for one in self.watched:
                    one.refresh()
            case ["catch", "up"]:
                for one in self.watched:
                    one.catch_up()
            case ["token", "changed"]:
                self.pool.token_changed()
            case ["late", kind]:
                consul.late = kind
            case ["in", "time"]:
                consul.late = ""
            case ["freeze" | "thaw" as word]:
                consul.frozen = word == "freeze"
                consul.wake()
            case ["follower", how, *back]:
                consul.follower = None if how == "in" else max(0, last - int(back[0])) if back else last
                consul.wake()
            case ["new", "leader", "without", back]:
                consul.elects(behind=int(back))
            case ["stream", how, *_]:
                consul.view = last if how == "stands" else None
                consul.wake()
            case _:
                raise ValueError(step)

    async def settle(self, *, faultless: bool) -> None:
        """The last change and the last fault are over: within a poll all is right again."""
        self.consul.heal()
        await idle()
        if faultless:
            absent = [one for one in self.watched if one.name == "hash" and not one.shown and one.well]
            await self.clock.advance(LOOKED_FOR)
            self.check_right(absent)
        await self.clock.advance(POLL - (LOOKED_FOR if faultless else 0.0))
        self.check()
        self.check_right(self.watched)

    def check(self) -> None:
        for one in self.watched:
            one.check()

    def check_right(self, watched: Iterable[Watched]) -> None:
        for one in watched:
            truth, status = self.consul.now.seen(one.kind), one.watch.status
            if self.consul.refuses(one.name):
                if status.state != "denied":
                    raise BrokenPromise("says so when it is refused", f"{one.name}: {status.state} {status.error}")
                continue
            if one.shown != truth:
                detail = f"{one.name}: {one.shown}, not {truth} ({status.state} {status.error})"
                raise BrokenPromise("is right within a poll", detail)
            if not one.well:
                raise BrokenPromise("says so when it is right", f"{one.name}: {status.state} {status.error}")


def run(steps: Sequence[str], names: Iterable[str] = tuple(KINDS)) -> None:
    with asyncio.Runner() as runner:
        runner.run(Run(names, len(steps)).go(steps))


@pytest.fixture(scope="module", autouse=True)
def _quiet() -> Iterator[None]:
    """What watches log of a million outages would fill the memory of whoever captures it."""
    logger = logging.getLogger("aioconsulconnect.watch")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    yield
    logger.setLevel(before)


# Faults end as often as they begin, time passes and things are written: else most of a run is one long outage.
ENDS = ("well", "thaw", "in time", "follower in step", "stream goes on")
OFTEN = ("wait 1", "wait 5", "wait 70", "write a", "write c", "delete a", "delete c", "refresh", "late reads")
SCRIPTS = st.lists(st.sampled_from((*STEPS, *ENDS, *OFTEN, *OFTEN)), max_size=16)
QUIET = [HealthCheck.too_slow]
PARTS = 4


@given(steps=SCRIPTS)
@settings(max_examples=200, deadline=None, derandomize=True, database=None, suppress_health_check=QUIET)
def test_watch_after_any_events_shows_true_states_and_is_current_within_a_poll(steps: list[str]) -> None:
    run(steps)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("part", range(PARTS))
def test_twenty_thousand_runs(part: int) -> None:
    @seed(part)
    @given(steps=SCRIPTS)
    @settings(max_examples=20_000 // PARTS, deadline=None, database=None, suppress_health_check=QUIET)
    def check(steps: list[str]) -> None:
        run(steps)

    check()
