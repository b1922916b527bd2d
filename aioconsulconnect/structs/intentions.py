"""
Structs of intentions: which service may connect to which, and with which requests.

Rules for requests (L7) need Consul 1.9.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from datetime import datetime
from typing import Literal

import msgspec

from aioconsulconnect.slices import SLICE, InSlices
from aioconsulconnect.structs.codec.consul_struct import ConsulStruct
from aioconsulconnect.structs.codec.item_key import ItemKey
from aioconsulconnect.structs.codec.json_body import Reader, in_slices, reader
from aioconsulconnect.structs.codec.unknown_fields import KeepsUnknown
from aioconsulconnect.structs.names import in_words

Action = Literal["allow", "deny"]


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
    Intention as Consul shows it; `str()` gives it in words, such as "web -> db allow".

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

    def __str__(self) -> str:
        """The names and the action, or the number of permissions."""
        return f"{names_of(self)} {effect_of(self)}"


def names_of(intention: Intention) -> str:
    """Return the source and the destination of an intention, such as "web -> db"."""
    source = in_words(
        intention.source_name,
        namespace=intention.source_namespace,
        partition=intention.source_partition,
        peer=intention.source_peer,
        sameness_group=intention.source_sameness_group,
    )
    destination = in_words(
        intention.destination_name,
        namespace=intention.destination_namespace,
        partition=intention.destination_partition,
    )
    return f"{source} -> {destination}"


def effect_of(intention: Intention) -> str:
    """Return the action of an intention, or the number of its permissions."""
    count = len(intention.permissions)
    return intention.action or f"{count} permission{'' if count == 1 else 's'}"


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
