"""The command `test-agent`, as a program in another language meets it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.error import HTTPError

import pytest
from support.paths import ROOT

from aioconsulconnect.cli import main
from aioconsulconnect.testing import Agent


@contextmanager
def served(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], dict[str, str], str]]:
    """The process, the variables that it prints, and all that it prints at first."""
    command = [sys.executable, "-W", "error", "-m", "aioconsulconnect", "test-agent", *arguments]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout
        lines: list[str] = []
        while not lines or lines[-1] != "Ctrl-C ends it.\n":
            lines.append(process.stdout.readline())
            assert lines[-1], process.stderr and process.stderr.read()
        variables = dict(
            line.removeprefix("export ").strip().split("=", 1) for line in lines if line.startswith("export ")
        )
        try:
            yield process, variables, "".join(lines)
        finally:
            process.kill()


def test_command_serves_the_version_and_the_acls_that_were_asked_for() -> None:
    token = "22222222-0000-0000-0000-000000000000"
    with served("--port", "0", "--version", "1.16", "--token", token) as (process, variables, said):
        assert "plays an agent of Consul 1.16.6" in said
        assert variables["CONSUL_HTTP_TOKEN"] == token
        url = f"{variables['CONSUL_HTTP_ADDR']}/v1/acl/tokens"
        with pytest.raises(HTTPError, match="403"):
            urllib.request.urlopen(url, timeout=5)
        request = urllib.request.Request(url, headers={"X-Consul-Token": token})
        with urllib.request.urlopen(request, timeout=5) as answer:
            assert len(json.loads(answer.read())) == 2  # that of management and the anonymous one
        with pytest.raises(HTTPError, match="501"):
            urllib.request.urlopen(f"{variables['CONSUL_HTTP_ADDR']}/v1/session/list", timeout=5)
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 130
        assert process.stderr
        assert "does not model GET /v1/session/list" in process.stderr.read()


def test_port_that_is_taken_and_no_agent_without_acl_has_a_token(capsys: pytest.CaptureFixture[str]) -> None:
    with Agent() as agent:
        port = agent.url.rpartition(":")[2]
        assert main(["test-agent", "--port", port]) == 1
    assert f"cannot listen on 127.0.0.1 port {port}" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [("--version", "2.0"), ("--port", "x"), ("--token", "")])
def test_wrong_arguments_end_with_2(arguments: tuple[str, ...]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["test-agent", *arguments])
