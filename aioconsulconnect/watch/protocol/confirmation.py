"""
Does an answer prove that something is missing? One question, asked of an answer that lacks what the last one had.

Consul answers 200 with too little in cases where nothing was removed: a server that replays its log, a view that has
lost its leader, an agent's cache of a state that was discarded. A higher index is proof: that server has applied the
removal. Where there is none, one plain read of the leader decides, and what it says is so.
"""

from __future__ import annotations

from aioconsulconnect.transport.metadata import Meta


def is_blind(meta: Meta) -> bool:
    """Whether the server knew nothing: index 1 without a leader is what one says that has no data yet."""
    return meta.index == 1 and meta.known_leader is False


def leaves_doubt(meta: Meta, index: int | None, last: Meta, last_index: int | None, *, failed: bool) -> bool:
    """
    Whether an answer that lacks items has to be confirmed.

    `index` is where the data stands by this answer, `last_index` by the last one; they compare within one backend.
    `failed` says that something went wrong between the two.
    """
    if failed or meta.cache is not None:
        return True
    if index is None or index == 1 or last_index is None or meta.backend != last.backend:
        return True
    return index <= last_index
