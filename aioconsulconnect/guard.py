"""
Which missing items are really gone.

Consul answers 200 with an empty or shortened list in cases where nothing was removed: a streaming view without a
leader, a follower that has just restarted, a token that was lost, rights that were taken away. Somebody who enforces
intentions must not act on those. The rules, for an answer in which items are missing that the last good one had:

1. The answer says that rights hide items, and the last good one did not: *hidden*.
2. The index did not move and nothing failed in between: data cannot have changed, rights have: *hidden*.
3. All are gone, or nearly all, and there is any reason for doubt (index back, at 1, unmoved or unknown; a streaming or
   stale answer; a failure since the last good one): *confirm* it by a plain read that asks the leader.
4. Everything else is *believed*, and so is what that plain read says.

Index 1 without a known leader is what a blind server says: never believed to have removed anything.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable
from typing import Literal

import msgspec

from aioconsulconnect.options import Meta

Judgement = Literal["believe", "confirm", "hidden"]


class Known(msgspec.Struct, frozen=True):
    """The last good answer: what it had, and what its headers said. `failed` is whether anything failed since."""

    keys: Collection[Hashable]
    meta: Meta
    failed: bool


def judge(
    known: Known | None, keys: Collection[Hashable], meta: Meta, *, firm: bool, stale: bool, fall: float
) -> Judgement:
    """
    What to make of an answer with these `keys`; `firm` says that it is a plain read from the leader.

    `stale` says that any server may have answered, `fall` is the part of the items whose loss needs a confirmation.
    """
    blind = meta.index == 1 and meta.known_leader is False
    if known is None:
        return "confirm" if blind and not keys and not firm else "believe"
    missing = sum(key not in keys for key in known.keys)
    if not missing:
        return "believe"
    if meta.filtered_by_acls and not known.meta.filtered_by_acls:
        return "hidden"
    same_backend = meta.backend == known.meta.backend
    unmoved = meta.index is not None and meta.index == known.meta.index and same_backend
    if unmoved and not known.failed:
        return "hidden"
    if firm:
        return "hidden" if blind else "believe"
    if keys and missing <= fall * len(known.keys):
        return "believe"
    back = meta.index is not None and known.meta.index is not None and meta.index <= known.meta.index
    placeless = meta.index in {None, 1} and meta.content_hash is None
    doubtful = back or placeless or meta.backend == "streaming" or stale or known.failed
    return "confirm" if doubtful else "believe"
