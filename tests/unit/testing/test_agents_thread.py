"""The one thread of all agents survives what callers do to it: at once, interrupted, forked, or within a handler."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import signal
import socket
import ssl
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException
from urllib.error import HTTPError, URLError

import pytest

from aioconsulconnect.testing import Agent, Answer, Request
from aioconsulconnect.testing.agents_thread import AGENTS

INTENTIONS = "/v1/connect/intentions"
LEADER = "/v1/status/leader"


def asked(agent: Agent, path: str = LEADER, body: object = None) -> object:
    data = json.dumps(body).encode() if body is not None else None
    context = ssl.create_default_context(cafile=str(agent.ca_file)) if agent.url.startswith("https") else None
    with urllib.request.urlopen(agent.url + path, data, timeout=5, context=context) as answer:
        return json.loads(answer.read())


def nothing_runs() -> bool:
    return not any(thread.name == "aioconsulconnect-agents" for thread in threading.enumerate())


PAIRS: dict[str, tuple[Callable[[Agent], object], Callable[[Agent], object]]] = {
    "stop-stop": (Agent.stop, Agent.stop),
    "restart-stop": (Agent.restart, Agent.stop),
    "restart-restart": (Agent.restart, Agent.restart),
    "reset-restart": (Agent.reset, Agent.restart),
    "reset-stop": (Agent.reset, Agent.stop),
}


@pytest.mark.parametrize("pair", PAIRS)
def test_two_threads_at_one_agent_do_no_harm_to_another(pair: str) -> None:
    with Agent() as other, ThreadPoolExecutor(2) as pool:
        for _ in range(10):
            agent = Agent().start()
            for done in [pool.submit(work, agent) for work in PAIRS[pair]]:
                done.result(10)
            agent.stop()
            assert asked(other) == "127.0.0.1:8300"
    assert nothing_runs()


def test_agent_that_listens_is_not_started_twice() -> None:
    with Agent() as agent:
        with pytest.raises(OSError, match="listens already"):
            agent.start()
        assert asked(agent)
    assert nothing_runs()


class Interrupted(BaseException):
    """What the signal raises, wherever the caller is."""


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="this system has no such timer")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # interrupts within constructors
@pytest.mark.parametrize("rounds", [150, pytest.param(5000, marks=pytest.mark.slow)])
def test_interrupt_at_any_moment_leaves_agents_usable(rounds: int) -> None:
    def interrupt(*_: object) -> None:
        raise Interrupted

    before = signal.signal(signal.SIGALRM, interrupt)
    interrupts = 0
    try:
        for _ in range(rounds):
            agent = Agent()
            try:
                signal.setitimer(signal.ITIMER_REAL, random.uniform(0.0001, 0.003))
                try:
                    agent.start()
                    agent.restart()
                    agent.stop()
                finally:
                    signal.setitimer(signal.ITIMER_REAL, 0)
            except Interrupted:
                interrupts += 1
            agent.stop()
            with Agent() as next_one:
                assert asked(next_one)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert interrupts
    assert nothing_runs()


def test_state_is_restored_to_an_agent_that_never_ran() -> None:
    with Agent() as agent:
        asked(agent, INTENTIONS, {"SourceName": "web", "DestinationName": "db", "Action": "allow"})
        intentions = asked(agent, INTENTIONS)
        assert intentions
        before = agent.snapshot()
    successor = Agent()
    successor.restore(before)
    with successor:
        assert asked(successor, INTENTIONS) == intentions


def test_stop_that_is_interrupted_before_it_began_has_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(work: Coroutine[object, object, object]) -> None:
        work.close()
        monkeypatch.undo()
        raise Interrupted

    agent = Agent().start()
    monkeypatch.setattr(AGENTS, "run", interrupted)
    with pytest.raises(Interrupted):
        agent.stop()
    assert nothing_runs()
    with pytest.raises(URLError, match="refused"):
        asked(agent)
    agent.stop()
    with agent:
        assert asked(agent)


def test_handler_that_stops_its_agent_is_refused_and_the_agent_goes_on() -> None:
    def stops(_: Request) -> Answer:
        agent.stop()
        return Answer()

    with Agent() as agent:
        agent.route("GET", "/v1/stop", stops)
        with pytest.raises(HTTPError, match="500") as refused:
            asked(agent, "/v1/stop")
        assert "call this from another thread" in refused.value.read().decode()
        assert asked(agent)
        assert agent.requests[0].status == 500


HANDLERS: dict[str, tuple[Callable[[Request], object], str]] = {
    "exit": (lambda _: sys.exit(3), "SystemExit(3)"),
    "failure": (lambda _: pytest.fail("not so"), "not so"),
    "type": (lambda _: {"a": 1}, "returns an Answer, not {'a': 1}"),
    "json": (lambda _: Answer({1, 2}), "not JSON serializable"),
    "status": (lambda _: Answer(status=99), "from 200 to 599, unlike 99"),
    "header": (lambda _: Answer(headers={"x": "a\nb"}), "cannot hold a line break"),
}


@pytest.mark.parametrize("name", HANDLERS)
def test_handler_that_fails_is_told_to_the_client_and_the_log(name: str, caplog: pytest.LogCaptureFixture) -> None:
    handler, words = HANDLERS[name]
    with Agent() as agent:
        agent.route("get", "/v1/mine", handler)  # type: ignore[arg-type]
        with pytest.raises(HTTPError, match="500") as refused:
            asked(agent, "/v1/mine")
        assert words in refused.value.read().decode()
        assert asked(agent)
    assert [record.name for record in caplog.records if record.exc_info] == ["aioconsulconnect.testing"]


def test_answer_with_a_type_of_its_own_has_no_other() -> None:
    with Agent() as agent:
        agent.route("GET", "/v1/mine", lambda _: Answer([1], headers={"content-type": "text/x"}))
        with urllib.request.urlopen(f"{agent.url}/v1/mine", timeout=5) as answer:
            assert answer.headers.get_all("Content-Type") == ["text/x"]
        with pytest.raises(ValueError, match="begins with a slash"):
            agent.route("GET", "v1/mine", lambda _: Answer())


def test_reset_drops_the_writes_that_a_fault_holds() -> None:
    intention = {"SourceName": "web", "DestinationName": "db", "Action": "allow"}
    with Agent() as agent, ThreadPoolExecutor(1) as pool:
        agent.faults.frozen()
        write = pool.submit(asked, agent, INTENTIONS, intention)
        while not agent.requests:
            time.sleep(0.005)
        agent.reset()
        with pytest.raises((OSError, HTTPException)):
            write.result(5)
        assert agent.store.intentions == []


def test_stop_waits_for_no_half_request() -> None:
    with Agent() as agent:
        port = int(agent.url.rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port)) as half:
            half.sendall(b"PUT /v1/config HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
            while not agent.requests:
                time.sleep(0.005)
            began = time.monotonic()
            agent.stop()
            assert time.monotonic() - began < 0.9


def test_snapshot_of_another_version_is_refused() -> None:
    with pytest.raises(ValueError, match=r"a snapshot of 1\.22 cannot be restored to 1\.8"):
        Agent("1.8").restore(Agent("1.22").snapshot())


@pytest.mark.parametrize("port", [-1, 65536])
def test_port_that_is_none_is_refused(port: int) -> None:
    with pytest.raises(ValueError, match="from 0 to 65535"):
        Agent(port=port)


@pytest.mark.parametrize("host", ["::1", "127.0.0.2", "localhost", "0.0.0.0"])
def test_https_fits_the_address_of_the_agent(host: str) -> None:
    with Agent(tls=True, host=host) as agent:
        assert asked(agent)


def test_bodies_of_old_requests_are_let_go() -> None:
    with Agent() as agent:
        agent.route("POST", "/v1/large", lambda _: Answer(True))
        for _ in range(6):
            asked(agent, "/v1/large", "x" * 2**24)
        assert sum(len(each.body) for each in agent.requests) <= 2**26


# Forks.

FORKS = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")


def _leave(agent: Agent, queue: multiprocessing.Queue[bool]) -> None:
    agent.stop()  # it is the parent's: nothing happens
    with Agent() as own:
        asked(own)
    queue.put(nothing_runs() and not AGENTS._users)


@FORKS
@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_fork_has_agents_of_its_own_and_leaves_the_parents_alone(tls: bool) -> None:
    context = multiprocessing.get_context("fork")
    with Agent(tls=tls) as agent:
        queue: multiprocessing.Queue[bool] = context.Queue()
        process = context.Process(target=_leave, args=(agent, queue))
        process.start()
        assert queue.get(timeout=20)
        agent.restart()  # the child, which may live, does not hold the address
        process.join(20)
        assert process.exitcode == 0
        assert asked(agent)
        queue.close()
        queue.join_thread()
    assert nothing_runs()
