"""The source of a blocking query's answers, and the queries that share a poll."""

from __future__ import annotations

from typing import Any

from support.canned import CannedSender

from aioconsulconnect.endpoints.agent import Agent
from aioconsulconnect.endpoints.catalog import Catalog
from aioconsulconnect.endpoints.config import Config
from aioconsulconnect.endpoints.discovery_chain import DiscoveryChains
from aioconsulconnect.endpoints.health import Health
from aioconsulconnect.structs.config_entries.discovery_chain import ChainOverrides
from aioconsulconnect.transport.settings.options import NO_OPTIONS
from aioconsulconnect.watch.poller_pool import PollerPool, sharing_key
from aioconsulconnect.watch.query import Query


def test_blocking_query_source_follows_the_endpoint_and_its_options(sender: CannedSender, polls: PollerPool) -> None:
    health = Health(sender, polls, NO_OPTIONS)
    assert source(health.connect("web")) == "streaming"
    assert source(health.service("web")) == "streaming"
    assert source(health.connect("web", near="_agent")) == "servers"
    assert source(health.ingress("web")) == "servers"
    assert source(Agent(sender, polls, NO_OPTIONS).leaf("web")) == "agent"
    assert source(Agent(sender, polls, NO_OPTIONS).roots()) == "agent"


def source(query: Query[Any, Any]) -> str:
    return query._spec.source


def queries(sender: CannedSender, polls: PollerPool) -> list[Query[Any, Any]]:
    """One of each, of groups of their own."""
    agent, config = Agent(sender, polls, NO_OPTIONS), Config(sender, polls, NO_OPTIONS)
    catalog = Catalog(sender, polls, NO_OPTIONS)
    return [
        Health(sender, polls, NO_OPTIONS).connect("a", tags=["x"], peer="p"),
        catalog.connect("a"),
        catalog.gateway_services("a"),
        agent.leaf("a"),
        agent.roots(),
        agent.service("a"),
        config.read("mesh"),
        config.list("mesh"),
        DiscoveryChains(sender, polls, NO_OPTIONS)("a", overrides=ChainOverrides(protocol="http")),
    ]


def test_equal_queries_share_a_poll(sender: CannedSender, polls: PollerPool) -> None:
    first = [sharing_key(query._request, query._spec) for query in queries(sender, polls)]
    second = [sharing_key(query._request, query._spec) for query in queries(sender, polls)]
    assert first == second
    assert len({*first, *second}) == len(first)
