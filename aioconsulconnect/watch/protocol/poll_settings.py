"""Settings for the polls of a client, in seconds and counts."""

from __future__ import annotations

import msgspec

from aioconsulconnect.errors import InvalidRequest

_LONGEST_WAIT = 600.0  # Consul's own cap


class PollSettings(msgspec.Struct, frozen=True, kw_only=True):
    """
    Settings for how a client polls; the defaults suit a service that runs for months.

    Times are in seconds. Raises InvalidRequest for values with which polling would never pause or never end.
    """

    wait: float = 55.0
    """Time for which the server is asked to hold a poll, at most 600 s; jittered down by up to a fifth."""
    shortest_wait: float = 2.0
    """Shortest wait that is asked for where a proxy cuts polls off."""
    margin: float = 10.0
    """Time beyond wait x 17/16 after which a poll is given up."""
    read_timeout: float = 10.0
    """Deadline of a read without an index."""
    verify_interval: float = 60.0
    """Time between consistent reads that prove the data of a watch served from a cache or a streaming view."""
    probe_interval: float = 30.0
    """Time between questions for its leader to each agent, for all its polls together; 0 for none."""
    burst: int = 100
    """Number of changes of one query that are followed at once before the rate limits them."""
    rate: float = 2.0
    """Number of changes a second that are followed when the burst is used up, and how fast it fills again."""
    min_interval: float = 0.05
    """Shortest time between two polls of one query when more than a fifth of the burst is used up."""
    backoff_cap: float = 30.0
    """Longest pause after failures."""
    throttled: tuple[float, float] = (60.0, 180.0)
    """Pause after Consul has refused a request as one too many: a random time between the two."""
    denied: tuple[float, float] = (1.0, 60.0)
    """Pause after a denial: the first value, doubled with each denial up to the second."""
    interval: tuple[float, float] = (5.0, 60.0)
    """Pause between reads on which the server cannot block: the first value, growing to the second."""
    absent: tuple[float, float] = (2.0, 15.0)
    """Pause between reads of what is absent and cannot be blocked on: the first value, then longer."""
    over_budget_interval: float = 5.0
    """Shortest pause between the reads of a watch that finds no connection for a poll."""
    reread: float = 5.0
    """Shortest time between two plain reads that are made because a poll came back early."""
    max_polls: int = 32
    """Connections for polls, counting the polls that were given up and that the servers still hold."""
    idle_timeout: float = 30.0
    """Time for which a poll goes on without a consumer."""
    max_pending: int = 256
    """Number of states kept for slow consumers of every one (`delivery="all"`); at most 16 MiB in all."""

    def __post_init__(self) -> None:
        """Raise InvalidRequest for values with which polling would never pause or never end."""
        for name in self.__struct_fields__:
            value: float | tuple[float, float] = getattr(self, name)
            numbers = value if isinstance(value, tuple) else (value,)
            if not all(0 <= number < float("inf") for number in numbers):
                raise InvalidRequest(f"PollSettings.{name} must be a finite number, not negative: {value!r}")
        if not 0.01 <= self.shortest_wait <= self.wait <= _LONGEST_WAIT:  # noqa: PLR2004 - what a timer can tell apart
            raise InvalidRequest("PollSettings: shortest_wait <= wait <= 600 s (Consul's cap) must hold")
        if self.burst < 1 or self.max_polls < 2 or self.max_pending < 1 or self.rate <= 0:  # noqa: PLR2004
            raise InvalidRequest("PollSettings: burst and max_pending must be at least 1, max_polls 2, rate above 0")
