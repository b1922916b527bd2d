"""The agent that all peers ask: a real Consul where there is one, in a process of its own."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

from aioconsulconnect.testing.real_agent import Mode, RealAgent, find_binary


def new_agent(mode: Mode = "dev") -> RealAgent:
    """A throw-away agent, not started yet, whose data outlives it as a "server"; the program ends without a binary."""
    try:
        return RealAgent(find_binary(), mode=mode)
    except FileNotFoundError as error:
        raise SystemExit(f"benchmarks: {error}; .ci/get-consul puts one at .consul/consul") from error


@contextmanager
def real_agent() -> Iterator[str]:
    """The URL of a throw-away agent that is ready."""
    with new_agent() as agent:
        yield agent.url


def send(url: str, method: str, path: str, body: object = None) -> bytes:
    """One plain request, for setting up."""
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(urllib.request.Request(url + path, data=data, method=method), timeout=10) as answer:
        return bytes(answer.read())


def write_intentions(url: str, count: int) -> None:
    """That many intentions, by id, which every version serves."""
    for i in range(count):
        intention = {"SourceName": f"source-{i}", "DestinationName": f"destination-{i % 50}", "SourceType": "consul"}
        intention |= {"Action": "allow", "Description": "for the benchmark"}
        send(url, "POST", "/v1/connect/intentions", intention)
