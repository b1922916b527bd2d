"""Settings of the HTTP client, for proxies, gateways and resolvers."""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Callable, Mapping, Sequence
from ipaddress import ip_address
from typing import Protocol, TypedDict, Unpack
from urllib.parse import urlsplit

import aiohttp
import aiohttp.abc
import msgspec

from aioconsulconnect.errors import SettingsError
from aioconsulconnect.transport.settings.options import Purpose

Session = aiohttp.ClientSession
TraceConfig = aiohttp.TraceConfig
Resolver = aiohttp.abc.AbstractResolver
SSLContext = ssl.SSLContext

AddressInfo = tuple[int | socket.AddressFamily, int | socket.SocketKind, int, str, tuple[object, ...]]

_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_VALUE = re.compile(r"[^\0\r\n]*")
_HOST = re.compile(r"(?:[A-Za-z0-9_-]{1,63}\.)*[A-Za-z0-9_-]{1,63}\.?")
_PROXY_SCHEMES = frozenset({"http", "https"})


class KeptConnections(TypedDict, total=False):
    """Arguments of an aiohttp connector that say which connections it keeps."""

    limit: int
    """Number of connections, 0 for no limit: the library keeps to its own."""
    limit_per_host: int
    """Number of connections to one address."""
    keepalive_timeout: float
    """Seconds for which an idle connection is kept."""
    force_close: bool
    """True where no connection may be used twice."""


class ConnectorArguments(KeptConnections, total=False):
    """
    Arguments of an aiohttp connector as this library needs them: `aiohttp.TCPConnector(**ours)`.

    A `session_factory` is given them.
    """

    socket_factory: Callable[[AddressInfo], socket.socket]
    """Function that makes the socket of a connection."""
    resolver: Resolver
    """The `resolver` that was given, if one was."""


class SessionFactory(Protocol):
    """
    Function that makes an aiohttp session for one purpose: "calls", "polls" or "probe".

    It is called once for each, and once more for calls that must not use a kept connection.
    """

    def __call__(self, purpose: Purpose, **ours: Unpack[ConnectorArguments]) -> Session:
        """
        Return a new session, which the client closes.

        - `purpose`: what it is for.
        - `ours`: arguments for its connector.
        """
        ...


class SessionSettings(TypedDict, total=False):
    """Keyword arguments of `Consul` for the HTTP client; all of them hold for calls and polls alike."""

    proxy: str | None
    """Proxy for all requests, `http://host:port`, with `user:password@` where it wants that; default none."""
    headers: Mapping[str, str]
    """Headers of every request, such as a gateway in front of Consul wants; default none."""
    resolver: Resolver | None
    """aiohttp resolver of host names, which the client does not close; default: the system's."""
    ssl_context: SSLContext | None
    """TLS context, in place of `verify`, `ca_cert`, `ca_path`, `client_cert` and `client_key`; default none."""
    session_factory: SessionFactory | None
    """Function that makes the aiohttp sessions, not for `unix://`; they bring their own User-Agent. Default: none."""
    trace_configs: Sequence[TraceConfig]
    """aiohttp trace configs for the sessions; default none."""


class HTTPClient(msgspec.Struct, frozen=True, kw_only=True):
    """
    Settings of the HTTP client, complete and checked.

    - `proxy`: URL of the proxy, "" for none.
    - `headers`: headers of every request.
    - `resolver`, `ssl_context`, `session_factory`, `trace_configs`: as in `SessionSettings`.
    """

    proxy: str = ""
    headers: dict[str, str] = {}
    resolver: Resolver | None = None
    ssl_context: SSLContext | None = None
    session_factory: SessionFactory | None = None
    trace_configs: tuple[TraceConfig, ...] = ()

    def __repr__(self) -> str:
        """Show nothing: a proxy and headers can hold passwords."""
        return "HTTPClient()"

    def __rich_repr__(self) -> list[tuple[str, object]]:
        """Return nothing for pretty printers, as `repr`."""
        return []

    @classmethod
    def load(cls, given: SessionSettings) -> HTTPClient:
        """
        Return the settings from keyword arguments.

        `given` are the arguments. Raises SettingsError with the name of what is malformed; no value is in its message.
        """
        return cls(
            proxy=_proxy(given.get("proxy")),
            headers=_headers(given.get("headers") or {}),
            resolver=given.get("resolver"),
            ssl_context=given.get("ssl_context"),
            session_factory=given.get("session_factory"),
            trace_configs=tuple(given.get("trace_configs", ())),
        )


def _proxy(given: object) -> str:
    if not given:
        return ""
    proxy = given if isinstance(given, str) else ""
    if not (proxy and proxy.isascii()):
        raise SettingsError("proxy: give it as a text in ASCII; percent-encode what is not, also in a password")
    try:
        parts = urlsplit(proxy)
        host = parts.hostname or ""
        known = parts.scheme in _PROXY_SCHEMES and _is_host(host) and (parts.port is None or parts.port > 0)
    except ValueError:
        known = False
    if not known:
        raise SettingsError("proxy: give it as http://host:port or https://host:port")
    return proxy


def _is_host(host: str) -> bool:
    """True for a host that can be asked for: no empty part, no half of an IP address."""
    if re.fullmatch(r"[0-9.]+|.*:.*", host):
        try:
            ip_address(host)
        except ValueError:
            return False
        return True
    return _HOST.fullmatch(host) is not None


def _headers(headers: Mapping[str, str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in headers.items():
        if not all(isinstance(text, str) for text in (name, value)):
            raise SettingsError(f"headers: {name!r} and its value must be texts")
        if not _TOKEN.fullmatch(name) or not _VALUE.fullmatch(value):
            raise SettingsError(f"headers: {name!r} or its value cannot be sent")
        if name.lower() == "x-consul-token":
            raise SettingsError("headers: give the token as token, which may change and appears in no error")
        found[name] = value
    return found
