"""The members of the configuration entries of traffic, gateways and the mesh, with the version that brought each."""

from typing import Final

from aioconsulconnect.testing.schema import Field, ListOf, MapOf, Struct
from aioconsulconnect.testing.shapes import ENTRY_HEAD, ENTRY_TAIL, PASSIVE_HEALTH_CHECK

_TEXTS: Final = ListOf("string")
_LOCALITY: Final = Struct((Field("Mode"),))
_FAILOVER_POLICY: Final = Struct((Field("Mode"), Field("Regions", _TEXTS)))
_HEADERS: Final = Struct((Field("Add", MapOf("string")), Field("Set", MapOf("string")), Field("Remove", _TEXTS)))
_REQUEST_AND_RESPONSE: Final = (
    Field("RequestHeaders", _HEADERS, since="1.10"),
    Field("ResponseHeaders", _HEADERS, since="1.10"),
)

# Traffic.

LOAD_BALANCER: Final = Struct(
    (
        Field("Policy"),
        Field("RingHashConfig", Struct((Field("MinimumRingSize", "int"), Field("MaximumRingSize", "int")))),
        Field("LeastRequestConfig", Struct((Field("ChoiceCount", "int"),))),
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
        Field("Partition", since="1.16"),
        Field("Datacenter"),
        Field("Peer", since="1.16"),
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
            since="1.16",
        ),
        Field("Policy", _FAILOVER_POLICY, since="1.16"),
        Field("SamenessGroup", since="1.16"),
    )
)
SERVICE_RESOLVER: Final = Struct(
    (
        Field("ConnectTimeout", "duration"),
        Field("RequestTimeout", "duration", since="1.16"),
        *ENTRY_HEAD,
        Field("DefaultSubset"),
        Field("Subsets", MapOf(SUBSET)),
        Field("Redirect", _REDIRECT),
        Field("Failover", MapOf(_FAILOVER)),
        Field("PrioritizeByLocality", _LOCALITY, since="1.16"),
        Field("LoadBalancer", LOAD_BALANCER, since="1.10"),
        *ENTRY_TAIL,
    )
)
SPLIT: Final = Struct(
    (
        Field("Weight", "float64", always=True),
        Field("Service"),
        Field("ServiceSubset"),
        Field("Namespace"),
        Field("Partition", since="1.16"),
        *_REQUEST_AND_RESPONSE,
    )
)
SERVICE_SPLITTER: Final = Struct((*ENTRY_HEAD, Field("Splits", ListOf(SPLIT), always=True), *ENTRY_TAIL))
_HTTP_MATCH: Final = Struct(
    (
        Field("PathExact"),
        Field("PathPrefix"),
        Field("PathRegex"),
        Field("CaseInsensitive", "bool", since="1.22"),
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
                    Field("IdleTimeout", "duration", since="1.16"),
                    Field("Service"),
                    Field("ServiceSubset"),
                    Field("Namespace"),
                    Field("Partition", since="1.16"),
                    Field("PrefixRewrite"),
                    Field("NumRetries", "int"),
                    Field("RetryOnConnectFailure", "bool"),
                    Field("RetryOn", _TEXTS, since="1.16"),
                    Field("RetryOnStatusCodes", ListOf("int")),
                    *_REQUEST_AND_RESPONSE,
                )
            ),
        ),
    )
)
SERVICE_ROUTER: Final = Struct((*ENTRY_HEAD, Field("Routes", ListOf(ROUTE), always=True), *ENTRY_TAIL))

# Gateways.

_LIMITS: Final = (
    Field("MaxConnections", "int"),
    Field("MaxPendingRequests", "int"),
    Field("MaxConcurrentRequests", "int"),
)
_PASSIVE: Final = Field("PassiveHealthCheck", PASSIVE_HEALTH_CHECK, since="1.16")
_SDS: Final = Field("SDS", Struct((Field("ClusterName"), Field("CertResource"))), since="1.16")
_GATEWAY_TLS: Final = Struct(
    (
        Field("Enabled", "bool", always=True),
        _SDS,
        Field("TLSMinVersion", since="1.16"),
        Field("TLSMaxVersion", since="1.16"),
        Field("CipherSuites", _TEXTS, since="1.16"),
    )
)
INGRESS_GATEWAY: Final = Struct(
    (
        *ENTRY_HEAD,
        Field("TLS", _GATEWAY_TLS, always=True),
        Field(
            "Listeners",
            ListOf(
                Struct(
                    (
                        Field("Port", "int", always=True),
                        Field("Protocol", always=True),
                        Field("TLS", _GATEWAY_TLS, since="1.16"),
                        Field(
                            "Services",
                            ListOf(
                                Struct(
                                    (
                                        Field("Name", always=True),
                                        Field("Hosts", _TEXTS, always=True),
                                        Field("TLS", Struct((_SDS,)), since="1.16"),
                                        *_REQUEST_AND_RESPONSE,
                                        *(Field(each.name, each.of, since="1.16") for each in _LIMITS),
                                        _PASSIVE,
                                    )
                                )
                            ),
                            always=True,
                        ),
                    )
                )
            ),
            always=True,
        ),
        Field(
            "Defaults",
            Struct((*(Field(each.name, each.of, always=True) for each in _LIMITS), _PASSIVE)),
            since="1.16",
        ),
        *ENTRY_TAIL,
    )
)
TERMINATING_GATEWAY: Final = Struct(
    (
        *ENTRY_HEAD,
        Field(
            "Services",
            ListOf(
                Struct(
                    (
                        Field("Name"),
                        Field("CAFile"),
                        Field("CertFile"),
                        Field("KeyFile"),
                        Field("SNI"),
                        Field("DisableAutoHostRewrite", "bool", since="1.22"),
                    )
                )
            ),
            always=True,
        ),
        *ENTRY_TAIL,
    )
)

