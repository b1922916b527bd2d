"""
The shared long polls of one client: one per distinct query, however many consumers; a budget; nothing left behind.

`blocking.Machine` decides, a `Poll` carries out: one plain asyncio task that asks the machine, waits, sends, and hands
the answer back; beside it, only while they run, plain reads (a refresh, a check, a new token). No consumer ever cancels
any of them. `Polls` holds the tasks strongly, and ends them when the client closes.
"""

from __future__ import annotations

import asyncio
import contextvars
import hashlib
import logging
import random
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Hashable, Mapping
from typing import Generic, Protocol, TypeGuard, TypeVar

import msgspec

from aioconsulconnect.clock import Clock, breathe
from aioconsulconnect.errors import Closed, ConsulError, RequestTimeout
from aioconsulconnect.transport.request import Parameters, Request
from aioconsulconnect.transport.response import Response
from aioconsulconnect.transport.sender import Sender
from aioconsulconnect.watch.changes import Change, difference
from aioconsulconnect.watch.connection_budget import Budget
from aioconsulconnect.watch.protocol.blocking_query import Ask, Machine
from aioconsulconnect.watch.protocol.pacing import PollSettings
from aioconsulconnect.watch.protocol.snapshot import Snapshot
from aioconsulconnect.watch.protocol.spec import Blocking
from aioconsulconnect.watch.protocol.status import Event, Hook, State, Status, Turn
from aioconsulconnect.watch.wakeup import Bell

__all__ = ["Poll", "PollSettings", "Polls"]

T = TypeVar("T")
Item = TypeVar("Item")
Result = TypeVar("Result")
Other = TypeVar("Other")

_log = logging.getLogger(__name__)
_TROUBLE = frozenset({"stale", "denied", "throttled"})
_STATES = 64  # changes of state kept for states()
_HERD = 20  # polls that may start within a second before they are spread over one
_BIG = 2**18  # bytes of an answer whose decoding and comparing are too much for one turn of the loop
_CROWD_RATE = 50.0  # short reads a second, all watches beyond the budget together


