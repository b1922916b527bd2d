"""Authorities, names and certificates: whom the transport trusts, and as whom it comes."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import aclosing
from pathlib import Path

import pytest
from support.servers import Close, Keys, Scripted, answer
from support.transports import NoWait, ask, transport

from aioconsulconnect.errors import (
    ConnectionFailed,
    ErrorReason,
    SettingsError,
    UnreadableResponse,
)
from aioconsulconnect.transport.aiohttp_transport import Transport
from aioconsulconnect.transport.settings.connection import Settings


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    return Keys(tmp_path_factory.mktemp("keys"))


async def test_a_private_authority(keys: Keys, tmp_path: Path) -> None:
    folder = tmp_path / "authorities" / "deeper"
    folder.mkdir(parents=True)
    (folder / "ca.pem").write_bytes(keys.ca.read_bytes())
    async with Scripted(tls=keys.server_context()) as server:
        for trust in ({"ca_cert": keys.ca}, {"ca_path": folder.parent}, {"verify": False}):
            async with aclosing(transport(server.url, **trust)) as carrier:
                assert (await carrier.send(ask())).status == 200
        async with aclosing(transport(server.url, tries=1)) as carrier:
            with pytest.raises(ConnectionFailed, match="certificate"):
                await carrier.send(ask("PUT"))


async def test_the_name_to_verify(keys: Keys) -> None:
    async with Scripted(tls=keys.server_context()) as server:
        url = f"https://localhost:{server.port}"  # which the certificate does not name
        async with aclosing(transport(url, ca_cert=keys.ca, tries=1)) as carrier:
            with pytest.raises(ConnectionFailed, match="localhost"):
                await carrier.send(ask())
        async with aclosing(transport(url, ca_cert=keys.ca, tls_server_name="server.dc1.consul:8501")) as carrier:
            assert (await carrier.send(ask())).status == 200


async def test_a_client_certificate(keys: Keys) -> None:
    async with Scripted(tls=keys.server_context(verify_client=True)) as server:
        pair = {"client_cert": keys.client_cert, "client_key": keys.client_key}
        async with aclosing(transport(server.url, ca_cert=keys.ca, **pair)) as carrier:
            assert (await carrier.send(ask("PUT"))).status == 200
        async with aclosing(transport(server.url, verify=False, **pair)) as carrier:
            assert (await carrier.send(ask())).status == 200
        async with aclosing(transport(server.url, ca_cert=keys.ca, tries=1)) as carrier:
            with pytest.raises(ConnectionFailed):
                await carrier.send(ask())


async def test_plain_http_to_tls_and_back(keys: Keys) -> None:
    async def plain(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async with Scripted(tls=keys.server_context()) as server:
        async with aclosing(transport(f"127.0.0.1:{server.port}", tries=1)) as carrier:
            with pytest.raises((ConnectionFailed, UnreadableResponse)):
                await carrier.send(ask())
        refusing = await asyncio.start_server(plain, "127.0.0.1", 0)
        url = f"https://127.0.0.1:{refusing.sockets[0].getsockname()[1]}"
        async with refusing, aclosing(transport(url, tries=1)) as carrier:
            with pytest.raises(ConnectionFailed):
                await carrier.send(ask())


@pytest.mark.parametrize(
    ("what", "name"),
    [
        ({"ca_cert": "missing.pem"}, "ca_cert"),
        ({"ca_cert": "text.pem"}, "ca_cert"),
        ({"ca_path": "missing"}, "ca_path"),
        ({"ca_path": "."}, "ca_path"),
        ({"client_cert": "missing.pem", "client_key": "text.pem"}, "client_cert"),
        ({"client_cert": "text.pem", "client_key": "text.pem"}, "client_cert"),
        ({"client_cert": "client.pem", "client_key": "encrypted.key"}, "passphrase"),
        ({"client_cert": "client.pem", "client_key": "server.key"}, "client_cert"),
    ],
)
def test_unusable_files_are_named_at_construction(
    what: dict[str, str], name: str, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys.encrypted_client_key(b"geheim")
    (keys.folder / "text.pem").write_text("no PEM")
    monkeypatch.chdir(keys.folder)
    with pytest.raises(SettingsError, match=name):
        transport("h:1", **what)


def test_unusable_files_are_named_by_their_variable(tmp_path: Path) -> None:
    settings = Settings.load("h:1", environ={"CONSUL_CACERT": str(tmp_path / "gone")})
    with pytest.raises(SettingsError, match="CONSUL_CACERT"):
        Transport(settings)


# Files that are replaced while the client lives.


class Hand(NoWait):
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        super().__init__()
        self.time = 0.0

    def now(self) -> float:
        return self.time


def copied(keys: Keys, folder: Path) -> dict[str, Path]:
    """The client's files, as copies that a test may replace."""
    folder.mkdir(exist_ok=True)
    names = {"ca_cert": keys.ca, "client_cert": keys.client_cert, "client_key": keys.client_key}
    for name, source in names.items():
        (folder / f"{name}.new").write_bytes(source.read_bytes())
        (folder / f"{name}.new").replace(folder / f"{name}.pem")
    return {name: folder / f"{name}.pem" for name in names}


