"""A watch: the live read of a query, for one consumer."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Generic, NoReturn, Protocol, Self, TypeVar

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
    A live read: enter it with `async with query.watch() as watch`, then iterate its changes or values.

    `watch.changes()` gives batches of changes, `watch.snapshots()` whole values. Entering does no I/O. Failures of
    Consul do not end a watch, they are states of it; an error that no waiting can heal is raised where the consumer
    waits. Leaving the watch, or closing the client, ends all its iterators normally.

    `Query.watch` makes it, from:

    - `pool`: pollers of the client.
    - `request`: the read.
    - `spec`: how it blocks, and what in its value can change.
    - `options`: options of the consumer.
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
        """Join the poll of this query, and return the watch; Closed if it was entered before."""
        if self._subscription is not None:
            raise Closed("a watch can be entered once; make another with query.watch()")
        poller = self._poller = self._pool.poller(self._request, self._spec)
        self._subscription = Subscription(poller.publisher, self._pool.resources, self._options, poller.name)
        poller.allow_age()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Leave the watch, as `aclose` does."""
        await self.aclose()

    async def aclose(self) -> None:
        """
        End this watch and its iterators.

        The poll, which others may share, is not broken off. It may be called from any task, and twice. Raises Closed in
        another event loop than the client's.
        """
        if self._subscription is not None and not self._subscription.left:
            self._subscription.check_loop()
            self._subscription.leave()

    # The present data

    @property
    def current(self) -> T:
        """The last good value; NotReady before there is one."""
        return self._newest().value

    @property
    def newest(self) -> Snapshot[T, Item] | None:
        """The newest good state, with its items and the bytes of the answer; None before there is one."""
        return None if self._subscription is None else self._subscription.publisher.snapshot

    @property
    def body(self) -> bytes | None:
        """
        Bytes of the last answer that was accepted; None before there is one.

        They differ from those of `newest` where nothing changed but what this library does not know.
        """
        return None if self._poller is None else self._poller.body

    @property
    def status(self) -> Status:
        """
        The status of the watch: its state, the age of its data, and the failure that it has, if any.

        Before the watch is entered the state is `starting`.
        """
        if self._poller is None or self._subscription is None:
            return Status(state="starting", since=self._pool.clock.now())
        status = self._poller.status
        return msgspec.structs.replace(status, state="closed") if self._subscription.left else status

    @property
    def cursor(self) -> Cursor:
        """
        The cursor for `watch(since=…)`: how far this watch has told its consumer.

        While nothing was delivered it is the cursor that was given as `since`; without one, that of the newest state,
        for consumers that read `current` and iterate nothing. Raises NotReady before there is data.
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
        """
        True if nothing had changed since the cursor that was given as `since`, False if something had.

        None without a cursor, and before there is data.
        """
        subscription = self._subscription
        if subscription is None:
            return None
        snapshot = subscription.publisher.snapshot
        if subscription.resumed is None and snapshot is not None:
            subscription.resumes(snapshot)
        return subscription.resumed

    def explain(self) -> tuple[PollRecord, ...]:
        """Return the last 50 requests and what was made of each, for logs and bug reports; no secret is in it."""
        return () if self._poller is None else self._poller.poll_log

    def __repr__(self) -> str:
        """Show the query, and the state of the watch."""
        state = "not entered" if self._subscription is None else self.status.state
        query = self._request.path + query_string(self._request.parameters)
        return f"<Watch {self._request.method} {query} {state}>"

    def __reduce__(self) -> NoReturn:
        """Raise TypeError: a watch is bound to its client."""
        raise TypeError("a Watch is alive and cannot be pickled; store its cursor")

    # Iterating and waiting

    def snapshots(self) -> Snapshots[T, Item]:
        """
        Return an iterator over whole values: the first at once, then the newest after each change.

        Raises Closed before the watch was entered, and after it was left.
        """
        return Snapshots(self._joined())

    def changes(self) -> Changes[T, Item]:
        """
        Return an iterator over batches of changes: the first adds everything that is there.

        Raises Closed before the watch was entered, and after it was left.
        """
        return Changes(self._joined())

    def states(self) -> States[T, Item]:
        """
        Return an iterator over statuses: the present one, then that after each change of state.

        Up to 64 are kept for a slow consumer. Raises Closed before the watch was entered, and after it was left.
        """
        return States(self._joined())

    async def ready(self, timeout: float | None = None) -> None:  # noqa: ASYNC109
        """
        Wait for the first data.

        `timeout` is in seconds, None for no limit. Raises NotReady, with the reason, when there is no data by then,
        Closed when the watch or the client is closed, and the error that ended the watch, if one did.
        """
        subscription = self._joined()
        async with self._within(timeout, "no data"):
            while subscription.publisher.snapshot is None:
                subscription.check_alive()
                await subscription.wakeup.wait()

    async def until(self, predicate: Callable[[T], bool], timeout: float | None = None) -> T:  # noqa: ASYNC109
        """
        Wait for a value for which `predicate` is true, and return it; the present value counts too.

        `timeout` is in seconds, None for no limit. Raises NotReady when there is no such value by then; else as `ready`
        does.
        """
        subscription = self._joined()
        async with self._within(timeout, "no such value"):
            while (snapshot := subscription.publisher.snapshot) is None or not predicate(snapshot.value):
                subscription.check_alive()
                await subscription.wakeup.wait()
            return snapshot.value

    async def wait_for_state(self, *states: State, timeout: float | None = None) -> Status:  # noqa: ASYNC109
        """
        Wait until the watch is in one of `states`, and return its status.

        `timeout` is in seconds, None for no limit. Raises NotReady when it is in none by then; else as `ready` does.
        """
        subscription = self._joined()
        async with self._within(timeout, f"not {' or '.join(states)}"):
            while (status := self.status).state not in states:
                subscription.check_alive()
                await subscription.publisher.progress.wait()
            return status

    async def answered(self) -> None:
        """
        Wait until a request is answered or fails, or the state changes.

        The data need not be other than before. Raises Closed when the watch or the client is closed, and the error that
        ended the watch, if one did.
        """
        subscription = self._joined()
        subscription.check_alive()
        await subscription.publisher.progress.wait()

    async def refresh(self) -> None:
        """
        Read now, beside the poll; on return the watch has data at least as new as this call.

        Raises the ConsulError of that read, and Closed when the watch or the client is closed.
        """
        self._joined().check_alive()
        task = self._polled().refresh()
        await asyncio.wait({task})  # not cancelled with its caller: others may wait for the same read
        if task.cancelled():
            raise Closed("the client was closed")
        if (error := task.result()) is not None:
            raise copy.copy(error) from error

    async def caught_up(self, index: int, timeout: float | None = None) -> None:  # noqa: ASYNC109
        """
        Wait until the watch has seen Consul's `index`, such as the ModifyIndex of something just written.

        `timeout` is in seconds, None for no limit. Raises NotReady when the index was not reached by then; else as
        `refresh` and `ready` do.
        """
        subscription, poller = self._joined(), self._polled()
        async with self._within(timeout, f"index {index} not reached"):
            if poller.last_index < index:
                await self.refresh()
            while poller.last_index < index:
                subscription.check_alive()
                await subscription.publisher.progress.wait()

    @asynccontextmanager
    async def _within(self, timeout: float | None, what: str) -> AsyncGenerator[None]:  # noqa: ASYNC109
        """Raise NotReady, with what holds the watch up, if the block takes longer than `timeout` seconds."""
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
        snapshot = self.newest
        if snapshot is None:
            raise NotReady("there is no data yet; wait for ready()")
        return snapshot


class Ready(Protocol):
    """A watch of any type, seen by whoever waits for its first data."""

    async def ready(self, timeout: float | None = None) -> None:  # noqa: ASYNC109
        """Wait for the first data, for `timeout` seconds at most."""


async def all_ready(*watches: Ready, timeout: float | None = None) -> None:  # noqa: ASYNC109
    """
    Wait until each of these `watches` has data.

    `timeout` is in seconds, for all together; None for no limit. Raises NotReady when one has none by then; else as
    `Watch.ready` does.
    """
    end = None if timeout is None else asyncio.get_running_loop().time() + timeout
    for watch in watches:
        await watch.ready(None if end is None else max(0.0, end - asyncio.get_running_loop().time()))
