"""The agent that all peers ask: a real Consul where there is one, in a process of its own."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def consul_binary() -> str | None:
    """The first of CONSUL_BINARIES, else `consul` on the PATH, else .consul/consul."""
    given = [path for path in os.environ.get("CONSUL_BINARIES", "").split(os.pathsep) if path]
    local = Path(".consul/consul")
    return next(iter(given), None) or shutil.which("consul") or (str(local) if local.exists() else None)


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@contextmanager
def real_agent() -> Iterator[str]:
    """The URL of a throw-away `consul agent -dev`."""
    binary = consul_binary()
    if binary is None:
        raise SystemExit("benchmarks: no consul binary; .ci/get-consul puts one at .consul/consul")
    port = free_port()
    ports = [f"-{name}-port={free_port()}" for name in ("server", "serf-lan", "serf-wan")]
    command = [
        binary,
        "agent",
        "-dev",
        "-bind=127.0.0.1",
        f"-http-port={port}",
        *ports,
        "-dns-port=-1",
        "-grpc-port=-1",
    ]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    try:
        _wait(url, process)
        yield url
    finally:
        process.kill()
        process.wait()


def _wait(url: str, process: subprocess.Popen[bytes]) -> None:
    for _ in range(400):
        try:
            with urllib.request.urlopen(f"{url}/v1/connect/ca/roots", timeout=2) as answer:
                if json.load(answer)["Roots"]:
                    return
        except (OSError, ValueError):
            time.sleep(0.05)
        if process.poll() is not None:
            break
    raise SystemExit("benchmarks: the agent did not start")


def ask(url: str, method: str, path: str, body: object = None) -> bytes:
    """One plain request, for setting up."""
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(urllib.request.Request(url + path, data=data, method=method), timeout=10) as answer:
        return bytes(answer.read())


def write_intentions(url: str, count: int) -> None:
    """That many intentions, by id, which every version serves."""
    for i in range(count):
        intention = {"SourceName": f"source-{i}", "DestinationName": f"destination-{i % 50}", "SourceType": "consul"}
        ask(url, "POST", "/v1/connect/intentions", {**intention, "Action": "allow", "Description": "for the benchmark"})
