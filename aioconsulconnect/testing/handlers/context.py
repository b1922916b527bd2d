"""What every handler of one agent works on, and the loop of a blocking query."""

import asyncio
import random
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

from aioconsulconnect.testing.protocol.refusals import Refused
from aioconsulconnect.testing.protocol.reply import Meta
from aioconsulconnect.testing.protocol.request import Ask
from aioconsulconnect.testing.state.acl import Acl
from aioconsulconnect.testing.state.authority import Authority
from aioconsulconnect.testing.state.store import Closed, Store, poll_key
from aioconsulconnect.testing.versions import Quirks

T = TypeVar("T")
_LOOK_AFTER_CLIENT: Final = 0.25


@dataclass(frozen=True, slots=True)
class Found(Generic[T]):
    """What a query finds: the value, the index of its table, and the keys whose writes may change it."""

    value: T
    index: int
    keys: tuple[str, ...]
    absent: bool = False
    """Nothing is there: a wake-up that finds nothing again is not passed on."""
    unchanged: object = None
    """What is compared where a wake-up without a change is not passed on."""
    filtered: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Poll:
    """A blocking query that waits now."""

    path: str
    query: dict[str, list[str]]
    index: int


@dataclass(slots=True)
class Box:
    """One agent's parts."""

    quirks: Quirks
    store: Store
    acl: Acl
    authority: Authority
    datacenter: str
    node_name: str
    node_id: str
    cache: set[tuple[object, ...]] = field(default_factory=set[tuple[object, ...]])
    """The queries that the agent's cache holds."""
    polls: set[Poll] = field(default_factory=set[Poll])

    def here(self, ask: Ask) -> None:
        """Refuse a datacenter that nobody knows."""
        if ask.datacenter not in {"", self.datacenter}:
            raise Refused(500, "No path to datacenter", from_server=True)

    async def block(self, ask: Ask, query: Callable[[], Found[T]], *, local: bool = False) -> Found[T]:
        """Answer when the index is above the one asked with, else at the end of the wait, as Consul's loop does.

        ``local`` waits are the agent's own and end on time; the server adds up to a sixteenth.
        """
        deadline = asyncio.get_running_loop().time() + ask.wait + (0 if local else random.uniform(0, ask.wait / 16))
        own = () if local else (poll_key(ask.path),)
        minimum, before = ask.index, None
        with self.polling(ask, waits=bool(ask.index)):
            while True:
                found = query()
                if before and ((before.absent and found.absent) or self._settled(before, found)):
                    minimum = found.index
                if not ask.index or found.index > minimum:
                    return found
                before, ask.waited = found, True
                if not await self._changed((*found.keys, *own), deadline, ask, local=local):
                    return found

    async def _changed(self, keys: tuple[str, ...], deadline: float, ask: Ask, *, local: bool) -> bool:
        """Wait for a write; what the agent waits for by itself ends soon after its client is gone."""
        clock = asyncio.get_running_loop().time
        while local and clock() + _LOOK_AFTER_CLIENT < deadline:
            if await self.store.wait(keys, clock() + _LOOK_AFTER_CLIENT):
                return True
            if ask.gone():
                raise Closed
        return await self.store.wait(keys, deadline)

    @staticmethod
    def _settled(before: Found[T], found: Found[T]) -> bool:
        return found.unchanged is not None and found.unchanged == before.unchanged

    @contextmanager
    def polling(self, ask: Ask, *, waits: bool) -> Generator[None, None, None]:
        """Count a blocking query among the polls while it is answered."""
        if not waits:
            yield
            return
        poll = Poll(ask.path, ask.query, ask.index)
        self.polls.add(poll)
        try:
            yield
        finally:
            self.polls.discard(poll)

    def cached(self, ask: Ask, key: tuple[object, ...]) -> tuple[str, int | None]:
        """What the agent's cache says of a query: X-Cache and Age. It follows every write at once, so Age stays 0."""
        held = (ask.token, ask.datacenter, *key)
        if held in self.cache:
            return "HIT", 0
        self.cache.add(held)
        return "MISS", None

    def meta(self, ask: Ask, found: Found[T], *, consistency: bool = False) -> Meta:
        """The headers of a read."""
        return Meta(found.index, consistency=ask.consistency if consistency else None, filtered=found.filtered)
