"""Which instances: the parameters that catalog and health share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from aioconsulconnect.errors import InvalidRequest
from aioconsulconnect.transport.request import Parameters


def selection(
    tags: Sequence[str],
    tags_field: str,
    expression: str,
    near: str,
    node_meta: Mapping[str, str] | None,
    *,
    peer: str,
    merge_central_config: bool,
) -> Parameters:
    """
    The query parameters, in Consul's spelling.

    Tags become a part of the filter: Consul ignores `?tag` where it looks for proxies (seen on 1.8).
    """
    if isinstance(tags, str):
        raise InvalidRequest("tags takes a sequence of tags, not one string")
    tests = [f"{_quoted(tag)} in {tags_field}" for tag in tags]
    if expression:
        tests.append(f"({expression})" if tests else expression)
    given = (("filter", " and ".join(tests)), ("near", near), ("peer", peer))
    return (
        *(("node-meta", f"{key}:{value}") for key, value in (node_meta or {}).items()),
        *((name, value) for name, value in given if value),
        *((("merge-central-config", ""),) if merge_central_config else ()),
    )


def _quoted(text: str) -> str:
    """A string of a filter: no escapes exist between quotes, and none are needed between backticks."""
    mark = "`" if '"' in text or "\\" in text else '"'
    if mark in text:
        raise InvalidRequest(f"{text!r} cannot be written in a filter: it has both kinds of quotes")
    return f"{mark}{text}{mark}"
