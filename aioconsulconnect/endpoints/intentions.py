"""`/v1/connect/intentions`: who may connect to whom."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TypeVar

from aioconsulconnect.endpoints.group import Group
from aioconsulconnect.endpoints.intentions_requests import (
    CHECK,
    CHECK_OPTIONS,
    EXACT,
    LIST,
    WRITE,
    EachName,
    Matches,
    OneName,
    by_name_and_key,
    check_name,
    exact_request,
    id_body,
    id_path,
    list_request,
    match_request,
    one_side,
    read_allowed,
    read_created_id,
    read_intention,
    read_true,
)
from aioconsulconnect.errors import Conflict, InvalidRequest, PermissionDenied
from aioconsulconnect.structs.codec.json_body import encode
from aioconsulconnect.structs.codec.unknown_fields import plain
from aioconsulconnect.structs.intentions import (
    Action,
    Intention,
    IntentionBody,
    Permission,
    by_key,
    check_description,
    check_rule,
)
from aioconsulconnect.transport.options import NO_OPTIONS, UNCACHED_READ, Options
from aioconsulconnect.transport.request import Parameters, Request
from aioconsulconnect.watch.protocol.spec import WatchSpec
from aioconsulconnect.watch.query import Query

T = TypeVar("T")

_log = logging.getLogger("aioconsulconnect.endpoints")


class Intentions(Group):
    """
    Intentions, by the names of source and destination (Consul 1.9) or by id (every version; deprecated by Consul).

    A name is a service or `*`; in Consul Enterprise `namespace/name` and (1.11) `partition/namespace/name` as well.
    Consul compares source names case-sensitively and destinations not: use lower-case names.
    """

    def list(self, *, filter: str = "", options: Options | None = None) -> Query[tuple[Intention, ...], Intention]:  # noqa: A002 - Consul's word
        """
        All intentions that the token may see, in order of precedence (`GET /v1/connect/intentions`).

        `filter` is an expression of Consul (1.8) such as `SourceName == "web"`; it does not narrow a watch: any write
        of an intention wakes it. From 1.9 a write moves the `modify_index` of all intentions of its destination; a
        watch reports them as changed too, unless it has `ignore=("modify_index",)`. What the token may not see is left
        out without an error (from 1.11 the reply's `meta.filtered_by_acls` tells).
        """
        query: Parameters = (("filter", filter),) if filter else ()
        return self._query(list_request(query), WatchSpec(items=by_key), options)

    def match(
        self, *, source: str = "", destination: str = "", options: Options | None = None
    ) -> Query[tuple[Intention, ...], Intention]:
        """
        The intentions that apply to one source or one destination, in the order in which they are evaluated.

        `GET /v1/connect/intentions/match`. Give exactly one of the two; `*` finds the rules for `*` alone. By source,
        intentions of peers are left out: Consul returns some of them and not others. Needs `intentions:read` on the
        name.
        """
        by, name = one_side(source, destination)
        request = match_request(by, (name,), OneName(by, name))
        spec = WatchSpec(items=by_key, index_from=list_request(()))
        return self._query(request, spec, options)

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
            check_name(by, name)
        request = match_request(by, names, EachName(by, names))
        spec = WatchSpec(items=by_name_and_key, index_from=list_request(()))
        return self._query(request, spec, options)

    async def check(self, source: str, destination: str, *, options: Options | None = None) -> bool:
        """
        Whether Consul's servers would let `source` connect to `destination` (`GET /v1/connect/intentions/check`).

        An L7 intention counts as a denial. Needs `service:read` on the destination. The servers do not know the
        agent's `default_intention_policy` (1.18): where that is set, `agent.authorize` is what decides.
        """
        for side, name in (("source", source), ("destination", destination)):
            check_name(side, name)
            if "*" in name:
                raise InvalidRequest(
                    f"{side}: Consul would take {name!r} for the name of a service; ask for one service"
                )
        query = (("source", source), ("destination", destination))
        request = Request(method="GET", path=CHECK, query=query, decode=read_allowed, accepted_options=CHECK_OPTIONS)
        return await self._call(request, options)

    async def read(self, source: str, destination: str, *, options: Options | None = None) -> Intention:
        """
        One intention by its two names; NotFound where there is none (`GET /v1/connect/intentions/exact`, Consul 1.9).

        `source` may be `peer:PEER/name` (1.13). To watch one, watch `match` of its destination: Consul sends no index
        here.
        """
        request = exact_request("GET", source, destination, read_intention, read=True, accepted_options=UNCACHED_READ)
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
        request = exact_request("PUT", source, destination, read_true, body=body, accepted_options=WRITE)
        await self._before_exact_write(source, destination, options)
        await self._call(request, options)

    async def delete(self, source: str, destination: str, *, options: Options | None = None) -> None:
        """
        Delete the intention of two names; no error where there is none (`DELETE …/exact`, Consul 1.9).

        Reads first, and refuses, for the reasons that `upsert` gives.
        """
        request = exact_request("DELETE", source, destination, read_true, accepted_options=WRITE)
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
        body = id_body(
            source,
            destination,
            action=action,
            description=description,
            meta=meta or {},
            tenant=self._tenant(options),
        )
        request = Request(
            method="POST", path=LIST, body=body, decode=read_created_id, read=False, accepted_options=WRITE
        )
        return await self._call(request, options)

    async def read_by_id(self, intention_id: str, *, options: Options | None = None) -> Intention:
        """One intention by its id; NotFound where there is none (`GET /v1/connect/intentions/:uuid`)."""
        request = Request(
            method="GET", path=id_path(intention_id), decode=read_intention, accepted_options=UNCACHED_READ
        )
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
        body = id_body(
            source,
            destination,
            action=action,
            description=description,
            meta=meta or {},
            tenant=self._tenant(options),
        )
        request = Request(
            method="PUT",
            path=id_path(intention_id),
            body=body,
            decode=read_created_id,
            read=False,
            accepted_options=WRITE,
        )
        await self._call(request, options)

    async def delete_by_id(self, intention_id: str, *, options: Options | None = None) -> None:
        """Delete the intention with that id (`DELETE /v1/connect/intentions/:uuid`); NotFound where there is none."""
        request = Request(
            method="DELETE", path=id_path(intention_id), decode=read_true, read=False, accepted_options=WRITE
        )
        await self._call(request, options)

    def _tenant(self, options: Options | None) -> Options:
        return (options or NO_OPTIONS).over(self._defaults)

    async def _before_exact_write(self, source: str, destination: str, options: Options | None) -> None:
        """
        Ask by a read, which Consul answers truthfully, whether the write would do what it says.

        Community servers act on the default namespace and partition whatever a write names, but refuse a match of a
        foreign one; and a write by name takes the first source of that name, a peer's too.
        """
        truthful = Options(consistency="default", cached=False)
        if options is not None:
            options.refuse_ignored(WRITE, "PUT", EXACT)  # the write would, but only after the look
            truthful = Options(
                namespace=options.namespace, partition=options.partition, token=options.token, timeout=options.timeout
            ).over(truthful)
        if "/" in source:  # asked apart, since one name without rights would hide what the other tells
            with suppress(PermissionDenied):
                await self._call(match_request("destination", (source,), OneName("destination", source)), truthful)
        try:
            request = match_request("destination", (destination,), OneName("destination", destination))
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
                path=EXACT,
            )
        losing = [known.source_name for known in present if known.id and known.source_name != name]
        if losing:
            _log.warning(
                "writing %s => %s by name makes %d intentions of the destination lose their ids: %s",
                source, destination, len(losing), ", ".join(losing[:10]),
            )  # fmt: skip
