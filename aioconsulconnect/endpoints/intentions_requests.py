"""Requests for intentions: checked names, paths, bodies, and readers of the answers."""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Mapping
from typing import TypeVar

import msgspec

from aioconsulconnect.endpoints.arguments import check_new_name
from aioconsulconnect.endpoints.group import NOT_WRITTEN
from aioconsulconnect.errors import InvalidRequest, ServerError, UnreadableResponse
from aioconsulconnect.slices import InSlices
from aioconsulconnect.structs.codec.json_body import encode
from aioconsulconnect.structs.codec.unknown_fields import plain
from aioconsulconnect.structs.intention_rules import check_description, check_rule
from aioconsulconnect.structs.intentions import (
    Action,
    Intention,
    IntentionBody,
    MatchKey,
    read_check,
    read_id,
    read_list,
    read_list_in_slices,
    read_matches,
    read_one,
)
from aioconsulconnect.transport.request import Parameters, Request, path_of
from aioconsulconnect.transport.response import Response
from aioconsulconnect.transport.settings.options import ALL_READ, UNCACHED_READ, Option, Options

T = TypeVar("T")

Matches = Mapping[str, tuple[Intention, ...]]

LIST = path_of("connect", "intentions")
MATCH = path_of("connect", "intentions", "match")
EXACT = path_of("connect", "intentions", "exact")
CHECK = path_of("connect", "intentions", "check")
_PLAIN = re.compile(r"[^/*:]+")  # a name of one part, without a wildcard, of no peer
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
WRITE: frozenset[Option] = frozenset({"namespace", "partition"})
CHECK_OPTIONS: frozenset[Option] = frozenset({"datacenter", "namespace", "partition"})


def list_request(query: Parameters) -> Request[tuple[Intention, ...]]:
    """Return the request for the list of intentions; `query` has the filter, or nothing."""
    return Request(
        method="GET", path=LIST, query=query, decode=_intentions, slices=_sliced, accepted_options=UNCACHED_READ
    )


def match_request(by: str, names: tuple[str, ...], decode: Callable[[Response], T]) -> Request[T]:
    """
    Return the request for a match.

    - `by`: side of the names, "source" or "destination".
    - `names`: the names.
    - `decode`: reader of the answer.
    """
    query = (("by", by), *(("name", name) for name in names))
    return Request(method="GET", path=MATCH, query=query, decode=decode, accepted_options=ALL_READ)


class OneName(msgspec.Struct, frozen=True):
    """
    Reader of the intentions of one name in a match; equal readers let their watches share a poll.

    - `by`: side of the name, "source" or "destination".
    - `name`: the name.
    """

    by: str
    name: str

    def __call__(self, response: Response) -> tuple[Intention, ...]:
        """Return the intentions of the name in `response`."""
        return _of_name(read_matches(response.body), self.by, self.name)


class EachName(msgspec.Struct, frozen=True):
    """
    Reader of the intentions of each of several names in a match.

    - `by`: side of the names, "source" or "destination".
    - `names`: the names.
    """

    by: str
    names: tuple[str, ...]

    def __call__(self, response: Response) -> Matches:
        """Return the intentions in `response` by name."""
        found = read_matches(response.body)
        return {name: _of_name(found, self.by, name) for name in self.names}


def _of_name(found: dict[str, tuple[Intention, ...] | None], by: str, name: str) -> tuple[Intention, ...]:
    if name not in found:  # Consul names each, also without intentions: it was no answer to this
        raise UnreadableResponse(f"the answer says nothing of {name!r}")
    return _local(by, found[name] or ())


def _local(by: str, intentions: tuple[Intention, ...]) -> tuple[Intention, ...]:
    """
    Return the intentions without those of peers, if they were matched by source.

    Consul shows a peer's intention there only beside a local one of that name: none are better than some.
    """
    if by == "destination" or not any(known.source_peer for known in intentions):
        return intentions
    return tuple(known for known in intentions if not known.source_peer)


def exact_request(
    method: str,
    source: str,
    destination: str,
    decode: Callable[[Response], T],
    *,
    accepted_options: frozenset[Option],
    body: bytes | None = None,
    read: bool = False,
) -> Request[T]:
    """
    Return the request for a call by two names.

    - `method`: HTTP method.
    - `source`: name of the source.
    - `destination`: name of the destination.
    - `decode`: reader of the answer.
    - `accepted_options`: names of the options that Consul honours here.
    - `body`: body, None for none.
    - `read`: the call changes nothing; only then a source may be `peer:PEER/name`.

    Raises InvalidRequest for names that Consul would refuse, or take for something else.
    """
    if not isinstance(source, str):
        raise InvalidRequest(f"source takes text, not {source!r:.40}")
    if not read and source.startswith("peer:"):
        raise InvalidRequest(
            "source: an intention for a peer's service cannot be written by name (up to 1.12 Consul would act on the"
            " local service of that name); write the service-intentions config entry"
        )
    for side, name in (("source", source), ("destination", destination)):
        check_name(side, name, peer=read and side == "source")
    query = (("source", source), ("destination", destination))
    return Request(
        method=method,
        path=EXACT,
        query=query,
        body=body,
        decode=decode,
        read=read,
        idempotent=not read,
        accepted_options=accepted_options,
        min_version="1.9",
    )


