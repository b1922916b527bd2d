"""An agent for the length of a demonstration: inside this process, or a real one in development mode."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager

from aioconsulconnect.client import Consul
from aioconsulconnect.clock import Clock
from aioconsulconnect.errors import ConsulError, NotReady, SettingsError
from aioconsulconnect.testing.real_agent import find_consul

_START_SECONDS = 20.0


@asynccontextmanager
async def in_process() -> AsyncGenerator[tuple[str, str], None]:
    """The agent in a box: its address, and what to call it."""
    with _needs_testing("the in-process agent", "or give --address or --consul"):
        from aioconsulconnect.testing import Agent  # noqa: PLC0415 - its extra may not be there
    async with Agent() as agent:
        yield agent.url, f"an agent inside this process that answers as Consul {agent.version} does"


def new_key() -> str:
    """A private key for another root, as PEM."""
    with _needs_testing("the rotation of a root", "so that it can make a key"):
        from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415 - its extra may not be there
        from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat  # noqa: PLC0415
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()).decode()


@contextmanager
def _needs_testing(what: str, how: str) -> Generator[None, None, None]:
    try:
        yield
    except ImportError as error:
        raise SettingsError(f"{what} needs pip install 'aioconsulconnect[testing]', {how}") from error


@asynccontextmanager
async def real(binary: str | None) -> AsyncGenerator[tuple[str, str], None]:
    """A real `consul agent -dev` on free ports, stopped at the end; without a binary, the one that is found."""
    path = binary or find_consul()
    if not path:
        raise SettingsError("no consul binary: set CONSUL_BINARIES, put one on the PATH or at .consul/consul")
    http, server, lan, wan = _free_ports(4)
    try:
        process = await asyncio.create_subprocess_exec(
            path, "agent", "-dev", "-bind=127.0.0.1", "-client=127.0.0.1", f"-http-port={http}",
            f"-server-port={server}", f"-serf-lan-port={lan}", f"-serf-wan-port={wan}", "-dns-port=-1", "-grpc-port=-1",
            stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for us alone: we stop the agent, after the last call
        )  # fmt: skip
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror}") from error
    try:
        address = f"http://127.0.0.1:{http}"
        await _until_ready(address, path, process)
        yield address, f"a throw-away agent of {path}"
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def _until_ready(address: str, path: str, process: asyncio.subprocess.Process) -> None:
    """Wait until the agent has a leader and a certificate authority."""
    clock = Clock()
    deadline = clock.now() + _START_SECONDS
    async with Consul(address, tries=1) as consul:
        while True:
            try:
                if (await consul.ca.roots()).roots:
                    return
                reason = "it has no root certificate yet"
            except ConsulError as error:
                reason = str(error)
            if process.returncode is not None:
                raise NotReady(f"{path} ended with status {process.returncode} before it was ready")
            if clock.now() > deadline:
                raise NotReady(f"the agent did not start within {_START_SECONDS:g} s: {reason}")
            await clock.sleep(0.05)


def _free_ports(count: int) -> list[int]:
    """Ports that nothing listens on now."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for sock in sockets:
            sock.bind(("127.0.0.1", 0))
        return [sock.getsockname()[1] for sock in sockets]
    finally:
        for sock in sockets:
            sock.close()
