"""A clock that stands still until it is told, and a Consul without sockets, for tests of what polls do and when."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import random
from collections.abc import Awaitable, Callable, Hashable, Mapping
from typing import Any, Self, TypeVar

import msgspec

from aioconsulconnect.clock import Clock
from aioconsulconnect.errors import ConnectionFailed, ErrorReason, RequestTimeout, UnreadableResponse
from aioconsulconnect.transport.interpretation import failure
from aioconsulconnect.transport.request import Parameters, Request
from aioconsulconnect.transport.response import Response
from aioconsulconnect.transport.sender import CrowdingNotice
from aioconsulconnect.transport.settings.options import UNCACHED_READ, Purpose
from aioconsulconnect.watch.changes import Added, Changed, Removed
from aioconsulconnect.watch.poller_pool import PollerPool
from aioconsulconnect.watch.protocol.poll_settings import PollSettings
from aioconsulconnect.watch.protocol.spec import WatchSpec
from aioconsulconnect.watch.query import Query
from aioconsulconnect.watch.wakeup import Wakeup
from aioconsulconnect.watch.watch import Watch

T = TypeVar("T")
QUESTION = "/v1/status/leader"


class FakeClock(Clock):
    """Time passes in `advance` alone, from one timer to the next, and only when every task is waiting."""

    def __init__(self, start: float = 1000.0) -> None:
        self._now = start
        self._timers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._numbers = itertools.count()
        self._full = 100

    def now(self) -> float:
        return self._now

    async def sleep(self, seconds: float) -> None:
        future = asyncio.get_running_loop().create_future()
        heapq.heappush(self._timers, (self._now + seconds, next(self._numbers), future))
        if len(self._timers) > self._full:
            self._timers = [timer for timer in self._timers if not timer[2].done()]
            heapq.heapify(self._timers)
            self._full = 100 + 2 * len(self._timers)
        await future

    async def advance(self, seconds: float) -> None:
        end = self._now + seconds
        await idle()
        while self._timers and self._timers[0][0] <= end:
            when, _, future = heapq.heappop(self._timers)
            if not future.done():
                self._now = max(self._now, when)
                future.set_result(None)
                await idle()
        self._now = end
        await idle()

    def jump(self, seconds: float) -> None:
        """The process was stopped: time has passed, and no timer has seen it."""
        self._now += seconds


async def idle() -> None:
    """Return when no task of this loop can go on."""
    loop: Any = asyncio.get_running_loop()
    quiet = 0
    while quiet < 3:
        await asyncio.sleep(0)
        quiet = quiet + 1 if not loop._ready else 0


class Thing(msgspec.Struct, frozen=True):
    name: str
    value: str = ""
    index: int = 0


Things = tuple[Thing, ...]


def decode(response: Response) -> Things:
    try:
        return msgspec.json.decode(response.body, type=Things)
    except msgspec.DecodeError as error:
        raise UnreadableResponse(f"not a list of things: {error}") from error


def by_name(things: Things) -> Mapping[Hashable, Thing]:
    return {thing.name: thing for thing in things}


def nothing() -> Things:
    return ()


def things(**values: str) -> bytes:
    return msgspec.json.encode([Thing(name, value) for name, value in values.items()])


def request(path: str = "/v1/things", **more: Any) -> Request[Things]:
    return Request(method="GET", path=path, decode=decode, accepted_options=UNCACHED_READ | {"cached"}, **more)


class Call(msgspec.Struct):
    time: float
    path: str
    parameters: dict[str, str]
    address: str
    deadline: float
    ended: float | None = None

    @property
    def polled(self) -> bool:
        return "index" in self.parameters or "hash" in self.parameters

    @property
    def wait(self) -> float:
        return float(self.parameters["wait"].removesuffix("ms")) / 1000


def understood(answer: Response, asked: Request[Any] | None = None) -> Response:
    """An answer with the error that it is, as the transport hands it on."""
    return msgspec.structs.replace(answer, error=failure(asked or request(), answer))


Answer = Response | Exception
Fault = Callable[[Call], "Awaitable[Answer | None]"]


class FakeConsul:
    """
    Answers as a server does: at once without an index, else when the index moves or the wait is over.

    `fault` may answer instead, or return None; `headers` goes on top of the usual ones (None takes one away).
    """

    def __init__(self, clock: FakeClock, **values: str) -> None:
        self.clock = clock
        self.calls: list[Call] = []
        self.in_flight = 0
        self.most = 0
        self.index = 10
        self.body = things(**values)
        self.status = 200
        self.headers: dict[str, str | None] = {}
        self.fault: Fault | None = None
        self.jitter = 0.0
        self.anonymous = False
        self.token: object = None
        self.crowding = CrowdingNotice()
        self.generation = 0
        self.last_words: Answer | None = None
        self.moved = Wakeup()
        self.addresses: tuple[str, ...] = ("http://one",)
        self.questions: list[Call] = []  # who leads: what a client asks beside its polls; never in `calls`
        self.leader = "10.0.0.1:8300"
        self.question_fault: Fault | None = None
        self.frozen = False  # nothing is answered while it is set, what is in flight neither
        self.down: Exception | None = None  # what everything comes to while it is set

    def set(self, index: int | None = None, /, **values: str) -> None:
        self.put(things(**values), index)

    def put(self, body: bytes, index: int | None = None, status: int = 200) -> None:
        self.body, self.status = body, status
        self.index = self.index + 1 if index is None else index
        self.moved.wake_all()

    def wake(self) -> None:
        self.moved.wake_all()

    def restore(self, index: int, /, **values: str) -> None:
        """A snapshot is restored: what is in flight wakes with the state and the index of before."""
        self.end_polls(self.now())
        self.put(things(**values), index)

    def end_polls(self, answer: Answer) -> None:
        """Answer all that is in flight with this."""
        self.last_words = answer
        self.generation += 1
        self.moved.wake_all()

    @property
    def polls(self) -> list[Call]:
        return [call for call in self.calls if call.polled]

    @property
    def reads(self) -> list[Call]:
        return [call for call in self.calls if not call.polled]

    async def send(self, request: Request[T]) -> Response:
        return await self.attempt(request, extra=(), deadline=10.0, address=self.addresses[0])

    def avoid(self, address: str) -> None:
        if self.addresses[0] == address:
            self.addresses = (*self.addresses[1:], address)

    def token_mark(self) -> object | None:
        return self.token

    async def token_changed_since(self, mark: object | None) -> bool:
        return mark != self.token_mark()

    async def attempt(
        self, request: Request[T], *, extra: Parameters, deadline: float, address: str, purpose: Purpose = "polls"
    ) -> Response:
        call = Call(self.clock.now(), request.path, dict(request.parameters + extra), address, deadline)
        if request.path == QUESTION:
            return understood(await self._asked_who_leads(call), request)
        self.calls.append(call)
        self.in_flight += 1
        self.most = max(self.most, self.in_flight)
        try:
            async with _within(self.clock, deadline):
                answer = self.down or (await self.fault(call) if self.fault else None)
                if answer is None:
                    answer = await self.answer(call)
                while self.frozen:
                    await self.clock.sleep(0.5)
        finally:
            self.in_flight -= 1
            call.ended = self.clock.now()
        if isinstance(answer, Exception):
            raise answer
        answer = understood(answer, request)
        if answer.error is not None and answer.error.reason is ErrorReason.TOO_MANY_CONNECTIONS:
            self.crowding.seen += 1
        return answer

    async def _asked_who_leads(self, call: Call) -> Response:
        self.questions.append(call)
        for _ in range(5):
            await asyncio.sleep(0)  # no answer is faster than what is under way inside the process
        async with _within(self.clock, call.deadline):
            answer = self.down or (await self.question_fault(call) if self.question_fault else None)
            while self.frozen:
                await self.clock.sleep(0.5)
        call.ended = self.clock.now()
        if isinstance(answer, Exception):
            raise answer
        return answer or Response(200, {}, msgspec.json.encode(self.leader))

    def fail(self, error: Exception) -> None:
        """Everything fails so, and what waits at once, until `down` is None again."""
        self.down = error
        self.end_polls(error)

    async def answer(self, call: Call) -> Answer:
        """As a healthy server: a woken poll answers also when nothing has moved, as after a restore."""
        if "index" in call.parameters and self.index <= int(call.parameters["index"]):
            generation = self.generation
            await self.moved.wait(self.clock, call.wait * (1 + self.jitter))
            if generation != self.generation and self.last_words:
                return self.last_words
        return self.now()

    async def respond(self, call: Call) -> Response:
        answer = await self.answer(call)
        assert isinstance(answer, Response)
        return answer

    def now(self, status: int | None = None, body: bytes | None = None, **headers: str) -> Response:
        found = {"x-consul-index": str(self.index), "x-consul-knownleader": "true", "x-consul-lastcontact": "0"}
        for name, value in self.headers.items():
            if value is None:
                found.pop(name, None)
            else:
                found[name] = value
        found.update({name.replace("_", "-"): value for name, value in headers.items()})
        status, body = self.status if status is None else status, self.body if body is None else body
        return Response(status, found, body, anonymous=self.anonymous)


class _within:  # noqa: N801 - a deadline by the fake clock
    def __init__(self, clock: FakeClock, seconds: float) -> None:
        self._clock = clock
        self._seconds = seconds
        self._passed = False

    async def __aenter__(self) -> None:
        task = asyncio.current_task()
        assert task
        self._timer = asyncio.create_task(self._expire(task))

    async def _expire(self, task: asyncio.Task[object]) -> None:
        await self._clock.sleep(self._seconds)
        self._passed = True
        task.cancel()

    async def __aexit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        self._timer.cancel()
        if self._passed and kind is asyncio.CancelledError:
            task = asyncio.current_task()
            assert task
            task.uncancel()
            raise RequestTimeout("no answer in time") from None


def error(status: int, text: str, **headers: str) -> Response:
    return Response(status, headers, text.encode())


def lost(text: str = "the connection broke", reason: ErrorReason = ErrorReason.UNSPECIFIED) -> ConnectionFailed:
    return ConnectionFailed(text, reason=reason)


def refused() -> ConnectionFailed:
    """Nobody listens."""
    return lost("nobody listens", ErrorReason.UNREACHABLE)


def always(answer: Answer) -> Fault:
    async def fault(call: Call) -> Answer | None:
        return answer

    return fault


class World:
    """A fake server, the polls of a client, and queries on them."""

    def __init__(self, settings: PollSettings | None = None, seed: int = 1, **values: str) -> None:
        self.clock = FakeClock()
        self.consul = FakeConsul(self.clock, **values)
        self.events: list[Any] = []
        self.polls = PollerPool(
            self.consul,
            settings=settings or PollSettings(),
            clock=self.clock,
            random=random.Random(seed).random,
            on_event=self.events.append,
        )

    def query(
        self, path: str = "/v1/things", spec: WatchSpec[Things, Thing] | None = None, **more: Any
    ) -> Query[Things, Thing]:
        return Query(self.consul, self.polls, request(path, **more), spec or SPEC)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.polls.aclose()


def addition(thing: Thing) -> Added[Thing]:
    return Added(thing, key=thing.name)


def change_of(old: Thing, new: Thing) -> Changed[Thing]:
    return Changed(old, new, key=new.name)


def removal(thing: Thing) -> Removed[Thing]:
    return Removed(thing, key=thing.name)


SPEC: WatchSpec[Things, Thing] = WatchSpec(items=by_name)
ABSENT: WatchSpec[Things, Thing] = WatchSpec(items=by_name, value_when_absent=nothing)
STREAMING: WatchSpec[Things, Thing] = WatchSpec(items=by_name, source="streaming")


class Told:
    """A consumer in a task of its own that writes down what it is told, and when."""

    def __init__(self, iterator: Any, clock: Clock) -> None:
        self.got: list[Any] = []
        self.times: list[float] = []
        self.ended = False
        self.error: BaseException | None = None
        self._iterator = iterator
        self._clock = clock
        self.task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        try:
            async for what in self._iterator:
                self.got.append(what)
                self.times.append(self._clock.now())
            self.ended = True
        except Exception as error:
            self.error = error


def values(told: Told) -> list[dict[str, str]]:
    return [{thing.name: thing.value for thing in what} for what in told.got]


def removed(told: Told) -> int:
    return sum(isinstance(change, Removed) for batch in told.got for change in batch)


def state(watch: Watch[Things, Thing]) -> str:
    return watch.status.state
