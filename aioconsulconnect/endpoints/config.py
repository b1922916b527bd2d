"""Endpoints under `/v1/config`: config entries of every kind."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import Literal, TypeVar, overload

import msgspec

from aioconsulconnect.compatibility import KIND_SINCE
from aioconsulconnect.endpoints.arguments import check_new_name, is_odd, path_to
from aioconsulconnect.endpoints.capabilities import probe
from aioconsulconnect.endpoints.group import NOT_WRITTEN, Group
from aioconsulconnect.errors import (
    Conflict,
    ConsulError,
    ErrorReason,
    InvalidRequest,
    ServerError,
    UnreadableResponse,
    Unsupported,
)
from aioconsulconnect.slices import InSlices
from aioconsulconnect.structs.codec.json_body import reader
from aioconsulconnect.structs.config_entries.access import ExportedServices, JWTProvider, ServiceIntentions
from aioconsulconnect.structs.config_entries.defaults import Mesh, ProxyDefaults, ServiceDefaults
from aioconsulconnect.structs.config_entries.entry import EntryBase
from aioconsulconnect.structs.config_entries.gateways import IngressGateway, TerminatingGateway
from aioconsulconnect.structs.config_entries.kinds import (
    Entry,
    UnknownEntry,
    entries_by_key,
    entry_body,
    entry_key,
    read_entry,
    read_listing,
    read_listing_in_slices,
)
from aioconsulconnect.structs.config_entries.traffic import ServiceResolver, ServiceRouter, ServiceSplitter
from aioconsulconnect.transport.request import Parameters, Request, path_of
from aioconsulconnect.transport.response import Response
from aioconsulconnect.transport.settings.options import NO_OPTIONS, UNCACHED_READ, Option, Options
from aioconsulconnect.watch.protocol.spec import WatchSpec
from aioconsulconnect.watch.query import Query

T = TypeVar("T")

_WRITE: frozenset[Option] = frozenset({"namespace", "partition"})
_THE_ONE = {"mesh": "mesh", "proxy-defaults": "global", "exported-services": "default"}

_read_written = reader(bool)
_read_deleted = reader(object)


class Config(Group):
    """
    Endpoints of config entries: a struct for each kind, and an `UnknownEntry` for any other.

    What is read can be changed with `msgspec.structs.replace` and written: keys that a newer server put into it, at any
    depth, are sent back as they came. Writes go to the primary datacenter, whatever `datacenter` says.
    """

    @overload
    def read(  # pyright: ignore[reportOverlappingOverload] - a Literal is a str too
        self, kind: Literal["service-intentions"], name: str, *, options: Options | None = None
    ) -> Query[ServiceIntentions | None, ServiceIntentions]: ...

    @overload
    def read(
        self, kind: Literal["service-defaults"], name: str, *, options: Options | None = None
    ) -> Query[ServiceDefaults | None, ServiceDefaults]: ...

    @overload
    def read(
        self, kind: Literal["proxy-defaults"], name: str = "global", *, options: Options | None = None
    ) -> Query[ProxyDefaults | None, ProxyDefaults]: ...

    @overload
    def read(
        self, kind: Literal["service-resolver"], name: str, *, options: Options | None = None
    ) -> Query[ServiceResolver | None, ServiceResolver]: ...

    @overload
    def read(
        self, kind: Literal["service-router"], name: str, *, options: Options | None = None
    ) -> Query[ServiceRouter | None, ServiceRouter]: ...

    @overload
    def read(
        self, kind: Literal["service-splitter"], name: str, *, options: Options | None = None
    ) -> Query[ServiceSplitter | None, ServiceSplitter]: ...

    @overload
    def read(
        self, kind: Literal["mesh"], name: str = "mesh", *, options: Options | None = None
    ) -> Query[Mesh | None, Mesh]: ...

    @overload
    def read(
        self, kind: Literal["ingress-gateway"], name: str, *, options: Options | None = None
    ) -> Query[IngressGateway | None, IngressGateway]: ...

    @overload
    def read(
        self, kind: Literal["terminating-gateway"], name: str, *, options: Options | None = None
    ) -> Query[TerminatingGateway | None, TerminatingGateway]: ...

    @overload
    def read(
        self, kind: Literal["jwt-provider"], name: str, *, options: Options | None = None
    ) -> Query[JWTProvider | None, JWTProvider]: ...

    @overload
    def read(
        self, kind: Literal["exported-services"], name: str = "default", *, options: Options | None = None
    ) -> Query[ExportedServices | None, ExportedServices]: ...

    @overload
    def read(self, kind: str, name: str = "", *, options: Options | None = None) -> Query[Entry | None, Entry]: ...

    def read(self, kind: str, name: str = "", *, options: Options | None = None) -> object:
        """
        The config entry of that kind and name, None where there is none.

        `GET /v1/config/:kind/:name`. Needs the right to read it (`intentions:read` for service-intentions); `mesh` and
        `proxy-defaults` need none.

        - `kind`: kind of the entry, such as "service-defaults".
        - `name`: name of the entry, which Consul finds in upper or lower case; it may be left out where there is only
          one of the kind (`mesh`, `proxy-defaults`, `exported-services`).
        - `options`: options of this call, over the client's.

        Raises InvalidRequest where the name is missing, and Unsupported for a kind that the server does not know.
        """
        name = _name(kind, name, "read")
        return self._query(
            _get(path_to("config", kind, name=name), kind, _One(kind, name if is_odd(name) else "")),
            WatchSpec(items=_one, value_when_absent=_absent),
            options,
        )

    @overload
    def list(  # pyright: ignore[reportOverlappingOverload] - as above
        self, kind: Literal["service-intentions"], *, options: Options | None = None
    ) -> Query[tuple[ServiceIntentions, ...], ServiceIntentions]: ...

    @overload
    def list(
        self, kind: Literal["service-defaults"], *, options: Options | None = None
    ) -> Query[tuple[ServiceDefaults, ...], ServiceDefaults]: ...

    @overload
    def list(
        self, kind: Literal["proxy-defaults"], *, options: Options | None = None
    ) -> Query[tuple[ProxyDefaults, ...], ProxyDefaults]: ...

    @overload
    def list(
        self, kind: Literal["service-resolver"], *, options: Options | None = None
    ) -> Query[tuple[ServiceResolver, ...], ServiceResolver]: ...

    @overload
    def list(
        self, kind: Literal["service-router"], *, options: Options | None = None
    ) -> Query[tuple[ServiceRouter, ...], ServiceRouter]: ...

    @overload
    def list(
        self, kind: Literal["service-splitter"], *, options: Options | None = None
    ) -> Query[tuple[ServiceSplitter, ...], ServiceSplitter]: ...

    @overload
    def list(self, kind: Literal["mesh"], *, options: Options | None = None) -> Query[tuple[Mesh, ...], Mesh]: ...

    @overload
    def list(
        self, kind: Literal["ingress-gateway"], *, options: Options | None = None
    ) -> Query[tuple[IngressGateway, ...], IngressGateway]: ...

    @overload
    def list(
        self, kind: Literal["terminating-gateway"], *, options: Options | None = None
    ) -> Query[tuple[TerminatingGateway, ...], TerminatingGateway]: ...

    @overload
    def list(
        self, kind: Literal["jwt-provider"], *, options: Options | None = None
    ) -> Query[tuple[JWTProvider, ...], JWTProvider]: ...

    @overload
    def list(
        self, kind: Literal["exported-services"], *, options: Options | None = None
    ) -> Query[tuple[ExportedServices, ...], ExportedServices]: ...

    @overload
    def list(self, kind: str = "", *, options: Options | None = None) -> Query[tuple[Entry, ...], Entry]: ...

    def list(self, kind: str = "", *, options: Options | None = None) -> object:
        """
        All config entries of a kind, or of every kind, that the token may see.

        `GET /v1/config/:kind`, or `GET /v1/config/` for every kind. What the token may not see is left out without an
        error.

        - `kind`: kind of the entries; default: every kind.
        - `options`: options of this call, over the client's.
        """
        path = path_of("config", kind) if kind else path_of("config") + "/"
        spec = WatchSpec(items=entries_by_key)
        return self._query(_get(path, kind, _Many(kind), _Sliced(kind)), spec, options)

    async def write(self, entry: Entry, *, cas: int | None = None, options: Options | None = None) -> None:
        """
        Create or replace a config entry.

        `PUT /v1/config`. Only what is set is sent, so that an older server meets no key that it does not know.

        - `entry`: the entry.
        - `cas`: check-and-set: write only if the stored entry still has this `modify_index`, or with 0 if there is
          none; default: write in any case. One exception, which is Consul's: where the very same content is stored
          already, nothing is written and there is no error, whatever `cas` is.
        - `options`: options of this call, over the client's.

        Raises Conflict where `cas` does not match, Unsupported, with the version needed, for a key or kind that the
        server does not know, BadRequest for what Consul finds invalid, and InvalidRequest for a negative `cas`, for a
        name by which the entry could not be read or deleted later, and for a null in an open map or a list.
        """
        if not isinstance(entry, EntryBase | UnknownEntry):
            raise InvalidRequest(f"entry takes a config entry, not {entry!r:.40}")
        if entry.name:
            check_new_name("name", entry.name)
        query: Parameters = () if cas is None else (("cas", str(_index(cas))),)
        request = Request(
            method="PUT",
            path=path_of("config"),
            query=query,
            body=entry_body(entry),
            decode=_written,
            read=False,
            idempotent=cas is None,
            accepted_options=_WRITE,
            min_version=KIND_SINCE.get(entry.kind, ""),
        )
        if not await self._call(request, options):
            raise _not_done("written", entry.kind, entry.name, cas, request)

    async def delete(
        self, kind: str, name: str = "", *, cas: int | None = None, options: Options | None = None
    ) -> None:
        """
        Delete a config entry; it is no error where there is none.

        `DELETE /v1/config/:kind/:name`.

        - `kind`: kind of the entry.
        - `name`: name of the entry; it may be left out where there is only one of the kind (`mesh`, `proxy-defaults`,
          `exported-services`).
        - `cas`: check-and-set (Consul 1.11): delete only if the stored entry still has this `modify_index`; default:
          delete in any case. Servers up to 1.10 would ignore it and delete, so the agent's version is asked for first
          (`GET /v1/agent/self`).
        - `options`: options of this call, over the client's.

        Raises Conflict where `cas` does not match, InvalidRequest where the name is missing or `cas` is not above 0,
        and Unsupported, with nothing sent, unless it is certain that the agent is new enough for `cas`. Unsupported is
        raised too where the server behind it turns out to be older: then the entry is deleted.
        """
        name = _name(kind, name, "deleted")
        if cas == 0:
            raise InvalidRequest("cas: 0 stands for an entry that does not exist; Consul would never delete one")
        request = Request(
            method="DELETE",
            path=path_to("config", kind, name=name),
            query=() if cas is None else (("cas", str(_index(cas))),),
            decode=_deleted,
            read=False,
            idempotent=cas is None,
            accepted_options=_WRITE,
            min_version=KIND_SINCE.get(kind, ""),
        )
        if cas is not None:
            await self.require_checked_delete(options=options)
        if is_odd(name) and await self.read(kind, name, options=options) is None:
            return  # only what a path surely leads to is deleted: a gateway may tidy paths up
        deleted = await self._call(request, options)
        if deleted is False:
            raise _not_done("deleted", kind, name, cas, request)
        if cas is not None and deleted is None:
            raise Unsupported(
                "the server is older than its agent: it ignored cas, and deleted the entry",
                min_version="1.11",
                method=request.method,
                path=request.path,
            )

    async def require_checked_delete(self, *, options: Options | None = None) -> None:
        """
        Raise Unsupported unless it is certain that the agent deletes by check-and-set.

        `GET /v1/agent/self`; it needs Consul 1.11. `options` are those of this call, over the client's.
        """
        capabilities = await probe(self._sender, (options or NO_OPTIONS).over(self._defaults))
        capabilities.require("config.delete with cas")


def _get(
    path: str,
    kind: str,
    decode: Callable[[Response], T],
    slices: Callable[[Response], InSlices[T]] | None = None,
) -> Request[T]:
    since = KIND_SINCE.get(kind, "")
    return Request(
        method="GET", path=path, decode=decode, slices=slices, accepted_options=UNCACHED_READ, min_version=since
    )


class _One(msgspec.Struct, frozen=True):
    """
    Reader of one entry of a kind; two equal ones let their watches share a poll.

    `name` is that of the entry if the answer has to be compared with it, else empty.
    """

    kind: str
    name: str

    def __call__(self, response: Response) -> Entry | None:
        found = _of_kind(self.kind, read_entry(response.body))
        if self.name and found.name.lower() != self.name.lower():
            raise UnreadableResponse(f"the entry {found.name!r} came where {self.name!r} was asked for")
        return found


class _Sliced(msgspec.Struct, frozen=True):
    """Reader of a large list of entries, in steps; of all kinds where `kind` is empty."""

    kind: str

    def __call__(self, response: Response) -> InSlices[tuple[Entry, ...]]:
        found = yield from read_listing_in_slices(response.body)
        return tuple(_of_kind(self.kind or entry.kind, entry) for entry in found)


class _Many(msgspec.Struct, frozen=True):
    """Reader of a list of entries; of all kinds where `kind` is empty."""

    kind: str

    def __call__(self, response: Response) -> tuple[Entry, ...]:
        return tuple(_of_kind(self.kind or entry.kind, entry) for entry in read_listing(response.body))


def _of_kind(kind: str, entry: Entry) -> Entry:
    if entry.kind != kind:
        raise UnreadableResponse(f"an entry of kind {entry.kind} came where {kind} was asked for")
    return entry


def _one(entry: Entry | None) -> Mapping[Hashable, Entry]:
    return {} if entry is None else {entry_key(entry): entry}


def _absent() -> Entry | None:
    return None


def _name(kind: str, name: str, done: str) -> str:
    """Return the name of an entry, which may be left out where there is only one of the kind."""
    if not isinstance(kind, str):
        raise InvalidRequest(f"kind takes text, not {kind!r:.40}")
    name = name or _THE_ONE.get(kind, "")
    if not name:
        raise InvalidRequest(f"an entry of kind {kind} is {done} by its name")
    return name


def _index(cas: int) -> int:
    if isinstance(cas, bool) or not isinstance(cas, int):
        raise InvalidRequest(f"cas takes a modify_index, not {cas!r:.40}")
    if cas < 0:
        raise InvalidRequest(f"cas: {cas} is no modify_index")
    return cas


def _not_done(done: str, kind: str, name: str, cas: int | None, request: Request[T]) -> ConsulError:
    """Return the error that the answer false is: a lost check-and-set, without `cas` no word of Consul's (fact 7)."""
    entry = f"{kind} {name!r} was not {done}"
    error: ConsulError
    if cas is None:
        error = ServerError(f"{entry}: {NOT_WRITTEN}")
    elif cas == 0:
        error = Conflict(f"{entry}: it exists already", reason=ErrorReason.ALREADY_EXISTS)
    else:
        since = "changed or deleted" if done == "written" else "changed"
        error = Conflict(
            f"{entry}: it was {since} since it had the modify_index {cas}; read it again and decide anew",
            reason=ErrorReason.CHANGED_MEANWHILE,
        )
    return error.about(request.method, request.path, status=200)


def _written(response: Response) -> bool:
    return _read_written(response.body)


def _deleted(response: Response) -> bool | None:
    """Return True or False where the server compared, None where it deleted without."""
    answer = _read_deleted(response.body)
    if isinstance(answer, bool):
        return answer
    if answer == {}:
        return None
    raise UnreadableResponse("a deletion is answered by true, false or {}, and this was not")
