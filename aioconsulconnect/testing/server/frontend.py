"""The HTTP side of an agent: requests are read and routed, replies written as Go writes them."""

import asyncio
import gzip
import logging
from collections.abc import Awaitable, Callable
from html import escape
from http import HTTPStatus
from typing import Final

from aiohttp import web

from aioconsulconnect.testing.go_json.encoding import encode
from aioconsulconnect.testing.go_json.errors import NotModelledError
from aioconsulconnect.testing.handlers.context import AgentContext
from aioconsulconnect.testing.protocol.refusals import Dropped, Refused
from aioconsulconnect.testing.protocol.reply import FALSE_META, PLAIN, Meta, Reply, meta_headers
from aioconsulconnect.testing.protocol.request import ConsulRequest
from aioconsulconnect.testing.protocol.urls import clean, parse_query, unescape, well_escaped
from aioconsulconnect.testing.server.exchange import Exchange, FaultInjector
from aioconsulconnect.testing.server.routes import (
    AUTHORIZE,
    Route,
    find_route,
    fits,
    is_unmodelled,
    lacks_slash,
    needs_connect,
)
from aioconsulconnect.testing.server.traffic import Answer, Handler as AddedHandler, Request, Traffic
from aioconsulconnect.testing.state.store import Closed
from aioconsulconnect.testing.versions import spans

_log: Final = logging.getLogger("aioconsulconnect.testing")
_FOLDERS: Final = frozenset({"/ui", "/debug/pprof"})
"""Unmodelled paths that Consul knows with a slash at the end alone."""
_LARGEST_BODY: Final = 64 * 2**20
_CHUNKED_FROM: Final = 2048
_LONGEST_REASON: Final = 500
_DISABLED: Final = "Connect must be enabled in order to use this endpoint"


