"""The protocol of one watch, answered by hand."""

from __future__ import annotations

from typing import Any

from support.fakes import Thing, Things, by_name, request, things, understood

from aioconsulconnect.errors import ConsulError
from aioconsulconnect.transport.request import Request
from aioconsulconnect.transport.response import Response
from aioconsulconnect.watch.protocol.blocking_query import BlockingQuery, NextRequest
from aioconsulconnect.watch.protocol.poll_settings import PollSettings
from aioconsulconnect.watch.protocol.spec import WatchSpec
from aioconsulconnect.watch.protocol.transitions import Kind

LIST: Request[object] = Request(method="GET", path="/v1/list", decode=lambda response: response.body)
BORROWING: WatchSpec[Things, Thing] = WatchSpec(items=by_name, index_from=LIST)


def good(index: int | None = 10, *, backend: str = "blocking-query", **values: str) -> Response:
    headers = {"x-consul-knownleader": "true", "x-consul-lastcontact": "0", "x-consul-query-backend": backend}
    if index is not None:
        headers["x-consul-index"] = str(index)
    return Response(200, headers, things(**values))


class Driven:
    """A query whose requests are answered by hand; chance always gives the most."""

    def __init__(self, spec: WatchSpec[Things, Thing] | None = None, **settings: Any) -> None:
        self.now = 1000.0
        self.query = BlockingQuery(
            request(), spec or WatchSpec(items=by_name), PollSettings(**settings), lambda: 1.0, self.now
        )

    def next(self) -> NextRequest:
        return self.query.next_request(self.now)

    @property
    def pause(self) -> float:
        return self.next().at - self.now

    def turn(self, answer: Response | ConsulError, after: float = 0.01) -> NextRequest:
        """Send what is due, and answer it so after some seconds; what is next."""
        asked = self.next()
        self.now = max(self.now, asked.at)
        sent = self.query.start(asked, self.now)
        self.now += after
        answer = understood(answer) if isinstance(answer, Response) else answer
        self.query.receive(asked, sent, self.now, answer)
        return self.next()

    def beside(self, answer: Response | ConsulError) -> tuple[ConsulError | None, bool]:
        """A plain read beside the loop, answered at once."""
        sent = self.query.start_beside(self.now)
        return self.query.receive_beside(sent, self.now, understood(answer) if isinstance(answer, Response) else answer)

    @property
    def shown(self) -> dict[str, str]:
        assert self.query.snapshot is not None
        return {thing.name: thing.value for thing in self.query.snapshot.value}


class Beside(Driven):
    """With a poll under way, and a plain read that was sent after it."""

    def __init__(self, spec: WatchSpec[Things, Thing] | None = None, first: Response | None = None) -> None:
        super().__init__(spec)
        self.turn(first or good(10, a="1"))
        self.asked = self.next()
        assert self.asked.kind is Kind.POLL
        self.poll_sent = self.query.start(self.asked, self.now)
        self.read_sent = self.query.start_beside(self.now)

    def poll_answers(self, answer: Response) -> None:
        self.query.receive(self.asked, self.poll_sent, self.now, understood(answer))

    def read_answers(self, answer: Response) -> bool:
        """Whether it must be made again."""
        error, again = self.query.receive_beside(self.read_sent, self.now, understood(answer))
        assert error is None
        return again
