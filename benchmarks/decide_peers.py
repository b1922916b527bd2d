"""
The same 1,000 rules by others: engines in the process, and Consul itself over HTTP.

Every peer is in a process of its own, answers the same questions (half of them allowed), must give the right answers,
and has its turn in interleaved rounds. The engines are prepared as far as their documentation has it: casbin's
FastEnforcer is indexed by source and destination, cedarpy gets parsed policies and entities, whole batches, and the
rules once more as data. Ours is there twice: for all destinations, as all others decide, and for one, as a service has
it that decides for itself. Consul is asked over kept-alive connections, one request after the other, and 16 at once.
"""

from __future__ import annotations

import asyncio
import importlib.util
import itertools
import json
import os
import statistics
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from benchmarks.agent import real_agent, send
from benchmarks.figures import ratio, table
from benchmarks.watch_peers import Worker

ROUNDS = int(os.environ.get("ROUNDS", "30"))
RULES = 1_000
DESTINATIONS = 50
OWN = "destination-1"  # what a service asks about that decides for itself alone
AT_ONCE = 16
FOR_ALL = "ours, for all: authorizer.check(source, destination)"
FOR_ONE = "ours, for one: authorizer.check(source)"
AUTHORIZE = "consul.agent.authorize"
INTENTIONS = "/v1/connect/intentions"

Question = tuple[str, str]
Answers = Callable[[list[Question]], Awaitable[list[bool]]]

# The questions of a round, as many as take some ten milliseconds.
PEERS = {
    FOR_ALL: 20_000,
    FOR_ONE: 50_000,
    "casbin FastEnforcer": 200,
    "casbin Enforcer": 10,
    "cedarpy": 50,
    "cedarpy, batches of 100": 100,
    "cedarpy, one policy over data": 500,
    "py-consul check": 10,
    "consul.intentions.check": 20,
    f"consul.intentions.check, {AT_ONCE} at once": 64,
    AUTHORIZE: 20,
    f"{AUTHORIZE}, {AT_ONCE} at once": 64,
}
NEEDS = {"casbin": "casbin", "cedarpy": "cedarpy", "py-consul": "consul"}


def rules() -> list[Question]:
    """The pairs that are allowed; all others are not."""
    return [(f"source-{i}", f"destination-{i % DESTINATIONS}") for i in range(RULES)]


def questions() -> list[Question]:
    """Each rule, and each source with a destination that it may not call."""
    allowed = rules()
    others = [(source, f"destination-{(i + 1) % DESTINATIONS}") for i, (source, _) in enumerate(allowed)]
    return [pair for both in zip(allowed, others, strict=True) for pair in both]


def peers() -> None:
    with real_agent() as url:
        for source, destination in [*rules(), ("*", "*")]:
            action = "deny" if source == "*" else "allow"
            names = {"SourceName": source, "DestinationName": destination, "SourceType": "consul"}
            send(url, "POST", INTENTIONS, names | {"Action": action})
        workers = {peer: Worker("decide_peers", peer, url) for peer in PEERS if _is_there(peer)}
        for peer, worker in workers.items():
            if (wrong := worker.answer()) is not None:
                raise SystemExit(f"benchmarks: {peer} answers {wrong} otherwise than it should")
        taken: dict[str, list[float]] = {peer: [] for peer in workers}
        for number in range(ROUNDS + 1):
            order = list(workers)
            for peer in order[number % len(order) :] + order[: number % len(order)]:
                seconds = workers[peer].run(PEERS[peer])
                if number:  # the first round warms up
                    taken[peer].append(seconds)
        for worker in workers.values():
            worker.stop()
    show(taken)


def _is_there(peer: str) -> bool:
    needed = next((module for name, module in NEEDS.items() if peer.startswith(name)), "json")
    return importlib.util.find_spec(needed) is not None


