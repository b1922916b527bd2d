"""Who calls: a name, a SPIFFE id or the URIs of a certificate, as the source of an intention."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from aioconsulconnect.authorization.rules.verdict import Reason
from aioconsulconnect.errors import InvalidRequest
from aioconsulconnect.structs.spiffe import SpiffeId

DEFAULT = "default"
_MOST_PARTS = 3


class Peer(msgspec.Struct, frozen=True, kw_only=True):
    """
    Peer whose services may call.

    - `name`: name of the peering, as in `Intention.source_peer`.
    - `trust_domain`: trust domain of its certificates, from its trust bundle.
    - `partition`: partition that it exports from.
    """

    name: str
    trust_domain: str
    partition: str = DEFAULT

    def __post_init__(self) -> None:
        """Raise InvalidRequest for a field that is empty: a peer without a name would be the local cluster."""
        for field in (self.name, self.trust_domain, self.partition):
            if type(field) is not str or not field or "/" in field:
                raise InvalidRequest(f"a Peer has a name, a trust domain and a partition, not {field!r}")


class Source(msgspec.Struct, frozen=True):
    """
    Service that calls.

    - `name`: name of the service; its case counts.
    - `namespace`, `partition`: default "default"; of a peer's service, the ones over there.
    - `peer`: peer that it belongs to; empty for a local one.
    """

    name: str
    namespace: str = DEFAULT
    partition: str = DEFAULT
    peer: str = ""

    def __str__(self) -> str:
        """The source as Consul writes it: `web`, `team/web`, `blue/team/web`, `peer:east/web`."""
        if self.peer:
            return f"peer:{self.peer}/{self.namespace}/{self.name}"
        if self.partition != DEFAULT:
            return f"{self.partition}/{self.namespace}/{self.name}"
        return self.name if self.namespace == DEFAULT else f"{self.namespace}/{self.name}"


Caller = str | SpiffeId | Source | Sequence[str] | None
"""What states who calls: a name, a SPIFFE URI, a parsed id, a source, or all URIs of a certificate; None for nobody."""


class Trust(msgspec.Struct, frozen=True, kw_only=True):
    """
    Trust domains by which an identity is told to be local, a peer's, or a stranger's.

    - `domain`: the own trust domain (`Roots.trust_domain`); empty where it is not known.
    - `compare`: False to take identities of every trust domain for local ones, as the agent does.
    - `peers`: peers whose services may call.
    """

    domain: str = ""
    compare: bool = True
    peers: tuple[Peer, ...] = ()


def identify(caller: Caller, trust: Trust) -> Source | Reason:
    """
    Return who calls, or the reason why that is not known.

    - `caller`: what states it. Text with `://` is a SPIFFE URI; `team/web`, `blue/team/web`, `peer:east/web` and
      `peer:east/team/web` are names as Consul writes them; any other text is the name of a local service.
    - `trust`: the trust domains to compare with; a name has none.
    """
    if isinstance(caller, str):
        return _of_uri(caller, trust) if "://" in caller else _of_name(caller)
    if isinstance(caller, SpiffeId):
        return _of_id(caller, trust)
    if isinstance(caller, Source):
        return caller if _is_whole(caller) else Reason.NO_SERVICE
    if isinstance(caller, list | tuple):
        return _of_certificate(caller, trust)
    return Reason.NO_SERVICE


def _is_whole(source: Source) -> bool:
    """Texts, none of them empty: a field of another type could equal nothing, or too much."""
    texts = (source.name, source.namespace, source.partition)
    return all(type(text) is str and text for text in texts) and type(source.peer) is str


def _of_certificate(uris: Sequence[object], trust: Trust) -> Source | Reason:
    """Of the URIs of a certificate there must be exactly one."""
    if len(uris) != 1:
        return Reason.SEVERAL_IDENTITIES
    (uri,) = uris
    return _of_uri(uri, trust) if isinstance(uri, str) and "://" in uri else Reason.NO_SERVICE


def _of_uri(uri: str, trust: Trust) -> Source | Reason:
    try:
        return _of_id(SpiffeId.parse(uri), trust)
    except InvalidRequest:
        return Reason.NO_SERVICE


def _of_id(spiffe_id: SpiffeId, trust: Trust) -> Source | Reason:
    if spiffe_id.kind != "service":
        return Reason.NO_SERVICE
    if not trust.compare:
        return Source(spiffe_id.name, spiffe_id.namespace, spiffe_id.partition)
    if trust.domain and spiffe_id.belongs_to(trust.domain):
        return Source(spiffe_id.name, spiffe_id.namespace, spiffe_id.partition)
    for peer in trust.peers:
        if spiffe_id.belongs_to(peer.trust_domain):
            if spiffe_id.partition != peer.partition:
                return Reason.FOREIGN_TENANCY
            return Source(spiffe_id.name, spiffe_id.namespace, spiffe_id.partition, peer.name)
    return Reason.FOREIGN_TRUST_DOMAIN if trust.domain else Reason.TRUST_DOMAIN_UNKNOWN


def _of_name(text: str) -> Source | Reason:
    """A name as Consul writes it; its last part is the name itself, and those before it say where it is."""
    parts = text.split("/")
    peer = ""
    if parts[0].startswith("peer:"):
        peer = parts.pop(0).removeprefix("peer:")
        if not peer or len(parts) == _MOST_PARTS:
            return Reason.NO_SERVICE
    if not parts or not all(parts) or len(parts) > _MOST_PARTS:
        return Reason.NO_SERVICE
    name, namespace, partition = (*reversed(parts), DEFAULT, DEFAULT)[:_MOST_PARTS]
    return Source(name, namespace, partition, peer)
