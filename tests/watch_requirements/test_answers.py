"""W17 and W19: what an answer means: Consul's words first, its status second, and a gateway's words never."""

from __future__ import annotations

import contextlib
import itertools
import json
from typing import Any

import pytest
from support.fakes import (
    ABSENT,
    Answer,
    Call,
    Thing,
    Told,
    World,
    always,
    error,
    lost,
    refused,
    removed,
    state,
    things,
    values,
)

from aioconsulconnect.endpoints.agent import Agent
from aioconsulconnect.endpoints.config import Config
from aioconsulconnect.endpoints.intentions import Intentions
from aioconsulconnect.errors import ConsulError, PermissionDenied
from aioconsulconnect.transport.response import Response
from aioconsulconnect.transport.settings.options import Options

HTML = {"content-type": "text/html"}
EXPRESSION = 'Failed to create boolean expression evaluator: 1:1 (0): no match found, expected: "in"'
NOT_ALLOWED = error(405, "method GET not allowed", allow="PUT,OPTIONS")
BOOTSTRAP = "rpc error making call: ACL system must be bootstrapped before making any requests: ACL not found"

# What ends a watch that has had no data, in Consul's own words, whatever their status; later each is a failure.
FINAL = [
    error(500, EXPRESSION),
    error(400, EXPRESSION),
    error(500, "invalid config entry kind: service-intention"),
    error(400, "invalid config entry kind: service-intention"),
    error(400, 'Invalid query parameter: "ns" - Namespaces are a Consul Enterprise feature'),
    NOT_ALLOWED,
    error(404, "Invalid URL path: not a recognized HTTP API endpoint"),
    error(500, "Connect must be enabled in order to use this endpoint"),
    error(400, "Invalid wait time"),
    error(400, "Missing service name"),
]
# What is waited for at any time: the state before there is data (None: whichever), and after.
WAITED_FOR = [
    (error(403, "ACL not found"), "denied", "denied"),
    (error(403, BOOTSTRAP), "denied", "denied"),
    (error(403, "Permission denied"), None, "denied"),
    (error(403, "<html>Forbidden</html>", **HTML), None, "denied"),
    (error(429, "Your IP is issuing too many concurrent connections, please rate limit your calls"), None, "throttled"),
    (error(429, "rate limit exceeded, try again later or against a different server"), None, "throttled"),
    (error(503, "rate limit exceeded for operation that can only be performed by the leader"), None, "throttled"),
    (error(503, "resolver error: resolver produced no addresses"), None, "stale"),
    (error(503, "error reading from server: EOF"), None, "stale"),
    (error(500, "No cluster leader"), None, "stale"),
    (error(500, "No known Consul servers"), None, "stale"),
    (error(500, "rpc error making call: i/o deadline reached"), None, "stale"),
    (error(500, "something invalid that worked before"), None, "stale"),
    (error(500, "1 error occurred: permission denied"), None, "stale"),
    (error(500, "Code: 403. Errors: * permission denied"), None, "stale"),
    (error(500, "x509: cannot validate certificate for 10.0.0.7"), None, "stale"),
    (error(501, "Not Implemented"), None, "stale"),
    (error(502, "<html>Bad Gateway</html>", **HTML), None, "stale"),
    (error(301, ""), None, "stale"),
    (Response(200, {"x-consul-index": "11"}, b'[{"name": '), None, "stale"),
    (Response(200, {"x-consul-index": "11"}, b"<html>not consul</html>"), None, "stale"),
    (Response(204, {}, b""), None, "stale"),
    (lost(), None, "stale"),
    (refused(), None, "stale"),
    (ValueError("the token function failed"), None, "stale"),
]
ODD_STATUSES = (400, 402, 405, 406, 407, 409, 410, 411, 412, 413, 414, 415, 417, 418, 421, 422, 423, 425, 426, 428, 431)
ODD = [
    error(404, "default backend - 404"),
    error(404, ""),
    error(404, "404 page not found"),
    error(404, "<html>404</html>", **HTML),
    error(400, "bad request"),
    error(405, "method not allowed"),
    error(499, ""),
    *(error(status, "the gateway reloads") for status in ODD_STATUSES),
]
assert len(FINAL) + len(WAITED_FOR) + len(ODD) >= 60


