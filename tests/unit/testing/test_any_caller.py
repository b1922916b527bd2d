"""The agent serves any caller: with a loop or without one, in other threads, processes and languages."""

from __future__ import annotations

import asyncio
import json
import logging
import multiprocessing
import os
import shutil
import subprocess
import threading
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from urllib.error import HTTPError

import pytest
import uvloop
from support.agents import sockets

from aioconsulconnect import Consul
from aioconsulconnect.testing import Agent, Answer, Request

INTENTIONS = "/v1/connect/intentions"
WEB_TO_DB = {"SourceName": "web", "DestinationName": "db", "Action": "allow"}


def asked(url: str, body: object = None) -> object:
    data = json.dumps(body).encode() if body is not None else None
    with urllib.request.urlopen(url, data, timeout=5) as answer:
        return json.loads(answer.read())


def test_plain_function_with_a_blocking_client() -> None:
    with Agent() as agent:
        asked(agent.url + INTENTIONS, WEB_TO_DB)
        check = asked(f"{agent.url}{INTENTIONS}/check?source=web&destination=db")
        assert check == {"Allowed": True}
        assert [each["SourceName"] for each in agent.store.intentions] == ["web"]


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
def test_loop_of_the_callers_own_kind(run: object) -> None:
    async def main() -> int:
        async with Consul(agent.url) as consul, consul.intentions.match(destination="db").watch() as watch:
            await consul.intentions.upsert("web", "db", action="allow")
            seen = await watch.until(bool, timeout=5)
            agent.restart()  # a plain function, also in the middle of a coroutine
            await watch.wait_for_state("synced", "polling", timeout=5)
            await consul.intentions.upsert("api", "db", action="allow")
            return len(seen) + len(await watch.until(lambda now: len(now) == 2, timeout=5))

    assert callable(run)
    with Agent() as agent:
        assert run(main()) == 3


def test_two_threads_at_once() -> None:
    def work(number: int) -> int:
        with Agent("1.16") as own:
            for name in range(20):
                intention = {**WEB_TO_DB, "SourceName": f"web-{number}-{name}"}
                asked(shared.url + INTENTIONS, intention)
                asked(own.url + INTENTIONS, intention)
                assert shared.requests
                shared.advance(10)
            return len(own.store.intentions)

    with Agent() as shared, ThreadPoolExecutor(4) as pool:
        assert list(pool.map(work, range(4))) == [20, 20, 20, 20]
        assert len(shared.store.intentions) == 80


def test_fifty_agents_leave_nothing_behind() -> None:
    threads, files = set(threading.enumerate()), sockets()
    with ExitStack() as stack:
        agents = [stack.enter_context(Agent()) for _ in range(50)]
        assert len(set(threading.enumerate()) - threads) <= 1  # for all of them
        for agent in agents:
            asked(agent.url + INTENTIONS, WEB_TO_DB)
    assert set(threading.enumerate()) == threads
    assert sockets() == files


def test_reset_makes_a_new_cluster_that_was_never_away() -> None:
    with Agent(acl=True, management_token="11111111-0000-0000-0000-000000000000") as agent:
        waiting, domain = threading.Event(), agent.trust_domain

        def poll() -> None:
            request = urllib.request.Request(f"{agent.url}/v1/config/mesh?index=99&wait=20s")
            request.add_header("X-Consul-Token", agent.management_token)
            try:
                urllib.request.urlopen(request, timeout=20).read()
            except OSError:
                waiting.set()

        thread = threading.Thread(target=poll)
        thread.start()
        while not agent.polls:
            pass
        agent.faults.no_leader()
        before = agent.store.index
        agent.reset()
        thread.join(5)
        assert waiting.is_set()
        assert not agent.requests
        assert not agent.polls
        assert agent.store.index <= before
        assert agent.trust_domain != domain
        request = urllib.request.Request(agent.url + INTENTIONS)
        request.add_header("X-Consul-Token", "11111111-0000-0000-0000-000000000000")
        assert urllib.request.urlopen(request, timeout=5).read() == b"[]"


def test_route_of_the_tests_own_answers_and_outlives_a_reset() -> None:
    seen: list[Request] = []

    def sessions(request: Request) -> Answer:
        seen.append(request)
        return Answer([{"ID": "1"}], headers={"X-Consul-Index": "7"})

    with Agent() as agent:
        with pytest.raises(HTTPError, match="501: The in-process agent does not model GET /v1/session/list; Consul"):
            asked(f"{agent.url}/v1/session/list")
        assert [(each.method, each.path) for each in agent.unmodelled] == [("GET", "/v1/session/list")]
        agent.route("GET", "/v1/session/", sessions)
        agent.reset()
        with urllib.request.urlopen(f"{agent.url}/v1/session/list?dc=dc1", timeout=5) as answer:
            assert (answer.headers["X-Consul-Index"], json.loads(answer.read())) == ("7", [{"ID": "1"}])
        assert [(each.path, each.query) for each in seen] == [("/v1/session/list", {"dc": ("dc1",)})]
        assert not agent.unmodelled
        agent.route("GET", "/v1/session/list", lambda _: Answer("gone", status=410))
        with pytest.raises(HTTPError, match="410"):
            asked(f"{agent.url}/v1/session/list")


