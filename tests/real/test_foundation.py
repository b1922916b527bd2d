"""What only a real Consul shows: it restarts, stands still, loses its leader, limits, blocks, and speaks TLS."""

from __future__ import annotations

import asyncio
import socket
from contextlib import ExitStack
from pathlib import Path

import pytest
from support.agents import Launcher, RealAgent, RealCluster, free_ports
from support.servers import Keys

from aioconsulconnect.client import Consul
from aioconsulconnect.errors import (
    ConnectionFailed,
    ConsulError,
    ErrorReason,
    NoLeader,
    NotFound,
    OutcomeUnknown,
    PermissionDenied,
    RequestTimeout,
    ServerError,
    Throttled,
    Unsupported,
)
from aioconsulconnect.structs.intentions import Intention
from aioconsulconnect.transport.settings.options import Options

MISSING = "11111111-2222-3333-4444-555555555555"


async def sources(consul: Consul) -> list[str]:
    return [known.source_name for known in await consul.intentions.list()]


async def within(seconds: float, consul: Consul, *, may: tuple[type[ConsulError], ...]) -> tuple[Intention, ...]:
    """The list of intentions, as soon as there is one; until then only these errors are fine."""
    async with asyncio.timeout(seconds):
        while True:
            try:
                return await consul.intentions.list()
            except may:
                await asyncio.sleep(0.05)


# Life of an agent.


async def test_a_client_outlives_its_agent(own_agent: Launcher) -> None:
    agent = await own_agent(mode="server")
    async with Consul(agent.url, tries=1) as consul:
        await consul.intentions.create("web", "db", action="allow")
        agent.kill()
        for call in (consul.intentions.list().value(), consul.intentions.create("a", "b", action="allow")):
            with pytest.raises(ConnectionFailed):  # also the write: nothing was sent, so nothing is unknown
                await call
        agent.start()
        await agent.ready()
        assert await sources(consul) == ["web"]


async def test_a_restart_between_two_calls_is_not_even_seen(own_agent: Launcher) -> None:
    agent = await own_agent(mode="server")
    async with Consul(agent.url) as consul:
        await consul.intentions.create("web", "db", action="allow")
        await agent.restart()
        await consul.intentions.create("api", "db", action="allow")  # the idle connection is dead: no matter
        assert await sources(consul) == ["api", "web"]


async def test_an_agent_that_stands_still(own_agent: Launcher) -> None:
    agent, quick = await own_agent(), Options(timeout=0.3)
    async with Consul(agent.url, tries=1) as consul:
        assert await sources(consul) == []
        agent.pause()
        with pytest.raises(RequestTimeout):
            await consul.intentions.list(options=quick)
        with pytest.raises(OutcomeUnknown):
            await consul.intentions.create("web", "db", action="allow", options=quick)
        agent.resume()
        async with asyncio.timeout(20):
            while not (found := await sources(consul)):
                await asyncio.sleep(0.05)  # the write was on its way, and is applied once the agent wakes
        assert found == ["web"]


# A cluster.


async def test_calls_survive_the_loss_of_the_leader(real_cluster: RealCluster) -> None:
    leader = await real_cluster.wait_leader()
    urls = [real_cluster.urls[leader], *(url for url in real_cluster.urls if url != real_cluster.urls[leader])]
    async with Consul(urls) as consul:
        await consul.intentions.create("web", "db", action="allow")
        for url in urls:
            async with asyncio.timeout(5), Consul(url, options=Options(consistency="stale")) as follower:
                while not await follower.intentions.list():
                    await asyncio.sleep(0.01)
        real_cluster.kill(leader)
        stale = await consul.intentions.list(options=Options(consistency="stale"))
        assert [known.source_name for known in stale] == ["web"]  # any server will do, at once
        found = await within(20, consul, may=(NoLeader,))
        assert [known.source_name for known in found] == ["web"]
        await real_cluster.wait_leader(other_than=leader)
        await consul.intentions.create("api", "db", action="allow")
        assert await sources(consul) == ["api", "web"]


@pytest.mark.slow
async def test_no_leader(real_cluster: RealCluster) -> None:
    leader = await real_cluster.wait_leader()
    last = (leader + 1) % 3
    for i in {0, 1, 2} - {last}:
        real_cluster.kill(i)
    async with Consul(real_cluster.urls[last], tries=1, options=Options(timeout=40)) as consul:
        with pytest.raises(NoLeader, match=r"No cluster leader|failed to get conn"):
            await consul.intentions.list()
        with pytest.raises(NoLeader):
            await consul.intentions.create("web", "db", action="allow")


