"""The command line as its user meets it: what it prints, the status it ends with, and what it leaves behind."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
from support.agents import Binary
from support.paths import ROOT
from support.servers import Scripted, answer
from support.versions import VERSIONS

from aioconsulconnect import Consul
from aioconsulconnect.cli import main
from aioconsulconnect.testing import Agent, Version

CHECK = "/v1/connect/intentions/check"
EXACT = "/v1/connect/intentions/exact"
STATUS = {signal.SIGINT: 130, signal.SIGTERM: 143}


class Ended(NamedTuple):
    status: int
    out: str
    error: str


Demo = Callable[..., "asyncio.Task[Ended]"]


@pytest.fixture
async def demo(capsys: pytest.CaptureFixture[str]) -> Demo:
    """Runs `demo` with these arguments in a thread of this process."""

    async def run(*arguments: str) -> Ended:
        status = await asyncio.to_thread(main, ["demo", *arguments])
        return Ended(status, *capsys.readouterr())

    return lambda *arguments: asyncio.create_task(run(*arguments))


@asynccontextmanager
async def started(*arguments: str, **variables: str) -> AsyncIterator[Process]:
    """A process of its own for `demo`, with these variables."""
    environment = {**os.environ, "PYTHONWARNINGS": "error", **variables}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "aioconsulconnect",
        "demo",
        *arguments,
        cwd=ROOT,
        env=environment,
        stdout=PIPE,
        stderr=PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def end_of(process: Process) -> Ended:
    async with asyncio.timeout(30):
        out, error = await process.communicate()
    assert process.returncode is not None
    return Ended(process.returncode, out.decode(), error.decode())


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.002)


def methods(agent: Agent) -> set[str]:
    return {request.method for request in agent.requests}


def roots(agent: Agent) -> int:
    return sum(request.method == "PUT" and request.path.startswith("/v1/connect/ca/") for request in agent.requests)


# What it shows.


async def test_demo_without_arguments_runs_on_an_in_process_agent(demo: Demo) -> None:
    status, out, error = await demo()
    assert (status, error) == (0, "")
    assert "On an agent inside this process" in out
    assert "2 roots are trusted now" in out
    assert out.endswith("\nDone.\n")


async def test_demo_on_its_own_agent_takes_no_https_from_the_variable(
    demo: Demo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CONSUL_HTTP_SSL", "true")
    status, _, error = await demo()
    assert (status, error) == (0, "")


@pytest.mark.parametrize("version", VERSIONS)
async def test_on_an_agent_that_runs_nothing_is_left_behind(version: Version, demo: Demo) -> None:
    async with Agent(version) as agent:
        status, out, error = await demo("--address", agent.url)
        assert (status, error) == (0, "")
        assert f"On the agent at {agent.url}" in out
        assert [word for line in out.splitlines() if "check   may" in line for word in line.split()[-1:]] == [
            "yes",
            "no",
        ]
        assert out.count("knows intentions by id alone") == (version == "1.8")
        assert "rotate it with --rotate" in out
        assert out.endswith("Done; nothing is left behind.\n")
        assert agent.store.intentions == []
        assert roots(agent) == 0


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_root_that_was_rotated_stays_and_it_says_so(version: Version, demo: Demo) -> None:
    async with Agent(version) as agent:
        status, out, error = await demo("--address", agent.url, "--rotate")
        assert (status, error) == (0, "")
        assert "2 roots are trusted now" in out
        assert "nothing is left behind" not in out
        assert out.endswith("the new root stays (and its key, in the authority's configuration).\n")
        assert agent.store.intentions == []
        assert roots(agent) == 1


@pytest.mark.parametrize("version", ["1.8", "1.22"])
async def test_the_intentions_of_others_stay(version: Version, demo: Demo) -> None:
    async with Agent(version) as agent:
        async with Consul(agent.url) as consul:
            write = consul.intentions.create if version == "1.8" else consul.intentions.upsert
            await write("*", "*", action="deny")
        before = agent.store.intentions
        assert (await demo("--address", agent.url)).status == 0
        assert agent.store.intentions == before
        assert len(before) == 1


async def test_a_real_consul_lives_as_long_as_the_demo(real_binary: Binary) -> None:
    async with started("--consul", real_binary.path) as process:
        status, out, error = await end_of(process)
    assert (status, error) == (0, "")
    assert f"On a throw-away agent of {real_binary.path}" in out
    assert out.endswith("\nDone.\n")


async def test_a_real_consul_is_found(real_binary: Binary) -> None:
    async with started("--consul", CONSUL_BINARIES=str(Path(real_binary.path).absolute())) as process:
        status, out, error = await end_of(process)
    assert (status, error) == (0, "")
    assert f"throw-away agent of {Path(real_binary.path).absolute()}\n" in out


# What goes wrong.


@pytest.mark.parametrize("arguments", [["--address", ""], ["--consul="], ["--address", "a", "--consul"], ["more"]])
def test_wrong_arguments(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["demo", *arguments])
    assert ended.value.code == 2
    assert "error: " in capsys.readouterr().err


def test_an_empty_address_is_not_the_default_one(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["demo", "--address", ""])
    assert "argument --address: it is empty" in capsys.readouterr().err


async def test_demo_with_refused_connection_prints_one_line_and_ends_with_status_1(demo: Demo) -> None:
    async with Scripted() as server:
        url = server.url
    status, out, error = await demo("--address", url)
    assert (status, out) == (1, "")
    assert error.startswith(f"aioconsulconnect: GET /v1/connect/ca/roots: no connection to {url}: ")
    assert error.count("\n") == 1


async def test_demo_on_a_server_that_is_no_consul_prints_one_line_and_ends_with_1(demo: Demo) -> None:
    page = answer(b"<html><body>Welcome</body></html>", content_type="text/html")
    async with Scripted([page] * 9) as server:
        status, out, error = await demo("--address", server.url)
    assert (status, out) == (1, "")
    assert error.startswith("aioconsulconnect: GET /v1/connect/ca/roots: 200 ")
    assert error.count("\n") == 1


async def test_a_token_that_is_refused(demo: Demo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONSUL_HTTP_TOKEN", "5e1f0b9c-0000-4000-8000-00000000dead")
    async with Agent(acl=True) as agent:
        status, _, error = await demo("--address", agent.url)
    assert status == 1
    assert "403" in error
    assert "00000000dead" not in error


@pytest.mark.parametrize("version", VERSIONS)
async def test_without_rights_it_neither_writes_nor_deletes(version: Version, demo: Demo) -> None:
    async with Agent(version, acl=True) as agent:
        status, _, error = await demo("--address", agent.url)
        assert "DELETE" not in methods(agent)
    assert status == 1
    assert "403" in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("binary", "complaint"),
    [
        ("/nonexistent/consul", "/nonexistent/consul: No such file or directory"),
        ("/", "/: it is a folder: name the consul binary in it"),
        ("/bin/false", "/bin/false ended with status 1 before it was ready"),
    ],
)
async def test_a_binary_that_is_none(binary: str, complaint: str) -> None:
    async with started("--consul", binary) as process:
        assert await end_of(process) == (1, "", f"aioconsulconnect: {complaint}\n")


async def test_no_binary(tmp_path: Path, demo: Demo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CONSUL_BINARIES", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    status, out, error = await demo("--consul")
    assert (status, out) == (1, "")
    assert error.startswith("aioconsulconnect: no consul binary: set CONSUL_BINARIES")


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_failure_midway_is_told_and_cleaned_up(version: Version, demo: Demo) -> None:
    async with Agent(version) as agent:
        agent.faults.denied(path=CHECK)
        status, out, error = await demo("--address", agent.url)
        assert agent.store.intentions == []
    assert status == 1
    assert "allow in" in out
    assert error.startswith(f"aioconsulconnect: GET {CHECK}: 403")
    assert error.count("\n") == 1


async def test_a_failed_clean_up_is_told_after_the_failure(demo: Demo) -> None:
    async with Agent() as agent:
        frozen = agent.faults.frozen(path=CHECK)
        ending = demo("--address", agent.url)
        await until(lambda: agent.store.intentions and frozen.hits)
        agent.faults.denied(path=EXACT)
        agent.faults.denied(path=CHECK)
        frozen.clear()
        # The check that was held is answered well, and the next write is the one that is refused.
        status, _, error = await ending
    first, second = error.splitlines()
    assert status == 1
    assert first.startswith(f"aioconsulconnect: PUT {EXACT}: 403")
    assert "may be left behind: DELETE" in second


# Signals.


@pytest.mark.parametrize("number", STATUS)
@pytest.mark.parametrize("version", ["1.8", "1.22"])
async def test_a_signal_leaves_nothing_behind(version: Version, number: signal.Signals) -> None:
    async with Agent(version) as agent:
        frozen = agent.faults.frozen(path=CHECK)
        async with started("--address", agent.url) as process:
            await until(lambda: agent.store.intentions and frozen.hits)
            process.send_signal(number)
            status, out, error = await end_of(process)
        assert (status, error) == (STATUS[number], "")
        assert "allow in" in out
        assert agent.store.intentions == []


@pytest.mark.parametrize("number", STATUS)
async def test_demo_ended_by_a_signal_tells_what_it_could_not_clean_up(number: signal.Signals) -> None:
    async with Agent() as agent:
        frozen = agent.faults.frozen(path=CHECK)
        async with started("--address", agent.url) as process:
            await until(lambda: agent.store.intentions and frozen.hits)
            agent.faults.denied(path=EXACT)
            process.send_signal(number)
            status, _, error = await end_of(process)
    assert status == STATUS[number]
    assert "may be left behind: DELETE" in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("number", STATUS)
async def test_a_signal_stops_a_real_consul(real_binary: Binary, number: signal.Signals) -> None:
    async with started("--consul", real_binary.path) as process:
        await until(lambda: children_of(process.pid))
        (consul,) = children_of(process.pid)
        process.send_signal(number)
        status, out, error = await end_of(process)
    assert (status, out, error) == (STATUS[number], "", "")
    assert not Path(f"/proc/{consul}").exists()


def children_of(process: int) -> list[str]:
    return [
        child for task in Path(f"/proc/{process}/task").iterdir() for child in (task / "children").read_text().split()
    ]


# Where the text goes.


@pytest.mark.parametrize("variables", [{}, {"PYTHONUNBUFFERED": "1"}])
async def test_a_reader_that_goes_away(variables: Mapping[str, str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    environment = {**os.environ, "PYTHONUNBUFFERED": "", **variables}
    async with Agent() as agent:
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "aioconsulconnect", "demo", "--address", agent.url,
                cwd=ROOT, env=environment, stdout=writing, stderr=PIPE,
            )  # fmt: skip
        finally:
            os.close(writing)
        async with asyncio.timeout(30):
            _, error = await process.communicate()
        assert agent.store.intentions == []
    assert (process.returncode, error) == (1, b"")


async def test_a_terminal_that_knows_ascii_alone() -> None:
    async with Agent() as agent, started("--address", agent.url, "--rotate", PYTHONIOENCODING="ascii") as process:
        status, out, error = await end_of(process)
    assert (status, error) == (0, "")
    assert out.isascii()


async def test_a_path_that_the_terminal_cannot_show(real_binary: Binary, tmp_path: Path) -> None:
    odd = tmp_path / "cönsul"
    odd.symlink_to(Path(real_binary.path).absolute())
    async with started("--consul", str(odd), PYTHONIOENCODING="ascii", PYTHONUTF8="1") as process:
        status, out, error = await end_of(process)
    assert (status, error) == (0, "")
    assert "c\\xf6nsul\n" in out
