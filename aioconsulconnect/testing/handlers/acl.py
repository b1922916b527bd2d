"""`/v1/acl`: policies and tokens, with the members that decisions need.

Refusals have the words of 1.8 in every version, as those of the others are not recorded.
"""

import base64
import hashlib
import re
import uuid
from typing import Final

from aioconsulconnect.testing.go_json.errors import DecodeError
from aioconsulconnect.testing.go_json.scalars import now
from aioconsulconnect.testing.go_json.schema import Field, ListOf, Struct
from aioconsulconnect.testing.go_json.strict_decoder import decode
from aioconsulconnect.testing.go_json.values import Object, children, text, texts
from aioconsulconnect.testing.handlers.context import AgentContext
from aioconsulconnect.testing.protocol.acl_rules import RulesError, parse_rules
from aioconsulconnect.testing.protocol.names import check_uuid
from aioconsulconnect.testing.protocol.refusals import Refused, refused_by_server
from aioconsulconnect.testing.protocol.reply import Meta, Reply
from aioconsulconnect.testing.protocol.request import ConsulRequest
from aioconsulconnect.testing.state.acl import ANONYMOUS, MANAGEMENT_POLICY

_POLICY: Final = Struct(
    (Field("ID"), Field("Name"), Field("Description"), Field("Rules"), Field("Datacenters", "ignored"))
)
_LINK: Final = Struct((Field("ID"), Field("Name")))
_UNMODELLED: Final = (
    "Roles",
    "ServiceIdentities",
    "NodeIdentities",
    "TemplatedPolicies",
    "ExpirationTime",
    "ExpirationTTL",
)
_TOKEN: Final = Struct(
    (
        Field("AccessorID"),
        Field("SecretID"),
        Field("Description"),
        Field("Policies", ListOf(_LINK)),
        Field("Local", "bool"),
        *(Field(name, "any") for name in _UNMODELLED),
    )
)


