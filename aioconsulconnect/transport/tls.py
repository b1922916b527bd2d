"""TLS to the agent: what its certificate is verified with, and which certificate it is shown."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from pathlib import Path

from aioconsulconnect.errors import SettingsError
from aioconsulconnect.transport.settings import Settings


def tls_context(settings: Settings) -> ssl.SSLContext | bool:
    """
    Return the TLS context for the agents; True for the system's authorities and no client certificate.

    It is built, and its files are read, even where no address uses https. Raises SettingsError for a file of `settings`
    that cannot be read or used.
    """
    origins: Mapping[str, str] = settings.origins
    if not (settings.ca_cert or settings.ca_path or settings.client_cert) and settings.verify:
        return True
    context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH)
    if settings.ca_cert or settings.ca_path:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # these alone are trusted, not the system's
    name = "CONSUL_CACERT"
    try:
        if settings.ca_cert:
            context.load_verify_locations(cafile=settings.ca_cert)
        elif settings.ca_path:
            name = "CONSUL_CAPATH"
            for file in sorted(filter(Path.is_file, Path(settings.ca_path).resolve(strict=True).rglob("*"))):
                context.load_verify_locations(cafile=str(file))
        name = "CONSUL_CLIENT_CERT"
        if settings.client_cert:
            context.load_cert_chain(settings.client_cert, settings.client_key, password=_no_password)
    except (OSError, ssl.SSLError, ValueError) as error:
        raise SettingsError(f"{origins.get(name, name)}: {_file_trouble(error)}") from None
    if not settings.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _no_password() -> str:
    """Refuse an encrypted key, for which OpenSSL would ask at the terminal."""
    raise ValueError("the client key is encrypted; use one without a passphrase")


def _file_trouble(error: OSError | ValueError) -> str:
    if isinstance(error, ssl.SSLError):
        return f"not usable as PEM ({error.reason or error})"
    return str(error) if isinstance(error, ValueError) else f"{error.filename or 'it'} cannot be read: {error.strerror}"
