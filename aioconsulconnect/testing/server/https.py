"""The files of an agent that speaks HTTPS: a CA of its own, its certificate, and one for a client."""

import ssl
import tempfile
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from aioconsulconnect.testing.state.certificates import Signer, key_pem, make_key, pem, usage


class HttpsIdentity:
    """The files and the TLS context of one running agent, in a directory that `close` removes.

    With `client_certificates` the context demands a client certificate of the same CA.
    """

    def __init__(self, *, client_certificates: bool) -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="agent-in-a-box-")
        directory = Path(self._directory.name)
        self.ca_file: Path = directory / "ca.pem"
        self.client_cert_file: Path = directory / "client.pem"
        self.client_key_file: Path = directory / "client-key.pem"
        authority = _certificate("agent in a box", None)
        server, client = _certificate("localhost", authority), _certificate("client", authority)
        self.ca_file.write_text(pem(authority.certificate))
        self.client_cert_file.write_text(pem(client.certificate))
        self.client_key_file.write_text(key_pem(client.key))
        server_file = directory / "server.pem"
        server_file.write_text(key_pem(server.key) + pem(server.certificate))
        self.context: ssl.SSLContext = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(server_file)
        if client_certificates:
            self.context.load_verify_locations(self.ca_file)
            self.context.verify_mode = ssl.CERT_REQUIRED

    def close(self) -> None:
        """Remove the files."""
        self._directory.cleanup()


def _certificate(name: str, issuer: Signer | None) -> Signer:
    """Make a CA certificate if there is no issuer, else a certificate for localhost and 127.0.0.1."""
    key = make_key()
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    signer = issuer.key if issuer else key
    begin = datetime.now(UTC) - timedelta(minutes=5)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(begin + timedelta(days=7))
        .add_extension(x509.BasicConstraints(ca=not issuer, path_length=None), critical=True)
        .add_extension(usage(authority=not issuer), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
    )
    if issuer:
        names = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))])
        builder = builder.add_extension(names, critical=False)
    return Signer(builder.sign(signer, hashes.SHA256()), key)
