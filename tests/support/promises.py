"""What a watch promises whatever happens, checked against all that was ever true in a model of Consul."""

from __future__ import annotations

import asyncio
from typing import Any

from support.fakes import Thing, Things
from support.model import ELECTION, KINDS, LATE, ModelConsul, State

from aioconsulconnect.errors import ConsulError
from aioconsulconnect.watch.changes import Batch, Removed
from aioconsulconnect.watch.watch import Watch

WELL = {"synced", "absent", "polling"}


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
        self._consul.served.add(self.name)
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
            late = LATE + (ELECTION if self._consul.elections else 0.0)
            if self.well and status.age is not None and status.age + late + 0.1 < wrong:
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
