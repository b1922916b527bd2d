"""A read that can be awaited or watched."""

from __future__ import annotations

from collections.abc import Generator
from typing import Generic, Literal, NoReturn, TypeVar

from aioconsulconnect.errors import InvalidRequest, NotFound
from aioconsulconnect.transport.interpretation import interpret
from aioconsulconnect.transport.metadata import Meta
from aioconsulconnect.transport.request import Request
from aioconsulconnect.transport.response import Reply
from aioconsulconnect.transport.sender import Sender
from aioconsulconnect.watch.changes import Ignore, projection
from aioconsulconnect.watch.poller_pool import PollerPool
from aioconsulconnect.watch.protocol.spec import WatchSpec
from aioconsulconnect.watch.subscription import Cursor, WatchOptions
from aioconsulconnect.watch.watch import Watch

Item = TypeVar("Item")
T = TypeVar("T")

Delivery = Literal["latest", "all"]

_ABSENT = 404  # in Consul's own words, else it is no NotFound


class Query(Generic[T, Item]):
    """
    A read of Consul that can be awaited for its value, or watched.

    `await query` and `query.value()` read once, `query.reply()` brings the metadata of the answer too, and
    `query.watch()` gives a live read. Nothing is cached: every call reads anew.

    The methods of the endpoint groups make it, from:

    - `sender`: sends the request.
    - `pool`: pollers of the client.
    - `request`: the read.
    - `spec`: how it blocks, and what in its value can change.
    """

    __slots__ = ("_pool", "_request", "_sender", "_spec")

    def __init__(self, sender: Sender, pool: PollerPool, request: Request[T], spec: WatchSpec[T, Item]) -> None:
        self._sender = sender
        self._pool = pool
        self._request = request
        self._spec = spec

    def __await__(self) -> Generator[object, None, T]:
        """Read the value once, as `value` does."""
        return self.value().__await__()

    async def value(self) -> T:
        """
        Read once, and return the value.

        Raises a ConsulError. Where absence is a state that can change, a 404 of Consul's is no error: the value for
        absence is returned.
        """
        try:
            return interpret(self._request, await self._sender.send(self._request))
        except NotFound as error:
            if self._spec.value_when_absent is None or error.status != _ABSENT:
                raise
            return self._spec.value_when_absent()

    async def reply(self) -> Reply[T]:
        """
        Read once, and return the value with the metadata of the answer.

        The metadata is empty where what is asked for does not exist. Raises as `value` does.
        """
        try:
            response = await self._sender.send(self._request)
        except NotFound as error:
            if self._spec.value_when_absent is None or error.status != _ABSENT:
                raise
            return Reply(self._spec.value_when_absent(), Meta())
        return Reply(interpret(self._request, response), response.meta)

    def watch(
        self,
        *,
        delivery: Delivery = "latest",
        settle: tuple[float, float] | None = None,
        ignore: Ignore[Item] = (),
        since: Cursor | None = None,
        max_age: float | None = None,
    ) -> Watch[T, Item]:
        """
        Return a live read of this query, for `async with query.watch() as watch`.

        Watches of the same query share one long poll.

        - `delivery`: "latest" (default) skips states that a slow consumer missed; "all" keeps up to
          `PollSettings.max_pending` of them.
        - `settle`: seconds of quiet, and seconds at most: a change is held back until no other follows; default: at
          once.
        - `ignore`: names of the fields of an item that do not count as a change, or a function that gives what counts.
        - `since`: cursor of an earlier watch; where nothing has changed since then, the first state is not delivered.
        - `max_age`: age in seconds of the oldest state that the consumer accepts: polls then wait at most 0.6 of it, so
          that `status.age` is higher only where something fails. Default: no limit.

        Raises InvalidRequest for a `delivery`, `settle` or `max_age` out of range.
        """
        if delivery not in {"latest", "all"}:
            raise InvalidRequest(f"delivery must be 'latest' or 'all', not {delivery!r}")
        if max_age is not None and not max_age > 0:
            raise InvalidRequest(f"max_age must be more than 0 seconds, not {max_age!r}")
        if settle is not None and not 0 <= settle[0] <= settle[1]:
            raise InvalidRequest(f"settle must be (seconds of quiet, seconds at most), not {settle!r}")
        options = WatchOptions(delivery == "all", settle, projection(ignore), since, max_age)
        return Watch(self._pool, self._request, self._spec, options)

    def __bool__(self) -> bool:
        """Raise TypeError: a forgotten `await` must not count as true."""
        raise TypeError("a Query has no truth value; await it")

    def __repr__(self) -> str:
        """Show the method and the path."""
        return f"<Query {self._request.method} {self._request.path}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Query belongs to its client and cannot be pickled")
