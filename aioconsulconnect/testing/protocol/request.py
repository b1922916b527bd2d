"""The conventions of Consul's HTTP interface: what a request asks for, what an answer carries, how a refusal reads."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import unquote_plus, unquote_to_bytes

from aioconsulconnect.testing.go_json.encoding import parse
from aioconsulconnect.testing.go_json.errors import DecodeError
from aioconsulconnect.testing.go_json.scalars import parse_duration
from aioconsulconnect.testing.versions import Quirks

PLAIN: Final = "text/plain; charset=utf-8"
JSON: Final = "application/json"
_LARGEST: Final = 2**64 - 1
_DEFAULT_WAIT: Final = 300.0
_LONGEST_WAIT: Final = 600.0
_DIRECTIVE: Final = re.compile(r"(max-age|stale-if-error)=(.*)", re.IGNORECASE)


class Refused(Exception):
    """An answer other than 200, with Consul's text."""

    def __init__(self, status: int, text: str, *, from_server: bool = False, at: int | None = None) -> None:
        super().__init__(text)
        self.status = status
        self.text = text
        self.from_server = from_server
        """Whether the server refused rather than the HTTP layer: such answers of some paths carry an index of 1."""
        self.at = at
        """The index that a missing configuration entry comes with."""


class Dropped(Exception):
    """The connection ends without an answer, as it does when a handler of Consul panics."""


def refused_by_server(text: str, status: int = 500) -> Refused:
    """A refusal that comes from the server behind the HTTP layer."""
    return Refused(status, text, from_server=True)


@dataclass(frozen=True, slots=True)
class Meta:
    """What a read says of itself in its headers."""

    index: int | None = None
    known_leader: bool | None = True
    consistency: str | None = None
    backend: str | None = "blocking-query"
    filtered: bool = False


