"""Budget of the connections for the polls of one client, with those that the servers still hold."""

from __future__ import annotations

import asyncio
import heapq

from aioconsulconnect.clock import Clock
from aioconsulconnect.watch.protocol.pacing import FROZEN_SERVER, Random

_HALVED_AT_MOST = 30.0  # seconds: the limit is halved once in this time
_REGAINED = 30.0  # seconds until the limit is raised by one again
_BRIM = 0.75  # part of the number that was too high, to which the limit comes back by itself
_FORGOTTEN = 1800.0  # seconds after which the whole limit is tried again


class ConnectionBudget:
    """
    Budget of `limit` connections, of which an eighth is reserved for short reads.

    A poll that is given up goes on in Consul's servers until its wait is over, and occupies a connection there
    (fact 1). So it is counted here for as long; otherwise polls that are given up and made anew would soon lock this
    host out of its agent.

    The agent counts the connections of all programs of a host together (fact 12). Where it says that there are too
    many, the limit is halved. It comes back slowly and by itself only to three quarters, so that several programs on
    one host settle; after half an hour the whole limit is tried again.

    - `limit`: number of connections.
    - `clock`: clock of the client.
    - `random`: source of the jitter, 0 to 1.

    `reads` is a semaphore to hold during a short read, which serves in the order of arrival; `pollers` is the number of
    pollers that share the budget, set by their pool.
    """

    def __init__(self, limit: int, clock: Clock, random: Random) -> None:
        self._whole = limit
        self._clock = clock
        self._random = random
        self.reads: asyncio.Semaphore = asyncio.Semaphore(max(1, limit // 8))
        self.pollers: int = 0
        self._lanes = max(1, limit // 8)
        self._open = 0
        self._zombies: list[float] = []  # heap of the times at which the servers let go of them
        self._halved = (float("-inf"), limit, limit)  # time, new number, old number
        self._pace = 1.0
        self._warnings = 0

    @property
    def open(self) -> int:
        """The number of polls under way."""
        return self._open

    @property
    def used(self) -> float:
        """The share of the connections for polls that is in use, those counted that the servers still hold."""
        return (self._open + self.zombies) / max(1, self.limit)

    @property
    def without_connection(self) -> int:
        """The number of pollers that have no connection for a poll."""
        return self.pollers - self._open

    @property
    def scarce(self) -> bool:
        """
        True if more than half of the connections are in use.

        Polls then wait shorter, so that they can be given up soon.
        """
        return 2 * (self._open + self.zombies) > self.limit

    @property
    def zombies(self) -> int:
        """The number of polls that were given up and that the servers still hold."""
        while self._zombies and self._zombies[0] <= self._clock.now():
            heapq.heappop(self._zombies)
        return len(self._zombies)

    @property
    def limit(self) -> int:
        """The number of polls that are allowed at the same time now."""
        when, lowered, too_much = self._halved
        passed = self._clock.now() - when
        if passed > _FORGOTTEN:
            return self._whole - self._lanes
        regained = lowered + passed / (_REGAINED * self._pace)
        return int(min(self._whole, max(lowered, too_much * _BRIM), regained)) - self._lanes

    def heed(self, warnings: int) -> None:
        """
        Halve the limit if Consul has refused connections of this host since the last call.

        `warnings` is the number of refusals so far (`CrowdingNotice.seen`). The limit is halved at most once in 30 s.
        """
        new, self._warnings = warnings > self._warnings, warnings
        now = self._clock.now()
        if new and now - self._halved[0] >= _HALVED_AT_MOST:  # many requests learn of it at the same moment
            used = min(self.limit, max(1, self._open + self.zombies)) + self._lanes
            self._halved = (now, max(self._lanes + 1, used // 2), used)
            self._pace = 0.5 + self._random()

    def take(self) -> bool:
        """Take a connection for a poll, and return True if there was one."""
        if self._open + self.zombies >= self.limit:
            return False
        self._open += 1
        return True

    def give(self, held_until: float | None = None) -> None:
        """Give a connection back; for `held_until` see `given_up`."""
        self._open -= 1
        self.given_up(held_until)

    def given_up(self, held_until: float | None) -> None:
        """
        Count a request that passed its deadline as one that the servers still hold.

        `held_until` is the time until which a healthy server would have held it; a frozen one may hold it 40 s longer.
        None counts nothing.
        """
        if held_until is not None:
            heapq.heappush(self._zombies, held_until + FROZEN_SERVER)
