"""The members of service-defaults, proxy-defaults and jwt-provider, and the versions that have them."""

from typing import Final

from aioconsulconnect.testing.config_entries.shapes.shared import (
    ENTRY_HEAD,
    ENTRY_TAIL,
    ENVOY_EXTENSIONS,
    EXPOSE,
    MESH_GATEWAY,
    PASSIVE_HEALTH_CHECK,
    TRANSPARENT_PROXY,
)
from aioconsulconnect.testing.go_json.schema import Field, ListOf, MapOf, Struct

_UPSTREAM: Final = Struct(
    (
        Field("Name"),
        Field("Peer", always=True, since="1.13"),
        Field("EnvoyListenerJSON"),
        Field("EnvoyClusterJSON"),
        Field("Protocol"),
        Field("ConnectTimeoutMs", "int"),
        Field(
            "Limits",
            Struct(
                (
                    Field("MaxConnections", "int", pointer=True),
                    Field("MaxPendingRequests", "int", pointer=True),
                    Field("MaxConcurrentRequests", "int", pointer=True),
                )
            ),
        ),
        Field("PassiveHealthCheck", PASSIVE_HEALTH_CHECK),
        Field("MeshGateway", MESH_GATEWAY, always=True),
        Field("BalanceOutboundConnections", since="1.16"),
    )
)
_TRUSTED_CA: Final = Struct(
    (Field("Filename"), Field("EnvironmentVariable"), Field("InlineString"), Field("InlineBytes", "bytes"))
)
_KEY_SET_CLUSTER: Final = Struct(
    (
        Field("DiscoveryType", go_type="structs.ClusterDiscoveryType"),
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
_RATES: Final = (Field("RequestsPerSecond", "int"), Field("RequestsMaxBurst", "int"))
_RATE_LIMITS: Final = Struct(
    (
        Field(
            "InstanceLevel",
            Struct(
                (
                    *_RATES,
                    Field(
                        "Routes",
                        ListOf(Struct((*(Field(f"Path{kind}") for kind in ("Exact", "Prefix", "Regex")), *_RATES))),
                    ),
                )
            ),
        ),
    )
)
SERVICE_DEFAULTS: Final = Struct(
    (
        *ENTRY_HEAD,
        Field("Protocol", always=True),
        Field("BalanceInboundConnections", since="1.14"),
        Field("Mode", since="1.10", go_type="structs.ProxyMode"),
        Field("TransparentProxy", TRANSPARENT_PROXY, always=True, since="1.10"),
        Field("MutualTLSMode", since="1.16", go_type="structs.MutualTLSMode"),
        Field("MeshGateway", MESH_GATEWAY, always=True),
        Field("Expose", EXPOSE, always=True),
        Field("ExternalSNI"),
        Field(
            "UpstreamConfig",
            Struct((Field("Overrides", ListOf(_UPSTREAM)), Field("Defaults", _UPSTREAM))),
            since="1.10",
        ),
        Field("Destination", Struct((Field("Addresses", ListOf("string")), Field("Port", "int"))), since="1.14"),
        Field("MaxInboundConnections", "int", since="1.14"),
        Field("LocalConnectTimeoutMs", "int", since="1.14"),
        Field("LocalRequestTimeoutMs", "int", since="1.14"),
        Field("RateLimits", _RATE_LIMITS, since="1.20"),
        Field("EnvoyExtensions", ENVOY_EXTENSIONS, since="1.16"),
        *ENTRY_TAIL,
    )
)
PROXY_DEFAULTS: Final = Struct(
    (
        *ENTRY_HEAD,
        Field("Protocol", since="1.16"),  # It is taken, and kept nowhere.
        Field("Config", MapOf("open"), always=True),
        Field("Mode", since="1.10", go_type="structs.ProxyMode"),
        Field("TransparentProxy", TRANSPARENT_PROXY, always=True, since="1.10"),
        Field("MutualTLSMode", since="1.16", go_type="structs.MutualTLSMode"),
        Field("MeshGateway", MESH_GATEWAY, always=True),
        Field("Expose", EXPOSE, always=True),
        Field(
            "AccessLogs",
            Struct(
                (
                    Field("Enabled", "bool"),
                    Field("DisableListenerLogs", "bool"),
                    Field("Type", go_type="structs.LogSinkType"),
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
        Field("Forwarding", Struct((Field("HeaderName"), Field("PadForwardPayloadHeader", "bool", always=True)))),
        Field("ClockSkewSeconds", "int"),
        Field("CacheConfig", Struct((Field("Size", "int"),))),
        *ENTRY_TAIL,
    )
)
