"""The members of the bodies that register nodes, services and checks in the catalog, and take them from it."""

from typing import Final

from aioconsulconnect.testing.go_json.schema import Field, ListOf, MapOf, Struct
from aioconsulconnect.testing.handlers.service_shapes import (
    CHECK_INTERNALS,
    INDEXES,
    LOCALITY,
    PROXY_DEFINITION,
    TAGGED,
    TEXTS,
    WEIGHTS,
)

_SERVICE: Final = Struct(
    (
        Field("Kind"),
        Field("ID"),
        Field("Service"),
        Field("Tags", TEXTS),
        Field("Address"),
        Field("TaggedAddresses", TAGGED),
        Field("Meta", MapOf("string")),
        Field("Port", "int"),
        Field("SocketPath", since="1.10"),
        Field("Weights", WEIGHTS, go_type="structs.Weights"),
        Field("EnableTagOverride", "bool"),
        Field("Locality", LOCALITY, since="1.16"),
        Field("Proxy", PROXY_DEFINITION),
        Field("Connect", Struct((Field("Native", "bool"),))),
        Field("PeerName", since="1.13"),
        *INDEXES,
    )
)
_CHECK: Final = Struct(
    (
        Field("Node"),
        Field("CheckID", go_type="types.CheckID"),
        Field("Name"),
        Field("Status"),
        Field("Notes"),
        Field("Output"),
        Field("ServiceID"),
        Field("ServiceName"),
        Field("ServiceTags", TEXTS),
        Field("Type"),
        Field("Interval", since="1.10"),
        Field("Timeout", since="1.10"),
        Field("ExposedPort", "int", since="1.10"),
        Field("Definition", CHECK_INTERNALS),
        Field("PeerName", since="1.13"),
        *INDEXES,
    )
)
REGISTER: Final = Struct(
    (
        Field("Datacenter"),
        Field("ID", go_type="types.NodeID"),
        Field("Node"),
        Field("Address"),
        Field("TaggedAddresses", MapOf("string")),
        Field("NodeMeta", MapOf("string")),
        Field("Service", _SERVICE, go_type="structs.NodeService"),
        Field("Check", _CHECK, go_type="structs.HealthCheck"),
        Field("Checks", ListOf(_CHECK), go_type="structs.HealthChecks"),
        Field("SkipNodeUpdate", "bool"),
        Field("Token"),
        Field("PeerName", since="1.13"),
        Field("Locality", LOCALITY, since="1.16"),
        *INDEXES,
    ),
    "structs.RegisterRequest",
)
DEREGISTER: Final = Struct(
    (
        Field("Datacenter"),
        Field("Node"),
        Field("Address"),
        Field("ServiceID"),
        Field("CheckID", go_type="types.CheckID"),
        Field("Token"),
        Field("PeerName", since="1.13"),
    ),
    "struct { Address string; *structs.Alias }",
)
