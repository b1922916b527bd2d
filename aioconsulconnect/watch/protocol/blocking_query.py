"""
The protocol of one blocking query, as a pure state machine: no I/O, and time and randomness are handed in.

Theory. A read tells the state and its position (X-Consul-Index, or a hash). A poll sends that position and a wait; the
server holds it until the position moves or the wait is over. That is all Consul promises, and it keeps less: the
position may go back, stand still while the data changes, be 0, be missing, or belong to another server; an answer may
lack items because somebody lost a leader or replays a log. So:

1. The position is a hint when to look; whether something changed is decided by the content alone, first as bytes.
2. After whatever is odd the position is dropped, and the next request is a plain read, which asks for the truth.
3. No failure changes the data, and no answer ends a watch that has had data. What is missing in an answer, where there
   is any doubt, is confirmed by the leader first.
4. An answer counts in the order of what it says, not of its arrival: what was overtaken is asked again.
5. Every turn is paced, and every failure is waited for.

The states, events and transitions are data: `transitions`. Here an event is named for each answer, and the table
walked. `next_request` says what to send next and not before when, `start` and `receive` frame the request,
`start_beside` and `receive_beside` a plain read that is made beside the loop (a refresh, a verification, a new token).
In `snapshot` is the last good state, in `end` the error that no waiting will heal. `abandoned` says that what is under
way cannot tell what is asked now: the caller leaves it to its end, and sends the next request.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Generic, TypeVar

import msgspec

from aioconsulconnect.errors import ConsulError, NoLeader, NotFound, PermissionDenied, Throttled
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

_LOGGED = 50  # kept for explain()
_FROZEN = 1.5  # times the deadline: then it was not the server that was slow
_EARLY = 0.9  # of the wait
_BORROW_AGAIN = 60.0  # seconds after which an index is borrowed again that could not be
_CACHE_IS_WRONG = 660.0  # seconds: how long an agent's cache was seen to outlive the truth
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
)  # not worth a word in the log of requests


class NextRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What to send next, not before `at`; a poll has `position` and `wait`; `plain`: past caches, to the leader."""

    kind: Kind
    at: float
    deadline: float
    extra: Parameters = ()
    position: Position = None
    wait: float = 0.0
    plain: bool = False


class _Course(msgspec.Struct, kw_only=True):
    """Where the loop is: what it asks next and when, from which position, and what is under way."""

    following: Kind = Kind.READ
    not_before: float = 0.0
    position: Position = None
    backend: str | None = None  # of the position: those of two backends do not compare
    proves: bool = True  # whether the answers of the loop come from the servers
    cached: bool = False
    borrows: bool = False
    borrow_at: float = float("-inf")  # when a borrowed index is tried again
    under_way: NextRequest | None = None
    news: bool = False  # whether this turn has brought a change
    superseded: bool = False  # what is under way may be older than what is known
    old_token: bool = False  # what is under way was asked with another token
    abandoned: bool = False
    absent_since: float | None = None
    interval: float | None = None  # between reads, where there is no poll
    over_budget: bool = False
    reread: float = float("-inf")
    plain_until: float = float("-inf")


class _Report(msgspec.Struct, kw_only=True):
    """What the query says of itself: its state, since when, and the failure that it has."""

    state: State = "starting"
    since: float = 0.0
    error: str = ""
    error_class: str = ""


class _Failures(msgspec.Struct, kw_only=True):
    """What went wrong in a row: failures, failed verifications, denials."""

    backoff: Backoff
    verification: Backoff
    denials: int = 0
    unknown_token: bool = False
    denied_since: float | None = None