def test_handler_that_waits_for_the_agent_is_told_so() -> None:
    def restarts(_: Request) -> Answer:
        with pytest.raises(RuntimeError, match="cannot wait for the agent"):
            agent.restart()
        return Answer(agent.store.index)

    with Agent() as agent:
        agent.route("GET", "/v1/mine", restarts)
        assert asked(f"{agent.url}/v1/mine") == agent.store.index


def test_what_is_not_modelled_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    with Agent() as agent, caplog.at_level(logging.WARNING, "aioconsulconnect.testing"):
        for _ in range(3):
            with pytest.raises(HTTPError):
                asked(f"{agent.url}/v1/session/list")
        assert len(agent.unmodelled) == 3
    assert len(caplog.records) == 1


def test_arguments_of_an_agent() -> None:
    domain, token = "11111111-2222-3333-4444-555555555555.consul", "11111111-0000-0000-0000-000000000000"
    with Agent(trust_domain=domain, acl=True, management_token=token, node_name="n1", datacenter="east") as agent:
        for _ in range(2):
            assert (agent.trust_domain, agent.management_token) == (domain, token)
            assert asked(f"{agent.url}/v1/connect/ca/roots")["TrustDomain"] == domain  # type: ignore[index]
            agent.reset()
    with Agent(node_id=token.upper(), node_meta={"zone": "a"}) as agent:
        for _ in range(2):
            me = asked(f"{agent.url}/v1/agent/self")
            assert me["Config"]["NodeID"] == token  # type: ignore[index]
            assert me["Meta"]["zone"] == "a"  # type: ignore[index]
            assert len(asked(f"{agent.url}/v1/catalog/nodes?node-meta=zone:a")) == 1  # type: ignore[arg-type]
            agent.reset()
    with pytest.raises(ValueError, match="'consul-' is reserved"):
        Agent(node_meta={"consul-zone": "a"})
    with pytest.raises(ValueError, match="UUID"):
        Agent(node_id="one")
    with pytest.raises(ValueError, match="management_token needs acl=True"):
        Agent(management_token=token)
    with pytest.raises(ValueError, match=r'ends in "\.consul"'):
        Agent(trust_domain="example.com")


def test_stop_twice_and_agents_that_never_started() -> None:
    agent = Agent()
    agent.advance(50)
    assert agent.store.index == 50
    agent.stop()
    agent.start().stop()
    agent.stop()
    agent.restart()
    assert asked(f"{agent.url}/v1/status/leader")
    agent.stop()


def _in_a_fork(queue: multiprocessing.Queue[int]) -> None:
    with Agent() as own:
        asked(own.url + INTENTIONS, WEB_TO_DB)
        queue.put(len(own.store.intentions))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_forked_process_has_agents_of_its_own() -> None:
    context = multiprocessing.get_context("fork")
    with Agent():
        queue: multiprocessing.Queue[int] = context.Queue()
        process = context.Process(target=_in_a_fork, args=(queue,))
        process.start()
        assert queue.get(timeout=20) == 1
        process.join(20)
        assert process.exitcode == 0
        queue.close()
        queue.join_thread()


# Other languages.


def test_curl() -> None:
    if not shutil.which("curl"):
        pytest.skip("curl is not installed")
    with Agent() as agent:
        command = ["curl", "-sS", "-X", "POST", "-d", json.dumps(WEB_TO_DB), agent.url + INTENTIONS]
        assert "ID" in json.loads(subprocess.run(command, check=True, capture_output=True, timeout=20).stdout)
        assert len(agent.store.intentions) == 1


GO = """
package main

import (
    "fmt"
    "io"
    "net/http"
    "os"
)

func main() {
    answer, err := http.Get(os.Args[1] + "/v1/connect/ca/roots")
    if err != nil {
        panic(err)
    }
    body, _ := io.ReadAll(answer.Body)
    fmt.Print(string(body))
}
"""


@pytest.mark.slow
def test_go(tmp_path: Path) -> None:
    if not shutil.which("go"):
        pytest.skip("Go is not installed")
    program = tmp_path / "main.go"
    program.write_text(GO)
    with Agent() as agent:
        ended = subprocess.run(["go", "run", program, agent.url], check=True, capture_output=True, timeout=120)
        assert json.loads(ended.stdout)["TrustDomain"] == agent.trust_domain


NOTEBOOK = """
from aioconsulconnect import Consul
from aioconsulconnect.testing import Agent
with Agent() as agent:
    async with Consul(agent.url) as consul:
        await consul.intentions.upsert("web", "db", action="allow")
        print(await consul.intentions.check("web", "db"))
"""


@pytest.mark.slow
def test_jupyter_kernel() -> None:
    manager = pytest.importorskip("jupyter_client.manager", reason="Jupyter is not installed")
    pytest.importorskip("ipykernel", reason="ipykernel is not installed")
    kernel, client = manager.start_new_kernel(kernel_name="python3")
    try:
        said: list[str] = []
        reply = client.execute_interactive(
            NOTEBOOK, timeout=60, output_hook=lambda message: said.append(str(message["content"]))
        )
        assert reply["content"]["status"] == "ok", said
        assert any("True" in each for each in said)
    finally:
        client.stop_channels()
        kernel.shutdown_kernel(now=True)
