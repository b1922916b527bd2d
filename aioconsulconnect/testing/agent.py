"""An agent in the process: its life, and what a test may do to it and ask it."""

import uuid
from types import TracebackType
from typing import Final, Literal, Self

from aiohttp import web

from aioconsulconnect.testing.acl import Acl
from aioconsulconnect.testing.acl_routes import Tokens
from aioconsulconnect.testing.authority import Authority
from aioconsulconnect.testing.box import Box, Poll
from aioconsulconnect.testing.certificate_routes import Certificates
from aioconsulconnect.testing.config import Entries
from aioconsulconnect.testing.connect import Intentions, book_of
from aioconsulconnect.testing.frontend import Frontend, Request
from aioconsulconnect.testing.quirks import QUIRKS
from aioconsulconnect.testing.routes import build_table
from aioconsulconnect.testing.store import Store
from aioconsulconnect.testing.system import System
from aioconsulconnect.testing.view import View

_LARGEST_HEAD: Final = 2**20
Version = Literal["1.8", "1.10", "1.16", "1.22"]
Policy = Literal["allow", "deny"]


class Agent:
    """A Consul agent to test with, in this process: what it answers is what that version of Consul answers.

    It is both the only server and the agent asked, in development mode (pretty JSON), with Connect on.
    Enter it, or call ``start`` and ``stop``.
    """

    def __init__(
        self,
        version: Version = "1.22",
        *,
        port: int = 0,
        acl: bool = False,
        default_policy: Policy | None = None,
        datacenter: str = "dc1",
        node_name: str = "box",
    ) -> None:
        quirks = QUIRKS[version]
        self._port = port
        self._store = Store(12, {"config": quirks.first_entries_index, "roots": 9})
        # An agent without ACLs still names a default policy; with ACLs the careful one is the better default.
        self._acl = Acl(quirks, enabled=acl, default=default_policy or ("deny" if acl else "allow"))
        self._authority = Authority(self._store, quirks, datacenter)
        box = Box(quirks, self._store, self._acl, self._authority, datacenter, node_name, str(uuid.uuid4()))
        self._box = box
        self._book = book_of(box)
        self._frontend = Frontend(
            box,
            build_table(
                Intentions(box, self._book), Certificates(box, self._book), Entries(box), Tokens(box), System(box)
            ),
        )
        self._runner: web.AppRunner | None = None
        self._address = ""

    # Life.

    async def start(self) -> Self:
        """Listen on 127.0.0.1, at the port asked for or at a free one."""
        runner = web.AppRunner(
            self._frontend.application(),
            access_log=None,
            shutdown_timeout=1,
            max_line_size=_LARGEST_HEAD,
            max_field_size=_LARGEST_HEAD,
        )
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", self._port, backlog=1024).start()
        except OSError:
            await runner.cleanup()
            raise
        self._runner = runner
        self._address = f"http://127.0.0.1:{runner.addresses[0][1]}"
        return self

    async def stop(self) -> None:
        """Close every connection; polls that wait get no answer, as from an agent that goes away."""
        self._store.close()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    def __repr__(self) -> str:
        return f"<Agent {self.version} at {self._address or 'no address yet'}>"

    # What a test asks it.

    @property
    def url(self) -> str:
        """The address to give to a client."""
        if not self._address:
            raise RuntimeError("the agent has not been started: enter it with `async with`")
        return self._address

    @property
    def version(self) -> str:
        """The full version, such as 1.16.6."""
        return self._box.quirks.release

    @property
    def management_token(self) -> str:
        """The token that may do everything; empty where ACLs are off."""
        return self._acl.management_token

    @property
    def trust_domain(self) -> str:
        """The trust domain of the CA."""
        return self._authority.trust_domain

    @property
    def store(self) -> View:
        """What the agent holds, to look at."""
        return View(self._store, self._book)

    @property
    def requests(self) -> tuple[Request, ...]:
        """The requests so far, oldest first; the last ten thousand are kept."""
        return tuple(self._frontend.requests)

    @property
    def polls(self) -> tuple[Poll, ...]:
        """The blocking queries that wait now, also those whose client is gone: Consul keeps them too."""
        return tuple(self._box.polls)

    # What a test does to it.

    def rotate_root(self) -> None:
        """Give the CA a new root, cross-signed by the old one, and every service a new leaf."""
        self._authority.rotate()

    def advance(self, index: int) -> None:
        """Raise the index, as writes elsewhere would; the next write here lies above it."""
        self._store.index = max(self._store.index, index)
