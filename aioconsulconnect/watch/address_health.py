"""
What is known of the agents, shared by all polls of a client: which are down, and whom their servers follow.

An agent that refuses, is silent or has no leader is asked one small question until it is well, by one asker; all polls
wait for what it learns. While polls are open the same question is asked from time to time: it finds a frozen agent, a
dead path or another leader for all of them at once. It changes what a watch says of itself, and proves no data. What a
datacenter lacks (a leader, a path to it) concerns only the polls that ask for it.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

import msgspec

from aioconsulconnect.errors import ConnectionFailed, ConsulError, ErrorReason, NoLeader, RequestTimeout, ServerError
from aioconsulconnect.structs.codec.json_body import reader
from aioconsulconnect.transport.options import Options
from aioconsulconnect.transport.request import Request, path_of
from aioconsulconnect.transport.response import Response
from aioconsulconnect.watch.poller_resources import PollerResources
from aioconsulconnect.watch.protocol.pacing import Backoff, probe_pause, spread
from aioconsulconnect.watch.wakeup import Wakeup

_DEADLINE = 5.0
_JUST_WELL = 5.0  # seconds for which an agent that was found well is not accused unasked
_SETTLED = 5.0  # seconds until an agent is asked who leads, after the first answer, and where it may be another
_AGENT = None  # in the place of a datacenter: what concerns the agent as a whole
_NOTICES_BY = 10.0  # seconds that a server may take to notice that its leader is gone
_read_leader = reader(str)
_NOT_CONSULS_WORDS = frozenset({ErrorReason.NOT_CONSUL, ErrorReason.UNSPECIFIED})


class Listener(Protocol):
    """A poll that wants to hear of its agent."""

    @property
    def asked(self) -> str:
        """The agent that it asked last."""
        ...

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
        self._trouble: dict[tuple[str, str | None], ConsulError] = {}
        self._acquitted: dict[str, float] = {}
        self._leaders: dict[tuple[str, str], str] = {}
        self._asking: set[tuple[str, str]] = set()
        self._due: dict[tuple[str, str], float] = {}  # when to ask who leads, before the next round
        self._wake = Wakeup()
        self._rounds: asyncio.Task[None] | None = None

    def join(self, listener: Listener, datacenter: str) -> None:
        """Add a poll; as long as there is one, agents are asked."""
        self._listeners[listener] = datacenter
        if self._rounds is None and self._resources.settings.probe_interval:
            self._rounds = self._resources.spawn(self._ask_in_rounds(), "leader")

    def leave(self, listener: Listener) -> None:
        """Remove a poll; with the last one the questions end."""
        self._listeners.pop(listener, None)
        if not self._listeners and self._rounds is not None:
            self._rounds.cancel()
            self._rounds = None
            self._due.clear()

    def trouble(self, address: str, datacenter: str = "", *, needs_leader: bool) -> ConsulError | None:
        """Why it is of no use to ask that agent for that datacenter now; None where nothing is known against it."""
        trouble = self._trouble.get((address, _AGENT)) or self._trouble.get((address, datacenter))
        return None if isinstance(trouble, NoLeader) and not needs_leader else trouble

    def learn(self, address: str, answer: Response | ConsulError, datacenter: str = "", *, polled: bool) -> None:
        """Take note of what came of a request: an agent in trouble is looked after until it is well."""
        error = answer.error if isinstance(answer, Response) else answer
        if (address, datacenter) not in self._leaders:
            self.ask_for_leader(address, datacenter)
        if error is None or self.trouble(address, datacenter, needs_leader=True) is not None:
            return
        if error.reason is ErrorReason.UNREACHABLE:
            if self._resources.clock.now() - self._acquitted.get(address, float("-inf")) > _JUST_WELL:
                self._accuse(address, _AGENT, error)
            self._ask_until_well(address, datacenter)
        elif not polled and isinstance(error, ConnectionFailed | RequestTimeout | NoLeader):
            # It may be that one request alone: ask before others are told.
            self._ask_until_well(address, datacenter, leaderless=isinstance(error, NoLeader))

    def ask_for_leader(self, address: str, datacenter: str) -> None:
        """Ask before long who leads: it is not known, or may be another one; only so is the next one noticed."""
        known, now = (address, datacenter), self._resources.clock.now()
        if known not in self._due and self._rounds is not None:
            self._leaders.setdefault(known, "")  # once is enough where nobody answers that
            self._due[known] = now + spread(_SETTLED, self._resources.random)
            self._wake.wake_all()

    def _heed(self, address: str, datacenter: str, trouble: ConsulError | None) -> None:
        """Accuse or acquit the agent, or that datacenter behind it."""
        silent = isinstance(trouble, ConnectionFailed | RequestTimeout)
        if not silent:
            self._acquit(address, _AGENT)
        if trouble is None:
            self._acquit(address, datacenter)
        else:
            self._accuse(address, _AGENT if silent else datacenter, trouble)

    def _accuse(self, address: str, datacenter: str | None, trouble: ConsulError) -> None:
        if (address, datacenter) not in self._trouble:
            self._trouble[address, datacenter] = trouble
            if datacenter is _AGENT:
                self._resources.sender.avoid(address)
            self._tell(address, datacenter, trouble)

    def _acquit(self, address: str, datacenter: str | None) -> None:
        if self._trouble.pop((address, datacenter), None) is not None:
            self._acquitted[address] = self._resources.clock.now()
            self._tell(address, datacenter, None)

    def _tell(self, address: str, datacenter: str | None, trouble: ConsulError | None) -> None:
        for listener, wanted in tuple(self._listeners.items()):
            if datacenter in {_AGENT, wanted}:
                listener.hear(address, trouble)

    def _ask_until_well(self, address: str, datacenter: str, *, leaderless: bool = False) -> None:
        if (address, datacenter) not in self._asking:
            self._asking.add((address, datacenter))
            self._resources.spawn(self._recover(address, datacenter, leaderless=leaderless), "recovery")

    async def _recover(self, address: str, datacenter: str, *, leaderless: bool) -> None:
        """
        Ask an agent until it answers, and the datacenter has a leader; no longer than anybody polls it.

        Where a request was told that there is none (`leaderless`), the leader of before may be the one that is gone:
        for as long as a server takes to notice, only another one ends the questions.
        """
        clock = self._resources.clock
        backoff = Backoff(self._resources.random, cap=_DEADLINE)
        lost = self._leaders.get((address, datacenter), "") if leaderless else ""
        noticed_by = clock.now() + _NOTICES_BY
        try:
            while self._listeners:
                reply = await self._ask(address, datacenter)
                self._heed(address, datacenter, reply.trouble)
                if reply.leader:
                    self._follow(address, datacenter, reply.leader)
                unsure = lost != "" and reply.leader == lost and clock.now() < noticed_by
                silent = (address, _AGENT) in self._trouble
                if not (unsure or reply.trouble) or not (silent or datacenter in self._listeners.values()):
                    return
                cheap = unsure or isinstance(reply.trouble, NoLeader) or _is_refused(reply.trouble)
                await clock.sleep(backoff.failed(clock.now(), refused=cheap))
        finally:
            self._asking.discard((address, datacenter))
            if datacenter not in self._listeners.values():
                self._trouble.pop((address, datacenter), None)
            if not self._listeners:
                self._trouble.pop((address, _AGENT), None)

    async def _ask_in_rounds(self) -> None:
        """Ask who leads: of all agents in use from time to time, and of those where it is due."""
        resources, clock = self._resources, self._resources.clock
        round_at = clock.now() + self._pause()
        while True:
            await self._wake.wait(clock, min((round_at, *self._due.values())) - clock.now())
            now = clock.now()
            asked = {known: None for known, at in self._due.items() if at <= now}
            if now >= round_at:
                resources.budget.heed(resources.sender.crowding.seen)
                asked |= {(listener.asked, datacenter): None for listener, datacenter in self._listeners.items()}
                round_at = now + self._pause()
            for known in asked:
                self._due.pop(known, None)
            await asyncio.gather(*(self._question(address, datacenter) for address, datacenter in asked))

    def _pause(self) -> float:
        return probe_pause(self._resources.settings, self._resources.budget.used, self._resources.random)

    async def _question(self, address: str, datacenter: str) -> None:
        """Ask an agent that nothing is known against, and draw the conclusions."""
        if not address or self.trouble(address, datacenter, needs_leader=True) is not None:
            return
        reply = await self._ask(address, datacenter)
        if reply.trouble is not None:
            self._heed(address, datacenter, reply.trouble)
            self._ask_until_well(address, datacenter)
        elif not reply.leader:  # something else has answered: a read of one watch serves instead
            for listener in tuple(self._listeners)[:1]:
                listener.refresh()
        else:
            self._follow(address, datacenter, reply.leader)

    def _follow(self, address: str, datacenter: str, leader: str) -> None:
        """Take note of whom the servers follow: polls that another one holds are of no more use."""
        known, self._leaders[address, datacenter] = self._leaders.get((address, datacenter)), leader
        if known and known != leader:
            self._tell(address, datacenter, None)

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


def _is_refused(trouble: ConsulError | None) -> bool:
    return trouble is not None and trouble.reason is ErrorReason.UNREACHABLE
