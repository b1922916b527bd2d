"""TLS to the agent: what its certificate is verified with, and which certificate it is shown."""

from __future__ import annotations

import logging
import os
import ssl
from collections.abc import Iterator, Mapping
from pathlib import Path

from aioconsulconnect.clock import Clock
from aioconsulconnect.errors import SettingsError
from aioconsulconnect.transport.settings.connection import Settings

_log = logging.getLogger("aioconsulconnect.transport")
_LOOK_INTERVAL = 1.0  # seconds
_OVERLAP = 300.0  # seconds for which the files before the present ones are tried

Signature = tuple[tuple[str, int, int, int], ...]
"""Names, times, sizes and inodes of files: another one where a file was replaced."""


class _Before:
    """Context of the files before the present ones, for agents that use their new ones later than this client."""

    def __init__(self, context: ssl.SSLContext | bool, until: float) -> None:
        self.context = context
        self.until = until  # time when it is given up
        self.used: set[str] = set()  # the addresses where it is used now
        self.given_up: set[str] = set()  # those where the present files have worked


class TLS:
    """
    TLS context for the agents, made anew when the files that it was made of change.

    An agent may use its new files later than this client: where it does not take the changed ones, those before are
    tried, for five minutes at most, and never again where the changed ones have worked.

    - `settings`: the files, and whether to verify.
    - `clock`: clock of the client.

    Raises SettingsError for a file that cannot be read or used. Later, files that cannot be used (a certificate that
    was replaced before its key) leave the last context in use.
    """

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._is_of_files = settings.client.ssl_context is None and bool(
            settings.ca_cert or settings.ca_path or settings.client_cert
        )
        self._signature: Signature = self._look()
        self._context: ssl.SSLContext | bool = tls_context(settings)
        self._before: _Before | None = None
        self._next_look = clock.now() + _LOOK_INTERVAL
        self._refused: Signature | None = None

    def context(self, address: str) -> ssl.SSLContext | bool:
        """Return the context for an agent; True for the system's authorities and no client certificate."""
        if not self._is_of_files:
            return self._context
        now = self._clock.now()
        if now >= self._next_look:
            self._renew()
        if (before := self._before) is not None:
            if now >= before.until:
                self._before = None
            elif address in before.used:
                return before.context
        return self._context

    def replace(self, address: str, failed: ssl.SSLContext | bool) -> bool:
        """
        Use another context than the one that `failed` at `address`; return False if there is none.

        It is of files that have just changed, or of those before.
        """
        if self.context(address) is not failed or self._renew():
            return True
        before = self._before
        if before is None or address in before.given_up:
            return False
        if address in before.used:
            before.used.discard(address)  # the agent may use its new files by now
        else:
            _log.warning("TLS: %s does not take the changed files, so those before are tried", address)
            before.used.add(address)
        return True

    @property
    def is_changing(self) -> bool:
        """True while files before the present ones are kept; then `worked` is to be told."""
        return self._before is not None

    def worked(self, address: str, context: ssl.SSLContext | bool) -> None:
        """Note that a new connection to `address` was made with `context`."""
        if self._before is not None and context is self._context:
            self._before.given_up.add(address)

    def _renew(self) -> bool:
        """Look at the files now; return True if they have changed, and the context with them."""
        if not self._is_of_files:
            return False
        now = self._clock.now()
        self._next_look = now + _LOOK_INTERVAL
        signature = self._look()
        if signature == self._signature:
            return False
        try:
            renewed = tls_context(self._settings)
        except SettingsError as error:
            if signature != self._refused:
                _log.warning("the changed TLS files are not used yet: %s", error)
            self._refused = signature
            return False
        self._signature, self._before, self._context = signature, _Before(self._context, now + _OVERLAP), renewed
        return True

    def _look(self) -> Signature:
        return tuple(_signatures(self._settings)) if self._is_of_files else ()


def _signatures(settings: Settings) -> Iterator[tuple[str, int, int, int]]:
    for name in (settings.ca_cert, settings.client_cert, settings.client_key):
        yield _signature(Path(name)) if name else ("", 0, 0, 0)
    if settings.ca_path and not settings.ca_cert:
        for file in _files_in(Path(settings.ca_path)):
            yield _signature(file)


def _files_in(path: Path) -> list[Path]:
    """The files in a folder and below it, in order, also behind links; a file is all there is of itself."""
    if not path.is_dir():
        return [path]
    return [
        Path(folder, name) for folder, _, names in sorted(os.walk(path, followlinks=True)) for name in sorted(names)
    ]


def _signature(file: Path) -> tuple[str, int, int, int]:
    try:
        found = file.stat()
    except OSError:
        return str(file), 0, 0, 0
    return str(file), found.st_mtime_ns, found.st_size, found.st_ino


def tls_context(settings: Settings) -> ssl.SSLContext | bool:
    """
    Return the TLS context for the agents; True for the system's authorities and no client certificate.

    It is built, and its files are read, even where no address uses https. Raises SettingsError for a file of `settings`
    that cannot be read or used.
    """
    if settings.client.ssl_context is not None:
        return settings.client.ssl_context
    origins: Mapping[str, str] = settings.origins
    if not (settings.ca_cert or settings.ca_path or settings.client_cert) and settings.verify:
        return True
    context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH)
    if settings.ca_cert or settings.ca_path:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # these alone are trusted, not the system's
    name, path = "CONSUL_CACERT", settings.ca_cert
    try:
        if settings.ca_cert:
            context.load_verify_locations(cafile=settings.ca_cert)
        elif settings.ca_path:
            name, path = "CONSUL_CAPATH", settings.ca_path
            for file in filter(Path.is_file, _files_in(Path(settings.ca_path).resolve(strict=True))):
                context.load_verify_locations(cafile=str(file))
        if settings.client_cert:
            # The error of OpenSSL does not tell which of the two it could not read.
            name, path = "CONSUL_CLIENT_KEY", settings.client_key
            Path(path).read_bytes()
            name, path = "CONSUL_CLIENT_CERT", settings.client_cert
            context.load_cert_chain(settings.client_cert, settings.client_key, password=_no_password)
    except (OSError, ssl.SSLError, ValueError) as error:
        raise SettingsError(f"{origins.get(name, name)}: {_file_trouble(error, path)}") from None
    if not settings.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _no_password() -> str:
    """Refuse an encrypted key, for which OpenSSL would ask at the terminal."""
    raise ValueError("the client key is encrypted; use one without a passphrase")


def _file_trouble(error: OSError | ValueError, path: str) -> str:
    if isinstance(error, ssl.SSLError):
        return f"not usable as PEM ({error.reason or error})"
    return str(error) if isinstance(error, ValueError) else f"{error.filename or path} cannot be read: {error.strerror}"
