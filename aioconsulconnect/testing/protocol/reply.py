"""The answer of a handler, and the headers that say how it was read."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from aioconsulconnect.testing.version_facts import VersionFacts

PLAIN: Final = "text/plain; charset=utf-8"
JSON: Final = "application/json"


@dataclass(frozen=True, slots=True)
class Meta:
    """The headers of a read; a member that is None sends none.

    - `index`: `X-Consul-Index`.
    - `known_leader`: `X-Consul-KnownLeader`, and with it `X-Consul-LastContact` of 0.
    - `consistency`: `X-Consul-Effective-Consistency`: "leader", "stale" or "consistent".
    - `backend`: `X-Consul-Query-Backend`, where the version has it: "blocking-query" or "streaming".
    - `filtered`: true sends `X-Consul-Results-Filtered-By-ACLs`, where the version has it.
    """

    index: int | None = None
    known_leader: bool | None = True
    consistency: str | None = None
    backend: str | None = "blocking-query"
    filtered: bool = False


FALSE_META: Final = Meta(index=1, known_leader=False)


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer of a handler.

    - `body`: bytes to send as they are, or any other value to send as JSON.
    - `status`, `content_type`: 200 and JSON by default.
    - `meta`: the headers of a read; None for a write.
    - `cache`, `age`: the headers `X-Cache` and `Age` (in seconds) of the agent's cache.
    - `headers`: further headers.
    """

    body: object = None
    status: int = 200
    content_type: str | None = JSON
    meta: Meta | None = None
    cache: str | None = None
    age: int | None = None
    headers: tuple[tuple[str, str], ...] = ()


def empty(facts: VersionFacts) -> Reply:
    """Make the answer of a write that has nothing to say."""
    return Reply(b"", content_type=facts.empty_body_type)


def meta_headers(meta: Meta | None, facts: VersionFacts) -> Iterable[tuple[str, str]]:
    """The headers of a read by `meta`, as Go spells them on the wire; `facts` says which the version has."""
    if meta is None:
        return
    if meta.consistency:
        yield "X-Consul-Effective-Consistency", meta.consistency
    if meta.index is not None:
        yield "X-Consul-Index", str(meta.index)
    if meta.known_leader is not None:
        yield "X-Consul-Knownleader", str(meta.known_leader).lower()
        yield "X-Consul-Lastcontact", "0"
        if meta.backend and facts.query_backend_header:
            yield "X-Consul-Query-Backend", meta.backend
    if meta.filtered and facts.filtered_header:
        yield "X-Consul-Results-Filtered-By-Acls", "true"