class Poll(Generic[T, Item]):
    """One query that is watched: its newest snapshot, its end, and the bells that tell of them."""

    def __init__(self, polls: Polls, request: Request[T], blocking: Blocking[T, Item], key: Hashable) -> None:
        self.request = request
        self.key = key
        self.end: ConsulError | None = None
        self.over: bool = False
        self.turned: Bell = Bell()  # any turn, so also any change of state
        self.machine: Machine[T, Item] = Machine(request, blocking, polls.settings, polls.random, polls.clock.now())
        self.history: deque[Snapshot[T, Item]] | None = None
        self._consumers: dict[Bell, None] = {}  # theirs ring for data, and for the end
        self._polls = polls
        self._blocking = blocking
        check = None if blocking.check is None else self._alike(blocking.check)
        same = check is not None and check.decode == request.decode
        self._other_check = None if same else check
        self._plain = check if check is not None and same else plain(request)
        self._poked = Bell()
        self._left = polls.clock.now()
        self._queued: asyncio.Task[ConsulError | None] | None = None
        self._checker: asyncio.Task[ConsulError | None] | None = None
        self._shown = self.machine.state
        self._published: Snapshot[T, Item] | None = None
        self.states: deque[tuple[int, Status]] = deque([(0, self.status)], maxlen=_STATES)
        self._memo: tuple[object, object, tuple[Change[Item], ...]] = (None, None, ())

    @property
    def snapshot(self) -> Snapshot[T, Item] | None:
        """The newest good state."""
        return self.machine.snapshot

    @property
    def address(self) -> str:
        """The agent in use: another one after each failure that another agent may not have."""
        addresses = self._polls.sender.addresses
        return addresses[self.machine.strayed % len(addresses)]

    @property
    def status(self) -> Status:
        """What this poll knows about itself."""
        status = self.machine.status(self._polls.clock.now())
        return msgspec.structs.replace(
            status,
            state="closed" if self.over else status.state,
            address=self.address,
            consumers=len(self._consumers),
            zombies=self._polls.budget.zombies,
        )

    def explain(self) -> tuple[Turn, ...]:
        """The last turns."""
        return tuple(self.machine.turns)

    def join(self, bell: Bell, *, every: bool) -> None:
        """One more consumer, whose bell rings for news; `every` for one that wants each state."""
        self._consumers[bell] = None
        if every and self.history is None:
            self.history = deque(maxlen=self._polls.settings.queue)

    def leave(self, bell: Bell) -> None:
        """One consumer less; the poll goes on for a while, and is never broken off."""
        del self._consumers[bell]
        self._left = self._polls.clock.now()

    def changes(self, seen: Mapping[Hashable, Item], now: Snapshot[T, Item]) -> tuple[Change[Item], ...]:
        """What leads from `seen` to `now`; worked out once for all consumers that saw the same."""
        if self._memo[0] is not seen or self._memo[1] is not now.items:
            self._memo = (seen, now.items, difference(seen, now.items))
        return self._memo[2]

    def refresh(self) -> asyncio.Task[ConsulError | None]:
        """Make a plain read that is sent after this call; many callers share one."""
        if self._queued is None:
            self._queued = self._polls.spawn(self._guarded(self._aside), self.request.path)
        return self._queued

    def renew(self) -> None:
        """The client's token has changed: read at once, and believe nothing that was asked with the old one."""
        if self.request.options.token is None:
            if self.machine.distrust(self._polls.clock.now()):
                self.refresh()
            self._poked.ring()

    # The loop

    async def run(self) -> None:
        """Poll until nobody wants it any more, or for ever."""
        try:
            await self._guarded(self._loop)
        finally:
            self.finish()

    def finish(self) -> None:
        """Tell everyone that nothing is to come."""
        if self.over:
            return
        self.over = True
        if self._checker is not None:
            self._checker.cancel()
        self._polls.forget(self)
        self._tell("closed")
        self._poked.ring()
        self._ring()

    async def _guarded(self, work: Callable[[], Awaitable[ConsulError | None]]) -> ConsulError | None:
        """Do a part of this poll's work; a bug in it ends the watches of this query, and no others."""
        try:
            return await work()
        except Exception as bug:  # noqa: BLE001 - whatever it is
            _log.exception("%s: the poll ended by a bug", self.request.path)
            self.end = ConsulError("a bug in the library ended this watch", path=self.request.path)
            self.end.__cause__ = bug
            self.finish()
            return self.end

    async def _loop(self) -> ConsulError | None:
        while self.machine.end is None and not self.over and not self._unwanted():
            await self._turn()
        self.end = self.end or self.machine.end
        return self.end

    def _unwanted(self) -> bool:
        return not self._consumers and self._polls.clock.now() - self._left >= self._polls.settings.linger

    async def _turn(self) -> None:
        clock, budget = self._polls.clock, self._polls.budget
        now = clock.now()
        ask = self.machine.ask(now)
        if ask.at > now:
            seconds = ask.at - now
            await self._poked.wait(clock, seconds if self._consumers else min(seconds, self._polls.settings.linger))
        elif ask.kind != "poll":
            async with budget.reads:
                budget.given_up(await self._send(ask))
        elif budget.take():
            held_until = None
            try:
                held_until = await self._send(ask)
            finally:
                budget.give(held_until)
        else:
            self.machine.crowded(now, self._polls.crowded_interval())
            self._notice()

    async def _send(self, ask: Ask) -> float | None:
        """Carry one request; where it was given up, until when the servers should have held it."""
        clock = self._polls.clock
        sent = clock.now()
        self.machine.start(ask, sent)
        if ask.kind == "list" and (borrow := self._blocking.borrow) is not None:
            answer = await self._attempt(self._alike(borrow), ask.deadline)
        else:
            answer = await self._attempt(self._plain if ask.plain else self.request, ask.deadline, ask.extra)
        if isinstance(answer, Response) and len(answer.body) > _BIG:
            for _ in self.machine.prepare(ask, answer):
                await breathe()
        self.machine.took(ask, sent, clock.now(), answer)
        if isinstance(answer, Response) and answer.status == 429 and b"concurrent connections" in answer.body:  # noqa: PLR2004
            self._polls.budget.lower()
        self._notice()
        given_up = isinstance(answer, RequestTimeout) and self._blocking.source == "servers"
        return sent + ask.wait * 17 / 16 if given_up else None

    async def _attempt(
        self, request: Request[Other], deadline: float, extra: Parameters = ()
    ) -> Response | ConsulError:
        try:
            return await self._polls.sender.attempt(request, extra=extra, deadline=deadline, address=self.address)
        except ConsulError as error:
            return error
        except Exception as error:  # noqa: BLE001 - the caller's token function, say: a failure like others
            failed = ConsulError(f"the request could not be made: {type(error).__name__}", path=self.request.path)
            failed.__cause__ = error
            return failed

    async def _aside(self) -> ConsulError | None:
        """A plain read beside the loop."""
        polls = self._polls
        async with polls.budget.reads:
            self._queued = None  # who comes from here on needs another
            sent = polls.clock.now()
            answer = await self._attempt(self._plain, polls.settings.read_timeout)
        return self._beside(sent, answer, same=True)

    async def _check(self) -> ConsulError | None:
        """Prove, as long as the answers of the loop prove nothing, that the servers are there and say the same."""
        clock = self._polls.clock
        while (due := self.machine.checked_by) is not None:
            if (seconds := due - clock.now()) > 0:
                await clock.sleep(seconds)
            elif self._other_check is None:
                await asyncio.wait({self.refresh()})  # not cancelled with this: others may wait for it
            else:
                async with self._polls.budget.reads:
                    sent = clock.now()
                    answer = await self._attempt(self._other_check, self._polls.settings.read_timeout)
                self._beside(sent, answer, same=False)
        self._checker = None
        return None

    def _beside(self, sent: float, answer: Response | ConsulError, *, same: bool) -> ConsulError | None:
        error = self.machine.aside(sent, self._polls.clock.now(), answer, same=same)
        self._notice()
        self._poked.ring()
        return error

    def _alike(self, other: Request[Other]) -> Request[Other]:
        """Another read with the options of this one."""
        return msgspec.structs.replace(other, options=plain(self.request).options)

    # What others are told

    def _notice(self) -> None:
        if self.over:
            return
        snapshot = self.snapshot
        if snapshot is not None and snapshot is not self._published:
            self._published = snapshot
            if self.history is not None:
                self.history.append(snapshot)
            self._ring()
        if self.machine.state != self._shown:
            self._tell(self.machine.state)
        if self._checker is None and self.machine.checked_by is not None:
            self._checker = self._polls.spawn(self._guarded(self._check), self.request.path)
        if self._polls.listening and self.machine.turns:
            turn = self.machine.turns[-1]
            self._polls.report(Event(kind="turn", path=self.request.path, verdict=turn.verdict, took=turn.took))
        self.turned.ring()

    def _ring(self) -> None:
        for bell in tuple(self._consumers):
            bell.ring()

    def _tell(self, state: State) -> None:
        old, self._shown = self._shown, state
        status = self.status
        level = logging.WARNING if {old, state} & _TROUBLE and state != "closed" else logging.INFO
        _log.log(level, "%s: %s -> %s %s", self.request.path, old, state, status.error)
        self.states.append((self.states[-1][0] + 1, status))
        self._polls.report(Event(kind="state", path=self.request.path, state=state))
        self.turned.ring()


