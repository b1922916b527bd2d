"""A request as Consul's HTTP layer reads it: parameters, headers, body and read options."""

import re
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from aioconsulconnect.testing.go_json.encoding import encode, parse
from aioconsulconnect.testing.go_json.errors import DecodeError
from aioconsulconnect.testing.go_json.scalars import parse_duration
from aioconsulconnect.testing.protocol.refusals import Refused, failed
from aioconsulconnect.testing.version_facts import VersionFacts

_LARGEST: Final = 2**64 - 1
_DEFAULT_WAIT: Final = 300.0
_LONGEST_WAIT: Final = 600.0
_DIRECTIVE: Final = re.compile(r"(max-age|stale-if-error)=(.*)", re.IGNORECASE)


@dataclass(slots=True)
class ReadOptions:
    """The options of a read.

    - `index`: the index to wait beyond; 0 does not wait.
    - `wait`: the longest wait in seconds; 300 by default, at most 600.
    - `explicit_wait`: true if the request sets the wait.
    - `consistency`: "leader" (the default), "stale" or "consistent".
    - `cached`: true if the agent's cache may answer.
    """

    index: int = 0
    wait: float = _DEFAULT_WAIT
    explicit_wait: bool = False
    consistency: str = "leader"
    cached: bool = False


@dataclass(slots=True)
class ConsulRequest:
    """A request, taken apart as far as every handler needs it.

    `datacenter` is that of the parameters `dc` or `datacenter`; `token` that of the parameter, the header
    `X-Consul-Token` or the bearer token, in this order. `options` is filled by `read_options`.
    """

    method: str
    path: str
    rest: str
    """The part of the path after the pattern of the route, unescaped."""
    query: dict[str, list[str]]
    headers: dict[str, str]
    body: bytes
    facts: VersionFacts
    options: ReadOptions = field(default_factory=ReadOptions)
    datacenter: str = ""
    gone: Callable[[], bool] = lambda: False
    """A function that is true once the client has closed its connection."""
    waited: bool = False
    """True if the answer had to be waited for."""
    token: str = field(init=False)

    def __post_init__(self) -> None:
        scheme, _, rest = self.headers.get("authorization", "").strip().partition(" ")
        bearer = rest.strip().partition(" ")[0].strip() if scheme.lower() == "bearer" else ""
        self.datacenter = (self.facts.datacenter_parameter and self.first("datacenter")) or self.first("dc")
        self.token = self.first("token") or self.headers.get("x-consul-token", "").strip() or bearer

    def first(self, name: str) -> str:
        """The first value of a parameter; empty where it is absent."""
        return self.query.get(name, [""])[0]

    def only(self, name: str) -> str:
        """The value of a parameter that must be there exactly once; `Refused` with status 500 otherwise."""
        values = self.query.get(name, [])
        if len(values) != 1:
            raise Refused(500, f"required query parameter '{name}' not set")
        return values[0]

    def bad(self, text: str) -> Refused:
        """Make the refusal of a request that the HTTP layer finds wrong, with status 400."""
        return Refused(400, self.facts.bad_request_prefix + text)

    def json(self, complaint: str = "Request decode failed: ", status: int = 400) -> object:
        """Read the body as JSON; `Refused` with `complaint` and Go's words where it is none.

        `status` is that of the refusal, 400 by default.
        """
        try:
            return parse(self.body)
        except DecodeError as error:
            raise (self.bad if status == 400 else failed)(complaint + str(error)) from error  # noqa: PLR2004

    def unprefixed_json(self) -> object:
        """Read the body as JSON; `DecodeError` where it is none, for a refusal with words of its own."""
        return parse(self.body)

    def read_options(self, *, besides: object = None) -> None:
        """Read the parameters that every blocking endpoint takes into `options`.

        `Refused` with status 400 for the first bad one, in Consul's order. `besides` is what the endpoint answers with
        although it has refused; None for most, which do not.
        """
        self.consistency_options(besides=besides)
        with self._going_on(besides):
            self.blocking_options()

    def consistency_options(self, *, besides: object = None) -> None:
        """Read the parameters and headers that say how consistent a read is, as `read_options` does.

        `besides` is that of `read_options`.
        """
        with self._going_on(besides):
            self._consistency()
            self._cache_control()

    @contextmanager
    def _going_on(self, besides: object) -> Generator[None, None, None]:
        """Add to a refusal what the endpoint writes after it, unless that is None."""
        try:
            yield
        except Refused as refused:
            if besides is None:
                raise
            newline = self.facts.newline_after_json or "pretty" in self.query
            words = refused.text + encode(besides, pretty=True, newline=newline).decode()
            raise Refused(refused.status, words) from refused

    def _consistency(self) -> None:
        stale, consistent = "stale" in self.query, "consistent" in self.query
        self.options.cached = "cached" in self.query
        if self.first("max_stale"):
            try:
                parse_duration(self.first("max_stale"))
            except ValueError:
                raise Refused(400, f'Invalid max_stale value "{self.first("max_stale")}"') from None
            stale = True
        if stale and consistent:
            raise Refused(400, "Cannot specify ?stale with ?consistent, conflicting semantics.")
        if self.options.cached and consistent:
            raise Refused(400, "Cannot specify ?cached with ?consistent, conflicting semantics.")
        self.options.consistency = "stale" if stale else "consistent" if consistent else "leader"

    def _cache_control(self) -> None:
        for directive in self.headers.get("cache-control", "").split(","):
            limit = _DIRECTIVE.fullmatch(directive.strip())
            if limit and not re.fullmatch(r"-?\d+", limit[2]):
                raise Refused(400, "Invalid Cache-Control header.")

    def blocking_options(self) -> None:
        """Read the index to wait beyond and the longest wait into `options`.

        `Refused` with status 400 for a bad one.
        """
        if wait := self.first("wait"):
            try:
                seconds = parse_duration(wait) / 1e9
            except ValueError:
                raise Refused(400, "Invalid wait time") from None
            self.options.explicit_wait = seconds > 0
            self.options.wait = min(seconds, _LONGEST_WAIT) if seconds > 0 else _DEFAULT_WAIT
        if index := self.first("index"):
            if not re.fullmatch(r"[0-9]+", index) or int(index) > _LARGEST:
                raise Refused(400, "Invalid index")
            self.options.index = int(index)

    def enterprise_options(self) -> None:
        """Refuse the parameters and headers that only Consul Enterprise takes, with status 400."""
        self._refuse_enterprise(("ns", "Namespace", "Namespaces"), ("partition", "Partition", "Partitions"))

    def partition_options(self) -> None:
        """Refuse partitions alone, where there are no namespaces to ask for."""
        self._refuse_enterprise(("partition", "Partition", "Partitions"))

    def _refuse_enterprise(self, *refused: tuple[str, str, str]) -> None:
        for parameter, header, feature in refused:
            if parameter == "partition" and not self.facts.partition_parameter:
                continue
            if self.headers.get(f"x-consul-{header.lower()}"):
                raise self.bad(f'Invalid header: "X-Consul-{header}" - {feature} are a Consul Enterprise feature')
            self.refuse_parameter(parameter, feature)

    def refuse_parameter(self, parameter: str, feature: str) -> None:
        """Refuse a `parameter` that asks for a `feature` of Consul Enterprise, such as "Namespaces"."""
        if self.first(parameter):
            raise self.bad(f'Invalid query parameter: "{parameter}" - {feature} are a Consul Enterprise feature')

    def intention_options(self) -> None:
        """Refuse namespaces and partitions in requests for intentions, where the version does.

        Versions with `intentions_take_namespace` do not look at them.
        """
        if not self.facts.intentions_take_namespace:
            self.enterprise_options()
