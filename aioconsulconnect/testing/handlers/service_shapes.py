"""The members of services and checks, as registered and as the agent, catalog and health show them."""

from typing import Final

from aioconsulconnect.testing.config_entries.shapes import (
    ENVOY_EXTENSIONS,
    EXPOSE,
    MESH_GATEWAY,
    META,
    TRANSPARENT_PROXY,
)
from aioconsulconnect.testing.go_json.schema import Field, ListOf, MapOf, Struct

TAGGED: Final = MapOf(Struct((Field("Address", always=True), Field("Port", "int", always=True))))
WEIGHTS: Final = Struct((Field("Passing", "int", always=True), Field("Warning", "int", always=True)))
LOCALITY: Final = Struct((Field("Region"), Field("Zone")))
_ACCESS_LOGS: Final = Struct(
    (
        Field("Enabled", "bool"),
        Field("DisableListenerLogs", "bool"),
        Field("Type"),
        Field("Path"),
        Field("JSONFormat"),
        Field("TextFormat"),
    )
)
TEXTS: Final = ListOf("string")

# As registered.

CHECK_DEFINITION: Final = Struct(
    (
        Field("CheckID"),
        Field("Name"),
        Field("Status"),
        Field("Notes"),
        Field("ServiceID", alias="service_id"),
        Field("ScriptArgs", TEXTS, alias="script_args"),
        Field("Args", TEXTS),
        Field("HTTP"),
        Field("H2PING", since="1.10"),
        Field("H2PingUseTLS", "bool", since="1.16"),
        Field("Header", MapOf(TEXTS)),
        Field("Method"),
        Field("Body"),
        Field("DisableRedirects", "bool", since="1.16"),
        Field("TCP"),
        Field("TCPUseTLS", "bool", since="1.16"),
        Field("UDP", since="1.16"),
        Field("OSService", since="1.16"),
        Field("Interval", "duration"),
        Field("AliasNode"),
        Field("AliasService"),
        Field("DockerContainerID", alias="docker_container_id"),
        Field("Shell"),
        Field("GRPC"),
        Field("GRPCUseTLS", "bool", alias="grpc_use_tls"),
        Field("TLSServerName", since="1.10"),
        Field("TLSSkipVerify", "bool", alias="tls_skip_verify"),
        Field("Timeout", "duration"),
        Field("TTL", "duration"),
        Field("SuccessBeforePassing", "int"),
        Field("FailuresBeforeWarning", "int", since="1.16"),
        Field("FailuresBeforeCritical", "int"),
        Field("ProxyHTTP"),
        Field("ProxyGRPC"),
        Field("DeregisterCriticalServiceAfter", "duration", alias="deregister_critical_service_after"),
        Field("OutputMaxSize", "int"),
    )
)
_OWN_KEYS: Final = frozenset({"CheckID", "ServiceID"})
AGENT_CHECK: Final = Struct(
    (
        Field("ID"),
        Field("Namespace"),
        Field("ServiceID", alias="service_id"),
        Field("Token"),
        *(field for field in CHECK_DEFINITION.fields if field.name not in _OWN_KEYS),
    )
)
_UPSTREAM_DEFINITION: Final = Struct(
    (
        Field("DestinationType"),
        Field("DestinationNamespace"),
        Field("DestinationPartition", since="1.11"),
        Field("DestinationPeer", since="1.13"),
        Field("DestinationName"),
        Field("Datacenter"),
        Field("LocalBindAddress"),
        Field("LocalBindPort", "int"),
        Field("LocalBindSocketPath", since="1.10"),
        Field("LocalBindSocketMode", since="1.10"),
        Field("Config", "open"),
        Field("MeshGateway", MESH_GATEWAY),
    ),
    snake=True,
)
PROXY_DEFINITION: Final = Struct(
    (
        Field("EnvoyExtensions", ENVOY_EXTENSIONS, since="1.16"),
        Field("DestinationServiceName"),
        Field("DestinationServiceID"),
        Field("LocalServiceAddress"),
        Field("LocalServicePort", "int"),
        Field("LocalServiceSocketPath", since="1.10"),
        Field("Mode", since="1.10"),
        Field("TransparentProxy", TRANSPARENT_PROXY, since="1.10"),
        Field("MutualTLSMode", since="1.16"),
        Field("Config", "open"),
        Field("Upstreams", ListOf(_UPSTREAM_DEFINITION)),
        Field("MeshGateway", MESH_GATEWAY),
        Field("Expose", EXPOSE),
        Field("AccessLogs", _ACCESS_LOGS, since="1.16"),
    ),
    snake=True,
)
_SERVICE_FIELDS: Final = (
    Field("Kind"),
    Field("ID"),
    Field("Name"),
    Field("Tags", TEXTS),
    Field("Address"),
    Field("SocketPath", since="1.10"),
    Field("TaggedAddresses", TAGGED),
    Field("Meta", META),
    Field("Port", "int"),
    Field("Check", CHECK_DEFINITION),
    Field("Checks", ListOf(CHECK_DEFINITION)),
    Field("Weights", WEIGHTS),
    Field("Token"),
    Field("EnableTagOverride", "bool"),
    Field("Proxy", PROXY_DEFINITION),
    Field("Locality", LOCALITY, since="1.16"),
)
_SIDECAR: Final = Struct(
    (
        *_SERVICE_FIELDS,
        Field("Connect", Struct((Field("Native", "bool"), Field("SidecarService", "any")), snake=True)),
    ),
    snake=True,
)
SERVICE_DEFINITION: Final = Struct(
    (
        *_SERVICE_FIELDS,
        Field("Connect", Struct((Field("Native", "bool"), Field("SidecarService", _SIDECAR)), snake=True)),
    ),
    snake=True,
)

