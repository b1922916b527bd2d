"""Metadata of an answer: what its headers say."""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec

_NUMBER = re.compile(r"[0-9]{1,20}")
_UINT64 = 2**64


class Meta(msgspec.Struct, frozen=True, kw_only=True):
    """
    What the headers of one answer say; None where the agent said nothing (which depends on endpoint and version).

    `index` is X-Consul-Index, `content_hash` X-Consul-ContentHash, `known_leader` and `last_contact` (seconds) what the
    answering server knew (meaningless on streaming answers), `backend` X-Consul-Query-Backend (1.10.1),
    `consistency` the mode in effect, `cache` HIT or MISS of the agent's cache and `age` (seconds) of a HIT,
    `filtered_by_acls` whether the token hid items (1.11), `default_acl_policy` what is configured (1.9; not what is in
    effect: with ACLs disabled it may still say deny).
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
        """Read each header by itself; one that is absent or malformed is None and spoils no other."""
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
