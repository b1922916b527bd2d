"""What stands between a client and an agent: tinyproxy, nginx as a gateway, and one that closes after each answer."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest
from support.agents import free_ports

_STARTED_WITHIN = 10.0  # seconds


def program(name: str) -> str:
    """The path of a program of the system, or a skip that says why there is none (a failure where CI is set)."""
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")
    if found is not None:
        return found
    reason = f"no {name}: apt-get install tinyproxy nginx-light"
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


@contextmanager
def tinyproxy(folder: Path, *, login: str = "") -> Iterator[str]:
    """
    A forward proxy, also by CONNECT: its address. Its log is `tinyproxy.log` in `folder`.

    `login` is the `user password` that it wants, empty for none.
    """
    port = free_ports().http
    lines = [
        f"Port {port}",
        "Listen 127.0.0.1",
        "Timeout 120",
        "MaxClients 100",
        f'LogFile "{folder / "tinyproxy.log"}"',
        "LogLevel Connect",
        *([f"BasicAuth {login}"] if login else []),
    ]
    (folder / "tinyproxy.conf").write_text("\n".join(lines) + "\n")
    with _running([program("tinyproxy"), "-d", "-c", str(folder / "tinyproxy.conf")], port, folder):
        yield f"127.0.0.1:{port}"


@contextmanager
def nginx(folder: Path, *, agent: str, prefix: str, header: str, value: str) -> Iterator[str]:
    """
    A gateway that forwards what is below `prefix` to `agent`: its URL with the prefix. Its log is `access.log`.

    Whoever does not send `value` in `header` is told 401.
    """
    port = free_ports().http
    variable = "http_" + header.lower().replace("-", "_")
    temporary = "\n".join(
        f"{kind}_temp_path {folder / kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (folder / "nginx.conf").write_text(f"""
daemon off;
master_process off;
pid {folder / "nginx.pid"};
error_log stderr warn;
events {{ worker_connections 256; }}
http {{
  access_log {folder / "access.log"};
  {temporary}
  server {{
    listen 127.0.0.1:{port};
    location {prefix}/ {{
      if (${variable} != "{value}") {{ return 401; }}
      proxy_pass {agent}/;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_read_timeout 90;
    }}
  }}
}}
""")
    command = [program("nginx"), "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", "stderr"]
    with _running(command, port, folder):
        yield f"http://127.0.0.1:{port}{prefix}"


@contextmanager
def _running(command: list[str], port: int, folder: Path) -> Iterator[None]:
    log = folder / "output.log"
    setpriv = shutil.which("setpriv")
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*([setpriv, "--pdeathsig", "KILL"] if setpriv else []), *command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        until = time.monotonic() + _STARTED_WITHIN
        while not _listens(port):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < until, log.read_text()
            time.sleep(0.02)
        yield
    finally:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(5)


def _listens(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


class _Server:
    """A server whose connections end with it."""

    def __init__(self) -> None:
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        assert self._server is not None
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._one(reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # one side has gone, or the server ends
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        raise NotImplementedError


class ConnectProxy(_Server):
    """A proxy that knows CONNECT alone."""

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        words = (await reader.readuntil(b"\r\n\r\n")).split(b" ")
        assert words[0] == b"CONNECT"
        host, _, port = words[1].decode().partition(":")
        beyond, to_beyond = await asyncio.open_connection(host, int(port))
        try:
            writer.write(b"HTTP/1.1 200 Connected\r\n\r\n")
            async with asyncio.TaskGroup() as group:
                group.create_task(_copy(reader, to_beyond))
                group.create_task(_copy(beyond, writer))
        finally:
            to_beyond.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while part := await reader.read(65536):
            writer.write(part)
            await writer.drain()
    writer.close()


class ClosingGateway(_Server):
    """
    Forwards each request to an agent, and closes its connection after the answer without having said so.

    As a gateway does that goes by its own rules about idle connections. `requests` counts what came whole.
    """

    def __init__(self, agent: str) -> None:
        super().__init__()
        host, _, port = agent.removeprefix("http://").partition(":")
        self._agent = host, int(port)
        self.requests = 0

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        lines = (await reader.readuntil(b"\r\n\r\n")).removesuffix(b"\r\n\r\n").split(b"\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(b": ") for line in lines[1:])}
        body = await reader.readexactly(int(headers.get(b"content-length", b"0")))
        self.requests += 1
        kept = [line for line in lines if not line.lower().startswith(b"connection:")]
        upstream, to_upstream = await asyncio.open_connection(*self._agent)
        try:
            to_upstream.write(b"\r\n".join([*kept, b"Connection: close", b"", body]))
            head, _, rest = (await upstream.read(-1)).partition(b"\r\n\r\n")
        finally:
            to_upstream.close()
        silent = [line for line in head.split(b"\r\n") if not line.lower().startswith(b"connection:")]
        writer.write(b"\r\n".join([*silent, b"", rest]))
        await writer.drain()
