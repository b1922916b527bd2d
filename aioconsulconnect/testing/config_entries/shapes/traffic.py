"""The members of the configuration entries of traffic and the mesh, and the versions that have them."""

from typing import Final

from aioconsulconnect.testing.config_entries.shapes.shared import ENTRY_HEAD, ENTRY_TAIL
from aioconsulconnect.testing.go_json.schema import Field, ListOf, MapOf, Struct

_TEXTS: Final = ListOf("string")
_LOCALITY: Final = Struct((Field("Mode"),))
_FAILOVER_POLICY: Final = Struct((Field("Mode"), Field("Regions", _TEXTS)))
HEADERS: Final = Struct((Field("Add", MapOf("string")), Field("Set", MapOf("string")), Field("Remove", _TEXTS)))
REQUEST_AND_RESPONSE: Final = (
    Field("RequestHeaders", HEADERS, since="1.11"),
    Field("ResponseHeaders", HEADERS, since="1.11"),
)

# Traffic.

LOAD_BALANCER: Final = Struct(
    (
        Field("Policy"),
        Field("RingHashConfig", Struct((Field("MinimumRingSize", "uint64"), Field("MaximumRingSize", "uint64")))),
        Field("LeastRequestConfig", Struct((Field("ChoiceCount", "uint32"),))),
        Field(
            "HashPolicies",
            ListOf(
                Struct(
                    (
                        Field("Field"),
                        Field("FieldValue"),
                        Field(
                            "CookieConfig",
                            Struct((Field("Session", "bool"), Field("TTL", "nanoseconds"), Field("Path"))),
                        ),
                        Field("SourceIP", "bool"),
                        Field("Terminal", "bool"),
                    )
                )
            ),
        ),
    )
)
SUBSET: Final = Struct((Field("Filter"), Field("OnlyPassing", "bool")))
_REDIRECT: Final = Struct(
    (
        Field("Service"),
        Field("ServiceSubset"),
        Field("Namespace"),
        Field("Partition", since="1.11"),
        Field("Datacenter"),
        Field("Peer", since="1.13"),
        Field("SamenessGroup", since="1.16"),
    )
)
_FAILOVER: Final = Struct(
    (
        Field("Service"),
        Field("ServiceSubset"),
        Field("Namespace"),
        Field("Datacenters", _TEXTS),
        Field(
            "Targets",
            ListOf(
                Struct(
                    (
                        Field("Service"),
                        Field("ServiceSubset"),
                        Field("Partition"),
                        Field("Namespace"),
                        Field("Datacenter"),
                        Field("Peer"),
                    )
                )
            ),
            since="1.14",
        ),
        Field("Policy", _FAILOVER_POLICY, since="1.16"),
        Field("SamenessGroup", since="1.16"),
    )
)
SERVICE_RESOLVER: Final = Struct(
    (
        Field("ConnectTimeout", "duration"),
        Field("RequestTimeout", "duration", since="1.14"),
        *ENTRY_HEAD,
        Field("DefaultSubset"),
        Field("Subsets", MapOf(SUBSET)),
        Field("Redirect", _REDIRECT),
        Field("Failover", MapOf(_FAILOVER)),
        Field("PrioritizeByLocality", _LOCALITY, since="1.16"),
        Field("LoadBalancer", LOAD_BALANCER, since="1.9"),
        *ENTRY_TAIL,
    )
)
SPLIT: Final = Struct(
    (
        Field("Weight", "float64", always=True, go_type="float32"),
        Field("Service"),
        Field("ServiceSubset"),
        Field("Namespace"),
        Field("Partition", since="1.11"),
        *REQUEST_AND_RESPONSE,
    )
)
SERVICE_SPLITTER: Final = Struct((*ENTRY_HEAD, Field("Splits", ListOf(SPLIT), always=True), *ENTRY_TAIL))
_HTTP_MATCH: Final = Struct(
    (
        Field("PathExact"),
        Field("PathPrefix"),
        Field("PathRegex"),
        Field("CaseInsensitive", "bool", since="1.20"),
        Field(
            "Header",
            ListOf(
                Struct(
                    (
                        Field("Name", always=True),
                        Field("Present", "bool"),
                        Field("Exact"),
                        Field("Prefix"),
                        Field("Suffix"),
                        Field("Regex"),
                        Field("Invert", "bool"),
                    )
                )
            ),
        ),
        Field(
            "QueryParam",
            ListOf(Struct((Field("Name", always=True), Field("Present", "bool"), Field("Exact"), Field("Regex")))),
        ),
        Field("Methods", _TEXTS),
    )
)
ROUTE: Final = Struct(
    (
        Field("Match", Struct((Field("HTTP", _HTTP_MATCH),))),
        Field(
            "Destination",
            Struct(
                (
                    Field("RequestTimeout", "duration"),
                    Field("IdleTimeout", "duration", since="1.14"),
                    Field("Service"),
                    Field("ServiceSubset"),
                    Field("Namespace"),
                    Field("Partition", since="1.11"),
                    Field("PrefixRewrite"),
                    Field("NumRetries", "uint32"),
                    Field("RetryOnConnectFailure", "bool"),
                    Field("RetryOn", _TEXTS, since="1.14"),
                    Field("RetryOnStatusCodes", ListOf("uint32")),
                    *REQUEST_AND_RESPONSE,
                )
            ),
        ),
    )
)
SERVICE_ROUTER: Final = Struct((*ENTRY_HEAD, Field("Routes", ListOf(ROUTE), always=True), *ENTRY_TAIL))

