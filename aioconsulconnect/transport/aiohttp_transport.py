"""
Transport over aiohttp: sessions, token, TLS, retries and failover, and aiohttp's errors.

It is the only user of aiohttp's client.
"""

from __future__ import annotations

import asyncio
import sys
from functools import lru_cache
from random import random as _random
from typing import TypeVar

import aiohttp
from anyio import to_thread
from msgspec.structs import replace
from yarl import URL

from aioconsulconnect.clock import Clock
from aioconsulconnect.errors import (
    BadRequest,
    Closed,
    Conflict,
    ConnectionFailed,
    ConsulError,
    ErrorReason,
    NotFound,
    NotReady,
    OutcomeUnknown,
    PermissionDenied,
    RequestTimeout,
    ResponseTooLarge,
    ServerError,
    Unsupported,
)
from aioconsulconnect.own_loop import OwnLoop
from aioconsulconnect.transport.broken import (
    Lost,
    broken_off,
    is_of_tls,
    nobody_there,
    refused_at_once,
    translated,
)
from aioconsulconnect.transport.exchange import CALLS_AT_ONCE, Exchange
from aioconsulconnect.transport.interpretation import failure
from aioconsulconnect.transport.request import Parameters, Request, query_string
from aioconsulconnect.transport.response import Response
from aioconsulconnect.transport.retry import Random, delay, from_gateway, outcome, worth_repeating, worth_retrying
from aioconsulconnect.transport.sender import CrowdingNotice
from aioconsulconnect.transport.sessions import SessionPool, fixed_headers
from aioconsulconnect.transport.settings.connection import DEFAULT_TIMEOUT, Address, Settings
from aioconsulconnect.transport.settings.http_client import SSLContext
from aioconsulconnect.transport.settings.options import Purpose
from aioconsulconnect.transport.tls import TLS
from aioconsulconnect.transport.token import Tokens

T = TypeVar("T")

_CONNECT_TIMEOUT = 10.0
_UNLIMITED = asyncio.Semaphore(sys.maxsize)  # what polls may hold is counted where they are made
_LONGEST_KEPT = 500  # characters of a URL that is kept
_LARGE = 4 << 20  # bytes
_SWAPS = 2  # tries with another TLS context, which count beside the others
_JUDGED = (BadRequest, Conflict, NotFound, Unsupported)  # Consul's verdicts on what was asked


