"""Faults by name: what can go wrong between a client and the in-process agent.

A fault acts on the connection or on a finished answer, as late as it can, never inside a handler.
"""

from collections.abc import Callable, Collection
from http import HTTPStatus
from typing import Final, TypedDict, Unpack
from urllib.parse import parse_qs

from aiohttp import web

from aioconsulconnect.testing.agents_thread import AGENTS
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
from aioconsulconnect.testing.version_facts import VersionFacts

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
    """The keyword arguments `path` and `times`, which say which requests a fault meets."""

    path: str
    """Only requests whose path begins with this; by default all."""
    times: int
    """Only so many requests, after which the fault ends; by default without limit."""


class Faults(FaultInjector):
    """The faults of one agent: each method puts one in force and returns it as a `Fault`.

    It stays in force until its `clear` is called or its `with` block is left; `clear` of this object ends all of them.
    A blocking query that waits already meets the fault when it is answered: `wake` brings that on.

    Methods that say nothing else take these keywords as well:

    - `path`: meet only requests whose path begins with this; by default all.
    - `times`: end the fault after so many requests; by default there is no limit.
    """

    def __init__(
        self, facts: VersionFacts, store: Callable[[], Store], connections: Callable[[], Collection[object]]
    ) -> None:
        super().__init__()
        self._facts = facts
        self._store = store
        self._connections = connections

    def wake(self, path: str = "") -> None:
        """End the blocking queries that wait, with their old data and an unmoved index.

        An agent that shuts down does so. `path` limits it to queries whose path begins with it; by default it ends all.
        Queries that the agent itself answers (from its cache, or by streaming) wait on.
        """
        AGENTS.call(lambda: self._store().end_polls(path))

    # The index.

    def index_zero(self, **where: Unpack[Where]) -> Fault:
        """Answer with an index of 0, which makes a client that takes it for its next query spin.

        Consul before 1.2, proxies and mocks send it.
        """
        return self.bad_index("0", **where)

    def bad_index(self, value: str = "many", **where: Unpack[Where]) -> Fault:
        """Answer with another text for an index, by default one that is no number.

        A proxy or a mock may make this of `X-Consul-Index`. `value` is the text of the header, "many" by default.
        """

        def change(_: Exchange, answer: web.Response) -> None:
            _set_index(answer, value)

        return self.add(Fault(change=change, **where))

    def goes_back(self, by: int = 5, **where: Unpack[Where]) -> Fault:
        """Answer with an index below the right one.

        A stale read from another server does so, and a list whose tombstones were collected.

        - `by`: how far it goes back, 5 by default; never below 1.
        - `times`: one request by default, unlike elsewhere.
        """

        def change(_: Exchange, answer: web.Response) -> None:
            _set_index(answer, str(max(1, int(answer.headers.get(INDEX, "1")) - by)))

        where.setdefault("times", 1)
        return self.add(Fault(change=change, **where))

    def no_header(self, **where: Unpack[Where]) -> Fault:
        """Answer without any `X-Consul-` header.

        Match in 1.8 does so, and proxies that let only known headers through.
        """

        def change(_: Exchange, answer: web.Response) -> None:
            for name in [name for name in answer.headers if name.startswith("X-Consul-")]:
                del answer.headers[name]

        return self.add(Fault(change=change, **where))

    def flood(self, every: float = 0.01, **where: Unpack[Where]) -> Fault:
        """End blocking queries every few milliseconds, with a new index and the old data.

        This is a busy neighbour in the same table. `every` is the time in seconds after which each query is ended, 0.01
        by default.
        """

        def end(exchange: Exchange) -> None:
            self.wake(exchange.path)

        def change(_: Exchange, answer: web.Response) -> None:
            if INDEX in answer.headers:
                store = self._store()
                store.index += 1
                _set_index(answer, str(store.index))

        return self.add(Fault(change=change, later=(every, end), **where))

    # False results.

    def empty_lie(self, index: int | None = 1, **where: Unpack[Where]) -> Fault:
        """Answer with an empty list and an index of 1, although there is data.

        Health of a fresh agent without a leader does so (1.10 on), with status 200. Lists are emptied, and the lists in
        the object of match; any other answer keeps its body. `index` is the index to send, 1 by default; None leaves
        the right one.
        """

        def change(_: Exchange, answer: web.Response) -> None:
            empty(answer)
            if index is not None:
                _set_index(answer, str(index))

        return self.add(Fault(change=change, **where))

    def hidden(self, **where: Unpack[Where]) -> Fault:
        """Answer with an empty list and the right index, as if the token had lost its rights.

        From 1.11 the header `X-Consul-Results-Filtered-By-ACLs` says so. Lists are emptied, and the lists in the object
        of match; any other answer keeps its body.
        """

        def change(_: Exchange, answer: web.Response) -> None:
            empty(answer)
            if self._facts.filtered_header:
                answer.headers[_FILTERED] = "true"

        return self.add(Fault(change=change, **where))

    def garbage(self, body: bytes = b'[{"ID": \xff', **where: Unpack[Where]) -> Fault:
        """Answer with a body that is no JSON, under the right status.

        A proxy's page, or an answer that was cut and completed on the way. `body` is what is sent, by default the
        beginning of a list with an invalid byte.
        """

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
        """Refuse requests with an error that carries a meaningless index of 1.

        List, match, roots and the catalog of every version do so.

        - `status`: the status, 500 by default.
        - `text`: the body, "rpc error making call: EOF" by default.
        - `index`: the index to send, 1 by default; None sends none.
        """
        return self._refuse(lambda _: refusal(status, text, index), where)

    def denied(self, text: str = "ACL not found", **where: Unpack[Where]) -> Fault:
        """Refuse requests with 403, as if the token had been deleted or had expired.

        A blocking query that waits is answered as ever; the next one is refused. On the paths of intentions, roots, the
        catalog and discovery chains the error carries an index of 1. `text` is the body, "ACL not found" by default.
        """
        return self._refuse(lambda exchange: refusal(403, text, _false_index(exchange)), where)

    def throttled(self, text: str = _RATE_LIMIT, **where: Unpack[Where]) -> Fault:
        """Refuse requests with 429, as the rate limit of the servers does (1.15 on).

        It never says when to come back. On the paths of intentions, roots, the catalog and discovery chains the error
        carries an index of 1. `text` is the body, Consul's words by default.
        """
        return self._refuse(lambda exchange: refusal(429, text, _false_index(exchange)), where)

    def html_error(self, status: int = 502, **where: Unpack[Where]) -> Fault:
        """Answer with the HTML page of a proxy that cannot reach the agent.

        `status` is its status, 502 by default.
        """
        return self._refuse(lambda _: page(status), where)

    def redirect(self, to: str, status: int = 307, **where: Unpack[Where]) -> Fault:
        """Redirect requests to the same path and query at another address.

        A proxy that wants HTTPS or that has moved does so.

        - `to`: the base URL to redirect to.
        - `status`: the status, 307 by default.
        """

        def moved(exchange: Exchange) -> web.Response:
            return web.Response(status=status, headers={"Location": to.rstrip("/") + exchange.request.raw_path})

        return self._refuse(moved, where)

    def no_leader(self, hold: float = 0.0, **where: Unpack[Where]) -> Fault:
        """Refuse requests with 500, as a cluster without a leader does.

        Blocking queries that wait end at once, with an error. Stale reads and paths below `/v1/agent/` are answered as
        ever, and a header `X-Consul-KnownLeader` says false; `/v1/status/leader` answers an empty string. `hold` is the
        time in seconds before a refusal, 0 by default; real servers take 7 seconds and more.
        """

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
        """Refuse connections beyond a number, as `limits.http_max_conns_per_client` does.

        Open connections count, and closed ones whose blocking query still waits. One more is refused by 429 before its
        request is read, up to 1.8 by a reset. Connections that are open already stay in use. It takes no `times`.

        - `limit`: the most connections, 200 by default.
        - `path`: meet only requests whose path begins with this; by default all.
        """
        admitted = AGENTS.call(lambda: set(self._connections()))

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
        """Close the connection when an answer takes longer, as the idle limit of a proxy does.

        - `seconds`: the time that an answer may take.
        - `status`: the status of the HTML page that is sent first; by default nothing is sent.
        """
        last_words = b"" if status is None else raw_page(status)
        return self.add(Fault(later=(seconds, lambda exchange: exchange.close(last_words)), **where))

    def half_open(self, **where: Unpack[Where]) -> Fault:
        """Let nothing arrive and nothing come back, while no connection ends.

        A lost route or a lost NAT entry does so. The requests that it has met are held until the agent stops, also
        after the fault is cleared.
        """

        async def arriving(_: Exchange) -> None:
            await self.hold()

        async def leaving(_: Exchange, _answer: web.Response) -> web.StreamResponse:
            await self.hold()
            raise Dropped

        return self.add(Fault(arriving=arriving, leaving=leaving, **where))

    def frozen(self, *, path: str = "") -> Fault:
        """Answer nothing until the fault is cleared, and then everything.

        A server that was stopped or swapped out does so. `path` limits it to requests whose path begins with it; it
        takes no `times`.
        """
        fault = self.add(Fault(path=path))

        async def arriving(_: Exchange) -> None:
            await self.hold(fault)

        async def leaving(_: Exchange, answer: web.Response) -> web.StreamResponse:
            await self.hold(fault)
            return answer

        fault.arriving, fault.leaving = arriving, leaving
        return fault

    def slow_body(self, seconds: float = 1.0, pieces: int = 10, **where: Unpack[Where]) -> Fault:
        """Send the head of an answer at once, and its body in pieces.

        A thin line does so, or a large list from a busy server.

        - `seconds`: the time that the whole body takes, 1 by default.
        - `pieces`: the number of pieces, 10 by default.
        """

        async def leaving(exchange: Exchange, answer: web.Response) -> web.StreamResponse:
            body, slow = streamed(answer)
            await slow.prepare(exchange.request)
            for number in range(pieces):
                await self.hold(seconds=seconds / pieces)
                await slow.write(body[len(body) * number // pieces : len(body) * (number + 1) // pieces])
            return slow

        return self.add(Fault(leaving=leaving, **where))

    def truncated(self, **where: Unpack[Where]) -> Fault:
        """Send half of the body and close the connection, as an agent that dies while it answers."""

        async def leaving(exchange: Exchange, answer: web.Response) -> web.StreamResponse:
            body, half = streamed(answer)
            await half.prepare(exchange.request)
            await half.write(body[: len(body) // 2])
            exchange.close()
            return half

        return self.add(Fault(leaving=leaving, **where))

    def lost_answer(self, **where: Unpack[Where]) -> Fault:
        """Carry out the request, and close the connection before the answer.

        A client cannot tell whether it was carried out.
        """

        async def leaving(_: Exchange, _answer: web.Response) -> web.StreamResponse:
            raise Dropped

        return self.add(Fault(leaving=leaving, **where))

    def _refuse(self, answer: Callable[[Exchange], web.Response], where: Where) -> Fault:
        async def arriving(exchange: Exchange) -> web.Response:
            return answer(exchange)

        return self.add(Fault(arriving=arriving, **where))


def _set_index(answer: web.Response, value: str) -> None:
    """Change the index of an answer that has one."""
    if INDEX in answer.headers:
        answer.headers[INDEX] = value


def _false_index(exchange: Exchange) -> int | None:
    """The index of 1 that Consul sends with errors of some paths; None for the others."""
    return 1 if exchange.path.startswith(_ERRORS_WITH_INDEX) else None
