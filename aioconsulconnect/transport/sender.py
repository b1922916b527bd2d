"""Interface of the transport for the rest of the library, and its count of refused connections."""

from __future__ import annotations

from typing import Protocol, TypeVar

from aioconsulconnect.transport.request import Parameters, Request
from aioconsulconnect.transport.response import Response
from aioconsulconnect.transport.settings.options import Purpose

T = TypeVar("T")

_APART = 0.1  # seconds between two resets that are not of one moment
_TOGETHER = 30.0  # seconds after which a reset is forgotten


class CrowdingNotice:
    """
    Count of the refusals because this host has too many connections to an agent.

    `seen` is their number, and never falls. Consul answers 429. Consul 1.8 closes a new connection at once instead, but
    so does an agent that goes away: such a reset counts only if another one came before it, 0.1 s to 30 s earlier, and
    there was an agent at the address all the time.
    """

    def __init__(self) -> None:
        self.seen: int = 0
        self._resets: dict[str, float] = {}

    def refused(self) -> None:
        """Count a 429 for too many connections."""
        self.seen += 1

    def reset(self, address: str, now: float) -> None:
        """Note that a new connection to the agent at `address` was closed at `now` before any answer."""
        first = self._resets.setdefault(address, now)
        if now - first > _TOGETHER:
            self._resets[address] = now
        elif now - first >= _APART:
            self.seen += 1

    def gone(self, address: str) -> None:
        """Note that nobody listens at `address`: earlier resets came from an agent that went away."""
        self._resets.pop(address, None)


class Sender(Protocol):
    """Interface of the transport; `aiohttp_transport.Transport` implements it."""

    @property
    def addresses(self) -> tuple[str, ...]:
        """The addresses of the agents, the preferred one first."""
        ...

    @property
    def crowding(self) -> CrowdingNotice:
        """The count of refused connections, of plain calls, polls and probes together."""
        ...

    def avoid(self, address: str) -> None:
        """Prefer another agent, if the one at `address` is the preferred one, because it does not serve."""
        ...

    def token_mark(self) -> object | None:
        """
        Return a mark of the client's token that was used last, to be taken before a request is sent.

        None before there was any.
        """
        ...

    async def token_changed_since(self, mark: object | None) -> bool:
        """
        Return True if the client's token would now be another one than at `mark`.

        False where that cannot be known. Cheap enough to be called often.
        """
        ...

    async def send(self, request: Request[T]) -> Response:
        """
        Send a plain call, and return its 2xx answer.

        `request` is retried and failed over by the rules of `retry`, on the connections for plain calls. Raises a
        ConsulError.
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
        Try a request once, and return the answer, whatever its status.

        - `request`: the request.
        - `extra`: query parameters beside its own.
        - `deadline`: seconds after which it is given up.
        - `address`: the agent, one of `addresses`.
        - `purpose`: kind of connections that it uses, default "polls"; a "probe" makes a new one each time, as Consul
          refuses only new ones.

        Raises ConnectionFailed, RequestTimeout, UnreadableResponse or Closed, and for want of a token NotReady, or
        PermissionDenied (TOKEN_MISSING) where there was one before.
        """
        ...
