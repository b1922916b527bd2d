"""`/v1/connect/intentions`: list, match, check, and intentions by name and by uuid."""

from collections.abc import Iterable

from aioconsulconnect.testing.config_entries.intention_precedence import decides
from aioconsulconnect.testing.config_entries.shapes.intentions import INTENTION, INTENTION_FILTER
from aioconsulconnect.testing.go_json.errors import DecodeError, errors
from aioconsulconnect.testing.go_json.strict_decoder import decode
from aioconsulconnect.testing.go_json.values import Object, text
from aioconsulconnect.testing.handlers.context import AgentContext, Found, QueryCache
from aioconsulconnect.testing.protocol.filters import compile_filter
from aioconsulconnect.testing.protocol.names import Name, parse_name
from aioconsulconnect.testing.protocol.refusals import Dropped, Refused, refused_by_server
from aioconsulconnect.testing.protocol.reply import Reply
from aioconsulconnect.testing.protocol.request import ConsulRequest
from aioconsulconnect.testing.state.acl import Authorizer, bare_denial
from aioconsulconnect.testing.state.entry_intentions import EntryIntentionStore
from aioconsulconnect.testing.state.intention_store import IntentionStore


def readable(who: Authorizer, intention: Object) -> bool:
    """True if the token `who` sees `intention`, by its rights to the source or the destination.

    A source that belongs to a peer does not count.
    """
    if not text(intention, "SourcePeer") and who.may("intention", "read", text(intention, "SourceName")):
        return True
    return who.may("intention", "read", text(intention, "DestinationName"))


