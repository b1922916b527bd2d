"""The members of services and checks as they are registered, and how Go's decoder takes them."""

from typing import Final

from aioconsulconnect.testing.config_entries.shapes.shared import MESH_GATEWAY, META, TRANSPARENT_PROXY
from aioconsulconnect.testing.go_json.schema import Field, ListOf, MapOf, MemberType, Shadow, Struct
from aioconsulconnect.testing.versions import OLDEST

_TEXTS: Final = ListOf("string")


def _fields(names: str, of: MemberType = "string", since: str = OLDEST) -> tuple[Field, ...]:
    return tuple(Field(name, of, since=since) for name in names.split())


def _snake(of: str, key: str, go_type: str = "string", since: str = OLDEST, until: str = "") -> Shadow:
    return Shadow(f"{of}Snake", go_type, of, key, since, until)


def durations(*names: str) -> tuple[Shadow, ...]:
    """The shadows of the durations `names`, read from text or a number, and ignored as anything else."""
    return tuple(Shadow(of, "interface {}", of) for of in names)


_ADDRESS: Final = Struct((Field("Address"), Field("Port", "int")), "structs.ServiceAddress")
_WEIGHTS: Final = Struct(_fields("Passing Warning", "int"), "structs.Weights")
_LOCALITY: Final = Struct(_fields("Region Zone"), "structs.Locality")

# Checks.

_CHECK: Final = (
    *_fields("Name Status Notes ServiceID HTTP Method Body TCP AliasNode AliasService DockerContainerID Shell GRPC"),
    *_fields("H2PING TLSServerName", since="1.10"),
    *_fields("UDP OSService", since="1.16"),
    *_fields("GRPCUseTLS TLSSkipVerify", "bool"),
    *_fields("DisableRedirects", "bool", since="1.10"),
    *_fields("TCPUseTLS H2PingUseTLS", "bool", since="1.16"),
    *_fields("Interval Timeout TTL DeregisterCriticalServiceAfter", "duration"),
    *_fields("SuccessBeforePassing FailuresBeforeCritical OutputMaxSize", "int"),
    *_fields("FailuresBeforeWarning", "int", since="1.16"),
    *(Field("ScriptArgs", _TEXTS), Field("Header", MapOf(_TEXTS))),
)
_CHECK_SHADOWS: Final = (
    *durations("Interval", "Timeout", "TTL", "DeregisterCriticalServiceAfter"),
    Shadow("Args", "[]string", "ScriptArgs", "args"),
    _snake("ScriptArgs", "script_args", "[]string"),
    _snake("DeregisterCriticalServiceAfter", "deregister_critical_service_after", "interface {}"),
    _snake("DockerContainerID", "docker_container_id"),
    _snake("TLSServerName", "tls_server_name", since="1.10"),
    _snake("TLSSkipVerify", "tls_skip_verify", "bool"),
    _snake("TCPUseTLS", "tcp_use_tls", "bool", since="1.16"),
    _snake("GRPCUseTLS", "grpc_use_tls", "bool", since="1.10"),
)
_H2PING: Final = _snake("H2PingUseTLS", "h2ping_use_tls", "bool", since="1.16")
_SERVICE_ID: Final = _snake("ServiceID", "service_id")
AGENT_CHECK: Final = Struct(
    (Field("ID", go_type="types.CheckID"), Field("Token"), *_CHECK),
    shadows=(
        *_CHECK_SHADOWS,
        _SERVICE_ID,
        _H2PING,
        _snake("DisableRedirects", "disable_redirects", "bool", since="1.10"),
    ),
)
_SERVICE_CHECK: Final = Struct(
    (Field("CheckID", go_type="types.CheckID"), Field("ProxyHTTP"), Field("ProxyGRPC"), *_CHECK),
    shadows=(*_CHECK_SHADOWS, _H2PING, Shadow("ServiceID", "string", "ServiceID", "ServiceID"), _SERVICE_ID),
)

# Proxies.

