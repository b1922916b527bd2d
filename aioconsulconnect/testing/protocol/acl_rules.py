"""The language of ACL rules, in its two spellings: HCL and JSON."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

from aioconsulconnect.testing.go_json.errors import NotModelledError
from aioconsulconnect.testing.protocol.hcl import Block, HclError, Item, Reader, Token, Value, Values, read_json
from aioconsulconnect.testing.protocol.refusals import Dropped
from aioconsulconnect.testing.version_facts import VersionFacts
from aioconsulconnect.testing.versions import OLDEST, spans

_NAMED: Final = {
    "agent": ("AgentRule", "Node"),
    "key": ("KeyRule", "Prefix"),
    "node": ("NodeRule", "Name"),
    "service": ("ServiceRule", "Name"),
    "session": ("SessionRule", "Node"),
    "event": ("EventRule", "Event"),
    "query": ("PreparedQueryRule", "Prefix"),
    "identity": ("IdentityRule", "Name"),
}
"""The resources with names: Go's name for the struct of a rule, and for the member with the name."""
_ENTERPRISE: Final = ("key", "node", "service")
_GLOBAL: Final = ("acl", "keyring", "operator", "mesh", "peering")
_RESOURCES: Final = ("acl", *(each for name in _NAMED for each in (name, f"{name}_prefix")), *_GLOBAL[1:])
"""All resources in the order in which Consul checks their rules."""
_STRICTNESS: Final = ("", "read", "list", "write", "deny")
_UNREADABLE: Final = "Failed to parse ACL rules: "
_SINCE: Final = {"mesh": "1.11", "peering": "1.13", "identity": "1.17"}
_POLICIES: Final = ("read", "write", "deny")


@dataclass(frozen=True, slots=True)
class Rule:
    """A policy for a resource: for one name, for a prefix of names, or for a resource without names.

    - `resource`: the resource, such as "service", without `_prefix`.
    - `name`: the name or the prefix; empty for a resource without names.
    - `exact`: true for a name, false for a prefix.
    - `policy`: "read", "write", "deny", for keys also "list".
    - `intentions`: the policy for intentions of a service; empty where none is given.
    """

    resource: str
    name: str
    exact: bool
    policy: str
    intentions: str = ""


def merged(rules: Iterable[Rule]) -> tuple[Rule, ...]:
    """Merge rules into one for each resource and name.

    Of several rules the strictest policy counts, and the strictest policy for intentions.
    """
    by_name: dict[tuple[str, str, bool], Rule] = {}
    for rule in rules:
        key = (rule.resource, rule.name, rule.exact)
        before = by_name.get(key)
        by_name[key] = (
            rule
            if before is None
            else replace(
                rule,
                policy=max(before.policy, rule.policy, key=_STRICTNESS.index),
                intentions=max(before.intentions, rule.intentions, key=_STRICTNESS.index),
            )
        )
    return tuple(by_name.values())


class RulesError(ValueError):
    """ACL rules that cannot be read; the text is Consul's."""


def parse_rules(source: str, facts: VersionFacts) -> tuple[Rule, ...]:
    """Read the rules in `source`, in HCL or in JSON, as the version of `facts` understands them.

    RulesError where they cannot be read or name a policy that does not exist. Resources that the version does not know
    are ignored.
    """
    try:
        is_json = source.lstrip().startswith("{")
        tree = read_json(source) if is_json else Reader(source, newer=facts.hcl_is_strict).read()
        known = [name for name in _RESOURCES if spans(facts.version, _SINCE.get(name.removesuffix("_prefix"), OLDEST))]
        found = [rule for name in known for rule in _of_resource(name, tree, facts)]
    except HclError as error:
        raise RulesError(f"{_UNREADABLE}{error}") from error
    except RecursionError:
        raise NotModelledError("The in-process agent does not read ACL rules that are nested so deeply") from None
    for resource, rule in found:
        _check(resource, rule)
    return tuple(each for _, rule in found if (each := _understood(rule)))


