"""
Settings of the connection to Consul: argument, then environment variable, then default.

It is the only module that reads the environment.
"""

from __future__ import annotations

import os
import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Unpack
from urllib.parse import SplitResult, urlsplit

import msgspec

from aioconsulconnect.errors import SettingsError
from aioconsulconnect.transport.settings.http_client import HTTPClient, SessionSettings
from aioconsulconnect.transport.settings.options import NO_OPTIONS, Options, refuse_unknown_keywords
from aioconsulconnect.transport.settings.token_source import TokenProvider, TokenSource, token_source

DEFAULT_ADDRESS = "127.0.0.1:8500"
DEFAULT_TIMEOUT = 10.0
DEFAULT_MAX_BODY = 64 * 1024 * 1024
DEFAULT_TRIES = 3

_TRUE = frozenset({"1", "t", "T", "TRUE", "true", "True"})
_FALSE = frozenset({"0", "f", "F", "FALSE", "false", "False"})
_HOST = re.compile(r"(\[[0-9A-Za-z:.%_-]+\]|[A-Za-z0-9._-]+)(:[0-9]{1,5})?")
_HOST_NAME = re.compile(r"(?=.{1,254}$)([A-Za-z0-9_-]{1,63}\.)*[A-Za-z0-9_-]{1,63}\.?")
_IPV6_WITHOUT_BRACKETS = re.compile(r"[0-9A-Fa-f.]*:[0-9A-Fa-f.]*:[0-9A-Fa-f:.]*(%.*)?")

_ARGUMENTS = {  # by variable
    "CONSUL_HTTP_ADDR": "address", "CONSUL_HTTP_TOKEN": "token", "CONSUL_HTTP_TOKEN_FILE": "token_file",
    "CONSUL_HTTP_AUTH": "auth", "CONSUL_HTTP_SSL": "https", "CONSUL_HTTP_SSL_VERIFY": "verify",
    "CONSUL_CACERT": "ca_cert", "CONSUL_CAPATH": "ca_path", "CONSUL_CLIENT_CERT": "client_cert",
    "CONSUL_CLIENT_KEY": "client_key", "CONSUL_TLS_SERVER_NAME": "tls_server_name",
    "CONSUL_NAMESPACE": "options", "CONSUL_PARTITION": "options",
}  # fmt: skip
_TLS_ARGUMENTS = ("verify", "ca_cert", "ca_path", "client_cert", "client_key")


class Address(msgspec.Struct, frozen=True):
    """
    Address of one agent.

    - `url`: scheme, host, port and path prefix, without a slash at the end.
    - `socket`: path of a Unix socket, "" for none.
    - `name`: what errors and status call it: the URL, or `unix://` and the path.
    """

    url: str
    socket: str = ""
    name: str = ""

    def __post_init__(self) -> None:
        """Work the name out."""
        msgspec.structs.force_setattr(self, "name", f"unix://{self.socket}" if self.socket else self.url)

    def __str__(self) -> str:
        return self.name

    @property
    def near(self) -> bool:
        """True if the agent is on this machine, where compression costs more than it saves."""
        return bool(self.socket) or urlsplit(self.url).hostname in {"127.0.0.1", "::1", "localhost"}


