"""`/v1/acl/token`: the tokens by which clients prove their rights."""

import re
import time
import uuid
from datetime import datetime
from typing import Final

from aioconsulconnect.testing.go_json.errors import DecodeError, NotModelledError
from aioconsulconnect.testing.go_json.scalars import format_duration, instant
from aioconsulconnect.testing.go_json.schema import Field, Shadow, Struct
from aioconsulconnect.testing.go_json.strict_decoder import decode
from aioconsulconnect.testing.go_json.values import Object, children, text, texts
from aioconsulconnect.testing.handlers.acl import grants
from aioconsulconnect.testing.handlers.context import AgentContext
from aioconsulconnect.testing.protocol.names import check_uuid
from aioconsulconnect.testing.protocol.refusals import Refused, refused_by_server
from aioconsulconnect.testing.protocol.reply import Meta, Reply
from aioconsulconnect.testing.protocol.request import ConsulRequest
from aioconsulconnect.testing.state.acl import ANONYMOUS, MANAGEMENT_POLICY

_TOKEN: Final = Struct(
    (
        *(Field(name) for name in ("AccessorID", "SecretID", "Description")),
        *(grants.POLICIES, grants.ROLES, *grants.IDENTITIES),
        Field("Local", "bool"),
        Field("AuthMethod"),
        Field("Rules", until="1.10"),
        *(Field("ExpirationTTL", "nanoseconds"), Field("ExpirationTime"), Field("CreateTime")),
        *grants.SENT_BACK,
    ),
    shadows=(Shadow("ExpirationTTL", "interface {}", "ExpirationTTL"), grants.HIDDEN_HASH),
)
_BOOTSTRAP: Final = Struct((Field("BootstrapSecret"),), "api.BootstrapRequest")
_UUID: Final = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)")
_RESERVED: Final = "00000000-0000-0000-0000-0000000000"
_SECOND: Final = 10**9
_LEAST, _MOST = 60 * _SECOND, 86400 * _SECOND
_GIVEN: Final = ("PolicyIDs", "RoleIDs", "ServiceIdentities", "NodeIdentities", "Local", "ExpirationTime")


