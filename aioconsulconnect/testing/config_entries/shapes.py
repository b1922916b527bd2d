"""The members of intentions and of the configuration entries, with the version that brought each."""

from typing import Final

from aioconsulconnect.testing.go_json.schema import Field, ListOf, MapOf, Struct

META: Final = MapOf("string")
JWT: Final = Struct(
    (
        Field(
            "Providers",
            ListOf(
                Struct(
                    (
                        Field("Name"),
                        Field("VerifyClaims", ListOf(Struct((Field("Path", ListOf("string")), Field("Value"))))),
                    )
                )
            ),
        ),
    )
)
HEADER: Final = Struct(
    (
        Field("Name", always=True),
        Field("Present", "bool"),
        Field("Exact"),
        Field("Prefix"),
        Field("Suffix"),
        Field("Contains", since="1.22"),
        Field("Regex"),
        Field("Invert", "bool"),
        Field("IgnoreCase", "bool", since="1.22"),
    )
)
PERMISSION: Final = Struct(
    (
        Field("Action", always=True),
        Field(
            "HTTP",
            Struct(
                (
                    Field("PathExact"),
                    Field("PathPrefix"),
                    Field("PathRegex"),
                    Field("Header", ListOf(HEADER)),
                    Field("Methods", ListOf("string")),
                )
            ),
        ),
        Field("JWT", JWT, since="1.16"),
    )
)
INTENTION: Final = Struct(
    (
        Field("CreatedAt"),
        Field("UpdatedAt"),
        Field("ID"),
        Field("Description"),
        Field("SourceNS"),
        Field("SourceName"),
        Field("DestinationNS"),
        Field("DestinationName"),
        Field("SourcePartition", since="1.16"),
        Field("DestinationPartition", since="1.16"),
        Field("SourcePeer", since="1.16"),
        Field("SourceSamenessGroup", since="1.16"),
        Field("SourceType", go_type="structs.IntentionSourceType"),
        Field("Action", go_type="structs.IntentionAction"),
        Field("Permissions", ListOf(PERMISSION), since="1.10"),
        Field("JWT", "ignored", since="1.16"),
        Field("DefaultAddr"),
        Field("DefaultPort", "int"),
        Field("Meta", META),
        Field("Precedence", "int"),
        Field("Hash"),
        Field("CreateIndex", "uint64"),
        Field("ModifyIndex", "uint64"),
    ),
    "struct { Hash string; CreatedAt string; UpdatedAt string; *structs.Alias }",
)

INTENTION_FILTER: Final = Struct(
    (
        Field("Action"),
        Field("Description"),
        Field("DestinationNS"),
        Field("DestinationName"),
        Field("DestinationPartition", since="1.16"),
        Field("ID"),
        Field("Meta", META),
        Field("Precedence", "int"),
        Field("SourceNS"),
        Field("SourceName"),
        Field("SourcePartition", since="1.16"),
        Field("SourcePeer", since="1.16"),
        Field("SourceSamenessGroup", since="1.16"),
        Field("SourceType"),
    )
)
"""What the filter of intentions can look at."""

ENTRY_HEAD: Final = (Field("Kind", always=True), Field("Name", always=True))
ENTRY_TAIL: Final = (
    Field("Meta", META),
    Field("Hash", "uint64", since="1.16"),
    Field("CreateIndex", "uint64", always=True),
    Field("ModifyIndex", "uint64", always=True),
)
SOURCE: Final = Struct(
    (
        Field("Name", always=True),
        Field("Action"),
        Field("Permissions", ListOf(PERMISSION)),
        Field("Precedence", "int", always=True),
        Field("LegacyID"),
        Field("Type", always=True),
        Field("Description"),
        Field("LegacyMeta", META),
        Field("LegacyCreateTime"),
        Field("LegacyUpdateTime"),
        Field("Peer", since="1.16"),
        Field("SamenessGroup", since="1.16"),
    )
)
MESH_GATEWAY: Final = Struct((Field("Mode"),))
TRANSPARENT_PROXY: Final = Struct((Field("OutboundListenerPort", "int"), Field("DialedDirectly", "bool")))
EXPOSE: Final = Struct(
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
                        Field("ParsedFromCheck", "bool", always=True, until="1.8"),
                        Field("ParsedFromCheck", "bool", since="1.10"),
                    )
                )
            ),
        ),
    )
)
PASSIVE_HEALTH_CHECK: Final = Struct(
    (
        Field("Interval", "nanoseconds"),
        Field("MaxFailures", "int"),
        Field("EnforcingConsecutive5xx", "int", since="1.16"),
        Field("MaxEjectionPercent", "int", since="1.16"),
        Field("BaseEjectionTime", "nanoseconds", since="1.16"),
    )
)
_UPSTREAM: Final = Struct(
    (
        Field("Name"),
        Field("Peer", always=True, since="1.16"),
        Field("EnvoyListenerJSON"),
        Field("EnvoyClusterJSON"),
        Field("Protocol"),
        Field("ConnectTimeoutMs", "int"),
        Field(
            "Limits",
            Struct(
                (
                    Field("MaxConnections", "int"),
                    Field("MaxPendingRequests", "int"),
                    Field("MaxConcurrentRequests", "int"),
                )
            ),
        ),
        Field("PassiveHealthCheck", PASSIVE_HEALTH_CHECK),
        Field("MeshGateway", MESH_GATEWAY, always=True),
        Field("BalanceOutboundConnections", since="1.16"),
    )
)
ENVOY_EXTENSIONS: Final = ListOf(
    Struct(
        (
            Field("Name", always=True),
            Field("Required", "bool", always=True),
            Field("Arguments", "any", always=True),
            Field("ConsulVersion", always=True),
            Field("EnvoyVersion", always=True),
        )
    )
)
_TRUSTED_CA: Final = Struct(
    (Field("Filename"), Field("EnvironmentVariable"), Field("InlineString"), Field("InlineBytes", "bytes"))
)
_KEY_SET_CLUSTER: Final = Struct(
    (
        Field("DiscoveryType"),
        Field(
            "TLSCertificates",
            Struct(
                (
                    Field("CaCertificateProviderInstance", Struct((Field("InstanceName"), Field("CertificateName")))),
                    Field("TrustedCA", _TRUSTED_CA),
                )
            ),
        ),
        Field("ConnectTimeout", "nanoseconds"),
    )
)
_KEY_SET: Final = Struct(
    (
        Field("Local", Struct((Field("JWKS"), Field("Filename")))),
        Field(
            "Remote",
            Struct(
                (
                    Field("URI"),
                    Field("RequestTimeoutMs", "int"),
                    Field("CacheDuration", "nanoseconds"),
                    Field("FetchAsynchronously", "bool"),
                    Field("UseSNI", "bool", since="1.22"),
                    Field(
                        "RetryPolicy",
                        Struct(
                            (
                                Field("NumRetries", "int"),
                                Field(
                                    "RetryPolicyBackOff",
                                    Struct((Field("BaseInterval", "nanoseconds"), Field("MaxInterval", "nanoseconds"))),
                                ),
                            )
                        ),
                    ),
                    Field("JWKSCluster", _KEY_SET_CLUSTER),
                )
            ),
        ),
    )
)
_LOCATION: Final = Struct(
    (
        Field("Header", Struct((Field("Name"), Field("ValuePrefix"), Field("Forward", "bool")))),
        Field("QueryParam", Struct((Field("Name"),))),
        Field("Cookie", Struct((Field("Name"),))),
    )
)

