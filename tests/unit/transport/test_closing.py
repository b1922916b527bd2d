"""A client that is closed, and its event loop right after it: nothing is left behind that Python would warn of."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest
from support import closing_program
from support.proxies import ConnectProxy
from support.servers import Hang, Keys, Scripted, answer

from aioconsulconnect.client import Consul
from aioconsulconnect.errors import Closed, OutcomeUnknown


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    return Keys(tmp_path_factory.mktemp("keys"))


class Agent:
    """
    Answers lists with an empty one, and holds polls and reads of what is slow.

    After that, and after an answer that it calls the last one, it does not answer a goodbye of TLS either, as on a
    network that is slow or gone. `silent` accepts connections and never says a word, not even of TLS. `connected` is
    set once there was a connection.
    """

    def __init__(self, keys: Keys | None, *, silent: bool = False) -> None:
        self._keys = keys
        self._silent = silent
        self.connected = asyncio.Event()
        self._ends = asyncio.Event()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[str]:
        tls = None if self._keys is None or self._silent else self._keys.server_context()
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=tls)
        try:
            yield f"{'http' if self._keys is None else 'https'}://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        finally:
            server.close()
            self._ends.set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connected.set()
        with suppress(OSError, asyncio.IncompleteReadError):
            while not self._silent:
                head = await reader.readuntil(b"\r\n\r\n")
                if b"index=" in head or b"slow" in head:
                    break
                last = b"last" in head
                writer.write(answer(b"[]", x_consul_index="7", connection="close" if last else "keep-alive"))
                if last:
                    break
            assert isinstance(writer.transport, asyncio.Transport)
            writer.transport.pause_reading()
            await self._ends.wait()
        writer.transport.abort()


async def left_behind(url: str, keys: Keys, *amid: str, proxy: str = "", loops: str = "asyncio") -> str:
    """What Python says in a program that closes clients and event loops amid all that."""
    program = await asyncio.create_subprocess_exec(
        *(sys.executable, "-X", "dev", "-W", "error", closing_program.__file__, loops, url, str(keys.ca), proxy, *amid),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    end = asyncio.get_running_loop().call_later(20, program.kill)
    output, _ = await program.communicate()
    end.cancel()
    said = [line for line in output.decode().splitlines() if line not in amid]
    return "\n".join([*said, *([f"status {program.returncode}"] if program.returncode else [])])


QUICK = {"call"}


@pytest.mark.parametrize(
    "amid", [pytest.param(amid, marks=() if amid in QUICK else pytest.mark.slow) for amid in closing_program.AMID]
)
async def test_loop_that_closes_right_after_the_client_finds_nothing_left(keys: Keys, amid: str) -> None:
    async with Agent(keys).running() as url:
        assert await left_behind(url, keys, amid) == ""


@pytest.mark.slow
async def test_loop_that_closes_right_after_the_client_without_tls_finds_nothing_left(keys: Keys) -> None:
    async with Agent(None).running() as url:
        assert await left_behind(url, keys, *closing_program.AMID) == ""


@pytest.mark.slow
async def test_loop_that_closes_amid_a_handshake_finds_nothing_left(keys: Keys) -> None:
    async with Agent(keys, silent=True).running() as url:
        assert await left_behind(url, keys, "first-read", "cancelled-call") == ""


@pytest.mark.slow
async def test_loop_that_closes_right_after_the_client_of_a_proxy_finds_nothing_left(keys: Keys) -> None:
    async with Agent(keys).running() as url, ConnectProxy() as proxy:
        assert await left_behind(url, keys, *closing_program.AMID, proxy=proxy.url) == ""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="uvloop does not run there")
async def test_loop_of_uvloop_that_closes_right_after_the_client_finds_nothing_left(keys: Keys) -> None:
    async with Agent(keys).running() as url:
        assert await left_behind(url, keys, *closing_program.AMID, loops="uvloop") == ""


async def test_call_amid_a_handshake_ends_at_once_with_the_client(keys: Keys) -> None:
    agent = Agent(keys, silent=True)
    async with agent.running() as url, Consul(url, ca_cert=keys.ca) as consul:
        call = asyncio.create_task(consul.agent.services())
        await agent.connected.wait()
        await consul.aclose()
        async with asyncio.timeout(2):
            with pytest.raises(Closed):
                await call


async def test_write_that_was_sent_when_the_client_was_closed_may_have_been_applied() -> None:
    async with Scripted([Hang(), Hang()]) as server, Consul(server.url) as consul:
        write = asyncio.create_task(consul.agent.register("web", port=1))
        read = asyncio.create_task(consul.agent.services())
        async with asyncio.timeout(5):
            while len(server.seen) < 2:
                await asyncio.sleep(0.01)
        await consul.aclose()
        with pytest.raises(OutcomeUnknown, match="closed before the answer"):
            await write
        with pytest.raises(Closed):
            await read
