"""The services as configuration entries connect them: chains, and the writes that would break them."""

from typing import Final

from aioconsulconnect.testing.config_entries.chain_targets import Overrides
from aioconsulconnect.testing.config_entries.discovery_chain import HTTP_LIKE, Compiler, GraphError, Lookup
from aioconsulconnect.testing.go_json.values import Object, child, children, is_object, text
from aioconsulconnect.testing.protocol.refusals import refused_by_server
from aioconsulconnect.testing.state.authority import Authority
from aioconsulconnect.testing.state.store import Store, entry_key
from aioconsulconnect.testing.version_facts import VersionFacts

_ROUTING: Final = ("service-router", "service-splitter", "service-resolver")


class Graph:
    """The services of one agent, as its configuration entries connect them."""

    def __init__(self, store: Store, facts: VersionFacts, datacenter: str, authority: Authority) -> None:
        self.store = store
        self.facts = facts
        self.datacenter = datacenter
        self.authority = authority

    def compile(
        self, service: str, lookup: Lookup, *, datacenter: str = "", overrides: Overrides | None = None
    ) -> Object:
        """Compile the discovery chain of `service`; GraphError where its entries do not fit together.

        - `lookup`: finds a configuration entry by kind and name.
        - `datacenter`: the datacenter to compile for, by default the agent's.
        - `overrides`: the settings of the request that take precedence over the entries.
        """
        home, domain = self.datacenter, self.authority.trust_domain
        compiler = Compiler(lookup, self.facts, datacenter or home, home, domain, overrides or Overrides())
        return compiler.compile(service)

    def protocol(self, service: str) -> str:
        """The protocol of a service by its compiled chain."""
        return text(self.compile(service, self.store.entry), "Protocol")

    def check(self, kind: str, name: str, proposed: Object | None) -> None:
        """Refuse a write after which the entries would not fit together.

        `proposed` is the new entry of this `kind` and `name`, None for a deletion.
        """

        def lookup(of: str, called: str) -> Object | None:
            if (of, called.lower()) == (kind, name.lower()):
                return proposed
            return self.store.entry(of, called)

        allowed = (self.store.entry("mesh", "mesh") or {}).get("AllowEnablingPermissiveMutualTLS")
        if proposed and text(proposed, "MutualTLSMode") == "permissive" and not allowed:
            reason = "AllowEnablingPermissiveMutualTLS=false in the mesh config entry"
            raise refused_by_server(f"cannot set MutualTLSMode=permissive because {reason}")
        names = {text(entry, "Name") for of in _ROUTING for entry in self.store.of_kind(of)} - {name}
        affected = [*([] if kind in {"proxy-defaults", "ingress-gateway"} else [name]), *sorted(names)]
        if kind == "exported-services":
            affected = []
        gateways = [each for each in self.store.of_kind("ingress-gateway") if entry_key(kind, name) != _key(each)]
        if kind == "ingress-gateway" and proposed:
            gateways, affected = [proposed], []
        try:
            for each in affected:
                self.compile(each, lookup)
            self._check_exported(lookup, names | {name})
            # A listener for TCP is held to itself, and to the routes and splits of its service.
            routed = (
                None if kind == "ingress-gateway" else name if kind in {"service-router", "service-splitter"} else ""
            )
            for gateway in gateways:
                self._check_listeners(gateway, lookup, routed)
        except GraphError as error:
            raise refused_by_server(str(error)) from error

    def _check_exported(self, lookup: Lookup, known: set[str]) -> None:
        """Refuse that a service which peers may use leads to another datacenter; `known` are all that have a chain."""
        for service in children(lookup("exported-services", "default") or {}, "Services"):
            if not any(text(consumer, "Peer") for consumer in children(service, "Consumers")):
                continue
            ahead = [text(service, "Name")] if text(service, "Name") != "*" else sorted(known, reverse=True)
            names = {name: name for name in ahead}
            while ahead:
                name = ahead.pop()
                resolver = lookup("service-resolver", name) or {}
                failovers = [each for each in child(resolver, "Failover").values() if is_object(each)]
                ways = [way for each in failovers for way in children(each, "Targets")]
                words = f'peer exported service "{names[name]}" contains cross-datacenter'
                if any(each.get("Datacenters") for each in failovers) or any(text(way, "Datacenter") for way in ways):
                    raise GraphError(f"{words} failover")
                if text(child(resolver, "Redirect"), "Datacenter"):
                    raise GraphError(f"{words} resolver redirect")
                if text(child(resolver, "Redirect"), "Peer"):
                    raise GraphError(f'peer exported service "{names[name]}" contains cross-peer resolver redirect')
                for kind in _ROUTING:
                    for following in led_to(lookup(kind, name) or {}) - names.keys():
                        names[following] = names[name]
                        ahead.append(following)
            for name in (name for name, exported in names.items() if name == exported):
                self._check_target(name, lookup)

    def _check_target(self, name: str, lookup: Lookup) -> None:
        """Refuse that a service which peers may use leads to another one than before, unless it speaks HTTP."""
        chain, before = self.compile(name, lookup), self.compile(name, self.store.entry)
        protocol, target, old = text(chain, "Protocol"), _start(chain), _start(before)
        if protocol not in HTTP_LIKE and text(target, "Service") != text(old, "Service"):
            raise GraphError(
                f'peer exported service "{name}" uses protocol="{protocol}" and cannot introduce new discovery chain '
                f'targets like "{text(target, "ID")}"'
            )

    def _check_listeners(self, gateway: Object, lookup: Lookup, routed: str | None) -> None:
        for listener in children(gateway, "Listeners"):
            wanted = text(listener, "Protocol")
            if (
                wanted == "tcp"
                and routed is not None
                and all(text(each, "Name") != routed for each in children(listener, "Services"))
            ):
                continue
            for service in children(listener, "Services"):
                name = text(service, "Name")
                protocol = wanted if name == "*" else text(self.compile(name, lookup), "Protocol")
                if protocol != wanted:
                    raise GraphError(
                        f'service "{name}" has protocol "{protocol}", '
                        f'which does not match defined listener protocol "{wanted}"'
                    )


def _start(chain: Object) -> Object:
    """The target that a chain without routes and splits begins with."""
    node = child(child(chain, "Nodes"), text(chain, "StartNode"))
    return child(child(chain, "Targets"), text(child(node, "Resolver"), "Target"))


def led_to(entry: Object) -> set[str]:
    """The services that a resolver, a router or a splitter leads to by name."""
    failovers = [each for each in child(entry, "Failover").values() if is_object(each)]
    ways = [
        *children(entry, "Splits"),
        *(child(route, "Destination") for route in children(entry, "Routes")),
        child(entry, "Redirect"),
        *(way for failover in failovers for way in (failover, *children(failover, "Targets"))),
    ]
    return {name for way in ways if (name := text(way, "Service"))} if text(entry, "Kind") in _ROUTING else set()


def _key(entry: Object) -> str:
    return entry_key(text(entry, "Kind"), text(entry, "Name"))