class ConnectionSettings(SessionSettings, total=False):
    """
    Keyword arguments of `Consul`: token, TLS, HTTP client, limits, and options of every call.

    What is left out or None comes from the environment variable that is named, as for the `consul` command, else it is
    the default.
    """

    token: str | TokenProvider | None
    """ACL token (SecretID), or a sync or async function called for each request (CONSUL_HTTP_TOKEN)."""
    token_file: str | os.PathLike[str] | None
    """File with the ACL token, read again when it changes (CONSUL_HTTP_TOKEN_FILE)."""
    auth: str | None
    """User and password for HTTP basic authentication, `user:password` (CONSUL_HTTP_AUTH)."""
    https: bool | None
    """True for TLS, also where the variable for the address says `http://`; False for none (CONSUL_HTTP_SSL)."""
    verify: bool | None
    """True if the agent's certificate is verified (CONSUL_HTTP_SSL_VERIFY, default true)."""
    ca_cert: str | os.PathLike[str] | None
    """PEM file with the authorities to verify agents with; no others are trusted then (CONSUL_CACERT)."""
    ca_path: str | os.PathLike[str] | None
    """Folder with PEM files of such authorities; no others are trusted then (CONSUL_CAPATH)."""
    client_cert: str | os.PathLike[str] | None
    """PEM file with the certificate to show to the agent; needs `client_key` (CONSUL_CLIENT_CERT)."""
    client_key: str | os.PathLike[str] | None
    """PEM file with the private key of `client_cert`, without a passphrase (CONSUL_CLIENT_KEY)."""
    tls_server_name: str | None
    """Name in the agent's certificate, where it is not the host of the address (CONSUL_TLS_SERVER_NAME)."""
    options: Options
    """Default options of every call (CONSUL_NAMESPACE, CONSUL_PARTITION)."""
    max_body: int
    """Largest answer that is read, in bytes after decompression; default 64 MiB."""
    tries: int
    """Number of tries of a call where another can help; default 3, plus one for each further address."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """
    Settings of the connection to Consul, complete and checked; build them with `Settings.load`.

    - `addresses`: the agents, in order of preference.
    - `token`: source of the ACL token.
    - `auth`: Authorization header for HTTP basic authentication, "" for none.
    - `verify`: verify the agent's certificate.
    - `ca_cert`, `ca_path`: file and folder with the trusted authorities, "" for none.
    - `client_cert`, `client_key`: files with the client's certificate and its private key, "" for none.
    - `tls_server_name`: name in the agent's certificate, "" for the host of the address.
    - `client`: settings of the HTTP client.
    - `options`: default options of every call.
    - `max_body`: largest answer in bytes after decompression.
    - `tries`: number of tries of a call.
    - `origins`: by environment variable, the name of the argument or variable that a value came from, for errors that
      can only be found later.
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
    client: HTTPClient
    options: Options
    max_body: int
    tries: int
    origins: Mapping[str, str]

    def __repr__(self) -> str:
        """Show the addresses, and nothing secret."""
        return f"Settings({', '.join(map(str, self.addresses))})"

    def __rich_repr__(self) -> list[tuple[str, object]]:
        """Return the addresses for pretty printers, and nothing secret."""
        return [("addresses", tuple(map(str, self.addresses)))]

    @classmethod
    def load(
        cls,
        address: str | Sequence[str] | None = None,
        *,
        environ: Mapping[str, str] | None = None,
        **given: Unpack[ConnectionSettings],
    ) -> Settings:
        """
        Return the settings from arguments, else from environment variables, else defaults.

        - `address`: `host:port`, `http://…`, `https://…` or `unix://PATH`, or a sequence of them; default:
          CONSUL_HTTP_ADDR, else 127.0.0.1:8500.
        - `environ`: environment variables; default: those of the process.
        - `given`: the keyword arguments of `ConnectionSettings`.

        Raises SettingsError with the name of what is malformed, and TypeError for an unknown keyword argument.
        """
        refuse_unknown_keywords("Consul", given, ConnectionSettings)
        env = _Environment(os.environ if environ is None else environ)
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
        client = HTTPClient.load(given)
        if client.ssl_context is not None and any(given.get(name) is not None for name in _TLS_ARGUMENTS):
            raise SettingsError(
                f"ssl_context: it takes the place of {', '.join(_TLS_ARGUMENTS)}; give one or the other"
            )
        addresses = _addresses(env, address, given.get("https"))
        if any(one.socket for one in addresses) and (client.session_factory is not None or client.proxy):
            raise SettingsError("proxy and session_factory: neither can be used with a unix:// address")
        return cls(
            addresses=addresses,
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
            client=client,
            options=_options(env, given.get("options", NO_OPTIONS)),
            max_body=max_body,
            tries=tries,
            origins=dict(env.origins),
        )


class _Environment:
    """
    Arguments over environment variables, with a record of where each value came from.

    An empty variable counts as absent.
    """

    def __init__(self, variables: Mapping[str, str]) -> None:
        self._variables = variables
        self.origins: dict[str, str] = {}

    def text(self, name: str, argument: str | None) -> str:
        self.origins[name] = _ARGUMENTS[name] if argument is not None else name
        return self._variables.get(name, "") if argument is None else argument

    def path(self, name: str, argument: str | os.PathLike[str] | None) -> str:
        path = self.text(name, None if argument is None else os.fspath(argument))
        if "\0" in path:
            raise SettingsError(f"{self.origins[name]}: a path has no NUL character")
        return path

    def flag(self, name: str, argument: bool | None, *, default: bool) -> bool:
        if argument is not None:
            return argument
        text = self._variables.get(name, "")
        if not text:
            return default
        if text not in _TRUE | _FALSE:
            raise SettingsError(f"{name} must be true or false, not {text!r}")
        return text in _TRUE


def _addresses(env: _Environment, argument: str | Sequence[str] | None, https: bool | None) -> tuple[Address, ...]:
    tls = env.flag("CONSUL_HTTP_SSL", https, default=False)
    if argument is not None and not isinstance(argument, str):
        if not argument:
            raise SettingsError("address: an empty sequence names no agent")
        return tuple(dict.fromkeys(_address(text, "address", https, tls=tls) for text in argument))
    text = env.text("CONSUL_HTTP_ADDR", argument)
    return (_address(text or DEFAULT_ADDRESS, env.origins["CONSUL_HTTP_ADDR"], https, tls=tls),)


