"""
A FastAPI service that says who may send it which request: decided in the process, so nothing waits for Consul.

    SERVICE=db uvicorn --factory fastapi_app:create_app
    curl 'localhost:8000/callers/web?method=GET&path=/items'

While it is not known what is true now, the answer is 503 with the reason, and the caller has to be refused. A source
that no intention names is refused too, whatever Consul's default is: so the token needs no right but `intentions:read`
on the service. CONSUL_HTTP_ADDR and its kin say where Consul is.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import Depends, FastAPI, HTTPException, Request

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
    return app


def ready_authorizer(request: Request) -> Authorizer:
    """The authorizer, or a 503 with the reason why it denies everything."""
    authorizer: Authorizer = request.app.state.authorizer
    status = authorizer.status
    if status.state != "ready":
        raise HTTPException(503, f"{status.state}: {status.watch.error}")
    return authorizer


async def caller(
    source: str, authorizer: Annotated[Authorizer, Depends(ready_authorizer)], method: str = "GET", path: str = "/"
) -> dict[str, bool | str]:
    """Whether `source` may send this request, and why."""
    asked = HTTPRequest(method, path)
    verdict, why = authorizer.check(source, request=asked), authorizer.explain(source, request=asked)
    return {"allowed": verdict.allowed, "why": str(why)}
