"""The thread in which all agents of the process run, with an event loop of its own.

So an agent answers whatever the caller does: a test without a loop, one in any loop, a process that is waited for.
Callers wait at a `SimpleQueue`, which is written in C: when they are interrupted, they hold no lock that it needs.
"""

import asyncio
import os
import threading
from _thread import start_new_thread
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Final, Protocol, TypeVar

T = TypeVar("T")
_AT_MOST: Final = 5.0


class User(Protocol):
    """Something that runs in the thread."""

    def forget(self) -> None:
        """Give up what a forked process has of it: it runs in the parent alone."""


class AgentsThread:
    """A thread with an event loop, which runs while it has users."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users: set[User] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def enter(self, user: User) -> None:
        """Start the thread, unless it runs for another user already."""

        def entered() -> None:
            with self._lock:
                self._users.add(user)
                if self._thread is None:
                    self._loop = asyncio.SelectorEventLoop()  # whatever loop the tested program prefers
                    self._thread = threading.Thread(
                        target=_run, args=(self._loop,), name="aioconsulconnect-agents", daemon=True
                    )
                    self._thread.start()

        _apart(entered)

    def leave(self, user: User) -> None:
        """End the thread, unless it has other users; it may be called twice."""
        ending: list[threading.Thread] = []

        def left() -> None:
            with self._lock:
                self._users.discard(user)
                if self._users or self._loop is None or self._thread is None:
                    return
                self._loop.call_soon_threadsafe(self._loop.stop)
                ending.append(self._thread)
                self._loop = self._thread = None

        _apart(left)
        for thread in ending:
            thread.join()

    def check_waiting(self) -> None:
        """RuntimeError in the thread itself, which cannot wait for what it is to do."""
        if threading.current_thread() is self._thread:
            raise RuntimeError("a handler of an agent's route cannot wait for the agent: call this from another thread")

    def run(self, coroutine: Coroutine[object, object, T]) -> T:
        """Run `coroutine` in the thread, wait for it, and return its value.

        It is not broken off by an exception that interrupts the waiting, such as KeyboardInterrupt: that is raised when
        the coroutine has ended, or after 5 seconds. RuntimeError where no agent runs.
        """
        begun: list[asyncio.Task[T]] = []
        ended: SimpleQueue[asyncio.Task[T]] = SimpleQueue()

        def begin() -> None:
            begun.append(asyncio.ensure_future(coroutine))
            begun[0].add_done_callback(ended.put)

        try:
            with self._lock:
                if self._loop is None:
                    raise RuntimeError("no agent runs in this process")  # noqa: TRY301
                self._loop.call_soon_threadsafe(begin)
            return ended.get().result()
        except BaseException:
            self.call(_nothing)  # The loop has met by then what was given to it.
            if not begun:
                coroutine.close()
            elif not begun[0].done():
                with suppress(Empty):
                    ended.get(timeout=_AT_MOST)
            raise

    def call(self, function: Callable[[], T]) -> T:
        """Call `function` in the thread, wait for it, and return its value.

        Within the thread, and where no agent runs, it is called at once.
        """
        if threading.current_thread() is self._thread:
            return function()
        ended: SimpleQueue[Future[T]] = SimpleQueue()

        def called() -> None:
            future: Future[T] = Future()
            try:
                future.set_result(function())
            except BaseException as error:  # noqa: BLE001 - it is for the caller
                future.set_exception(error)
            ended.put(future)

        with self._lock:
            loop = self._loop
            if loop is not None:
                loop.call_soon_threadsafe(called)
        return ended.get().result() if loop is not None else function()

    def forget(self) -> None:
        """Begin anew in a process that was forked: the thread exists in its parent alone."""
        users = self._users
        self._lock, self._users, self._loop, self._thread = threading.Lock(), set(), None, None
        for user in users:
            user.forget()


def _apart(function: Callable[[], None]) -> None:
    """Call `function` in a thread of its own and wait for it: an interrupt of the caller does not break it off."""
    outcome: list[BaseException | None] = []
    ended: SimpleQueue[None] = SimpleQueue()

    def called() -> None:
        try:
            function()
            outcome.append(None)
        except BaseException as error:  # noqa: BLE001 - it is for the caller
            outcome.append(error)
        ended.put(None)

    try:
        try:
            start_new_thread(called, ())
        except RuntimeError:  # None can be had while the interpreter ends.
            called()
        ended.get()
    except BaseException:
        if not outcome:
            ended.get()
        raise
    if outcome[0] is not None:
        raise outcome[0]


def _nothing() -> None:
    """Do nothing."""


def _run(loop: asyncio.AbstractEventLoop) -> None:
    """Run the event loop of the thread until it is stopped, and close it."""
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
        tasks = asyncio.all_tasks(loop)
        for task in tasks:
            task.cancel()
        loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.run_until_complete(loop.shutdown_default_executor())
    finally:
        loop.close()


AGENTS: Final = AgentsThread()
"""The one thread for the agents of this process."""
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=AGENTS.forget)
