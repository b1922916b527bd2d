"""A watch, and the task that tells of each of its answers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Generic, TypeVar

from aioconsulconnect.errors import Closed, ConsulError
from aioconsulconnect.watch.query import Query
from aioconsulconnect.watch.watch import Watch

_log = logging.getLogger("aioconsulconnect.authorization")

T = TypeVar("T")
Item = TypeVar("Item")


class Following(Generic[T, Item]):
    """
    A watch that calls a function after each answer and each change of its state.

    - `query`: the read to watch.
    - `tell`: the function.
    - `max_age`: age in seconds of the oldest state that is accepted; None for no limit.

    Attribute `watch` is the watch, `error` the error that ended it, if one did.
    """

    __slots__ = ("_task", "_tell", "error", "watch")

    def __init__(self, query: Query[T, Item], tell: Callable[[], None], *, max_age: float | None = None) -> None:
        self.watch: Watch[T, Item] = query.watch(max_age=max_age)
        self.error: ConsulError | None = None
        self._tell = tell
        self._task: asyncio.Task[None] | None = None

    async def begin(self) -> None:
        """Enter the watch; Closed if the client is."""
        await self.watch.__aenter__()
        self._task = asyncio.create_task(self._follow(), name=f"aioconsulconnect {self.watch!r}")

    async def end(self) -> None:
        """Leave the watch."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
        await self.watch.aclose()

    async def _follow(self) -> None:
        try:
            while True:
                self._tell()
                await self.watch.answered()
        except Closed:
            pass
        except ConsulError as error:
            self.error = error
        except Exception as bug:  # noqa: BLE001 - whatever it is: without news nobody may go on deciding
            _log.exception("following %r ended by a bug", self.watch)
            self.error = ConsulError("a bug in the library ended this watch")
            self.error.__cause__ = bug
        self._tell()
