"""
The authorizer: decides in the process, by intentions and settings that it follows by itself.

One task makes the tables; watches keep what it needs. What makes knowledge incomplete (a refused token, a filtered
view) takes the table away in the very moment in which it is known; only a table of what was seen since comes back.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import logging
from types import TracebackType
from typing import NoReturn, Self

import msgspec

from aioconsulconnect.authorization.access import AccessChanges, Decider, Refusal
from aioconsulconnect.authorization.authorizer_status import (
    AuthorizerCounters,
    AuthorizerOptions,
    AuthorizerState,
    AuthorizerStatus,
    Decision,
)
from aioconsulconnect.authorization.default_policy import DefaultLearner
from aioconsulconnect.authorization.explain import Explanation, explain
from aioconsulconnect.authorization.following import follow_intentions
from aioconsulconnect.authorization.rules.permissions import Claims
from aioconsulconnect.authorization.rules.request import HTTPRequest
from aioconsulconnect.authorization.rules.settings import DecisionSettings
from aioconsulconnect.authorization.rules.source import Caller
from aioconsulconnect.authorization.rules.verdict import Reason, Verdict
from aioconsulconnect.authorization.surroundings import Surroundings
from aioconsulconnect.authorization.table import Table, tiers_of
from aioconsulconnect.authorization.table_maker import TableMaker
from aioconsulconnect.endpoints.ca import CA
from aioconsulconnect.endpoints.config import Config
from aioconsulconnect.endpoints.intentions import Intentions
from aioconsulconnect.errors import Closed, InvalidRequest, NotReady, PermissionDenied
from aioconsulconnect.transport.options import Options
from aioconsulconnect.transport.sender import Sender
from aioconsulconnect.watch.poller_pool import PollerPool
from aioconsulconnect.watch.protocol.status import Status
from aioconsulconnect.watch.wakeup import Wakeup

_log = logging.getLogger("aioconsulconnect.authorization")
_STATES: dict[Reason | None, AuthorizerState] = {
    Reason.NOT_READY: "starting",
    Reason.INCOMPLETE: "incomplete",
    Reason.EXPIRED: "expired",
}
_NEVER = float("-inf")


class Authorizer:
    """
    Authorizer: decides in the process who may connect, and follows Consul by itself.

    Enter it with `async with consul.authorizer("db") as authorizer`, which waits for the first data. Whenever what it
    needs is not known, it denies. Leaving it or closing the client ends all of it, and it denies from then on.

    `Consul.authorizer` makes it, from:

    - `sender`, `pool`, `options`: those of the client.
    - `destinations`: the destinations that it decides about; none for all.
    - `choices`: its own options.

    `counters` is what was counted.
    """

    def __init__(
        self,
        sender: Sender,
        pool: PollerPool,
        options: Options,
        destinations: tuple[str, ...],
        choices: AuthorizerOptions,
    ) -> None:
        DecisionSettings(default=choices.default, mode=choices.mode)  # raises for what there is not
        # An agent's cache can be wrong for minutes: nobody decides by it.
        options = msgspec.structs.replace(options, cached=None)
        self.counters: AuthorizerCounters = AuthorizerCounters()
        self._choices = choices
        self._maker = TableMaker(tuple(_qualified(name, options) for name in dict.fromkeys(destinations)))
        self._intentions = follow_intentions(
            Intentions(sender, pool, options), destinations, self._hear, max_age=choices.max_age
        )
        self._surroundings = Surroundings(CA(sender, pool, options), Config(sender, pool, options), self._hear)
        self._default = DefaultLearner(
            sender,
            pool,
            options,
            destinations=destinations,
            given=choices.default,
            about_lists=not destinations,
            tell=self._hear,
        )
        self._decider: Decider = Refusal(Reason.NOT_READY)
        # The clock where each decision asks for the time or goes to a hook, and until when it need not look further.
        self._now = None if choices.max_age is None and choices.on_decision is None else pool.clock.now
        self._fresh_until = _NEVER
        self._news = Wakeup()
        self._task: asyncio.Task[None] | None = None
        self._left = False

    # Deciding

    def check(
        self,
        source: Caller,
        destination: str | None = None,
        request: HTTPRequest | None = None,
        *,
        claims: Claims | None = None,
    ) -> Verdict:
        """
        Decide; it does no I/O and waits for nothing.

        - `source`: who calls: a name, a SPIFFE URI, a parsed id, or all URIs of a certificate. Nothing but a verified
          certificate tells who calls: a trust domain is compared, a chain is not.
        - `destination`: who is called; None where there is only one. A destination in another namespace than the
          default one is `namespace/name`.
        - `request`: the HTTP request; None for a connection, for which an intention with permissions denies. Serve
          `verdict.request`, which is what was judged.
        - `claims`: verified claims of the request's tokens, by the name of their `jwt-provider`.
        """
        now = self._now
        if now is None or now() <= self._fresh_until:
            return self._decider.check(source, destination, request, claims=claims)
        verdict = self._expired()
        if verdict is None:  # a denial is false, but it is one
            verdict = self._decider.check(source, destination, request, claims=claims)
        if self._choices.on_decision is not None:
            self._report(Decision(source=source, destination=destination, request=request, verdict=verdict))
        return verdict

    def explain(
        self,
        source: Caller,
        destination: str | None = None,
        request: HTTPRequest | None = None,
        *,
        claims: Claims | None = None,
    ) -> Explanation:
        """
        Explain a decision: what matched, what was shadowed, what the other mode would say.

        `source`, `destination`, `request` and `claims` are as for `check`. The `age` of its verdict is that of the
        intentions. It goes to no hook.
        """
        decider, expired, age = self._decider, self._expired(), self._intentions.watch.status.age
        if isinstance(decider, Table) and expired is None:
            found = explain(decider, source, destination, request, claims=claims)
            verdict = msgspec.structs.replace(found.verdict, age=age)
            return msgspec.structs.replace(found, verdict=verdict)
        verdict = decider.check(source, destination, request, claims=claims) if expired is None else expired
        return Explanation(verdict=verdict, mode=self._choices.mode, matched=(), shadowed=(), other=verdict)

    def changes(self) -> AccessChanges:
        """
        Return an iterator over changes of who may connect; its first item says who may now.

        Data that is not complete any more takes everybody's access away. What `max_age` does is not told: nothing
        happens in that moment.
        """
        return AccessChanges(lambda: self._decider, self._news, lambda: self._is_over)

    # Its life

    async def __aenter__(self) -> Self:
        """
        Begin to follow, and wait until it decides by data, up to `ready_timeout` seconds (`ready`).

        Raises what `ready` raises, Closed also if it was entered before.
        """
        if self._task is not None or self._left:
            raise Closed("an authorizer can be entered once; make another with consul.authorizer()")
        try:
            await self._intentions.begin()
            await self._surroundings.begin()
        except BaseException:
            await self._end()
            raise
        self._task = asyncio.create_task(self._run(), name="aioconsulconnect authorizer")
        if self._choices.ready_timeout != 0:
            try:
                await self.ready(self._choices.ready_timeout)
            except BaseException:
                await self.aclose()
                raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Leave it, as `aclose` does."""
        await self.aclose()

    async def aclose(self) -> None:
        """End it: it denies from now on. It may be called from any task, and twice."""
        self._shut()
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
        await self._end()

    async def ready(self, timeout: float | None = None) -> None:  # noqa: ASYNC109 - as for a watch
        """
        Wait until it decides by data, and until whatever else can be learnt is learnt.

        What cannot be learnt (the default, for want of rights) does not hold it up: `status` shows it, and where it
        matters the verdict is a denial.

        `timeout` is in seconds, None for no limit. Raises NotReady, with the reason, when it is not ready by then,
        Closed when the authorizer or the client is closed, and the error that ended the watch of the intentions, if one
        did.
        """
        limit = asyncio.timeout(timeout)
        try:
            async with limit:
                while not self._is_ready:
                    self._check_alive()
                    await self._news.wait()
        except TimeoutError:
            if not limit.expired():
                raise
            raise NotReady(f"not ready within {timeout:g} s; {self._what_is_missing()}") from None

    @property
    def status(self) -> AuthorizerStatus:
        """The status: whether it decides by data, how old and how complete this is."""
        watch = self._intentions.watch.status
        expired = self._expired()
        reason = None if expired is None else expired.reason
        if isinstance(self._decider, Refusal):
            reason = self._decider.reason
        state: AuthorizerState = "ready" if reason is None else _STATES.get(reason, "incomplete")
        return AuthorizerStatus(
            state="closed" if self._is_over else state,
            reason=reason,
            age=watch.age,
            mode=self._choices.mode,
            destinations=self._maker.destinations,
            default=self._default.known,
            visibility=self._default.visibility,
            trust_domain=self._surroundings.trust_domain,
            issuers=self._surroundings.issuers,
            knows_normalization=self._surroundings.normalization is not None,
            watch=watch,
            counters=msgspec.structs.replace(self.counters, questions=self._default.asked),
        )

    def __repr__(self) -> str:
        """Show the destinations and the state."""
        return f"<Authorizer {', '.join(self._maker.destinations) or 'all'} {self.status.state}>"

    def __reduce__(self) -> NoReturn:
        """Raise TypeError: an authorizer is bound to its client."""
        raise TypeError("an Authorizer is alive and cannot be pickled")

    # What it follows

    def _hear(self) -> None:
        """Take note of any answer: an obstacle counts from this moment, the rest is the task's."""
        status = self._intentions.watch.status
        obstacle = self._obstacle(status)
        if obstacle is not None:
            self._refuse(obstacle)
        self._default.heed(status)
        self._news.wake_all()

    def _obstacle(self, status: Status) -> Reason | None:
        """Why nothing can be decided now; None if it can."""
        watch, error = self._intentions.watch, self._intentions.error
        if isinstance(error, PermissionDenied):
            return Reason.INCOMPLETE
        if self._left or error is not None or status.state == "closed":
            return Reason.NOT_READY
        if status.state == "denied" or status.filtered:
            return Reason.INCOMPLETE
        if watch.newest is None:
            return Reason.NOT_READY
        # A match is answered in whole or refused. A list leaves out what the caller may not see, and seldom says so.
        is_whole = self._maker.destinations or self._default.visibility.is_whole(anonymous=status.anonymous)
        return None if is_whole else Reason.INCOMPLETE

    def _refuse(self, reason: Reason) -> None:
        if not isinstance(self._decider, Refusal) or self._decider.reason is not reason:
            self._decider = Refusal(reason)

    async def _run(self) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                asking = group.create_task(self._default.run())
                with contextlib.suppress(Closed):
                    await self._make_tables()
                asking.cancel()
        except Exception:  # noqa: BLE001 - whatever it is, nobody may go on deciding
            _log.exception("an authorizer ended by a bug, and denies")
        finally:
            self._shut()

    async def _make_tables(self) -> None:
        watch, maker = self._intentions.watch, self._maker
        while not self._is_over:
            newest, body, is_free = watch.newest, watch.body, self._obstacle(watch.status) is None
            if is_free and newest is not None and not maker.is_current(newest, body, self._settings()):
                if not maker.knows(newest, body):
                    await self._surroundings.follow(await maker.study(newest, body))
                await maker.make(self._settings())
                self.counters.tables += 1
                is_free = self._obstacle(watch.status) is None
            elif not is_free or maker.made is None or maker.made is self._decider:
                await self._news.wait()
                continue
            if is_free and maker.made is not None:
                self._decider = maker.made
                self._news.wake_all()
                await maker.let_go()

    def _settings(self) -> DecisionSettings:
        choices, surroundings = self._choices, self._surroundings
        return DecisionSettings(
            default=self._default.known.action,
            mode=choices.mode,
            trust_domain=surroundings.trust_domain,
            peers=choices.peers,
            normalization=surroundings.normalization,
            issuers=surroundings.issuers,
            enterprise=choices.enterprise,
        )

    def _expired(self) -> Verdict | None:
        """The denial, if the data is older than it may be; else the time is noted until which it is not."""
        limit = self._choices.max_age
        if limit is None or isinstance(self._decider, Refusal):
            return None
        age = self._intentions.watch.status.age
        if age is None or age > limit:
            return Verdict(allowed=False, reason=Reason.EXPIRED, age=age)
        if self._now is not None and self._choices.on_decision is None:
            self._fresh_until = self._now() + limit - age
        return None

    def _report(self, decision: Decision) -> None:
        if decision.verdict.allowed:
            self.counters.allowed += 1
        else:
            self.counters.denied += 1
        hook = self._choices.on_decision
        try:
            if hook is not None:
                hook(decision)
        except Exception:  # noqa: BLE001 - a hook must not decide
            self.counters.hook_errors += 1
            _log.exception("on_decision raised; the verdict stands")

    # Its end

    @property
    def _is_over(self) -> bool:
        return self._left or self._intentions.error is not None or self._intentions.watch.status.state == "closed"

    @property
    def _is_ready(self) -> bool:
        is_asked = self._default.asked > 0 or self._choices.default is not None
        return isinstance(self._decider, Table) and self._surroundings.is_settled and is_asked

    def _what_is_missing(self) -> str:
        """Why it is not ready, for whoever has to do something about it."""
        status = self.status
        watch = status.watch
        if watch.error:
            return f"the watch of the intentions is {watch.state}: {watch.error}"
        if watch.filtered:
            return "the token does not see all intentions: give it intentions:read (service:read) for all of them"
        if status.reason is Reason.INCOMPLETE:
            return status.visibility.missing(anonymous=watch.anonymous)
        if not isinstance(self._decider, Table):
            return f"no answer with the intentions was seen; the watch is {watch.state}"
        return self._surroundings.missing or status.default.error or "the agent was not yet asked for the default"

    def _check_alive(self) -> None:
        if self._task is None:
            raise Closed("an authorizer lives inside `async with`: enter it first")
        error = self._intentions.error
        if error is not None:
            raise copy.copy(error) from error
        if self._is_over:
            raise Closed("the authorizer was closed")

    def _shut(self) -> None:
        self._left = True
        self._refuse(self._obstacle(self._intentions.watch.status) or Reason.NOT_READY)
        self._news.wake_all()

    async def _end(self) -> None:
        self._left = True
        await self._intentions.end()
        await self._surroundings.end()


def _qualified(name: str, options: Options) -> str:
    """
    Return a destination as tables know it, with the namespace and partition that a match takes from the options.

    Raises InvalidRequest for what is no name of a destination.
    """
    if tiers_of(name) is None:
        raise InvalidRequest(f"{name!r} is no name of a destination")
    namespace, partition = options.namespace or "default", options.partition or "default"
    if "/" in name or (namespace, partition) == ("default", "default"):
        return name
    return f"{namespace}/{name}" if partition == "default" else f"{partition}/{namespace}/{name}"
