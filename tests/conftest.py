"""Fixtures for all tests: real Consul agents where there are any, and an eye on what a test leaves behind."""

from __future__ import annotations

import asyncio
import gc
import inspect
import os
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import hypothesis
import pytest
from support.agents import Binary, Launcher, RealAgent, RealCluster, SharedAgents, binaries, children, known, sockets

# How long an example takes is no property of what is tested, and a busy machine would fail it.
hypothesis.settings.register_profile("tests", deadline=None)
hypothesis.settings.load_profile("tests")

REAL = {"real_agent", "own_agent", "real_cluster", "real_binary"}


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "real: needs a real Consul (set by the fixtures that start one)")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        parameters = getattr(item, "callspec", None)
        binary = any(isinstance(value, Binary) for value in parameters.params.values()) if parameters else False
        if binary or REAL & set(getattr(item, "fixturenames", ())):
            item.add_marker("real")


def pytest_collection_finish() -> None:
    """What collection has made lasts to the end: the garbage collector need not look through it again and again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000)


@pytest.fixture(autouse=True)
def _no_consul_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever runs the tests may use Consul himself: none of his settings may lead a test to his agent."""
    for name in os.environ:
        if name.startswith("CONSUL_") and name != "CONSUL_BINARIES":
            monkeypatch.delenv(name)


# Nothing may be left behind. ResourceWarnings are errors already; this sees what is still held.


@pytest.fixture(autouse=True)
def _nothing_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test that leaves a child process, or (one with an event loop) a task or an open socket."""
    if inspect.iscoroutinefunction(getattr(request.node, "obj", None)):
        request.getfixturevalue("_nothing_left_in_loop")
    before = children()
    yield
    left = children() - before
    assert not left, f"the test left processes: {left}"


@pytest.fixture
async def _nothing_left_in_loop() -> AsyncIterator[None]:
    tasks, open_before = asyncio.all_tasks(), sockets()
    yield
    left = asyncio.all_tasks() - tasks - {asyncio.current_task()}
    if left:
        _, left = await asyncio.wait(left, timeout=1)
    assert not left, f"the test left tasks: {left}"
    rounds = 0
    while still_open := sockets() - open_before:
        rounds += 1
        assert rounds < 50, f"the test left sockets: {still_open}"
        gc.collect()
        await asyncio.sleep(0.02)  # the loop closes what was closed in its next rounds


# Real agents.


@pytest.fixture(scope="session", params=binaries() or (None,), ids=lambda b: f"real-{b}" if b else "no-consul")
def real_binary(request: pytest.FixtureRequest) -> Binary:
    """Each real Consul binary that is there."""
    return known(request.param)


@pytest.fixture(scope="session")
def fresh_directory(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Path]:
    """Makes empty directories."""
    return lambda: tmp_path_factory.mktemp("agent")


@pytest.fixture(scope="session")
def shared_agents(fresh_directory: Callable[[], Path]) -> Iterator[SharedAgents]:
    """The agents that `real_agent` gives, by binary."""
    shared = SharedAgents(fresh_directory)
    try:
        yield shared
    finally:
        shared.end()


@pytest.fixture(scope="session")
def real_agent(real_binary: Binary, shared_agents: SharedAgents) -> RealAgent:
    """
    A dev agent that the whole session shares, one for each binary: `.url`, `.version`, `.binary`.

    Use names of your own, clean up, and do not restart it.
    """
    return shared_agents.of(real_binary)


@pytest.fixture
def own_agent(real_binary: Binary, fresh_directory: Callable[[], Path]) -> Iterator[Launcher]:
    """
    Starts agents for one test: `agent = await own_agent(mode="server", acl=True, config={...})`.

    They may be killed, paused and restarted (on the same ports); what mode="server" stores survives that.
    """
    launcher = Launcher(real_binary, fresh_directory)
    try:
        yield launcher
    finally:
        launcher.end()


@pytest.fixture
def real_cluster(real_binary: Binary, fresh_directory: Callable[[], Path]) -> Iterator[RealCluster]:
    """Three servers with a leader, for one test: `urls`, `leader()`, `await wait_leader()`, `kill(i)`, `restart(i)`."""
    cluster = RealCluster(real_binary, fresh_directory())
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.end()
