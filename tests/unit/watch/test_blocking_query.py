"""The query alone: driven through any sequence of answers, and the rows of its table that no requirement names."""

from __future__ import annotations

import errno
import random

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from support.fakes import Thing, Things, by_name, decode, nothing, request, things, understood

from aioconsulconnect.errors import ConnectionFailed, ConsulError, RequestTimeout
from aioconsulconnect.transport.request import Request
from aioconsulconnect.transport.response import Response
from aioconsulconnect.watch.protocol.blocking_query import BlockingQuery, NextRequest
from aioconsulconnect.watch.protocol.poll_settings import PollSettings
from aioconsulconnect.watch.protocol.spec import WatchSpec

SETTINGS = PollSettings()
LIST: Request[object] = Request(method="GET", path="/v1/list", decode=lambda response: response.body)
WAYS: dict[str, WatchSpec[Things, Thing]] = {
    "index": WatchSpec(items=by_name),
    "hash": WatchSpec(items=by_name, cursor_kind="hash"),
    "borrowed": WatchSpec(items=by_name, index_from=LIST),
    "absent": WatchSpec(items=by_name, value_when_absent=nothing),
}
REFUSED = ConnectionFailed("nobody there")
REFUSED.__cause__ = ConnectionRefusedError(errno.ECONNREFUSED, "refused")
ERRORS: tuple[Response | ConsulError, ...] = (
    REFUSED,
    ConnectionFailed("gone"),
    RequestTimeout("late"),
    Response(403, {"x-consul-index": "1"}, b"Permission denied"),
    Response(429, {"x-consul-index": "1"}, b"Your IP is issuing too many concurrent connections"),
    Response(500, {"x-consul-index": "1"}, b"No cluster leader"),
    Response(500, {}, b"invalid in some way"),
    Response(504, {"content-type": "text/html"}, b"<html>"),
    Response(200, {"x-consul-index": "77"}, b'[{"na'),
    Response(200, {"x-consul-index": "77"}, b"null"),
    Response(302, {}, b""),
)


class Drive:
    """A query, a clock, and a server that may do anything; it checks what must always hold."""

    def __init__(self, way: str, seed: int) -> None:
        self.now = 1000.0
        self.way = way
        self.random = random.Random(seed)
        self.query = BlockingQuery(request(), WAYS[way], SETTINGS, self.random.random, self.now)
        self.truth: dict[str, str] = {}
        self.index = 10
        self.lie: str = ""
        self.sent: list[float] = []
        self.free = 0
        self.emitted: list[frozenset[Thing]] = []

    def answer(self, following: NextRequest) -> Response:
        """What a server says that is honest but for its `lie`."""
        headers = {"x-consul-index": str(self.index), "x-consul-contenthash": f"h{self.index}"}
        if (self.way == "borrowed" and following.kind != "list") or self.lie == "none":
            headers = {}
        elif self.lie == "zero":
            headers["x-consul-index"] = "0"
        elif self.lie == "stream" and following.kind == "poll":
            headers["x-consul-query-backend"] = "streaming"
        elif self.lie == "filtered":
            headers["x-consul-results-filtered-by-acls"] = "true"
        body = b"[]" if self.lie == "empty" else things(**self.truth)
        return Response(200, headers, body)

    def turn(self, answer: Response | ConsulError | None, took: float) -> bool:
        """One request; None for what the server says itself. Whether the query goes on."""
        following = self.query.next_request(self.now)
        self.check_ask(following)
        self.now = max(self.now, following.at)
        self.query.start(following, self.now)
        self.count(following)
        before, sent = self.query.snapshot, self.now
        self.now += min(took, following.deadline) if took < 1e3 else took
        given_answer = self.answer(following) if answer is None else answer
        self.query.receive(following, sent, self.now, given_answer)
        if given_answer is REFUSED and self.sent[-1:] == [sent]:
            self.sent.pop()  # it never reached anybody
        self.check_data(before, failed=answer is not None)
        if self.query.end is not None:
            return False
        frozen = self.now - sent > 1.5 * following.deadline
        zero = self.lie == "zero" and self.way != "hash" and answer is None
        if (answer is not None or (zero and following.kind != "list")) and not frozen:
            confirming = self.query.poll_log[-1].verdict in {"confirm", "not allowed to list"}
            assert confirming or self.query.next_request(self.now).at >= self.now + 0.19 or self.way == "borrowed"
        return True

    def check_ask(self, following: NextRequest) -> None:
        assert following.at < self.now + 301
        if following.kind == "poll":
            assert following.position not in {None, 0, ""}
            assert 0 < following.wait <= SETTINGS.wait
            assert following.deadline > following.wait * 17 / 16
        else:
            assert following.extra == ()

    def count(self, following: NextRequest) -> None:
        """Paced: five at once, then one a second; a borrower's two small reads belong to the poll before."""
        small = self.way == "borrowed" and following.kind in {"list", "read"} and bool(self.sent)
        if small and self.free < 2:
            self.free += 1
            return
        self.free = 0
        self.sent.append(self.now)
        for count in range(5, len(self.sent)):
            assert self.sent[-1] - self.sent[-1 - count] >= (count - 4) * SETTINGS.min_interval - 1e-6

    def check_data(self, before: object, *, failed: bool) -> None:
        after = self.query.snapshot
        if after is before:
            return
        assert not failed, "a failure changed the data"
        assert after is not None
        told = frozenset(after.items.values())
        assert not self.emitted or told != self.emitted[-1], "an unchanged value was told"
        self.emitted.append(told)

    def settle(self) -> None:
        """The server is honest and quiet again: the last state must come out."""
        self.lie = ""
        self.index += 1000
        self.truth["last"] = str(self.index)
        for _ in range(12):
            if not self.turn(None, 0.01 if self.query.next_request(self.now).kind != "poll" else 56.0):
                return
        if self.query.state == "denied":
            self.check_hidden()
            self.query.invalidate(self.now)  # a server without the header hides until there is another token
            for _ in range(6):
                self.turn(None, 0.01 if self.query.next_request(self.now).kind != "poll" else 56.0)
        snapshot = self.query.snapshot
        assert snapshot is not None
        assert {thing.name: thing.value for thing in snapshot.items.values()} == self.truth
        assert self.query.state in {"synced", "polling"}

    def check_hidden(self) -> None:
        """What is visible is told all the same, and none of what is hidden is back."""
        assert self.query.snapshot is not None
        told = {thing.name: thing.value for thing in self.query.snapshot.items.values()}
        assert told.items() > self.truth.items()


