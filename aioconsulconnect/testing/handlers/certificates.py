"""/v1/connect/ca and /v1/agent/connect: roots, configuration, leaves, authorize."""

import re
import time
from typing import Final
from urllib.parse import unquote

from aioconsulconnect.testing.config_entries.intention_precedence import decides
from aioconsulconnect.testing.go_json.errors import DecodeError
from aioconsulconnect.testing.go_json.scalars import FALSE, TRUE
from aioconsulconnect.testing.go_json.schema import Field, MapOf, Struct
from aioconsulconnect.testing.go_json.strict_decoder import decode
from aioconsulconnect.testing.go_json.values import Object, children, is_object, text
from aioconsulconnect.testing.handlers.context import Box, Found
from aioconsulconnect.testing.protocol.refusals import Dropped, Refused
from aioconsulconnect.testing.protocol.reply import Meta, Reply, empty
from aioconsulconnect.testing.protocol.request import Ask
from aioconsulconnect.testing.state.acl import Authorizer
from aioconsulconnect.testing.state.authority import Leaf
from aioconsulconnect.testing.state.intention_store import Book
from aioconsulconnect.testing.state.table_intentions import describe

_CONFIGURATION: Final = Struct(
    (
        Field("ClusterID"),
        Field("Provider"),
        Field("Config", MapOf("any"), go_type="map[string]interface {}"),
        Field("State", "any"),
        Field("ForceWithoutCrossSigning", "bool"),
        Field("CreateIndex", "uint64"),
        Field("ModifyIndex", "uint64"),
    ),
    'struct { ForceWithoutCrossSigningSnake bool "json:\\"force_without_cross_signing\\""; *structs.Alias }',
)
_AUTHORIZE: Final = Struct(
    (Field("Target"), Field("ClientCertURI"), Field("ClientCertSerial")), "structs.ConnectAuthorizeRequest"
)
_PARTITION: Final = r"(?:/ap/(?P<partition>[^/]+))?"
_SERVICE: Final = re.compile(_PARTITION + r"/ns/([^/]+)/dc/([^/]+)/svc/(?P<service>[^/]+)")
_OTHERS: Final = re.compile(_PARTITION + r"/agent/client/dc/[^/]+/id/[^/]+")
_NEWER: Final = re.compile(_PARTITION + r"(?:/gateway/mesh/dc/[^/]+|/agent/server/dc/[^/]+)")
_LEAF_WAIT: Final = 600.0


