"""The life of the in-process agent: start, stop, HTTPS, and what a test sees of it."""

import asyncio
import json
import ssl
import statistics
import time

import aiohttp
import pytest
from support.polling import INTENTIONS, Client, session, until
from support.versions import VERSIONS

from aioconsulconnect.testing import Agent, Version

pytestmark = pytest.mark.timed

NEWER = VERSIONS[1:]


# Life.


async def test_agent_starts_in_under_50_ms(version: Version) -> None:
    times: list[float] = []
    for _ in range(15):
        began = time.perf_counter()
        async with Agent(version):
            times.append(time.perf_counter() - began)
    assert statistics.median(times) < 0.05


async def test_many_live_in_one_process_and_share_nothing() -> None:
    agents = [Agent(VERSIONS[i % 4]) for i in range(20)]
    for agent in agents:
        agent.start()
    try:
        assert len({agent.url for agent in agents}) == 20
        async with session() as opened:
            await Client(agents[3], opened).allow("web", "db")
        assert [len(agent.store.intentions) for agent in agents] == [0, 0, 0, 1, *[0] * 16]
        assert len({agent.trust_domain for agent in agents}) == 20
    finally:
        for agent in agents:
            agent.stop()


async def test_a_port_of_choice_and_one_that_is_taken(newest_client: Client) -> None:
    port = int(newest_client.agent.url.rsplit(":", 1)[1])
    with pytest.raises(OSError, match="in use"):
        Agent(port=port).start()
    newest_client.agent.stop()
    async with Agent(port=port) as again:
        assert again.url == newest_client.agent.url


def test_the_address_is_known_only_after_the_start() -> None:
    with pytest.raises(RuntimeError, match="enter it as a context"):
        _ = Agent().url


@pytest.mark.slow
async def test_stopping_closes_waiting_polls_without_an_answer(newest_client: Client) -> None:
    await newest_client.allow("web", "db")
    index = await newest_client.index()
    polls = [await newest_client.poll(INTENTIONS, index, "60s") for _ in range(200)]
    assert len(newest_client.agent.polls) == 200
    began = time.perf_counter()
    newest_client.agent.stop()
    assert time.perf_counter() - began < 5
    ends = await asyncio.gather(*polls, return_exceptions=True)
    # aiohttp asks again where a used connection ends like this, and then finds nobody there.
    assert {type(end) for end in ends} <= {aiohttp.ServerDisconnectedError, aiohttp.ClientConnectorError}
    assert newest_client.agent.polls == ()


async def test_a_stopped_agent_leaves_its_port(newest_client: Client) -> None:
    newest_client.agent.stop()
    newest_client.agent.stop()
    with pytest.raises(aiohttp.ClientConnectorError):
        await newest_client.ask("GET", INTENTIONS)


async def test_https_with_its_own_ca() -> None:
    async with Agent(tls=True) as agent, session() as opened:
        assert agent.url.startswith("https://127.0.0.1:")
        ca_file = agent.ca_file
        trusting = ssl.create_default_context(cafile=ca_file)
        async with opened.get(f"{agent.url}/v1/status/leader", ssl=trusting) as response:
            assert response.status == 200
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await opened.get(f"{agent.url}/v1/status/leader")
    assert not ca_file.exists()
    with pytest.raises(RuntimeError, match="tls=True"):
        _ = Agent().ca_file


# What a test sees and does.


async def test_the_requests_seen(newest_client: Client) -> None:
    await newest_client.allow("web", "db")
    poll = await newest_client.poll(f"{INTENTIONS}/match?by=destination&name=db&name=api", "99", "30s")
    first, second = newest_client.agent.requests
    assert (first.method, first.path, first.status) == ("PUT", "/v1/connect/intentions/exact", 200)
    assert first.query == {"source": ("web",), "destination": ("db",)}
    assert json.loads(first.body) == {"Action": "allow"}
    assert (second.query["name"], second.status) == (("db", "api"), None)
    (waiting,) = newest_client.agent.polls
    assert (waiting.path, waiting.index) == ("/v1/connect/intentions/match", 99)
    newest_client.agent.advance(200)
    await newest_client.allow("api", "db")
    await poll
    answered = newest_client.agent.requests[1]
    assert answered.status == 200
    assert answered.seconds is not None
    assert newest_client.agent.polls == ()


async def test_the_token_of_a_request_is_seen_but_not_shown(newest_client: Client) -> None:
    await newest_client.ask("GET", INTENTIONS, **{"X-Consul-Token": "s3cret"})
    (seen,) = newest_client.agent.requests
    assert seen.token == "s3cret"
    assert "s3cret" not in repr(seen)


async def test_the_view_of_the_store_is_a_copy(client: Client) -> None:
    await client.allow("web", "db")
    (intention,) = client.agent.store.intentions
    assert (intention["SourceName"], intention["DestinationName"]) == ("web", "db")
    intention["SourceName"] = "other"
    assert client.agent.store.intentions[0]["SourceName"] == "web"
    if client.agent.version.startswith("1.8"):
        assert client.agent.store.entries == []
    else:
        assert [entry["Name"] for entry in client.agent.store.entries] == ["db"]
    assert client.agent.store.index > 10


async def test_advancing_the_index(client: Client) -> None:
    client.agent.advance(5000)
    assert client.agent.store.index == 5000
    await client.allow("web", "db")
    assert await client.index() == "5001"
    client.agent.advance(10)
    assert client.agent.store.index == 5001


@pytest.mark.slow
async def test_an_abandoned_poll_stays_until_its_wait_is_over(newest_client: Client) -> None:
    poll = await newest_client.poll(INTENTIONS, "99", "500ms")
    poll.cancel()
    await asyncio.sleep(0.2)
    assert len(newest_client.agent.polls) == 1
    await until(lambda: not newest_client.agent.polls)


@pytest.mark.parametrize(
    "path",
    ["/v1/agent/connect/ca/leaf/web", "/v1/agent/connect/ca/roots", f"{INTENTIONS}/match?by=source&name=web&cached"],
)
async def test_an_abandoned_poll_of_the_agent_itself_is_gone_within_a_second(newest_client: Client, path: str) -> None:
    await newest_client.allow("web", "db")
    poll = await newest_client.poll(path, "999", "60s")
    assert len(newest_client.agent.polls) == 1
    poll.cancel()
    began = time.perf_counter()
    await until(lambda: not newest_client.agent.polls)
    assert time.perf_counter() - began < 5


@pytest.mark.parametrize("version", NEWER, indirect=True)
async def test_a_cached_match_follows_at_once_and_says_what_it_knows(client: Client) -> None:
    await client.allow("web", "db")
    path = f"{INTENTIONS}/match?by=destination&name=db&cached"
    seen = [(await client.ask("GET", path))[2].get("X-Cache") for _ in range(2)]
    assert seen == ["MISS", "HIT"]
    poll = await client.poll(path, await client.index(), "10s")
    await client.allow("api", "db")
    _, body, headers = await poll
    assert [intention["SourceName"] for intention in body["db"]] == ["api", "web"]
    assert (headers["X-Cache"], headers.get("Age")) == ("MISS", None)
