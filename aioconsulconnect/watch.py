"""`Query`, a read that can be awaited or watched, and `Watch`, what the watcher holds."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Callable, Generator
from types import TracebackType
from typing import Generic, Literal, NoReturn, Self, TypeVar

import msgspec

from aioconsulconnect.changes import Ignore, projection
from aioconsulconnect.clock import Bell
from aioconsulconnect.consumer import Changes, Cursor, How, Seat, Snapshots, States, digest
from aioconsulconnect.content import Snapshot
from aioconsulconnect.errors import Closed, InvalidRequest, NotFound, NotReady
from aioconsulconnect.options import Meta
from aioconsulconnect.polls import Polls
from aioconsulconnect.request import Blocking, Reply, Request, Sender, interpret, query_string
from aioconsulconnect.status import State, Status, Turn

T = TypeVar("T")
Item = TypeVar("Item")
Delivery = Literal["latest", "all"]


class Query(Generic[T, Item]):
    """
    A read that can be awaited for its value, or watched.

    `await query` and `query.value()` read once, `query.reply()` with the metadata of the answer. Nothing is kept: doing
    it twice reads twice.
    """

    __slots__ = ("_blocking", "_polls", "_request", "_sender")

    def __init__(self, sender: Sender, polls: Polls, request: Request[T], blocking: Blocking[T, Item]) -> None:
        self._sender = sender
        self._polls = polls
        self._request = request
        self._blocking = blocking

    def __await__(self) -> Generator[object, None, T]:
        """Read it once."""
        return self.value().__await__()

    async def value(self) -> T:
        """The value, read once."""
        try:
            return interpret(self._request, await self._sender.send(self._request))
        except NotFound:
            if self._blocking.absent is None:
                raise
            return self._blocking.absent()

    async def reply(self) -> Reply[T]:
        """The value and the metadata of the answer, read once."""
        try:
            response = await self._sender.send(self._request)
        except NotFound:
            if self._blocking.absent is None:
                raise
            return Reply(self._blocking.absent(), Meta())
        return Reply(interpret(self._request, response), response.meta)

    def watch(
        self,
        *,
        delivery: Delivery = "latest",
        settle: tuple[float, float] | None = None,
        ignore: Ignore[Item] = (),
        since: Cursor | None = None,
    ) -> Watch[T, Item]:
        """
        Watch it: `async with query.watch() as watch`.

        Watches of the same query share one long poll. `delivery` "latest" skips states that a slow consumer missed,
        "all" keeps up to `PollSettings.queue` of them. `settle` (seconds of quiet, seconds at most) holds a change back
        until no other follows. `ignore` names fields of an item that do not count as a change, or is a function that
        gives what counts. `since` is the cursor of an earlier watch: where nothing changed since, nothing is told.
        """
        if delivery not in {"latest", "all"}:
            raise InvalidRequest(f"delivery must be 'latest' or 'all', not {delivery!r}")
        if settle is not None and not 0 <= settle[0] <= settle[1]:
            raise InvalidRequest(f"settle must be (seconds of quiet, seconds at most), not {settle!r}")
        how = How(delivery == "all", settle, projection(ignore), since)
        return Watch(self._polls, self._request, self._blocking, how)

    def __bool__(self) -> bool:
        """Refused: a forgotten await must not be true."""
        raise TypeError("a Query has no truth value; await it")

    def __repr__(self) -> str:
        """What it reads."""
        return f"<Query {self._request.method} {self._request.path}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Query belongs to its client and cannot be pickled")


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
