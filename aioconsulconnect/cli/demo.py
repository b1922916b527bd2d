"""`aioconsulconnect demo`: the main job, line by line, with the times that were measured."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from secrets import token_hex

import anyio

from aioconsulconnect.changes import Added, Batch, Changed, Removed
from aioconsulconnect.cli.throwaway import in_process, new_key, real
from aioconsulconnect.client import Consul
from aioconsulconnect.errors import InvalidRequest, NotReady, Unsupported
from aioconsulconnect.watch import Watch
from aioconsulconnect.wire.ca import Root, Roots
from aioconsulconnect.wire.intentions import Action, Intention

_PATIENCE = 10.0


async def demo(*, address: str | None, consul: str | None, rotate: bool) -> None:
    """Run the demonstration; a ConsulError says why it could not be finished. Nothing is left behind."""
    where: AbstractAsyncContextManager[tuple[str, str]]
    if address is not None:
        where = nullcontext((address, f"the agent at {address}"))
    else:
        where = real(consul) if consul is not None else in_process()
    async with where as (url, name), Consul(url) as client:
        roots = await client.ca.roots()
        print(f"On {name}")
        print(f"  trust domain {roots.trust_domain}, {len(roots.roots)} root(s)\n")
        suffix = token_hex(3)
        await _intentions(client, f"demo-web-{suffix}", f"demo-db-{suffix}")
        if address is None or rotate:
            await _rotation(client)
        else:
            print("\nThe root stays as it is: rotate it with --rotate.")
        print("\nDone; nothing is left behind." if address else "\nDone.")


async def _intentions(client: Consul, web: str, db: str) -> None:
    """Write, watch and ask; then take back what was written."""
    async with _writer(client, web, db) as write, client.intentions.match(destination=db).watch() as watch:
        changes = watch.changes()
        first = await _within(changes.__anext__)
        print(f"Watching the intentions for {db}: {len(first)} so far")
        for action in ("allow", "deny"):
            began = time.perf_counter()
            await write(action)
            wrote = time.perf_counter()
            batch = await _within(changes.__anext__)
            print(f"  wrote   {web} => {db} {action} in {1e3 * (wrote - began):.1f} ms")
            print(f"  watched {_told(batch)}, {1e3 * (time.perf_counter() - began):.1f} ms after the write was sent")
            allowed = await client.intentions.check(web, db)
            print(f"  check   may {web} connect to {db}? {'yes' if allowed else 'no'}")


@asynccontextmanager
async def _writer(
    client: Consul, web: str, db: str
) -> AsyncGenerator[Callable[[Action], Coroutine[None, None, None]], None]:
    """A function that writes the intention: by name, or by id where the agent is too old for that."""
    intention_id = ""

    async def write(action: Action) -> None:
        nonlocal intention_id
        if intention_id:
            await client.intentions.update_by_id(intention_id, web, db, action=action)
            return
        try:
            await client.intentions.upsert(web, db, action=action)
        except Unsupported as old:
            print(f"  This agent knows intentions by id alone (by name needs Consul {old.needs}): writing by id.")
            intention_id = await client.intentions.create(web, db, action=action)

    try:
        yield write
    finally:
        with anyio.move_on_after(_PATIENCE, shield=True):
            if intention_id:
                await client.intentions.delete_by_id(intention_id)
            else:
                await _forget(client, web, db)


async def _forget(client: Consul, web: str, db: str) -> None:
    try:
        await client.intentions.delete(web, db)
    except Unsupported:
        return  # an agent that cannot delete by name has not written by name either


def _told(batch: Batch[Intention]) -> str:
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
    """Give the built-in authority another key, which makes another root, and see it arrive."""
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
    return f"root {roots.active_root_id[:17]}…"


async def _within(step: Callable[[], Coroutine[None, None, Batch[Intention]]]) -> Batch[Intention]:
    with anyio.move_on_after(_PATIENCE):
        return await step()
    raise NotReady(f"the watcher saw nothing within {_PATIENCE:g} s")
