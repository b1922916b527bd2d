"""ACL tokens and policies, and the rights that they give."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

from aioconsulconnect.testing.go_json.values import Object, texts
from aioconsulconnect.testing.protocol.acl_rules import Rule, merged
from aioconsulconnect.testing.protocol.refusals import Refused
from aioconsulconnect.testing.versions import VersionFacts

ANONYMOUS: Final = "00000000-0000-0000-0000-000000000002"
MANAGEMENT_POLICY: Final = "00000000-0000-0000-0000-000000000001"
_LEVELS: Final = {"deny": 0, "read": 1, "list": 1, "write": 2}
_IMPLIED: Final = {"read": "read", "write": "read", "list": "read"}


@dataclass(slots=True)
class Authorizer:
    """The rights of one token.

    - `accessor`: the accessor id of the token.
    - `default`: the policy where no rule applies, "allow" or "deny".
    - `everything`: true for all rights: ACLs are disabled, or the token has the management policy.
    - `rules`: the rules of its policies, merged.
    - `named`: true if the request names a token; only then does the API tell that results were hidden from it.
    """

    accessor: str
    default: str
    everything: bool = False
    rules: tuple[Rule, ...] = ()
    named: bool = True

    def may(self, resource: str, access: str, name: str = "") -> bool:
        """True if the token has a right.

        - `resource`: the resource, such as "service" or "operator".
        - `access`: "read" or "write".
        - `name`: the name of the thing; empty for a resource without names.
        """
        if self.everything:
            return True
        if resource == "intention" and name in {"*", ""}:
            return self._all_intentions() if access == "write" else self.may_any("intention", "read")
        policy = self._policy(resource, name)
        if policy is None and resource in {"mesh", "peering"}:
            policy = self._policy("operator", "")
        if policy is None:
            return self.default == "allow" and resource != "acl"  # no default gives rights to the ACLs themselves
        return _LEVELS[policy] >= _LEVELS[access]

    def may_any(self, resource: str, access: str) -> bool:
        """True if the token has a right for some name; where no rule gives it, a rule for all names or the default."""
        policies = self._policies(resource)
        if any(_LEVELS[policy] >= _LEVELS[access] for policy, _ in policies):
            return True
        return self.default == "allow" and not any(everywhere for _, everywhere in policies)

    def _policy(self, resource: str, name: str) -> str | None:
        """The policy of the rule that fits best: the exact one, else that with the longest prefix."""
        best: tuple[int, str] | None = None
        for rule in self.rules:
            policy = _policy_of(rule, resource)
            fits = rule.name == name if rule.exact else name.startswith(rule.name)
            length = len(rule.name) * 2 + rule.exact
            if policy is None or not fits:
                continue
            if best is None or length > best[0]:
                best = length, policy
        return best[1] if best else None

    def _policies(self, resource: str) -> list[tuple[str, bool]]:
        """The policies of all rules for a resource, each with true if its rule is for every name."""
        found = ((_policy_of(rule, resource), not rule.exact and not rule.name) for rule in self.rules)
        return [(policy, everywhere) for policy, everywhere in found if policy is not None]

    def _all_intentions(self) -> bool:
        policies = self._policies("intention")
        everywhere = self.default == "allow" or ("write", True) in policies
        return everywhere and all(policy == "write" for policy, _ in policies)


def _policy_of(rule: Rule, resource: str) -> str | None:
    if resource == "intention":
        return (rule.intentions or _IMPLIED.get(rule.policy, "deny")) if rule.resource == "service" else None
    return rule.policy if rule.resource == resource else None


State: TypeAlias = tuple[dict[str, Object], dict[str, Object], dict[str, tuple[Rule, ...]]]


class Acl:
    """The ACL system of one agent: off, or on with a default policy, policies and tokens.

    `policies` is by id, `tokens` by secret; `parsed` has the rules of each policy.
    """

    def __init__(self, facts: VersionFacts, *, enabled: bool, default: str, management_token: str) -> None:
        self.facts = facts
        self.enabled = enabled
        self.default = default
        self.policies: dict[str, Object] = {}
        self.tokens: dict[str, Object] = {}
        self.parsed: dict[str, tuple[Rule, ...]] = {}
        self.management_token = management_token

    def state(self) -> State:
        """Copy the policies and tokens for a snapshot."""
        return dict(self.policies), dict(self.tokens), dict(self.parsed)

    def load(self, state: State) -> None:
        """Restore the policies and tokens of a snapshot."""
        policies, tokens, parsed = state
        self.policies, self.tokens, self.parsed = dict(policies), dict(tokens), dict(parsed)

    def resolve(self, secret: str) -> Authorizer:
        """The rights of the token with this secret; without a secret, those of the anonymous token.

        `Refused` with status 403 for an unknown one.
        """
        if not self.enabled:
            return Authorizer(ANONYMOUS, "allow", everything=True)
        if not secret:
            return replace(self._authorizer(ANONYMOUS, self._anonymous()), named=False)
        token = self.tokens.get(secret)
        if token is None:
            raise Refused(403, "ACL not found", from_server=True)
        return self._authorizer(str(token["AccessorID"]), texts(token, "PolicyIDs"))

    def _anonymous(self) -> list[str]:
        return [p for t in self.tokens.values() if t["AccessorID"] == ANONYMOUS for p in texts(t, "PolicyIDs")]

    def _authorizer(self, accessor: str, policies: Iterable[str]) -> Authorizer:
        policies = list(policies)
        rules = merged(rule for policy in policies for rule in self.parsed.get(policy, ()))
        return Authorizer(accessor, self.default, everything=MANAGEMENT_POLICY in policies, rules=rules)

    @property
    def allows_by_default(self) -> bool:
        """True if a connection is allowed where no intention matches."""
        return not self.enabled or self.default == "allow"

    def denied(self, who: Authorizer, permission: str, on: str = "") -> Refused:
        """Make the refusal of the token `who`: newer versions name `permission` and the thing it is `on`."""
        if not self.facts.permission_reasons:
            return Refused(403, "Permission denied", from_server=True)
        lacks = f"lacks permission '{permission}'" + (f' on "{on}"' if on else "")
        if who.accessor == ANONYMOUS:
            return Refused(
                403,
                f"Permission denied: anonymous token {lacks}. "
                "The anonymous token is used implicitly when a request does not specify a token.",
                from_server=True,
            )
        return Refused(403, f"Permission denied: token with AccessorID '{who.accessor}' {lacks}", from_server=True)

    def require(self, who: Authorizer, resource: str, access: str, name: str = "", on: str | None = None) -> None:
        """Refuse the token `who` with status 403 if it lacks a right.

        `resource`, `access` and `name` are those of `Authorizer.may`; `on` is named in the refusal instead of `name`.
        """
        if not who.may(resource, access, name):
            raise self.denied(who, f"{resource}:{access}", name if on is None else on)

    def require_write(self, who: Authorizer, service: str) -> None:
        """Refuse the token `who` if it may not write a service of the agent; older versions have words of their own."""
        if self.facts.permission_reasons or who.may("service", "write", service):
            self.require(who, "service", "write", service)
        else:
            raise Refused(403, f"Permission denied: Missing service:write on {service}")


def bare_denial() -> Refused:
    """Make the refusal that names no permission."""
    return Refused(403, "Permission denied", from_server=True)