# The mesh.

_TLS_DIRECTION: Final = Struct(
    (
        Field("TLSMinVersion", go_type="types.TLSVersion"),
        Field("TLSMaxVersion", go_type="types.TLSVersion"),
        Field("CipherSuites", _TEXTS, go_type="types.TLSCipherSuite"),
    )
)
_NORMALIZATION: Final = Struct(
    (
        Field("InsecureDisablePathNormalization", "bool", always=True),
        Field("MergeSlashes", "bool", always=True),
        Field("PathWithEscapedSlashesAction", always=True, go_type="structs.PathWithEscapedSlashesAction"),
        Field("HeadersWithUnderscoresAction", always=True, go_type="structs.HeadersWithUnderscoresAction"),
    )
)
MESH: Final = Struct(
    (
        Field("Kind", always=True),
        Field("TransparentProxy", Struct((Field("MeshDestinationsOnly", "bool", always=True),)), always=True),
        Field("AllowEnablingPermissiveMutualTLS", "bool", since="1.16"),
        Field("ValidateClusters", "bool", since="1.20"),
        Field("TLS", Struct((Field("Incoming", _TLS_DIRECTION), Field("Outgoing", _TLS_DIRECTION))), since="1.12"),
        Field(
            "HTTP",
            Struct(
                (
                    Field("SanitizeXForwardedClientCert", "bool", always=True),
                    Field("Incoming", Struct((Field("RequestNormalization", _NORMALIZATION),)), since="1.20.1"),
                )
            ),
            since="1.12",
        ),
        Field("Peering", Struct((Field("PeerThroughMeshGateways", "bool", always=True),)), since="1.14"),
        *ENTRY_TAIL,
    )
)
EXPORTED_SERVICES: Final = Struct(
    (
        *ENTRY_HEAD,
        Field(
            "Services",
            ListOf(
                Struct(
                    (
                        Field("Name"),
                        Field("Namespace"),
                        Field(
                            "Consumers",
                            ListOf(
                                Struct((Field("Partition"), Field("Peer", alias="peer_name"), Field("SamenessGroup")))
                            ),
                        ),
                    )
                )
            ),
        ),
        *ENTRY_TAIL,
    )
)
SAMENESS_GROUP: Final = Struct(
    (
        *ENTRY_HEAD,
        Field("DefaultForFailover", "bool"),
        Field("IncludeLocal", "bool"),
        Field("Members", ListOf(Struct((Field("Partition"), Field("Peer"))))),
        *ENTRY_TAIL,
    )
)
