"""What the authority's methods ask of Consul, and that none of them can break it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import pytest
from support.canned import CannedSender, polls_of

from aioconsulconnect.endpoints.ca import CA
from aioconsulconnect.errors import InvalidRequest, UnreadableResponse, Unsupported
from aioconsulconnect.structs.ca import CAConfig, Root, RootKey
from aioconsulconnect.transport.settings.options import NO_OPTIONS, Options

ROOTS = b'{"ActiveRootID": "b", "TrustDomain": "x.consul", "Roots": [{"ID": "a"}, {"ID": "b", "Active": true}]}'
PEM = b"-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"


@pytest.fixture
async def ca(sender: CannedSender) -> AsyncIterator[CA]:
    async with polls_of(sender) as polls:
        yield CA(sender, polls, NO_OPTIONS)


async def test_roots(sender: CannedSender, ca: CA) -> None:
    sender.answers = [ROOTS, ROOTS]
    reply = await ca.roots().reply()
    assert (reply.value.active, reply.value.trust_domain, reply.meta.index) == (
        Root(id="b", active=True),
        "x.consul",
        7,
    )
    query = ca.roots(options=Options(datacenter="dc2", consistency="stale"))
    assert list(query._spec.items(await query)) == [RootKey("a"), RootKey("b")]
    assert [asked[1] for asked in sender.wire] == ["/v1/connect/ca/roots", "/v1/connect/ca/roots?dc=dc2&stale"]
    with pytest.raises(InvalidRequest, match="namespace"):
        ca.roots(options=Options(namespace="x"))


async def test_roots_as_pem(sender: CannedSender, ca: CA) -> None:
    sender.answers = [PEM + PEM, b"", ROOTS, b"<html>"]
    assert await ca.roots_pem() == (PEM + PEM).decode()
    assert await ca.roots_pem() == ""
    with pytest.raises(Unsupported, match=r"1\.8\.5") as caught:
        await ca.roots_pem()  # an older agent does not know the parameter
    assert caught.value.min_version == "1.8.5"
    with pytest.raises(UnreadableResponse, match="PEM"):
        await ca.roots_pem()
    assert sender.wire[0][1] == "/v1/connect/ca/roots?pem=true"


async def test_configuration(sender: CannedSender, ca: CA) -> None:
    sender.answers = [b'{"Provider": "consul", "Config": {"LeafCertTTL": "72h"}, "State": null, "ModifyIndex": 9}']
    found = await ca.configuration(options=Options(datacenter="dc2"))
    assert (found.provider, found.modify_index, found.state) == ("consul", 9, {})
    assert found.consul == CAConfig(leaf_cert_ttl="72h")
    assert sender.wire == [("GET", "/v1/connect/ca/configuration?dc=dc2", None)]


async def test_update_sends_no_index_and_no_state(sender: CannedSender, ca: CA) -> None:
    stored = b'{"Provider": "consul", "Config": {"LeafCertTTL": "72h"}, "State": {"a": "b"}, "ModifyIndex": 9}'
    sender.answers = [stored, b"", b"", b"\n"]
    await ca.update_configuration((await ca.configuration()).config, provider="consul")
    await ca.update_configuration(CAConfig(private_key_type="ec"))
    await ca.update_configuration({"Address": "x"}, provider="vault", force_without_cross_signing=True)
    assert [json.loads(body) for _, _, body in sender.wire if body] == [
        {"Provider": "consul", "Config": {"LeafCertTTL": "72h"}, "ForceWithoutCrossSigning": False},
        {"Provider": "consul", "Config": {"PrivateKeyType": "ec"}, "ForceWithoutCrossSigning": False},
        {"Provider": "vault", "Config": {"Address": "x"}, "ForceWithoutCrossSigning": True},
    ]
    assert {(a.method, a.path, a.read) for a in sender.asked[1:]} == {("PUT", "/v1/connect/ca/configuration", False)}


async def test_ca_update_that_consul_would_ignore_is_not_sent(sender: CannedSender, ca: CA) -> None:
    with pytest.raises(InvalidRequest, match="provider must be named"):
        await ca.update_configuration({"LeafCertTTL": "72h"})
    with pytest.raises(InvalidRequest, match="nanoseconds"):
        await ca.update_configuration({"RotationPeriod": 72}, provider="consul")
    with pytest.raises(InvalidRequest, match="CamelCase"):
        await ca.update_configuration({"leaf_cert_ttl": "72h"}, provider="consul")
    with pytest.raises(InvalidRequest, match="datacenter"):
        await ca.update_configuration({}, provider="consul", options=Options(datacenter="dc2"))
    assert sender.asked == []
