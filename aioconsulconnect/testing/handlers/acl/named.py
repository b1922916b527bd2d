"""`/v1/acl/policy` and `/v1/acl/role`: the policies and roles that tokens link to by id or name."""

import re
import uuid
from typing import Final

from aioconsulconnect.testing.go_json.schema import Field, ListOf, Struct
from aioconsulconnect.testing.go_json.values import Object, children, text, texts
from aioconsulconnect.testing.handlers.acl import grants
from aioconsulconnect.testing.handlers.context import AgentContext
from aioconsulconnect.testing.protocol.acl_rules import RulesError, parse_rules
from aioconsulconnect.testing.protocol.names import check_uuid
from aioconsulconnect.testing.protocol.refusals import Refused, refused_by_server
from aioconsulconnect.testing.protocol.reply import Meta, Reply
from aioconsulconnect.testing.protocol.request import ConsulRequest
from aioconsulconnect.testing.state.acl import MANAGEMENT_POLICY, READ_ONLY_POLICY

_POLICY: Final = Struct(
    (
        *(Field(name) for name in ("ID", "Name", "Description", "Rules")),
        Field("Datacenters", ListOf("string"), go_type="[]string"),
        *grants.SENT_BACK,
    ),
    shadows=(grants.HIDDEN_HASH,),
)
_ROLE: Final = Struct(
    (
        *(Field(name) for name in ("ID", "Name", "Description")),
        *(grants.POLICIES_OF_ROLE, *grants.IDENTITIES, *grants.SENT_BACK),
    ),
    shadows=(grants.HIDDEN_HASH,),
)
_WORD: Final = r"[A-Za-z0-9_-]"
_LONGEST: Final = 128


