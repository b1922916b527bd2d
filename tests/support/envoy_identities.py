"""Certificates for a mesh without Consul: an authority, and leaves that state any SPIFFE ids."""

from __future__ import annotations

import datetime as dt
import ssl
from pathlib import Path
from urllib.parse import quote

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_LEFT_ALONE = "-._~$&+,:;=@"  # what Consul does not percent-encode in a name, beside letters and digits


def uri_of(domain: str, name: str, *, namespace: str = "default", partition: str = "", datacenter: str = "dc1") -> str:
    """The SPIFFE id that Consul states for a service."""
    of_partition = f"/ap/{partition}" if partition not in {"", "default"} else ""
    return f"spiffe://{domain}{of_partition}/ns/{namespace}/dc/{datacenter}/svc/{quote(name, safe=_LEFT_ALONE)}"


class Authority:
    """
    Signs leaves, which all have the same key: only what they state matters.

    - `roots`, `server`: files for Envoy, the trusted certificate and a leaf with its key.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._root_key = ec.generate_private_key(ec.SECP256R1())
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "authority of a mesh")])
        root = self._builder(self._name, self._root_key.public_key(), ca=True).sign(self._root_key, hashes.SHA256())
        self.roots = folder / "roots.pem"
        self.roots.write_bytes(root.public_bytes(serialization.Encoding.PEM))
        self.server = self._leaf("server", ["spiffe://server.consul/ns/default/dc/dc1/svc/db"])
        self._contexts: dict[tuple[str, ...], ssl.SSLContext] = {}

    def context(self, *uris: str) -> ssl.SSLContext:
        """What a client uses whose certificate states these URIs."""
        if uris not in self._contexts:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname = False
            context.load_verify_locations(self.roots)
            context.load_cert_chain(self._leaf(f"leaf-{len(self._contexts)}", uris))
            self._contexts[uris] = context
        return self._contexts[uris]

    def _leaf(self, stem: str, uris: list[str] | tuple[str, ...]) -> Path:
        """A file with a certificate and its key."""
        names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri) for uri in uris])
        builder = self._builder(x509.Name([]), self._key.public_key(), ca=False).add_extension(names, critical=True)
        leaf = builder.sign(self._root_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
        path = self._folder / f"{stem}.pem"
        key = self._key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        path.write_bytes(leaf + key)
        return path

    def _builder(self, subject: x509.Name, key: ec.EllipticCurvePublicKey, *, ca: bool) -> x509.CertificateBuilder:
        now = dt.datetime.now(dt.UTC)
        authority_key = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._root_key.public_key())
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(hours=1))
            .not_valid_after(now + dt.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
            .add_extension(authority_key, critical=False)
        )
