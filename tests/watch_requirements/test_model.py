"""
W4 to W6, W17 to W22: whatever happens, a watch shows what was true, in order, and is right within a poll.

A run is a list of things that happen, in words, to a model of Consul and to one watch of each kind beside each other;
see `support.model`. It fails with the first promise that a watch breaks.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given, seed, settings, strategies as st
from support.fakes import Thing, Things, idle
from support.model import FAULTS, KEYS, KINDS, LATE, SETTINGS, ModelClock, ModelConsul, State, asked

from aioconsulconnect.errors import ConsulError
from aioconsulconnect.watch.changes import Batch, Removed
from aioconsulconnect.watch.poller_pool import PollerPool
from aioconsulconnect.watch.protocol.pacing import held_for
from aioconsulconnect.watch.query import Query
from aioconsulconnect.watch.watch import Watch

POLL = held_for(SETTINGS.wait) + SETTINGS.margin + LATE
LOOKED_FOR = 20.0  # what is absent is looked for every 15 s at the latest, a quarter more or less
WELL = {"synced", "absent", "polling"}

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
    *(f"hide {name}" for name in KEYS[:2]),
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
    "follower stands",
    "follower replays 1",
    "follower replays 3",
    "follower in step",
    "stream stands",
    "stream goes on",
    "first address down",
    *(f"answer {fault}" for fault in FAULTS),
)

FAULTY = ("answer", "freeze", "first", "late")


class BrokenPromise(AssertionError):
    """What a watch did that it must never do; `promise` names it."""

    def __init__(self, promise: str, detail: str) -> None:
        super().__init__(f"{promise}: {detail}")
        self.promise = promise


class Watched:
    """A watch, and all that it promises."""

    def __init__(self, name: str, watch: Watch[Things, Thing], consul: ModelConsul) -> None:
        self.name = name
        self.kind = KINDS[name]
        self.watch = watch
        self.shown: State | None = None
        self.broken: BrokenPromise | None = None
        self.calls: set[asyncio.Task[None]] = set()
        self._consul = consul
        self._place = 0  # in the history: what is shown was not yet over there
        self._true_at = 0.0
        self._looked = 0
        self._consumer = asyncio.create_task(self._consume(watch.changes()))

    # What it shows.

    async def _consume(self, changes: Any) -> None:
        try:
            async for batch in changes:
                self._tell(batch)
        except ConsulError as error:
            self._break("never ends", repr(error))
        except BrokenPromise as broken:
            self.broken = self.broken or broken

    def _tell(self, batch: Batch[Thing]) -> None:
        shown = dict(self.shown or {})
        for change in batch:
            if isinstance(change, Removed):
                self._check_removal(batch, change.old)
                del shown[change.old.name]
            else:
                shown[change.new.name] = change.new.value
        self.shown = shown
        history, first = self._consul.history, self._place if self.kind.in_step else 0
        place = next((i for i in range(first, len(history)) if history[i].seen(self.kind) == shown), None)
        if place is None:
            before = any(truth.seen(self.kind) == shown for truth in history)
            promise = "never steps back" if before else "shows what was true"
            self._break(promise, f"{shown} at {self._consul.clock.now()}")
        else:
            self._place = place

    def _check_removal(self, batch: Batch[Thing], old: Thing) -> None:
        """It was gone, or at least invisible, after it first was as it was shown last."""
        name, history = old.name, self._consul.history
        began = next((i for i, truth in enumerate(history) if truth.items.get(name) == old.value), 0)
        since = history[began:]
        if all(name in truth.seen(self.kind) for truth in since):
            self._break("removes nothing that is there", name)
        flagged = batch.filtered or batch.anonymous or self.kind.spec.source == "streaming"  # which never says it
        if not flagged and all(name in truth.items for truth in since):
            self._break("says that a removal may be a lost right", name)

    def _break(self, promise: str, detail: str) -> None:
        self.broken = self.broken or BrokenPromise(promise, f"{self.name}: {detail}")

    # What it says.

    def check(self) -> None:
        """Look at all that can be seen from outside, whenever nothing moves."""
        now, history = self._consul.clock.now(), self._consul.history
        if self.shown is not None:
            current = {thing.name: thing.value for thing in self.watch.current}
            if current != self.shown:
                self._break("tells every change", f"{current} after {self.shown}")
            for i in range(self._looked, len(history)):  # each was true until the next began
                if history[i].seen(self.kind) == self.shown:
                    self._true_at = now if i + 1 == len(history) else max(self._true_at, history[i + 1].time)
            status = self.watch.status
            wrong = now - self._true_at
            if self.well and status.age is not None and status.age + LATE + 0.1 < wrong:
                self._break("knows its age", f"{status.state}, {status.age} s, but wrong for {wrong} s")
        if self.broken is not None:
            raise self.broken

    @property
    def well(self) -> bool:
        return self.watch.status.state in WELL

    def newest_truth(self) -> int:
        """The last place in the history that is as it shows; -1 for none."""
        history = self._consul.history
        return next((i for i in reversed(range(len(history))) if history[i].seen(self.kind) == self.shown), -1)

    # What its holder does.

    def refresh(self) -> None:
        self._call(self._refresh())

    def catch_up(self) -> None:
        if self.kind.spec.cursor_kind == "index":
            self._call(self._catch_up())

    def _call(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self.calls.add(task)
        task.add_done_callback(self.calls.discard)

    async def _refresh(self) -> None:
        place, lies = len(self._consul.history) - 1, self._consul.lies
        try:
            await self.watch.refresh()
        except ConsulError:
            return
        await asyncio.sleep(0)  # its consumer is told first
        await asyncio.sleep(0)
        self._has(place, lies, "a refresh brings what was true")

    async def _catch_up(self) -> None:
        history = self._consul.history
        now, lies = history[-1], self._consul.lies
        place = next(i for i, one in enumerate(history) if (one.index, one.epoch) == (now.index, now.epoch))
        try:
            await self.watch.caught_up(now.index)
        except ConsulError:
            return
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        if history[-1].epoch == 0:  # after a restore an index says nothing of what one has written
            self._has(place, lies, "caught up with a write means that it is there")

    def _has(self, place: int, lies: int, promise: str) -> None:
        if not self.kind.in_step:
            return  # the next answer of a follower, or of a view, may be older again
        if self._consul.lies == lies and self.well and self.newest_truth() < place:
            self._break(promise, f"{self.shown}, not {self._consul.history[place].seen(self.kind)}")

    def leave(self) -> None:
        for task in (self._consumer, *self.calls):
            task.cancel()


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
                consul.write(rest)
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
def test_whatever_happens_watches_show_what_was_true_and_are_right_within_a_poll(steps: list[str]) -> None:
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
