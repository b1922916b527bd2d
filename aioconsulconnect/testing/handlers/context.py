"""The state that all handlers of an agent share, the loop of a blocking query, and the agent's cache."""

import asyncio
import random
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Final, Generic, TypeVar

from aioconsulconnect.testing.go_json.values import Object, text
from aioconsulconnect.testing.protocol.refusals import Refused
from aioconsulconnect.testing.protocol.reply import Meta
from aioconsulconnect.testing.protocol.request import ConsulRequest
from aioconsulconnect.testing.state.acl import Acl
from aioconsulconnect.testing.state.authority import Authority
from aioconsulconnect.testing.state.store import Closed, Key, Store, poll_key
from aioconsulconnect.testing.version_facts import VersionFacts

T = TypeVar("T")
_LOOK_AFTER_CLIENT: Final = 0.25
_NOT_CACHED: Final = frozenset({"index", "wait", "cached", "pretty", "token"})
"""The parameters that do not make another query of the agent's cache."""


@dataclass(frozen=True, slots=True)
class Found(Generic[T]):
    """The result of a query: the value, the index of its table, and the keys whose writes may change it.

    `filtered` is true if the token hides some of it.
    """

    value: T
    index: int
    keys: tuple[Key, ...]
    absent: bool = False
    """True if nothing is there: a blocking query does not end by finding nothing once more."""
    unchanged: object = None
    """A value to compare: a blocking query does not end by finding an equal one; None compares nothing."""
    filtered: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class HeldQuery:
    """A blocking query that waits: its `path`, its parameters in `query`, and the `index` it waits beyond."""

    path: str
    query: dict[str, list[str]]
    index: int


class CachedQuery(Generic[T]):
    """A query that the agent's cache holds; its result follows the server as a blocking query does.

    - `key`: the key that wakes those who wait for another result.
    - `query`: the function that finds the result.
    - `quiet`: true if nothing once more, or the same again, is no other result.
    """

    def __init__(self, store: Store, key: str, query: Callable[[], Found[T]], *, quiet: bool) -> None:
        self.store = store
        self.key = key
        self.query = query
        self.quiet = quiet
        self.found: Found[T] = query()
        self.error: Exception | None = None
        self._last = self.found
        self._follow()

    def result(self) -> Found[T]:
        """The result that is held, or the error that took its place."""
        if self.error is not None:
            raise self.error
        return replace(self.found, keys=(self.key,))

    def _follow(self) -> None:
        self.waiter: asyncio.Future[bool] = self.store.subscribe(self._last.keys)
        self.waiter.add_done_callback(self._woken)

    def _woken(self, waiter: "asyncio.Future[bool]") -> None:
        if waiter.cancelled() or waiter.exception():
            return
        before = self._last
        try:
            self._last = self.query()
            if self._last.index > self.found.index and not (self.quiet and settled(before, self._last)):
                self.found = self._last
            self._follow()
        except Exception as error:  # noqa: BLE001 - whatever it is, a reader is told
            self.error = error
        self.store.wake(self.key)


class QueryCache(Generic[T]):
    """The queries of one handler, with results of one type, that the agent's cache follows.

    `context` is that of the agent.
    """

    def __init__(self, context: "AgentContext") -> None:
        self.context = context
        self._queries: dict[str, CachedQuery[T]] = {}
        context.query_caches.append(self._clear)

    def query(self, request: ConsulRequest, query: Callable[[], Found[T]]) -> CachedQuery[T]:
        """The query that is held for `request`; where there is none, `query` is from now on."""
        asked = sorted((name, value) for name, value in request.query.items() if name not in _NOT_CACHED)
        key = f"cache {request.token} {request.path} {asked}"
        held = self._queries.get(key)
        if held is None or held.error is not None:
            context = self.context
            held = self._queries[key] = CachedQuery(context.store, key, query, quiet=context.facts.quiet_queries)
        return held

    def _clear(self) -> None:
        for held in self._queries.values():
            held.waiter.cancel()
        self._queries.clear()


