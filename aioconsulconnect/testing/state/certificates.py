"""X.509 certificates and keys as the built-in CA of Consul makes them."""

import base64
import hashlib
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
_CURVES: dict[int, type[ec.EllipticCurve]] = {
    224: ec.SECP224R1,
    256: ec.SECP256R1,
    384: ec.SECP384R1,
    521: ec.SECP521R1,
}


@dataclass(frozen=True, slots=True, eq=False)
class Signer:
    """A CA certificate and its private key."""

    certificate: x509.Certificate
    key: PrivateKey


def make_key(kind: str = "ec", bits: int = 256) -> PrivateKey:
    """Generate a private key: `kind` is "ec" (the default) or "rsa", `bits` its length (256 by default)."""
    if kind == "rsa":
        return rsa.generate_private_key(public_exponent=65537, key_size=bits)
    return ec.generate_private_key(_CURVES[bits]())


def load_key(pem: str) -> PrivateKey | None:
    """Load an EC or RSA private key from PEM; None where it is none."""
    try:
        key = serialization.load_pem_private_key(pem.encode(), password=None)
    except ValueError:
        return None
    return key if isinstance(key, PrivateKey) else None


def key_id(key: PrivateKey) -> bytes:
    """The id of a key: SHA-256 of its public half."""
    public = key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(public).digest()


def kind_and_bits(key: PrivateKey) -> tuple[str, int]:
    """Consul's name for the type of a key ("ec" or "rsa"), and its length in bits."""
    return ("rsa" if isinstance(key, rsa.RSAPrivateKey) else "ec"), key.key_size


def colons(data: bytes) -> str:
    """Write bytes as lower-case hexadecimal digits with colons."""
    return data.hex(":")


def pem(certificate: x509.Certificate) -> str:
    """Write a certificate as PEM with a newline at the end."""
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def key_pem(key: PrivateKey) -> str:
    """Write a private key as PEM in the traditional form (SEC1 for EC)."""
    plain = serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, plain).decode()


def common_name(kind: str, trust_domain: str) -> str:
    """Make the common name of a CA certificate: random letters, the beginning of the cluster's id.

    `kind` is the first part of it, such as "pri"; `trust_domain` begins with the cluster's id.
    """
    random_part = base64.b32encode(secrets.token_bytes(5)).decode().lower()[:7]
    return f"{kind}-{random_part}.consul.ca.{trust_domain[:8]}.consul"


def _signature_hash(key: PrivateKey) -> hashes.SHA256 | hashes.SHA384 | hashes.SHA512:
    bits = key.curve.key_size if isinstance(key, ec.EllipticCurvePrivateKey) else 256
    return hashes.SHA512() if bits > 384 else hashes.SHA384() if bits > 256 else hashes.SHA256()  # noqa: PLR2004


def _moment() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)] if name else [])


def usage(*, authority: bool) -> x509.KeyUsage:
    """The key usage extension of a CA certificate (`authority`) or of a leaf certificate."""
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=not authority,
        data_encipherment=not authority,
        key_agreement=not authority,
        key_cert_sign=authority,
        crl_sign=authority,
        encipher_only=False,
        decipher_only=False,
    )


def make_root(key: PrivateKey, trust_domain: str, serial: int, lifetime: timedelta) -> x509.Certificate:
    """Make a root certificate that signs itself, valid from now.

    - `key`: its private key.
    - `trust_domain`: the trust domain, which is its SPIFFE id.
    - `serial`: the serial number.
    - `lifetime`: the time from now to the end of its validity.
    """
    name = _named(common_name("pri", trust_domain))
    begin = _moment()
    identifier = key_id(key)
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(serial)
        .not_valid_before(begin)
        .not_valid_after(begin + lifetime)
        .add_extension(usage(authority=True), critical=True)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier(identifier), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier(identifier, None, None), critical=False)
        .add_extension(
            x509.SubjectAlternativeName([x509.UniformResourceIdentifier(f"spiffe://{trust_domain}")]), critical=False
        )
        .sign(key, _signature_hash(key))
    )


def cross_sign(new: x509.Certificate, old: Signer, serial: int) -> x509.Certificate:
    """Sign the certificate of the root `new` with the root `old`, for seven days.

    A client that trusts only the old root can verify leaves of the new one with it. `serial` is the serial number.
    """
    builder = (
        x509.CertificateBuilder()
        .subject_name(new.subject)
        .issuer_name(old.certificate.subject)
        .public_key(new.public_key())
        .serial_number(serial)
        .not_valid_before(_moment())
        .not_valid_after(_moment() + timedelta(days=7))
    )
    for extension in new.extensions:
        value = extension.value
        if isinstance(value, x509.AuthorityKeyIdentifier):
            value = x509.AuthorityKeyIdentifier(key_id(old.key), None, None)
        builder = builder.add_extension(value, extension.critical)
    return builder.sign(old.key, _signature_hash(old.key))


def make_leaf(
    uri: str, name: str, signer: Signer, serial: int, lifetime: timedelta
) -> tuple[x509.Certificate, PrivateKey]:
    """Make a leaf certificate for a service, valid from a minute ago, and its private key.

    - `uri`: the SPIFFE id.
    - `name`: the common name; empty for none.
    - `signer`: the root that signs it.
    - `serial`: the serial number.
    - `lifetime`: the time from the beginning to the end of its validity.
    """
    key = make_key()
    begin = _moment() - timedelta(minutes=1)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(_named(name))
        .issuer_name(signer.certificate.subject)
        .public_key(key.public_key())
        .serial_number(serial)
        .not_valid_before(begin)
        .not_valid_after(begin + lifetime)
        .add_extension(usage(authority=False), critical=True)
        .add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier(key_id(key)), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier(key_id(signer.key), None, None), critical=False)
        .add_extension(x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri)]), critical=not name)
        .sign(signer.key, _signature_hash(signer.key))
    )
    return certificate, key
