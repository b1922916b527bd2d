"""The services behind a gateway, by its configuration entry.

A wildcard stands for the services that are registered.
"""

from collections.abc import Iterator
from typing import Final

from aioconsulconnect.testing.go_json.values import Object, child, children, number, text, texts
from aioconsulconnect.testing.state.entry_graph import Graph
from aioconsulconnect.testing.state.service_registry import Registry
from aioconsulconnect.testing.state.store import gateway_key

_KINDS: Final = ("terminating-gateway", "ingress-gateway")


def gateway_services(name: str, registry: Registry, graph: Graph) -> list[Object]:
    """The rows of `/v1/catalog/gateway-services/NAME` for the gateway `name`, by service and port.

    `registry` has the services that a wildcard stands for; `graph` gives their protocols.
    """
    store = registry.store
    terminating, ingress = (store.entry(kind, name) for kind in _KINDS)
    rows = [
        *(_terminating(terminating, registry) if terminating else ()),
        *(_ingress(ingress, registry, graph) if ingress else ()),
    ]
    return sorted(rows, key=lambda row: (str(row["Service"]), number(row, "Port")))


def gateway_keys(registry: Registry) -> tuple[str, ...]:
    """The keys whose writes may change the services behind a gateway: those of services for a wildcard."""
    gateways = [entry for kind in _KINDS for entry in registry.store.of_kind(kind)]
    listed = [
        each
        for entry in gateways
        for part in (entry, *children(entry, "Listeners"))
        for each in children(part, "Services")
    ]
    wild = any(text(each, "Name") == "*" for each in listed)
    return ("gateway", *(["services", "config/service-defaults"] if wild else []))


def ingresses_of(service: str, registry: Registry, graph: Graph) -> list[Object]:
    """The entries of the ingress gateways that lead to `service`.

    `registry` has the services that a wildcard stands for; `graph` gives their protocols.
    """
    found = registry.store.of_kind("ingress-gateway")
    named: Object = {"Name": service}
    return [
        entry for entry in found if any(row["Service"] == named for row in _ingress(entry, registry, graph, service))
    ]


def terminating_to(service: str, registry: Registry) -> list[str]:
    """The names of the terminating gateways that lead to `service`.

    `registry` has the services that a wildcard stands for.
    """
    found = registry.store.of_kind("terminating-gateway")
    return [
        text(entry, "Name")
        for entry in found
        if any(text(child(row, "Service"), "Name").lower() == service.lower() for row in _terminating(entry, registry))
    ]


def _row(gateway: Object, service: str, members: Object, registry: Registry) -> Object:
    index = registry.store.touched(gateway_key(text(gateway, "Name")))
    return {
        "Gateway": {"Name": text(gateway, "Name")},
        "Service": {"Name": service},
        "GatewayKind": text(gateway, "Kind"),
        **{key: value for key, value in members.items() if value},
        **({"ServiceKind": kind} if (kind := _service_kind(gateway, service, registry)) else {}),
        "CreateIndex": index,
        "ModifyIndex": index,
    }


def _service_kind(gateway: Object, service: str, registry: Registry) -> str:
    """What a service of a gateway is, as the catalog notes it: ingress gateways ask at its registrations alone."""
    if not registry.facts.gateways_tell_service_kind:
        return ""
    since = number(gateway, "ModifyIndex") if text(gateway, "Kind") == "ingress-gateway" else 0
    plain = [each for each in registry.named(service) if not text(each.definition, "Kind")]
    if any(each.modified > since for each in plain):
        return "service"
    if since:
        return ""
    return "destination" if service in _destinations(registry) else ""


def _destinations(registry: Registry) -> list[str]:
    """The services outside the mesh that service-defaults describe."""
    defaults = registry.store.of_kind("service-defaults")
    return [text(entry, "Name") for entry in defaults if entry.get("Destination")]


def _terminating(gateway: Object, registry: Registry) -> Iterator[Object]:
    listed = {text(service, "Name"): service for service in children(gateway, "Services")}
    everything = listed.pop("*", None)
    others = [*_plain_services(registry), *_destinations(registry)] if everything is not None else []
    for name in [*listed] if everything is not None else []:
        if _follows(gateway, name, registry) and (name in others or not registry.named(name)):
            del listed[name]  # The wildcard took its place at that registration.
    for name in dict.fromkeys([*listed, *others]):
        service = listed.get(name, everything or {})
        members = {member: service.get(member) for member in ("CAFile", "CertFile", "KeyFile", "SNI")}
        row = _row(gateway, name, {**members, "FromWildcard": name not in listed}, registry)
        if registry.facts.auto_host_rewrite and not service.get("DisableAutoHostRewrite"):
            row["AutoHostRewrite"] = True
        yield row


def _follows(gateway: Object, name: str, registry: Registry) -> bool:
    """True if a service was registered after the entry of a gateway was written."""
    return registry.store.touched(f"registered/{name.lower()}") > number(gateway, "ModifyIndex")


def _plain_services(registry: Registry) -> list[str]:
    """The services that the wildcard of a terminating gateway stands for: those outside the mesh."""
    takes_native = registry.facts.wildcard_takes_native
    return [
        each.name
        for each in registry.everywhere()
        if each.name != "consul" and not text(each.definition, "Kind") and (takes_native or each.destination is None)
    ]


def _ingress(gateway: Object, registry: Registry, graph: Graph, wanted: str = "") -> Iterator[Object]:
    for listener in children(gateway, "Listeners"):
        protocol = text(listener, "Protocol")
        for service in children(listener, "Services"):
            name = text(service, "Name")
            members: Object = {"Port": listener.get("Port"), "Protocol": protocol, "Hosts": texts(service, "Hosts")}
            if name != "*":
                yield _row(gateway, name, members, registry)
                continue
            for each in {*_behind_wildcard(registry), *([wanted] if wanted else [])}:
                if graph.protocol(each) == protocol:
                    yield _row(gateway, each, {**members, "FromWildcard": True}, registry)


def _behind_wildcard(registry: Registry) -> set[str]:
    """The services that the wildcard of an ingress gateway stands for: those of the mesh, in older versions any."""
    if registry.facts.wildcard_takes_any:
        return {*_plain_services(registry)}
    return {each.destination for each in registry.everywhere() if each.destination}