class Intentions:
    """The handlers of `/v1/connect/intentions` for one agent."""

    def __init__(self, context: AgentContext, intentions: IntentionStore) -> None:
        self.context = context
        self.intentions = intentions
        self._cache = QueryCache[Object](context)
        self.entries: EntryIntentionStore | None = intentions if isinstance(intentions, EntryIntentionStore) else None

    async def list(self, request: ConsulRequest) -> Reply:
        """Answer with all intentions that the token may see (`GET /v1/connect/intentions`)."""
        request.read_options()
        request.intention_options()
        context, expression = self.context, request.first("filter")

        def query() -> Found[list[Object]]:
            context.check_datacenter(request)
            keep = compile_filter(expression, context.facts.version, INTENTION_FILTER) if expression else None
            who = context.acl.resolve(request.token)
            every = self.intentions.all()
            candidates = [i for i in every if keep is None or keep(i)]
            seen = [i for i in candidates if readable(who, i)]
            considered = every if context.facts.rights_before_filter else candidates
            filtered = any(not readable(who, i) for i in considered)
            return Found(seen, self.intentions.index(), self.intentions.list_keys(), filtered=filtered and who.named)

        found = await context.block(request, query)
        return Reply(found.value, meta=context.meta(request, found))

    async def create(self, request: ConsulRequest) -> Reply:
        """Create an intention with a uuid (`POST /v1/connect/intentions`)."""
        context = self.context
        request.intention_options()
        value = request.json("Failed to decode request body: ", status=500)
        if value is None and self.entries:
            raise Dropped
        intention = self._decoded(value, "Failed to decode request body: ", 500)
        for side in ("Destination", "Source"):
            self._no_partition(request, intention, side)
            namespace = text(intention, f"{side}NS")
            if self.entries and namespace.lower() not in {"", "default"}:
                raise request.bad(f"Invalid {side}NS({namespace}): Namespaces is a Consul Enterprise feature")
        self._no_peer(intention)
        self._right_datacenter(request)
        who = context.acl.resolve(request.token)
        self._may_write(who, text(intention, "DestinationName"))
        if intention.get("ID"):
            raise refused_by_server("ID must be empty when creating a new intention")
        return Reply({"ID": self.intentions.create(self._defaults(intention))})

    async def match(self, request: ConsulRequest) -> Reply:
        """Answer with the intentions that match each of some names on one side.

        `GET /v1/connect/intentions/match`.
        """
        request.read_options()
        request.intention_options()
        side = request.only("by")
        if side not in {"source", "destination"}:
            raise Refused(500, "'by' parameter must be one of 'source' or 'destination'")
        written = request.query.get("name", [])
        if not written:
            raise Refused(500, "required query parameter 'name' not set")
        context = self.context
        names = {each: parse_name(each, "name", context.facts) for each in written}

        def query() -> Found[Object]:
            context.check_datacenter(request)
            self._local(names.values())
            who = context.acl.resolve(request.token)
            for name in names.values():
                context.acl.require(who, "intention", "read", name.name)
            collect = self.intentions.to if side == "destination" else self.intentions.by
            value: Object = {each: collect(name.name, name.namespace) or None for each, name in sorted(names.items())}
            keys = tuple(key for name in names.values() for key in self.intentions.match_keys(side, name.name))
            quiet = self.entries is not None
            nothing = quiet and not any(value.values())
            return Found(value, self.intentions.index(), keys, absent=nothing, unchanged=value if quiet else None)

        cache, age = self._cached(request, (side, *sorted(names)))
        found = await context.block(request, query, cache=self._cache if cache else None)
        if cache and request.waited:
            cache, age = "MISS", None
        meta = context.meta(request, found, consistency=True) if context.facts.match_has_meta else None
        return Reply(found.value, meta=meta, cache=cache, age=age)

    def _cached(self, request: ConsulRequest, key: tuple[str, ...]) -> tuple[str | None, int | None]:
        """The `X-Cache` and `Age` headers of a read from the agent's cache, which follows writes at once."""
        if not request.options.cached or not self.context.facts.match_has_meta:
            return None, None
        return self.context.cached(request, ("match", *key))

    def _local(self, names: Iterable[Name]) -> None:
        for name in names if self.entries else ():
            _own_namespace(name, "match entry namespace")
            if name.partition.lower() != "default":
                raise refused_by_server(
                    f'Invalid match entry partition "{name.partition}": Partitions is a Consul Enterprise feature'
                )

    async def check(self, request: ConsulRequest) -> Reply:
        """Decide if a connection would be allowed (`GET /v1/connect/intentions/check`).

        An intention with permissions counts as a denial.
        """
        request.read_options()
        request.intention_options()
        context, facts = self.context, self.context.facts
        kind, written = request.query.get("source-type", ["consul"])[0], request.only("source")
        source = parse_name(written, "source", facts) if kind == "consul" else Name(written)
        destination = parse_name(request.only("destination"), "destination", facts)
        context.check_datacenter(request)
        if self.entries:
            _own_namespace(source, "source namespace")
            _own_namespace(destination, "destination namespace")
        if kind != "consul":
            raise refused_by_server(f'unsupported SourceType: "{kind}"')
        who = context.acl.resolve(request.token)
        if destination.name:
            context.acl.require(who, "service", "read", destination.name)
        if self.entries:
            found = decides(self.intentions.by(source.name), "Destination", destination.name)
        else:
            to = self.intentions.to(destination.name, destination.namespace)
            found = decides(to, "Source", source.name, source.namespace)
        allowed = context.acl.allows_by_default if found is None else text(found, "Action") == "allow"
        return Reply({"Allowed": allowed})

    # By name.

    async def read_exact(self, request: ConsulRequest) -> Reply:
        """Answer with the intention between two names (`GET /v1/connect/intentions/exact`, 1.9)."""
        request.intention_options()
        request.read_options()
        context, entries = self.context, self._entries()
        source = parse_name(request.only("source"), "source", context.facts, peers=True)
        destination = parse_name(request.only("destination"), "destination", context.facts)
        missing = [f"{s}Name is missing" for s, n in (("Source", source), ("Destination", destination)) if not n.name]

        def query() -> Found[Object]:
            context.check_datacenter(request)
            _own_namespace(source, "SourceNS")
            _own_namespace(destination, "DestinationNS")
            if missing:
                raise Refused(500, errors(missing))
            who = context.acl.resolve(request.token)
            found = entries.exact(source.name, destination.name, source.peer)
            if found is None:
                raise Refused(404, "Intention not found")
            if not readable(who, found):
                raise bare_denial()
            return Found(found, entries.index(), entries.match_keys("destination", destination.name)[:1])

        return Reply((await context.block(request, query)).value)

    async def put_exact(self, request: ConsulRequest) -> Reply:
        """Create or replace the intention between two names (`PUT /v1/connect/intentions/exact`, 1.9)."""
        request.intention_options()
        source, destination = self._exact_names(request)
        value = request.json()
        if value is None:
            raise Dropped
        intention = self._decoded(value, "Request decode failed: ", 400)
        self._no_peer(intention)
        self._may_write(self.context.acl.resolve(request.token), destination)
        self._entries().upsert(source, destination, self._defaults(intention))
        return Reply(body=True)

    async def delete_exact(self, request: ConsulRequest) -> Reply:
        """Delete the intention between two names (`DELETE /v1/connect/intentions/exact`, 1.9).

        Deleting nothing succeeds.
        """
        request.intention_options()
        source, destination = self._exact_names(request)
        self._may_write(self.context.acl.resolve(request.token), destination)
        if not source:
            raise Refused(500, "Intention lookup failed: " + errors(["SourceName is missing"]))
        self._entries().remove(source, destination)
        return Reply(body=True)

    def _exact_names(self, request: ConsulRequest) -> tuple[str, str]:
        """The two names of a write; a community server ignores namespace and partition."""
        facts, sides = self.context.facts, ("source", "destination")
        given = {side: request.only(side) for side in sides}
        if absent := next((side for side in sides if not given[side]), ""):
            raise Refused(500, f"required query parameter '{absent}' not set")
        source, destination = (parse_name(given[side], side, facts).name for side in sides)
        if not (facts.post_needs_destination or (source and destination)):
            raise Refused(501, "The in-process agent does not know what this version makes of a name that is empty")
        return source, destination

    def _entries(self) -> EntryIntentionStore:
        if self.entries is None:
            raise TypeError("this version has no intentions by name; its routes do not lead here")
        return self.entries

    # By uuid.

    async def read(self, request: ConsulRequest) -> Reply:
        """Answer with the intention of a uuid (`GET /v1/connect/intentions/UUID`)."""
        request.read_options()
        if not request.rest and self.context.facts.empty_uuid_is_missing:
            raise Refused(404, "Intention not found")
        self.context.check_datacenter(request)
        if self.context.facts.token_before_uuid:
            self.context.acl.resolve(request.token)
        try:
            found = self.intentions.get(request.rest)
        except Refused as refused:
            raise request.bad(refused.text) from refused
        if found is None:
            raise Refused(404, "Intention not found")
        if not readable(self.context.acl.resolve(request.token), found):
            raise bare_denial()
        return Reply(found)

    async def update(self, request: ConsulRequest) -> Reply:
        """Replace the intention of a uuid (`PUT /v1/connect/intentions/UUID`)."""
        request.intention_options()
        value = request.json()
        if value is None:
            raise Dropped
        intention = self._decoded(value, "Request decode failed: ", 400)
        for side in ("Destination", "Source"):
            self._no_partition(request, intention, side)
        self._no_peer(intention)
        self._right_datacenter(request)
        who = self.context.acl.resolve(request.token)
        destination = text(intention, "DestinationName")
        if self.context.facts.update_needs_rights_first:
            self._may_write(who, destination, empty_is_fine=True)
        before = self._existing(request.rest, "modify")
        self._may_write(who, text(before, "DestinationName"))
        self._may_write(who, destination, empty_is_fine=True)
        self.intentions.update(before, self._defaults(intention))
        return Reply({"ID": request.rest})

    async def delete(self, request: ConsulRequest) -> Reply:
        """Delete the intention of a uuid (`DELETE /v1/connect/intentions/UUID`)."""
        self._right_datacenter(request)
        who = self.context.acl.resolve(request.token)
        if not request.rest and self.context.facts.post_needs_destination:
            raise bare_denial()
        before = self._existing(request.rest, "delete")
        self._may_write(who, text(before, "DestinationName"))
        self.intentions.delete(before)
        return Reply(body=True)

    def _existing(self, identifier: str, verb: str) -> Object:
        try:
            found = self.intentions.get(identifier)
        except Refused as refused:
            raise refused_by_server(f"Intention lookup failed: {refused.text}") from refused
        if found is None:
            raise refused_by_server(f"Cannot {verb} non-existent intention: '{identifier}'")
        return found

    # Shared by the handlers.

    def _right_datacenter(self, request: ConsulRequest) -> None:
        """Refuse a write for another datacenter, unless the version sends all to the primary."""
        if not self.context.facts.writes_go_to_primary:
            self.context.check_datacenter(request)

    def _decoded(self, value: object, complaint: str, status: int) -> Object:
        facts = self.context.facts
        try:
            return decode(value, INTENTION, facts.version, facts.alias_struct)
        except DecodeError as error:
            prefix = facts.bad_request_prefix if status == 400 else ""  # noqa: PLR2004
            raise Refused(status, f"{prefix}{complaint}{error}") from error

    @staticmethod
    def _no_partition(request: ConsulRequest, intention: Object, side: str) -> None:
        if text(intention, f"{side}Partition").lower() not in {"", "default"}:
            raise request.bad(f"Cannot specify a {side.lower()} partition with this endpoint")

    @staticmethod
    def _no_peer(intention: Object) -> None:
        if intention.get("SourcePeer"):
            raise Refused(500, "SourcePeer field is not supported on this endpoint. Use config entries instead")

    def _may_write(self, who: Authorizer, destination: str, *, empty_is_fine: bool = False) -> None:
        facts = self.context.facts
        needed = self.context.acl.enabled or facts.post_needs_destination
        if not destination and needed and (facts.update_needs_rights_first or not empty_is_fine):
            raise bare_denial()
        if not who.may("intention", "write", destination):
            raise bare_denial()

    @staticmethod
    def _defaults(intention: Object) -> Object:
        """Fill in the defaults of an intention, as the server does before it checks it."""
        filled = dict(intention)
        for key, default in (("SourceNS", "default"), ("DestinationNS", "default"), ("SourceType", "consul")):
            filled[key] = text(intention, key) or default
        return filled


def _own_namespace(name: Name, label: str) -> None:
    if name.namespace.lower() != "default":
        raise refused_by_server(f'Invalid {label} "{name.namespace}": Namespaces is a Consul Enterprise feature')
