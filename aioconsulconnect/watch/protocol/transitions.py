"""
The states, events and transitions of a blocking query, as data.

A state is the kind of request that is made next, an event is the outcome of a request. `blocking_query` names the event
and looks the transition up; nothing else decides what is asked next. `table()` prints the transitions.
"""

from __future__ import annotations

from enum import Enum

import msgspec


class Kind(Enum):
    """Kind of a request: the states of a blocking query."""

    READ = "read"
    """The value, at once: a plain read."""
    POLL = "poll"
    """The value, once it is another one or the wait is over."""
    INDEX = "list"
    """The index of another read, where Consul sends none with the value (match on 1.8)."""
    CONFIRM = "confirm"
    """The value, from the leader: the last answer left doubt."""


class Outcome(Enum):
    """Outcome of a request: the events of a blocking query."""

    PLACED = "good, with a position"
    MOVED = "good, the position moved on"
    MOVED_ALONE = "the position moved on alone, and the value can be absent"
    WAIT_OVER = "the same position, the wait is over"
    EARLY = "the same position, early (restore, shutdown)"
    EARLY_AGAIN = "the same position, early, less than 5 s after the last time"
    WENT_BACK = "a lower position of the same backend"
    ZERO = "position 0"
    BORROWS = "no position, but another read's can be borrowed"
    UNPLACED = "no position, nothing to borrow"
    ABSENT = "absent, and without a position"
    INDEX_MOVED = "the borrowed index moved"
    INDEX_STANDS = "the borrowed index stands"
    NO_INDEX = "there is no index to borrow, or no right to it"
    DOUBTFUL = "items are missing or older, and there is doubt"
    BLIND = "the servers know nothing yet"
    SUPERSEDED = "it was overtaken: a newer answer, another token"
    CUT = "something between cut the poll short"
    DENIED = "denied"
    THROTTLED = "throttled"
    UNREACHABLE = "nobody listens at the address"
    LEADERLESS = "the servers have no leader"
    FAILED = "failed in any other way"
    FINAL = "this can never work"


class Pause(Enum):
    """Pause before the next request; `pacing` has the lengths in seconds."""

    NONE = "nothing"
    COUNTED = "nothing, but it counts for the rate"
    RATE = "the rate"
    BACKOFF = "the backoff"
    INTERVAL = "5 s, growing to 60 s"
    ABSENT = "2 s, growing to 15 s"
    REFUSED = "half a second; after half a minute 5 s"
    SHORT = "the first step of the backoff"
    DENIED = "1 s, growing to 60 s, or another token"
    THROTTLED = "60 to 180 s"


class Transition(msgspec.Struct, frozen=True):
    """
    Transition to the next request of a blocking query.

    - `following`: kind of the next request; None ends the watch.
    - `pause`: what the request waits for.
    """

    following: Kind | None
    pause: Pause


_VALUE = (Kind.READ, Kind.POLL, Kind.CONFIRM)
_ALL = (*_VALUE, Kind.INDEX)

# In the order of the table that is printed: the usual course first.
_ROWS: tuple[tuple[tuple[Kind, ...], Outcome, Kind | None, Pause], ...] = (
    ((Kind.READ, Kind.CONFIRM), Outcome.PLACED, Kind.POLL, Pause.RATE),
    ((Kind.POLL,), Outcome.MOVED, Kind.POLL, Pause.RATE),
    ((Kind.POLL,), Outcome.WAIT_OVER, Kind.POLL, Pause.RATE),
    ((Kind.POLL,), Outcome.MOVED_ALONE, Kind.READ, Pause.RATE),
    ((Kind.POLL,), Outcome.EARLY, Kind.READ, Pause.COUNTED),
    ((Kind.POLL,), Outcome.EARLY_AGAIN, Kind.POLL, Pause.RATE),
    ((Kind.POLL,), Outcome.WENT_BACK, Kind.READ, Pause.RATE),
    (_VALUE, Outcome.ZERO, Kind.POLL, Pause.BACKOFF),
    (_VALUE, Outcome.BORROWS, Kind.INDEX, Pause.NONE),
    ((Kind.INDEX,), Outcome.INDEX_MOVED, Kind.READ, Pause.NONE),
    ((Kind.INDEX,), Outcome.INDEX_STANDS, Kind.POLL, Pause.RATE),
    ((Kind.INDEX,), Outcome.NO_INDEX, Kind.READ, Pause.NONE),
    (_VALUE, Outcome.UNPLACED, Kind.READ, Pause.INTERVAL),
    (_VALUE, Outcome.ABSENT, Kind.READ, Pause.ABSENT),
    ((Kind.READ, Kind.POLL), Outcome.DOUBTFUL, Kind.CONFIRM, Pause.NONE),
    (_VALUE, Outcome.BLIND, Kind.READ, Pause.BACKOFF),
    (_ALL, Outcome.SUPERSEDED, Kind.READ, Pause.NONE),
    ((Kind.POLL,), Outcome.CUT, Kind.READ, Pause.SHORT),
    (_ALL, Outcome.DENIED, Kind.READ, Pause.DENIED),
    (_ALL, Outcome.THROTTLED, Kind.READ, Pause.THROTTLED),
    (_ALL, Outcome.UNREACHABLE, Kind.READ, Pause.REFUSED),
    (_ALL, Outcome.LEADERLESS, Kind.READ, Pause.REFUSED),
    (_ALL, Outcome.FAILED, Kind.READ, Pause.BACKOFF),
    (_ALL, Outcome.FINAL, None, Pause.NONE),
)

TRANSITIONS: dict[tuple[Kind, Outcome], Transition] = {
    (kind, outcome): Transition(following, pause) for kinds, outcome, following, pause in _ROWS for kind in kinds
}


def table() -> str:
    """Return the transitions as a Markdown table."""
    rows = (
        f"| {', '.join(kind.value for kind in kinds)} | {outcome.value} | "
        f"{following.value if following else 'the end'} | {pause.value} |"
        for kinds, outcome, following, pause in _ROWS
    )
    return "\n".join(("| after | what came | next | waits for |", "| --- | --- | --- | --- |", *rows)) + "\n"
