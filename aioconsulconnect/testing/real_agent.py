"""A real Consul agent for a test or a demonstration: found, started on free ports, paused, killed, and always ended.

It takes the standard library alone and raises Python's own exceptions, so that whatever may need an agent can use it.
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
    """The paths in CONSUL_BINARIES, else that of the one on the PATH, else of ``.consul/consul`` below a folder."""
    variables = os.environ if environ is None else environ
    if named := tuple(path for path in variables.get("CONSUL_BINARIES", "").split(os.pathsep) if path):
        return named
    local = root / ".consul" / "consul"
    found = shutil.which("consul", path=variables.get("PATH")) or (str(local) if os.access(local, os.X_OK) else None)
    return (found,) if found else ()


def find_binary() -> str:
    """The path of the first binary that is found; FileNotFoundError says where one is looked for."""
    if not (found := find_binaries()):
        raise FileNotFoundError(NO_BINARY)
    return found[0]


class Binary(NamedTuple):
    """A Consul binary: where it is, and what it says it is."""

    path: str
    version: tuple[int, int]
    full: str

    def __str__(self) -> str:
        return self.full


def version_of(path: str) -> Binary:
    """Read the version of a binary."""
    done = subprocess.run([path, "version"], capture_output=True, text=True, timeout=30, check=False)  # noqa: S603
    if done.returncode or not done.stdout.startswith("Consul v"):
        raise RuntimeError(f"{path} ended with status {done.returncode} before it was ready")
    full = done.stdout.split()[1].removeprefix("v")
    major, minor = full.split(".")[:2]
    return Binary(path, (int(major), int(minor)), full)


class Ports(NamedTuple):
    """The ports of an agent that others have to know."""

    http: int
    server: int
    serf: int


def free_ports(*hosts: str) -> Ports:
    """Ports that are free on all the hosts, below those that the system gives to outgoing connections."""
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
    """One `consul agent`, on ports of its own that it keeps over restarts; a context manager, with and without async.

    ``mode`` is "dev" (nothing survives a restart), "server" (its state does) or "client". ``config`` is merged over
    the agent's own, section by section. With ``acl`` the default policy is deny, and ``token`` may do everything.
    Without a directory it has a temporary one, which goes with ``close``.
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
        """The path of its binary."""
        return self.made_of.path

    @property
    def version(self) -> tuple[int, int]:
        """The first two numbers of its version."""
        return self.made_of.version

    @property
    def full_version(self) -> str:
        """The version as the binary tells it, such as 1.16.6+ent."""
        return self.made_of.full

    @property
    def url(self) -> str:
        """The address to give to a client."""
        return f"http://{self.host}:{self.ports.http}"

    @property
    def log(self) -> Path:
        """The file that it writes to."""
        return self.directory / "agent.log"

    def configure(self, config: Mapping[str, object]) -> None:
        """Write the configuration for the next start."""
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

    # Life.

    @property
    def running(self) -> bool:
        """Whether the process is there."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start the process, and do not wait for it to be of use.

        Where the system can, it dies with the thread that starts it (if that one is killed), so start it on the main.
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
                start_new_session=True,  # Ctrl-C is for us alone: we stop the agent, after the last call
            )

    def kill(self) -> None:
        """Kill -9."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """Tell it to end, and see that it does."""
        self._end(signal.SIGTERM)

    def close(self) -> None:
        """Kill it, and remove its directory if that is a temporary one."""
        self.kill()
        if self._temporary is not None:
            self._temporary.cleanup()

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

    def wait_ready(self, within: float = READY_TIMEOUT) -> None:
        """Return when there is a leader, the certificate authority signs, and (with ACLs) the token works."""
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
            roots = self.call("GET", "/v1/connect/ca/roots")
            if not (isinstance(roots, dict) and roots["ActiveRootID"]):
                return False
            return not self.token or bool(self.call("GET", "/v1/acl/token/self"))
        except HTTPError as error:
            return "Connect must be enabled" in error.read().decode()
        except OSError:  # also URLError
            return False

    def log_tail(self, lines: int = 30) -> str:
        """The end of what it wrote."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:]) if self.log.exists() else ""

    def call(self, method: str, path: str, body: object = None, *, token: str | None = None) -> object:
        """One request; the JSON of the answer, or HTTPError."""
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

    # The same from within an event loop, without holding it up.

    async def ready(self, within: float = READY_TIMEOUT) -> None:
        """Wait until it is ready."""
        await asyncio.to_thread(self.wait_ready, within)

    async def restart(self, *, kill: bool = False, ready: bool = True) -> None:
        """End it (with -9 if told to), start it on the same ports, and wait until it is ready."""
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
    """A configuration with another one over it, section by section."""
    out = dict(base)
    for key, value in over.items():
        before = out.get(key)
        out[key] = merged(before, value) if _is_section(before) and _is_section(value) else value
    return out


def _is_section(value: object) -> TypeGuard[Mapping[str, object]]:
    return isinstance(value, Mapping)