async def test_through_a_client_agent(own_agent: Launcher) -> None:
    server = await own_agent(mode="server")
    client: RealAgent = await own_agent(mode="client", config={"retry_join": [f"127.0.0.1:{server.ports.serf}"]})
    async with Consul(client.url, tries=1, options=Options(timeout=30)) as consul:
        given = await consul.intentions.create("web", "db", action="allow")
        assert await sources(consul) == ["web"]
        assert (await consul.intentions.read_by_id(given)).source_name == "web"
        with pytest.raises(NotFound, match="rpc error making call: ") as caught:
            await consul.intentions.read_by_id(MISSING)
        assert caught.value.status == 500  # which is what client agents make of a 404
        server.kill()
        with pytest.raises((NoLeader, ServerError)) as refused:
            await consul.intentions.list()
        # By chance it still sends on a connection to the server, or knows that there is none.
        assert refused.value.reason in {ErrorReason.NO_SERVERS, ErrorReason.NO_LEADER, ErrorReason.INTERRUPTED}


# Limits and locks.


async def test_too_many_connections(own_agent: Launcher) -> None:
    agent = await own_agent(config={"limits": {"http_max_conns_per_client": 3}})
    async with Consul(agent.url, tries=1) as consul:
        with ExitStack() as stack:
            for _ in range(3):
                stack.enter_context(socket.create_connection(("127.0.0.1", agent.ports.http)))
            kind = ConnectionFailed if agent.version < (1, 9) else Throttled
            with pytest.raises(kind) as caught:
                await consul.intentions.list()
            told = ErrorReason.RESET_AT_ONCE if agent.version < (1, 9) else ErrorReason.TOO_MANY_CONNECTIONS
            assert caught.value.reason is told
            if agent.version < (1, 9):  # one may be an agent that goes away
                await asyncio.sleep(0.1)
                with pytest.raises(kind):
                    await consul.intentions.list()
            assert consul._transport.crowding.seen == 1
        assert await within(10, consul, may=(kind,)) == ()


async def test_request_forbidden_by_agent_configuration_raises_permission_denied(own_agent: Launcher) -> None:
    agent = await own_agent(
        config={
            "http_config": {
                "block_endpoints": ["/v1/connect/ca/configuration"],
                "allow_write_http_from": ["10.1.2.3/32"],
            }
        }
    )
    async with Consul(agent.url) as consul:
        with pytest.raises(PermissionDenied, match="blocked by agent configuration"):
            await consul.ca.configuration()
        with pytest.raises(PermissionDenied, match="Access is restricted"):
            await consul.intentions.create("web", "db", action="allow")
        assert (await consul.ca.roots()).active is not None


async def test_connect_is_off(own_agent: Launcher) -> None:
    agent = await own_agent(mode="server", config={"connect": {"enabled": False}})
    async with Consul(agent.url) as consul:
        with pytest.raises(Unsupported) as caught:
            await consul.ca.roots()
        assert caught.value.min_version == "connect.enabled = true"


# How an agent is reached.


async def test_tls_with_a_client_certificate_and_a_unix_socket(own_agent: Launcher, tmp_path: Path) -> None:
    keys, port = Keys(tmp_path), free_ports().http
    files = {"ca_file": str(keys.ca), "cert_file": str(keys.server_cert), "key_file": str(keys.server_key)}
    path = tmp_path / "consul.sock"
    tls = {"tls": {"https": files | {"verify_incoming": True}}}
    agent: RealAgent = await own_agent(
        config={
            "ports": {"https": port},
            "addresses": {"http": f"127.0.0.1 unix://{path}", "https": "127.0.0.1"},
            **(files | {"verify_incoming_https": True} if own_agent.binary.version < (1, 12) else tls),
        }
    )
    url = f"https://127.0.0.1:{port}"
    consul = Consul(
        url,
        ca_cert=keys.ca,
        client_cert=keys.client_cert,
        client_key=keys.client_key,
        tls_server_name="server.dc1.consul",
    )
    async with consul:
        assert await sources(consul) == []
    async with Consul(url, ca_cert=keys.ca, tries=1) as consul:
        with pytest.raises(ConnectionFailed):
            await consul.intentions.list()
    async with Consul(f"unix://{path}") as consul:
        assert (await consul.ca.roots()).active is not None
    async with Consul(f"http://127.0.0.1:{port}", tries=1) as consul:
        with pytest.raises(ConsulError, match="HTTPS"):
            await consul.intentions.list()
    assert agent.running


async def test_a_token_file_that_is_renewed(own_agent: Launcher, tmp_path: Path) -> None:
    agent = await own_agent(acl=True)
    file = tmp_path / "token"
    file.write_text("00000000-0000-4000-8000-00000000dead")
    async with Consul(agent.url, token_file=file) as consul:
        with pytest.raises(PermissionDenied, match="ACL not found"):
            await consul.intentions.list()
        file.write_text(await agent.token_with('service_prefix "" { policy = "read" intentions = "read" }'))
        assert await sources(consul) == []
