"""
The protocol of one blocking query, as a pure state machine: no I/O, and time and randomness are handed in.

Theory. A read tells the state and its position (X-Consul-Index, or a hash). A poll sends that position and a wait; the
server holds it until the position moves or the wait is over. That is all Consul promises, and it keeps less: the
position may go back, stand still while the data changes, be 0, be missing, or belong to another server; the answer may
be empty because somebody lost a leader, a token or rights. So:

1. The position is a hint when to look; whether something changed is decided by the content alone, first as bytes.
2. After whatever is odd the position is dropped, and the next request is a plain read, which asks for the truth.
3. No failure changes the data. What is missing in an answer goes through `confirmation` first; `snapshot` sees to both.
4. Every request is paced, and every failure is waited for; there is no path back to the server around either. (Where
   nobody listens there is no server: such tries are waited for, half a second at first, and not counted.)

`next_request` says what to send next and not before when, `start` and `receive` frame the request, `receive_beside`
takes a plain read that was made beside the loop (a refresh, a verification, a new token). In `snapshot` is the last
good state, in `end` the error that no waiting will heal.

    after            answer                                      next      emits            not before
    ---------------  ------------------------------------------  --------  ---------------  ------------------------
    read, confirm    good, with a position                       poll      if it differs    rate
    poll             position moved on                           poll      if it differs    rate
    poll             position moved alone, and it can be absent  read      no               rate
    poll             same position, wait over                    poll      if it differs    rate
    poll             same position, early (restore, shutdown)    read      if it differs    rate; once in 5 s
    poll             lower position, same backend (reset)        read      if it differs    rate
    any              position 0                                  poll 1    if it differs    backoff
    any              no position, another read's can be borrowed list      if it differs    rate
    list             position moved                              read      no               free
    list             position stands                             poll      no               free
    any              no position, nothing to borrow              read      if it differs    5 s, growing to 60 s
    any but confirm  items missing, doubtful (confirmation)      confirm   no               rate
    any              items hidden (confirmation): denied         as above  all else         rate
    poll             cut by a proxy (short of its wait)          read      no               first backoff
    any              403: denied                                 read      no               30 s, growing to 300 s
    any              429, rate limit: throttled                  read      no               60 to 180 s
    any              any other failure, unreadable: stale        read      no               backoff
    any              400, 404, 405; 403 before any data          none      ends             never
    any              answered long after its deadline (frozen)   read      as above         rate
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import Generic, Literal, TypeVar

import msgspec

from aioconsulconnect.errors import ConsulError, ErrorReason, NotFound, PermissionDenied, Throttled
from aioconsulconnect.transport.metadata import Meta
from aioconsulconnect.transport.request import Parameters, Request
from aioconsulconnect.transport.response import Response
from aioconsulconnect.watch.protocol.pacing import (
    Backoff,
    RateLimiter,
    WaitTuner,
    denied_pause,
    poll_deadline,
    slower_interval,
    spread,
    throttled_pause,
)
from aioconsulconnect.watch.protocol.poll_settings import PollSettings
from aioconsulconnect.watch.protocol.snapshot import Snapshot, SnapshotStore, proves
from aioconsulconnect.watch.protocol.spec import WatchSpec
from aioconsulconnect.watch.protocol.status import Counters, PollRecord, Position, State, Status
from aioconsulconnect.watch.protocol.verdict import cut_short, ends_watch, is_unreachable

T = TypeVar("T")
Item = TypeVar("Item")
Kind = Literal["read", "poll", "list", "confirm"]

_LOGGED = 50  # kept for explain()
_FROZEN = 1.5  # times the deadline: then it was not the server that was slow
_EARLY = 0.9  # of the wait
_CACHE_IS_WRONG = 660.0  # seconds: how long an agent's cache was seen to outlive the truth


class NextRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What to send next, not before `at`; a poll has `position` and `wait`; `plain`: past caches, to the leader."""

    kind: Kind
    at: float
    deadline: float
    extra: Parameters = ()
    position: Position = None
    wait: float = 0.0
    plain: bool = False


