"""
A FastAPI service that says who may send it which request: decided in the process, so nothing waits for Consul.

    SERVICE=db uvicorn --factory fastapi_app:create_app
    curl 'localhost:8000/callers/web?method=GET&path=/items'

The answer is 200 if it may, 403 if not, and 503 while it is not known: then the caller has to be refused too. A source
that no intention names is refused, whatever Consul's default is: so the token needs no right but `intentions:read` on
the service. `GET /ready` is 200 while it decides by data, else 503. CONSUL_HTTP_ADDR and its kin say where Consul is.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

from aioconsulconnect import Authorizer, Consul, HTTPRequest

MAX_AGE = 30.0  # seconds since the servers last said so; they are asked often enough to stay below it


def create_app(service: str = "", max_age: float = MAX_AGE) -> FastAPI:
    """The application for `service`, or for the one that the variable SERVICE names."""
    name = service or os.environ["SERVICE"]

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        # Nothing waits for the first data: the service starts without Consul too, and refuses until it knows.
        async with (
            Consul() as consul,
            consul.authorizer(name, default="deny", max_age=max_age, ready_timeout=0) as authorizer,
        ):
            app.state.authorizer = authorizer
            yield

    app = FastAPI(lifespan=lifespan)
    app.get("/callers/{source}")(caller)
    app.get("/ready")(ready)
    return app


async def caller(request: Request, source: str, method: str = "GET", path: str = "/") -> JSONResponse:
    """Whether `source` may send this request, and why."""
    authorizer: Authorizer = request.app.state.authorizer
    verdict = authorizer.check(source, request=HTTPRequest(method, path))
    status = 200 if verdict else 503 if verdict.by_ignorance else 403
    return JSONResponse({"why": str(verdict)}, status)


async def ready(request: Request) -> JSONResponse:
    """Whether it decides by data, and else what is missing."""
    authorizer: Authorizer = request.app.state.authorizer
    status = authorizer.status
    code = 200 if status.state == "ready" else 503
    return JSONResponse({"state": status.state, "missing": status.missing}, code)
