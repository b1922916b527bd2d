"""
Interpretation of an answer: its status and Consul's words become a value or one error.

Pure. Consul's texts (in `words`) are matched here and nowhere else; all other code reads `error.reason` and
`error.final`. Words come before the status. Without Consul's own words no error is final, and nothing counts as absent,
because what stands before Consul (a proxy, a gateway) answers too.
"""

from __future__ import annotations

import re
from typing import TypeVar

from msgspec.structs import replace

from aioconsulconnect.compatibility import FIELD_SINCE, OLDEST, version_of
from aioconsulconnect.errors import (
    BadRequest,
    ConsulError,
    ErrorReason,
    NoLeader,
    NotFound,
    OutcomeUnknown,
    PermissionDenied,
    ServerError,
    Throttled,
    UnreadableResponse,
    Unsupported,
)
from aioconsulconnect.transport.request import Request
from aioconsulconnect.transport.response import Response
from aioconsulconnect.transport.words import BY_TEXT, INVALID, WRONG, Meaning

T = TypeVar("T")


def interpret(request: Request[T], response: Response) -> T:
    """
    Return the value of an answer, or raise the error that it is.

    `request` has the function that decodes `response`. Raises a ConsulError, UnreadableResponse for a body that cannot
    be decoded.
    """
    refused = response.error or failure(request, response)
    if refused is not None:
        raise refused
    try:
        return request.decode(response)
    except ConsulError as error:
        error.about(request.method, request.path, response.address, response.status)
        if not isinstance(error, UnreadableResponse):
            raise
        if response.meta.index is not None:
            error.reason = ErrorReason.NOT_UNDERSTOOD
        if request.read:
            raise
        words = f"{error.message}; the write may or may not have been applied: read before another"
        unknown = OutcomeUnknown(words, reason=error.reason)
        raise unknown.about(request.method, request.path, response.address, response.status) from error


def failure(request: Request[T], response: Response, *, secret: str = "") -> ConsulError | None:
    """
    Return the error that an answer is, or None for a 2xx.

    It goes by the status and, where Consul's status says little, by its words.

    - `request`: what was asked.
    - `response`: the answer.
    - `secret`: text that the error must not show; default: none.
    """
    status = response.status
    if 200 <= status < 300:  # noqa: PLR2004 - the range of success
        return None
    text = response.text
    meaning = _classify(request, response, text)
    if secret:  # only now: it may be one of the words that are looked for
        text = text.replace(secret, "***")
    details = {"method": request.method, "path": request.path, "address": response.address}
    if meaning.kind is Unsupported:
        min_version, advice = meaning.min_version, meaning.advice
        if not min_version and status != 501:  # noqa: PLR2004 - an agent that answers 501 never implements it
            min_version = request.min_version or "a newer Consul"
            advice = f"{advice}: it needs {'Consul ' if request.min_version else ''}{min_version}"
        return Unsupported(
            advice,
            min_version=min_version,
            reason=meaning.reason,
            final=meaning.final,
            status=status,
            text=text,
            **details,
        )
    return meaning.kind(meaning.advice, reason=meaning.reason, final=meaning.final, status=status, text=text, **details)


# What Consul finds wrong in a write. Not used for reads: errors of the CA behind Consul have words like these too.
_WRONG_INPUT = re.compile(
    r"Sources\[|must |[Ii]nvalid|required|errors? occurred|error\(s\)|[Cc]annot|incompatible|decode|unsupported"
    r"|error configuring provider|could not initialize provider|exceeds|should |does not exist|does not have"
    r"|not support|too many|[Bb]oolean|SPIFFE ID is not|Bad Failover|UUID|parsing|defines|redeclare"
)
_UNKNOWN_FIELD = re.compile(r'unknown field "(\w+)"|invalid config key "([^"]+)"')


# Statuses with which Consul's words count: the page of a gateway may quote anything.
_STATUSES: dict[type[ConsulError], frozenset[int]] = {
    PermissionDenied: frozenset({401, 403, 500}),
    NotFound: frozenset({404, 500}),
    ServerError: frozenset(range(500, 600)),
    NoLeader: frozenset(range(500, 600)),
}
_NOT_CONSUL = Meaning(
    UnreadableResponse, ErrorReason.NOT_CONSUL, "this is not Consul's HTTP API: something in between answered"
)


