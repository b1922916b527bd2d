"""
The protocol of one blocking query, as a pure state machine: no I/O, and time and randomness are handed in.

Theory. A read tells the state and its place (X-Consul-Index, or a hash). A poll sends that place and a wait; the server
holds it until the place moves or the wait is over. That is all Consul promises, and it keeps less: the place may go
back, stand still while the data changes, be 0, be missing, or belong to another server; the answer may be empty because
somebody lost a leader, a token or rights. So:

1. The place is a hint when to look; whether something changed is decided by the content alone, first as bytes.
2. After whatever is odd the place is dropped, and the next request is a plain read, which asks for the truth.
3. No failure changes the data. What is missing in an answer goes through `guard` first.
4. Every request is paced, and every failure is waited for; there is no path back to the server around either.

`ask` says what to send next and not before when, `start` and `took` frame the request, `aside` takes a plain read that
was made beside the loop (a refresh, a check, a new token). In `snapshot` is the last good state, in `end` the error
that no waiting will heal.

    after            answer                                      next      emits            not before
    ---------------  ------------------------------------------  --------  ---------------  ------------------------
    read, confirm    good, with a place                          poll      if it differs    pace
    poll             place moved on                              poll      if it differs    pace
    poll             same place, wait over                       poll      if it differs    pace
    poll             same place, early (restore, shutdown)       read      if it differs    pace; once in 5 s
    poll             lower place, same backend (reset)           read      if it differs    pace
    any              place 0                                     poll 1    if it differs    backoff
    any              no place, another read's can be borrowed    list      if it differs    pace
    list             place moved                                 read      no               free
    list             place stands                                poll      no               free
    any              no place, nothing to borrow                 read      if it differs    5 s, growing to 60 s
    any but confirm  items missing, doubtful (guard)             confirm   no               pace
    any              items hidden (guard): denied                as above  no               pace
    poll             cut by a proxy (short of its wait)          read      no               first backoff
    any              403: denied                                 read      no               30 s, growing to 300 s
    any              429, rate limit: throttled                  read      no               60 to 180 s
    any              any other failure, unreadable: stale        read      no               backoff
    any              400, 404, 405; 403 before any data          none      ends             never
    any              answered long after its deadline (frozen)   read      as above         pace
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Mapping
from typing import Generic, Literal, TypeVar

import msgspec

from aioconsulconnect import guard
from aioconsulconnect.errors import (
    BadRequest,
    ConnectionFailed,
    ConsulError,
    NotFound,
    PermissionDenied,
    Throttled,
    UnreadableResponse,
    Unsupported,
)
from aioconsulconnect.options import Meta
from aioconsulconnect.pacing import Pace, PollSettings, Waits
from aioconsulconnect.request import Blocking, Parameters, Request, Response, failure, interpret
from aioconsulconnect.retry import PollBackoff
from aioconsulconnect.status import Counters, Place, State, Status, Turn

T = TypeVar("T")
Item = TypeVar("Item")
Kind = Literal["read", "poll", "list", "confirm"]

_TURNS = 50  # kept for explain()
_FROZEN = 1.5  # times the deadline: then it was not the server that was slow
_EARLY = 0.9  # of the wait


class Snapshot(msgspec.Struct, Generic[T, Item], frozen=True, kw_only=True):
    """A good state: its value, its parts by stable key, where and when it was seen; `version` counts from 1."""

    value: T
    items: Mapping[Hashable, Item]
    index: int | None
    time: float
    version: int
    body: bytes


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """What to send next, not before `at`: `place` and `wait` only for a poll."""

    kind: Kind
    at: float
    deadline: float
    extra: Parameters = ()
    place: Place = None
    wait: float = 0.0


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
        self.snapshot: Snapshot[T, Item] | None = None
        self.end: ConsulError | None = None
        self.counters = Counters()
        self.turns: deque[Turn] = deque(maxlen=_TURNS)
        self.state: State = "starting"
        self.since = now
        self.flying: Ask | None = None
        self.strayed = 0  # how often another address is worth a try
        self.place: Place = None
        self.reached = 0  # the index of the last good answer
        self._request = request
        self._blocking = blocking
        self._settings = settings
        self._random = random
        self._pace = Pace(settings.free_turns, settings.turn)
        self._waits = Waits(settings.wait, settings.shortest_wait, random)
        self._backoff = PollBackoff(random, cap=settings.backoff_cap)
        self._next: Kind = "read"
        self._not_before = now
        self._meta = Meta()  # of the last good answer
        self._backend: str | None = None  # of the last answer with a place
        self._body = b""
        self._absent = False
        self._failed_since = False
        self._proved: float | None = None
        self._doubt = False  # the last check read failed, so answers that prove nothing do not count
        self._denials = 0
        self._error = ""
        self._hidden = False
        self._borrowing = blocking.borrow is not None and blocking.by == "index"
        self._distrusted = False
        self._reread = float("-inf")
        self._interval: float | None = None
        self._crowded = False

    # What to do

    def ask(self, now: float) -> Ask:
        """The next request, and the earliest time for it."""
        free = self._next == "list" or (self._borrowing and self._next == "read" and self.place is not None)
        at = self._not_before if free else max(self._not_before, self._pace.at(now))
        if self._next != "poll":
            return Ask(kind=self._next, at=at, deadline=self._settings.read_timeout)
        wait = self._waits.pick(now)
        extra = ((self._blocking.by, str(self.place)), ("wait", f"{max(1, round(wait * 1000))}ms"))
        deadline = wait * 17 / 16 + self._settings.margin
        return Ask(kind="poll", at=at, deadline=deadline, extra=extra, place=self.place, wait=wait)

    def delay(self, seconds: float) -> None:
        """Put the next request off: many start at once."""
        self._not_before += seconds

    def crowded(self, now: float, interval: float) -> None:
        """There is no connection for a poll: read in `interval` seconds instead."""
        self._next, self.place, self._crowded, self._interval = "read", None, True, interval
        self._not_before = now + interval * (0.75 + 0.5 * self._random())
        if self.state in {"synced", "absent"}:
            self._enter("polling", now)

    def start(self, ask: Ask, now: float) -> None:
        """The request is about to be sent."""
        self.flying = ask
        self._crowded = False
        if ask.kind != "list" and not (self._borrowing and ask.kind == "read" and self.place is not None):
            self._pace.spend(now)

    def distrust(self, now: float) -> None:
        """What is under way was asked with a token that no longer counts."""
        self._distrusted = self.flying is not None
        self._denials = 0
        if self.flying is None:
            self._read_again(now)

    @property
    def checked_by(self) -> float | None:
        """When this watch has to prove itself by a plain read; None while its own answers prove it."""
        if self.snapshot is None or self.end is not None or _proves(self._meta):
            return None
        last = self._proved if self._proved is not None else self.since
        return last + self._settings.check

    # What came

    def took(self, ask: Ask, sent: float, now: float, answer: Response | ConsulError) -> None:
        """Take the answer to `ask`, or the error that came instead."""
        self.flying = None
        elapsed = now - sent
        distrusted, self._distrusted = self._distrusted, False
        if distrusted:
            verdict = "superseded"
            self._read_again(now)
        else:
            verdict = self._take(ask, elapsed, now, answer)
        if elapsed > _FROZEN * ask.deadline and self.end is None:
            self._read_again(now)
        self._record(ask.kind, ask.place, sent, now, answer=answer, verdict=verdict)

    def aside(self, sent: float, now: float, answer: Response | ConsulError) -> ConsulError | None:
        """Take a plain read made beside the loop; the error that it was."""
        error = self._error_of(answer)
        before, verdict = self.snapshot, ""
        if error is None and isinstance(answer, Response):
            try:
                verdict = self._content("confirm", answer, answer.meta, now)
            except UnreadableResponse as unreadable:
                error = unreadable
            else:
                if self.flying is None:
                    self._read_again(now)
                else:
                    self._distrusted = self._distrusted or self.snapshot is not before
        if error is not None:
            verdict = self._trouble(error, now)
            self._doubt = True
        self._record("check", None, sent, now, answer=answer, verdict=verdict)
        return error

    def proven(self, now: float) -> None:
        """The servers answered another read: what the agent says is theirs."""
        self._proved, self._doubt = now, False
        self._settle(now)

    # What to make of it

    def _take(self, ask: Ask, elapsed: float, now: float, answer: Response | ConsulError) -> str:
        error = self._error_of(answer)
        if error is None and isinstance(answer, Response):
            meta = answer.meta
            if ask.kind == "list":
                return self._listed(meta, now)
            try:
                verdict = self._content(ask.kind, answer, meta, now)
            except UnreadableResponse as unreadable:
                error = unreadable
            else:
                if verdict == "confirm":
                    self._read_again(now)
                    self._next = "confirm"
                    return verdict
                oddity = self._move(ask, meta, elapsed, now, changed=verdict in {"first", "changed"})
                return f"{verdict}, {oddity}" if oddity else verdict
        return self._fail(ask, error, elapsed, now) if error is not None else ""

    def _error_of(self, answer: Response | ConsulError) -> ConsulError | None:
        if isinstance(answer, ConsulError):
            return answer
        error = failure(self._request, answer)
        if isinstance(error, NotFound) and answer.status == 404 and self._blocking.absent is not None:  # noqa: PLR2004
            return None
        return error

    def _content(self, kind: Kind, response: Response, meta: Meta, now: float) -> str:
        """Compare with what is known, publish a difference that can be believed; what it was."""
        old = self.snapshot
        absent = response.status == 404  # noqa: PLR2004
        if old is not None and absent == self._absent and response.body == self._body:
            self.counters.unchanged += 1
            self._good(response, meta, now)
            return "unchanged"
        self.counters.decoded += 1
        make_absent = self._blocking.absent
        value = make_absent() if absent and make_absent else interpret(self._request, response)
        items = self._blocking.items(value)
        known = None if old is None else guard.Known(old.items.keys(), self._meta, self._failed_since)
        firm, stale = kind == "confirm", self._request.options.consistency == "stale"
        match guard.judge(known, items.keys(), meta, firm=firm, stale=stale, fall=self._settings.fall):
            case "confirm":
                self.counters.confirm += 1
                return "confirm"
            case "hidden" if old is not None:
                self.counters.hidden += 1
                self._hidden = True
                self._error = "the token no longer sees everything that it saw"
                self._enter("denied", now)
                return "hidden"
            case _:
                pass
        verdict = "first"
        if old is not None:
            items = {
                key: item if (was := old.items.get(key)) != item or was is None else was for key, item in items.items()
            }
            verdict = "unchanged" if items == old.items else "changed"
        if verdict == "unchanged":
            self.counters.unchanged += 1
        else:
            self.counters.changed += 1
            version = old.version + 1 if old else 1
            self.snapshot = Snapshot(
                value=value,
                items=items,
                index=meta.index or self._listed_index(),
                time=now,
                version=version,
                body=response.body,
            )
        self._good(response, meta, now)
        return verdict

    def _good(self, response: Response, meta: Meta, now: float) -> None:
        self._body, self._absent, self._meta = response.body, response.status == 404, meta  # noqa: PLR2004
        self._hidden = False
        self._failed_since = False
        self._denials = 0
        self.reached = meta.index or self.reached
        if _proves(meta):
            self._proved, self._doubt = now, False

    def _settle(self, now: float) -> None:
        """The state after an answer that was no failure."""
        if self.snapshot is None or self._doubt or self._hidden:
            return
        self._error = ""
        if self._interval is not None:
            self._enter("polling", now)
        else:
            self._enter("absent" if self._absent else "synced", now)

    def _listed(self, meta: Meta, now: float) -> str:
        """The index that is borrowed: where it stands, what was read before is still true."""
        if not meta.index:
            self._borrowing = False
            return self._unplaced(now, changed=False)
        stands = meta.index == self.place
        self.place = self.reached = meta.index
        self._next, self._not_before = ("poll" if stands else "read"), now
        return "unchanged" if stands else "moved"

    def _listed_index(self) -> int | None:
        return self.place if self._borrowing and isinstance(self.place, int) else None

    def _move(self, ask: Ask, meta: Meta, elapsed: float, now: float, *, changed: bool) -> str:
        """Decide where to go on from the place that a good answer names; what was odd about it."""
        place: Place = meta.content_hash if self._blocking.by == "hash" else meta.index
        if place is None:
            return self._unplaced(now, changed=changed)
        self._interval = None
        self._next, self._not_before, self.place = "poll", now, place
        same_backend, self._backend = meta.backend == self._backend, meta.backend
        if place == 0:
            self.counters.zero += 1
            self.place, self._not_before = 1, now + self._backoff.failed(now)
            oddity = "zero"
        elif ask.kind != "poll":
            oddity = ""
        else:
            self._backoff.worked(now)
            oddity = self._compare(ask, place, elapsed, now, same_backend=same_backend)
        self._settle(now)
        return oddity

    def _compare(self, ask: Ask, place: int | str, elapsed: float, now: float, *, same_backend: bool) -> str:
        if isinstance(place, int) and isinstance(ask.place, int) and place < ask.place and same_backend:
            self.counters.reset += 1
            self._read_again(now)
            return "reset"
        if place != ask.place:
            return ""
        if elapsed >= _EARLY * ask.wait:
            self.counters.timeout += 1
            return "timeout"
        self.counters.early += 1
        if now - self._reread >= self._settings.reread:
            self._reread = now
            self._read_again(now)
        return "early"

    def _unplaced(self, now: float, *, changed: bool) -> str:
        """The answer names no place: borrow one, or read at intervals."""
        if self._borrowing:
            after_list = self._next == "read" and self.place is not None
            self._next, self._not_before = ("poll" if after_list else "list"), now
            self._backoff.worked(now)
            self._settle(now)
            return "borrowed"
        first, longest = self._settings.interval
        self._interval = first if changed or self._interval is None else min(longest, self._interval * 1.5)
        self._next, self.place = "read", None
        self._not_before = now + self._interval * (0.75 + 0.5 * self._random())
        self._settle(now)
        return "no index"

    def _read_again(self, now: float) -> None:
        self._next, self.place, self._not_before = "read", None, now

    def _fail(self, ask: Ask, error: ConsulError, elapsed: float, now: float) -> str:
        """Keep the data, drop the place, and wait."""
        if ask.kind == "list" and isinstance(error, PermissionDenied):
            self._borrowing = False
            self._read_again(now)
            return "not allowed to list"
        if self._is_final(error):
            self.end = error
            return "end"
        self._next, self.place = "read", None
        if ask.kind == "poll" and _is_cut(error, elapsed, ask.wait) and self._waits.cut(elapsed, now):
            self._not_before = now + PollBackoff(self._random).failed(now)
            return "cut"
        if isinstance(error, PermissionDenied):
            first, longest = self._settings.denied
            pause = min(longest, first * 2**self._denials)
            self._denials += 1
        elif isinstance(error, Throttled):
            low, high = self._settings.throttled
            pause = low + (high - low) * self._random()
        else:
            self.strayed += 1
            pause = self._backoff.failed(now)
        self._not_before = now + pause
        return self._trouble(error, now)

    def _trouble(self, error: ConsulError, now: float) -> str:
        name = type(error).__name__
        self.counters.errors[name] = self.counters.errors.get(name, 0) + 1
        self._failed_since = True
        self._error = str(error)
        if self.snapshot is not None:
            named: dict[type[ConsulError], State] = {PermissionDenied: "denied", Throttled: "throttled"}
            self._enter(named.get(type(error), "stale"), now)
        return name

    def _is_final(self, error: ConsulError) -> bool:
        """Whether no waiting will heal it: the request itself is refused, or it never worked and rights forbid it."""
        refused = isinstance(error, BadRequest | NotFound | Unsupported)
        client_error = error.status is None or error.status < 500  # noqa: PLR2004 - a 500 may be anything
        never = self.snapshot is None
        return (refused and (client_error or never)) or (isinstance(error, PermissionDenied) and never)

    def _enter(self, state: State, now: float) -> None:
        if state != self.state:
            self.state, self.since = state, now

    def _record(
        self, asked: str, place: Place, sent: float, now: float, *, answer: Response | ConsulError, verdict: str
    ) -> None:
        self.counters.turns += 1
        response = answer if isinstance(answer, Response) else None
        meta = response.meta if response else Meta()
        self.turns.append(
            Turn(
                time=now,
                asked=asked,
                sent=place,
                got=meta.index if meta.index is not None else meta.content_hash,
                took=now - sent,
                status=response.status if response else answer.status if isinstance(answer, ConsulError) else None,
                size=len(response.body) if response else 0,
                verdict=verdict,
            )
        )

    def status(self, now: float) -> Status:
        """What is known about this query at `now`."""
        snapshot, meta = self.snapshot, self._meta
        held = self.flying is not None and self.flying.kind == "poll" and _proves(meta) and not self._failed_since
        proved = now if held else self._proved if self._proved is not None else self.since
        age = now - proved + (meta.last_contact or 0)
        if meta.age is not None and meta.last_contact is not None:
            age = max(age, meta.age)  # without LastContact it is a leaf, whose Age is that of the certificate
        waiting = max(0.0, self._not_before - now) if self._error and self.flying is None else None
        return Status(
            state=self.state,
            since=self.since,
            age=None if snapshot is None else age,
            index=snapshot.index if snapshot else None,
            changed=snapshot.time if snapshot else None,
            backend=meta.backend,
            wait=self._waits.limit,
            interval=self._interval,
            failures=self._backoff.failures,
            retry_in=waiting,
            error=self._error,
            filtered=meta.filtered_by_acls or self._hidden,
            policy=meta.default_acl_policy,
            counters=msgspec.structs.replace(self.counters, errors=dict(self.counters.errors)),
        )


def _proves(meta: Meta) -> bool:
    """Whether an answer came from the servers: not from the agent's cache, and not from its streaming view."""
    return meta.backend != "streaming" and meta.cache is None


def _is_cut(error: ConsulError, elapsed: float, wait: float) -> bool:
    """Whether something between us and Consul can have ended a poll: early, and not in Consul's words."""
    if elapsed >= wait:
        return False
    if isinstance(error, ConnectionFailed):
        return True
    gateway = error.status in {408, 502, 504} or (error.status == 503 and error.text[:1] == "<")  # noqa: PLR2004
    return gateway or "i/o deadline reached" in error.text
