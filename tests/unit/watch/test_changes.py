"""Differences of snapshots, by key."""

from __future__ import annotations

import pickle
from collections.abc import Hashable, Mapping

from hypothesis import given, settings, strategies as st
from support.fakes import Thing

from aioconsulconnect.transport.metadata import Meta
from aioconsulconnect.transport.response import Reply
from aioconsulconnect.watch.changes import Added, Batch, Change, Changed, Removed, difference, projection

States = st.dictionaries(st.sampled_from("abcdef"), st.sampled_from("123"), max_size=6)


def items(state: Mapping[str, str]) -> dict[Hashable, Thing]:
    return {name: Thing(name, value) for name, value in state.items()}


def apply(seen: dict[Hashable, Thing], changes: tuple[Change[Thing], ...]) -> None:
    """As a consumer does it; each change must fit to what is there."""
    for change in changes:
        match change:
            case Added(new):
                assert new.name not in seen
                seen[new.name] = new
            case Changed(old, new):
                assert seen[old.name] == old
                assert old != new
                seen[new.name] = new
            case Removed(old):
                assert seen.pop(old.name) == old


@given(st.lists(States, min_size=1, max_size=8), st.data())
@settings(max_examples=1000, deadline=None)
def test_applying_the_batches_always_gives_the_last_snapshot(states: list[dict[str, str]], data: st.DataObject) -> None:
    snapshots = [items(state) for state in states]
    told, seen = snapshots[0], dict(snapshots[0])
    for snapshot in snapshots[1:]:
        if data.draw(st.booleans(), label="looked"):  # who does not look is told later, all at once
            apply(seen, difference(told, snapshot))
            told = snapshot
    apply(seen, difference(told, snapshots[-1]))
    assert seen == snapshots[-1]


def test_difference_of_two_snapshots_ignores_the_states_between_them() -> None:
    first, last = items({"a": "1", "b": "1"}), items({"a": "1", "b": "2"})
    middle = items({"a": "1", "c": "1"})
    assert len(difference(first, middle)) == 2
    assert difference(first, last) == (Changed(Thing("b", "1"), Thing("b", "2"), key="b"),)
    assert difference(first, items({"a": "1", "b": "1"})) == ()


def test_items_that_are_the_same_object_are_not_compared() -> None:
    class Loud(Thing, frozen=True):
        def __eq__(self, other: object) -> bool:
            raise AssertionError("compared")

        def __hash__(self) -> int:
            return 1

    loud = Loud("a")
    assert difference({"a": loud}, {"a": loud}) == ()


def test_order_does_not_count() -> None:
    assert difference(items({"a": "1", "b": "2"}), items({"b": "2", "a": "1"})) == ()


def test_ignored_fields_do_not_count() -> None:
    old: dict[Hashable, Thing] = {"a": Thing("a", "1", index=1)}
    new: dict[Hashable, Thing] = {"a": Thing("a", "1", index=2)}
    assert len(difference(old, new)) == 1
    assert difference(old, new, projection(["index"])) == ()
    assert difference(old, new, projection("index")) == ()
    assert len(difference(old, new, projection(["value"]))) == 1
    assert difference(old, new, projection(lambda thing: thing.value)) == ()
    assert projection(()) is None


def test_a_batch_is_a_collection_that_is_true_also_when_empty_and_can_be_pickled() -> None:
    batch = Batch((Added(Thing("a"), key="a"),), index=3, time=1.5)
    assert list(batch) == [Added(Thing("a"), key="a")]
    assert len(batch) == 1
    assert Batch(())
    assert pickle.loads(pickle.dumps(batch)) == batch


def test_changes_batches_and_replies_are_hashable_whatever_the_items_are() -> None:
    def made() -> list[object]:
        item = {"k": [1]}
        changes = Added(item, key="a"), Changed(item, {"k": [2]}, key="a"), Removed(item, key="a")
        return [*changes, Batch(changes, index=3), Reply(item, Meta()), Reply((item,), Meta())]

    assert [hash(each) for each in made()] == [hash(each) for each in made()]
    assert len({*made(), *made()}) == 6
