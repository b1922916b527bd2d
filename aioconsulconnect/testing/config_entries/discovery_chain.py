"""The discovery chain of a service, compiled from its configuration entries.

A router leads to splitters, a splitter to resolvers, a resolver to a target. Only the router at the top counts,
redirects and default subsets are followed at once, splitters that follow each other become one.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from aioconsulconnect.testing.config_entries.chain_targets import Overrides, Target
from aioconsulconnect.testing.config_entries.entry_rules import go_number
from aioconsulconnect.testing.config_entries.shapes.traffic import LOAD_BALANCER, ROUTE, SPLIT, SUBSET
from aioconsulconnect.testing.go_json.scalars import parse_duration
from aioconsulconnect.testing.go_json.shaping import shape
from aioconsulconnect.testing.go_json.values import Object, child, children, is_object, text, texts
from aioconsulconnect.testing.protocol.refusals import Refused
from aioconsulconnect.testing.version_facts import VersionFacts

Lookup = Callable[[str, str], Object | None]
HTTP_LIKE: Final = frozenset({"http", "http2", "grpc"})


class GraphError(Exception):
    """Configuration entries that do not fit together; the text is Consul's."""


@dataclass(slots=True)
class Compiler:
    """The compilation of one discovery chain: call `compile` once.

    `lookup` finds a configuration entry by kind and name; the other arguments say for which version, datacenter and
    trust domain, and with which overrides; `home` is the datacenter of the agent. The rest is its state.
    """

    lookup: Lookup
    facts: VersionFacts
    datacenter: str
    home: str
    trust_domain: str
    overrides: Overrides = field(default_factory=Overrides)
    protocol: str = ""
    advanced: bool = False
    nodes: dict[str, Object] = field(default_factory=dict[str, Object])
    targets: dict[str, Object] = field(default_factory=dict[str, Object])
    customized: set[str] = field(default_factory=set[str])

    def compile(self, service: str) -> Object:
        """Compile the chain of a service; GraphError where its entries do not fit together."""
        start = self._start(service)
        self._refuse_circles(start, ())
        self._flatten_splitters()
        self._drop_unused(start)
        protocol = self._final_protocol(service)
        default = self.nodes[start]
        is_default = default["Type"] == "resolver" and child(default, "Resolver").get("Default") is True
        is_default = is_default and default["Name"] == Target(service, "", self.datacenter).key(self.facts)
        defaults = self.lookup("service-defaults", service) or {}
        chain: Object = {"ServiceName": service, "Namespace": "default"}
        if self.facts.chain_is_newer:
            chain["Partition"] = "default"
        chain["Datacenter"] = self.datacenter
        if self.customized:
            chain["CustomizationHash"] = self.overrides.hash_of(self.customized)
        if self.facts.chain_is_newer and is_default:
            chain["Default"] = True
        chain["Protocol"] = protocol
        if self.facts.chain_is_newer and (meta := child(defaults, "Meta")):
            chain["ServiceMeta"] = meta
        if self.facts.chain_is_newer and (extensions := self._extensions(defaults)):
            chain["EnvoyExtensions"] = extensions
        chain["StartNode"] = start
        chain["Nodes"] = {key: self.nodes[key] for key in sorted(self.nodes)}
        chain["Targets"] = {key: self.targets[key] for key in sorted(self.targets)}
        return chain

    def _extensions(self, defaults: Object) -> list[Object]:
        everywhere = self.lookup("proxy-defaults", "global") or {}
        return [*children(everywhere, "EnvoyExtensions"), *children(defaults, "EnvoyExtensions")]

    def _final_protocol(self, service: str) -> str:
        wanted = self.overrides.protocol
        protocol = self.protocol
        if wanted and wanted != protocol:
            self.customized.add("protocol")
            protocol = wanted
        if self.advanced and protocol not in HTTP_LIKE:
            raise GraphError(
                f'discovery chain "{service}" uses a protocol "{protocol}" '
                "that does not permit advanced routing or splitting behavior"
            )
        return protocol

    # Routers and splitters.

    def _start(self, service: str) -> str:
        router = None if self._plain() else self.lookup("service-router", service)
        if router is None:
            return self._splitter_or_resolver(Target(service, "", self.datacenter), service)
        self._record_protocol(service, service)
        self.advanced = True
        routes: list[object] = []
        for route in children(router, "Routes"):
            destination = child(route, "Destination")
            to, subset = text(destination, "Service") or service, text(destination, "ServiceSubset")
            target = Target(to, subset, self.datacenter)
            following = self._resolver(target, service) if subset else self._splitter_or_resolver(target, service)
            routes.append({"Definition": shape(route, ROUTE, self.facts.version), "NextNode": following})
        everything: Object = {"Service": service, "Namespace": "default"}
        if self.facts.chain_is_newer:
            everything["Partition"] = "default"
        routes.append(
            {
                "Definition": {"Match": {"HTTP": {"PathPrefix": "/"}}, "Destination": everything},
                "NextNode": self._splitter_or_resolver(Target(service, "", self.datacenter), service),
            }
        )
        name = f"{service}.{self.facts.chain_scope}"
        self.nodes[f"router:{name}"] = {"Type": "router", "Name": name, "Routes": routes}
        return f"router:{name}"

    def _plain(self) -> bool:
        """True if the overriding protocol leaves routers and splitters out."""
        return bool(self.overrides.protocol) and self.overrides.protocol not in HTTP_LIKE

    def _splitter_or_resolver(self, target: Target, chain: str) -> str:
        return self._splitter(target.service, chain) or self._resolver(target, chain)

    def _splitter(self, service: str, chain: str) -> str | None:
        name = f"{service}.{self.facts.chain_scope}"
        key = f"splitter:{name}"
        if key in self.nodes:
            return key
        entry = None if self._plain() else self.lookup("service-splitter", service)
        if entry is None:
            return None
        self.advanced = True
        splits: list[object] = []
        node: Object = {"Type": "splitter", "Name": name, "Splits": splits}
        self.nodes[key] = node
        for split in children(entry, "Splits"):
            to, subset = text(split, "Service") or service, text(split, "ServiceSubset")
            following = self._splitter(to, chain) if to != service and not subset else None
            compiled: Object = {}
            if self.facts.chain_is_newer:
                compiled["Definition"] = shape(split, SPLIT, self.facts.version)
            compiled["Weight"] = split["Weight"]
            compiled["NextNode"] = following or self._resolver(Target(to, subset, self.datacenter), chain)
            splits.append(compiled)
            balancer = self.nodes[str(compiled["NextNode"])].get("LoadBalancer")
            if balancer and following is None:
                node.setdefault("LoadBalancer", balancer)
        return key

    # Resolvers.

    def _resolver(self, target: Target, chain: str, *, failing_over: bool = False) -> str:
        target, entry = self._redirected(target, chain)
        key = target.key(self.facts)
        if f"resolver:{key}" in self.nodes or (failing_over and key in self.targets):
            return f"resolver:{key}"
        timeout = self._timeout(entry)
        resolver: Object = {"ConnectTimeout": timeout}
        if self.facts.chain_is_newer and (request := text(entry, "RequestTimeout")):
            resolver["RequestTimeout"] = parse_duration(request)
        if not {member for member in entry if member not in _BOOKKEEPING and entry[member]}:
            resolver["Default"] = True
        resolver["Target"] = key
        self.targets[key] = self._described(target, entry, timeout)
        if failing_over:
            return f"resolver:{key}"
        node: Object = {"Type": "resolver", "Name": key, "Resolver": resolver}
        self.nodes[f"resolver:{key}"] = node
        if spare := [self._spare(each, target, chain) for each in self._failover(target, entry)]:
            resolver["Failover"] = {"Targets": spare}
        if balancer := child(entry, "LoadBalancer"):
            node["LoadBalancer"] = shape(balancer, LOAD_BALANCER, self.facts.version)
        return f"resolver:{key}"

    def _spare(self, target: Target, of: Target, chain: str) -> str:
        """Describe what `of` fails over to: at a peer, only entries of the service `of` itself count."""
        if not target.peer:
            return self._resolver(target, chain, failing_over=True).removeprefix("resolver:")
        known = target.service == of.service
        entry = (self.lookup("service-resolver", target.service) if known else None) or {}
        key = target.key(self.facts)
        self.targets[key] = self._described(target, entry, self._timeout(entry), known=known)
        return key

    def _redirected(self, target: Target, chain: str) -> tuple[Target, Object]:
        """Follow redirects and default subsets: the target in the end, and its resolver."""
        seen: list[Target] = []
        while True:
            if target in seen:
                path = " -> ".join(each.key(self.facts) for each in [*seen, target])
                raise GraphError(f"detected circular resolver redirect: [{path}]")
            seen.append(target)
            if not target.peer:
                self._record_protocol(target.service, chain)
            entry = self.lookup("service-resolver", target.service) or {}
            redirect = child(entry, "Redirect")
            there = self._rewritten(target, redirect, text(redirect, "Datacenter")) if redirect else target
            if there == target and not target.subset and (default := text(entry, "DefaultSubset")):
                there = Target(target.service, default, target.datacenter)
            if there == target:
                break
            target = there
        if target.subset and target.subset not in child(entry, "Subsets"):
            raise GraphError(f'service "{target.service}" does not have a subset named "{target.subset}"')
        return target, entry

    @staticmethod
    def _rewritten(target: Target, to: Object, datacenter: str) -> Target:
        service, subset = text(to, "Service"), text(to, "ServiceSubset")
        if peer := text(to, "Peer"):
            subset = target.subset if service in {"", target.service} else ""
            return Target(service or target.service, subset, target.datacenter, peer)
        if service and service != target.service:
            return Target(service, subset, datacenter or target.datacenter)
        return Target(target.service, subset or target.subset, datacenter or target.datacenter)

    def _failover(self, target: Target, entry: Object) -> Iterator[Target]:
        failovers = child(entry, "Failover")
        chosen = failovers.get(target.subset) or failovers.get("*")
        if not is_object(chosen):
            return
        if spares := children(chosen, "Targets"):
            ways = [self._rewritten(target, spare, text(spare, "Datacenter")) for spare in spares]
        else:
            ways = [self._rewritten(target, chosen, dc) for dc in texts(chosen, "Datacenters") or [""]]
        yield from (way for way in ways if way != target)

    def _timeout(self, entry: Object) -> str:
        timeout = text(entry, "ConnectTimeout") or "5s"
        wanted = self.overrides.connect_timeout
        if wanted and wanted != timeout:
            self.customized.add("timeout")
            return wanted
        return timeout

    def _described(self, target: Target, entry: Object, timeout: str, *, known: bool = True) -> Object:
        facts = self.facts
        defaults = self.lookup("service-defaults", target.service) if known else None
        defaults = defaults or {}
        outside = text(defaults, "ExternalSNI")
        if outside:
            for member, name in (("Redirect", "redirects"), ("Subsets", "subsets"), ("Failover", "failover")):
                if entry.get(member):
                    raise GraphError(
                        f'service "{target.service}" has an external SNI set; '
                        f"cannot define {name} for external services"
                    )
        sni = target.sni(self.trust_domain)
        described: Object = {"ConnectTimeout": timeout} if facts.target_has_timeout else {}
        described |= {"ID": target.key(facts), "Service": target.service}
        if target.subset:
            described["ServiceSubset"] = target.subset
        described["Namespace"] = "default"
        if facts.chain_is_newer:
            described["Partition"] = "default"
        described |= {"Peer": target.peer} if target.peer else {"Datacenter": target.datacenter}
        mode = self._gateway_mode(target, defaults)
        described["MeshGateway"] = {"Mode": mode} if mode else {}
        described["Subset"] = shape(child(child(entry, "Subsets"), target.subset), SUBSET, facts.version)
        if facts.chain_is_newer:
            described["TransparentProxy"] = child(defaults, "TransparentProxy")
        if target.peer:
            return described
        if outside:
            described["External"] = True
        return {**described, "SNI": outside or sni, "Name": sni}

    def _gateway_mode(self, target: Target, defaults: Object) -> str:
        at_home = target.datacenter == self.home and not self.facts.gateways_at_home
        if text(defaults, "ExternalSNI") or at_home:
            return ""
        everywhere = self.lookup("proxy-defaults", "global") or {}
        mode = text(child(defaults, "MeshGateway"), "Mode") or text(child(everywhere, "MeshGateway"), "Mode")
        wanted = self.overrides.gateway_mode
        if wanted and wanted != mode:
            self.customized.add("gateway")
            return wanted
        return mode

    # The whole chain.

    def _record_protocol(self, service: str, chain: str) -> None:
        protocol = protocol_of(self.lookup, service)
        if self.protocol and self.protocol != protocol:
            raise GraphError(
                f'discovery chain "{chain}" uses inconsistent protocols; '
                f'service "{service}" has "{protocol}" which is not "{self.protocol}"'
            )
        self.protocol = protocol

    def _refuse_circles(self, key: str, path: tuple[str, ...]) -> None:
        if key in path:
            raise GraphError(f"detected circular reference: [{' -> '.join([*path, key])}]")
        for following in self._next(key):
            self._refuse_circles(following, (*path, key))

    def _next(self, key: str) -> list[str]:
        node = self.nodes[key]
        return [text(each, "NextNode") for each in (*children(node, "Routes"), *children(node, "Splits"))]

    def _flatten_splitters(self) -> None:
        for node in self.nodes.values():
            while any(text(split, "NextNode").startswith("splitter:") for split in children(node, "Splits")):
                node["Splits"] = [flat for split in children(node, "Splits") for flat in self._flat(split)]

    def _flat(self, split: Object) -> Iterator[Object]:
        following = text(split, "NextNode")
        if not following.startswith("splitter:"):
            yield split
            return
        for inner in children(self.nodes[following], "Splits"):
            weights = [weight for each in (split, inner) if isinstance(weight := each["Weight"], int | float)]
            flat: Object = {**inner, "Weight": go_number(weights[0] * weights[1] / 100)}
            if self.facts.chain_is_newer:
                flat["Definition"] = _with_headers(child(inner, "Definition"), child(split, "Definition"))
            yield flat

    def _drop_unused(self, start: str) -> None:
        used: set[str] = set()
        ahead = [start]
        while ahead:
            key = ahead.pop()
            if key not in used:
                used.add(key)
                ahead.extend(self._next(key))
        self.nodes = {key: node for key, node in self.nodes.items() if key in used}
        resolvers = [child(node, "Resolver") for node in self.nodes.values() if node["Type"] == "resolver"]
        kept = {each for one in resolvers for each in (text(one, "Target"), *texts(child(one, "Failover"), "Targets"))}
        self.targets = {key: target for key, target in self.targets.items() if key in kept}


