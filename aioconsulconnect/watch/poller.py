"""
A poller: the asyncio task that polls one query for all who watch it.

`protocol.blocking_query` decides what is sent, and a `Poller` sends it: one task asks for the next request, waits,
sends it, and hands its answer back. Beside it, only while they are needed, run consistent reads (a refresh, a
verification, a new token). Consumers never cancel any of these. A request under way is never broken off; where it is of
no more use, it is left to its end, and the next request does not wait for it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

import msgspec

from aioconsulconnect.clock import breathe
from aioconsulconnect.errors import (
    ConsulError,
    RequestTimeout,
)
from aioconsulconnect.transport.request import Request
from aioconsulconnect.transport.response import Response
from aioconsulconnect.watch.address_health import AddressHealth
from aioconsulconnect.watch.poller_resources import PollerResources
from aioconsulconnect.watch.protocol.blocking_query import BlockingQuery, NextRequest
from aioconsulconnect.watch.protocol.pacing import HERD, JITTERED_READ, TOKEN_INTERVAL, held_for, over_budget_interval
from aioconsulconnect.watch.protocol.snapshot import Sent
from aioconsulconnect.watch.protocol.spec import WatchSpec
from aioconsulconnect.watch.protocol.status import Event, PollRecord, State, Status
from aioconsulconnect.watch.protocol.transitions import Kind, Outcome
from aioconsulconnect.watch.publisher import Publisher
from aioconsulconnect.watch.requester import Requester, value_of
from aioconsulconnect.watch.wakeup import Wakeup

T = TypeVar("T")
Item = TypeVar("Item")
Other = TypeVar("Other")

_log = logging.getLogger("aioconsulconnect.watch")
_TROUBLE = frozenset({"stale", "denied", "throttled"})
_LEADER_MAY_HAVE_CHANGED = frozenset(
    {Outcome.EARLY, Outcome.EARLY_AGAIN, Outcome.CUT, Outcome.UNREACHABLE, Outcome.LEADERLESS, Outcome.FAILED}
)
_SOON = 0.1  # seconds until a poller asks again after news of its agent
_CHEAP = 0.005  # seconds: an answer that took less to process slows nothing down
_BIG = 2**18  # bytes: a longer answer is decoded and compared in several steps of the event loop


class Poller(Generic[T, Item]):
    """
    Poller of one query, for all watches with the same `key`; its results are in `publisher`.

    - `resources`: what all pollers of the client share.
    - `health`: health of the agents.
    - `request`: the read.
    - `spec`: how it blocks, and what in its value can change.
    - `key`: what the watches have in common that share the poller (see `sharing_key`).

    `name` is the path and query string of the request, for logs and events.
    """

    def __init__(
        self,
        resources: PollerResources,
        health: AddressHealth,
        request: Request[T],
        spec: WatchSpec[T, Item],
        key: Hashable,
    ) -> None:
        self.key: Hashable = key
        self._resources = resources
        self._requester: Requester[T, Item] = Requester(resources, health, request, spec)
        self.name: str = self._requester.name
        self._query = BlockingQuery(request, spec, resources.settings, resources.random, resources.clock.now())
        self._wake = Wakeup()
        self._refreshing: asyncio.Task[ConsulError | None] | None = None
        self._verifying: asyncio.Task[ConsulError | None] | None = None
        self.publisher: Publisher[T, Item] = Publisher(
            self._query.counters, resources.settings.max_pending, self._query.status(resources.clock.now())
        )

    @property
    def asked(self) -> str:
        """The agent that was asked last."""
        return self._requester.asked

    @property
    def last_index(self) -> int:
        """The index that the data is known to have reached."""
        return self._query.last_index

    @property
    def body(self) -> bytes | None:
        """Bytes of the last accepted answer; None before there is one."""
        return self._query.body

    @property
    def poll_log(self) -> tuple[PollRecord, ...]:
        """The last 50 requests and their outcomes."""
        return tuple(self._query.poll_log)

    @property
    def status(self) -> Status:
        """The status of this poll."""
        status = self._query.status(self._resources.clock.now())
        return msgspec.structs.replace(
            status,
            state="closed" if self.publisher.over else status.state,
            address=self._requester.address,
            consumers=self.publisher.consumers,
            zombies=self._resources.budget.zombies,
        )

    def delay(self, seconds: float) -> None:
        """Put the first request off by `seconds`, for where many pollers start at once."""
        self._query.delay(seconds)

    def allow_age(self) -> None:
        """Heed the age of the data that the consumers accept; a poll that waits too long for it is abandoned."""
        allowed, self._query.max_age = self._query.max_age, self.publisher.max_age
        if self._query.max_age is not None and (allowed is None or self._query.max_age < allowed):
            self.hear(self._requester.address, None)

    def refresh(self) -> asyncio.Task[ConsulError | None]:
        """
        Start a consistent read that is sent after this call, and return its task.

        Callers that come before it is sent share one. The result of the task is the error, or None.
        """
        if self._refreshing is None:
            self._refreshing = self._resources.spawn(self._guarded(self._read_beside), self.name)
        return self._refreshing

    def renew(self) -> None:
        """
        Read at once, because the client's token has changed.

        Nothing counts that was asked with the old token. Does nothing to a query with a token of its own.
        """
        if not self._requester.own_token:
            if self._query.token_changed(self._resources.clock.now()):
                self.refresh()
            self._wake.wake_all()

    def hear(self, address: str, trouble: ConsulError | None) -> None:
        """
        Take note that the agent is in trouble, or with None that it is well again or has another leader.

        `address` is the agent, `trouble` the error that shows its trouble.
        """
        requester, now = self._requester, self._resources.clock.now()
        if address != requester.asked:
            if trouble is None:
                self._query.try_again(self._spread(now))  # that agent may serve instead
                self._wake.wake_all()
        elif trouble is None or requester.is_in_trouble(address):  # else it does not matter to this query
            self._query.doubt(trouble, now, retry_at=self._spread(now))
            self._publish()
            self._wake.wake_all()

    # The loop

    async def run(self) -> None:
        """Poll until no consumer is left for `PollSettings.idle_timeout`, or until the query ends."""
        try:
            await self._guarded(self._loop)
        finally:
            self.finish()

    def finish(self) -> None:
        """End the poll: no more data comes, and all its consumers are told."""
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
            _log.exception("%s: the poll ended by a bug", self.name, extra={"query": self.name})
            end = ConsulError("a bug in the library ended this watch", path=self.name)
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
        """Return True if there has been no consumer for long enough."""
        idle = self._resources.clock.now() - self.publisher.idle_since
        return not self.publisher.consumers and idle >= self._resources.settings.idle_timeout

    async def _step(self) -> None:
        """Make the next request, or wait for its time."""
        clock, budget, settings = self._resources.clock, self._resources.budget, self._resources.settings
        now = clock.now()
        following = self._query.next_request(now, scarce=budget.scarce)
        if self._requester.is_in_trouble(self._requester.address):
            await self._pause(settings.idle_timeout)  # `AddressHealth` asks that agent already
        elif following.at > now:
            await self._pause(following.at - now)
        elif following.kind is not Kind.POLL:
            async with budget.reads:
                await self._exchange(following)
        elif budget.take():
            await self._exchange(following)
        else:
            self._query.on_over_budget(now, over_budget_interval(budget.without_connection, settings))
            self._publish()

    async def _pause(self, seconds: float) -> None:
        """Wait for at most `seconds`; less without consumers, and where a new token may come."""
        if not self.publisher.consumers:
            seconds = min(seconds, self._resources.settings.idle_timeout)
        denied = self._query.state == "denied" and not self._requester.own_token
        await self._wake.wait(self._resources.clock, min(seconds, TOKEN_INTERVAL) if denied else seconds)
        if denied and await self._requester.token_changed():
            self._query.token_changed(self._resources.clock.now())

    async def _exchange(self, following: NextRequest) -> None:
        """Send a request and take its answer in a task of its own, and wait for that while it is of use."""
        clock, budget, query = self._resources.clock, self._resources.budget, self._query
        waiting = True

        async def carry() -> ConsulError | None:
            nonlocal waiting
            held_until = None
            try:
                answer = await self._requester.ask(following)
                if isinstance(answer, RequestTimeout) and self._requester.held_by_servers:
                    held_until = sent.time + held_for(following.wait)
            finally:
                if following.kind is Kind.POLL:
                    budget.give(held_until)
            if waiting:
                waiting = False
                await self._receive(following, sent, answer)
            return None

        sent = query.start(following, clock.now())
        carried = self._resources.spawn(self._guarded(carry), self.name)
        carried.add_done_callback(lambda _: self._wake.wake_all())
        while not carried.done() and not self.publisher.over:
            await self._wake.wait()
            if waiting and query.abandoned:
                query.abandon(self._spread(clock.now()))
                break
        waiting = False

    def _spread(self, now: float) -> float:
        """Return a time soon after `now`, jittered so that pollers with the same news do not all ask at once."""
        resources = self._resources
        return now + _SOON + JITTERED_READ * resources.random() * min(1.0, resources.budget.pollers / HERD)

    async def _receive(self, following: NextRequest, sent: Sent, answer: Response | ConsulError) -> None:
        """Take the answer to a request, in steps if it is large."""
        clock = self._resources.clock
        now = began = clock.now()
        if isinstance(answer, Response) and len(answer.body) > _BIG:
            for _ in self._query.prepare(following, answer):
                await breathe()
            now = clock.now()
        if self._query.receive(following, sent, now, answer) in _LEADER_MAY_HAVE_CHANGED:
            self._requester.ask_for_leader()
        if (cost := clock.now() - began) > _CHEAP:
            self._query.spent(cost, clock.now())
        if self._requester.has_another:
            self._query.try_again(self._spread(now))
        self._publish(asked=True)

    # Beside the loop

    async def _read_beside(self) -> ConsulError | None:
        """Make a consistent read, and repeat it while its answer was overtaken."""
        resources, again = self._resources, True
        error: ConsulError | None = None
        async with resources.budget.reads:
            self._refreshing = None  # a caller from here on needs another read
            while again:
                sent = self._query.start_beside(resources.clock.now())
                answer = await self._requester.read(self._requester.verification, resources.settings.read_timeout)
                error, again = self._receive_beside(sent, answer, same=True)
        return error

    async def _verify(self) -> ConsulError | None:
        """Make consistent reads from time to time, for as long as the answers of the loop prove nothing."""
        clock, other = self._resources.clock, self._requester.other_verification
        while (due := self._query.verify_by) is not None:
            if (seconds := due - clock.now()) > 0:
                await clock.sleep(seconds)
            elif other is None:
                await asyncio.wait({self.refresh()})  # not cancelled with this one: others may wait for it
            else:
                async with self._resources.budget.reads:
                    sent = self._query.start_beside(clock.now())
                    answer = await self._requester.read(other, self._resources.settings.read_timeout)
                self._receive_beside(sent, answer, same=False, value=value_of(other, answer))
        self._verifying = None
        return None

    def _receive_beside(
        self, sent: Sent, answer: Response | ConsulError, *, same: bool, value: object = None
    ) -> tuple[ConsulError | None, bool]:
        error, again = self._query.receive_beside(sent, self._resources.clock.now(), answer, same=same, value=value)
        self._publish(asked=True)
        self._wake.wake_all()
        return error, again

    # What others learn

    def _publish(self, *, asked: bool = False) -> None:
        """Publish the data and the state; `asked` says that a request was answered, or failed."""
        publisher, query = self.publisher, self._query
        if publisher.over:
            return
        verify, state, snapshot = query.verify_by, query.state, query.snapshot
        publisher.publish(snapshot)
        if state != publisher.states[-1][1].state:
            publisher.publish_state(self._changed_state(state))
        if verify is not None and self._verifying is None:
            self._verifying = self._resources.spawn(self._guarded(self._verify), self.name)
        if asked:
            record = query.poll_log[-1]
            self._resources.report(
                Event(kind="poll", query=self.name, state=state, verdict=record.verdict, took=record.took)
            )
        publisher.progress.wake_all()

    def _changed_state(self, state: State) -> Status:
        """Log and report that the watch is in another state, and return its status."""
        old, status, name = self.publisher.states[-1][1].state, self.status, self.name
        level = logging.WARNING if {old, state} & _TROUBLE and state != "closed" else logging.INFO
        extra = {"query": name, "state": state, "address": status.address, "error": status.error_class}
        _log.log(level, "%s: %s -> %s %s", name, old, state, status.error, extra=extra)
        self._resources.report(Event(kind="state", query=name, state=state))
        return status
