"""Where an agent listens: its address, its connections, and its files for HTTPS."""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Collection
from typing import Final, Literal

from aiohttp import web

from aioconsulconnect.testing.server.frontend import application
from aioconsulconnect.testing.server.https import HttpsIdentity

Security = Literal["", "tls", "mutual"]
_LARGEST_HEAD: Final = 2**20
_BACKLOG: Final = 1024


class Listener:
    """The server side of an agent's connections.

    - `host`, `port`: the address to listen on; port 0 takes a free one at the first time, and keeps it.
    - `security`: "tls" for HTTPS, "mutual" for HTTPS with client certificates, empty for HTTP.
    - `serve`: answers a request.
    """

    def __init__(
        self, host: str, port: int, security: Security, serve: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> None:
        self._host = host
        self._port = port
        self._security: Security = security
        self._serve = serve
        self._socket: socket.socket | None = None
        self._runner: web.AppRunner | None = None
        self.files: HttpsIdentity | None = None
        """The files of an agent that speaks HTTPS, while it runs."""
        self.url: str = ""
        """The base URL; empty before the first time."""

    @property
    def connections(self) -> Collection[object]:
        """The open connections, and the closed ones whose request is still being answered."""
        server = self._runner.server if self._runner is not None else None
        return server.connections if server is not None else ()

    async def open(self) -> None:
        """Begin to listen; OSError if the address cannot be had, also because this agent has it."""
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        listening = socket.create_server((self._host, self._port), family=family, backlog=_BACKLOG)
        try:
            host = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(self._host, self._host)  # noqa: S104
            if self._security and self.files is None:
                self.files = HttpsIdentity(host, client_certificates=self._security == "mutual")
            runner = web.AppRunner(
                application(self._serve),
                access_log=None,
                shutdown_timeout=1,
                max_line_size=_LARGEST_HEAD,
                max_field_size=_LARGEST_HEAD,
            )
            await runner.setup()
            context = self.files.context if self.files else None
            await web.SockSite(runner, listening, backlog=_BACKLOG, ssl_context=context).start()
        except BaseException:
            listening.close()
            raise
        self._socket, self._runner = listening, runner
        self._port = listening.getsockname()[1]
        shown = f"[{host}]" if ":" in host else host
        self.url = f"{'https' if self._security else 'http'}://{shown}:{self._port}"

    async def close(self) -> None:
        """Stop listening and close every connection, as an agent that is killed."""
        runner, listening = self._runner, self._socket
        self._runner = self._socket = None
        if runner is None or listening is None:
            return
        # Whoever was just accepted becomes a connection first: asyncio loses those that meet a closed server.
        asyncio.get_running_loop().remove_reader(listening)
        await _rounds()
        for site in tuple(runner.sites):
            await site.stop()
        for connection in runner.server.connections if runner.server else ():
            if connection.transport is not None:
                connection.transport.abort()
        await _rounds()  # the loop closes what was aborted
        await runner.cleanup()

    def remove_files(self) -> None:
        """Remove the files for HTTPS; those of the next time are others."""
        if self.files is not None:
            self.files.close()
            self.files = None

    def forget(self) -> None:
        """Give up the listening socket in a process that was forked."""
        if self._socket is not None:
            self._socket.close()
        self._socket = self._runner = self.files = None


async def _rounds() -> None:
    """Let the event loop do what it has been given to do, and what comes of that."""
    for _ in range(3):
        await asyncio.sleep(0)
