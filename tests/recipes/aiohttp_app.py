"""
An aiohttp service that says who may send it which request: decided in the process, so nothing waits for Consul.

    SERVICE=db python aiohttp_app.py
    curl 'localhost:8080/callers/web?method=GET&path=/items'

The answer is 200 if it may, 403 if not, and 503 while it is not known: then the caller has to be refused too. A source
that no intention names is refused, whatever Consul's default is: so the token needs no right but `intentions:read` on
the service. `GET /ready` is 200 while it decides by data, else 503. CONSUL_HTTP_ADDR and its kin say where Consul is.
"""

import os
from collections.abc import AsyncIterator

from aiohttp import web

from aioconsulconnect import Authorizer, Consul, HTTPRequest

MAX_AGE_SECONDS = 30.0  # since the servers last said so; they are asked often enough to stay below it

AUTHORIZER = web.AppKey("AUTHORIZER", Authorizer)


def create_app(service: str = "", max_age: float = MAX_AGE_SECONDS) -> web.Application:
    """The application for `service`, or for the one that the variable SERVICE names."""
    name = service or os.environ["SERVICE"]

    async def hold_authorizer(app: web.Application) -> AsyncIterator[None]:
        # Nothing waits for the first data: the service starts without Consul too, and refuses until it knows.
        async with (
            Consul() as consul,
            consul.authorizer(name, default="deny", max_age=max_age, ready_timeout=0) as authorizer,
        ):
            app[AUTHORIZER] = authorizer
            yield

    app = web.Application()
    app.cleanup_ctx.append(hold_authorizer)
    app.router.add_get("/callers/{source}", caller)
    app.router.add_get("/ready", ready)
    return app


async def caller(request: web.Request) -> web.Response:
    """Whether the source may send the request that the query tells, and why."""
    asked = HTTPRequest(request.query.get("method", "GET"), request.query.get("path", "/"))
    verdict = request.app[AUTHORIZER].check(request.match_info["source"], request=asked)
    status = 200 if verdict else 503 if verdict.by_ignorance else 403
    return web.json_response({"why": str(verdict)}, status=status)


async def ready(request: web.Request) -> web.Response:
    """Whether it decides by data, and else what is missing."""
    status = request.app[AUTHORIZER].status
    code = 200 if status.state == "ready" else 503
    return web.json_response({"state": status.state, "missing": status.missing}, status=code)


if __name__ == "__main__":
    web.run_app(create_app())
