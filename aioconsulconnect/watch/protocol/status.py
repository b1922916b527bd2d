"""What a watch tells about itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import msgspec

State = Literal["starting", "synced", "absent", "polling", "throttled", "denied", "stale", "closed"]
Position = int | str | None


class PollRecord(msgspec.Struct, frozen=True):
    """
    One request of a poll and what came of it, for `explain()`; never with a secret.

    `asked` is read, poll, list (the borrowed index), confirm or check (a plain read beside the loop); `sent` and `got`
    are the index or hash; `verdict` says what was made of the answer.
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
    """What a poll has seen since it began; `errors` by class."""

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
    The state of a watch.

    `state`: starting (no data yet), synced, absent (synced, and what is watched is not there), polling (reads at an
    `interval`, because the server cannot block on it or the budget of polls is used up), throttled, denied (the token
    is refused), stale (something fails), closed. In throttled, denied and stale the last good data stays readable.

    `age`: seconds since the servers last said that the data is so, None before there is data; while a poll waits it
    grows, up to the poll's wait. `filtered`: the token may not see everything (Consul 1.11 tells); `anonymous`: no
    token was sent: under either what is missing may only be hidden. `policy`: the default ACL policy that the agent
    names. `error` and `error_class`: the last failure while it lasts. `retry_in`: seconds to the next try after a
    failure. `zombies`: polls of the whole client that were given up and still occupy the servers. Times are those of
    the client's clock (`time.monotonic`).
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
    filtered: bool = False
    anonymous: bool = False
    policy: str | None = None
    consumers: int = 0
    zombies: int = 0
    counters: Counters = msgspec.field(default_factory=Counters)


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """
    What the metrics hook is told, of which `query` (path and query string), and in which `state` it is.

    `kind` "poll": a request of a poll, its `verdict` and how long it `took`. "state": the watch is in another `state`.
    "delivered": a consumer was handed a change `took` seconds after its answer came, `merged` with so many others.
    """

    kind: Literal["poll", "state", "delivered"]
    query: str
    state: State
    verdict: str = ""
    took: float = 0.0
    merged: int = 0

    @property
    def path(self) -> str:
        """The path of the query."""
        return self.query.partition("?")[0]


Hook = Callable[[Event], None]
