"""The certificate authority on every agent: roots, their rotation, and a configuration that cannot break it."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
from aiohttp import ClientSession
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from support.agents_under_test import AgentUnderTest, GuardedAgent

from aioconsulconnect.client import Consul
from aioconsulconnect.errors import BadRequest, InvalidRequest, PermissionDenied
from aioconsulconnect.structs.ca import CAConfig, Roots
from aioconsulconnect.transport.settings.options import Options
from aioconsulconnect.watch.changes import Added


@pytest.fixture(autouse=True)
async def _authority_of_use(consul: Consul, unique: str) -> AsyncIterator[None]:
    """Afterwards the configuration is what it was, and leaves are signed by the active root."""
    before = await consul.ca.configuration()
    yield
    if dict((await consul.ca.configuration()).config) != dict(before.config):
        await consul.ca.update_configuration(before.config, provider="consul")
    roots = await consul.ca.roots()
    leaf = await consul.agent.leaf(f"{unique}leaf")
    assert roots.active is not None
    issued = x509.load_pem_x509_certificates(leaf.cert_pem.encode())[0]
    issued.verify_directly_issued_by(x509.load_pem_x509_certificate(roots.active.root_cert.encode()))


def certificates(roots: Roots) -> list[x509.Certificate]:
    """Each root followed by its intermediates."""
    texts = [text for root in roots.roots for text in (root.root_cert, *root.intermediate_certs)]
    return [x509.load_pem_x509_certificate(text.encode()) for text in texts]


async def test_roots(consul: Consul) -> None:
    reply = await consul.ca.roots().reply()
    roots = reply.value
    assert (reply.meta.index or 0) > 0
    assert roots.trust_domain.endswith(".consul")
    assert roots.active is not None
    assert (roots.active.active, roots.active.id) == (True, roots.active_root_id)
    assert sum(root.active for root in roots.roots) == 1
    for root in roots.roots:
        certificate = x509.load_pem_x509_certificate(root.root_cert.encode())
        assert certificate.serial_number == root.serial_number
        assert root.not_after == certificate.not_valid_after_utc
        assert root.external_trust_domain == roots.trust_domain.removesuffix(".consul")
    trust = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trust.load_verify_locations(cadata="".join(root.root_cert for root in roots.roots))


async def test_roots_as_pem(consul: Consul) -> None:
    pem, roots = await consul.ca.roots_pem(), await consul.ca.roots()
    assert x509.load_pem_x509_certificates(pem.encode()) == certificates(roots)


def new_key() -> str:
    """A private key for a root."""
    return (
        ec.generate_private_key(ec.SECP256R1())
        .private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
        )
        .decode()
    )


async def test_a_root_rotation(consul: Consul) -> None:
    before, old = await consul.ca.roots(), await consul.ca.configuration()
    async with asyncio.timeout(20), consul.ca.roots().watch() as watch:
        changes = watch.changes()
        assert {change.new.id for change in await anext(changes) if isinstance(change, Added)} == {
            root.id for root in before.roots
        }
        await consul.ca.update_configuration({**old.config, "PrivateKey": new_key()}, provider="consul")
        added: list[str] = []
        while not added:
            added = [change.new.id for change in await anext(changes) if isinstance(change, Added)]
    after = await consul.ca.roots()
    assert after.trust_domain == before.trust_domain
    assert after.active_root_id != before.active_root_id
    assert before.active_root_id in {root.id for root in after.roots}
    assert after.active is not None
    assert added == [after.active_root_id]
    assert len(after.active.intermediate_certs) == 1  # the new root, signed by the old one
    assert x509.load_pem_x509_certificates((await consul.ca.roots_pem()).encode()) == certificates(after)


async def test_a_key_that_was_stored_is_not_shown(consul: Consul) -> None:
    old, key = await consul.ca.configuration(), new_key()
    await consul.ca.update_configuration({**old.config, "PrivateKey": key}, provider="consul")
    found = await consul.ca.configuration()
    assert found.config["PrivateKey"] == key
    assert key.splitlines()[1] not in f"{found!r} {found.consul!r} {found.config!r}"


async def test_a_new_kind_of_key(consul: Consul, agent: AgentUnderTest) -> None:
    before, old = await consul.ca.roots(), await consul.ca.configuration()
    await consul.ca.update_configuration(
        {**old.config, "PrivateKeyType": "ec", "PrivateKeyBits": 384}, provider="consul"
    )
    after = await consul.ca.roots()
    if agent.version < (1, 11):
        assert after.active_root_id == before.active_root_id
        assert (await consul.ca.configuration()).config["PrivateKeyBits"] == 384  # for the next rotation
    else:
        assert after.active is not None
        assert after.active_root_id != before.active_root_id
        assert (after.active.private_key_type, after.active.private_key_bits) == ("ec", 384)


@dataclass(frozen=True)
class Wrong:
    config: dict[str, object]
    provider: str
    words: str


@pytest.mark.parametrize(
    "wrong",
    [
        Wrong({}, "nope", "unknown CA provider"),
        Wrong({}, "", "unknown CA provider"),
        Wrong({"LeafCertTTL": "1m"}, "consul", "leaf cert TTL must be greater"),
        Wrong({"LeafCertTTL": "9000h"}, "consul", "must be less than"),
        Wrong({"LeafCertTTL": "72h", "IntermediateCertTTL": "100h"}, "consul", "Intermediate Cert TTL must be greater"),
        Wrong({"PrivateKeyType": "ec", "PrivateKeyBits": 123}, "consul", "EC key length"),
        Wrong({"PrivateKeyType": "dsa", "PrivateKeyBits": 256}, "consul", "private key type"),
        Wrong({"LeafCertTTL": "soon"}, "consul", "error decoding config"),
    ],
    ids=lambda wrong: wrong.words,
)
async def test_a_configuration_that_consul_refuses_changes_nothing(consul: Consul, wrong: Wrong) -> None:
    before, roots = await consul.ca.configuration(), await consul.ca.roots()
    with pytest.raises(BadRequest, match=wrong.words):
        await consul.ca.update_configuration(wrong.config, provider=wrong.provider)
    after = await consul.ca.configuration()
    assert (after.provider, dict(after.config), await consul.ca.roots()) == (
        before.provider,
        dict(before.config),
        roots,
    )


async def configure(agent: AgentUnderTest, body: dict[str, object]) -> tuple[int, str]:
    """The answer to a configuration that the client would not send, without the beginning that older versions have."""
    path = "/v1/connect/ca/configuration"
    async with ClientSession(agent.url) as session, session.put(path, json=body) as answer:
        return answer.status, (await answer.text()).removeprefix("Bad request: ")


KEY = "LeafCertTTL"
UNDECODABLE = "error configuring provider: error decoding config: 1 error(s) decoding:\n\n* "
FAULTS: list[tuple[dict[str, object], str]] = [
    ({KEY: "3d"}, UNDECODABLE + f'error decoding \'{KEY}\': time: unknown unit "d" in duration "3d"'),
    ({KEY: "1h5"}, UNDECODABLE + f"error decoding '{KEY}': time: missing unit in duration \"1h5\""),
    ({KEY: ["72h"]}, UNDECODABLE + f"'{KEY}' expected type 'time.Duration', got unconvertible type '[]interface {{}}'"),
    (
        {KEY: {}},
        UNDECODABLE + f"'{KEY}' expected type 'time.Duration', got unconvertible type 'map[string]interface {{}}'",
    ),
    ({KEY: 1.5}, "error configuring provider: leaf cert TTL must be greater or equal than 1h0m0s"),
    ({KEY: True}, "error configuring provider: leaf cert TTL must be greater or equal than 1h0m0s"),
    ({KEY: "zz", "leafcertttl": "72h"}, UNDECODABLE + f"error decoding '{KEY}': time: invalid duration \"zz\""),
    ({"PrivateKeyType": ""}, "error configuring provider: private key type must be either 'ec' or 'rsa'"),
    ({"PrivateKeyBits": 0}, "error configuring provider: EC key length must be one of (224, 256, 384, 521) bits"),
    (
        {"privatekeybits": "abc"},
        UNDECODABLE + "cannot parse 'PrivateKeyBits' as int: strconv.ParseInt: parsing \"abc\": invalid syntax",
    ),
    ({"PrivateKeyBits": []}, UNDECODABLE + "'PrivateKeyBits' expected type 'int', got unconvertible type"),
    ({"CSRMaxPerSecond": {}}, UNDECODABLE + "'CSRMaxPerSecond' expected type 'float32', got unconvertible type"),
    (
        {"CSRMaxPerSecond": "x"},
        UNDECODABLE + "cannot parse 'CSRMaxPerSecond' as float: strconv.ParseFloat: parsing \"x\": invalid syntax",
    ),
    ({"DisableCrossSigning": "zz"}, UNDECODABLE + "cannot parse 'DisableCrossSigning' as bool: strconv.ParseBool"),
    (
        {KEY: "zz", "PrivateKeyType": [], "SkipValidate": "x"},
        "error configuring provider: error decoding config: 3 error(s) decoding:\n\n* 'PrivateKeyType' expected",
    ),
    ({"RootCert": "zz", "SkipValidate": True}, "error configuring provider: must provide a private key when providing"),
    ({"PrivateKey": new_key(), "RootCert": "zz"}, "no PEM-encoded data found"),
    ({"PrivateKey": new_key(), "RootCert": new_key()}, "first PEM-block should be CERTIFICATE type"),
]


@pytest.mark.parametrize("given", [False, True], ids=["as_it_is", "after_one_without_settings"])
async def test_faults_of_a_configuration_are_told_as_go_does(
    consul: Consul, agent: AgentUnderTest, given: bool
) -> None:
    if given:
        assert await configure(agent, {"Provider": "consul"}) == (200, "")
    old, before = (await consul.ca.configuration()).config, await consul.ca.roots()
    for config, words in FAULTS:
        status, text = await configure(agent, {"Provider": "consul", "Config": config})
        assert (status, text.removeprefix("error parsing root fingerprint: ")[: len(words)]) == (500, words)
    completed = {"IntermediateCertTTL": "8760h0m0s", **(old or {})} if agent.version > (1, 9) else old
    assert ((await consul.ca.configuration()).config or None) == (completed or None)
    assert await consul.ca.roots() == before


async def test_odd_settings_that_consul_takes(consul: Consul, agent: AgentUnderTest) -> None:
    configs: list[dict[str, object]] = [
        {KEY: 7200000000000.0},
        {KEY: None, "Unknown": 1},
        {KEY: "1m", "SkipValidate": "true"},
        {"CSRMaxPerSecond": "1.5", "CSRMaxConcurrent": "3", "DisableCrossSigning": 0},
        {"RootCertTTL": "8760h"},
    ]
    if agent.version < (1, 11):
        configs += [{"IntermediateCertTTL": "99999h"}, {"RootCertTTL": "1h"}, {"RootCertTTL": "zz"}]
    for config in configs:
        assert await configure(agent, {"Provider": "consul", "Config": config}) == (200, ""), config
        assert dict((await consul.ca.configuration()).config) == config
    before = await consul.ca.roots()
    assert await configure(agent, {"Provider": "consul", "Config": {"PrivateKeyBits": "384"}}) == (200, "")
    active = (await consul.ca.roots()).active
    assert active is not None
    assert (active.private_key_bits == 384) == (agent.version > (1, 11)) == (active.id != before.active_root_id)


async def test_a_configuration_is_shown_as_go_writes_it(agent: AgentUnderTest) -> None:
    config: dict[str, object] = {"LeafCertTTL": 7200000000000.0, "CSRMaxPerSecond": 1.5}
    assert await configure(agent, {"Provider": "consul", "Config": config}) == (200, "")
    status, text = await configure(agent, {"Provider": "consul", "State": {"a": "b"}})
    assert (status, text.partition(".")[0]) == (400, "Provider State is read-only")
    path = "/v1/connect/ca/configuration"
    async with ClientSession(agent.url) as session, session.get(path) as answer:
        shown = (await answer.text()).partition('"Config": {')[2].partition("}")[0].split()
    completed = ['"IntermediateCertTTL":', '"8760h0m0s",'] if agent.version > (1, 9) else []
    assert shown == ['"CSRMaxPerSecond":', "1.5,", *completed, '"LeafCertTTL":', "7200000000000"]


async def test_same_settings_are_no_change(consul: Consul, agent: AgentUnderTest) -> None:
    for config in ({"IntermediateCertTTL": "8760h"}, {"LeafCertTTL": "71h"}, None):
        for force in (False, True):
            await configure(agent, {"Provider": "consul", "Config": config, "ForceWithoutCrossSigning": force})
        found = await consul.ca.configuration()
        completed = agent.version > (1, 9) and "IntermediateCertTTL" not in (config or {})
        assert found.force_without_cross_signing == completed, config
    await configure(agent, {"Provider": "consul", "Config": {}})


async def test_members_of_a_configuration_have_their_types(agent: AgentUnderTest) -> None:
    for body, words in (
        ({"ClusterID": "zz"}, 'json: unknown field "ClusterID"'),
        ({"State": "x"}, "json: cannot unmarshal string into Go struct field .Alias.State of type map[string]string"),
        ({"State": {"a": 1}}, "json: cannot unmarshal number into Go struct field .Alias.State of type string"),
    ):
        told = words if agent.version > (1, 9) else words.replace(".Alias", "")
        assert await configure(agent, {"Provider": "consul", **body}) == (400, f"Request decode failed: {told}")


async def test_the_configuration_is_replaced_and_typed(consul: Consul) -> None:
    before = await consul.ca.configuration()
    assert (before.provider, before.force_without_cross_signing) == ("consul", False)
    assert before.consul is not None
    assert before.consul.leaf_cert_ttl == "72h"
    await consul.ca.update_configuration({**before.config, "LeafCertTTL": "50h"}, provider="consul")
    after = await consul.ca.configuration()
    assert after.consul is not None
    assert after.consul.leaf_cert_ttl == "50h"
    assert after.modify_index > before.modify_index
    await consul.ca.update_configuration(CAConfig(leaf_cert_ttl="49h", intermediate_cert_ttl="8760h"))
    typed = (await consul.ca.configuration()).consul
    assert typed is not None
    assert (typed.leaf_cert_ttl, typed.intermediate_cert_ttl) == ("49h", "8760h")


async def test_ca_update_that_consul_would_ignore_is_refused_and_changes_nothing(consul: Consul) -> None:
    before = await consul.ca.configuration()
    for config in ({"leaf_cert_ttl": "50h"}, {"LeafCertTTL": 72}):
        with pytest.raises(InvalidRequest, match="config"):
            await consul.ca.update_configuration(config, provider="consul")
    with pytest.raises(InvalidRequest, match="ignores"):
        await consul.ca.update_configuration({}, provider="consul", options=Options(datacenter="dc1"))
    assert await consul.ca.configuration() == before


async def test_rights(guarded: GuardedAgent) -> None:
    token = await guarded.token('operator = "read"')
    writer = await guarded.token('operator = "write"')
    async with Consul(guarded.url, token=token) as consul:
        assert (await consul.ca.roots()).active is not None  # for everyone
        assert "BEGIN CERTIFICATE" in await consul.ca.roots_pem()
        for call in (consul.ca.configuration(), consul.ca.update_configuration(CAConfig(leaf_cert_ttl="72h"))):
            with pytest.raises(PermissionDenied, match="Permission denied"):
                await call
        allowed = consul.with_options(Options(token=writer))
        assert (await allowed.ca.configuration()).provider == "consul"
        await allowed.ca.update_configuration((await allowed.ca.configuration()).config, provider="consul")


async def test_roots_of_a_datacenter(consul: Consul, agent: AgentUnderTest) -> None:
    assert await consul.ca.roots(options=Options(datacenter="dc1", consistency="stale")) == await consul.ca.roots()
