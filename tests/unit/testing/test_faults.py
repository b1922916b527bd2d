"""Faults by name, as a client sees them: each is there while it is in force, and gone afterwards."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest
from support.versions import VERSIONS

from aioconsulconnect.testing import Agent, Fault, Faults, Version

LIST = "/v1/connect/intentions"
MATCH = "/v1/connect/intentions/match?by=destination&name=db"
ROOTS = "/v1/connect/ca/roots"
LEADER = "/v1/status/leader"


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def index(self) -> int:
        return int(self.headers["X-Consul-Index"])


class Client:
    """Calls in a few words. Beware: aiohttp quietly sends a GET again when its connection ends without an answer."""

    def __init__(self, session: aiohttp.ClientSession, agent: Agent) -> None:
        self.session = session
        self.agent = agent

    async def get(self, path: str, **headers: str) -> Answer:
        return await self.call("GET", path, headers=headers)

    async def call(self, method: str, path: str, **more: Any) -> Answer:
        url = self.agent.url + path
        async with self.session.request(method, url, allow_redirects=False, **more) as answer:
            return Answer(answer.status, dict(answer.headers), await answer.read())

    async def allow(self, source: str) -> None:
        body = {"SourceName": source, "DestinationName": "db", "SourceType": "consul", "Action": "allow"}
        assert (await self.call("POST", LIST, json=body)).status == 200

    async def poll(self, path: str = LIST, wait: str = "50s", index: int | None = None) -> "asyncio.Task[Answer]":
        """A blocking query that waits by the time this returns."""
        at = (await self.get(path)).index if index is None else index
        before = len(self.agent.polls)
        mark = "&" if "?" in path else "?"
        task = asyncio.create_task(self.get(f"{path}{mark}index={at}&wait={wait}"))
        await until(lambda: len(self.agent.polls) > before)
        return task


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.002)


@pytest.fixture(params=["1.22"])
async def agent(request: pytest.FixtureRequest) -> AsyncIterator[Agent]:
    async with Agent(request.param) as agent:
        yield agent


@pytest.fixture
def faults(agent: Agent) -> Faults:
    return agent.faults


@pytest.fixture
async def http(agent: Agent) -> AsyncIterator[Client]:
    connector = aiohttp.TCPConnector(force_close=True, limit=0)
    async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(5)) as session:
        client = Client(session, agent)
        await client.allow("web")
        yield client


old = pytest.mark.parametrize("agent", ["1.8"], indirect=True)
both = pytest.mark.parametrize("agent", ["1.8", "1.22"], indirect=True)


# When and where.


async def test_fault_is_in_force_within_its_block_and_counts_its_requests(http: Client, faults: Faults) -> None:
    true = (await http.get(LIST)).index
    with faults.index_zero() as fault:
        assert [(await http.get(LIST)).index for _ in range(3)] == [0, 0, 0]
    assert (fault.hits, (await http.get(LIST)).index) == (3, true)


async def test_fault_with_a_path_meets_only_requests_under_it(http: Client, faults: Faults) -> None:
    faults.html_error(503, path="/v1/connect/intentions")
    assert [(await http.get(path)).status for path in (LIST, MATCH, ROOTS)] == [503, 503, 200]


async def test_fault_with_a_count_ends_after_that_many_requests(http: Client, faults: Faults) -> None:
    fault = faults.denied(times=2)
    assert [(await http.get(LIST)).status for _ in range(3)] == [403, 403, 200]
    assert fault.over


async def test_clear_ends_all_of_them(http: Client, faults: Faults) -> None:
    faults.index_zero()
    faults.garbage()
    faults.clear()
    answer = await http.get(LIST)
    assert (answer.index, len(answer.json)) == (http.agent.store.index, 1)


async def test_several_act_together(http: Client, faults: Faults) -> None:
    faults.empty_lie(None)
    faults.bad_index("7")
    answer = await http.get(LIST)
    assert (answer.json, answer.index) == ([], 7)


async def test_a_poll_that_waits_meets_a_fault_that_comes_later(http: Client, faults: Faults) -> None:
    poll = await http.poll()
    faults.index_zero()
    await http.allow("api")
    assert ((await poll).index, len((await poll).json)) == (0, 2)


async def test_wake_ends_the_polls_under_a_path_with_what_they_had(http: Client, faults: Faults) -> None:
    woken, waiting = await http.poll(), await http.poll(ROOTS)
    faults.wake(LIST)
    answer = await woken
    assert (answer.index, len(answer.json), waiting.done()) == (http.agent.store.index, 1, False)
    faults.wake()
    await waiting


# The index.


async def test_an_index_may_be_no_number(http: Client, faults: Faults) -> None:
    faults.bad_index("abc")
    assert (await http.get(LIST)).headers["X-Consul-Index"] == "abc"


async def test_an_index_goes_back_once(http: Client, faults: Faults) -> None:
    true = (await http.get(LIST)).index
    faults.goes_back(by=2)
    assert [(await http.get(LIST)).index for _ in range(2)] == [true - 2, true]
    faults.goes_back(by=1000)
    assert (await http.get(LIST)).index == 1


async def test_no_header_of_consul_comes_through(http: Client, faults: Faults) -> None:
    faults.no_header()
    answer = await http.get(LIST)
    assert (answer.status, len(answer.json)) == (200, 1)
    assert not [name for name in answer.headers if name.lower().startswith("x-consul")]


async def test_a_flood_moves_the_index_and_nothing_else(http: Client, faults: Faults) -> None:
    first = await http.get(LIST)
    flood = faults.flood(0.001)
    seen = [first]
    for _ in range(20):
        seen.append(await http.get(f"{LIST}?index={seen[-1].index}&wait=50s"))
    assert [answer.index for answer in seen] == sorted({answer.index for answer in seen})
    assert {answer.body for answer in seen} == {first.body}
    flood.clear()
    poll = await http.poll(index=seen[-1].index)
    await http.allow("api")
    assert len((await poll).json) == 2  # the next real write lies above the flood


async def test_a_flood_ends_the_polls_that_wait_already(http: Client, faults: Faults) -> None:
    poll = await http.poll()
    faults.flood(0.001)
    assert len((await poll).json) == 1


# Lies.


async def test_a_lie_empties_lists_and_maps_of_lists(http: Client, faults: Faults) -> None:
    faults.empty_lie()
    listed, matched, roots = await http.get(LIST), await http.get(MATCH), await http.get(ROOTS)
    assert (listed.status, listed.json, listed.index) == (200, [], 1)
    assert (matched.json, matched.index) == ({"db": None}, 1)
    assert len(roots.json["Roots"]) == 1


async def test_a_lie_empties_what_is_compressed(http: Client, faults: Faults) -> None:
    for number in range(20):
        await http.allow(f"source-{number}")
    assert (await http.get(LIST)).headers["Content-Encoding"] == "gzip"
    faults.empty_lie()
    assert (await http.get(LIST)).json == []


@pytest.mark.parametrize(("agent", "flag"), [("1.22", "true"), ("1.10", None)], indirect=["agent"])
async def test_hidden_answer_keeps_its_index(http: Client, faults: Faults, flag: str | None) -> None:
    true = (await http.get(LIST)).index
    faults.hidden()
    answer = await http.get(LIST)
    assert (answer.json, answer.index) == ([], true)
    assert answer.headers.get("X-Consul-Results-Filtered-By-Acls") == flag


async def test_a_lie_leaves_alone_what_it_cannot_empty(http: Client, faults: Faults) -> None:
    faults.empty_lie()
    missing = await http.get("/v1/connect/intentions/exact?source=nobody&destination=db")
    assert (missing.status, missing.body) == (404, b"Intention not found")


async def test_garbage_is_no_json_under_a_good_head(http: Client, faults: Faults) -> None:
    true = (await http.get(LIST)).index
    faults.garbage()
    answer = await http.get(LIST)
    assert (answer.status, answer.index) == (200, true)
    with pytest.raises(ValueError, match=r"codec|Expecting"):
        _ = answer.json


# Refusals.


async def test_an_error_carries_an_index_of_nobody(http: Client, faults: Faults) -> None:
    faults.error_with_index()
    answer = await http.get(LIST)
    assert (answer.status, answer.index) == (500, 1)


async def test_a_denied_poll_ends_well_and_the_next_one_does_not(http: Client, faults: Faults) -> None:
    poll = await http.poll()
    faults.denied()
    faults.wake()
    assert (await poll).status == 200
    answer = await http.get(LIST)
    assert (answer.status, answer.body, answer.index) == (403, b"ACL not found", 1)
    assert "X-Consul-Index" not in (await http.get("/v1/config/service-defaults/db")).headers


async def test_a_refused_write_is_not_done(http: Client, faults: Faults) -> None:
    with faults.throttled():
        assert (await http.call("DELETE", f"{LIST}/exact?source=web&destination=db")).status == 429
    assert len(http.agent.store.intentions) == 1


async def test_a_proxy_answers_with_its_page(http: Client, faults: Faults) -> None:
    faults.html_error(502)
    answer = await http.get(LIST)
    assert (answer.status, answer.headers["Content-Type"]) == (502, "text/html; charset=utf-8")
    assert b"<h1>502 Bad Gateway</h1>" in answer.body


async def test_a_redirect_keeps_the_path_and_its_parameters(http: Client, faults: Faults) -> None:
    faults.redirect("https://elsewhere.example/")
    answer = await http.get(MATCH)
    assert (answer.status, answer.headers["Location"]) == (307, f"https://elsewhere.example{MATCH}")


async def test_without_a_leader_polls_end_and_reads_fail(http: Client, faults: Faults) -> None:
    poll, cached = await http.poll(), await http.poll("/v1/agent/connect/ca/roots")
    with faults.no_leader():
        ended = await poll
        assert (ended.status, ended.body[:24]) == (500, b"rpc error getting client")
        refused = await http.get(LIST)
        assert (refused.status, refused.body, refused.index) == (500, b"No cluster leader", 1)
        assert (await http.get(LEADER)).json == ""
        stale = await http.get(f"{LIST}?stale")
        assert (len(stale.json), stale.headers["X-Consul-Knownleader"]) == (1, "false")
        assert (await http.get("/v1/agent/connect/ca/roots")).status == 200
        assert not cached.done()
    assert (await http.get(LIST)).status == 200
    assert (await http.get(LEADER)).json != ""
    http.agent.rotate_root()
    await cached


async def test_no_leader_is_found_out_late(http: Client, faults: Faults) -> None:
    faults.no_leader(hold=0.1)
    began = time.monotonic()
    assert (await http.get(LIST)).status == 500
    assert time.monotonic() - began >= 0.1


@both
async def test_abandoned_polls_lock_their_client_out(http: Client, faults: Faults) -> None:
    faults.zombie_limit(6)
    polls = [await http.poll(ROOTS) for _ in range(6)]
    for poll in polls:
        poll.cancel()
    await asyncio.wait(polls)
    await until(lambda: http.agent.connections == 6)
    if http.agent.version.startswith("1.8"):
        with pytest.raises(aiohttp.ClientConnectionError):
            await http.get(LEADER)
    else:
        answer = await http.get(LEADER)
        assert (answer.status, answer.headers["Connection"]) == (429, "close")
        assert b"too many concurrent connections" in answer.body
    faults.wake()  # the wait of each is over
    await until(lambda: http.agent.connections == 0)
    assert (await http.get(LEADER)).status == 200


async def test_a_connection_that_was_let_in_stays_in(agent: Agent) -> None:
    async with aiohttp.ClientSession() as first, aiohttp.ClientSession() as second, aiohttp.ClientSession() as third:
        kept = [Client(session, agent) for session in (first, second)]
        for client in kept:
            await client.get(LEADER)
        agent.faults.zombie_limit(1)
        assert (await Client(third, agent).get(LEADER)).status == 429
        assert [(await client.get(LEADER)).status for client in kept] == [200, 200]


# The connection.


async def test_a_connection_is_cut_and_its_poll_stays_behind(http: Client, faults: Faults) -> None:
    faults.cut_at(0.02)
    assert (await http.get(LIST)).status == 200
    poll = await http.poll()
    with pytest.raises(aiohttp.ServerDisconnectedError):
        await poll
    assert http.agent.polls


async def test_a_poll_that_waits_already_is_cut_too(http: Client, faults: Faults) -> None:
    poll = await http.poll()
    faults.cut_at(0.02)
    with pytest.raises(aiohttp.ServerDisconnectedError):
        await poll


async def test_a_proxy_gives_up_with_its_page(http: Client, faults: Faults) -> None:
    fault = faults.cut_at(0.02, status=504)
    answer = await (await http.poll())
    assert (answer.status, b"504 Gateway Timeout" in answer.body, fault.hits) == (504, True, 1)


async def test_a_cut_does_not_reach_the_next_request_of_its_connection(agent: Agent) -> None:
    async with aiohttp.ClientSession() as session:
        client = Client(session, agent)
        agent.faults.cut_at(0.05, path=LEADER)
        await client.get(LEADER)
        poll = await client.poll(ROOTS)
        await asyncio.wait([poll], timeout=0.1)
        assert not poll.done()
        agent.rotate_root()
        assert (await poll).status == 200


async def test_half_open_connection_passes_no_poll_and_no_write(http: Client, faults: Faults) -> None:
    poll = await http.poll()
    with faults.half_open():
        write = asyncio.create_task(http.allow("api"))
        http.agent.rotate_root()
        faults.wake()
        await asyncio.wait([poll, write], timeout=0.1)
        assert not poll.done()
        assert not write.done()
        assert len(http.agent.store.intentions) == 1
    assert (await http.get(LIST)).status == 200
    assert not poll.done()  # that connection stays dead
    http.agent.stop()
    for task in (poll, write):
        with pytest.raises(aiohttp.ClientConnectionError):
            await task


async def test_frozen_write_after_the_fault_is_cleared_goes_on(http: Client, faults: Faults) -> None:
    fault = faults.frozen()
    write = asyncio.create_task(http.allow("api"))
    await until(lambda: fault.hits == 1)
    assert len(http.agent.store.intentions) == 1
    fault.clear()
    await write
    assert len(http.agent.store.intentions) == 2


async def test_a_poll_that_waits_is_frozen_too(http: Client, faults: Faults) -> None:
    poll = await http.poll()
    with faults.frozen():
        faults.wake()
        await asyncio.wait([poll], timeout=0.05)
        assert not poll.done()
    assert (await poll).status == 200


async def test_a_slow_body_comes_after_its_head(http: Client, faults: Faults) -> None:
    whole = (await http.get(ROOTS)).body
    faults.slow_body(0.2, pieces=4)
    began = time.monotonic()
    async with http.session.get(http.agent.url + ROOTS) as answer:
        head = time.monotonic() - began
        assert await answer.read() == whole
    assert head < 0.2 <= time.monotonic() - began


async def test_a_body_ends_in_its_middle(http: Client, faults: Faults) -> None:
    faults.truncated()
    with pytest.raises(aiohttp.ClientPayloadError):
        await http.get(LIST)


async def test_a_write_is_done_and_nobody_is_told(http: Client, faults: Faults) -> None:
    faults.lost_answer(times=1)
    with pytest.raises(aiohttp.ServerDisconnectedError):
        await http.allow("api")
    assert len(http.agent.store.intentions) == 2
    assert (await http.get(LIST)).status == 200


@pytest.mark.parametrize("version", VERSIONS)
async def test_every_version_has_every_fault(version: Version) -> None:
    async with Agent(version) as agent, aiohttp.ClientSession() as session:
        client, faults = Client(session, agent), agent.faults
        named: list[Callable[[], Fault]] = [
            faults.index_zero, faults.bad_index, faults.goes_back, faults.no_header, faults.flood, faults.empty_lie,
            faults.hidden, faults.garbage, faults.error_with_index, faults.denied, faults.throttled, faults.html_error,
            faults.no_leader, faults.zombie_limit, lambda: faults.slow_body(0.01),
        ]  # fmt: skip
        for name in named:
            with name():
                await client.get(LIST)
            assert (await client.get(LIST)).json == []
