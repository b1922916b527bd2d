"""The rules for the registration of services, and the defaults of a sidecar.

The refusals have Consul's words.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from ipaddress import IPv4Address, ip_address
from typing import Final

from aioconsulconnect.testing.config_entries.central_configuration import PROXY, gateways
from aioconsulconnect.testing.go_json.scalars import parse_duration
from aioconsulconnect.testing.go_json.values import Object, child, children, is_object, number, text, texts
from aioconsulconnect.testing.protocol.refusals import Refused
from aioconsulconnect.testing.version_facts import VersionFacts

STATUSES: Final = ("passing", "warning", "critical")
DEFAULT_WEIGHTS: Final[Object] = {"Passing": 1, "Warning": 1}
_SIDECAR_PORTS: Final = range(21000, 21256)
_KEY: Final = re.compile(r"[a-zA-Z0-9_-]+")
_LONGEST_KEY, _LONGEST_VALUE, _MOST_META, _LARGEST_WEIGHT = 128, 512, 64, 65535
_FEDERATION: Final = "consul-wan-federation"
_SCRIPT: Final = ("ScriptArgs", "Args")
_INTERVAL: Final = (*_SCRIPT, "HTTP", "H2PING", "TCP", "UDP", "GRPC", "OSService")
_EXPOSED: Final = ("http", "http2")
_LAST_PORT: Final = 65535
_FAMILIES: Final = {"lan_ipv4": 4, "wan_ipv4": 4, "lan_ipv6": 6}
"""The version of IP of a tagged address by its tag, where the agent checks it."""


class NoPortLeftError(Exception):
    """Every port for sidecars is taken."""


def weights_complaint(definition: Object) -> str | None:
    """The first reason to refuse the weights of a service; None where there is none."""
    weights = definition.get("Weights")
    if not is_object(weights):
        return None
    passing, warning = number(weights, "Passing"), number(weights, "Warning")
    if passing < 1:
        return "Invalid Weights: Passing must be greater than 0"
    if warning < 0:
        return "Invalid Weights: Warning must be greater or equal than 0"
    if max(passing, warning) > _LARGEST_WEIGHT:
        return "Invalid Weights: DNS Weight must be between 0 and 65535"
    return None


def meta_complaint(definition: Object) -> str | None:
    """The first reason to refuse the metadata of a service; None where there is none."""
    taken = {_FEDERATION} if text(definition, "Kind") == "mesh-gateway" else set[str]()
    problem = pairs_complaint(child(definition, "Meta"), taken)
    return problem and f"Invalid Service Meta: {problem}"


def pairs_complaint(meta: Mapping[str, object], taken: Collection[str] = ()) -> str | None:
    """The first reason to refuse metadata; None where there is none.

    `meta` are its pairs, `taken` are reserved keys that it may have.
    """
    if len(meta) > _MOST_META:
        return f"Node metadata cannot contain more than {_MOST_META} key/value pairs"
    for key, value in meta.items():
        if problem := _pair_complaint(key, str(value), taken):
            return f"Couldn't load metadata pair ('{key}', '{value}'): {problem}"
    return None


def _pair_complaint(key: str, value: str, taken: Collection[str]) -> str | None:
    if not key:
        return "Key cannot be blank"
    if not _KEY.fullmatch(key):
        return "Key contains invalid characters"
    if len(key) > _LONGEST_KEY:
        return f"Key is too long (limit: {_LONGEST_KEY} characters)"
    if key.startswith("consul-") and key not in taken:
        return "Key prefix 'consul-' is reserved for internal use"
    if len(value.encode("utf-8", "surrogatepass")) > _LONGEST_VALUE:
        return f"Value is too long (limit: {_LONGEST_VALUE} characters)"
    return None


def complaints(definition: Object, facts: VersionFacts, *, sidecar_of_service: bool = False) -> Iterator[str]:
    """Every reason to refuse the mesh part of a service.

    - `definition`: the service.
    - `facts`: the version.
    - `sidecar_of_service`: true for what came as a sidecar, which may get its port later.
    """
    kind, connect = text(definition, "Kind"), child(definition, "Connect")
    endless = not number(definition, "Port") and not text(definition, "SocketPath")
    locality = child(definition, "Locality")
    if facts.zones_need_region and not sidecar_of_service and text(locality, "Zone") and not text(locality, "Region"):
        yield "zone cannot be set without region"
    if kind == PROXY:
        yield from _proxy_complaints(definition, endless and not sidecar_of_service, facts)
    elif kind in gateways(facts):
        yield from _gateway_complaints(definition, kind)
    sidecar = connect.get("SidecarService")
    if is_object(sidecar):
        if text(sidecar, "ID"):
            yield "A SidecarService cannot specify an ID as this is managed by the agent"
        if child(sidecar, "Connect").get("SidecarService") is not None:
            yield "A SidecarService cannot have a nested SidecarService"
    if connect.get("Native") and endless and facts.native_needs_port:
        yield "Port or SocketPath must be set for a Connect native service."


def _proxy_complaints(definition: Object, endless: bool, facts: VersionFacts) -> Iterator[str]:
    proxy = child(definition, "Proxy")
    destination = text(proxy, "DestinationServiceName")
    if endless and facts.proxy_port_first:
        yield facts.proxy_port_text
    if not destination:
        yield "Proxy.DestinationServiceName must be non-empty for Connect proxy services"
    if destination == "*" and facts.proxy_needs_one_destination:
        yield "Proxy.DestinationServiceName must not be a wildcard for Connect proxy services"
    if endless and not facts.proxy_port_first:
        yield facts.proxy_port_text
    if child(definition, "Connect").get("Native"):
        yield "A Proxy cannot also be Connect Native, only typical services"
    names: set[str] = set()
    binds: set[str] = set()
    for upstream in children(proxy, "Upstreams"):
        yield from _upstream_complaints(upstream, names, binds, facts)
    yield from _expose_complaints(children(child(proxy, "Expose"), "Paths"), facts)


def _expose_complaints(exposed: list[Object], facts: VersionFacts) -> Iterator[str]:
    paths: set[str] = set()
    ports: set[int] = set()
    for each in exposed:
        path, port, protocol = text(each, "Path"), number(each, "ListenerPort"), text(each, "Protocol")
        if not path:
            yield "expose.paths: empty path exposed"
        if path in paths and facts.exposes_paths_once:
            yield "expose.paths: duplicate paths exposed"
        if port in ports:
            yield "expose.paths: duplicate listener ports exposed"
        if not 0 < port <= _LAST_PORT:
            yield f"expose.paths: invalid listener port: {port}"
        if protocol.lower() not in {"", *_EXPOSED}:
            yield f"protocol '{protocol}' not supported for path: {path}, must be in: [{' '.join(_EXPOSED)}]"
        paths.add(path)
        ports.add(port)


def _upstream_complaints(upstream: Object, names: set[str], binds: set[str], facts: VersionFacts) -> Iterator[str]:
    if not text(upstream, "DestinationName"):
        yield "upstream destination name cannot be empty"
        return
    central = upstream.get("CentrallyConfigured") is True
    if text(upstream, "DestinationName") == "*" and facts.proxy_needs_one_destination and not central:
        yield "upstream destination name cannot be a wildcard"
        return
    port, socket = number(upstream, "LocalBindPort"), text(upstream, "LocalBindSocketPath")
    if not port and not socket and not central:
        yield facts.upstream_port_text
        return
    if port and socket:
        yield "only one of upstream local bind port or local socket path can be defined and nonzero"
        return
    peer, datacenter = text(upstream, "DestinationPeer"), text(upstream, "Datacenter")
    if peer and datacenter:
        yield "upstream cannot specify both destination peer and datacenter"
    partition = 'partition="", ' if facts.partition_parameter else ""
    of_peer = f'peer="{peer}", ' if facts.peers else ""
    kind = text(upstream, "DestinationType") or "service"
    if kind not in {"service", "prepared_query"}:
        yield f'unknown upstream destination type: "{kind}"'
    name = (
        f'[type="{kind}", name="{text(upstream, "DestinationName")}", {partition}'
        f'namespace="{text(upstream, "DestinationNamespace")}", {of_peer}datacenter="{datacenter}"]'
    )
    bind = socket or f"{text(upstream, 'LocalBindAddress') or '127.0.0.1'}:{port}"
    if name in names:
        yield f"upstreams cannot contain duplicates of {name}"
    elif bind in binds and (port or socket):
        path = facts.upstream_bind_path
        yield f'upstreams cannot contain duplicates by local bind address and port{path}; "{bind}" is specified twice'
    names.add(name)
    binds.add(bind)


def _gateway_complaints(definition: Object, kind: str) -> Iterator[str]:
    proxy, connect = child(definition, "Proxy"), child(definition, "Connect")
    if not number(definition, "Port") and kind not in {"ingress-gateway", "api-gateway"}:
        yield f"Port must be non-zero for a {kind}"
    if connect.get("SidecarService") is not None:
        yield f"A {kind} cannot have a sidecar service defined"
    for member in (
        "DestinationServiceName",
        "DestinationServiceID",
        "LocalServiceAddress",
        "LocalServicePort",
        "LocalServiceSocketPath",
        "Upstreams",
    ):
        if proxy.get(member):
            yield f"The Proxy.{member} configuration is invalid for a {kind}"


def check_complaint(check: Object, facts: VersionFacts) -> str | None:
    """The first reason to refuse the definition of `check`; None without one; `facts` is the version."""
    timed = any(check.get(member) for member in _INTERVAL)
    alias = bool(text(check, "AliasNode") or text(check, "AliasService"))
    interval, ttl = (parse_duration(text(check, member) or "0") for member in ("Interval", "TTL"))
    if interval > 0 and ttl > 0:
        return "Interval and TTL cannot both be specified"
    if timed and interval <= 0:
        return facts.interval_text
    if timed and alias:
        return "Interval cannot be set for Alias checks"
    if alias and ttl > 0:
        return "TTL must be not be set for Alias checks"
    if not timed and not alias and ttl <= 0:
        return "TTL must be > 0 for TTL checks"
    if number(check, "OutputMaxSize") < 0:
        return "MaxOutputMaxSize must be positive"
    early = number(check, "FailuresBeforeWarning") <= number(check, "FailuresBeforeCritical")
    if facts.checks_warn_first and not early:
        return "FailuresBeforeWarning can't be higher than FailuresBeforeCritical"
    return None


def refuse_addresses(service: Object, facts: VersionFacts) -> None:
    """Refuse a `service` with an address of another kind than its tag says; `facts` is the version."""
    tagged = child(service, "TaggedAddresses")
    for tag, family in _FAMILIES.items():
        if tag in tagged and _family(text(child(tagged, tag), "Address"), facts) != family:
            raise Refused(500, f'Service tagged address "{tag}" must be a valid ipv{family} address')


def _family(address: str, facts: VersionFacts) -> int | None:
    """The version of IP of an `address`, as Go sees it; None for any other text."""
    plain = re.sub(r"(?<!\d)0+(?=\d)", "", address) if facts.addresses_take_zeros and ":" not in address else address
    try:
        found = ip_address(plain)
    except ValueError:
        return None
    if isinstance(found, IPv4Address) or found.ipv4_mapped:
        return 4
    return None if found.scope_id else 6


def refuse_foreign_nodes(checks: list[Object], node_name: str) -> None:
    """Refuse, as not modelled, `checks` that are an alias of another node than `node_name`."""
    if any(text(check, "AliasNode") not in {"", node_name} for check in checks):
        raise Refused(501, "The in-process agent knows no other node than its own, as AliasNode may name")


def refuse_scripts(checks: list[Object]) -> None:
    """Refuse checks that run commands, as an agent in development mode does."""
    if any(check.get(member) for check in checks for member in _SCRIPT):
        raise Refused(
            500,
            "Scripts are disabled on this agent from remote calls; to enable, configure 'enable_script_checks' to true",
        )


def check_definitions(definition: Object) -> list[Object]:
    """The checks of a service: Check, if it says anything about one, followed by Checks."""
    one = child(definition, "Check")
    # For Go an empty map of headers is a value, unlike an empty list; the id of the service is not part of a check.
    said = any(value or value == {} for member, value in one.items() if member != "ServiceID")
    return [*([one] if said else []), *children(definition, "Checks")]


def filled(definition: Object, facts: VersionFacts) -> Object:
    """Fill in the defaults of a service `definition`; `facts` is the version."""
    weights, given = definition.get("Weights"), child(definition, "Proxy")
    proxy = {member: value for member, value in given.items() if member != "EnvoyExtensions"}  # Consul ignores them.
    upstreams = [{"DestinationType": "service", **each} for each in children(proxy, "Upstreams")]
    return {
        **definition,
        "Proxy": {**proxy, "Upstreams": upstreams},
        "ID": text(definition, "ID") or text(definition, "Name"),
        "Tags": texts(definition, "Tags"),
        "Weights": weights if is_object(weights) else DEFAULT_WEIGHTS,
        "TaggedAddresses": {**_addresses_of(definition, facts), **child(definition, "TaggedAddresses")},
    }


def _addresses_of(definition: Object, facts: VersionFacts) -> Object:
    """The tagged addresses that a service has by its own address, where that is one of IP."""
    if (family := _family(text(definition, "Address"), facts)) is None:
        return {}
    own = {"Address": text(definition, "Address"), "Port": number(definition, "Port")}
    return {f"{network}_ipv{family}": own for network in ("lan", "wan")}


def sidecar_of(service: Object) -> Object | None:
    """The sidecar in the definition of a `service`; None where there is none.

    It has the defaults that it takes from the service, whose own ones are filled in, but only the port it asked for.
    """
    given = child(service, "Connect").get("SidecarService")
    if not is_object(given):
        return None
    identifier, name = text(service, "ID"), text(service, "Name")
    proxy = dict(child(given, "Proxy"))
    proxy["DestinationServiceName"] = text(proxy, "DestinationServiceName") or name
    proxy["DestinationServiceID"] = text(proxy, "DestinationServiceID") or identifier
    proxy["LocalServiceSocketPath"] = text(proxy, "LocalServiceSocketPath") or text(service, "SocketPath")
    if not proxy["LocalServiceSocketPath"]:
        proxy["LocalServicePort"] = number(proxy, "LocalServicePort") or number(service, "Port")
        proxy["LocalServiceAddress"] = text(proxy, "LocalServiceAddress") or "127.0.0.1"
    return {
        **given,
        "ID": f"{identifier}-sidecar-proxy",
        "Name": text(given, "Name") or f"{name}-sidecar-proxy",
        "Kind": text(given, "Kind") or PROXY,
        "Tags": given.get("Tags") or service["Tags"],
        "Meta": given.get("Meta") or service.get("Meta") or given.get("Meta"),
        "Address": text(given, "Address") or text(service, "Address"),
        "Proxy": proxy,
    }


def with_port(sidecar: Object, taken: Collection[int], before: Object | None, facts: VersionFacts) -> Object:
    """A `sidecar` with a port, with its checks and its defaults.

    `NoPortLeftError` where it needs a port and none is left.

    - `taken`: the ports that are in use.
    - `before`: the definition of the sidecar until now, whose port it keeps.
    - `facts`: the version.
    """
    port, identifier = number(sidecar, "Port"), text(sidecar, "ID").removesuffix("-sidecar-proxy")
    if port < 1:
        known = number(before, "Port") if before else 0
        port = known if known in _SIDECAR_PORTS else _free_port(taken)
    sidecar = filled({**sidecar, "Port": port}, facts)
    if not check_definitions(sidecar):
        address = text(sidecar, "Address") or "127.0.0.1"
        sidecar["Checks"] = [
            {"Name": "Connect Sidecar Listening", "TCP": f"{address}:{port}", "Interval": "10s"},
            {"Name": f"Connect Sidecar Aliasing {identifier}", "AliasService": identifier},
        ]
    return sidecar


def _free_port(taken: Collection[int]) -> int:
    free = next((port for port in _SIDECAR_PORTS if port not in taken), None)
    if free is None:
        raise NoPortLeftError(
            "no port provided for sidecar_service and none left in the configured range "
            f"[{_SIDECAR_PORTS.start}, {_SIDECAR_PORTS.stop - 1}]"
        )
    return free
