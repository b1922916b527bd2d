"""Where the ACL token comes from: a text, a file that may change, or a function."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from aioconsulconnect.errors import InvalidRequest, SettingsError
from aioconsulconnect.transport.settings.options import check_token

TokenProvider = Callable[[], str | Awaitable[str]]


class TokenSource(Protocol):
    """Source of the ACL token of a request; it gives None for no token."""

    def __call__(self) -> str | Awaitable[str] | None:
        """Return the token to use now, or an awaitable of it."""
        ...


def token_source(
    token: str | TokenProvider | None, token_file: str | os.PathLike[str] | None, *, text: str, path: str
) -> TokenSource:
    """
    Return the source of the token: a file before a text, an argument before a variable.

    - `token`: argument: a text or a function.
    - `token_file`: argument: path of a file.
    - `text`: value of CONSUL_HTTP_TOKEN.
    - `path`: path of the file, from the argument or CONSUL_HTTP_TOKEN_FILE; "" for none.

    Raises SettingsError for both arguments at once, for a file that cannot be read, and for a token that no HTTP header
    can carry.
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


class FixedToken:
    """
    Source of a token that does not change.

    `token` is the token, None for none.
    """

    def __init__(self, token: str | None) -> None:
        self.token = token

    def __call__(self) -> str | None:
        """Return the token."""
        return self.token

    def __repr__(self) -> str:
        """Show nothing of the token."""
        return "FixedToken()"


def _fixed(text: str, name: str) -> FixedToken:
    """
    Return the source of a token that does not change; `name` is where it came from.

    Raises SettingsError, with that name, for a token that no HTTP header can carry.
    """
    token = text.strip() or None
    try:
        check_token(token or "")
    except InvalidRequest as error:
        raise SettingsError(f"{name}: {error.message}") from None
    return FixedToken(token)


class _TokenFile:
    """
    Source of a token in a file, which is read again when it has changed.

    While the file holds none, the last token counts.
    """

    def __init__(self, path: str, name: str, fallback: FixedToken) -> None:
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
    """
    Return what a caller's function gave as `token`, once it is checked.

    Raises InvalidRequest for anything but text or None, and for text that no HTTP header can carry.
    """
    if token is not None and not isinstance(token, str):
        raise InvalidRequest(f"the token function must return text, not {type(token).__name__}")
    if token:
        check_token(token)
    return token
