"""What a test may do to the in-process agent and read of it: its life, state and TLS, and that nothing stays behind."""

import asyncio
import gc
import json
import ssl
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from cryptography import x509
from support.versions import NEWEST, VERSIONS

from aioconsulconnect import Consul, NotFound
from aioconsulconnect.testing import Agent, Version

LIST = "/v1/connect/intentions"
ROOTS = "/v1/connect/ca/roots"


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0), timeout=aiohttp.ClientTimeout(10)
    ) as session:
        yield session


async def call(session: aiohttp.ClientSession, url: str, body: Any = None, token: str = "") -> tuple[Any, int]:
    """The JSON of an answer and its index."""
    headers = {"X-Consul-Token": token} if token else {}
    async with session.request("GET" if body is None else "POST", url, json=body, headers=headers) as answer:
        assert answer.status == 200, await answer.text()
        return json.loads(await answer.read()), int(answer.headers.get("X-Consul-Index", 0))


async def allow(session: aiohttp.ClientSession, agent: Agent, source: str, token: str = "") -> None:
    body = {"SourceName": source, "DestinationName": "db", "SourceType": "consul", "Action": "allow"}
    await call(session, agent.url + LIST, body, token)


def sources(intentions: list[dict[str, Any]]) -> set[str]:
    return {intention["SourceName"] for intention in intentions}


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.002)


# Life.


async def test_the_address_is_known_once_it_runs() -> None:
    agent = Agent()
    with pytest.raises(RuntimeError, match="enter it as a context"):
        _ = agent.url
    assert repr(agent) == f"<Agent {NEWEST}.0 at no address yet>"
    async with agent:
        assert agent.url in repr(agent)
        assert agent.url.startswith("http://127.0.0.1:")


async def test_the_port_may_be_chosen(unused_port: int) -> None:
    async with Agent(port=unused_port) as agent:
        assert agent.url == f"http://127.0.0.1:{unused_port}"
        with pytest.raises(OSError, match=str(unused_port)):
            Agent(port=unused_port).start()


@pytest.fixture
async def unused_port() -> int:
    async with Agent() as agent:
        return int(agent.url.rpartition(":")[2])


async def test_a_hundred_agents_do_not_see_each_other(session: aiohttp.ClientSession) -> None:
    agents = [Agent(VERSIONS[number % 4]) for number in range(100)]
    for agent in agents:
        agent.start()
    try:
        await asyncio.gather(*(allow(session, agent, f"from-{number}") for number, agent in enumerate(agents)))
        assert [sources(agent.store.intentions) for agent in agents] == [{f"from-{n}"} for n in range(100)]
        assert len({agent.trust_domain for agent in agents}) == 100
    finally:
        for agent in agents:
            agent.stop()


async def test_agent_with_two_hundred_waiting_polls_stops_at_once(session: aiohttp.ClientSession) -> None:
    tasks_before = asyncio.all_tasks()
    agent = Agent().start()
    _, index = await call(session, agent.url + LIST)
    polls = [asyncio.create_task(call(session, f"{agent.url}{LIST}?index={index}")) for _ in range(200)]
    await until(lambda: len(agent.polls) == 200)
    began = time.monotonic()
    agent.stop()
    assert time.monotonic() - began < 1
    assert not agent.polls
    ended = await asyncio.gather(*polls, return_exceptions=True)
    assert {type(each) for each in ended} <= {
        aiohttp.ServerDisconnectedError,
        aiohttp.ClientConnectorError,
        aiohttp.ClientOSError,
    }
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == tasks_before


async def test_agent_with_requests_held_back_stops_at_once(session: aiohttp.ClientSession) -> None:
    agent = Agent().start()
    agent.faults.half_open()
    held = asyncio.create_task(call(session, agent.url + LIST))
    await until(lambda: len(agent.requests) == 1)
    began = time.monotonic()
    agent.stop()
    assert time.monotonic() - began < 1
    with pytest.raises(aiohttp.ClientConnectionError):
        await held