# The mesh.

_TLS_DIRECTION: Final = Struct((Field("TLSMinVersion"), Field("TLSMaxVersion"), Field("CipherSuites", _TEXTS)))
_NORMALIZATION: Final = Struct(
    (
        Field("InsecureDisablePathNormalization", "bool", always=True),
        Field("MergeSlashes", "bool", always=True),
        Field("PathWithEscapedSlashesAction", always=True),
        Field("HeadersWithUnderscoresAction", always=True),
    )
)
MESH: Final = Struct(
    (
        Field("Kind", always=True),
        Field("TransparentProxy", Struct((Field("MeshDestinationsOnly", "bool", always=True),)), always=True),
        Field("AllowEnablingPermissiveMutualTLS", "bool", since="1.16"),
        Field("ValidateClusters", "bool", since="1.22"),
        Field("TLS", Struct((Field("Incoming", _TLS_DIRECTION), Field("Outgoing", _TLS_DIRECTION))), since="1.16"),
        Field(
            "HTTP",
            Struct(
                (
                    Field("SanitizeXForwardedClientCert", "bool", always=True),
                    Field("Incoming", Struct((Field("RequestNormalization", _NORMALIZATION),)), since="1.22"),
                )
            ),
            since="1.16",
        ),
        Field("Peering", Struct((Field("PeerThroughMeshGateways", "bool"),)), since="1.16"),
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
CERTIFICATE: Final = (Field("Certificate", always=True), Field("PrivateKey", always=True))
INLINE_CERTIFICATE: Final = Struct((*ENTRY_HEAD, *CERTIFICATE, *ENTRY_TAIL))

# API gateways: hardly anything is left out when it is empty, so what is absent is null.

_RESOURCE: Final = Struct((Field("Kind", always=True), Field("Name", always=True), Field("SectionName", always=True)))
STATUS: Final = Struct(
    (
        Field(
            "Conditions",
            ListOf(
                Struct(
                    (
                        Field("Type", always=True),
                        Field("Status", always=True),
                        Field("Reason", always=True),
                        Field("Message", always=True),
                        Field("Resource", _RESOURCE, always=True),
                        Field("LastTransitionTime", always=True),
                    )
                )
            ),
            always=True,
        ),
    )
)
API_GATEWAY: Final = Struct(
    (
        *ENTRY_HEAD,
        Field(
            "Listeners",
            ListOf(
                Struct(
                    (
                        Field("Name", always=True),
                        Field("Hostname", always=True),
                        Field("Port", "int", always=True),
                        Field("Protocol", always=True),
                        Field(
                            "TLS",
                            Struct(
                                (
                                    Field("Certificates", ListOf(_RESOURCE), always=True),
                                    Field("MaxVersion", always=True),
                                    Field("MinVersion", always=True),
                                    Field("CipherSuites", _TEXTS, always=True),
                                )
                            ),
                            always=True,
                        ),
                    )
                )
            ),
            always=True,
        ),
        Field("Status", STATUS, always=True),
        *ENTRY_TAIL,
    )
)
_FILTERS: Final = Struct(
    (
        Field("Headers", ListOf(_HEADERS), always=True),
        Field("URLRewrite", "any", always=True),
        Field("RetryFilter", "any", always=True, since="1.22"),
        Field("TimeoutFilter", "any", always=True, since="1.22"),
        Field("JWT", "any", always=True, since="1.22"),
    )
)
_RESPONSE_FILTERS: Final = Field(
    "ResponseFilters", Struct((Field("Headers", ListOf(_HEADERS), always=True),)), always=True, since="1.22"
)
_ROUTE_MATCH: Final = Struct(
    (
        Field("Headers", "any", always=True),
        Field("Method", always=True),
        Field("Path", Struct((Field("Match", always=True), Field("Value", always=True))), always=True),
        Field("Query", "any", always=True),
    )
)
HTTP_ROUTE: Final = Struct(
    (
        *ENTRY_HEAD,
        Field("Parents", ListOf(_RESOURCE), always=True),
        Field(
            "Rules",
            ListOf(
                Struct(
                    (
                        Field("Filters", _FILTERS, always=True),
                        _RESPONSE_FILTERS,
                        Field("Matches", ListOf(_ROUTE_MATCH), always=True),
                        Field(
                            "Services",
                            ListOf(
                                Struct(
                                    (
                                        Field("Name", always=True),
                                        Field("Weight", "int", always=True),
                                        Field("Filters", _FILTERS, always=True),
                                        _RESPONSE_FILTERS,
                                    )
                                )
                            ),
                            always=True,
                        ),
                    )
                )
            ),
            always=True,
        ),
        Field("Hostnames", _TEXTS, always=True),
        Field("Status", STATUS, always=True),
        *ENTRY_TAIL,
    )
)
TCP_ROUTE: Final = Struct(
    (
        *ENTRY_HEAD,
        Field("Parents", ListOf(_RESOURCE), always=True),
        Field("Services", ListOf(Struct((Field("Name", always=True),))), always=True),
        Field("Status", STATUS, always=True),
        *ENTRY_TAIL,
    )
)
