"""Entering an authorizer, and waiting for it: for its first data, or for a condition; or it says what is missing."""

from __future__ import annotations

import asyncio
import time

import pytest
from support.fakes import idle, refused
from support.meshes import LIST, MESH, MeshWorld, rule

from aioconsulconnect.authorization.rules.verdict import Reason
from aioconsulconnect.client import Consul
from aioconsulconnect.errors import InvalidRequest, NotReady

FILTERED = {"x-consul-results-filtered-by-acls": "true"}


async def test_entering_waits_until_it_decides_by_data() -> None:
    async with MeshWorld() as world:
        world.mesh.intentions(rule("web"))
        authorizer = world.authorizer("db", ready_timeout=None)
        entering = asyncio.create_task(authorizer.__aenter__())
        await world.clock.advance(2)
        assert await entering is authorizer
        assert authorizer.check("web")
        await authorizer.aclose()


async def test_entering_without_an_agent_raises_and_leaves_nothing() -> None:
    async with MeshWorld() as world:
        world.mesh.down = refused()
        before = asyncio.all_tasks()
        authorizer = world.authorizer("db", ready_timeout=0.05)
        with pytest.raises(NotReady, match="nobody listens"):
            await authorizer.__aenter__()
        assert authorizer.check("web").reason is Reason.NOT_READY
        await world.polls.aclose()
        await idle()
        assert asyncio.all_tasks() <= before


async def test_entering_that_is_cancelled_leaves_nothing() -> None:
    async with MeshWorld() as world:
        world.mesh.frozen = True
        before = asyncio.all_tasks()
        entering = asyncio.create_task(world.authorizer("db", ready_timeout=None).__aenter__())
        await idle()
        entering.cancel()
        with pytest.raises(asyncio.CancelledError):
            await entering
        await world.polls.aclose()
        await idle()
        assert asyncio.all_tasks() <= before


async def test_timeout_zero_enters_at_once_and_denies() -> None:
    async with MeshWorld() as world:
        world.mesh.frozen = True
        async with world.authorizer("db", ready_timeout=0) as authorizer:
            assert authorizer.check("web").reason is Reason.NOT_READY


async def test_filtered_list_is_said_to_be_filtered() -> None:
    async with MeshWorld() as world:
        world.mesh.flags = {LIST: FILTERED}
        async with world.authorizer() as authorizer:
            await world.clock.advance(2)
            with pytest.raises(NotReady, match="the token does not see all intentions"):
                await authorizer.ready(0.01)


async def test_mesh_entry_without_an_answer_is_named() -> None:
    async with MeshWorld() as world:
        world.mesh.put_at(MESH, "rpc error: No cluster leader", status=500)
        async with world.authorizer("db") as authorizer:
            await world.clock.advance(2)
            with pytest.raises(NotReady, match=r"the mesh entry is not known; its watch is stale: .*No cluster leader"):
                await authorizer.ready(0.01)


@pytest.mark.parametrize("timeout", [-1.0, float("nan")])
def test_time_that_is_none_is_refused(timeout: float) -> None:
    with pytest.raises(InvalidRequest, match="ready_timeout"):
        Consul("http://127.0.0.1:1").authorizer("db", ready_timeout=timeout)


async def test_client_enters_within_its_timeout_where_nobody_listens() -> None:
    began = time.monotonic()
    async with Consul("http://127.0.0.1:1") as consul:
        with pytest.raises(
            NotReady, match=r"within 0\.2 s; it is starting: the watch of the intentions is stale: .*no connection to"
        ):
            await consul.authorizer("db", ready_timeout=0.2).__aenter__()
    assert time.monotonic() - began < 5


async def test_until_waits_for_a_condition_and_says_what_it_waits_for() -> None:
    async with MeshWorld() as world, world.entered("db", default="deny") as authorizer:
        waiting = asyncio.create_task(authorizer.until(lambda: authorizer.check("web")))
        await world.clock.advance(1)
        assert not waiting.done()
        world.mesh.intentions(rule("web"))
        await world.clock.advance(1)
        await waiting
        with pytest.raises(NotReady, match=r"the condition does not hold within 0\.01 s; it is ready"):
            await authorizer.until(lambda: False, 0.01)
        with pytest.raises(InvalidRequest, match="timeout"):
            await authorizer.until(lambda: False, float("nan"))


async def test_ready_waits_while_the_data_is_too_old() -> None:
    async with MeshWorld() as world:
        world.mesh.intentions(rule("web"))
        async with world.entered("db", default="deny", max_age=15.0) as authorizer:
            world.mesh.frozen = True
            await world.clock.advance(60)
            with pytest.raises(NotReady, match="it is expired"):
                await authorizer.ready(0.01)
            waiting = asyncio.create_task(authorizer.ready())
            world.mesh.frozen = False
            await world.clock.advance(60)
            await waiting
            assert authorizer.status.state == "ready"


async def test_state_is_starting_until_all_that_can_be_learnt_is() -> None:
    async with MeshWorld() as world:
        world.mesh.put_at(MESH, "rpc error: No cluster leader", status=500)
        world.mesh.intentions(rule("web"))
        async with world.authorizer("db") as authorizer:
            await world.clock.advance(2)
            assert authorizer.check("web")
            assert authorizer.status.state == "starting"
            assert "mesh entry" in authorizer.status.missing
