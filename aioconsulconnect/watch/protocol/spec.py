"""Description of a read for watching it: how it blocks, and what in its value can change."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import Generic, Literal, TypeVar

import msgspec

from aioconsulconnect.slices import InSlices
from aioconsulconnect.transport.request import Request

T = TypeVar("T")
Item = TypeVar("Item")


class WatchSpec(msgspec.Struct, Generic[T, Item], frozen=True, kw_only=True):
    """
    Description of how a read blocks, and of what in its value can change.

    - `items`: function that gives the parts of a value by stable key, for differences.
    - `items_in_slices`: the same in steps, for values of many items: a generator that yields where other tasks may run.
    - `cursor_kind`: the header that moves with a change: "index" (X-Consul-Index) or "hash" (X-Consul-ContentHash).
    - `source`: who answers a blocking query: "servers" (there the query goes on after the connection was dropped),
      "agent" (roots and leaf, from the agent's cache) or "streaming" (the agent's streaming view).
    - `index_from`: another read whose index moves with this one, for servers that send none here; Consul 1.8 sends none
      with a match of intentions, and the list has it.
    - `verify_with`: a read that the servers answer, for a source that can be out of touch with them without saying so.
      It is the same value (then with the same `decode`) or another; None for the read itself past the agent's cache.
    - `value_when_absent`: function that gives the value for a 404, where absence is a state that can change; None where
      a 404 is an error.
    - `incomplete`: function that is True for a value that shows that the servers have no data yet.
    - `replaces`: function of the old value, the new one, and what `verify_with` last brought. It is True if the new
      value takes the place of the old one, for addresses behind which two agents answer in turn.

    `index_from` and `verify_with` are sent with the options of the read itself, except that they are neither cached nor
    stale.
    """

    items: Callable[[T], Mapping[Hashable, Item]]
    items_in_slices: Callable[[T], InSlices[Mapping[Hashable, Item]]] | None = None
    cursor_kind: Literal["index", "hash"] = "index"
    source: Literal["servers", "agent", "streaming"] = "servers"
    index_from: Request[object] | None = None
    verify_with: Request[T] | Request[object] | None = None
    value_when_absent: Callable[[], T] | None = None
    incomplete: Callable[[T], bool] | None = None
    replaces: Callable[[T, T, object], bool] | None = None