def _of_resource(resource: str, tree: Block, facts: VersionFacts) -> list[tuple[str, Rule]]:
    """The rules for one resource, none of which is checked."""
    members = [item for item in tree.items if item.keys[0].value.lower() == resource]
    plain = resource.removesuffix("_prefix")
    if plain in _GLOBAL:
        policies = [_text(_rest(item), f"root.{resource}", facts) for item in members]
        # The last one counts.
        return [(resource, Rule(resource, "", exact=True, policy=policy)) for policy in policies[-1:]]
    rules: list[tuple[str, Rule]] = []
    for item in members:
        for each in _elements(item, f"root.{resource}[{len(rules)}]", facts):
            path, body = f"root.{resource}[{len(rules)}]", _rest(each)
            if isinstance(body, Values):
                raise HclError(f"At {body.at}: {path}: not an object type for struct (*ast.ListType)")
            # A value where an object should be is that of its own key.
            parts = body.items if isinstance(body, Block) else (Item(each.keys, body),)
            own = {part.keys[0].value.lower(): _rest(part) for part in parts}
            policy = _text(own.get("policy"), f"{path}.Policy", facts)
            wanted = own.get("intentions") if plain == "service" else None
            intentions = _text(wanted, f"{path}.Intentions", facts)
            name, exact = each.keys[0].value, resource == plain
            rules.append((resource, Rule(plain, name, exact=exact, policy=policy, intentions=intentions)))
    return rules


def _rest(item: Item) -> Value:
    """What an item holds below its first key."""
    return item.value if not item.keys[1:] else Block((Item(item.keys[1:], item.value),))


def _elements(item: Item, path: str, facts: VersionFacts) -> tuple[Item, ...]:
    """The named rules in a member of the rules."""
    if item.keys[1:]:
        return (Item(item.keys[1:], item.value),)
    if isinstance(item.value, Block):
        return item.value.items
    if isinstance(item.value, Token):
        raise HclError(f"At {item.value.at}: unknown slice type: *ast.LiteralType")
    for first in item.value.items:
        if isinstance(first, Block):
            if not first.items and not facts.hcl_is_strict:
                raise Dropped
            raise HclError(f"At {first.at}: {path}: Name asked for 'key', impossible")
        kind = "ListType" if isinstance(first, Values) else "LiteralType"
        raise HclError(f"At {first.at}: {path}: not an object type for struct (*ast.{kind})")
    return ()


def _text(value: Value | None, path: str, facts: VersionFacts) -> str:
    if isinstance(value, Token) and value.kind not in {"BOOL", "FLOAT"}:
        return value.value
    if value is None:
        return ""
    if value == Block(()) and not facts.hcl_is_strict:
        raise Dropped  # it ends the request
    kind = "ObjectList" if isinstance(value, Block) else "ListType" if isinstance(value, Values) else "LiteralType"
    raise HclError(f"At {value.at}: {path}: unknown type for string *ast.{kind}")


def _understood(rule: Rule) -> Rule | None:
    """What Consul makes of a rule: policies may be in capitals, where only a named resource and intentions know them.

    None where it makes nothing of it.
    """
    if rule.resource in {*_GLOBAL, "identity"}:
        return rule if rule.policy in _POLICIES else None
    implied = "deny" if rule.policy not in {*_POLICIES, "list"} and not rule.intentions else rule.intentions.lower()
    return replace(rule, policy=rule.policy.lower(), intentions=implied)


def _check(resource: str, rule: Rule) -> None:
    if rule.resource == "identity":
        return  # nobody checks it, nor asks for it
    policies = {*_POLICIES, *(["list"] if rule.resource == "key" else [""] if rule.resource in _GLOBAL else [])}
    if rule.policy.lower() not in policies:
        raise RulesError(f"Invalid {resource} policy: " + _shown(rule))
    if rule.intentions.lower() not in {*_POLICIES, ""}:
        raise RulesError(f"Invalid {resource} intentions policy: " + _shown(rule))


def _shown(rule: Rule) -> str:
    """Write a rule as Go prints its struct, for an error."""
    policy, name = json.dumps(rule.policy, ensure_ascii=False), json.dumps(rule.name, ensure_ascii=False)
    if rule.resource in _GLOBAL:
        return policy
    kind, label = _NAMED[rule.resource]
    intentions = json.dumps(rule.intentions, ensure_ascii=False)
    more = f", Intentions:{intentions}" if rule.resource == "service" else ""
    enterprise = ", EnterpriseRule:acl.EnterpriseRule{}" if rule.resource in _ENTERPRISE else ""
    return f"&acl.{kind}{{{label}:{name}, Policy:{policy}{more}{enterprise}}}"