class BlockingQuery(Generic[T, Item]):
    """One blocking query: the caller sends `next_request`, one at a time, and hands back what came."""

    def __init__(
        self,
        request: Request[T],
        spec: WatchSpec[T, Item],
        settings: PollSettings,
        random: Callable[[], float],
        now: float,
    ) -> None:
        self.end: ConsulError | None = None
        self.counters: Counters = Counters()
        self.poll_log: deque[PollRecord] = deque(maxlen=_LOGGED)
        self.state: State = "starting"
        self.failover_count: int = 0  # how often another address is worth a try
        self.last_index: int = 0  # the index of the last good answer
        self._since = now
        self._request = request
        self._spec = spec
        self._settings = settings
        self._random = random
        self._store = SnapshotStore(request, spec, self.counters, settings.confirm_share)
        self._rate_limiter = RateLimiter(settings.burst, settings.min_interval)
        self._wait_tuner = WaitTuner(settings.wait, settings.shortest_wait, random)
        self._backoff = Backoff(random, cap=settings.backoff_cap)
        self._verify_backoff = Backoff(random, cap=settings.verify_interval)
        self._next: Kind = "read"
        self._position: Position = None
        self._not_before = now
        self._verify_at = now + settings.verify_interval
        self._plain_until = float("-inf")
        self._backend: str | None = None  # of the last position: those of two backends do not compare
        self._in_flight: NextRequest | None = None
        self._invalidated = False
        self._may_borrow = self._index_borrowed = spec.index_from is not None and spec.cursor_kind == "index"
        self._interval: float | None = None
        self._over_budget = False
        self._reread = float("-inf")
        self._denials = 0
        self._error = ""

    @property
    def snapshot(self) -> Snapshot[T, Item] | None:
        """The last good state."""
        return self._store.snapshot

    # What to do

    def next_request(self, now: float) -> NextRequest:
        """The next request, and the earliest time for it."""
        at = self._not_before if self._is_free(self._next) else max(self._not_before, self._rate_limiter.at(now))
        plain = self._next == "confirm" or now < self._plain_until
        if self._next != "poll":
            return NextRequest(kind=self._next, at=at, deadline=self._settings.read_timeout, plain=plain)
        wait = self._wait_tuner.pick(now)
        extra = ((self._spec.cursor_kind, str(self._position)), ("wait", f"{max(1, round(wait * 1000))}ms"))
        deadline = poll_deadline(wait, self._settings)
        return NextRequest(
            kind="poll", at=at, deadline=deadline, extra=extra, position=self._position, wait=wait, plain=plain
        )

    def delay(self, seconds: float) -> None:
        """Put the next request off: many start at once."""
        self._not_before += seconds

    def on_over_budget(self, now: float, interval: float) -> None:
        """Read in `interval` seconds instead: there is no connection for a poll."""
        self._next, self._position, self._over_budget, self._interval = "read", None, True, interval
        self._not_before = now + spread(interval, self._random)
        self._settle(now)

    def start(self, asked: NextRequest, now: float) -> None:
        """Note that the request is about to be sent."""
        self._in_flight = asked
        if not self._is_free(asked.kind):
            self._rate_limiter.spend(now)
        if asked.kind == "poll" and self._over_budget:
            self._over_budget, self._interval = False, None
            self._settle(now)

    def invalidate(self, now: float) -> bool:
        """Believe nothing that was asked with the old token, and read at once; whether something is under way."""
        self._denials = 0
        self._store.invalidate()
        self._index_borrowed = self._may_borrow
        self._invalidated = self._in_flight is not None
        if self._in_flight is None:
            self._read_again(now)
        return self._invalidated

    @property
    def verify_by(self) -> float | None:
        """When a plain read has to prove that the source is not blind; None while its own answers prove it."""
        idle = self.snapshot is None or self.end is not None or proves(self._store.meta)
        return None if idle else self._verify_at

    # What came

    def prepare(self, asked: NextRequest, answer: Response) -> Iterator[None]:
        """Do the heavy part of `receive` for a big answer; where it yields, the caller lets others run."""
        return self._store.prepare(answer) if asked.kind != "list" else iter(())

    def receive(self, asked: NextRequest, sent: float, now: float, answer: Response | ConsulError) -> None:
        """Take the answer to a request, or the error that came instead."""
        self._in_flight = None
        superseded, self._invalidated = self._invalidated, False
        if superseded:
            verdict = "superseded"
            self._read_again(now)
        else:
            verdict = self._take(asked, now - sent, now, answer)
        if now - sent > _FROZEN * asked.deadline and self.end is None:
            self._read_again(now)
        self._record(asked.kind, asked.position, sent, now, answer=answer, verdict=verdict)

    def receive_beside(
        self, sent: float, now: float, answer: Response | ConsulError, *, same: bool = True
    ) -> ConsulError | None:
        """
        Take a plain read that was made beside the loop; the error that it was.

        `same` is false for a read of something else, which proves that the servers are there, and no more.
        """
        before, error, verdict = self.snapshot, self._error_of(answer), "proof"
        if error is None and same and isinstance(answer, Response):
            meta = answer.meta
            try:
                verdict = self._store.take(answer, meta, now, index=meta.index, authoritative=True, beside=True)
                self.last_index = meta.index or self.last_index
            except ConsulError as unreadable:
                error = unreadable
        if error is not None:
            verdict = self._trouble(error, now)
            self._store.freshness.blind = True
            self._verify_at = now + self._verify_backoff.failed(now)
        else:
            self._verify_at = now + self._settings.verify_interval
            if not same:
                self._store.prove(now)
            elif self._in_flight is None:
                self._read_again(now)
            elif self.snapshot is not before:
                self._invalidated = True  # what is under way may have been answered before this
            if self.snapshot is not before and self._store.meta.cache is not None:
                self._plain_until = now + _CACHE_IS_WRONG
            self._settle(now)
        self._record("check", None, sent, now, answer=answer, verdict=verdict)
        return error

    # What to make of it

    def _take(self, asked: NextRequest, elapsed: float, now: float, answer: Response | ConsulError) -> str:
        error = self._error_of(answer)
        if error is None and isinstance(answer, Response):
            meta = answer.meta
            if asked.kind == "list":
                return self._listed(meta, now)
            borrowed = (
                self._position
                if self._index_borrowed and asked.kind == "read" and isinstance(self._position, int)
                else None
            )
            index, before = meta.index if meta.index is not None else borrowed, self.snapshot
            try:
                verdict = self._store.take(
                    answer, meta, now, index=index, authoritative=asked.kind == "confirm", beside=False
                )
            except ConsulError as unreadable:
                return self._fail(asked, unreadable, elapsed, now)
            if verdict == "confirm":
                self._read_again(now)
                self._next = "confirm"
                return verdict
            self._denials = 0
            self.last_index = index or self.last_index
            oddity = self._move(asked, meta, elapsed, now, changed=self.snapshot is not before)
            self._settle(now)
            return f"{verdict}, {oddity}" if oddity else verdict
        return self._fail(asked, error, elapsed, now) if error is not None else ""

    def _error_of(self, answer: Response | ConsulError) -> ConsulError | None:
        if isinstance(answer, ConsulError):
            return answer
        error = answer.error
        if isinstance(error, NotFound) and answer.status == 404 and self._spec.value_when_absent is not None:  # noqa: PLR2004
            return None
        return error

    def _listed(self, meta: Meta, now: float) -> str:
        """The index that is borrowed: where it stands, what was read before is still true."""
        if not meta.index:
            self._index_borrowed = False
            self._read_again(now)
            return "no index"
        stands = meta.index == self._position
        self._position = self.last_index = meta.index
        self._next, self._not_before = ("poll" if stands else "read"), now
        return "stands" if stands else "moved"

    def _move(self, asked: NextRequest, meta: Meta, elapsed: float, now: float, *, changed: bool) -> str:
        """Decide where to go on from the position that a good answer names; what was odd about it."""
        position: Position = meta.content_hash if self._spec.cursor_kind == "hash" else meta.index
        if position is None:
            return self._without_position(asked, now, changed=changed)
        if not self._over_budget:
            self._interval = None
        self._index_borrowed = False
        self._next, self._not_before, self._position = "poll", now, position
        comparable, self._backend = meta.backend == self._backend, meta.backend
        if position == 0:
            self.counters.zero += 1
            self._position, self._not_before = 1, now + self._backoff.failed(now)
            return "zero"
        if asked.kind != "poll":
            return ""
        self._backoff.worked(now)
        if isinstance(position, int) and isinstance(asked.position, int) and position < asked.position and comparable:
            self.counters.reset += 1
            self._read_again(now)
            return "reset"
        if position != asked.position:
            if changed or self._spec.value_when_absent is None:
                return ""
            self._read_again(now)  # 1.8 wakes for a deletion with what is deleted, so this index proves nothing
            self._store.freshness.failed = True
            return "moved alone"
        if elapsed >= _EARLY * asked.wait:
            self.counters.timeout += 1
            return "timeout"
        self.counters.early += 1
        if now - self._reread >= self._settings.reread:
            self._reread = now
            self._read_again(now)
        return "early"

    def _without_position(self, asked: NextRequest, now: float, *, changed: bool) -> str:
        """The answer names no position: borrow one, or read at intervals."""
        if self._index_borrowed:
            listed = asked.kind == "read" and self._position is not None
            self._next, self._not_before = ("poll" if listed else "list"), now
            if asked.kind == "poll":
                self._backoff.worked(now)
            return "borrowed"
        self._interval = slower_interval(self._interval, self._settings, changed=changed)
        self._next, self._position = "read", None
        self._not_before = now + spread(self._interval, self._random)
        return "no index"

    def _is_free(self, kind: Kind) -> bool:
        """Whether a request is paid for by the poll before it: the small reads of a borrowed index."""
        return kind == "list" or (self._index_borrowed and kind == "read" and self._position is not None)

    def _read_again(self, now: float) -> None:
        self._next, self._position, self._not_before = "read", None, now

    def _fail(self, asked: NextRequest, error: ConsulError, elapsed: float, now: float) -> str:
        """Keep the data, drop the position, and wait."""
        token_unknown = error.reason is ErrorReason.TOKEN_UNKNOWN
        if asked.kind == "list" and isinstance(error, PermissionDenied) and not token_unknown:
            self._index_borrowed = False
            self._read_again(now)
            return "not allowed to list"
        if ends_watch(error, worked=self.snapshot is not None):
            self.end = error
            return "end"
        if is_unreachable(error) and not self._is_free(asked.kind):
            self._rate_limiter.refund()
        self._next, self._position = "read", None
        if asked.kind == "poll" and cut_short(error, elapsed, asked.wait) and self._wait_tuner.cut(elapsed, now):
            self._not_before = now + Backoff(self._random).failed(now)
            return "cut"
        self._not_before = now + self._pause(error, now)
        self._store.freshness.failed = True
        return self._trouble(error, now)

    def _pause(self, error: ConsulError, now: float) -> float:
        if isinstance(error, PermissionDenied):
            self._denials += 1
            return denied_pause(self._denials, self._settings)
        if isinstance(error, Throttled):
            return throttled_pause(self._settings, self._random)
        self.failover_count += 1
        return self._backoff.failed(now, refused=is_unreachable(error))

    # What it says of itself

    def _trouble(self, error: ConsulError, now: float) -> str:
        name = type(error).__name__
        self.counters.errors[name] = self.counters.errors.get(name, 0) + 1
        self._error = str(error)
        kinds: dict[type[ConsulError], State] = {PermissionDenied: "denied", Throttled: "throttled"}
        self._enter(kinds.get(type(error), "stale"), now)
        return name

    def _settle(self, now: float) -> None:
        """Enter the state of a query whose last answer was no failure."""
        if self.snapshot is None or self._store.freshness.blind or self._store.freshness.failed:
            return
        if self._store.hidden:
            self._error = "the token no longer sees everything that it saw"
            self._enter("denied", now)
            return
        self._error = ""
        steady: State = "absent" if self._store.absent else "synced"
        self._enter(steady if self._interval is None else "polling", now)

    def _enter(self, state: State, now: float) -> None:
        if state != self.state:
            self.state, self._since = state, now

    def _record(
        self, kind: str, position: Position, sent: float, now: float, *, answer: Response | ConsulError, verdict: str
    ) -> None:
        self.counters.requests += 1
        body = answer.body if isinstance(answer, Response) else b""
        meta = answer.meta if isinstance(answer, Response) else Meta()
        got = meta.index if meta.index is not None else meta.content_hash
        self.poll_log.append(PollRecord(now, kind, position, got, now - sent, answer.status, len(body), verdict))

    def status(self, now: float) -> Status:
        """What is known about this query at `now`."""
        snapshot, store = self.snapshot, self._store
        return Status(
            state=self.state,
            since=self._since,
            age=store.age(now, held=self._in_flight is not None and self._in_flight.kind == "poll"),
            index=snapshot.index if snapshot else None,
            changed=snapshot.time if snapshot else None,
            backend=store.meta.backend,
            wait=self._wait_tuner.limit,
            interval=self._interval,
            failures=self._backoff.failures,
            retry_in=max(0.0, self._not_before - now) if self._error and self._in_flight is None else None,
            error=self._error,
            filtered=store.meta.filtered_by_acls or store.hidden,
            anonymous=store.said.anonymous,
            policy=store.meta.default_acl_policy,
            counters=msgspec.structs.replace(self.counters, errors=dict(self.counters.errors)),
        )
