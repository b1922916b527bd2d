"""Servers that do to a client what Consul never would, or only on a bad day; and the keys for those with TLS."""

from __future__ import annotations

import asyncio
import datetime as dt
import ipaddress
import socket
import ssl
import struct
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


class Seen(NamedTuple):
    """A request as it came over the wire, on which connection (from 1)."""

    connection: int
    method: str
    target: str
    headers: dict[str, str]
    body: bytes


class Close(NamedTuple):
    """Send this much, then close the connection; with a reset if `reset`."""

    first: bytes = b""
    reset: bool = False


class Hang(NamedTuple):
    """Send this much, then nothing more."""

    first: bytes = b""


class Many(NamedTuple):
    """Send the head, then the chunk so many times."""

    head: bytes
    chunk: bytes
    times: int


class Late(NamedTuple):
    """Answer after so many seconds."""

    seconds: float


Step = bytes | Close | Hang | Late | Many


def answer(body: bytes = b"{}", status: int = 200, **headers: str) -> bytes:
    """An answer that keeps the connection open; `content_type="…"` and the like become headers."""
    named = {"Content-Type": "application/json"} | {name.replace("_", "-").title(): v for name, v in headers.items()}
    lines = "".join(f"{name}: {value}\r\n" for name, value in named.items())
    return f"HTTP/1.1 {status} Whatever\r\n{lines}Content-Length: {len(body)}\r\n\r\n".encode() + body


class Scripted:
    """
    Answers each request by the next step, and those after the last by `rest`; remembers what it saw.

    `waiting` is set while a request hangs.
    """

    def __init__(
        self, steps: Iterable[Step] = (), *, tls: ssl.SSLContext | None = None, path: Path | None = None, port: int = 0
    ) -> None:
        self.steps = list(steps)
        self.rest: Step = answer()
        self.seen: list[Seen] = []
        self.connections = 0
        self.open = 0
        self.waiting = asyncio.Event()
        self.release = asyncio.Event()
        self._tls = tls
        self._path = path
        self._port = port
        self._server: asyncio.Server | None = None
        self._handlers: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        if self._path is not None:
            return f"unix://{self._path}"
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    @property
    def port(self) -> int:
        assert self._server is not None
        return int(self._server.sockets[0].getsockname()[1])

    async def __aenter__(self) -> Self:
        if self._path is not None:
            self._server = await asyncio.start_unix_server(self._serve, self._path)
        else:
            self._server = await asyncio.start_server(
                self._serve, "127.0.0.1", self._port, ssl=self._tls, backlog=1000, reuse_address=True
            )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._handlers:
            task.cancel()
        await asyncio.gather(*self._handlers, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._handlers.add(task)
        self.connections += 1
        self.open += 1
        connection = self.connections
        try:
            while await self._one(connection, reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
            pass
        except asyncio.CancelledError:
            pass  # the server ends
        finally:
            self.open -= 1
            self._handlers.discard(task)
            writer.close()

    async def _one(self, connection: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        method, target, _ = head.split("\r\n")[0].split(" ")
        headers: dict[str, str] = {}
        for line in filter(None, head.split("\r\n")[1:]):
            name, value = line.split(": ", 1)
            before = headers.get(name.lower())
            headers[name.lower()] = value if before is None else f"{before}, {value}"
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        self.seen.append(Seen(connection, method, target, headers, body))
        step = self.steps.pop(0) if self.steps else self.rest
        match step:
            case bytes():
                writer.write(step)
            case Many(first, chunk, times):
                writer.write(first)
                for _ in range(times):
                    writer.write(chunk)
                    await writer.drain()
            case Late(seconds):
                await asyncio.sleep(seconds)
                writer.write(answer())
            case Hang(first):
                writer.write(first)
                self.waiting.set()
                await self.release.wait()
                writer.write(answer())
            case Close(first, reset):
                writer.write(first)
                await writer.drain()
                if reset:
                    option = struct.pack("ii", 1, 0)
                    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, option)
                    writer.transport.abort()
                return False
        await writer.drain()
        return True


class Keys:
    """A private certificate authority with a server's and a client's certificate, as files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a private authority")])
        self.ca = self._write("ca.pem", self._certificate(self._name, self._key, ca=True))
        self.server_cert, self.server_key = self._pair("server", "server.dc1.consul", "127.0.0.1")
        self.client_cert, self.client_key = self._pair("client", "client.dc1.consul")

    def server_context(self, *, verify_client: bool = False) -> ssl.SSLContext:
        """What a server uses; it may insist on a client's certificate."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.server_cert, self.server_key)
        if verify_client:
            context.load_verify_locations(self.ca)
            context.verify_mode = ssl.CERT_REQUIRED
        return context

    def encrypted_client_key(self, password: bytes) -> Path:
        """The client's key, behind a passphrase."""
        key = serialization.load_pem_private_key(self.client_key.read_bytes(), None)
        pem = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(password),
        )
        return self._write("encrypted.key", pem)

    def _pair(self, stem: str, name: str, address: str = "") -> tuple[Path, Path]:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        plain = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        names: list[x509.GeneralName] = [x509.DNSName(name)]
        if address:
            names.append(x509.IPAddress(ipaddress.ip_address(address)))
        pem = self._certificate(subject, key, names=names)
        return self._write(f"{stem}.pem", pem), self._write(f"{stem}.key", plain)

    def _certificate(
        self,
        subject: x509.Name,
        key: ec.EllipticCurvePrivateKey,
        *,
        ca: bool = False,
        names: list[x509.GeneralName] | None = None,
    ) -> bytes:
        now = dt.datetime.now(dt.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(hours=1))
            .not_valid_after(now + dt.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
        )
        if ca:
            usage = x509.KeyUsage(
                digital_signature=True, key_cert_sign=True, crl_sign=True, content_commitment=False,
                key_encipherment=False, data_encipherment=False, key_agreement=False, encipher_only=False,
                decipher_only=False,
            )  # fmt: skip
            builder = builder.add_extension(usage, critical=True)
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    def _write(self, name: str, content: bytes) -> Path:
        path = self.folder / name
        path.write_bytes(content)
        return path
