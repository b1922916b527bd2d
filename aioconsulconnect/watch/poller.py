"""
One query that is polled, for all who watch it.

`protocol.blocking_query` decides, a `Poller` carries out: one plain asyncio task that asks what to send next, waits,
sends, and hands the answer back; beside it, only while they run, plain reads (a refresh, a verification, a new token).
No consumer ever cancels any of them.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

import msgspec

from aioconsulconnect.clock import breathe
from aioconsulconnect.errors import ConsulError, ErrorReason, RequestTimeout
from aioconsulconnect.transport.request import Parameters, Request
from aioconsulconnect.transport.response import Response
from aioconsulconnect.watch.poller_resources import PollerResources
from aioconsulconnect.watch.protocol.blocking_query import BlockingQuery, NextRequest
from aioconsulconnect.watch.protocol.pacing import held_for, over_budget_interval
from aioconsulconnect.watch.protocol.spec import WatchSpec
from aioconsulconnect.watch.protocol.status import Event, PollRecord, State, Status
from aioconsulconnect.watch.publisher import Publisher
from aioconsulconnect.watch.wakeup import Wakeup

T = TypeVar("T")
Item = TypeVar("Item")
Other = TypeVar("Other")

_log = logging.getLogger("aioconsulconnect.watch")
_TROUBLE = frozenset({"stale", "denied", "throttled"})
_BIG = 2**18  # bytes of an answer whose decoding and comparing are too much for one step of the loop


class Poller(Generic[T, Item]):
    """Polls one query, for all watches with the same `key`; what comes of it is in `publisher`."""

    def __init__(
        self, resources: PollerResources, request: Request[T], spec: WatchSpec[T, Item], key: Hashable
    ) -> None:
        self.key: Hashable = key
        self._request = request
        self._spec = spec
        self._resources = resources
        self._query = BlockingQuery(request, spec, resources.settings, resources.random, resources.clock.now())
        verify_with = None if spec.verify_with is None else self._alike(spec.verify_with)
        same = verify_with is not None and verify_with.decode == request.decode
        self._other_verification = None if same else verify_with
        self._plain = verify_with if verify_with is not None and same else plain(request)
        self._wake = Wakeup()
        self._refreshing: asyncio.Task[ConsulError | None] | None = None
        self._verifying: asyncio.Task[ConsulError | None] | None = None
        self.publisher: Publisher[T, Item] = Publisher(
            self._query.counters, resources.settings.max_pending, self._query.status(resources.clock.now())
        )

    @property
    def address(self) -> str:
        """The agent in use: another one after each failure that another agent may not have."""
        addresses = self._resources.sender.addresses
        return addresses[self._query.failover_count % len(addresses)]

    @property
    def last_index(self) -> int:
        """The index of the last good answer."""
        return self._query.last_index

    @property
    def poll_log(self) -> tuple[PollRecord, ...]:
        """The last requests."""
        return tuple(self._query.poll_log)

    @property
    def status(self) -> Status:
        """What this poll knows about itself."""
        status = self._query.status(self._resources.clock.now())
        return msgspec.structs.replace(
            status,
            state="closed" if self.publisher.over else status.state,
            address=self.address,
            consumers=self.publisher.consumers,
            zombies=self._resources.budget.zombies,
        )

    def delay(self, seconds: float) -> None:
        """Put the first request off: many pollers start at once."""
        self._query.delay(seconds)

    def refresh(self) -> asyncio.Task[ConsulError | None]:
        """Make a plain read that is sent after this call; many callers share one."""
        if self._refreshing is None:
            self._refreshing = self._resources.spawn(self._guarded(self._read_beside), self._request.path)
        return self._refreshing

    def renew(self) -> None:
        """Read at once: the client's token has changed, and nothing that was asked with the old one is believed."""
        if self._request.options.token is None:
            if self._query.invalidate(self._resources.clock.now()):
                self.refresh()
            self._wake.wake_all()

    # The loop

    async def run(self) -> None:
        """Poll until nobody wants it any more, or for ever."""
        try:
            await self._guarded(self._loop)
        finally:
            self.finish()

    def finish(self) -> None:
        """Tell everyone that nothing is to come."""
        publisher = self.publisher
        if publisher.over:
            return
        publisher.over = True
        if self._verifying is not None:
            self._verifying.cancel()
        self._wake.wake_all()
        publisher.close(self._changed_state("closed"))

    async def _guarded(self, work: Callable[[], Awaitable[ConsulError | None]]) -> ConsulError | None:
        """Do a part of this poll's work; a bug in it ends the watches of this query, and no others."""
        try:
            return await work()
        except Exception as bug:  # noqa: BLE001 - whatever it is
            _log.exception("%s: the poll ended by a bug", self._request.path)
            end = ConsulError("a bug in the library ended this watch", path=self._request.path)
            end.__cause__ = bug
            self.publisher.end = end
            self.finish()
            return end

    async def _loop(self) -> ConsulError | None:
        while self._query.end is None and not self.publisher.over and not self._unwanted():
            await self._step()
        self.publisher.end = self.publisher.end or self._query.end
        return self.publisher.end

    def _unwanted(self) -> bool:
        idle = self._resources.clock.now() - self.publisher.idle_since
        return not self.publisher.consumers and idle >= self._resources.settings.idle_timeout

    async def _step(self) -> None:
        clock, budget, settings = self._resources.clock, self._resources.budget, self._resources.settings
        now = clock.now()
        following = self._query.next_request(now)
        if following.at > now:
            seconds = following.at - now
            await self._wake.wait(clock, seconds if self.publisher.consumers else min(seconds, settings.idle_timeout))
        elif following.kind != "poll":
            async with budget.reads:
                budget.given_up(await self._send(following))
        elif budget.take():
            held_until = None
            try:
                held_until = await self._send(following)
            finally:
                budget.give(held_until)
        else:
            self._query.on_over_budget(now, over_budget_interval(budget.without_connection, settings))
            self._publish()

    async def _send(self, following: NextRequest) -> float | None:
        """Carry one request; where it was given up, until when the servers should have held it."""
        clock = self._resources.clock
        sent = clock.now()
        self._query.start(following, sent)
        if following.kind == "list" and (index_from := self._spec.index_from) is not None:
            answer = await self._attempt(self._alike(index_from), following.deadline)
        else:
            request = self._plain if following.plain else self._request
            answer = await self._attempt(request, following.deadline, following.extra)
        if isinstance(answer, Response):
            if len(answer.body) > _BIG:
                for _ in self._query.prepare(following, answer):
                    await breathe()
            if answer.error is not None and answer.error.reason is ErrorReason.TOO_MANY_CONNECTIONS:
                self._resources.budget.lower()
        self._query.receive(following, sent, clock.now(), answer)
        self._publish()
        given_up = isinstance(answer, RequestTimeout) and self._spec.source == "servers"
        return sent + held_for(following.wait) if given_up else None

    async def _attempt(
        self, request: Request[Other], deadline: float, extra: Parameters = ()
    ) -> Response | ConsulError:
        try:
            return await self._resources.sender.attempt(request, extra=extra, deadline=deadline, address=self.address)
        except ConsulError as error:
            return error
        except Exception as error:  # noqa: BLE001 - the caller's token function, say: a failure like others
            failed = ConsulError(f"the request could not be made: {type(error).__name__}", path=self._request.path)
            failed.__cause__ = error
            return failed

    # Beside the loop

    async def _read_beside(self) -> ConsulError | None:
        """Make a plain read."""
        resources = self._resources
        async with resources.budget.reads:
            self._refreshing = None  # who comes from here on needs another
            sent = resources.clock.now()
            answer = await self._attempt(self._plain, resources.settings.read_timeout)
        return self._receive_beside(sent, answer, same=True)

    async def _verify(self) -> ConsulError | None:
        """Prove, as long as the answers of the loop prove nothing, that the servers are there and say the same."""
        clock = self._resources.clock
        while (due := self._query.verify_by) is not None:
            if (seconds := due - clock.now()) > 0:
                await clock.sleep(seconds)
            elif self._other_verification is None:
                await asyncio.wait({self.refresh()})  # not cancelled with this: others may wait for it
            else:
                async with self._resources.budget.reads:
                    sent = clock.now()
                    answer = await self._attempt(self._other_verification, self._resources.settings.read_timeout)
                self._receive_beside(sent, answer, same=False)
        self._verifying = None
        return None

    def _receive_beside(self, sent: float, answer: Response | ConsulError, *, same: bool) -> ConsulError | None:
        error = self._query.receive_beside(sent, self._resources.clock.now(), answer, same=same)
        self._publish()
        self._wake.wake_all()
        return error

    def _alike(self, other: Request[Other]) -> Request[Other]:
        """Another read with the options of this one."""
        return msgspec.structs.replace(other, options=plain(self._request).options)

    # What others learn

    def _publish(self) -> None:
        """Make known what the last request has brought."""
        publisher, query = self.publisher, self._query
        if publisher.over:
            return
        verify = self._verifying is None and query.verify_by is not None
        publisher.publish(query.snapshot)
        if query.state != publisher.states[-1][1].state:
            publisher.publish_state(self._changed_state(query.state))
        if verify:
            self._verifying = self._resources.spawn(self._guarded(self._verify), self._request.path)
        if self._resources.listening and query.poll_log:
            record = query.poll_log[-1]
            path = self._request.path
            self._resources.report(Event(kind="poll", path=path, verdict=record.verdict, took=record.took))
        publisher.progress.wake_all()

    def _changed_state(self, state: State) -> Status:
        """Log and report that the watch is in another state."""
        old, status = self.publisher.states[-1][1].state, self.status
        level = logging.WARNING if {old, state} & _TROUBLE and state != "closed" else logging.INFO
        _log.log(level, "%s: %s -> %s %s", self._request.path, old, state, status.error)
        self._resources.report(Event(kind="state", path=self._request.path, state=state))
        return status


def plain(request: Request[T]) -> Request[T]:
    """The same read, asked of the leader: what it says is so."""
    options = request.options
    consistency = None if options.consistency == "stale" else options.consistency
    options = msgspec.structs.replace(options, cached=None, consistency=consistency)
    return msgspec.structs.replace(request, options=options)
