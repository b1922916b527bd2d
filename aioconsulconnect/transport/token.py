"""The token of a request: a text, a file that may change, or a function."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from contextlib import suppress
from inspect import isawaitable
from pathlib import Path
from typing import Protocol

from aioconsulconnect.errors import InvalidRequest, NotReady, SettingsError
from aioconsulconnect.transport.options import check_token

TokenProvider = Callable[[], str | Awaitable[str]]


class TokenSource(Protocol):
    """Where the token of a request comes from; None for none."""

    def __call__(self) -> str | Awaitable[str] | None:
        """Return the token to use now."""
        ...


def token_source(
    token: str | TokenProvider | None, token_file: str | os.PathLike[str] | None, *, text: str, path: str
) -> TokenSource:
    """
    The source of the token: a file beats a text, an argument beats a variable.

    `token` and `token_file` are arguments, `text` is CONSUL_HTTP_TOKEN, `path` the file that either names.
    """
    if token is not None and token_file is not None:
        raise SettingsError("give either token or token_file, not both")
    if callable(token):
        return token
    if token is not None:
        return _fixed(token, "token")
    fixed = _fixed(text, "CONSUL_HTTP_TOKEN")
    name = "token_file" if token_file is not None else "CONSUL_HTTP_TOKEN_FILE"
    return _TokenFile(path, name, fixed) if path else fixed


def _fixed(text: str, name: str) -> Callable[[], str | None]:
    token = text.strip() or None
    try:
        check_token(token or "")
    except InvalidRequest as error:
        raise SettingsError(f"{name}: {error.message}") from None
    return lambda: token


class _TokenFile:
    """A file that holds a token, read again when it has changed; the last token counts while it has none."""

    def __init__(self, path: str, name: str, fallback: Callable[[], str | None]) -> None:
        self._path = Path(path)
        self._name = name
        self._fallback = fallback
        self._seen: tuple[int, ...] = ()
        self._token: str | None = None
        try:
            self._read()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not text"
            raise SettingsError(f"{name}: {path!r} cannot be read: {reason}") from None

    def __call__(self) -> str | None:
        with suppress(OSError, UnicodeDecodeError, SettingsError):
            self._read()
        return self._token or self._fallback()

    def _read(self) -> None:
        stat = self._path.stat()
        seen = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
        if seen != self._seen:
            token = _fixed(self._path.read_text("utf-8"), self._name)()
            self._token, self._seen = token or self._token, seen if token else ()


def checked_token(token: object) -> str | None:
    """What a user's function returned for a token: it can be anything."""
    if token is not None and not isinstance(token, str):
        raise InvalidRequest(f"the token function must return text, not {type(token).__name__}")
    if token:
        check_token(token)
    return token


async def awaited_token(token: object, seconds: float) -> str | None:
    """The token of an async function; one that has none within its time fails the call, which was not sent."""
    if isawaitable(token):
        try:
            async with asyncio.timeout(seconds):
                token = await token
        except TimeoutError as error:
            raise NotReady(f"the token function gave no token within {seconds:g} s") from error
    return checked_token(token)
