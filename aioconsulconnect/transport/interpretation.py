"""
What an answer means: Consul's words and the status become a value, or one error with a `reason`. Pure.

Consul's texts are read here and nowhere else: everybody else asks `error.reason`.
"""

from __future__ import annotations

import re
from typing import TypeVar

import msgspec

from aioconsulconnect.compatibility import FIELD_SINCE
from aioconsulconnect.errors import (
    BadRequest,
    Conflict,
    ConsulError,
    ErrorReason,
    NoLeader,
    NotFound,
    PermissionDenied,
    ServerError,
    Throttled,
    UnreadableResponse,
    Unsupported,
)
from aioconsulconnect.transport.request import Request
from aioconsulconnect.transport.response import Response

T = TypeVar("T")


def interpret(request: Request[T], response: Response) -> T:
    """The value of an answer, or the error that it is."""
    refused = response.error or failure(request, response)
    if refused is not None:
        raise refused
    try:
        return request.decode(response)
    except ConsulError as error:
        error.about(request.method, request.path, response.address, response.status)
        raise


def failure(request: Request[T], response: Response) -> ConsulError | None:
    """The error that an answer is, by status and, where Consul's status says little, by its words; None for a 2xx."""
    status = response.status
    if 200 <= status < 300:  # noqa: PLR2004 - the range of success
        return None
    text = response.text
    meaning = _classify(request, response, text)
    details: dict[str, str] = {"method": request.method, "path": request.path, "address": response.address}
    if meaning.kind is Unsupported:
        min_version, advice = meaning.min_version, meaning.advice
        if not min_version and status != 501:  # noqa: PLR2004 - that is an agent which will never do it
            min_version = request.min_version or "a newer Consul"
            advice = f"{advice}: it needs {'Consul ' if request.min_version else ''}{min_version}"
        return Unsupported(advice, min_version=min_version, reason=meaning.reason, status=status, text=text, **details)
    return meaning.kind(
        meaning.advice,
        reason=meaning.reason,
        status=status,
        text=text,
        method=request.method,
        path=request.path,
        address=response.address,
    )


class _Meaning(msgspec.Struct, frozen=True):
    """
    What an error means: its class, its reason, what to do, and the Consul that could serve it.

    In the table it is what any of `words`, looked for anywhere in the text, mean; only `at` that path, if given.
    """

    kind: type[ConsulError]
    reason: ErrorReason
    advice: str
    words: tuple[str, ...] = ()
    min_version: str = ""
    at: str = ""


_NO_RIGHTS = "the token in use lacks the rights for this"
_INTERRUPTED = "the servers broke off; a write may or may not have been applied"
_NO_LEADER = "Consul's servers have no leader or cannot be reached; reads can be tried again"
_CA_NOT_READY = "the certificate authority is not ready; try again later"
_NO_DATACENTER = "no server of that datacenter can be reached, or there is none of that name"

