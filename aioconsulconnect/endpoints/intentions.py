"""`/v1/connect/intentions`: who may connect to whom."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import TypeVar

import msgspec

from aioconsulconnect.endpoints.intentions_plan import IntentionPlans
from aioconsulconnect.errors import Conflict, InvalidRequest, PermissionDenied, UnreadableResponse
from aioconsulconnect.options import Option, Options
from aioconsulconnect.request import ALL_READ, UNCACHED_READ, Blocking, Parameters, Request, Response, path_of
from aioconsulconnect.watch import Query
from aioconsulconnect.wire.base import encode
from aioconsulconnect.wire.intentions import (
    Action,
    Intention,
    IntentionBody,
    Permission,
    by_key,
    check_description,
    check_rule,
    read_check,
    read_id,
    read_list,
    read_matches,
    read_one,
)
from aioconsulconnect.wire.open import plain

T = TypeVar("T")

_log = logging.getLogger(__name__)

_LIST = path_of("connect", "intentions")
_MATCH = path_of("connect", "intentions", "match")
_EXACT = path_of("connect", "intentions", "exact")
_CHECK = path_of("connect", "intentions", "check")
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_WRITE: frozenset[Option] = frozenset({"namespace", "partition"})
_CHECK_TAKES: frozenset[Option] = frozenset({"datacenter", "namespace", "partition"})

Matches = Mapping[str, tuple[Intention, ...]]


class Intentions(IntentionPlans):
    """
    Intentions, by the names of source and destination (Consul 1.9) or by id (every version; deprecated by Consul).

    A name is a service or `*`; in Consul Enterprise `namespace/name` and (1.11) `partition/namespace/name` as well.
    Consul compares source names case-sensitively and destinations not: use lower-case names.
    """

    def list(self, *, filter: str = "", options: Options | None = None) -> Query[tuple[Intention, ...], Intention]:  # noqa: A002 - Consul's word
        """
        All intentions that the token may see, in order of precedence (`GET /v1/connect/intentions`).

        `filter` is an expression of Consul (1.8) such as `SourceName == "web"`; it does not narrow a watch: any write
        of an intention wakes it. What the token may not see is left out without an error (from 1.11 the reply's
        `meta.filtered_by_acls` tells).
        """
        query: Parameters = (("filter", filter),) if filter else ()
        return self._query(_list_request(query), Blocking(items=by_key), options)

    def match(
        self, *, source: str = "", destination: str = "", options: Options | None = None
    ) -> Query[tuple[Intention, ...], Intention]:
        """
        The intentions that apply to one source or one destination, in the order in which they are evaluated.

        `GET /v1/connect/intentions/match`. Give exactly one of the two; `*` finds the rules for `*` alone. By source,
        intentions of peers are left out: Consul returns some of them and not others. Needs `intentions:read` on the
        name.
        """
        by, name = _one_side(source, destination)
        request = _match_request(by, (name,), _One(by, name))
        return self._query(request, Blocking(items=by_key, borrow=_list_request(())), options)

    def match_many(
        self,
        *,
        sources: Sequence[str] = (),
        destinations: Sequence[str] = (),
        options: Options | None = None,
    ) -> Query[Matches, Intention]:
        """
        The same for several names in one call: a mapping keyed by the names as asked.

        One name without rights makes Consul refuse them all. A change of any of them wakes a watch.
        """
        if isinstance(sources, str) or isinstance(destinations, str):
            raise InvalidRequest("match_many takes sequences of names; for one name use match")
        if bool(sources) == bool(destinations):
            raise InvalidRequest("match_many takes either sources or destinations, at least one name")
        names = tuple(dict.fromkeys(sources or destinations))
        by = "source" if sources else "destination"
        for name in names:
            _check_name(by, name)
        request = _match_request(by, names, _Many(by, names))
        return self._query(request, Blocking(items=_by_name_and_key, borrow=_list_request(())), options)

    async def check(self, source: str, destination: str, *, options: Options | None = None) -> bool:
        """
        Whether Consul's servers would let `source` connect to `destination` (`GET /v1/connect/intentions/check`).

        An L7 intention counts as a denial. Needs `service:read` on the destination. The servers do not know the
        agent's `default_intention_policy` (1.18): where that is set, `agent.authorize` is what decides.
        """
        for side, name in (("source", source), ("destination", destination)):
            _check_name(side, name)
            if "*" in name:
                raise InvalidRequest(
                    f"{side}: Consul would take {name!r} for the name of a service; ask for one service"
                )
        query = (("source", source), ("destination", destination))
        request = Request(method="GET", path=_CHECK, query=query, decode=_allowed, takes=_CHECK_TAKES)
        return await self._call(request, options)

    async def read(self, source: str, destination: str, *, options: Options | None = None) -> Intention:
        """
        One intention by its two names; NotFound where there is none (`GET /v1/connect/intentions/exact`, Consul 1.9).

        `source` may be `peer:PEER/name` (1.13). To watch one, watch `match` of its destination: Consul sends no index
        here.
        """
        _check_name("source", source)
        request = _exact_request("GET", source, destination, _intention, read=True, takes=UNCACHED_READ)
        return await self._call(request, options)

    async def upsert(
        self,
        source: str,
        destination: str,
        *,
        action: Action | None = None,
        permissions: Sequence[Permission] = (),
        description: str = "",
        options: Options | None = None,
    ) -> None:
        """
        Create or replace the intention of two names (`PUT /v1/connect/intentions/exact`, Consul 1.9).

        Give `action` or `permissions` (L7; the destination's protocol must be declared first). The write goes to the
        primary datacenter. Needs `intentions:write` on the destination.

        It reads the destination's intentions first, and refuses what Consul would quietly do otherwise: act on the
        default namespace or partition where it knows no other, or replace the intention of a peer's service of the
        same name (Conflict: write the `service-intentions` config entry instead). A side effect of Consul's that is
        logged as a warning: intentions of the same destination that were created by id lose their ids.
        """
        permissions = tuple(permissions)
        check_rule(action, permissions, destination=destination)
        check_description(description, {})
        body = encode(plain(IntentionBody(action=action, permissions=permissions, description=description)))
        request = _exact_request("PUT", source, destination, _true, body=body, takes=_WRITE)
        await self._before_exact_write(source, destination, options)
        await self._call(request, options)

    async def delete(self, source: str, destination: str, *, options: Options | None = None) -> None:
        """
        Delete the intention of two names; no error where there is none (`DELETE …/exact`, Consul 1.9).

        Reads first, and refuses, for the reasons that `upsert` gives.
        """
        request = _exact_request("DELETE", source, destination, _true, takes=_WRITE)
        await self._before_exact_write(source, destination, options)
        await self._call(request, options)

    # By id: the only way to write on Consul 1.8, deprecated since 1.9 and still served.

    async def create(
        self,
        source: str,
        destination: str,
        *,
        action: Action,
        description: str = "",
        meta: Mapping[str, str] | None = None,
        options: Options | None = None,
    ) -> str:
        """
        Create an intention and return its id (`POST /v1/connect/intentions`). Conflict where the pair has one.

        Deprecated by Consul since 1.9 in favour of `upsert`; needed on 1.8.
        """
        body = _id_body(source, destination, action, description, meta or {})
        request = Request(method="POST", path=_LIST, body=body, decode=_id, read=False)
        return await self._call(request, options)

    async def read_by_id(self, intention_id: str, *, options: Options | None = None) -> Intention:
        """One intention by its id; NotFound where there is none (`GET /v1/connect/intentions/:uuid`)."""
        request = Request(method="GET", path=_id_path(intention_id), decode=_intention, takes=UNCACHED_READ)
        return await self._call(request, options)

    async def update_by_id(
        self,
        intention_id: str,
        source: str,
        destination: str,
        *,
        action: Action,
        description: str = "",
        meta: Mapping[str, str] | None = None,
        options: Options | None = None,
    ) -> None:
        """
        Replace the intention with that id (`PUT /v1/connect/intentions/:uuid`); NotFound where there is none.

        All of it is replaced; from 1.9 the destination must stay what it is.
        """
        body = _id_body(source, destination, action, description, meta or {})
        request = Request(method="PUT", path=_id_path(intention_id), body=body, decode=_id, read=False)
        await self._call(request, options)

    async def delete_by_id(self, intention_id: str, *, options: Options | None = None) -> None:
        """Delete the intention with that id (`DELETE /v1/connect/intentions/:uuid`); NotFound where there is none."""
        request = Request(method="DELETE", path=_id_path(intention_id), decode=_true, read=False)
        await self._call(request, options)

    async def _before_exact_write(self, source: str, destination: str, options: Options | None) -> None:
        """
        Ask by a read, which Consul answers truthfully, whether the write would do what it says.

        Community servers act on the default namespace and partition whatever a write names, but refuse a match of a
        foreign one; and a write by name takes the first source of that name, a peer's too.
        """
        names = (destination, source) if "/" in source else (destination,)
        request = _match_request("destination", names, _One("destination", destination))
        truthful = Options(consistency="default", cached=False)
        if options is not None:
            options.refuse_ignored(_WRITE, "PUT", _EXACT)  # the write would, but only after the look
            truthful = Options(
                namespace=options.namespace, partition=options.partition, token=options.token, timeout=options.timeout
            ).over(truthful)
        try:
            matching = await self._call(request, truthful)
        except PermissionDenied:
            return  # the write itself will say so; a server that does not know the namespace had refused earlier
        name, target = source.rpartition("/")[2], destination.rpartition("/")[2].lower()
        present = [known for known in matching if known.destination_name.lower() == target]
        if any(known.source_peer and known.source_name == name for known in present):
            raise Conflict(
                f"{destination!r} has an intention for a peer's service {name!r}, which Consul would change instead of"
                " the local one: write the service-intentions config entry",
                method="PUT",
                path=_EXACT,
            )
        losing = [known.source_name for known in present if known.id and known.source_name != name]
        if losing:
            _log.warning(
                "writing %s => %s by name makes %d intentions of the destination lose their ids: %s",
                source, destination, len(losing), ", ".join(losing[:10]),
            )  # fmt: skip


def _list_request(query: Parameters) -> Request[tuple[Intention, ...]]:
    return Request(method="GET", path=_LIST, query=query, decode=_intentions, takes=UNCACHED_READ)


def _match_request(by: str, names: tuple[str, ...], decode: Callable[[Response], T]) -> Request[T]:
    query = (("by", by), *(("name", name) for name in names))
    return Request(method="GET", path=_MATCH, query=query, decode=decode, takes=ALL_READ)


class _One(msgspec.Struct, frozen=True):
    """The intentions of one name in a match. Two that are equal read alike, so their watches share a poll."""

    by: str
    name: str

    def __call__(self, response: Response) -> tuple[Intention, ...]:
        return _local(self.by, read_matches(response.body).get(self.name) or ())


class _Many(msgspec.Struct, frozen=True):
    """The intentions of each of several names in a match."""

    by: str
    names: tuple[str, ...]

    def __call__(self, response: Response) -> Matches:
        found = read_matches(response.body)
        return {name: _local(self.by, found.get(name) or ()) for name in self.names}


def _local(by: str, intentions: tuple[Intention, ...]) -> tuple[Intention, ...]:
    """By source Consul shows a peer's intention only beside a local one of that name: better none than some."""
    if by == "destination" or not any(known.source_peer for known in intentions):
        return intentions
    return tuple(known for known in intentions if not known.source_peer)


def _exact_request(
    method: str,
    source: str,
    destination: str,
    decode: Callable[[Response], T],
    *,
    takes: frozenset[Option],
    body: bytes | None = None,
    read: bool = False,
) -> Request[T]:
    if not read and source.startswith("peer:"):
        raise InvalidRequest(
            "source: an intention for a peer's service cannot be written by name (up to 1.12 Consul would act on the"
            " local service of that name); write the service-intentions config entry"
        )
    for side, name in (("source", source), ("destination", destination)):
        _check_name(side, name)
    query = (("source", source), ("destination", destination))
    return Request(
        method=method, path=_EXACT, query=query, body=body, decode=decode, read=read, takes=takes, needs="1.9"
    )


def _one_side(source: str, destination: str) -> tuple[str, str]:
    if bool(source) == bool(destination):
        raise InvalidRequest("give either source or destination, and a name for it")
    by, name = ("source", source) if source else ("destination", destination)
    _check_name(by, name)
    return by, name


def _check_name(side: str, name: str) -> None:
    """Raise InvalidRequest for a name of a side that Consul would refuse, or take for something else."""
    parts = name.removeprefix("peer:").split("/")
    if not all(parts) or len(parts) > 3:  # noqa: PLR2004 - partition/namespace/name
        raise InvalidRequest(f"{side}: {name!r} is not a name, namespace/name or partition/namespace/name")
    if any("*" in part and part != "*" for part in parts):
        raise InvalidRequest(f"{side}: '*' stands for a whole name, not for a part of {name!r}")
    if len(parts) > 1 and parts[-2] == "*" and parts[-1] != "*":
        raise InvalidRequest(f"{side}: {name!r} names a service after the namespace '*'")


def _id_body(source: str, destination: str, action: Action, description: str, meta: Mapping[str, str]) -> bytes:
    check_rule(action, (), destination=destination)
    check_description(description, meta)
    sides: list[tuple[str, str]] = []
    for side, name in (("source", source), ("destination", destination)):
        _check_name(side, name)
        if name.count("/") > 1 or name.startswith("peer:"):
            raise InvalidRequest(
                f"{side}: an intention with an id has neither partition nor peer; use upsert or config"
            )
        namespace, _, service = name.rpartition("/")
        sides.append((namespace, service))
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


def _id_path(intention_id: str) -> str:
    lowered = intention_id.lower()  # Consul knows ids in lower case alone
    if not _UUID.fullmatch(lowered):
        raise InvalidRequest(f"intention_id: {intention_id!r} is not a UUID")
    return path_of("connect", "intentions", lowered)


def _by_name_and_key(matches: Matches) -> dict[Hashable, Intention]:
    return {(name, known.key): known for name, intentions in matches.items() for known in intentions}


def _intentions(response: Response) -> tuple[Intention, ...]:
    return read_list(response.body)


def _intention(response: Response) -> Intention:
    return read_one(response.body)


def _allowed(response: Response) -> bool:
    return read_check(response.body).allowed


def _id(response: Response) -> str:
    return read_id(response.body).id


def _true(response: Response) -> None:
    if response.body.strip() != b"true":
        raise UnreadableResponse("a write that succeeds answers true, and this did not")
