"""Status, counters and events: everything that a watch reports about itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import msgspec

from aioconsulconnect.errors import ErrorReason

State = Literal["starting", "synced", "absent", "polling", "throttled", "denied", "stale", "closed"]
Position = int | str | None


class PollRecord(msgspec.Struct, frozen=True):
    """
    Record of one request of a poller and what came of it, for `explain()`; it never holds a secret.

    - `time`: when the answer came, on the client's clock.
    - `asked`: read, poll, list (the borrowed index), confirm, or check (a consistent read beside the loop).
    - `sent`: index or hash that was sent, None for none.
    - `got`: index or hash that came back, None for none.
    - `took`: seconds from the request to the answer.
    - `status`: HTTP status, None without an answer.
    - `size`: bytes of the body.
    - `verdict`: what was made of the answer.
    """

    time: float
    asked: str
    sent: Position
    got: Position
    took: float
    status: int | None
    size: int
    verdict: str


class Counters(msgspec.Struct, kw_only=True):
    """
    Counters of one poller since it began, shared by all its consumers.

    - `requests`: requests that were answered or failed.
    - `changed`: answers that brought new data, the first one included.
    - `unchanged`: answers that brought the same data.
    - `early`: polls that came back before the wait was over, with the same index or hash.
    - `reset`: polls that came back with a lower index of the same backend.
    - `timeout`: polls whose wait was over without a change.
    - `zero`: answers with index 0.
    - `confirm`: answers that a consistent read had to confirm.
    - `decoded`: answers that were decoded because their bytes were new.
    - `merged`: states that slow consumers of the latest state skipped.
    - `dropped`: states that slow consumers of every state lost.
    - `errors`: failures by class name.
    """

    requests: int = 0
    changed: int = 0
    unchanged: int = 0
    early: int = 0
    reset: int = 0
    timeout: int = 0
    zero: int = 0
    confirm: int = 0
    decoded: int = 0
    merged: int = 0
    dropped: int = 0
    errors: dict[str, int] = msgspec.field(default_factory=dict[str, int])


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """
    Status of a watch: its state, the age of its data, and the failure that it has, if any.

    - `state`: starting (no data yet), synced, absent (synced, and what is watched does not exist), polling (reads at an
      `interval`, because the server cannot block on it or because there is no connection left for a poll), throttled,
      denied (the token is refused), stale (something fails), closed. In throttled, denied and stale the last good data
      stays readable.
    - `since`: when the state began.
    - `age`: seconds since the servers last confirmed the data, None before there is data. While a poll is open it
      grows, up to the wait of the poll.
    - `index`: Consul's index of the answer that brought the data, None for none.
    - `changed`: when that answer came, None before there is data.
    - `address`: the agent in use.
    - `backend`: X-Consul-Query-Backend of the last answer, None where Consul does not name it.
    - `wait`: longest wait that polls ask for now, in seconds.
    - `interval`: seconds between reads where there are no polls, else None.
    - `failures`: failures in a row, as the backoff counts them.
    - `retry_in`: seconds to the next try after a failure, else None.
    - `error`, `error_class`: the last failure while it lasts, else empty; `error_reason` why, else None.
    - `filtered`: the token may not see everything (Consul 1.11 tells).
    - `anonymous`: no token was sent. Under this or `filtered`, what is missing may only be hidden.
    - `policy`: default ACL policy that the agent names, None where it names none.
    - `consumers`: number of watches that share the poll.
    - `zombies`: polls of the whole client that were given up and that the servers still hold.
    - `counters`: what was counted since the poll began.

    Times are seconds on the client's clock (`time.monotonic`).
    """

    state: State
    since: float
    age: float | None = None
    index: int | None = None
    changed: float | None = None
    address: str = ""
    backend: str | None = None
    wait: float = 0.0
    interval: float | None = None
    failures: int = 0
    retry_in: float | None = None
    error: str = ""
    error_class: str = ""
    error_reason: ErrorReason | None = None
    filtered: bool = False
    anonymous: bool = False
    policy: str | None = None
    consumers: int = 0
    zombies: int = 0
    counters: Counters = msgspec.field(default_factory=Counters)


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """
    Event for the metrics hook: a request of a poll, a change of state, or a delivery to a consumer.

    - `kind`: "poll" (a request of a poll was answered or failed), "state" (the watch is in another state) or
      "delivered" (a consumer was given a change).
    - `query`: path and query string.
    - `state`: state of the watch.
    - `verdict`: with "poll": what was made of the answer.
    - `took`: with "poll": seconds from the request to the answer; with "delivered": from the answer to the delivery.
    - `merged`: with "delivered": number of states that were skipped before this one.
    """

    kind: Literal["poll", "state", "delivered"]
    query: str
    state: State
    verdict: str = ""
    took: float = 0.0
    merged: int = 0

    @property
    def path(self) -> str:
        """The path of the query, without the query string."""
        return self.query.partition("?")[0]


Hook = Callable[[Event], None]
