"""
Mode `envoy` against a real Envoy, with rules that the tests make of random intentions as Consul does.

JSON Web Tokens are left out, and a peer's requests, which only a mesh gateway can forward.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from support import envoy_process
from support.authorization_oracle import Call
from support.envoy_callers import App, Connection
from support.envoy_comparison import Tally
from support.envoy_config import LISTENER, http_chain, static_config, tcp_chain
from support.envoy_identities import Authority, uri_of
from support.envoy_process import Envoy
from support.envoy_rbac import Domains, rbac
from support.envoy_sets import CALLERS, OddMaker

from aioconsulconnect.authorization.rules.request import HTTPRequest
from aioconsulconnect.authorization.rules.settings import DecisionSettings, Mode
from aioconsulconnect.authorization.rules.source import Peer
from aioconsulconnect.authorization.rules.verdict import Reason, Verdict
from aioconsulconnect.authorization.table import Table
from aioconsulconnect.structs.intentions import Action

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

HOME, EAST = "aaaa.consul", "bbbb.consul"
SETS, CALLERS_OF_A_SET, REQUESTS_OF_A_CALLER = 150, 8, 16
DESTINATION = "db"
LOG = logging.getLogger(__name__)
ODD_IDENTITIES = (
    (uri_of("cccc.consul", "web"),),
    (f"spiffe://{HOME}/gateway/mesh/dc/dc1",),
    (uri_of(HOME, "web"), uri_of(HOME, "api")),
    (uri_of(HOME, "web", namespace="team"),),
)


@pytest.fixture(scope="module", autouse=True)
def _envoy_is_there() -> None:
    envoy_process.binary()


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


class Caller(NamedTuple):
    """Who calls, by the URIs of its certificate."""

    uris: tuple[str, ...]
    is_peer: bool = False
    name: str = ""


class World:
    """One random set of intentions with its settings, its callers and its tables."""

    def __init__(self, seed: int) -> None:
        self.name = f"set{seed}"
        self.maker = OddMaker(seed)
        self.default: Action = self.maker.random.choice(("allow", "deny"))
        self.normalization = self.maker.normalization()
        self.intentions = self.maker.intentions()
        self.callers = list(dict.fromkeys(self._caller() for _ in range(CALLERS_OF_A_SET)))
        self.one = {mode: self._table(mode, (DESTINATION,)) for mode in ("consul", "envoy")}
        self.all = self._table("envoy", None)

    def _table(self, mode: Mode, destinations: tuple[str, ...] | None) -> Table:
        settings = DecisionSettings(
            default=self.default,
            mode=mode,
            trust_domain=HOME,
            peers=(Peer(name="east", trust_domain=EAST),),
            enterprise=self.maker.has_tenancy,
            normalization=self.normalization,
        )
        return Table.build(self.intentions, settings, destinations=destinations)

    def _caller(self) -> Caller:
        pick, chance = self.maker.random.choice, self.maker.random.random
        if chance() < 0.03:
            return Caller(pick(ODD_IDENTITIES))
        named = [one.source_name for one in self.intentions if one.source_name not in {"*", "w%20x"}]
        name = pick(named) if named and chance() < 0.5 else pick(CALLERS)
        if chance() < 0.15:
            return Caller((uri_of(EAST, name),), is_peer=True, name=name)
        namespace = pick(("default", "default", "team")) if self.maker.has_tenancy else "default"
        partition = pick(("", "", "blue")) if self.maker.has_tenancy else ""
        where = uri_of(HOME, name, namespace=namespace, partition=partition, datacenter=pick(("dc1", "dc2")))
        return Caller((where,), name=name)

    def calls(self, caller: Caller) -> Iterator[Call]:
        """Requests, aimed at what may be about the caller."""
        near = [one for one in self.intentions if one.source_name in {"*", caller.name}]
        return self.maker.calls(REQUESTS_OF_A_CALLER, near)

    def verdict(self, caller: Caller, request: HTTPRequest | None = None) -> Verdict:
        """What the tables say, which must be the same."""
        uris = caller.uris
        source = uris[0] if len(uris) == 1 else uris
        verdict = self.one["envoy"].check(source, request=request)
        assert verdict == self.all.check(source, DESTINATION.upper(), request), (self.intentions, uris, request)
        return verdict

    def rules(self, *, http: bool) -> dict[str, object]:
        return rbac(self.intentions, self.default, DESTINATION, Domains(HOME, {"east": EAST}), http=http)

    def about(self, caller: Caller) -> object:
        return self.name, caller, self.default, self.normalization, self.intentions


async def compare_requests(world: World, port: int, authority: Authority, tally: Tally, other: Tally) -> int:
    """Each caller has a connection of its own. Returns how often they dialled."""
    dials = 0
    for caller in world.callers:
        if caller.is_peer:
            continue
        connection = Connection(port, authority.context(*caller.uris), f"{world.name}.http")
        async with connection:
            for call in world.calls(caller):
                outcome = await connection.request(call)
                request = HTTPRequest(*call)
                tally.request(world.verdict(caller, request), outcome, (call, world.about(caller)))
                other.request(world.one["consul"].check(caller.uris, request=request), outcome, None)
        dials += connection.dials
    return dials


async def compare_connections(world: World, port: int, authority: Authority, tally: Tally, other: Tally) -> int:
    for caller in world.callers:
        async with Connection(port, authority.context(*caller.uris), f"{world.name}.tcp") as connection:
            served = await connection.is_served()
        tally.connection(world.verdict(caller), world.about(caller), served=served)
        other.connection(world.one["consul"].check(caller.uris), None, served=served)
    return len(world.callers)


async def run(worlds: list[World], authority: Authority, folder: Path) -> dict[str, Tally]:
    """Hold the tables of all sets against one Envoy."""
    tallies = {name: Tally() for name in ("requests", "connections", "requests by consul", "connections by consul")}
    chains = []
    for world in worlds:
        chains.append(http_chain(f"{world.name}.http", world.rules(http=True), authority, world.normalization))
        chains.append(tcp_chain(f"{world.name}.tcp", world.rules(http=False), authority))
    at_once = asyncio.Semaphore(8)
    async with App() as app, Envoy(static_config(chains, app.port), folder) as envoy:
        port = envoy.ports[LISTENER]

        async def compare(world: World) -> int:
            async with at_once:
                requests = await compare_requests(
                    world, port, authority, tallies["requests"], tallies["requests by consul"]
                )
                return requests + await compare_connections(
                    world, port, authority, tallies["connections"], tallies["connections by consul"]
                )

        dials = sum(await asyncio.gather(*map(compare, worlds)))
        counters = await asyncio.to_thread(envoy.counters)
    # A connection that was closed for another reason than a rule would look like a denial.
    errors = {name: n for name, n in counters.items() if "ssl.connection_error" in name or "ssl.fail_verify" in name}
    assert not errors
    assert sum(n for name, n in counters.items() if name.endswith("ssl.handshake")) == dials
    assert counters["tcp.rbac.denied"] == tallies["connections"].decisions - tallies["connections"].allowed
    for name, tally in tallies.items():
        LOG.info("Envoy %s, %s: %s", envoy_process.version(), name, tally)
    return tallies


async def test_decisions_about_random_intentions_are_those_of_envoy(authority: Authority, tmp_path: Path) -> None:
    tallies = await run([World(seed) for seed in range(SETS)], authority, tmp_path)
    requests, connections = tallies["requests"], tallies["connections"]
    assert not requests.differences, (str(requests), requests.differences[:5])
    assert not connections.differences, (str(connections), connections.differences[:5])
    # It proves nothing unless there is something to tell apart.
    assert requests.decisions + connections.decisions > 10_000
    for tally in (requests, connections):
        assert 0.25 < tally.allowed / tally.decisions < 0.75, str(tally)
        assert tally.unsure < 0.08, str(tally)
    assert {Reason.PERMISSION, Reason.NO_PERMISSION, Reason.INTENTION, Reason.DEFAULT} <= set(requests.reasons)
    assert {Reason.REQUEST_REFUSED, Reason.REQUEST_REDIRECTED, Reason.VERSIONS_DIFFER} <= set(requests.unruled)
    assert {Reason.HEADER_UNKNOWN, Reason.REGEX_UNKNOWN, Reason.FOREIGN_TRUST_DOMAIN} <= set(requests.unruled)
    assert tallies["requests by consul"].differences, "the modes differ nowhere, so either would have passed"
    assert tallies["connections by consul"].differences, "the modes differ nowhere, so either would have passed"
