"""`Query`, a read that can be awaited or watched, and `Watch`, what the watcher holds."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Callable
from types import TracebackType
from typing import Generic, Literal, NoReturn, Self, TypeVar

import msgspec

from aioconsulconnect.errors import Closed, NotReady
from aioconsulconnect.transport.request import Request, query_string
from aioconsulconnect.watch.iterators import Changes, Snapshots, States
from aioconsulconnect.watch.poller import Polls
from aioconsulconnect.watch.protocol.snapshot import Snapshot
from aioconsulconnect.watch.protocol.spec import Blocking
from aioconsulconnect.watch.protocol.status import State, Status, Turn
from aioconsulconnect.watch.subscription import Cursor, How, Seat, digest
from aioconsulconnect.watch.wakeup import Bell

T = TypeVar("T")
Item = TypeVar("Item")
Delivery = Literal["latest", "all"]


class Watch(Generic[T, Item]):
    """
    A live read: `async with query.watch() as watch`, then iterate `watch.changes()` or `watch.snapshots()`.

    Entering does no I/O. Failures of Consul do not end a watch, they are states of it; what no waiting can heal is
    raised where one waits. Leaving it, or closing the client, ends all its iterators normally.
    """

    __slots__ = ("__weakref__", "_blocking", "_how", "_polls", "_request", "_seat")

    def __init__(self, polls: Polls, request: Request[T], blocking: Blocking[T, Item], how: How[Item]) -> None:
        self._polls = polls
        self._request = request
        self._blocking = blocking
        self._how = how
        self._seat: Seat[T, Item] | None = None

    async def __aenter__(self) -> Self:
        """Join the poll of this query."""
        if self._seat is not None:
            raise Closed("a watch can be entered once; make another with query.watch()")
        bell = Bell()
        poll = self._polls.join(self._request, self._blocking, bell, every=self._how.every)
        path = self._request.path + query_string(self._request.parameters)
        self._seat = Seat(self._polls, poll, bell, self._how, path)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Leave it."""
        await self.aclose()

    async def aclose(self) -> None:
        """End this watch and its iterators; the poll is not broken off. Twice, and from any task, if need be."""
        if self._seat is not None:
            self._seat.leave()

    # What is there now

    @property
    def current(self) -> T:
        """The last good value; NotReady before there is any."""
        return self._newest().value

    @property
    def status(self) -> Status:
        """How well this watch knows what is true."""
        if self._seat is None:
            return Status(state="starting", since=self._polls.clock.now())
        status = self._seat.poll.status
        return msgspec.structs.replace(status, state="closed") if self._seat.left else status

    @property
    def cursor(self) -> Cursor:
        """
        How far this watch has told its consumer. While nothing was told: the cursor that was given as `since`.

        Without one it is the newest state, for those who read `current` and iterate nothing; NotReady before there is
        data.
        """
        seat = self._seat
        if seat is None:
            raise NotReady("the watch was not entered")
        if seat.told is None and self._how.since is not None:
            return self._how.since
        told = seat.told or self._newest()
        return Cursor(seat.path, digest(told), told.index, seat.poll.address)

    @property
    def resumed(self) -> bool | None:
        """Whether nothing had changed since the cursor that was given; None without one, and before there is data."""
        if self._seat is not None and self._seat.resumed is None and self._seat.poll.snapshot is not None:
            self._seat.resumes(self._seat.poll.snapshot)
        return None if self._seat is None else self._seat.resumed

    def explain(self) -> tuple[Turn, ...]:
        """The last 50 requests and what was made of each: the best part of a bug report."""
        return self._seat.poll.explain() if self._seat else ()

    def __repr__(self) -> str:
        """What it watches, and its state."""
        state = "not entered" if self._seat is None else self.status.state
        return f"<Watch {self._request.method} {self._request.path} {state}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Watch is alive and cannot be pickled; store its cursor")

    # What comes

    def snapshots(self) -> Snapshots[T, Item]:
        """Iterate the whole values: the first at once, then the newest after each change."""
        return Snapshots(self._taken())

    def changes(self) -> Changes[T, Item]:
        """Iterate batches of changes: the first adds all that is there."""
        return Changes(self._taken())

    def states(self) -> States[T, Item]:
        """Iterate the states: the present one, then each that follows; up to 64 are kept for a slow consumer."""
        return States(self._taken())

    async def ready(self, timeout: float | None = None) -> None:  # noqa: ASYNC109
        """Wait for the first data; NotReady when there is none within `timeout` seconds."""
        seat = self._taken()
        try:
            async with asyncio.timeout(timeout):
                while seat.poll.snapshot is None:
                    seat.check_alive()
                    await seat.bell.wait()
        except TimeoutError:
            error = seat.poll.status.error
            raise NotReady(f"no data within {timeout} s" + (f": {error}" if error else "")) from None

    async def until(self, predicate: Callable[[T], bool], timeout: float | None = None) -> T:  # noqa: ASYNC109
        """Wait for a value that fulfils `predicate`, the present one included; TimeoutError after `timeout` seconds."""
        seat = self._taken()
        async with asyncio.timeout(timeout):
            while (snapshot := seat.poll.snapshot) is None or not predicate(snapshot.value):
                seat.check_alive()
                await seat.bell.wait()
            return snapshot.value

    async def wait_for_state(self, *states: State, timeout: float | None = None) -> Status:  # noqa: ASYNC109
        """Wait until it is in one of these states; TimeoutError after `timeout` seconds."""
        seat = self._taken()
        async with asyncio.timeout(timeout):
            while (status := self.status).state not in states:
                seat.check_alive()
                await seat.poll.turned.wait()
            return status

    async def refresh(self) -> None:
        """Read now, beside the poll; when it returns, the watch has what was true when it was called."""
        seat = self._taken()
        seat.check_alive()
        task = seat.poll.refresh()
        await asyncio.wait({task})  # never cancelled with its caller: others may wait for the same read
        if task.cancelled():
            raise Closed("the client was closed")
        if (error := task.result()) is not None:
            raise copy.copy(error) from error

    async def caught_up(self, index: int, timeout: float | None = None) -> None:  # noqa: ASYNC109
        """Wait until the watch has seen Consul's `index` (a ModifyIndex, say): to read what one has written."""
        seat = self._taken()
        async with asyncio.timeout(timeout):
            if seat.poll.machine.reached < index:
                await self.refresh()
            while seat.poll.machine.reached < index:
                seat.check_alive()
                await seat.poll.turned.wait()

    def _taken(self) -> Seat[T, Item]:
        if self._seat is None:
            raise Closed("a watch lives inside `async with`: enter it first")
        if self._seat.left:
            raise Closed("the watch was left")
        return self._seat

    def _newest(self) -> Snapshot[T, Item]:
        snapshot = None if self._seat is None else self._seat.poll.snapshot
        if snapshot is None:
            raise NotReady("there is no data yet; wait for ready()")
        return snapshot


async def all_ready(*watches: Watch[T, Item], timeout: float | None = None) -> None:  # noqa: ASYNC109
    """Wait until each of these watches has data; NotReady when one has none within `timeout` seconds for all."""
    end = None if timeout is None else asyncio.get_running_loop().time() + timeout
    for watch in watches:
        await watch.ready(None if end is None else max(0.0, end - asyncio.get_running_loop().time()))
