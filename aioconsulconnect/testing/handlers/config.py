"""`/v1/config`: configuration entries."""

import re
from typing import Final

from aioconsulconnect.testing.config_entries.entry_rules import complaint, rewritten
from aioconsulconnect.testing.config_entries.intention_rules import meta_complaint
from aioconsulconnect.testing.config_entries.kinds import COMPILED, KINDS, EntryKind, find_kind, stored_form
from aioconsulconnect.testing.config_entries.shapes.defaults import SERVICE_DEFAULTS
from aioconsulconnect.testing.go_json.schema import Struct
from aioconsulconnect.testing.go_json.values import Object, child, children, is_object, text
from aioconsulconnect.testing.go_json.weak_decoder import decode_weakly
from aioconsulconnect.testing.handlers.context import AgentContext, Found
from aioconsulconnect.testing.protocol.filters import compile_filter
from aioconsulconnect.testing.protocol.refusals import Refused, refused_by_server
from aioconsulconnect.testing.protocol.reply import Reply
from aioconsulconnect.testing.protocol.request import ConsulRequest
from aioconsulconnect.testing.state.acl import Authorizer
from aioconsulconnect.testing.state.entry_graph import Graph, led_to
from aioconsulconnect.testing.state.entry_intentions import KIND, EntryIntentionStore
from aioconsulconnect.testing.state.gateway_controller import check_certificates
from aioconsulconnect.testing.state.store import entry_key

_FINAL: Final = (403, 501)
"""The statuses of an unusable kind that a write answers as they are; others become a 400."""

_OTHER_GATEWAY: Final = {"ingress-gateway": "terminating-gateway", "terminating-gateway": "ingress-gateway"}