class Certificates:
    """The handlers of one agent."""

    def __init__(self, box: Box, book: Book) -> None:
        self.box = box
        self.book = book

    async def roots(self, ask: Ask) -> Reply:
        """The roots that the server knows, as JSON or as PEM."""
        ask.read_options()
        box, wanted = self.box, ask.first("pem")
        if wanted and wanted not in TRUE | FALSE:
            raise ask.bad("The 'pem' query parameter must be a boolean value")

        def query() -> Found[object]:
            box.here(ask)
            value: object = box.authority.pem().encode() if wanted in TRUE else box.authority.roots_value()
            return Found(value, box.store.touched("roots"), ("roots",))

        found = await box.block(ask, query)
        if wanted in TRUE:
            return Reply(found.value, content_type="application/pem-certificate-chain")
        return Reply(found.value, meta=Meta(found.index, known_leader=box.quirks.knows_leader_of_roots))

    async def agent_roots(self, ask: Ask) -> Reply:
        """The roots in the agent's cache."""
        ask.read_options()
        box = self.box

        def query() -> Found[Object]:
            box.here(ask)
            return Found(box.authority.roots_value(), box.store.touched("roots"), ("roots",))

        if box.quirks.agent_holds_roots and not ask.token:
            box.cached(ask, ("roots",))
        cache, age = box.cached(ask, ("roots",))
        found = await box.block(ask, query, local=True)
        if ask.waited:
            cache, age = "MISS", None
        meta = Meta(found.index, known_leader=box.quirks.knows_leader_of_roots)
        return Reply(found.value, meta=meta, cache=cache, age=age)

    async def configuration(self, ask: Ask) -> Reply:
        """The configuration of the CA."""
        ask.read_options()
        self._operator(ask)
        self.box.here(ask)
        return Reply(self.box.authority.configuration())

    async def configure(self, ask: Ask) -> Reply:
        """Replace the configuration of the CA."""
        quirks = self.box.quirks
        value = ask.json()
        if value is None:
            raise Dropped
        renamed = {"force_without_cross_signing": "ForceWithoutCrossSigning"}
        body = {renamed.get(key, key): each for key, each in value.items()} if is_object(value) else value
        try:
            wanted = decode(body, _CONFIGURATION, quirks.version, quirks.alias_struct)
        except DecodeError as error:
            raise ask.bad(f"Request decode failed: {error}") from error
        self._operator(ask)
        if wanted.get("State"):
            raise ask.bad("Provider State is read-only. It must be omitted or identical to the current value")
        self.box.authority.configure(wanted)
        return empty(quirks)

    def _operator(self, ask: Ask) -> None:
        who = self.box.acl.resolve(ask.token)
        self.box.acl.require(who, "operator", "write")

    async def leaf(self, ask: Ask) -> Reply:
        """The certificate of a service, held or signed now."""
        ask.enterprise_options()
        ask.read_options()
        if not ask.explicit_wait:
            ask.wait = _LEAF_WAIT
        box, service = self.box, ask.rest
        who = box.acl.resolve(ask.token)
        if not service:
            raise Refused(500, box.quirks.leaf_without_name)
        if "/" in service:
            raise Refused(500, f"SPIFFE ID is not in the expected format: {box.authority.uri(service)}")
        box.acl.require(who, "service", "write", service)
        if box.quirks.leaf_minds_datacenter:
            box.here(ask)
        held = box.authority.held(service, ask.token) is not None

        def query() -> Found[Leaf]:
            leaf = box.authority.leaf(service, ask.token)
            return Found(leaf, leaf.index, (f"leaf/{service}",))

        watched = any(poll.path == ask.path for poll in box.polls)
        found = await box.block(ask, query, local=True)
        hit = held and not ask.waited and (watched or bool(ask.index) or not box.quirks.leaf_revalidates)
        age = int(time.monotonic() - found.value.fetched) if hit else None
        meta = Meta(found.index, known_leader=None)
        return Reply(found.value.value, meta=meta, cache="HIT" if hit else "MISS", age=age)

    async def authorize(self, ask: Ask) -> Reply:
        """Whether a certificate may connect to a service, and why."""
        box, quirks = self.box, self.box.quirks
        who = self._authorizer_for(ask)
        try:
            body = decode(ask.json(), _AUTHORIZE, quirks.version, "ConnectAuthorizeRequest")
        except DecodeError as error:
            raise ask.bad(f"Request decode failed: {error}") from error
        target = text(body, "Target")
        if not target:
            raise ask.bad("Target service must be specified")
        source, partition = self._client(ask, text(body, "ClientCertURI"))
        box.acl.require(who, "service", "write", target)
        if partition.lower() != "default":
            mismatch = f'Mismatched partitions: "{partition}" != "default"'
            if quirks.foreign_partition == "refused":
                raise ask.bad(mismatch)
            return Reply({"Authorized": False, "Reason": mismatch})
        try:
            box.acl.require(who, "intention", "read", target)
        except Refused as refused:
            raise Refused(403, self._prefixed("failed getting intention match: ", refused.text)) from refused
        cache, age = box.cached(ask, ("match", "destination", target))
        authorized, reason = self._decide(source, target)
        return Reply({"Authorized": authorized, "Reason": reason}, cache=cache, age=age)

    def _authorizer_for(self, ask: Ask) -> Authorizer:
        try:
            return self.box.acl.resolve(ask.token)
        except Refused as refused:
            raise Refused(403, self._prefixed("Could not resolve token to authorizer: ", refused.text)) from refused

    def _prefixed(self, prefix: str, refusal: str) -> str:
        return prefix + refusal if self.box.quirks.authorize_error_prefix else refusal

    def _client(self, ask: Ask, uri: str) -> tuple[str, str]:
        """The service and the partition of a client's URI; trust domain and datacenter are not looked at."""
        scheme, _, rest = uri.partition("://")
        path = rest[rest.index("/") :] if "/" in rest else ""
        quirks = self.box.quirks
        found = _SERVICE.fullmatch(path)
        old = quirks.foreign_partition == "invalid"
        if scheme.lower() == "spiffe" and found and not (old and found["partition"]):
            return unquote(found["service"]), unquote(found["partition"] or "default")
        signs = not path and "." in rest[1:]
        other = signs or _OTHERS.fullmatch(path) or (not old and _NEWER.fullmatch(path))
        kind = "Service" if scheme.lower() == "spiffe" and other else "Connect"
        raise ask.bad(f"ClientCertURI not a valid {kind} identifier")

    def _decide(self, source: str, target: str) -> tuple[bool, str]:
        box, quirks = self.box, self.box.quirks
        found = decides(self.book.to(target), "Source", source)
        if found is None:
            off = None if box.acl.enabled else quirks.authorize_default_reason
            return box.acl.allows_by_default, off or "Default behavior configured by ACLs"
        allowed = text(found, "Action") == "allow"
        if not quirks.authorize_reason_names_kind:
            return allowed, f"Matched intention: {describe(found)}"
        sides = f"{found['SourceNS']}/{found['SourceName']} => {found['DestinationNS']}/{found['DestinationName']}"
        identifier = f"ID: {found['ID']}, " if found.get("ID") else ""
        permissions = children(found, "Permissions")
        level, rest = (
            ("L7", f"Permissions: {len(permissions)}")
            if permissions
            else ("L4", f"Action: {text(found, 'Action').upper()}")
        )
        return allowed, f"Matched {level} intention: {sides} ({identifier}Precedence: {found['Precedence']}, {rest})"
