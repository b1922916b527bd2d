"""
Exceptions of this library, all derived from `ConsulError`.

They are grouped by who must act: the caller (the request can never work), the operator (permissions, load, the state of
the cluster) or the program (an object is not ready or was closed). Each carries the request (`method`, `path`),
Consul's answer (`status`, `text`) and a message that says what to do. None ever holds a token or a private key. All can
be pickled.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import Self

# Of any kind (PKCS 1 and 8, EC, OpenSSH, PGP), also where it is cut off: without its end, or without its beginning,
# with the base64 text before its end. Limits and `*+` keep the time linear, whatever the text.
_PRIVATE_KEY = re.compile(
    r"""
    ----[- ]BEGIN\ [^\n-]{0,60}PRIVATE\ KEY[^\n-]{0,60}----
    .*? (?: ----[- ]END\ [^\n-]{0,60}PRIVATE\ KEY[^\n-]{0,60}-----? | \Z )
    | (?<![\w+/=\s\\]) [\w+/=\s\\]*+ ----[- ]END\ [^\n-]{0,60}PRIVATE\ KEY[^\n-]{0,60}-----?
    """,
    re.ASCII | re.DOTALL | re.VERBOSE,
)
_TEXT_LIMIT = 2000


class ErrorReason(Enum):
    """
    Cause of a failed call, more precise than the class of the error.

    Decide by it where the class of the error says too little. It follows from Consul's text first, and from the HTTP
    status where the text says nothing.
    """

    UNSPECIFIED = "unspecified"
    """Nothing more is known than the class of the error and the status."""

    # Permissions.
    TOKEN_UNKNOWN = "token unknown"  # noqa: S105 - no token
    """Consul does not know the token. A new token needs a moment to reach every server."""
    TOKEN_MISSING = "token missing"  # noqa: S105 - no token
    """The token source gave a token before and gives none now; nothing was sent, since it would be anonymous."""
    ACL_NOT_BOOTSTRAPPED = "acl not bootstrapped"
    """The servers have not loaded their ACLs yet, as for a moment after a restart."""
    PERMISSION_DENIED = "permission denied"
    """The token in use lacks a permission; Consul up to 1.11 does not say which."""
    TOKEN_LACKS_PERMISSION = "token lacks permission"  # noqa: S105 - no token
    """The token in use lacks a permission; the text names the token's accessor and the permission (Consul 1.12)."""
    ANONYMOUS_LACKS_PERMISSION = "anonymous lacks permission"
    """No token was sent, and anonymous requests lack the permission (Consul 1.16)."""
    FORBIDDEN = "forbidden"
    """The status is 401 or 403, and the text is not one of Consul's."""

    # What this agent cannot serve.
    ENTERPRISE_ONLY = "enterprise only"
    """Namespaces, partitions and other features that need Consul Enterprise."""
    CONNECT_DISABLED = "connect disabled"
    """The agent runs with `connect.enabled = false`."""
    ACL_DISABLED = "acl disabled"
    """The agent runs with `acl.enabled = false`."""
    SCRIPTS_DISABLED = "scripts disabled"
    """The agent runs without `enable_script_checks` and `enable_local_script_checks`."""
    UNKNOWN_KIND = "unknown kind"
    """The server does not know this kind of config entry."""
    UNKNOWN_FIELD = "unknown field"
    """The server is too old for a field, or for this form of the request."""
    UNKNOWN_PATH = "unknown path"
    """The agent says that it does not know the path (Consul 1.11 and newer)."""
    UNSERVED = "unserved"
    """A 404 with an empty body, which is how Consul up to 1.10 answers an unknown path."""
    NOT_IMPLEMENTED = "not implemented"
    """The agent answers 501."""

    # Load, and the state of the cluster.
    RATE_LIMITED = "rate limited"
    """More requests than the agent or the servers allow."""
    TOO_MANY_CONNECTIONS = "too many connections"
    """The agent counts too many connections from this host."""
    NO_LEADER = "no leader"
    """The servers have no leader at this moment."""
    NO_SERVERS = "no servers"
    """The agent knows of no server; another agent may."""
    UPGRADING = "upgrading"
    """Intentions are read-only while the servers are upgraded; nothing was applied."""
    CA_UNINITIALIZED = "certificate authority uninitialized"
    """The certificate authority has not started yet; nothing was applied."""
    CA_NOT_READY = "certificate authority not ready"
    """The provider of the certificate authority is not ready."""
    DATACENTER_UNKNOWN = "datacenter unknown"
    """No server of that datacenter is known; waiting does not help."""
    DATACENTER_UNREACHABLE = "datacenter unreachable"
    """The servers of that datacenter cannot be reached."""
    INTERRUPTED = "interrupted"
    """The servers broke the request off; a write may or may not have been applied."""
    DEADLINE_REACHED = "deadline reached"
    """The server gave up at its own deadline; a write may or may not have been applied."""

    # The request.
    NOT_FOUND = "not found"
    """The named object does not exist."""
    ALREADY_EXISTS = "already exists"
    """The object to create exists already."""
    CHANGED_MEANWHILE = "changed meanwhile"
    """The object was changed after the caller read it."""
    HAS_LEGACY_META = "has legacy meta"
    """An intention of the destination was created by id and has metadata, which blocks a write by name."""
    INVALID = "invalid"
    """Consul refuses the input as wrong."""

    # No answer, or one that is not Consul's.
    NOT_CONSUL = "not Consul"
    """A redirect, an HTML page or a refusal in words that are not Consul's: something in between answered."""
    BROKEN = "broken"
    """The connection broke before the answer was there in whole."""
    CERTIFICATE = "certificate"
    """TLS failed: a certificate is not trusted, does not fit the address, or was refused by the other side."""
    BUSY = "busy"
    """Nothing was sent: all connections for calls were in use until the deadline."""
    PROXY_REFUSED = "proxy refused"
    """The proxy does not connect to the agent; nothing was sent to it."""
    TLS_NEEDED = "tls needed"
    """The port speaks TLS, and the address says http."""
    NOT_UNDERSTOOD = "not understood"
    """Consul's own answer, with its index, holds what this version cannot read, such as a value that is new."""
    UNREACHABLE = "unreachable"
    """Nothing listens at the address."""
    RESET_AT_ONCE = "reset at once"
    """A new connection was closed before any answer, as Consul 1.8 does to a host with too many connections."""


