"""Endpoints under `/v1/connect/intentions`: who may connect to whom."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TypeVar

from aioconsulconnect.endpoints.arguments import sequence
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
    check_new_destination,
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
from aioconsulconnect.errors import Conflict, ConsulError, InvalidRequest, OutcomeUnknown, PermissionDenied
from aioconsulconnect.structs.codec.json_body import encode
from aioconsulconnect.structs.codec.unknown_fields import plain
from aioconsulconnect.structs.intention_rules import check_description, check_rule
from aioconsulconnect.structs.intentions import (
    Action,
    Intention,
    IntentionBody,
    Permission,
    by_key,
    by_key_in_slices,
)
from aioconsulconnect.transport.request import Parameters, Request
from aioconsulconnect.transport.settings.options import NO_OPTIONS, UNCACHED_READ, Options
from aioconsulconnect.watch.protocol.spec import WatchSpec
from aioconsulconnect.watch.query import Query

T = TypeVar("T")

_log = logging.getLogger("aioconsulconnect.endpoints")


class Intentions(Group):
    """
    Endpoints of intentions, by the names of source and destination (Consul 1.9) or by id.

    Those by id are served by every version, and deprecated by Consul. A name is a service or `*`; in Consul Enterprise
    `namespace/name` and (1.11) `partition/namespace/name` as well. Consul compares source names case-sensitively and
    destinations not: use lower-case names.
    """

    def list(self, *, filter: str = "", options: Options | None = None) -> Query[tuple[Intention, ...], Intention]:  # noqa: A002 - Consul's word
        """
        All intentions that the token may see, in order of precedence.

        `GET /v1/connect/intentions`. What the token may not see is left out without an error (from Consul 1.11 the
        reply's `meta.filtered_by_acls` tells). From 1.9 a write moves the `modify_index` of all intentions of its
        destination; a watch reports them as changed too, unless it has `ignore=("modify_index",)`.

        - `filter`: filter expression (Consul 1.8), such as `SourceName == "web"`; default: all. It does not narrow a
          watch: any write of an intention wakes it.
        - `options`: options of this call, over the client's.
        """
        query: Parameters = (("filter", filter),) if filter else ()
        return self._query(list_request(query), WatchSpec(items=by_key, items_in_slices=by_key_in_slices), options)

    def match(
        self, *, source: str = "", destination: str = "", options: Options | None = None
    ) -> Query[tuple[Intention, ...], Intention]:
        """
        The intentions that apply to one source or destination, in the order of their evaluation.

        `GET /v1/connect/intentions/match`. Needs `intentions:read` on the name. Give exactly one of `source` and
        `destination`.

        - `source`: name of the source. Intentions of peers are then left out: Consul returns some of them and not
          others.
        - `destination`: name of the destination. On either side `*` finds the rules for `*` alone.
        - `options`: options of this call, over the client's.

        Raises InvalidRequest for both names or none, and for a name that Consul would refuse or take for something
        else.
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
        The intentions that apply to each of several sources or destinations, by name.

        `GET /v1/connect/intentions/match`, in one call. The result maps each name, as it was given, to its intentions
        in the order of their evaluation. Needs `intentions:read` on every name: one without makes Consul refuse them
        all. A change of any of them wakes a watch. Give exactly one of `sources` and `destinations`.

        - `sources`: names of the sources; intentions of peers are then left out, as in `match`.
        - `destinations`: names of the destinations.
        - `options`: options of this call, over the client's.

        Raises InvalidRequest for both or none, for one text in place of a sequence, and for a name that Consul would
        refuse or take for something else.
        """
        if isinstance(sources, str) or isinstance(destinations, str):
            raise InvalidRequest("match_many takes sequences of names; for one name use match")
        if bool(sources) == bool(destinations):
            raise InvalidRequest("match_many takes either sources or destinations, at least one name")
        by = "source" if sources else "destination"
        names = tuple(dict.fromkeys(sequence(f"{by}s", sources or destinations, str)))
        for name in names:
            check_name(by, name)
        request = match_request(by, names, EachName(by, names))
        spec = WatchSpec(items=by_name_and_key, index_from=list_request(()))
        return self._query(request, spec, options)

    async def check(self, source: str, destination: str, *, options: Options | None = None) -> bool:
        """
        Ask Consul's servers whether a source may connect to a destination.

        `GET /v1/connect/intentions/check`. L7 intentions count as a denial. Needs `service:read` on the destination.
        The servers do not know the agent's `default_intention_policy` (Consul 1.18): where that is set,
        `agent.authorize` is what decides.

        - `source`: name of the service that connects.
        - `destination`: name of the service that it connects to.
        - `options`: options of this call, over the client's.

        Raises InvalidRequest for a name with `*`, and for one that Consul would refuse or take for something else.
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
        Read the intention of a source and a destination.

        `GET /v1/connect/intentions/exact`, Consul 1.9. Consul sends no index here: to watch one, watch `match` of its
        destination.

        - `source`: name of the source, also `peer:PEER/name` (Consul 1.13).
        - `destination`: name of the destination.
        - `options`: options of this call, over the client's.

        Raises NotFound where there is none, and InvalidRequest for a name that Consul would refuse or take for
        something else.
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
        Create or replace the intention of a source and a destination.

        `PUT /v1/connect/intentions/exact`, Consul 1.9. The write goes to the primary datacenter. Needs
        `intentions:write` on the destination. Give either `action` or `permissions`.

        - `source`: name of the source.
        - `destination`: name of the destination.
        - `action`: "allow" or "deny".
        - `permissions`: rules of an L7 intention, for which the destination's protocol must be declared first.
        - `description`: text for people to read; default empty.
        - `options`: options of this call, over the client's.

        It reads the destination's intentions first, and refuses what Consul would do without saying so: act on the
        default namespace or partition where it knows no other, or replace the intention of a peer's service of the same
        name. A side effect of Consul's is logged as a warning once it has happened, or may have: intentions of the same
        destination that were created by id lose their ids.

        Raises Conflict where a peer's service of that name has an intention (write the `service-intentions` config
        entry instead), and InvalidRequest for what Consul would refuse or take for something else, and for a
        destination whose config entry no path would lead to.
        """
        check_new_destination(destination)
        permissions = sequence("permissions", permissions, Permission)
        check_rule(action, permissions, destination=destination)
        check_description(description, {})
        body = encode(plain(IntentionBody(action=action, permissions=permissions, description=description)))
        request = exact_request("PUT", source, destination, read_true, body=body, accepted_options=WRITE)
        await self._exact_write(request, source, destination, options)

    async def delete(self, source: str, destination: str, *, options: Options | None = None) -> None:
        """
        Delete the intention of a source and a destination; it is no error where there is none.

        `DELETE /v1/connect/intentions/exact`, Consul 1.9. It reads the destination's intentions first, and refuses what
        `upsert` refuses, for the same reasons.

        - `source`: name of the source.
        - `destination`: name of the destination.
        - `options`: options of this call, over the client's.

        Raises Conflict and InvalidRequest as `upsert` does, but takes a destination whose entry no path leads to.
        """
        request = exact_request("DELETE", source, destination, read_true, accepted_options=WRITE)
        await self._exact_write(request, source, destination, options)

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
        Create an intention with an id, and return the id.

        `POST /v1/connect/intentions`. Deprecated by Consul since 1.9 in favour of `upsert`; needed on 1.8.

        - `source`: name of the source.
        - `destination`: name of the destination.
        - `action`: "allow" or "deny".
        - `description`: text for people to read; default empty.
        - `meta`: metadata of the intention; default none.
        - `options`: options of this call, over the client's.

        Raises Conflict where the two names have an intention already, and InvalidRequest for what Consul would refuse,
        also for a name with a partition, and for a destination that `upsert` refuses.
        """
        check_new_destination(destination)
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
        """
        Read the intention with that id.

        `GET /v1/connect/intentions/:uuid`.

        - `intention_id`: UUID of the intention.
        - `options`: options of this call, over the client's.

        Raises NotFound where there is none, and InvalidRequest for an id that is no UUID.
        """
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
        Replace the intention with that id.

        `PUT /v1/connect/intentions/:uuid`. All of it is replaced.

        - `intention_id`: UUID of the intention.
        - `source`: name of the source.
        - `destination`: name of the destination; from Consul 1.9 it must stay what it is.
        - `action`: "allow" or "deny".
        - `description`: text for people to read; default empty.
        - `meta`: metadata of the intention; default none.
        - `options`: options of this call, over the client's.

        Raises NotFound where there is none, and InvalidRequest for what Consul would refuse, for an id that is no UUID,
        and for a name with a partition.
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
            idempotent=True,
            accepted_options=WRITE,
        )
        await self._call(request, options)

    async def delete_by_id(self, intention_id: str, *, options: Options | None = None) -> None:
        """
        Delete the intention with that id.

        `DELETE /v1/connect/intentions/:uuid`.

        - `intention_id`: UUID of the intention.
        - `options`: options of this call, over the client's.

        Raises NotFound where there is none, and InvalidRequest for an id that is no UUID.
        """
        request = Request(
            method="DELETE", path=id_path(intention_id), decode=read_true, read=False, accepted_options=WRITE
        )
        await self._call(request, options)

    def _tenant(self, options: Options | None) -> Options:
        return (options or NO_OPTIONS).over(self._defaults)

    async def _exact_write(
        self, request: Request[None], source: str, destination: str, options: Options | None
    ) -> None:
        """Write by name, and then log which intentions lost their ids by it."""
        losing = await self._before_exact_write(request.method, source, destination, options)
        did = "may have made"
        try:
            await self._call(request, options)
            did = "made"
        except OutcomeUnknown:
            raise
        except ConsulError:
            losing = ()
            raise
        finally:
            if losing:
                _log.warning(
                    "writing %s => %s by name %s %d intentions of the destination lose their ids: %s",
                    source, destination, did, len(losing), ", ".join(losing[:10]),
                )  # fmt: skip

    async def _before_exact_write(
        self, method: str, source: str, destination: str, options: Options | None
    ) -> tuple[str, ...]:
        """
        Check by a read, which Consul answers truthfully, that a write by name does what it says.

        Community servers act on the default namespace and partition whatever a write names, but refuse a match of a
        foreign one; and a write by name takes the first source of that name, also a peer's (facts 1 and 2). The result
        are the sources whose intentions lose their ids if the write succeeds: all others of the destination (fact 6).
        """
        truthful = Options(consistency="default", cached=False)
        if options is not None:
            options.refuse_ignored(WRITE, method, EXACT)  # the write does so too, but only after this read
            truthful = Options(
                namespace=options.namespace, partition=options.partition, token=options.token, timeout=options.timeout
            ).over(truthful)
        if "/" in source:  # a match of its own, since one name without rights would hide the answer for the other
            with suppress(PermissionDenied):
                await self._call(match_request("destination", (source,), OneName("destination", source)), truthful)
        try:
            request = match_request("destination", (destination,), OneName("destination", destination))
            matching = await self._call(request, truthful)
        except PermissionDenied:
            return ()  # the write is denied too; a server that does not know the namespace answers with another error
        name, target = source.rpartition("/")[2], destination.rpartition("/")[2].lower()
        present = [known for known in matching if known.destination_name.lower() == target]
        if any(known.source_peer and known.source_name == name for known in present):
            raise Conflict(
                f"{destination!r} has an intention for a peer's service {name!r}, which Consul would take for the local"
                " one: write the service-intentions config entry",
                method=method,
                path=EXACT,
            )
        if method == "DELETE" and all(known.source_name != name for known in present):
            return ()  # there is nothing to delete, and then Consul writes nothing
        return tuple(known.source_name for known in present if known.id and known.source_name != name)