class _Named:
    """The handlers of one kind of named things: `kind` is "policy" or "role", `kept` has them by id."""

    kind: str
    struct: Struct

    def __init__(self, context: AgentContext, kept: dict[str, Object]) -> None:
        self.context = context
        self.kept = kept

    async def put(self, request: ConsulRequest) -> Reply:
        """Create one, or replace the one with an id (`PUT /v1/acl/KIND`, `/v1/acl/KIND/ID`)."""
        grants.require(self.context, request)
        request.enterprise_options()
        title = self.kind.capitalize()
        body = grants.read_body(request, self.struct, title)
        given = text(body, "ID")
        if given.lower() not in {"", request.rest.lower()}:
            new = "Cannot specify the ID when creating a new policy"
            is_new = request.path.endswith("/policy")
            raise request.bad(new if is_new else f"{title} ID in URL and payload do not match")
        grants.require(self.context, request, "write")
        before = self.kept.get(request.rest.lower())
        name = text(body, "Name")
        if not name:
            raise refused_by_server(f"Invalid {title}: no Name is set")
        if wrong := self._complaint(name):
            raise refused_by_server(f"Invalid {title}: invalid Name. {wrong}")
        if request.rest and before is None:
            check_uuid(request.rest, f"{title} ID invalid UUID", whole=True)
            raise refused_by_server(f"cannot find {self.kind} {request.rest}")
        same = self._by_name(name)
        if same is not None and same is not before:
            words = f"{self.kind} with name" if before else f"{title} with Name"
            raise refused_by_server(f'Invalid {title}: A {words} "{name}" already exists')
        identifier = request.rest.lower() or str(uuid.uuid4())
        made = self._made(identifier, body)
        index = self.context.store.write(f"acl/{self.kind}")
        indexes = {"CreateIndex": before["CreateIndex"] if before else index, "ModifyIndex": index}
        named = {"ID": identifier, "Name": name, "Description": text(body, "Description")}
        self.kept[identifier] = {**named, **made, "Hash": grants.digest(made), **indexes}
        return Reply(self._shown(self.kept[identifier]))

    async def read(self, request: ConsulRequest) -> Reply:
        """Answer with the one of an id (`GET /v1/acl/KIND/ID`)."""
        self._asked(request, "ID")
        grants.require(self.context, request, "read")
        if request.rest.lower() not in self.kept:
            check_uuid(request.rest, f"failed acl {self.kind} lookup")
        return self._answer(self.kept.get(request.rest.lower()))

    async def read_by_name(self, request: ConsulRequest) -> Reply:
        """Answer with the one of a name, in any case (`GET /v1/acl/KIND/name/NAME`)."""
        self._asked(request, "Name")
        grants.require(self.context, request, "read")
        return self._answer(self._by_name(request.rest))

    async def delete(self, request: ConsulRequest) -> Reply:
        """Delete one, also from whatever links to it (`DELETE /v1/acl/KIND/ID`)."""
        self._asked(request, "ID")
        grants.require(self.context, request, "write", deleted=self.kind)
        check_uuid(request.rest, f"failed acl {self.kind} lookup")
        identifier = request.rest.lower()
        if identifier in {MANAGEMENT_POLICY, READ_ONLY_POLICY} & self.kept.keys():
            name = text(self.kept[identifier], "Name")
            raise refused_by_server(f"Delete operation not permitted on the builtin {name} policy")
        if self.kept.pop(identifier, None) is not None:
            self.context.store.write(f"acl/{self.kind}")
        elif self.context.facts.newer_acl:
            raise Refused(404, f"Cannot find {self.kind} to delete")
        return Reply(body=True)

    def _complaint(self, name: str) -> str:
        """What is wrong with a name; empty for nothing."""
        fits = re.fullmatch(_WORD + "{1,256}", name)
        return "" if fits else "Only alphanumeric characters, '-' and '_' are allowed"

    def _made(self, identifier: str, body: Object) -> Object:
        """The members that this kind keeps of a body, or a refusal."""
        raise NotImplementedError

    def _shown(self, kept: Object) -> Object:
        """Copy one as it is shown."""
        return dict(kept)

    def _sorted(self) -> list[Object]:
        return sorted(self.kept.values(), key=lambda each: text(each, "Name").lower())

    def _by_name(self, name: str) -> Object | None:
        return next((each for each in self.kept.values() if text(each, "Name").lower() == name.lower()), None)

    def _asked(self, request: ConsulRequest, by: str) -> None:
        grants.require(self.context, request)
        if not request.rest:
            raise request.bad(f"Missing {self.kind} {by}")

    def _answer(self, found: Object | None) -> Reply:
        if found:
            return Reply(self._shown(found), meta=self._meta())
        if self.context.facts.newer_acl:
            raise Refused(404, f"Requested {self.kind} does not exist: ACL not found")
        if self.kind == "role":
            return Reply(b"", 404, None)
        raise Refused(403, "ACL not found", at=self._meta().index)

    def _meta(self) -> Meta:
        return Meta(self.context.store.touched(f"acl/{self.kind}"))


