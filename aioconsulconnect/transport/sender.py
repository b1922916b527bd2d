"""The interface of what carries requests."""

from __future__ import annotations

from typing import Protocol, TypeVar

from aioconsulconnect.transport.request import Parameters, Request
from aioconsulconnect.transport.response import Response

T = TypeVar("T")


class Sender(Protocol):
    """What carries requests; `aiohttp_transport.Transport` is the real one."""

    @property
    def addresses(self) -> tuple[str, ...]:
        """The agents, the preferred one first."""
        ...

    async def send(self, request: Request[T]) -> Response:
        """
        Carry a plain call: retried and failed over as `retry` says, on the pool for plain calls.

        Returns a 2xx answer, or raises a ConsulError.
        """
        ...

    async def attempt(self, request: Request[T], *, extra: Parameters, deadline: float, address: str) -> Response:
        """
        Try a poll once, on the polls' own connections, with `extra` query parameters, for at most `deadline` seconds.

        Returns whatever was answered, or raises ConnectionFailed, RequestTimeout or UnreadableResponse.
        """
        ...
