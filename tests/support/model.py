"""A model of Consul for whole runs of watches: what was ever true, and a server that answers late, blindly or not."""

from __future__ import annotations

import asyncio
import errno
import heapq
from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec
from support.fakes import (
    Answer,
    Call,
    FakeClock,
    Thing,
    Things,
    by_name,
    error,
    lost,
    nothing,
    request,
    things,
    understood,
)

from aioconsulconnect.errors import RequestTimeout
from aioconsulconnect.transport.request import Parameters, Request
from aioconsulconnect.transport.response import Response
from aioconsulconnect.transport.sender import CrowdingNotice
from aioconsulconnect.transport.settings.options import Options, Purpose
from aioconsulconnect.watch.protocol.poll_settings import PollSettings
from aioconsulconnect.watch.protocol.spec import WatchSpec

T = TypeVar("T")
State = dict[str, str]

KEYS = ("a", "b", "c")
LATE = 2.5  # seconds that a late answer is under way
ELECTION = 0.5  # seconds until a new leader has applied all
_LIST = "/v1/list"
_FOREVER = float("inf")


def fitting(kind: type[msgspec.Struct], **fields: Any) -> Any:
    """An instance with those of the fields that it has in this version of the package."""
    return kind(**{name: value for name, value in fields.items() if name in kind.__struct_fields__})


SETTINGS: PollSettings = fitting(PollSettings, throttled=(5.0, 20.0), probe_interval=0.0)


class Kind(msgspec.Struct, frozen=True):
    """
    A kind of watch: what it asks, and how the server answers it.

    `single`: it sees nothing but the thing "a". `refused`: without rights it gets a 403 and not a part.
    """

    spec: Any
    single: bool = False
    refused: bool = False
    absent: str = ""
    options: Options = Options()

    @property
    def in_step(self) -> bool:
        """Whether whoever answers it has always applied the last write."""
        return self.spec.source == "servers" and self.options.consistency is None


def _spec(**fields: Any) -> WatchSpec[Things, Thing]:
    spec: WatchSpec[Things, Thing] = fitting(WatchSpec, items=by_name, **fields)
    return spec


KINDS = {
    "index": Kind(_spec()),
    "config": Kind(_spec(value_when_absent=nothing), single=True, refused=True, absent="Config entry not found for a"),
    "hash": Kind(
        _spec(cursor_kind="hash", value_when_absent=nothing), single=True, refused=True, absent="unknown service ID: a"
    ),
    "borrowed": Kind(
        _spec(index_from=Request(method="GET", path=_LIST, decode=lambda response: response.body)),
        refused=True,
    ),
    "streaming": Kind(_spec(source="streaming")),
    "stale": Kind(_spec(), options=Options(consistency="stale")),
}


def asked(name: str) -> Request[Things]:
    return request(f"/v1/{name}", options=KINDS[name].options)


_HTML = {"content-type": "text/html"}
_REFUSED = lost("nobody there")
_REFUSED.__cause__ = ConnectionRefusedError(errno.ECONNREFUSED, "refused")

# Each answers every request that is sent while it lasts. Those in `HELD` leave what is in flight alone.
FAULTS: Mapping[str, Answer] = {
    "refused": _REFUSED,
    "cut": lost(),
    "500 no leader": error(500, "No cluster leader", **{"x-consul-index": "1"}),
    "500 EOF": error(500, "rpc error making call: EOF"),
    "500 vault": error(500, "1 error occurred:\n\t* permission denied"),
    "503 stream": error(503, "error reading from server: EOF"),
    "gateway 404": error(404, "default backend - 404"),
    "gateway 404 html": Response(404, _HTML, b"<html>404 Not Found</html>"),
    "gateway 404 empty": error(404, ""),
    "gateway 400": error(400, "Bad Request"),
    "gateway 403": Response(403, _HTML, b"<html>Forbidden</html>"),
    "gateway 405": error(405, "Method Not Allowed"),
    "gateway 410": error(410, "Gone"),
    "gateway 431": error(431, ""),
    "gateway 502": Response(502, _HTML, b"<html>Bad Gateway</html>"),
    "gateway 200": Response(200, _HTML, b"<html>Welcome</html>"),
    "blind": Response(200, {"x-consul-index": "1", "x-consul-knownleader": "false"}, b"[]"),
    "403": error(403, "Permission denied", **{"x-consul-index": "1"}),
    "403 unknown": error(403, "ACL not found", **{"x-consul-index": "1"}),
    "429": error(429, "Your IP is issuing too many concurrent connections, please rate limit your calls"),
    "429 rate": error(429, "rate limit exceeded, try again later"),
}
HELD = frozenset({"403", "403 unknown", "429", "429 rate", "blind"})


class ModelClock(FakeClock):
    """A clock that can resolve a future at a time, for waits that something else may end as well."""

    def at(self, when: float, future: asyncio.Future[None]) -> None:
        heapq.heappush(self._timers, (when, next(self._numbers), future))


