"""
Both modes against a real Consul: the verdicts of the Envoy that it configures, and those of its agent.

The table is built of what the agent answers. JSON Web Tokens are left out.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec.structs import replace
from support import envoy_process
from support.agents import Binary, Launcher, RealAgent, free_ports
from support.authorization import allow, intent
from support.authorization_oracle import Call
from support.envoy_comparison import Tally
from support.envoy_mesh import Sidecar, normalization_entry
from support.envoy_sets import CALLERS, OddMaker

from aioconsulconnect.authorization.rules.request import HTTPRequest
from aioconsulconnect.authorization.rules.settings import DecisionSettings, Mode
from aioconsulconnect.authorization.rules.verdict import Reason
from aioconsulconnect.authorization.table import Table
from aioconsulconnect.client import Consul
from aioconsulconnect.structs.config_entries.defaults import RequestNormalization
from aioconsulconnect.structs.intentions import Action, HeaderPermission, Intention

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

SETS, CALLERS_OF_A_SET, REQUESTS_OF_A_CALLER = 20, 6, 10
OLDEST = (1, 10)  # before that Consul speaks a protocol that Envoy no longer does
NORMALIZES = (1, 20)  # from 1.20.1 on a sidecar normalizes paths, and headers can be compared without case
HAS_SETTING = (1, 18)  # default_intention_policy
PEERS = (1, 13)
ODDER = RequestNormalization(
    merge_slashes=True,
    path_with_escaped_slashes_action="UNESCAPE_AND_FORWARD",
    headers_with_underscores_action="DROP_HEADER",
)
UNCHANGED = RequestNormalization(insecure_disable_path_normalization=True)
# Here a sidecar applies both intentions, and the agent only the first; and here a name is a pattern to a sidecar alone.
DISPUTED = (
    [intent("*", "cache", "deny"), intent("web", "*", "allow")],
    [intent("*", "cache", "allow"), intent("web", "*", "deny")],
    [intent("a.b", "cache", "allow"), intent("a+b", "cache", "allow")],
    [intent("a.b", "cache", "deny"), intent("w x", "cache", "deny")],
)
LOG = logging.getLogger(__name__)


@pytest.fixture(scope="module", autouse=True)
def _envoy_is_there() -> None:
    envoy_process.binary()


@pytest.fixture
def binary(real_binary: Binary) -> Binary:
    if real_binary.version < OLDEST:
        pytest.skip(f"Consul {real_binary} cannot configure a current Envoy")
    return real_binary


class ConsulMaker(OddMaker):
    """What this version of Consul takes."""

    def __init__(self, seed: int, binary: Binary, default: Action) -> None:
        super().__init__(seed)
        self.has_tenancy = False
        self._default = default
        self._version = binary.version

    def for_destination(self, name: str, *, http: bool) -> list[Intention]:
        """Intentions for one service and for all."""
        found: dict[object, Intention] = {}
        for one in self.intentions():
            made = one if one.destination_name == "*" else replace(one, destination_name=name)
            if made.permissions and not http:  # refused for a service whose protocol is tcp
                made = replace(made, permissions=(), action=self._action())
            if made.source_peer and self._version < PEERS:
                made = replace(made, source_peer="")
            found[made.key] = made
        return list(found.values())

    def _action(self) -> Action:
        """More often than not the one that is not the default, which alone makes a rule for Envoy."""
        if self.random.random() < 0.4:
            return self._default
        return "deny" if self._default == "allow" else "allow"

    def callers(self, intentions: list[Intention]) -> list[str]:
        """Those that intentions name, and others."""
        named = sorted({one.source_name for one in intentions if one.source_name in CALLERS})
        others = [name for name in CALLERS if name not in named]
        named = self.random.sample(named, min(len(named), CALLERS_OF_A_SET - 2))
        return named + self.random.sample(others, CALLERS_OF_A_SET - len(named))

    def _header(self) -> HeaderPermission:
        header = super()._header()
        if self._version < NORMALIZES:
            return replace(header, ignore_case=False, contains="", suffix=header.suffix or header.contains)
        return header


class Rig:
    """One agent, what is asked of it, and the counts."""

    def __init__(self, agent: RealAgent, consul: Consul, default: Action, normalization: RequestNormalization) -> None:
        self.agent = agent
        self.consul = consul
        self.default = default
        self.normalization = normalization
        self.tallies = {name: Tally() for name in ("requests", "connections", "authorize")}
        self.disagreements = 0

    async def table(self, name: str, mode: Mode) -> Table:
        """Of what the agent says about a destination."""
        settings = DecisionSettings(
            default=self.default,
            mode=mode,
            trust_domain=(await self.consul.ca.roots()).trust_domain,
            normalization=self.normalization,
        )
        return Table.build(await self.consul.intentions.match(destination=name), settings, destinations=(name,))

    async def compare(self, sidecar: Sidecar, maker: ConsulMaker, intentions: list[Intention], *, http: bool) -> None:
        """Decide about some callers in Envoy, in the agent, and in the tables of both modes."""
        await sidecar.apply(intentions)
        enforced, documented = (await self.table(sidecar.name, "envoy"), await self.table(sidecar.name, "consul"))
        for name in maker.callers(intentions):
            uri = (await sidecar.leaf(name)).uri
            about = name, self.default, intentions
            said = await self.consul.agent.authorize(sidecar.name, uri)
            self.tallies["authorize"].connection(documented.check(uri), about, served=said.authorized)
            async with await sidecar.dial(name) as connection:
                if not http:
                    served = await connection.is_served()
                    self.tallies["connections"].connection(enforced.check(uri), about, served=served)
                    self.disagreements += served is not said.authorized
                    continue
                for call in maker.calls(REQUESTS_OF_A_CALLER, intentions):
                    outcome = await connection.request(call)
                    verdict = enforced.check(uri, request=HTTPRequest(*call))
                    self.tallies["requests"].request(verdict, outcome, (call, about))


async def started(own_agent: Launcher, default: Action) -> RealAgent:
    """An agent to which proxies may speak, with a setting for the default, or with ACLs where there is none."""
    config: dict[str, object] = {"ports": {"grpc": free_ports().http}}
    if own_agent.binary.version >= HAS_SETTING:
        return await own_agent(config=config | {"default_intention_policy": default})
    return await own_agent(acl=default == "deny", config=config)


@pytest.mark.parametrize("default", ["allow", "deny"])
async def test_decisions_are_those_of_the_envoy_and_of_the_agent(
    binary: Binary, own_agent: Launcher, default: Action, fresh_directory: Callable[[], Path]
) -> None:
    agent = await started(own_agent, default)
    normalization = UNCHANGED
    if binary.version >= NORMALIZES:
        normalization = ODDER if default == "deny" else RequestNormalization()
        await agent.acall("PUT", "/v1/config", normalization_entry(normalization))
    async with (
        Consul(agent.url, token=agent.token) as consul,
        Sidecar(agent, "db", "http", default, fresh_directory()) as db,
        Sidecar(agent, "cache", "tcp", default, fresh_directory()) as cache,
    ):
        rig = Rig(agent, consul, default, normalization)
        maker = ConsulMaker(0, binary, default)
        for seed in range(SETS):
            maker = ConsulMaker(seed, binary, default)
            for sidecar in (db, cache):
                http = sidecar is db
                await rig.compare(sidecar, maker, maker.for_destination(sidecar.name, http=http), http=http)
        for intentions in DISPUTED:
            await rig.compare(cache, maker, intentions, http=False)
    version = envoy_process.version()
    for name, tally in rig.tallies.items():
        LOG.info("Consul %s, Envoy %s, default %s, %s: %s", binary, version, default, name, tally)
    LOG.info("Envoy and agent disagree about %s connections", rig.disagreements)
    for tally in rig.tallies.values():
        assert not tally.differences, (str(tally), tally.differences[:3])
        assert 0.2 < tally.allowed / tally.decisions < 0.8, str(tally)
        assert tally.unsure < 0.1, str(tally)
    assert sum(tally.decisions for tally in rig.tallies.values()) > 1000
    assert rig.disagreements, "agent and Envoy agree, so one mode would do for both"


async def test_intention_for_a_peer_lets_no_local_service_in(
    binary: Binary, own_agent: Launcher, fresh_directory: Callable[[], Path]
) -> None:
    if binary.version < PEERS:
        pytest.skip(f"Consul {binary} knows no peers")
    agent = await started(own_agent, "deny")
    intentions = [intent("web", "db", "allow", source_peer="east"), intent("api", "db", "allow")]
    async with (
        Consul(agent.url, token=agent.token) as consul,
        Sidecar(agent, "db", "http", "deny", fresh_directory()) as db,
    ):
        await db.apply(intentions)
        rig = Rig(agent, consul, "deny", UNCHANGED if binary.version < NORMALIZES else RequestNormalization())
        for name, is_allowed in (("web", False), ("api", True)):
            uri = (await db.leaf(name)).uri
            async with await db.dial(name) as connection:
                outcome = await connection.request(Call("GET", "/", (("Host", "db"),)))
            assert outcome.status == (200 if is_allowed else 403)
            assert (await consul.agent.authorize("db", uri)).authorized is is_allowed
            modes: tuple[Mode, ...] = ("consul", "envoy")
            tables = await asyncio.gather(*(rig.table("db", mode) for mode in modes))
            assert [table.check(uri).allowed for table in tables] == [is_allowed] * 2


async def test_refused_rules_leave_envoy_with_those_it_had(
    binary: Binary, own_agent: Launcher, fresh_directory: Callable[[], Path]
) -> None:
    agent = await started(own_agent, "deny")
    async with (
        Consul(agent.url, token=agent.token) as consul,
        Sidecar(agent, "db", "http", "deny", fresh_directory()) as db,
    ):
        await db.apply([intent("web", "db", "allow")])
        await db.write([intent("web", "db", "deny"), intent("api", "db", (allow(path_regex="(?=a)"),))])
        async with asyncio.timeout(30):
            while not await db.refused():
                await asyncio.sleep(0.02)
        async with await db.dial("web") as connection:
            outcome = await connection.request(Call("GET", "/", (("Host", "db"),)))
        assert outcome.status == 200  # the denial has no effect
        rig = Rig(agent, consul, "deny", RequestNormalization())
        uri = (await db.leaf("web")).uri
        request = HTTPRequest("GET", "/")
        assert (await rig.table("db", "envoy")).check(uri, request=request).reason is Reason.RULES_REFUSED
        assert (await rig.table("db", "consul")).check(uri, request=request).reason is Reason.INTENTION
