"""Which instances: the parameters that catalog and health share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from aioconsulconnect.errors import InvalidRequest
from aioconsulconnect.request import Parameters


def selection(
    tags: Sequence[str],
    expression: str,
    near: str,
    node_meta: Mapping[str, str] | None,
    *,
    peer: str,
    merge_central_config: bool,
) -> Parameters:
    """The query parameters, in Consul's spelling."""
    if isinstance(tags, str):
        raise InvalidRequest("tags takes a sequence of tags, not one string")
    given = (("filter", expression), ("near", near), ("peer", peer))
    return (
        *(("tag", tag) for tag in tags),
        *(("node-meta", f"{key}:{value}") for key, value in (node_meta or {}).items()),
        *((name, value) for name, value in given if value),
        *((("merge-central-config", ""),) if merge_central_config else ()),
    )
