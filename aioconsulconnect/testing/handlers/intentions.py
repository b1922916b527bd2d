"""/v1/connect/intentions in all its forms."""

from collections.abc import Iterable

from aioconsulconnect.testing.config_entries.intention_precedence import decides
from aioconsulconnect.testing.config_entries.intention_shapes import INTENTION, INTENTION_FILTER
from aioconsulconnect.testing.go_json.errors import DecodeError, errors
from aioconsulconnect.testing.go_json.strict_decoder import decode
from aioconsulconnect.testing.go_json.values import Object, text
from aioconsulconnect.testing.handlers.context import Box, Found
from aioconsulconnect.testing.protocol.filters import compile_filter
from aioconsulconnect.testing.protocol.names import Name, parse_name
from aioconsulconnect.testing.protocol.refusals import Dropped, Refused, refused_by_server
from aioconsulconnect.testing.protocol.reply import Reply
from aioconsulconnect.testing.protocol.request import Ask
from aioconsulconnect.testing.state.acl import Authorizer, bare_denial
from aioconsulconnect.testing.state.entry_intentions import EntryBook
from aioconsulconnect.testing.state.intention_store import Book


def readable(who: Authorizer, intention: Object) -> bool:
    """Whether a token sees an intention: by rights on either side, a peer's side not counting."""
    if not text(intention, "SourcePeer") and who.may("intention", "read", text(intention, "SourceName")):
        return True
    return who.may("intention", "read", text(intention, "DestinationName"))