_MESH_GATEWAY_SNAKE: Final = _snake("MeshGateway", "mesh_gateway", "structs.MeshGatewayConfig", since="1.10")
_UPSTREAM: Final = Struct(
    (
        *_fields("DestinationType DestinationNamespace DestinationName Datacenter LocalBindAddress"),
        *_fields("DestinationPartition", since="1.11"),
        *_fields("DestinationPeer", since="1.13"),
        *_fields("LocalBindSocketPath LocalBindSocketMode", since="1.10"),
        *(Field("LocalBindPort", "int"), Field("Config", MapOf("any")), Field("MeshGateway", MESH_GATEWAY)),
        Field("CentrallyConfigured", "bool", since="1.10"),
    ),
    shadows=(
        _snake("DestinationType", "destination_type"),
        _snake("DestinationPartition", "destination_partition", since="1.11"),
        _snake("DestinationNamespace", "destination_namespace"),
        _snake("DestinationPeer", "destination_peer", since="1.13"),
        _snake("DestinationName", "destination_name"),
        _snake("LocalBindPort", "local_bind_port", "int", until="1.8"),
        _snake("LocalBindAddress", "local_bind_address"),
        _snake("LocalBindPort", "local_bind_port", "int", since="1.10"),
        _snake("LocalBindSocketPath", "local_bind_socket_path", since="1.10"),
        _snake("LocalBindSocketMode", "local_bind_socket_mode", since="1.10"),
        _MESH_GATEWAY_SNAKE,
    ),
)
_EXPOSED_PATH: Final = Struct(
    (*_fields("Path Protocol"), *_fields("ListenerPort LocalPathPort", "int"), *_fields("ParsedFromCheck", "bool")),
    shadows=(
        _snake("ListenerPort", "listener_port", "int", since="1.10"),
        _snake("LocalPathPort", "local_path_port", "int"),
        _snake("ListenerPort", "listener_port", "int", until="1.8"),
        _snake("ParsedFromCheck", "parsed_from_check", "bool", since="1.10"),
    ),
)
_EXPOSE: Final = Struct(
    (Field("Checks", "bool"), Field("Paths", ListOf(_EXPOSED_PATH), go_type="[]structs.ExposePath")),
    "structs.ExposeConfig",
)
_ACCESS_LOGS: Final = Struct(
    (
        *_fields("Enabled DisableListenerLogs", "bool"),
        *_fields("Path JSONFormat TextFormat"),
        Field("Type", go_type="structs.LogSinkType"),
    ),
    "structs.AccessLogsConfig",
)
_EXTENSION: Final = Struct(
    (*_fields("Name ConsulVersion EnvoyVersion"), Field("Required", "bool"), Field("Arguments", MapOf("any"))),
    "structs.EnvoyExtension",
)
PROXY_DEFINITION: Final = Struct(
    (
        Field("EnvoyExtensions", ListOf(_EXTENSION), since="1.16"),
        *_fields("DestinationServiceName DestinationServiceID LocalServiceAddress"),
        Field("LocalServicePort", "int"),
        Field("LocalServiceSocketPath", since="1.10"),
        Field("Mode", since="1.10", go_type="structs.ProxyMode"),
        Field("TransparentProxy", TRANSPARENT_PROXY, since="1.10"),
        Field("Config", MapOf("any")),
        Field("Upstreams", ListOf(_UPSTREAM), go_type="structs.Upstreams"),
        Field("MeshGateway", MESH_GATEWAY),
        Field("Expose", _EXPOSE),
        Field("AccessLogs", _ACCESS_LOGS, since="1.16"),
    ),
    shadows=(
        _snake("DestinationServiceName", "destination_service_name"),
        _snake("DestinationServiceID", "destination_service_id"),
        _snake("LocalServiceAddress", "local_service_address"),
        _snake("LocalServicePort", "local_service_port", "int"),
        _snake("LocalServiceSocketPath", "local_service_socket_path", since="1.10"),
        _MESH_GATEWAY_SNAKE,
        _snake("TransparentProxy", "transparent_proxy", "structs.TransparentProxyConfig", since="1.10"),
        _snake("AccessLogs", "access_logs", "structs.AccessLogsConfig", since="1.16"),
    ),
)

# Services.

_SERVICE: Final = (
    Field("Kind", go_type="structs.ServiceKind"),
    *_fields("ID Name Address Token"),
    *_fields("SocketPath", since="1.10"),
    Field("Tags", _TEXTS),
    Field("TaggedAddresses", MapOf(_ADDRESS)),
    Field("Meta", META),
    Field("Port", "int"),
    Field("Check", _SERVICE_CHECK),
    Field("Checks", ListOf(_SERVICE_CHECK), go_type="structs.CheckTypes"),
    Field("Weights", _WEIGHTS),
    Field("EnableTagOverride", "bool"),
    Field("Proxy", PROXY_DEFINITION),
    Field("Locality", _LOCALITY, since="1.16"),
)
_SERVICE_SHADOWS: Final = (
    _snake("EnableTagOverride", "enable_tag_override", "bool"),
    _snake("TaggedAddresses", "tagged_addresses", "map[string]structs.ServiceAddress"),
)
PEER_META: Final = Struct(
    (Field("SNI", _TEXTS), Field("SpiffeID", _TEXTS), Field("Protocol")), "structs.PeeringServiceMeta", lenient=True
)


def _connect(sidecar: MemberType) -> Struct:
    return Struct(
        (Field("Native", "bool"), Field("SidecarService", sidecar), Field("PeerMeta", PEER_META, since="1.13")),
        shadows=(_snake("SidecarService", "sidecar_service", "*structs.ServiceDefinition"),),
        lenient=True,
    )


CONNECT_DEFINITION: Final = _connect("any")
"""Connect in the catalog, where nobody reads the sidecar."""


def _service(sidecar: Struct | None) -> Struct:
    """A service whose Connect may hold `sidecar`, or of which nothing is read there."""
    return Struct((*_SERVICE, Field("Connect", _connect(sidecar or "any"))), shadows=_SERVICE_SHADOWS)


SERVICE_DEFINITION: Final = _service(_service(_service(None)))
"""A service; a sidecar within a sidecar is read too, to be refused."""