# As the agent shows them.

_AGENT_EXPOSE: Final = Struct(
    (
        Field("Checks", "bool"),
        Field(
            "Paths",
            ListOf(
                Struct(
                    (
                        Field("ListenerPort", "int"),
                        Field("Path"),
                        Field("LocalPathPort", "int"),
                        Field("Protocol"),
                        Field("ParsedFromCheck", "bool", always=True),
                    )
                )
            ),
        ),
    )
)
_AGENT_UPSTREAM: Final = Struct(
    (
        Field("DestinationType"),
        Field("DestinationPartition"),
        Field("DestinationNamespace"),
        Field("DestinationPeer"),
        Field("DestinationName", always=True),
        Field("Datacenter"),
        Field("LocalBindAddress"),
        Field("LocalBindPort", "int"),
        Field("LocalBindSocketPath"),
        Field("LocalBindSocketMode"),
        Field("Config", "open"),
        Field("MeshGateway", MESH_GATEWAY, always=True),
    )
)
_PROXY_HEAD: Final = (
    Field("EnvoyExtensions", ENVOY_EXTENSIONS),
    Field("DestinationServiceName"),
    Field("DestinationServiceID"),
    Field("LocalServiceAddress"),
    Field("LocalServicePort", "int"),
    Field("LocalServiceSocketPath"),
)
AGENT_SERVICE: Final = Struct(
    (
        Field("Kind"),
        Field("ID", always=True),
        Field("Service", always=True),
        Field("Tags", TEXTS, always=True),
        Field("Meta", META, always=True),
        Field("Port", "int", always=True),
        Field("Address", always=True),
        Field("SocketPath"),
        Field("TaggedAddresses", TAGGED),
        Field("Weights", WEIGHTS, always=True),
        Field("EnableTagOverride", "bool", always=True),
        Field("ContentHash"),
        Field(
            "Proxy",
            Struct(
                (
                    *_PROXY_HEAD,
                    Field("Mode"),
                    Field("TransparentProxy", TRANSPARENT_PROXY),
                    Field("MutualTLSMode"),
                    Field("Config", "open"),
                    Field("Upstreams", ListOf(_AGENT_UPSTREAM)),
                    Field("MeshGateway", MESH_GATEWAY, always=True),
                    Field("Expose", _AGENT_EXPOSE, always=True),
                    Field("AccessLogs", _ACCESS_LOGS),
                )
            ),
        ),
        Field("Connect", Struct((Field("Native", "bool"),))),
        Field("Datacenter", since="1.10"),
        Field("Locality", LOCALITY),
    )
)

# As the catalog and health show them.

