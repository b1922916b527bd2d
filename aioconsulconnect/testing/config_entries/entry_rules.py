"""The rules for entries of traffic, gateways and the mesh: how they are rewritten, and how refused.

The refusals have Consul's words.
"""

import re
import struct
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Final

from aioconsulconnect.testing.config_entries import gateway_rules, mesh_rules
from aioconsulconnect.testing.config_entries.gateway_rules import METHODS
from aioconsulconnect.testing.go_json.values import Object, child, children, is_list, is_object, number, text, texts
from aioconsulconnect.testing.protocol.filter_grammar import FilterSyntaxError, parse_filter
from aioconsulconnect.testing.protocol.refusals import Refused
from aioconsulconnect.testing.version_facts import VersionFacts

_LONGEST: Final = 63
_SUBSET: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_SUBSET_WORDS: Final = (
    "must be 63 characters or fewer, begin or end with lower case alphanumeric characters, "
    "and contain lower case alphanumeric characters or '-' in between"
)
_BALANCERS: Final = frozenset({"", "least_request", "maglev", "random", "ring_hash", "round_robin"})
_HASHED: Final = frozenset({"maglev", "ring_hash"})
_RETRIES: Final = frozenset(
    {
        "5xx", "gateway-error", "reset", "reset-before-request", "connect-failure", "envoy-ratelimited",
        "retriable-4xx", "refused-stream", "cancelled", "deadline-exceeded", "internal", "resource-exhausted",
        "unavailable",
    }
)  # fmt: skip
_BLANK: Final = ("service-router", "service-splitter", "service-resolver", "jwt-provider")


def rewritten(kind: str, entry: Object, facts: VersionFacts) -> Object:
    """Rewrite an entry as the server does before it checks it: defaults, lower and upper case.

    `kind` is that of `entry`; `facts` is the version.
    """
    match kind:
        case "service-defaults":
            changed = {**entry, "Protocol": text(entry, "Protocol").lower(), **_upstream_config(entry)}
        case "jwt-provider":
            changed = {**entry, "ClockSkewSeconds": entry.get("ClockSkewSeconds") or 30}
        case "proxy-defaults":
            kept = {member: value for member, value in entry.items() if member != "Protocol"}
            changed = {**kept, "Name": text(entry, "Name") or ("global" if facts.peers else "")}
        case "service-splitter":
            changed = {**entry, "Splits": [_split(split) for split in children(entry, "Splits")]}
        case "service-router":
            changed = {**entry, "Routes": _each(entry, "Routes", lambda route: _route(route, facts))}
        case "ingress-gateway":
            changed = {**entry, "Listeners": _each(entry, "Listeners", _listener)}
        case "http-route":
            changed = {**_of_gateways(entry), "Rules": _each(entry, "Rules", _rule)}
        case "tcp-route":
            changed = _of_gateways(entry)
        case "api-gateway":
            changed = {**entry, "Status": None, "Listeners": _each(entry, "Listeners", _api_listener)}
        case "exported-services":
            services = [{k: v for k, v in each.items() if k != "Namespace"} for each in children(entry, "Services")]
            changed = {**entry, "Services": services}
        case _:
            changed = entry
    return changed


def _each(entry: Object, member: str, change: Callable[[Object], Object]) -> object:
    """The changed elements of a list; None where there is no list."""
    return [change(each) for each in children(entry, member)] if is_list(entry.get(member)) else None


def _upstream_config(entry: Object) -> Object:
    if not is_object(given := entry.get("UpstreamConfig")):
        return {}
    defaults = {"Defaults": _upstream(child(given, "Defaults"))} if is_object(given.get("Defaults")) else {}
    return {"UpstreamConfig": {**given, "Overrides": _each(given, "Overrides", _upstream), **defaults}}


def _upstream(upstream: Object) -> Object:
    timeout = max(number(upstream, "ConnectTimeoutMs"), 0)
    return {**upstream, "Protocol": text(upstream, "Protocol").lower(), "ConnectTimeoutMs": timeout}


def _split(split: Object) -> Object:
    weight = split.get("Weight")
    return {**split, "Weight": go_number(weight if isinstance(weight, int | float) else 0)}


def go_number(weight: float) -> float:
    """Round a weight to two decimals; a whole one becomes an integer."""
    rounded = round(weight, 2)
    return int(rounded) if rounded == int(rounded) else rounded


