"""Resources that all polls of one client share: sender, clock, connections, tasks and metrics hook."""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections.abc import Coroutine
from typing import TypeVar

from aioconsulconnect.clock import Clock
from aioconsulconnect.own_loop import OwnLoop
from aioconsulconnect.transport.sender import Sender
from aioconsulconnect.watch.connection_budget import ConnectionBudget
from aioconsulconnect.watch.protocol.pacing import Random
from aioconsulconnect.watch.protocol.poll_settings import PollSettings
from aioconsulconnect.watch.protocol.status import Event, Hook

Result = TypeVar("Result")

_log = logging.getLogger("aioconsulconnect.watch")


class PollerResources:
    """
    Resources that the pollers of one client share.

    - `sender`: sends the requests.
    - `settings`: settings of the polls.
    - `clock`: clock for every wait.
    - `random`: source of the jitter, 0 to 1.
    - `on_event`: metrics hook, None for none.
    - `own_loop`: event loop of the client.

    `budget` holds the connections for polls.
    """

    def __init__(
        self,
        sender: Sender,
        *,
        settings: PollSettings,
        clock: Clock,
        random: Random,
        on_event: Hook | None,
        own_loop: OwnLoop,
    ) -> None:
        self.sender: Sender = sender
        self.settings: PollSettings = settings
        self.clock: Clock = clock
        self.random: Random = random
        self.own_loop: OwnLoop = own_loop
        self.budget: ConnectionBudget = ConnectionBudget(settings.max_polls, clock, random)
        self._on_event = on_event
        self._tasks: set[asyncio.Task[object]] = set()

    @property
    def listening(self) -> bool:
        """True if there is a metrics hook."""
        return self._on_event is not None

    def report(self, event: Event) -> None:
        """Call the metrics hook with `event`; an exception of the hook is logged."""
        if self._on_event is not None:
            try:
                self._on_event(event)
            except Exception:  # noqa: BLE001 - it is the caller's code
                _log.exception("the metrics hook failed")

    def spawn(self, work: Coroutine[object, object, Result], name: str) -> asyncio.Task[Result]:
        """
        Start `work` as a task, keep a reference to it until it ends, and return it.

        It has an empty context, so that it inherits no context variables of a caller. `name` is for the name of the
        task. An exception that it raises is logged.
        """
        task = asyncio.create_task(work, name=f"aioconsulconnect {name}", context=contextvars.Context())
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[object]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (bug := task.exception()) is not None:
            _log.error("%s ended by a bug", task.get_name(), exc_info=bug)

    async def cancel_all(self) -> None:
        """Cancel all tasks, and wait for their end; the calling task, which may be one of them, is left out."""
        tasks = self._tasks - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