class Frontend:
    """The HTTP side of one agent.

    `table` has its routes, `traffic` the requests that it has received.
    """

    def __init__(
        self, context: AgentContext, table: tuple[Route, ...], faults: FaultInjector, traffic: Traffic
    ) -> None:
        self.context = context
        self.table = table
        self.faults = faults
        self.traffic = traffic

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Answer one request, or end its connection."""
        raw_path, _, raw_query = request.raw_path.partition("?")
        exchange = Exchange(request, raw_path, raw_query, asyncio.get_running_loop().time())
        seen = Request(request.method, raw_path, {})
        self.traffic.requests.append(seen)
        try:
            response = await self.faults.inject(exchange, lambda: self._answer(request, raw_path, raw_query, seen))
        except (Dropped, Closed):
            if request.transport is not None:
                request.transport.close()
            return web.Response()  # Not sent: the connection is closed.
        seen.status, seen.seconds = response.status, asyncio.get_running_loop().time() - exchange.began
        return response

    async def _answer(self, request: web.Request, raw_path: str, raw_query: str, seen: Request) -> web.Response:
        facts = self.context.facts
        if not well_escaped(raw_path):
            return web.Response(
                status=400, body=b"400 Bad Request", headers={"Content-Type": PLAIN, "Connection": "close"}
            )
        path = unescape(raw_path)
        if not path.isprintable():
            return web.Response(status=400)
        query = parse_query(raw_query, semicolon_separates=facts.semicolon_separates)
        if query is None:
            return web.Response(status=500, headers={"Vary": "Accept-Encoding"})
        cleaned = clean(path if facts.redirects_escaped else raw_path)
        if cleaned != (path if facts.redirects_escaped else raw_path):
            return self._redirect(request.method, cleaned, raw_query, facts.redirect_status)
        if path == "/":
            return self._redirect(request.method, "/ui/", "", 301)
        seen.path, seen.query = path, {name: tuple(values) for name, values in query.items()}
        if added := self.traffic.handler_of(request.method, path):
            headers = {name.lower(): value for name, value in request.headers.items()}
            self.traffic.read(seen, await request.read())
            seen.token = ConsulRequest(request.method, path, "", query, headers, seen.body, facts).token
            return _added(added, seen)
        route = find_route(self.table, path, facts.version)
        if path in _FOLDERS or lacks_slash(self.table, path, facts.version):
            return self._redirect(request.method, f"{path}/", raw_query, facts.redirect_status)
        if route is None:
            return self._unknown(request, path)
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.traffic.read(seen, await request.read())
        parsed = ConsulRequest(request.method, path, path[len(route.pattern) :], query, headers, seen.body, facts)
        parsed.gone = lambda: request.transport is None or request.transport.is_closing()
        seen.token = parsed.token
        reply = await self._routed(route, parsed)
        return self._respond(reply, parsed)

    async def _routed(self, route: Route, parsed: ConsulRequest) -> Reply:
        facts = self.context.facts
        allow = (("Allow", ",".join(["OPTIONS", *route.handlers])),)
        if parsed.method == "OPTIONS":
            return Reply(b"", content_type=facts.empty_body_type, headers=allow)
        handler = route.handlers.get(parsed.method)
        if handler is None:
            return Reply(f"method {parsed.method} not allowed".encode(), 405, PLAIN, headers=allow)
        try:
            self._check_connect(route.pattern)
            return await handler(parsed)
        except Refused as refused:
            meta = None
            if refused.at is not None:
                meta = Meta(refused.at, consistency=refused.consistency)
            elif (
                refused.from_server
                and route.false_index
                and handler == route.handlers.get("GET")
                and spans(facts.version, route.since_meta, route.false_index_until)
            ):
                meta = FALSE_META
            return Reply(refused.text.encode(), refused.status, PLAIN, meta)
        except NotModelledError as unknown:
            return Reply(str(unknown).encode(), 501, PLAIN)

    def _check_connect(self, pattern: str) -> None:
        """Refuse what needs Connect, where it is not enabled."""
        facts = self.context.facts
        if not self.context.connect and needs_connect(pattern, facts):
            prefix = facts.authorize_error_prefix and pattern == AUTHORIZE
            raise Refused(500, "failed getting intention match: " * prefix + _DISABLED, from_server=True)

    def _unknown(self, request: web.Request, path: str) -> web.Response:
        facts = self.context.facts
        if is_unmodelled(path, facts.version) and not any(fits(route.pattern, path) for route in self.table):
            words = (
                f"The in-process agent does not model {request.method} {path}; Consul {facts.release} does. "
                "Try what needs it on a real agent: see aioconsulconnect.testing.real_agent."
            )
            return self._unmodelled(request.method, path, words)
        text = facts.unknown_path_text if path.startswith("/v1/") else facts.outside_v1_text
        return web.Response(status=404, body=text.encode(), headers={"Content-Type": PLAIN} if text else None)

    @staticmethod
    def _redirect(method: str, path: str, raw_query: str, status: int) -> web.Response:
        location = path + (f"?{raw_query}" if raw_query else "")
        words = {301: "Moved Permanently", 307: "Temporary Redirect"}[status]
        page = f'<a href="{escape(location)}">{words}</a>.\n\n' if method == "GET" else ""
        headers = {"Location": location}
        if method in {"GET", "HEAD"}:
            headers["Content-Type"] = "text/html; charset=utf-8"
        return web.Response(status=status, body=page.encode(), headers=headers)

    def _unmodelled(self, method: str, path: str, words: str) -> web.Response:
        """Answer 501 with the reason in the status line too, where clients that look at the status alone show it."""
        self.traffic.refuse(method, path, words)
        reason = " ".join(words.encode("ascii", "backslashreplace").decode().split())
        return web.Response(
            status=501, reason=reason[:_LONGEST_REASON], body=words.encode(), headers={"Content-Type": PLAIN}
        )

    def _respond(self, reply: Reply, parsed: ConsulRequest) -> web.Response:
        facts = self.context.facts
        if reply.status == HTTPStatus.NOT_IMPLEMENTED and isinstance(reply.body, bytes):
            return self._unmodelled(parsed.method, parsed.path, reply.body.decode())
        newline = facts.newline_after_json or "pretty" in parsed.query
        raw = isinstance(reply.body, bytes)
        body = reply.body if isinstance(reply.body, bytes) else encode(reply.body, pretty=True, newline=newline)
        response = web.Response(status=reply.status)
        if reply.content_type and (body or raw):
            response.headers["Content-Type"] = reply.content_type
        response.headers["Vary"] = "Accept-Encoding"
        if facts.default_policy_header:
            response.headers["X-Consul-Default-Acl-Policy"] = self.context.acl.default
        if reply.cache:
            response.headers["X-Cache"] = reply.cache
        if reply.age is not None:
            response.headers["Age"] = str(reply.age)
        response.headers.update([*meta_headers(reply.meta, facts), *reply.headers])
        if "gzip" in parsed.headers.get("accept-encoding", "") and len(body) >= max(1, facts.gzip_from):
            body = gzip.compress(body, compresslevel=1)
            response.headers["Content-Encoding"] = "gzip"
        response.body = body
        if len(body) > _CHUNKED_FROM and "Content-Encoding" not in response.headers:
            response.enable_chunked_encoding()
        return response


def _added(handler: AddedHandler, request: Request) -> web.Response:
    """The response of a route that a test has added; 500 with the reason where its handler fails."""
    try:
        answer = handler(request)
        if not isinstance(answer, Answer):
            raise TypeError(f"the handler of a route returns an Answer, not {answer!r}")  # noqa: TRY301
        body, kind = answer.content()
        response = web.Response(status=answer.status, body=body, headers=answer.headers)
        if kind and "Content-Type" not in answer.headers:
            response.headers.setdefault("Content-Type", kind)
    except BaseException as error:  # noqa: BLE001 - whatever the test's own code does, the agents go on
        words = f"The handler of {request.method} {request.path} failed: {error!r}"
        _log.error("%s", words, exc_info=error)
        return web.Response(status=500, body=words.encode(errors="backslashreplace"), headers={"Content-Type": PLAIN})
    return response


def application(serve: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> web.Application:
    """Make the application to serve, with the one handler `serve` for every path.

    The routing is Consul's and not aiohttp's.
    """
    made = web.Application(client_max_size=_LARGEST_BODY)
    made.router.add_route("*", "/{path:(?s:.*)}", serve)
    made.on_response_prepare.append(_without_additions)
    return made


async def _without_additions(request: web.Request, response: web.StreamResponse) -> None:  # noqa: ARG001
    """Remove the headers that aiohttp adds to every answer and Go does not."""
    response.headers.pop("Server", None)
    if response.headers.get("Content-Type") == "application/octet-stream":
        del response.headers["Content-Type"]
