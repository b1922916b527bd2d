"""
An aiohttp service that says who may connect to it, from a watch of its intentions: no request waits for Consul.

    SERVICE=db python aiohttp_app.py
    curl localhost:8080/callers/web

While the watch does not know what is true now, the answer is 503 with the reason, and the caller has to be refused. A
source that no intention names is refused too, whatever Consul's default is. For the Community Edition: rules of other
namespaces, partitions and sameness groups are not worked out here. CONSUL_HTTP_ADDR and its kin say where Consul is.
"""

import os
from collections.abc import AsyncIterator

from aiohttp import web

from aioconsulconnect import Consul, Intention, Status, Watch

Intentions = tuple[Intention, ...]
MAX_AGE_SECONDS = 30.0  # since the servers last said so; the watch asks often enough to stay below it

SERVICE = web.AppKey("SERVICE", str)
MAX_AGE = web.AppKey("MAX_AGE", float)
WATCH = web.AppKey("WATCH", Watch[Intentions, Intention])


def create_app(service: str = "", max_age: float = MAX_AGE_SECONDS) -> web.Application:
    """The application for `service`, or for the one that the variable SERVICE names."""
    app = web.Application()
    app[SERVICE] = service or os.environ["SERVICE"]
    app[MAX_AGE] = max_age
    app.cleanup_ctx.append(watch_intentions)
    app.router.add_get("/callers/{source}", caller)
    return app


async def watch_intentions(app: web.Application) -> AsyncIterator[None]:
    """Hold the client and the watch for as long as the application runs."""
    # Nothing waits for the first data: the service starts without Consul too, and refuses until it knows.
    service, max_age = app[SERVICE], app[MAX_AGE]
    async with Consul() as consul, consul.intentions.match(destination=service).watch(max_age=max_age) as watch:
        app[WATCH] = watch
        yield


async def caller(request: web.Request) -> web.Response:
    """Whether the source may connect."""
    watch = request.app[WATCH]
    if reason := doubt(watch.status, request.app[MAX_AGE]):
        return web.json_response({"detail": reason}, status=503)
    allowed, reason = decide(request.match_info["source"], watch.current)
    return web.json_response({"allowed": allowed, "reason": reason})


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


if __name__ == "__main__":
    web.run_app(create_app())