SERVICE_INTENTIONS: Final = Struct(
    (
        *ENTRY_HEAD,
        Field("Sources", ListOf(SOURCE), always=True),
        Field("JWT", JWT, since="1.16"),
        *ENTRY_TAIL,
    )
)
SERVICE_DEFAULTS: Final = Struct(
    (
        *ENTRY_HEAD,
        Field("Protocol", always=True),
        Field("BalanceInboundConnections", since="1.16"),
        Field("Mode", since="1.10"),
        Field("TransparentProxy", TRANSPARENT_PROXY, always=True, since="1.10"),
        Field("MutualTLSMode", since="1.16"),
        Field("MeshGateway", MESH_GATEWAY, always=True),
        Field("Expose", EXPOSE, always=True),
        Field("ExternalSNI"),
        Field(
            "UpstreamConfig",
            Struct((Field("Overrides", ListOf(_UPSTREAM)), Field("Defaults", _UPSTREAM))),
            since="1.10",
        ),
        Field("Destination", Struct((Field("Addresses", ListOf("string")), Field("Port", "int"))), since="1.16"),
        Field("MaxInboundConnections", "int", since="1.16"),
        Field("LocalConnectTimeoutMs", "int", since="1.16"),
        Field("LocalRequestTimeoutMs", "int", since="1.16"),
        Field("RateLimits", "any", since="1.22"),
        Field("EnvoyExtensions", ENVOY_EXTENSIONS, since="1.16"),
        *ENTRY_TAIL,
    )
)
PROXY_DEFAULTS: Final = Struct(
    (
        *ENTRY_HEAD,
        Field("Config", MapOf("any"), always=True),
        Field("Mode", since="1.10"),
        Field("TransparentProxy", TRANSPARENT_PROXY, always=True, since="1.10"),
        Field("MutualTLSMode", since="1.16"),
        Field("MeshGateway", MESH_GATEWAY, always=True),
        Field("Expose", EXPOSE, always=True),
        Field(
            "AccessLogs",
            Struct(
                (
                    Field("Enabled", "bool"),
                    Field("DisableListenerLogs", "bool"),
                    Field("Type"),
                    Field("Path"),
                    Field("JSONFormat"),
                    Field("TextFormat"),
                )
            ),
            always=True,
            since="1.16",
        ),
        Field("EnvoyExtensions", ENVOY_EXTENSIONS, since="1.16"),
        Field("FailoverPolicy", Struct((Field("Mode"), Field("Regions", ListOf("string")))), since="1.16"),
        Field("PrioritizeByLocality", Struct((Field("Mode"),)), since="1.16"),
        *ENTRY_TAIL,
    )
)
JWT_PROVIDER: Final = Struct(
    (
        *ENTRY_HEAD,
        Field("JSONWebKeySet", _KEY_SET),
        Field("Issuer"),
        Field("Audiences", ListOf("string")),
        Field("Locations", ListOf(_LOCATION)),
        Field("Forwarding", Struct((Field("HeaderName"), Field("PadForwardPayloadHeader", "bool")))),
        Field("ClockSkewSeconds", "int"),
        Field("CacheConfig", Struct((Field("Size", "int"),))),
        *ENTRY_TAIL,
    )
)
