"""The pollers of one client: one for each distinct query, however many watch it."""

from __future__ import annotations

import hashlib
import random
from collections import deque
from collections.abc import Hashable
from typing import Protocol, TypeGuard, TypeVar

import msgspec

from aioconsulconnect.clock import Clock
from aioconsulconnect.errors import Closed
from aioconsulconnect.own_loop import OwnLoop
from aioconsulconnect.transport.request import Request
from aioconsulconnect.transport.sender import Sender
from aioconsulconnect.watch.address_health import AddressHealth, Listener
from aioconsulconnect.watch.poller import Poller
from aioconsulconnect.watch.poller_resources import PollerResources
from aioconsulconnect.watch.protocol.pacing import HERD, Random
from aioconsulconnect.watch.protocol.poll_settings import PollSettings
from aioconsulconnect.watch.protocol.spec import WatchSpec
from aioconsulconnect.watch.protocol.status import Hook

T = TypeVar("T")
Item = TypeVar("Item")


class _AnyPoller(Listener, Protocol):
    """A poller of any type."""

    def renew(self) -> None: ...

    def finish(self) -> None: ...


class PollerPool:
    """
    Pool of the pollers of one client: one for each query that is watched.

    Nothing runs before the first watch.

    - `sender`: sends the requests.
    - `settings`: settings of the polls.
    - `clock`: clock for every wait; default: a new `Clock`.
    - `random`: source of the jitter, 0 to 1; default: `random.random`.
    - `on_event`: metrics hook, called with each `Event`; default none.
    - `own_loop`: event loop of the client; default: that of the first watch.
    """

    def __init__(
        self,
        sender: Sender,
        *,
        settings: PollSettings,
        clock: Clock | None = None,
        random: Random = random.random,
        on_event: Hook | None = None,
        own_loop: OwnLoop | None = None,
    ) -> None:
        self.resources: PollerResources = PollerResources(
            sender,
            settings=settings,
            clock=clock or Clock(),
            random=random,
            on_event=on_event,
            own_loop=own_loop or OwnLoop(),
        )
        self._health = AddressHealth(self.resources)
        self._pollers: dict[Hashable, _AnyPoller] = {}
        self._starts: deque[float] = deque(maxlen=HERD)
        self._closed = False

    def __repr__(self) -> str:
        """Show the number of queries, and the connections in use."""
        budget, state = self.resources.budget, "closed" if self._closed else "open"
        return f"<PollerPool {state} queries={len(self._pollers)} open={budget.open} zombies={budget.zombies}>"

    @property
    def clock(self) -> Clock:
        """The clock of the client."""
        return self.resources.clock

    def poller(self, request: Request[T], spec: WatchSpec[T, Item]) -> Poller[T, Item]:
        """
        Return the poller of the read `request`, which is started if there is none yet.

        `spec` describes how it blocks. Raises Closed after `aclose`, and in another event loop than the client's.
        """
        if self._closed:
            raise Closed("the client is closed")
        self.resources.own_loop.check()
        key = sharing_key(request, spec)
        found = self._pollers.get(key)
        if _serves(found, request, spec) and not found.publisher.over:
            return found
        return self._begin(request, spec, key)

    def _begin(self, request: Request[T], spec: WatchSpec[T, Item], key: Hashable) -> Poller[T, Item]:
        resources = self.resources
        poller = self._pollers[key] = Poller(resources, self._health, request, spec, key)
        self._health.join(poller, request.options.datacenter or "")
        resources.budget.pollers = len(self._pollers)
        now = resources.clock.now()
        if len(self._starts) == HERD and now - self._starts[0] < 1:
            poller.delay(resources.random())  # many that start at once would stay in step from then on
        self._starts.append(now)
        resources.spawn(poller.run(), request.path).add_done_callback(lambda _: self._forget(poller, key))
        return poller

    def _forget(self, poller: _AnyPoller, key: Hashable) -> None:
        """Drop a poller that has ended; the next watch of its query gets another."""
        self._health.leave(poller)
        if self._pollers.get(key) is poller:
            del self._pollers[key]
            self.resources.budget.pollers = len(self._pollers)

    def token_changed(self) -> None:
        """Make every query that uses the client's token read again at once, because the token has changed."""
        for poller in tuple(self._pollers.values()):
            poller.renew()

    async def aclose(self) -> None:
        """
        End every poller, and with them all iterators.

        It may be called from any task, and twice.
        """
        self._closed = True
        pollers = tuple(self._pollers.values())
        await self.resources.cancel_all()
        for poller in pollers:
            poller.finish()  # for one that had not begun to run


def sharing_key(request: Request[T], spec: WatchSpec[T, Item]) -> Hashable:
    """
    Return the key that two watches have in common exactly if they can share a poller.

    It is made of `request`, without its timeout and with only a digest of an explicit token, and of `spec`.
    """
    options = request.options
    token = options.token and hashlib.sha256(options.token.encode()).hexdigest()
    options = msgspec.structs.replace(options, token=token, timeout=None)
    return msgspec.structs.replace(request, options=options), spec


def _serves(found: object, request: Request[T], spec: WatchSpec[T, Item]) -> TypeGuard[Poller[T, Item]]:
    """Return True if `found` is a poller of just this query, and so of the types of the request."""
    return isinstance(found, Poller) and found.key == sharing_key(request, spec)
