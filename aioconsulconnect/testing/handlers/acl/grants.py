"""The grants of tokens and roles: policies, roles, and the identities of services and nodes."""

import base64
import hashlib
import re
from collections.abc import Iterable
from http import HTTPStatus
from typing import Final

from aioconsulconnect.testing.go_json.errors import DecodeError, NotModelledError
from aioconsulconnect.testing.go_json.schema import Field, ListOf, Shadow, Struct
from aioconsulconnect.testing.go_json.strict_decoder import decode
from aioconsulconnect.testing.go_json.values import Object, children, is_list, is_object, text, texts
from aioconsulconnect.testing.handlers.context import AgentContext
from aioconsulconnect.testing.protocol.names import check_uuid
from aioconsulconnect.testing.protocol.refusals import Refused, refused_by_server
from aioconsulconnect.testing.protocol.request import ConsulRequest
from aioconsulconnect.testing.version_facts import VersionFacts

_LINK: Final = (Field("ID"), Field("Name"))
_SERVICES: Final = ListOf(
    Struct((Field("ServiceName"), Field("Datacenters", ListOf("string"))), "structs.ACLServiceIdentity")
)
_NODES: Final = ListOf(Struct((Field("NodeName"), Field("Datacenter")), "structs.ACLNodeIdentity"))
SENT_BACK: Final = (Field("Hash"), Field("CreateIndex", "uint64"), Field("ModifyIndex", "uint64"))
"""Members of an answer that a client may send back."""
HIDDEN_HASH: Final = Shadow("Hash", "string", "Hash")
POLICIES: Final = Field("Policies", ListOf(Struct(_LINK, "structs.ACLTokenPolicyLink")))
POLICIES_OF_ROLE: Final = Field("Policies", ListOf(Struct(_LINK, "structs.ACLRolePolicyLink")))
ROLES: Final = Field("Roles", ListOf(Struct(_LINK, "structs.ACLTokenRoleLink")))
IDENTITIES: Final = (
    Field("ServiceIdentities", _SERVICES, go_type="[]*structs.ACLServiceIdentity", until="1.10"),
    Field("NodeIdentities", _NODES, go_type="[]*structs.ACLNodeIdentity", until="1.10"),
    Field("ServiceIdentities", _SERVICES, go_type="structs.ACLServiceIdentities", since="1.11"),
    Field("NodeIdentities", _NODES, go_type="structs.ACLNodeIdentities", since="1.11"),
    Field("TemplatedPolicies", "any", since="1.17", checked=False),
)
_NAME: Final = re.compile(r"[a-z0-9](?:[a-z0-9_-]{0,254}[a-z0-9])?")


def read_body(request: ConsulRequest, struct: Struct, what: str) -> Object:
    """Read the body of the write `request` with the members of `struct`.

    `what` is "Policy", "Role" or "Token", for a refusal.
    """
    complaint = f"{what} decoding failed: "
    given = request.json(complaint)
    if is_object(given) and any(is_list(value) and None in value for value in given.values()):
        raise NotModelledError("The in-process agent takes no null in a list here: a real one may break the connection")
    try:
        return decode(given, struct, request.facts.version, "")
    except DecodeError as error:
        more = " - Namespaces are a Consul Enterprise feature" if '"Namespace"' in str(error) else ""
        raise request.bad(f"{complaint}{error}{more}") from error


def read_options(context: AgentContext, request: ConsulRequest, *, namespaces: bool = True) -> None:
    """Read the options of `request`, a read of the ACLs of `context`.

    `namespaces` refuses those that it asks for, as by default.
    """
    request.read_options()
    if namespaces:
        request.enterprise_options()
        request.refuse_parameter("authmethod-ns", "Namespaces")
    context.check_datacenter(request)


def require(context: AgentContext, request: ConsulRequest, access: str = "", deleted: str = "") -> None:
    """Refuse `request` where the ACLs of `context` are off, or without the right to `access` them.

    With an access its options are read before; those of a read are more. Newer versions confuse an unknown token with
    what is to be `deleted`.
    """
    if not context.acl.enabled:
        raise Refused(401, "ACL support disabled")
    if access == "read":
        read_options(context, request)
    elif access:
        request.enterprise_options()
    try:
        who = context.acl.resolve(request.token) if access else None
    except Refused as refused:
        if deleted and context.facts.newer_acl and refused.status == HTTPStatus.FORBIDDEN:
            raise Refused(404, f"Cannot find {deleted} to delete") from refused
        raise
    if who:
        context.acl.require(who, "acl", access)


