"""Authorizer: decides in the process, by a live table of intentions."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from types import TracebackType
from typing import NoReturn, Self, TypeVar

import msgspec
from anyio import CancelScope

from aioconsulconnect.authorization.access import AccessChanges, Decider, Refusal
from aioconsulconnect.authorization.authorizer_status import (
    AuthorizerCounters,
    AuthorizerOptions,
    AuthorizerState,
    AuthorizerStatus,
    Decision,
    check_seconds,
)
from aioconsulconnect.authorization.explanation import Explanation, explain
from aioconsulconnect.authorization.live_table import LiveTable
from aioconsulconnect.authorization.rules.permissions import Claims
from aioconsulconnect.authorization.rules.request import HTTPRequest
from aioconsulconnect.authorization.rules.settings import DecisionSettings
from aioconsulconnect.authorization.rules.source import Caller
from aioconsulconnect.authorization.rules.verdict import Reason, Verdict
from aioconsulconnect.authorization.table import Table
from aioconsulconnect.authorization.table_maker import in_tenancy
from aioconsulconnect.errors import NotReady
from aioconsulconnect.transport.sender import Sender
from aioconsulconnect.transport.settings.options import Options
from aioconsulconnect.watch.poller_pool import PollerPool

_log = logging.getLogger("aioconsulconnect.authorization")
_NONE = float("-inf")
Name = TypeVar("Name")


class Authorizer:
    """
    Authorizer: decides in the process who may connect, and follows Consul by itself.

    Enter it with `async with consul.authorizer("db") as authorizer`, which waits for the first data. Whenever what it
    needs is not known, it denies. Leaving it or closing the client ends all of it, and it denies from then on.

    `Consul.authorizer` makes it, from:

    - `sender`, `pool`, `options`: those of the client.
    - `destinations`: the destinations that it decides about; none for all.
    - `choices`: its own options.
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
        self._counters = AuthorizerCounters()
        self._choices = choices
        self._live = LiveTable(sender, pool, options, destinations, choices)
        self._home = options if {options.namespace, options.partition} - {None, "", "default"} else None
        # The clock where a decision takes more than a look at the table, and the age up to which the time is all.
        is_slow = choices.on_decision is not None or self._home is not None
        self._now = pool.clock.now if is_slow or choices.max_age is not None else None
        self._limit = _NONE if is_slow or choices.max_age is None else choices.max_age

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
          certificate tells who calls: a trust domain is compared, a chain is not. A name without a namespace is of the
          one that `options` name.
        - `destination`: who is called; None where there is only one. A destination in another namespace than the
          default one is `namespace/name`.
        - `request`: the HTTP request; None for a connection, for which an intention with permissions denies. Serve
          `verdict.request`, which is what was judged.
        - `claims`: verified claims of the request's tokens, by the name of their `jwt-provider`; `{}` for no token. For
          a connection a required token is asked for only where claims are given: the agent knows none.
        """
        live, now = self._live, self._now
        if not live.is_stale and (now is None or now() - live.confirmed <= self._limit):
            return live.decider.check(source, destination, request, claims=claims)
        verdict = self._expired()
        if verdict is None:  # a denial is false, but it is one
            verdict = live.decider.check(self._at_home(source), self._at_home(destination), request, claims=claims)
            if live.is_stale and isinstance(live.decider, Table):
                verdict = msgspec.structs.replace(verdict, age=live.age)
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
        decider, expired, age = self._live.decider, self._expired(), self._live.age
        source, destination = self._at_home(source), self._at_home(destination)
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
        return AccessChanges(self._decider, self._live.news, lambda: self._live.is_over)

    # Its life

    async def __aenter__(self) -> Self:
        """
        Begin to follow, and wait until it decides by data, up to `ready_timeout` seconds (`ready`).

        Raises what `ready` raises, Closed also if it was entered before.
        """
        await self._live.begin()
        if self._choices.ready_timeout != 0:
            try:
                await self.ready(self._choices.ready_timeout)
            except BaseException:
                with CancelScope(shield=True):  # else a scope of anyio that is cancelled would cut this short
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
        await self._live.end()

    async def ready(self, timeout: float | None = None) -> None:  # noqa: ASYNC109 - as for a watch
        """
        Wait until its state is "ready": it decides by data, and whatever else can be learnt is learnt.

        What cannot be learnt (the default, for want of rights) does not hold it up: `status` shows it, and where it
        matters the verdict is a denial.

        `timeout` is in seconds, None for no limit. Raises NotReady, with the reason, when it is not ready by then,
        Closed when the authorizer or the client is closed, and the error for which the intentions cannot be watched, if
        there is one (it goes on trying).
        """
        await self._wait(lambda: self._live.is_complete and self._expired() is None, "not ready", timeout)

    async def until(self, predicate: Callable[[], object], timeout: float | None = None) -> None:  # noqa: ASYNC109
        """
        Wait until a condition holds: `await authorizer.until(lambda: authorizer.check("web"), timeout=5)`.

        - `predicate`: the condition, which is asked whenever something else is known.
        - `timeout`: in seconds; None for no limit.

        Raises NotReady when it does not hold by then, else what `ready` raises.
        """
        await self._wait(predicate, "the condition does not hold", timeout)

    @property
    def status(self) -> AuthorizerStatus:
        """The status: whether it decides by data, how old and how complete this is."""
        live, state = self._live, self._state()
        return AuthorizerStatus(
            state=state,
            reason=self._reason(),
            age=live.age,
            mode=self._choices.mode,
            destinations=live.destinations,
            default=live.default.known,
            visibility=live.visibility,
            trust_domain=live.surroundings.trust_domain,
            issuers=live.surroundings.issuers,
            knows_normalization=live.surroundings.normalization is not None,
            missing=self._missing(state),
            watch=live.watch,
            counters=msgspec.structs.replace(self._counters, tables=live.made, questions=live.default.asked),
        )

    def __repr__(self) -> str:
        """Show the destinations and the state."""
        return f"<Authorizer {self._names} {self._state()}>"

    def __reduce__(self) -> NoReturn:
        """Raise TypeError: an authorizer is bound to its client."""
        raise TypeError("an Authorizer is alive and cannot be pickled")

    def _at_home(self, name: Name) -> Name | str:
        """The name with the namespace of the authorizer's own, where it has none."""
        if self._home is None or not isinstance(name, str) or not name or "/" in name or ":" in name:
            return name
        return in_tenancy(name, self._home)

    # How it waits and reports

    def _decider(self) -> Decider:
        self._live.check_begun()
        return self._live.decider

    async def _wait(self, predicate: Callable[[], object], what: str, timeout: float | None) -> None:  # noqa: ASYNC109
        check_seconds("timeout", timeout)
        limit = asyncio.timeout(timeout)
        try:
            async with limit:
                self._live.check_alive()
                while not predicate():
                    await self._live.news.wait()
                    self._live.check_alive()
        except TimeoutError:
            if not limit.expired():
                raise
            state = self._state()
            missing = "" if state == "ready" else self._missing(state)
            why = f"it is {state}{missing and ': '}{missing}"
            raise NotReady(f"authorizer of {self._names}: {what} within {timeout:g} s; {why}") from None

    def _missing(self, state: AuthorizerState) -> str:
        age, limit = self._live.age, self._choices.max_age
        if state == "expired" and age is not None and limit is not None:
            error = self._live.watch.error
            return f"the data is {age:.1f} s old, and max_age is {limit:g} s{error and '; '}{error}"
        return self._live.missing

    @property
    def _names(self) -> str:
        return ", ".join(self._live.destinations) or "all"

    def _reason(self) -> Reason | None:
        """The reason of all verdicts where everything is denied, else None."""
        decider = self._live.decider
        if isinstance(decider, Refusal):
            return decider.reason
        expired = self._expired()
        return None if expired is None else expired.reason

    def _state(self) -> AuthorizerState:
        if self._live.is_over:
            return "closed"
        match self._reason():
            case None:
                return "ready" if self._live.is_complete else "starting"
            case Reason.NOT_READY:
                return "starting"
            case Reason.EXPIRED:
                return "expired"
            case _:
                return "incomplete"

    def _expired(self) -> Verdict | None:
        """The denial, if the data is older than it may be."""
        limit = self._choices.max_age
        if limit is None or isinstance(self._live.decider, Refusal):
            return None
        age = self._live.age
        return Verdict(allowed=False, reason=Reason.EXPIRED, age=age) if age is None or age > limit else None

    def _report(self, decision: Decision) -> None:
        if decision.verdict.allowed:
            self._counters.allowed += 1
        else:
            self._counters.denied += 1
        hook = self._choices.on_decision
        try:
            if hook is not None:
                hook(decision)
        except Exception:  # noqa: BLE001 - a hook must not decide
            self._counters.hook_errors += 1
            _log.exception("on_decision raised; the verdict stands")
