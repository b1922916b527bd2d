"""Real Consul agents for the tests: found, started on free ports, killed, started again, and always stopped."""

from __future__ import annotations

import asyncio
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple
from urllib.error import HTTPError, URLError
from urllib.request import ProxyHandler, Request, build_opener

import pytest
from support.paths import ROOT

MANAGEMENT = "5e1f0b9c-0000-4000-8000-000000000001"  # the management token of agents with ACLs
READY_TIMEOUT = 40.0

_open = build_opener(ProxyHandler({})).open  # never through a proxy of the environment


_DIE_WITH_US = [setpriv, "--pdeathsig", "KILL"] if (setpriv := shutil.which("setpriv")) else []


class Binary(NamedTuple):
    """A Consul binary: where it is, and what it says it is."""

    path: str
    version: tuple[int, int]
    full: str

    def __str__(self) -> str:
        return self.full


def version_of(path: str) -> Binary:
    """Ask the binary for its version."""
    said = subprocess.run([path, "version"], capture_output=True, text=True, timeout=30, check=True).stdout
    full = said.split()[1].removeprefix("v")
    major, minor = full.split(".")[:2]
    return Binary(path, (int(major), int(minor)), full)


@cache
def binaries() -> tuple[Binary, ...]:
    """All real Consul binaries: CONSUL_BINARIES, else the one on the PATH, else `.consul/consul` of the project."""
    named = [path for path in os.environ.get("CONSUL_BINARIES", "").split(os.pathsep) if path]
    if named:
        return tuple(version_of(path) for path in named)
    found = shutil.which("consul") or shutil.which(ROOT / ".consul" / "consul")
    return (version_of(found),) if found else ()


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


class Ports(NamedTuple):
    """The ports of an agent that somebody has to know."""

    http: int
    server: int
    serf: int


def free_ports(*hosts: str) -> Ports:
    """Ports that are free on all the hosts, below those that the system gives to outgoing connections."""
    chosen: list[int] = []
    while len(chosen) < 3:
        port = random.randrange(12000, 32000)
        if port not in chosen and all(_is_free(host, port) for host in hosts or ("127.0.0.1",)):
            chosen.append(port)
    return Ports(*chosen)


def _is_free(host: str, port: int) -> bool:
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        with socket.socket(socket.AF_INET, kind) as probe:
            try:
                probe.bind((host, port))
            except OSError:
                return False
    return True


