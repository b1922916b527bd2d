"""The configuration entries, one raft-like index, and one way to wait for a change.

Every write takes the next index and touches keys: the table, the part of it, the thing. `config/service-intentions/db`
touches `config`, `config/service-intentions` and itself, so that a blocking query can wait for as much or as little as
Consul's does. For what may be missing that is a `Watch`: Consul's tables are radix trees, and a query for a row that is
not there waits for the nearest node of the tree, which wakes it for writes of rows with similar names.
"""

import asyncio
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping
from os.path import commonprefix
from types import MappingProxyType
from typing import Final, NamedTuple, TypeAlias

from aioconsulconnect.testing.go_json.values import Object, text

_END: Final = "\0"
"""The end of a name in the rows of a tree."""
_REPLACED: Final = frozenset({"gateway"})
"""The tables whose rows are deleted and inserted again when they change, which may join nodes of the tree."""
_GATEWAYS: Final = ("ingress-gateway", "terminating-gateway")


class Watch(NamedTuple):
    """A part of a table to wait for: the node of its tree that a search for `wanted` reaches.

    `prefix` is what the rows of that node have in common with `wanted`, as far as it tells them from others.
    """

    table: str
    wanted: str
    prefix: str


Key: TypeAlias = str | Watch
State: TypeAlias = tuple[dict[str, int], dict[tuple[str, str], Object]]


class Closed(Exception):
    """The agent stopped while a query waited."""


class Store:
    """The configuration entries as plain JSON, the index of each key, and the queries that wait.

    `index` is the first index, `tables` the index of each table at first.
    """

    def __init__(self, index: int, tables: Mapping[str, int]) -> None:
        self.index: int = index
        self._touched = dict(tables)
        self._entries: dict[tuple[str, str], Object] = {}
        self._waiting: dict[Key, set[asyncio.Future[bool]]] = {}
        self._closed = False
        self.rows: dict[str, Callable[[], Iterable[str]]] = {
            "config": lambda: (entry_key(*key) + _END for key in self._entries),
            "gateway": lambda: (row_of("gateway", name) for kind, name in self._entries if kind in _GATEWAYS),
        }
        """The rows of each table that can be watched, by the first part of their keys."""
        self.prefixed: frozenset[str] = frozenset()
        """The tables whose rows all begin alike, so that their tree has its first fork below the root."""
        self._sorted: dict[str, list[str]] = {}
        self.listeners: list[Callable[[str, str], None]] = []
        """Functions to call with kind and name after a configuration entry was written or deleted."""

    def write(self, *keys: str) -> int:
        """Take the next index, note it at the keys and all above them, and return it.

        The queries that wait for any of these keys wake.
        """
        self.index += 1
        for key in {above for each in keys for above in _upwards(each)}:
            self._touched[key] = self.index
            self.wake(key)
        for key in keys:
            self._wake_watches(key)
        return self.index

    def _wake_watches(self, key: str) -> None:
        table, row = key.partition("/")[0], key + _END
        if table not in self.rows:
            return
        self._sorted.pop(table, None)
        rows = self._rows(table)
        at = bisect_left(rows, row)
        gone = table in _REPLACED or not (at < len(rows) and rows[at].startswith(row))
        rest = [each for each in rows if not each.startswith(row)] if gone else rows
        for watch in [each for each in self._waiting if isinstance(each, Watch) and each.table == table]:
            joined = gone and _nearest(rest, watch.wanted, self._root(table)) != watch.prefix
            if joined or row.startswith(watch.prefix):
                self.wake(watch)

    def _rows(self, table: str) -> list[str]:
        if table not in self._sorted:
            self._sorted[table] = sorted(self.rows[table]())
        return self._sorted[table]

    def watch(self, key: str, *, below: bool = False) -> Watch:
        """Find the node of a table's tree for a search by `key`, or by the beginning of all `below` it."""
        table, wanted = key.partition("/")[0], f"{key}/" if below else key + _END
        return Watch(table, wanted, _nearest(self._rows(table), wanted, self._root(table)))

    def _root(self, table: str) -> int:
        return 0 if table in self.prefixed else len(table) + 1

    def wake(self, key: Key, *, changed: bool = True) -> None:
        """Wake the queries that wait for `key`, without a write; if not `changed`, as if their wait were over."""
        for waiter in self._waiting.pop(key, ()):
            _settle(waiter, changed)

    def touched(self, *keys: str) -> int:
        """The index of the last write to any of the keys; 1 where there was none, as Consul never says 0."""
        return max(1, *(self._touched.get(key, 0) for key in keys))

    async def wait(self, keys: Iterable[Key], deadline: float) -> bool:
        """Wait for a write to any of `keys`; true if there was one, false after the deadline.

        `deadline` is a time of the event loop's clock. `Closed` when the agent stops.
        """
        waiter = self.subscribe(keys)
        timer = asyncio.get_running_loop().call_at(deadline, _settle, waiter, False)  # noqa: FBT003 - it knows no keywords
        try:
            return await waiter
        finally:
            timer.cancel()

    def subscribe(self, keys: Iterable[Key]) -> "asyncio.Future[bool]":
        """A future that is done at the next write to any of `keys`. `Closed` when the agent stops."""
        if self._closed:
            raise Closed
        keys = tuple(keys)
        waiter: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        for key in keys:
            self._waiting.setdefault(key, set()).add(waiter)
        waiter.add_done_callback(lambda _: self._forget(keys, waiter))
        return waiter

    def _forget(self, keys: tuple[Key, ...], waiter: "asyncio.Future[bool]") -> None:
        for key in keys:
            if waiters := self._waiting.get(key):
                waiters.discard(waiter)
                if not waiters:
                    del self._waiting[key]

    def end_polls(self, path: str = "") -> None:
        """End the blocking queries of the server as if their wait were over.

        `path` limits it to those whose path begins with it. Queries of the agent's cache wait on.
        """
        for key in [key for key in self._waiting if isinstance(key, str) and key.startswith(poll_key(path))]:
            self.wake(key, changed=False)

    def open(self) -> None:
        """Let queries wait again, after `close`."""
        self._closed = False

    def close(self) -> None:
        """End all waiting with `Closed`."""
        self._closed = True
        for waiters in self._waiting.values():
            for waiter in waiters:
                if not waiter.done():
                    waiter.set_exception(Closed())

    def state(self) -> State:
        """Copy the entries and the index of each key for a snapshot."""
        return dict(self._touched), dict(self._entries)

    def load(self, state: State) -> None:
        """Restore a snapshot: the entries, and the old index of each key.

        The index of the next write lies above all that have been, as in raft.
        """
        touched, entries = state
        before, self._entries = self._entries, dict(entries)
        self._touched = dict(touched)
        self._sorted.clear()
        self.index += 1
        for key in before.keys() | entries.keys():
            if before.get(key) is not entries.get(key):
                self._tell(*key)

    # Configuration entries.

    @property
    def entries(self) -> Mapping[tuple[str, str], Object]:
        """The configuration entries by kind and lower-cased name."""
        return MappingProxyType(self._entries)

    def entry(self, kind: str, name: str) -> Object | None:
        """The entry of `kind` called `name`, in any case; None where there is none."""
        return self._entries.get((kind, name.lower()))

    def of_kind(self, kind: str) -> list[Object]:
        """The entries of a kind, in the order of their names."""
        return [entry for (of, _), entry in sorted(self._entries.items()) if of == kind]

    def put_entry(self, entry: Object) -> None:
        """Write an entry at a new index, in place of the one of its kind and name."""
        kind, name = text(entry, "Kind"), text(entry, "Name")
        before, index = self.entry(kind, name), self.index + 1
        created = before["CreateIndex"] if before else index
        self._entries[kind, name.lower()] = {**entry, "CreateIndex": created, "ModifyIndex": index}
        leads = before is None or any(before.get(member) != entry.get(member) for member in ("Listeners", "Services"))
        self._write_entry(kind, name, leads=leads)

    def delete_entry(self, kind: str, name: str) -> None:
        """Delete the entry of `kind` called `name`; deleting nothing takes an index, but wakes no query."""
        if self._entries.pop((kind, name.lower()), None) is None:
            self.index += 1
        else:
            self._write_entry(kind, name, leads=True)

    def _write_entry(self, kind: str, name: str, *, leads: bool) -> None:
        """Note the write of an entry; if it `leads` elsewhere than before, that of a gateway's services too."""
        self.write(entry_key(kind, name), *([gateway_key(name)] if leads and kind in _GATEWAYS else []))
        self._tell(kind, name)

    def _tell(self, kind: str, name: str) -> None:
        for listener in self.listeners:
            listener(kind, name)


