"""
A FastAPI service that says who may connect to it, from a watch of its intentions: no request waits for Consul.

    SERVICE=db uvicorn --factory fastapi_app:create_app
    curl localhost:8000/callers/web

While the watch does not know what is true now, the answer is 503 with the reason, and the caller has to be refused. A
source that no intention names is refused too, whatever Consul's default is. For the Community Edition: rules of other
namespaces, partitions and sameness groups are not worked out here. CONSUL_HTTP_ADDR and its kin say where Consul is.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import Depends, FastAPI, HTTPException, Request

from aioconsulconnect import Consul, Intention, Status, Watch

Intentions = tuple[Intention, ...]
MAX_AGE = 30.0  # seconds since the servers last said so; the watch asks often enough to stay below it


def create_app(service: str = "", max_age: float = MAX_AGE) -> FastAPI:
    """The application for `service`, or for the one that the variable SERVICE names."""
    name = service or os.environ["SERVICE"]

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        # Nothing waits for the first data: the service starts without Consul too, and refuses until it knows.
        async with Consul() as consul, consul.intentions.match(destination=name).watch(max_age=max_age) as watch:
            app.state.watch, app.state.max_age = watch, max_age
            yield

    app = FastAPI(lifespan=lifespan)
    app.get("/callers/{source}")(caller)
    return app


def known(request: Request) -> Intentions:
    """The intentions as they are now, or a 503 with the reason."""
    watch: Watch[Intentions, Intention] = request.app.state.watch
    if reason := doubt(watch.status, request.app.state.max_age):
        raise HTTPException(503, reason)
    return watch.current


async def caller(source: str, intentions: Annotated[Intentions, Depends(known)]) -> dict[str, bool | str]:
    """Whether `source` may connect."""
    allowed, reason = decide(source, intentions)
    return {"allowed": allowed, "reason": reason}


def doubt(status: Status, max_age: float) -> str:
    """Why the watch cannot tell what is true now; empty where it can."""
    if status.state not in {"synced", "absent"}:
        return f"the watch is {status.state} {status.error_class}".rstrip()
    if status.age is None or status.age > max_age:
        return f"the intentions are older than {max_age:g} s"
    return "the token may not see every intention" if status.filtered else ""


def decide(source: str, intentions: Intentions) -> tuple[bool, str]:
    """Whether a service of this cluster may open a connection, and why."""
    for intention in intentions:  # in Consul's order of evaluation: the first one for the source decides
        if intention.source_peer or intention.source_name not in {source, "*"}:
            continue
        tenant = {intention.source_partition, intention.source_namespace, intention.source_sameness_group}
        if not tenant <= {"", "default"}:
            return False, "a rule of another namespace, partition or sameness group comes first"
        if intention.permissions or (intention.jwt and intention.jwt.providers):
            return False, "it depends on the request, which the proxy judges (permissions, JWT)"
        return intention.action == "allow", f"{intention.source_name} => {intention.destination_name} is its intention"
    return False, "no intention names it"
