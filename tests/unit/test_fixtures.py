"""The fixtures that watch over the tests: leftovers of a test are errors, and a missing Consul is reported."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support import agents
from support.agents import Binary, binaries, known
from support.paths import ROOT, TESTS

LEAKS = """
import asyncio, socket, subprocess

kept = []

async def test_task():
    kept.append(asyncio.create_task(asyncio.sleep(60)))

async def test_socket():
    kept.append(socket.socket())

def test_process():
    kept.append(subprocess.Popen(["sleep", "5"]))

async def test_clean():
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    task = asyncio.create_task(asyncio.sleep(0))
    subprocess.run(["true"])
    await task
    server.close()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="sockets and children are read from /proc")
@pytest.mark.slow
def test_leftover_task_socket_or_process_of_a_test_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "test_leaks.py").write_text(LEAKS)
    paths = os.pathsep.join([str(TESTS), *filter(None, sys.path)])
    command = [sys.executable, "-m", "pytest", "-q", "-p", "conftest", "-c", str(ROOT / "pyproject.toml")]
    done = subprocess.run(
        [*command, "-p", "no:cacheprovider", "--rootdir", str(tmp_path), str(tmp_path / "test_leaks.py")],
        capture_output=True, text=True, timeout=50, check=False, env=os.environ | {"PYTHONPATH": paths},
    )  # fmt: skip
    assert "4 passed, 3 errors" in done.stdout, done.stdout + done.stderr
    for left in ("the test left tasks", "the test left sockets", "the test left processes"):
        assert left in done.stdout


def test_a_missing_consul_is_a_skip_and_a_failure_in_the_gate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="CONSUL_BINARIES"):
        known(None)
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="CONSUL_BINARIES"):
        known(None)
    binary = Binary("/x", (1, 8), "1.8.7")
    assert known(binary) is binary


def test_binaries_are_named_or_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fake(version: str) -> Path:
        path = tmp_path / version / "consul"
        path.parent.mkdir()
        path.write_text(f"#!/bin/sh\necho Consul v{version}\necho and more\n")
        path.chmod(0o755)
        return path

    old, new, on_path = fake("1.8.7"), fake("1.22.0-dev"), fake("1.16.6+ent")
    find = binaries.__wrapped__
    monkeypatch.setenv("PATH", f"{on_path.parent}:/usr/bin:/bin")
    monkeypatch.setenv("CONSUL_BINARIES", f"{old}{os.pathsep}{new}")
    assert find() == (Binary(str(old), (1, 8), "1.8.7"), Binary(str(new), (1, 22), "1.22.0-dev"))
    monkeypatch.setenv("CONSUL_BINARIES", "")
    assert [binary.version for binary in find()] == [(1, 16)]
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    monkeypatch.setattr(agents, "ROOT", tmp_path)
    assert find() == ()
    (tmp_path / ".consul").mkdir()
    old.rename(tmp_path / ".consul" / "consul")
    assert [binary.full for binary in find()] == ["1.8.7"]
