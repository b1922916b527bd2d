"""One request under way: its deadline, the connection that it opened, and what ended it."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar, Token
from enum import Enum

from aioconsulconnect.clock import Clock

CALLS_AT_ONCE = 12
"""Number of plain calls at once: the agent limits the connections of a whole host, with all its programs."""


class End(Enum):
    """
    Reason why a request was ended before its answer came.

    - `DEADLINE`: its time was over.
    - `CLOSED`: the client was closed.
    """

    DEADLINE = "deadline"
    CLOSED = "closed"


class Exchange:
    """
    One request under way in the current task, which its deadline or the closing of the client ends.

    `clock` is the clock of the client, for the age of a connection. It is begun where it is made, and has to be closed
    with `close`. What ends it cancels its task; `ended_by` tells that from a cancellation by the caller.
    """

    __slots__ = ("_cancelled_before", "_clock", "_due", "_end", "_opened", "_outer", "_task", "_timer")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._opened: float | None = None
        self._due = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._end: End | None = None
        self._task: asyncio.Task[object] | None = asyncio.current_task()
        self._cancelled_before = 0 if self._task is None else self._task.cancelling()
        self._outer: Token[Exchange | None] = _under_way.set(self)

    @staticmethod
    def current() -> Exchange | None:
        """Return the one for which a connection is made now."""
        return _under_way.get()

    def opens(self) -> None:
        """Note that a new connection is being made for it."""
        self._opened = self._clock.now()

    @property
    def age(self) -> float | None:
        """The seconds since a new connection was begun; None for one that existed before."""
        return None if self._opened is None else self._clock.now() - self._opened

    def limit(self, seconds: float) -> None:
        """End it after so many `seconds` from now; a later call counts anew, and must not shorten the time."""
        loop = asyncio.get_running_loop()
        self._due = loop.time() + seconds
        if self._timer is None:
            self._timer = loop.call_at(self._due, self._look)

    def _look(self) -> None:
        """End it if its time is over, else look again then: to move a timer costs more than to look twice."""
        loop = asyncio.get_running_loop()
        if loop.time() < self._due:
            self._timer = loop.call_at(self._due, self._look)
        else:
            self.end(End.DEADLINE)

    def end(self, why: End) -> None:
        """End it, by cancelling its task, because of `why`."""
        if self._end is None and self._task is not None:
            self._end = why
            self._task.cancel()

    def is_of(self, task: asyncio.Task[object] | None) -> bool:
        """Return True if it is made in `task`."""
        return self._task is task

    def ended_by(self) -> End | None:
        """Return why its task was cancelled, None where that was its caller; to be asked once."""
        why, self._end = self._end, None
        if why is None or self._task is None or self._task.uncancel() > self._cancelled_before:
            return None
        return why

    def close(self) -> None:
        """Note that the answer, or an error, is there."""
        if self._timer is not None:
            self._timer.cancel()
        if self._end is not None and self._task is not None:
            self._task.uncancel()  # something on the way has made another error of it
        _under_way.reset(self._outer)


_under_way: ContextVar[Exchange | None] = ContextVar("request under way", default=None)