class RealAgent:
    """
    One `consul agent` of our own, on ports of its own that it keeps over restarts.

    `mode` is "dev" (nothing survives a restart), "server" (its state does) or "client". `config` is merged over ours,
    section by section. With `acl` the default policy is deny, and `token` may do everything.
    """

    def __init__(
        self,
        binary: Binary,
        directory: Path,
        *,
        mode: str = "dev",
        acl: bool = False,
        config: Mapping[str, Any] | None = None,
        host: str = "127.0.0.1",
        ports: Ports | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self.made_of = binary
        self.binary = binary.path
        self.version = binary.version
        self.full_version = binary.full
        self.host = host
        self.ports = ports or free_ports(host)
        self.url = f"http://{host}:{self.ports.http}"
        self.token = MANAGEMENT if acl else ""
        self.directory = directory
        self.log = directory / "agent.log"
        self.mode = mode
        self._environ = {name: value for name, value in os.environ.items() if not name.startswith("CONSUL_")}
        self._environ.update(environ or {})
        self._process: subprocess.Popen[bytes] | None = None
        directory.mkdir(parents=True, exist_ok=True)
        self.configure(_merged(self._own_config(acl=acl), config or {}))

    def __repr__(self) -> str:
        return f"<Consul {self.full_version} {self.mode} at {self.url}>"

    def configure(self, config: Mapping[str, Any]) -> None:
        """Write the configuration for the next start."""
        self.config = dict(config)
        (self.directory / "config.json").write_text(json.dumps(self.config))

    def _own_config(self, *, acl: bool) -> dict[str, Any]:
        ports = {"http": self.ports.http, "server": self.ports.server, "serf_lan": self.ports.serf}
        closed = ["dns", "serf_wan", "grpc", *(["grpc_tls"] if self.version >= (1, 14) else [])]
        config: dict[str, Any] = {
            "node_name": f"node-{self.host}-{self.ports.http}",
            "bind_addr": self.host,
            "client_addr": self.host,
            "ports": ports | dict.fromkeys(closed, -1),
            "disable_update_check": True,
            "log_level": "INFO",
            "performance": {"raft_multiplier": 1},
            "limits": {"http_max_conns_per_client": 2000},
        }
        if self.mode != "dev":
            config |= {"data_dir": str(self.directory / "data"), "connect": {"enabled": True}}
        if self.mode == "server":
            config |= {"server": True, "bootstrap_expect": 1}
        if acl:
            management = "initial_management" if self.version >= (1, 11) else "master"
            config["acl"] = {"enabled": True, "default_policy": "deny", "tokens": {management: MANAGEMENT}}
        return config

    # Life.

    @property
    def running(self) -> bool:
        """Whether the process is there."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """
        Start the process, and do not wait for it to be of use.

        Where the system can, it dies with the thread that starts it (if the tests are killed), so start it on the main.
        """
        assert not self.running
        command = [*_DIE_WITH_US, self.binary, "agent", *(["-dev"] if self.mode == "dev" else [])]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [*command, "-config-file", str(self.directory / "config.json")],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._environ,
                start_new_session=True,
            )

    def kill(self) -> None:
        """Kill -9."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """Ask it to end, and see that it does."""
        self._end(signal.SIGTERM)

    def pause(self) -> None:
        """Stop the process where it stands: connections stay open and nothing answers."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)

    def _end(self, number: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(number)
        process.send_signal(signal.SIGCONT)
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(15)

    def wait_ready(self, timeout: float = READY_TIMEOUT) -> None:
        """Return when there is a leader, the certificate authority signs, and (with ACLs) the token works."""
        deadline = time.monotonic() + timeout
        while not self._is_ready():
            if not self.running:
                raise RuntimeError(f"{self!r} ended by itself:\n{self.log_tail()}")
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self!r} is not ready after {timeout} s:\n{self.log_tail()}")
            time.sleep(0.05)

    def _is_ready(self) -> bool:
        try:
            if not self.call("GET", "/v1/status/leader"):
                return False
            if not self.call("GET", "/v1/connect/ca/roots")["ActiveRootID"]:
                return False
            return not self.token or bool(self.call("GET", "/v1/acl/token/self")["AccessorID"])
        except HTTPError as error:
            said = error.read().decode()
            return "Connect must be enabled" in said
        except (URLError, OSError):
            return False

    def log_tail(self, lines: int = 30) -> str:
        """The end of what it wrote."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    # The same from within an event loop, without holding it up.

    async def ready(self, timeout: float = READY_TIMEOUT) -> None:
        """Wait until it is ready."""
        await asyncio.to_thread(self.wait_ready, timeout)

    async def restart(self, *, kill: bool = False, ready: bool = True) -> None:
        """End it (with -9 if told to), start it on the same ports, and wait until it is ready."""
        await asyncio.to_thread(self.kill if kill else self.stop)
        self.start()
        if ready:
            await self.ready()

    # A few words with it, past the library under test.

    def call(self, method: str, path: str, body: Any = None, *, token: str | None = None) -> Any:
        """One request; the JSON of the answer, or HTTPError."""
        headers = {"X-Consul-Token": self.token if token is None else token}
        data = None if body is None else json.dumps(body).encode()
        request = Request(self.url + path, data=data, method=method, headers={k: v for k, v in headers.items() if v})
        with _open(request, timeout=30) as answer:
            text = answer.read()
        return json.loads(text) if text.strip() else None

    async def acall(self, method: str, path: str, body: Any = None, *, token: str | None = None) -> Any:
        """The same from within an event loop."""
        return await asyncio.to_thread(self.call, method, path, body, token=token)

    async def token_with(self, rules: str) -> str:
        """The SecretID of a new token with these rules (an agent with `acl`)."""
        name = f"policy-{random.randrange(10**9)}"
        await self.acall("PUT", "/v1/acl/policy", {"Name": name, "Rules": rules})
        token = await self.acall("PUT", "/v1/acl/token", {"Policies": [{"Name": name}]})
        return str(token["SecretID"])


def _merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    out = dict(base)
    for key, value in over.items():
        out[key] = (
            _merged(out[key], value) if isinstance(value, Mapping) and isinstance(out.get(key), Mapping) else value
        )
    return out


class RealCluster:
    """Three servers that elect a leader, on 127.0.1.1 to 127.0.1.3."""

    HOSTS = ("127.0.1.1", "127.0.1.2", "127.0.1.3")

    def __init__(
        self, binary: Binary, directory: Path, *, acl: bool = False, config: Mapping[str, Any] | None = None
    ) -> None:
        ports = free_ports(*self.HOSTS)
        own = _merged({"bootstrap_expect": 3, "retry_join": [f"{h}:{ports.serf}" for h in self.HOSTS]}, config or {})
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
