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
    refused = failure(request, response)
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
    kind, advice, needs = _classify(request, response, text)
    details = {"method": request.method, "path": request.path, "address": response.address}
    if kind is Unsupported:
        if not needs and status != 501:  # noqa: PLR2004 - that is an agent which will never do it
            needs = request.needs or "a newer Consul"
            advice = f"{advice}: it needs {'Consul ' if request.needs else ''}{needs}"
        return Unsupported(advice, needs=needs, status=status, text=text, **details)
    return kind(advice, status=status, text=text, **details)


class _Class(msgspec.Struct, frozen=True):
    """What an error's words mean: any of `words`, looked for anywhere in the text; only `at` that path, if given."""

    kind: type[ConsulError]
    advice: str
    words: tuple[str, ...]
    needs: str = ""
    at: str = ""


# In this order: the first hit counts. Client agents put "rpc error making call: " and more before the servers' words.
_BY_TEXT = (
    _Class(PermissionDenied, "the token is not known to Consul", ("ACL not found",)),
    _Class(PermissionDenied, "the token in use lacks the rights for this", ("Permission denied",)),
    _Class(
        Unsupported,
        "this needs Consul Enterprise: leave out namespace and partition, and CONSUL_NAMESPACE and CONSUL_PARTITION",
        ("Enterprise feature", "enterprise feature", "Consul Enterprise", "enterprise-only"),
        "Consul Enterprise",
    ),
    _Class(Throttled, "too many requests or connections; try again later", ("rate limit", "Rate limit")),
    _Class(
        NoLeader,
        "Consul's servers have no leader or cannot be reached; reads can be tried again",
        (
            "No cluster leader",
            "No known Consul servers",
            "failed to get conn",
            "Raft leader not found",
            "Not ready to serve consistent reads",
            "resolver error: resolver produced no addresses",
        ),
    ),
    _Class(
        Unsupported, "Connect is switched off on this agent", ("Connect must be enabled",), "connect.enabled = true"
    ),
    _Class(Unsupported, "ACLs are switched off on this agent", ("ACL support disabled",), "acl.enabled = true"),
    _Class(Unsupported, "this Consul does not know the kind of config entry", ("invalid config entry kind",)),
    _Class(
        NotFound,
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
    _Class(
        Conflict,
        "it exists already, or was changed meanwhile: read it again",
        ("duplicate intention found", "ModifyIndex did not match existing"),
    ),
    _Class(Conflict, "the two names have an intention already", ("more than once",), at="/v1/connect/intentions"),
    _Class(
        BadRequest,
        "an intention of this destination was created by id and has meta: first write that one by name, or delete it",
        ("LegacyMeta must be omitted",),
    ),
    _Class(
        ServerError,
        "the certificate authority is not ready; try again later",
        ("provider not initialized", "CA is uninitialized", "CA has not finished initializing"),
    ),
    _Class(ServerError, "the servers are being upgraded; try again later", ("read only while being upgraded",)),
    _Class(
        ServerError,
        "no server of that datacenter can be reached, or there is none of that name",
        ("No path to datacenter", "Remote DC has no server"),
    ),
    _Class(
        ServerError,
        "the servers broke off; a write may or may not have been applied",
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


def _classify(request: Request[T], response: Response, text: str) -> tuple[type[ConsulError], str, str]:
    status = response.status
    for known in _BY_TEXT:
        if known.at not in {"", request.path} or (status < 500 and known.kind is ServerError):  # noqa: PLR2004
            continue
        if any(word in text for word in known.words):
            return known.kind, known.advice, known.needs
    if needs := _needed_version(request, text):
        return Unsupported, f"this agent is too old for it: it needs Consul {needs}", needs
    if status == 500 and not request.read and request.path.startswith("/v1/config") and "rpc error" not in text:  # noqa: PLR2004
        return BadRequest, "mend the config entry", ""  # whatever is not known as a failure is Consul's verdict on it
    return _by_status(response, text)


def _needed_version(request: Request[T], text: str) -> str:
    if "UUID must be 36 characters" in text and request.path.endswith("/exact"):
        return request.needs or "1.9"  # an old server takes the word "exact" for an id
    unknown = ((field[1] or field[2]).rpartition(".")[2] for field in _UNKNOWN_FIELD.finditer(text))
    return next((FIELD_SINCE[field] for field in unknown if field in FIELD_SINCE), "")


_BY_STATUS: dict[int, tuple[type[ConsulError], str]] = {
    401: (PermissionDenied, "Consul's configuration or the token forbids it"),
    403: (PermissionDenied, "Consul's configuration or the token forbids it"),
    429: (Throttled, "too many requests or connections; try again later"),
    501: (Unsupported, "this agent does not implement it"),
}


def _by_status(response: Response, text: str) -> tuple[type[ConsulError], str, str]:
    status = response.status
    if status < 400:  # noqa: PLR2004
        return UnreadableResponse, "a redirect is never followed: is this the address of Consul's HTTP API?", ""
    html = "html" in response.headers.get("content-type", "") or text[:1] == "<"
    if status == 404:  # noqa: PLR2004
        if html:
            return UnreadableResponse, "this is not Consul's HTTP API", ""
        if not text or "Invalid URL path" in text:
            return Unsupported, "this agent does not serve the endpoint", ""
        return NotFound, "there is no such thing", ""
    if status in _BY_STATUS:
        return *_BY_STATUS[status], ""
    if status < 500 and status != 408:  # noqa: PLR2004
        return (
            (UnreadableResponse, "this is not Consul's HTTP API", "") if html else (BadRequest, "mend the request", "")
        )
    if status == 500 and _WRONG_INPUT.search(text):  # noqa: PLR2004
        return BadRequest, "mend the request", ""
    return ServerError, "Consul failed; reads can be tried again", ""
