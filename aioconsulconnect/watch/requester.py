"""Requests of one query: which agent is asked, and how a consistent read is made."""

from __future__ import annotations

from contextlib import suppress
from typing import Generic, Literal, TypeVar

import msgspec

from aioconsulconnect.errors import (
    ConnectionFailed,
    ConsulError,
    PermissionDenied,
    RequestTimeout,
    ServerError,
)
from aioconsulconnect.transport.interpretation import interpret
from aioconsulconnect.transport.request import Parameters, Request, query_string
from aioconsulconnect.transport.response import Response
from aioconsulconnect.transport.settings.options import Options
from aioconsulconnect.watch.address_health import AddressHealth
from aioconsulconnect.watch.poller_resources import PollerResources
from aioconsulconnect.watch.protocol.blocking_query import NextRequest
from aioconsulconnect.watch.protocol.spec import WatchSpec
from aioconsulconnect.watch.protocol.transitions import Kind

T = TypeVar("T")
Item = TypeVar("Item")
Other = TypeVar("Other")

_ANOTHER_MAY_SERVE = (ConnectionFailed, RequestTimeout, ServerError)


class Requester(Generic[T, Item]):
    """
    Sender of the requests of one query, and of the reads that prove its data.

    - `resources`: what all pollers of the client share.
    - `health`: health of the agents.
    - `request`: the read.
    - `spec`: how it blocks.

    Attributes: `name` is the path and query string, for logs and events; `asked` the agent that was asked last;
    `held_by_servers` True if a poll goes on in the servers after it was dropped. `verification` is the consistent read
    whose answer settles doubts; `other_verification` a read of something else that proves that the servers answer, or
    None.
    """

    def __init__(
        self, resources: PollerResources, health: AddressHealth, request: Request[T], spec: WatchSpec[T, Item]
    ) -> None:
        options, other = request.options, spec.verify_with
        self.name: str = request.path + query_string(request.parameters)
        self.asked: str = ""  # the agent that was asked last
        self._resources = resources
        self._health = health
        self._request = request
        self._datacenter = options.datacenter or ""
        self.held_by_servers: bool = spec.source == "servers"
        self._needs_leader = self.held_by_servers and options.consistency != "stale"
        self._index_from = None if spec.index_from is None else read_of_leader(spec.index_from, options, "default")
        same = other is None or other.decode == request.decode
        self.verification: Request[T] | Request[object] = read_of_leader(
            request if other is None or not same else other, options, "consistent"
        )
        self.other_verification: Request[object] | None = (
            None if other is None or same else read_of_leader(other, options, "consistent")
        )
        self._token: object = None

    @property
    def own_token(self) -> bool:
        """True if the query has a token of its own, from its options."""
        return self._request.options.token is not None

    @property
    def address(self) -> str:
        """The agent in use: the first one that nothing is known against."""
        addresses = self._resources.sender.addresses
        if len(addresses) == 1:
            return addresses[0]
        well = (known for known in addresses if not self.is_in_trouble(known))
        return next(well, addresses[0])

    @property
    def has_another(self) -> bool:
        """True if the agent that was asked last is in trouble, and another one may serve instead."""
        return self.is_in_trouble(self.asked) and not self.is_in_trouble(self.address)

    def is_in_trouble(self, address: str) -> bool:
        """Return True if it is of no use to ask the agent at `address` now."""
        return self._health.trouble(address, self._datacenter, needs_leader=self._needs_leader) is not None

    def ask_for_leader(self) -> None:
        """Have the agent that was asked last asked within seconds which leader it follows."""
        self._health.ask_for_leader(self.asked, self._datacenter)

    async def token_changed(self) -> bool:
        """
        Return True if the client's token is another one than that of the last request.

        Always False for a query with a token of its own.
        """
        return not self.own_token and await self._resources.sender.token_changed_since(self._token)

    async def ask(self, following: NextRequest) -> Response | ConsulError:
        """Send the request `following` of the protocol, and return its answer or the error that came instead."""
        if following.kind is Kind.INDEX and self._index_from is not None:
            return await self.read(self._index_from, following.deadline)
        request = self.verification if following.consistent else self._request
        return await self.read(request, following.deadline, following.extra, polled=following.kind is Kind.POLL)

    async def read(
        self, request: Request[Other], deadline: float, extra: Parameters = (), *, polled: bool = False
    ) -> Response | ConsulError:
        """
        Send one request, and return its answer or the error that came instead.

        - `request`: the request.
        - `deadline`: seconds after which it is given up.
        - `extra`: query parameters beside its own.
        - `polled`: it is a poll.
        """
        sender, address = self._resources.sender, self.address
        self.asked, self._token, sent = address, sender.token_mark(), self._resources.clock.now()
        answer: Response | ConsulError
        try:
            answer = await sender.attempt(request, extra=extra, deadline=deadline, address=address)
        except ConsulError as error:
            answer = error
        except Exception as error:  # noqa: BLE001 - for one, of the caller's token function: a failure like others
            answer = ConsulError(f"the request could not be made: {type(error).__name__}", path=self._request.path)
            answer.__cause__ = error
        self._health.learn(address, answer, self._datacenter, polled=polled)
        failed = answer.error if isinstance(answer, Response) else answer
        self._resources.budget.heed(sender.crowding.seen)
        if not polled and self.held_by_servers and isinstance(answer, RequestTimeout):
            self._resources.budget.given_up(sent)
        if isinstance(failed, PermissionDenied) or (not polled and isinstance(failed, _ANOTHER_MAY_SERVE)):
            sender.avoid(address)
        return answer


def read_of_leader(
    read: Request[Other], options: Options, consistency: Literal["default", "consistent"]
) -> Request[Other]:
    """
    Return `read` with these `options`, but past the agent's cache and with this `consistency`.

    Only a consistent read settles a doubt: a leader that was just elected answers others before it has applied all
    that was written (fact 13).
    """
    options = msgspec.structs.replace(options, cached=None, consistency=consistency)
    return msgspec.structs.replace(read, options=options)


def value_of(other: Request[Other], answer: Response | ConsulError) -> Other | None:
    """Return the value of `answer`, an answer to `other`; None where it is an error, or cannot be decoded."""
    with suppress(ConsulError):
        return interpret(other, answer) if isinstance(answer, Response) else None
    return None
