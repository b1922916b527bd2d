"""The requests that an agent has received, and the routes that a test has added to it."""

import json
import logging
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from aioconsulconnect.testing.server.routes import fits

_log: Final = logging.getLogger("aioconsulconnect.testing")
_KEPT: Final = 10_000
_KEPT_BYTES: Final = 64 * 2**20


@dataclass(slots=True, eq=False)
class Request:
    """A request that the in-process agent has received.

    - `method`: the HTTP method.
    - `path`: the path, unescaped unless the request is malformed or was redirected.
    - `query`: the parameters, each with all its values.
    - `token`: the ACL token; empty without one, and where the path is unknown.
    - `body`: the body; empty without one, and where the path is unknown.
    - `status`: the status of the answer; None until it is answered, and where the connection ended without an answer.
    - `seconds`: the time until the answer; None in the same cases.
    """

    method: str
    path: str
    query: Mapping[str, tuple[str, ...]]
    token: str = field(repr=False, default="")
    body: bytes = field(repr=False, default=b"")
    status: int | None = None
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """Answer of a route that a test has added.

    - `body`: bytes or a text to send as they are, or else a value to send as JSON; None (the default) sends no body.
    - `status`: the status, 200 by default; ValueError unless it is one from 200 to 599.
    - `headers`: more headers, none by default; ValueError for one with a line break.
    """

    body: object = None
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict[str, str])

    def __post_init__(self) -> None:
        if self.status not in range(200, 600):
            raise ValueError(f"a status is a number from 200 to 599, unlike {self.status!r}")
        for name, value in self.headers.items():
            if {"\r", "\n", "\0"} & {*name, *value}:
                raise ValueError(f"a header cannot hold a line break: {name!r}")

    def content(self) -> tuple[bytes, str]:
        """The body as bytes, and its type."""
        match self.body:
            case None:
                return b"", ""
            case bytes():
                return self.body, "application/octet-stream"
            case str():
                return self.body.encode(), "text/plain; charset=utf-8"
            case _:
                return json.dumps(self.body).encode(), "application/json"


Handler = Callable[[Request], Answer]


class AddedRoute(NamedTuple):
    """A route that a test has added: `pattern` is a path, or with a slash at its end the beginning of one."""

    method: str
    pattern: str
    handler: Handler


class Unmodelled(NamedTuple):
    """A request that the agent has answered with 501, the reason, and its number among those of the agent."""

    method: str
    path: str
    reason: str
    number: int

    def __str__(self) -> str:
        asked = f"{self.method} {self.path}"
        return self.reason if asked in self.reason else f"{asked}: {self.reason}"


class Traffic:
    """The requests of one agent, and the routes that were added to it.

    `requests` are the last 10,000, `unmodelled` those that were answered with 501.
    """

    def __init__(self) -> None:
        self.requests: deque[Request] = deque(maxlen=_KEPT)
        self.unmodelled: deque[Unmodelled] = deque(maxlen=_KEPT)
        self.routes: list[AddedRoute] = []
        self._number = 0
        self._bytes = 0

    def read(self, request: Request, body: bytes) -> None:
        """Note the `body` of a `request`; the oldest requests go where all bodies are more than 64 MiB."""
        request.body = body
        self._bytes += len(body)
        while self._bytes > _KEPT_BYTES and len(self.requests) > 1:
            self._bytes -= len(self.requests.popleft().body)

    def refuse(self, method: str, path: str, reason: str) -> None:
        """Note that the request `method` `path` is not modelled; the first one for a `reason` is logged."""
        known = any(each.reason == reason for each in self.unmodelled)
        self._number += 1
        self.unmodelled.append(Unmodelled(method, path, reason, self._number))
        if not known:
            _log.warning("%s", self.unmodelled[-1])

    def handler_of(self, method: str, path: str) -> Handler | None:
        """The handler of the last added route that takes `method` and `path`; None where there is none."""
        taking = (each for each in reversed(self.routes) if each.method == method and fits(each.pattern, path))
        return next((each.handler for each in taking), None)

    def clear(self) -> None:
        """Forget the requests; the routes stay."""
        self.requests.clear()
        self._bytes = 0
        self.unmodelled.clear()
