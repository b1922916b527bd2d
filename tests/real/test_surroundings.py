"""A client and a real agent in surroundings of others: renewed certificates, proxies, gateways, crowds, idle hours."""

from __future__ import annotations

import asyncio
import gc
import tracemalloc
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from support.agents import Launcher, RealAgent, free_ports
from support.authorities import FilesInUse
from support.proxies import ClosingGateway, nginx, tinyproxy
from support.servers import Keys, Scripted, answer

from aioconsulconnect.client import Consul
from aioconsulconnect.errors import (
    ConnectionFailed,
    ConsulError,
    ErrorReason,
    OutcomeUnknown,
    PermissionDenied,
    RequestTimeout,
)
from aioconsulconnect.structs.agent import Check
from aioconsulconnect.structs.catalog import Instance
from aioconsulconnect.transport.settings.options import Options

ONE_RETRY = 2.0  # seconds: the first retry of a poll comes after half a second at most
SERVER = "server.dc1.consul"


def numbered(number: int) -> Any:
    """True for the instances of a service that was registered with this number."""

    def found(instances: Sequence[Instance]) -> bool:
        return any(instance.service.meta.get("number") == str(number) for instance in instances)

    return found


class Traffic:
    """
    Writes and reads of one client without end, and a watch that must show each write within `ONE_RETRY`.

    `failures` are the calls that failed, and the writes that the watch did not show in time; `done` counts the others.
    """

    def __init__(self, consul: Consul, service: str) -> None:
        self._consul = consul
        self._service = service
        self._ends = False
        self.failures: list[str] = []
        self.done = 0

    async def run(self) -> None:
        async with self._consul.health.service(self._service).watch() as watch:
            number = 0
            while not self._ends:
                number += 1
                try:
                    await self._consul.agent.register(self._service, port=1, meta={"number": str(number)})
                    await self._consul.agent.services()
                    self.done += 2
                    await watch.until(numbered(number), timeout=ONE_RETRY)
                except ConsulError as error:
                    self.failures.append(f"{type(error).__name__} {error.reason}: {error}")
                await asyncio.sleep(0.02)

    def end(self) -> None:
        self._ends = True


@asynccontextmanager
async def traffic(*clients: Consul) -> AsyncIterator[list[Traffic]]:
    """Traffic of each of these, which must not have failed in the end."""
    running = [Traffic(consul, f"traffic-{i}") for i, consul in enumerate(clients)]
    async with asyncio.TaskGroup() as group:
        for one in running:
            group.create_task(one.run())
        yield running
        for one in running:
            one.end()
    for i, one in enumerate(running):
        await clients[i].agent.deregister(f"traffic-{i}")
        assert one.failures == []
        assert one.done > 10


# TLS.


def with_tls(agent: Launcher, files: FilesInUse, port: int) -> dict[str, Any]:
    """What an agent is configured with for these files; it wants a certificate of its clients."""
    named = {"ca_file": str(files.ca), "cert_file": str(files.server_cert), "key_file": str(files.server_key)}
    old = named | {"verify_incoming_https": True}
    new = {"tls": {"https": named | {"verify_incoming": True}}}
    return {
        "ports": {"https": port},
        "addresses": {"https": "127.0.0.1"},
        **(old if agent.binary.version < (1, 12) else new),
    }


async def reload(agent: RealAgent) -> None:
    """As `consul reload`."""
    await agent.acall("PUT", "/v1/agent/reload")


async def renew_with_overlap(files: FilesInUse, agent: RealAgent, old: Keys, new: Keys) -> None:
    """Both authorities are trusted while the certificates change; the client finds each change within a second."""
    files.trust(old, new)
    await reload(agent)
    await asyncio.sleep(1.2)
    files.renew_server(new)
    files.renew_client(new)
    await reload(agent)
    await asyncio.sleep(1.2)
    files.trust(new)
    await reload(agent)
    await asyncio.sleep(1.2)


