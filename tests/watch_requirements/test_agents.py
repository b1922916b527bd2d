"""W15 of the agents: one asks, all hear."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from support.fakes import Answer, Call, FakeClock, FakeConsul, World, error, idle, lost, refused, understood

from aioconsulconnect.errors import ConsulError, NoLeader, RequestTimeout
from aioconsulconnect.own_loop import OwnLoop
from aioconsulconnect.watch.address_health import AddressHealth
from aioconsulconnect.watch.poller_resources import PollerResources
from aioconsulconnect.watch.protocol.poll_settings import PollSettings

ONE = "http://one"
ROUND = 38.0  # more than a probe's interval and a quarter of it


class Ear:
    """A poll that writes down what it hears; what it is asked to refresh is done at once."""

    def __init__(self, resources: PollerResources) -> None:
        self.asked = ONE
        self.heard: list[tuple[str, ConsulError | None]] = []
        self.refreshed = 0
        self._resources = resources

    def hear(self, address: str, trouble: ConsulError | None) -> None:
        self.heard.append((address, trouble))

    def refresh(self) -> asyncio.Task[ConsulError | None]:
        self.refreshed += 1

        async def done() -> ConsulError | None:
            return None

        return self._resources.spawn(done(), "refresh")

    @property
    def kinds(self) -> list[str]:
        return [type(trouble).__name__ for _, trouble in self.heard]


class Agents:
    """Health over a fake Consul."""

    def __init__(self, settings: PollSettings | None = None) -> None:
        self.clock = FakeClock()
        self.consul = FakeConsul(self.clock)
        self.resources = PollerResources(
            self.consul,
            settings=settings or PollSettings(),
            clock=self.clock,
            random=lambda: 0.5,
            on_event=None,
            own_loop=OwnLoop(),
        )
        self.health = AddressHealth(self.resources)

    def ears(self, *datacenters: str) -> list[Ear]:
        ears = [Ear(self.resources) for _ in datacenters]
        for ear, datacenter in zip(ears, datacenters, strict=True):
            self.health.join(ear, datacenter)
        return ears

    def fails(self, needs_leader: bool = True) -> bool:
        return self.health.trouble(ONE, needs_leader=needs_leader) is not None

    def say(self, answer: Answer | None, datacenter: str = "") -> None:
        """Answer the question so, for that datacenter."""

        async def fault(call: Call) -> Answer | None:
            return answer if call.parameters.get("dc", "") == datacenter else None

        self.consul.question_fault = fault


@pytest.fixture
async def agents() -> AsyncIterator[Agents]:
    agents = Agents()
    yield agents
    await agents.resources.cancel_all()


async def test_w15_trouble_that_one_poll_meets_is_told_to_all(agents: Agents) -> None:
    ears = agents.ears("", "", "")
    agents.consul.down = trouble = refused()
    agents.consul.addresses = (ONE, "http://two")
    agents.health.learn(ONE, trouble, polled=True)
    assert [ear.heard for ear in ears] == [[(ONE, trouble)]] * 3
    assert agents.health.trouble(ONE, needs_leader=False) is trouble
    assert agents.health.trouble("http://two", needs_leader=True) is None
    assert agents.consul.addresses == ("http://two", ONE)


async def test_w15_an_agent_in_trouble_is_asked_by_one_until_it_is_well(agents: Agents) -> None:
    ears = agents.ears("", "")
    agents.consul.down = trouble = refused()
    for _ in range(100):
        agents.health.learn(ONE, trouble, polled=False)
    await idle()
    assert len(agents.consul.questions) == 1
    await agents.clock.advance(10)
    assert 10 <= len(agents.consul.questions) <= 50
    agents.consul.down = None
    await agents.clock.advance(0.6)
    assert not agents.fails()
    assert [ear.kinds for ear in ears] == [["ConnectionFailed", "NoneType"]] * 2
    asked = len(agents.consul.questions)
    await agents.clock.advance(10)
    assert len(agents.consul.questions) == asked


@pytest.mark.parametrize("error", [lost(), RequestTimeout("late"), NoLeader("none")])
async def test_w15_agent_failure_met_by_one_request_is_probed_before_it_is_told(
    agents: Agents, error: ConsulError
) -> None:
    (ear,) = agents.ears("")
    for _ in range(100):
        agents.health.learn(ONE, error, polled=False)
    assert not agents.fails()
    await idle()
    assert len(agents.consul.questions) == 1
    assert ear.heard == []
    await agents.clock.advance(1)
    agents.consul.down = lost()
    agents.health.learn(ONE, error, polled=False)
    await idle()
    assert ear.kinds == ["ConnectionFailed"]


@pytest.mark.parametrize("error", [lost(), RequestTimeout("late"), NoLeader("none")])
async def test_w15_a_poll_that_breaks_says_nothing_of_its_agent(agents: Agents, error: ConsulError) -> None:
    agents.ears("")
    agents.health.learn(ONE, error, polled=True)
    await idle()
    assert agents.consul.questions == []


@pytest.mark.parametrize("answer", [(200, "[]"), (403, "Permission denied"), (500, "invalid in some way")])
async def test_w15_an_agent_that_answers_is_not_suspected(agents: Agents, answer: tuple[int, str]) -> None:
    (ear,) = agents.ears("")
    agents.health.learn(ONE, understood(error(*answer)), polled=False)
    await idle()
    assert (agents.consul.questions, ear.heard) == ([], [])


async def test_w15_a_lost_leader_troubles_only_who_needs_one(agents: Agents) -> None:
    (ear,) = agents.ears("")
    agents.consul.leader = ""
    await agents.clock.advance(ROUND)
    assert ear.kinds == ["NoLeader"]
    assert (agents.fails(needs_leader=True), agents.fails(needs_leader=False)) == (True, False)
    agents.consul.leader = "10.0.0.2:8300"
    await agents.clock.advance(1)
    assert ear.kinds == ["NoLeader", "NoneType"]


async def test_w15_another_leader_is_told_and_the_first_is_not(agents: Agents) -> None:
    ears = agents.ears("", "")
    await agents.clock.advance(3 * ROUND)
    assert [ear.heard for ear in ears] == [[], []]
    agents.consul.leader = "10.0.0.2:8300"
    await agents.clock.advance(3 * ROUND)
    assert [ear.heard for ear in ears] == [[(ONE, None)]] * 2


async def test_w15_a_round_finds_a_frozen_agent(agents: Agents) -> None:
    (ear,) = agents.ears("")
    agents.consul.frozen = True
    await agents.clock.advance(32)  # a round after 26.25 s, and 5 s of silence
    assert ear.kinds == ["RequestTimeout"]
    agents.consul.frozen = False
    await agents.clock.advance(11)
    assert ear.kinds == ["RequestTimeout", "NoneType"]


async def test_w15_probe_answered_404_by_a_gateway_has_one_watch_read_instead(agents: Agents) -> None:
    first, second = agents.ears("", "")
    agents.say(error(404, "no such page"))
    await agents.clock.advance(ROUND)
    assert (first.refreshed, second.refreshed) == (1, 0)
    assert (first.heard, agents.fails()) == ([], False)


async def test_w15_each_datacenter_is_asked_once_in_a_round(agents: Agents) -> None:
    agents.ears("", "east", "east", "")
    await agents.clock.advance(ROUND)
    assert [call.parameters.get("dc") for call in agents.consul.questions] == [None, "east"]


async def test_w15_each_agent_in_use_is_asked(agents: Agents) -> None:
    """Not only the first of the list: a poll under way may be at another."""
    agents.consul.addresses = (ONE, "http://two")
    agents.ears("", "")[1].asked = "http://two"
    await agents.clock.advance(ROUND)
    assert {call.address for call in agents.consul.questions} == {ONE, "http://two"}


async def test_w15_agents_are_asked_while_there_is_a_poll(agents: Agents) -> None:
    (ear,) = agents.ears("")
    agents.health.leave(ear)
    await agents.clock.advance(5 * ROUND)
    assert agents.consul.questions == []
    agents.ears("")
    await agents.clock.advance(ROUND)
    assert len(agents.consul.questions) == 1


async def test_w15_rounds_can_be_switched_off() -> None:
    agents = Agents(PollSettings(probe_interval=0))
    agents.ears("")
    await agents.clock.advance(1000)
    assert agents.consul.questions == []
    await agents.resources.cancel_all()


async def test_w15_trouble_is_forgotten_where_nobody_asks_any_more(agents: Agents) -> None:
    (ear,) = agents.ears("")
    agents.consul.down = refused()
    agents.health.learn(ONE, agents.consul.down, polled=True)
    agents.health.leave(ear)
    await agents.clock.advance(6)
    assert not agents.fails()


async def test_w15_trouble_that_is_met_without_a_poll_does_not_stop_the_next_one(agents: Agents) -> None:
    agents.health.learn(ONE, refused(), polled=False)  # it came after the last poll had left
    agents.ears("")
    await agents.clock.advance(10)
    assert not agents.fails()


async def test_w15_rounds_survive_a_poll_that_leaves_during_a_question(agents: Agents) -> None:
    (ear,) = agents.ears("")

    async def leave(call: Call) -> Answer | None:
        agents.health.leave(ear)
        return error(404, "no such page")

    agents.consul.question_fault = leave
    await agents.clock.advance(ROUND)
    agents.consul.question_fault = None
    agents.ears("")
    await agents.clock.advance(2 * ROUND)
    assert len(agents.consul.questions) >= 2


@pytest.mark.parametrize("datacenters", [("", "far"), ("far", "")], ids=["after", "before"])
async def test_w15_a_datacenter_that_cannot_be_reached_is_no_trouble_for_another(
    agents: Agents, datacenters: tuple[str, str]
) -> None:
    near = agents.ears(*datacenters)[datacenters.index("")]
    agents.say(error(500, "No path to datacenter"), "far")
    await agents.clock.advance(ROUND)
    assert len(agents.consul.questions) >= 2
    assert near.heard == []


@pytest.mark.parametrize("back", [ONE, "http://two"])
async def test_w15_the_first_agent_that_is_back_serves(back: str) -> None:
    """Whichever was asked last: all are down, and one of them comes back."""
    async with World(a="1") as world, world.query().watch() as watch:
        world.consul.addresses = (ONE, "http://two")
        await watch.ready(1)
        down = {ONE, "http://two"}

        async def fault(call: Call) -> Answer | None:
            return refused() if call.address in down else None

        world.consul.fault = world.consul.question_fault = fault
        world.consul.wake()
        await world.clock.advance(20)
        assert watch.status.state == "stale"
        down.discard(back)
        world.consul.set(a="2")
        await world.clock.advance(2)
        assert (watch.status.state, watch.current[0].value) == ("synced", "2")
