"""
What is known of the agents, shared by all polls of a client: which are down, and whom their servers follow.

An agent that refuses, is silent or has no leader is asked one small question until it is well, by one asker; all polls
wait for what it learns. While polls are open the same question is asked from time to time: it finds a frozen agent, a
dead path or another leader for all of them at once. It changes what a watch says of itself, and proves no data.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Protocol

import msgspec

from aioconsulconnect.errors import ConnectionFailed, ConsulError, ErrorReason, NoLeader, RequestTimeout, ServerError
from aioconsulconnect.structs.codec.json_body import reader
from aioconsulconnect.transport.options import Options
from aioconsulconnect.transport.request import Request, path_of
from aioconsulconnect.transport.response import Response
from aioconsulconnect.watch.poller_resources import PollerResources
from aioconsulconnect.watch.protocol.pacing import Backoff, probe_pause

_DEADLINE = 5.0
_read_leader = reader(str)
_NOT_CONSULS_WORDS = frozenset({ErrorReason.NOT_CONSUL, ErrorReason.UNSPECIFIED})


class Listener(Protocol):
    """A poll that wants to hear of its agent."""

    def hear(self, address: str, trouble: ConsulError | None) -> None:
        """Take note that the agent is in `trouble`, or that it is well again or follows another leader (None)."""
        ...

    def refresh(self) -> asyncio.Task[ConsulError | None]:
        """Make a plain read."""
        ...


class _Reply(msgspec.Struct, frozen=True):
    """What the small question brought: a leader, a trouble, or neither where somebody else has answered."""

    leader: str = ""
    trouble: ConsulError | None = None


class AddressHealth:
    """Knows which agents are in trouble, asks them until they are not, and tells the polls."""

    def __init__(self, resources: PollerResources) -> None:
        self._resources = resources
        self._listeners: dict[Listener, str] = {}  # with the datacenter that each asks for
        self._trouble: dict[str, ConsulError] = {}
        self._leaders: dict[tuple[str, str], str] = {}
        self._asking: set[str] = set()
        self._rounds: asyncio.Task[None] | None = None

    def join(self, listener: Listener, datacenter: str) -> None:
        """Add a poll; as long as there is one, agents are asked."""
        self._listeners[listener] = datacenter
        if self._rounds is None and self._resources.settings.probe_interval:
            self._rounds = self._resources.spawn(self._ask_in_rounds(), "leader")

    def leave(self, listener: Listener) -> None:
        """Remove a poll."""
        self._listeners.pop(listener, None)

    def trouble(self, address: str, *, needs_leader: bool) -> ConsulError | None:
        """Why it is of no use to ask that agent now; None where nothing is known against it."""
        trouble = self._trouble.get(address)
        return None if isinstance(trouble, NoLeader) and not needs_leader else trouble

    def learn(self, address: str, answer: Response | ConsulError, *, polled: bool) -> None:
        """Take note of what came of a request: an agent in trouble is looked after until it is well."""
        error = answer.error if isinstance(answer, Response) else answer
        if error is None or address in self._trouble:
            return
        if error.reason is ErrorReason.UNREACHABLE:
            self._accuse(address, error)
        elif not polled and isinstance(error, ConnectionFailed | RequestTimeout | NoLeader):
            self._ask_until_well(address)  # it may be that one request alone: ask before others are told

    def _accuse(self, address: str, trouble: ConsulError) -> None:
        self._trouble[address] = trouble
        self._resources.sender.avoid(address)
        self._tell(address, trouble)
        self._ask_until_well(address)

    def _acquit(self, address: str) -> None:
        if self._trouble.pop(address, None) is not None:
            self._tell(address, None)

    def _tell(self, address: str, trouble: ConsulError | None) -> None:
        for listener in tuple(self._listeners):
            listener.hear(address, trouble)

    def _ask_until_well(self, address: str) -> None:
        if address not in self._asking and self._listeners:
            self._asking.add(address)
            self._resources.spawn(self._recover(address), "recovery")

    async def _recover(self, address: str) -> None:
        """Ask an agent until it answers and has a leader."""
        clock = self._resources.clock
        backoff = Backoff(self._resources.random, cap=_DEADLINE)
        try:
            while self._listeners:
                reply = await self._ask(address, self._datacenters()[0])
                if reply.trouble is None:
                    self._acquit(address)
                    return
                if address not in self._trouble:
                    self._accuse(address, reply.trouble)
                refused = reply.trouble.reason is ErrorReason.UNREACHABLE or isinstance(reply.trouble, NoLeader)
                await clock.sleep(backoff.failed(clock.now(), refused=refused))
        finally:
            self._asking.discard(address)
            if not self._listeners:
                self._trouble.pop(address, None)

    async def _ask_in_rounds(self) -> None:
        """Ask the agent in use from time to time, while anybody polls it."""
        resources = self._resources
        while self._listeners:
            await resources.clock.sleep(probe_pause(resources.settings, resources.budget.used, resources.random))
            resources.budget.heed(resources.sender.crowding.seen)
            address = resources.sender.addresses[0]
            for datacenter in self._datacenters():
                if address not in self._trouble and self._listeners:
                    self._judge(address, datacenter, await self._ask(address, datacenter))
        self._rounds = None

    def _judge(self, address: str, datacenter: str, reply: _Reply) -> None:
        if reply.trouble is not None:
            self._accuse(address, reply.trouble)
        elif not reply.leader:  # something else has answered: a read of one watch serves instead
            next(iter(self._listeners)).refresh()
        elif self._leaders.setdefault((address, datacenter), reply.leader) != reply.leader:
            self._leaders[address, datacenter] = reply.leader
            self._tell(address, None)

    def _datacenters(self) -> tuple[str, ...]:
        return tuple(Counter(self._listeners.values())) or ("",)

    async def _ask(self, address: str, datacenter: str) -> _Reply:
        """Ask the small question: who leads."""
        request = Request(
            method="GET",
            path=path_of("status", "leader"),
            decode=lambda answer: _read_leader(answer.body),
            options=Options(datacenter=datacenter or None),
            accepted_options=frozenset({"datacenter"}),
        )
        try:
            answer = await self._resources.sender.attempt(
                request, extra=(), deadline=_DEADLINE, address=address, purpose="probe"
            )
            leader = request.decode(answer) if answer.error is None else ""
        except ConsulError as error:
            silent = isinstance(error, ConnectionFailed | RequestTimeout)
            return _Reply(trouble=error if silent else None)
        if answer.error is None and not leader:
            return _Reply(trouble=NoLeader("the servers have no leader", address=address))
        failed = isinstance(answer.error, NoLeader | ServerError) and answer.error.reason not in _NOT_CONSULS_WORDS
        return _Reply(leader, answer.error if failed else None)
