"""HTTP request to be judged, and the view of it that rules are held against."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import cast

import msgspec

from aioconsulconnect.authorization.rules.regex import Budget
from aioconsulconnect.errors import InvalidRequest

Pairs = tuple[tuple[str, str], ...]


class HTTPRequest(msgspec.Struct, frozen=True, gc=False):
    """
    Request as it came in, before anything was decoded.

    Raises InvalidRequest for values of another type. What a server would refuse is no error: it is denied.

    - `method`: method in the case in which it was sent.
    - `path`: request target as sent, with its query, and with its percent signs: never a decoded path.
    - `headers`: a mapping (also one that repeats keys) or pairs; kept as pairs. Bytes beyond ASCII are text in UTF-8,
      with `surrogateescape`.
    """

    method: str
    path: str
    headers: Mapping[str, str] | Iterable[tuple[str, str]] = ()

    def __post_init__(self) -> None:
        """Keep the headers as pairs."""
        if type(self.method) is not str or type(self.path) is not str:
            raise InvalidRequest("method and path of an HTTPRequest must be str")
        if self.headers != ():
            msgspec.structs.force_setattr(self, "headers", _pairs(self.headers))

    @property
    def pairs(self) -> Pairs:
        """The headers as pairs of name and value."""
        return cast("Pairs", self.headers)


def _pairs(headers: object) -> Pairs:
    found: list[tuple[str, str]] = []
    try:
        items = cast("Mapping[str, str]", headers).items() if isinstance(headers, Mapping) else headers
        for pair in cast("Iterable[Iterable[object]]", items):
            if type(pair) is str:  # "ab" would be the header a: b
                raise InvalidRequest("headers must be a mapping or pairs of name and value, not text")
            name, value = pair
            if not isinstance(name, str) or not isinstance(value, str):
                raise InvalidRequest("names and values of headers must be str")
            found.append((name, value))
    except (TypeError, ValueError) as error:
        raise InvalidRequest("headers must be a mapping or pairs of name and value") from error
    return tuple(found)


# Headers that are always there behind Envoy, with a value that only Envoy knows.
PROXYS = frozenset({"x-forwarded-client-cert", "x-request-id", "x-forwarded-proto", ":scheme", "host", ":authority"})

# Headers that some versions of Envoy take away.
_VERSIONS_DIFFER = frozenset({"x-envoy-upstream-stream-duration-ms"})


class Seen:
    """
    Request as rules see it, after its normalization.

    - `request`: the request to serve: its path and query as they were judged, its headers as rules saw them.
    - `path`: the path without the query.
    """

    __slots__ = ("_budget", "_values", "path", "request")

    def __init__(self, request: HTTPRequest, path: str) -> None:
        self.request: HTTPRequest = request
        self.path: str = path
        self._values: dict[str, tuple[str, ...]] | None = None  # made at the first rule that asks for a header
        self._budget: Budget | None = None

    @property
    def budget(self) -> Budget:
        """The work that the regular expressions of rules may still do for this request."""
        if self._budget is None:
            self._budget = Budget()
        return self._budget

    def values(self, name: str) -> tuple[str, ...] | None:
        """
        Return the values of a header, one for each line, in order; None if only the proxy knows them.

        `name` is in lower case; it can be one of Envoy's pseudo headers.
        """
        if self._values is None:
            self._values = self._collected()
        found = self._values.get(name)
        if name in {"x-forwarded-client-cert", "x-request-id"}:
            return None
        if found is not None and name in _VERSIONS_DIFFER:
            return None
        if found is None:
            return None if name in PROXYS else ()
        return found

    def _collected(self) -> dict[str, tuple[str, ...]]:
        lines: dict[str, list[str]] = {}
        for name, value in self.request.pairs:
            lines.setdefault(name.lower(), []).append(value.strip(" \t"))
        found = {name: tuple(values) for name, values in lines.items()}
        found[":path"], found[":method"] = (self.request.path,), (self.request.method,)
        if "host" in found:
            found[":authority"] = found["host"]
        if "x-forwarded-proto" in found:
            found[":scheme"] = found["x-forwarded-proto"]
        return found
