"""How the polls of a client behave: settings in seconds and counts."""

from __future__ import annotations

import msgspec

from aioconsulconnect.errors import InvalidRequest

_LONGEST_WAIT = 600.0  # Consul's own cap


class PollSettings(msgspec.Struct, frozen=True, kw_only=True):
    """
    How the client polls, in seconds and counts; the defaults suit a service that runs for months.

    InvalidRequest for what would spin or never end.
    """

    wait: float = 55.0
    """What a poll asks the server to hold it, at most 600 s; jittered down by up to a fifth."""
    shortest_wait: float = 2.0
    """The shortest wait that is asked for where a proxy cuts polls off."""
    margin: float = 10.0
    """How much longer than wait x 17/16 a poll may take before it is given up."""
    read_timeout: float = 10.0
    """How long a read without an index may take."""
    verify_interval: float = 60.0
    """How often a watch that is answered from a cache or a streaming view proves itself by a plain read."""
    probe_interval: float = 30.0
    """How often each agent that is polled is asked for its leader, whatever the number of polls; 0 switches it off."""
    burst: int = 100
    """How many changes of one query are followed at once before the rate limits them."""
    rate: float = 2.0
    """How many changes a second are followed when the burst is used up, and how fast it fills again."""
    min_interval: float = 0.05
    """The shortest time between two polls of one query when more than a fifth of the burst is used up."""
    backoff_cap: float = 30.0
    """The longest pause after failures."""
    throttled: tuple[float, float] = (60.0, 180.0)
    """The pause where Consul says that it is asked too much: anywhere between the two."""
    denied: tuple[float, float] = (1.0, 60.0)
    """The pause after a denial: the first one, doubling up to the second."""
    interval: tuple[float, float] = (5.0, 60.0)
    """The pause between reads where the server cannot block: the first one, growing to the second."""
    absent: tuple[float, float] = (2.0, 15.0)
    """The same for what is not there, and where a server cannot block until it is."""
    over_budget_interval: float = 5.0
    """The shortest pause between the reads of a watch that finds no connection for a poll."""
    reread: float = 5.0
    """The shortest time between two plain reads because a poll came back early."""
    max_polls: int = 32
    """Connections for polls, together with the polls that were given up and that the servers still hold."""
    idle_timeout: float = 30.0
    """How long a poll goes on without a consumer."""
    max_pending: int = 256
    """How many states are kept for a consumer of every one (`delivery="all"`) that is behind; 16 MiB at most."""

    def __post_init__(self) -> None:
        """Refuse what would spin or never end."""
        for name in self.__struct_fields__:
            value: float | tuple[float, float] = getattr(self, name)
            numbers = value if isinstance(value, tuple) else (value,)
            if not all(0 <= number < float("inf") for number in numbers):
                raise InvalidRequest(f"PollSettings.{name} must be a finite number, not negative: {value!r}")
        if not 0.01 <= self.shortest_wait <= self.wait <= _LONGEST_WAIT:  # noqa: PLR2004 - what a timer can tell apart
            raise InvalidRequest("PollSettings: shortest_wait <= wait <= 600 s (Consul's cap) must hold")
        if self.burst < 1 or self.max_polls < 2 or self.max_pending < 1 or self.rate <= 0:  # noqa: PLR2004
            raise InvalidRequest("PollSettings: burst and max_pending must be at least 1, max_polls 2, rate above 0")
