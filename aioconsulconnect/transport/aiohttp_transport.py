"""The one user of aiohttp's client: sessions, token, TLS to the agent, retries, failover, and its errors translated."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from functools import lru_cache
from random import random as _random
from typing import TypeVar

import aiohttp
from msgspec.structs import replace
from yarl import URL

from aioconsulconnect.clock import Clock
from aioconsulconnect.errors import (
    Closed,
    ConnectionFailed,
    ConsulError,
    ErrorReason,
    OutcomeUnknown,
    RequestTimeout,
    ResponseTooLarge,
    ServerError,
    UnreadableResponse,
)
from aioconsulconnect.transport.interpretation import failure
from aioconsulconnect.transport.request import Parameters, Request, query_string
from aioconsulconnect.transport.response import Response
from aioconsulconnect.transport.retry import Random, delay, outcome, worth_retrying
from aioconsulconnect.transport.sender import Purpose
from aioconsulconnect.transport.sessions import Session, SessionPool, TraceConfig, own_headers
from aioconsulconnect.transport.settings import DEFAULT_TIMEOUT, Address, Settings
from aioconsulconnect.transport.tls import tls_context
from aioconsulconnect.transport.token import awaited_token, checked_token

T = TypeVar("T")

_CONNECT_TIMEOUT = 10.0


class _Lost(Exception):
    """
    The connection broke under a request, where aiohttp would quietly send it again.

    It is none of aiohttp's own errors, so that nothing catches it on the way to `_translated`.
    """


async def _no_hidden_resend(
    request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    """Keep aiohttp from sending GET, PUT and DELETE again on a connection that died idle: only we decide on that."""
    try:
        return await handler(request)
    except aiohttp.ClientConnectorError:
        raise
    except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as error:
        raise _Lost from error


class Transport:
    """
    Carries requests to Consul. It belongs to the event loop of its first I/O.

    Plain calls and polls have sessions of their own, so that no number of waiting polls delays a call. A `session` of
    the caller's serves plain calls only, and is never closed here; polls run on one of ours with its trace configs.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        session: Session | None = None,
        trace_configs: Sequence[TraceConfig] = (),
        clock: Clock | None = None,
        random: Random = _random,
    ) -> None:
        self._settings = settings
        self._sessions = SessionPool(settings, borrowed=session, trace_configs=trace_configs)
        self._clock = clock or Clock()
        self._random = random
        self._tls = tls_context(settings)
        self._addresses = {str(address): address for address in settings.addresses}
        # Ours goes inside those of a borrowed session: giving any to a request replaces the session's own.
        self._middlewares = (*getattr(session, "_middlewares", ()), _no_hidden_resend)
        self._fixed_headers = _fixed_headers(settings, borrowed=session is not None)
        self._timeouts: dict[float, aiohttp.ClientTimeout] = {}
        self._preferred = 0

    def __repr__(self) -> str:
        return f"<Transport to {', '.join(self._addresses)}{' (closed)' if self._sessions.closed else ''}>"

    @property
    def addresses(self) -> tuple[str, ...]:
        """The agents, the preferred one first."""
        names = tuple(self._addresses)
        return names[self._preferred :] + names[: self._preferred]

    async def aclose(self) -> None:
        """Close the sessions that are ours. Twice is fine."""
        await self._sessions.aclose()

    async def send(self, request: Request[T]) -> Response:
        """
        Send a plain call and return its 2xx answer.

        Failures that another try may mend are tried again, up to `tries` times (and once more for each further
        address), after a random pause. A call that got no answer, or the one of an agent that has lost its servers,
        goes to the next address. A write is sent again only if nothing can have been applied.
        """
        failures = 0
        while True:
            address = self._settings.addresses[self._preferred]
            try:
                response = await self._exchange(request, request.parameters, address, "calls")
                error = response.error
                if error is None:
                    return response
                if isinstance(error, ServerError) or error.reason is ErrorReason.NO_SERVERS:
                    self._prefer_next_to(address)  # while all servers elect a leader, the next agent is no better
            except (ConnectionFailed, RequestTimeout) as failed:
                error = failed
                self._prefer_next_to(address)
            failures += 1
            if failures >= self._settings.tries + len(self._addresses) - 1 or not worth_retrying(
                error, read=request.read
            ):
                raise self._final(error, request)
            await self._clock.sleep(delay(failures - 1, self._random))

    async def attempt(
        self, request: Request[T], *, extra: Parameters, deadline: float, address: str, purpose: Purpose = "polls"
    ) -> Response:
        """Try a poll once, on the connections of its `purpose`, and return whatever was answered."""
        return await self._exchange(request, request.parameters + extra, self._addresses[address], purpose, deadline)

    def avoid(self, address: str) -> None:
        """Prefer another agent than this one, where it is the preferred one: it does not serve."""
        self._prefer_next_to(self._addresses[address])

    def token_mark(self) -> object:
        """What changes when the token does, where that can be told without using it; else always the same."""
        return None

    def _prefer_next_to(self, address: Address) -> None:
        """Move on from an address that did not serve, unless another call has moved on already."""
        addresses = self._settings.addresses
        if addresses[self._preferred] is address:
            self._preferred = (self._preferred + 1) % len(addresses)

    def _final(self, error: ConsulError, request: Request[T]) -> ConsulError:
        """The error as the caller sees it: a write without an answer is unknown."""
        return error if request.read else outcome(error)

    async def _exchange(
        self,
        request: Request[T],
        parameters: Parameters,
        address: Address,
        purpose: Purpose,
        deadline: float | None = None,
    ) -> Response:
        """One request and its whole answer; every error is ours."""
        session = self._sessions.of(address, purpose)
        url = _url(address.url, request.path, parameters)
        seconds = deadline or request.options.timeout or DEFAULT_TIMEOUT
        timeout = self._timeout(seconds)
        token = request.options.token
        if token is None:
            given = self._settings.token()
            token = (
                checked_token(given) if given is None or isinstance(given, str) else await awaited_token(given, seconds)
            )
        headers = self._headers(request, token)
        try:
            async with session.request(
                request.method,
                url,
                data=request.body,
                headers=headers,
                allow_redirects=False,
                raise_for_status=False,
                timeout=timeout,
                middlewares=self._middlewares,
                ssl=self._tls,
                server_hostname=self._settings.tls_server_name or None,
            ) as answer:
                body = await self._body(answer)
                if token and answer.status >= 300 and token.encode() in body:  # noqa: PLR2004 - an answer that quotes it
                    body = body.replace(token.encode(), b"***")
                response = Response(answer.status, answer.headers, body, str(address), not token)
                error = failure(request, response)
                return response if error is None else replace(response, error=error)
        except ResponseTooLarge as too_large:
            too_large.about(request.method, request.path, str(address))
            raise
        except (aiohttp.ClientError, OSError, _Lost) as failed:
            broken = failed
        except RuntimeError as failed:
            if not session.closed:
                raise
            raise Closed("the session was closed").about(request.method, request.path, str(address)) from failed
        # aiohttp's errors about an answer carry the request's headers, the token among them: only its parser's goes on.
        cause = broken.__cause__ if isinstance(broken, aiohttp.ClientResponseError) else broken
        raise self._translated(broken, request, address, timeout.total or 0.0) from cause

    def _headers(self, request: Request[T], token: str | None) -> dict[str, str] | None:
        """What this request adds to the headers of the session; None for nothing, which is cheaper."""
        if request.body is None and not token:
            return self._fixed_headers
        headers: dict[str, str] = dict(self._fixed_headers or {})
        if token:
            headers["X-Consul-Token"] = token
        if request.body is not None:
            headers["Content-Type"] = "application/json"
        return headers

    async def _body(self, answer: aiohttp.ClientResponse) -> bytes:
        """The body, up to the limit after decompression."""
        limit = self._settings.max_body
        length = answer.content_length
        if length is not None and length <= limit and "Content-Encoding" not in answer.headers:
            return await answer.read()
        chunks: list[bytes] = []
        size = 0
        async for chunk in answer.content.iter_any():
            size += len(chunk)
            if size > limit:
                answer.close()
                raise ResponseTooLarge(f"the answer is larger than max_body, {limit} bytes after decompression")
            chunks.append(chunk)
        return b"".join(chunks)

    def _timeout(self, seconds: float) -> aiohttp.ClientTimeout:
        known = self._timeouts.get(seconds)
        if known is None:
            if len(self._timeouts) > 64:  # noqa: PLR2004 - polls jitter their deadlines
                self._timeouts.clear()
            known = self._timeouts[seconds] = aiohttp.ClientTimeout(
                total=seconds, sock_connect=min(seconds, _CONNECT_TIMEOUT)
            )
        return known

    def _translated(self, error: Exception, request: Request[T], address: Address, seconds: float) -> ConsulError:
        """One of our errors for one of aiohttp's; a write whose answer was lost is OutcomeUnknown at once."""
        sent = True
        found: ConsulError
        if isinstance(error, aiohttp.ConnectionTimeoutError | aiohttp.ClientConnectorError):
            reason = ErrorReason.UNREACHABLE if _nobody_there(error) else ErrorReason.UNSPECIFIED
            found, sent = ConnectionFailed(f"no connection to {address}: {_words(error)}", reason=reason), False
        elif isinstance(error, TimeoutError):
            found = RequestTimeout(f"no answer from {address} within {seconds:g} s")
        elif _is_garbage(error):
            found, sent = UnreadableResponse(f"{address} does not speak HTTP as Consul does: {_words(error)}"), False
        else:
            found = ConnectionFailed(f"the connection to {address} broke: {_words(error)}")
        if sent and not request.read:
            found = OutcomeUnknown(f"{found.message}; the write may or may not have been applied: read before another")
        return found.about(request.method, request.path, str(address))