def ids(answers: list[Any]) -> list[str]:
    found = [each[0] if isinstance(each, tuple) else each for each in answers]
    return [
        f"{number}-{each.status}" if isinstance(each, Response) else f"{number}-{type(each).__name__}"
        for number, each in enumerate(found)
    ]


@pytest.mark.parametrize("answer", FINAL, ids=ids(FINAL))
async def test_w17_consuls_verdict_on_the_request_ends_a_watch_without_data_and_no_other(answer: Response) -> None:
    async with World(a="1") as world:
        world.consul.fault = always(answer)
        async with world.query().watch() as watch:
            first: Told = Told(watch.changes(), world.clock)
            await world.clock.advance(0.5)
            assert isinstance(first.error, ConsulError)
            with pytest.raises(type(first.error)):
                await watch.ready()
        world.consul.fault = None
        async with world.query("/v1/other").watch() as watch:
            await goes_on_after(world, watch, answer, "stale")


@pytest.mark.parametrize(("answer", "first", "later"), WAITED_FOR, ids=ids(WAITED_FOR))
async def test_w17_each_other_answer_is_a_state_that_passes(answer: Answer, first: str | None, later: str) -> None:
    if first_too(answer):
        async with World(a="1") as world, world.query().watch() as watch:
            world.consul.fault = always(answer)
            told: Told = Told(watch.changes(), world.clock)
            await world.clock.advance(3)
            assert told.error is None
            assert state(watch) == first or first is None
            assert watch.status.error
            world.consul.fault = None
            await world.clock.advance(181)
            assert state(watch) == "synced"
            assert len(told.got) == 1
    async with World(a="1") as world, world.query().watch() as watch:
        await goes_on_after(world, watch, answer, later)


def first_too(answer: Answer) -> bool:
    """Whether it is nobody's final word as a first answer; a denial has a test of its own, and 501 is Consul's."""
    return not (isinstance(answer, Response) and (answer.status == 501 or answer.body == b"Permission denied"))


@pytest.mark.parametrize("answer", ODD, ids=ids(ODD))
async def test_w17_gateway_answer_at_first_or_later_ends_no_watch(answer: Response) -> None:
    async with World(a="1") as world:
        world.consul.fault = always(answer)
        async with world.query().watch() as watch, world.query("/v1/absent", spec=ABSENT).watch() as other:
            told = [Told(watch.changes(), world.clock), Told(other.changes(), world.clock)]
            await world.clock.advance(1.5)
            assert [(one.error, one.got) for one in told] == [(None, []), (None, [])]
            world.consul.fault = None
            await world.clock.advance(2.5)
            assert (state(watch), state(other)) == ("synced", "synced")
            await goes_on_after(world, watch, answer, "stale", failures=2)
            assert state(other) == "synced"
            assert removed(told[1]) == 0


async def goes_on_after(world: World, watch: Any, answer: Answer, expected: str, failures: int = 0) -> None:
    """A watch with data meets this answer for 1.5 s: it is in that state, keeps its data, and finds the next."""
    told: Told = Told(watch.changes(), world.clock)
    await world.clock.advance(1)
    before = watch.current
    world.consul.fault = always(answer)
    world.consul.wake()
    await world.clock.advance(0.001)
    status = watch.status
    assert status.state == expected, status
    assert status.error
    assert status.retry_in is not None
    low, high = {"denied": (0.5, 1.01), "throttled": (60, 180), "stale": (0.0, 0.5 * 2**failures)}[expected]
    assert low - 0.001 <= status.retry_in <= high + 0.001
    assert watch.current == before
    await world.clock.advance(1.5)
    assert told.error is None
    assert (len(told.got), removed(told)) == (1, 0)
    world.consul.fault = None
    world.consul.set(a="2")
    await world.clock.advance(181 if expected == "throttled" else 4.1)  # what may be left of the fourth pause
    assert state(watch) == "synced"
    assert watch.status.error == ""
    assert watch.current == (Thing("a", "2"),)
    assert len(told.got) == 2
    world.consul.body = things(a="1")


