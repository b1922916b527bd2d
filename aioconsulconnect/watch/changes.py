"""What changed between two snapshots, by key; merged for whoever did not look in between."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterator, Mapping
from typing import Generic, TypeVar

import msgspec

Item = TypeVar("Item")


class _Keyed(msgspec.Struct, frozen=True, kw_only=True):
    """A change of one item. `key` tells the item from all others of the value: an IntentionKey, an InstanceKey, …."""

    key: Hashable


class Added(_Keyed, Generic[Item], frozen=True):
    """An item that was not there before: `new`, under its `key`."""

    new: Item


class Changed(_Keyed, Generic[Item], frozen=True):
    """An item that is another than before: `old` and `new`, under its `key`."""

    old: Item
    new: Item


class Removed(_Keyed, Generic[Item], frozen=True):
    """An item that is not there any more: `old`, under its `key`."""

    old: Item


Change = Added[Item] | Changed[Item] | Removed[Item]


class Batch(msgspec.Struct, Generic[Item], frozen=True):
    """
    What changed at once: iterate it, or see `changes`.

    Applied to what the consumer has seen before, it always gives what is true now. `index` is Consul's index, `time`
    when the answer came (on the client's clock). `merged` is how many states between were skipped because the consumer
    was slow: what came and went meanwhile is not in it. `resync` says that states were dropped although every one was
    asked for (`merged` is then how many), or that the first batch does not go on from the cursor that was given.
    `first` marks the batch that adds everything. `filtered` says that the token may not see everything (Consul 1.11
    tells), and `anonymous` that no token was sent: under either a removal means "gone, or no longer visible".
    """

    changes: tuple[Change[Item], ...]
    index: int | None = None
    time: float = 0.0
    merged: int = 0
    resync: bool = False
    first: bool = False
    filtered: bool = False
    anonymous: bool = False

    def __iter__(self) -> Iterator[Change[Item]]:
        """The changes: removed ones first, then the others in Consul's order."""
        return iter(self.changes)

    def __len__(self) -> int:
        """How many changes there are."""
        return len(self.changes)

    def __bool__(self) -> bool:
        """A batch is something also when it is empty (nothing was there at first)."""
        return True


Ignore = Callable[[Item], object] | Collection[str]


def projection(ignore: Ignore[Item]) -> Callable[[Item], object] | None:
    """What of an item counts: a function gives it, or the names of the fields that do not count; None for all."""
    if callable(ignore):
        return ignore
    names = frozenset((ignore,) if isinstance(ignore, str) else ignore)
    return _without(names) if names else None


def _without(names: frozenset[str]) -> Callable[[object], object]:
    def rest(item: object) -> object:
        fields: tuple[str, ...] = getattr(item, "__struct_fields__", ())
        return [getattr(item, name) for name in fields if name not in names] if fields else item

    return rest


def difference(
    old: Mapping[Hashable, Item], new: Mapping[Hashable, Item], counts: Callable[[Item], object] | None = None
) -> tuple[Change[Item], ...]:
    """The changes that lead from `old` to `new`; items that are the same object are not looked into."""
    found: list[Change[Item]] = []
    common = 0
    for key, item in new.items():
        was = old.get(key)
        if was is item:
            common += 1
        elif was is None and key not in old:
            found.append(Added(item, key=key))
        else:
            common += 1
            was = old[key]
            if counts(was) != counts(item) if counts else was != item:
                found.append(Changed(was, item, key=key))
    gone = [Removed(item, key=key) for key, item in old.items() if key not in new] if common < len(old) else []
    return (*gone, *found)