class ConsulError(Exception):
    """
    Base class of all errors of this library.

    - `message`: cause of the failure, and what to do about it.
    - `reason`: cause of the failure as an `ErrorReason`. Default `UNSPECIFIED`.
    - `final`: True if this request can never work, however long one waits: either Consul's text says so, or this
      library does, of a request that this Consul cannot serve. Default False.
    - `status`: HTTP status of the answer; None if there was none.
    - `text`: Consul's text, trimmed, without private keys, and cut at 2,000 characters.
    - `method`, `path`: the request; `path` is without the query.
    - `address`: URL of the agent.
    """

    def __init__(
        self,
        message: str,
        *,
        reason: ErrorReason = ErrorReason.UNSPECIFIED,
        final: bool = False,
        status: int | None = None,
        text: str = "",
        method: str = "",
        path: str = "",
        address: str = "",
    ) -> None:
        message = redact(message)
        super().__init__(message)
        self.message = message
        self.reason: ErrorReason = reason
        self.final: bool = final
        self.status: int | None = status
        self.text: str = redact(text.strip())[:_TEXT_LIMIT]
        self.method: str = method
        self.path: str = path
        self.address: str = address

    def __str__(self) -> str:
        asked = f"{self.method} {self.path}: " if self.method else ""
        status = f"{self.status} " if self.status is not None else ""
        said = f"{self.text!r} " if self.text else ""
        return f"{asked}{status}{said}{self.message}" if not said else f"{asked}{status}{said}({self.message})"

    def about(self, method: str, path: str, address: str = "", status: int | None = None) -> Self:
        """
        Add the request to an error raised by code that does not know it, and return the error.

        - `method`, `path`, `address`: the request and the agent; they replace what the error holds.
        - `status`: HTTP status of the answer; None leaves the error's own.
        """
        self.method, self.path, self.address = method, path, address
        self.status = self.status if status is None else status
        return self

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), self.message, self.__dict__.copy())


