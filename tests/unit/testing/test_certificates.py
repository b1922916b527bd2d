"""The certificate authority of the in-process agent: rotation, keys, a stale index."""

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from support.polling import Client
from support.versions import VERSIONS

pytestmark = pytest.mark.timed

NEWER = VERSIONS[1:]


async def test_a_rotated_root_is_cross_signed_and_leaves_follow(client: Client) -> None:
    _, before, headers = await client.ask("GET", "/v1/connect/ca/roots")
    _, _, leaf_headers = await client.ask("GET", "/v1/agent/connect/ca/leaf/web")
    roots = await client.poll("/v1/connect/ca/roots", headers["X-Consul-Index"], "10s")
    leaf = await client.poll("/v1/agent/connect/ca/leaf/web", leaf_headers["X-Consul-Index"], "10s")
    client.agent.rotate_root()
    _, after, _ = await roots
    assert after["ActiveRootID"] != before["ActiveRootID"]
    assert after["TrustDomain"] == before["TrustDomain"] == client.agent.trust_domain
    by_id = {root["ID"]: root for root in after["Roots"]}
    old, new = by_id[before["ActiveRootID"]], by_id[after["ActiveRootID"]]
    assert (old["Active"], new["Active"], old["IntermediateCerts"]) == (False, True, None)
    _, renewed, _ = await leaf
    chain = x509.load_pem_x509_certificates(renewed["CertPEM"].encode())
    assert len(chain) == 2
    old_root, new_root = (x509.load_pem_x509_certificate(root["RootCert"].encode()) for root in (old, new))
    chain[0].verify_directly_issued_by(new_root)
    chain[1].verify_directly_issued_by(old_root)
    chain[0].verify_directly_issued_by(chain[1])
    new_root.verify_directly_issued_by(new_root)
    names = chain[0].extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    uri = f"spiffe://{client.agent.trust_domain}/ns/default/dc/dc1/svc/web"
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == [uri] == [renewed["ServiceURI"]]


async def test_a_key_of_ones_own_makes_the_next_root(client: Client) -> None:
    _, leaf, _ = await client.ask("GET", "/v1/agent/connect/ca/leaf/web")
    config = {"LeafCertTTL": "72h", "IntermediateCertTTL": "8760h", "PrivateKey": leaf["PrivateKeyPEM"]}
    status, said, _ = await client.ask("PUT", "/v1/connect/ca/configuration", {"Provider": "consul", "Config": config})
    assert (status, said) == (200, "")
    _, roots, _ = await client.ask("GET", "/v1/connect/ca/roots")
    active = next(root for root in roots["Roots"] if root["Active"])
    key = x509.load_pem_x509_certificate(active["RootCert"].encode()).public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    assert key == x509.load_pem_x509_certificate(leaf["CertPEM"].encode()).public_key()


@pytest.mark.parametrize("version", NEWER, indirect=True)
async def test_a_stale_modify_index_breaks_the_ca_as_it_does_in_consul(client: Client) -> None:
    wanted = {"Provider": "consul", "Config": {"LeafCertTTL": "80h", "IntermediateCertTTL": "8760h"}, "ModifyIndex": 3}
    status, said, _ = await client.ask("PUT", "/v1/connect/ca/configuration", wanted)
    assert (status, said) == (500, "ModifyIndex did not match existing")
    status, said, _ = await client.ask("GET", "/v1/agent/connect/ca/leaf/new")
    assert (status, said) == (500, "provider not initialized")