class BlockingQuery(Generic[T, Item]):
    """One blocking query: the caller sends `next_request`, one at a time, and hands back what came."""

    def __init__(
        self, request: Request[T], spec: WatchSpec[T, Item], settings: PollSettings, random: Random, now: float
    ) -> None:
        self.end: ConsulError | None = None
        self.counters: Counters = Counters()
        self.poll_log: deque[PollRecord] = deque(maxlen=_LOGGED)
        self.last_index: int = 0  # the index that the data is known to have reached
        self.max_age: float | None = None  # the oldest state that a consumer wants
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
        """The last good state."""
        return self._store.snapshot

    @property
    def state(self) -> State:
        """The state that `status` tells."""
        return self._report.state

    # What to do

    def next_request(self, now: float, *, scarce: bool = False) -> NextRequest:
        """The next request, and the earliest time for it; `scarce`: connections are short, so polls are."""
        course, kind = self._course, self._course.following
        plain = kind is Kind.CONFIRM or now < course.plain_until
        if kind is not Kind.POLL:
            return NextRequest(kind=kind, at=course.not_before, deadline=self._settings.read_timeout, plain=plain)
        wait = self._wait_tuner.pick(now, longest_wait(self._settings, max_age=self.max_age, scarce=scarce))
        extra = ((self._spec.cursor_kind, str(course.position)), ("wait", f"{max(1, round(wait * 1000))}ms"))
        return NextRequest(
            kind=kind,
            at=course.not_before,
            deadline=poll_deadline(wait, self._settings),
            extra=extra,
            position=course.position,
            wait=wait,
            plain=plain,
        )

    def delay(self, seconds: float) -> None:
        """Put the next request off: many start at once."""
        self._course.not_before += seconds

    def on_over_budget(self, now: float, interval: float) -> None:
        """Read in `interval` seconds instead: there is no connection for a poll."""
        course = self._course
        course.following, course.position = Kind.READ, None
        course.over_budget, course.interval = True, interval
        course.not_before = now + spread(interval, self._random)
        self._settle(now)

    def start(self, asked: NextRequest, now: float) -> Sent:
        """Note that the request is about to be sent."""
        course = self._course
        course.under_way, course.superseded, course.abandoned, course.old_token = asked, False, False, False
        if asked.kind is Kind.POLL:
            self._rate_limiter.sent(now)
            if course.over_budget:
                course.over_budget, course.interval = False, None
                self._settle(now)
        return self._store.send(now)

    def start_beside(self, now: float) -> Sent:
        """Note that a plain read is about to be sent beside the loop."""
        return self._store.send(now)

    def token_changed(self, now: float) -> bool:
        """Believe nothing that was asked with the old token, and read at once; whether something is under way."""
        course = self._course
        self._forget_denials()
        course.borrow_at = now
        course.superseded = course.old_token = course.under_way is not None
        if not course.old_token:
            self._read_again(now)
        return course.old_token

    def doubt(self, error: ConsulError | None, now: float, *, retry_at: float) -> None:
        """
        Hear that the agent is silent or has lost its leader (`error`), or is well again or follows another leader.

        A request under way is of no more use then: the servers may hold it longer than the trouble lasts. `retry_at`:
        see `try_again`.
        """
        course = self._course
        if error is not None:
            self._store.failed = True
            self._trouble(error, now, counts=False)
        course.abandoned = course.under_way is not None
        self.try_again(retry_at)

    def try_again(self, at: float) -> None:
        """End the pause after a failure, because an agent is well again; not where one is denied or throttled."""
        if self._course.under_way is None and self._report.state == "stale":
            self._read_again(at)

    @property
    def abandoned(self) -> bool:
        """Whether the request under way is of no more use: the next one need not wait for it."""
        return self._course.abandoned

    def abandon(self, now: float) -> None:
        """Let go of the request under way: what comes of it does not count; the next one is a read, at `now`."""
        self._course.under_way, self._course.abandoned = None, False
        self._read_again(now)

    @property
    def verify_by(self) -> float | None:
        """When a plain read has to prove that the source is not blind; None while its own answers prove it."""
        idle = self.snapshot is None or self.end is not None or self._course.proves
        return None if idle else self._verify_at

    # What came

    def prepare(self, asked: NextRequest, answer: Response) -> Iterator[None]:
        """Do the heavy part of `receive` for a big answer; where it yields, the caller lets others run."""
        return self._store.prepare(answer) if asked.kind is not Kind.INDEX else iter(())

    def receive(self, asked: NextRequest, sent: Sent, now: float, answer: Response | ConsulError) -> Outcome:
        """Take the answer to a request, or the error that came instead; what it was."""
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
        """Note what it cost to take an answer: the next poll does not begin before ten times that."""
        if self._course.following is Kind.POLL:
            self._course.not_before = max(self._course.not_before, after_cost(seconds, now))

    def receive_beside(
        self, sent: Sent, now: float, answer: Response | ConsulError, *, same: bool = True, value: object = None
    ) -> tuple[ConsulError | None, bool]:
        """
        Take a plain read that was made beside the loop; the error that it was, and whether it must be made again.

        `same` is false for a read of something else, which proves that the servers are there; `value` is what it said.
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
            course.plain_until = now + _CACHE_IS_WRONG
        return None, verdict.value

    def _waits_in_vain(self, answer: Answer) -> bool:
        """Whether the poll under way waits for a position that the servers have not reached any more."""
        asked = self._course.under_way
        if asked is None or not isinstance(asked.position, int) or answer.index is None:
            return False
        return answer.index < asked.position

    # What it means

    def _outcome(
        self, asked: NextRequest, sent: Sent, now: float, response: Response | ConsulError
    ) -> tuple[str, Outcome]:
        """What was made of the data, and what the answer means for the loop."""
        error = self._error_of(response)
        if self._course.superseded and not self._still_counts(asked, error, response):
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
        """Whether an answer counts although a read beside the loop changed the data meanwhile: it stands higher."""
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
        """The index that is borrowed: where it stands, what was read before is still true."""
        if not meta.index:
            return self._no_index(now)
        stands = meta.index == self._course.position
        self._course.position = meta.index
        return Outcome.INDEX_STANDS if stands else Outcome.INDEX_MOVED

    def _no_index(self, now: float) -> Outcome:
        self._course.borrows, self._course.borrow_at = False, now + _BORROW_AGAIN
        return Outcome.NO_INDEX

    def _move(self, asked: NextRequest, answer: Answer, now: float, *, changed: bool) -> Outcome:
        """What the position of a good answer means."""
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
        """The answer names no position: borrow one, or read at intervals."""
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
        """Keep the data, and say what kind of failure it is."""
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
        if asked.kind is Kind.POLL and cut_short(error, elapsed, asked.wait) and self._wait_tuner.cut(elapsed, now):
            return Outcome.CUT
        self._store.failed = True
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

    # Where to go on

    def _step(self, asked: NextRequest, outcome: Outcome, now: float) -> None:
        """Walk the table."""
        transition, course = TRANSITIONS[asked.kind, outcome], self._course
        if transition.following is None:
            return
        course.following = transition.following
        if transition.following is Kind.READ and not (course.borrows and outcome is Outcome.INDEX_MOVED):
            course.position = None
        course.not_before = self._after(transition.pause, now)

    def _after(self, pause: Pause, now: float) -> float:
        """The earliest time for the next request."""
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

    # What it says of itself

    def _trouble(self, error: ConsulError, now: float, *, counts: bool = True) -> str:
        name = type(error).__name__
        if counts:
            self.counters.errors[name] = self.counters.errors.get(name, 0) + 1
        self._report.error, self._report.error_class = str(error), name
        kinds: dict[type[ConsulError], State] = {PermissionDenied: "denied", Throttled: "throttled"}
        self._enter(kinds.get(type(error), "stale"), now)
        return name

    def _settle(self, now: float) -> None:
        """Enter the state of a query whose last answer was no failure."""
        if self.snapshot is None or self._store.failed or self._store.unproved:
            return
        self._report.error = self._report.error_class = ""
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
        """What is known about this query at `now`."""
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
            filtered=store.meta.filtered_by_acls,
            anonymous=store.last is not None and store.last.response.anonymous,
            policy=store.meta.default_acl_policy,
            counters=msgspec.structs.replace(self.counters, errors=dict(self.counters.errors)),
        )
