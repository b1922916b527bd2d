"""Which instances: the parameters that catalog and health share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypedDict

from aioconsulconnect.errors import InvalidRequest
from aioconsulconnect.transport.options import Options, refuse_unknown_keywords
from aioconsulconnect.transport.request import Parameters


class Selection(TypedDict, total=False):
    """Which instances of a service: keyword arguments of the reads of catalog and health."""

    tags: Sequence[str]
    """Tags that an instance must have, all of them, in the same case."""
    filter: str
    """Expression, such as `Service.Meta.version == "2"` in health, `ServiceMeta.version == "2"` in the catalog."""
    near: str
    """Node (or "_agent") whose neighbours come first."""
    node_meta: Mapping[str, str] | None
    """Metadata that the node must have (`?node-meta`)."""
    merge_central_config: bool
    """Whether to merge the central defaults into the proxy's configuration (Consul 1.13; an older one ignores it)."""
    options: Options | None
    """Options of this call."""


class HealthSelection(Selection, total=False):
    """Which instances of a service, by their health too."""

    passing: bool
    """Whether to leave out whatever has a check that does not pass."""


def parameters(function: str, given: Selection, accepted: type, *, tags_field: str, peer: str) -> Parameters:
    """
    The query parameters of a selection, in Consul's spelling.

    Tags become a part of the filter: Consul ignores `?tag` where it looks for proxies (seen on 1.8).
    """
    refuse_unknown_keywords(function, given, accepted)
    tags, expression = given.get("tags", ()), given.get("filter", "")
    if isinstance(tags, str):
        raise InvalidRequest("tags takes a sequence of tags, not one string")
    tests = [f"{_quoted(tag)} in {tags_field}" for tag in tags]
    if expression:
        tests.append(f"({expression})" if tests else expression)
    named = (("filter", " and ".join(tests)), ("near", given.get("near", "")), ("peer", peer))
    return (
        *(("node-meta", f"{key}:{value}") for key, value in (given.get("node_meta") or {}).items()),
        *((name, value) for name, value in named if value),
        *((("merge-central-config", ""),) if given.get("merge_central_config") else ()),
    )


def _quoted(text: str) -> str:
    """A string of a filter: no escapes exist between quotes, and none are needed between backticks."""
    mark = "`" if '"' in text or "\\" in text else '"'
    if mark in text:
        raise InvalidRequest(f"{text!r} cannot be written in a filter: it has both kinds of quotes")
    return f"{mark}{text}{mark}"