def one_side(source: str, destination: str) -> tuple[str, str]:
    """
    Return the side that was given, "source" or "destination", and its name.

    Raises InvalidRequest unless exactly one of `source` and `destination` is given, with a name that Consul takes.
    """
    if bool(source) == bool(destination):
        raise InvalidRequest("give either source or destination, and a name for it")
    by, name = ("source", source) if source else ("destination", destination)
    check_name(by, name)
    return by, name


def check_name(side: str, name: str, *, peer: bool = False) -> None:
    """
    Raise InvalidRequest for a name that Consul would refuse, or take for something else.

    - `side`: "source" or "destination" or another word for the error.
    - `name`: the name.
    - `peer`: a service of a peer (`peer:PEER/name`) is allowed; default False.
    """
    if not isinstance(name, str):
        raise InvalidRequest(f"{side} takes text, not {name!r:.40}")
    if not _PLAIN.fullmatch(name):
        _check_odd_name(side, name, peer=peer)


def check_new_destination(name: str) -> None:
    """Raise InvalidRequest for the `name` of a destination that Consul would refuse, or never lead to."""
    check_name("destination", name)
    check_new_name("destination", name)


def _check_odd_name(side: str, name: str, *, peer: bool) -> None:
    if name.startswith("peer:") and not peer:
        raise InvalidRequest(
            f"{side}: Consul takes no service of a peer here (an old one takes {name!r} for a namespace)"
        )
    parts = name.removeprefix("peer:").split("/")
    if not all(parts) or len(parts) > 3:  # noqa: PLR2004 - partition/namespace/name
        raise InvalidRequest(f"{side}: {name!r} is not a name, namespace/name or partition/namespace/name")
    if any("*" in part and part != "*" for part in parts):
        raise InvalidRequest(f"{side}: '*' stands for a whole name, not for a part of {name!r}")
    if len(parts) > 1 and parts[-2] == "*" and parts[-1] != "*":
        raise InvalidRequest(f"{side}: {name!r} names a service after the namespace '*'")


def id_body(
    source: str, destination: str, *, action: Action, description: str, meta: Mapping[str, str], tenant: Options
) -> bytes:
    """
    Return the body of a write by id.

    - `source`: name of the source, without a partition.
    - `destination`: name of the destination, without a partition.
    - `action`: "allow" or "deny".
    - `description`: text for people to read.
    - `meta`: metadata of the intention.
    - `tenant`: options with the namespace of a side that names none.

    Raises InvalidRequest for what Consul would refuse.
    """
    check_rule(action, (), destination=destination)
    check_description(description, meta)
    sides: list[tuple[str, str]] = []
    for side, name in (("source", source), ("destination", destination)):
        check_name(side, name)
        if name.count("/") > 1 or tenant.partition not in {None, "", "default"}:
            raise InvalidRequest(f"{side}: an intention with an id has no partition; use upsert or config")
        namespace, _, service = name.rpartition("/")
        sides.append((namespace or tenant.namespace or "", service))
    body = IntentionBody(
        source_namespace=sides[0][0],
        source_name=sides[0][1],
        destination_namespace=sides[1][0],
        destination_name=sides[1][1],
        source_type="consul",
        action=action,
        description=description,
        meta=meta,
    )
    return encode(plain(body))


def id_path(intention_id: str) -> str:
    """
    Return the path of the intention with that id.

    Raises InvalidRequest if `intention_id` is no UUID, and so might name something else.
    """
    if not isinstance(intention_id, str):
        raise InvalidRequest(f"intention_id takes text, not {intention_id!r:.40}")
    lowered = intention_id.lower()  # Consul knows ids in lower case alone
    if not UUID.fullmatch(lowered):
        raise InvalidRequest(f"intention_id: {intention_id!r} is not a UUID")
    return path_of("connect", "intentions", lowered)


def by_name_and_key(matches: Matches) -> dict[Hashable, Intention]:
    """
    Return the intentions of a match of several names by `MatchKey`.

    `matches` maps each name to its intentions.
    """
    return {MatchKey(name, known.key): known for name, intentions in matches.items() for known in intentions}


def _sliced(response: Response) -> InSlices[tuple[Intention, ...]]:
    return read_list_in_slices(response.body)


def _intentions(response: Response) -> tuple[Intention, ...]:
    return read_list(response.body)


def read_intention(response: Response) -> Intention:
    """Return the intention in `response`."""
    return read_one(response.body)


def read_allowed(response: Response) -> bool:
    """Return the result of the check in `response`."""
    return read_check(response.body).allowed


def read_created_id(response: Response) -> str:
    """Return the id that `response`, the answer to a write, holds."""
    return read_id(response.body).id


def read_true(response: Response) -> None:
    """
    Return if `response`, the answer to a write, is true.

    Raises ServerError for false, with which Consul would say that it did not write, and UnreadableResponse for anything
    else.
    """
    answer = response.body.strip()
    if answer == b"false":
        raise ServerError(NOT_WRITTEN)
    if answer != b"true":
        raise UnreadableResponse("a write that succeeds answers true, and this did not")
