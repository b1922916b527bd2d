"""The members of the bodies that register in the catalog and deregister."""

from typing import Final

from aioconsulconnect.testing.go_json.schema import Field, ListOf, MapOf, Struct
from aioconsulconnect.testing.handlers.service_shapes import INDEXES, LOCALITY, NODE_SERVICE
from aioconsulconnect.testing.handlers.service_view import SHOWN_CHECK
from aioconsulconnect.testing.registration.definition_shapes import CONNECT_DEFINITION, PROXY_DEFINITION

_PEER: Final = Field("PeerName", since="1.13")
_CHECK_ID: Final = Field("CheckID", go_type="types.CheckID")
_SERVICE: Final = Struct(
    NODE_SERVICE.with_member(Field("Proxy", PROXY_DEFINITION)).with_member(Field("Connect", CONNECT_DEFINITION)).fields,
    "structs.NodeService",
)
_CHECK: Final = Struct((*SHOWN_CHECK.with_member(_CHECK_ID).fields, _PEER), "structs.HealthCheck")
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
        _PEER,
        Field("Locality", LOCALITY, since="1.16"),
        *INDEXES,
    ),
    "structs.RegisterRequest",
)
DEREGISTER: Final = Struct(
    (
        *(Field(name) for name in ("Datacenter", "Node", "Address", "ServiceID", "Token")),
        _CHECK_ID,
        _PEER,
    ),
    "struct { Address string; *structs.Alias }",
)
