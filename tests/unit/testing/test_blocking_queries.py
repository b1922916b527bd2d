"""What a blocking query of the in-process agent waits for, and for how long; the versions differ."""

import asyncio
import statistics
import time

import pytest
from support.polling import INTENTIONS, Client, session, until
from support.versions import VERSIONS

from aioconsulconnect.testing import Agent

pytestmark = pytest.mark.timed

NEWER = VERSIONS[1:]


# What it waits for. The four versions differ.


async def test_any_intention_wakes_a_list(client: Client) -> None:
    await client.allow("web", "db")
    poll = await client.poll(INTENTIONS, await client.index(), "10s")
    began = time.perf_counter()
    await client.allow("x", "y")
    _, body, headers = await poll
    assert time.perf_counter() - began < 5
    assert len(body) == 2
    assert headers["X-Consul-Index"] == str(client.agent.store.index)


@pytest.mark.slow
async def test_a_list_waits_its_time_with_up_to_a_sixteenth_more(client: Client) -> None:
    await client.allow("web", "db")
    index = await client.index()
    began = time.perf_counter()

    async def one() -> float:
        await client.ask("GET", f"{INTENTIONS}?index={index}&wait=400ms")
        return time.perf_counter() - began

    times = await asyncio.gather(*(one() for _ in range(30)))
    assert min(times) >= 0.4
    assert max(times) < 0.4 * 17 / 16 + 1  # a second for a machine that has other things to do
    assert max(times) - min(times) > 0.01


async def test_an_unrelated_write_wakes_a_match_on_1_8_only(client: Client) -> None:
    await client.allow("web", "db")
    path = f"{INTENTIONS}/match?by=destination&name=db"
    wait = 10.0 if client.agent.version.startswith("1.8") else 0.2
    index = await client.index()
    began = time.perf_counter()
    poll = await client.poll(path, index, f"{1000 * wait:.0f}ms")
    await client.allow("web", "other")
    await poll
    woken = time.perf_counter() - began < wait  # unwoken it lasts at least its whole wait
    assert woken == client.agent.version.startswith("1.8")


@pytest.mark.parametrize("version", NEWER, indirect=True)
async def test_a_match_without_data_waits_for_some(client: Client) -> None:
    path = f"{INTENTIONS}/match?by=source&name=web"
    poll = await client.poll(path, await client.index(path), "10s")
    await client.allow("x", "y")
    await client.allow("y", "z")
    await asyncio.sleep(0.05)
    assert not poll.done()
    await client.allow("web", "z")
    _, body, _ = await poll
    assert [intention["DestinationName"] for intention in body["web"]] == ["z"]


@pytest.mark.parametrize("version", NEWER, indirect=True)
async def test_a_sibling_source_wakes_a_match(client: Client) -> None:
    await client.allow("web", "db")
    poll = await client.poll(f"{INTENTIONS}/match?by=source&name=web", await client.index(), "10s")
    await client.allow("api", "db")
    _, body, headers = await poll
    assert body["web"][0]["ModifyIndex"] == int(headers["X-Consul-Index"])


@pytest.mark.parametrize("version", NEWER, indirect=True)
async def test_another_kind_of_entry_wakes_an_empty_list_only(client: Client) -> None:
    entry = {"Kind": "service-defaults", "Name": "db", "Protocol": "http"}
    poll = await client.poll(INTENTIONS, await client.index(), "10s")
    await client.ask("PUT", "/v1/config", entry)
    _, body, _ = await poll
    assert body == []
    await client.allow("web", "db")
    before = await client.index()
    poll = await client.poll(INTENTIONS, before, "150ms")
    began = time.perf_counter()
    await client.ask("PUT", "/v1/config", entry | {"Protocol": "grpc"})
    _, _, headers = await poll
    assert time.perf_counter() - began >= 0.14
    assert headers["X-Consul-Index"] == before
    assert int(await client.index()) > int(before)


@pytest.mark.parametrize("version", NEWER, indirect=True)
async def test_a_missing_entry_is_waited_for_and_a_deleted_one_told(client: Client) -> None:
    path = "/v1/config/service-intentions/db"
    poll = await client.poll(path, await client.index(path), "10s")
    await client.allow("web", "other")
    await client.ask("DELETE", "/v1/config/service-intentions/db")
    await asyncio.sleep(0.05)
    assert not poll.done()
    await client.allow("web", "db")
    status, body, headers = await poll
    assert (status, body["Name"]) == (200, "db")
    poll = await client.poll(path, headers["X-Consul-Index"], "10s")
    await client.ask("DELETE", path)
    status, _, headers = await poll
    assert status == 404
    assert int(headers["X-Consul-Index"]) == client.agent.store.index


