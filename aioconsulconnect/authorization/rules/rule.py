"""
Intentions made ready to be found and judged.

An intention has keys by which it is found, permissions that are compiled, and perhaps parts that are not understood.
One that only says "allow" or "deny" is kept as it is; any other becomes a `Rule`.
"""

from __future__ import annotations

import re
from typing import final

from aioconsulconnect.authorization.rules.permissions import Condition, has_unknown_fields, requires
from aioconsulconnect.authorization.rules.regex import Regex, compile_regex, is_available
from aioconsulconnect.authorization.rules.source import DEFAULT, Source
from aioconsulconnect.authorization.rules.verdict import Reason
from aioconsulconnect.errors import InvalidRequest
from aioconsulconnect.slices import InSlices, at_once
from aioconsulconnect.structs.intentions import Intention, JWTRequirement
from aioconsulconnect.structs.spiffe import SpiffeId

Key = str | tuple[str, str, str, str]
"""Key of a service: its name, or (peer, partition, namespace, name) where any of the first three is not the usual."""

_LITERAL = re.compile(r"[A-Za-z0-9_-]+|\*")


@final
class Rule:
    """
    Intention that is more than an action, made ready to be judged.

    - `intention`: the intention.
    - `unknown_fields`: keys of it that Consul sent and this version does not know.
    - `flaw`: why its meaning is not known; None for a sound one.
    - `jwt`: token that the whole intention requires, None for none.
    """

    __slots__ = ("_conditions", "_source_pattern", "flaw", "intention", "jwt")

    def __init__(self, intention: Intention, unknown_fields: tuple[str, ...] = ()) -> None:
        self.intention: Intention = intention
        self.flaw: Reason | None = _flaw(intention, unknown_fields)
        self.jwt: JWTRequirement | None = _requirement(intention)
        self._conditions: tuple[Condition, ...] | None = None
        self._source_pattern: tuple[Regex | None] | None = None

    def conditions(self) -> tuple[Condition, ...]:
        """The permissions, compiled at the first use: a large table holds many that nobody asks about."""
        if self._conditions is None:
            at_once(self.compile_in_slices())
        return self._conditions or ()

    def compile_in_slices(self, *, as_envoy: bool = False) -> InSlices[None]:
        """
        Compile the permissions, and yield after each: a large regular expression takes some milliseconds.

        With `as_envoy` the name of the source is compiled too, where it is a pattern.
        """
        if as_envoy and self.source_pattern is not None:
            yield
        made: list[Condition] = []
        for i, permission in enumerate(self.intention.permissions):
            made.append(Condition(permission, i))
            yield
        self._conditions = tuple(made)

    @property
    def source_pattern(self) -> Regex | None:
        """
        Pattern that Envoy holds against a source's URI; None where the name means itself, or is refused.

        It is compiled at the first use: in mode "consul" nobody asks.
        """
        if self._source_pattern is None:
            self._source_pattern = (_source_regex(self.intention) if self.is_pattern else None,)
        return self._source_pattern[0]

    @property
    def is_vague(self) -> bool:
        """True if it is not known which sources it is for."""
        return self.flaw is Reason.SOURCE_KIND_UNKNOWN

    @property
    def is_pattern(self) -> bool:
        """True if Envoy takes the name of its source for a pattern."""
        return not is_literal(self.intention.source_name)

    def may_concern(self, source: Source, *, as_envoy: bool) -> bool:
        """
        Return True if a rule whose source is not understood may be for `source`.

        With `as_envoy` its name may be a pattern, which can match any other name.
        """
        known_kind = self.intention.source_type in {"", "consul"}
        if not known_kind or (as_envoy and self.is_pattern):
            return True
        return self.intention.source_name in {"", "*", source.name}

    def refusal_by_envoy(self) -> Reason | None:
        """
        Return why it is not known what Envoy enforces because of this rule; None if it is known.

        It refuses all rules of a destination for one bad expression (A13); without RE2 nobody knows which are bad.
        """
        patterns = [regex for condition in self.conditions() for _, regex in condition.regexes()]
        if None in patterns or (self.is_pattern and self.source_pattern is None):
            return Reason.RULES_REFUSED if is_available() else Reason.REGEX_UNKNOWN
        return None


Held = Intention | Rule
"""What a table holds of an intention."""


def held(intention: Intention, unknown_fields: tuple[str, ...] = ()) -> Held:
    """
    Return what a table holds of an intention: itself where its action says all.

    - `intention`: the intention.
    - `unknown_fields`: keys that Consul sent and this version does not know.
    """
    if (
        intention.action is None
        or intention.permissions
        or intention.jwt is not None
        or unknown_fields
        or not is_literal(intention.source_name)
        or _flaw(intention, unknown_fields) is not None
    ):
        return Rule(intention, unknown_fields)
    return intention


def intention_of(one: Held) -> Intention:
    """Return the intention that a table holds."""
    return one.intention if isinstance(one, Rule) else one