def _fixed_headers(settings: Settings, *, borrowed: bool) -> dict[str, str] | None:
    """What every request carries beside the headers of its session."""
    headers = own_headers(near=True) if borrowed else {}
    if settings.auth:
        headers["Authorization"] = settings.auth
    return headers or None


@lru_cache(1024)
def _url(base: str, path: str, parameters: Parameters) -> URL:
    """Where a request goes; the same are asked again and again."""
    return URL(f"{base}{path}{query_string(parameters)}", encoded=True)


def _words(error: Exception) -> str:
    """What went wrong, in the words of the system where there are any."""
    cause = error.__cause__ if isinstance(error, _Lost) and isinstance(error.__cause__, Exception) else error
    if isinstance(cause, aiohttp.ServerDisconnectedError):
        return "closed without an answer"
    return str(cause) or type(cause).__name__


def _nobody_there(error: Exception) -> bool:
    """Whether there is no agent at the address: it is refused, or its socket does not exist."""
    return isinstance(error, OSError) and error.errno in {errno.ECONNREFUSED, errno.ENOENT}


def _is_garbage(error: Exception) -> bool:
    """Whether what came back is no HTTP, or is packed in a way that cannot be unpacked."""
    if isinstance(error, aiohttp.ClientPayloadError):
        return "decode" in f"{error} {error.__cause__!r}"
    return isinstance(error, aiohttp.ClientResponseError | aiohttp.InvalidURL)
