"""Connections that broke: aiohttp's errors, and what of them is known for certain."""

from __future__ import annotations

import errno
import re
from typing import TypeVar

import aiohttp

from aioconsulconnect.errors import (
    Closed,
    ConnectionFailed,
    ConsulError,
    ErrorReason,
    OutcomeUnknown,
    RequestTimeout,
    UnreadableResponse,
)
from aioconsulconnect.transport.exchange import CALLS_AT_ONCE, End, Exchange
from aioconsulconnect.transport.request import Request
from aioconsulconnect.transport.settings.connection import Address

T = TypeVar("T")

_AT_ONCE = 1.0  # seconds: a new connection that is closed so soon, without an answer, was refused
_CONTEXT = re.compile(r" ssl:(?:default|True|False|<[^>]*>)")  # what aiohttp says of TLS in its texts


class Lost(Exception):
    """
    The connection broke under a request, where aiohttp would send it again without notice.

    It is none of aiohttp's own errors, so that nothing catches it on the way to `translated`.
    """


def translated(
    error: Exception, request: Request[T], address: Address, seconds: float, *, at_once: bool
) -> ConsulError:
    """
    Return this library's error for one of aiohttp's; OutcomeUnknown for a write whose answer was lost.

    - `error`: the error.
    - `request`, `address`: what was asked, and whom.
    - `seconds`: the deadline.
    - `at_once`: a new connection was closed before any answer.
    """
    sent = True
    found: ConsulError
    if is_of_tls(error):
        words = f"TLS with {address} failed: {_words(error)}; see ca_cert, client_cert, tls_server_name and verify"
        found, sent = ConnectionFailed(words, reason=ErrorReason.CERTIFICATE), False
    elif isinstance(error, aiohttp.ConnectionTimeoutError | aiohttp.ClientConnectorError):
        reason = ErrorReason.UNREACHABLE if nobody_there(error) else ErrorReason.UNSPECIFIED
        reason = ErrorReason.RESET_AT_ONCE if at_once and reason is ErrorReason.UNSPECIFIED else reason
        found, sent = ConnectionFailed(f"no connection to {address}: {_words(error)}", reason=reason), False
    elif isinstance(error, aiohttp.ClientHttpProxyError):  # its text quotes the URL, with the proxy's password
        words = f"the proxy refused the connection to {address}: {error.status} {error.message}"
        found, sent = ConnectionFailed(words, reason=ErrorReason.PROXY_REFUSED), False
    elif isinstance(error, TimeoutError):
        found = RequestTimeout(f"no answer from {address} within {seconds:g} s")
    elif _is_garbage(error):
        found = UnreadableResponse(f"{address} does not speak HTTP as Consul does: {_words(error)}")
    else:
        reason = ErrorReason.RESET_AT_ONCE if at_once else ErrorReason.BROKEN
        found = ConnectionFailed(f"the connection to {address} broke: {_words(error)}", reason=reason)
    if sent and not request.read:
        words = f"{found.message}; the write may or may not have been applied: read before another"
        found = OutcomeUnknown(words, reason=found.reason)
    return found.about(request.method, request.path, address.name)


def broken_off(why: End, request: Request[T], address: Address, seconds: float, *, sent: bool) -> ConsulError:
    """
    Return the error for a request that this library broke off before its answer came.

    - `why`: the reason.
    - `request`, `address`: what was asked, and whom.
    - `seconds`: the deadline.
    - `sent`: it was sent, or a part of it, and did not wait for its turn.
    """
    if why is End.CLOSED:
        words = "this client was closed"
        if sent and not request.read:
            words = f"{words} before the answer; the write may or may not have been applied: read before another"
            return OutcomeUnknown(words).about(request.method, request.path, address.name)
        return Closed(words).about(request.method, request.path, address.name)
    if sent:
        return translated(TimeoutError(), request, address, seconds, at_once=False)
    words = f"not sent: all {CALLS_AT_ONCE} connections for calls were in use for {seconds:g} s"
    return RequestTimeout(words, reason=ErrorReason.BUSY).about(request.method, request.path, address.name)


def refused_at_once(broken: Exception, exchange: Exchange) -> bool:
    """
    Return True for a new connection that was closed at once, without an answer.

    - `broken`: what aiohttp raised.
    - `exchange`: the request.
    """
    return exchange.age is not None and exchange.age <= _AT_ONCE and without_a_word(broken)


def _words(error: Exception) -> str:
    """Return the text of an error, in the words of the operating system where there are any."""
    cause = error.__cause__ if isinstance(error, Lost) and isinstance(error.__cause__, Exception) else error
    if isinstance(cause, aiohttp.ServerDisconnectedError):
        return "closed without an answer"
    if isinstance(cause, aiohttp.ClientConnectorError):
        cause = cause.os_error
        return cause.strerror or str(cause) or type(cause).__name__
    return _CONTEXT.sub("", str(cause)) or type(cause).__name__


def is_of_tls(error: Exception) -> bool:
    """
    Return True if the handshake failed, or the other side refused our certificate.

    TLS 1.3 tells that after the handshake. `error` is what aiohttp raised.
    """
    if isinstance(error, aiohttp.ClientConnectorCertificateError | aiohttp.ClientConnectorSSLError):
        return True
    cause = error.__cause__ if isinstance(error, Lost) else error
    return "_ALERT_" in str(cause) and "SSL" in str(cause)


def nobody_there(error: Exception) -> bool:
    """Return True if there is no agent: the connection is refused, or the socket does not exist."""
    return isinstance(error, OSError) and error.errno in {errno.ECONNREFUSED, errno.ENOENT}


def without_a_word(error: Exception) -> bool:
    """Return True if the connection was closed or reset before any part of an answer came."""
    if isinstance(error, aiohttp.ClientConnectorError):
        return error.errno in {errno.ECONNRESET, errno.EPIPE, errno.ECONNABORTED}
    if not isinstance(error, Lost):
        return False
    cause = error.__cause__
    return not isinstance(cause, aiohttp.ServerDisconnectedError) or isinstance(cause.message, str)  # else half a head


def _is_garbage(error: Exception) -> bool:
    """Return True if what came back is no HTTP, or has a content encoding that cannot be decoded."""
    if isinstance(error, aiohttp.ClientPayloadError):
        return "decode" in f"{error} {error.__cause__!r}"
    return isinstance(error, aiohttp.ClientResponseError | aiohttp.InvalidURL)
