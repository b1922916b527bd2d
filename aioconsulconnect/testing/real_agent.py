"""A real Consul agent for a test or a demonstration: find a binary, start, pause, restart and end it.

The module needs the standard library alone and raises Python's own exceptions.
"""

import asyncio
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping
from errno import EACCES, EISDIR
from pathlib import Path
from types import TracebackType
from typing import Final, Literal, NamedTuple, Self, TypeGuard
from urllib.error import HTTPError
from urllib.request import ProxyHandler, Request, build_opener

Mode = Literal["dev", "server", "client"]
MANAGEMENT_TOKEN: Final = "5e1f0b9c-0000-4000-8000-000000000001"  # noqa: S105 - of agents that live for a test
NO_BINARY: Final = "no consul binary: set CONSUL_BINARIES, put one on the PATH or at .consul/consul"
READY_TIMEOUT: Final = 40.0
_PORTS: Final = (12000, 32000)
_open = build_opener(ProxyHandler({})).open  # never through a proxy of the environment


def find_binaries(root: Path = Path(), environ: Mapping[str, str] | None = None) -> tuple[str, ...]:
    """The paths of the Consul binaries to test with; empty where there is none.

    The paths in `CONSUL_BINARIES` (separated as in `PATH`), else the `consul` on the `PATH`, else `.consul/consul`.

    - `root`: the folder below which `.consul/consul` is looked for, by default the current one.
    - `environ`: the environment with the two variables, by default that of the process.
    """
    variables = os.environ if environ is None else environ
    if named := tuple(path for path in variables.get("CONSUL_BINARIES", "").split(os.pathsep) if path):
        return named
    local = root / ".consul" / "consul"
    found = shutil.which("consul", path=variables.get("PATH")) or (str(local) if os.access(local, os.X_OK) else None)
    return (found,) if found else ()


def find_binary() -> str:
    """The path of the first Consul binary that `find_binaries` finds.

    FileNotFoundError where there is none; its message says where one is looked for.
    """
    if not (found := find_binaries()):
        raise FileNotFoundError(NO_BINARY)
    return found[0]


class Binary(NamedTuple):
    """A Consul binary: its `path`, its `version` as (major, minor) and its `full` version (1.16.6+ent)."""

    path: str
    version: tuple[int, int]
    full: str

    def __str__(self) -> str:
        return self.full


def version_of(path: str) -> Binary:
    """Run the binary at `path` to read its version.

    RuntimeError if it fails or is no Consul; an OSError that says what to do if it is a folder or no program.
    """
    if os.path.isdir(path):  # noqa: PTH112 - a text, as it was given
        raise IsADirectoryError(EISDIR, "it is a folder: name the consul binary in it", path)
    if os.path.isfile(path) and not os.access(path, os.X_OK):  # noqa: PTH113 - as above
        raise PermissionError(EACCES, "it is not executable: make it so (chmod +x), or name another binary", path)
    done = subprocess.run([path, "version"], capture_output=True, text=True, timeout=30, check=False)  # noqa: S603
    if done.returncode or not done.stdout.startswith("Consul v"):
        raise RuntimeError(f"{path} ended with status {done.returncode} before it was ready")
    full = done.stdout.split()[1].removeprefix("v")
    major, minor = full.split(".")[:2]
    return Binary(path, (int(major), int(minor)), full)


class Ports(NamedTuple):
    """The ports of an agent that others need: `http` for clients, `server` and `serf` for other agents."""

    http: int
    server: int
    serf: int


