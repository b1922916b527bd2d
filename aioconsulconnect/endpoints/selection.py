"""Selection of instances: the parameters that catalog and health share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypedDict

from aioconsulconnect.endpoints.arguments import mapping, sequence
from aioconsulconnect.errors import InvalidRequest
from aioconsulconnect.transport.options import Options, refuse_unknown_keywords
from aioconsulconnect.transport.request import Parameters


class Selection(TypedDict, total=False):
    """Keyword arguments of the reads of catalog and health: which instances of a service to return."""

    tags: Sequence[str]
    """Tags that an instance must have, all of them, in the same case."""
    filter: str
    """Expression: `Service.Meta.version == "2"` in health, `ServiceMeta.version == "2"` in the catalog."""
    near: str
    """Node, or "_agent": the instances nearest to it come first."""
    node_meta: Mapping[str, str] | None
    """Metadata that the node must have (`?node-meta`)."""
    merge_central_config: bool
    """True to merge central defaults into the proxy's configuration (Consul 1.13; older ones ignore it)."""
    options: Options | None
    """Options of this call, over the client's."""


class HealthSelection(Selection, total=False):
    """Keyword arguments of the reads of health: which instances to return, also by their health."""

    passing: bool
    """True to leave out every instance with a check that does not pass."""


def parameters(function: str, given: Selection, accepted: type, *, tags_field: str, peer: str) -> Parameters:
    """
    Return the query parameters of a selection, in Consul's spelling.

    Tags become a part of the filter: Consul ignores `?tag` where it looks for proxies (seen on 1.8).

    - `function`: name of the method, for errors.
    - `given`: the keyword arguments.
    - `accepted`: TypedDict with the known ones.
    - `tags_field`: name of the field with the tags, for the filter.
    - `peer`: name of a peer, "" for none.

    Raises TypeError for an unknown keyword argument, and InvalidRequest for tags that are one text, or that cannot be
    written in a filter.
    """
    refuse_unknown_keywords(function, given, accepted)
    tags, expression = given.get("tags", ()), given.get("filter", "")
    tests = [f"{_quoted(tag)} in {tags_field}" for tag in sequence("tags", tags, str)]
    if expression:
        tests.append(f"({expression})" if tests else expression)
    named = (("filter", " and ".join(tests)), ("near", given.get("near", "")), ("peer", peer))
    return (
        *(("node-meta", f"{key}:{value}") for key, value in mapping("node_meta", given.get("node_meta"), str).items()),
        *((name, value) for name, value in named if value),
        *((("merge-central-config", ""),) if given.get("merge_central_config") else ()),
    )


def _quoted(text: str) -> str:
    """
    Return a text as a string of a filter expression.

    Double quotes know no escapes, and backticks need none; InvalidRequest for a text that fits neither.
    """
    mark = "`" if '"' in text or "\\" in text else '"'
    if mark in text:
        raise InvalidRequest(f"{text!r} cannot be written in a filter: it has both kinds of quotes")
    return f"{mark}{text}{mark}"