class Intentions:
    """The handlers of one agent."""

    def __init__(self, box: Box, book: Book) -> None:
        self.box = box
        self.book = book
        self.entries: EntryBook | None = book if isinstance(book, EntryBook) else None

    async def list(self, ask: Ask) -> Reply:
        """All intentions that the token may see."""
        ask.intention_options()
        ask.read_options()
        box, expression = self.box, ask.first("filter")

        def query() -> Found[list[Object]]:
            box.here(ask)
            keep = compile_filter(expression, box.quirks.version, INTENTION_FILTER) if expression else None
            who = box.acl.resolve(ask.token)
            every = self.book.all()
            candidates = [i for i in every if keep is None or keep(i)]
            seen = [i for i in candidates if readable(who, i)]
            considered = every if box.quirks.rights_before_filter else candidates
            hidden = any(not readable(who, i) for i in considered)
            return Found(seen, self.book.index(), self.book.list_keys(), filtered=hidden and who.anything)

        found = await box.block(ask, query)
        return Reply(found.value, meta=box.meta(ask, found))

    async def create(self, ask: Ask) -> Reply:
        """Create an intention with a uuid."""
        box = self.box
        ask.intention_options()
        value = ask.json("Failed to decode request body: ", status=500)
        if value is None and self.entries:
            raise Dropped
        intention = self._decoded(value, "Failed to decode request body: ", 500)
        for side in ("Destination", "Source"):
            if text(intention, f"{side}Partition").lower() not in {"", "default"}:
                raise ask.bad(f"Cannot specify a {side.lower()} partition with this endpoint")
            namespace = text(intention, f"{side}NS")
            if self.entries and namespace.lower() not in {"", "default"}:
                raise ask.bad(f"Invalid {side}NS({namespace}): Namespaces is a Consul Enterprise feature")
        self._no_peer(intention)
        self._right_datacenter(ask)
        who = box.acl.resolve(ask.token)
        self._may_write(who, text(intention, "DestinationName"))
        if intention.get("ID"):
            raise refused_by_server("ID must be empty when creating a new intention")
        return Reply({"ID": self.book.create(self._defaults(intention))})

    async def match(self, ask: Ask) -> Reply:
        """The intentions that match each of some names on one side."""
        ask.intention_options()
        ask.read_options()
        side = ask.only("by")
        if side not in {"source", "destination"}:
            raise Refused(500, "'by' parameter must be one of 'source' or 'destination'")
        written = ask.query.get("name", [])
        if not written:
            raise Refused(500, "required query parameter 'name' not set")
        box = self.box
        names = {each: parse_name(each, "name", box.quirks) for each in sorted(written)}

        def query() -> Found[Object]:
            box.here(ask)
            self._local(names.values())
            who = box.acl.resolve(ask.token)
            for name in names.values():
                box.acl.require(who, "intention", "read", name.name)
            collect = self.book.to if side == "destination" else self.book.by
            value: Object = {each: collect(name.name, name.namespace) or None for each, name in names.items()}
            keys = tuple(key for name in names.values() for key in self.book.match_keys(side, name.name))
            quiet = self.entries is not None
            nothing = quiet and not any(value.values())
            return Found(value, self.book.index(), keys, absent=nothing, unchanged=value if quiet else None)

        cache, age = self._cached(ask, (side, *names))
        found = await box.block(ask, query, local=cache is not None)
        if cache and ask.waited:
            cache, age = "MISS", None
        meta = box.meta(ask, found, consistency=True) if box.quirks.match_has_meta else None
        return Reply(found.value, meta=meta, cache=cache, age=age)

    def _cached(self, ask: Ask, key: tuple[str, ...]) -> tuple[str | None, int | None]:
        """What the agent's cache says of a cached read: it follows every write at once."""
        if not ask.cached or not self.box.quirks.match_has_meta:
            return None, None
        return self.box.cached(ask, ("match", *key))

    def _local(self, names: Iterable[Name]) -> None:
        for name in names if self.entries else ():
            if name.partition.lower() != "default":
                raise refused_by_server(
                    f'Invalid match entry partition "{name.partition}": Partitions is a Consul Enterprise feature'
                )
            _own_namespace(name, "match entry namespace")

    async def check(self, ask: Ask) -> Reply:
        """Whether a connection would be allowed, permissions counting as a refusal."""
        ask.intention_options()
        ask.read_options()
        box, quirks = self.box, self.box.quirks
        source = parse_name(ask.only("source"), "source", quirks)
        destination = parse_name(ask.only("destination"), "destination", quirks)
        kind = ask.query.get("source-type", ["consul"])[0]
        if kind != "consul":
            raise refused_by_server(f'unsupported SourceType: "{kind}"')
        box.here(ask)
        if self.entries:
            _own_namespace(source, "source namespace")
            _own_namespace(destination, "destination namespace")
        who = box.acl.resolve(ask.token)
        if destination.name:
            box.acl.require(who, "service", "read", destination.name)
        if self.entries:
            found = decides(self.book.by(source.name), "Destination", destination.name)
        else:
            to = self.book.to(destination.name, destination.namespace)
            found = decides(to, "Source", source.name, source.namespace)
        allowed = box.acl.allows_by_default if found is None else text(found, "Action") == "allow"
        return Reply({"Allowed": allowed})

    # By name.

    async def read_exact(self, ask: Ask) -> Reply:
        """The intention between two names."""
        ask.intention_options()
        ask.read_options()
        box, entries = self.box, self._entries()
        source = parse_name(ask.only("source"), "source", box.quirks, peers=True)
        destination = parse_name(ask.only("destination"), "destination", box.quirks)
        missing = [f"{s}Name is missing" for s, n in (("Source", source), ("Destination", destination)) if not n.name]
        if missing:
            raise Refused(500, errors(missing))

        def query() -> Found[Object]:
            box.here(ask)
            _own_namespace(source, "SourceNS")
            _own_namespace(destination, "DestinationNS")
            who = box.acl.resolve(ask.token)
            found = entries.exact(source.name, destination.name, source.peer)
            if found is None:
                raise Refused(404, "Intention not found")
            if not readable(who, found):
                raise bare_denial()
            return Found(found, entries.index(), entries.match_keys("destination", destination.name)[:1])

        return Reply((await box.block(ask, query)).value)

    async def put_exact(self, ask: Ask) -> Reply:
        """Create or replace the intention between two names."""
        ask.intention_options()
        source, destination = self._exact_names(ask)
        value = ask.json()
        if value is None:
            raise Dropped
        intention = self._decoded(value, "Request decode failed: ", 400)
        self._no_peer(intention)
        self._may_write(self.box.acl.resolve(ask.token), destination)
        self._entries().upsert(source, destination, self._defaults(intention))
        return Reply(body=True)

    async def delete_exact(self, ask: Ask) -> Reply:
        """Delete the intention between two names; nothing to delete is fine."""
        ask.intention_options()
        source, destination = self._exact_names(ask)
        self._may_write(self.box.acl.resolve(ask.token), destination)
        self._entries().remove(source, destination)
        return Reply(body=True)

    def _exact_names(self, ask: Ask) -> tuple[str, str]:
        """The two names of a write; a community server ignores namespace and partition."""
        found: list[str] = []
        for side in ("source", "destination"):
            name = parse_name(ask.only(side), side, self.box.quirks).name
            if not name:
                raise Refused(500, f"required query parameter '{side}' not set")
            found.append(name)
        return found[0], found[1]

    def _entries(self) -> EntryBook:
        if self.entries is None:
            raise TypeError("this version has no intentions by name; its routes do not lead here")
        return self.entries

    # By uuid.

    async def read(self, ask: Ask) -> Reply:
        """The intention of a uuid."""
        ask.intention_options()
        ask.read_options()
        if not ask.rest and self.box.quirks.empty_uuid_is_missing:
            raise Refused(404, "Intention not found")
        self.box.here(ask)
        if self.box.quirks.token_before_uuid:
            self.box.acl.resolve(ask.token)
        try:
            found = self.book.get(ask.rest)
        except Refused as refused:
            raise ask.bad(refused.text) from refused
        if found is None:
            raise Refused(404, "Intention not found")
        if not readable(self.box.acl.resolve(ask.token), found):
            raise bare_denial()
        return Reply(found)

    async def update(self, ask: Ask) -> Reply:
        """Replace the intention of a uuid."""
        ask.intention_options()
        value = ask.json()
        if value is None:
            raise Dropped
        intention = self._decoded(value, "Request decode failed: ", 400)
        self._no_peer(intention)
        self._right_datacenter(ask)
        who = self.box.acl.resolve(ask.token)
        destination = text(intention, "DestinationName")
        if self.box.quirks.update_needs_rights_first:
            self._may_write(who, destination, empty_is_fine=True)
        before = self._existing(ask.rest, "modify")
        self._may_write(who, text(before, "DestinationName"))
        self._may_write(who, destination, empty_is_fine=True)
        self.book.update(before, self._defaults(intention))
        return Reply({"ID": ask.rest})

    async def delete(self, ask: Ask) -> Reply:
        """Delete the intention of a uuid."""
        ask.intention_options()
        self._right_datacenter(ask)
        who = self.box.acl.resolve(ask.token)
        before = self._existing(ask.rest, "delete")
        self._may_write(who, text(before, "DestinationName"))
        self.book.delete(before)
        return Reply(body=True)

    def _existing(self, identifier: str, verb: str) -> Object:
        try:
            found = self.book.get(identifier)
        except Refused as refused:
            raise refused_by_server(f"Intention lookup failed: {refused.text}") from refused
        if found is None:
            raise refused_by_server(f"Cannot {verb} non-existent intention: '{identifier}'")
        return found

    # What they share.

    def _right_datacenter(self, ask: Ask) -> None:
        """Send a write where it belongs: to the primary, or to the datacenter it names."""
        if not self.box.quirks.writes_go_to_primary:
            self.box.here(ask)

    def _decoded(self, value: object, complaint: str, status: int) -> Object:
        quirks = self.box.quirks
        try:
            return decode(value, INTENTION, quirks.version, quirks.alias_struct)
        except DecodeError as error:
            prefix = quirks.bad_request_prefix if status == 400 else ""  # noqa: PLR2004
            raise Refused(status, f"{prefix}{complaint}{error}") from error

    @staticmethod
    def _no_peer(intention: Object) -> None:
        if intention.get("SourcePeer"):
            raise Refused(500, "SourcePeer field is not supported on this endpoint. Use config entries instead")

    def _may_write(self, who: Authorizer, destination: str, *, empty_is_fine: bool = False) -> None:
        if not destination and self.box.quirks.post_needs_destination and not empty_is_fine:
            raise bare_denial()
        if not who.may("intention", "write", destination):
            raise bare_denial()

    @staticmethod
    def _defaults(intention: Object) -> Object:
        """What the server fills in before it looks at an intention."""
        filled = dict(intention)
        for key, default in (("SourceNS", "default"), ("DestinationNS", "default"), ("SourceType", "consul")):
            filled[key] = text(intention, key) or default
        return filled


def _own_namespace(name: Name, label: str) -> None:
    if name.namespace.lower() != "default":
        raise refused_by_server(f'Invalid {label} "{name.namespace}": Namespaces is a Consul Enterprise feature')