async def test_an_agent_that_was_never_started_leaves_nothing() -> None:
    agent = Agent(tls=True)
    agent.stop()
    del agent
    gc.collect()


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"version": "2.0"}, f"plays Consul {', '.join(VERSIONS)}, not '2.0'"),
        ({"client_certificates": True}, "needs tls=True"),
    ],
)
def test_agent_with_impossible_arguments_raises_at_construction(arguments: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        Agent(**arguments)


@pytest.mark.parametrize(
    "arguments", [{}, {"acl": True}, {"tls": True}, {"acl": True, "tls": True, "client_certificates": True}]
)
async def test_its_environment_leads_a_service_to_it(
    arguments: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Agent(**arguments) as agent:
        for name, value in agent.environment.items():
            monkeypatch.setenv(name, value)
        async with Consul() as consul:
            await consul.intentions.upsert("web", "db", action="allow")
        assert sources(agent.store.intentions) == {"web"}


# Restart.


async def test_a_restart_keeps_the_address_and_what_was_written(session: aiohttp.ClientSession) -> None:
    async with Agent(acl=True) as agent:
        token, url, domain = agent.management_token, agent.url, agent.trust_domain
        await allow(session, agent, "web", token)
        before = agent.store.index
        agent.restart()
        listed, index = await call(session, url + LIST, token=token)
        assert (sources(listed), index, agent.trust_domain, agent.store.index) == ({"web"}, before, domain, before)


async def test_a_restart_may_begin_anew(session: aiohttp.ClientSession) -> None:
    async with Agent(acl=True) as agent:
        token, url, domain, first = agent.management_token, agent.url, agent.trust_domain, agent.store.index
        await allow(session, agent, "web", token)
        agent.restart(keep=False)
        assert (await call(session, url + LIST, token=token))[0] == []
        assert agent.store.index == first
        assert agent.trust_domain != domain


async def test_a_restart_cuts_the_polls_and_serves_the_next(session: aiohttp.ClientSession) -> None:
    async with Agent() as agent:
        _, index = await call(session, agent.url + LIST)
        url = f"{agent.url}{LIST}?index={index}"
        first = asyncio.create_task(call(session, url))
        await until(lambda: len(agent.polls) == 1)
        agent.restart()
        second = asyncio.create_task(call(session, url))
        await until(lambda: len(agent.polls) >= 1)
        await allow(session, agent, "web")
        assert sources((await second)[0]) == {"web"}
        await asyncio.gather(first, return_exceptions=True)


async def test_a_restart_loses_the_leaves(session: aiohttp.ClientSession) -> None:
    async with Agent() as agent:
        url = f"{agent.url}/v1/agent/connect/ca/leaf/web"
        first = await call(session, url)
        assert await call(session, url) == first
        agent.restart()
        leaf, _ = await call(session, url)
        assert leaf["SerialNumber"] != first[0]["SerialNumber"]


async def test_agent_after_a_stop_can_be_started_again(session: aiohttp.ClientSession) -> None:
    async with Agent() as agent:
        url = agent.url
        await allow(session, agent, "web")
        agent.stop()
        with pytest.raises(aiohttp.ClientConnectionError):
            await call(session, url + LIST)
        agent.start()
        assert sources((await call(session, url + LIST))[0]) == {"web"}


async def test_faults_outlive_a_restart(session: aiohttp.ClientSession) -> None:
    async with Agent() as agent:
        agent.faults.empty_lie()
        await allow(session, agent, "web")
        agent.restart()
        assert await call(session, agent.url + LIST) == ([], 1)


# Snapshots.


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_restore_lies_once(session: aiohttp.ClientSession, version: Version) -> None:
    async with Agent(version) as agent:
        await allow(session, agent, "web")
        saved, saved_index = agent.snapshot(), (await call(session, agent.url + LIST))[1]
        await allow(session, agent, "api")
        _, index = await call(session, agent.url + LIST)
        url = f"{agent.url}{LIST}?index={index}&wait=50s"
        poll = asyncio.create_task(call(session, url))
        await until(lambda: len(agent.polls) == 1)
        agent.restore(saved)
        listed, unmoved = await poll
        assert (sources(listed), unmoved) == ({"web", "api"}, index)
        listed, lower = await call(session, agent.url + LIST)
        assert (sources(listed), lower) == ({"web"}, saved_index)
        blocked = asyncio.create_task(call(session, url))
        await until(lambda: len(agent.polls) == 1)  # who goes on with the old index waits on wrong data
        await allow(session, agent, "cron")
        listed, higher = await blocked
        assert sources(listed) == {"web", "cron"}
        assert higher > index


async def test_a_restore_brings_back_roots_tokens_and_entries(session: aiohttp.ClientSession) -> None:
    async with Agent(acl=True) as agent:
        token = agent.management_token
        policies = await call(session, f"{agent.url}/v1/acl/policies", token=token)
        roots, _ = await call(session, agent.url + ROOTS)
        saved = agent.snapshot()
        agent.rotate_root()
        async with Consul(agent.url, token=token) as consul:
            await consul.intentions.upsert("web", "db", action="allow")
        async with session.put(
            f"{agent.url}/v1/acl/policy", json={"Name": "p"}, headers={"X-Consul-Token": token}
        ) as answer:
            assert answer.status == 200
        agent.restore(saved)
        assert agent.store.intentions == []
        assert (await call(session, f"{agent.url}/v1/acl/policies", token=token))[0] == policies[0]
        assert (await call(session, agent.url + ROOTS))[0] == roots


async def test_a_restore_reaches_what_is_made_of_entries(session: aiohttp.ClientSession) -> None:
    async with Agent() as agent:
        proxy = {"Name": "web-proxy", "Kind": "connect-proxy", "Port": 1, "Proxy": {"DestinationServiceName": "web"}}
        defaults = {"Kind": "proxy-defaults", "Name": "global", "Config": {"protocol": "http"}}
        await session.put(f"{agent.url}/v1/agent/service/register", json=proxy)
        saved = agent.snapshot()
        await session.put(f"{agent.url}/v1/config", json=defaults)
        url = f"{agent.url}/v1/health/connect/web?merge-central-config"
        assert (await call(session, url))[0][0]["Service"]["Proxy"]["Config"] == {"protocol": "http"}
        agent.restore(saved)
        assert not (await call(session, url))[0][0]["Service"]["Proxy"].get("Config")


async def test_a_snapshot_serves_many_times_and_another_agent(session: aiohttp.ClientSession) -> None:
    async with Agent() as one, Agent() as two:
        await allow(session, one, "web")
        saved = one.snapshot()
        two.restore(saved)
        two.rotate_root()
        await allow(session, two, "api")
        one.restore(saved)
        assert sources(one.store.intentions) == {"web"}
        assert sources(two.store.intentions) == {"web", "api"}
        assert one.trust_domain == two.trust_domain
        assert [len((await call(session, agent.url + ROOTS))[0]["Roots"]) for agent in (one, two)] == [1, 2]


async def test_a_restore_does_not_wake_what_the_agent_holds(session: aiohttp.ClientSession) -> None:
    async with Agent() as agent:
        url = f"{agent.url}/v1/agent/connect/ca/roots"
        _, index = await call(session, url)
        poll = asyncio.create_task(call(session, f"{url}?index={index}&wait=50s"))
        await until(lambda: len(agent.polls) == 1)
        agent.restore(agent.snapshot())
        await asyncio.wait([poll], timeout=0.05)
        assert not poll.done()
        agent.rotate_root()
        assert len((await poll)[0]["Roots"]) == 2


# TLS.


async def test_https_is_trusted_by_the_ca_of_the_agent_alone(session: aiohttp.ClientSession) -> None:
    async with Agent(tls=True) as agent:
        assert agent.url.startswith("https://")
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await session.get(agent.url + ROOTS)
        async with Consul(agent.url, ca_cert=agent.ca_file) as consul:
            assert (await consul.ca.roots()).trust_domain == agent.trust_domain
        context = ssl.create_default_context(cafile=agent.ca_file)
        by_name = agent.url.replace("127.0.0.1", "localhost")
        async with session.get(by_name + ROOTS, ssl=context) as answer:
            assert answer.status == 200


async def test_a_client_certificate_may_be_wanted(session: aiohttp.ClientSession) -> None:
    async with Agent(tls=True, client_certificates=True) as agent:
        context = ssl.create_default_context(cafile=agent.ca_file)
        with pytest.raises(aiohttp.ClientConnectionError):
            await session.get(agent.url + ROOTS, ssl=context)
        async with Consul(
            agent.url,
            ca_cert=agent.ca_file,
            client_cert=agent.client_cert_file,
            client_key=agent.client_key_file,
        ) as consul:
            assert (await consul.ca.roots()).trust_domain == agent.trust_domain


async def test_its_files_last_over_a_restart_and_go_with_it() -> None:
    async with Agent(tls=True) as agent:
        directory = agent.ca_file.parent
        pem = agent.ca_file.read_bytes()
        agent.restart(keep=False)
        assert agent.ca_file.read_bytes() == pem
        assert x509.load_pem_x509_certificate(pem).subject == x509.load_pem_x509_certificate(pem).issuer
    assert not directory.exists()
    with pytest.raises(RuntimeError, match="tls=True"):
        _ = agent.ca_file


async def test_a_port_that_is_taken_leaves_no_files(
    unused_port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    async with Agent(port=unused_port):
        with pytest.raises(OSError, match=str(unused_port)):
            Agent(port=unused_port, tls=True).start()
    assert list(tmp_path.iterdir()) == []


# What it tells.


async def test_agent_records_each_request_with_its_status() -> None:
    async with Agent() as agent, Consul(agent.url, token="secret") as consul:
        await consul.intentions.upsert("web", "db", action="allow")
        with pytest.raises(NotFound):
            await consul.intentions.read("nobody", "db")
        wrote, read = (request for request in agent.requests if request.path == f"{LIST}/exact")
        assert (wrote.method, wrote.path, wrote.token, wrote.status) == ("PUT", f"{LIST}/exact", "secret", 200)
        assert json.loads(wrote.body)["Action"] == "allow"
        assert wrote.query == {"source": ("web",), "destination": ("db",)}
        assert read.status == 404
        assert "secret" not in repr(wrote)


async def test_agent_store_shows_copies(session: aiohttp.ClientSession) -> None:
    async with Agent() as agent:
        await allow(session, agent, "web")
        agent.store.intentions[0]["SourceName"] = "mallory"
        agent.store.entries[0]["Name"] = "mallory"
        assert sources(agent.store.intentions) == {"web"}
        assert agent.store.entries[0]["Name"] == "db"


async def test_advance_raises_the_index_of_the_next_write(session: aiohttp.ClientSession) -> None:
    async with Agent() as agent:
        agent.advance(1000)
        agent.advance(5)
        await allow(session, agent, "web")
        assert (await call(session, agent.url + LIST))[1] == 1001


async def test_polls_are_seen_with_their_index(session: aiohttp.ClientSession) -> None:
    async with Agent() as agent:
        _, index = await call(session, agent.url + LIST)
        poll = asyncio.create_task(call(session, f"{agent.url}{LIST}?index={index}"))
        await until(lambda: len(agent.polls) == 1)
        assert (agent.polls[0].path, agent.polls[0].index) == (LIST, index)
        await allow(session, agent, "web")
        await poll
        assert agent.polls == ()
