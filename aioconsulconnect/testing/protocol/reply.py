"""What a handler answers, and the headers that say how it was read."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from aioconsulconnect.testing.versions import VersionFacts

PLAIN: Final = "text/plain; charset=utf-8"
JSON: Final = "application/json"


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


def empty(facts: VersionFacts) -> Reply:
    """The answer of a write that has nothing to say."""
    return Reply(b"", content_type=facts.empty_body_type)


def meta_headers(meta: Meta | None, facts: VersionFacts) -> Iterable[tuple[str, str]]:
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
        if meta.backend and facts.query_backend_header:
            yield "X-Consul-Query-Backend", meta.backend
    if meta.filtered and facts.filtered_header:
        yield "X-Consul-Results-Filtered-By-Acls", "true"
