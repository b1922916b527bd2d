"""What health and catalog ask of Consul, to the byte."""

from __future__ import annotations

import pytest
from support.canned import CannedSender

from aioconsulconnect.endpoints.catalog import Catalog
from aioconsulconnect.endpoints.health import Health
from aioconsulconnect.errors import InvalidRequest, Unsupported
from aioconsulconnect.transport.settings.options import NO_OPTIONS, Options
from aioconsulconnect.watch.poller_pool import PollerPool

EVERY = Options(datacenter="dc2", namespace="ns1", partition="ap1", consistency="stale", cached=True)
EVERY_SENT = "dc=dc2&ns=ns1&partition=ap1&stale&cached"


async def test_instances(sender: CannedSender, polls: PollerPool) -> None:
    health, catalog = Health(sender, polls, NO_OPTIONS), Catalog(sender, polls, NO_OPTIONS)
    sender.answers = [b"[]"] * 6
    await health.connect("web", passing=True, tags=["a b", 'c"'], near="_agent", node_meta={"k": "v"}, peer="east")
    await health.connect("web", tags=["a"], filter="x == y or z", merge_central_config=True, options=EVERY)
    await health.ingress("web", filter="x")
    await health.service("web", passing=True)
    await catalog.connect("web", tags=["a"], near="n", node_meta={"k": "v"})
    await catalog.gateway_services("edge", options=Options(datacenter="dc2"))
    asked = "/v1/health/connect/web"
    both = "%22a%20b%22%20in%20Service.Tags%20and%20%60c%22%60%20in%20Service.Tags"
    joined = "%22a%22%20in%20Service.Tags%20and%20%28x%20%3D%3D%20y%20or%20z%29"
    assert [path for _, path, _ in sender.wire] == [
        f"{asked}?passing&node-meta=k:v&filter={both}&near=_agent&peer=east",
        f"{asked}?filter={joined}&merge-central-config&{EVERY_SENT}",
        "/v1/health/ingress/web?filter=x",
        "/v1/health/service/web?passing",
        "/v1/catalog/connect/web?node-meta=k:v&filter=%22a%22%20in%20ServiceTags&near=n",
        "/v1/catalog/gateway-services/edge?dc=dc2",
    ]
    with pytest.raises(InvalidRequest, match="quotes"):
        health.connect("web", tags=['"`'])


@pytest.mark.parametrize("answer", [b'[{"Service": {"PeerName": ""}, "Node": {}}]', b'[{"Service": {}, "Node": {}}]'])
async def test_local_instances_for_a_peer_are_no_answer(sender: CannedSender, polls: PollerPool, answer: bytes) -> None:
    sender.answers = [answer, b'[{"ServiceName": "x"}]']
    with pytest.raises(Unsupported) as caught:
        await Health(sender, polls, NO_OPTIONS).connect("web", peer="east")
    assert caught.value.min_version == "1.13"
    with pytest.raises(Unsupported):
        await Catalog(sender, polls, NO_OPTIONS).connect("web", peer="east")
