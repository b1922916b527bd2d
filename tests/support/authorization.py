"""Short ways to write intentions, and tables of one destination."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aioconsulconnect.authorization.rules.request import HTTPRequest
from aioconsulconnect.authorization.rules.settings import DecisionSettings
from aioconsulconnect.authorization.rules.verdict import Verdict
from aioconsulconnect.authorization.table import Table
from aioconsulconnect.structs.intentions import (
    Action,
    HeaderPermission,
    HTTPPermission,
    Intention,
    JWTProviderRequirement,
    JWTRequirement,
    Permission,
    VerifyClaim,
)

HOME = "11111111-2222-3333-4444-555555555555.consul"
WEB = f"spiffe://{HOME}/ns/default/dc/dc1/svc/web"


def intent(source: str, destination: str, says: Action | tuple[Permission, ...], **fields: Any) -> Intention:
    if isinstance(says, tuple):
        return Intention(source_name=source, destination_name=destination, permissions=says, **fields)
    return Intention(source_name=source, destination_name=destination, action=says, **fields)


def allow(*header: HeaderPermission, jwt: JWTRequirement | None = None, **http: Any) -> Permission:
    return Permission(action="allow", http=HTTPPermission(header=header, **http), jwt=jwt)


def deny(*header: HeaderPermission, jwt: JWTRequirement | None = None, **http: Any) -> Permission:
    return Permission(action="deny", http=HTTPPermission(header=header, **http), jwt=jwt)


def token(provider: str = "okta", **claims: str) -> JWTRequirement:
    verify = tuple(VerifyClaim(path=tuple(path.split("__")), value=value) for path, value in claims.items())
    return JWTRequirement(providers=(JWTProviderRequirement(name=provider, verify_claims=verify),))


def table_of(*intentions: Intention, destination: str = "db", **settings: Any) -> Table:
    given = {"default": "deny", "trust_domain": HOME, **settings}
    return Table.build(intentions, DecisionSettings(**given), destinations=(destination,))


def judged(
    says: tuple[Permission, ...],
    path: str = "/",
    headers: Any = (),
    *,
    method: str = "GET",
    claims: Mapping[str, Mapping[str, object]] | None = None,
    **settings: Any,
) -> Verdict:
    """What the permissions of one intention say of a request."""
    table = table_of(intent("web", "db", says), **settings)
    return table.check("web", request=HTTPRequest(method, path, headers), claims=claims)
