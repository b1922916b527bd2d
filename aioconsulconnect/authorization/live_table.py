"""
Live table: what decides now, kept by watches of all that decides.

One task makes the tables. What makes knowledge incomplete (a refused token, a filtered view) takes the table away in
the very moment in which it is known; only a table of what was seen since comes back.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import logging

import msgspec
from anyio import CancelScope

from aioconsulconnect.authorization.access import Decider, Refusal
from aioconsulconnect.authorization.authorizer_status import AuthorizerOptions
from aioconsulconnect.authorization.default_policy import DefaultLearner
from aioconsulconnect.authorization.following import Asking, follow_intentions
from aioconsulconnect.authorization.rules.settings import DecisionSettings
from aioconsulconnect.authorization.rules.verdict import Reason
from aioconsulconnect.authorization.surroundings import Surroundings
from aioconsulconnect.authorization.table import Table
from aioconsulconnect.authorization.table_maker import TableMaker, qualified
from aioconsulconnect.endpoints.ca import CA
from aioconsulconnect.endpoints.config import Config
from aioconsulconnect.endpoints.intentions import Intentions
from aioconsulconnect.errors import Closed, ConsulError, ErrorReason, PermissionDenied
from aioconsulconnect.transport.sender import Sender
from aioconsulconnect.transport.settings.options import Options
from aioconsulconnect.watch.poller_pool import PollerPool
from aioconsulconnect.watch.protocol.status import Status
from aioconsulconnect.watch.wakeup import Wakeup
from aioconsulconnect.workflows.visibility import Visibility, VisibilityProbe

_log = logging.getLogger("aioconsulconnect.authorization")
_AWAY = frozenset({"stale", "throttled"})
_AGAIN = 1.0  # seconds


class LiveTable:
    """
    Table that follows Consul, or the refusal that stands in its place.

    - `sender`, `pool`, `options`: those of the client.
    - `destinations`: the destinations that it is for; none for all.
    - `choices`: the options of the authorizer.

    These attributes are for readers:

    - `decider`: what decides now.
    - `news`: wakes its waiters whenever something else may be known, and at the end.
    - `is_stale`: the agent cannot be asked, so what decides is getting old.
    - `confirmed`: when the servers last confirmed the intentions, on the client's clock.
    - `surroundings`, `default`: what decides beside the intentions.
    """

    def __init__(
        self,
        sender: Sender,
        pool: PollerPool,
        options: Options,
        destinations: tuple[str, ...],
        choices: AuthorizerOptions,
    ) -> None:
        names = tuple(qualified(name, options) for name in destinations)
        # An agent's cache can be wrong for minutes: nobody decides by it.
        options = msgspec.structs.replace(options, cached=None)
        self.decider: Decider = Refusal(Reason.NOT_READY)
        self.news: Wakeup = Wakeup()
        self.is_stale: bool = False
        self.confirmed: float = float("-inf")
        self._choices = choices
        self._maker = TableMaker(tuple(dict.fromkeys(names)))
        self._intentions = follow_intentions(
            Intentions(sender, pool, options), destinations, self._hear, pool.clock, max_age=choices.max_age
        )
        self.surroundings: Surroundings = Surroundings(
            CA(sender, pool, options), Config(sender, pool, options), self._hear, pool.clock
        )
        self.default: DefaultLearner = DefaultLearner(
            sender,
            pool,
            options,
            destinations=destinations,
            given=choices.default,
        )
        self._probe = None if destinations else VisibilityProbe(sender, pool, options)
        self._task: asyncio.Task[None] | None = None
        self._left = False

    # Its life

    async def begin(self) -> None:
        """Begin to follow; Closed if it was begun before, or if the client is closed."""
        if self._task is not None or self._left:
            raise Closed("an authorizer can be entered once; make another with consul.authorizer()")
        try:
            await self._intentions.begin()
            await self.surroundings.begin()
        except BaseException:
            await self._end()
            raise
        self._task = asyncio.create_task(self._run(), name="aioconsulconnect authorizer")

    async def end(self) -> None:
        """End it: all is denied from now on. It may be called from any task, and twice."""
        self._shut()
        with CancelScope(shield=True):
            try:
                if self._task is not None:
                    self._task.cancel()
                    await asyncio.wait({self._task})
            finally:
                await self._end()

    @property
    def is_over(self) -> bool:
        """True once nothing more is followed."""
        return self._left or (self._intentions.error is None and self._intentions.watch.status.state == "closed")

    def check_begun(self) -> None:
        """Raise Closed if it was never begun."""
        if self._task is None:
            raise Closed("an authorizer lives inside `async with`: enter it first")

    def check_alive(self) -> None:
        """Raise Closed, or the error that ended the watch of the intentions, if nothing more is followed."""
        self.check_begun()
        error = self._intentions.error
        if error is not None:
            raise copy.copy(error) from error
        if self.is_over:
            raise Closed("the authorizer was closed")

    # What is known

    @property
    def age(self) -> float | None:
        """Seconds since the servers last confirmed the intentions; None before there are any."""
        return self._intentions.watch.status.age

    @property
    def watch(self) -> Status:
        """Status of the watch of the intentions."""
        return self._intentions.watch.status

    @property
    def destinations(self) -> tuple[str, ...]:
        """The destinations; empty for all."""
        return self._maker.destinations

    @property
    def visibility(self) -> Visibility:
        """Knowledge of what a list shows to the token; nothing is known where there are destinations."""
        return Visibility() if self._probe is None else self._probe.known

    @property
    def is_complete(self) -> bool:
        """True where a table decides, and whatever else can be learnt is learnt."""
        is_asked = self.default.asked > 0 or self._choices.default is not None
        is_current = isinstance(self.decider, Table) and self.decider.settings == self._settings()
        return is_current and self.surroundings.is_settled and is_asked

    @property
    def missing(self) -> str:
        """Words for what is not known or cannot be asked for; empty if nothing is missing."""
        watch, error = self.watch, self._intentions.error
        if error is not None:
            return str(error)
        if self.is_complete:
            troubles = [*self.surroundings.troubles, self.default.known.error]
            if watch.error:
                troubles.insert(0, f"the watch of the intentions is {watch.state}: {watch.error}")
            return "; ".join(filter(None, troubles))
        if watch.error:
            return f"the watch of the intentions is {watch.state}: {watch.error}"
        if watch.filtered:
            return "the token does not see all intentions: give it intentions:read (service:read) for all of them"
        reason = self.decider.reason if isinstance(self.decider, Refusal) else None
        if reason in {Reason.MALFORMED, Reason.FIELD_UNKNOWN}:
            return "what came is not what was asked for, or cannot be read: is this Consul, and is it too new for this?"
        if reason is Reason.INCOMPLETE:
            if watch.index is None:
                return "the list came without X-Consul-Index, so it is not Consul that answers"
            return self.visibility.missing(anonymous=watch.anonymous)
        if not isinstance(self.decider, Table):
            return f"no answer with the intentions was seen; the watch is {watch.state}"
        return self.surroundings.missing or self.default.known.error or "what was learnt last is not in the table yet"

    @property
    def made(self) -> int:
        """Number of tables that were made."""
        return self._maker.count

    # How it follows

    def _hear(self) -> None:
        """Take note of any answer: an obstacle counts from this moment, the rest is the task's."""
        status = self.watch
        self.is_stale = status.state in _AWAY
        self.confirmed = float("-inf") if status.age is None else self.default.clock.now() - status.age
        obstacle = self._obstacle(status)
        if obstacle is not None:
            self._refuse(obstacle)
        self.news.wake_all()

    async def _ask(self) -> bool:
        """Ask what no watch tells; return False if a question brought nothing."""
        questions = [self.default.ask()] if self._probe is None else [self.default.ask(), self._probe.ask_again()]
        answered = await asyncio.gather(*questions)
        self._hear()
        return all(answered)

    def _obstacle(self, status: Status) -> Reason | None:
        """Why nothing can be decided now; None if it can."""
        watch, error = self._intentions.watch, self._intentions.error
        if isinstance(error, PermissionDenied):
            return Reason.INCOMPLETE
        if self._left or error is not None or status.state == "closed":
            return Reason.NOT_READY
        if status.error_reason is ErrorReason.NOT_UNDERSTOOD:  # it may be a rule that denies
            return Reason.FIELD_UNKNOWN
        if status.state == "denied" or status.filtered:
            return Reason.INCOMPLETE
        reason = self.decider.reason if isinstance(self.decider, Refusal) else None
        if status.state in _AWAY and reason in {Reason.INCOMPLETE, Reason.FIELD_UNKNOWN}:
            return reason  # only what is seen anew takes a refusal back, and no other failure does
        if watch.newest is None:
            return Reason.NOT_READY
        # A match is answered in whole or refused. A list leaves out what the caller may not see, and seldom says so.
        # And every Consul sends an index with it: an answer without one is somebody else's.
        is_list, is_consuls = self._probe is not None, watch.newest.index is not None
        is_whole = not is_list or (is_consuls and self.visibility.is_whole(anonymous=status.anonymous))
        return None if is_whole else Reason.INCOMPLETE

    async def _look(self, body: bytes | None) -> bool:
        """
        Ask what the list shows that came last, with this `body`; return False if there is no answer.

        The agent that sent it may be another one, or have been started anew with ACLs.
        """
        if self._probe is None:
            return True
        try:
            await self._probe.ask(body, self.default.clock.now())
        except ConsulError as error:
            _log.debug("it is not known what a list shows: %s", error)
            self._refuse(Reason.INCOMPLETE)
            self.news.wake_all()
            return False
        self._hear()
        return True

    def _refuse(self, reason: Reason) -> None:
        if not isinstance(self.decider, Refusal) or self.decider.reason is not reason:
            self.decider = Refusal(reason)

    async def _run(self) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                questions = Asking(self._ask, self._interruptions, self.news, self.default.clock)
                asking = group.create_task(questions.run())
                with contextlib.suppress(Closed):
                    await self._make_tables()
                asking.cancel()
        except Exception:  # noqa: BLE001 - whatever it is, nobody may go on deciding
            _log.exception("an authorizer ended by a bug, and denies")
        finally:
            self._shut()

    def _interruptions(self) -> int:
        # A read that is repeated hides one from its own watch.
        return self._intentions.interruptions + self.surroundings.interruptions

    async def _make_tables(self) -> None:
        maker = self._maker
        while not self.is_over:
            watch = self._intentions.watch  # another one, if the last was ended by an error
            newest, body = watch.newest, watch.body
            if newest is not None and not maker.knows(newest, body):
                if not await self._look(body):
                    await self.news.wait(self.default.clock, _AGAIN)
                    continue
                if self._obstacle(watch.status) is None:
                    await self.surroundings.follow(await maker.study(newest, body))
            is_free = self._obstacle(watch.status) is None
            if is_free and newest is not None and maker.knows(newest, body) and not maker.has_made(self._settings()):
                await maker.make(self._settings())
                is_free = self._obstacle(watch.status) is None
            if is_free and maker.made is not None and maker.made is not self.decider:
                self.decider = maker.made
                self.news.wake_all()
                await maker.let_go()
            elif newest is watch.newest and body is watch.body:
                await self.news.wait()

    def _settings(self) -> DecisionSettings:
        choices, surroundings = self._choices, self.surroundings
        return DecisionSettings(
            default=self.default.known.action,
            mode=choices.mode,
            trust_domain=surroundings.trust_domain,
            peers=choices.peers,
            normalization=surroundings.normalization,
            issuers=surroundings.issuers,
            enterprise=choices.enterprise,
        )

    def _shut(self) -> None:
        self._left = True
        self._refuse(self._obstacle(self.watch) or Reason.NOT_READY)
        self.news.wake_all()

    async def _end(self) -> None:
        self._left = True
        self._intentions.stop()  # first, so that nothing goes on if this task is cancelled while it waits
        self.surroundings.stop()
        await self._intentions.end()
        await self.surroundings.end()
        self._maker.forget()
