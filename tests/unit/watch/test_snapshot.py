"""What one more answer adds to what is known."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st
from support.fakes import ABSENT, SPEC, Thing, Things, by_name, request, things, understood

from aioconsulconnect.errors import UnreadableResponse
from aioconsulconnect.transport.response import Response
from aioconsulconnect.watch.protocol.snapshot import Answer, Sent, SnapshotStore, Verdict
from aioconsulconnect.watch.protocol.spec import WatchSpec
from aioconsulconnect.watch.protocol.status import Counters

Values = st.dictionaries(st.sampled_from("abcd"), st.sampled_from("12"), max_size=4)
Indexes = st.none() | st.integers(1, 4)


def store_of(spec: WatchSpec[Things, Thing] = SPEC) -> SnapshotStore[Things, Thing]:
    return SnapshotStore(request(), spec, Counters())


def answer(
    index: int | None,
    body: bytes,
    *,
    sent: Sent | None = None,
    received: float = 100.0,
    status: int = 200,
    anonymous: bool = False,
    **headers: str,
) -> Answer:
    found = {name.replace("_", "-"): value for name, value in headers.items()}
    if index is not None:
        found["x-consul-index"] = str(index)
    response = understood(Response(status, found, body, anonymous=anonymous))
    return Answer(response, sent or Sent(received, 0), received, index)


def take(store: SnapshotStore[Things, Thing], index: int | None, /, **values: str) -> Verdict:
    return store.take(answer(index, things(**values)), authoritative=False)


def known(store: SnapshotStore[Things, Thing]) -> dict[str, str] | None:
    return None if store.snapshot is None else {thing.name: thing.value for thing in store.snapshot.value}


def test_a_first_answer_is_believed_and_counted_from_one() -> None:
    store = store_of()
    assert take(store, 10, a="1") is Verdict.FIRST
    assert take(store, 11, a="2") is Verdict.CHANGED
    assert store.snapshot is not None
    assert (store.snapshot.version, store.snapshot.index, store.snapshot.items) == (2, 11, {"a": Thing("a", "2")})


def test_the_same_bytes_are_not_decoded_again() -> None:
    counters = Counters()
    store = SnapshotStore(request(), SPEC, counters)
    verdicts = [take(store, index, a="1") for index in (10, 11, 9)]
    assert verdicts == [Verdict.FIRST, Verdict.UNCHANGED, Verdict.UNCHANGED]
    assert (counters.decoded, counters.unchanged) == (1, 2)


def test_other_bytes_that_say_the_same_are_no_news() -> None:
    store = store_of()
    take(store, 10, a="1")
    first = store.snapshot
    spaced = store.take(answer(11, b'[ {"name": "a", "value": "1", "index": 0} ]'), authoritative=False)
    assert spaced is Verdict.UNCHANGED
    assert store.snapshot is first


def test_items_that_did_not_change_stay_the_same_objects() -> None:
    store = store_of()
    take(store, 10, a="1", b="1")
    assert store.snapshot is not None
    before = store.snapshot.items
    take(store, 11, a="1", b="2")
    assert store.snapshot.items["a"] is before["a"]
    assert store.snapshot.items["b"] is not before["b"]


@pytest.mark.parametrize("trouble", ["failed", "unproved"])
def test_after_trouble_missing_items_are_in_doubt_and_the_rest_is_not(trouble: str) -> None:
    store = store_of()
    take(store, 10, a="1", b="2")
    setattr(store, trouble, True)
    before = store.snapshot, store.last
    assert take(store, 11, a="1") is Verdict.DOUBTFUL
    assert (store.snapshot, store.last) == before
    assert getattr(store, trouble)
    assert take(store, 11, a="3", b="2") is Verdict.CHANGED
    assert not getattr(store, trouble)
    assert take(store, 12, a="3") is Verdict.CHANGED


def test_an_authoritative_answer_settles_every_doubt() -> None:
    store = store_of()
    take(store, 10, a="1", b="2")
    store.failed = store.unproved = True
    gone = answer(3, b"[]")
    assert store.take(gone, authoritative=False) is Verdict.DOUBTFUL
    assert store.take(gone, authoritative=True) is Verdict.CHANGED
    assert (known(store), store.failed, store.unproved) == ({}, False, False)


def test_an_answer_out_of_a_cache_settles_no_doubt_whether_it_is_proved() -> None:
    store = store_of()
    take(store, 10, a="1")
    store.failed = store.unproved = True
    cached = answer(10, things(a="1"), x_cache="HIT", received=200.0)
    assert store.take(cached, authoritative=False) is Verdict.UNCHANGED
    assert (store.failed, store.unproved, store.proved) == (False, True, 100.0)


@pytest.mark.parametrize("authoritative", [False, True])
@pytest.mark.parametrize("first", [False, True])
def test_a_blind_server_changes_nothing(first: bool, authoritative: bool) -> None:
    store = store_of()
    if not first:
        take(store, 10, a="1")
    before = store.snapshot, store.last
    blind = answer(1, b"[]", x_consul_knownleader="false")
    assert store.take(blind, authoritative=authoritative) is Verdict.BLIND
    assert (store.snapshot, store.last) == before


def test_an_incomplete_value_is_a_blind_servers() -> None:
    store = store_of(WatchSpec(items=by_name, incomplete=lambda value: not value))
    assert take(store, 10) is Verdict.BLIND
    assert store.snapshot is None
    take(store, 10, a="1")
    assert store.take(answer(11, b"[]"), authoritative=True) is Verdict.BLIND
    assert known(store) == {"a": "1"}


def test_verdicts_that_are_believed() -> None:
    assert {verdict for verdict in Verdict if not verdict.believed} == {Verdict.DOUBTFUL, Verdict.BLIND}


def test_store_after_an_undecodable_answer_is_unchanged() -> None:
    store = store_of()
    take(store, 10, a="1")
    before = store.snapshot, store.last
    with pytest.raises(UnreadableResponse):
        store.take(answer(11, b"null"), authoritative=True)
    assert (store.snapshot, store.last) == before


def test_absent_is_a_value_and_an_empty_body_is_not_the_same() -> None:
    store = store_of(ABSENT)
    assert store.take(answer(10, b"", status=404), authoritative=False) is Verdict.FIRST
    assert store.last is not None
    assert store.last.absent
    with pytest.raises(UnreadableResponse):
        store.take(answer(10, b""), authoritative=False)


def test_an_old_value_is_kept_where_the_new_one_does_not_replace_it() -> None:
    asked: list[tuple[Things, Things, object]] = []

    def replaces(old: Things, new: Things, proof: object) -> bool:
        asked.append((old, new, proof))
        return new[0].value > old[0].value

    store = store_of(WatchSpec(items=by_name, replaces=replaces))
    take(store, 10, a="2")
    store.verified(150.0, "proof")
    assert take(store, 11, a="1") is Verdict.UNCHANGED
    assert take(store, 12, a="3") is Verdict.CHANGED
    old = (Thing("a", "2"),)
    assert asked == [(old, (Thing("a", "1"),), "proof"), (old, (Thing("a", "3"),), "proof")]


def test_a_verification_proves_the_state() -> None:
    store = store_of()
    store.take(answer(10, things(a="1"), x_cache="HIT"), authoritative=False)
    store.unproved = True
    assert store.age(160.0) == 60
    store.verified(150.0, None)
    assert (store.age(160.0), store.unproved) == (10, False)


def test_age_is_that_of_the_last_proof_and_headers_make_it_older_only() -> None:
    store = store_of()
    assert store.age(100.0) is None
    store.take(answer(10, things(a="1"), x_consul_lastcontact="2000"), authoritative=False)
    assert store.age(101.0) == 3
    old = answer(11, things(a="2"), x_consul_lastcontact="0", age="50", x_cache="HIT", received=110.0)
    store.take(old, authoritative=False)
    assert store.age(111.0) == 50
    leaf = answer(12, things(a="3"), age="5000", received=120.0)
    store.take(leaf, authoritative=False)
    assert store.age(121.0) == 1  # without LastContact it is the age of a certificate


def test_an_answer_to_nobody_or_to_few_rights_is_marked() -> None:
    store = store_of()
    marked = answer(10, things(a="1"), anonymous=True, x_consul_results_filtered_by_acls="true")
    store.take(marked, authoritative=False)
    assert store.snapshot is not None
    assert (store.snapshot.anonymous, store.snapshot.filtered) == (True, True)


@pytest.mark.parametrize(
    ("before", "index", "backend", "body", "late"),
    [
        (True, 10, "", things(a="0"), True),
        (True, 9, "", things(a="0"), True),
        (True, None, "", things(a="0"), True),
        (False, 9, "", things(a="0"), False),  # asked for later: a restore
        (True, 11, "", things(a="0"), False),  # it stands higher
        (True, 11, "streaming", things(a="0"), True),  # indexes of two backends do not compare
        (True, 9, "", things(a="1"), False),  # it says the same
    ],
)
def test_an_answer_is_overtaken_by_one_that_counted_after_it_was_sent(
    before: bool, index: int | None, backend: str, body: bytes, late: bool
) -> None:
    """Whether all happens in one instant of the clock or not."""
    store, first = store_of(), answer(10, things(a="1"), x_consul_query_backend="blocking-query")
    early = store.send(100.0)
    store.take(first, authoritative=False)
    sent = early if before else store.send(100.0)
    came = answer(index, body, sent=sent, x_consul_query_backend=backend or "blocking-query")
    assert store.overtaken(came) is late


def test_first_answer_is_not_overtaken() -> None:
    store = store_of()
    assert not store.overtaken(answer(10, things(a="1"), sent=store.send(1.0)))


def test_read_is_satisfied_only_by_the_answer_to_a_later_request() -> None:
    store = store_of()
    early, asked, later = (store.send(100.0) for _ in range(3))
    assert not store.satisfied_since(early)
    store.take(answer(10, things(a="1"), sent=asked), authoritative=False)
    assert [store.satisfied_since(sent) for sent in (early, asked, later)] == [True, False, False]


@given(Values, Values, st.tuples(Indexes, Indexes), st.booleans(), st.booleans())
def test_nothing_is_removed_or_made_older_without_proof_or_an_authoritative_answer(
    old: dict[str, str], new: dict[str, str], indexes: tuple[int | None, int | None], failed: bool, authoritative: bool
) -> None:
    store, (before, index) = store_of(), indexes
    take(store, before, **old)
    store.failed = failed
    verdict = store.take(answer(index, things(**new)), authoritative=authoritative)
    if index is None or before is None:
        proof = old.keys() <= new.keys() and not failed
    elif old.keys() <= new.keys():
        proof = index > before if failed else index >= before
    else:
        proof = index > before and not failed
    if old == new or proof or authoritative:
        assert known(store) == new
        assert verdict is (Verdict.UNCHANGED if old == new else Verdict.CHANGED)
    else:
        assert (verdict, known(store)) == (Verdict.DOUBTFUL, old)


@given(Values, Values, st.integers(0, 700))
def test_an_answer_that_was_prepared_is_taken_as_any_other(old: dict[str, str], new: dict[str, str], more: int) -> None:
    many = {str(number): "x" for number in range(more)}
    stores = [store_of(), store_of()]
    verdicts = []
    for store, ahead in zip(stores, (True, False), strict=True):
        take(store, 10, **old)
        after = answer(11, things(**new, **many))
        if ahead:
            assert all(step is None for step in store.prepare(after.response))
        verdicts.append(store.take(after, authoritative=False))
    assert verdicts[0] is verdicts[1]
    assert known(stores[0]) == known(stores[1])


def test_answer_prepared_against_an_older_state_is_compared_again() -> None:
    store = store_of()
    take(store, 10, a="1")
    after = answer(12, things(a="1", b="2"))
    list(store.prepare(after.response))
    take(store, 11, a="9", b="2")
    assert store.snapshot is not None
    newer = store.snapshot.items["b"]
    assert store.take(after, authoritative=False) is Verdict.CHANGED
    assert known(store) == {"a": "1", "b": "2"}
    assert store.snapshot.items["b"] is newer