class Truth(msgspec.Struct, frozen=True):
    """What was true from `time` on, until the next one; `invisible` is hidden from the token, all without a token."""

    time: float
    index: int
    items: State
    invisible: frozenset[str] = frozenset()
    anonymous: bool = False
    epoch: int = 0

    @property
    def visible(self) -> State:
        if self.anonymous:
            return {}
        return {name: value for name, value in self.items.items() if name not in self.invisible}

    def seen(self, kind: Kind) -> State:
        """What an honest answer to such a watch has."""
        found = self.items if kind.refused else self.visible
        return {name: value for name, value in found.items() if name == "a"} if kind.single else found


class _Open(msgspec.Struct):
    """A request in flight: until when it may take, and its answer where that is under way."""

    call: Call
    name: str
    due: float
    ends: float
    future: asyncio.Future[None] | None = None
    answer: Answer | None = None
    arrives: float = _FOREVER


class ModelConsul:
    """
    Consul as a sender: all that was ever true in `history`, and the fault of the moment.

    `late` are the requests whose answers, made now, arrive later ("reads" or "polls"); `frozen`: nothing is answered.
    `down` is an address where nobody listens. `follower` and `view` are the places in `history` where the follower
    that answers stale reads, and the agent's streaming view, stand still; None for in step. `leader` is the same for
    one that was just elected, until `ready` (it answers consistent reads only then).
    """

    def __init__(self, clock: ModelClock) -> None:
        self.clock = clock
        self.addresses: tuple[str, ...] = ("http://one", "http://two")
        self.history: list[Truth] = [Truth(clock.now(), 10, {"a": "0", "b": "0"})]
        self.fault: str = ""
        self.late: str = ""
        self.down: str = ""
        self.frozen = False
        self.leader: int | None = None
        self.ready = 0.0
        self.elections = 0
        self.follower: int | None = None
        self.view: int | None = None
        self.crowding = CrowdingNotice()
        self.lies = 0  # answers that were none of an honest server
        self.served: set[str] = set()  # the watches that have shown data, as their consumers say
        self._open: list[_Open] = []
        self._written = 0

    @property
    def now(self) -> Truth:
        return self.history[-1]

    def refuses(self, name: str) -> bool:
        """Whether the token may not ask that at all."""
        kind = KINDS.get(name)
        hidden = kind is not None and kind.single and "a" in self.now.invisible
        return kind is not None and kind.refused and (hidden or self.now.anonymous)

    # What happens.

    def write(self, name: str) -> None:
        self._written += 1
        self._becomes(index=self.now.index + 1, items={**self.now.items, name: str(self._written)})

    def delete(self, name: str, *, moves: bool = True) -> None:
        rest = {key: value for key, value in self.now.items.items() if key != name}
        self._becomes(index=self.now.index + (1 if moves else 0), items=rest)

    def hide(self, names: frozenset[str]) -> None:
        self._becomes(invisible=names)

    def lose_token(self, *, anonymous: bool) -> None:
        self._becomes(anonymous=anonymous)

    def restore(self, back: int) -> None:
        """What is in flight at the servers wakes with the state and the index of before."""
        old = self.history[max(0, len(self.history) - 1 - back)]
        for one in self._open:
            if one.answer is None and one.call.polled and KINDS[one.name].spec.source == "servers" and not self.frozen:
                self._answer(one, self._honest(one))
        self._becomes(index=old.index, items=old.items, epoch=self.now.epoch + 1)

    def breaks(self, fault: str, *, down: str = "") -> None:
        """From now on every request is answered so, or `down` is an address where nobody is."""
        self.fault, self.down = fault, down
        for one in self._open:
            if one.answer is None and (one.call.address == down or (fault and fault not in HELD)):
                self._answer(one, lost() if down or fault == "refused" else FAULTS[fault])
                self.lies += 1
        self.wake()

    def elects(self, *, behind: int) -> None:
        """Another leader: it has not applied the last `behind` writes for half a second."""
        self.breaks("500 EOF")
        self.fault = ""
        self.elections += 1
        place, now = max(0, len(self.history) - 1 - behind), self.now
        rights = (now.invisible, now.anonymous, now.epoch)
        while (self.history[place].invisible, self.history[place].anonymous, self.history[place].epoch) != rights:
            place += 1  # what it lacks are writes
        self.leader, self.ready = place, self.clock.now() + ELECTION

    def heal(self) -> None:
        self.fault = self.late = self.down = ""
        self.frozen, self.leader, self.follower, self.view = False, None, None, None
        self.ready = 0.0
        if self.now.anonymous:
            self.lose_token(anonymous=False)
        self.wake()

    def wake(self) -> None:
        """Whoever waits looks again."""
        for one in self._open:
            if one.future is not None and not one.future.done():
                one.future.set_result(None)

    def _becomes(self, **changes: Any) -> None:
        self.history.append(msgspec.structs.replace(self.now, time=self.clock.now(), **changes))
        self.wake()

    # How it is answered.

    async def send(self, request: Request[T]) -> Response:
        return await self.attempt(request, extra=(), deadline=10.0, address=self.addresses[0])

    def avoid(self, address: str) -> None:
        if self.addresses[0] == address:
            self.addresses = (*self.addresses[1:], address)

    def token_mark(self) -> object | None:
        return None

    async def token_changed_since(self, mark: object | None) -> bool:
        return False

    async def attempt(
        self, request: Request[T], *, extra: Parameters, deadline: float, address: str, purpose: Purpose = "polls"
    ) -> Response:
        if purpose == "probe":
            return await self._leader(address, deadline, request)
        now = self.clock.now()
        parameters = dict(request.parameters + extra)
        call = Call(now, request.path, parameters, address, deadline)
        one = _Open(call, request.path.rpartition("/")[2], now + deadline, now + (call.wait if call.polled else 0.0))
        self._open.append(one)
        if (fault := self._fault(one)) is not None:
            self._answer(one, fault)
            self.lies += 1
        try:
            answer = await self._wait(one)
        finally:
            self._open.remove(one)
        if isinstance(answer, Exception):
            raise answer
        return understood(answer, request)

    async def _leader(self, address: str, deadline: float, request: Request[T]) -> Response:
        """The small question."""
        if self.frozen:
            await self.clock.sleep(deadline)
            raise RequestTimeout("no answer in time")
        answer = _REFUSED if address == self.down else FAULTS[self.fault] if self.fault else None
        if isinstance(answer, Exception):
            raise answer
        leader = b'""' if self.fault == "blind" else b'"127.0.0.1:8300"'
        return Response(200, {}, leader) if answer is None or self.fault == "blind" else understood(answer, request)

    async def _wait(self, one: _Open) -> Answer:
        while True:
            now = self.clock.now()
            waits = now < self.ready and "consistent" in one.call.parameters
            if one.answer is None and not (self.frozen or waits) and (now >= one.ends or self._moved(one)):
                self._answer(one, self._honest(one))
            if one.answer is not None and now >= one.arrives:
                return one.answer
            if now >= one.due:
                raise RequestTimeout("no answer in time")
            look = one.arrives if one.answer is not None else _FOREVER if self.frozen else one.ends
            if one.answer is None and now < self.ready:
                look = max(look, self.ready) if waits else min(look, self.ready)
            one.future = asyncio.get_running_loop().create_future()
            self.clock.at(min(look, one.due), one.future)
            await one.future

    def _answer(self, one: _Open, answer: Answer) -> None:
        kind = "polls" if one.call.polled else "reads"
        one.answer, one.arrives = answer, self.clock.now() + (LATE if self.late == kind else 0.0)
        if one.future is not None and not one.future.done():
            one.future.set_result(None)

    def _fault(self, one: _Open) -> Answer | None:
        if one.call.address == self.down:
            return _REFUSED
        if self.fault == "403" or (not self.fault and self.refuses(one.name)):
            return FAULTS["403" if one.name in self.served else "403 unknown"]  # one that was never right may end
        if self.fault == "blind" and one.name in {"config", "hash"}:
            return FAULTS["500 no leader"]  # Consul has no empty answer for a single thing
        return FAULTS[self.fault] if self.fault else None

    def _standing(self, one: _Open) -> Truth:
        """What the one that answers knows."""
        place: int | None = None
        if "stale" in one.call.parameters:
            place = self.follower
        elif one.name == "streaming" and one.call.polled:
            place = self.view
        elif self.clock.now() < self.ready and one.name != "hash":  # which the agent answers
            place = self.leader
        return self.now if place is None else self.history[place]

    def _moved(self, one: _Open) -> bool:
        known, truth = one.call.parameters, self._standing(one)
        if "hash" in known:
            return known["hash"] != f"h{truth.items.get('a')}"
        return truth.index > int(known["index"]) if "index" in known else True

    def _honest(self, one: _Open) -> Response:
        truth = self._standing(one)
        later = self.history[next(at for at, known in enumerate(self.history) if known is truth) + 1 :]
        behind = later[0].time if later else self.clock.now()
        headers = {
            "x-consul-index": str(truth.index),
            "x-consul-knownleader": "true",
            "x-consul-lastcontact": str(0 if truth is self.now else round(1000 * (self.clock.now() - behind))),
        }
        if one.call.path == _LIST:
            return Response(200, headers, b"[]", anonymous=truth.anonymous)
        kind = KINDS[one.name]
        found = truth.seen(kind)
        if one.name == "streaming" and one.call.polled:
            headers["x-consul-query-backend"] = "streaming"
        elif truth.invisible & truth.items.keys() and not (truth.anonymous or kind.refused):
            headers["x-consul-results-filtered-by-acls"] = "true"
        if one.name == "borrowed":
            headers = {}  # as 1.8 does
        elif one.name == "hash":
            headers = {"x-consul-contenthash": f"h{found['a']}"} if found else {}
        if kind.absent and not found:
            return Response(404, headers, kind.absent.encode(), anonymous=truth.anonymous)
        return Response(200, headers, things(**found), anonymous=truth.anonymous)