async def renew_all_then_reload(files: FilesInUse, agent: RealAgent, old: Keys, new: Keys) -> None:
    """All files at once, and the agent uses them only later than the client."""
    files.trust(new)
    files.renew_server(new)
    files.renew_client(new)
    await asyncio.sleep(1.2)
    await reload(agent)
    await asyncio.sleep(1.2)


@pytest.mark.slow
@pytest.mark.parametrize(
    "renew",
    [
        renew_with_overlap,
        renew_all_then_reload,
    ],
    ids=["overlap", "agent-later"],
)
async def test_every_tls_file_is_renewed_twice_under_calls_and_watches(
    own_agent: Launcher, tmp_path_factory: pytest.TempPathFactory, renew: Any
) -> None:
    authorities = [Keys(tmp_path_factory.mktemp("keys")) for _ in range(3)]
    files, port = FilesInUse(tmp_path_factory.mktemp("tls") / "in-use", authorities[0]), free_ports().http
    # What is registered with a "dev" agent is lost by its reload.
    agent = await own_agent(mode="server", config=with_tls(own_agent, files, port))
    settings: dict[str, Any] = {
        "ca_cert": files.ca,
        "client_cert": files.client_cert,
        "client_key": files.client_key,
        "tls_server_name": SERVER,
    }
    url = f"https://127.0.0.1:{port}"
    async with (
        Consul(url, **settings) as keeping,
        Consul(url, headers={"Connection": "close"}, **settings) as connecting,  # anew for each request
        traffic(keeping, connecting),
    ):
        await asyncio.sleep(0.5)
        for old, new in pairwise(authorities):
            await renew(files, agent, old, new)
    for keys in authorities[:2]:  # the last authority alone is trusted now
        async with Consul(url, tries=1, **settings | {"ca_cert": keys.ca}) as consul:
            with pytest.raises(ConsulError) as caught:
                await consul.agent.services()
            assert caught.value.reason is ErrorReason.CERTIFICATE


async def test_agent_that_renewed_its_files_refuses_the_old_client_certificate_as_a_matter_of_certificates(
    own_agent: Launcher, tmp_path_factory: pytest.TempPathFactory
) -> None:
    old, new = (Keys(tmp_path_factory.mktemp("keys")) for _ in range(2))
    files, port = FilesInUse(tmp_path_factory.mktemp("tls") / "in-use", old), free_ports().http
    agent = await own_agent(config=with_tls(own_agent, files, port))
    url = f"https://127.0.0.1:{port}"
    files.trust(new)  # for the agent: clients of the old authority are refused from now on
    await reload(agent)
    async with Consul(
        url, ca_cert=old.ca, client_cert=old.client_cert, client_key=old.client_key, tls_server_name=SERVER
    ) as consul:
        for call in (consul.agent.services, partial(consul.agent.register, "web", port=1)):
            with pytest.raises(ConsulError) as caught:
                await call()
            assert caught.value.reason is ErrorReason.CERTIFICATE  # also of the write: it was not sent
    assert await agent.acall("GET", "/v1/agent/services") == {}


# Proxies and gateways.


async def calls_and_a_watch(consul: Consul) -> None:
    """Some traffic through what is in between; the polls go the same way."""
    async with traffic(consul):
        await asyncio.sleep(1)


@pytest.mark.parametrize("login", ["", "somebody secret"], ids=["open", "login"])
async def test_calls_and_watches_go_through_a_proxy(own_agent: Launcher, tmp_path: Path, login: str) -> None:
    agent = await own_agent()
    with tinyproxy(tmp_path, login=login) as proxy:
        at = f"{login.replace(' ', ':')}@" if login else ""
        async with Consul(agent.url, proxy=f"http://{at}{proxy}") as consul:
            await calls_and_a_watch(consul)
        log = (tmp_path / "tinyproxy.log").read_text()
        assert "/v1/health/service/" in log
        assert "/v1/agent/service/register" in log
        if login:
            async with Consul(agent.url, proxy=f"http://{proxy}", tries=1) as consul:
                with pytest.raises(ConsulError) as caught:
                    await consul.agent.services()
                assert caught.value.status == 407


