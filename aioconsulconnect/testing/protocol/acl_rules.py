"""The language of ACL rules, in its two spellings: HCL and JSON."""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

from aioconsulconnect.testing.go_json.values import Object, is_list, is_object
from aioconsulconnect.testing.versions import OLDEST, spans

Written: TypeAlias = tuple[str, str, Object]
"""A rule before it is checked: resource, name, body."""

_NAMED: Final = {
    "agent": ("AgentRule", "Node"),
    "event": ("EventRule", "Event"),
    "key": ("KeyRule", "Prefix"),
    "node": ("NodeRule", "Name"),
    "query": ("PreparedQueryRule", "Prefix"),
    "service": ("ServiceRule", "Name"),
    "session": ("SessionRule", "Node"),
    "identity": ("IdentityRule", "Name"),
}
"""The resources with names: Go's name for the struct of a rule, and for the member with the name."""
_ENTERPRISE: Final = ("key", "node", "service", "identity")
_GLOBAL: Final = ("acl", "keyring", "mesh", "operator", "peering")
_TOKEN: Final = re.compile(r'\s+|(?:#|//)[^\n]*|/\*.*?\*/|("(?:[^"\\]|\\.)*")|([\w./-]+)|([{}=,\[\]:])', re.DOTALL)
_IDENTIFIER: Final = re.compile(r"[A-Za-z_][\w./-]*")
_STRICTNESS: Final = ("", "read", "list", "write", "deny")
_UNREADABLE: Final = "Failed to parse ACL rules: "
_SINCE: Final = {"mesh": "1.11", "peering": "1.13", "identity": "1.22"}
_POLICIES: Final = ("read", "write", "deny")
_KEY_POLICIES: Final = (*_POLICIES, "list")


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


def parse_rules(source: str, version: str) -> tuple[Rule, ...]:
    """Read the rules in `source`, in HCL or in JSON, as `version` understands them.

    RulesError where they cannot be read or name a policy that does not exist. Resources that the version does not know
    are ignored.
    """
    stripped = source.strip()
    if stripped.startswith("{"):
        try:
            tree: object = json.loads(stripped)
        except ValueError as error:
            raise RulesError(f"{_UNREADABLE}{error}") from error
        pairs = list(tree.items()) if is_object(tree) else []
        written = [each for resource, value in pairs for each in _json_rules(resource, value)]
    else:
        written = _Reader(stripped).rules()
    last = {resource: at for at, (resource, _, _) in enumerate(written)}
    # For a resource without names a policy has one rule: the last one counts.
    kept = [each for at, each in enumerate(written) if each[0] not in _GLOBAL or at == last[each[0]]]
    return tuple(_rule(*each) for each in kept if _is_known(each[0].removesuffix("_prefix"), version))


def _json_rules(resource: str, value: object) -> list[Written]:
    if isinstance(value, str):
        return [(resource, "", {"policy": value})]
    named = value if is_list(value) else [value]
    return [
        (resource, name, body if is_object(body) else {})
        for group in named
        if is_object(group)
        for name, body in group.items()
    ]


def _is_known(resource: str, version: str) -> bool:
    """True if `version` knows the resource; others are ignored, whatever their policy."""
    return resource in {*_NAMED, *_GLOBAL} and spans(version, _SINCE.get(resource, OLDEST))


def _rule(resource: str, name: str, body: Object) -> Rule:
    exact = not resource.endswith("_prefix")
    plain = resource.removesuffix("_prefix")
    policy, intentions = body.get("policy", ""), body.get("intentions", "")
    if not isinstance(policy, str) or policy not in (_KEY_POLICIES if plain == "key" else _POLICIES):
        raise RulesError(f"Invalid {resource} policy: " + _shown(plain, name, policy, intentions))
    if not isinstance(intentions, str) or intentions not in {*_POLICIES, ""}:
        raise RulesError(f"Invalid {resource} intentions policy: " + _shown(plain, name, policy, intentions))
    return Rule(plain, name, exact, policy, intentions)


def _shown(resource: str, name: str, policy: object, intentions: object) -> str:
    """Write a rule as Go prints its struct, for an error."""
    if resource in _GLOBAL:
        return f'"{policy}"'
    kind, label = _NAMED[resource]
    more = f', Intentions:"{intentions}"' if resource == "service" else ""
    enterprise = ", EnterpriseRule:acl.EnterpriseRule{}" if resource in _ENTERPRISE else ""
    return f'&acl.{kind}{{{label}:"{name}", Policy:"{policy}"{more}{enterprise}}}'


class _Reader:
    """A reader of the part of HCL that ACL rules are written in."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.tokens: list[str] = []
        self.positions: list[int] = []
        at = 0
        while at < len(source):
            found = _TOKEN.match(source, at)
            if found is None:
                raise RulesError(f"{_UNREADABLE}illegal character at {at}")
            at = found.end()
            if found.lastindex:
                self.tokens.append(found[0])
                self.positions.append(found.start())
        self.tokens.reverse()
        self.positions.reverse()

    def take(self, expected: str = "") -> str:
        if not self.tokens or (expected and self.tokens[-1] != expected):
            found = self.tokens[-1] if self.tokens else "the end"
            raise RulesError(f"{_UNREADABLE}expected {expected or 'more'}, found {found}")
        self.positions.pop()
        return self.tokens.pop()

    def string(self) -> str:
        token = self.take()
        return str(json.loads(token)) if token.startswith('"') else token

    def value(self) -> str:
        """Take the value after an equals sign: a string in quotes, or a number or boolean, which is no policy."""
        if self.tokens and _IDENTIFIER.fullmatch(self.tokens[-1]) and self.tokens[-1] not in {"true", "false"}:
            before = self.source[: self.positions[-1]].encode()
            line, column = before.count(b"\n") + 1, len(before) - before.rfind(b"\n")
            raise RulesError(f"{_UNREADABLE}At {line}:{column}: Unknown token: {line}:{column} IDENT {self.tokens[-1]}")
        return self.string()

    def rules(self) -> list[Written]:
        rules: list[Written] = []
        while self.tokens:
            resource = self.string()
            if self.tokens and self.tokens[-1] in "=:":
                self.take()
                rules.append((resource, "", {"policy": self.value()}))
                continue
            name = self.string()
            rules.append((resource, name, self.block()))
        return rules

    def block(self) -> Object:
        self.take("{")
        body: Object = {}
        while self.tokens and self.tokens[-1] != "}":
            key = self.string()
            self.take("=")
            body[key] = self.value()
            if self.tokens and self.tokens[-1] == ",":
                self.take()
        self.take("}")
        return body