def _classify(request: Request[T], response: Response, text: str) -> Meaning:
    if response.is_page:
        return _by_status(request, response.status, html=True)
    return _by_words(request, response, text) or _by_status(request, response.status)


def _by_words(request: Request[T], response: Response, text: str) -> Meaning | None:
    """Return the meaning of Consul's own words; None where there are none."""
    status = response.status
    for known in BY_TEXT:
        if _is_at(request.path, known.at) and any(word in text for word in known.words):
            allowed = _STATUSES.get(known.kind)
            if allowed is None or status in allowed:
                return known
    wrong = _is_wrong(text)
    if since := _needed_version(request, text):
        advice = f"this agent is too old for it: it needs Consul {since}"
        return Meaning(Unsupported, ErrorReason.UNKNOWN_FIELD, advice, min_version=since, final=wrong)
    if wrong or (status == 405 and text == f"method {request.method} not allowed" and "allow" in response.headers):  # noqa: PLR2004
        return _NOT_IMPLEMENTED if status == 501 else _WRONG  # noqa: PLR2004
    if status == 404 and not text:  # noqa: PLR2004
        if response.meta.index is not None:  # as the KV store answers for a missing key
            return Meaning(NotFound, ErrorReason.NOT_FOUND, "there is no such thing")
        if request.min_version and version_of(request.min_version) > _OLDEST:
            return Meaning(Unsupported, ErrorReason.UNSERVED, "this agent does not serve the endpoint")
    if status == 500 and not request.read and request.path.startswith("/v1/config") and "rpc error" not in text:  # noqa: PLR2004
        # Any other text is Consul's verdict on the config entry.
        return Meaning(BadRequest, ErrorReason.INVALID, "mend the config entry")
    if status == 500 and not request.read and _WRONG_INPUT.search(text):  # noqa: PLR2004
        return INVALID
    return None


def _is_at(path: str, at: str) -> bool:
    """True for the path that a meaning is tied to; one that ends with a star is for all paths that begin so."""
    return at in {"", path} or (at.endswith("*") and path.startswith(at[:-1]))


_OLDEST = version_of(OLDEST)
_WRONG = replace(INVALID, final=True)
_NOT_IMPLEMENTED = Meaning(Unsupported, ErrorReason.NOT_IMPLEMENTED, "this agent does not implement it", final=True)


def _is_wrong(text: str) -> bool:
    """Return True if a sentence of Consul's in the text says that the request can never work."""
    said = ": " + text.replace("\n\t* ", ": ")
    return any(f": {words}" in said for words in WRONG)


def _needed_version(request: Request[T], text: str) -> str:
    """Return the version that the request needs, if the text shows that the agent is too old, else empty."""
    if "UUID must be 36 characters" in text and request.path.endswith("/exact"):
        return request.min_version or "1.9"  # an old server takes the word "exact" for an id
    unknown = ((field[1] or field[2]).rpartition(".")[2] for field in _UNKNOWN_FIELD.finditer(text))
    return next((FIELD_SINCE[field] for field in unknown if field in FIELD_SINCE), "")


def _by_status(request: Request[T], status: int, *, html: bool = False) -> Meaning:
    """Return the meaning of an answer without Consul's words, which most often did not come from Consul."""
    if status < 400:  # noqa: PLR2004
        advice = "a redirect is never followed: is this the address of Consul's HTTP API?"
        return Meaning(UnreadableResponse, ErrorReason.NOT_CONSUL, advice)
    if status in {401, 403}:
        who = "what stands before Consul" if html else "Consul's configuration or the token"
        return Meaning(PermissionDenied, ErrorReason.FORBIDDEN, f"{who} forbids it")
    if status == 429:  # noqa: PLR2004
        return Meaning(Throttled, ErrorReason.RATE_LIMITED, "too many requests or connections; try again later")
    if status == 501:  # noqa: PLR2004
        return replace(_NOT_IMPLEMENTED, final=False)
    if status < 500 and status != 408:  # noqa: PLR2004
        return _NOT_CONSUL if html or request.read or status == 404 else INVALID  # noqa: PLR2004
    reason = ErrorReason.NOT_CONSUL if html else ErrorReason.UNSPECIFIED
    who = "something in between" if html else "Consul"
    return Meaning(ServerError, reason, f"{who} failed; reads can be tried again")