@pytest.mark.parametrize("login", ["", "somebody secret"], ids=["open", "login"])
async def test_calls_and_watches_go_through_a_proxy_by_connect_where_the_agent_speaks_tls(
    own_agent: Launcher, tmp_path: Path, login: str
) -> None:
    keys, port = Keys(tmp_path), free_ports().http
    files = FilesInUse(tmp_path / "in-use", keys)
    await own_agent(config=with_tls(own_agent, files, port))
    url = f"https://127.0.0.1:{port}"
    settings: dict[str, Any] = {
        "ca_cert": keys.ca,
        "client_cert": keys.client_cert,
        "client_key": keys.client_key,
        "tls_server_name": SERVER,
    }
    with tinyproxy(tmp_path, login=login) as proxy:
        at = f"{login.replace(' ', ':')}@" if login else ""
        async with Consul(url, proxy=f"http://{at}{proxy}", **settings) as consul:
            await calls_and_a_watch(consul)
        assert f"CONNECT 127.0.0.1:{port}" in (tmp_path / "tinyproxy.log").read_text()


async def test_proxy_that_refuses_to_connect_is_told_without_its_password(tmp_path: Path) -> None:
    with tinyproxy(tmp_path, login="somebody secret") as proxy:
        for login in ("", "somebody:wrong@", "somebody:secret@"):  # the last one may, but nobody is there
            async with Consul("https://127.0.0.1:1", proxy=f"http://{login}{proxy}", tries=1) as consul:
                for call in (consul.agent.services, partial(consul.agent.register, "web", port=1)):
                    with pytest.raises(ConnectionFailed, match="proxy") as caught:  # also the write: it was not sent
                        await call()
                    assert "secret" not in str(caught.value)
                    assert "wrong" not in str(caught.value)


async def test_calls_and_watches_go_through_a_gateway_that_wants_a_header(own_agent: Launcher, tmp_path: Path) -> None:
    agent = await own_agent()
    with nginx(tmp_path, agent=agent.url, prefix="/consul", header="X-Gateway-Key", value="a key") as url:
        async with Consul(url, headers={"X-Gateway-Key": "a key"}) as consul:
            await calls_and_a_watch(consul)
        lines = (tmp_path / "access.log").read_text().splitlines()
        assert any("/consul/v1/health/service/" in line and "index=" in line for line in lines)
        assert [line for line in lines if '" 401 ' in line] == []
        async with Consul(url, headers={"X-Gateway-Key": "another"}, tries=1) as consul:
            with pytest.raises(PermissionDenied) as caught:
                await consul.agent.services()
            assert (caught.value.status, caught.value.reason) == (401, ErrorReason.FORBIDDEN)


async def test_gateway_that_closes_connections_without_saying_so_loses_no_heartbeat(own_agent: Launcher) -> None:
    agent = await own_agent()
    async with ClosingGateway(agent.url) as gateway, Consul(gateway.url) as consul:
        await consul.agent.register("web", port=1, checks=[Check(check_id="alive", ttl=60)])
        for _ in range(40):
            await consul.agent.check_pass("alive")
        for number in range(40):
            await consul.agent.check_warn("alive", note=f"beat {number}")
        check = (await agent.acall("GET", "/v1/agent/checks"))["alive"]
        assert (check["Status"], check["Output"]) == ("warning", "beat 39")


async def test_gateway_that_closes_connections_without_saying_so_loses_no_registration(own_agent: Launcher) -> None:
    agent = await own_agent()
    async with ClosingGateway(agent.url) as gateway, Consul(gateway.url) as consul:
        for number in range(40):
            await consul.agent.register(f"service-{number}", port=1)
        assert set(await consul.agent.services()) == {f"service-{number}" for number in range(40)}
        assert len(await agent.acall("GET", "/v1/agent/services")) == 40