class Tokens:
    """The handlers of tokens for one agent, with the management and the anonymous token if ACLs are on."""

    def __init__(self, context: AgentContext) -> None:
        self.context = context
        self.tokens: dict[str, Object] = context.acl.tokens
        if context.acl.enabled:
            description, secret = context.facts.management_description, context.acl.management_token
            self._keep(str(uuid.uuid4()), secret, description, {"PolicyIDs": [MANAGEMENT_POLICY]}, index=7)
            self._keep(ANONYMOUS, "anonymous", "Anonymous Token", {}, index=6)

    async def bootstrap(self, request: ConsulRequest) -> Reply:
        """Refuse to bootstrap (`PUT /v1/acl/bootstrap`), as the agent has its management token from the start."""
        facts = self.context.facts
        grants.require(self.context, request, "")
        if facts.newer_acl and request.body:
            try:
                decode(request.json("Request decoding failed: "), _BOOTSTRAP, facts.version, "BootstrapRequest")
            except DecodeError as error:
                raise request.bad(f"Request decoding failed: {error}") from error
        index = facts.bootstrap_index
        raise refused_by_server(f"Permission denied: ACL bootstrap no longer allowed (reset index: {index})", 403)

    # Writing.

    async def put(self, request: ConsulRequest) -> Reply:
        """Create a token, replace one, or clone one.

        `PUT /v1/acl/token`, `/v1/acl/token/ACCESSOR`, `/v1/acl/token/ACCESSOR/clone`.
        """
        grants.require(self.context, request)
        request.enterprise_options()
        body = grants.read_body(request, _TOKEN, "Token")
        for each in (text(body, "ExpirationTime"), text(body, "CreateTime")):
            try:
                known = not each or bool(_TIME.fullmatch(each) and datetime.fromisoformat(each))
            except ValueError:
                known = False
            if not known:
                raise NotModelledError(f"The in-process agent does not read the time {each!r}")
        if request.rest.endswith("/clone"):
            return self._clone(request, text(body, "Description"))
        accessor, secret = text(body, "AccessorID"), text(body, "SecretID")
        if request.rest and accessor not in {"", request.rest}:
            raise request.bad("Token Accessor ID in URL and payload do not match")
        grants.require(self.context, request, "write")
        before = self._to_update(request.rest, body) if request.rest else None
        if before is None:
            self._check_new(body)
        given = self._given(body, before)
        accessor = text(before, "AccessorID") if before else accessor or str(uuid.uuid4())
        secret = text(before, "SecretID") if before else secret or str(uuid.uuid4())
        return Reply(self._shown(self._keep(accessor, secret, text(body, "Description"), given, before)))

    def _clone(self, request: ConsulRequest, description: str) -> Reply:
        grants.require(self.context, request, "write")
        source = self._found(request.rest.removesuffix("/clone"), at=None)
        given: Object = {key: source[key] for key in _GIVEN if key in source}
        words = description or text(source, "Description")
        return Reply(self._shown(self._keep(str(uuid.uuid4()), str(uuid.uuid4()), words, given)))

    def _to_update(self, accessor: str, body: Object) -> Object:
        """The token to replace, or a refusal of what may not change."""
        newer = self.context.facts.newer_acl
        if newer and not _UUID.fullmatch(accessor):
            raise refused_by_server("AccessorID is not a valid UUID")
        check_uuid(accessor, "Failed acl token lookup by accessor: failed acl token lookup")
        before = self._by_accessor(accessor)
        if before is None:
            raise refused_by_server(f'Cannot find token "{accessor}"')
        if text(body, "SecretID") not in {"", before["SecretID"]}:
            whose = "token's" if newer else "tokens"
            raise refused_by_server(f"Changing a {whose} SecretID is not permitted")
        if bool(body.get("Local")) != bool(before.get("Local")):
            raise refused_by_server(f"{'C' if newer else 'c'}annot toggle local mode of {accessor}")
        if text(body, "AuthMethod"):
            raise refused_by_server(f"Cannot change AuthMethod of {accessor}")
        if body.get("ExpirationTTL") or text(body, "ExpirationTime") not in {"", before.get("ExpirationTime")}:
            raise refused_by_server(f"Cannot change expiration time of {accessor}")
        if accessor != before["AccessorID"]:
            prefix = "Failed to apply token write request: " if newer else ""
            raise refused_by_server(f"{prefix}The ACL Token AccessorID field is immutable")
        return before

    def _check_new(self, body: Object) -> None:
        """Refuse the ids of a new token that are none, taken or reserved."""
        newer = self.context.facts.newer_acl
        reserved = f'UUIDs with the prefix "{_RESERVED}" are reserved'
        for name in ("AccessorID", "SecretID"):
            wanted = text(body, name)
            if not wanted:
                continue
            if not _UUID.fullmatch(wanted):
                if name == "AccessorID" and not newer:
                    check_uuid(wanted, "Failed acl token lookup by accessor: failed acl token lookup")
                raise refused_by_server(f"Invalid Token: {name} {'-' if newer else 'is'} not a valid UUID")
            if newer and wanted.startswith(_RESERVED):
                raise refused_by_server(f"Invalid Token: {name} - {reserved}")
            if self._by_accessor(wanted) or wanted in self.tokens:
                raise refused_by_server(f"Invalid Token: {name} is already in use")
            if wanted.startswith(_RESERVED):
                raise refused_by_server(f"Invalid Token: {reserved}")
        if text(body, "AuthMethod"):
            raise refused_by_server(f"AuthMethod field is disallowed outside of {'l' if newer else 'L'}ogin")

    def _given(self, body: Object, before: Object | None) -> Object:
        """What a token keeps of a body besides ids and description, or a refusal."""
        acl, facts = self.context.acl, self.context.facts
        given: Object = {"PolicyIDs": grants.ids_of(children(body, "Policies"), acl.policies, "policy", facts)}
        given["RoleIDs"] = grants.ids_of(children(body, "Roles"), acl.roles, "role", facts)
        given |= {**grants.identities_of(body, "token", facts), "Local": body.get("Local") is True}
        if text(body, "Rules"):
            raise refused_by_server("Rules cannot be specified for this token")
        ends = before.get("ExpirationTime") if before else self._expiration(body)
        return {**given, **({"ExpirationTime": ends} if ends else {})}

    def _expiration(self, body: Object) -> str:
        """The time at which a new token ends; empty for none."""
        length, wanted = int(str(body.get("ExpirationTTL") or 0)), text(body, "ExpirationTime")
        present = time.time_ns()
        if wanted and length:
            raise refused_by_server("Token Expiration TTL and Expiration Time cannot both be set")
        if wanted.startswith("0001-"):
            raise NotModelledError("The in-process agent does not model a token that ends at no time")
        if wanted:
            length = round(datetime.fromisoformat(wanted).timestamp() * _SECOND) - present
        if not length:
            return ""
        if length < 0:
            written = f"Token Expiration TTL '{format_duration(length)}' should be > 0"
            raise refused_by_server("ExpirationTime cannot be before CreateTime" if wanted else written)
        if length < _LEAST or (length > _MOST and not self.context.facts.newer_acl):
            least, limit = ("less", _LEAST) if length < _LEAST else ("more", _MOST)
            than = f"{least} than {format_duration(limit)} in the future"
            raise refused_by_server(f"ExpirationTime cannot be {than} (was {format_duration(length)})")
        return wanted or instant(present + length)

    async def delete(self, request: ConsulRequest) -> Reply:
        """Delete a token by its accessor id (`DELETE /v1/acl/token/ACCESSOR`)."""
        self._asked(request)
        grants.require(self.context, request, "write", deleted="token")
        check_uuid(request.rest.lower(), "Accessor ID is missing or an invalid UUID", whole=True)
        if request.rest == ANONYMOUS:
            raise refused_by_server("Delete operation not permitted on the anonymous token")
        found = self._by_accessor(request.rest)
        if found is not None:
            del self.tokens[text(found, "SecretID")]
            self.context.store.write("acl/token")
        elif self.context.facts.newer_acl:
            raise Refused(404, "Cannot find token to delete")
        return Reply(body=True)

    # Reading.

    async def read(self, request: ConsulRequest) -> Reply:
        """Answer with the token of an accessor id (`GET /v1/acl/token/ACCESSOR`)."""
        self._asked(request)
        grants.require(self.context, request, "read")
        found = self._found(request.rest, at=self._meta().index)
        if "expanded" in request.query and self.context.facts.newer_acl:
            raise Refused(501, "The in-process agent does not model the parameter expanded")
        return Reply(self._shown(found, request), meta=self._meta())

    async def self(self, request: ConsulRequest) -> Reply:
        """Answer with the token of the request (`GET /v1/acl/token/self`)."""
        grants.require(self.context, request)
        grants.read_options(self.context, request, namespaces=False)
        found = self.context.acl.token(request.token)
        if found is None:
            raise self._unknown(self._meta().index)
        return Reply(self._shown(found), meta=self._meta())

    async def list(self, request: ConsulRequest) -> Reply:
        """Answer with all tokens, or those with a policy, a role or an identity (`GET /v1/acl/tokens`).

        Older versions leave out the secrets.
        """
        grants.require(self.context, request, "read")
        newer = self.context.facts.newer_acl
        names = ("policy", "role", "authmethod", *(("servicename",) if newer else ()))
        wanted = {name: request.first(name) for name in names if request.first(name)}
        if len(wanted) > 1:
            service = "serviceName, " if newer else ""
            raise refused_by_server(f"can only filter by one of policy, role, {service}or methodName at a time")
        for name in wanted.keys() & {"policy", "role"} if newer else ():
            check_uuid(wanted[name], "failed acl token lookup")
            wanted[name] = wanted[name].lower()
        shown = [self._shown(each, request) for each in self.tokens.values() if _has(each, wanted)]
        return Reply([{k: v for k, v in each.items() if newer or k != "SecretID"} for each in shown], meta=self._meta())

    # Shared by the handlers.

    def _asked(self, request: ConsulRequest) -> None:
        grants.require(self.context, request)
        if not request.rest:
            raise request.bad(f"Missing token {'AccessorID' if self.context.facts.newer_acl else 'ID'}")

    def _by_accessor(self, accessor: str) -> Object | None:
        found = (each for each in self.tokens.values() if text(each, "AccessorID").lower() == accessor.lower())
        return next(found, None)

    def _found(self, accessor: str, *, at: int | None) -> Object:
        found = self._by_accessor(accessor)
        if found is None:
            check_uuid(accessor, "failed acl token lookup")
            raise self._unknown(at)
        return found

    def _unknown(self, at: int | None) -> Refused:
        if self.context.facts.newer_acl:
            return Refused(403, "token does not exist: ACL not found", from_server=True)
        return Refused(403, "ACL not found", from_server=True, at=at)

    def _keep(
        self, accessor: str, secret: str, words: str, given: Object, before: Object | None = None, *, index: int = 0
    ) -> Object:
        index = index or self.context.store.write("acl/token")
        age = {"CreateTime": instant(time.time_ns()), "CreateIndex": index}
        if before:
            age = {key: before[key] for key in age}
        named = {"AccessorID": accessor, "SecretID": secret, "Description": words}
        self.tokens[secret] = {**named, **given, **age, "ModifyIndex": index}
        return self.tokens[secret]

    def _shown(self, token: Object, request: ConsulRequest | None = None) -> Object:
        """Copy a token as Consul shows it: to a `request` that may not write ACLs, without its secret."""
        acl = self.context.acl
        shown: Object = {key: token[key] for key in ("AccessorID", "SecretID", "Description")}
        if request and not acl.resolve(request.token).may("acl", "write"):
            shown["SecretID"] = "<hidden>"
        linked = {"Policies": grants.links_to(texts(token, "PolicyIDs"), acl.policies)}
        linked["Roles"] = grants.links_to(texts(token, "RoleIDs"), acl.roles)
        shown |= {key: links for key, links in linked.items() if links}
        shown |= {key: token[key] for key in ("ServiceIdentities", "NodeIdentities") if token.get(key)}
        shown["Local"] = token.get("Local") is True
        shown |= {key: token[key] for key in ("ExpirationTime", "CreateTime") if token.get(key)}
        return {**shown, "Hash": grants.digest(linked), **{key: token[key] for key in ("CreateIndex", "ModifyIndex")}}

    def _meta(self) -> Meta:
        return Meta(self.context.store.touched("acl/token"))


def _has(token: Object, wanted: dict[str, str]) -> bool:
    """True if a token has what a list is asked for."""
    services = [text(each, "ServiceName") for each in children(token, "ServiceIdentities")]
    held = {"policy": texts(token, "PolicyIDs"), "role": texts(token, "RoleIDs"), "servicename": services}
    return all(value in held.get(name, []) for name, value in wanted.items())
