"""The central configuration of proxies: proxy-defaults and service-defaults, added to a registration.

In two steps, as in Consul: the servers resolve it for a service and its upstreams, and then it is merged into what was
registered, which wins.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from aioconsulconnect.testing.go_json.values import Object, child, children, text
from aioconsulconnect.testing.version_facts import VersionFacts

Lookup = Callable[[str, str], Object | None]
PROXY: Final = "connect-proxy"
_GATEWAYS: Final = ("mesh-gateway", "terminating-gateway", "ingress-gateway")
_API_GATEWAY: Final = "api-gateway"
_LIMITS: Final = (
    ("BalanceInboundConnections", "balance_inbound_connections"),
    ("MaxInboundConnections", "max_inbound_connections"),
    ("LocalConnectTimeoutMs", "local_connect_timeout_ms"),
    ("LocalRequestTimeoutMs", "local_request_timeout_ms"),
)
_UPSTREAM: Final = (
    ("EnvoyListenerJSON", "envoy_listener_json"),
    ("EnvoyClusterJSON", "envoy_cluster_json"),
    ("Protocol", "protocol"),
    ("ConnectTimeoutMs", "connect_timeout_ms"),
    ("BalanceOutboundConnections", "balance_outbound_connections"),
    ("Limits", "limits"),
    ("PassiveHealthCheck", "passive_health_check"),
    ("MeshGateway", "mesh_gateway"),
)


def gateways(facts: VersionFacts) -> tuple[str, ...]:
    """The kinds of services that are gateways in a version."""
    return (*_GATEWAYS, *([_API_GATEWAY] if facts.api_gateways else []))


def resolved(definition: Object, lookup: Lookup, facts: VersionFacts) -> Object:
    """Merge the central configuration into a service, where its kind and its version take part in that.

    Other services are returned as they are.

    - `definition`: the service as it was registered.
    - `lookup`: finds a configuration entry by kind and name.
    - `facts`: the version.
    """
    proxy = child(definition, "Proxy")
    kind = text(definition, "Kind")
    named = bool(text(proxy, "DestinationServiceID")) or facts.central_without_destination_id
    takes_part = kind in gateways(facts) or (kind == PROXY and named)
    if not (facts.central_configuration and takes_part):
        return definition
    service = text(proxy, "DestinationServiceName") if kind == PROXY else text(definition, "Name")
    return {**definition, "Proxy": _merged(proxy, service, lookup)}


def _merged(proxy: Object, service: str, lookup: Lookup) -> Object:
    everywhere = lookup("proxy-defaults", "global") or {}
    own = lookup("service-defaults", service) or {}
    transparent = {**child(everywhere, "TransparentProxy"), **child(own, "TransparentProxy")}
    mode = _first("Mode", proxy, own, everywhere)
    layers = _Layers(proxy, own, everywhere, lookup)
    return {
        **proxy,
        "Config": {**_config(everywhere, own), **child(proxy, "Config")} or None,
        "MeshGateway": _first_gateway(proxy, own, everywhere),
        "Mode": mode,
        "MutualTLSMode": _first("MutualTLSMode", proxy, own, everywhere),
        "Expose": _expose(proxy, own, everywhere),
        "TransparentProxy": {**transparent, **child(proxy, "TransparentProxy")} or None,
        "AccessLogs": {**child(everywhere, "AccessLogs"), **child(proxy, "AccessLogs")} or None,
        "EnvoyExtensions": [e for layer in (proxy, everywhere, own) for e in children(layer, "EnvoyExtensions")],
        "Upstreams": list(layers.upstreams(transparent=mode == "transparent")),
    }


def _first(member: str, *layers: Object) -> str:
    return next((value for layer in layers if (value := text(layer, member))), "")


def _config(everywhere: Object, own: Object) -> Object:
    config = dict(child(everywhere, "Config"))
    if protocol := text(own, "Protocol"):
        config["protocol"] = protocol
    return config | {name: own[member] for member, name in _LIMITS if own.get(member)}


def _first_gateway(*layers: Object) -> Object:
    mode = _first("Mode", *(child(layer, "MeshGateway") for layer in layers))
    return {"Mode": mode} if mode else {}


def _expose(proxy: Object, own: Object, everywhere: Object) -> Object:
    """Merge Expose: its checks if any layer exposes them, the paths of the first layer that has some."""
    layers = [child(layer, "Expose") for layer in (proxy, own, everywhere)]
    paths = next((layer["Paths"] for layer in layers if layer.get("Paths")), None)
    return {"Checks": any(layer.get("Checks") for layer in layers), "Paths": paths}


@dataclass(frozen=True, slots=True)
class _Layers:
    """The sources of the settings of a proxy's upstreams."""

    proxy: Object
    own: Object
    everywhere: Object
    lookup: Lookup

    def upstreams(self, *, transparent: bool) -> Iterator[Object]:
        """The registered upstreams, with the settings of all layers.

        A transparent proxy also has the other services that have settings.
        """
        registered = children(self.proxy, "Upstreams")
        overrides = {text(each, "Name"): each for each in children(child(self.own, "UpstreamConfig"), "Overrides")}
        names = [text(each, "DestinationName") for each in registered if _is_service(each)]
        central: dict[str, Object] = {}
        if names or transparent:
            central["*"] = self._config({})
            for name in {*names, *overrides}:
                central[name] = self._config(overrides.get(name, {}), self._protocol(name))
        for upstream in registered:
            name = text(upstream, "DestinationName")
            yield _merged_upstream(upstream, central.get(name, {})) if _is_service(upstream) else upstream
        for name in sorted({name for name in central if central[name]} - set(names)) if transparent else ():
            yield {
                "DestinationNamespace": "default",
                "DestinationPartition": "default",
                "DestinationName": name,
                "Config": central[name],
                "MeshGateway": child(central[name], "mesh_gateway"),
                "CentrallyConfigured": True,
            }

    def _protocol(self, name: str) -> str:
        there = self.lookup("service-defaults", name) or {}
        return text(there, "Protocol") or text(child(self.everywhere, "Config"), "protocol")

    def _config(self, override: Object, protocol: str = "") -> Object:
        """Merge the settings of one upstream.

        Later layers win: the service's own mesh gateway mode, its upstream defaults, the proxy's mode, the override.
        """
        defaults = child(child(self.own, "UpstreamConfig"), "Defaults")
        config: Object = {"protocol": protocol} if protocol else {}
        for layer in (
            {"MeshGateway": _first_gateway(self.own, self.everywhere)},
            defaults,
            {"MeshGateway": child(self.proxy, "MeshGateway")},
            override,
        ):
            config |= {name: layer[member] for member, name in _UPSTREAM if layer.get(member)}
        return config


def _is_service(upstream: Object) -> bool:
    return text(upstream, "DestinationType") in {"", "service"}


def _merged_upstream(upstream: Object, central: Object) -> Object:
    config = {**central, **child(upstream, "Config")}
    mode = child(upstream, "MeshGateway") or child(central, "mesh_gateway")
    kept = {key: value for key, value in config.items() if key != "mesh_gateway"}
    return {**upstream, "Config": kept or None, "MeshGateway": mode}
