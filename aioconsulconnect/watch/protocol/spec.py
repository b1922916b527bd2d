"""What a watch has to know of a read: how it blocks, and what in its value can change."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import Generic, Literal, TypeVar

import msgspec

from aioconsulconnect.transport.request import Request

T = TypeVar("T")
Item = TypeVar("Item")


class WatchSpec(msgspec.Struct, Generic[T, Item], frozen=True, kw_only=True):
    """
    How a read blocks, and what can change in it.

    `items` gives the parts of a value by stable key, for differences. `cursor_kind` is the header that moves. `source`
    says who answers a waiting call: the servers ("servers": dropping the connection leaves the query running there),
    the agent itself ("agent": roots and leaf from its cache), or its streaming view ("streaming"). `index_from` is
    another read whose index moves with this one, for servers that send none here (match on 1.8: the list).
    `verify_with` is a read that the servers answer, for a source that can be blind without saying so: the same value
    (then with the same `decode`) or another; None for the read itself without the agent's cache. `value_when_absent`
    gives the value for a 404, where "it is not there" is a state that can change; None where a 404 is an error.
    `index_from` and `verify_with` get the options of the read. `incomplete` tells a value that says that the servers
    know nothing yet. `replaces` decides whether a new value takes the place of an old one, where two agents may answer
    in turn; it is also given what `verify_with` last brought.
    """

    items: Callable[[T], Mapping[Hashable, Item]]
    cursor_kind: Literal["index", "hash"] = "index"
    source: Literal["servers", "agent", "streaming"] = "servers"
    index_from: Request[object] | None = None
    verify_with: Request[T] | Request[object] | None = None
    value_when_absent: Callable[[], T] | None = None
    incomplete: Callable[[T], bool] | None = None
    replaces: Callable[[T, T, object], bool] | None = None
