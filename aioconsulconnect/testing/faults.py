"""Faults by name: what goes wrong between a client and Consul.

They act at the socket or on a finished answer, as late as they can, never inside a handler. A fault is in force from
its call until it is cleared or its ``with`` block is left, for every request or for those whose path begins with
``path``; with ``times`` it ends by itself after so many. A poll that waits already meets it when it is answered, which
``wake`` brings on.
"""

from collections.abc import Callable, Collection
from http import HTTPStatus
from typing import Final, TypedDict, Unpack
from urllib.parse import parse_qs

from aiohttp import web

from aioconsulconnect.testing.protocol.refusals import Dropped
from aioconsulconnect.testing.server.answers import (
    INDEX,
    empty,
    page,
    raw_page,
    raw_refusal,
    refusal,
    refuse,
    set_body,
    streamed,
)
from aioconsulconnect.testing.server.exchange import Exchange, Fault, FaultInjector
from aioconsulconnect.testing.state.store import Store
from aioconsulconnect.testing.versions import VersionFacts

_LEADER: Final = "X-Consul-Knownleader"
_FILTERED: Final = "X-Consul-Results-Filtered-By-Acls"
_TOO_MANY: Final = "Your IP is issuing too many concurrent connections, please rate limit your calls\n"
_RATE_LIMIT: Final = "rate limit exceeded, try again later or against a different server"
_LOST_LEADER: Final = (
    "rpc error getting client: failed to get conn: dial tcp 127.0.0.1:8300: connect: connection refused"
)
_ERRORS_WITH_INDEX: Final = (
    "/v1/catalog/",
    "/v1/connect/ca/roots",
    "/v1/connect/intentions",
    "/v1/discovery-chain/",
)


class Where(TypedDict, total=False):
    """Which requests a fault meets."""

    path: str
    """Those whose path begins so."""
    times: int
    """The first so many."""


