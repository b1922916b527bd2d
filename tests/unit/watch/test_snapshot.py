"""What one more answer adds to what is known: how hidden items are put back into the values of the endpoints."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from support.fakes import SPEC, FakeClock, FakeConsul, Thing, Things, by_name, request, things

from aioconsulconnect.endpoints.agent import Agent
from aioconsulconnect.endpoints.ca import CA
from aioconsulconnect.endpoints.catalog import Catalog
from aioconsulconnect.endpoints.config import Config
from aioconsulconnect.endpoints.health import Health
from aioconsulconnect.endpoints.intentions import Intentions
from aioconsulconnect.structs.ca import Root, Roots
from aioconsulconnect.structs.intentions import Intention
from aioconsulconnect.transport.metadata import Meta
from aioconsulconnect.transport.options import NO_OPTIONS
from aioconsulconnect.transport.response import Response
from aioconsulconnect.watch.poller_pool import PollerPool
from aioconsulconnect.watch.protocol.poll_settings import PollSettings
from aioconsulconnect.watch.protocol.snapshot import SnapshotStore, Verdict
from aioconsulconnect.watch.protocol.spec import WatchSpec
from aioconsulconnect.watch.protocol.status import Counters
from aioconsulconnect.watch.query import Query


def made(group: Callable[..., Any]) -> Any:
    consul = FakeConsul(FakeClock())
    return group(consul, PollerPool(consul, settings=PollSettings()), NO_OPTIONS)


def spec_of(query: Query[Any, Any]) -> WatchSpec[Any, Any]:
    return query._spec


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
    spec = spec_of(query())
    assert spec.rebuild is not None
    seen, known = spec.items(visible), spec.items(whole)
    hidden = {key: item for key, item in known.items() if key not in seen}
    assert hidden
    assert spec.rebuild(visible, {**seen, **hidden}) == whole


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
        rebuild = spec_of(query).rebuild
        assert rebuild is not None, query
        assert rebuild((), {1: "one", 2: "two"}) == ("one", "two")


def take(store: SnapshotStore[Things, Thing], index: int, **values: str) -> Verdict:
    answer = Response(200, {}, things(**values))
    return store.take(answer, Meta(index=index), float(index), index=index, authoritative=False, beside=False)


def test_a_value_that_cannot_be_put_together_stays_as_it_was_until_the_index_moves() -> None:
    store = SnapshotStore(request(), WatchSpec(items=by_name), Counters(), 0.8)
    assert take(store, 10, a="1", b="2") == "first"
    first = store.snapshot
    assert take(store, 10, a="3") == "hidden"
    assert store.snapshot is first
    assert take(store, 11, a="3") == "changed"
    assert store.snapshot is not None
    assert store.snapshot.value == (Thing("a", "3"),)


def test_an_answer_that_hides_is_no_proof_of_what_it_hides() -> None:
    store = SnapshotStore(request(), SPEC, Counters(), 0.8)
    take(store, 10, a="1", b="2")
    assert take(store, 10, a="1") == "hidden"
    assert take(store, 15, a="1") == "hidden"
    assert store.age(20.0, held=True) == 10.0
    assert take(store, 20, a="1", b="2") == "unchanged"
    assert store.age(25.0, held=True) == 0.0