class Tokens:
    """The handlers of `/v1/acl` for one agent, with the management and the anonymous token if ACLs are on."""

    def __init__(self, context: AgentContext) -> None:
        self.context = context
        acl = context.acl
        if not acl.enabled:
            return
        acl.policies[MANAGEMENT_POLICY] = {
            "ID": MANAGEMENT_POLICY,
            "Name": "global-management",
            "Description": "Builtin Policy that grants unlimited access",
            "Rules": "",
            "Hash": "",
            "CreateIndex": 4,
            "ModifyIndex": 4,
        }
        self._add_token(
            str(uuid.uuid4()),
            acl.management_token,
            description=context.facts.management_description,
            policies=[MANAGEMENT_POLICY],
            index=7,
        )
        self._add_token(ANONYMOUS, "anonymous", description="Anonymous Token", policies=[], index=6)

    async def bootstrap(self, request: ConsulRequest) -> Reply:
        """Refuse to bootstrap (`PUT /v1/acl/bootstrap`), as the agent has its management token from the start."""
        self._require(request, "")
        index = self.context.facts.bootstrap_index
        raise refused_by_server(f"Permission denied: ACL bootstrap no longer allowed (reset index: {index})", 403)

    # Policies.

    async def put_policy(self, request: ConsulRequest) -> Reply:
        """Create a policy, or replace the one with an id (`PUT /v1/acl/policy`, `/v1/acl/policy/ID`)."""
        self._require(request, "write")
        body = self._body(request, _POLICY, "Policy decoding failed: ")
        acl, name, rules = self.context.acl, text(body, "Name"), text(body, "Rules")
        identifier = request.rest or text(body, "ID")
        before = acl.policies.get(identifier)
        if request.rest and before is None:
            check_uuid(request.rest, "Policy ID invalid UUID", whole=True)
            raise refused_by_server(f"cannot find policy {request.rest}")
        if request.rest and text(body, "ID") not in {"", request.rest}:
            raise request.bad("Policy ID in URL and payload do not match")
        if not request.rest and identifier:
            raise request.bad("Cannot specify the ID when creating a new policy")
        if not name:
            raise refused_by_server("Invalid Policy: no Name is set")
        if not re.fullmatch(r"[A-Za-z0-9_-]{1,128}", name):
            raise refused_by_server(
                "Invalid Policy: invalid Name. Only alphanumeric characters, '-' and '_' are allowed"
            )
        same = next((policy for policy in acl.policies.values() if policy["Name"] == name), None)
        if same is not None and same is not before:
            words = "policy with name" if before else "Policy with Name"
            raise refused_by_server(f'Invalid Policy: A {words} "{name}" already exists')
        if identifier == MANAGEMENT_POLICY:
            raise refused_by_server("Changing the Rules for the builtin global-management policy is not permitted")
        try:
            parsed = parse_rules(rules, self.context.facts.version)
        except RulesError as error:
            raise refused_by_server(str(error)) from error
        identifier = identifier or str(uuid.uuid4())
        index = self.context.store.write("acl")
        acl.policies[identifier] = {
            "ID": identifier,
            "Name": name,
            "Description": text(body, "Description"),
            "Rules": rules,
            "Hash": _hash(name, text(body, "Description"), rules),
            "CreateIndex": before["CreateIndex"] if before else index,
            "ModifyIndex": index,
        }
        acl.parsed[identifier] = parsed
        return Reply(acl.policies[identifier])

    async def policy(self, request: ConsulRequest) -> Reply:
        """Answer with the policy of an id (`GET /v1/acl/policy/ID`)."""
        self._require(request, "read")
        self._named(request, "policy")
        found = self.context.acl.policies.get(request.rest)
        if found is None:
            check_uuid(request.rest, "failed acl policy lookup")
            raise self._unknown()
        return Reply(found, meta=self._meta())

    async def policies(self, request: ConsulRequest) -> Reply:
        """Answer with all policies, without their rules (`GET /v1/acl/policies`)."""
        self._require(request, "read")
        listed: list[Object] = []
        for policy in self.context.acl.policies.values():
            shown = {key: policy[key] for key in ("ID", "Name", "Description")} | {"Datacenters": None}
            listed.append(shown | {key: policy[key] for key in ("Hash", "CreateIndex", "ModifyIndex")})
        return Reply(listed, meta=self._meta())

    async def delete_policy(self, request: ConsulRequest) -> Reply:
        """Delete a policy, also from the tokens that had it (`DELETE /v1/acl/policy/ID`)."""
        self._require(request, "write")
        self._named(request, "policy")
        check_uuid(request.rest, "failed acl policy lookup")
        if request.rest == MANAGEMENT_POLICY:
            raise refused_by_server("Delete operation not permitted on the builtin global-management policy")
        self.context.acl.policies.pop(request.rest, None)
        self.context.acl.parsed.pop(request.rest, None)
        self.context.store.write("acl")
        return Reply(body=True)

    # Tokens.

    async def put_token(self, request: ConsulRequest) -> Reply:
        """Create a token, or replace one by its accessor id (`PUT /v1/acl/token`, `/v1/acl/token/ID`)."""
        self._require(request, "write")
        body = self._body(request, _TOKEN, "Token decoding failed: ")
        if strange := next((name for name in _UNMODELLED if body.get(name)), None):
            raise Refused(501, f"The in-process agent does not model the {strange} of a token")
        accessor, secret = text(body, "AccessorID"), text(body, "SecretID")
        if request.rest and accessor not in {"", request.rest}:
            raise request.bad("Token Accessor ID in URL and payload do not match")
        if wanted := request.rest or accessor:
            check_uuid(wanted, "Failed acl token lookup by accessor: failed acl token lookup")
        before = self._by_accessor(request.rest) if request.rest else None
        if request.rest and before is None:
            raise refused_by_server(f'Cannot find token "{request.rest}"')
        if before and secret not in {"", before["SecretID"]}:
            raise refused_by_server("Changing a tokens SecretID is not permitted")
        if not before:
            check_uuid(secret or str(uuid.uuid4()), "Invalid Token: SecretID is not a valid UUID", whole=True)
        for taken, what in (
            (self._by_accessor(accessor), "AccessorID"),
            (self.context.acl.tokens.get(secret), "SecretID"),
        ):
            if taken and not before:
                raise refused_by_server(f"Invalid Token: {what} is already in use")
        accessor = request.rest or accessor or str(uuid.uuid4())
        secret = text(before, "SecretID") if before else secret or str(uuid.uuid4())
        policies = list(dict.fromkeys(self._policy_id(link) for link in children(body, "Policies")))
        index = self.context.store.write("acl")
        created = index if before is None else int(str(before["CreateIndex"]))
        token = self._add_token(
            accessor,
            secret,
            description=text(body, "Description"),
            policies=policies,
            index=index,
            created=created,
            local=body.get("Local") is True,
        )
        return Reply(self._shown(token))

    async def token(self, request: ConsulRequest) -> Reply:
        """Answer with the token of an accessor id (`GET /v1/acl/token/ID`)."""
        self._require(request, "read")
        self._named(request, "token")
        found = self._by_accessor(request.rest)
        if found is None:
            check_uuid(request.rest, "failed acl token lookup")
            raise self._unknown()
        return Reply(self._shown(found), meta=self._meta())

    async def self(self, request: ConsulRequest) -> Reply:
        """Answer with the token of the request (`GET /v1/acl/token/self`)."""
        self._require(request, "")
        found = self.context.acl.tokens.get(request.token)
        if found is None:
            raise self._unknown()
        return Reply(self._shown(found), meta=self._meta())

    async def list_tokens(self, request: ConsulRequest) -> Reply:
        """Answer with all tokens, without their secrets (`GET /v1/acl/tokens`)."""
        self._require(request, "read")
        listed = [self._shown(token) for token in self.context.acl.tokens.values()]
        return Reply([{k: v for k, v in token.items() if k != "SecretID"} for token in listed], meta=self._meta())

    async def delete_token(self, request: ConsulRequest) -> Reply:
        """Delete a token by its accessor id (`DELETE /v1/acl/token/ID`)."""
        self._require(request, "write")
        self._named(request, "token")
        check_uuid(request.rest, "Accessor ID is missing or an invalid UUID", whole=True)
        if request.rest == ANONYMOUS:
            raise refused_by_server("Delete operation not permitted on the anonymous token")
        if found := self._by_accessor(request.rest):
            del self.context.acl.tokens[text(found, "SecretID")]
        self.context.store.write("acl")
        return Reply(body=True)

    # Shared by the handlers.

    @staticmethod
    def _named(request: ConsulRequest, what: str) -> None:
        if not request.rest:
            raise request.bad(f"Missing {what} ID")

    def _unknown(self) -> Refused:
        return Refused(403, "ACL not found", from_server=True, at=self.context.store.touched("acl"))

    def _require(self, request: ConsulRequest, access: str) -> None:
        acl = self.context.acl
        if not acl.enabled:
            raise Refused(401, "ACL support disabled")
        if access:
            acl.require(acl.resolve(request.token), "acl", access)

    def _body(self, request: ConsulRequest, struct: Struct, complaint: str) -> Object:
        try:
            return decode(request.json(complaint), struct, self.context.facts.version, "")
        except DecodeError as error:
            raise request.bad(f"{complaint}{error}") from error

    def _policy_id(self, link: Object) -> str:
        policies, wanted = self.context.acl.policies, text(link, "ID")
        for identifier, policy in policies.items():
            if identifier == wanted or (not wanted and policy["Name"] == link.get("Name")):
                return identifier
        if wanted:
            raise refused_by_server(f'No such ACL policy with ID "{wanted}"')
        raise refused_by_server(f'No such ACL policy with name "{text(link, "Name")}"')

    def _by_accessor(self, accessor: str) -> Object | None:
        return next((token for token in self.context.acl.tokens.values() if token["AccessorID"] == accessor), None)

    def _add_token(
        self,
        accessor: str,
        secret: str,
        *,
        description: str,
        policies: list[str],
        index: int,
        created: int | None = None,
        local: bool = False,
    ) -> Object:
        token: Object = {
            "AccessorID": accessor,
            "SecretID": secret,
            "Description": description,
            "PolicyIDs": policies,
            "Local": local,
            "CreateTime": now(),
            "CreateIndex": index if created is None else created,
            "ModifyIndex": index,
        }
        self.context.acl.tokens[secret] = token
        return token

    def _shown(self, token: Object) -> Object:
        """Copy a token as Consul shows it: with the names of its policies, without internal members."""
        acl = self.context.acl
        identifiers = [each for each in texts(token, "PolicyIDs") if each in acl.policies]
        shown: Object = {key: token.get(key) for key in ("AccessorID", "SecretID", "Description")}
        if identifiers:
            shown["Policies"] = [{"ID": each, "Name": acl.policies[each]["Name"]} for each in identifiers]
        shown |= {
            "Local": token.get("Local") is True,
            "CreateTime": token.get("CreateTime"),
            "Hash": _hash(str(identifiers)),
        }
        return shown | {key: token.get(key) for key in ("CreateIndex", "ModifyIndex")}

    def _meta(self) -> Meta:
        return Meta(self.context.store.touched("acl"))


def _hash(*parts: str) -> str:
    return base64.b64encode(hashlib.blake2b("\0".join(parts).encode(), digest_size=32).digest()).decode()