def free_ports(*hosts: str) -> Ports:
    """Choose ports that are free on all of `hosts`, for TCP and for UDP.

    They lie below those that the system gives to outgoing connections. Without a host, 127.0.0.1 is tried.
    """
    chosen: list[int] = []
    while len(chosen) < len(Ports._fields):
        port = random.randrange(*_PORTS)
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
    """A process of `consul agent`, on ports of its own that it keeps over restarts.

    As a context manager, with `with` or `async with`, it is started, ready at once, and closed at the end. A
    `TimeoutError` or a `RuntimeError` with the end of its log says that it did not become ready.

    - `binary`: the path of the binary or a `Binary`; by default that of `find_binary`.
    - `directory`: the folder for configuration, log and data; by default a temporary one, which `close` removes.
    - `mode`: "dev" (the default; nothing survives a restart), "server" (its state survives) or "client".
    - `acl`: enable ACLs with the default policy deny; `token` then has all rights. Off by default.
    - `config`: more configuration, merged over the agent's own, section by section.
    - `host`: the address to listen on, 127.0.0.1 by default.
    - `ports`: the ports; by default free ones.
    - `environ`: variables to add to the environment of the process, which has no `CONSUL_*` variable otherwise.
    """

    def __init__(
        self,
        binary: str | Binary | None = None,
        directory: Path | None = None,
        *,
        mode: Mode = "dev",
        acl: bool = False,
        config: Mapping[str, object] | None = None,
        host: str = "127.0.0.1",
        ports: Ports | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        binary = find_binary() if binary is None else binary
        self.made_of: Binary = binary if isinstance(binary, Binary) else version_of(binary)
        self.mode: Mode = mode
        self.host = host
        self.ports: Ports = ports or free_ports(host)
        self.token: str = MANAGEMENT_TOKEN if acl else ""
        self._temporary = None if directory else tempfile.TemporaryDirectory(prefix="consul-agent-")
        self.directory: Path = directory or Path(self._temporary.name if self._temporary else "")
        self._environ = {name: value for name, value in os.environ.items() if not name.startswith("CONSUL_")}
        self._environ.update(environ or {})
        self._process: subprocess.Popen[bytes] | None = None
        self.directory.mkdir(parents=True, exist_ok=True)
        self.configure(merged(self._own_config(acl=acl), config or {}))

    def __repr__(self) -> str:
        return f"<Consul {self.full_version} {self.mode} at {self.url}>"

    @property
    def binary(self) -> str:
        """The path of the Consul binary."""
        return self.made_of.path

    @property
    def version(self) -> tuple[int, int]:
        """The version of the binary as (major, minor)."""
        return self.made_of.version

    @property
    def full_version(self) -> str:
        """The full version of the binary, such as 1.16.6+ent."""
        return self.made_of.full

    @property
    def url(self) -> str:
        """The base URL to give to a client."""
        return f"http://{self.host}:{self.ports.http}"

    @property
    def log(self) -> Path:
        """The path of the log of the process."""
        return self.directory / "agent.log"

    def configure(self, config: Mapping[str, object]) -> None:
        """Write `config` as the whole configuration for the next start."""
        self.config: dict[str, object] = dict(config)
        (self.directory / "config.json").write_text(json.dumps(self.config))

    def _own_config(self, *, acl: bool) -> dict[str, object]:
        ports = {"http": self.ports.http, "server": self.ports.server, "serf_lan": self.ports.serf}
        closed = ["dns", "serf_wan", "grpc", *(["grpc_tls"] if self.version >= (1, 14) else [])]
        config: dict[str, object] = {
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
            config["acl"] = {"enabled": True, "default_policy": "deny", "tokens": {management: MANAGEMENT_TOKEN}}
        return config

    # Starting and stopping.

    @property
    def running(self) -> bool:
        """True while the process runs."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start the process, without waiting until it is ready.

        RuntimeError if it runs already. Where `setpriv` exists, the kernel kills the process when the thread that
        started it ends, so start it on the main thread.
        """
        if self.running:
            raise RuntimeError(f"{self!r} runs already")
        setpriv = shutil.which("setpriv")
        dies_with_us = [setpriv, "--pdeathsig", "KILL"] if setpriv else []
        command = [*dies_with_us, self.binary, "agent", *(["-dev"] if self.mode == "dev" else [])]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - the binary is the caller's choice
                [*command, "-config-file", str(self.directory / "config.json")],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._environ,
                start_new_session=True,  # Ctrl-C must not reach the agent: it is stopped after the last call
            )

    def kill(self) -> None:
        """Kill the process with SIGKILL and wait for its end."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """End the process with SIGTERM and wait for its end; after 15 seconds it is killed."""
        self._end(signal.SIGTERM)

    def close(self) -> None:
        """Kill the process, and remove its directory if that is a temporary one."""
        self.kill()
        if self._temporary is not None:
            self._temporary.cleanup()

    def pause(self) -> None:
        """Suspend the process with SIGSTOP: its connections stay open and nothing answers."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let a paused process go on (SIGCONT)."""
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

    def wait_ready(self, within: float = READY_TIMEOUT) -> None:
        """Wait until there is a leader, a root of the CA and, with ACLs, a valid management token.

        After a restart, the leader has applied what was written before; until then it answers with less. Where Connect
        is off, no root is waited for. `within` is the limit in seconds, 40 by default. TimeoutError after it,
        RuntimeError if the process has ended; both have the end of the log.
        """
        deadline = time.monotonic() + within
        while not self._is_ready():
            process = self._process
            if process is None or process.poll() is not None:
                status = "" if process is None else f" with status {process.returncode}"
                raise RuntimeError(f"{self.binary} ended{status} before it was ready:\n{self.log_tail()}")
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self!r} is not ready after {within:g} s:\n{self.log_tail()}")
            time.sleep(0.02)

    def _is_ready(self) -> bool:
        try:
            if not self.call("GET", "/v1/status/leader"):
                return False
            self.call("GET", "/v1/catalog/nodes?consistent")  # an error until the leader has applied all of its log
            roots = self.call("GET", "/v1/connect/ca/roots")
            if not (isinstance(roots, dict) and roots["ActiveRootID"]):
                return False
            return not self.token or bool(self.call("GET", "/v1/acl/token/self"))
        except HTTPError as error:
            return "Connect must be enabled" in error.read().decode()
        except OSError:  # URLError, too
            return False

    def log_tail(self, lines: int = 30) -> str:
        """The last `lines` lines of the log, 30 by default; empty without a log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:]) if self.log.exists() else ""

    def call(self, method: str, path: str, body: object = None, *, token: str | None = None) -> object:
        """Send one request to the agent and return the JSON of its answer, None for an empty one.

        `urllib.error.HTTPError` for an error status. It blocks, for 30 seconds at most.

        - `method`: the HTTP method.
        - `path`: the path with its query, such as `/v1/status/leader`.
        - `body`: a value to send as JSON; by default no body.
        - `token`: the ACL token to send instead of `token` of the agent; "" sends none.
        """
        headers = {"X-Consul-Token": self.token if token is None else token}
        data = None if body is None else json.dumps(body).encode()
        request = Request(  # noqa: S310 - its URL is our own
            self.url + path, data=data, method=method, headers={k: v for k, v in headers.items() if v}
        )
        with _open(request, timeout=30) as answer:
            text = answer.read()
        return json.loads(text) if text.strip() else None

    def __enter__(self) -> Self:
        try:
            self.start()
            self.wait_ready()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # For use in an event loop, without blocking it.

    async def ready(self, within: float = READY_TIMEOUT) -> None:
        """Wait until the agent is ready, without blocking the event loop; `within` is that of `wait_ready`."""
        await asyncio.to_thread(self.wait_ready, within)

    async def restart(self, *, kill: bool = False, ready: bool = True) -> None:
        """End the process and start it again on the same ports, without blocking the event loop.

        - `kill`: end it with SIGKILL instead of SIGTERM; off by default.
        - `ready`: wait until it is ready; on by default.
        """
        await asyncio.to_thread(self.kill if kill else self.stop)
        self.start()
        if ready:
            await self.ready()

    async def __aenter__(self) -> Self:
        try:
            self.start()
            await self.ready()
        except BaseException:
            self.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self.close)


def merged(base: Mapping[str, object], over: Mapping[str, object]) -> dict[str, object]:
    """Merge the configuration `over` into a copy of `base`, section by section.

    A value of `over` replaces that of `base` unless both are sections, which are merged in the same way.
    """
    out = dict(base)
    for key, value in over.items():
        before = out.get(key)
        out[key] = merged(before, value) if _is_section(before) and _is_section(value) else value
    return out


def _is_section(value: object) -> TypeGuard[Mapping[str, object]]:
    return isinstance(value, Mapping)
