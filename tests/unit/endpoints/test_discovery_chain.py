"""What discovery chains ask of Consul, to the byte."""

from __future__ import annotations

from support.canned import CannedSender

from aioconsulconnect.endpoints.discovery_chain import DiscoveryChains
from aioconsulconnect.options import NO_OPTIONS, Options
from aioconsulconnect.polls import Polls
from aioconsulconnect.wire.chain import ChainOverrides

EVERY = Options(datacenter="dc2", namespace="ns1", partition="ap1", consistency="stale", cached=True)
EVERY_SENT = "dc=dc2&ns=ns1&partition=ap1&stale&cached"


async def test_chains(sender: CannedSender, polls: Polls) -> None:
    chains = DiscoveryChains(sender, polls, NO_OPTIONS)
    sender.answers = [b'{"Chain": {"ServiceName": "web"}}'] * 3
    await chains("web", compile_datacenter="dc2", options=EVERY)
    await chains("web", overrides=ChainOverrides(connect_timeout=7))
    assert sender.wire == [
        ("GET", f"/v1/discovery-chain/web?compile-dc=dc2&{EVERY_SENT}", None),
        ("POST", "/v1/discovery-chain/web", b'{"OverrideConnectTimeout":"7s"}'),
    ]
    assert all(request.read for request in sender.asked)