@pytest.mark.parametrize("answer", ODD[:7], ids=ids(ODD[:7]))
async def test_w19_no_answer_of_a_gateway_means_that_something_is_absent(answer: Response) -> None:
    """Config entries and services can be absent in Consul's own words alone; also a plain read says so."""
    async with World() as world:
        config = Config(world.consul, world.polls, Options())
        agent = Agent(world.consul, world.polls, Options())
        entry = json.dumps({"Kind": "service-defaults", "Name": "web", "Protocol": "http"}).encode()
        service = json.dumps({"ID": "web", "Service": "web", "Port": 80, "ContentHash": "aa"}).encode()

        async def whole(call: Call) -> Answer | None:
            if "/config/" in call.path:
                answer = await world.consul.respond(call)
                return Response(200, answer.headers, entry)
            if call.polled:
                await world.clock.sleep(call.wait)
            return Response(200, {"x-consul-contenthash": "aa"}, service)

        world.consul.fault = whole
        async with (
            config.read("service-defaults", "web").watch() as read,
            agent.service("web").watch() as local,
        ):
            told = [Told(read.changes(), world.clock), Told(local.changes(), world.clock)]
            await world.clock.advance(1)
            assert [len(one.got) for one in told] == [1, 1]
            world.consul.fault = always(answer)
            world.consul.end_polls(answer)
            await world.clock.advance(1.5)
            for plain in (config.read("service-defaults", "web"), agent.service("web")):
                with pytest.raises(ConsulError):
                    await plain
            world.consul.fault = whole
            await world.clock.advance(60)
            assert [(one.error, removed(one)) for one in told] == [(None, 0), (None, 0)]
            assert read.current is not None
            assert local.current is not None
            assert {read.status.state, local.status.state} == {"synced"}


async def test_w17_watch_of_an_absent_config_entry_delivers_an_empty_value() -> None:
    async with World() as world, world.query(spec=ABSENT).watch() as watch:
        world.consul.put(b'Config entry not found for "service-intentions" / "db"', status=404)
        told = Told(watch.snapshots(), world.clock)
        await world.clock.advance(1)
        assert state(watch) == "absent"
        assert world.consul.calls[-1].polled
        world.consul.set(db="1")
        await world.clock.advance(1)
        assert state(watch) == "synced"
        assert values(told) == [{}, {"db": "1"}]


async def test_w17_two_denials_a_second_apart_end_a_watch_without_data_and_later_none_does() -> None:
    async with World(a="1") as world:
        world.consul.fault = always(error(403, "Permission denied"))
        async with world.query().watch() as watch:
            told: Told = Told(watch.changes(), world.clock)
            await world.clock.advance(0.9)
            assert [told.error] == [None]
            await world.clock.advance(2)
            assert isinstance(told.error, PermissionDenied)
            assert len(world.consul.calls) == 2
            with pytest.raises(PermissionDenied):
                await watch.ready()
        world.consul.fault = None
        async with world.query().watch() as watch:
            await watch.ready()
            world.consul.fault = always(error(403, "Permission denied"))
            world.consul.wake()
            await world.clock.advance(1000)
            times = [call.time for call in world.consul.reads[2:]]
            delays = [round(later - earlier) for earlier, later in itertools.pairwise(times)]
            first = delays.index(1)
            assert delays[first : first + 7] == [1, 2, 4, 8, 16, 32, 60]
            assert state(watch) == "denied"


async def test_w17_one_denial_of_a_server_that_starts_ends_nothing() -> None:
    async with World(a="1") as world:
        denials = iter([error(403, "Permission denied")])
        world.consul.fault = lambda call: nothing_or(denials)
        async with world.query().watch() as watch:
            await world.clock.advance(2)
            assert state(watch) == "synced"


async def nothing_or(answers: Any) -> Answer | None:
    found: Answer | None = next(answers, None)
    return found