def _address(text: str, name: str, https: bool | None, *, tls: bool) -> Address:
    """
    Return one address.

    Only an explicit http:// or https:// can carry a path; without a port it is that of the scheme.

    - `text`: the address as it was given.
    - `name`: where it came from, for errors.
    - `https`: the argument of that name.
    - `tls`: what that argument or CONSUL_HTTP_SSL says. As for the `consul` command, http:// does not take it back.
    """
    scheme, separator, rest = text.partition("://")
    if separator and scheme == "unix":
        if not rest or "\0" in rest:
            raise SettingsError(f"{name}: 'unix://' must be followed by the path of a socket")
        if https:
            raise SettingsError(f"{name}: https=True, but there is no TLS on a Unix socket; leave https out")
        return Address(url="http://localhost", socket=rest)
    if not separator:
        scheme, rest = "", text
    if re.search(r"\s", text):  # some of which urlsplit would drop without an error
        raise SettingsError(f"{name}: an address has no spaces or line breaks; in a path prefix a space is %20")
    if "@" in scheme + rest.partition("/")[0]:  # before anything that quotes the address
        raise SettingsError(f"{name}: no user or password in an address; use auth (CONSUL_HTTP_AUTH) or a token")
    if scheme not in {"http", "https"} and separator:
        raise SettingsError(f"{name}: unknown scheme {scheme[:40]!r}; use host:port, http://, https:// or unix://")
    if https is not None and scheme == ("http" if https else "https") and (name == "address" or not https):
        raise SettingsError(
            f"{name}: {scheme}:// and https={https} contradict each other; change one, or leave https out"
        )
    if re.match(r":[0-9]{1,5}(/|$)", rest):
        rest = f"127.0.0.1{rest}"  # to the command, too, a port alone is one of this machine
    try:
        parts = urlsplit(f"{'https' if tls else scheme or 'http'}://{rest}")
        _check_parts(parts, name)
    except ValueError as error:
        if isinstance(error, SettingsError):
            raise
        raise SettingsError(f"{name}: not an address: {error}") from None
    if not separator and parts.path.strip("/"):
        raise SettingsError(f"{name}: a path prefix needs an explicit http:// or https://")
    return Address(url=f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}")


def _check_parts(parts: SplitResult, name: str) -> None:
    if parts.query or parts.fragment:
        raise SettingsError(f"{name}: an address has no query and no fragment")
    if _IPV6_WITHOUT_BRACKETS.fullmatch(parts.netloc):
        raise SettingsError(f"{name}: {parts.netloc[:80]!r}: write an IPv6 address in brackets, as in [::1]:8500")
    if not (found := _HOST.fullmatch(parts.netloc)):
        raise SettingsError(f"{name}: {parts.netloc[:80]!r} is not host:port, with a name in ASCII and a number")
    _check_host(found[1], name)
    if parts.port == 0:
        raise SettingsError(f"{name}: 0 is not a port")
    if not re.fullmatch(r"[!-~]*", parts.path) or "//" in parts.path:
        raise SettingsError(f"{name}: {parts.path[:80]!r} is not a path prefix; percent-encode it, with single slashes")


def _check_host(host: str, name: str) -> str:
    """Return the host without brackets; refuse one that no resolver could be asked for."""
    try:
        if host.startswith("["):
            IPv6Address(host[1:-1].replace("%25", "%", 1))
        elif re.fullmatch(r"[0-9.]+", host):
            IPv4Address(host)
        elif not _HOST_NAME.fullmatch(host):
            raise SettingsError(f"{name}: {host[:80]!r} has a part between dots that is empty or above 63 characters")
    except AddressValueError:
        raise SettingsError(f"{name}: {host[:80]!r} is not a complete IP address") from None
    return host.strip("[]")


def _basic(auth: str) -> str:
    """Return the Authorization header for `user:password`, split at the first colon, or for `user` alone."""
    if not auth:
        return ""
    user, _, password = auth.partition(":")
    try:
        # A variable that is not UTF-8 is sent as it is, as the command does.
        return "Basic " + b64encode(f"{user}:{password}".encode("utf-8", "surrogateescape")).decode()
    except UnicodeEncodeError:
        raise SettingsError("auth (CONSUL_HTTP_AUTH): it holds half of a surrogate pair") from None


def _server_name(text: str) -> str:
    """Return the name to verify, without a port and brackets."""
    if not text:
        return ""
    name = "tls_server_name (CONSUL_TLS_SERVER_NAME)"
    if not (found := _HOST.fullmatch(text)):
        raise SettingsError(f"{name}: {text[:80]!r} is not a host name")
    return _check_host(found[1], name)


def _options(env: _Environment, options: Options) -> Options:
    namespace = env.text("CONSUL_NAMESPACE", options.namespace)
    partition = env.text("CONSUL_PARTITION", options.partition)
    found = Options(namespace=namespace or None, partition=partition or None).over(NO_OPTIONS)
    return options.over(found)
