"""
Health of the agents, shared by all polls: which are in trouble, and which leader they follow.

An agent that refuses connections, is silent or has no leader is asked a small question (`GET /v1/status/leader`) until
it is well; one task asks, and all polls wait for what it learns. While polls are open the same question is asked from
time to time (`PollSettings.probe_interval`): so a frozen agent, a dead path or another leader is found once for all of
them. The answer changes the status of watches, and is no proof of their data. What a datacenter lacks (a leader, a path
to it) concerns only the polls that ask for that datacenter.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

import msgspec

from aioconsulconnect.errors import ConnectionFailed, ConsulError, ErrorReason, NoLeader, RequestTimeout, ServerError
from aioconsulconnect.structs.codec.json_body import reader
from aioconsulconnect.transport.request import Request, path_of
from aioconsulconnect.transport.response import Response
from aioconsulconnect.transport.settings.options import Options
from aioconsulconnect.watch.poller_resources import PollerResources
from aioconsulconnect.watch.protocol.pacing import Backoff, probe_pause, spread
from aioconsulconnect.watch.protocol.verdict import is_unreachable
from aioconsulconnect.watch.wakeup import Wakeup

_DEADLINE = 5.0
_JUST_WELL = 5.0  # seconds after an agent was found well in which a refused connection alone accuses it of nothing
_SETTLED = 5.0  # seconds until an agent is asked for its leader, after its first answer or a hint of a change
_AGENT = None  # in place of a datacenter: the agent as a whole
_NOTICES_BY = 10.0  # seconds that a server may take to notice that its leader is gone (fact 8)
_read_leader = reader(str)
_NOT_CONSULS_WORDS = frozenset({ErrorReason.NOT_CONSUL, ErrorReason.UNSPECIFIED})


class Listener(Protocol):
    """A poll that is told about the state of its agent."""

    @property
    def asked(self) -> str:
        """The agent that the poll asked last."""
        ...

    def hear(self, address: str, trouble: ConsulError | None) -> None:
        """
        Take note that an agent is in trouble, or None: that it is well again, or follows another leader.

        `address` is the agent, `trouble` the error that shows its trouble.
        """
        ...

    def refresh(self) -> asyncio.Task[ConsulError | None]:
        """Start a plain read, and return its task; the result is the error, or None."""
        ...


class _Reply(msgspec.Struct, frozen=True):
    """
    Result of asking for the leader: a leader, an error, or neither.

    It is neither where something other than Consul answered.
    """

    leader: str = ""
    trouble: ConsulError | None = None


class AddressHealth:
    """
    Register of the agents in trouble, which asks them until they are well, and tells the polls.

    `resources` has the sender, the clock and the settings.
    """

    def __init__(self, resources: PollerResources) -> None:
        self._resources = resources
        self._listeners: dict[Listener, str] = {}  # the datacenter that each asks for
        self._trouble: dict[tuple[str, str | None], ConsulError] = {}
        self._acquitted: dict[str, float] = {}
        self._leaders: dict[tuple[str, str], str] = {}
        self._asking: set[tuple[str, str]] = set()
        self._due: dict[tuple[str, str], float] = {}  # times to ask for a leader, before the next round
        self._wake = Wakeup()
        self._rounds: asyncio.Task[None] | None = None

    def join(self, listener: Listener, datacenter: str) -> None:
        """
        Add a poll, `listener`, that asks for `datacenter` ("" for the agent's own).

        Agents are asked for their leader as long as there is a poll.
        """
        self._listeners[listener] = datacenter
        if self._rounds is None and self._resources.settings.probe_interval:
            self._rounds = self._resources.spawn(self._ask_in_rounds(), "leader")

    def leave(self, listener: Listener) -> None:
        """Remove the poll `listener`; after the last one no agent is asked any more."""
        self._listeners.pop(listener, None)
        if not self._listeners and self._rounds is not None:
            self._rounds.cancel()
            self._rounds = None
            self._due.clear()

    def trouble(self, address: str, datacenter: str = "", *, needs_leader: bool) -> ConsulError | None:
        """
        Return the error that makes it useless to ask an agent now; None where nothing is known against it.

        - `address`: the agent.
        - `datacenter`: the datacenter that is asked for, "" for the agent's own.
        - `needs_leader`: the request needs a leader; without, a missing leader is no trouble.
        """
        trouble = self._trouble.get((address, _AGENT)) or self._trouble.get((address, datacenter))
        return None if isinstance(trouble, NoLeader) and not needs_leader else trouble

    def learn(self, address: str, answer: Response | ConsulError, datacenter: str = "", *, polled: bool) -> None:
        """
        Take note of the result of a request; an agent in trouble is asked from now on until it is well.

        - `address`: the agent.
        - `answer`: its answer, or the error that came instead.
        - `datacenter`: the datacenter that was asked for, "" for the agent's own.
        - `polled`: the request was a poll; then only a refused connection makes the agent be asked.
        """
        error = answer.error if isinstance(answer, Response) else answer
        if (address, datacenter) not in self._leaders:
            self.ask_for_leader(address, datacenter)
        if error is None or self.trouble(address, datacenter, needs_leader=True) is not None:
            return
        if is_unreachable(error):
            if self._resources.clock.now() - self._acquitted.get(address, float("-inf")) > _JUST_WELL:
                self._accuse(address, _AGENT, error)
            self._ask_until_well(address, datacenter)
        elif not polled and isinstance(error, ConnectionFailed | RequestTimeout | NoLeader):
            # The cause may lie in that one request: ask the agent before the other polls are told.
            self._ask_until_well(address, datacenter, leaderless=isinstance(error, NoLeader))

    def ask_for_leader(self, address: str, datacenter: str) -> None:
        """
        Have an agent asked within seconds which leader it follows.

        It is for where that is unknown or may have changed. `address` is the agent, `datacenter` the one whose leader
        is asked for ("" for the agent's own). A later change of the leader is only noticed where one was known.
        """
        known, now = (address, datacenter), self._resources.clock.now()
        if known not in self._due and self._rounds is not None:
            self._leaders.setdefault(known, "")  # asked once, even where nothing answers that question
            self._due[known] = now + spread(_SETTLED, self._resources.random)
            self._wake.wake_all()

    def _heed(self, address: str, datacenter: str, trouble: ConsulError | None) -> None:
        """Note the trouble of an agent or of a datacenter behind it, or with None its end."""
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
        Ask an agent until it answers and the datacenter has a leader; only as long as somebody polls it.

        If a request was told that there is no leader (`leaderless`), the leader known before may be the one that is
        gone: for as long as a server may take to notice that, only another leader ends the questions.
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
                cheap = reply.trouble is None or isinstance(reply.trouble, NoLeader) or is_unreachable(reply.trouble)
                await clock.sleep(backoff.failed(clock.now(), refused=cheap))
        finally:
            self._asking.discard((address, datacenter))
            if datacenter not in self._listeners.values():
                self._trouble.pop((address, datacenter), None)
            if not self._listeners:
                self._trouble.pop((address, _AGENT), None)

    async def _ask_in_rounds(self) -> None:
        """Ask for the leader: all agents in use from time to time, and those where it is due."""
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
        """Ask an agent that nothing is known against, and act on its answer."""
        if not address or self.trouble(address, datacenter, needs_leader=True) is not None:
            return
        reply = await self._ask(address, datacenter)
        if reply.trouble is not None:
            self._heed(address, datacenter, reply.trouble)
            self._ask_until_well(address, datacenter)
        elif not reply.leader:  # something other than Consul has answered: a plain read of one watch serves instead
            for listener in tuple(self._listeners)[:1]:
                listener.refresh()
        else:
            self._follow(address, datacenter, reply.leader)

    def _follow(self, address: str, datacenter: str, leader: str) -> None:
        """Note which leader the servers follow; polls that were sent under another one are of no more use."""
        known, self._leaders[address, datacenter] = self._leaders.get((address, datacenter)), leader
        if known and known != leader:
            self._tell(address, datacenter, None)

    async def _ask(self, address: str, datacenter: str) -> _Reply:
        """Ask an agent which leader it follows."""
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
