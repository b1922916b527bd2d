"""What every handler of one agent works on, and the loop of a blocking query."""

import asyncio
import random
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

from aioconsulconnect.testing.protocol.refusals import Refused
from aioconsulconnect.testing.protocol.reply import Meta
from aioconsulconnect.testing.protocol.request import ConsulRequest
from aioconsulconnect.testing.state.acl import Acl
from aioconsulconnect.testing.state.authority import Authority
from aioconsulconnect.testing.state.store import Closed, Store, poll_key
from aioconsulconnect.testing.versions import VersionFacts

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
class HeldQuery:
    """A blocking query that waits now."""

    path: str
    query: dict[str, list[str]]
    index: int


@dataclass(slots=True)
class AgentContext:
    """What every handler of one agent works on."""

    facts: VersionFacts
    store: Store
    acl: Acl
    authority: Authority
    datacenter: str
    node_name: str
    node_id: str
    cache: set[tuple[object, ...]] = field(default_factory=set[tuple[object, ...]])
    """The queries that the agent's cache holds."""
    held_queries: set[HeldQuery] = field(default_factory=set[HeldQuery])

    def check_datacenter(self, request: ConsulRequest) -> None:
        """Refuse a datacenter that nobody knows."""
        if request.datacenter not in {"", self.datacenter}:
            raise Refused(500, "No path to datacenter", from_server=True)

    async def block(self, request: ConsulRequest, query: Callable[[], Found[T]], *, local: bool = False) -> Found[T]:
        """Answer when the index is above the one requested, else at the end of the wait, as Consul's loop does.

        ``local`` waits are the agent's own and end on time; the server adds up to a sixteenth.
        """
        wait = request.options.wait
        deadline = asyncio.get_running_loop().time() + wait + (0 if local else random.uniform(0, wait / 16))
        own = () if local else (poll_key(request.path),)
        minimum, before = request.options.index, None
        with self.holding(request, waits=bool(request.options.index)):
            while True:
                found = query()
                if before and ((before.absent and found.absent) or self._settled(before, found)):
                    minimum = found.index
                if not request.options.index or found.index > minimum:
                    return found
                before, request.waited = found, True
                if not await self._changed((*found.keys, *own), deadline, request, local=local):
                    return found

    async def _changed(self, keys: tuple[str, ...], deadline: float, request: ConsulRequest, *, local: bool) -> bool:
        """Wait for a write; what the agent waits for by itself ends soon after its client is gone."""
        clock = asyncio.get_running_loop().time
        while local and clock() + _LOOK_AFTER_CLIENT < deadline:
            if await self.store.wait(keys, clock() + _LOOK_AFTER_CLIENT):
                return True
            if request.gone():
                raise Closed
        return await self.store.wait(keys, deadline)

    @staticmethod
    def _settled(before: Found[T], found: Found[T]) -> bool:
        return found.unchanged is not None and found.unchanged == before.unchanged

    @contextmanager
    def holding(self, request: ConsulRequest, *, waits: bool) -> Generator[None, None, None]:
        """List a blocking query among those held while it is answered."""
        if not waits:
            yield
            return
        held = HeldQuery(request.path, request.query, request.options.index)
        self.held_queries.add(held)
        try:
            yield
        finally:
            self.held_queries.discard(held)

    def cached(self, request: ConsulRequest, key: tuple[object, ...]) -> tuple[str, int | None]:
        """What the agent's cache says of a query: X-Cache and Age. It follows every write at once, so Age stays 0."""
        held = (request.token, request.datacenter, *key)
        if held in self.cache:
            return "HIT", 0
        self.cache.add(held)
        return "MISS", None

    def meta(self, request: ConsulRequest, found: Found[T], *, consistency: bool = False) -> Meta:
        """The headers of a read."""
        return Meta(
            found.index, consistency=request.options.consistency if consistency else None, filtered=found.filtered
        )
