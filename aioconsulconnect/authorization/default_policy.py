"""
The default, which holds where no intention matches: learnt from the agent, again and again.

`GET …/check` and the headers know the ACL policy alone, and not the agent's `default_intention_policy`. What the agent
decides by shows when it is asked about a caller that no intention names, and says that no intention matched.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Literal

import msgspec

from aioconsulconnect.clock import Clock
from aioconsulconnect.endpoints.agent import Agent
from aioconsulconnect.errors import ConsulError
from aioconsulconnect.structs.intentions import Action
from aioconsulconnect.transport.sender import Sender
from aioconsulconnect.transport.settings.options import Options
from aioconsulconnect.watch.poller_pool import PollerPool
from aioconsulconnect.workflows.visibility import REFUSALS

Origin = Literal["setting", "agent", "unknown"]
"""Where the default comes from: the argument, the agent's answer; or it is not known."""


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
    Learns the default by asking the agent.

    - `sender`, `pool`, `options`: those of the client.
    - `destinations`: names to ask about, in this order; the last resort is a name that no intention has, for which the
      token needs rights as well.
    - `given`: the default, where it need not be learnt.

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
    ) -> None:
        self._agent = Agent(sender, pool, options)
        self.clock: Clock = pool.clock
        nobody = uuid.uuid4().hex  # no rule can name it
        self._caller = f"spiffe://nobody.consul/ns/{options.namespace or 'default'}/dc/dc1/svc/nobody-{nobody}"
        self._targets = (*destinations, f"nobody-{nobody}")
        self.known: DefaultPolicy = DefaultPolicy(action=given, origin="setting" if given else "unknown")
        self.asked: int = 0

    async def ask(self) -> bool:
        """
        Ask once, where the default is not given; return False if the question brought nothing.

        An outage says nothing, so what was known stays; any other answer that does not tell makes it unknown.
        """
        if self.known.origin == "setting":
            return True
        try:
            action, error = await self._default()
        except ConsulError as outage:
            self.known = msgspec.structs.replace(self.known, error=str(outage))
        else:
            learnt = DefaultPolicy(action=action, origin="agent", time=self.clock.now())
            self.known = DefaultPolicy(error=error) if action is None else learnt
        self.asked += 1
        return not self.known.error

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