def _of_gateways(route: Object) -> Object:
    """A route whose parents are gateways, unless they say otherwise, and that has no status yet."""
    parents = _each(route, "Parents", lambda each: {**each, "Kind": text(each, "Kind") or "api-gateway"})
    return {**route, "Parents": parents, "Status": None}


def _api_listener(listener: Object) -> Object:
    given = child(listener, "TLS")
    certificates = _each(
        given, "Certificates", lambda each: {**each, "Kind": text(each, "Kind") or "inline-certificate"}
    )
    tls = {**given, "Certificates": certificates}
    return {**listener, "Protocol": text(listener, "Protocol").lower(), "TLS": tls}


def _rule(rule: Object) -> Object:
    services = _each(rule, "Services", lambda each: {**each, "Weight": max(number(each, "Weight"), 1)})
    return {**rule, "Matches": _each(rule, "Matches", _match), "Services": services}


def _match(match: Object) -> Object:
    path = match["Path"] if text(child(match, "Path"), "Match") else {"Match": "prefix", "Value": "/"}
    return {**match, "Method": text(match, "Method").upper(), "Path": path}


def _route(route: Object, facts: VersionFacts) -> Object:
    http, destination = child(child(route, "Match"), "HTTP"), child(route, "Destination")
    changed = dict(route)
    if http.get("Methods"):
        changed["Match"] = {"HTTP": {**http, "Methods": [method.upper() for method in texts(http, "Methods")]}}
        if facts.router_names_namespace and is_object(route.get("Destination")):
            changed["Destination"] = {**destination, "Namespace": text(destination, "Namespace") or "default"}
    return changed


def _listener(listener: Object) -> Object:
    return {**listener, "Protocol": text(listener, "Protocol").lower() or "tcp"}


def complaint(kind: str, entry: Object, facts: VersionFacts) -> str | None:
    """The first reason to refuse an entry by itself, in Consul's words; None where there is none.

    `kind` is that of `entry`; `facts` is the version.
    """
    blank = kind in _BLANK or (kind == "service-defaults" and facts.defaults_check_names)
    if blank and not text(entry, "Name"):
        return "Name is required"
    rule = _RULES.get(kind)
    return next(rule(entry, facts), None) if rule else None


def _resolver(entry: Object, facts: VersionFacts) -> Iterator[str]:
    subsets = child(entry, "Subsets")
    for name in subsets:
        if not name:
            yield "Subset defined with empty name"
        if len(name) > _LONGEST:
            yield f'Subset "{name}" is invalid: must be non-empty and {_LONGEST} characters or fewer'
        if not _SUBSET.fullmatch(name):
            yield f'Subset "{name}" is invalid: {_SUBSET_WORDS}'
        expression = text(child(subsets, name), "Filter")
        if facts.subset_filters_are_checked and expression:
            yield from (
                f'Filter for subset "{name}" is not a valid expression: {words}' for words in _syntax(expression)
            )
    default = text(entry, "DefaultSubset")
    if default and default not in subsets:
        yield f'DefaultSubset "{default}" is not a valid subset'
    if child(entry, "PrioritizeByLocality").get("Mode"):
        yield "Prioritize-by-locality requires Consul Enterprise "
    if is_object(redirect := entry.get("Redirect")):
        yield from _redirect(entry, redirect, facts)
    for subset, failover in sorted(child(entry, "Failover").items()):
        yield from _failover(text(entry, "Name"), subset, failover if is_object(failover) else {}, subsets, facts)
    for member in ("ConnectTimeout", "RequestTimeout"):
        if text(entry, member).startswith("-"):
            yield f"Bad {member} '{text(entry, member)}', must be >= 0"
    yield from _load_balancer(child(entry, "LoadBalancer"))


def _syntax(expression: str) -> Iterator[str]:
    try:
        parse_filter(expression)
    except FilterSyntaxError as error:
        yield str(error)
    except RecursionError:
        raise Refused(501, "The in-process agent takes no filter that is nested so deeply") from None