def ids_of(links: Iterable[Object], kept: dict[str, Object], what: str, facts: VersionFacts) -> list[str]:
    """The ids of policies or roles in `kept` that `links` name, or a refusal.

    `what` is "policy" or "role", for the words of `facts`.
    """
    found: list[str] = []
    for link in links:
        wanted, name = text(link, "ID").lower(), text(link, "Name")
        if wanted:
            label = "ID:" if facts.newer_acl else "id"
            check_uuid(wanted, f'Error looking up {what} for {label} "{text(link, "ID")}": failed acl {what} lookup')
        by_name = (key for key, each in kept.items() if text(each, "Name").lower() == name.lower())
        identifier = (wanted if wanted in kept else None) if wanted else next(by_name, None)
        if identifier is None:
            complaint = f'ID "{text(link, "ID")}"' if wanted else f'name "{name}"'
            raise refused_by_server(f"No such ACL {what} with {complaint}")
        found.append(identifier)
    return list(dict.fromkeys(found))


def written_ids(links: Iterable[Object], named: list[str], kept: dict[str, Object], facts: VersionFacts) -> list[str]:
    """The ids in `links` of a role to policies in `kept` and those that are `named`, or a refusal.

    `facts` has its words.
    """
    found = list(named)
    for wanted in filter(None, (text(link, "ID") for link in links)):
        check_uuid(wanted, f"{facts.role_write_prefix}failed acl policy lookup")
        if wanted.lower() not in kept:
            raise refused_by_server(f"{facts.role_write_prefix}No such policy with ID: {wanted}")
        found.append(wanted.lower())
    return list(dict.fromkeys(found))


def links_to(identifiers: Iterable[str], kept: dict[str, Object]) -> list[Object]:
    """The links to those `identifiers` that are still in `kept`, as they are shown."""
    return [{"ID": each, "Name": kept[each]["Name"]} for each in identifiers if each in kept]


def identities_of(body: Object, where: str, facts: VersionFacts) -> Object:
    """The identities of services and nodes in `body`, brought together, or a refusal.

    `where` is "token" or "role", for the words of `facts`.
    """
    newer = facts.newer_acl
    alphabet = "lowercase alphanumeric" if newer else "alphanumeric"
    invalid = f"has an invalid name. Only {alphabet} characters, '-' and '_' are allowed"
    services: dict[str, Object] = {}
    for each in children(body, "ServiceIdentities"):
        name, datacenters = text(each, "ServiceName"), texts(each, "Datacenters")
        if not name:
            raise refused_by_server(f"Service identity is missing the service name field on this {where}")
        if datacenters and body.get("Local"):
            raise refused_by_server(
                f'Service identity "{name}" cannot specify a list of datacenters on a local {where}'
            )
        if not _NAME.fullmatch(name):
            raise refused_by_server(f'Service identity "{name}" {invalid}')
        before = services.get(name)
        held = texts(before, "Datacenters") if before else []
        anywhere = before is not None and not newer and not (held and datacenters)
        together = sorted({*held, *datacenters}) if before else sorted(datacenters) if newer else datacenters
        services[name] = {"ServiceName": name, **({"Datacenters": together} if together and not anywhere else {})}
    nodes: dict[tuple[str, str], Object] = {}
    for each in children(body, "NodeIdentities"):
        name, datacenter = text(each, "NodeName"), text(each, "Datacenter")
        for value, label in ((name, "node name"), (datacenter, "datacenter")):
            if not value:
                raise refused_by_server(f"Node identity is missing the {label} field on this {where}")
        if not _NAME.fullmatch(name):
            raise refused_by_server(f"Node identity {invalid}")
        nodes[name, datacenter] = {"NodeName": name, "Datacenter": datacenter}
    # In which order a real agent shows them is chance.
    found = {"ServiceIdentities": list(services.values()), "NodeIdentities": list(nodes.values())}
    return {key: each for key, each in found.items() if each}


def digest(value: object) -> str:
    """The hash that Consul shows with a policy, role or token: base64 of 32 bytes."""
    return base64.b64encode(hashlib.blake2b(repr(value).encode(), digest_size=32).digest()).decode()