def show(taken: dict[str, list[float]]) -> None:
    rows: list[tuple[str, ...]] = []
    for peer in PEERS:
        if peer not in taken:
            rows.append((peer, "not installed", "", "", "", ""))
            continue
        seconds = statistics.median(taken[peer])
        compared = [ratio(taken[peer], taken[own]) if peer != own else "" for own in (FOR_ALL, FOR_ONE)]
        wanted = "1000" if peer.startswith(AUTHORIZE) else ""
        rows.append((peer, f"{1e6 * seconds:.3g}", f"{1 / seconds:,.0f}", *compared, wanted))
    print(f"{RULES:,} L4 rules, {DESTINATIONS} destinations; median of {ROUNDS} interleaved rounds, 95 % interval")
    table(("who decides", "µs", "decisions/s", "/ ours, for all", "/ ours, for one", "wanted, at least"), rows)


# What a peer does in its process.


async def serve(peer: str, url: str) -> None:
    """Say which answer is wrong, if one is; then for each line the seconds of one of so many decisions."""
    asked = [pair for pair in questions() if peer != FOR_ONE or pair[1] == OWN]
    loop = asyncio.get_running_loop()
    async with OPEN[peer.removesuffix(f", {AT_ONCE} at once")](
        url, AT_ONCE if peer.endswith("at once") else 1
    ) as answers:
        allowed = set(rules())
        some = asked[:100]
        found = await answers(some)
        wrong = next((pair for pair, answer in zip(some, found, strict=True) if answer is not (pair in allowed)), None)
        print(json.dumps(wrong), flush=True)
        coming = itertools.cycle(asked)
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            (count,) = json.loads(line)
            group = list(itertools.islice(coming, count))
            began = time.perf_counter()
            await answers(group)
            print((time.perf_counter() - began) / count, flush=True)


@asynccontextmanager
async def for_all(url: str, _: int) -> AsyncIterator[Answers]:
    from aioconsulconnect import Consul

    async with Consul(url) as consul, consul.authorizer() as authorizer:
        await authorizer.ready(10)
        check = authorizer.check

        async def answers(group: list[Question]) -> list[bool]:
            return [check(source, destination).allowed for source, destination in group]

        yield answers


@asynccontextmanager
async def for_one(url: str, _: int) -> AsyncIterator[Answers]:
    from aioconsulconnect import Consul

    async with Consul(url) as consul, consul.authorizer(OWN) as authorizer:
        await authorizer.ready(10)
        check = authorizer.check

        async def answers(group: list[Question]) -> list[bool]:
            return [check(source).allowed for source, _ in group]

        yield answers


MODEL = """
[request_definition]
r = sub, obj, act
[policy_definition]
p = sub, obj, act
[policy_effect]
e = some(where (p.eft == allow))
[matchers]
m = r.sub == p.sub && r.obj == p.obj && r.act == p.act
"""


@asynccontextmanager
async def casbin(_: str, __: int) -> AsyncIterator[Answers]:
    import casbin

    yield _by_casbin(casbin.Enforcer(casbin.Enforcer.new_model(text=MODEL)))


@asynccontextmanager
async def casbin_fast(_: str, __: int) -> AsyncIterator[Answers]:
    from casbin import FastEnforcer
    from casbin.model import FastModel

    model = FastModel([0, 1])
    model.load_model_from_text(MODEL)
    yield _by_casbin(FastEnforcer(model, cache_key_order=[0, 1]))


def _by_casbin(enforcer: Any) -> Answers:
    enforcer.add_policies([[source, destination, "connect"] for source, destination in rules()])

    async def answers(group: list[Question]) -> list[bool]:
        return [enforcer.enforce(source, destination, "connect") for source, destination in group]

    return answers


@asynccontextmanager
async def cedar(_: str, __: int) -> AsyncIterator[Answers]:
    policies, entities = _cedar_policies(), _cedar_entities([])

    async def answers(group: list[Question]) -> list[bool]:
        from cedarpy import is_authorized

        return [is_authorized(_cedar_request(*pair), policies, entities).allowed for pair in group]

    yield answers