@pytest.mark.parametrize("text", ["ACL not found", BOOTSTRAP, "rpc error making call: ACL not found"])
@pytest.mark.parametrize("first", [True, False], ids=["first", "later"])
async def test_w17_a_token_that_is_not_known_yet_is_waited_for(text: str, first: bool) -> None:
    async with World(a="1") as world, world.query().watch() as watch:
        told = Told(watch.changes(), world.clock)
        if not first:
            await world.clock.advance(5)
        world.consul.fault = always(error(403, text))
        world.consul.wake()
        await world.clock.advance(3)
        assert state(watch) == "denied"
        world.consul.fault = None
        world.consul.set(a="2")
        await world.clock.advance(2)
        assert told.error is None
        assert state(watch) == "synced"
        assert watch.current == (Thing("a", "2"),)


VAULT = [
    "1 error occurred:\n\t* permission denied\n\n",
    'error configuring CA provider: unsupported path "pki"',
    "Post https://vault:8200/v1/pki/sign: x509: cannot validate certificate for 10.0.0.7 because it has no SANs",
]


def leaf(after: str = "2026-11-22T16:05:52Z", serial: str = "09") -> bytes:
    fields = {
        "SerialNumber": serial,
        "CertPEM": f"-----BEGIN CERTIFICATE-----\n{serial}\n-----END CERTIFICATE-----\n",
        "PrivateKeyPEM": f"-----BEGIN EC PRIVATE KEY-----\n{serial}\n-----END EC PRIVATE KEY-----\n",
        "Service": "web",
        "ServiceURI": "spiffe://x.consul/ns/default/dc/dc1/svc/web",
        "ValidAfter": after,
        "ValidBefore": "2026-11-26T00:05:52Z",
    }
    return json.dumps(fields).encode()


@pytest.mark.parametrize("text", VAULT, ids=["permission", "path", "certificate"])
async def test_w17_a_vault_that_refuses_at_the_start_is_waited_for(text: str) -> None:
    async with World() as world:
        world.consul.put(leaf())
        world.consul.fault = always(error(500, text))
        agent = Agent(world.consul, world.polls, Options())
        async with agent.leaf("web").watch() as watch:
            told: Told = Told(watch.changes(), world.clock)
            await world.clock.advance(20)
            assert told.error is None
            assert watch.status.error
            world.consul.fault = None
            await world.clock.advance(31)
            assert watch.status.state == "synced"
            assert watch.current.serial_number == "09"
        with contextlib.suppress(ConsulError):
            await agent.leaf("web")


async def test_w17_names_that_are_absent_in_consuls_words_are_so_for_all_kinds_of_watches() -> None:
    async with World() as world:
        config = Config(world.consul, world.polls, Options())
        agent = Agent(world.consul, world.polls, Options())
        words = {
            "config": error(404, 'Config entry not found for "service-defaults" / "web"', **{"x-consul-index": "12"}),
            "agent": error(404, "unknown service ID: web"),
        }
        world.consul.fault = lambda call: absent(world, call, words)
        assert await config.read("service-defaults", "web") is None
        assert await agent.service("web") is None
        async with config.read("service-defaults", "web").watch() as read, agent.service("web").watch() as local:
            await world.clock.advance(10)
            assert (read.current, local.current) == (None, None)
            assert {read.status.state, local.status.state} <= {"absent", "polling"}


async def absent(world: World, call: Call, words: dict[str, Response]) -> Answer | None:
    if call.polled:
        await world.clock.sleep(call.wait)
    return words["config" if "/config/" in call.path else "agent"]


async def test_w17_a_malformed_filter_ends_the_watch_of_a_real_endpoint_at_once() -> None:
    async with World() as world:
        world.consul.fault = always(error(500, EXPRESSION))
        intentions = Intentions(world.consul, world.polls, Options())
        async with intentions.list(filter="SourceName ==").watch() as watch:
            told: Told = Told(watch.changes(), world.clock)
            await world.clock.advance(0.1)
            assert isinstance(told.error, ConsulError)