class Entries:
    """The handlers of `/v1/config` for one agent."""

    def __init__(self, context: AgentContext) -> None:
        self.context = context
        self.intentions: EntryIntentionStore = EntryIntentionStore(context.store, context.facts)
        self.graph: Graph = Graph(context.store, context.facts, context.datacenter, context.authority)

    def _kind(self, name: str, *, writing: bool = False) -> tuple[EntryKind, Struct]:
        kind = find_kind(name, self.context.facts.version)
        if kind is None:
            raise refused_by_server(f"invalid config entry kind: {name}")
        if writing and kind.written_by_controller:
            raise Refused(403, "Permission denied: only writeable by controller")
        if kind.struct is None:
            raise Refused(501, f"The in-process agent does not model config entries of kind {name}")
        return kind, kind.struct

    def _read_kind(self, request: ConsulRequest, name: str) -> EntryKind:
        """The kind to read; an unknown one is refused after another datacenter and an unknown token."""
        self.context.check_datacenter(request)
        self.context.acl.resolve(request.token)
        return self._kind(name)[0]

    # Reading.

    async def get(self, request: ConsulRequest) -> Reply:
        """Answer with one entry, the entries of a kind, or all entries.

        `GET /v1/config/KIND/NAME`, `/v1/config/KIND`, `/v1/config/`.
        """
        request.read_options()
        request.enterprise_options()
        kind, slash, name = request.rest.partition("/")
        if slash:
            return await self._one(request, kind, name)
        return await self._many(request, kind)

    async def _one(self, request: ConsulRequest, kind_name: str, name: str) -> Reply:
        context = self.context
        kind = self._read_kind(request, kind_name)
        lingering: list[Object] = []

        def query() -> Found[Object | None]:
            context.check_datacenter(request)
            who = context.acl.resolve(request.token)
            if not self._readable(who, kind, name):
                raise context.acl.denied(who, f"{kind.read}:read", kind.on(kind.read, name))
            entry = context.store.entry(kind_name, name)
            if entry and context.facts.deleted_entry_lingers:
                lingering[:] = [entry]
            keys = (context.store.watch(entry_key(kind_name, name)),)
            shown = entry or next(iter(lingering), None)
            return Found(shown, context.store.touched("config"), keys, absent=entry is None)

        found = await context.block(request, query)
        if found.value is None:
            raise Refused(404, f'Config entry not found for "{kind_name}" / "{name}"', at=found.index)
        return Reply(kind.shown(found.value), meta=context.meta(request, found))

    async def _many(self, request: ConsulRequest, kind_name: str) -> Reply:
        context = self.context
        kinds = [self._read_kind(request, kind_name)] if kind_name else [kind for kind in KINDS if kind.struct]
        expression = request.first("filter")
        if expression and context.facts.filter_on_listing:
            if kind_name != "service-defaults":
                raise refused_by_server(f"filtering not supported for config entry kind={kind_name}")
            keep = compile_filter(expression, context.facts.version, SERVICE_DEFAULTS)
        else:
            keep = None

        def query() -> Found[list[Object]]:
            context.check_datacenter(request)
            who = context.acl.resolve(request.token)
            every = [
                (kind, entry)
                for kind in sorted(kinds, key=lambda k: k.name)
                for entry in context.store.of_kind(kind.name)
            ]
            seen = [kind.shown(entry) for kind, entry in every if self._readable(who, kind, text(entry, "Name"))]
            kept = [entry for entry in seen if keep is None or keep(entry)]
            content = [{k: v for k, v in entry.items() if not k.endswith("Index")} for entry in kept]
            narrow = kind_name and not context.facts.lists_watch_all_entries
            return Found(
                kept,
                context.store.touched("config"),
                (context.store.watch(f"config/{kind_name}", below=True) if narrow else "config",),
                absent=not kept,
                unchanged=content,
                filtered=len(seen) < len(every) and who.named,
            )

        found = await context.block(request, query)
        return Reply(found.value, meta=context.meta(request, found))

    @staticmethod
    def _readable(who: Authorizer, kind: EntryKind, name: str) -> bool:
        if kind.name == "jwt-provider" and who.may_any("service", "write"):
            return True
        return not kind.read or who.may(kind.read, "read", kind.on(kind.read, name))

    # Writing.

    async def put(self, request: ConsulRequest) -> Reply:
        """Write an entry, with check-and-set where `cas` is given (`PUT /v1/config`)."""
        value = request.json("Request decoding failed: ")
        kind, struct, entry = self._decoded(request, value)
        request.enterprise_options()
        expected = self._cas(request)
        who = self.context.acl.resolve(request.token)
        stored = self._checked(kind, struct, entry)
        name = text(stored, "Name")
        self.context.acl.require(who, kind.write, "write", kind.on(kind.write, name))
        for other in sorted(led_to(stored) - {name}):
            self.context.acl.require(who, "service", "read", other)
        before = self.context.store.entry(kind.name, name)
        same = before is not None and _content(before) == _content(stored)
        if same and self.context.facts.identical_is_unwritten:
            return Reply(body=True)
        if expected is not None and expected != (before["ModifyIndex"] if before else 0):
            return Reply(body=False)
        if not name:
            raise refused_by_server(kind.nameless)
        self._check_graph(kind, name, stored)
        self.context.store.put_entry(stored)
        return Reply(body=True)

    def _check_graph(self, kind: EntryKind, name: str, proposed: Object | None) -> None:
        """Refuse a write or (`proposed` is None) a deletion that breaks other entries."""
        if proposed:
            self._check_gateway(kind, name)
        if proposed and kind.name == KIND:
            self.intentions.check_among_others(proposed)
        if proposed and kind.name == "api-gateway":
            check_certificates(proposed)
        if kind.name in COMPILED or (proposed and kind.name in {"ingress-gateway", "exported-services"}):
            self.graph.check(kind.name, name, proposed)
        if kind.name in COMPILED:
            gone = "" if proposed else entry_key(kind.name, name)
            self.intentions.check_protocols(self.context.store.of_kind(KIND), proposed, gone)

    def _check_gateway(self, kind: EntryKind, name: str) -> None:
        """Refuse a gateway with the name of one of the other kind."""
        other = _OTHER_GATEWAY.get(kind.name, "")
        if self.context.store.entry(other, name):
            raise refused_by_server(
                f'cannot create a "{kind.name}" config entry with name "{name}", '
                f'a "{other}" config entry with that name already exists'
            )

    @staticmethod
    def _cas(request: ConsulRequest) -> int | None:
        written = request.first("cas")
        if not written:
            return None
        if not re.fullmatch(r"[0-9]+", written):
            raise Refused(500, f'strconv.ParseUint: parsing "{written}": invalid syntax')
        return int(written)

    def _decoded(self, request: ConsulRequest, value: object) -> tuple[EntryKind, Struct, Object]:
        if value is not None and not is_object(value):
            names = (("slice", list), ("string", str), ("bool", bool))
            found = next((name for name, kind in names if isinstance(value, kind)), "float64")
            raise request.bad(f"Request decoding failed: '' expected a map, got '{found}'")
        body = value or {}
        if not body.keys() & {"Kind", "kind"}:
            raise request.bad("Request decoding failed: Payload does not contain a kind/Kind key at the top level")
        name = body["Kind" if "Kind" in body else "kind"]
        if not isinstance(name, str):
            raise request.bad("Request decoding failed: Kind value in payload is not a string")
        try:
            kind, struct = self._kind(name, writing=True)
            return kind, struct, decode_weakly(body, struct, self.context.facts.version)
        except ValueError as error:
            raise request.bad(f"Request decoding failed: {error}") from error
        except Refused as refused:
            if refused.status in _FINAL:
                raise
            raise request.bad(f"Request decoding failed: {refused.text}") from refused

    def _checked(self, kind: EntryKind, struct: Struct, entry: Object) -> Object:
        """Bring an entry into the form in which it is stored, or refuse it."""
        if kind.name == KIND:
            return self.intentions.checked(entry, alone=True)
        normal: Object = {**entry, "Kind": kind.name, "Name": text(entry, "Name")}
        if kind.name == "mesh" or (kind.only_name and self.context.facts.proxy_defaults_named_anything):
            normal["Name"] = kind.only_name
        normal = rewritten(kind.name, normal, self.context.facts)
        if wrong := meta_complaint(child(normal, "Meta")) or complaint(kind.name, normal, self.context.facts):
            raise refused_by_server(wrong)
        return {**stored_form(normal, struct, self.context.facts), "Name": normal["Name"]}

    async def delete(self, request: ConsulRequest) -> Reply:
        """Delete an entry, with check-and-set where `cas` is given (`DELETE /v1/config/KIND/NAME`).

        Deleting nothing succeeds. Versions without the fact `cas_delete` ignore `cas` here.
        """
        kind_name, slash, name = request.rest.partition("/")
        if not slash:
            raise Refused(404, "Must provide both a kind and name to delete")
        try:
            kind, _ = self._kind(kind_name, writing=True)
        except Refused as refused:
            if refused.status in _FINAL:
                raise
            raise Refused(400, refused.text) from refused
        request.enterprise_options()
        context = self.context
        if kind.only_name and (kind_name == "mesh" or context.facts.proxy_defaults_named_anything):
            name = kind.only_name
        expected = self._cas(request) if context.facts.cas_delete else None
        who = context.acl.resolve(request.token)
        if kind.only_name not in {"", name}:
            raise refused_by_server(f'invalid name ("{name}"), only "{kind.only_name}" is supported')
        context.acl.require(who, kind.write, "write", kind.on(kind.write, name))
        before = context.store.entry(kind_name, name)
        if expected is not None and before is not None and expected != before["ModifyIndex"]:
            return Reply(body=False)
        if before is not None:
            self._check_unused(kind, name)
        context.store.delete_entry(kind_name, name)
        return Reply({} if expected is None else True)

    def _check_unused(self, kind: EntryKind, name: str) -> None:
        self._check_graph(kind, name, None)
        if kind.name != "jwt-provider":
            return
        for entry in self.context.store.of_kind(KIND):
            permissions = [p for source in children(entry, "Sources") for p in children(source, "Permissions")]
            for holder in (entry, *permissions):
                if any(p.get("Name") == name for p in children(child(holder, "JWT"), "Providers")):
                    raise refused_by_server(
                        "cannot delete jwt provider config entry referenced by an intention. "
                        f"Provider name: {name}, intention name: {text(entry, 'Name')}"
                    )


def _content(entry: Object) -> Object:
    """The members in which two entries must agree to be the same: all but index and hash."""
    return {key: value for key, value in entry.items() if key not in {"CreateIndex", "ModifyIndex", "Hash"}}
