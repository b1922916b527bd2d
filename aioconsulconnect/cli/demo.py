"""`aioconsulconnect demo`: intentions, decisions and a rotated root, with times that were measured."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from secrets import token_hex
from statistics import median

import anyio

from aioconsulconnect.authorization.authorizer import Authorizer
from aioconsulconnect.authorization.rules.verdict import Verdict
from aioconsulconnect.cli.throwaway import in_process, new_key, real
from aioconsulconnect.client import Consul
from aioconsulconnect.errors import ConsulError, InvalidRequest, NotReady, OutcomeUnknown, PermissionDenied, Unsupported
from aioconsulconnect.structs.agent import Authorization
from aioconsulconnect.structs.ca import Root, Roots
from aioconsulconnect.structs.intentions import Action, Intention
from aioconsulconnect.structs.spiffe import SpiffeId
from aioconsulconnect.watch.changes import Added, Batch, Changed, Removed
from aioconsulconnect.watch.iterators import Changes
from aioconsulconnect.watch.watch import Watch

_PATIENCE = 10.0  # seconds
_SAMPLES = 25  # of which the median is told
_AT_ONCE = 100  # decisions a sample: one alone is too short for the clock

_Write = Callable[[Action], Coroutine[None, None, None]]


async def demo(*, address: str | None, consul: str | bool | None, rotate: bool) -> None:
    """
    Run the demonstration and print each step.

    - `address`: URL of a running agent to use; None for an agent of the demonstration's own.
    - `consul`: path of the Consul binary for an agent of its own, or True for any that is found; otherwise the agent is
      in this process. It has no effect with `address`.
    - `rotate`: True to rotate the root at `address` too; an agent of its own always does.

    No intention is left behind; a rotated root stays. A ConsulError says why the demonstration could not be finished.
    """
    where: AbstractAsyncContextManager[tuple[str, str]]
    if address is not None:
        where = nullcontext((address, f"the agent at {address}"))
    else:
        where = real(None if consul is True else consul) if consul else in_process()
    # CONSUL_HTTP_SSL is about the agents of others: one of its own speaks plain HTTP.
    https = False if address is None else None
    async with where as (url, name), Consul(url, https=https) as client:
        roots = await client.ca.roots()
        print(f"On {name}")
        print(f"  trust domain {roots.trust_domain}, {len(roots.roots)} root(s)\n")
        suffix = token_hex(3)
        await _intentions(client, roots.trust_domain, f"demo-web-{suffix}", f"demo-db-{suffix}")
        if address is None or rotate:
            await _rotation(client)
        else:
            print("\nThe root stays as it is: rotate it with --rotate.")
        stays = "the new root stays (and its key, in the authority's configuration)"
        print(f"\nDone; {stays if rotate else 'nothing is left behind'}." if address else "\nDone.")


async def _intentions(client: Consul, trust_domain: str, web: str, db: str) -> None:
    """Write an intention, watch it change, decide by it, and delete it again."""
    # A read says at once that a token is refused; a watch waits for a better one.
    await client.intentions.match(destination=db)
    async with _writer(client, web, db) as write:
        await _watching(client, write, web, db)
        await _deciding(client, write, SpiffeId(trust_domain=trust_domain, datacenter="dc1", name=web), db)


async def _watching(client: Consul, write: _Write, web: str, db: str) -> None:
    """Watch the intention change, and ask for the decision."""
    async with client.intentions.match(destination=db).watch() as watch:
        changes = watch.changes()
        first = await _next(changes, watch)
        print(f"Watching the intentions for {db}: {len(first)} so far")
        for action in ("allow", "deny"):
            began = time.perf_counter()
            await write(action)
            wrote = time.perf_counter()
            batch = await _next(changes, watch)
            print(f"  wrote   {web} => {db} {action} in {1e3 * (wrote - began):.1f} ms")
            print(
                f"  watched {_described(batch)}, {1e3 * (time.perf_counter() - began):.1f} ms after the write was sent"
            )
            allowed = await client.intentions.check(web, db)
            print(f"  check   may {web} connect to {db}? {_yes_or_no(allowed)}")


async def _deciding(client: Consul, write: _Write, caller: SpiffeId, db: str) -> None:
    """Decide in the process about a caller, whose datacenter does not matter, and ask the agent beside it."""
    uri = str(caller)
    async with client.authorizer(db, ready_timeout=_PATIENCE) as authorizer:
        print(f"\nDeciding in the process: may this caller connect to {db}?\n  {uri}")
        for action in ("allow", "deny"):
            began = time.perf_counter()
            await write(action)
            verdict = await _decision_by(authorizer, caller, action)
            took = 1e3 * (time.perf_counter() - began)
            print(f"  here    {_yes_or_no(verdict)}, {took:.1f} ms after the write of {action} was sent")
            try:
                answer = await _answer_of_agent(client, db, uri, verdict)
            except PermissionDenied:
                print(f"  agent   it does not tell: the token needs service:write on {db}")
                return
            print(f"  agent   {_yes_or_no(answer)}")
        here, there = _time_of_decision(authorizer, uri), await _time_of_call(client, db, uri)
        print(f"  times   {1e6 * here:.2f} us here, {1e3 * there:.2f} ms to ask the agent (medians of {_SAMPLES})")


def _yes_or_no(answer: object) -> str:
    return "yes" if answer else "no"


async def _decision_by(authorizer: Authorizer, caller: SpiffeId, action: Action) -> Verdict:
    """Wait for the decision by the intention for this caller with this action, and return it."""

    def is_it() -> bool:
        decided = authorizer.check(caller).intention
        return decided is not None and (decided.source_name, decided.action) == (caller.name, action)

    await authorizer.until(is_it, _PATIENCE)
    return authorizer.check(caller)


async def _answer_of_agent(client: Consul, db: str, uri: str, verdict: Verdict) -> Authorization:
    """Ask until the agent agrees, for its cache can be a moment behind; at last return what it says."""
    answer = await client.agent.authorize(db, uri)
    with anyio.move_on_after(_PATIENCE):
        while answer.authorized is not verdict.allowed:
            await anyio.sleep(0.02)
            answer = await client.agent.authorize(db, uri)
    return answer


def _time_of_decision(authorizer: Authorizer, uri: str) -> float:
    """The median time of a decision, in seconds."""
    times: list[float] = []
    for _ in range(_SAMPLES):
        began = time.perf_counter()
        for _ in range(_AT_ONCE):
            authorizer.check(uri)
        times.append((time.perf_counter() - began) / _AT_ONCE)
    return median(times)


async def _time_of_call(client: Consul, db: str, uri: str) -> float:
    """The median time of a call to the agent, in seconds."""
    times: list[float] = []
    for _ in range(_SAMPLES):
        began = time.perf_counter()
        await client.agent.authorize(db, uri)
        times.append(time.perf_counter() - began)
    return median(times)


@asynccontextmanager
async def _writer(client: Consul, web: str, db: str) -> AsyncGenerator[_Write, None]:
    """
    Yield a function that writes the intention, and delete the intention at the end.

    The function writes by name, or by id where the agent is too old for that. If the block fails and so does the
    deletion, a note on the error says that the intention may be left behind.
    """
    intention_id, may_be_there = "", False

    async def write(action: Action) -> None:
        nonlocal intention_id, may_be_there
        was_there, may_be_there = may_be_there, True
        try:
            intention_id = await _write(client, web, db, action, intention_id)
        except PermissionDenied:
            may_be_there = was_there
            raise

    try:
        yield write
    except BaseException as error:
        try:
            if may_be_there:
                await _forget(client, web, db)
        except ConsulError as failure:
            error.add_note(f"{web} => {db} may be left behind: {failure}")
        raise
    await _forget(client, web, db)


async def _write(client: Consul, web: str, db: str, action: Action, intention_id: str) -> str:
    """Write the intention; return its id where it had to be written by id, else an empty text."""
    if intention_id:
        await client.intentions.update_by_id(intention_id, web, db, action=action)
        return intention_id
    try:
        await client.intentions.upsert(web, db, action=action)
    except Unsupported as old:
        print(f"  This agent knows intentions by id alone (by name needs Consul {old.min_version}): writing by id.")
        return await client.intentions.create(web, db, action=action)
    return ""


async def _forget(client: Consul, web: str, db: str) -> None:
    """
    Delete the intention by name, or by its id where the agent is too old for that.

    Raises OutcomeUnknown after `_PATIENCE` seconds.
    """
    with anyio.move_on_after(_PATIENCE, shield=True):
        try:
            await client.intentions.delete(web, db)
        except Unsupported:
            for each in await client.intentions.match(destination=db):
                if (each.source_name, each.destination_name) == (web, db):
                    await client.intentions.delete_by_id(each.id)
        return
    raise OutcomeUnknown(f"the intention was not deleted within {_PATIENCE:g} s")


def _described(batch: Batch[Intention]) -> str:
    words: list[str] = []
    for change in batch:
        match change:
            case Added(new):
                words.append(f"added {_rule(new)}")
            case Changed(old, new):
                words.append(f"changed {_rule(old)} to {new.action}")
            case Removed(old):
                words.append(f"removed {_rule(old)}")
    return ", ".join(words)


def _rule(intention: Intention) -> str:
    return f"{intention.source_name} => {intention.destination_name} {intention.action}"


async def _rotation(client: Consul) -> None:
    """Give the built-in certificate authority another key, and watch the new root arrive."""
    configuration = await client.ca.configuration()
    if configuration.provider != "consul":
        raise InvalidRequest(f"the root is that of the provider {configuration.provider!r}: rotate it there")
    changed = {**configuration.config, "PrivateKey": new_key()}
    changed.pop("RootCert", None)
    async with client.ca.roots().watch() as watch:
        await watch.ready(_PATIENCE)
        before = watch.current
        print(f"\nWatching the roots: {_active(before)} is active")
        began = time.perf_counter()
        await client.ca.update_configuration(changed, provider="consul")
        after = await _new_root(watch, before)
        took = 1e3 * (time.perf_counter() - began)
        print(f"  rotated; watched {_active(after)} take over, {took:.1f} ms after the write was sent")
        print(f"  {len(after.roots)} roots are trusted now: the old one until its last leaf has gone")


async def _new_root(watch: Watch[Roots, Root], before: Roots) -> Roots:
    return await watch.until(lambda roots: roots.active_root_id != before.active_root_id, _PATIENCE)


def _active(roots: Roots) -> str:
    return f"root {roots.active_root_id[:17]}..."


async def _next(
    changes: Changes[tuple[Intention, ...], Intention], watch: Watch[tuple[Intention, ...], Intention]
) -> Batch[Intention]:
    with anyio.move_on_after(_PATIENCE):
        return await anext(changes)
    why = f": {watch.status.error}" if watch.status.error else ""
    raise NotReady(f"the watcher saw nothing within {_PATIENCE:g} s{why}")