def _with_headers(inner: Object, outer: Object) -> Object:
    """The definition of a split within another one: it sets what both do to headers, its own first."""
    merged = dict(inner)
    for member in ("RequestHeaders", "ResponseHeaders"):
        own, given = child(inner, member), child(outer, member)
        if own and any(given.get(way) and not own.get(way) for way in ("Add", "Set")):
            words = f"at {member} that one splitter adds to those of the next in another way, Consul ends"
            raise Refused(501, f"The in-process agent does not compile these splits: {words}")
        if given:
            removed = [*dict.fromkeys([*texts(given, "Remove"), *texts(own, "Remove")])]
            ways: Object = {way: dict(sorted((child(given, way) | child(own, way)).items())) for way in ("Add", "Set")}
            merged[member] = {way: value for way, value in {**ways, "Remove": removed}.items() if value}
    return merged


_BOOKKEEPING: Final = frozenset({"Kind", "Name", "Meta", "Hash", "CreateIndex", "ModifyIndex"})


def protocol_of(lookup: Lookup, service: str) -> str:
    """The protocol of `service` by service-defaults, else by proxy-defaults, else "tcp".

    A service-defaults entry hides proxy-defaults, even if it names no protocol. `lookup` finds an entry.
    """
    own = lookup("service-defaults", service)
    everywhere = child(lookup("proxy-defaults", "global") or {}, "Config")
    return (text(everywhere, "protocol") if own is None else text(own, "Protocol")) or "tcp"
