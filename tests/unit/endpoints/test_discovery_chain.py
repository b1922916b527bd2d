"""What discovery chains ask of Consul, to the byte."""

from __future__ import annotations

from support.canned import CannedSender

from aioconsulconnect.endpoints.discovery_chain import DiscoveryChains
from aioconsulconnect.structs.config_entries.discovery_chain import ChainOverrides
from aioconsulconnect.transport.settings.options import NO_OPTIONS, Options
from aioconsulconnect.watch.poller_pool import PollerPool

EVERY = Options(datacenter="dc2", namespace="ns1", partition="ap1", consistency="stale", cached=True)
EVERY_SENT = "dc=dc2&ns=ns1&partition=ap1&stale&cached"


async def test_chains(sender: CannedSender, polls: PollerPool) -> None:
    chains = DiscoveryChains(sender, polls, NO_OPTIONS)
    sender.answers = [b'{"Chain": {"ServiceName": "web"}}'] * 3
    await chains("web", compile_datacenter="dc2", options=EVERY)
    await chains("web", overrides=ChainOverrides(connect_timeout=7))
    assert sender.wire == [
        ("GET", f"/v1/discovery-chain/web?compile-dc=dc2&{EVERY_SENT}", None),
        ("POST", "/v1/discovery-chain/web", b'{"OverrideConnectTimeout":"7s"}'),
    ]
    assert all(request.read for request in sender.asked)
