"""The interface of what carries requests."""

from __future__ import annotations

from typing import Literal, Protocol, TypeVar

import msgspec

from aioconsulconnect.transport.request import Parameters, Request
from aioconsulconnect.transport.response import Response

T = TypeVar("T")

Purpose = Literal["calls", "polls", "probe"]


class CrowdingNotice(msgspec.Struct):
    """
    How often any request of a client was told that its host has too many connections: it only grows.

    `seen` counts the 429 that say so, and new connections that were closed at once, as Consul 1.8 does; `resets` those
    of the second kind, which a server that goes away makes too.
    """

    seen: int = 0
    resets: int = 0


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
