"""
Which missing items are really gone.

Consul answers 200 with an empty or shortened list in cases where nothing was removed: a streaming view without a
leader, a follower that has just restarted, a token that was lost, rights that were taken away. Somebody who enforces
intentions must not act on those. The rules, for an answer in which items are missing that the last good one had:

1. The answer says that rights hide items, or was given to nobody (no token was sent: then Consul says nothing), and the
   last good one did or was not: *hidden*. No second read would know better.
2. The index did not move and nothing failed in between: data cannot have changed, rights have: *hidden*.
3. All are gone, or nearly all, and there is any reason for doubt (index back, at 1, unmoved or unknown; a streaming or
   stale answer; a failure since the last good one): *confirm* it by a plain read that asks the leader.
4. Everything else is *believed*, and so is what that plain read says.

Index 1 without a known leader is what a blind server says: never believed to have removed anything.

*Hidden* are the missing items alone, and they stay so, whatever else is written: where the answer said it (1, or blind)
until one comes that would say it and does not; else (2) until one of them is seen again. Then the rest are judged anew,
by what was said in the last answer that had them all: where the index stands since, they are still hidden.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Set as AbstractSet
from typing import Literal

import msgspec

from aioconsulconnect.transport.metadata import Meta

Judgement = Literal["believe", "confirm", "hidden"]


class Said(msgspec.Struct, frozen=True):
    """What an answer said besides its items: its headers, and whether it was given to nobody (no token was sent)."""

    meta: Meta = Meta()
    anonymous: bool = False

    @property
    def blind(self) -> bool:
        """Whether the server knew nothing."""
        return self.meta.index == 1 and self.meta.known_leader is False

    def hides(self, before: Said) -> bool:
        """Whether it says itself that it hides items, and the one `before` did not."""
        filtered = self.meta.filtered_by_acls and not before.meta.filtered_by_acls
        return filtered or (self.anonymous and not before.anonymous)


class Known(msgspec.Struct, frozen=True):
    """The last good answer: what it had, and what it said. `failed` is whether anything failed since."""

    keys: Collection[Hashable]
    said: Said
    failed: bool


class Lost(msgspec.Struct, frozen=True):
    """
    What is hidden, and whether the answer that hid it `announced` so; `whole` is what the last one said that had all.

    `sticks` says that the items may stay as they were last seen.
    """

    keys: AbstractSet[Hashable]
    announced: bool
    whole: Said
    sticks: bool = True

    def stays(self, keys: Collection[Hashable], said: Said) -> bool:
        """Whether an answer with these `keys` leaves it hidden."""
        if not self.sticks:
            return False
        if self.announced:
            return said.hides(self.whole) or said.blind or said.meta.backend == "streaming"  # which never says it
        return not any(key in keys for key in self.keys)


def judge(
    known: Known | None,
    keys: Collection[Hashable],
    said: Said,
    *,
    authoritative: bool,
    stale: bool,
    confirm_share: float,
) -> Judgement:
    """
    What to make of an answer with these `keys`; `authoritative` says that it is a plain read from the leader.

    `stale` says that any server may have answered; the loss of more than `confirm_share` of the items needs a
    confirmation.
    """
    meta = said.meta
    if known is None:
        return "confirm" if said.blind and not keys and not authoritative else "believe"
    before = known.said.meta
    missing = sum(key not in keys for key in known.keys)
    if not missing:
        return "believe"
    if said.hides(known.said):
        return "hidden"
    unmoved = meta.index is not None and meta.index == before.index and meta.backend == before.backend
    if unmoved and not known.failed:
        return "hidden"
    if authoritative:
        return "hidden" if said.blind else "believe"
    if keys and missing <= confirm_share * len(known.keys):
        return "believe"
    back = meta.index is not None and before.index is not None and meta.index <= before.index
    placeless = meta.index in {None, 1} and meta.content_hash is None
    doubtful = back or placeless or meta.backend == "streaming" or stale or known.failed
    return "confirm" if doubtful else "believe"
