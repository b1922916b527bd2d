"""When an answer that lacks items proves that they are gone."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, strategies as st

from aioconsulconnect.transport.metadata import Meta
from aioconsulconnect.watch.protocol.confirmation import is_blind, leaves_doubt, may_be_older

BACKENDS = (None, "blocking-query", "streaming")
Indexes = st.none() | st.integers(0, 2**64 - 1) | st.integers(0, 4)
Metas = st.builds(
    Meta,
    index=Indexes,
    known_leader=st.sampled_from((None, True, False)),
    backend=st.sampled_from(BACKENDS),
    cache=st.sampled_from((None, None, "HIT", "MISS")),
    last_contact=st.none() | st.floats(0, 100),
    filtered_by_acls=st.booleans(),
)


@pytest.mark.parametrize(
    ("index", "known_leader", "blind"),
    [
        (1, False, True),
        (1, True, False),
        (1, None, False),  # streaming answers do not say
        (2, False, False),
        (0, False, False),
        (None, False, False),
    ],
)
def test_index_one_without_a_leader_alone_is_blind(index: int | None, known_leader: bool | None, blind: bool) -> None:
    assert is_blind(Meta(index=index, known_leader=known_leader)) is blind


@pytest.mark.parametrize(
    ("answer", "index", "last_index", "failed", "doubt"),
    [
        ({}, 11, 10, False, False),
        ({}, 11, 10, True, True),
        ({}, 10, 10, False, True),
        ({}, 9, 10, False, True),
        ({}, 1, 0, False, True),
        ({}, None, 10, False, True),
        ({}, 11, None, False, True),
        ({"cache": "HIT"}, 11, 10, False, True),
        ({"cache": "MISS"}, 11, 10, False, True),
        ({"backend": "streaming"}, 11, 10, False, True),
        ({"filtered_by_acls": True}, 11, 10, False, False),
    ],
)
def test_a_higher_index_of_the_same_backend_alone_is_proof(
    answer: dict[str, Any], index: int | None, last_index: int | None, failed: bool, doubt: bool
) -> None:
    last = Meta(index=last_index, backend="blocking-query")
    meta = Meta(**{"index": index, "backend": "blocking-query", **answer})
    assert leaves_doubt(meta, index, last, last_index, failed=failed) is doubt


@pytest.mark.parametrize(
    ("backend", "index", "last_index", "failed", "older"),
    [
        ("blocking-query", 9, 10, False, True),
        ("blocking-query", 10, 10, False, False),
        ("blocking-query", 10, 10, True, True),
        ("blocking-query", 11, 10, True, False),
        ("streaming", 9, 10, False, False),
        ("streaming", 11, 10, True, True),
        ("blocking-query", None, 10, True, True),
        ("blocking-query", 10, None, True, True),
        ("blocking-query", None, None, False, False),
    ],
)
def test_answer_may_be_older_under_a_lower_index_or_after_a_failure_without_a_higher_one(
    backend: str, index: int | None, last_index: int | None, failed: bool, older: bool
) -> None:
    meta, last = Meta(index=index, backend=backend), Meta(index=last_index, backend="blocking-query")
    assert may_be_older(meta, index, last, last_index, failed=failed) is older


@given(Metas, Indexes, Metas, Indexes)
def test_after_a_failure_everything_is_in_doubt(meta: Meta, index: int | None, last: Meta, before: int | None) -> None:
    assert leaves_doubt(meta, index, last, before, failed=True)


@given(Metas, Indexes, Metas, Indexes)
def test_answer_without_doubt_is_uncached_with_higher_index_of_same_backend(
    meta: Meta, index: int | None, last: Meta, before: int | None
) -> None:
    if not leaves_doubt(meta, index, last, before, failed=False):
        assert index is not None
        assert before is not None
        assert index > max(before, 1)
        assert meta.cache is None
        assert meta.backend == last.backend


@given(st.sampled_from(BACKENDS), st.integers(0, 2**63), st.integers(1, 2**62), st.booleans())
def test_an_honest_removal_is_never_asked_about(backend: str | None, before: int, more: int, filtered: bool) -> None:
    index = before + more
    meta = Meta(index=index, backend=backend, filtered_by_acls=filtered)
    assert leaves_doubt(meta, index, Meta(backend=backend), before, failed=False) is (index == 1)


@given(Metas, Metas, st.integers(2, 2**63), st.integers(2, 2**63))
def test_of_two_positions_one_is_no_proof_at_least(one: Meta, two: Meta, first: int, second: int) -> None:
    """No two answers prove each other's items gone."""
    there = leaves_doubt(two, second, one, first, failed=False)
    back = leaves_doubt(one, first, two, second, failed=False)
    assert there or back