class Transport:
    """
    Carrier of requests to Consul; it belongs to the event loop of its first I/O.

    Plain calls and polls have sessions of their own, so that no number of waiting polls delays a call.

    - `settings`: addresses, token, TLS, HTTP client, limits.
    - `clock`: clock for every wait; default: a new `Clock`.
    - `random`: source of the jitter of pauses, 0 to 1.
    - `own_loop`: event loop of the client; default: that of the first I/O.

    `crowding` counts the refusals because of too many connections. Raises SettingsError for certificate files that
    cannot be used, and for headers beside `auth` that do the same.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        clock: Clock | None = None,
        random: Random = _random,
        own_loop: OwnLoop | None = None,
    ) -> None:
        self._settings = settings
        self._sessions = SessionPool(settings, own_loop or OwnLoop())
        self._clock = clock or Clock()
        self._random = random
        self._tls = TLS(settings, self._clock)
        self._slots = asyncio.Semaphore(CALLS_AT_ONCE)
        self._addresses = {address.name: address for address in settings.addresses}
        self._fixed_headers = fixed_headers(settings)
        self._timeouts: dict[float, aiohttp.ClientTimeout] = {}
        self._preferred = 0
        self._tokens = Tokens(settings.token, self._clock)
        self.crowding: CrowdingNotice = CrowdingNotice()

    def __repr__(self) -> str:
        return f"<Transport to {', '.join(self._addresses)}{' (closed)' if self._sessions.closed else ''}>"

    @property
    def addresses(self) -> tuple[str, ...]:
        """The addresses of the agents, the preferred one first."""
        names = tuple(self._addresses)
        return names[self._preferred :] + names[: self._preferred]

    def token_mark(self) -> int | None:
        """
        Return a mark of the client's token that was used last, to be taken before a request is sent.

        None before there was any.
        """
        return self._tokens.mark

    async def token_changed_since(self, mark: object | None) -> bool:
        """
        Return True if the client's token would now be another one than at `mark`.

        False where that cannot be known. The file or the function that gives the token is asked at most every two
        seconds, however many callers there are.
        """
        return await self._tokens.changed_since(mark if isinstance(mark, int) else None)

    async def aclose(self) -> None:
        """Close the library's sessions; it may be called twice, and inside a token function."""
        await self._sessions.aclose()

    async def send(self, request: Request[T]) -> Response:
        """
        Send a plain call, and return its 2xx answer.

        After a failure that another try may mend, `request` is sent again, up to `tries` times in all (and once more
        for each further address), after a random pause. A call that got no answer, a server error, the refusal of a
        gateway, or the answer of an agent that has lost its servers goes to the next address. A write is sent again
        only if nothing can have been applied, or if it is idempotent and its connection broke: then once more at the
        same address.

        Raises a ConsulError; OutcomeUnknown for a write whose answer was lost.
        """
        failures, swaps, fresh = 0, 0, False
        address, lost = self._settings.addresses[self._preferred], None
        while True:
            context = self._tls.context(address.name)
            try:
                response = await self._exchange(request, request.parameters, address, "calls", fresh=fresh)
                error = response.error
                if error is None or (lost is not None and request.removes and isinstance(error, NotFound)):
                    return response if error is None else Response(200, {}, b"", response.address)
                # During an election of a leader the next agent is no better.
                away = isinstance(error, ServerError) or error.reason is ErrorReason.NO_SERVERS or from_gateway(error)
            except (ConnectionFailed, RequestTimeout) as failed:
                error, away = failed, failed.reason is not ErrorReason.BUSY
            except OutcomeUnknown as unknown:
                if lost is not None or not request.idempotent or not worth_repeating(unknown):
                    raise lost or unknown from unknown.__cause__
                lost, fresh = unknown, True  # a kept connection may have died like this one
                continue
            if lost is not None:
                # Consul judges the same request alike, but a trouble of the repetition says nothing of the first try.
                if isinstance(error, _JUDGED):
                    raise error
                raise lost from error
            if error.reason is ErrorReason.CERTIFICATE and self._tls.context(address.name) is not context:
                swaps += 1
                if swaps <= _SWAPS:
                    continue
            if away:
                self._prefer_next_to(address)
            failures += 1
            another = error.reason is ErrorReason.CERTIFICATE and failures < len(self._addresses)
            if failures >= self._settings.tries + len(self._addresses) - 1 or not (
                another or worth_retrying(error, read=request.read)
            ):
                raise self._final(error, request)
            fresh = fresh or error.reason is ErrorReason.BROKEN
            await self._clock.sleep(delay(failures - 1, self._random))
            address = self._settings.addresses[self._preferred]

    async def attempt(
        self,
        request: Request[T],
        *,
        extra: Parameters,
        deadline: float,
        address: str,
        purpose: Purpose = "polls",
    ) -> Response:
        """
        Try a request once, and return the answer, whatever its status.

        - `request`: the request.
        - `extra`: query parameters beside its own.
        - `deadline`: seconds after which it is given up.
        - `address`: the agent, one of `addresses`.
        - `purpose`: kind of connections that it uses; default: those for polls.

        See `Sender.attempt` for the errors that are raised.
        """
        return await self._exchange(request, request.parameters + extra, self._addresses[address], purpose, deadline)

    def avoid(self, address: str) -> None:
        """Prefer the next agent, if the one at `address` is the preferred one, because it does not serve."""
        self._prefer_next_to(self._addresses[address])

    def _prefer_next_to(self, address: Address) -> None:
        """Prefer the next agent, unless another call has done so already."""
        addresses = self._settings.addresses
        if addresses[self._preferred] is address:
            self._preferred = (self._preferred + 1) % len(addresses)

    def _final(self, error: ConsulError, request: Request[T]) -> ConsulError:
        """Return the error for the caller: OutcomeUnknown for a write without an answer."""
        return error if request.read else outcome(error)

    async def _exchange(
        self,
        request: Request[T],
        parameters: Parameters,
        address: Address,
        purpose: Purpose,
        deadline: float | None = None,
        *,
        fresh: bool = False,
    ) -> Response:
        """Send one request, and return its whole answer; every error is a ConsulError."""
        seconds = deadline or request.options.timeout or DEFAULT_TIMEOUT
        slots = self._slots if purpose == "calls" else _UNLIMITED
        exchange, sent = Exchange(self._clock), False
        self._sessions.under_way.add(exchange)
        try:
            token = request.options.token
            if token is None:
                fixed = self._tokens.fixed
                token = fixed.token if fixed else await self._token(request, address.name, purpose, seconds)
            exchange.limit(seconds)
            await slots.acquire()
            try:
                sent = True
                exchange.limit(seconds)  # waiting for a slot was not waiting for the agent
                return await self._send(
                    request, parameters, address, purpose, token, seconds=seconds, exchange=exchange, fresh=fresh
                )
            finally:
                slots.release()
        except asyncio.CancelledError:
            ended = exchange.ended_by()
            if ended is None:
                raise
            raise broken_off(ended, request, address, seconds, sent=sent) from None
        finally:
            exchange.close()
            self._sessions.under_way.discard(exchange)

    async def _send(
        self,
        request: Request[T],
        parameters: Parameters,
        address: Address,
        purpose: Purpose,
        token: str | None,
        *,
        seconds: float,
        exchange: Exchange,
        fresh: bool,
    ) -> Response:
        session = self._sessions.of(address, purpose, fresh=fresh)
        context = self._tls.context(address.name)
        try:
            answer = await session.request(
                request.method,
                _url(address.url, request.path, parameters, purpose),
                data=request.body,
                headers=self._headers(request, token),
                allow_redirects=False,
                raise_for_status=False,
                timeout=self._timeout(seconds),
                middlewares=self._sessions.middlewares_of(session),
                proxy=self._settings.client.proxy or None,
                ssl=context,
                server_hostname=self._settings.tls_server_name or None,
            )
            # Most answers have come in whole with their headers.
            body = answer.content.read_nowait() if answer.content.is_eof() else await self._body(answer)
            if len(body) > self._settings.max_body:
                raise _too_large(self._settings.max_body)
            response = Response(answer.status, answer.headers, body, address.name, not token)
            if self._tls.is_changing and exchange.age is not None:
                self._tls.worked(address.name, context)
            error = failure(request, response, secret=token or "")
            if error is None:
                return response
            if error.reason is ErrorReason.TOO_MANY_CONNECTIONS:
                self.crowding.refused()
            body = body.replace(token.encode(), b"***") if token else body  # an error may quote it
            return replace(response, body=body, error=error)
        except ResponseTooLarge as too_large:
            too_large.about(request.method, request.path, address.name)
            raise
        except (aiohttp.ClientError, OSError, Lost) as failed:
            broken = failed
        except RuntimeError as failed:
            if not session.closed:
                raise
            raise Closed("the session was closed").about(request.method, request.path, address.name) from failed
        self._note(broken, address, exchange, context)
        # These hold the request headers with the token, or the URL of the proxy with its password.
        holds_secrets = isinstance(broken, aiohttp.ClientResponseError | aiohttp.ClientConnectorError)
        at_once = refused_at_once(broken, exchange)
        found = translated(broken, request, address, seconds, at_once=at_once)
        raise found from (broken.__cause__ if holds_secrets else broken)

    def _note(self, broken: Exception, address: Address, exchange: Exchange, context: SSLContext | bool) -> None:
        """Note what a failure tells of the agent, and of the TLS context that was used."""
        if refused_at_once(broken, exchange):
            self.crowding.reset(address.name, self._clock.now())
        elif nobody_there(broken):
            self.crowding.gone(address.name)
        if is_of_tls(broken):
            self._tls.replace(address.name, context)

    async def _token(self, request: Request[T], address: str, purpose: Purpose, seconds: float) -> str | None:
        """Return the client's token."""
        try:
            return await (self._tokens.get(seconds) if purpose == "calls" else self._tokens.for_poll(seconds))
        except (NotReady, PermissionDenied) as error:
            error.about(request.method, request.path, address)
            raise

    def _headers(self, request: Request[T], token: str | None) -> dict[str, str] | None:
        """Return the headers of this request beside those of the session; None for none, which is cheaper."""
        if request.body is None and not token:
            return self._fixed_headers
        headers: dict[str, str] = dict(self._fixed_headers or {})
        if token:
            headers["X-Consul-Token"] = token
        if request.body is not None:
            headers["Content-Type"] = "application/json"
        return headers

    async def _body(self, answer: aiohttp.ClientResponse) -> bytes:
        """Return the rest of the answer, up to the limit after decompression; a part is left with its connection."""
        limit, content = self._settings.max_body, answer.content
        chunks: list[bytes] = []
        size = 0
        try:
            async for chunk in content.iter_any():
                size += len(chunk)
                chunks.append(chunk)
                if size > limit:
                    break
        finally:
            if not content.is_eof():
                answer.close()
        # A thread joins what is large: Python lets others run meanwhile, and tens of megabytes take as many ms.
        return b"".join(chunks) if size < _LARGE else await to_thread.run_sync(b"".join, chunks)

    def _timeout(self, seconds: float) -> aiohttp.ClientTimeout:
        """Return aiohttp's timeouts within a deadline of so many seconds; the deadline itself is the exchange's."""
        known = self._timeouts.get(seconds)
        if known is None:
            if len(self._timeouts) > 64:  # noqa: PLR2004 - polls jitter their deadlines
                self._timeouts.clear()
            # A call that got no connection was not sent, which is worth knowing of a write.
            known = self._timeouts[seconds] = aiohttp.ClientTimeout(
                total=None, connect=0.8 * seconds, sock_connect=min(seconds, _CONNECT_TIMEOUT)
            )
        return known


def _too_large(limit: int) -> ResponseTooLarge:
    return ResponseTooLarge(f"the answer is larger than max_body, {limit} bytes after decompression")


def _url(base: str, path: str, parameters: Parameters, purpose: Purpose) -> URL:
    """Return the URL of a request; those of polls are not kept, as each of them has another index or hash."""
    size = len(path)
    for _, value in parameters:
        size += len(value)
    kept = purpose == "calls" and size <= _LONGEST_KEPT
    return _kept_url(base, path, parameters) if kept else _made_url(base, path, parameters)


@lru_cache(1024)
def _kept_url(base: str, path: str, parameters: Parameters) -> URL:
    """Return the URL; the last 1024 are kept, because the same are asked again and again."""
    return _made_url(base, path, parameters)


def _made_url(base: str, path: str, parameters: Parameters) -> URL:
    return URL(f"{base}{path}{query_string(parameters)}", encoded=True)