@pytest.mark.parametrize("method", ["GET", "PUT"])
async def test_replaced_files_are_used_for_the_next_connection(
    keys: Keys, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, method: str
) -> None:
    files, clock = copied(keys, tmp_path / "files"), Hand()
    async with Scripted(tls=keys.server_context(verify_client=True)) as server:
        carrier = transport(server.url, clock=clock, **files)
        await carrier.send(ask(method))
        port = server.port
    for turn in range(2):  # the agent has another authority and another certificate, twice
        new = Keys(tmp_path_factory.mktemp(f"new{turn}"))
        async with Scripted(tls=new.server_context(verify_client=True), port=port) as server:
            with pytest.raises(ConnectionFailed) as caught:
                await carrier.send(ask(method))
            assert caught.value.reason is ErrorReason.CERTIFICATE
            copied(new, tmp_path / "files")
            assert (await carrier.send(ask(method))).status == 200  # within the second: the failure made it look
            assert len(server.seen) == 1
    await carrier.aclose()


async def test_replaced_client_certificate_is_shown_after_a_second(
    keys: Keys, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    files, clock = copied(keys, tmp_path / "files"), Hand()
    async with (
        Scripted(tls=keys.server_context(verify_client=True)) as server,
        aclosing(transport(server.url, clock=clock, **files)) as carrier,
    ):
        await carrier.send(ask())
        other = Keys(tmp_path_factory.mktemp("other"))
        files["client_cert"].write_bytes(other.client_cert.read_bytes())  # and the key not yet: the old pair goes on
        clock.time += 2
        await carrier.send(ask())
        copied(keys, tmp_path / "files")
        clock.time += 2
        await carrier.send(ask())
        assert server.connections == 2  # the first, and one with the new files


async def test_authority_that_was_taken_away_is_trusted_no_more_once_an_agent_uses_the_new_one(
    keys: Keys, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    bundle, clock, new = tmp_path / "ca.pem", Hand(), Keys(tmp_path_factory.mktemp("new"))
    bundle.write_bytes(keys.ca.read_bytes())
    async with Scripted(tls=keys.server_context()) as server:
        carrier = transport(server.url, ca_cert=bundle, clock=clock)
        await carrier.send(ask())
        port = server.port
    bundle.write_bytes(new.ca.read_bytes())
    clock.time += 2
    async with Scripted(tls=new.server_context(), port=port):
        await carrier.send(ask())
    async with Scripted(tls=keys.server_context(), port=port) as server:
        with pytest.raises(ConnectionFailed, match="see ca_cert"):
            await carrier.send(ask())
        assert not server.seen
    await carrier.aclose()


async def test_tls_files_before_a_change_are_tried_for_five_minutes_and_that_is_logged(
    keys: Keys, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, caplog: pytest.LogCaptureFixture
) -> None:
    bundle, clock, new = tmp_path / "ca.pem", Hand(), Keys(tmp_path_factory.mktemp("new"))
    bundle.write_bytes(keys.ca.read_bytes())
    async with (
        Scripted(tls=keys.server_context()) as server,
        aclosing(transport(server.url, ca_cert=bundle, clock=clock, tries=1)) as carrier,
    ):
        await carrier.send(ask())
        bundle.write_bytes(new.ca.read_bytes())  # before the agent, which goes on with its old certificate
        clock.time += 2
        server.rest = Close(answer())
        await carrier.send(ask())  # with one try, too: to use other files is none
        assert "does not take the changed files" in caplog.text
        clock.time += 299
        await carrier.send(ask())
        clock.time += 2
        with pytest.raises(ConnectionFailed, match="see ca_cert"):
            await carrier.send(ask())


async def test_certificate_that_is_not_trusted_is_not_tried_again(keys: Keys) -> None:
    clock = NoWait()
    async with (
        Scripted(tls=keys.server_context()) as server,
        aclosing(transport(server.url, tries=10, clock=clock)) as carrier,
    ):
        with pytest.raises(ConnectionFailed, match="see ca_cert") as caught:
            await carrier.send(ask())
        assert caught.value.reason is ErrorReason.CERTIFICATE
        assert clock.slept == []


async def test_next_address_is_tried_where_a_certificate_is_not_trusted(
    keys: Keys, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = Keys(tmp_path_factory.mktemp("other"))
    async with (
        Scripted(tls=other.server_context()) as bad,
        Scripted(tls=keys.server_context()) as good,
        aclosing(transport(bad.url, good.url, ca_cert=keys.ca)) as carrier,
    ):
        assert (await carrier.send(ask("PUT"))).status == 200


async def test_context_of_the_callers_is_used_for_all(keys: Keys) -> None:
    context = ssl.create_default_context(cafile=str(keys.ca))
    async with (
        Scripted(tls=keys.server_context()) as server,
        aclosing(transport(server.url, ssl_context=context)) as carrier,
    ):
        await carrier.send(ask())
        await carrier.attempt(ask(), extra=(), deadline=5, address=server.url)
        assert server.connections == 2
    with pytest.raises(SettingsError, match="ssl_context"):
        transport("https://127.0.0.1:1", ssl_context=context, ca_cert=keys.ca)