async def test_gateway_that_closes_connections_without_saying_so_loses_no_upsert(own_agent: Launcher) -> None:
    if own_agent.binary.version < (1, 9):
        pytest.skip("Consul 1.8 has no upsert")
    agent = await own_agent()
    async with ClosingGateway(agent.url) as gateway, Consul(gateway.url) as consul:
        for number in range(40):
            await consul.intentions.upsert(f"source-{number}", "db", action="allow")
        assert len(await consul.intentions.list()) == 40


# Many at once, and after them.


@pytest.mark.slow
async def test_sockets_of_a_burst_are_gone_after_fifteen_seconds(tmp_path: Path) -> None:
    keys = Keys(tmp_path)
    async with AsyncExitStack() as stack:
        idle: list[tuple[Scripted, Consul]] = []
        used: list[tuple[Scripted, Consul]] = []
        for tls in (None, keys.server_context()):
            for kind in (idle, used):
                server = await stack.enter_async_context(Scripted(tls=tls))
                server.rest = answer(b"[]")
                consul = await stack.enter_async_context(Consul(server.url, ca_cert=keys.ca if tls else None))
                kind.append((server, consul))
        for server, consul in (*idle, *used):
            await asyncio.gather(*(consul.intentions.list().value() for _ in range(100)))
            assert 2 <= server.open <= 12
        for _ in range(15):
            await asyncio.gather(*(consul.intentions.list().value() for _, consul in used))
            await asyncio.sleep(1)
        assert [server.open for server, _ in idle] == [0, 0]
        assert [server.open for server, _ in used] == [1, 1]


async def test_three_hundred_registrations_at_once_all_succeed(own_agent: Launcher) -> None:
    agent = await own_agent()
    async with Consul(agent.url, tries=1) as consul:
        await asyncio.gather(*(consul.agent.register(f"service-{i}", port=i + 1) for i in range(300)))
        assert len(await agent.acall("GET", "/v1/agent/services")) == 300


async def test_registrations_that_never_left_say_so_where_the_agent_stands_still(own_agent: Launcher) -> None:
    agent, quick = await own_agent(), Options(timeout=1)
    async with Consul(agent.url) as consul:
        await consul.agent.info()
        agent.pause()
        outcomes = await asyncio.gather(
            *(consul.agent.register(f"service-{i}", port=1, options=quick) for i in range(300)), return_exceptions=True
        )
        agent.resume()
        kinds = Counter(type(outcome) for outcome in outcomes)
        assert set(kinds) == {RequestTimeout, OutcomeUnknown}
        assert kinds[OutcomeUnknown] <= 24  # those that had one of the twelve turns, or the next
        unsent = [i for i, outcome in enumerate(outcomes) if isinstance(outcome, RequestTimeout)]
        assert {outcome.reason for outcome in outcomes if isinstance(outcome, RequestTimeout)} == {ErrorReason.BUSY}
        await consul.agent.register("last", port=1)
        applied = set(await consul.agent.services())
        assert applied.isdisjoint(f"service-{i}" for i in unsent)


async def test_heartbeats_with_long_notes_leave_nothing_behind(own_agent: Launcher) -> None:
    agent = await own_agent()
    async with Consul(agent.url) as consul:
        await consul.agent.register("web", port=1, checks=[Check(check_id="alive", ttl=60)])
        for number in range(20):
            await consul.agent.check_pass("alive", note=f"{number}")
        gc.collect()
        tracemalloc.start()
        try:
            for number in range(1100):
                await consul.agent.check_pass("alive", note=f"{number:05}" * 4000)
            gc.collect()
            kept, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert kept < 10_000_000
        output = (await agent.acall("GET", "/v1/agent/checks"))["alive"]["Output"]
        assert output.startswith("01099")