class Faults(FaultInjector):
    """The faults of one agent."""

    def __init__(
        self, facts: VersionFacts, store: Callable[[], Store], connections: Callable[[], Collection[object]]
    ) -> None:
        super().__init__()
        self._facts = facts
        self._store = store
        self._connections = connections

    def wake(self, path: str = "") -> None:
        """End the polls that wait, with what they had and an unmoved index, as an agent does that is going down."""
        self._store().end_polls(path)

    # The header that says where to go on.

    def index_zero(self, **where: Unpack[Where]) -> Fault:
        """An index of 0, which makes a careless client spin: Consul before 1.2, proxies and mocks send it."""
        return self.bad_index("0", **where)

    def bad_index(self, value: str = "many", **where: Unpack[Where]) -> Fault:
        """An index that is no number, or any other: what a proxy or a mock may make of the header."""

        def change(_: Exchange, answer: web.Response) -> None:
            _set_index(answer, value)

        return self.add(Fault(change=change, **where))

    def goes_back(self, by: int = 5, **where: Unpack[Where]) -> Fault:
        """An index below the last one: a stale read from another server, a list whose tombstones were collected."""

        def change(_: Exchange, answer: web.Response) -> None:
            _set_index(answer, str(max(1, int(answer.headers.get(INDEX, "1")) - by)))

        where.setdefault("times", 1)
        return self.add(Fault(change=change, **where))

    def no_header(self, **where: Unpack[Where]) -> Fault:
        """No X-Consul header at all: match in 1.8, and proxies that let only known headers through."""

        def change(_: Exchange, answer: web.Response) -> None:
            for name in [name for name in answer.headers if name.startswith("X-Consul-")]:
                del answer.headers[name]

        return self.add(Fault(change=change, **where))

    def flood(self, every: float = 0.01, **where: Unpack[Where]) -> Fault:
        """Polls end every few milliseconds with a new index and the old data: a busy neighbour in the same table."""

        def end(exchange: Exchange) -> None:
            self.wake(exchange.path)

        def change(_: Exchange, answer: web.Response) -> None:
            if INDEX in answer.headers:
                store = self._store()
                store.index += 1
                _set_index(answer, str(store.index))

        return self.add(Fault(change=change, later=(every, end), **where))

    # Lies.

    def empty_lie(self, index: int | None = 1, **where: Unpack[Where]) -> Fault:
        """200, nothing there, index 1: health of a fresh agent without a leader (1.10 on); None leaves the index."""

        def change(_: Exchange, answer: web.Response) -> None:
            empty(answer)
            if index is not None:
                _set_index(answer, str(index))

        return self.add(Fault(change=change, **where))

    def hidden(self, **where: Unpack[Where]) -> Fault:
        """200, nothing there, the index unmoved, and from 1.11 a header that says so: the token lost its rights."""

        def change(_: Exchange, answer: web.Response) -> None:
            empty(answer)
            if self._facts.filtered_header:
                answer.headers[_FILTERED] = "true"

        return self.add(Fault(change=change, **where))

    def garbage(self, body: bytes = b'[{"ID": \xff', **where: Unpack[Where]) -> Fault:
        """200 with a body that is no JSON: a proxy's page, or an answer that was cut and completed on the way."""

        def change(_: Exchange, answer: web.Response) -> None:
            set_body(answer, body)

        return self.add(Fault(change=change, **where))

    # Refusals: the handler never sees the request.

    def error_with_index(
        self,
        status: int = 500,
        text: str = "rpc error making call: EOF",
        index: int | None = 1,
        **where: Unpack[Where],
    ) -> Fault:
        """An error that carries an index of 1, which is nobody's: list, match, roots and catalog of every version."""
        return self._refuse(lambda _: refusal(status, text, index), where)

    def denied(self, text: str = "ACL not found", **where: Unpack[Where]) -> Fault:
        """403: the token was deleted or has expired; a poll that waits learns of it with the next one only."""
        return self._refuse(lambda exchange: refusal(403, text, _false_index(exchange)), where)

    def throttled(self, text: str = _RATE_LIMIT, **where: Unpack[Where]) -> Fault:
        """429 of the servers' rate limit (1.15 on), which never says when to come back."""
        return self._refuse(lambda exchange: refusal(429, text, _false_index(exchange)), where)

    def html_error(self, status: int = 502, **where: Unpack[Where]) -> Fault:
        """A proxy's page in place of an answer, when it cannot reach the agent."""
        return self._refuse(lambda _: page(status), where)

    def redirect(self, to: str, status: int = 307, **where: Unpack[Where]) -> Fault:
        """The same path at another address: a proxy that wants https, or that has moved."""

        def moved(exchange: Exchange) -> web.Response:
            return web.Response(status=status, headers={"Location": to.rstrip("/") + exchange.request.raw_path})

        return self._refuse(moved, where)

    def no_leader(self, hold: float = 0.0, **where: Unpack[Where]) -> Fault:
        """500 after ``hold`` (7 s and more in life), polls end at once; stale reads and what the agent holds go on."""

        def cut_off(exchange: Exchange) -> bool:
            return not exchange.path.startswith("/v1/agent/") and "stale" not in parse_qs(
                exchange.query, keep_blank_values=True
            )

        async def arriving(exchange: Exchange) -> web.Response | None:
            if exchange.path == "/v1/status/leader":
                return web.Response(body=b'""', content_type="application/json")
            if not cut_off(exchange):
                return None
            await self.hold(seconds=hold)
            return refusal(500, "No cluster leader", _false_index(exchange))

        def change(exchange: Exchange, answer: web.Response) -> None:
            if cut_off(exchange) and answer.status == HTTPStatus.OK and exchange.path != "/v1/status/leader":
                refuse(answer, 500, _LOST_LEADER, _false_index(exchange))
            elif _LEADER in answer.headers:
                answer.headers[_LEADER] = "false"

        fault = self.add(Fault(arriving=arriving, change=change, **where))
        self.wake(fault.path)
        return fault

    def zombie_limit(self, limit: int = 200, *, path: str = "") -> Fault:
        """``limits.http_max_conns_per_client``: open connections count, and abandoned polls until their wait is over.

        One more is refused: by 429 before the request is read, up to 1.8 by a reset.
        """
        admitted = set(self._connections())

        async def arriving(exchange: Exchange) -> None:
            connection = exchange.request.protocol
            if connection not in admitted and len(self._connections()) > limit:
                if self._facts.says_too_many:
                    exchange.close(raw_refusal(429, _TOO_MANY))
                else:
                    exchange.reset()
                raise Dropped
            admitted.add(connection)

        return self.add(Fault(path=path, arriving=arriving))

    # The connection.

    def cut_at(self, seconds: float, status: int | None = None, **where: Unpack[Where]) -> Fault:
        """The connection ends when an answer takes longer: a proxy's idle limit, with its page for a status."""
        last_words = b"" if status is None else raw_page(status)
        return self.add(Fault(later=(seconds, lambda exchange: exchange.close(last_words)), **where))

    def half_open(self, **where: Unpack[Where]) -> Fault:
        """Nothing arrives and nothing comes back, and no connection ends: a route or a NAT entry that is gone."""

        async def arriving(_: Exchange) -> None:
            await self.hold()

        async def leaving(_: Exchange, _answer: web.Response) -> web.StreamResponse:
            await self.hold()
            raise Dropped

        return self.add(Fault(arriving=arriving, leaving=leaving, **where))

    def frozen(self, *, path: str = "") -> Fault:
        """Nothing is answered until the fault is cleared, then everything: a server that was stopped or swapped out."""
        fault = self.add(Fault(path=path))

        async def arriving(_: Exchange) -> None:
            await self.hold(fault)

        async def leaving(_: Exchange, answer: web.Response) -> web.StreamResponse:
            await self.hold(fault)
            return answer

        fault.arriving, fault.leaving = arriving, leaving
        return fault

    def slow_body(self, seconds: float = 1.0, pieces: int = 10, **where: Unpack[Where]) -> Fault:
        """The head at once, the body in pieces over some seconds: a thin line, or a large list from a busy server."""

        async def leaving(exchange: Exchange, answer: web.Response) -> web.StreamResponse:
            body, slow = streamed(answer)
            await slow.prepare(exchange.request)
            for number in range(pieces):
                await self.hold(seconds=seconds / pieces)
                await slow.write(body[len(body) * number // pieces : len(body) * (number + 1) // pieces])
            return slow

        return self.add(Fault(leaving=leaving, **where))

    def truncated(self, **where: Unpack[Where]) -> Fault:
        """The connection ends in the middle of the body: an agent that dies while it answers."""

        async def leaving(exchange: Exchange, answer: web.Response) -> web.StreamResponse:
            body, half = streamed(answer)
            await half.prepare(exchange.request)
            await half.write(body[: len(body) // 2])
            exchange.close()
            return half

        return self.add(Fault(leaving=leaving, **where))

    def lost_answer(self, **where: Unpack[Where]) -> Fault:
        """The request is carried out, and the connection ends before the answer: a client cannot tell if it was."""

        async def leaving(_: Exchange, _answer: web.Response) -> web.StreamResponse:
            raise Dropped

        return self.add(Fault(leaving=leaving, **where))

    # Parts of them.

    def _refuse(self, answer: Callable[[Exchange], web.Response], where: Where) -> Fault:
        async def arriving(exchange: Exchange) -> web.Response:
            return answer(exchange)

        return self.add(Fault(arriving=arriving, **where))


def _set_index(answer: web.Response, value: str) -> None:
    """Change the index of an answer that has one."""
    if INDEX in answer.headers:
        answer.headers[INDEX] = value


def _false_index(exchange: Exchange) -> int | None:
    """The index that comes with errors of some paths."""
    return 1 if exchange.path.startswith(_ERRORS_WITH_INDEX) else None
