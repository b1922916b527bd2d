"""Answer of an authorization: allowed or not, and why."""

from __future__ import annotations

from enum import Enum

import msgspec

from aioconsulconnect.authorization.rules.request import HTTPRequest
from aioconsulconnect.structs.intentions import Intention, effect_of, names_of


class Reason(Enum):
    """
    Cause of a verdict.

    The first group is what the rules say. Every other one denies: because something is not known, or because what the
    caller sent is not in order (`is_callers`).
    """

    # What the rules say.
    INTENTION = "intention"
    """The action of the intention that matches."""
    PERMISSION = "permission"
    """The action of the first permission that matches, in the intention that matches."""
    NO_PERMISSION = "no permission"
    """An intention matches and none of its permissions does, so the default decides."""
    DEFAULT = "default"
    """No intention matches, so the default decides."""
    REQUEST_NEEDED = "request needed"
    """The intention has permissions, and no request was given to hold against them."""
    TOKEN = "token"  # noqa: S105 - no token
    """
    The rule that matches requires a JSON Web Token, and the claims that were given do not fulfil this.

    It denies, but for a rule of action "deny" under the default "allow" in mode "envoy": there it lets pass.
    """

    # Who calls.
    NO_SERVICE = "no service"
    """The source is not the identity of a service: none, a gateway, an agent, or text that names nothing."""
    SEVERAL_IDENTITIES = "several identities"
    """The certificate states another number of URIs than one."""
    FOREIGN_TRUST_DOMAIN = "foreign trust domain"
    """The identity is of another trust domain, which is no known peer's either."""
    TRUST_DOMAIN_UNKNOWN = "trust domain unknown"
    """The own trust domain is not known, so the identity cannot be compared with it."""
    FOREIGN_TENANCY = "foreign tenancy"
    """The identity is of a namespace or partition that is not the default one, and Consul has none."""

    # What is not known.
    DESTINATION_UNKNOWN = "destination unknown"
    """The table does not hold the intentions of the destination, or it was not said which destination is meant."""
    DEFAULT_UNKNOWN = "default unknown"
    """What holds where no rule matches is not known, and the answer depends on it."""
    SOURCE_KIND_UNKNOWN = "source kind unknown"
    """An intention has a source of a kind that is not understood, such as a sameness group."""
    FIELD_UNKNOWN = "field unknown"
    """A rule or setting that matters has a field or a value that this version does not know."""
    MALFORMED = "malformed"
    """The rule that matters has a form that Consul refuses, so its meaning is not known."""
    REGEX_UNKNOWN = "regex unknown"
    """A regular expression decides: google-re2 is missing, refuses it, or the text is too long for it."""
    TOO_COSTLY = "too costly"
    """The request has such large headers, and the rules about them are so many, that to compare them takes too long."""
    HEADER_UNKNOWN = "header unknown"
    """A rule asks for the value of a header that only the proxy knows."""
    VERSIONS_DIFFER = "versions differ"
    """Versions of Envoy judge the request differently."""
    RULES_REFUSED = "rules refused"
    """Envoy refuses the rules of the destination as a whole, so which rules it enforces is not known."""

    # What is wrong with the request.
    REQUEST_REFUSED = "request refused"
    """The proxy would answer 400 or 431: a malformed path or header, or one that the mesh entry rejects."""
    REQUEST_REDIRECTED = "request redirected"
    """The proxy would redirect, because the path has escaped slashes."""

    # The state of the live data.
    NORMALIZATION_UNKNOWN = "normalization unknown"
    """How requests are normalized is not known, for want of the mesh entry, and a request was asked about."""
    NOT_READY = "not ready"
    """There is no data yet."""
    INCOMPLETE = "incomplete"
    """The token does not see everything, so a rule may be hidden."""
    EXPIRED = "expired"
    """The data is older than it may be."""

    @property
    def is_rule(self) -> bool:
        """True if the rules or the default say so; False if something is unknown or not in order."""
        return self in _RULES

    @property
    def is_callers(self) -> bool:
        """True if the identity of the caller or the form of the request is not in order."""
        return self in _CALLERS


_RULES = frozenset(
    {
        Reason.INTENTION,
        Reason.PERMISSION,
        Reason.NO_PERMISSION,
        Reason.DEFAULT,
        Reason.REQUEST_NEEDED,
        Reason.TOKEN,
    }
)


