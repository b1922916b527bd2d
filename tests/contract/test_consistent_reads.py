"""The consistent read that settles the doubts of a watch: each query can make one, on every agent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import aiohttp
import pytest
from support.agents_under_test import AgentUnderTest
from yarl import URL

from aioconsulconnect.client import Consul
from aioconsulconnect.watch.protocol.poll_settings import PollSettings
from aioconsulconnect.watch.query import Query

QUERIES: dict[str, Callable[[Consul], Query[Any, Any]]] = {
    "agent.roots": lambda consul: consul.agent.roots(),
    "agent.leaf": lambda consul: consul.agent.leaf("web"),
    "agent.service": lambda consul: consul.agent.service("nothing"),
    "ca.roots": lambda consul: consul.ca.roots(),
    "catalog.services": lambda consul: consul.catalog.services(),
    "catalog.nodes": lambda consul: consul.catalog.nodes(),
    "catalog.connect": lambda consul: consul.catalog.connect("web"),
    "catalog.gateway_services": lambda consul: consul.catalog.gateway_services("gateway"),
    "config.read": lambda consul: consul.config.read("service-defaults", "web"),
    "config.list": lambda consul: consul.config.list("service-defaults"),
    "discovery_chain": lambda consul: consul.discovery_chain("web"),
    "health.service": lambda consul: consul.health.service("web"),
    "health.connect": lambda consul: consul.health.connect("web"),
    "health.ingress": lambda consul: consul.health.ingress("web"),
    "intentions.list": lambda consul: consul.intentions.list(),
    "intentions.match": lambda consul: consul.intentions.match(destination="db"),
    "intentions.match_many": lambda consul: consul.intentions.match_many(destinations=("db", "cache")),
    "query": lambda consul: consul.query("/v1/catalog/services", dict[str, list[str]], key=lambda pair: pair[0]),
}
OF_THE_AGENT = {
    "agent.roots",
    "agent.leaf",
    "agent.service",
}  # answered by the agent itself: no read of them is consistent
WELL = {"synced", "absent", "polling"}


@pytest.mark.parametrize("name", QUERIES)
async def test_every_watch_can_settle_a_doubt_by_a_consistent_read(agent: AgentUnderTest, name: str) -> None:
    sent: list[URL] = []

    async def note(_session: object, _context: object, params: aiohttp.TraceRequestStartParams) -> None:
        sent.append(params.url)

    trace = aiohttp.TraceConfig()
    trace.on_request_start.append(note)
    async with (
        Consul(agent.url, trace_configs=[trace], polls=PollSettings(probe_interval=0)) as consul,
        QUERIES[name](consul).watch() as watch,
    ):
        await watch.ready(20)
        for _ in range(2):
            sent.clear()
            await watch.refresh()
            assert any("consistent" in url.query for url in sent) == (name not in OF_THE_AGENT)
        made = [one for one in watch.explain() if one.asked == "check"]
        assert [one.status for one in made] == [404 if name in {"agent.service", "config.read"} else 200] * 2
        assert watch.status.state in WELL
