"""How many connections the polls of one client may have, and who holds one: also those that the servers still hold."""

from __future__ import annotations

import asyncio
import heapq

from aioconsulconnect.clock import Clock
from aioconsulconnect.watch.protocol.pacing import FROZEN_SERVER, Random

_HALVED_AT_MOST = 30.0  # seconds between two times that the limit is halved
_REGAINED = 30.0  # seconds until a connection is tried to be had back
_BRIM = 0.75  # of what was too much: so far the limit comes back by itself
_FORGOTTEN = 1800.0  # seconds after which the whole limit is tried again


class ConnectionBudget:
    """
    `limit` connections, an eighth of them kept for short reads so that these never wait for a poll.

    A poll that is given up goes on in Consul's servers until its wait is over, and occupies a connection there. So it
    is counted here as long: otherwise whoever comes and goes fast enough locks this host out of its agent. `reads` is
    held during a short read; whoever waits longest comes first. `pollers` is how many share the budget.

    The agent counts the connections of all programs of a host together. Where it says that there are too many the limit
    is halved, and comes back slowly and not to the brim, so that several programs settle.
    """

    def __init__(self, limit: int, clock: Clock, random: Random) -> None:
        self._whole = limit
        self._clock = clock
        self._random = random
        self.reads: asyncio.Semaphore = asyncio.Semaphore(max(1, limit // 8))
        self.pollers: int = 0
        self._lanes = max(1, limit // 8)
        self._open = 0
        self._zombies: list[float] = []  # a heap of the times at which the servers let go
        self._halved = (float("-inf"), limit, limit)  # when, to what, from what
        self._pace = 1.0
        self._warnings = 0

    @property
    def open(self) -> int:
        """Polls under way."""
        return self._open

    @property
    def used(self) -> float:
        """The share of the connections for polls that is in use."""
        return (self._open + self.zombies) / max(1, self.limit)

    @property
    def without_connection(self) -> int:
        """How many pollers have no connection for a poll."""
        return self.pollers - self._open

    @property
    def scarce(self) -> bool:
        """Whether more than half of the connections are in use: then polls wait shorter, to be given up soon."""
        return 2 * (self._open + self.zombies) > self.limit

    @property
    def zombies(self) -> int:
        """Polls that were given up, and that the servers still hold."""
        while self._zombies and self._zombies[0] <= self._clock.now():
            heapq.heappop(self._zombies)
        return len(self._zombies)

    @property
    def limit(self) -> int:
        """How many polls there may be now."""
        when, lowered, too_much = self._halved
        passed = self._clock.now() - when
        if passed > _FORGOTTEN:
            return self._whole - self._lanes
        regained = lowered + passed / (_REGAINED * self._pace)
        return int(min(self._whole, max(lowered, too_much * _BRIM), regained)) - self._lanes

    def heed(self, warnings: int) -> None:
        """Use half as many connections where there are new `warnings` that Consul counts too many from this host."""
        new, self._warnings = warnings > self._warnings, warnings
        now = self._clock.now()
        if new and now - self._halved[0] >= _HALVED_AT_MOST:  # many hear of it at once
            used = min(self.limit, max(1, self._open + self.zombies)) + self._lanes
            self._halved = (now, max(self._lanes + 1, used // 2), used)
            self._pace = 0.5 + self._random()

    def take(self) -> bool:
        """Take a connection for a poll, if there is one."""
        if self._open + self.zombies >= self.limit:
            return False
        self._open += 1
        return True

    def give(self, held_until: float | None = None) -> None:
        """Give it back; for `held_until` see `given_up`."""
        self._open -= 1
        self.given_up(held_until)

    def given_up(self, held_until: float | None) -> None:
        """Count a request that passed its deadline; until when a healthy server would have held it, None for nobody."""
        if held_until is not None:
            heapq.heappush(self._zombies, held_until + FROZEN_SERVER)
