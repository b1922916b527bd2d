"""The query alone, driven through any sequence of answers and events: what must always hold."""

from __future__ import annotations

import random

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from support.fakes import Thing, Things, by_name, decode, lost, nothing, refused, request, things, understood

from aioconsulconnect.errors import ConsulError, NoLeader, RequestTimeout
from aioconsulconnect.transport.request import Request
from aioconsulconnect.transport.response import Response
from aioconsulconnect.watch.protocol.blocking_query import BlockingQuery, NextRequest
from aioconsulconnect.watch.protocol.poll_settings import PollSettings
from aioconsulconnect.watch.protocol.spec import WatchSpec
from aioconsulconnect.watch.protocol.transitions import Kind

SETTINGS = PollSettings(burst=5)
LIST: Request[object] = Request(method="GET", path="/v1/list", decode=lambda response: response.body)
WAYS: dict[str, WatchSpec[Things, Thing]] = {
    "index": WatchSpec(items=by_name),
    "hash": WatchSpec(items=by_name, cursor_kind="hash"),
    "borrowed": WatchSpec(items=by_name, index_from=LIST),
    "absent": WatchSpec(items=by_name, value_when_absent=nothing),
}
ERRORS: tuple[Response | ConsulError, ...] = (
    refused(),
    lost(),
    RequestTimeout("late"),
    understood(Response(403, {"x-consul-index": "1"}, b"Permission denied")),
    understood(Response(429, {"x-consul-index": "1"}, b"Your IP is issuing too many concurrent connections")),
    understood(Response(500, {"x-consul-index": "1"}, b"No cluster leader")),
    understood(Response(500, {}, b"invalid in some way")),
    understood(Response(504, {"content-type": "text/html"}, b"<html>")),
    Response(200, {"x-consul-index": "77"}, b'[{"na'),
    Response(200, {"x-consul-index": "77"}, b"null"),
    understood(Response(302, {}, b"")),
)
SLOW = 1.0  # seconds: what takes so long is no storm
MOST_FREE = 6  # read, confirm, list, read, confirm: what one doubt and one borrowed index may cost without a pause
FREE_WORDS = ("confirm", "superseded", "no index")


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
        self.polls: list[float] = []
        self.free = 0
        self.emitted: list[frozenset[Thing]] = []

    def answer(self, following: NextRequest) -> Response:
        """What a server says that is honest but for its `lie`."""
        headers = {"x-consul-index": str(self.index), "x-consul-contenthash": f"h{self.index}"}
        if (self.way == "borrowed" and following.kind is not Kind.INDEX) or self.lie == "none":
            headers = {}
        elif self.lie == "zero":
            headers["x-consul-index"] = "0"
        elif self.lie == "stream" and following.kind is Kind.POLL:
            headers["x-consul-query-backend"] = "streaming"
        elif self.lie == "cache":
            headers["x-cache"] = "HIT"
        elif self.lie == "filtered":
            headers["x-consul-results-filtered-by-acls"] = "true"
        elif self.lie == "blind":
            headers |= {"x-consul-index": "1", "x-consul-knownleader": "false"}
        body = b"[]" if self.lie == "empty" or "false" in headers.values() else things(**self.truth)
        return Response(200, headers, body)

    def turn(self, answer: Response | ConsulError | None, took: float, during: str = "") -> bool:
        """One request, and what happens during it; None for what the server says itself. Whether it goes on."""
        following = self.query.next_request(self.now)
        self.check_asked(following)
        waited, self.now = following.at > self.now, max(self.now, following.at)
        sent = self.query.start(following, self.now)
        self.count(following, waited=waited)
        self.now += min(took, following.deadline) if took < 1e3 else took
        if took >= SLOW:
            self.free = 0
        if during:
            self.happen(during)
        if self.query.abandoned:
            self.query.abandon(self.now + 0.1)
            assert self.query.next_request(self.now).kind is Kind.READ
            return True
        before, given_answer = self.query.snapshot, self.answer(following) if answer is None else answer
        self.query.receive(following, sent, self.now, given_answer)
        self.check_data(before, failed=answer is not None)
        if self.query.end is not None:
            assert self.query.snapshot is None, "an answer ended a watch that had data"
            return False
        unread = following.kind is Kind.INDEX and given_answer.status == 200  # of a list, the index alone counts
        self.check_pause(following, sent.time, failed=answer is not None and not unread)
        return True

    def happen(self, what: str) -> None:
        before, beside = self.query.snapshot, NextRequest(kind=Kind.CONFIRM, at=self.now, deadline=10)
        self.free = 0
        match what:
            case "token":
                self.query.token_changed(self.now)
            case "trouble":
                self.query.doubt(NoLeader("none"), self.now, retry_at=self.now + 0.1)
            case "well":
                self.query.doubt(None, self.now, retry_at=self.now + 0.1)
            case "failed beside":
                error, again = self.query.receive_beside(
                    self.query.start_beside(self.now), self.now, RequestTimeout("late")
                )
                assert isinstance(error, RequestTimeout)
                assert not again
                assert self.query.snapshot is before
            case _:
                self.query.receive_beside(self.query.start_beside(self.now), self.now, self.answer(beside))
                self.check_data(before, failed=False)

    def check_asked(self, following: NextRequest) -> None:
        assert following.at < self.now + 301
        if following.kind is Kind.POLL:
            assert following.position not in {None, 0, ""}
            assert 0 < following.wait <= SETTINGS.wait
            assert following.deadline > following.wait * 17 / 16
            assert dict(following.extra)["wait"].endswith("ms")
        else:
            assert (following.extra, following.position, following.wait) == ((), None, 0)

    def count(self, following: NextRequest, *, waited: bool) -> None:
        """Polls come in a burst of each kind and then at the rates; what is sent without a pause stays few."""
        if following.kind is not Kind.POLL:
            self.free = 0 if waited else self.free + 1
            assert self.free <= MOST_FREE
            return
        self.free = 0
        self.polls.append(self.now)
        for count in range(1, len(self.polls)):
            passed = self.polls[-1] - self.polls[-1 - count]
            assert count <= 2 * (1 + SETTINGS.burst) + (SETTINGS.rate + 1) * passed + 1e-6

    def check_pause(self, following: NextRequest, sent: float, *, failed: bool) -> None:
        """After a failure, and after index 0, nothing is asked at once."""
        frozen = self.now - sent > 1.5 * following.deadline
        log = self.query.poll_log[-1]
        if frozen or any(word in log.verdict for word in FREE_WORDS):
            return
        if failed or "zero" in log.verdict:
            assert self.query.next_request(self.now).at >= self.now + 0.19

    def check_data(self, before: object, *, failed: bool) -> None:
        after = self.query.snapshot
        if after is before:
            return
        assert not failed, "a failure changed the data"
        assert after is not None
        assert self.lie != "blind" or self.way == "borrowed", "a server that knew nothing was believed"
        told = frozenset(after.items.values())
        assert not self.emitted or told != self.emitted[-1], "an unchanged value was told"
        self.emitted.append(told)

    def settle(self) -> None:
        """The server is honest and quiet again: the last state must come out."""
        self.lie = ""
        self.index += 1000
        self.truth["last"] = str(self.index)
        for _ in range(12):
            if not self.turn(None, 0.01 if self.query.next_request(self.now).kind is not Kind.POLL else 56.0):
                return
        snapshot = self.query.snapshot
        assert snapshot is not None
        assert {thing.name: thing.value for thing in snapshot.items.values()} == self.truth
        given_up = {"polling"} if self.way == "borrowed" else set[str]()  # no index to borrow, once
        assert self.query.state in {"synced"} | given_up
        assert self.query.status(self.now).error == ""


LIES = ("", "", "zero", "none", "stream", "filtered", "empty", "cache", "blind")
EVENTS = ("token", "trouble", "well", "beside", "failed beside")
TIMES = (0.0, 0.02, 3.0, 30.0, 56.0, 1e6)


def step(drive: Drive, what: int, how: int) -> bool:
    """One turn, by two bytes."""
    took = TIMES[how % 6] if how % 41 else 1e6
    match what % 9:
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
            drive.query.on_over_budget(drive.now, 5.0)
        case 7:
            drive.happen(EVENTS[how % len(EVENTS)])
        case _:
            return drive.turn(None, took, during=EVENTS[how % len(EVENTS)])
    return drive.turn(None, took)


def run(way: str, script: bytes) -> None:
    drive = Drive(way, len(script))
    for what, how in zip(script[::2], script[1::2], strict=False):
        if not step(drive, what, how):
            return
    drive.settle()


QUIET = [HealthCheck.too_slow]


@given(way=st.sampled_from(sorted(WAYS)), script=st.binary(max_size=80))
@settings(max_examples=400, deadline=None, suppress_health_check=QUIET)
def test_query_after_any_answers_and_events_keeps_its_invariants(way: str, script: bytes) -> None:
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