FALSE_META: Final = Meta(index=1, known_leader=False)


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer: JSON unless it is text, bytes as they are."""

    body: object = None
    status: int = 200
    content_type: str | None = JSON
    meta: Meta | None = None
    cache: str | None = None
    age: int | None = None
    headers: tuple[tuple[str, str], ...] = ()


def empty(quirks: Quirks) -> Reply:
    """The answer of a write that has nothing to say."""
    return Reply(b"", content_type=quirks.empty_body_type)


@dataclass(slots=True)
class Ask:
    """A request, taken apart as far as every handler needs it."""

    method: str
    path: str
    rest: str
    """What follows the pattern of the route, unescaped."""
    query: dict[str, list[str]]
    headers: dict[str, str]
    body: bytes
    quirks: Quirks
    index: int = 0
    wait: float = _DEFAULT_WAIT
    explicit_wait: bool = False
    consistency: str = "leader"
    cached: bool = False
    datacenter: str = ""
    gone: Callable[[], bool] = lambda: False
    """Whether the client has closed its connection."""
    waited: bool = False
    """Whether the answer was not there at once."""
    token: str = field(init=False)

    def __post_init__(self) -> None:
        bearer = re.fullmatch(r"bearer\s+(\S+)\s*", self.headers.get("authorization", ""), re.IGNORECASE)
        self.datacenter = (self.quirks.datacenter_parameter and self.first("datacenter")) or self.first("dc")
        self.token = (
            self.first("token") or self.headers.get("x-consul-token", "").strip() or (bearer[1] if bearer else "")
        )

    def first(self, name: str) -> str:
        """The first value of a parameter, empty where it is absent."""
        return self.query.get(name, [""])[0]

    def only(self, name: str) -> str:
        """A parameter that must be there exactly once."""
        values = self.query.get(name, [])
        if len(values) != 1:
            raise Refused(500, f"required query parameter '{name}' not set")
        return values[0]

    def bad(self, text: str) -> Refused:
        """The refusal of a request that the HTTP layer finds wrong."""
        return Refused(400, self.quirks.bad_request_prefix + text)

    def json(self, complaint: str = "Request decode failed: ", status: int = 400) -> object:
        """The body as JSON."""
        try:
            return parse(self.body)
        except DecodeError as error:
            raise (self.bad if status == 400 else _failed)(complaint + str(error)) from error  # noqa: PLR2004

    def read_options(self) -> None:
        """Read what every blocking endpoint takes, in the order in which Consul finds faults."""
        stale, consistent = "stale" in self.query, "consistent" in self.query
        self.cached = "cached" in self.query
        if self.first("max_stale"):
            try:
                parse_duration(self.first("max_stale"))
            except ValueError:
                raise Refused(400, f'Invalid max_stale value "{self.first("max_stale")}"') from None
            stale = True
        if stale and consistent:
            raise Refused(400, "Cannot specify ?stale with ?consistent, conflicting semantics.")
        if self.cached and consistent:
            raise Refused(400, "Cannot specify ?cached with ?consistent, conflicting semantics.")
        self.consistency = "stale" if stale else "consistent" if consistent else "leader"
        self._cache_control()
        self._blocking()

    def _cache_control(self) -> None:
        for directive in self.headers.get("cache-control", "").split(","):
            limit = _DIRECTIVE.fullmatch(directive.strip())
            if limit and not re.fullmatch(r"-?\d+", limit[2]):
                raise Refused(400, "Invalid Cache-Control header.")

    def _blocking(self) -> None:
        if wait := self.first("wait"):
            try:
                seconds = parse_duration(wait) / 1e9
            except ValueError:
                raise Refused(400, "Invalid wait time") from None
            self.explicit_wait = seconds > 0
            self.wait = min(seconds, _LONGEST_WAIT) if seconds > 0 else _DEFAULT_WAIT
        if index := self.first("index"):
            if not re.fullmatch(r"[0-9]+", index) or int(index) > _LARGEST:
                raise Refused(400, "Invalid index")
            self.index = int(index)

    def enterprise_options(self) -> None:
        """Refuse what only Consul Enterprise takes."""
        partitions = self.quirks.partition_parameter
        for parameter, header, feature in (("ns", "Namespace", "Namespaces"), ("partition", "Partition", "Partitions")):
            if self.first(parameter) and (parameter == "ns" or partitions):
                raise self.bad(f'Invalid query parameter: "{parameter}" - {feature} are a Consul Enterprise feature')
            if partitions and self.headers.get(f"x-consul-{header.lower()}"):
                raise self.bad(f'Invalid header: "X-Consul-{header}" - {feature} are a Consul Enterprise feature')

    def intention_options(self) -> None:
        """The same for intentions, which an old server did not look at."""
        if not self.quirks.intentions_take_namespace:
            self.enterprise_options()


def _failed(text: str) -> Refused:
    return Refused(500, text)


def parse_query(raw: str, *, semicolon_separates: bool) -> dict[str, list[str]] | None:
    """The parameters by name; None where they are malformed."""
    query: dict[str, list[str]] = {}
    for pair in re.split("[&;]" if semicolon_separates else "&", raw):
        if not pair:
            continue
        name, _, value = pair.partition("=")
        if ";" in pair or not well_escaped(pair):
            return None
        query.setdefault(unquote_plus(name), []).append(unquote_plus(value))
    return query


def well_escaped(escaped: str) -> bool:
    """Whether every percent sign begins an escape."""
    return not re.search(r"%(?![0-9a-fA-F]{2})", escaped)


def unescape(path: str) -> str:
    """A path without its escapes."""
    return unquote_to_bytes(path).decode("utf-8", "replace")


def clean(path: str) -> str:
    """A path without doubled slashes and dots, as Go redirects to it."""
    parts: list[str] = []
    for part in path.split("/"):
        if part == "..":
            del parts[-1:]
        elif part not in {"", "."}:
            parts.append(part)
    slash = "/" if path.endswith("/") and parts else ""
    return "/" + "/".join(parts) + slash


def meta_headers(meta: Meta | None, quirks: Quirks) -> Iterable[tuple[str, str]]:
    """The headers of a read, spelled as Go spells them on the wire."""
    if meta is None:
        return
    if meta.consistency:
        yield "X-Consul-Effective-Consistency", meta.consistency
    if meta.index is not None:
        yield "X-Consul-Index", str(meta.index)
    if meta.known_leader is not None:
        yield "X-Consul-Knownleader", str(meta.known_leader).lower()
        yield "X-Consul-Lastcontact", "0"
        if meta.backend and quirks.query_backend_header:
            yield "X-Consul-Query-Backend", meta.backend
    if meta.filtered and quirks.filtered_header:
        yield "X-Consul-Results-Filtered-By-Acls", "true"
