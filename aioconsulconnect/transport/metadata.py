"""Metadata of an answer, from its headers."""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec

_NUMBER = re.compile(r"[0-9]{1,20}")
_UINT64 = 2**64


class Meta(msgspec.Struct, frozen=True, kw_only=True):
    """
    Metadata of one answer, from its headers; None where the agent did not send one.

    Which headers it sends depends on the endpoint and the version.

    - `index`: X-Consul-Index, for the next blocking query.
    - `content_hash`: X-Consul-ContentHash, in place of an index.
    - `known_leader`: the answering server knew a leader; meaningless on streaming answers.
    - `last_contact`: seconds since the answering server heard from the leader; meaningless on streaming answers.
    - `consistency`: X-Consul-Effective-Consistency, the mode in effect.
    - `backend`: X-Consul-Query-Backend (Consul 1.10.1).
    - `cache`: HIT or MISS of the agent's cache.
    - `age`: seconds that a HIT was in the cache.
    - `default_acl_policy`: the configured default policy (Consul 1.9); not what is in effect: with ACLs disabled it may
      still say deny.
    - `filtered_by_acls`: the token hid items (Consul 1.11).
    """

    index: int | None = None
    content_hash: str | None = None
    known_leader: bool | None = None
    last_contact: float | None = None
    consistency: str | None = None
    backend: str | None = None
    cache: str | None = None
    age: float | None = None
    default_acl_policy: str | None = None
    filtered_by_acls: bool = False

    @classmethod
    def of(cls, headers: Mapping[str, str]) -> Meta:
        """
        Read the metadata from `headers`, whose names are looked up in lower case.

        Each header is read by itself: one that is absent or malformed is None, and has no effect on the others.
        """
        get = headers.get
        contact = _number(get("x-consul-lastcontact"))
        leader = get("x-consul-knownleader")
        return cls(
            index=_number(get("x-consul-index")),
            content_hash=get("x-consul-contenthash") or None,
            known_leader=None if leader not in {"true", "false"} else leader == "true",
            last_contact=None if contact is None else contact / 1000,
            consistency=get("x-consul-effective-consistency"),
            backend=get("x-consul-query-backend"),
            cache=get("x-cache"),
            age=_number(get("age")),
            default_acl_policy=get("x-consul-default-acl-policy"),
            filtered_by_acls=get("x-consul-results-filtered-by-acls") == "true",
        )


def _number(text: str | None) -> int | None:
    if text is None or not _NUMBER.fullmatch(text):
        return None
    number = int(text)
    return number if number < _UINT64 else None
