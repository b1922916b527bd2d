"""
Structs of intentions: which service may connect to which, and with which requests.

Rules for requests (L7) need Consul 1.9.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from datetime import datetime
from typing import Literal

import msgspec

from aioconsulconnect.errors import InvalidRequest
from aioconsulconnect.slices import SLICE, InSlices
from aioconsulconnect.structs.codec.consul_struct import ConsulStruct
from aioconsulconnect.structs.codec.item_key import ItemKey
from aioconsulconnect.structs.codec.json_body import Reader, in_slices, reader
from aioconsulconnect.structs.codec.unknown_fields import KeepsUnknown

Action = Literal["allow", "deny"]

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "CONNECT", "OPTIONS", "TRACE"})


class VerifyClaim(KeepsUnknown, frozen=True, kw_only=True):
    """
    Claim that a JSON Web Token must hold: the one at `path` equals `value`.

    `path` has one name for each level of nested claims.
    """

    path: tuple[str, ...] = ()
    value: str = ""


class JWTProviderRequirement(KeepsUnknown, frozen=True, kw_only=True):
    """
    Requirement of a JSON Web Token from one provider.

    - `name`: name of the `jwt-provider` config entry.
    - `verify_claims`: claims that its tokens must hold.
    """

    name: str = ""
    verify_claims: tuple[VerifyClaim, ...] = ()


class JWTRequirement(KeepsUnknown, frozen=True, kw_only=True):
    """
    Requirement of a valid JSON Web Token from any of `providers` (Consul 1.16).

    Without providers nothing is required.
    """

    providers: tuple[JWTProviderRequirement, ...] = ()


class HeaderPermission(KeepsUnknown, frozen=True, kw_only=True):
    """
    Condition on a request header.

    Give exactly one of `present`, `exact`, `prefix`, `suffix`, `contains`, `regex`.

    - `name`: name of the header.
    - `present`: True if the header only has to be there.
    - `exact`, `prefix`, `suffix`, `contains`, `regex`: text that its value must match. `contains` needs Consul 1.20.1.
    - `ignore_case`: True to compare without case (Consul 1.20.1); not with `present` or `regex`.
    - `invert`: True to match where the condition does not hold.
    """

    name: str = ""
    present: bool = False
    exact: str = ""
    prefix: str = ""
    suffix: str = ""
    contains: str = ""
    regex: str = ""
    ignore_case: bool = False
    invert: bool = False


class HTTPPermission(KeepsUnknown, frozen=True, kw_only=True):
    """
    Condition on a request: everything that is given must match, and something must be given.

    - `path_exact`, `path_prefix`, `path_regex`: the path; at most one of them. The regular expression is RE2 and must
      match the whole path; the others start with `/`.
    - `header`: conditions on headers, all of which must hold.
    - `methods`: methods of which the request has one, in upper case.
    """

    path_exact: str = ""
    path_prefix: str = ""
    path_regex: str = ""
    header: tuple[HeaderPermission, ...] = ()
    methods: tuple[str, ...] = ()


class Permission(KeepsUnknown, frozen=True, kw_only=True):
    """
    Rule of an L7 intention (Consul 1.9): the first one whose `http` matches decides.

    - `action`: "allow" or "deny".
    - `http`: condition on the request.
    - `jwt`: JSON Web Token that is required too (Consul 1.16).
    """

    action: Action | None = None
    http: HTTPPermission | None = None
    jwt: JWTRequirement | None = None


class IntentionKey(ItemKey, frozen=True, order=True):
    """Key of an intention; its fields are in the order by which Consul sorts intentions."""

    source_sameness_group: str
    source_peer: str
    source_partition: str
    source_namespace: str
    source_name: str
    destination_partition: str
    destination_namespace: str
    destination_name: str


class MatchKey(ItemKey, frozen=True, order=True):
    """Key of an intention in a match of several names: the name that was asked for, and its own key."""

    name: str
    intention: IntentionKey


class Intention(ConsulStruct, frozen=True, kw_only=True):
    """
    Intention as Consul shows it.

    From Consul 1.9 on an intention is part of the `service-intentions` config entry of its destination.

    - `source_name`, `destination_name`: service, or `*` for all.
    - `source_namespace`, `destination_namespace`, `source_partition`, `destination_partition` (Consul 1.11),
      `source_sameness_group` (1.16): Consul Enterprise. Partitions and sameness groups are empty where they do not
      apply.
    - `source_peer`: peer of the source (Consul 1.13); empty for a local one.
    - `action`, `permissions`: "allow" or "deny", or the rules of an L7 intention; one of the two is set.
    - `precedence`: number from Consul; the intention with the highest decides.
    - `id`, `created_at`, `updated_at`, `hash`: from Consul 1.9 on only set if the intention was created by id. Times
      are rounded to the microsecond.
    - `create_index`, `modify_index`, `meta`, `jwt`: from Consul 1.9 on those of the config entry.
    """

    id: str = ""
    description: str = ""
    source_partition: str = ""
    source_namespace: str = msgspec.field(default="default", name="SourceNS")
    source_name: str = ""
    source_peer: str = ""
    source_sameness_group: str = ""
    source_type: str = ""
    destination_partition: str = ""
    destination_namespace: str = msgspec.field(default="default", name="DestinationNS")
    destination_name: str = ""
    action: Action | None = None
    permissions: tuple[Permission, ...] = ()
    jwt: JWTRequirement | None = None
    meta: Mapping[str, str] = {}
    precedence: int = 0
    created_at: datetime | None = None
    updated_at: datetime | None = None
    hash: str = ""
    create_index: int = 0
    modify_index: int = 0

    @property
    def key(self) -> IntentionKey:
        """The key of the intention, unique among all intentions."""
        return IntentionKey(
            self.source_sameness_group,
            self.source_peer,
            self.source_partition,
            self.source_namespace,
            self.source_name,
            self.destination_partition,
            self.destination_namespace,
            self.destination_name,
        )


class IntentionBody(KeepsUnknown, frozen=True, kw_only=True):
    """
    Body of a write of an intention.

    Only what the caller gave is sent, so an older server meets no key that it does not know.
    """

    source_namespace: str = msgspec.field(default="", name="SourceNS")
    source_name: str = ""
    destination_namespace: str = msgspec.field(default="", name="DestinationNS")
    destination_name: str = ""
    source_type: str = ""
    action: Action | None = None
    permissions: tuple[Permission, ...] = ()
    description: str = ""
    meta: Mapping[str, str] = {}


class CreatedId(ConsulStruct, frozen=True, kw_only=True):
    """Answer to a write by id."""

    id: str


class CheckResult(ConsulStruct, frozen=True, kw_only=True):
    """Answer to `GET /v1/connect/intentions/check`."""

    allowed: bool


read_list: Reader[tuple[Intention, ...]] = reader(tuple[Intention, ...])
read_list_in_slices: Callable[[bytes], InSlices[tuple[Intention, ...]]] = in_slices(read_list)
read_one: Reader[Intention] = reader(Intention)
read_matches: Reader[dict[str, tuple[Intention, ...] | None]] = reader(dict[str, tuple[Intention, ...] | None])
read_id: Reader[CreatedId] = reader(CreatedId)
read_check: Reader[CheckResult] = reader(CheckResult)


def by_key(intentions: tuple[Intention, ...]) -> dict[Hashable, Intention]:
    """Return the intentions by their keys."""
    return {intention.key: intention for intention in intentions}


def by_key_in_slices(intentions: tuple[Intention, ...]) -> InSlices[dict[Hashable, Intention]]:
    """Return a generator that yields where other tasks may run, and returns the intentions by their keys."""
    found: dict[Hashable, Intention] = {}
    for start in range(0, len(intentions), SLICE):
        yield
        found.update(by_key(intentions[start : start + SLICE]))
    return found


# What Consul always refuses, told with the name of the field before anything is sent.


def check_rule(action: Action | None, permissions: tuple[Permission, ...], *, destination: str) -> None:
    """
    Raise InvalidRequest for an action and permissions that Consul would refuse.

    - `action`, `permissions`: exactly one of the two must be given, in a form that Consul takes.
    - `destination`: name of the destination; permissions are refused for `*`.
    """
    if action is not None and permissions:
        raise InvalidRequest("action must be left out where permissions are given: each permission has its own")
    if action is None and not permissions:
        raise InvalidRequest("action must be 'allow' or 'deny', or permissions must be given")
    if action is not None:
        _check_action("action", action)
    if permissions and destination.rpartition("/")[2] == "*":
        raise InvalidRequest("permissions cannot be given for the destination '*'")
    for i, permission in enumerate(permissions):
        _check_permission(f"permissions[{i}]", permission)


def check_description(description: str, meta: Mapping[str, str]) -> None:
    """
    Raise InvalidRequest for texts beyond Consul's limits.

    - `description`: at most 512 bytes.
    - `meta`: at most 64 keys of 128 bytes, with values of 512 bytes.
    """
    if _size(description) > 512:  # noqa: PLR2004 - Consul's limit
        raise InvalidRequest("description is longer than 512 bytes")
    if len(meta) > 64:  # noqa: PLR2004 - Consul's limit
        raise InvalidRequest("meta has more than 64 keys")
    for key, value in meta.items():
        if _size(key) > 128 or _size(value) > 512:  # noqa: PLR2004 - Consul's limits
            raise InvalidRequest(f"meta[{key[:40]!r}]: keys have at most 128 bytes, values at most 512")


def _size(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))  # what is no text is refused where it would be sent


def _check_action(field: str, action: object) -> None:
    if action not in {"allow", "deny"}:
        raise InvalidRequest(f"{field} must be 'allow' or 'deny' (in lower case), not {action!r}")


def _check_permission(field: str, permission: Permission) -> None:
    _check_action(f"{field}.action", permission.action)
    http = permission.http
    if http is None or http == HTTPPermission():
        raise InvalidRequest(f"{field}.http must say at least a path, a method or a header")
    paths = {name: getattr(http, name) for name in ("path_exact", "path_prefix", "path_regex") if getattr(http, name)}
    if len(paths) > 1:
        raise InvalidRequest(f"{field}.http: give only one of {', '.join(paths)}")
    for name, path in paths.items():
        if name != "path_regex" and not path.startswith("/"):
            raise InvalidRequest(f"{field}.http.{name} must start with '/': {path!r}")
    _check_methods(f"{field}.http.methods", http.methods)
    for i, header in enumerate(http.header):
        _check_header(f"{field}.http.header[{i}]", header)
    for i, provider in enumerate(permission.jwt.providers if permission.jwt else ()):
        if not provider.name:
            raise InvalidRequest(f"{field}.jwt.providers[{i}].name is required")


def _check_methods(field: str, methods: tuple[str, ...]) -> None:
    upper = [method.upper() for method in methods]
    for method in upper:
        if method not in METHODS:
            raise InvalidRequest(f"{field}: {method!r} is none of {', '.join(sorted(METHODS))}")
    if len(set(upper)) < len(upper):
        raise InvalidRequest(f"{field} names a method more than once")


def _check_header(field: str, header: HeaderPermission) -> None:
    if not header.name:
        raise InvalidRequest(f"{field}.name is required")
    kinds = [k for k in ("present", "exact", "prefix", "suffix", "contains", "regex") if getattr(header, k)]
    if len(kinds) != 1:
        given = ", ".join(kinds) or "none"
        raise InvalidRequest(
            f"{field}: give exactly one of present, exact, prefix, suffix, contains, regex (now {given})"
        )
    if header.ignore_case and kinds[0] in {"present", "regex"}:
        raise InvalidRequest(f"{field}.ignore_case goes with exact, prefix, suffix or contains, not with {kinds[0]}")
