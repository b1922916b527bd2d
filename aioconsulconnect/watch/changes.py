"""Changes between two snapshots, by key, and the batches in which they are delivered."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterator, Mapping
from typing import Generic, TypeVar

from aioconsulconnect.structs.codec.consul_struct import FrozenStruct

Item = TypeVar("Item")


class _Keyed(FrozenStruct, frozen=True, kw_only=True):
    """
    Change of one item.

    `key` tells the item from all others of the value: an IntentionKey, an InstanceKey, ….
    """

    key: Hashable


class Added(_Keyed, Generic[Item], frozen=True):
    """An item that was not there before: `new`, under its `key`."""

    new: Item


class Changed(_Keyed, Generic[Item], frozen=True):
    """An item that is different from before: `old` and `new`, under its `key`."""

    old: Item
    new: Item


class Removed(_Keyed, Generic[Item], frozen=True):
    """An item that is no longer there: `old`, under its `key`."""

    old: Item


Change = Added[Item] | Changed[Item] | Removed[Item]


class Batch(FrozenStruct, Generic[Item], frozen=True):
    """
    Batch of changes that are delivered together: iterate it, or read `changes`.

    Applied to what the consumer has seen before, it always gives the present state.

    - `changes`: the changes, those of removed items first, then the others in Consul's order.
    - `index`: Consul's index of the new state, None for none.
    - `time`: when the answer came, in seconds on the client's clock.
    - `merged`: number of states between that were skipped because the consumer was slow; what came and went in them is
      not in the batch.
    - `resync`: states were dropped although the consumer wants every one (`merged` is then their number), or the first
      batch does not continue from the cursor that was given.
    - `first`: this is the first batch, which adds everything.
    - `filtered`: the token may not see everything (Consul 1.11 tells).
    - `anonymous`: no token was sent. Under this or `filtered`, a removal means "gone, or no longer visible".
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
        """Iterate the changes: those of removed items first, then the others in Consul's order."""
        return iter(self.changes)

    def __len__(self) -> int:
        """Return the number of changes."""
        return len(self.changes)

    def __bool__(self) -> bool:
        """Return True, also for an empty batch: the first one is empty where nothing is there."""
        return True


Ignore = Callable[[Item], object] | Collection[str]


def projection(ignore: Ignore[Item]) -> Callable[[Item], object] | None:
    """
    Return the function that gives what of an item counts as a change; None where everything does.

    `ignore` is that function, or the name or names of the fields that do not count.
    """
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
    """
    Return the changes that lead from `old` to `new`.

    An item that is the same object in both is not compared. `counts` gives the part of an item whose change counts;
    None for all of it.
    """
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
