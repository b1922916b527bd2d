"""
A cache of decisions beside the services of a host: says who may call them, without a call to Consul for each question.

    python sidecar_cache.py db cache
    curl 127.0.0.1:8181/decide -d '{"source": "web", "destination": "db", "request": {"method": "GET", "path": "/a"}}'

The answer has `allowed`, `reason`, `intention`, `path` (serve this one: it was judged, and not what came in) and `age`
(seconds since the servers last confirmed the intentions). Every answer but 200 with `"allowed": true` is a denial.
`source` is a name, a SPIFFE URI or the list of all URIs of a certificate; it is believed, and so are `claims`, those of
verified tokens by `jwt-provider`: verify them before you ask. Without `request` it is about a connection, of which no
token is required.

`GET /ready` is 200 while it decides by data, else 503. The variable PORT is the port on the loopback interface, where
alone it listens. CONSUL_HTTP_ADDR and its kin say where Consul is. The token needs `service:write` on the services.
"""

import logging
import os
import sys
from collections.abc import AsyncIterator

import msgspec
from aiohttp import web

from aioconsulconnect import Authorizer, Consul, Decision, HTTPRequest

MAX_AGE = 30.0  # seconds; older data denies
MALFORMED = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, web.HTTPRequestEntityTooLarge)

AUTHORIZER = web.AppKey("AUTHORIZER", Authorizer)
log = logging.getLogger("decisions")


class Asked(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The request that the caller sends to the destination; its headers are pairs, for one may be repeated."""

    method: str
    path: str
    headers: tuple[tuple[str, str], ...] = ()


class Question(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of a question: a member with another name or type is refused, and not ignored."""

    source: str | tuple[str, ...]
    destination: str
    request: Asked | None = None
    claims: dict[str, dict[str, object]] | None = None


def create_app(*services: str, max_age: float = MAX_AGE) -> web.Application:
    """The application for these services; about others it denies."""

    async def hold_authorizer(app: web.Application) -> AsyncIterator[None]:
        # It starts without Consul too, and denies until there is data: `/ready` tells.
        async with (
            Consul() as consul,
            consul.authorizer(*services, max_age=max_age, on_decision=audit, ready_timeout=0) as authorizer,
        ):
            app[AUTHORIZER] = authorizer
            yield

    app = web.Application(client_max_size=65_536)  # bytes of a question
    app.cleanup_ctx.append(hold_authorizer)
    app.router.add_post("/decide", decide)
    app.router.add_get("/ready", ready)
    return app


async def decide(request: web.Request) -> web.Response:
    """The decision about the question in the body; 400 where it is none."""
    try:
        question = msgspec.json.decode(await request.read(), type=Question)
    except MALFORMED as error:
        log.warning("denied a malformed question: %r", str(error))
        return answer(400, allowed=False, reason=f"malformed: {error}")
    asked, authorizer = question.request, request.app[AUTHORIZER]
    judged = None if asked is None else HTTPRequest(asked.method, asked.path, asked.headers)
    verdict = authorizer.check(question.source, question.destination, judged, claims=question.claims)
    path = verdict.request.path if verdict and verdict.request else None
    found = {"reason": verdict.reason.value, "intention": verdict.intention, "path": path}
    return answer(200, allowed=verdict.allowed, **found, age=authorizer.status.age)


async def ready(request: web.Request) -> web.Response:
    """Whether it decides by data, and else what is missing."""
    status = request.app[AUTHORIZER].status
    code = 200 if status.state == "ready" else 503
    return answer(code, state=status.state, missing=status.missing, age=status.age)


def audit(decision: Decision) -> None:
    """Log a decision; what others wrote is quoted, and queries are left out, for they may hold tokens."""
    verdict, request = decision.verdict, decision.request
    asked = "a connection" if request is None else f"{request.method!r} {request.path.partition('?')[0]!r}"
    level = logging.INFO if verdict else logging.WARNING
    log.log(level, "%r -> %r, %s: %r", decision.source, decision.destination, asked, str(verdict))


def answer(status: int, **members: object) -> web.Response:
    """These members as JSON."""
    return web.Response(status=status, body=msgspec.json.encode(members), content_type="application/json")


def main() -> None:
    """Serve until a signal comes."""
    if not sys.argv[1:]:
        sys.exit("name the services to decide about")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    web.run_app(create_app(*sys.argv[1:]), host="127.0.0.1", port=int(os.environ.get("PORT", "8181")), access_log=None)


if __name__ == "__main__":
    main()