_UPSTREAM: Final = Struct(
    (
        Field("DestinationType", always=True),
        Field("DestinationNamespace"),
        Field("DestinationPartition"),
        Field("DestinationPeer"),
        Field("DestinationName", always=True),
        Field("Datacenter", always=True),
        Field("LocalBindAddress"),
        Field("LocalBindPort", "int", always=True, until="1.8"),
        Field("LocalBindPort", "int", since="1.10"),
        Field("LocalBindSocketPath"),
        Field("LocalBindSocketMode"),
        Field("Config", "open", always=True, until="1.8"),
        Field("Config", "open", since="1.10"),
        Field("MeshGateway", MESH_GATEWAY, always=True),
        Field("CentrallyConfigured", "bool"),
    )
)
_PROXY: Final = Struct(
    (
        *_PROXY_HEAD,
        Field("Mode", always=True, since="1.10"),
        Field("Config", "open"),
        Field("Upstreams", ListOf(_UPSTREAM)),
        Field("MeshGateway", MESH_GATEWAY, always=True),
        Field("Expose", EXPOSE, always=True),
        Field("TransparentProxy", TRANSPARENT_PROXY),
        Field("MutualTLSMode"),
        Field("AccessLogs", _ACCESS_LOGS),
    )
)
_CONNECT: Final = Struct((Field("Native", "bool"),))
INDEXES: Final = (Field("CreateIndex", "uint64", always=True), Field("ModifyIndex", "uint64", always=True))
_LOCAL_ADDRESSES: Final = MapOf("string")
NODE: Final = Struct(
    (
        Field("ID", always=True),
        Field("Node", always=True),
        Field("Address", always=True),
        Field("Datacenter", always=True),
        Field("TaggedAddresses", _LOCAL_ADDRESSES, always=True),
        Field("Meta", META, always=True),
        *INDEXES,
    )
)
NODE_SERVICE: Final = Struct(
    (
        Field("Kind"),
        Field("ID", always=True),
        Field("Service", always=True),
        Field("Tags", TEXTS, always=True),
        Field("Address", always=True),
        Field("TaggedAddresses", TAGGED),
        Field("Meta", META, always=True),
        Field("Port", "int", always=True, until="1.10"),
        Field("Port", "int", since="1.16"),
        Field("SocketPath", since="1.10"),
        Field("Weights", WEIGHTS, always=True),
        Field("EnableTagOverride", "bool", always=True),
        Field("Locality", LOCALITY, since="1.16"),
        Field("Proxy", _PROXY, always=True),
        Field("Connect", _CONNECT, always=True),
        Field("PeerName", always=True, since="1.13"),
        *INDEXES,
    )
)
CHECK: Final = Struct(
    (
        Field("Node", always=True),
        Field("CheckID", always=True),
        Field("Name", always=True),
        Field("Status", always=True),
        Field("Notes", always=True),
        Field("Output", always=True),
        Field("ServiceID", always=True),
        Field("ServiceName", always=True),
        Field("ServiceTags", TEXTS, always=True),
        Field("Type", always=True),
        Field("Interval", always=True, since="1.10"),
        Field("Timeout", always=True, since="1.10"),
        Field("ExposedPort", "int", always=True, since="1.10"),
        Field("Definition", Struct(()), always=True),
        *INDEXES,
    )
)
HEALTHY_SERVICE: Final = Struct(
    (
        Field("Node", NODE, always=True),
        Field("Service", NODE_SERVICE, always=True),
        Field("Checks", ListOf(CHECK), always=True),
    )
)
CATALOG_SERVICE: Final = Struct(
    (
        Field("ID", always=True),
        Field("Node", always=True),
        Field("Address", always=True),
        Field("Datacenter", always=True),
        Field("TaggedAddresses", _LOCAL_ADDRESSES, always=True),
        Field("NodeMeta", META, always=True),
        Field("ServiceKind", always=True),
        Field("ServiceID", always=True),
        Field("ServiceName", always=True),
        Field("ServiceTags", TEXTS, always=True),
        Field("ServiceAddress", always=True),
        Field("ServiceTaggedAddresses", TAGGED),
        Field("ServiceWeights", WEIGHTS, always=True),
        Field("ServiceMeta", META, always=True),
        Field("ServicePort", "int", always=True),
        Field("ServiceSocketPath", always=True, since="1.10"),
        Field("ServiceEnableTagOverride", "bool", always=True),
        Field("ServiceProxy", _PROXY, always=True),
        Field("ServiceConnect", _CONNECT, always=True),
        Field("ServiceLocality", "any", always=True, since="1.16"),
        *INDEXES,
    )
)
