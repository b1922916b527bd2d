"""W20, one answer after the other: what is confirmed by a consistent read, and what is believed at once."""

from __future__ import annotations

from typing import Literal

import pytest
from support.driven import Driven, good
from support.fakes import STREAMING, by_name, error, lost

from aioconsulconnect.errors import ConsulError
from aioconsulconnect.transport.response import Response
from aioconsulconnect.watch.protocol.spec import WatchSpec
from aioconsulconnect.watch.protocol.transitions import Kind

BLIND = Response(200, {"x-consul-index": "1", "x-consul-knownleader": "false"}, b"[]")


def test_w20_an_empty_answer_under_index_1_with_a_leader_is_confirmed_and_believed() -> None:
    driven = Driven()
    driven.turn(good(10, a="1"))
    assert driven.turn(good(1)).kind is Kind.CONFIRM
    driven.turn(good(1))
    assert driven.shown == {}
    assert driven.query.state == "synced"


@pytest.mark.parametrize(
    ("last", "answer"),
    [
        (good(10, a="1", b="2"), good(10, a="1")),
        (good(10, a="1", b="2"), good(9, a="1")),
        (good(10, a="1", b="2"), good(None, a="1")),
        (good(None, a="1", b="2"), good(10, a="1")),
        (good(0, a="1", b="2"), good(1, a="1")),
        (good(10, a="1", b="2"), good(11, backend="streaming", a="1")),
    ],
    ids=["same", "lower", "none", "none before", "one", "other backend"],
)
def test_w20_missing_item_without_higher_index_of_the_same_backend_is_confirmed(
    last: Response, answer: Response
) -> None:
    driven = Driven()
    driven.turn(last)
    assert driven.turn(answer).kind is Kind.CONFIRM
    assert driven.shown == {"a": "1", "b": "2"}
    driven.turn(answer)
    assert driven.shown == {"a": "1"}


def test_w20_missing_item_under_a_higher_index_is_removed_at_once() -> None:
    driven = Driven()
    driven.turn(good(10, a="1", b="2"))
    assert driven.turn(good(11, a="1")).kind is Kind.POLL
    assert driven.shown == {"a": "1"}


def test_w20_missing_item_in_a_cached_answer_is_confirmed() -> None:
    driven = Driven()
    driven.turn(good(10, a="1", b="2"))
    answer = good(11, a="1")
    cached = Response(200, {**answer.headers, "x-cache": "HIT", "age": "0"}, answer.body)
    assert driven.turn(cached).kind is Kind.CONFIRM


@pytest.mark.parametrize("trouble", ["failure", "doubt", "blind", "unproved"])
def test_w20_missing_item_after_failure_or_doubt_is_confirmed(trouble: str) -> None:
    driven = Driven(STREAMING)
    driven.turn(good(10, backend="streaming", a="1", b="2"))
    match trouble:
        case "failure":
            driven.turn(lost())
        case "doubt":
            driven.query.doubt(lost(), driven.now, retry_at=driven.now)
        case "blind":
            driven.turn(BLIND)
        case _:
            driven.beside(error(500, "No known Consul servers"))
    assert driven.turn(good(11, backend="streaming", a="1")).kind is Kind.CONFIRM
    assert driven.shown == {"a": "1", "b": "2"}


@pytest.mark.parametrize(
    ("failed", "answer", "source", "confirmed"),
    [
        (False, good(9, a="0"), "servers", True),
        (False, good(10, a="0"), "servers", False),
        (False, good(9, backend="streaming", a="0"), "servers", False),
        (False, good(9, a="0"), "agent", False),
        (True, good(10, a="0"), "servers", True),
        (True, good(None, a="0"), "servers", True),
        (True, good(11, a="0"), "servers", False),
    ],
    ids=[
        "lower index",
        "same index",
        "other backend",
        "no server's answer",
        "failure, same index",
        "failure, no index",
        "failure, higher index",
    ],
)
def test_w20_another_value_that_may_be_older_is_confirmed(
    failed: bool, answer: Response, source: Literal["servers", "agent"], confirmed: bool
) -> None:
    driven = Driven(WatchSpec(items=by_name, source=source))
    driven.turn(good(10, a="1"))
    if failed:
        driven.turn(lost())
    assert (driven.turn(answer).kind is Kind.CONFIRM) is confirmed
    assert driven.shown == {"a": "1" if confirmed else "0"}


def test_w20_a_blind_server_is_asked_less_and_less() -> None:
    driven = Driven()
    pauses = []
    for _ in range(6):
        driven.turn(BLIND)
        pauses.append(driven.pause)
    assert pauses == pytest.approx([0.5, 1, 2, 4, 8, 16])
    assert driven.query.status(driven.now).error == "the servers know nothing yet"


def test_w20_a_blind_leader_beside_the_loop_decides_nothing() -> None:
    driven = Driven()
    driven.turn(good(10, a="1"))
    assert isinstance(driven.beside(BLIND)[0], ConsulError)
    assert driven.shown == {"a": "1"}
    assert driven.query.state == "stale"


def test_w20_a_read_beside_the_loop_needs_no_confirmation() -> None:
    driven = Driven()
    driven.turn(good(10, a="1", b="2"))
    assert driven.beside(good(10, a="1")) == (None, False)
    assert driven.shown == {"a": "1"}


def test_w20_the_confirming_read_leaves_what_is_known_of_the_loops_backend() -> None:
    driven = Driven(STREAMING)
    driven.turn(good(10, backend="streaming", a="1", b="2"))
    driven.turn(good(10, backend="streaming", a="1"))
    driven.turn(good(12, a="1"))  # the leader, by another backend
    assert driven.query.status(driven.now).backend == "streaming"
    assert driven.query.verify_by is not None