LIES = ("", "", "zero", "none", "stream", "filtered", "empty")


def step(drive: Drive, what: int, how: int) -> bool:
    """One turn, by two bytes."""
    took = (0.0, 0.02, 3.0, 30.0, 56.0, 1e6)[how % 6] if how % 41 else 1e6
    match what % 8:
        case 0:
            return drive.turn(ERRORS[how % len(ERRORS)], took)
        case 1:
            drive.truth[f"k{how % 4}"] = str(how)
            drive.index += 1 + how % 3
        case 2:
            drive.truth.pop(f"k{how % 4}", None)
            drive.index += 1
        case 3:
            drive.index = max(1, drive.index - how)
        case 4:
            drive.truth = {f"k{how % 4}": "restored"}
            drive.index = max(1, drive.index - how % 5)
        case 5:
            drive.lie = LIES[how % len(LIES)]
        case 6:
            if how % 2:
                drive.query.on_over_budget(drive.now, 5.0)
            else:
                drive.query.invalidate(drive.now)
        case _:
            drive.query.receive_beside(drive.now, drive.now, ERRORS[how % len(ERRORS)] if how % 3 else beside(drive))
            if (after := drive.query.snapshot) is not None:
                told = frozenset(after.items.values())
                drive.emitted += [told] if told not in drive.emitted[-1:] else []
    return drive.turn(None, took)


def beside(drive: Drive) -> Response:
    return drive.answer(NextRequest(kind="confirm", at=drive.now, deadline=10))


def run(way: str, script: bytes) -> None:
    drive = Drive(way, len(script))
    for what, how in zip(script[::2], script[1::2], strict=False):
        if not step(drive, what, how):
            return
    drive.settle()


QUIET = [HealthCheck.too_slow]


@given(way=st.sampled_from(sorted(WAYS)), script=st.binary(max_size=80))
@settings(max_examples=400, deadline=None, suppress_health_check=QUIET)
def test_whatever_the_server_does_the_machine_keeps_its_rules(way: str, script: bytes) -> None:
    run(way, script)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("way", sorted(WAYS))
def test_twenty_thousand_sequences(way: str) -> None:
    @given(script=st.binary(max_size=80))
    @settings(max_examples=5000, deadline=None, suppress_health_check=QUIET, database=None)
    def check(script: bytes) -> None:
        run(way, script)

    check()


def test_the_decoder_of_these_tests_refuses_what_is_no_list() -> None:
    assert decode(Response(200, {}, things(a="1"))) == (Thing("a", "1"),)


def test_a_deletion_that_wakes_with_what_is_deleted_is_looked_into() -> None:
    """As 1.8 does for a config entry: the poll gets the old entry at a new index, and only a read says 404."""
    query = BlockingQuery(request(), WAYS["absent"], SETTINGS, lambda: 0.5, 1000.0)
    kinds, now = [], 1000.0
    gone = understood(Response(404, {"x-consul-index": "8"}, b"Config entry not found"))
    old = things(a="1")
    for answer in (
        Response(200, {"x-consul-index": "7"}, old),
        Response(200, {"x-consul-index": "8"}, old),
        gone,
        gone,
    ):
        following = query.next_request(now)
        kinds.append(following.kind)
        now = max(now, following.at)
        query.start(following, now)
        query.receive(following, now, now + 1, answer)
        now += 1
    assert kinds == ["read", "poll", "read", "confirm"]
    assert query.snapshot is not None
    assert query.snapshot.value == ()
    assert query.status(now).state == "absent"
    assert query.next_request(now).kind == "poll"
