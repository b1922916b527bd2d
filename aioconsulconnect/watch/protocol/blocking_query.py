"""
The protocol of one blocking query, as a pure state machine: no I/O, and time and randomness are handed in.

Theory. A read tells the state and its place (X-Consul-Index, or a hash). A poll sends that place and a wait; the server
holds it until the place moves or the wait is over. That is all Consul promises, and it keeps less: the place may go
back, stand still while the data changes, be 0, be missing, or belong to another server; the answer may be empty because
somebody lost a leader, a token or rights. So:

1. The place is a hint when to look; whether something changed is decided by the content alone, first as bytes.
2. After whatever is odd the place is dropped, and the next request is a plain read, which asks for the truth.
3. No failure changes the data. What is missing in an answer goes through `guard` first (`content` takes care of both).
4. Every request is paced, and every failure is waited for; there is no path back to the server around either. (Where
   nobody listens there is no server: such tries are waited for, half a second at first, and not counted.)

`ask` says what to send next and not before when, `start` and `took` frame the request, `aside` takes a plain read that
was made beside the loop (a refresh, a check, a new token). In `snapshot` is the last good state, in `end` the error
that no waiting will heal.

    after            answer                                      next      emits            not before
    ---------------  ------------------------------------------  --------  ---------------  ------------------------
    read, confirm    good, with a place                          poll      if it differs    pace
    poll             place moved on                              poll      if it differs    pace
    poll             place moved on alone, and it can be absent  read      no               pace
    poll             same place, wait over                       poll      if it differs    pace
    poll             same place, early (restore, shutdown)       read      if it differs    pace; once in 5 s
    poll             lower place, same backend (reset)           read      if it differs    pace
    any              place 0                                     poll 1    if it differs    backoff
    any              no place, another read's can be borrowed    list      if it differs    pace
    list             place moved                                 read      no               free
    list             place stands                                poll      no               free
    any              no place, nothing to borrow                 read      if it differs    5 s, growing to 60 s
    any but confirm  items missing, doubtful (guard)             confirm   no               pace
    any              items hidden (guard): denied                as above  all else         pace
    poll             cut by a proxy (short of its wait)          read      no               first backoff
    any              403: denied                                 read      no               30 s, growing to 300 s
    any              429, rate limit: throttled                  read      no               60 to 180 s
    any              any other failure, unreadable: stale        read      no               backoff
    any              400, 404, 405; 403 before any data          none      ends             never
    any              answered long after its deadline (frozen)   read      as above         pace
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import Generic, Literal, TypeVar

import msgspec

from aioconsulconnect.errors import ConsulError, NotFound, PermissionDenied, Throttled
from aioconsulconnect.transport.interpretation import failure
from aioconsulconnect.transport.metadata import Meta
from aioconsulconnect.transport.request import Parameters, Request
from aioconsulconnect.transport.response import Response
from aioconsulconnect.watch.protocol.pacing import Pace, PollBackoff, PollSettings, Waits
from aioconsulconnect.watch.protocol.snapshot import Content, Snapshot, proves
from aioconsulconnect.watch.protocol.spec import Blocking
from aioconsulconnect.watch.protocol.status import Counters, Place, State, Status, Turn
from aioconsulconnect.watch.protocol.verdict import cut_short, ends_watch, nobody_listens

T = TypeVar("T")
Item = TypeVar("Item")
Kind = Literal["read", "poll", "list", "confirm"]

_TURNS = 50  # kept for explain()
_FROZEN = 1.5  # times the deadline: then it was not the server that was slow
_EARLY = 0.9  # of the wait
_CACHE_IS_WRONG = 660.0  # seconds: how long an agent's cache was seen to outlive the truth


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """What to send next, not before `at`; `place` and `wait` only for a poll; `plain`: past caches, to the leader."""

    kind: Kind
    at: float
    deadline: float
    extra: Parameters = ()
    place: Place = None
    wait: float = 0.0
    plain: bool = False


class Machine(Generic[T, Item]):
    """One blocking query. The caller sends what `ask` says, one request at a time, and hands back what came."""

    def __init__(
        self,
        request: Request[T],
        blocking: Blocking[T, Item],
        settings: PollSettings,
        random: Callable[[], float],
        now: float,
    ) -> None:
        self.end: ConsulError | None = None
        self.counters: Counters = Counters()
        self.turns: deque[Turn] = deque(maxlen=_TURNS)
        self.state: State = "starting"
        self.strayed: int = 0  # how often another address is worth a try
        self.reached: int = 0  # the index of the last good answer
        self._since = now
        self._request = request
        self._blocking = blocking
        self._settings = settings
        self._random = random
        self._content = Content(request, blocking, self.counters, settings.fall)
        self._pace = Pace(settings.free_turns, settings.turn)
        self._waits = Waits(settings.wait, settings.shortest_wait, random)
        self._backoff = PollBackoff(random, cap=settings.backoff_cap)
        self._check_backoff = PollBackoff(random, cap=settings.check)
        self._next: Kind = "read"
        self._place: Place = None
        self._not_before = now
        self._check_at = now + settings.check
        self._plain_until = float("-inf")
        self._backend: str | None = None  # of the last place: places of two backends do not compare
        self._flying: Ask | None = None
        self._distrusted = False
        self._can_borrow = self._borrowing = blocking.borrow is not None and blocking.by == "index"
        self._interval: float | None = None
        self._crowded = False
        self._reread = float("-inf")
        self._denials = 0
        self._error = ""

    @property
    def snapshot(self) -> Snapshot[T, Item] | None:
        """The last good state."""
        return self._content.snapshot

    # What to do

    def ask(self, now: float) -> Ask:
        """The next request, and the earliest time for it."""
        at = self._not_before if self._is_free(self._next) else max(self._not_before, self._pace.at(now))
        plain = self._next == "confirm" or now < self._plain_until
        if self._next != "poll":
            return Ask(kind=self._next, at=at, deadline=self._settings.read_timeout, plain=plain)
        wait = self._waits.pick(now)
        extra = ((self._blocking.by, str(self._place)), ("wait", f"{max(1, round(wait * 1000))}ms"))
        deadline = wait * 17 / 16 + self._settings.margin
        return Ask(kind="poll", at=at, deadline=deadline, extra=extra, place=self._place, wait=wait, plain=plain)

    def delay(self, seconds: float) -> None:
        """Put the next request off: many start at once."""
        self._not_before += seconds

    def crowded(self, now: float, interval: float) -> None:
        """There is no connection for a poll: read in `interval` seconds instead."""
        self._next, self._place, self._crowded, self._interval = "read", None, True, interval
        self._not_before = now + interval * (0.75 + 0.5 * self._random())
        self._settle(now)

    def start(self, ask: Ask, now: float) -> None:
        """The request is about to be sent."""
        self._flying = ask
        if not self._is_free(ask.kind):
            self._pace.spend(now)
        if ask.kind == "poll" and self._crowded:
            self._crowded, self._interval = False, None
            self._settle(now)

    def distrust(self, now: float) -> bool:
        """The token is another one: what is under way does not count. Whether something is."""
        self._denials = 0
        self._content.distrust()
        self._borrowing = self._can_borrow
        self._distrusted = self._flying is not None
        if self._flying is None:
            self._read_again(now)
        return self._distrusted

    @property
    def checked_by(self) -> float | None:
        """When a plain read has to prove that the source is not blind; None while its own answers prove it."""
        idle = self.snapshot is None or self.end is not None or proves(self._content.meta)
        return None if idle else self._check_at

    # What came

    def prepare(self, ask: Ask, answer: Response) -> Iterator[None]:
        """Do the heavy part of `took` for a big answer; where it yields, the caller lets others run."""
        return self._content.prepare(answer) if ask.kind != "list" else iter(())

    def took(self, ask: Ask, sent: float, now: float, answer: Response | ConsulError) -> None:
        """Take the answer to `ask`, or the error that came instead."""
        self._flying = None
        distrusted, self._distrusted = self._distrusted, False
        if distrusted:
            verdict = "superseded"
            self._read_again(now)
        else:
            verdict = self._take(ask, now - sent, now, answer)
        if now - sent > _FROZEN * ask.deadline and self.end is None:
            self._read_again(now)
        self._record(ask.kind, ask.place, sent, now, answer=answer, verdict=verdict)

    def aside(
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
                verdict = self._content.take(answer, meta, now, index=meta.index, firm=True, beside=True)
                self.reached = meta.index or self.reached
            except ConsulError as unreadable:
                error = unreadable
        if error is not None:
            verdict = self._trouble(error, now)
            self._content.blind = True
            self._check_at = now + self._check_backoff.failed(now)
        else:
            self._check_at = now + self._settings.check
            if not same:
                self._content.prove(now)
            elif self._flying is None:
                self._read_again(now)
            elif self.snapshot is not before:
                self._distrusted = True  # what is under way may have been answered before this
            if self.snapshot is not before and self._content.meta.cache is not None:
                self._plain_until = now + _CACHE_IS_WRONG
            self._settle(now)
        self._record("check", None, sent, now, answer=answer, verdict=verdict)
        return error

    # What to make of it

    def _take(self, ask: Ask, elapsed: float, now: float, answer: Response | ConsulError) -> str:
        error = self._error_of(answer)
        if error is None and isinstance(answer, Response):
            meta = answer.meta
            if ask.kind == "list":
                return self._listed(meta, now)
            borrowed = self._place if self._borrowing and ask.kind == "read" and isinstance(self._place, int) else None
            index, before = meta.index if meta.index is not None else borrowed, self.snapshot
            try:
                verdict = self._content.take(answer, meta, now, index=index, firm=ask.kind == "confirm", beside=False)
            except ConsulError as unreadable:
                return self._fail(ask, unreadable, elapsed, now)
            if verdict == "confirm":
                self._read_again(now)
                self._next = "confirm"
                return verdict
            self._denials = 0
            self.reached = index or self.reached
            oddity = self._move(ask, meta, elapsed, now, changed=self.snapshot is not before)
            self._settle(now)
            return f"{verdict}, {oddity}" if oddity else verdict
        return self._fail(ask, error, elapsed, now) if error is not None else ""

    def _error_of(self, answer: Response | ConsulError) -> ConsulError | None:
        if isinstance(answer, ConsulError):
            return answer
        error = failure(self._request, answer)
        if isinstance(error, NotFound) and answer.status == 404 and self._blocking.absent is not None:  # noqa: PLR2004
            return None
        return error

    def _listed(self, meta: Meta, now: float) -> str:
        """The index that is borrowed: where it stands, what was read before is still true."""
        if not meta.index:
            self._borrowing = False
            self._read_again(now)
            return "no index"
        stands = meta.index == self._place
        self._place = self.reached = meta.index
        self._next, self._not_before = ("poll" if stands else "read"), now
        return "stands" if stands else "moved"

    def _move(self, ask: Ask, meta: Meta, elapsed: float, now: float, *, changed: bool) -> str:
        """Decide where to go on from the place that a good answer names; what was odd about it."""
        place: Place = meta.content_hash if self._blocking.by == "hash" else meta.index
        if place is None:
            return self._unplaced(ask, now, changed=changed)
        if not self._crowded:
            self._interval = None
        self._borrowing = False
        self._next, self._not_before, self._place = "poll", now, place
        comparable, self._backend = meta.backend == self._backend, meta.backend
        if place == 0:
            self.counters.zero += 1
            self._place, self._not_before = 1, now + self._backoff.failed(now)
            return "zero"
        if ask.kind != "poll":
            return ""
        self._backoff.worked(now)
        if isinstance(place, int) and isinstance(ask.place, int) and place < ask.place and comparable:
            self.counters.reset += 1
            self._read_again(now)
            return "reset"
        if place != ask.place:
            if changed or self._blocking.absent is None:
                return ""
            self._read_again(now)  # 1.8 wakes for a deletion with what is deleted, so this index proves nothing
            self._content.failed = True
            return "moved alone"
        if elapsed >= _EARLY * ask.wait:
            self.counters.timeout += 1
            return "timeout"
        self.counters.early += 1
        if now - self._reread >= self._settings.reread:
            self._reread = now
            self._read_again(now)
        return "early"

    def _unplaced(self, ask: Ask, now: float, *, changed: bool) -> str:
        """The answer names no place: borrow one, or read at intervals."""
        if self._borrowing:
            listed = ask.kind == "read" and self._place is not None
            self._next, self._not_before = ("poll" if listed else "list"), now
            if ask.kind == "poll":
                self._backoff.worked(now)
            return "borrowed"
        first, longest = self._settings.interval
        self._interval = first if changed or self._interval is None else min(longest, self._interval * 1.5)
        self._next, self._place = "read", None
        self._not_before = now + self._interval * (0.75 + 0.5 * self._random())
        return "no index"

    def _is_free(self, kind: Kind) -> bool:
        """Whether a request belongs to the turn that the poll before it paid for: the small reads of a borrower."""
        return kind == "list" or (self._borrowing and kind == "read" and self._place is not None)

    def _read_again(self, now: float) -> None:
        self._next, self._place, self._not_before = "read", None, now

    def _fail(self, ask: Ask, error: ConsulError, elapsed: float, now: float) -> str:
        """Keep the data, drop the place, and wait."""
        if ask.kind == "list" and isinstance(error, PermissionDenied) and "not found" not in error.text:
            self._borrowing = False
            self._read_again(now)
            return "not allowed to list"
        if ends_watch(error, worked=self.snapshot is not None):
            self.end = error
            return "end"
        if nobody_listens(error) and not self._is_free(ask.kind):
            self._pace.refund()
        self._next, self._place = "read", None
        if ask.kind == "poll" and cut_short(error, elapsed, ask.wait) and self._waits.cut(elapsed, now):
            self._not_before = now + PollBackoff(self._random).failed(now)
            return "cut"
        self._not_before = now + self._pause(error, now)
        self._content.failed = True
        return self._trouble(error, now)

    def _pause(self, error: ConsulError, now: float) -> float:
        if isinstance(error, PermissionDenied):
            first, longest = self._settings.denied
            self._denials += 1
            return float(min(longest, first * 2 ** (min(self._denials, 20) - 1)))
        if isinstance(error, Throttled):
            low, high = self._settings.throttled
            return low + (high - low) * self._random()
        self.strayed += 1
        return self._backoff.failed(now, refused=nobody_listens(error))

    # What is told

    def _trouble(self, error: ConsulError, now: float) -> str:
        name = type(error).__name__
        self.counters.errors[name] = self.counters.errors.get(name, 0) + 1
        self._error = str(error)
        kinds: dict[type[ConsulError], State] = {PermissionDenied: "denied", Throttled: "throttled"}
        self._enter(kinds.get(type(error), "stale"), now)
        return name

    def _settle(self, now: float) -> None:
        """The state where the last answer was no failure."""
        if self.snapshot is None or self._content.blind or self._content.failed:
            return
        if self._content.hidden:
            self._error = "the token no longer sees everything that it saw"
            self._enter("denied", now)
            return
        self._error = ""
        steady: State = "absent" if self._content.absent else "synced"
        self._enter(steady if self._interval is None else "polling", now)

    def _enter(self, state: State, now: float) -> None:
        if state != self.state:
            self.state, self._since = state, now

    def _record(
        self, asked: str, place: Place, sent: float, now: float, *, answer: Response | ConsulError, verdict: str
    ) -> None:
        self.counters.turns += 1
        body = answer.body if isinstance(answer, Response) else b""
        meta = answer.meta if isinstance(answer, Response) else Meta()
        got = meta.index if meta.index is not None else meta.content_hash
        self.turns.append(Turn(now, asked, place, got, now - sent, answer.status, len(body), verdict))

    def status(self, now: float) -> Status:
        """What is known about this query at `now`."""
        snapshot, content = self.snapshot, self._content
        return Status(
            state=self.state,
            since=self._since,
            age=content.age(now, held=self._flying is not None and self._flying.kind == "poll"),
            index=snapshot.index if snapshot else None,
            changed=snapshot.time if snapshot else None,
            backend=content.meta.backend,
            wait=self._waits.limit,
            interval=self._interval,
            failures=self._backoff.failures,
            retry_in=max(0.0, self._not_before - now) if self._error and self._flying is None else None,
            error=self._error,
            filtered=content.meta.filtered_by_acls or content.hidden,
            anonymous=content.said.anonymous,
            policy=content.meta.default_acl_policy,
            counters=msgspec.structs.replace(self.counters, errors=dict(self.counters.errors)),
        )