def _rebuild(kind: type[ConsulError], message: str, state: dict[str, object]) -> ConsulError:
    error = kind.__new__(kind, message)
    error.args = (message,)
    error.__dict__.update(state)
    return error


def redact(text: str) -> str:
    """Return `text` with every PEM private key replaced by `<private key>`, also one that is cut off."""
    return _PRIVATE_KEY.sub("<private key>", text) if "PRIVATE KEY" in text else text


# The caller must act: what was asked can never work.


class InvalidRequest(ConsulError, ValueError):
    """
    Request that this library refuses before anything is sent.

    Consul would refuse it, or would silently do something else.
    """


class SettingsError(InvalidRequest):
    """Malformed argument of `Consul()` or environment variable; the message names it."""


class BadRequest(ConsulError):
    """
    Request that Consul refuses as wrong.

    Consul's text says so, whatever the status; or a write was refused with a 4xx status.
    """


class NotFound(ConsulError):
    """
    The named object does not exist, as Consul itself says.

    A 404 that is not Consul's is UnreadableResponse; one for an endpoint that this agent does not serve is Unsupported.
    """


class Conflict(ConsulError):
    """
    The object exists already, or was changed by somebody else first.

    Read it again and decide anew.
    """


class Unsupported(ConsulError):
    """
    The agent cannot serve the call.

    - `min_version`: Consul version, edition or setting that can serve it, such as "1.9", "Consul Enterprise" or
      "connect.enabled = true"; empty where that is not known.
    - `final`: True by default, unlike in other errors.

    `message`, `reason`, `status`, `text`, `method`, `path` and `address` are those of every `ConsulError`.
    """

    def __init__(
        self,
        message: str,
        *,
        min_version: str = "",
        reason: ErrorReason = ErrorReason.UNSPECIFIED,
        final: bool = True,
        status: int | None = None,
        text: str = "",
        method: str = "",
        path: str = "",
        address: str = "",
    ) -> None:
        super().__init__(
            message,
            reason=reason,
            final=final,
            status=status,
            text=text,
            method=method,
            path=path,
            address=address,
        )
        self.min_version = min_version


# The operator must act: rights, load, or the state of the cluster.


class PermissionDenied(ConsulError):
    """
    The token is unknown, missing or lacks a permission.

    The status is 401, 403 or (with Consul's text) 500; None where nothing was sent, because the token is missing.
    """


class Throttled(ConsulError):
    """
    Too many connections or requests; nothing was applied.

    The status is 429, or 503 for Consul's rate limits.
    """


class NoLeader(ConsulError):
    """
    The servers have no leader, or the agent reaches no server.

    Nothing was applied. Reads are worth another try.
    """


class ServerError(ConsulError):
    """Any other failure on Consul's side (5xx)."""


class ConnectionFailed(ConsulError, ConnectionError):
    """
    No answer: the agent cannot be reached, or the connection broke.

    A write whose connection broke after it was sent raises OutcomeUnknown instead.
    """


class RequestTimeout(ConsulError, TimeoutError):
    """
    No answer within the timeout of the call (`Options.timeout`).

    A write raises OutcomeUnknown instead.
    """


class OutcomeUnknown(ConsulError):
    """
    A write was sent and its answer was lost: it may or may not have been applied.

    Read before you write again.
    """


class UnreadableResponse(ConsulError):
    """
    Answer that is not what Consul sends: truncated, not JSON, or of the wrong shape.

    It may also come from something between client and Consul, such as a gateway.
    """


class ResponseTooLarge(UnreadableResponse):
    """Answer larger than `max_body` bytes after decompression."""


# The program must act: the object is not in a state to serve.


class NotReady(ConsulError, TimeoutError):
    """
    No data yet, or the awaited state did not come within the time given; the message says why.

    Raised too where a token function fails, or gives no token in time.
    """


class Closed(ConsulError, RuntimeError):
    """The client or watch is closed, or is used from another event loop than its own."""