def _load_balancer(balancer: Object) -> Iterator[str]:
    policy, hashes = text(balancer, "Policy"), children(balancer, "HashPolicies")
    if policy not in _BALANCERS:
        yield f'Bad LoadBalancer policy: "{policy}" is not supported'
    for member, fitting in (("RingHashConfig", "ring_hash"), ("LeastRequestConfig", "least_request")):
        if is_object(balancer.get(member)) and policy != fitting:
            words = f'{member} specified for incompatible load balancing policy "{policy}"'
            yield f"Bad LoadBalancer configuration. {words}"
    if hashes and policy not in _HASHED:
        yield f'Bad LoadBalancer configuration: HashPolicies specified for non-hash-based Policy: "{policy}"'
    for at, each in enumerate(hashes):
        yield from (f"Bad LoadBalancer HashPolicy[{at}]: {words}" for words in _hash_policy(each))


def _hash_policy(policy: Object) -> Iterator[str]:
    field, value = text(policy, "Field"), text(policy, "FieldValue")
    if field not in {"", "header", "cookie", "query_parameter"}:
        yield f'"{field}" is not a supported field'
    if policy.get("SourceIP") and field:
        yield f'A single hash policy cannot hash both a source address and a "{field}"'
    if policy.get("SourceIP") and value:
        yield "A FieldValue cannot be specified when hashing SourceIP"
    if field and not value:
        yield f'Field "{field}" was specified without a FieldValue'
    if value and not field:
        yield "FieldValue requires a Field to apply to"
    if is_object(cookie := policy.get("CookieConfig")):
        if field != "cookie":
            yield f'cookie_config provided for "{field}"'
        if cookie.get("Session") and cookie.get("TTL"):
            yield "a session cookie cannot have an associated TTL"


def _enterprise(given: Object, *members: str) -> Iterator[str]:
    yield from (f"Setting {member} requires Consul Enterprise" for member in members if text(given, member))


def _redirect(entry: Object, redirect: Object, facts: VersionFacts) -> Iterator[str]:
    if facts.chain_is_newer:
        enterprise = _enterprise(redirect, "Namespace", "Partition", "SamenessGroup")
        yield from (f"Redirect: {words}" for words in enterprise)
    if entry.get("Failover"):
        yield "Redirect and Failover cannot both be set"
    if not any(redirect.values()):
        yield "Redirect is empty"
    if text(redirect, "Peer"):
        for member in ("ServiceSubset", "Partition", "Datacenter"):
            if text(redirect, member):
                yield f"Redirect.Peer cannot be set with Redirect.{member}"
    for member in ("ServiceSubset", "Namespace", "Partition", "Peer"):
        if text(redirect, member) and not text(redirect, "Service"):
            yield f"Redirect.{member} defined without Redirect.Service"
    subset, name = text(redirect, "ServiceSubset"), text(entry, "Name")
    if subset and text(redirect, "Service") == name and subset not in child(entry, "Subsets"):
        yield f'Redirect.ServiceSubset "{subset}" is not a valid subset of "{name}"'


def _failover(name: str, subset: str, failover: Object, subsets: Object, facts: VersionFacts) -> Iterator[str]:
    label = f'Bad Failover["{subset}"]'
    if facts.chain_is_newer:
        yield from (f"{label}: {words}" for words in _enterprise(failover, "Namespace", "SamenessGroup"))
    if subset != "*" and subset not in subsets:
        yield f"{label}: not a valid subset{facts.unknown_subset_end}"
    targets = children(failover, "Targets")
    if not any(value for member, value in failover.items() if member != "Policy"):
        yield label + facts.empty_failover_text
    if text(child(failover, "Policy"), "Mode"):
        yield f"{label}: Setting failover policies requires Consul Enterprise"
    own, service = text(failover, "ServiceSubset"), text(failover, "Service")
    if own and service in {"", name} and own not in subsets:
        yield f'{label}{facts.failover_subset_mark}ServiceSubset "{own}" is not a valid subset of "{service}"'
    for member in ("Service", "ServiceSubset", "Datacenters"):
        if targets and failover.get(member):
            yield f"{label}: Targets cannot be set with {member}"
    if "" in texts(failover, "Datacenters"):
        yield f"{label}.Datacenters: found empty datacenter"
    for at, target in enumerate(targets):
        yield from (f"{label}.Targets[{at}]: {words}" for words in _target(name, target, subsets))