@pytest.mark.parametrize("version", NEWER, indirect=True)
async def test_an_exact_poll_ends_with_the_deletion(client: Client) -> None:
    await client.allow("web", "db")
    path = f"{INTENTIONS}/exact?source=web&destination=db"
    poll = await client.poll(path, await client.index(), "10s")
    await client.ask("DELETE", path)
    status, said, _ = await poll
    assert (status, said) == (404, "Intention not found")


async def test_an_index_from_the_future_waits_and_shows_the_real_one(client: Client) -> None:
    await client.allow("web", "db")
    began = time.perf_counter()
    _, _, headers = await client.ask("GET", f"{INTENTIONS}?index=18446744073709551615&wait=200ms")
    assert time.perf_counter() - began >= 0.2
    assert int(headers["X-Consul-Index"]) == client.agent.store.index


async def test_a_deleted_token_is_noticed_when_the_poll_wakes() -> None:
    async with Agent(acl=True) as agent, session() as opened:
        client = Client(agent, opened)
        manager = {"X-Consul-Token": agent.management_token}
        rules = {"Name": "all", "Rules": 'service_prefix "" { policy = "write" intentions = "write" }'}
        await client.ask("PUT", "/v1/acl/policy", rules, **manager)
        _, token, _ = await client.ask("PUT", "/v1/acl/token", {"Policies": [{"Name": "all"}]}, **manager)
        opened.headers["X-Consul-Token"] = token["SecretID"]
        await client.allow("web", "db")
        poll = await client.poll(INTENTIONS, await client.index(), "10s")
        await client.ask("DELETE", f"/v1/acl/token/{token['AccessorID']}", **manager)
        await asyncio.sleep(0.05)
        assert not poll.done()
        path = f"{INTENTIONS}/exact?source=api&destination=db"
        await client.ask("PUT", path, {"Action": "deny"}, **manager)
        status, said, headers = await poll
        assert (status, said, headers["X-Consul-Index"]) == (403, "ACL not found", "1")


@pytest.mark.slow
async def test_200_polls_under_100_writes_a_second_each_wake_once_for_what_concerns_them(newest_client: Client) -> None:
    await newest_client.allow("first", "elsewhere")
    index = await newest_client.index()
    woken: dict[str, float] = {}
    written: dict[str, float] = {}

    async def watch(name: str) -> None:
        path = f"{INTENTIONS}/match?by=destination&name={name}&index={index}&wait=30s"
        _, body, _ = await newest_client.ask("GET", path)
        woken[name] = time.perf_counter()
        assert [intention["SourceName"] for intention in body[name]] == ["web"]

    names = [f"s{i}" for i in range(200)]
    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        for name in names:
            group.create_task(watch(name))
        await until(lambda: len(newest_client.agent.polls) == 200)
        began = time.perf_counter()
        for i, name in enumerate(names):
            if i < 50:  # half a second of that; the others are written as fast as it goes
                await asyncio.sleep(max(0, began + i / 100 - time.perf_counter()))
            # Nobody wakes before what he waits for is written, though a hundred writes a second go by.
            assert woken.keys() <= written.keys()
            written[name] = time.perf_counter()
            await newest_client.allow("web", name)
    assert (
        statistics.median(woken[name] - written[name] for name in names) < 0.5
    )  # benchmarks measure it; here it is far from the 30 s of the wait
    assert max(woken[name] - written[name] for name in names) < 10


@pytest.mark.parametrize("version", ["1.8"], indirect=True)
@pytest.mark.slow
async def test_200_polls_of_an_old_agent_all_wake_for_every_write(client: Client) -> None:
    for written in range(1, 6):
        index = await client.index()
        # The index of the list is that of the table, which 1.8 does not tell with a match.
        path = f"{INTENTIONS}/match?by=destination&name=nobody"
        if written == 1:
            await client.allow("first", "elsewhere")
            index = await client.index()
        async with asyncio.timeout(10):
            polls = [asyncio.create_task(client.ask("GET", f"{path}&index={index}&wait=30s")) for _ in range(200)]
            await until(lambda: len(client.agent.polls) == 200)
            await client.allow("web", f"s{written}")
            answers = await asyncio.gather(*polls)
        assert all(body == {"nobody": None} for _, body, _ in answers)
