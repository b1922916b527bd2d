"""
Arguments of calls: names, sequences and mappings, refused by the name of the argument.

A name is refused where it would be made, if no path could lead to it afterwards. Consul takes any text in a body, and
in a path no empty part, no "." or "..", and no character that cannot be printed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeVar

from aioconsulconnect.errors import InvalidRequest
from aioconsulconnect.transport.request import encoded, path_of

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
