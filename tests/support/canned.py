"""A sender that answers from a list and remembers what it was asked, for tests of what endpoints ask."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TypeVar

from msgspec.structs import replace

from aioconsulconnect.clock import Clock
from aioconsulconnect.errors import ConsulError
from aioconsulconnect.transport.interpretation import failure
from aioconsulconnect.transport.request import Parameters, Request, query_string
from aioconsulconnect.transport.response import Response
from aioconsulconnect.transport.sender import CrowdingNotice
from aioconsulconnect.transport.settings.options import Purpose
from aioconsulconnect.watch.poller_pool import PollerPool
from aioconsulconnect.watch.protocol.poll_settings import PollSettings

T = TypeVar("T")
Canned = bytes | tuple[int, bytes] | ConsulError


class CannedSender:
    """`asked` are the requests, `wire` what each would be on the wire: method, path and query, body."""

    def __init__(self) -> None:
        self.answers: list[Canned] = []
        self.asked: list[Request[object]] = []
        self.addresses = ("http://canned:1",)
        self.crowding = CrowdingNotice()

    @property
    def wire(self) -> list[tuple[str, str, bytes | None]]:
        return [(a.method, a.path + query_string(a.parameters), a.body) for a in self.asked]

    async def send(self, request: Request[T]) -> Response:
        response = await self.attempt(request, extra=(), deadline=1, address=self.addresses[0])
        if response.error is not None:
            raise response.error
        return response

    def avoid(self, address: str) -> None:
        pass

    def token_mark(self) -> object | None:
        return None

    async def token_changed_since(self, mark: object | None) -> bool:
        return mark != self.token_mark()

    async def attempt(
        self, request: Request[T], *, extra: Parameters, deadline: float, address: str, purpose: Purpose = "polls"
    ) -> Response:
        self.asked.append(request)
        answer = self.answers.pop(0)
        if isinstance(answer, ConsulError):
            raise answer
        status, body = answer if isinstance(answer, tuple) else (200, answer)
        response = Response(status, {"x-consul-index": "7"} if status < 300 else {}, body, address)
        return replace(response, error=failure(request, response))


@asynccontextmanager
async def polls_of(sender: CannedSender) -> AsyncIterator[PollerPool]:
    """Polls on that sender, closed afterwards."""
    polls = PollerPool(sender, settings=PollSettings(), clock=Clock())
    try:
        yield polls
    finally:
        await polls.aclose()


def answered(status: int, text: str, *, method: str = "PUT") -> ConsulError:
    """The error that such an answer is."""
    request = Request(method=method, path="/v1/x", decode=lambda answer: answer.body, read=method == "GET")
    error = failure(request, Response(status, {}, text.encode(), "http://a:1"))
    assert error is not None
    return error
