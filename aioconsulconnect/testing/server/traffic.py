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
    - `status`: the status, 200 by default.
    - `headers`: more headers, none by default.
    """

    body: object = None
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict[str, str])

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
    """A request that the agent has answered with 501, and the reason."""

    method: str
    path: str
    reason: str

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
        self._logged: set[Unmodelled] = set()

    def refuse(self, request: Unmodelled) -> None:
        """Note a request that is not modelled, and log it the first time."""
        self.unmodelled.append(request)
        if request not in self._logged:
            self._logged.add(request)
            _log.warning("%s", request)

    def handler_of(self, method: str, path: str) -> Handler | None:
        """The handler of the last added route that takes `method` and `path`; None where there is none."""
        taking = (each for each in reversed(self.routes) if each.method == method and fits(each.pattern, path))
        return next((each.handler for each in taking), None)

    def clear(self) -> None:
        """Forget the requests; the routes stay."""
        self.requests.clear()
        self.unmodelled.clear()
