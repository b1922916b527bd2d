"""How many connections the polls of one client may have, and who holds one: also those that the servers still hold."""

from __future__ import annotations

import asyncio
import heapq

from aioconsulconnect.clock import Clock
from aioconsulconnect.watch.protocol.pacing import BUDGET_RECOVERY, FROZEN_SERVER


class ConnectionBudget:
    """
    `limit` connections, an eighth of them kept for short reads so that these never wait for a poll.

    A poll that is given up goes on in Consul's servers until its wait is over, and occupies a connection there. So it
    is counted here as long: otherwise whoever comes and goes fast enough locks this host out of its agent.
    `reads` is held during a short read; whoever waits longest comes first. `pollers` is how many share the budget.
    """

    def __init__(self, limit: int, clock: Clock) -> None:
        self._limit = limit
        self._clock = clock
        reads = max(1, limit // 8)
        self.reads: asyncio.Semaphore = asyncio.Semaphore(reads)
        self.pollers: int = 0
        self._lanes = reads
        self._open = 0
        self._zombies: list[float] = []  # a heap of the times at which the servers let go
        self._lowered = (float("-inf"), limit)

    @property
    def open(self) -> int:
        """Polls under way."""
        return self._open

    @property
    def without_connection(self) -> int:
        """How many pollers have no connection for a poll."""
        return self.pollers - self._open

    @property
    def zombies(self) -> int:
        """Polls that were given up, and that the servers still hold."""
        while self._zombies and self._zombies[0] <= self._clock.now():
            heapq.heappop(self._zombies)
        return len(self._zombies)

    @property
    def limit(self) -> int:
        """How many polls there may be now."""
        when, lowered = self._lowered
        regained = (self._clock.now() - when) / BUDGET_RECOVERY
        return int(min(self._limit, lowered + regained)) - self._lanes

    def lower(self) -> None:
        """Consul counts too many connections from this host: use half as many, and take them back one by one."""
        now = self._clock.now()
        if now - self._lowered[0] >= BUDGET_RECOVERY:  # many polls hear of it at once
            self._lowered = (now, max(self._lanes + 1, (self.limit + self._lanes) // 2))

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
