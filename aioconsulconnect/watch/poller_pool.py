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
    """A poller of whatever type."""

    def renew(self) -> None: ...

    def finish(self) -> None: ...


class PollerPool:
    """Makes a poller for each query that is watched, and ends them all. Nothing runs before the first watch."""

    def __init__(
        self,
        sender: Sender,
        *,
        settings: PollSettings,
        clock: Clock | None = None,
        random: Random = random.random,
        on_event: Hook | None = None,
    ) -> None:
        self.resources: PollerResources = PollerResources(
            sender, settings=settings, clock=clock or Clock(), random=random, on_event=on_event
        )
        self._health = AddressHealth(self.resources)
        self._pollers: dict[Hashable, _AnyPoller] = {}
        self._starts: deque[float] = deque(maxlen=HERD)
        self._closed = False

    def __repr__(self) -> str:
        """How many pollers there are, and what they use."""
        budget, state = self.resources.budget, "closed" if self._closed else "open"
        return f"<PollerPool {state} queries={len(self._pollers)} open={budget.open} zombies={budget.zombies}>"

    @property
    def clock(self) -> Clock:
        """The clock of the client."""
        return self.resources.clock

    def poller(self, request: Request[T], spec: WatchSpec[T, Item]) -> Poller[T, Item]:
        """The poller of that query, begun where there is none."""
        if self._closed:
            raise Closed("the client is closed")
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
            poller.delay(resources.random())  # many that start at once would stay in step for ever
        self._starts.append(now)
        resources.spawn(poller.run(), request.path).add_done_callback(lambda _: self._forget(poller, key))
        return poller

    def _forget(self, poller: _AnyPoller, key: Hashable) -> None:
        """Drop a poller that has ended: who asks again gets another."""
        self._health.leave(poller)
        if self._pollers.get(key) is poller:
            del self._pollers[key]
            self.resources.budget.pollers = len(self._pollers)

    def token_changed(self) -> None:
        """Have whatever uses the client's token read again at once: it is another one."""
        for poller in tuple(self._pollers.values()):
            poller.renew()

    async def aclose(self) -> None:
        """End every poller, and with them all iterators. From any task, and twice, if need be."""
        self._closed = True
        pollers = tuple(self._pollers.values())
        await self.resources.cancel_all()
        for poller in pollers:
            poller.finish()  # where it was closed before it had begun to run


def sharing_key(request: Request[T], spec: WatchSpec[T, Item]) -> Hashable:
    """What two watches must have in common to share a poller; an explicit token only as its digest."""
    options = request.options
    token = options.token and hashlib.sha256(options.token.encode()).hexdigest()
    options = msgspec.structs.replace(options, token=token, timeout=None)
    return msgspec.structs.replace(request, options=options), spec


def _serves(found: object, request: Request[T], spec: WatchSpec[T, Item]) -> TypeGuard[Poller[T, Item]]:
    """Whether `found` polls just that, and so is of the request's types."""
    return isinstance(found, Poller) and found.key == sharing_key(request, spec)
