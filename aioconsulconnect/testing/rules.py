"""The language of ACL rules, in its two spellings: HCL and JSON."""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

from aioconsulconnect.testing.gojson import Object, is_list, is_object

_NAMED: Final = ("agent", "event", "key", "node", "query", "service", "session", "identity")
_GLOBAL: Final = ("acl", "keyring", "mesh", "operator", "peering")
_TOKEN: Final = re.compile(r'\s+|(?:#|//)[^\n]*|/\*.*?\*/|("(?:[^"\\]|\\.)*")|([\w./-]+)|([{}=,\[\]:])', re.DOTALL)
_STRICTNESS: Final = ("", "read", "list", "write", "deny")
_UNREADABLE: Final = "Failed to parse ACL rules: "
_POLICIES: Final = ("read", "write", "deny", "list")


@dataclass(frozen=True, slots=True)
class Rule:
    """A policy for a resource: for one name, for all that begin with it, or for a resource without names."""

    resource: str
    name: str
    exact: bool
    policy: str
    intentions: str = ""


def merged(rules: Iterable[Rule]) -> tuple[Rule, ...]:
    """One rule for each name: of several the strictest policy counts, and the strictest word on intentions."""
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
    """The rules cannot be read."""


def parse_rules(source: str) -> tuple[Rule, ...]:
    """The rules of a policy."""
    stripped = source.strip()
    if stripped.startswith("{"):
        try:
            tree: object = json.loads(stripped)
        except ValueError as error:
            raise RulesError(f"{_UNREADABLE}{error}") from error
        pairs = list(tree.items()) if is_object(tree) else []
        return tuple(rule for resource, value in pairs for rule in _json_rules(resource, value))
    return tuple(_Reader(stripped).rules())


def _json_rules(resource: str, value: object) -> list[Rule]:
    if isinstance(value, str):
        return [_rule(resource, "", {"policy": value})]
    named = value if is_list(value) else [value]
    return [
        _rule(resource, name, body if is_object(body) else {})
        for group in named
        if is_object(group)
        for name, body in group.items()
    ]


def _rule(resource: str, name: str, body: Object) -> Rule:
    exact = not resource.endswith("_prefix")
    plain = resource.removesuffix("_prefix")
    if plain not in _NAMED + _GLOBAL:
        return Rule(plain, name, exact, "")  # It is passed over, whatever it holds.
    policy, intentions = body.get("policy", ""), body.get("intentions", "")
    if not isinstance(policy, str) or policy not in _POLICIES:
        raise RulesError(f"Invalid {plain} policy: " + _shown(plain, name, policy, intentions))
    if not isinstance(intentions, str) or intentions not in {*_POLICIES, ""}:
        raise RulesError("Invalid service intentions policy: " + _shown(plain, name, policy, intentions))
    return Rule(plain, name, exact, policy, intentions)


def _shown(resource: str, name: str, policy: object, intentions: object) -> str:
    """A rule as Go prints its struct."""
    if resource in _GLOBAL:
        return f'"{policy}"'
    more = f'Intentions:"{intentions}", ' if resource == "service" else ""
    kind = f"{resource.capitalize()}Rule"
    return f'&acl.{kind}{{Name:"{name}", Policy:"{policy}", {more}EnterpriseRule:acl.EnterpriseRule{{}}}}'


class _Reader:
    """Reads the part of HCL that rules are written in."""

    def __init__(self, source: str) -> None:
        self.tokens: list[str] = []
        at = 0
        while at < len(source):
            found = _TOKEN.match(source, at)
            if found is None:
                raise RulesError(f"{_UNREADABLE}illegal character at {at}")
            at = found.end()
            if found.lastindex:
                self.tokens.append(found[0])
        self.tokens.reverse()

    def take(self, expected: str = "") -> str:
        if not self.tokens or (expected and self.tokens[-1] != expected):
            found = self.tokens[-1] if self.tokens else "the end"
            raise RulesError(f"{_UNREADABLE}expected {expected or 'more'}, found {found}")
        return self.tokens.pop()

    def string(self) -> str:
        token = self.take()
        return str(json.loads(token)) if token.startswith('"') else token

    def rules(self) -> list[Rule]:
        rules: list[Rule] = []
        while self.tokens:
            resource = self.string()
            if self.tokens and self.tokens[-1] in "=:":
                self.take()
                rules.append(_rule(resource, "", {"policy": self.string()}))
                continue
            name = self.string()
            rules.append(_rule(resource, name, self.block()))
        return rules

    def block(self) -> Object:
        self.take("{")
        body: Object = {}
        while self.tokens and self.tokens[-1] != "}":
            key = self.string()
            self.take("=")
            body[key] = self.string()
            if self.tokens and self.tokens[-1] == ",":
                self.take()
        self.take("}")
        return body
