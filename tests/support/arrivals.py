"""A server that notes what arrives at it, in plain text or over TLS, on TCP and on a Unix socket: nothing else."""

from __future__ import annotations

import selectors
import socket
import ssl
from contextlib import suppress
from pathlib import Path
from threading import Event, Thread
from types import TracebackType
from typing import NamedTuple, Self
from urllib.parse import parse_qsl

from cryptography import x509
from support.servers import Keys

NO_TRUST = "the client broke the handshake off"
NO_CERTIFICATE = "the server refused the client's certificate, or that there was none"
NO_TLS = "TLS at a plain door"
_OUR_REFUSALS = {"PEER_DID_NOT_RETURN_A_CERTIFICATE", "CERTIFICATE_VERIFY_FAILED"}
_TLS_HANDSHAKE = b"\x16"  # the first byte of a connection over TLS
_PATIENCE = 5.0  # seconds for one client; none of them waits on purpose
_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\nConnection: close\r\n\r\n[]"


class Arrival(NamedTuple):
    """
    What came of one connection.

    `trouble` is "" for a request; else it says why there was none, and only `door`, `tls` and `sni` are known.
    """

    door: str
    tls: bool
    sni: str = ""
    trouble: str = ""
    certificate: str = ""
    path: str = ""
    query: tuple[tuple[str, str], ...] = ()
    host: str = ""
    token: str | None = None
    authorization: str | None = None


class Arrivals:
    """
    Listens at five doors, answers every request with `[]`, and keeps what arrived.

    The doors: `plain` (HTTP), `plain6` (HTTP on ::1, where there is IPv6), `unix` (HTTP on a socket), `tls` (a client's
    certificate is welcome), `mtls` (it is required). A client may speak TLS at a plain door and the other way around:
    that is noted, too. `places` has the port or the path of each.
    """

    def __init__(self, keys: Keys, folder: Path) -> None:
        self.seen: list[Arrival] = []
        self._sni = ""
        self._contexts = {"tls": keys.server_context(), "mtls": keys.server_context(verify_client=True)}
        self._contexts["tls"].load_verify_locations(keys.ca)
        self._contexts["tls"].verify_mode = ssl.CERT_OPTIONAL
        for context in self._contexts.values():
            context.sni_callback = self._note_name
        self._doors = {name: _listen("127.0.0.1") for name in ("plain", "tls", "mtls")}
        with suppress(OSError):
            self._doors["plain6"] = _listen("::1")
        self._doors["unix"] = socket.socket(socket.AF_UNIX)
        self._doors["unix"].bind(str(folder / "consul.sock"))
        self._doors["unix"].listen()
        self.places: dict[str, str] = {
            name: str(door.getsockname()[1]) if name != "unix" else str(door.getsockname())
            for name, door in self._doors.items()
        }
        self._wake, self._woken = socket.socketpair()
        self._drained = Event()
        self._thread = Thread(target=self._serve, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._wake.close()
        self._thread.join()
        self._woken.close()
        for door in self._doors.values():
            door.close()

    def taken(self) -> list[Arrival]:
        """All that arrived since the last time; whoever sent it must be done."""
        self._drained.clear()
        self._wake.send(b".")
        assert self._drained.wait(10)
        seen, self.seen = self.seen, []
        return seen

    def _serve(self) -> None:
        with selectors.DefaultSelector() as selector:
            for name, door in self._doors.items():
                door.setblocking(False)
                selector.register(door, selectors.EVENT_READ, name)
            selector.register(self._woken, selectors.EVENT_READ)
            while True:
                selector.select()
                # What was sent before the wish to see it is in one of the queues: they are emptied first.
                for name, door in self._doors.items():
                    with suppress(BlockingIOError):
                        while True:
                            self._one(name, door.accept()[0])
                self._woken.setblocking(False)
                with suppress(BlockingIOError):
                    if not self._woken.recv(100):
                        return
                    self._drained.set()

    def _one(self, name: str, connection: socket.socket) -> None:
        connection.settimeout(_PATIENCE)
        with connection:
            try:
                tls = connection.recv(1, socket.MSG_PEEK) == _TLS_HANDSHAKE
            except OSError:
                return
            if not tls:
                self.seen.append(_request(Arrival(name, tls=False), connection))
            elif name not in self._contexts:
                self.seen.append(Arrival(name, tls=True, trouble=NO_TLS))
            else:
                self._over_tls(name, connection)

    def _over_tls(self, name: str, connection: socket.socket) -> None:
        self._sni = ""
        try:
            with self._contexts[name].wrap_socket(connection, server_side=True) as wrapped:
                shown = wrapped.getpeercert(binary_form=True)
                subject = x509.load_der_x509_certificate(shown).subject.rfc4514_string() if shown else ""
                self.seen.append(_request(Arrival(name, tls=True, sni=self._sni, certificate=subject), wrapped))
        except ssl.SSLError as error:
            trouble = NO_CERTIFICATE if error.reason in _OUR_REFUSALS else NO_TRUST
            self.seen.append(Arrival(name, tls=True, sni=self._sni, trouble=trouble))
        except OSError:
            self.seen.append(Arrival(name, tls=True, sni=self._sni, trouble=NO_TRUST))

    def _note_name(self, _: ssl.SSLObject, name: str | None, __: ssl.SSLContext) -> None:
        self._sni = name or ""


def _listen(host: str) -> socket.socket:
    return socket.create_server((host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET)


def _request(arrival: Arrival, connection: socket.socket) -> Arrival:
    """Read the head of one request and answer it."""
    head = b""
    while b"\r\n\r\n" not in head:
        try:
            more = connection.recv(65536)
        except OSError:
            more = b""
        if not more:
            return arrival._replace(trouble="no request")
        head += more
    first, *lines = head.decode("latin-1").partition("\r\n\r\n")[0].split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    with suppress(OSError):
        connection.sendall(_ANSWER)
    path, _, query = first.split(" ")[1].partition("?")
    return arrival._replace(
        path=path,
        query=tuple(parse_qsl(query, keep_blank_values=True)),
        host=headers.get("host", ""),
        token=headers.get("x-consul-token"),
        authorization=headers.get("authorization"),
    )
