"""
State machine of one blocking query, without I/O; time and randomness are passed in.

Theory. A plain read brings the state and its position (X-Consul-Index, or a content hash). A poll sends that position
and a wait; the server holds it until the position moves or the wait is over. Consul promises no more, and keeps less:
the position may go back, stand still while the data changes, be 0, be missing, or belong to another server; an answer
may lack items because a server has lost its leader or replays a log. So:

1. The position only says when to look. Whether something changed is decided by the content, which is first compared as
   bytes.
2. After anything odd the position is dropped, and the next request is a plain read.
3. No failure changes the data, and no answer ends a watch that has had data. Items that an answer lacks are, where
   there is any doubt, confirmed by a consistent read first.
4. Answers count in the order of what they say, not of their arrival: one that was overtaken is dropped or asked again.
5. Every request is paced, and after every failure there is a pause.

The states, events and transitions are data, in `transitions`. This module names the event for each answer, and looks
the transition up. `next_request` gives the next request and the earliest time for it; the caller calls `start` before
it sends it and `receive` with its answer. `start_beside` and `receive_beside` do the same for a consistent read that is
made beside the loop (a refresh, a verification, a new token). `snapshot` is the last good state, `end` the error that
no waiting can heal. `abandoned` says that the request under way cannot bring what is wanted now: the caller leaves it
to its end, and sends the next request.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Generic, TypeVar

import msgspec

from aioconsulconnect.errors import ConsulError, ErrorReason, NoLeader, NotFound, PermissionDenied, Throttled
from aioconsulconnect.transport.metadata import Meta
from aioconsulconnect.transport.request import Parameters, Request
from aioconsulconnect.transport.response import Response
from aioconsulconnect.watch.protocol.pacing import (
    Backoff,
    Random,
    RateLimiter,
    WaitTuner,
    absent_interval,
    after_cost,
    denied_pause,
    longest_wait,
    poll_deadline,
    slower_interval,
    spread,
    throttled_pause,
    verify_interval,
)
from aioconsulconnect.watch.protocol.poll_settings import PollSettings
from aioconsulconnect.watch.protocol.snapshot import Answer, Sent, Snapshot, SnapshotStore, Verdict
from aioconsulconnect.watch.protocol.spec import WatchSpec
from aioconsulconnect.watch.protocol.status import Counters, PollRecord, Position, State, Status
from aioconsulconnect.watch.protocol.transitions import TRANSITIONS, Kind, Outcome, Pause
from aioconsulconnect.watch.protocol.verdict import DENIALS, cut_short, ends_watch, is_unreachable

T = TypeVar("T")
Item = TypeVar("Item")

_LOGGED = 50  # requests kept for explain()
_FROZEN = 1.5  # times the deadline: after so long the process was frozen, not the server slow
_EARLY = 0.9  # part of the wait: an answer before that is early (fact 4)
_BORROW_AGAIN = 60.0  # seconds until it is tried again to borrow an index
_CACHE_IS_WRONG = 660.0  # seconds that an agent's cache was seen to serve discarded data (fact 5)
_OVERTAKEN = "overtaken"
_BLIND = "the servers know nothing yet"
_QUIET = frozenset(
    {
        Outcome.PLACED,
        Outcome.MOVED,
        Outcome.DOUBTFUL,
        Outcome.BLIND,
        Outcome.LEADERLESS,
        Outcome.FAILED,
        Outcome.DENIED,
        Outcome.THROTTLED,
    }
)  # outcomes that the log of requests leaves out: the verdict or the error says enough


class NextRequest(msgspec.Struct, frozen=True, kw_only=True):
    """
    The next request of a blocking query, and the earliest time for it.

    - `kind`: kind of the request.
    - `at`: earliest time for it, in seconds on the client's clock.
    - `deadline`: seconds after which it is given up.
    - `extra`: query parameters beside those of the read: position and wait of a poll.
    - `position`: index or hash that a poll sends, else None.
    - `wait`: seconds that a poll asks the server to wait, else 0.
    - `consistent`: the read goes past the agent's cache, to a leader that has applied all that was written.
    """

    kind: Kind
    at: float
    deadline: float
    extra: Parameters = ()
    position: Position = None
    wait: float = 0.0
    consistent: bool = False


class _Course(msgspec.Struct, kw_only=True):
    """Progress of the loop: the next request, the position, and the request under way."""

    following: Kind = Kind.READ
    not_before: float = 0.0
    position: Position = None
    backend: str | None = None  # of the position: positions of two backends do not compare
    proves: bool = True  # the answers of the loop come from the servers themselves
    cached: bool = False
    borrows: bool = False
    borrow_at: float = float("-inf")  # earliest time to try again to borrow an index
    under_way: NextRequest | None = None
    news: bool = False  # this turn has brought a change
    superseded: bool = False  # what is under way may be older than what is known
    old_token: bool = False  # what is under way was asked with another token
    abandoned: bool = False
    absent_since: float | None = None
    interval: float | None = None  # seconds between reads, where there is no poll
    over_budget: bool = False
    reread: float = float("-inf")
    consistent_until: float = float("-inf")


class _Report(msgspec.Struct, kw_only=True):
    """State that the query reports, with the time since when, and the present failure."""

    state: State = "starting"
    since: float = 0.0
    error: str = ""
    error_class: str = ""
    error_reason: ErrorReason | None = None


class _Failures(msgspec.Struct, kw_only=True):
    """Failures in a row: of polls and reads, of verifications, and denials."""

    backoff: Backoff
    verification: Backoff
    denials: int = 0
    unknown_token: bool = False
    denied_since: float | None = None


class BlockingQuery(Generic[T, Item]):
    """
    One blocking query: it gives the next request, and takes the answer to it.

    Only one request at a time is under way, except for consistent reads beside the loop and abandoned requests.

    - `request`: the read.
    - `spec`: how it blocks, and what in its value can change.
    - `settings`: waits, pauses and limits.
    - `random`: source of the jitter, 0 to 1.
    - `now`: present time, in seconds on the client's clock, as everywhere here.

    Attributes for the caller: `end` (the error that ended the query, or None), `counters`, `poll_log` (the last 50
    requests), `last_index` (the index that the data is known to have reached) and `max_age` (set by the caller: the
    oldest state in seconds that a consumer accepts, or None).
    """

    def __init__(
        self, request: Request[T], spec: WatchSpec[T, Item], settings: PollSettings, random: Random, now: float
    ) -> None:
        self.end: ConsulError | None = None
        self.counters: Counters = Counters()
        self.poll_log: deque[PollRecord] = deque(maxlen=_LOGGED)
        self.last_index: int = 0  # the index that the data is known to have reached
        self.max_age: float | None = None  # seconds: the oldest state that a consumer accepts
        self._spec = spec
        self._settings = settings
        self._random = random
        self._store: SnapshotStore[T, Item] = SnapshotStore(request, spec, self.counters)
        self._rate_limiter = RateLimiter(settings.burst, settings.rate, settings.min_interval)
        self._wait_tuner = WaitTuner(settings.wait, settings.shortest_wait, random)
        self._course = _Course(not_before=now)
        self._report = _Report(since=now)
        self._failures = _Failures(
            backoff=Backoff(random, cap=settings.backoff_cap),
            verification=Backoff(random, cap=settings.verify_interval),
        )
        self._verify_at = now + settings.verify_interval

    @property
    def snapshot(self) -> Snapshot[T, Item] | None:
        """The last good state, None before there is one."""
        return self._store.snapshot

    @property
    def body(self) -> bytes | None:
        """Bytes of the last accepted answer; None before there is one."""
        return None if self._store.last is None else self._store.last.response.body

    @property
    def state(self) -> State:
        """The state, as in `status`."""
        return self._report.state

    # The next request

    def next_request(self, now: float, *, scarce: bool = False) -> NextRequest:
        """
        Return the next request and the earliest time for it.

        `now` is the present time; `scarce` says that connections are short, which makes polls wait shorter.
        """
        course, kind = self._course, self._course.following
        consistent = kind is Kind.CONFIRM or now < course.consistent_until
        if kind is not Kind.POLL:
            return NextRequest(
                kind=kind, at=course.not_before, deadline=self._settings.read_timeout, consistent=consistent
            )
        wait = self._wait_tuner.pick(now, longest_wait(self._settings, max_age=self.max_age, scarce=scarce))
        extra = ((self._spec.cursor_kind, str(course.position)), ("wait", f"{max(1, round(wait * 1000))}ms"))
        return NextRequest(
            kind=kind,
            at=course.not_before,
            deadline=poll_deadline(wait, self._settings),
            extra=extra,
            position=course.position,
            wait=wait,
            consistent=consistent,
        )

    def delay(self, seconds: float) -> None:
        """Put the next request off by `seconds`, for where many queries start at once."""
        self._course.not_before += seconds

    def on_over_budget(self, now: float, interval: float) -> None:
        """
        Turn to reads at intervals, because there is no connection for a poll.

        The next one is about `interval` seconds after `now`.
        """
        course = self._course
        course.following, course.position = Kind.READ, None
        course.over_budget, course.interval = True, interval
        course.not_before = now + spread(interval, self._random)
        self._settle(now)

    def start(self, asked: NextRequest, now: float) -> Sent:
        """Note that the request `asked` is about to be sent at `now`, and return its mark for `receive`."""
        course = self._course
        course.under_way, course.superseded, course.abandoned, course.old_token = asked, False, False, False
        if asked.kind is Kind.POLL:
            self._rate_limiter.sent(now)
            if course.over_budget:
                course.over_budget, course.interval = False, None
                self._settle(now)
        return self._store.send(now)

    def start_beside(self, now: float) -> Sent:
        """Note that a consistent read is about to be sent beside the loop at `now`, and return its mark."""
        return self._store.send(now)

    def token_changed(self, now: float) -> bool:
        """
        Discard what is asked with the old token, and read again at `now`.

        Returns True if a request is under way: its answer will not count, and a read beside it brings the data sooner.
        """
        course = self._course
        self._forget_denials()
        course.borrow_at = now
        course.superseded = course.old_token = course.under_way is not None
        if not course.old_token:
            self._read_again(now)
        return course.old_token

    def doubt(self, error: ConsulError | None, now: float, *, retry_at: float) -> None:
        """
        Note that the agent is in trouble (`error`), or with None that it is well or has another leader.

        A request under way is abandoned: the servers may hold it for longer than the trouble lasts. Nothing is counted
        as a failure. `now` is the present time, `retry_at` the time for the next read (see `try_again`).
        """
        course = self._course
        if error is not None:
            self._store.failed = True
            self._trouble(error, now, counts=False)
        course.abandoned = course.under_way is not None
        self.try_again(retry_at)

    def try_again(self, at: float) -> None:
        """
        End the pause after a failure because an agent is well again: the next read is made at `at`.

        Does nothing while a request is under way, and nothing to a query that is denied or throttled.
        """
        if self._course.under_way is None and self._report.state == "stale":
            self._read_again(at)

    @property
    def abandoned(self) -> bool:
        """True if the request under way is of no more use, so that the next one need not wait for it."""
        return self._course.abandoned

    def abandon(self, now: float) -> None:
        """
        Stop waiting for the request under way, and read again at `now`.

        Its answer will not count.
        """
        self._course.under_way, self._course.abandoned = None, False
        self._read_again(now)

    @property
    def verify_by(self) -> float | None:
        """The time by which a read has to prove the data; None while the query's own answers prove it."""
        idle = self.snapshot is None or self.end is not None or self._course.proves
        return None if idle else self._verify_at

    # The answer

    def prepare(self, asked: NextRequest, answer: Response) -> Iterator[None]:
        """
        Do the expensive part of `receive` for a large `answer` to `asked`, in steps.

        The iterator yields where the caller may let other tasks run.
        """
        return self._store.prepare(answer) if asked.kind is not Kind.INDEX else iter(())

    def receive(self, asked: NextRequest, sent: Sent, now: float, answer: Response | ConsulError) -> Outcome:
        """
        Take the answer to a request, or the error that came instead, and return the outcome.

        - `asked`: the request.
        - `sent`: its mark from `start`.
        - `now`: when the answer came.
        - `answer`: the answer or the error.
        """
        course, before = self._course, self.snapshot
        course.under_way = None
        verdict, outcome = self._outcome(asked, sent, now, answer)
        course.news = course.news or self.snapshot is not before
        self._step(asked, outcome, now)
        if now - sent.time > _FROZEN * asked.deadline and self.end is None:
            self._read_again(now)
        if outcome is not Outcome.FINAL:
            self._settle(now)
        odd = "" if outcome in _QUIET else outcome.name.lower().replace("_", " ")
        words = ", ".join(word for word in (verdict, odd) if word)
        self._record(asked.kind.value, asked.position, sent, now, answer=answer, verdict=words)
        return outcome

    def spent(self, seconds: float, now: float) -> None:
        """
        Note that processing an answer took `seconds`, which delays the next poll.

        It begins no sooner than ten times that after `now`.
        """
        if self._course.following is Kind.POLL:
            self._course.not_before = max(self._course.not_before, after_cost(seconds, now))

    def receive_beside(
        self, sent: Sent, now: float, answer: Response | ConsulError, *, same: bool = True, value: object = None
    ) -> tuple[ConsulError | None, bool]:
        """
        Take the answer to a consistent read that was made beside the loop.

        - `sent`: its mark from `start_beside`.
        - `now`: when the answer came.
        - `answer`: the answer, or the error that came instead.
        - `same`: it was a read of the query itself; False for a read of something else, which only proves that the
          servers answer.
        - `value`: what that other read brought, None for nothing.

        Returns the error (None for success), and True if the read was overtaken and has to be made again.
        """
        error, verdict, again = self._error_of(answer), "proof", False
        if error is None and isinstance(answer, Response):
            if same:
                error, verdict = self._take_beside(answer, sent, now)
                again = verdict == _OVERTAKEN and not self._store.satisfied_since(sent)
            else:
                self._store.verified(now, value)
        if error is not None:
            verdict = self._trouble(error, now)
            self._store.unproved = True
            self._verify_at = now + self._failures.verification.failed(now)
        else:
            self._verify_at = now + verify_interval(self._settings, max_age=self.max_age)
            self._forget_denials()
            self._settle(now)
        self._record("check", None, sent, now, answer=answer, verdict=verdict)
        return error, again

    def _take_beside(self, response: Response, sent: Sent, now: float) -> tuple[ConsulError | None, str]:
        course, before = self._course, self.snapshot
        answer = Answer(response, sent, now, response.meta.index)
        if self._store.overtaken(answer):
            return None, _OVERTAKEN
        try:
            verdict = self._store.take(answer, authoritative=True)
        except ConsulError as unreadable:
            return unreadable, ""
        if verdict is Verdict.BLIND:
            return ConsulError(_BLIND), ""
        self.last_index = answer.index or self.last_index
        if course.under_way is None:
            self._read_again(now)
        elif self.snapshot is not before:
            course.superseded = True  # what is under way may have been answered before this
            course.abandoned = course.abandoned or self._waits_in_vain(answer)
        if self.snapshot is not before and course.cached:
            course.consistent_until = now + _CACHE_IS_WRONG
        return None, verdict.value

    def _waits_in_vain(self, answer: Answer) -> bool:
        """Return True if the poll under way waits at an index that is higher than that of the servers."""
        asked = self._course.under_way
        if asked is None or not isinstance(asked.position, int) or answer.index is None:
            return False
        return answer.index < asked.position

    # Its meaning

    def _outcome(
        self, asked: NextRequest, sent: Sent, now: float, response: Response | ConsulError
    ) -> tuple[str, Outcome]:
        """Return the verdict on the data, and the outcome of the request."""
        error = self._error_of(response)
        if self._course.superseded and not self._still_counts(asked, error, response):
            self._store.failed = self._store.failed or error is not None
            return "", Outcome.SUPERSEDED
        if error is not None or not isinstance(response, Response):
            return type(error).__name__, self._failure(asked, error, now - sent.time, now)
        if asked.kind is Kind.INDEX:
            return "", self._index(response.meta, now)
        borrowed = self._course.position if self._course.borrows and asked.kind is Kind.READ else None
        index = response.meta.index if response.meta.index is not None else borrowed
        answer = Answer(response, sent, now, index if isinstance(index, int) else None)
        before = self.snapshot
        try:
            verdict = self._store.take(answer, authoritative=asked.kind is Kind.CONFIRM)
        except ConsulError as unreadable:
            return type(unreadable).__name__, self._failure(asked, unreadable, now - sent.time, now)
        if verdict is Verdict.DOUBTFUL:
            return verdict.value, Outcome.DOUBTFUL
        if verdict is Verdict.BLIND:
            self._trouble(ConsulError(_BLIND), now)
            self._store.failed = True
            return verdict.value, Outcome.BLIND
        self._forget_denials()
        self.last_index = answer.index or self.last_index
        return verdict.value, self._move(asked, answer, now, changed=self.snapshot is not before)

    def _still_counts(self, asked: NextRequest, error: ConsulError | None, response: Response | ConsulError) -> bool:
        """
        Return True if a poll's answer counts although a read beside the loop has changed the data.

        It does where it has a higher index of the same backend.
        """
        if self._course.old_token or asked.kind is not Kind.POLL:
            return False
        if error is not None or not isinstance(response, Response):
            return False
        index, last = response.meta.index, self._store.last
        if index is None or last is None or last.index is None:
            return False
        return index > last.index and response.meta.backend == last.meta.backend

    def _error_of(self, answer: Response | ConsulError) -> ConsulError | None:
        if isinstance(answer, ConsulError):
            return answer
        absent = isinstance(answer.error, NotFound) and answer.error.status is not None
        return None if absent and self._spec.value_when_absent is not None else answer.error

    def _index(self, meta: Meta, now: float) -> Outcome:
        """
        Return the outcome of reading the borrowed index.

        While it stands, the value that was read before is still true.
        """
        if not meta.index:
            return self._no_index(now)
        stands = meta.index == self._course.position
        self._course.position = meta.index
        return Outcome.INDEX_STANDS if stands else Outcome.INDEX_MOVED

    def _no_index(self, now: float) -> Outcome:
        self._course.borrows, self._course.borrow_at = False, now + _BORROW_AGAIN
        return Outcome.NO_INDEX

    def _move(self, asked: NextRequest, answer: Answer, now: float, *, changed: bool) -> Outcome:
        """Return the outcome of a good answer, by its position."""
        course, meta = self._course, answer.meta
        position: Position = meta.content_hash if self._spec.cursor_kind == "hash" else meta.index
        if position is None:
            return self._without_position(asked, answer, now, changed=changed)
        if not course.over_budget:
            course.interval = course.absent_since = None
        course.borrows = False
        comparable = asked.kind is Kind.POLL and meta.backend == course.backend
        if asked.kind is not Kind.CONFIRM:
            course.backend, course.proves, course.cached = meta.backend, answer.proves, meta.cache is not None
        course.position = position
        if position == 0:
            self.counters.zero += 1
            course.position = 1
            return Outcome.ZERO
        if asked.kind is not Kind.POLL:
            return Outcome.PLACED
        self._failures.backoff.worked(now)
        if position == asked.position:
            return self._stood_still(asked, answer, now)
        if comparable and isinstance(position, int) and isinstance(asked.position, int) and position < asked.position:
            self.counters.reset += 1
            return Outcome.WENT_BACK
        if changed or self._spec.value_when_absent is None:
            return Outcome.MOVED
        self._store.failed = True  # 1.8 wakes for a deletion with what is deleted, so this index proves nothing
        return Outcome.MOVED_ALONE

    def _stood_still(self, asked: NextRequest, answer: Answer, now: float) -> Outcome:
        if now - answer.sent.time >= _EARLY * asked.wait:
            self.counters.timeout += 1
            return Outcome.WAIT_OVER
        self.counters.early += 1
        if now - self._course.reread < self._settings.reread:
            return Outcome.EARLY_AGAIN
        self._course.reread = now
        return Outcome.EARLY

    def _without_position(self, asked: NextRequest, answer: Answer, now: float, *, changed: bool) -> Outcome:
        """Return the outcome of an answer without a position: borrow one, or read at intervals."""
        course = self._course
        course.borrows = course.borrows or (self._may_borrow and now >= course.borrow_at)
        if course.borrows:
            if asked.kind is Kind.POLL:
                self._failures.backoff.worked(now)
            elif course.position is not None:
                return Outcome.PLACED
            return Outcome.BORROWS
        if answer.absent:
            course.absent_since = now if course.absent_since is None else course.absent_since
            course.interval = absent_interval(now - course.absent_since, self._settings)
            return Outcome.ABSENT
        course.interval = slower_interval(course.interval, self._settings, changed=changed)
        return Outcome.UNPLACED

    def _failure(self, asked: NextRequest, error: ConsulError | None, elapsed: float, now: float) -> Outcome:
        """Return the outcome of a failure; the data stays as it is."""
        if error is None:
            return Outcome.FAILED
        failures = self._failures
        if asked.kind is Kind.INDEX and isinstance(error, PermissionDenied) and error.reason in DENIALS:
            return self._no_index(now)
        if isinstance(error, PermissionDenied) and error.reason in DENIALS and failures.denied_since is None:
            failures.denied_since = now
        denied_for = None if failures.denied_since is None else now - failures.denied_since
        if ends_watch(error, worked=self.snapshot is not None, denied_for=denied_for):
            self.end = error
            return Outcome.FINAL
        self._store.failed = True
        if asked.kind is Kind.POLL and cut_short(error, elapsed, asked.wait) and self._wait_tuner.cut(elapsed, now):
            return Outcome.CUT
        self._trouble(error, now)
        if isinstance(error, PermissionDenied):
            failures.denials += 1
            failures.unknown_token = error.reason not in DENIALS
            return Outcome.DENIED
        if isinstance(error, Throttled):
            return Outcome.THROTTLED
        if isinstance(error, NoLeader):
            return Outcome.LEADERLESS
        return Outcome.UNREACHABLE if is_unreachable(error) else Outcome.FAILED

    def _forget_denials(self) -> None:
        self._failures.denials, self._failures.denied_since = 0, None

    # The transition

    def _step(self, asked: NextRequest, outcome: Outcome, now: float) -> None:
        """Make the transition that belongs to the outcome."""
        transition, course = TRANSITIONS[asked.kind, outcome], self._course
        if transition.following is None:
            return
        course.following = transition.following
        if transition.following is Kind.READ and not (course.borrows and outcome is Outcome.INDEX_MOVED):
            course.position = None
        course.not_before = self._after(transition.pause, now)

    def _after(self, pause: Pause, now: float) -> float:
        """Return the earliest time for the next request."""
        course, settings, backoff = self._course, self._settings, self._failures.backoff
        match pause:
            case Pause.NONE:
                return now
            case Pause.RATE | Pause.COUNTED:
                news, course.news = course.news, False
                at = self._rate_limiter.next_turn(now, news=news)
                return at if pause is Pause.RATE else now
            case Pause.BACKOFF | Pause.REFUSED:
                return now + backoff.failed(now, refused=pause is Pause.REFUSED)
            case Pause.SHORT:
                return now + Backoff(self._random).failed(now)
            case Pause.INTERVAL:
                return now + spread(course.interval or 0.0, self._random)
            case Pause.ABSENT:
                return now + (course.interval or 0.0) * (0.75 + 0.25 * self._random())
            case Pause.DENIED:
                return now + denied_pause(self._failures.denials, settings, unknown=self._failures.unknown_token)
            case Pause.THROTTLED:
                return now + throttled_pause(settings, self._random, has_data=self.snapshot is not None)

    def _read_again(self, now: float) -> None:
        self._course.following, self._course.position, self._course.not_before = Kind.READ, None, now

    @property
    def _may_borrow(self) -> bool:
        return self._spec.index_from is not None and self._spec.cursor_kind == "index"

    # The report

    def _trouble(self, error: ConsulError, now: float, *, counts: bool = True) -> str:
        name = type(error).__name__
        if counts:
            self.counters.errors[name] = self.counters.errors.get(name, 0) + 1
        self._report.error, self._report.error_class, self._report.error_reason = str(error), name, error.reason
        kinds: dict[type[ConsulError], State] = {PermissionDenied: "denied", Throttled: "throttled"}
        self._enter(kinds.get(type(error), "stale"), now)
        return name

    def _settle(self, now: float) -> None:
        """Enter the state of a query whose last answer was no failure."""
        if self.snapshot is None or self._store.failed or self._store.unproved:
            return
        self._report.error, self._report.error_class, self._report.error_reason = "", "", None
        last = self._store.last
        steady: State = "absent" if last is not None and last.absent else "synced"
        self._enter(steady if self._course.interval is None else "polling", now)

    def _enter(self, state: State, now: float) -> None:
        if state != self._report.state:
            self._report.state, self._report.since = state, now

    def _record(
        self, kind: str, position: Position, sent: Sent, now: float, *, answer: Response | ConsulError, verdict: str
    ) -> None:
        self.counters.requests += 1
        body = answer.body if isinstance(answer, Response) else b""
        meta = answer.meta if isinstance(answer, Response) else Meta()
        got = meta.index if meta.index is not None else meta.content_hash
        self.poll_log.append(PollRecord(now, kind, position, got, now - sent.time, answer.status, len(body), verdict))

    def status(self, now: float) -> Status:
        """
        Return the status of this query at `now`.

        Fields that only the poller knows are left at their defaults.
        """
        snapshot, store, course, report = self.snapshot, self._store, self._course, self._report
        waiting = report.error and course.under_way is None
        return Status(
            state=report.state,
            since=report.since,
            age=store.age(now),
            index=snapshot.index if snapshot else None,
            changed=snapshot.time if snapshot else None,
            backend=course.backend,
            wait=self._wait_tuner.limit,
            interval=course.interval,
            failures=self._failures.backoff.failures,
            retry_in=max(0.0, course.not_before - now) if waiting else None,
            error=report.error,
            error_class=report.error_class,
            error_reason=report.error_reason,
            filtered=store.meta.filtered_by_acls,
            anonymous=store.last is not None and store.last.response.anonymous,
            policy=store.meta.default_acl_policy,
            counters=msgspec.structs.replace(self.counters, errors=dict(self.counters.errors)),
        )