_CALLERS = frozenset(
    {
        Reason.NO_SERVICE,
        Reason.SEVERAL_IDENTITIES,
        Reason.FOREIGN_TRUST_DOMAIN,
        Reason.FOREIGN_TENANCY,
        Reason.REQUEST_REFUSED,
        Reason.REQUEST_REDIRECTED,
    }
)

VerdictReason = Reason
"""Name of `Reason` outside of this folder, where there are other reasons as well."""


class Verdict(msgspec.Struct, frozen=True, gc=False, repr_omit_defaults=True):
    """
    Answer of an authorization: true when allowed; `str()` gives it in words.

    - `allowed`: True if the source may do it.
    - `reason`: cause of the answer.
    - `intention`: the intention that decided, or whose flaw did; None where none is involved.
    - `permission`: index of the permission that decided, in `intention.permissions`; else None.
    - `request`: the request as it was judged, normalized; serve this one. None where none was given or it was refused.
    - `age`: seconds since the servers last confirmed the rules, where the agent cannot be asked at the moment or the
      rules are too old; else None.
    """

    allowed: bool
    reason: Reason
    intention: Intention | None = None
    permission: int | None = None
    request: HTTPRequest | None = None
    age: float | None = None

    def __hash__(self) -> int:
        """Return a hash; what it leaves out of an intention is told by its key."""
        key = None if self.intention is None else self.intention.key
        return hash((self.allowed, self.reason, key, self.permission, self.request, self.age))

    def __bool__(self) -> bool:
        """Return True if it is allowed."""
        return self.allowed

    @property
    def precedence(self) -> int | None:
        """The precedence of the intention that decided, None where none did."""
        return None if self.intention is None else precedence(self.intention)

    @property
    def by_default(self) -> bool:
        """True if no rule matched, so that the default decided."""
        return self.reason in {Reason.DEFAULT, Reason.NO_PERMISSION}

    @property
    def by_ignorance(self) -> bool:
        """True if it is denied because something is not known here; no rule says so, nor is it the caller."""
        return not (self.reason.is_rule or self.reason.is_callers)

    @property
    def by_caller(self) -> bool:
        """True if it is denied because the caller's identity, or its request, is not in order."""
        return self.reason.is_callers

    @property
    def by_age(self) -> bool:
        """True if it is denied because the data is too old."""
        return self.reason is Reason.EXPIRED

    def __str__(self) -> str:
        """The verdict in words: allowed or denied, by which intention, and why."""
        about = "" if self.intention is None else f" by {describe(self.intention)}"
        age = "" if self.age is None else f", by data of {self.age:.0f} s ago"
        why = _WORDS[self.reason].format(permission=self.permission)
        return f"{'allowed' if self.allowed else 'denied'}{about}: {why}{age}"


def denied(reason: Reason, intention: Intention | None = None, permission: int | None = None) -> Verdict:
    """
    Return a denial.

    - `reason`: its cause.
    - `intention`, `permission`: the rule that it is about, if any.
    """
    return Verdict(allowed=False, reason=reason, intention=intention, permission=permission)


def precedence(intention: Intention) -> int:
    """Return the precedence of an intention, from 1 to 9; the more exact its names, the higher (A1)."""
    of_destination = _vagueness(intention.destination_namespace, intention.destination_name)
    return 9 - 3 * of_destination - vagueness_of_source(intention)


def vagueness_of_source(intention: Intention) -> int:
    """Return 0 for an exact source, 1 for all of a namespace, 2 for all namespaces."""
    return _vagueness(intention.source_namespace, intention.source_name)


def _vagueness(namespace: str, name: str) -> int:
    if name != "*":
        return 0
    return 2 if namespace == "*" else 1


# In words.


def describe(intention: Intention) -> str:
    """Return the names, the action and the precedence of an intention."""
    return f"{names_of(intention)} ({effect_of(intention)}, precedence {precedence(intention)})"


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
    Reason.TOO_COSTLY: "to compare the headers of this request with it would take too long",
    Reason.HEADER_UNKNOWN: "it asks for the value of a header that only the proxy knows",
    Reason.VERSIONS_DIFFER: "versions of Envoy judge this request differently",
    Reason.RULES_REFUSED: "Envoy refuses the rules of this destination because of it",
    Reason.REQUEST_REFUSED: "the proxy would refuse the request",
    Reason.REQUEST_REDIRECTED: "the proxy would redirect the request",
    Reason.NORMALIZATION_UNKNOWN: "the mesh entry, which says how requests are normalized, is not known",
    Reason.NOT_READY: "there is no data, or no more of it",
    Reason.INCOMPLETE: "the token does not see everything",
    Reason.EXPIRED: "the data is too old",
}
