"""How to reach Consul: argument, then environment variable, then default. The only reader of the environment."""

from __future__ import annotations

import os
import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from typing import TypedDict, Unpack
from urllib.parse import SplitResult, urlsplit

import msgspec

from aioconsulconnect.errors import SettingsError
from aioconsulconnect.transport.options import NO_OPTIONS, Options, refuse_unknown_keywords
from aioconsulconnect.transport.token import TokenProvider, TokenSource, token_source

DEFAULT_ADDRESS = "127.0.0.1:8500"
DEFAULT_TIMEOUT = 10.0
DEFAULT_MAX_BODY = 64 * 1024 * 1024
DEFAULT_TRIES = 3

_TRUE = frozenset({"1", "t", "T", "TRUE", "true", "True"})
_FALSE = frozenset({"0", "f", "F", "FALSE", "false", "False"})
_DROPPED = re.compile(r"[\t\r\n]")  # urlsplit drops them without a word
_HOST = re.compile(r"(\[[0-9A-Fa-f:.%\w-]+\]|[A-Za-z0-9._-]+)(:[0-9]{1,5})?")


class Address(msgspec.Struct, frozen=True):
    """One agent: `url` is scheme, host, port and path prefix, without a slash at the end; `socket` a unix socket."""

    url: str
    socket: str = ""

    def __str__(self) -> str:
        return f"unix://{self.socket}" if self.socket else self.url

    @property
    def near(self) -> bool:
        """Whether it is on this machine, where compression costs more than it saves."""
        return bool(self.socket) or urlsplit(self.url).hostname in {"127.0.0.1", "::1", "localhost"}


class ConnectionSettings(TypedDict, total=False):
    """
    How to reach Consul and whom to be there: keyword arguments of `Consul`.

    What is left out or None comes from the variable that is named, as the `consul` command takes it, else it is the
    default.
    """

    token: str | TokenProvider | None
    """ACL SecretID, or a function, sync or async, that is called for each request (CONSUL_HTTP_TOKEN)."""
    token_file: str | os.PathLike[str] | None
    """File with the token, read again when it changes (CONSUL_HTTP_TOKEN_FILE)."""
    auth: str | None
    """User and password for HTTP basic authentication, `user:password` (CONSUL_HTTP_AUTH)."""
    https: bool | None
    """Whether an address without a scheme is spoken to in TLS (CONSUL_HTTP_SSL, default false)."""
    verify: bool | None
    """Whether the agent's certificate is checked (CONSUL_HTTP_SSL_VERIFY, default true)."""
    ca_cert: str | os.PathLike[str] | None
    """File with the authorities to check it against, PEM; these alone are trusted then (CONSUL_CACERT)."""
    ca_path: str | os.PathLike[str] | None
    """Folder with such files (CONSUL_CAPATH)."""
    client_cert: str | os.PathLike[str] | None
    """File with a certificate to show to the agent, PEM; needs `client_key` (CONSUL_CLIENT_CERT)."""
    client_key: str | os.PathLike[str] | None
    """File with its key, without a passphrase (CONSUL_CLIENT_KEY)."""
    tls_server_name: str | None
    """Name that the agent's certificate must have, where it is not that of the address (CONSUL_TLS_SERVER_NAME)."""
    options: Options
    """Options of every call that does not say otherwise (CONSUL_NAMESPACE, CONSUL_PARTITION)."""
    max_body: int
    """Largest answer that is read, in bytes after decompression; default 64 MiB."""
    tries: int
    """How often a call is sent at most, where another try can help and cannot harm; default 3, plus one an address."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """
    All that is needed to reach Consul. `origins` names, for what can still prove wrong later, the argument or variable.

    Build it with `Settings.load`.
    """

    addresses: tuple[Address, ...]
    token: TokenSource
    auth: str
    verify: bool
    ca_cert: str
    ca_path: str
    client_cert: str
    client_key: str
    tls_server_name: str
    options: Options
    max_body: int
    tries: int
    origins: Mapping[str, str]

    def __repr__(self) -> str:
        """Where it leads, without anything secret."""
        return f"Settings({', '.join(map(str, self.addresses))})"

    def __rich_repr__(self) -> list[tuple[str, object]]:
        """The same for pretty printers that ask for the fields."""
        return [("addresses", tuple(map(str, self.addresses)))]

    @classmethod
    def load(
        cls,
        address: str | Sequence[str] | None = None,
        *,
        environ: Mapping[str, str] | None = None,
        **given: Unpack[ConnectionSettings],
    ) -> Settings:
        """Settings from arguments over the environment; SettingsError names what is malformed."""
        refuse_unknown_keywords("Consul", given, ConnectionSettings)
        env = _Environment(os.environ if environ is None else environ)
        tls = env.flag("CONSUL_HTTP_SSL", given.get("https"), default=False)
        cert = env.path("CONSUL_CLIENT_CERT", given.get("client_cert"))
        key = env.path("CONSUL_CLIENT_KEY", given.get("client_key"))
        if bool(cert) != bool(key):
            raise SettingsError(
                "give both client_cert and client_key (CONSUL_CLIENT_CERT, CONSUL_CLIENT_KEY), or neither"
            )
        max_body, tries = given.get("max_body", DEFAULT_MAX_BODY), given.get("tries", DEFAULT_TRIES)
        if max_body < 1 or tries < 1:
            raise SettingsError("max_body (bytes) and tries must be at least 1")
        ca_cert, ca_path = given.get("ca_cert"), given.get("ca_path")
        return cls(
            addresses=_addresses(env, address, tls=tls),
            token=token_source(
                given.get("token"),
                given.get("token_file"),
                text=env.text("CONSUL_HTTP_TOKEN", None),
                path=env.path("CONSUL_HTTP_TOKEN_FILE", given.get("token_file")),
            ),
            auth=_basic(env.text("CONSUL_HTTP_AUTH", given.get("auth"))),
            verify=env.flag("CONSUL_HTTP_SSL_VERIFY", given.get("verify"), default=True),
            # An explicit authority of either kind is the only one: no variable may add to it or take its place.
            ca_cert="" if ca_cert is None and ca_path is not None else env.path("CONSUL_CACERT", ca_cert),
            ca_path="" if ca_path is None and ca_cert is not None else env.path("CONSUL_CAPATH", ca_path),
            client_cert=cert,
            client_key=key,
            tls_server_name=_server_name(env.text("CONSUL_TLS_SERVER_NAME", given.get("tls_server_name"))),
            options=_options(env, given.get("options", NO_OPTIONS)),
            max_body=max_body,
            tries=tries,
            origins=dict(env.origins),
        )


class _Environment:
    """Arguments over variables, remembering which of the two a value came from. An empty variable is none."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        self._variables = variables
        self.origins: dict[str, str] = {}

    def text(self, name: str, argument: str | None) -> str:
        argument_name = name.removeprefix("CONSUL_").removeprefix("HTTP_").lower()
        self.origins[name] = argument_name if argument is not None else name
        return self._variables.get(name, "") if argument is None else argument

    def path(self, name: str, argument: str | os.PathLike[str] | None) -> str:
        return self.text(name, None if argument is None else os.fspath(argument))

    def flag(self, name: str, argument: bool | None, *, default: bool) -> bool:
        if argument is not None:
            return argument
        text = self._variables.get(name, "")
        if not text:
            return default
        if text not in _TRUE | _FALSE:
            raise SettingsError(f"{name} must be true or false, not {text!r}")
        return text in _TRUE


