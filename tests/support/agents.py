"""Real Consul agents for the tests: found, started on free ports, killed, started again, and always stopped."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any
from urllib.error import URLError

import pytest
from support.paths import ROOT

from aioconsulconnect.testing import real_agent
from aioconsulconnect.testing.real_agent import READY_TIMEOUT, Binary, find_binaries, free_ports, merged, version_of

__all__ = [
    "MANAGEMENT",
    "NO_BINARY",
    "READY_TIMEOUT",
    "Binary",
    "Launcher",
    "RealAgent",
    "RealCluster",
    "SharedAgents",
    "binaries",
    "children",
    "find_binaries",
    "free_ports",
    "known",
    "sockets",
    "version_of",
]
MANAGEMENT = real_agent.MANAGEMENT_TOKEN  # of agents with ACLs


@cache
def binaries() -> tuple[Binary, ...]:
    """All real Consul binaries: CONSUL_BINARIES, else the one on the PATH, else `.consul/consul` of the project."""
    return tuple(version_of(path) for path in find_binaries(ROOT))


NO_BINARY = (
    "no real Consul: name some in CONSUL_BINARIES, have one on the PATH, or get .consul/consul by .ci/get-consul"
)


def known(binary: Binary | None) -> Binary:
    """The binary, or a skip that says why there is none (a failure where CI is set)."""
    if binary is not None:
        return binary
    if os.environ.get("CI") == "true":
        pytest.fail(NO_BINARY)
    pytest.skip(NO_BINARY)


class RealAgent(real_agent.RealAgent):
    """One `consul agent` of our own, with a few words that only tests have for it."""

    def start(self) -> None:
        """Start the process, and do not wait for it to be of use."""
        assert not self.running
        super().start()

    def call(self, method: str, path: str, body: object = None, *, token: str | None = None) -> Any:
        """One request; the JSON of the answer, or HTTPError."""
        return super().call(method, path, body, token=token)

    async def acall(self, method: str, path: str, body: object = None, *, token: str | None = None) -> Any:
        """The same from within an event loop."""
        return await asyncio.to_thread(self.call, method, path, body, token=token)

    async def token_with(self, rules: str) -> str:
        """The SecretID of a new token with these rules (an agent with `acl`)."""
        name = f"policy-{random.randrange(10**9)}"
        await self.acall("PUT", "/v1/acl/policy", {"Name": name, "Rules": rules})
        token = await self.acall("PUT", "/v1/acl/token", {"Policies": [{"Name": name}]})
        return str(token["SecretID"])


class RealCluster:
    """Three servers that elect a leader, on 127.0.1.1 to 127.0.1.3."""

    HOSTS = ("127.0.1.1", "127.0.1.2", "127.0.1.3")

    def __init__(
        self, binary: Binary, directory: Path, *, acl: bool = False, config: Mapping[str, Any] | None = None
    ) -> None:
        ports = free_ports(*self.HOSTS)
        own = merged({"bootstrap_expect": 3, "retry_join": [f"{h}:{ports.serf}" for h in self.HOSTS]}, config or {})
        own.setdefault("retry_interval", "1s")
        self.version = binary.version
        self.servers = [
            RealAgent(binary, directory / host, mode="server", acl=acl, config=own, host=host, ports=ports)
            for host in self.HOSTS
        ]

    @property
    def urls(self) -> tuple[str, ...]:
        """The addresses of all three."""
        return tuple(server.url for server in self.servers)

    def start(self) -> None:
        """Start all, and wait for the leader."""
        for server in self.servers:
            server.start()
        for server in self.servers:
            server.wait_ready()

    def leader(self) -> int | None:
        """Which one leads, as far as those that run know; None while none does."""
        for server in self.servers:
            if server.running:
                try:
                    address = server.call("GET", "/v1/status/leader")
                except (URLError, OSError):
                    continue
                for i, candidate in enumerate(self.servers):
                    if candidate.running and address == f"{candidate.host}:{candidate.ports.server}":
                        return i
        return None

    async def wait_leader(self, timeout: float = READY_TIMEOUT, *, other_than: int | None = None) -> int:
        """Which one leads, once one does."""
        async with asyncio.timeout(timeout):
            while (leader := await asyncio.to_thread(self.leader)) in {None, other_than}:
                await asyncio.sleep(0.05)
            assert leader is not None
            return leader

    def kill(self, i: int) -> None:
        """Kill -9 one of them."""
        self.servers[i].kill()

    async def restart(self, i: int, *, ready: bool = True) -> None:
        """Start one again that was killed (or end it first)."""
        await self.servers[i].restart(kill=True, ready=ready)

    def end(self) -> None:
        """End all."""
        for server in self.servers:
            server.kill()


class Launcher:
    """Starts agents of one binary for one test or one session, and ends them all."""

    def __init__(self, binary: Binary, directory: Callable[[], Path]) -> None:
        self.binary = binary
        self._directory = directory
        self._started: list[RealAgent] = []

    def launch(self, **how: Any) -> RealAgent:
        """A running agent that is ready. Takes what RealAgent takes: mode, acl, config, …"""
        agent = self.prepare(**how)
        agent.start()
        agent.wait_ready()
        return agent

    async def __call__(self, **how: Any) -> RealAgent:
        """The same from within an event loop."""
        agent = self.prepare(**how)
        agent.start()
        await agent.ready()
        return agent

    def prepare(self, **how: Any) -> RealAgent:
        """An agent that is not started yet; it ends with the others."""
        agent = RealAgent(self.binary, self._directory(), **how)
        self._started.append(agent)
        return agent

    def end(self) -> None:
        """End all."""
        for agent in self._started:
            agent.kill()


def children() -> set[int]:
    """The processes that this one has started and not collected."""
    found: set[int] = set()
    for task in _listed("/proc/self/task"):
        try:
            found.update(map(int, (task / "children").read_text().split()))
        except OSError:  # the thread ended meanwhile
            continue
    return found


def sockets() -> set[str]:
    """The open sockets of this process, by inode."""
    found: set[str] = set()
    for descriptor in _listed("/proc/self/fd"):
        try:
            target = str(descriptor.readlink())
        except OSError:
            continue
        if target.startswith("socket:"):
            found.add(target)
    return found


def _listed(directory: str) -> list[Path]:
    try:
        return list(Path(directory).iterdir())
    except FileNotFoundError:  # not Linux: nothing is known
        return []


class SharedAgents:
    """The agents that a whole session shares, two for each binary, started when first asked for."""

    def __init__(self, directory: Callable[[], Path]) -> None:
        self._directory = directory
        self._running: dict[tuple[Binary, bool], RealAgent] = {}
        self._launchers: list[Launcher] = []

    def of(self, binary: Binary, *, acl: bool = False) -> RealAgent:
        """The one of this binary, or the other one, which has ACLs and denies by default."""
        key = binary, acl
        if key not in self._running:
            self._launchers.append(Launcher(binary, self._directory))
            self._running[key] = self._launchers[-1].launch(acl=acl)
        return self._running[key]

    def end(self) -> None:
        """End all."""
        for launcher in self._launchers:
            launcher.end()
