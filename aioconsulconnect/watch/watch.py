"""A live read, as its consumer holds it."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Generic, NoReturn, Self, TypeVar

import msgspec

from aioconsulconnect.errors import Closed, NotReady
from aioconsulconnect.transport.request import Request, query_string
from aioconsulconnect.watch.iterators import Changes, Snapshots, States
from aioconsulconnect.watch.poller import Poller
from aioconsulconnect.watch.poller_pool import PollerPool
from aioconsulconnect.watch.protocol.snapshot import Snapshot
from aioconsulconnect.watch.protocol.spec import WatchSpec
from aioconsulconnect.watch.protocol.status import PollRecord, State, Status
from aioconsulconnect.watch.subscription import Cursor, Subscription, WatchOptions, digest

T = TypeVar("T")
Item = TypeVar("Item")


class Watch(Generic[T, Item]):
    """
    A live read: `async with query.watch() as watch`, then iterate `watch.changes()` or `watch.snapshots()`.

    Entering does no I/O. Failures of Consul do not end a watch, they are states of it; what no waiting can heal is
    raised where one waits. Leaving it, or closing the client, ends all its iterators normally.
    """

    __slots__ = ("__weakref__", "_options", "_poller", "_pool", "_request", "_spec", "_subscription")

    def __init__(
        self, pool: PollerPool, request: Request[T], spec: WatchSpec[T, Item], options: WatchOptions[Item]
    ) -> None:
        self._pool = pool
        self._request = request
        self._spec = spec
        self._options = options
        self._poller: Poller[T, Item] | None = None
        self._subscription: Subscription[T, Item] | None = None

    async def __aenter__(self) -> Self:
        """Join the poll of this query."""
        if self._subscription is not None:
            raise Closed("a watch can be entered once; make another with query.watch()")
        poller = self._poller = self._pool.poller(self._request, self._spec)
        self._subscription = Subscription(poller.publisher, self._pool.resources, self._options, poller.name)
        poller.allow_age()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Leave it."""
        await self.aclose()

    async def aclose(self) -> None:
        """End this watch and its iterators; the poll is not broken off. Twice, and from any task, if need be."""
        if self._subscription is not None:
            self._subscription.leave()

    # What is there now

    @property
    def current(self) -> T:
        """The last good value; NotReady before there is any."""
        return self._newest().value

    @property
    def status(self) -> Status:
        """How well this watch knows what is true."""
        if self._poller is None or self._subscription is None:
            return Status(state="starting", since=self._pool.clock.now())
        status = self._poller.status
        return msgspec.structs.replace(status, state="closed") if self._subscription.left else status

    @property
    def cursor(self) -> Cursor:
        """
        How far this watch has told its consumer. While nothing was told: the cursor that was given as `since`.

        Without one it is the newest state, for those who read `current` and iterate nothing; NotReady before there is
        data.
        """
        subscription = self._subscription
        if self._poller is None or subscription is None:
            raise NotReady("the watch was not entered")
        if subscription.delivered is None and self._options.since is not None:
            return self._options.since
        delivered = subscription.delivered or self._newest()
        return Cursor(subscription.query, digest(delivered), delivered.index, self._poller.status.address)

    @property
    def resumed(self) -> bool | None:
        """Whether nothing had changed since the cursor that was given; None without one, and before there is data."""
        subscription = self._subscription
        if subscription is None:
            return None
        snapshot = subscription.publisher.snapshot
        if subscription.resumed is None and snapshot is not None:
            subscription.resumes(snapshot)
        return subscription.resumed

    def explain(self) -> tuple[PollRecord, ...]:
        """The last 50 requests and what was made of each: the best part of a bug report."""
        return () if self._poller is None else self._poller.poll_log

    def __repr__(self) -> str:
        """What it watches, and its state."""
        state = "not entered" if self._subscription is None else self.status.state
        query = self._request.path + query_string(self._request.parameters)
        return f"<Watch {self._request.method} {query} {state}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Watch is alive and cannot be pickled; store its cursor")

    # What comes

    def snapshots(self) -> Snapshots[T, Item]:
        """Iterate the whole values: the first at once, then the newest after each change."""
        return Snapshots(self._joined())

    def changes(self) -> Changes[T, Item]:
        """Iterate batches of changes: the first adds all that is there."""
        return Changes(self._joined())

    def states(self) -> States[T, Item]:
        """Iterate the states: the present one, then each that follows; up to 64 are kept for a slow consumer."""
        return States(self._joined())

    async def ready(self, timeout: float | None = None) -> None:  # noqa: ASYNC109
        """Wait for the first data; NotReady when there is none within `timeout` seconds, with the reason."""
        subscription = self._joined()
        async with self._within(timeout, "no data"):
            while subscription.publisher.snapshot is None:
                subscription.check_alive()
                await subscription.wakeup.wait()

    async def until(self, predicate: Callable[[T], bool], timeout: float | None = None) -> T:  # noqa: ASYNC109
        """Wait for a value that fulfils `predicate`, the present one included; NotReady after `timeout` seconds."""
        subscription = self._joined()
        async with self._within(timeout, "no such value"):
            while (snapshot := subscription.publisher.snapshot) is None or not predicate(snapshot.value):
                subscription.check_alive()
                await subscription.wakeup.wait()
            return snapshot.value

    async def wait_for_state(self, *states: State, timeout: float | None = None) -> Status:  # noqa: ASYNC109
        """Wait until it is in one of these states; NotReady after `timeout` seconds."""
        subscription = self._joined()
        async with self._within(timeout, f"not {' or '.join(states)}"):
            while (status := self.status).state not in states:
                subscription.check_alive()
                await subscription.publisher.progress.wait()
            return status

    async def refresh(self) -> None:
        """Read now, beside the poll; when it returns, the watch has what was true when it was called."""
        self._joined().check_alive()
        task = self._polled().refresh()
        await asyncio.wait({task})  # never cancelled with its caller: others may wait for the same read
        if task.cancelled():
            raise Closed("the client was closed")
        if (error := task.result()) is not None:
            raise copy.copy(error) from error

    async def caught_up(self, index: int, timeout: float | None = None) -> None:  # noqa: ASYNC109
        """Wait until the watch has seen Consul's `index` (a ModifyIndex, say): to read what one has written."""
        subscription, poller = self._joined(), self._polled()
        async with self._within(timeout, f"index {index} not reached"):
            if poller.last_index < index:
                await self.refresh()
            while poller.last_index < index:
                subscription.check_alive()
                await subscription.publisher.progress.wait()

    @asynccontextmanager
    async def _within(self, timeout: float | None, what: str) -> AsyncGenerator[None]:  # noqa: ASYNC109
        """Raise NotReady, with what keeps the watch from it, where it takes longer than `timeout` seconds."""
        limit = asyncio.timeout(timeout)
        try:
            async with limit:
                yield
        except TimeoutError:
            if not limit.expired():
                raise
            status, path = self.status, self._request.path
            why = f": {status.error}" if status.error else ""
            message = f"{what} within {timeout:g} s; the watch is {status.state}{why}"
            raise NotReady(message, method=self._request.method, path=path, address=status.address) from None

    def _joined(self) -> Subscription[T, Item]:
        if self._subscription is None:
            raise Closed("a watch lives inside `async with`: enter it first")
        if self._subscription.left:
            raise Closed("the watch was left")
        return self._subscription

    def _polled(self) -> Poller[T, Item]:
        if self._poller is None:
            raise Closed("a watch lives inside `async with`: enter it first")
        return self._poller

    def _newest(self) -> Snapshot[T, Item]:
        snapshot = None if self._subscription is None else self._subscription.publisher.snapshot
        if snapshot is None:
            raise NotReady("there is no data yet; wait for ready()")
        return snapshot


async def all_ready(*watches: Watch[T, Item], timeout: float | None = None) -> None:  # noqa: ASYNC109
    """Wait until each of these watches has data; NotReady when one has none within `timeout` seconds for all."""
    end = None if timeout is None else asyncio.get_running_loop().time() + timeout
    for watch in watches:
        await watch.ready(None if end is None else max(0.0, end - asyncio.get_running_loop().time()))