def _addresses(env: _Environment, argument: str | Sequence[str] | None, *, tls: bool) -> tuple[Address, ...]:
    if argument is not None and not isinstance(argument, str):
        if not argument:
            raise SettingsError("address: an empty sequence names no agent")
        return tuple(_address(text, "address", tls=tls) for text in argument)
    text = env.text("CONSUL_HTTP_ADDR", argument)
    name = "address" if argument is not None else "CONSUL_HTTP_ADDR"
    return (_address(text or DEFAULT_ADDRESS, name, tls=tls),)


def _address(text: str, name: str, *, tls: bool) -> Address:
    """One address. Only an explicit http:// or https:// can carry a path; without a port it is the scheme's own."""
    if text.startswith("unix://"):
        if len(text) == len("unix://") or "\0" in text:
            raise SettingsError(f"{name}: 'unix://' must be followed by the path of a socket")
        return Address(url="http://localhost", socket=text.removeprefix("unix://"))
    scheme, separator, rest = text.partition("://")
    if not separator:
        scheme, rest = ("https" if tls else "http"), text
    if scheme not in {"http", "https"}:
        raise SettingsError(f"{name}: unknown scheme {scheme[:40]!r}; use host:port, http://, https:// or unix://")
    try:
        parts = urlsplit(f"{scheme}://{rest}")
        if _DROPPED.search(rest):
            raise SettingsError(f"{name}: {text[:80]!r} has a line break or a tab in it")
        _check_parts(parts, name)
    except ValueError as error:
        if isinstance(error, SettingsError):
            raise
        raise SettingsError(f"{name}: not an address: {error}") from error
    if not separator and parts.path.strip("/"):
        raise SettingsError(f"{name}: a path prefix needs an explicit http:// or https://")
    return Address(url=f"{scheme}://{parts.netloc}{parts.path.rstrip('/')}")


def _check_parts(parts: SplitResult, name: str) -> None:
    if "@" in parts.netloc:
        raise SettingsError(f"{name}: no user or password in an address; use auth (CONSUL_HTTP_AUTH) or a token")
    if parts.query or parts.fragment:
        raise SettingsError(f"{name}: an address has no query and no fragment")
    if not _HOST.fullmatch(parts.netloc):
        raise SettingsError(f"{name}: {parts.netloc[:80]!r} is not host:port")
    if parts.port == 0:
        raise SettingsError(f"{name}: 0 is not a port")
    if not re.fullmatch(r"[!-~]*", parts.path) or "//" in parts.path:
        raise SettingsError(f"{name}: {parts.path[:80]!r} is not a path prefix")


def _basic(auth: str) -> str:
    """The Authorization header for `user:password`, split at the first colon, or for `user` alone."""
    if not auth:
        return ""
    user, _, password = auth.partition(":")
    return "Basic " + b64encode(f"{user}:{password}".encode()).decode()


def _server_name(text: str) -> str:
    """The name to verify, without a port."""
    if text and not re.fullmatch(r"[A-Za-z0-9._-]+(:[0-9]+)?", text):
        raise SettingsError(f"tls_server_name (CONSUL_TLS_SERVER_NAME): {text[:80]!r} is not a host name")
    return text.partition(":")[0]


def _options(env: _Environment, options: Options) -> Options:
    namespace = env.text("CONSUL_NAMESPACE", options.namespace)
    partition = env.text("CONSUL_PARTITION", options.partition)
    found = Options(namespace=namespace or None, partition=partition or None).over(NO_OPTIONS)
    return options.over(found)
