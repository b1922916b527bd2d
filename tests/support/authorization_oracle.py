"""
A second opinion on authorization, as slow and as plain as the documentation: it shares no code with the package.

`consul` walks the sorted list and takes the first that matches. `envoy` builds the list of rules that a sidecar is
given, with its negations, and holds the caller against each of them. Intentions come in as objects with Consul's
fields; only data is read from them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from msgspec.structs import replace

from aioconsulconnect.structs.intentions import (
    HeaderPermission,
    HTTPPermission,
    Intention,
    JWTRequirement,
    Permission,
)


@dataclass(frozen=True)
class Caller:
    name: str
    namespace: str = "default"
    partition: str = "default"
    peer: str = ""


class Call(NamedTuple):
    method: str
    target: str
    headers: tuple[tuple[str, str], ...] = ()


class Question(NamedTuple):
    caller: Caller
    destination: str
    call: Call | None
    claims: dict[str, dict[str, object]]


@dataclass(frozen=True)
class Mesh:
    normalize: bool = True
    merge_slashes: bool = False
    escaped_slashes: str = "KEEP_UNCHANGED"
    underscores: str = "ALLOW"


Claims = Mapping[str, Mapping[str, Any]]


def weight(intention: Intention) -> int:
    """The table of precedences, written out."""
    kinds = {(False, False): "exact", (True, False): "namespace", (True, True): "all"}
    source = kinds[intention.source_name == "*", intention.source_namespace == "*"]
    destination = kinds[intention.destination_name == "*", intention.destination_namespace == "*"]
    table = {
        ("exact", "exact"): 9, ("exact", "namespace"): 8, ("exact", "all"): 7,
        ("namespace", "exact"): 6, ("namespace", "namespace"): 5, ("namespace", "all"): 4,
        ("all", "exact"): 3, ("all", "namespace"): 2, ("all", "all"): 1,
    }  # fmt: skip
    return table[destination, source]


def matches_source(intention: Intention, caller: Caller) -> bool:
    if intention.source_peer != caller.peer:
        return False
    if not caller.peer and (intention.source_partition or "default") != caller.partition:
        return False
    return intention.source_namespace in {"*", caller.namespace} and intention.source_name in {"*", caller.name}


def matches_destination(intention: Intention, name: str, namespace: str = "default") -> bool:
    if intention.destination_namespace not in {"*", namespace}:
        return False
    return intention.destination_name == "*" or intention.destination_name.lower() == name.lower()


def in_order(intentions: Sequence[Intention], destination: str) -> list[Intention]:
    mine = [one for one in intentions if matches_destination(one, destination)]
    return sorted(mine, key=lambda one: (-weight(one), one.source_peer, one.source_namespace, one.source_name))


# What is asked of a request.


def seen_by_rules(call: Call, mesh: Mesh) -> tuple[str, str, dict[str, list[str]]] | None:
    """Path without query, target with it, headers; None if the proxy answers by itself."""
    target = call.target
    if any(not 0x21 <= ord(letter) <= 0x7E or letter == "#" for letter in target) or not target.startswith("/"):
        return None
    path, question, query = target.partition("?")
    if mesh.escaped_slashes not in {"KEEP_UNCHANGED", "IMPLEMENTATION_SPECIFIC_DEFAULT", ""}:
        plain = re.sub("%5c", lambda _: "\\", re.sub("%2f", "/", path, flags=re.IGNORECASE), flags=re.IGNORECASE)
        if plain != path and mesh.escaped_slashes != "UNESCAPE_AND_FORWARD":
            return None
        path = plain
    if mesh.normalize:
        if "%00" in path:
            return None
        path = canonical(path)
    if mesh.merge_slashes and "//" in path:
        words = [word for word in path.split("/") if word]
        path = "/" + "/".join(words) + ("/" if path.endswith("/") else "")
    headers: dict[str, list[str]] = {}
    if sum(name.lower() == "host" for name, _ in call.headers) > 1:
        return None
    for name, value in call.headers:
        if "_" in name and mesh.underscores == "REJECT_REQUEST":
            return None
        if "_" in name and mesh.underscores == "DROP_HEADER":
            continue
        headers.setdefault(name.lower(), []).append(value.strip())
    for hop in ("connection", "keep-alive", "proxy-connection"):
        headers.pop(hop, None)
    return path, path + question + query, headers


def canonical(path: str) -> str:
    """Letter by letter, with an output that grows, and is cut back where two dots stand for a segment."""
    out = ""
    i = 0
    while i < len(path):
        rest = path[i:]
        dots = re.match(r"((?:\.|%2e){1,2})(?=[/\\]|$)", rest, re.IGNORECASE) if out.endswith("/") else None
        if dots is not None:
            up = len(dots[1].lower().replace("%2e", ".")) == 2
            if up and out != "/":
                out = out[:-1].rpartition("/")[0] + "/"
            i += len(dots[1]) + 1
            continue
        escape = re.match(r"%([0-9A-Fa-f]{2})", rest)
        if escape is not None:
            letter = bytes.fromhex(escape[1]).decode("latin-1")
            free = letter.isascii() and (letter.isalnum() or letter in "-._~")
            out += letter if free else escape[0]
            i += 3
            continue
        letter = path[i]
        out += "/" if letter == "\\" else f"%{ord(letter):02X}" if letter in '"<>^`{|}' else letter
        i += 1
    return out


def header_holds(rule: HeaderPermission, headers: Mapping[str, list[str]]) -> bool:
    values = headers.get(rule.name.lower(), [])
    if rule.present:
        return bool(values) != rule.invert
    if not values:
        return False
    small: Callable[[str], str] = (lambda text: text.encode().lower().decode()) if rule.ignore_case else str
    tests: dict[str, Callable[[str], bool]] = {
        "exact": lambda value: small(value) == small(rule.exact),
        "prefix": lambda value: small(value).startswith(small(rule.prefix)),
        "suffix": lambda value: small(value).endswith(small(rule.suffix)),
        "contains": lambda value: small(rule.contains) in small(value),
        "regex": lambda value: re.fullmatch(rule.regex, value, re.ASCII) is not None,
    }
    (test,) = [test for kind, test in tests.items() if getattr(rule, kind)]
    return any(test(value) for value in values) != rule.invert


def http_holds(http: HTTPPermission | None, method: str, path: str, headers: Mapping[str, list[str]]) -> bool:
    assert http is not None
    if http.path_exact and path != http.path_exact:
        return False
    if http.path_prefix and path[: len(http.path_prefix)] != http.path_prefix:
        return False
    if http.path_regex and re.fullmatch(http.path_regex, path, re.ASCII) is None:
        return False
    if http.methods and method not in http.methods:
        return False
    return all(header_holds(rule, headers) for rule in http.header)


def token_holds(jwt: JWTRequirement | None, claims: Claims) -> bool:
    if jwt is None or not jwt.providers:
        return True
    for provider in jwt.providers:
        if provider.name not in claims:
            continue
        good = True
        for claim in provider.verify_claims:
            value: Any = claims[provider.name]
            for step in claim.path:
                value = value.get(step) if isinstance(value, dict) else None
            good = good and isinstance(value, str) and value == claim.value
        if good:
            return True
    return False


# Mode "consul": the first that matches.


def consul(intentions: Sequence[Intention], default: str, question: Question, mesh: Mesh | None = None) -> bool:
    caller, destination, call, claims = question
    first = next((one for one in in_order(intentions, destination) if matches_source(one, caller)), None)
    if call is None:
        if first is None:
            return default == "allow"
        return first.action == "allow" and (not claims or token_holds(first.jwt, claims))
    seen = seen_by_rules(call, mesh or Mesh())
    if seen is None:
        return False
    path, target, headers = seen
    if first is None:
        return default == "allow"
    if first.action == "deny":
        return False
    if not token_holds(first.jwt, claims):
        return False
    if first.action == "allow":
        return True
    everything = {**headers, ":path": [target], ":method": [call.method]}
    for permission in first.permissions:
        if http_holds(permission.http, call.method, path, everything):
            return permission.action == "allow" and token_holds(permission.jwt, claims)
    return default == "allow"


# Mode "envoy": the list that a sidecar is given.


@dataclass
class Policy:
    intention: Intention
    not_sources: list[Intention]
    rules: list[
        tuple[Permission, list[Permission]]
    ]  # a permission and those it is negated by; empty for a whole connection


def contains(wide: Intention, narrow: Intention) -> bool:
    """The source `narrow` is strictly more exact than `wide`, and one of it."""
    if wide.source_peer != narrow.source_peer:
        return False
    if (wide.source_partition or "default") != (narrow.source_partition or "default"):
        return False
    if wide.source_namespace == "*":
        return narrow.source_namespace != "*"
    if wide.source_name == "*":
        return narrow.source_namespace == wide.source_namespace and narrow.source_name != "*"
    return False


def flatten(intentions: Sequence[Intention], default: str, destination: str) -> list[Policy]:
    kept: list[Intention] = []
    for one in in_order(intentions, destination):
        names = (one.source_peer, one.source_partition or "default", one.source_namespace, one.source_name)
        if names not in [
            (o.source_peer, o.source_partition or "default", o.source_namespace, o.source_name) for o in kept
        ]:
            kept.append(one)
    policies = []
    for i, one in enumerate(kept):
        if one.action == default:
            continue
        rules = []
        for j, permission in enumerate(one.permissions):
            if permission.action != default:
                rules.append((permission, list(one.permissions[:j])))
        if one.permissions and not rules:
            continue
        policies.append(Policy(one, [other for other in kept[:i] if contains(one, other)], rules))
    return policies


def envoy(intentions: Sequence[Intention], default: str, question: Question, mesh: Mesh | None = None) -> bool:
    caller, destination, call, claims = question
    if call is None:  # the protocol is tcp: rules for requests deny as a whole, and tokens are not asked for
        whole = [replace(one, action="deny", permissions=()) if one.permissions else one for one in intentions]
        hit = any(concerns(policy, caller) for policy in flatten(whole, default, destination))
        return hit is (default == "deny")
    seen = seen_by_rules(call, mesh or Mesh())
    if seen is None:
        return False
    path, target, headers = seen
    everything = {**headers, ":path": [target], ":method": [call.method]}

    def holds(permission: Permission) -> bool:
        return http_holds(permission.http, call.method, path, everything)

    hit = False
    for policy in flatten(intentions, default, destination):
        if not concerns(policy, caller) or not token_holds(policy.intention.jwt, claims):
            continue
        hit = hit or not policy.rules
        for permission, earlier in policy.rules:
            first = holds(permission) and not any(map(holds, earlier))
            hit = hit or (first and token_holds(permission.jwt, claims))
    return hit is (default == "deny")


def concerns(policy: Policy, caller: Caller) -> bool:
    return matches_source(policy.intention, caller) and not any(matches_source(o, caller) for o in policy.not_sources)
