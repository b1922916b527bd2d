"""What all polls of one client share: the way to Consul, the clock, the connections, the tasks, the metrics hook."""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections.abc import Coroutine
from typing import TypeVar

from aioconsulconnect.clock import Clock
from aioconsulconnect.transport.sender import Sender
from aioconsulconnect.watch.connection_budget import ConnectionBudget
from aioconsulconnect.watch.protocol.pacing import Random
from aioconsulconnect.watch.protocol.poll_settings import PollSettings
from aioconsulconnect.watch.protocol.status import Event, Hook

Result = TypeVar("Result")

_log = logging.getLogger("aioconsulconnect.watch")


class PollerResources:
    """Shared by the pollers of a client; they know it, and it knows none of them."""

    def __init__(
        self, sender: Sender, *, settings: PollSettings, clock: Clock, random: Random, on_event: Hook | None
    ) -> None:
        self.sender: Sender = sender
        self.settings: PollSettings = settings
        self.clock: Clock = clock
        self.random: Random = random
        self.budget: ConnectionBudget = ConnectionBudget(settings.max_polls, clock, random)
        self._on_event = on_event
        self._tasks: set[asyncio.Task[object]] = set()

    @property
    def listening(self) -> bool:
        """Whether there is a metrics hook."""
        return self._on_event is not None

    def report(self, event: Event) -> None:
        """Tell the metrics hook, and survive it."""
        if self._on_event is not None:
            try:
                self._on_event(event)
            except Exception:  # noqa: BLE001 - it is not ours
                _log.exception("the metrics hook failed")

    def spawn(self, work: Coroutine[object, object, Result], name: str) -> asyncio.Task[Result]:
        """Run a piece of work, strongly held, in a context of its own: it is nobody's child."""
        task = asyncio.create_task(work, name=f"aioconsulconnect {name}", context=contextvars.Context())
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[object]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (bug := task.exception()) is not None:
            _log.error("%s ended by a bug", task.get_name(), exc_info=bug)

    async def cancel_all(self) -> None:
        """Cancel whatever runs, and wait for its end; not for whoever calls, who may be one of them."""
        tasks = self._tasks - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
