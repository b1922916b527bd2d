"""What the pages show works: every Python block of each, and the programs of the main README's shell commands.

A Python block with tests goes through pytest. Any other is a program of its own, run against an agent in a box to
which CONSUL_HTTP_ADDR leads; what it awaits at the top level may use `consul`, an open client. It ends by itself, or,
where it watches for ever, is ended when each of its prints (but those of an `except`) has printed.
"""

import ast
import asyncio
import os
import re
import shlex
import sys
from asyncio.subprocess import PIPE
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from support.package import FOLDER
from support.paths import ROOT

from aioconsulconnect.testing import Agent

README = (ROOT / "README.md").read_text()
PAGES = {"README": README} | {
    page.parent.relative_to(FOLDER).as_posix(): page.read_text("utf-8") for page in sorted(FOLDER.rglob("README.md"))
}
PATIENCE = 20.0
LINGER = 0.5

# Runs a block, and says of each print where it stands.
RUNNER = """
import ast, asyncio, builtins, pathlib, sys
path = sys.argv[1]
say = print
def told(*values, **options):
    frame = sys._getframe(1)
    if frame.f_code.co_filename == path:
        say("\\0%d" % frame.f_lineno, end=" ")
    say(*values, **{**options, "flush": True})
builtins.print = told
source = pathlib.Path(path).read_text()
code = compile(source, path, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
names = {"__name__": "__main__", "__file__": path}
async def fragment():
    from aioconsulconnect import Consul
    async with Consul() as names["consul"]:
        await eval(code, names)
if code.co_flags & 0x80:  # a coroutine
    asyncio.run(fragment())
else:
    exec(code, names)
"""


def blocks(page: str, language: str) -> Iterator[tuple[str, str]]:
    """The blocks of a language, each under the heading that it stands below, with a number."""
    heading, numbers = "", dict[str, int]()
    for match in re.finditer(r"^#+ ([^\n]+)$|^```(\w+)\n(.*?)^```$", page, re.MULTILINE | re.DOTALL):
        if match[1]:
            heading = match[1]
        elif match[2] == language:
            numbers[heading] = numbers.get(heading, 0) + 1
            yield f"{heading} {numbers[heading]}", match[3]


PYTHON = {f"{name}: {block}": source for name, page in PAGES.items() for block, source in blocks(page, "python")}
SHELL = dict(blocks(README, "sh"))


def printing_lines(source: str) -> set[int]:
    """The lines on which a program prints, unless something goes wrong."""
    tree = ast.parse(source)
    handlers = {node for each in ast.walk(tree) if isinstance(each, ast.ExceptHandler) for node in ast.walk(each)}
    calls = (node for node in ast.walk(tree) if isinstance(node, ast.Call) and node not in handlers)
    return {call.lineno for call in calls if isinstance(call.func, ast.Name) and call.func.id == "print"}


async def ended(process: asyncio.subprocess.Process, within: float) -> bool:
    try:
        async with asyncio.timeout(within):
            await process.wait()
    except TimeoutError:
        return False
    return True


def environment(agent: Agent) -> dict[str, str]:
    return {**os.environ, **agent.environment, "PYTHONWARNINGS": "error"}


async def run(folder: Path, agent: Agent, source: str) -> None:
    """Run a program until it ends, or until it has printed all and goes on."""
    program = folder / "program.py"
    program.write_text(source)
    missing = printing_lines(source)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", RUNNER, str(program), cwd=folder, env=environment(agent), stdout=PIPE, stderr=PIPE
    )
    assert process.stdout is not None
    assert process.stderr is not None
    errors = asyncio.create_task(process.stderr.read())
    watches = bool(missing)
    try:
        with suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE):
                while missing and (line := await process.stdout.readline()):
                    missing -= {int(number) for number in re.findall(rb"\0(\d+) ", line)}
        rest = asyncio.create_task(process.stdout.read())
        by_itself = await ended(process, LINGER if watches else PATIENCE)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
    await rest
    said = (await errors).decode()
    assert not missing, f"never printed: lines {sorted(missing)}\n{said}"
    assert by_itself or watches, f"it neither ends nor prints\n{said}"
    assert not by_itself or process.returncode == 0, said
    assert said == ""


@pytest.mark.parametrize("name", PYTHON)
async def test_a_python_block_does_what_it_shows(name: str, tmp_path: Path) -> None:
    source = PYTHON[name]
    if re.search(r"^(async )?def test_", source, re.MULTILINE):
        await check(await pytest_in(tmp_path, source))
        return
    async with Agent() as agent:
        await run(tmp_path, agent, source)


async def pytest_in(folder: Path, source: str) -> asyncio.subprocess.Process:
    """Give tests to a pytest of their own, with warnings as errors."""
    (folder / "test_example.py").write_text(source)
    (folder / "pytest.ini").write_text("[pytest]\nasyncio_default_fixture_loop_scope = function\n")
    arguments = ["-m", "pytest", "-q", "-W", "error", "--strict-markers", "-p", "no:cacheprovider"]
    return await asyncio.create_subprocess_exec(sys.executable, *arguments, cwd=folder, stdout=PIPE, stderr=PIPE)


async def check(process: asyncio.subprocess.Process) -> bytes:
    """Wait for a program to end well, and give back what it printed."""
    async with asyncio.timeout(50):
        out, errors = await process.communicate()
    assert process.returncode == 0, (out + errors).decode()
    return out


def programs(command: str) -> Iterator[list[str]]:
    """What a shell command has Python run: the arguments after `python`, without what makes the environment."""
    for part in command.strip().split("&&"):
        words = shlex.split(part)
        if words[0].rpartition("/")[2].startswith("python") and "venv" not in words:
            yield words[1:]


@pytest.mark.parametrize("name", SHELL)
async def test_a_shell_command_runs(name: str) -> None:
    found = list(programs(SHELL[name]))
    assert found
    for arguments in found:
        # The whole suite is running already: its command needs to be tried on a part alone.
        more = ["--collect-only", "-q", "tests/unit/test_clock.py"] if arguments[:2] == ["-m", "pytest"] else []
        process = await asyncio.create_subprocess_exec(
            sys.executable, *arguments, *more, cwd=ROOT, stdout=PIPE, stderr=PIPE
        )
        assert (await check(process)).strip()


def test_the_readme_shows_what_it_should() -> None:
    programs_shown = [arguments[:3] for command in SHELL.values() for arguments in programs(command)]
    assert ["-m", "aioconsulconnect", "demo"] in programs_shown
    assert any(arguments[:2] == ["-m", "pytest"] for arguments in programs_shown)
    assert any("consul_agent" in source for source in PYTHON.values())


@pytest.mark.parametrize(
    ("source", "complaint"),
    [
        ("raise ValueError('wrong')", "ValueError: wrong"),
        ("import sys\nprint(1)\nif not sys.argv:\n    print(2)", r"never printed: lines \[4\]"),
        ("import warnings\nwarnings.warn('careless')", "UserWarning: careless"),
    ],
)
async def test_a_block_that_is_wrong_fails(source: str, complaint: str, tmp_path: Path) -> None:
    async with Agent() as agent:
        with pytest.raises(AssertionError, match=complaint):
            await run(tmp_path, agent, source)


async def test_a_fragment_has_a_client_and_may_watch_for_ever(tmp_path: Path) -> None:
    source = "async with consul.ca.roots().watch() as watch:\n  async for roots in watch.snapshots():\n    print(roots)"
    async with Agent() as agent:
        await run(tmp_path, agent, source)
