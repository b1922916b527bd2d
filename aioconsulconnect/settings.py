"""How to reach Consul: argument, then environment variable, then default. The only reader of the environment."""

from __future__ import annotations

import os
import re
from base64 import b64encode
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from shutil import which
from typing import Protocol
from urllib.parse import SplitResult, urlsplit

import msgspec

from aioconsulconnect.errors import InvalidRequest, SettingsError
from aioconsulconnect.options import NO_OPTIONS, Options, check_token

TokenProvider = Callable[[], str | Awaitable[str]]

DEFAULT_ADDRESS = "127.0.0.1:8500"
DEFAULT_TIMEOUT = 10.0
DEFAULT_MAX_BODY = 64 * 1024 * 1024

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


class TokenSource(Protocol):
    """Where the token of a request comes from; None for none."""

    def __call__(self) -> str | Awaitable[str] | None:
        """Return the token to use now."""
        ...


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
        token: str | TokenProvider | None = None,
        token_file: str | os.PathLike[str] | None = None,
        auth: str | None = None,
        https: bool | None = None,
        verify: bool | None = None,
        ca_cert: str | os.PathLike[str] | None = None,
        ca_path: str | os.PathLike[str] | None = None,
        client_cert: str | os.PathLike[str] | None = None,
        client_key: str | os.PathLike[str] | None = None,
        tls_server_name: str | None = None,
        options: Options = NO_OPTIONS,
        max_body: int = DEFAULT_MAX_BODY,
        tries: int = 3,
        environ: Mapping[str, str] | None = None,
    ) -> Settings:
        """Settings from arguments over the environment; SettingsError names what is malformed."""
        env = _Environment(os.environ if environ is None else environ)
        tls = env.flag("CONSUL_HTTP_SSL", https, default=False)
        cert, key = env.path("CONSUL_CLIENT_CERT", client_cert), env.path("CONSUL_CLIENT_KEY", client_key)
        if bool(cert) != bool(key):
            raise SettingsError(
                "give both client_cert and client_key (CONSUL_CLIENT_CERT, CONSUL_CLIENT_KEY), or neither"
            )
        if max_body < 1 or tries < 1:
            raise SettingsError("max_body (bytes) and tries must be at least 1")
        return cls(
            addresses=_addresses(env, address, tls=tls),
            token=_token(env, token, token_file),
            auth=_basic(env.text("CONSUL_HTTP_AUTH", auth)),
            verify=env.flag("CONSUL_HTTP_SSL_VERIFY", verify, default=True),
            # An explicit authority of either kind is the only one: no variable may add to it or take its place.
            ca_cert="" if ca_cert is None and ca_path is not None else env.path("CONSUL_CACERT", ca_cert),
            ca_path="" if ca_path is None and ca_cert is not None else env.path("CONSUL_CAPATH", ca_path),
            client_cert=cert,
            client_key=key,
            tls_server_name=_server_name(env.text("CONSUL_TLS_SERVER_NAME", tls_server_name)),
            options=_options(env, options),
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


# The token: a file beats a text, an argument beats a variable, and each request asks anew.


def _token(
    env: _Environment, token: str | TokenProvider | None, token_file: str | os.PathLike[str] | None
) -> TokenSource:
    if token is not None and token_file is not None:
        raise SettingsError("give either token or token_file, not both")
    if callable(token):
        return token
    if token is not None:
        return _fixed(token, "token")
    fixed = _fixed(env.text("CONSUL_HTTP_TOKEN", None), "CONSUL_HTTP_TOKEN")
    path = env.path("CONSUL_HTTP_TOKEN_FILE", token_file)
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


def find_consul(environ: Mapping[str, str] | None = None) -> str | None:
    """A consul binary on this machine: the first of CONSUL_BINARIES, else on the PATH, else `.consul/consul`."""
    variables = os.environ if environ is None else environ
    for path in variables.get("CONSUL_BINARIES", "").split(os.pathsep):
        if path:
            return path
    local = Path(".consul") / "consul"
    return which("consul", path=variables.get("PATH")) or (str(local) if os.access(local, os.X_OK) else None)