class _Lasting(Protocol):
    """A poll of whatever type."""

    key: Hashable

    def renew(self) -> None: ...

    def finish(self) -> None: ...


class Polls:
    """All polls of one client. Nothing runs before the first watch is entered."""

    def __init__(
        self,
        sender: Sender,
        *,
        settings: PollSettings,
        clock: Clock | None = None,
        random: Callable[[], float] = random.random,
        on_event: Hook | None = None,
    ) -> None:
        self.sender = sender
        self.settings = settings
        self.clock: Clock = clock or Clock()
        self.random = random
        self.budget: Budget = Budget(settings.max_polls, self.clock)
        self._on_event = on_event
        self._polls: dict[Hashable, _Lasting] = {}
        self._tasks: set[asyncio.Task[object]] = set()
        self._starts: deque[float] = deque(maxlen=_HERD)
        self._closed = False

    def __repr__(self) -> str:
        """How many polls there are, and what they use."""
        budget, state = self.budget, "closed" if self._closed else "open"
        return f"<Polls {state} queries={len(self._polls)} open={budget.open} zombies={budget.zombies}>"

    def join(self, request: Request[T], blocking: Blocking[T, Item], bell: Bell, *, every: bool) -> Poll[T, Item]:
        """The poll of that query, begun where there is none, with one more consumer."""
        if self._closed:
            raise Closed("the client is closed")
        key = sharing_key(request, blocking)
        found = self._polls.get(key)
        poll = found if _is_of(found, request, blocking) else self._begin(request, blocking, key)
        poll.join(bell, every=every)
        return poll

    def _begin(self, request: Request[T], blocking: Blocking[T, Item], key: Hashable) -> Poll[T, Item]:
        poll = self._polls[key] = Poll(self, request, blocking, key)
        now = self.clock.now()
        if len(self._starts) == _HERD and now - self._starts[0] < 1:
            poll.machine.delay(self.random())  # many that start at once would stay in step for ever
        self._starts.append(now)
        self.spawn(poll.run(), request.path)
        return poll

    def forget(self, poll: _Lasting) -> None:
        """It has ended: who asks again gets another."""
        if self._polls.get(poll.key) is poll:
            del self._polls[poll.key]

    def token_changed(self) -> None:
        """The client's token is another one: whatever uses it reads again at once."""
        for poll in tuple(self._polls.values()):
            poll.renew()

    def crowded_interval(self) -> float:
        """Seconds between the short reads of a watch that finds no connection for a poll."""
        return max(self.settings.crowded, (len(self._polls) - self.budget.open) / _CROWD_RATE)

    @property
    def listening(self) -> bool:
        """Whether there is a metrics hook."""
        return self._on_event is not None

    def report(self, event: Event) -> None:
        """Tell the metrics hook, and survive it."""
        if self._on_event is not None:
            try:
                self._on_event(event)
            except Exception:  # noqa: BLE001 - it is not ours
                _log.exception("the metrics hook failed")

    def spawn(self, work: Coroutine[object, object, Result], name: str) -> asyncio.Task[Result]:
        """Run a piece of work, strongly held, in a context of its own: it is nobody's child."""
        task = asyncio.create_task(work, name=f"aioconsulconnect {name}", context=contextvars.Context())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def aclose(self) -> None:
        """End every poll, and with them all iterators. From any task, and twice, if need be."""
        self._closed = True
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for poll in tuple(self._polls.values()):
            poll.finish()  # it was closed before it had begun to run


def sharing_key(request: Request[T], blocking: Blocking[T, Item]) -> Hashable:
    """What two watches must have in common to share a poll; an explicit token only as its digest."""
    options = request.options
    token = options.token and hashlib.sha256(options.token.encode()).hexdigest()
    options = msgspec.structs.replace(options, token=token, timeout=None)
    return msgspec.structs.replace(request, options=options), blocking


def _is_of(found: object, request: Request[T], blocking: Blocking[T, Item]) -> TypeGuard[Poll[T, Item]]:  # noqa: ARG001
    """Whether there is a poll: what is found by a key that holds the request is of the request's type."""
    return found is not None


def plain(request: Request[T]) -> Request[T]:
    """The same read, asked of the leader: what it says is so."""
    options = request.options
    consistency = None if options.consistency == "stale" else options.consistency
    options = msgspec.structs.replace(options, cached=None, consistency=consistency)
    return msgspec.structs.replace(request, options=options)
