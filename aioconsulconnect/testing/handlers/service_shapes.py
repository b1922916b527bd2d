"""The members of services and checks, as the agent, catalog and health show them."""

from typing import Final

from aioconsulconnect.testing.config_entries.shapes.shared import (
    ENVOY_EXTENSIONS,
    EXPOSE,
    MESH_GATEWAY,
    META,
    TRANSPARENT_PROXY,
)
from aioconsulconnect.testing.go_json.schema import Field, ListOf, MapOf, Struct
from aioconsulconnect.testing.registration.definition_shapes import PEER_META

TAGGED: Final = MapOf(
    Struct((Field("Address", always=True), Field("Port", "int", always=True)), "structs.ServiceAddress")
)
WEIGHTS: Final = Struct((Field("Passing", "int", always=True), Field("Warning", "int", always=True)), "structs.Weights")
LOCALITY: Final = Struct((Field("Region"), Field("Zone")), "structs.Locality")
_LOCALITY: Final = Struct((Field("Region", always=True), Field("Zone", always=True)))
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
    Field("DestinationServiceName"),
    Field("DestinationServiceID"),
    Field("LocalServiceAddress"),
    Field("LocalServicePort", "int"),
    Field("LocalServiceSocketPath", since="1.10"),
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
        Field("SocketPath", since="1.10"),
        Field("TaggedAddresses", TAGGED),
        Field("Weights", WEIGHTS, always=True),
        Field("EnableTagOverride", "bool", always=True),
        Field("ContentHash", filtered=False),
        Field(
            "Proxy",
            Struct(
                (
                    *_PROXY_HEAD,
                    Field("Mode", since="1.10"),
                    Field("TransparentProxy", TRANSPARENT_PROXY, since="1.10"),
                    Field("MutualTLSMode", since="1.16"),
                    Field("Config", "open"),
                    Field("Upstreams", ListOf(_AGENT_UPSTREAM)),
                    Field("MeshGateway", MESH_GATEWAY, always=True),
                    Field("Expose", _AGENT_EXPOSE, always=True),
                    Field("AccessLogs", _ACCESS_LOGS, since="1.16"),
                )
            ),
        ),
        Field("Connect", Struct((Field("Native", "bool"),))),
        Field("Datacenter", since="1.10", filtered=False),
        Field("PeerName", since="1.13"),
        Field("Locality", _LOCALITY, filtered=False),
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
        Field("TransparentProxy", TRANSPARENT_PROXY, since="1.10"),
        Field("AccessLogs", _ACCESS_LOGS, since="1.16"),
        Field("EnvoyExtensions", ENVOY_EXTENSIONS, since="1.16"),
        *_PROXY_HEAD,
        Field("Mode", always=True, since="1.10"),
        Field("Config", "open"),
        Field("Upstreams", ListOf(_UPSTREAM)),
        Field("MeshGateway", MESH_GATEWAY, always=True),
        Field("Expose", EXPOSE, always=True),
        Field("MutualTLSMode", since="1.16"),
    )
)
_CONNECT: Final = Struct((Field("Native", "bool"), Field("PeerMeta", PEER_META, since="1.13", filtered=False)))
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
        Field("Locality", LOCALITY, since="1.16", filtered=False),
        Field("PeerName", since="1.13"),
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
        Field("Port", "int", always=True, until="1.8"),
        Field("Port", "int", since="1.10"),
        Field("SocketPath", since="1.10"),
        Field("Weights", WEIGHTS, always=True),
        Field("EnableTagOverride", "bool", always=True),
        Field("Locality", LOCALITY, since="1.16", filtered=False),
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
        Field("Definition", Struct(()), always=True, filtered=False),
        Field("PeerName", since="1.13"),
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
        Field("PeerName", since="1.13"),
        *INDEXES,
    )
)
