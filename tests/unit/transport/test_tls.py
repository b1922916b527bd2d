"""Authorities, names and certificates: whom the transport trusts, and as whom it comes."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from pathlib import Path

import pytest
from support.servers import Keys, Scripted
from support.transports import ask, transport

from aioconsulconnect.errors import (
    ConnectionFailed,
    SettingsError,
    UnreadableResponse,
)
from aioconsulconnect.transport.aiohttp_transport import Transport
from aioconsulconnect.transport.settings import Settings


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
        ({"ca_cert": "missing.pem"}, "cacert"),
        ({"ca_cert": "text.pem"}, "cacert"),
        ({"ca_path": "missing"}, "capath"),
        ({"ca_path": "."}, "capath"),
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
