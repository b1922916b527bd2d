"""The certificate authority: roots and configuration as recorded, a typed view, and no secret on show."""

from __future__ import annotations

import json
import pickle
from urllib.parse import urlsplit

import pytest
from support.recorded import Exchange, exchanges

from aioconsulconnect.errors import InvalidRequest, UnreadableResponse
from aioconsulconnect.structs.ca import (
    CAConfig,
    ConfigurationBody,
    ProviderConfig,
    Roots,
    provider_config,
    read_configuration,
    read_roots,
    roots_by_key,
)
from aioconsulconnect.structs.codec.json_body import encode

KEY = "-----BEGIN EC PRIVATE KEY-----\nMHcCAQEE\n-----END EC PRIVATE KEY-----\n"


def recorded(path: str) -> list[Exchange]:
    found = [
        e for e in exchanges()
        if urlsplit(e.path).path == path and e.method == "GET" and e.response.status == 200
        and "json" in e.response.headers.get("content-type", "")
    ]  # fmt: skip
    assert {exchange.version for exchange in found} == {"1.8.7", "1.10.12", "1.16.6", "1.22-dev"}
    return found


@pytest.mark.parametrize("exchange", recorded("/v1/connect/ca/roots"), ids=str)
def test_every_recorded_answer_has_its_roots(exchange: Exchange) -> None:
    raw, roots = json.loads(exchange.response.body), read_roots(exchange.response.body)
    assert roots.trust_domain == raw["TrustDomain"]
    assert [root.id for root in roots.roots] == [root["ID"] for root in raw["Roots"]]
    assert roots.active is not None
    assert roots.active.active
    for struct, item in zip(roots.roots, raw["Roots"], strict=True):
        again = json.loads(encode(struct))
        for name, value in item.items():
            if value and not name.startswith("Not"):
                assert again[name] == value, name
        assert struct.not_before is not None
        assert struct.not_after is not None
        assert struct.not_before < struct.not_after
        assert isinstance(struct.intermediate_certs, tuple)
    assert set(roots_by_key(roots)) == {root.key for root in roots.roots}


def test_a_rotation_was_recorded() -> None:
    assert any(len(read_roots(e.response.body).roots) > 1 for e in recorded("/v1/connect/ca/roots"))


def test_an_authority_without_roots() -> None:
    for body in (b'{"Roots": null}', b'{"ActiveRootID": "", "TrustDomain": "", "Roots": []}'):
        assert read_roots(body) == Roots()
    assert Roots().active is None


def test_a_serial_number_uses_all_64_bits() -> None:
    body = b'{"Roots": [{"ID": "a", "SerialNumber": 18446744073709551615}]}'
    assert read_roots(body).roots[0].serial_number == 2**64 - 1


@pytest.mark.parametrize("exchange", recorded("/v1/connect/ca/configuration"), ids=str)
def test_every_recorded_configuration(exchange: Exchange) -> None:
    raw, found = json.loads(exchange.response.body), read_configuration(exchange.response.body)
    assert (found.provider, found.modify_index) == (raw["Provider"], raw["ModifyIndex"])
    assert dict(found.config) == raw["Config"]
    assert found.consul is not None
    assert found.consul.leaf_cert_ttl == raw["Config"]["LeafCertTTL"]
    assert found.state == (raw["State"] or {})
    assert provider_config(found.config) == raw["Config"]  # what was read can be written


def test_a_configuration_of_nulls_and_of_another_provider() -> None:
    found = read_configuration(b'{"Provider": "vault", "Config": null, "State": null}')
    assert (dict(found.config), found.state, found.consul) == ({}, {}, None)


def test_numbers_that_stand_as_text_are_numbers() -> None:
    found = read_configuration(b'{"Provider": "consul", "Config": {"PrivateKeyBits": "256", "LeafCertTTL": "72h"}}')
    assert found.consul == CAConfig(private_key_bits=256, leaf_cert_ttl="72h")


def test_a_stored_map_that_is_not_what_it_should_be() -> None:
    found = read_configuration(b'{"Provider": "consul", "Config": {"PrivateKeyBits": "many"}}')
    assert found.config["PrivateKeyBits"] == "many"
    with pytest.raises((InvalidRequest, UnreadableResponse), match="provider"):
        assert found.consul


def test_no_secret_is_on_show() -> None:
    typed = CAConfig(private_key=KEY, leaf_cert_ttl="72h")
    stored = ProviderConfig({"PrivateKey": KEY, "Token": "geheim", "AuthMethod": {"Params": {"x": "geheim"}}, "A": 1})
    body = json.dumps({"Provider": "consul", "Config": {"PrivateKey": KEY}}).encode()
    shown = (
        f"{typed!r} {typed.__rich_repr__()} {stored!r} {read_configuration(body)!r} {read_configuration(body).consul!r}"
    )
    assert "MHc" not in shown
    assert "geheim" not in shown
    assert "leaf_cert_ttl='72h'" in shown
    assert "A=1" in shown


def test_a_stored_map_is_a_mapping_of_its_own() -> None:
    given = {"A": 1}
    stored = ProviderConfig(given)
    given["B"] = 2
    assert (dict(stored), len(stored), stored == {"A": 1}) == ({"A": 1}, 1, True)
    assert pickle.loads(pickle.dumps(stored)) == stored


def test_the_typed_keys_are_sent_as_consul_spells_them() -> None:
    config = CAConfig(
        leaf_cert_ttl="72h",
        intermediate_cert_ttl="8760h",
        root_cert_ttl="87600h",
        csr_max_per_second=50,
        csr_max_concurrent=2,
        private_key_type="ec",
        private_key_bits=256,
        disable_cross_signing=False,
    )
    assert provider_config(config) == {
        "LeafCertTTL": "72h",
        "IntermediateCertTTL": "8760h",
        "RootCertTTL": "87600h",
        "CSRMaxPerSecond": 50,
        "CSRMaxConcurrent": 2,
        "PrivateKeyType": "ec",
        "PrivateKeyBits": 256,
        "DisableCrossSigning": False,
    }


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"leaf_cert_ttl": "72h"}, "CamelCase"),
        ({"LeafCertTTL": 72}, "nanoseconds"),
        ({"leafcertttl": 72.0}, "nanoseconds"),
    ],
)
def test_provider_config_that_consul_would_ignore_is_refused(config: dict[str, object], words: str) -> None:
    with pytest.raises(InvalidRequest, match=words):
        provider_config(config)


def test_an_update_never_sends_an_index() -> None:
    body = ConfigurationBody(provider="consul", config={"LeafCertTTL": "72h"}, force_without_cross_signing=False)
    assert json.loads(encode(body)) == {
        "Provider": "consul",
        "Config": {"LeafCertTTL": "72h"},
        "ForceWithoutCrossSigning": False,
    }
