"""ACL tokens and policies, and the rights that they give."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final, TypeAlias

from aioconsulconnect.testing.go_json.values import Object, children, text, texts
from aioconsulconnect.testing.protocol.acl_rules import Rule, merged
from aioconsulconnect.testing.protocol.refusals import Refused
from aioconsulconnect.testing.version_facts import VersionFacts

ANONYMOUS: Final = "00000000-0000-0000-0000-000000000002"
MANAGEMENT_POLICY: Final = "00000000-0000-0000-0000-000000000001"
READ_ONLY_POLICY: Final = "00000000-0000-0000-0000-000000000002"
_ROOTS: Final = frozenset({"allow", "deny", "manage"})
"""The names of Consul's own policies, which are no tokens."""
_LEVELS: Final = {"deny": 0, "read": 1, "list": 1, "write": 2}
_IMPLIED: Final = {"read": "read", "write": "read", "list": "read"}


@dataclass(slots=True)
class Authorizer:
    """The rights of one token.

    - `accessor`: the accessor id of the token.
    - `default`: the policy where no rule applies, "allow" or "deny".
    - `everything`: true for all rights: ACLs are disabled.
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
        """True if the token has a right (`resource`, `access`) for some name, be it by default."""
        policies = self._policies(resource)
        if any(_LEVELS[policy] >= _LEVELS[access] for policy, _ in policies):
            return True
        return self.default == "allow" and not any(everywhere for _, everywhere in policies)

    def may_write_keys_below(self, prefix: str) -> bool:
        """True if the token may write every key that begins with `prefix`.

        A rule for one key gives no such right.
        """
        rules = [rule for rule in self.rules if rule.resource == "key"]
        over = [rule for rule in rules if not rule.exact and prefix.startswith(rule.name)]
        nearest = max(over, key=lambda rule: len(rule.name), default=None)
        may = nearest.policy == "write" if nearest else self.everything or self.default == "allow"
        return may and all(rule.policy == "write" for rule in rules if rule.name.startswith(prefix))

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


_Kept: TypeAlias = dict[str, Object]
State: TypeAlias = tuple[_Kept, _Kept, _Kept, dict[str, tuple[Rule, ...]]]


class Acl:
    """The ACL system of one agent: off, or on with a default policy, policies, roles and tokens.

    `policies` and `roles` are by id, `tokens` by secret; `parsed` has the rules of each policy.
    """

    def __init__(
        self, facts: VersionFacts, *, enabled: bool, default: str, management_token: str, datacenter: str
    ) -> None:
        self.facts = facts
        self.enabled = enabled
        self.default = default
        self.policies: dict[str, Object] = {}
        self.roles: dict[str, Object] = {}
        self.tokens: dict[str, Object] = {}
        self.parsed: dict[str, tuple[Rule, ...]] = {}
        self.management_token = management_token
        self.datacenter = datacenter

    def state(self) -> State:
        """Copy the policies, roles and tokens for a snapshot."""
        return dict(self.policies), dict(self.roles), dict(self.tokens), dict(self.parsed)

    def load(self, state: State) -> None:
        """Restore the policies, roles and tokens of a snapshot."""
        # In place: handlers hold them.
        for kept, before in zip((self.policies, self.roles, self.tokens), state[:3], strict=True):
            kept.clear()
            kept.update(before)
        self.parsed = dict(state[-1])

    def token(self, secret: str) -> Object | None:
        """The token with this secret; None for one that is unknown or has expired."""
        found = self.tokens.get(secret)
        ends = text(found, "ExpirationTime") if found else ""
        return None if ends and datetime.fromisoformat(ends).timestamp() < time.time() else found

    def resolve(self, secret: str) -> Authorizer:
        """The rights of the token with this secret; without a secret, those of the anonymous token.

        `Refused` with status 403 for an unknown one, and with 500 for a name that Consul keeps for itself.
        """
        if not self.enabled:
            return Authorizer(ANONYMOUS, "allow", everything=True)
        if secret in _ROOTS:
            raise Refused(500, "Cannot resolve root ACL", from_server=True)
        token = self.token(secret or "anonymous")
        if token is None:
            raise Refused(403, "ACL not found", from_server=True)
        holders = [token, *(self.roles[role] for role in texts(token, "RoleIDs") if role in self.roles)]
        rules = merged(rule for holder in holders for rule in self._rules(holder))
        return Authorizer(str(token["AccessorID"]), self.default, rules=rules, named=bool(secret))

    def _rules(self, holder: Object) -> Iterator[Rule]:
        """The rules of a token or a role that apply in this datacenter, in no order."""
        for policy in texts(holder, "PolicyIDs"):
            if policy in self.policies and self._applies(self.policies[policy]):
                yield from self.parsed.get(policy, ())
        for identity in children(holder, "ServiceIdentities"):
            if self._applies(identity):
                name = text(identity, "ServiceName")
                for each in (name, f"{name}-sidecar-proxy"):
                    yield Rule("service", each, exact=True, policy="write")
                yield Rule("service", "", exact=False, policy="read")
                yield Rule("node", "", exact=False, policy="read")
        for identity in children(holder, "NodeIdentities"):
            if text(identity, "Datacenter") == self.datacenter:
                yield Rule("node", text(identity, "NodeName"), exact=True, policy="write")
                yield Rule("service", "", exact=False, policy="read")

    def _applies(self, limited: Object) -> bool:
        datacenters = texts(limited, "Datacenters")
        return not datacenters or self.datacenter in datacenters

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

    def require_write(self, who: Authorizer, service: str, node: str) -> None:
        """Refuse the token `who` without the right to write `service`, in the words for what an agent has.

        Where `service` is empty, the right to write `node` is meant.
        """
        resource, name = ("service", service) if service else ("node", node)
        if self.facts.permission_reasons or who.may(resource, "write", name):
            self.require(who, resource, "write", name)
        else:
            raise Refused(403, f"Permission denied: Missing {resource}:write on {name}")


def bare_denial() -> Refused:
    """Make the refusal that names no permission."""
    return Refused(403, "Permission denied", from_server=True)
