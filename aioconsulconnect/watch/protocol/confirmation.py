"""
Rules for whether an answer proves that items were removed or changed.

Consul answers 200 with too few items in cases where nothing was removed: a server that replays its log, a streaming
view that has lost its leader, an agent's cache of a state that was discarded, a new leader that has not yet applied
all that the one before has (fact 13). A higher index is proof: the server that answered has applied the removal.
Without one, a single consistent read decides, and its answer is final.
"""

from __future__ import annotations

from aioconsulconnect.transport.metadata import Meta


def is_blind(meta: Meta) -> bool:
    """
    Return True if the server has no data yet: its answer has index 1, and it knows no leader (fact 3).

    `meta` holds the headers of the answer.
    """
    return meta.index == 1 and meta.known_leader is False


def leaves_doubt(meta: Meta, index: int | None, last: Meta, last_index: int | None, *, failed: bool) -> bool:
    """
    Return True if an answer that lacks items has to be confirmed by a consistent read.

    There is doubt after a failure, for an answer from the agent's cache, and unless the index is known and higher than
    before.

    - `meta`: headers of this answer.
    - `index`: index at which the data stands by this answer, None if it has none.
    - `last`: headers of the last answer that was accepted.
    - `last_index`: index at which the data stood by that answer. The two compare only within one backend.
    - `failed`: something went wrong between the two answers.
    """
    if failed or meta.cache is not None:
        return True
    if index is None or index == 1 or last_index is None or meta.backend != last.backend:
        return True
    return index <= last_index


def may_be_older(meta: Meta, index: int | None, last: Meta, last_index: int | None, *, failed: bool) -> bool:
    """
    Return True if an answer with other data may be older than the last one.

    It may be under a lower index, and after a failure unless the index is higher. It then has to be confirmed as well.

    - `meta`, `index`: headers of this answer, and the index at which the data stands by it.
    - `last`, `last_index`: the same of the last answer that was accepted.
    - `failed`: something went wrong between the two answers.
    """
    if index is None or last_index is None or meta.backend != last.backend:
        return failed
    return index < last_index or (failed and index == last_index)
