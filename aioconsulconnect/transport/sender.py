"""The interface of what carries requests, and what it notices of the limit of connections."""

from __future__ import annotations

from typing import Literal, Protocol, TypeVar

from aioconsulconnect.transport.request import Parameters, Request
from aioconsulconnect.transport.response import Response

T = TypeVar("T")

Purpose = Literal["calls", "polls", "probe"]

_APART = 0.1  # seconds between two resets that are not of one moment
_TOGETHER = 30.0  # seconds after which a reset is forgotten


class CrowdingNotice:
    """
    How often any request of a client was told that its host has too many connections: `seen` only grows.

    A 429 says so. Consul 1.8 closes a new connection at once instead, but so does an agent that goes away: there it
    counts from the second time on, unless nobody listened at the address in between.
    """

    def __init__(self) -> None:
        self.seen: int = 0
        self._resets: dict[str, float] = {}

    def refused(self) -> None:
        """Note a 429 for too many connections."""
        self.seen += 1

    def reset(self, address: str, now: float) -> None:
        """Note that a new connection was closed before a word was said."""
        first = self._resets.setdefault(address, now)
        if now - first > _TOGETHER:
            self._resets[address] = now
        elif now - first >= _APART:
            self.seen += 1

    def gone(self, address: str) -> None:
        """Note that nobody listens there: what was reset before was reset by an agent that went away."""
        self._resets.pop(address, None)


class Sender(Protocol):
    """What carries requests; `aiohttp_transport.Transport` is the real one."""

    @property
    def addresses(self) -> tuple[str, ...]:
        """The agents, the preferred one first."""
        ...

    @property
    def crowding(self) -> CrowdingNotice:
        """What plain calls, polls and probes have met of the limit of connections."""
        ...

    def avoid(self, address: str) -> None:
        """Prefer another agent than this one, where it is the preferred one: it does not serve."""
        ...

    def token_mark(self) -> object | None:
        """Which token of the client's own was the last in use; to be taken before a request is sent."""
        ...

    async def token_changed_since(self, mark: object | None) -> bool:
        """Whether another one would be used now; cheap, and False where that cannot be known."""
        ...

    async def send(self, request: Request[T]) -> Response:
        """
        Carry a plain call: retried and failed over as `retry` says, on the pool for plain calls.

        Returns a 2xx answer, or raises a ConsulError.
        """
        ...

    async def attempt(
        self,
        request: Request[T],
        *,
        extra: Parameters,
        deadline: float,
        address: str,
        purpose: Purpose = "polls",
    ) -> Response:
        """
        Try a poll once, with `extra` query parameters, for at most `deadline` seconds.

        It goes on the connections of its `purpose`: a probe makes a new one each time, as only those are counted.
        Returns whatever was answered, or raises ConnectionFailed, RequestTimeout or UnreadableResponse, Closed, and
        where there is no token: NotReady, or PermissionDenied (TOKEN_MISSING) where there was one before.
        """
        ...
