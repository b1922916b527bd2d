"""The launcher of a real Consul: where it finds one, what it starts, and what it says when it cannot."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from urllib.error import HTTPError

import pytest
from support.agents import Binary, known

from aioconsulconnect.testing.real_agent import (
    RealAgent,
    find_binaries,
    find_binary,
    free_ports,
    merged,
    version_of,
)


def fake(path: Path, script: str) -> str:
    """A program in the place of a Consul."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


# Finding.


def test_a_binary_is_named_or_on_the_path_or_in_the_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    on_path = tmp_path / "bin" / "consul"
    assert find_binaries(environ={"PATH": str(on_path.parent)}) == ()
    for binary in (on_path, tmp_path / ".consul" / "consul"):
        fake(binary, "exit 0")
    named = {"CONSUL_BINARIES": f"{os.pathsep}/a/consul{os.pathsep}/b/consul"}
    assert find_binaries(environ=named) == ("/a/consul", "/b/consul")
    assert find_binaries(environ={"PATH": str(on_path.parent)}) == (str(on_path),)
    assert find_binaries(environ={"PATH": str(tmp_path)}) == (str(Path(".consul") / "consul"),)
    assert find_binaries(tmp_path, {"PATH": "/nowhere"}) == (str(tmp_path / ".consul" / "consul"),)
    monkeypatch.setenv("CONSUL_BINARIES", "/c/consul")
    assert find_binaries() == ("/c/consul",)
    assert find_binary() == "/c/consul"


def test_a_file_that_is_no_program_is_no_binary(tmp_path: Path) -> None:
    local = tmp_path / ".consul" / "consul"
    local.parent.mkdir()
    local.touch(0o644)
    assert find_binaries(tmp_path, {"PATH": "/nowhere"}) == ()


def test_no_binary_is_an_error_that_says_where_one_may_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CONSUL_BINARIES", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match="no consul binary: set CONSUL_BINARIES, put one on the PATH"):
        find_binary()


def test_a_binary_tells_its_version(tmp_path: Path) -> None:
    path = fake(tmp_path / "consul", "echo Consul v1.16.6+ent; echo and more")
    assert version_of(path) == Binary(path, (1, 16), "1.16.6+ent")
    assert str(version_of(path)) == "1.16.6+ent"


def test_a_program_that_is_no_consul_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="ended with status 3 before it was ready"):
        version_of(fake(tmp_path / "consul", "exit 3"))
    with pytest.raises(FileNotFoundError):
        RealAgent(str(tmp_path / "nothing"))


@pytest.mark.parametrize(
    ("name", "kind", "words"),
    [("bin", IsADirectoryError, "name the consul binary in it"), ("bin/text", PermissionError, "not executable")],
)
def test_named_path_that_is_no_program_says_what_to_do(
    name: str, kind: type[OSError], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "text").touch(0o644)
    monkeypatch.setenv("CONSUL_BINARIES", str(tmp_path / name))
    with pytest.raises(kind, match=words) as caught:
        RealAgent()
    assert str(tmp_path / name) in str(caught.value)


def test_ports_are_free_and_below_those_of_outgoing_connections() -> None:
    ports = free_ports("127.0.0.1", "127.0.1.1")
    assert len(set(ports)) == 3
    assert all(12000 <= port < 32000 for port in ports)


# What it is made with.


NEW, OLD = Binary("/x", (1, 22), "1.22.0"), Binary("/x", (1, 8), "1.8.7")


def test_a_configuration_is_merged_section_by_section(tmp_path: Path) -> None:
    assert merged({"a": {"b": 1, "c": 2}, "d": 3}, {"a": {"c": 4}, "d": {}}) == {"a": {"b": 1, "c": 4}, "d": {}}
    agent = RealAgent(NEW, tmp_path, mode="server", config={"limits": {"x": 1}, "log_level": "TRACE"})
    written = json.loads((tmp_path / "config.json").read_text())
    assert written == agent.config
    assert written["limits"] == {"http_max_conns_per_client": 2000, "x": 1}
    assert (written["log_level"], written["bootstrap_expect"]) == ("TRACE", 1)
    assert written["ports"]["http"] == agent.ports.http


