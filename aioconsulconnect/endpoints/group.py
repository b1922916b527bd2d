"""Base of the endpoint groups: completes requests with options, and sends them."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from aioconsulconnect.errors import InvalidRequest, UnreadableResponse
from aioconsulconnect.transport.interpretation import interpret
from aioconsulconnect.transport.request import Request
from aioconsulconnect.transport.response import Response
from aioconsulconnect.transport.sender import Sender
from aioconsulconnect.transport.settings.options import NO_OPTIONS, Options
from aioconsulconnect.watch.poller_pool import PollerPool
from aioconsulconnect.watch.protocol.spec import WatchSpec
from aioconsulconnect.watch.query import Query

T = TypeVar("T")
Item = TypeVar("Item")

NOT_WRITTEN = "the answer is false: nothing was written, and Consul does not say why; read before another try"
"""Message for an answer to a write that is false where Consul has nothing to compare."""


def read_nothing(response: Response) -> None:
    """Return nothing for an empty body, whatever its content type; UnreadableResponse for any other."""
    if response.body.strip():
        raise UnreadableResponse(f"Consul sends nothing here, and {len(response.body)} bytes came: is this Consul?")


class Group:
    """
    Base of the endpoint groups, which share the transport, the polls and default options.

    - `sender`: sends the requests.
    - `pool`: pollers of the client.
    - `options`: default options of the client.
    """

    def __init__(self, sender: Sender, pool: PollerPool, options: Options) -> None:
        self._sender = sender
        self._pool = pool
        self._defaults = options

    async def _call(self, request: Request[T], options: Options | None) -> T:
        """Send a call that cannot block, and return its value."""
        request = self._complete(request, options)
        return interpret(request, await self._sender.send(request))

    def _query(self, request: Request[T], spec: WatchSpec[T, Item], options: Options | None) -> Query[T, Item]:
        """Return the query of a read on which Consul can block."""
        return Query(self._sender, self._pool, self._complete(request, options), spec)

    def _complete(self, request: Request[T], options: Options | None) -> Request[T]:
        """
        Return the request with the options of the call over those of the client.

        Raises InvalidRequest for a parameter that is no text.
        """
        for name, value in request.query:
            if not isinstance(value, str):
                raise InvalidRequest(f"{name} takes text, not {value!r:.40}")
        if options is None:
            options = self._defaults
        else:
            options.refuse_ignored(request.accepted_options, request.method, request.path)
            options = options.over(self._defaults)
        return request if options is NO_OPTIONS else msgspec.structs.replace(request, options=options)
