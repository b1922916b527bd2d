"""The interface of what carries requests."""

from __future__ import annotations

from typing import Literal, Protocol, TypeVar

from aioconsulconnect.transport.request import Parameters, Request
from aioconsulconnect.transport.response import Response

T = TypeVar("T")
Purpose = Literal["calls", "polls", "probe"]


class Sender(Protocol):
    """What carries requests; `aiohttp_transport.Transport` is the real one."""

    @property
    def addresses(self) -> tuple[str, ...]:
        """The agents, the preferred one first."""
        ...

    def avoid(self, address: str) -> None:
        """Prefer another agent than this one, where it is the preferred one: it does not serve."""
        ...

    def token_mark(self) -> object:
        """What changes when the token does, where that can be told without using it; else always the same."""
        ...

    async def send(self, request: Request[T]) -> Response:
        """
        Carry a plain call: retried and failed over as `retry` says, on the pool for plain calls.

        Returns a 2xx answer, or raises a ConsulError.
        """
        ...

    async def attempt(
        self, request: Request[T], *, extra: Parameters, deadline: float, address: str, purpose: Purpose = "polls"
    ) -> Response:
        """
        Try a poll once, on the polls' own connections, with `extra` query parameters, for at most `deadline` seconds.

        Returns whatever was answered, or raises ConnectionFailed, RequestTimeout or UnreadableResponse.
        """
        ...
