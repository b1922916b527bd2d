"""
The default, which holds where no intention matches: learnt from the agent, again and again.

`GET …/check` and the headers know the ACL policy alone, and not the agent's `default_intention_policy`. What the agent
decides by shows when it is asked about a caller that no intention names, and says that no intention matched.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from typing import Literal

import msgspec

from aioconsulconnect.clock import Clock
from aioconsulconnect.endpoints.agent import Agent
from aioconsulconnect.errors import ConsulError
from aioconsulconnect.structs.intentions import Action
from aioconsulconnect.transport.sender import Sender
from aioconsulconnect.transport.settings.options import Options
from aioconsulconnect.watch.poller_pool import PollerPool
from aioconsulconnect.watch.protocol.status import Status
from aioconsulconnect.watch.wakeup import Wakeup
from aioconsulconnect.workflows.visibility import REFUSALS

Origin = Literal["setting", "agent", "unknown"]
"""Where the default comes from: the argument, the agent's answer; or it is not known."""

_INTERVAL = 60.0  # seconds between two questions
_FIRST_RETRY = 1.0  # seconds after the first question that brought nothing, doubled up to the interval
_LEAST = 1.0  # seconds from one question to the next, whatever happens

_TROUBLE = frozenset({"starting", "stale", "denied", "throttled", "closed"})


class DefaultPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """
    Knowledge of the default.

    - `action`: "allow" or "deny"; None where it is not known.
    - `origin`: where that comes from.
    - `time`: when it was learnt, in seconds on the client's clock; None for never, and for a setting.
    - `error`: why the last question brought no answer; empty if it did.
    """

    action: Action | None = None
    origin: Origin = "unknown"
    time: float | None = None
    error: str = ""


class DefaultLearner:
    """
    Learns the default, and asks again each minute and when it is told to.

    - `sender`, `pool`, `options`: those of the client.
    - `destinations`: names to ask about, in this order; the last resort is a name that no intention has, for which the
      token needs rights as well.
    - `given`: the default, where it need not be learnt.
    - `tell`: function that is called when something else is known.

    Attribute `known` is what is known, `asked` the number of questions that have ended, `clock` that of the client.
    """

    def __init__(
        self,
        sender: Sender,
        pool: PollerPool,
        options: Options,
        *,
        destinations: Sequence[str],
        given: Action | None,
        tell: Callable[[], None],
    ) -> None:
        self._agent = Agent(sender, pool, options)
        self.clock: Clock = pool.clock
        nobody = uuid.uuid4().hex  # no rule can name it
        self._caller = f"spiffe://nobody.consul/ns/{options.namespace or 'default'}/dc/dc1/svc/nobody-{nobody}"
        self._targets = (*destinations, f"nobody-{nobody}")
        self._tell = tell
        self._wakeup = Wakeup()
        self._wanted = False
        self._unrest: tuple[float, ...] | None = None
        self.known: DefaultPolicy = DefaultPolicy(action=given, origin="setting" if given else "unknown")
        self.asked: int = 0

    def ask_again(self) -> None:
        """Ask anew, soon: the agent may be another one, or may have been started anew with another policy."""
        self._wanted = True
        self._wakeup.wake_all()

    def heed(self, status: Status) -> None:
        """Ask anew if the watch with this `status` works again after a failure, or had its poll cut short."""
        counters = status.counters
        unrest = (status.since, sum(counters.errors.values()), counters.early, counters.reset)
        if status.state not in _TROUBLE and unrest != self._unrest:
            if self._unrest is not None:
                self.ask_again()
            self._unrest = unrest

    async def run(self) -> None:
        """Ask, and ask again, until cancelled; nothing is asked where the default is given."""
        retry = _FIRST_RETRY
        while self.known.origin != "setting":
            self._wanted = False
            known = await self._ask()
            self.asked += 1
            self.known = known
            self._tell()
            pause = retry if known.error else _INTERVAL
            retry = min(2 * retry, _INTERVAL) if known.error else _FIRST_RETRY
            await self.clock.sleep(_LEAST)
            if not self._wanted and pause > _LEAST:
                await self._wakeup.wait(self.clock, pause - _LEAST)

    async def _ask(self) -> DefaultPolicy:
        """
        Return what is known after a question.

        An outage says nothing, so what was known stays; any other answer that does not tell makes it unknown.
        """
        try:
            action, error = await self._default()
        except ConsulError as outage:
            return msgspec.structs.replace(self.known, error=str(outage))
        if action is None:
            return DefaultPolicy(error=error)
        return DefaultPolicy(action=action, origin="agent", time=self.clock.now())

    async def _default(self) -> tuple[Action | None, str]:
        """The default, or None and the reason why nothing tells it; an outage is raised."""
        why = ""
        for target in self._targets:
            try:
                answer = await self._agent.authorize(target, self._caller)
            except ConsulError as error:
                if not isinstance(error, REFUSALS):
                    raise
                why = why or str(error)
                continue
            if answer.by_default:
                return ("allow" if answer.authorized else "deny"), ""
            why = why or "an intention for every caller hides it"
        return None, why
