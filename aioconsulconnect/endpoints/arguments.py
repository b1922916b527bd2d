"""
Arguments of calls: names, sequences, mappings, and which instances to select.

What is wrong is refused by the name of the argument.

A name is refused where it would be made, if no path could lead to it afterwards. Consul takes any text in a body, and
in a path no empty part, no "." or "..", and no character that cannot be printed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TypedDict, TypeVar

from aioconsulconnect.errors import InvalidRequest
from aioconsulconnect.transport.request import Parameters, encoded, path_of
from aioconsulconnect.transport.settings.options import Options, refuse_unknown_keywords

T = TypeVar("T")

_DOTS = {".": "%2E", "..": "%2E%2E"}


def check_new_name(argument: str, name: str) -> None:
    """
    Raise InvalidRequest for a name that a body could give to something, and no path could lead to.

    - `argument`: the argument, for the error.
    - `name`: the name.
    """
    if not isinstance(name, str):
        raise InvalidRequest(f"{argument} takes text, not {name!r:.40}")
    try:
        path_of(name)
    except InvalidRequest:
        raise InvalidRequest(
            f"{argument}: Consul takes {name!r} here, and could neither read nor remove it by its name: it has a part"
            " that is empty, '.' or '..', or a character that cannot be printed"
        ) from None


def is_odd(name: str) -> bool:
    """True if `check_new_name` refuses a name, which may stand in Consul nevertheless."""
    try:
        path_of(name)
    except InvalidRequest:
        return True
    return False


def path_to(*segments: str, name: str) -> str:
    """
    Return the path of something that exists already under a name, also an odd one.

    Consul takes an odd name from 1.20 on, if it is one segment of the path; older ones answer with a redirect. Raises
    InvalidRequest for an empty name, and for one with characters that no Consul takes in a path.
    """
    if not isinstance(name, str):
        raise InvalidRequest(f"{name!r:.40} cannot be part of a path: it is no text")
    if not name or not name.isprintable():
        raise InvalidRequest(
            f"{name!r} cannot be part of a path: it is empty, or has a character that cannot be printed"
        )
    return f"{path_of(*segments)}/{_DOTS.get(name) or encoded(name, safe='*')}"


def sequence(argument: str, given: Iterable[T], of: type[T]) -> tuple[T, ...]:
    """
    Return a sequence as a tuple.

    - `argument`: the argument, for the error.
    - `given`: what was given.
    - `of`: class of each item.

    Raises InvalidRequest for None, one text, and items of another class.
    """
    if isinstance(given, str | bytes | Mapping) or not isinstance(given, Iterable):
        raise InvalidRequest(f"{argument} takes a sequence, not {given!r:.40}")
    items = tuple(given)
    for i, item in enumerate(items):
        if not isinstance(item, of):
            raise InvalidRequest(f"{argument}[{i}] takes {of.__name__}, not {item!r:.40}")
    return items


def mapping(argument: str, given: Mapping[str, T] | None, of: type[T]) -> Mapping[str, T]:
    """
    Return a mapping, an empty one for None.

    - `argument`: the argument, for the error.
    - `given`: what was given.
    - `of`: class of each value.

    Raises InvalidRequest for what is no mapping, and for values of another class.
    """
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise InvalidRequest(f"{argument} takes a mapping, not {given!r:.40}")
    for key, value in given.items():
        if not isinstance(value, of):
            raise InvalidRequest(f"{argument}[{key!r:.40}] takes {of.__name__}, not {value!r:.40}")
    return given


# Which instances of a service to return.


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
        if not isinstance(expression, str):
            raise InvalidRequest(f"filter takes text, not {expression!r:.40}")
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
