"""The thread in which all agents of the process run, with an event loop of its own.

So an agent answers whatever the caller does: a test without a loop, one in any loop, a process that is waited for.
"""

import asyncio
import os
import threading
from collections.abc import Callable, Coroutine
from typing import Final, Protocol, TypeVar

T = TypeVar("T")


class InLoop(Protocol):
    """Runs a function where the agent runs, waits for it, and returns what it returns."""

    def __call__(self, function: Callable[[], T], /) -> T:
        """Run `function` and return its value, or raise what it raises."""
        ...


class AgentsThread:
    """A thread with an event loop, which runs while an agent uses it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def enter(self) -> None:
        """Start the thread, unless it runs for another agent already."""
        with self._lock:
            self._users += 1
            if self._thread is None:
                self._loop = asyncio.SelectorEventLoop()  # whatever loop the tested program prefers
                self._thread = threading.Thread(
                    target=_run, args=(self._loop,), name="aioconsulconnect-agents", daemon=True
                )
                self._thread.start()

    def leave(self) -> None:
        """End the thread, unless another agent uses it still."""
        with self._lock:
            self._users -= 1
            if self._users == 0 and self._loop is not None and self._thread is not None:
                self._loop.call_soon_threadsafe(self._loop.stop)
                self._thread.join()
                self._loop = self._thread = None

    def run(self, coroutine: Coroutine[object, object, T]) -> T:
        """Run `coroutine` in the thread, wait for it, and return its value.

        RuntimeError within the thread itself, which cannot wait, and where no agent runs.
        """
        if self._loop is None or threading.current_thread() is self._thread:
            coroutine.close()
            raise RuntimeError(
                "no agent runs in this process"
                if self._loop is None
                else "a handler of an agent's route cannot wait for the agent: call this from another thread"
            )
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    def call(self, function: Callable[[], T]) -> T:
        """Call `function` in the thread, wait for it, and return its value.

        Within the thread it is called at once.
        """

        async def called() -> T:
            return function()

        return function() if threading.current_thread() is self._thread else self.run(called())

    def forget(self) -> None:
        """Begin anew in a process that was forked: the thread exists in its parent alone."""
        self.__init__()  # type: ignore[misc]


def _run(loop: asyncio.AbstractEventLoop) -> None:
    """Run the event loop of the thread until it is stopped, and close it."""
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.run_until_complete(loop.shutdown_default_executor())
    finally:
        loop.close()


AGENTS: Final = AgentsThread()
"""The one thread for the agents of this process."""
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=AGENTS.forget)
