"""Everything this library raises: one tree, named by who must act.

Each error says what was asked (`method`, `path`), what Consul answered (`status`, `text`) and what to do. None of them
ever holds a token or a private key. All of them can be pickled.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import Self

_PRIVATE_KEY = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL)
_TEXT_LIMIT = 2000


class ErrorReason(Enum):
    """
    Why a call failed, as precisely as the answer tells: to decide on, where the class of the error says too little.

    It is read from Consul's words first, and from the status where they say nothing.
    """

    UNSPECIFIED = "unspecified"
    """Nothing more is known than the class of the error and the status."""

    # Rights.
    TOKEN_UNKNOWN = "token unknown"  # noqa: S105 - no token
    """Consul does not know the token (yet: a new one needs a moment to reach every server)."""
    TOKEN_MISSING = "token missing"  # noqa: S105 - no token
    """The source of the token gives none any more; nothing was sent, as it would have been sent anonymously."""
    ACL_NOT_BOOTSTRAPPED = "acl not bootstrapped"
    """The servers have not loaded their ACLs yet, as for a moment after a restart."""
    PERMISSION_DENIED = "permission denied"
    """The token in use lacks a right; which one is not said (Consul up to 1.11)."""
    TOKEN_LACKS_PERMISSION = "token lacks permission"  # noqa: S105 - no token
    """The token in use lacks a right; the text names both (Consul 1.12)."""
    ANONYMOUS_LACKS_PERMISSION = "anonymous lacks permission"
    """No token was sent, and without one the right is missing (Consul 1.16)."""
    FORBIDDEN = "forbidden"
    """Refused by status (401 or 403), in words that are not Consul's."""

    # What this agent cannot serve.
    ENTERPRISE_ONLY = "enterprise only"
    """Namespaces, partitions and their kin need Consul Enterprise."""
    CONNECT_DISABLED = "connect disabled"
    """The agent runs with `connect.enabled = false`."""
    ACL_DISABLED = "acl disabled"
    """The agent runs with `acl.enabled = false`."""
    UNKNOWN_KIND = "unknown kind"
    """The server does not know this kind of config entry."""
    UNKNOWN_FIELD = "unknown field"
    """The server is too old for a field or a way of asking."""
    UNKNOWN_PATH = "unknown path"
    """The agent says that it does not know the path (Consul 1.11)."""
    UNSERVED = "unserved"
    """A 404 without a word, which is how Consul up to 1.10 answers an unknown path."""
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
    """The agent knows of no server: another agent may do better."""
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
    """The servers broke off; a write may or may not have been applied."""
    DEADLINE_REACHED = "deadline reached"
    """The server gave up at its own deadline; a write may or may not have been applied."""

    # The request.
    NOT_FOUND = "not found"
    """What was named does not exist."""
    ALREADY_EXISTS = "already exists"
    """What was to be created is there."""
    CHANGED_MEANWHILE = "changed meanwhile"
    """It is not any more what the caller has read."""
    HAS_LEGACY_META = "has legacy meta"
    """An intention of the destination was created by id and has meta, which blocks a write by name."""
    INVALID = "invalid"
    """Consul finds the input wrong."""

    # Answers that are not Consul's, and none at all.
    NOT_CONSUL = "not Consul"
    """A redirect, a page of HTML, or a refusal in words that are not Consul's: something in between answers."""
    UNREACHABLE = "unreachable"
    """Nobody listens at the address."""
    RESET_AT_ONCE = "reset at once"
    """A new connection was closed before any answer: Consul 1.8 does so to a host with too many connections."""


class ConsulError(Exception):
    """
    The root of all errors of this library.

    `message` is what to do about it, `reason` why it failed, `final` whether Consul's own words (or ours, of what this
    Consul cannot serve) say that this request can never work, however long one waits, `status` the HTTP status if there
    was an answer, `text` what Consul said (trimmed, and cut at 2,000 characters), `method` and `path` what was
    asked (the path without its query), `address` the agent.
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
        """Say what was asked, on an error raised by code that does not know; return the error itself."""
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
    """`text` without any PEM private key in it."""
    return _PRIVATE_KEY.sub("<private key>", text) if "PRIVATE KEY" in text else text


# The caller must act: what was asked can never work.


class InvalidRequest(ConsulError, ValueError):
    """Refused here, before anything was sent: Consul would refuse it, or would quietly do something else."""


class SettingsError(InvalidRequest):
    """An argument of `Consul()` or an environment variable is malformed; the message names it."""


class BadRequest(ConsulError):
    """Consul says in its own words that the request is wrong, whatever the status; or a write was refused (4xx)."""


class NotFound(ConsulError):
    """What was named does not exist, in Consul's own words; any other 404 is UnreadableResponse."""


class Conflict(ConsulError):
    """It exists already, or somebody else changed it first: read it again and decide anew."""


class Unsupported(ConsulError):
    """This agent cannot serve the call; `min_version` is the Consul version (or edition, or setting) that can."""

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
    """The token is unknown or lacks rights (401, 403)."""


class Throttled(ConsulError):
    """Too many connections or requests (429, and 503 of the rate limits). Nothing was applied."""


class NoLeader(ConsulError):
    """The servers have no leader, or the agent reaches no server. Reads are worth another try; nothing was applied."""


class ServerError(ConsulError):
    """Any other failure on Consul's side (5xx)."""


class ConnectionFailed(ConsulError, ConnectionError):
    """No answer: the agent is not there, or the connection broke."""


class RequestTimeout(ConsulError, TimeoutError):
    """No answer within the deadline."""


class OutcomeUnknown(ConsulError):
    """A write was sent and its answer lost: it may or may not have been applied. Read before you write again."""


class UnreadableResponse(ConsulError):
    """The answer is not what Consul sends: truncated, not JSON, of the wrong shape, or not from Consul at all."""


class ResponseTooLarge(UnreadableResponse):
    """The answer is larger than `max_body` after decompression."""


# The program must act: the object is not in a state to serve.


class NotReady(ConsulError, TimeoutError):
    """There is no data yet, or not what was waited for within the time given; the message says why."""


class Closed(ConsulError, RuntimeError):
    """The client or watch was closed, or is used from another event loop than its own."""