def is_literal(name: str) -> bool:
    """Return True if Envoy's pattern of a source name means this very name (A6)."""
    return _LITERAL.fullmatch(name) is not None


def is_plain(name: str) -> bool:
    """Return True if a text can be no more than a name: no id, and nothing with a namespace or a peer."""
    return "/" not in name and ":" not in name


def _requirement(intention: Intention) -> JWTRequirement | None:
    return intention.jwt if intention.jwt is not None and requires(intention.jwt) else None


def _flaw(intention: Intention, unknown_fields: tuple[str, ...]) -> Reason | None:
    """Why what the intention means is not known, if so."""
    if intention.source_sameness_group or intention.source_type not in {"", "consul"}:
        return Reason.SOURCE_KIND_UNKNOWN
    if not intention.source_name or not intention.destination_name:
        return Reason.SOURCE_KIND_UNKNOWN
    if "*" in {intention.source_peer, intention.source_partition, intention.destination_partition}:
        return Reason.SOURCE_KIND_UNKNOWN
    if intention.source_namespace == "*" and intention.source_name != "*":
        return Reason.SOURCE_KIND_UNKNOWN
    if unknown_fields or (intention.jwt is not None and has_unknown_fields(intention.jwt)):
        return Reason.FIELD_UNKNOWN
    if intention.action not in {None, "allow", "deny"} or (intention.action is None) is not bool(intention.permissions):
        return Reason.MALFORMED
    if intention.permissions and intention.destination_name == "*":
        return Reason.MALFORMED
    return None


# Keys.


def fold(name: str) -> str:
    """Return a name in lower case, as Go makes it: letter by letter (A3)."""
    return name.lower() if name.isascii() else "".join(letter.lower()[0] for letter in name)


def key_of(peer: str, partition: str, namespace: str, name: str) -> Key:
    """
    Return the key of a service.

    - `peer`, `partition`, `namespace`: where it is; empty for the usual.
    - `name`: its name, or `*`.
    """
    partition, namespace = partition or DEFAULT, namespace or DEFAULT
    if not peer and partition == namespace == DEFAULT:
        return name
    return peer, partition, namespace, name


def key_of_source(intention: Intention) -> Key:
    """
    Return the key of an intention's source.

    A peer's partition is not part of it, because its trust domain tells it (A4).
    """
    partition = "" if intention.source_peer else intention.source_partition
    return key_of(intention.source_peer, partition, intention.source_namespace, intention.source_name)


def key_of_destination(intention: Intention) -> Key:
    """Return the key of an intention's destination; case does not count, not that of its namespace either."""
    partition, namespace, name = (
        intention.destination_partition,
        intention.destination_namespace,
        intention.destination_name,
    )
    if namespace == DEFAULT and not partition and name:
        return fold(name)
    if "*" in {namespace, partition} or not name:
        return key_of("", "", "*", "*")  # of a form that Consul refuses, if it has a name: then it concerns everybody
    return key_of("", fold(partition), fold(namespace), fold(name))


def keys_for_destination(partition: str, namespace: str, name: str) -> tuple[Key, Key, Key]:
    """
    Return the keys that a destination matches: its own, all of its namespace, all namespaces.

    - `partition`, `namespace`: where it is.
    - `name`: its name, in lower case.
    """
    return key_of("", partition, namespace, name), key_of("", partition, namespace, "*"), key_of("", "", "*", "*")


def keys_for(source: Source) -> tuple[Key, Key, Key]:
    """Return the keys of sources that `source` matches: its own, all of its namespace, all namespaces."""
    peer, partition = source.peer, "" if source.peer else source.partition
    return (
        key_of(peer, partition, source.namespace, source.name),
        key_of(peer, partition, source.namespace, "*"),
        key_of(peer, partition, "*", "*"),
    )


def _source_regex(intention: Intention) -> Regex | None:
    """The pattern that Consul makes of a source for Envoy: the name goes into it as it is (A6)."""
    namespace = "[^/]+" if intention.source_namespace == "*" else intention.source_namespace
    before = _id(intention.source_partition, namespace, "", "[^/]+")
    return compile_regex(f"{intention.source_name}$", before=f"^{before}")


def _id(partition: str, namespace: str, name: str, datacenter: str) -> str:
    of_partition = "" if partition in {"", DEFAULT} else f"/ap/{partition}"
    return f"spiffe://{_TRUST_DOMAIN}{of_partition}/ns/{namespace}/dc/{datacenter}/svc/{name}"


_TRUST_DOMAIN = "trust"  # compared before; here it only has to be the same on both sides


def uri_of(source: Source) -> str | None:
    """Return the URI of a source, with a made-up trust domain; None if it can have none."""
    partition = DEFAULT if source.peer else source.partition
    try:
        spiffe_id = SpiffeId(
            trust_domain=_TRUST_DOMAIN,
            partition=partition,
            namespace=source.namespace,
            datacenter="dc",
            name=source.name,
        )
    except InvalidRequest:
        return None
    return str(spiffe_id)
