"""The rules for entries of traffic, gateways and the mesh: how they are rewritten, and how refused.

The refusals have Consul's words.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Final, NoReturn

from aioconsulconnect.testing.config_entries import mesh_rules
from aioconsulconnect.testing.go_json.values import Object, child, children, is_list, is_object, text, texts
from aioconsulconnect.testing.protocol.refusals import Refused
from aioconsulconnect.testing.versions import VersionFacts

_SUBSET: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_SUBSET_WORDS: Final = (
    "must be 63 characters or fewer, begin or end with lower case alphanumeric characters, "
    "and contain lower case alphanumeric characters or '-' in between"
)
_PROTOCOLS: Final = ("tcp", "http", "http2", "grpc")
_BALANCERS: Final = frozenset({"", "least_request", "maglev", "random", "ring_hash", "round_robin"})
_HASHED: Final = frozenset({"maglev", "ring_hash"})
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "CONNECT", "OPTIONS", "TRACE"})
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
            return {**entry, "Protocol": text(entry, "Protocol").lower()}
        case "jwt-provider":
            return {**entry, "ClockSkewSeconds": entry.get("ClockSkewSeconds") or 30}
        case "service-splitter":
            return {**entry, "Splits": [_split(split) for split in children(entry, "Splits")]}
        case "service-router":
            return {**entry, "Routes": [_route(route, facts) for route in children(entry, "Routes")]}
        case "ingress-gateway":
            return {**entry, "Listeners": _listeners(entry)}
        case "http-route":
            return {**entry, "Rules": [_rule(rule) for rule in children(entry, "Rules")], "Status": None}
        case "api-gateway" | "tcp-route":
            return {**entry, "Status": None}
        case "exported-services":
            services = [{k: v for k, v in each.items() if k != "Namespace"} for each in children(entry, "Services")]
            return {**entry, "Services": services}
        case _:
            return entry


def _split(split: Object) -> Object:
    weight = split.get("Weight")
    return {**split, "Weight": go_number(weight if isinstance(weight, int | float) else 0)}


def go_number(weight: float) -> float:
    """Round a weight to two decimals; a whole one becomes an integer."""
    rounded = round(weight, 2)
    return int(rounded) if rounded == int(rounded) else rounded


def _rule(rule: Object) -> Object:
    services = [{**service, "Weight": service.get("Weight") or 1} for service in children(rule, "Services")]
    return {**rule, "Services": services or None}


def _route(route: Object, facts: VersionFacts) -> Object:
    http, destination = child(child(route, "Match"), "HTTP"), child(route, "Destination")
    changed = dict(route)
    if http.get("Methods"):
        changed["Match"] = {"HTTP": {**http, "Methods": [method.upper() for method in texts(http, "Methods")]}}
        if facts.router_names_namespace and is_object(route.get("Destination")):
            changed["Destination"] = {**destination, "Namespace": text(destination, "Namespace") or "default"}
    return changed


def _listeners(entry: Object) -> object:
    if not is_list(entry.get("Listeners")):
        return None
    return [{**each, "Protocol": text(each, "Protocol").lower() or "tcp"} for each in children(entry, "Listeners")]


def complaint(kind: str, entry: Object, facts: VersionFacts) -> str | None:
    """The first reason to refuse an entry by itself, in Consul's words; None where there is none.

    `kind` is that of `entry`; `facts` is the version.
    """
    blank = kind in _BLANK or (kind == "service-defaults" and facts.defaults_check_names)
    if blank and not text(entry, "Name"):
        return "Name is required"
    rule = _RULES.get(kind)
    return next(rule(entry, facts), None) if rule else None


def _unknown(what: str) -> NoReturn:
    raise Refused(501, f"The in-process agent does not know in what words Consul refuses {what}")


def _resolver(entry: Object, facts: VersionFacts) -> Iterator[str]:
    subsets = child(entry, "Subsets")
    for name in subsets:
        if not name:
            yield "Subset defined with empty name"
        if not _SUBSET.fullmatch(name):
            yield f'Subset "{name}" is invalid: {_SUBSET_WORDS}'
    default = text(entry, "DefaultSubset")
    if default and default not in subsets:
        yield f'DefaultSubset "{default}" is not a valid subset'
    if is_object(redirect := entry.get("Redirect")):
        yield from _redirect(entry, redirect)
    for subset, failover in child(entry, "Failover").items():
        yield from _failover(subset, failover if is_object(failover) else {}, subsets, facts)
    if text(entry, "ConnectTimeout").startswith("-"):
        yield f"Bad ConnectTimeout '{text(entry, 'ConnectTimeout')}', must be >= 0"
    if child(entry, "PrioritizeByLocality").get("Mode"):
        _unknown("locality in a resolver")
    yield from _load_balancer(child(entry, "LoadBalancer"))


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
        field = text(each, "Field")
        if each.get("SourceIP") and field:
            words = f'A single hash policy cannot hash both a source address and a "{field}"'
            yield f"Bad LoadBalancer HashPolicy[{at}]: {words}"


def _redirect(entry: Object, redirect: Object) -> Iterator[str]:
    if entry.get("Failover"):
        yield "Redirect and Failover cannot both be set"
    if not any(redirect.values()):
        yield "Redirect is empty"
    if any(text(redirect, member) for member in ("Partition", "Peer", "SamenessGroup")):
        raise Refused(501, "The in-process agent does not model redirects to peers and partitions")
    for member in ("ServiceSubset", "Namespace"):
        if text(redirect, member) and not text(redirect, "Service"):
            yield f"Redirect.{member} defined without Redirect.Service"


def _failover(subset: str, failover: Object, subsets: Object, facts: VersionFacts) -> Iterator[str]:
    label = f'Bad Failover["{subset}"]'
    if subset != "*" and subset not in subsets:
        yield f"{label}: not a valid subset{facts.unknown_subset_end}"
    if failover.get("Policy"):
        yield f"{label}: Setting failover policies requires Consul Enterprise"
    if text(failover, "SamenessGroup"):
        _unknown("sameness groups of failovers")
    if targets := children(failover, "Targets"):
        for member in ("Service", "ServiceSubset", "Datacenters"):
            if failover.get(member):
                yield f"{label}: Targets cannot be set with {member}"
        if any(text(target, member) for target in targets for member in ("Partition", "Peer")):
            raise Refused(501, "The in-process agent does not model failover to peers and partitions")
    elif not any(failover.values()):
        yield label + facts.empty_failover_text
    own = text(failover, "ServiceSubset")
    if own and not text(failover, "Service") and own not in subsets:
        yield f'{label}.ServiceSubset "{own}" is not a valid subset of ""'
    if "" in texts(failover, "Datacenters"):
        yield f"{label}.Datacenters: found empty datacenter"


def _splitter(entry: Object, facts: VersionFacts) -> Iterator[str]:
    splits = children(entry, "Splits")
    if not splits:
        yield "no splits configured"
    seen: Counter[tuple[str, str]] = Counter()
    for split in splits:
        service, subset = text(split, "Service") or text(entry, "Name"), text(split, "ServiceSubset")
        seen[service, subset] += 1
        if seen[service, subset] > 1:
            label = f'service="{service}", subset="{subset}", namespace=""{facts.split_place}'
            yield f"split destination occurs more than once: {label}"
    total = sum(weight for split in splits if isinstance(weight := split.get("Weight"), int | float))
    if round(total * 100) != 100 * 100:
        yield f"the sum of all split weights must be 100, not {total:.6f}"


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
            for number, each in enumerate(children(http, list_name)):
                if not text(each, "Name"):
                    yield f"{label} {list_name}[{number}] missing required Name field"
                if sum(bool(each.get(kind)) for kind in kinds) != 1:
                    yield f"{label} {list_name}[{number}] should only contain one of {words}"
        yield from _methods(label, texts(http, "Methods"), facts)
        if text(child(route, "Destination"), "PrefixRewrite") and not {"PathExact", "PathPrefix"} & {*paths}:
            yield f"{label} cannot make use of PrefixRewrite without configuring either PathExact or PathPrefix"
        yield from _retries(label, child(route, "Destination"))


def _methods(label: str, methods: list[str], facts: VersionFacts) -> Iterator[str]:
    for method in methods:
        if facts.router_checks_methods and method not in _METHODS:
            yield f'{label} Methods contains an invalid method "{method}"'
        if methods.count(method) > 1:
            yield f'{label} Methods contains "{method}" more than once'


def _retries(label: str, destination: Object) -> Iterator[str]:
    for retry in texts(destination, "RetryOn"):
        if retry not in _RETRIES:
            yield f'{label} contains an invalid retry condition: "{retry}"'


def _ingress(entry: Object, facts: VersionFacts) -> Iterator[str]:
    yield from mesh_rules.tls(child(entry, "TLS"))
    ports: set[object] = set()
    for listener in children(entry, "Listeners"):
        port, protocol, services = listener.get("Port", 0), text(listener, "Protocol"), children(listener, "Services")
        if port in ports:
            yield f"port {port} declared on two listeners"
        ports.add(port)
        where = f"(listener on port {port})"
        if protocol not in _PROTOCOLS:
            yield f"protocol must be 'tcp', 'http', 'http2', or 'grpc'. '{protocol}' is an unsupported protocol"
        if not services:
            yield f"No service declared for listener with port {port}"
        if len(services) > 1 and protocol == "tcp":
            yield f"Multiple services per listener are only supported for {facts.listener_protocols} {where}"
        hosts: set[str] = set()
        names = Counter(text(service, "Name") for service in services)
        for service in services:
            if facts.ingress_services_once and names[text(service, "Name")] > 1:
                yield f"Service {text(service, 'Name')} cannot be added multiple times {where}"
            yield from _ingress_service(service, protocol, where, hosts)


def _ingress_service(service: Object, protocol: str, where: str, hosts: set[str]) -> Iterator[str]:
    name, own = text(service, "Name"), texts(service, "Hosts")
    if not name:
        yield f"Service name cannot be blank {where}"
    if name == "*" and protocol == "tcp":
        yield f"Wildcard service name is only valid for protocol = 'http' {where}"
    if own and protocol == "tcp":
        yield f"Associating hosts to a service is not supported for the tcp protocol {where}"
    if own and name == "*":
        yield f"Associating hosts to a wildcard service is not supported {where}"
    for host in own:
        if "*" in host and host != "*" and not (host.startswith("*.") and host.count("*") == 1):
            yield f'Host "{host}" is not valid, a wildcard specifier is only allowed as the leftmost label'
        if host in hosts:
            yield f"Hosts must be unique within a specific listener {where}"
        hosts.add(host)


def _terminating(entry: Object, facts: VersionFacts) -> Iterator[str]:  # noqa: ARG001 - all versions agree
    seen: set[str] = set()
    for service in children(entry, "Services"):
        name = text(service, "Name")
        if not name:
            yield "Service name cannot be blank."
        if name in seen:
            yield f'Service "{name}" was specified more than once within a namespace'
        seen.add(name)
        files = [bool(text(service, member)) for member in ("CertFile", "KeyFile", "CAFile")]
        if (files[0] or files[1]) and not all(files):
            yield f'Service "{name}" must have a CertFile, CAFile, and KeyFile specified for TLS origination'


def _sameness(entry: Object, facts: VersionFacts) -> Iterator[str]:  # noqa: ARG001 - all versions agree
    yield "sameness-groups are an enterprise-only feature"


_RULES: Final[dict[str, Callable[[Object, VersionFacts], Iterator[str]]]] = {
    "service-defaults": mesh_rules.service_defaults,
    "proxy-defaults": mesh_rules.proxy_defaults,
    "service-resolver": _resolver,
    "service-splitter": _splitter,
    "service-router": _router,
    "ingress-gateway": _ingress,
    "terminating-gateway": _terminating,
    "mesh": mesh_rules.mesh,
    "exported-services": mesh_rules.exported_services,
    "jwt-provider": mesh_rules.jwt_provider,
    "inline-certificate": mesh_rules.inline_certificate,
    "sameness-group": _sameness,
}