# In this order: the first hit counts. Client agents put "rpc error making call: " and more before the servers' words.
_BY_TEXT = (
    _Meaning(PermissionDenied, ErrorReason.TOKEN_UNKNOWN, "the token is not known to Consul", ("ACL not found",)),
    _Meaning(
        PermissionDenied,
        ErrorReason.ANONYMOUS_LACKS_PERMISSION,
        _NO_RIGHTS,
        ("Permission denied: anonymous token",),
    ),
    _Meaning(
        PermissionDenied,
        ErrorReason.TOKEN_LACKS_PERMISSION,
        _NO_RIGHTS,
        ("Permission denied: token with AccessorID",),
    ),
    _Meaning(PermissionDenied, ErrorReason.PERMISSION_DENIED, _NO_RIGHTS, ("Permission denied",)),
    _Meaning(
        Unsupported,
        ErrorReason.ENTERPRISE_ONLY,
        "this needs Consul Enterprise: leave out namespace and partition, and CONSUL_NAMESPACE and CONSUL_PARTITION",
        ("Enterprise feature", "enterprise feature", "Consul Enterprise", "enterprise-only"),
        "Consul Enterprise",
    ),
    _Meaning(
        Throttled,
        ErrorReason.TOO_MANY_CONNECTIONS,
        "too many requests or connections; try again later",
        ("too many concurrent connections",),
    ),
    _Meaning(
        Throttled,
        ErrorReason.RATE_LIMITED,
        "too many requests or connections; try again later",
        ("rate limit", "Rate limit"),
    ),
    _Meaning(NoLeader, ErrorReason.NO_SERVERS, _NO_LEADER, ("No known Consul servers",)),
    _Meaning(
        NoLeader,
        ErrorReason.NO_LEADER,
        _NO_LEADER,
        (
            "No cluster leader",
            "failed to get conn",
            "Raft leader not found",
            "Not ready to serve consistent reads",
            "resolver error: resolver produced no addresses",
        ),
    ),
    _Meaning(
        Unsupported,
        ErrorReason.CONNECT_DISABLED,
        "Connect is switched off on this agent",
        ("Connect must be enabled",),
        "connect.enabled = true",
    ),
    _Meaning(
        Unsupported,
        ErrorReason.ACL_DISABLED,
        "ACLs are switched off on this agent",
        ("ACL support disabled",),
        "acl.enabled = true",
    ),
    _Meaning(
        Unsupported,
        ErrorReason.UNKNOWN_KIND,
        "this Consul does not know the kind of config entry",
        ("invalid config entry kind",),
    ),
    _Meaning(
        NotFound,
        ErrorReason.NOT_FOUND,
        "there is no such thing",
        (
            "Intention not found",
            "non-existent intention",
            "Config entry not found",
            "Unknown service",
            "Unknown check",
            "unknown service ID",
        ),
    ),
    _Meaning(
        Conflict,
        ErrorReason.ALREADY_EXISTS,
        "it exists already, or was changed meanwhile: read it again",
        ("duplicate intention found",),
    ),
    _Meaning(
        Conflict,
        ErrorReason.CHANGED_MEANWHILE,
        "it exists already, or was changed meanwhile: read it again",
        ("ModifyIndex did not match existing",),
    ),
    _Meaning(
        Conflict,
        ErrorReason.ALREADY_EXISTS,
        "the two names have an intention already",
        ("more than once",),
        at="/v1/connect/intentions",
    ),
    _Meaning(
        BadRequest,
        ErrorReason.HAS_LEGACY_META,
        "an intention of this destination was created by id and has meta: first write that one by name, or delete it",
        ("LegacyMeta must be omitted",),
    ),
    _Meaning(
        ServerError,
        ErrorReason.CA_UNINITIALIZED,
        _CA_NOT_READY,
        ("CA is uninitialized", "CA has not finished initializing"),
    ),
    _Meaning(ServerError, ErrorReason.CA_NOT_READY, _CA_NOT_READY, ("provider not initialized",)),
    _Meaning(
        ServerError,
        ErrorReason.UPGRADING,
        "the servers are being upgraded; try again later",
        ("read only while being upgraded",),
    ),
    _Meaning(ServerError, ErrorReason.DATACENTER_UNKNOWN, _NO_DATACENTER, ("No path to datacenter",)),
    _Meaning(ServerError, ErrorReason.DATACENTER_UNREACHABLE, _NO_DATACENTER, ("Remote DC has no server",)),
    _Meaning(ServerError, ErrorReason.DEADLINE_REACHED, _INTERRUPTED, ("i/o deadline reached",)),
    _Meaning(
        ServerError,
        ErrorReason.INTERRUPTED,
        _INTERRUPTED,
        (
            "leadership lost",
            "making call: EOF",
            "i/o timeout",
            "i/o deadline",
            "connection reset",
            "reading from server",
            "connection is closing",
            "shutting down",
        ),
    ),
)