def entry_key(kind: str, name: str) -> str:
    """The key that a write of the configuration entry of `kind` called `name` touches."""
    return f"config/{kind}/{name.lower()}"


def gateway_key(name: str) -> str:
    """The key that a write of the services behind the gateway called `name` touches."""
    return f"gateway/{name.lower()}"


def poll_key(path: str) -> str:
    """The key that a blocking query of the server waits for besides its data."""
    return f"poll {path}"


def row_of(table: str, name: str) -> str:
    """Make a row of an index by `name` of a `table` in which several rows may have one name."""
    return f"{table}/{name.lower()}{_END}{_END}"


def _nearest(rows: list[str], wanted: str, depth: int) -> str:
    """The prefix of `wanted` that its rows have, down to the node of their tree that a search for it reaches.

    `rows` are sorted, `depth` is where their tree begins. A row that is found wakes for itself alone; a node for all
    below it, and when it is split.
    """
    found = wanted[:depth]
    while depth < len(wanted):
        step = wanted[: depth + 1]
        first, end = bisect_left(rows, step), bisect_left(rows, step + "\U0010ffff")
        if first == end:
            break
        found, common = step, commonprefix((rows[first], rows[end - 1]))  # noqa: RUF071 - these are no paths
        if common == wanted and rows[first] == wanted:
            return wanted
        if not wanted.startswith(common):
            break
        depth = len(common)
    return found


def _settle(waiter: asyncio.Future[bool], changed: bool) -> None:
    if not waiter.done():
        waiter.set_result(changed)


def _upwards(key: str) -> Iterator[str]:
    """The key and those above it, three at most; a name may hold slashes."""
    parts = key.split("/", 2)
    return ("/".join(parts[: depth + 1]) for depth in range(len(parts)))
