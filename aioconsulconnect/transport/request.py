"""A request: one call of Consul's HTTP API, as data."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Generic, TypeVar
from urllib.parse import quote

import msgspec

from aioconsulconnect.errors import InvalidRequest, redact
from aioconsulconnect.slices import InSlices
from aioconsulconnect.transport.response import Response
from aioconsulconnect.transport.settings.options import NO_OPTIONS, Option, Options

T_co = TypeVar("T_co", covariant=True)

_LONGEST_KEPT = 200  # characters: a longer text is encoded each time, so that what is kept stays small

Parameters = tuple[tuple[str, str], ...]


class Request(msgspec.Struct, Generic[T_co], frozen=True, kw_only=True):
    """
    One call of Consul's HTTP API, as data.

    - `method`: HTTP method.
    - `path`: path, percent-encoded already.
    - `decode`: pure function that turns a 2xx answer into the value.
    - `query`: query parameters of its own, not encoded; a flag has an empty value.
    - `body`: body, None for none.
    - `read`: it changes nothing, and may be sent again; a POST can be a read. Default: True.
    - `idempotent`: a write that does no harm if it is applied twice, so that it may be sent once more where the
      connection broke before its answer. Default: False.
    - `removes`: an idempotent write that removes one thing: if its repetition finds none, the first was applied.
      Default: False.
    - `options`: options of the call.
    - `accepted_options`: names of the options that Consul honours here; the others are left out.
    - `min_version`: oldest Consul version that serves it, "" for every supported one.
    - `slices`: decodes as `decode` does, and yields from time to time, so that other tasks may run during a large
      answer.
    """

    method: str
    path: str
    decode: Callable[[Response], T_co]
    query: Parameters = ()
    body: bytes | None = None
    read: bool = True
    idempotent: bool = False
    removes: bool = False
    options: Options = NO_OPTIONS
    accepted_options: frozenset[Option] = frozenset()
    min_version: str = ""
    slices: Callable[[Response], InSlices[T_co]] | None = None

    def __repr__(self) -> str:
        return redact(msgspec.Struct.__repr__(self))

    @property
    def parameters(self) -> Parameters:
        """The query parameters as they are sent: its own, then those of the options."""
        return self.query if self.options is NO_OPTIONS else self.query + self.options.parameters(self.accepted_options)


def path_of(*segments: str) -> str:
    """
    Return the path `/v1/…` of unencoded `segments`.

    Raises InvalidRequest for a segment that would lead to another path, or that Consul cannot take: empty parts, "." or
    "..", and control characters.
    """
    for segment in segments:
        if not isinstance(segment, str):
            raise InvalidRequest(f"{segment!r:.40} cannot be part of a path: it is no text")
        if not segment.isprintable() or any(part in {"", ".", ".."} for part in segment.split("/")):
            raise InvalidRequest(
                f"{segment!r} cannot be part of a path: it is empty, has a control character, or a part that is"
                " empty, '.' or '..'"
            )
    return "/v1/" + "/".join(encoded(segment, safe="*") for segment in segments)


def encoded(text: str, *, safe: str = "*/:") -> str:
    """
    Return `text` percent-encoded, without touching the characters of `safe`.

    Raises InvalidRequest where it is not valid text (lone surrogates).
    """
    return _kept(text, safe) if len(text) <= _LONGEST_KEPT else _quoted(text, safe)


@lru_cache(1024)
def _kept(text: str, safe: str) -> str:
    return _quoted(text, safe)


def _quoted(text: str, safe: str) -> str:
    try:
        return quote(text, safe=safe)
    except UnicodeEncodeError:
        raise InvalidRequest(f"{text!r} cannot be sent: it holds half of a surrogate pair") from None


def query_string(parameters: Parameters) -> str:
    """
    Return the query string for `parameters`: empty, or with its question mark.

    A flag stands without `=`.
    """
    if not parameters:
        return ""
    return "?" + "&".join(f"{name}={encoded(value)}" if value else name for name, value in parameters)
