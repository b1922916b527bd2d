"""
Explanation of a decision, as data and in words.

It tells what matched, what was shadowed, and what the other mode would say.
"""

from __future__ import annotations

import msgspec

from aioconsulconnect.authorization.rules.decision import unshadowed
from aioconsulconnect.authorization.rules.permissions import Claims
from aioconsulconnect.authorization.rules.request import HTTPRequest
from aioconsulconnect.authorization.rules.rule import intention_of
from aioconsulconnect.authorization.rules.settings import Mode
from aioconsulconnect.authorization.rules.source import Caller
from aioconsulconnect.authorization.rules.verdict import Reason, Verdict, precedence
from aioconsulconnect.authorization.table import Table
from aioconsulconnect.structs.intentions import Intention

_WORDS = {
    Reason.INTENTION: "its action says so",
    Reason.PERMISSION: "its permission {permission} is the first that matches the request",
    Reason.NO_PERMISSION: "none of its permissions matches the request, so the default decides",
    Reason.DEFAULT: "no intention matches, so the default decides",
    Reason.REQUEST_NEEDED: "it has permissions, and no request was given",
    Reason.TOKEN: "it requires a token, and the claims that were given do not fulfil this",
    Reason.NO_SERVICE: "the source is not the identity of a service",
    Reason.SEVERAL_IDENTITIES: "the certificate does not state exactly one URI",
    Reason.FOREIGN_TRUST_DOMAIN: "the identity is of a trust domain that is neither the own one nor a peer's",
    Reason.TRUST_DOMAIN_UNKNOWN: "the own trust domain is not known",
    Reason.FOREIGN_TENANCY: "the identity is of a namespace or partition that cannot be compared",
    Reason.DESTINATION_UNKNOWN: "the intentions of this destination are not known",
    Reason.DEFAULT_UNKNOWN: "the default is not known, and the answer depends on it",
    Reason.SOURCE_KIND_UNKNOWN: "it has a source of a kind that is not understood",
    Reason.FIELD_UNKNOWN: "it has a field that this version does not know",
    Reason.MALFORMED: "it has a form that Consul refuses",
    Reason.REGEX_UNKNOWN: "a regular expression decides, and RE2 cannot judge it",
    Reason.HEADER_UNKNOWN: "it asks for the value of a header that only the proxy knows",
    Reason.VERSIONS_DIFFER: "versions of Envoy judge this request differently",
    Reason.RULES_REFUSED: "Envoy refuses the rules of this destination because of it",
    Reason.REQUEST_REFUSED: "the proxy would refuse the request",
    Reason.REQUEST_REDIRECTED: "the proxy would redirect the request",
    Reason.NOT_READY: "there is no data yet",
    Reason.INCOMPLETE: "the token does not see everything",
    Reason.EXPIRED: "the data is too old",
}


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """
    Explanation of a verdict; `str()` gives it in words.

    - `verdict`: the verdict.
    - `mode`: the mode in which it was found.
    - `matched`: intentions whose source and destination match, the one with the highest precedence first.
    - `shadowed`: those of them that have no effect in this mode.
    - `other`: verdict of the other mode.
    """

    verdict: Verdict
    mode: Mode
    matched: tuple[Intention, ...]
    shadowed: tuple[Intention, ...]
    other: Verdict

    @property
    def modes_differ(self) -> bool:
        """True if one mode allows and the other denies."""
        return self.verdict.allowed is not self.other.allowed

    def __str__(self) -> str:
        """The explanation in words, one line for each part."""
        lines = [f"{in_words(self.verdict)} (mode {self.mode})"]
        lines += [f"matches: {describe(one)}" for one in self.matched if one not in self.shadowed]
        lines += [f"shadowed: {describe(one)}" for one in self.shadowed]
        if self.modes_differ:
            lines.append(f"mode {_other(self.mode)} differs: {in_words(self.other)}")
        return "\n".join(lines)


def explain(
    table: Table,
    source: Caller,
    destination: str | None = None,
    request: HTTPRequest | None = None,
    *,
    claims: Claims | None = None,
) -> Explanation:
    """
    Explain a decision.

    - `table`: the table that decides.
    - `source`, `destination`, `request`, `claims`: as for `Table.check`.
    """
    mode = table.settings.mode
    found = table.find(source, destination, mode)
    matched = () if isinstance(found, Verdict) else tuple(intention_of(one) for one in found)
    active = matched[:1]
    if mode == "envoy" and not isinstance(found, Verdict):
        active = tuple(intention_of(one) for one in unshadowed(found))
    return Explanation(
        verdict=table.check(source, destination, request, claims=claims),
        mode=mode,
        matched=matched,
        shadowed=tuple(one for one in matched if one not in active),
        other=table.judge(source, destination, request, claims, _other(mode)),
    )


def in_words(verdict: Verdict) -> str:
    """Return a verdict in words."""
    words = _WORDS[verdict.reason].format(permission=verdict.permission)
    about = "" if verdict.intention is None else f" by {describe(verdict.intention)}"
    return f"{'allowed' if verdict.allowed else 'denied'}{about}: {words}"


def describe(intention: Intention) -> str:
    """Return the names, the action and the precedence of an intention."""
    peer = f"peer:{intention.source_peer}/" if intention.source_peer else ""
    source = peer + _name(intention.source_partition, intention.source_namespace, intention.source_name)
    destination = _name(intention.destination_partition, intention.destination_namespace, intention.destination_name)
    says = intention.action or f"{len(intention.permissions)} permissions"
    return f"{source} -> {destination} ({says}, precedence {precedence(intention)})"


def _name(partition: str, namespace: str, name: str) -> str:
    if partition not in {"", "default"}:
        return f"{partition}/{namespace}/{name}"
    return name if namespace == "default" else f"{namespace}/{name}"


def _other(mode: Mode) -> Mode:
    return "envoy" if mode == "consul" else "consul"
