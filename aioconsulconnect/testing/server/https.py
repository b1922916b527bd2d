"""The files of an agent that speaks HTTPS: a CA of its own, its certificate, and one for a client."""

import os
import shutil
import ssl
import tempfile
import weakref
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from aioconsulconnect.testing.state.certificates import Signer, key_pem, make_key, pem, usage


class HttpsIdentity:
    """The files and the TLS context of one running agent, in a directory that `close` removes.

    - `host`: the host in the agent's URL, which its certificate names beside localhost.
    - `client_certificates`: demand a client certificate of the same CA.
    """

    def __init__(self, host: str, *, client_certificates: bool) -> None:
        directory = Path(tempfile.mkdtemp(prefix="agent-in-a-box-"))
        self._remove = weakref.finalize(self, _remove, directory, os.getpid())
        self.ca_file: Path = directory / "ca.pem"
        self.client_cert_file: Path = directory / "client.pem"
        self.client_key_file: Path = directory / "client-key.pem"
        authority = _certificate("agent in a box", None)
        server, client = _certificate("localhost", authority, host), _certificate("client", authority)
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
        self._remove()


def _remove(directory: Path, process: int) -> None:
    """Remove the directory, but not in a process that was forked from the one that made it."""
    if os.getpid() == process:
        shutil.rmtree(directory, ignore_errors=True)


def _certificate(name: str, issuer: Signer | None, host: str = "localhost") -> Signer:
    """Make a CA certificate if there is no issuer, else a certificate for this machine and `host`."""
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
        addresses = {"127.0.0.1", "::1"}
        names = {"localhost"}
        try:
            addresses.add(str(ip_address(host)))
        except ValueError:
            names.add(host)
        shown = [*map(x509.DNSName, sorted(names)), *(x509.IPAddress(ip_address(each)) for each in sorted(addresses))]
        builder = builder.add_extension(x509.SubjectAlternativeName(shown), critical=False)
    return Signer(builder.sign(signer, hashes.SHA256()), key)