def settled(before: Found[T], found: Found[T]) -> bool:
    """True if a blocking query waits on, as it has `found` nothing once more or the same as `before`."""
    same = found.unchanged is not None and found.unchanged == before.unchanged
    return same or (before.absent and found.absent)


@dataclass(slots=True)
class AgentContext:
    """The state that all handlers of one agent share."""

    facts: VersionFacts
    store: Store
    acl: Acl
    authority: Authority
    datacenter: str
    node: Object
    """The definition of the agent's own node."""
    connect: bool = True
    """False if Connect is not enabled."""
    cache: set[tuple[object, ...]] = field(default_factory=set[tuple[object, ...]])
    """The keys of the queries that the agent's cache holds."""
    query_caches: list[Callable[[], None]] = field(default_factory=list[Callable[[], None]])
    """Functions, each of which empties a `QueryCache`."""
    held_queries: set[HeldQuery] = field(default_factory=set[HeldQuery])

    @property
    def node_name(self) -> str:
        """The name of the agent's node."""
        return text(self.node, "Node")

    @property
    def node_id(self) -> str:
        """The id of the agent's node."""
        return text(self.node, "ID")

    def check_datacenter(self, request: ConsulRequest) -> None:
        """Refuse a request for another datacenter, with status 500."""
        if request.datacenter not in {"", self.datacenter}:
            raise Refused(500, "No path to datacenter", from_server=True)

    async def block(
        self,
        request: ConsulRequest,
        query: Callable[[], Found[T]],
        *,
        local: bool = False,
        cache: QueryCache[T] | None = None,
    ) -> Found[T]:
        """Run a query until its index is above the requested one or the wait is over, as Consul does.

        - `request`: the request; without an index the query runs once.
        - `query`: the function that finds the result, run again after each write to one of its keys.
        - `local`: true for a wait of the agent, which ends on time; the server's may last up to a sixteenth longer.
        - `cache`: the cache that is read, for a read of the agent's cache, which is the agent's too.
        """
        if cache is not None:
            local, query = True, cache.query(request, query).result
        wait = request.options.wait
        deadline = asyncio.get_running_loop().time() + wait + (0 if local else random.uniform(0, wait / 16))
        own = () if local else (poll_key(request.path),)
        minimum, before = request.options.index, None
        with self.holding(request, waits=bool(request.options.index)):
            while True:
                found = query()
                if before and self.facts.quiet_queries and settled(before, found):
                    minimum = found.index
                if not request.options.index or found.index > minimum:
                    return found
                before, request.waited = found, True
                if not await self._changed((*found.keys, *own), deadline, request, local=local):
                    return found

    async def _changed(self, keys: tuple[Key, ...], deadline: float, request: ConsulRequest, *, local: bool) -> bool:
        """Wait for a write until the deadline; true if there was one.

        A `local` wait, which is the agent's own, ends soon after its client has gone.
        """
        clock = asyncio.get_running_loop().time
        while local and clock() + _LOOK_AFTER_CLIENT < deadline:
            if await self.store.wait(keys, clock() + _LOOK_AFTER_CLIENT):
                return True
            if request.gone():
                raise Closed
        return await self.store.wait(keys, deadline)

    def forget_cache(self) -> None:
        """Forget the queries that the agent's cache follows."""
        for clear in self.query_caches:
            clear()

    @contextmanager
    def holding(self, request: ConsulRequest, *, waits: bool) -> Generator[None, None, None]:
        """List the blocking query of `request` among those held, while it is answered and if it `waits`."""
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
        """The `X-Cache` and `Age` headers of a query to the agent's cache, which then holds it.

        `key` names the query; with the token and the datacenter of `request` it is the key in the cache. Age is that
        of the connection to the server, and stays 0.
        """
        held = (request.token, request.datacenter, *key)
        if held in self.cache:
            return "HIT", 0
        self.cache.add(held)
        return "MISS", None

    def meta(self, request: ConsulRequest, found: Found[T], *, consistency: bool = False) -> Meta:
        """Make the headers of a read from its `request` and its result `found`.

        `consistency` adds the header with the consistency of the request.
        """
        return Meta(
            found.index, consistency=request.options.consistency if consistency else None, filtered=found.filtered
        )