def _target(name: str, target: Object, subsets: Object) -> Iterator[str]:
    yield from _enterprise(target, "Namespace", "Partition")
    for member in ("ServiceSubset", "Datacenter"):
        if text(target, "Peer") and text(target, member):
            yield f"Peer cannot be set with {member}"
    subset = text(target, "ServiceSubset")
    if subset and text(target, "Service") in {"", name} and subset not in subsets:
        yield f'ServiceSubset "{subset}" is not a valid subset of "{name}"'


def _splitter(entry: Object, facts: VersionFacts) -> Iterator[str]:
    splits = children(entry, "Splits")
    if not splits:
        yield "no splits configured"
    seen: Counter[tuple[str, str]] = Counter()
    for split in splits:
        service, subset = text(split, "Service") or text(entry, "Name"), text(split, "ServiceSubset")
        seen[service, subset] += not {"RequestHeaders", "ResponseHeaders"} & split.keys()  # each is one of its own
        if seen[service, subset] > 1:
            label = f'service="{service}", subset="{subset}", namespace=""{facts.split_place}'
            yield f"split destination occurs more than once: {label}"
    total = sum(weight for split in splits if isinstance(weight := split.get("Weight"), int | float))
    if round(total * 100) != 100 * 100:
        (shown,) = struct.unpack("f", struct.pack("f", total))  # The sum is one of 32 bits.
        yield f"the sum of all split weights must be 100, not {shown:.6f}"


def _router(entry: Object, facts: VersionFacts) -> Iterator[str]:
    for at, route in enumerate(children(entry, "Routes")):
        http, label = child(child(route, "Match"), "HTTP"), f"Route[{at}]"
        paths = [kind for kind in ("PathExact", "PathPrefix", "PathRegex") if http.get(kind)]
        for kind in paths:
            if kind != "PathRegex" and not text(http, kind).startswith("/"):
                yield f"{label} {kind} doesn't start with '/': \"{text(http, kind)}\""
        if len(paths) > 1:
            yield f"{label} should only contain at most one of PathExact, PathPrefix, or PathRegex"
        for list_name, kinds in (
            ("Header", ("Present", "Exact", "Prefix", "Suffix", "Regex")),
            ("QueryParam", ("Present", "Exact", "Regex")),
        ):
            words = f"{', '.join(kinds[:-1])}, or {kinds[-1]}"
            for position, each in enumerate(children(http, list_name)):
                if not text(each, "Name"):
                    yield f"{label} {list_name}[{position}] missing required Name field"
                if sum(bool(each.get(kind)) for kind in kinds) != 1:
                    yield f"{label} {list_name}[{position}] should only contain one of {words}"
        yield from _methods(label, texts(http, "Methods"), facts)
        if text(child(route, "Destination"), "PrefixRewrite") and not {"PathExact", "PathPrefix"} & {*paths}:
            yield f"{label} cannot make use of PrefixRewrite without configuring either PathExact or PathPrefix"
        yield from _retries(label, child(route, "Destination"))


def _methods(label: str, methods: list[str], facts: VersionFacts) -> Iterator[str]:
    for at, method in enumerate(methods):
        if facts.router_checks_methods and method not in METHODS:
            yield f'{label} Methods contains an invalid method "{method}"'
        if method in methods[:at]:
            yield f'{label} Methods contains "{method}" more than once'


def _retries(label: str, destination: Object) -> Iterator[str]:
    for retry in texts(destination, "RetryOn"):
        if retry not in _RETRIES:
            yield f'{label} contains an invalid retry condition: "{retry}"'


def _sameness(entry: Object, facts: VersionFacts) -> Iterator[str]:  # noqa: ARG001 - all versions agree
    yield "sameness-groups are an enterprise-only feature"


_RULES: Final[dict[str, Callable[[Object, VersionFacts], Iterator[str]]]] = {
    "service-defaults": mesh_rules.service_defaults,
    "proxy-defaults": mesh_rules.proxy_defaults,
    "service-resolver": _resolver,
    "service-splitter": _splitter,
    "service-router": _router,
    "ingress-gateway": gateway_rules.ingress,
    "terminating-gateway": gateway_rules.terminating,
    "mesh": mesh_rules.mesh,
    "exported-services": mesh_rules.exported_services,
    "jwt-provider": mesh_rules.jwt_provider,
    "api-gateway": gateway_rules.api_gateway,
    "http-route": gateway_rules.route,
    "tcp-route": gateway_rules.route,
    "inline-certificate": gateway_rules.inline_certificate,
    "sameness-group": _sameness,
}