_WRONG_INPUT = re.compile(
    r"Sources\[|must |[Ii]nvalid|required|errors? occurred|error\(s\)|[Cc]annot|incompatible|decode|unsupported"
    r"|error configuring provider|could not initialize provider|exceeds|should |does not exist|does not have"
    r"|not support|too many|[Bb]oolean|SPIFFE ID is not|Bad Failover|UUID|parsing|defines|redeclare"
)
_UNKNOWN_FIELD = re.compile(r'unknown field "(\w+)"|invalid config key "([^"]+)"')


_INVALID = _Meaning(BadRequest, ErrorReason.INVALID, "mend the request")


def _classify(request: Request[T], response: Response, text: str) -> _Meaning:
    status = response.status
    for known in _BY_TEXT:
        if known.at not in {"", request.path} or (status < 500 and known.kind is ServerError):  # noqa: PLR2004
            continue
        if any(word in text for word in known.words):
            return known
    if since := _needed_version(request, text):
        advice = f"this agent is too old for it: it needs Consul {since}"
        return _Meaning(Unsupported, ErrorReason.UNKNOWN_FIELD, advice, min_version=since)
    if status == 500 and not request.read and request.path.startswith("/v1/config") and "rpc error" not in text:  # noqa: PLR2004
        # Whatever is not known as a failure is Consul's verdict on the entry.
        return _Meaning(BadRequest, ErrorReason.INVALID, "mend the config entry")
    return _by_status(response, text)


def _needed_version(request: Request[T], text: str) -> str:
    if "UUID must be 36 characters" in text and request.path.endswith("/exact"):
        return request.min_version or "1.9"  # an old server takes the word "exact" for an id
    unknown = ((field[1] or field[2]).rpartition(".")[2] for field in _UNKNOWN_FIELD.finditer(text))
    return next((FIELD_SINCE[field] for field in unknown if field in FIELD_SINCE), "")


def _by_status(response: Response, text: str) -> _Meaning:
    status = response.status
    html = "html" in response.headers.get("content-type", "") or text[:1] == "<"
    not_consul = _Meaning(UnreadableResponse, ErrorReason.NOT_CONSUL, "this is not Consul's HTTP API")
    if status < 400:  # noqa: PLR2004
        advice = "a redirect is never followed: is this the address of Consul's HTTP API?"
        return _Meaning(UnreadableResponse, ErrorReason.NOT_CONSUL, advice)
    if status == 404:  # noqa: PLR2004
        return not_consul if html else _missing(text)
    if status in {401, 403}:
        advice = "Consul's configuration or the token forbids it"
        return _Meaning(PermissionDenied, ErrorReason.FORBIDDEN, advice)
    if status == 429:  # noqa: PLR2004
        return _Meaning(Throttled, ErrorReason.RATE_LIMITED, "too many requests or connections; try again later")
    if status == 501:  # noqa: PLR2004
        return _Meaning(Unsupported, ErrorReason.NOT_IMPLEMENTED, "this agent does not implement it")
    if status < 500 and status != 408:  # noqa: PLR2004
        return not_consul if html else _INVALID
    if status == 500 and _WRONG_INPUT.search(text):  # noqa: PLR2004
        return _INVALID
    reason = ErrorReason.NOT_CONSUL if html else ErrorReason.UNSPECIFIED
    return _Meaning(ServerError, reason, "Consul failed; reads can be tried again")


def _missing(text: str) -> _Meaning:
    """What a 404 without known words means."""
    if "Invalid URL path" in text:
        return _Meaning(Unsupported, ErrorReason.UNKNOWN_PATH, "this agent does not serve the endpoint")
    if not text:
        return _Meaning(Unsupported, ErrorReason.UNSERVED, "this agent does not serve the endpoint")
    return _Meaning(NotFound, ErrorReason.NOT_FOUND, "there is no such thing")