@asynccontextmanager
async def cedar_batches(_: str, __: int) -> AsyncIterator[Answers]:
    policies, entities = _cedar_policies(), _cedar_entities([])

    async def answers(group: list[Question]) -> list[bool]:
        from cedarpy import is_authorized_batch

        return [
            one.allowed for one in is_authorized_batch([_cedar_request(*pair) for pair in group], policies, entities)
        ]

    yield answers


@asynccontextmanager
async def cedar_data(_: str, __: int) -> AsyncIterator[Answers]:
    """One policy, and who may call as an attribute of each destination."""
    from cedarpy import PolicySet, is_authorized

    callers: dict[str, list[object]] = {}
    for source, destination in rules():
        callers.setdefault(destination, []).append({"__entity": {"type": "Service", "id": source}})
    policies = PolicySet.from_str("permit(principal, action, resource) when { resource.callers.contains(principal) };")
    entities = _cedar_entities(
        [
            {"uid": {"type": "Service", "id": destination}, "attrs": {"callers": found}, "parents": []}
            for destination, found in callers.items()
        ]
    )

    async def answers(group: list[Question]) -> list[bool]:
        return [is_authorized(_cedar_request(*pair), policies, entities).allowed for pair in group]

    yield answers


def _cedar_policies() -> Any:
    from cedarpy import PolicySet

    form = 'permit(principal == Service::"{}", action == Action::"connect", resource == Service::"{}");'
    return PolicySet.from_str("\n".join(form.format(*pair) for pair in rules()))


def _cedar_entities(found: list[Any]) -> Any:
    from cedarpy import Entities

    return Entities.from_json_str(json.dumps(found))


def _cedar_request(source: str, destination: str) -> dict[str, Any]:
    return {
        "principal": {"type": "Service", "id": source},
        "action": {"type": "Action", "id": "connect"},
        "resource": {"type": "Service", "id": destination},
        "context": {},
    }


@asynccontextmanager
async def py_consul(url: str, __: int) -> AsyncIterator[Answers]:
    import consul.aio

    host, _, port = url.removeprefix("http://").partition(":")
    client = consul.aio.Consul(host=host, port=int(port))
    client.http._session.headers["Accept-Encoding"] = "identity"

    async def answers(group: list[Question]) -> list[bool]:
        return [await client.connect.intentions.check(source, destination) for source, destination in group]

    yield answers
    await client.close()


@asynccontextmanager
async def check(url: str, at_once: int) -> AsyncIterator[Answers]:
    from aioconsulconnect import Consul

    async with Consul(url) as client:
        yield _asking(client.intentions.check, at_once)


@asynccontextmanager
async def authorize(url: str, at_once: int) -> AsyncIterator[Answers]:
    from aioconsulconnect import Consul

    async with Consul(url) as client:
        domain = (await client.ca.roots()).trust_domain

        async def one(source: str, destination: str) -> bool:
            uri = f"spiffe://{domain}/ns/default/dc/dc1/svc/{source}"
            return (await client.agent.authorize(destination, uri)).authorized

        yield _asking(one, at_once)


def _asking(ask: Callable[[str, str], Awaitable[bool]], at_once: int) -> Answers:
    async def answers(group: list[Question]) -> list[bool]:
        found = [False] * len(group)

        async def some(start: int) -> None:
            for i in range(start, len(group), at_once):
                found[i] = await ask(*group[i])

        await asyncio.gather(*(some(start) for start in range(at_once)))
        return found

    return answers


OPEN: dict[str, Callable[[str, int], AbstractAsyncContextManager[Answers]]] = {
    FOR_ALL: for_all,
    FOR_ONE: for_one,
    "casbin FastEnforcer": casbin_fast,
    "casbin Enforcer": casbin,
    "cedarpy": cedar,
    "cedarpy, batches of 100": cedar_batches,
    "cedarpy, one policy over data": cedar_data,
    "py-consul check": py_consul,
    "consul.intentions.check": check,
    AUTHORIZE: authorize,
}

if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], sys.argv[2]))
