"""The ACL token of each request, asked of its source."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from contextlib import suppress
from contextvars import ContextVar
from inspect import isawaitable

from aioconsulconnect.clock import Clock
from aioconsulconnect.errors import ConsulError, ErrorReason, NotReady, PermissionDenied
from aioconsulconnect.transport.settings.token_source import FixedToken, TokenSource, checked_token

_LOOK_AGAIN = 2.0  # seconds between two questions to the source whether the token has changed
_LOOK_TIME = 5.0  # seconds that the source has to answer that


class _Run:
    """One call of a token function, which requests made inside that function can recognize."""

    def __init__(self, tokens: Tokens) -> None:
        self.tokens = tokens
        self.active = True


_inside: ContextVar[tuple[_Run, ...]] = ContextVar("inside a token function", default=())


class Tokens:
    """
    The token of one client, asked of its source for each request, with a mark of the last one.

    A caller's function can do anything. What it awaits runs in a task of its own, is given up at its deadline even if
    it swallows the cancellation, and cannot ask for its own result.

    - `source`: source of the token.
    - `clock`: clock of the client.

    `fixed` is the source where its token never changes, which needs no question; else None.
    """

    def __init__(self, source: TokenSource, clock: Clock) -> None:
        self.fixed: FixedToken | None = source if isinstance(source, FixedToken) else None
        self._source = source
        self._clock = clock
        self._running: set[asyncio.Future[object]] = set()
        self._last: str | None = None
        self._asked = float("-inf")
        self._generation = 0
        self._had_one = False

    @property
    def mark(self) -> int | None:
        """The mark of the last token, which can be compared; None before there was one."""
        return self._generation or None

    async def changed_since(self, mark: int | None) -> bool:
        """
        Return True if another token would be used now than at `mark`; False where that cannot be known.

        The source is asked at most every two seconds, however many callers there are.
        """
        if self._clock.now() - self._asked >= _LOOK_AGAIN:
            with suppress(Exception):  # from a function that fails there is no other token
                await self.get(_LOOK_TIME)
        return mark is not None and bool(self._last) and mark != self._generation

    async def get(self, seconds: float) -> str | None:
        """
        Return the token of a plain call, None for no token; the source has `seconds` to give it.

        An exception of a caller's function is raised as it is, but for a ConsulError, which becomes NotReady. Raises
        NotReady too for a function that takes too long, is cancelled, or asks for its own token, and InvalidRequest for
        a result that is no token.
        """
        self._asked = self._clock.now()
        token = checked_token(await self._ask(seconds)) or None
        if token != self._last or not self._generation:
            self._last = token
            self._generation += 1
        self._had_one = self._had_one or token is not None
        return token

    async def for_poll(self, seconds: float) -> str | None:
        """
        Return the token of a poll, None for no token; the source has `seconds` to give it.

        Raises NotReady for any failure of a caller's function, so that it never ends a poll. Raises PermissionDenied
        (TOKEN_MISSING) where the source gave a token before and gives none now: nothing is sent, as it would be
        anonymous.
        """
        try:
            token = await self.get(seconds)
        except NotReady:
            raise
        except Exception as error:
            raise NotReady(f"the token function failed: {type(error).__name__}") from error
        if token is None and self._had_one:
            raise PermissionDenied(
                "the source of the token gives none any more; nothing was sent, as that would be anonymous",
                reason=ErrorReason.TOKEN_MISSING,
            )
        return token

    async def _ask(self, seconds: float) -> object:
        outer = _inside.get()
        if any(run.tokens is self and run.active for run in outer):
            raise NotReady("the token function asked for its own token: give its calls a token in their options")
        run = _Run(self)
        before = _inside.set((*outer, run))
        try:
            given = self._called()
            if isawaitable(given):
                given = await self._wait_for(given, run, seconds)
        except ConsulError as error:
            if isinstance(error, NotReady):
                raise
            raise NotReady(f"the token function failed: {type(error).__name__}") from error
        finally:
            run.active = False
            _inside.reset(before)
        return given

    def _called(self) -> object:
        try:
            return self._source()
        except asyncio.CancelledError as error:  # raised by the function: nobody can cancel what does not wait
            raise NotReady("the token function was cancelled") from error

    async def _wait_for(self, given: Awaitable[object], run: _Run, seconds: float) -> object:
        """Wait for an async function in a task of its own; a future of the caller's is not cancelled."""
        own = not isinstance(given, asyncio.Future)
        task: asyncio.Future[object] = asyncio.ensure_future(_finished(given, run) if own else given)
        self._running.add(task)
        task.add_done_callback(self._forget)
        try:
            await asyncio.wait({task}, timeout=seconds)
        finally:
            if own and not task.done():
                task.cancel()
        if not task.done():
            raise NotReady(f"the token function gave no token within {seconds:g} s")
        if task.cancelled():
            raise NotReady("the token function was cancelled")
        return task.result()

    def _forget(self, task: asyncio.Future[object]) -> None:
        self._running.discard(task)
        if not task.cancelled():
            task.exception()  # marks it as retrieved: its caller may be gone


async def _finished(given: Awaitable[object], run: _Run) -> object:
    try:
        return await given
    finally:
        run.active = False