@pytest.mark.parametrize(("binary", "management"), [(NEW, "initial_management"), (OLD, "master")])
def test_the_management_token_and_closed_ports_have_the_names_of_the_version(
    tmp_path: Path, binary: Binary, management: str
) -> None:
    agent = RealAgent(binary, tmp_path, acl=True)
    acl = agent.config["acl"]
    assert acl == {"enabled": True, "default_policy": "deny", "tokens": {management: agent.token}}
    ports = agent.config["ports"]
    assert isinstance(ports, dict)
    assert ("grpc_tls" in ports) == (binary is NEW)


def test_a_directory_of_its_own_goes_with_it() -> None:
    agent = RealAgent(NEW)
    assert (agent.directory / "config.json").exists()
    agent.close()
    assert not agent.directory.exists()


def test_an_agent_that_ends_by_itself_says_how(tmp_path: Path) -> None:
    agent = RealAgent(Binary(fake(tmp_path / "consul", "echo no such thing; exit 7"), (1, 22), "1.22.0"), tmp_path)
    with pytest.raises(RuntimeError, match=r"ended with status 7 before it was ready:\nno such thing"), agent:
        pass
    assert not agent.running


def test_an_agent_that_is_never_ready_says_so(tmp_path: Path) -> None:
    agent = RealAgent(Binary(fake(tmp_path / "consul", "exec sleep 20"), (1, 22), "1.22.0"), tmp_path)
    agent.start()
    try:
        with pytest.raises(TimeoutError, match=r"is not ready after 0\.1 s"):
            agent.wait_ready(0.1)
    finally:
        agent.kill()


# A life.


def test_a_real_agent_serves_within_its_block(real_binary: Binary) -> None:
    with RealAgent(known(real_binary)) as agent:
        assert repr(agent) == f"<Consul {real_binary.full} dev at {agent.url}>"
        answer = agent.call("GET", "/v1/agent/self")
        assert isinstance(answer, dict)
        assert answer["Config"]["Version"] == real_binary.full.split("-")[0].split("+")[0]
        with pytest.raises(RuntimeError, match="runs already"):
            agent.start()
        with pytest.raises(HTTPError):
            agent.call("GET", "/v1/nothing")
        agent.pause()
        agent.resume()
        assert agent.call("PUT", "/v1/agent/reload") is None
        assert "agent" in agent.log_tail()
    assert not agent.running
    assert not agent.directory.exists()


async def test_a_real_agent_restarts_at_its_address(real_binary: Binary) -> None:
    async with RealAgent(real_binary.path, mode="server", acl=True) as agent:
        url = agent.url
        agent.call("PUT", "/v1/acl/policy", {"Name": "p"})
        await agent.restart(kill=True)
        assert agent.url == url
        policies = agent.call("GET", "/v1/acl/policies")
        assert isinstance(policies, list)
        assert "p" in {policy["Name"] for policy in policies}
        with pytest.raises(HTTPError):
            agent.call("GET", "/v1/acl/policies", token="")


@pytest.mark.parametrize("connect", [True, False])
async def test_a_real_agent_that_restarts_is_ready_when_it_answers_with_all_that_was_written(
    real_binary: Binary, connect: bool
) -> None:
    config = {"connect": {"enabled": connect}}
    async with RealAgent(real_binary.path, mode="server", config=config) as agent:
        for i in range(600):
            agent.call("PUT", f"/v1/kv/key-{i}", i)
        for kill in (True, False, True):
            await agent.restart(kill=kill)
            keys = agent.call("GET", "/v1/kv/?keys")
            assert isinstance(keys, list)
            assert len(keys) == 600


def test_real_agent_imports_no_package_of_the_in_process_agent() -> None:
    code = (
        "import sys, aioconsulconnect.testing.real_agent\n"
        "print([name for name in ('cryptography', 'aiohttp', 'msgspec', 'anyio') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
