"""What the agent holds: configuration entries, one raft-like index, and one way to wait for a change.

Every write takes the next index and touches keys: the table, the part of it, the thing.
``config/service-intentions/db`` touches ``config``, ``config/service-intentions`` and itself, so that a blocked query
can wait for as much or as little as Consul's does.
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
    """Tables of plain JSON, an index, and the queries that wait."""

    def __init__(self, index: int, tables: Mapping[str, int]) -> None:
        self.index: int = index
        self._touched = dict(tables)
        self._entries: dict[tuple[str, str], Object] = {}
        self._waiting: dict[str, set[asyncio.Future[bool]]] = {}
        self._closed = False
        self.listeners: list[Callable[[str, str], None]] = []
        """Called with kind and name after a configuration entry was written or deleted."""

    def write(self, *keys: str) -> int:
        """Take the next index, note it at the keys and all above them, and wake who waits for any of these."""
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
        """Wait for a write to any of the keys until a time of the loop's clock; false when that comes first."""
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
        """Let the blocking queries of the server end as if their time were over; those of the agent's cache wait on."""
        for key in [key for key in self._waiting if key.startswith(poll_key(path))]:
            self._wake(key, changed=False)

    def open(self) -> None:
        """Be there again after ``close``."""
        self._closed = False

    def close(self) -> None:
        """End all waiting."""
        self._closed = True
        for waiters in self._waiting.values():
            for waiter in waiters:
                if not waiter.done():
                    waiter.set_exception(Closed())

    def state(self) -> State:
        """What a snapshot keeps."""
        return dict(self._touched), dict(self._entries)

    def load(self, state: State) -> None:
        """Be as a snapshot was. The index of the next write lies above all there have been, as in raft."""
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
        """One entry; names are compared without regard to case."""
        return self._entries.get((kind, name.lower()))

    def of_kind(self, kind: str) -> list[Object]:
        """The entries of a kind in the order of their names."""
        return [entry for (of, _), entry in sorted(self._entries.items()) if of == kind]

    def put_entry(self, entry: Object) -> None:
        """Write an entry in place of the one of its name, at a new index."""
        kind, name = text(entry, "Kind"), text(entry, "Name")
        before = self.entry(kind, name)
        index = self.write(entry_key(kind, name))
        created = before["CreateIndex"] if before else index
        self._entries[kind, name.lower()] = {**entry, "CreateIndex": created, "ModifyIndex": index}
        self._tell(kind, name)

    def delete_entry(self, kind: str, name: str) -> None:
        """Delete an entry. Deleting nothing takes an index too, but wakes nobody."""
        if self._entries.pop((kind, name.lower()), None) is None:
            self.index += 1
        else:
            self.write(entry_key(kind, name))
            self._tell(kind, name)

    def _tell(self, kind: str, name: str) -> None:
        for listener in self.listeners:
            listener(kind, name)


def entry_key(kind: str, name: str) -> str:
    """The key that a write of a configuration entry touches."""
    return f"config/{kind}/{name.lower()}"


def poll_key(path: str) -> str:
    """The key that a blocking query of the server waits for besides its data."""
    return f"poll {path}"


def _settle(waiter: asyncio.Future[bool], changed: bool) -> None:
    if not waiter.done():
        waiter.set_result(changed)


def _upwards(key: str) -> Iterator[str]:
    """A key and the two above it; a name may hold slashes."""
    parts = key.split("/", 2)
    return ("/".join(parts[: depth + 1]) for depth in range(len(parts)))
