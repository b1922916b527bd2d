"""Which missing items are really gone: the table."""

from __future__ import annotations

from typing import Any

import pytest

from aioconsulconnect.transport.metadata import Meta
from aioconsulconnect.watch.protocol.confirmation import Known, Said, judge

ALL = frozenset(range(10))
FEW = frozenset({0})
MOST = frozenset(range(5))
NONE: frozenset[int] = frozenset()
GOOD = Meta(index=10, known_leader=True, backend="blocking-query")


def meta(**other: Any) -> Meta:
    fields: dict[str, Any] = {"index": 11, "known_leader": True, "backend": "blocking-query", **other}
    return Meta(**fields)


@pytest.mark.parametrize(
    ("keys", "answer", "how", "expected"),
    [
        # Nothing is missing.
        (ALL, meta(index=3), {}, "believe"),
        (ALL | {99}, meta(backend="streaming"), {"failed": True, "stale": True}, "believe"),
        # An index that moved on, and nothing odd.
        (MOST, meta(), {}, "believe"),
        (FEW, meta(), {}, "believe"),
        (NONE, meta(), {}, "believe"),
        # A few are missing: odd circumstances do not matter.
        (MOST, meta(index=3), {}, "believe"),
        (MOST, meta(backend="streaming"), {"failed": True}, "believe"),
        # All, or nearly all, and a reason for doubt.
        (NONE, meta(index=3), {}, "confirm"),
        (FEW, meta(index=3), {}, "confirm"),
        (NONE, meta(index=1), {}, "confirm"),
        (NONE, meta(index=None), {}, "confirm"),
        (NONE, meta(index=None, content_hash="h"), {}, "believe"),
        (NONE, meta(backend="streaming"), {}, "confirm"),
        (NONE, meta(), {"stale": True}, "confirm"),
        (NONE, meta(), {"failed": True}, "confirm"),
        (NONE, meta(index=10), {"failed": True}, "confirm"),
        # What the confirming read says is so.
        (NONE, meta(index=3), {"authoritative": True}, "believe"),
        (NONE, meta(), {"authoritative": True, "failed": True}, "believe"),
        # But a blind server confirms nothing.
        (NONE, meta(index=1, known_leader=False), {"authoritative": True, "failed": True}, "hidden"),
        (NONE, meta(index=1), {"authoritative": True, "failed": True}, "believe"),
        # Rights hide them.
        (MOST, meta(filtered_by_acls=True), {}, "hidden"),
        (NONE, meta(filtered_by_acls=True), {"authoritative": True, "failed": True}, "hidden"),
        (MOST, meta(index=10), {}, "hidden"),
        (NONE, meta(index=10), {"authoritative": True}, "hidden"),
        (MOST, meta(index=10), {"failed": True}, "believe"),
        (MOST, meta(index=10, backend="streaming"), {}, "believe"),  # indexes of two backends do not compare
    ],
)
def test_what_to_make_of_missing_items(keys: frozenset[int], answer: Meta, how: dict[str, bool], expected: str) -> None:
    known = Known(ALL, Said(GOOD), how.get("failed", False))
    authoritative, stale = how.get("authoritative", False), how.get("stale", False)
    assert judge(known, keys, Said(answer), authoritative=authoritative, stale=stale, confirm_share=0.8) == expected


def test_the_first_answer_is_believed_unless_it_is_a_blind_servers() -> None:
    blind = Meta(index=1, known_leader=False)
    assert judge(None, NONE, Said(meta()), authoritative=False, stale=False, confirm_share=0.8) == "believe"
    assert judge(None, NONE, Said(blind), authoritative=False, stale=False, confirm_share=0.8) == "confirm"
    assert judge(None, NONE, Said(blind), authoritative=True, stale=False, confirm_share=0.8) == "believe"
    assert judge(None, ALL, Said(blind), authoritative=False, stale=False, confirm_share=0.8) == "believe"


def test_what_was_hidden_before_can_be_removed() -> None:
    known = Known(ALL, Said(meta(filtered_by_acls=True)), failed=False)
    answer = meta(index=12, filtered_by_acls=True)
    assert judge(known, MOST, Said(answer), authoritative=False, stale=False, confirm_share=0.8) == "believe"


def test_the_part_that_needs_a_confirmation_can_be_set() -> None:
    known = Known(ALL, Said(GOOD), failed=True)
    assert judge(known, MOST, Said(meta()), authoritative=False, stale=False, confirm_share=0.3) == "confirm"
