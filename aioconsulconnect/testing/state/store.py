"""The configuration entries, one raft-like index, and one way to wait for a change.

Every write takes the next index and touches keys: the table, the part of it, the thing. `config/service-intentions/db`
touches `config`, `config/service-intentions` and itself, so that a blocking query can wait for as much or as little as
Consul's does.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import TypeAlias

from aioconsulconnect.testing.go_json.values import Object, text

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
        self._waiting: dict[str, set[asyncio.Future[bool]]] = {}
        self._closed = False
        self.listeners: list[Callable[[str, str], None]] = []
        """Functions to call with kind and name after a configuration entry was written or deleted."""

    def write(self, *keys: str) -> int:
        """Take the next index, note it at the keys and all above them, and return it.

        The queries that wait for any of these keys wake.
        """
        self.index += 1
        for key in {above for each in keys for above in _upwards(each)}:
            self._touched[key] = self.index
            self._wake(key, changed=True)
        return self.index

    def _wake(self, key: str, *, changed: bool) -> None:
        for waiter in self._waiting.pop(key, ()):
            _settle(waiter, changed)

    def touched(self, *keys: str) -> int:
        """The index of the last write to any of the keys; 1 where there was none, as Consul never says 0."""
        return max(1, *(self._touched.get(key, 0) for key in keys))

    async def wait(self, keys: Iterable[str], deadline: float) -> bool:
        """Wait for a write to any of `keys`; true if there was one, false after the deadline.

        `deadline` is a time of the event loop's clock. `Closed` when the agent stops.
        """
        if self._closed:
            raise Closed
        keys = tuple(keys)
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[bool] = loop.create_future()
        timer = loop.call_at(deadline, _settle, waiter, False)  # noqa: FBT003 - call_at knows no keywords
        for key in keys:
            self._waiting.setdefault(key, set()).add(waiter)
        try:
            return await waiter
        finally:
            timer.cancel()
            for key in keys:
                if waiters := self._waiting.get(key):
                    waiters.discard(waiter)
                    if not waiters:
                        del self._waiting[key]

    def end_polls(self, path: str = "") -> None:
        """End the blocking queries of the server as if their wait were over.

        `path` limits it to those whose path begins with it. Queries of the agent's cache wait on.
        """
        for key in [key for key in self._waiting if key.startswith(poll_key(path))]:
            self._wake(key, changed=False)

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
        before = self.entry(kind, name)
        index = self.write(entry_key(kind, name))
        created = before["CreateIndex"] if before else index
        self._entries[kind, name.lower()] = {**entry, "CreateIndex": created, "ModifyIndex": index}
        self._tell(kind, name)

    def delete_entry(self, kind: str, name: str) -> None:
        """Delete the entry of `kind` called `name`; deleting nothing takes an index, but wakes no query."""
        if self._entries.pop((kind, name.lower()), None) is None:
            self.index += 1
        else:
            self.write(entry_key(kind, name))
            self._tell(kind, name)

    def _tell(self, kind: str, name: str) -> None:
        for listener in self.listeners:
            listener(kind, name)


def entry_key(kind: str, name: str) -> str:
    """The key that a write of the configuration entry of `kind` called `name` touches."""
    return f"config/{kind}/{name.lower()}"


def poll_key(path: str) -> str:
    """The key that a blocking query of the server waits for besides its data."""
    return f"poll {path}"


def _settle(waiter: asyncio.Future[bool], changed: bool) -> None:
    if not waiter.done():
        waiter.set_result(changed)


def _upwards(key: str) -> Iterator[str]:
    """The key and those above it, three at most; a name may hold slashes."""
    parts = key.split("/", 2)
    return ("/".join(parts[: depth + 1]) for depth in range(len(parts)))
