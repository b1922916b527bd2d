"""
Decision among the intentions that match one source and one destination, in both modes.

`first_match` is what Consul documents: the intention with the highest precedence decides. `enforced` is what a sidecar
does, which flattens the same intentions to a list without an order and loses some of it (A5, A14).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from aioconsulconnect.authorization.rules.permissions import Claims, is_met
from aioconsulconnect.authorization.rules.request import HTTPRequest, Seen
from aioconsulconnect.authorization.rules.rule import Held, Rule, intention_of
from aioconsulconnect.authorization.rules.verdict import Reason, Verdict, denied, vagueness_of_source
from aioconsulconnect.structs.intentions import Action, Intention

_INTENTION: Final = Reason.INTENTION
_DEFAULTS: tuple[Action, Action] = ("deny", "allow")


class Asked:
    """
    Request that is asked about, beside source and destination.

    - `seen`: the request as rules see it; None for a connection.
    - `claims`: verified claims, by provider.
    - `issuers`: issuer of each provider; None where the claims were compared with it before.
    """

    __slots__ = ("claims", "issuers", "seen")

    def __init__(self, seen: Seen | None, claims: Claims | None, issuers: Mapping[str, str] | None) -> None:
        self.seen: Seen | None = seen
        self.claims: Claims | None = claims
        self.issuers: Mapping[str, str] | None = issuers


CONNECTION: Final = Asked(None, None, None)
"""What is asked about a connection: it has no request."""


def first_match(found: Sequence[Held], default: Action | None, asked: Asked) -> Verdict:
    """
    Return what the first of the intentions says.

    - `found`: the intentions that match, the one with the highest precedence first.
    - `default`: what holds where none matches; None if not known.
    - `asked`: the request.
    """
    if not found:
        return by_default(default, asked)
    first = found[0]
    if not isinstance(first, Rule):
        return Verdict(first.action == "allow", _INTENTION, first, None, _request(asked))
    return _judged(first, default, asked, strict=True)


def enforced(found: Sequence[Held], default: Action | None, asked: Asked) -> Verdict:
    """
    Return what a sidecar enforces.

    - `found`: the intentions that match, the one with the highest precedence first.
    - `default`: what holds where none matches; None if not known.
    - `asked`: the request.
    """
    if default is None:
        both = [enforced(found, each, asked) for each in _DEFAULTS]
        return both[0] if both[0].allowed is both[1].allowed else denied(Reason.DEFAULT_UNKNOWN)
    active = unshadowed(found)
    for one in active:
        if isinstance(one, Rule) and one.flaw is not None:
            return denied(one.flaw, one.intention)
    if not active:
        return by_default(default, asked)
    verdicts = [_enforced(one, default, asked) for one in active]
    # Under the default "deny" rules only allow, and one is enough; under "allow" they only deny.
    decisive = [verdict for verdict in verdicts if verdict.allowed is not (default == "allow")]
    if default == "deny" and not decisive:
        decisive = [verdict for verdict in verdicts if verdict.by_ignorance]
    return (decisive or verdicts)[0]


def by_default(
    default: Action | None, asked: Asked, reason: Reason = Reason.DEFAULT, rule: Rule | None = None
) -> Verdict:
    """
    Return what holds where no rule matches.

    - `default`: the default; None if not known.
    - `asked`: the request.
    - `reason`: why the default decides.
    - `rule`: the rule whose permissions did not match, if that is why.
    """
    intention = None if rule is None else rule.intention
    if default is None:
        return denied(Reason.DEFAULT_UNKNOWN, intention)
    return Verdict(default == "allow", reason, intention, None, _request(asked))


def unshadowed(found: Sequence[Held]) -> list[Held]:
    """
    Return those of the intentions that take effect in a sidecar.

    One is shadowed only by one before it with the same source, or with a more exact one: precedence that comes from the
    destination alone is lost (A5).
    """
    if len(found) < 2:  # noqa: PLR2004 - two are needed for a shadow
        return list(found)
    kept: list[Held] = []
    by_source: dict[tuple[str, str], Intention] = {}
    for one in found:
        intention = intention_of(one)
        source = intention.source_namespace, intention.source_name
        if source in by_source:
            continue
        vagueness = vagueness_of_source(intention)
        if not any(vagueness_of_source(other) < vagueness for other in by_source.values()):
            kept.append(one)
        by_source[source] = intention
    return kept


def _request(asked: Asked) -> HTTPRequest | None:
    return None if asked.seen is None else asked.seen.request


def _enforced(one: Held, default: Action, asked: Asked) -> Verdict:
    if isinstance(one, Rule):
        return _judged(one, default, asked, strict=False)
    return Verdict(one.action == "allow", _INTENTION, one, None, _request(asked))


def _judged(rule: Rule, default: Action | None, asked: Asked, *, strict: bool) -> Verdict:
    """
    Say what one rule says.

    `strict` is True where a required token is enforced whatever the default, and False where it is part of the match of
    a rule that Envoy has, which are those against the default (A14).
    """
    intention = rule.intention
    if rule.flaw is not None:
        return denied(rule.flaw, intention)
    if asked.seen is None:
        if intention.permissions:
            return denied(Reason.REQUEST_NEEDED, intention)
        if asked.claims is None or not strict:
            return Verdict(intention.action == "allow", _INTENTION, intention)
    has_token = rule.jwt is None or is_met(rule.jwt, asked.claims, asked.issuers)
    if strict and not has_token and intention.action != "deny":
        return Verdict(allowed=False, reason=Reason.TOKEN, intention=intention, request=_request(asked))
    if intention.permissions and asked.seen is not None:
        return _by_permissions(rule, default, asked, asked.seen, strict=strict, has_token=has_token)
    if not strict and not has_token and intention.action != default:
        return by_default(default, asked, Reason.TOKEN, rule)
    return Verdict(intention.action == "allow", _INTENTION, intention, None, _request(asked))


def _by_permissions(
    rule: Rule, default: Action | None, asked: Asked, seen: Seen, *, strict: bool, has_token: bool
) -> Verdict:
    intention = rule.intention
    for condition in rule.conditions():
        matches = condition.matches(seen, all_versions=not strict)
        if matches is False:
            continue
        if matches is not True:
            return denied(matches, intention, condition.index)
        action = condition.permission.action
        needs_token = action == "allow" if strict else action != default
        if needs_token and not (
            has_token and (condition.jwt is None or is_met(condition.jwt, asked.claims, asked.issuers))
        ):
            allowed = not strict and default == "allow"
            return Verdict(allowed, Reason.TOKEN, intention, condition.index, seen.request)
        return Verdict(condition.allows, Reason.PERMISSION, intention, condition.index, seen.request)
    return by_default(default, asked, Reason.NO_PERMISSION, rule)
