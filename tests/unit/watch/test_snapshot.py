"""What one more answer adds to what is known: how hidden items are put back into the values of the endpoints."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from support.fakes import BLOCKING, FakeClock, FakeConsul, Thing, Things, by_name, request, things

from aioconsulconnect.content import Content, Verdict
from aioconsulconnect.endpoints.agent import Agent
from aioconsulconnect.endpoints.ca import CA
from aioconsulconnect.endpoints.catalog import Catalog
from aioconsulconnect.endpoints.config import Config
from aioconsulconnect.endpoints.health import Health
from aioconsulconnect.endpoints.intentions import Intentions
from aioconsulconnect.options import NO_OPTIONS, Meta
from aioconsulconnect.pacing import PollSettings
from aioconsulconnect.polls import Polls
from aioconsulconnect.request import Blocking, Response
from aioconsulconnect.status import Counters
from aioconsulconnect.watch import Query
from aioconsulconnect.wire.ca import Root, Roots
from aioconsulconnect.wire.intentions import Intention


def made(group: Callable[..., Any]) -> Any:
    consul = FakeConsul(FakeClock())
    return group(consul, Polls(consul, settings=PollSettings()), NO_OPTIONS)


def blocking_of(query: Query[Any, Any]) -> Blocking[Any, Any]:
    return query._blocking


def intention(source: str, precedence: int, destination: str = "db") -> Intention:
    return Intention(source_name=source, destination_name=destination, precedence=precedence)


EXACT, ANY, OTHER = intention("web", 9), intention("*", 8), intention("web", 9, "cache")


@pytest.mark.parametrize(
    ("query", "whole", "visible"),
    [
        (lambda: made(Intentions).list(), (EXACT, ANY), (ANY,)),
        (lambda: made(Intentions).match(destination="db"), (EXACT, ANY), (ANY,)),
        (
            lambda: made(Intentions).match_many(destinations=["db", "cache"]),
            {"db": (EXACT, ANY), "cache": (OTHER,)},
            {"db": (ANY,), "cache": ()},
        ),
        (
            lambda: made(CA).roots(),
            Roots(active_root_id="b", roots=(Root(id="b"), Root(id="a"))),
            Roots(active_root_id="b", roots=(Root(id="b"),)),
        ),
        (
            lambda: made(Agent).roots(),
            Roots(active_root_id="b", roots=(Root(id="b"), Root(id="a"))),
            Roots(active_root_id="b", roots=(Root(id="b"),)),
        ),
    ],
)
def test_hidden_items_are_where_consul_would_put_them(
    query: Callable[[], Query[Any, Any]], whole: object, visible: object
) -> None:
    """The order of intentions is that of their evaluation: a hidden denial must not come after a visible rule."""
    blocking = blocking_of(query())
    assert blocking.rebuild is not None
    seen, known = blocking.items(visible), blocking.items(whole)
    hidden = {key: item for key, item in known.items() if key not in seen}
    assert hidden
    assert blocking.rebuild(visible, {**seen, **hidden}) == whole


def test_every_list_can_be_put_together_again() -> None:
    queries = [
        made(Health).connect("web"),
        made(Health).service("web"),
        made(Health).ingress("web"),
        made(Catalog).connect("web"),
        made(Catalog).gateway_services("gate"),
        made(Config).list("service-intentions"),
    ]
    for query in queries:
        rebuild = blocking_of(query).rebuild
        assert rebuild is not None, query
        assert rebuild((), {1: "one", 2: "two"}) == ("one", "two")


def take(content: Content[Things, Thing], index: int, **values: str) -> Verdict:
    answer = Response(200, {}, things(**values))
    return content.take(answer, Meta(index=index), float(index), index=index, firm=False, beside=False)


def test_a_value_that_cannot_be_put_together_stays_as_it_was_until_the_index_moves() -> None:
    content = Content(request(), Blocking(items=by_name), Counters(), 0.8)
    assert take(content, 10, a="1", b="2") == "first"
    first = content.snapshot
    assert take(content, 10, a="3") == "hidden"
    assert content.snapshot is first
    assert take(content, 11, a="3") == "changed"
    assert content.snapshot is not None
    assert content.snapshot.value == (Thing("a", "3"),)


def test_an_answer_that_hides_is_no_proof_of_what_it_hides() -> None:
    content = Content(request(), BLOCKING, Counters(), 0.8)
    take(content, 10, a="1", b="2")
    assert take(content, 10, a="1") == "hidden"
    assert take(content, 15, a="1") == "hidden"
    assert content.age(20.0, held=True) == 10.0
    assert take(content, 20, a="1", b="2") == "unchanged"
    assert content.age(25.0, held=True) == 0.0