class Policies(_Named):
    """The handlers of policies, with the built-in ones where ACLs are on."""

    kind = "policy"
    struct = _POLICY

    def __init__(self, context: AgentContext) -> None:
        super().__init__(context, context.acl.policies)
        facts = context.facts
        builtin = [(MANAGEMENT_POLICY, "global-management", "write", facts.management_policy)]
        if facts.newer_acl:
            words = "A built-in policy that grants read-only access to all Consul features"
            builtin.append((READ_ONLY_POLICY, "builtin/global-read-only", "read", words))
        for identifier, name, level, description in builtin if context.acl.enabled else ():
            rules = _builtin_rules(level, newer=facts.newer_acl)
            context.acl.parsed[identifier] = parse_rules(rules, facts)
            named = {"ID": identifier, "Name": name, "Description": description, "Rules": rules}
            self.kept[identifier] = {**named, "Hash": grants.digest(rules), "CreateIndex": 4, "ModifyIndex": 4}

    async def list(self, request: ConsulRequest) -> Reply:
        """Answer with all policies, without their rules (`GET /v1/acl/policies`)."""
        grants.require(self.context, request, "read")
        names = ("ID", "Name", "Description", "Datacenters", "Hash", "CreateIndex", "ModifyIndex")
        return Reply([{name: each.get(name) for name in names} for each in self._sorted()], meta=self._meta())

    def _complaint(self, name: str) -> str:
        if not self.context.facts.newer_acl:
            return super()._complaint(name if len(name) <= _LONGEST else "")
        if len(name) > _LONGEST:
            return "Length must be greater than 0 and less than 128"
        if name.startswith(("/", "builtin/")) and name != "builtin/global-read-only":
            return "Names cannot be prefixed with '/' or 'builtin/'"
        fits = re.fullmatch(f"{_WORD}+/?{_WORD}*", name)
        return "" if fits else "Only alphanumeric characters, a single '/', '-' and '_' are allowed"

    def _made(self, identifier: str, body: Object) -> Object:
        rules, datacenters = text(body, "Rules"), texts(body, "Datacenters")
        before = self.kept.get(identifier)
        if before and identifier == READ_ONLY_POLICY:
            raise Refused(501, "The in-process agent does not model changes of the policy that reads all")
        if before and identifier == MANAGEMENT_POLICY:
            name = text(before, "Name")
            if "Datacenters" in body:
                builtin = "" if self.context.facts.newer_acl else "builtin "
                raise refused_by_server(f"Changing the Datacenters of the {builtin}{name} policy is not permitted")
            if rules != before["Rules"]:
                raise refused_by_server(f"Changing the Rules for the builtin {name} policy is not permitted")
        try:
            self.context.acl.parsed[identifier] = parse_rules(rules, self.context.facts)
        except RulesError as error:
            raise refused_by_server(str(error)) from error
        return {"Rules": rules, **({"Datacenters": datacenters} if datacenters else {})}


def _builtin_rules(level: str, *, newer: bool) -> str:
    """The rules of a built-in policy, which gives `level` to everything."""
    names = ("acl", "agent_prefix", "event_prefix", "key_prefix", "keyring", "node_prefix", "operator")
    rules = ""
    for name in (*names, *(("mesh", "peering") if newer else ()), "query_prefix", "service_prefix", "session_prefix"):
        more = f'\tintentions = "{level}"\n' if name == "service_prefix" else ""
        named = f' "" {{\n\tpolicy = "{level}"\n{more}}}'
        rules += f"\n{name}" + (named if name.endswith("_prefix") else f' = "{level}"')
    return rules


class Roles(_Named):
    """The handlers of roles."""

    kind = "role"
    struct = _ROLE

    def __init__(self, context: AgentContext) -> None:
        super().__init__(context, context.acl.roles)

    async def list(self, request: ConsulRequest) -> Reply:
        """Answer with all roles, or those with a policy (`GET /v1/acl/roles`)."""
        grants.require(self.context, request, "read")
        wanted = request.first("policy")
        if wanted and self.context.facts.newer_acl:
            check_uuid(wanted, "failed acl role lookup")
            wanted = wanted.lower()
        found = [self._shown(each) for each in self._sorted() if not wanted or wanted in texts(each, "PolicyIDs")]
        return Reply(found, meta=self._meta())

    def _made(self, identifier: str, body: Object) -> Object:  # noqa: ARG002
        links, facts = children(body, "Policies"), self.context.facts
        by_name = [link for link in links if not text(link, "ID")]
        named = grants.ids_of(by_name, self.context.acl.policies, "policy", facts)
        identities = grants.identities_of(body, "role", facts)
        # Ids are looked up only where the role is written.
        return {"PolicyIDs": grants.written_ids(links, named, self.context.acl.policies, facts), **identities}

    def _shown(self, kept: Object) -> Object:
        links = grants.links_to(texts(kept, "PolicyIDs"), self.context.acl.policies)
        shown: Object = {}
        for key, value in kept.items():
            if key != "PolicyIDs":
                shown[key] = value
            elif links:
                shown["Policies"] = links
        return shown
